//! Whether what was disclosed is what the case's file says, read by another JSON reader than the pipeline's.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use serde_json::value::RawValue;
use unefois_core::catalogue::DatatypeSheet;

/// Each scalar (or empty object, or empty array) of a text: its place, `/enfants/0/nom`, and its token.
type Leaves = BTreeMap<String, String>;

/// Compares the disclosed units with the case's own text, at `payload` (a JSON Pointer) of `answer`: every disclosed
/// value is there with the same token, and every value there that the schema knows and a unit covers is disclosed.
///
/// # Errors
/// The place that differs; never a value.
pub(super) fn same_values(
    sheet: &DatatypeSheet,
    answer: &str,
    payload: &str,
    units: &BTreeMap<String, String>,
) -> Result<(), String> {
    let whole: Box<RawValue> =
        serde_json::from_str(answer).map_err(|_| "the case's payload is not JSON".to_owned())?;
    let source = at(&whole, payload).ok_or_else(|| format!("the case's payload has nothing at {payload}"))?;
    let held = leaves(&source)?;
    let mut disclosed = BTreeSet::new();
    for (unit, text) in units {
        let text: Box<RawValue> =
            serde_json::from_str(text).map_err(|_| format!("unit {unit} is not JSON"))?;
        for (place, token) in leaves(&text)? {
            match held.get(&place) {
                Some(source) if *source == token => {}
                Some(_) => return Err(format!("{place} of unit {unit} is not the source's text")),
                // Cut to nothing: the source has members there that no unit takes.
                None if matches!(token.as_str(), "{}" | "[]") && held.keys().any(|k| below(k, &place)) => {}
                None => return Err(format!("{place} of unit {unit} is not in the source")),
            }
            disclosed.insert(place);
        }
    }
    let pointers: Vec<String> = sheet
        .units
        .iter()
        .flat_map(|unit| &unit.pointers)
        .map(ToString::to_string)
        .collect();
    let lost = held.keys().find(|place| {
        let granted = pointers.iter().any(|pointer| covers(pointer, place));
        granted && known(&sheet.schema, place) && !disclosed.contains(*place)
    });
    lost.map_or(Ok(()), |place| {
        Err(format!("{place} of the source is not disclosed"))
    })
}

/// The raw value at a JSON Pointer without `*`.
fn at(value: &RawValue, pointer: &str) -> Option<Box<RawValue>> {
    let mut here = value.to_owned();
    for key in pointer.split('/').skip(1) {
        let members: BTreeMap<String, Box<RawValue>> = serde_json::from_str(here.get()).ok()?;
        here = members.get(key)?.clone();
    }
    Some(here)
}

fn leaves(value: &RawValue) -> Result<Leaves, String> {
    let mut found = Leaves::new();
    walk(value, String::new(), &mut found)?;
    Ok(found)
}

fn walk(value: &RawValue, here: String, found: &mut Leaves) -> Result<(), String> {
    let text = value.get();
    let broken = |_| format!("{here} is not JSON");
    match text.as_bytes().first() {
        Some(b'{') => {
            let members: BTreeMap<String, Box<RawValue>> = serde_json::from_str(text).map_err(broken)?;
            if members.is_empty() {
                found.insert(here, "{}".to_owned());
                return Ok(());
            }
            members
                .iter()
                .try_for_each(|(key, value)| walk(value, format!("{here}/{key}"), found))
        }
        Some(b'[') => {
            let items: Vec<Box<RawValue>> = serde_json::from_str(text).map_err(broken)?;
            if items.is_empty() {
                found.insert(here, "[]".to_owned());
                return Ok(());
            }
            items
                .iter()
                .enumerate()
                .try_for_each(|(n, value)| walk(value, format!("{here}/{n}"), found))
        }
        Some(_) | None => {
            found.insert(here, text.to_owned());
            Ok(())
        }
    }
}

fn below(place: &str, above: &str) -> bool {
    place
        .strip_prefix(above)
        .is_some_and(|rest| rest.starts_with('/'))
}

