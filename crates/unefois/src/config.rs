//! Configuration: one TOML file, each key of which an environment variable may override.
//!
//! `UNEFOIS__A__B=x` is `b = x` under `[a]`; `x` is read as a TOML value where it is one, else as a string. A value that
//! begins with `./` or `../` (or `sqlite:./…`) is a path beside the file, wherever the process was started.

use std::ffi::OsString;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::de::DeTable;
use toml::{Spanned, Table, Value};

use crate::failure::{Failure, Kind};
use crate::{admin, telemetry};

const PREFIX: &str = "UNEFOIS__";

/// A key's path, from the top of the table, and the value that replaces it.
pub type Override = (Vec<String>, Value);

/// The overrides among environment variables.
pub fn overrides(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Vec<Override> {
    let text = |name: OsString, value: OsString| Some((name.into_string().ok()?, value.into_string().ok()?));
    (variables.into_iter())
        .filter_map(|(name, value)| text(name, value))
        .filter_map(|(name, value)| Some((name.strip_prefix(PREFIX)?.to_ascii_lowercase(), value)))
        .map(|(name, value)| (name.split("__").map(str::to_owned).collect(), parse(&value)))
        .collect()
}

fn parse(value: &str) -> Value {
    let table: Result<Table, _> = toml::from_str(&format!("value = {value}"));
    let parsed = table.ok().and_then(|mut table| table.remove("value"));
    parsed.unwrap_or_else(|| Value::String(value.to_owned()))
}

/// The configuration of a process: what each has, whatever its role, and its role's.
#[derive(Debug)]
pub struct Process<T> {
    /// `[telemetry]`.
    pub telemetry: telemetry::Config,
    /// `[admin]`; no admin listener without it.
    pub admin: Option<admin::Config>,
    /// Every other section.
    pub role: T,
}

/// The sections that are not the role's.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Common {
    telemetry: telemetry::Config,
    admin: Option<admin::Config>,
}

/// The names of [`Common`]'s sections.
const COMMON: [&str; 2] = ["telemetry", "admin"];

/// Reads the configuration file `path` with `overrides` put over it.
///
/// # Errors
/// The file is missing, is no TOML, or holds a key or value that the program does not know: the message has the place.
pub fn load<T: DeserializeOwned>(path: &Path, overrides: &[Override]) -> Result<Process<T>, Failure> {
    let text = crate::command::read_text(path)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    read(&text, folder, overrides).map_err(|failure| Failure {
        what: format!("{} : {}", path.display(), failure.what),
        ..failure
    })
}

/// Reads the configuration `text`, whose relative paths begin at `folder`.
///
/// # Errors
/// As [`load`].
pub fn read<T: DeserializeOwned>(
    text: &str,
    folder: &Path,
    overrides: &[Override],
) -> Result<Process<T>, Failure> {
    if overrides.is_empty() {
        // The first reading has line numbers; what it finds is told with them.
        let mut all = DeTable::parse(text).map_err(wrong)?;
        let sections: DeTable<'_> = (COMMON.into_iter())
            .filter_map(|name| all.get_mut().remove_entry(name))
            .collect();
        let common = Spanned::new(all.span(), sections);
        let placed = |mut error: toml::de::Error| {
            error.set_input(Some(text));
            wrong(error)
        };
        Common::deserialize(toml::Deserializer::from(common)).map_err(placed)?;
        T::deserialize(toml::Deserializer::from(all)).map_err(placed)?;
    }
    let mut table = overridden(text, overrides)?;
    for value in table.iter_mut().map(|(_, value)| value) {
        resolve(value, folder);
    }
    let common: Table = (COMMON.into_iter())
        .filter_map(|name| table.remove_entry(name))
        .collect();
    let Common { telemetry, admin } = common.try_into().map_err(wrong)?;
    let role = table.try_into().map_err(wrong)?;
    Ok(Process {
        telemetry,
        admin,
        role,
    })
}

