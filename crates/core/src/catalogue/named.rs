//! Whom a payload names: read where its datatype's sheet says so.

use serde_json::Value;

use super::sheet::{DatatypeSheet, PersonRole, Persons};
use crate::payload::Pointer;
use crate::{Gender, NamedPerson};

/// The most people who are read from one payload.
const MAX_NAMED: usize = 200;

impl DatatypeSheet {
    /// The people whom a payload, or a unit of one, names where this sheet says so, at most 200. Whoever lacks a name or a
    /// birth date that reads is left out: nobody can be told by less.
    pub fn named(&self, json: &str) -> Vec<NamedPerson> {
        let Ok(payload) = serde_json::from_str::<Value>(json) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for list in &self.persons {
            let mut places = Vec::new();
            collect(&payload, &list.at, &mut places);
            found.extend(places.into_iter().filter_map(|place| list.read(place)));
        }
        found.truncate(MAX_NAMED);
        found
    }
}

impl Persons {
    /// The members that it reads, as places of the payload.
    pub(super) fn members(&self) -> impl Iterator<Item = Pointer> {
        let named = [&self.family_name, &self.given_names, &self.birthdate];
        named
            .into_iter()
            .chain(&self.sex)
            .map(|member| self.at.key(member))
    }

    fn read(&self, place: &Value) -> Option<NamedPerson> {
        let text = |member: &str| place.get(member)?.as_str();
        let given_names: Vec<String> = text(&self.given_names)?
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        let family_name = text(&self.family_name).filter(|name| !name.trim().is_empty())?;
        if given_names.is_empty() {
            return None;
        }
        Some(NamedPerson {
            child: self.role == PersonRole::Child,
            family_name: family_name.to_owned(),
            given_names,
            birthdate: text(&self.birthdate)?.parse().ok()?,
            gender: match self.sex.as_deref().and_then(text) {
                Some("F") => Some(Gender::Female),
                Some("M") => Some(Gender::Male),
                Some(_) | None => None,
            },
        })
    }
}

/// Everything at the places that a pointer names.
fn collect<'v>(value: &'v Value, pointer: &Pointer, found: &mut Vec<&'v Value>) {
    let mut here = vec![value];
    for step in pointer.steps() {
        here = match step {
            Some(key) => here.into_iter().filter_map(|value| value.get(key)).collect(),
            None => here.into_iter().filter_map(Value::as_array).flatten().collect(),
        };
    }
    found.extend(here);
}
