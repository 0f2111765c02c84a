//! Entries as JSON Lines: one object a line, in the form of `entry.schema.json`.

use serde_json::{Map, Value, json};
use unefois_core::catalogue::Catalogue;
use unefois_tlog::Origin;

use super::row::{COLUMNS, Holds, places, texts, unit_names};
use crate::Visited;

/// The JSON Schema (2020-12) of a line.
pub const ENTRY_SCHEMA: &str = include_str!("entry.schema.json");

/// The line of one entry of the log `origin`, without its end. What the entry does not say is absent.
pub fn json_line(origin: &Origin, visited: &Visited<'_>, catalogue: &Catalogue) -> String {
    let entry = visited.entry;
    let mut line = Map::new();
    for ((name, holds), text) in COLUMNS.iter().zip(texts(origin, visited, catalogue)) {
        let value = match (*name, holds) {
            ("at_us", _) => entry.at.get().into(),
            ("units", _) => places(entry).collect::<Vec<_>>().into(),
            ("unit_names", _) => unit_names(entry, catalogue).into(),
            (_, Holds::Number) => text.parse::<u64>().map_or(Value::Null, Value::from),
            (_, Holds::Word | Holds::Name) => text.into(),
        };
        if value != json!("") && value != json!([]) {
            line.insert((*name).to_owned(), value);
        }
    }
    Value::Object(line).to_string()
}