/// Whether a unit's pointer, in which `*` is any index, leads to the place or above it.
fn covers(pointer: &str, place: &str) -> bool {
    let mut steps = place.split('/').skip(1);
    pointer
        .split('/')
        .skip(1)
        .all(|want| steps.next().is_some_and(|step| want == "*" || want == step))
}

/// Whether the schema knows the place.
fn known(schema: &Value, place: &str) -> bool {
    let mut here = schema;
    for step in place.split('/').skip(1) {
        let next = match step.parse::<usize>() {
            Ok(_) if here.get("items").is_some() => here.get("items"),
            Ok(_) | Err(_) => here.get("properties").and_then(|properties| properties.get(step)),
        };
        match next {
            Some(schema) => here = schema,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet() -> DatatypeSheet {
        serde_json::from_str(SHEET).expect("a sheet")
    }

    const SHEET: &str = r#"{
        "id":"cnaf/revenu","revision":1,"label":{"fr":"a","en":"a"},"summary":{"fr":"a","en":"a"},
        "legal_type":"CRPA-D114-9-1/x","operator":"cnaf","holders":["cnaf"],
        "subjects":[{"kind":"self","asked_by":"person"}],
        "pivot":{"any_of":[["family_name"]],"birthplace":"never"},"period":{"unit":"none"},"assurance":"eidas1",
        "legal_bases":["CRPA-L114-8-I"],"freshness":{"label":{"fr":"a","en":"a"},"cache_s":1,"retroactive":false},
        "absence_when":[],
        "units":[{"name":"montant","label":{"fr":"a","en":"a"},"pointers":["/montant"],"concerns":"none","retention_days":1},
                 {"name":"foyer","label":{"fr":"a","en":"a"},"pointers":["/membres"],"concerns":"household","retention_days":1}],
        "not_sent":{"fr":"a","en":"a"},"timeout_ms":1000,"rate_per_minute":1,
        "contact":{"label":{"fr":"a","en":"a"},"url":"https://a.example"},
        "schema":{"type":"object","properties":{"montant":{"type":"integer"},
            "membres":{"type":"array","items":{"type":"object","properties":{"nom":{"type":"string"}}}}}},
        "samples":[]}"#;

    const ANSWER: &str = r#"{"data": {"montant": 900, "membres": [{"nom": "A", "nir": "x"}], "autre": 1}}"#;

    fn judge(montant: &str, foyer: &str) -> Result<(), String> {
        let units = [("montant", montant), ("foyer", foyer)];
        let units = units
            .into_iter()
            .map(|(name, text)| (name.to_owned(), text.to_owned()))
            .collect();
        same_values(&sheet(), ANSWER, "/data", &units)
    }

    #[test]
    fn a_value_that_changed_after_the_signature_is_found() {
        const FOYER: &str = r#"{"membres":[{"nom":"A"}]}"#;
        for (montant, foyer, what) in [
            (
                r#"{"montant":900.0}"#,
                FOYER,
                "/montant of unit montant is not the source's text",
            ),
            (
                r#"{"montant":"900"}"#,
                FOYER,
                "/montant of unit montant is not the source's text",
            ),
            (
                r#"{"montant":9e2}"#,
                FOYER,
                "/montant of unit montant is not the source's text",
            ),
            (
                r#"{"montant":900,"plus":1}"#,
                FOYER,
                "/plus of unit montant is not in the source",
            ),
            (
                r#"{"montant":900}"#,
                r#"{"membres":[]}"#,
                "/membres/0/nom of the source is not disclosed",
            ),
            (
                r#"{"montant":900}"#,
                r#"{"membres":[{"nom":"A"},{"nom":"B"}]}"#,
                "/membres/1/nom of unit foyer is not in the source",
            ),
            ("{}", FOYER, "/montant of the source is not disclosed"),
        ] {
            assert_eq!(judge(montant, foyer), Err(what.to_owned()), "{montant} {foyer}");
        }
        assert_eq!(judge(r#"{"montant":900}"#, FOYER), Ok(()));
    }
}