/// The table of `text` with `overrides` put over it, paths as they are written.
///
/// # Errors
/// It is no TOML, or an override names a key below a value that is no table.
pub fn overridden(text: &str, overrides: &[Override]) -> Result<Table, Failure> {
    let mut table: Table = toml::from_str(text).map_err(wrong)?;
    for (path, value) in overrides {
        set(&mut table, path, value.clone()).map_err(|key| {
            Failure::new(
                Kind::Configuration,
                "une variable d'environnement ne désigne aucune clé",
            )
            .because(key)
        })?;
    }
    Ok(table)
}

fn wrong(error: toml::de::Error) -> Failure {
    Failure::new(Kind::Configuration, "la configuration est invalide")
        .because(error.to_string().trim_end())
        .next("corrigez la clé citée ; les exemples sont dans deploy/")
}

fn set(table: &mut Table, path: &[String], value: Value) -> Result<(), String> {
    let (key, rest) = path.split_first().ok_or_else(String::new)?;
    if rest.is_empty() {
        table.insert(key.clone(), value);
        return Ok(());
    }
    match table
        .entry(key.clone())
        .or_insert_with(|| Value::Table(Table::new()))
    {
        Value::Table(inner) => set(inner, rest, value),
        _ => Err(path.join("__")),
    }
}

fn resolve(value: &mut Value, folder: &Path) {
    match value {
        Value::String(text) => {
            let (scheme, path) = match text.strip_prefix("sqlite:") {
                Some(path) => ("sqlite:", path),
                None => ("", text.as_str()),
            };
            if path.starts_with("./") || path.starts_with("../") {
                let path = folder.join(path.strip_prefix("./").unwrap_or(path));
                *text = format!("{scheme}{}", path.display());
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| resolve(value, folder)),
        Value::Table(table) => table.iter_mut().for_each(|(_, value)| resolve(value, folder)),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        a: Inner,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        path: String,
        n: u32,
    }

    fn failure(text: &str, overrides: &[Override]) -> String {
        read::<Sample>(text, Path::new("/etc/x"), overrides)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn an_unknown_key_and_a_wrong_value_are_named_with_their_place() {
        let unknown = failure("[a]\npath = \"x\"\nn = 1\nm = 2\n", &[]);
        assert!(
            unknown.starts_with("UF-0078") && unknown.contains("line 4") && unknown.contains('m'),
            "{unknown}"
        );
        let wrong = failure("[a]\npath = \"x\"\nn = \"one\"\n", &[]);
        assert!(wrong.contains("line 3"), "{wrong}");
        let common = failure(
            "[a]\npath = \"x\"\nn = 1\n[telemetry]\nlog_format = \"xml\"\n",
            &[],
        );
        assert!(common.contains("line 5") && common.contains("xml"), "{common}");
        let through = overrides([("UNEFOIS__A__PATH__B".into(), "1".into())]);
        assert!(
            failure("[a]\npath = \"x\"\nn = 1\n", &through).contains("path"),
            "a key below a text"
        );
    }

    #[test]
    fn the_environment_overrides_and_paths_begin_at_the_file() {
        let given = overrides([
            ("UNEFOIS__A__N".into(), "2".into()),
            ("PATH".into(), "/bin".into()),
            ("UNEFOIS__A__PATH".into(), "sqlite:./x.db".into()),
        ]);
        let process: Process<Sample> =
            read("[a]\npath = \"y\"\nn = 1\n", Path::new("/etc/x"), &given).unwrap();
        assert_eq!(
            process.role.a,
            Inner {
                path: "sqlite:/etc/x/x.db".into(),
                n: 2
            }
        );
        let text = "[a]\npath = \"../k.pem\"\nn = 1\n[admin]\nlisten = \"127.0.0.1:9464\"\n";
        let process: Process<Sample> = read(text, Path::new("/etc/x"), &[]).unwrap();
        assert_eq!(process.role.a.path, "/etc/x/../k.pem");
        assert_eq!(process.telemetry, telemetry::Config::default());
        assert_eq!(process.admin.unwrap().listen.port(), 9464);
    }
}
