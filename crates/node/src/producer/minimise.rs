//! From a source's text to the granted units: nothing unknown, nothing that was not granted, nothing changed.

use unefois_core::catalogue::{Accepted, Datatype, UnitSet};
use unefois_core::commitment::{AnswerForm, content_digest};
use unefois_core::payload::Payload;
use unefois_core::schema::{self, SchemaViolation};
use unefois_core::{HolderId, NamedPerson, Sha256, UnitName};

use super::source::Answer;

/// What may leave: the granted units, each with its JSON text, byte for byte the source's.
///
/// Only [`minimise`] makes one, so whatever is signed was cut to the grant (I4).
#[derive(Clone, PartialEq, Eq)]
pub struct Minimised {
    form: AnswerForm,
    holder: Option<HolderId>,
    units: Vec<(UnitName, String)>,
    ids: Vec<Vec<u8>>,
    named: Vec<NamedPerson>,
}

impl Minimised {
    /// Document or certified absence.
    pub const fn form(&self) -> AnswerForm {
        self.form
    }

    /// Whose data it is, where that is known.
    pub const fn holder(&self) -> Option<&HolderId> {
        self.holder.as_ref()
    }

    /// The units in the order of the sheet; none in an absence.
    pub fn units(&self) -> &[(UnitName, String)] {
        &self.units
    }

    /// The source's own stable ids of the person.
    pub fn ids(&self) -> &[Vec<u8>] {
        &self.ids
    }

    /// Whom it names beside the subject, the subject among them.
    pub fn named(&self) -> &[NamedPerson] {
        &self.named
    }

    /// The digest that both ends commit to.
    pub fn digest(&self) -> Sha256 {
        content_digest(
            self.form,
            self.units.iter().map(|(name, text)| (name, text.as_str())),
        )
    }
}

/// What leaves is personal data, so a log never shows it.
impl std::fmt::Debug for Minimised {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Minimised(…)")
    }
}

/// Cuts an answer to `units`: unknown keys are dropped, the schema judges, the granted pointers stay.
///
/// # Errors
/// SOURCE_SCHEMA, naming the place and the keyword, never a value: nothing may leave. Beside the schema, an integer
/// must be written as one (`900`, not `900.0` nor `9e2`): JSON Schema takes all three, but readers differ on them, and
/// the text is what is signed.
pub fn minimise(datatype: &Datatype, units: UnitSet, answer: Answer) -> Result<Minimised, SchemaViolation> {
    match answer {
        Answer::Document(document) => {
            let accepted = datatype.accept(document.json.as_bytes(), document.json.len())?;
            integers(datatype, &accepted)?;
            let holder = accepted
                .holder()
                .cloned()
                .ok_or_else(|| violation(String::new(), "holder"))?;
            Ok(Minimised {
                form: AnswerForm::Document,
                holder: Some(holder),
                units: accepted.cut(units)?,
                ids: document.ids,
                named: accepted.named(units),
            })
        }
        Answer::Absence => Ok(Minimised {
            form: AnswerForm::Absence,
            // Of several holders all certify, so none is named.
            holder: match datatype.sheet().holders.as_slice() {
                [only] => Some(only.clone()),
                _ => None,
            },
            units: Vec::new(),
            ids: Vec::new(),
            named: Vec::new(),
        }),
    }
}

fn integers(datatype: &Datatype, accepted: &Accepted<'_>) -> Result<(), SchemaViolation> {
    let schema = &datatype.sheet().schema;
    let text = accepted.text();
    let payload =
        Payload::parse(text.as_bytes(), text.len()).map_err(|_| violation(String::new(), "json"))?;
    for place in schema::leaves(schema) {
        let kind = schema::at(schema, &place).and_then(|schema| schema.get("type"));
        let is = |word: &str| match kind {
            Some(serde_json::Value::String(one)) => one == word,
            Some(serde_json::Value::Array(several)) => several.iter().any(|kind| kind == word),
            Some(_) | None => false,
        };
        if !is("integer") || is("number") {
            continue;
        }
        let fraction = |token: &&str| {
            token.starts_with(|c: char| c == '-' || c.is_ascii_digit()) && token.contains(['.', 'e', 'E'])
        };
        if payload.texts(&place).iter().any(fraction) {
            return Err(violation(place.to_string(), "integer"));
        }
    }
    Ok(())
}

fn violation(at: String, keyword: &str) -> SchemaViolation {
    SchemaViolation {
        at,
        keyword: keyword.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::Document;
    use super::super::source::tests::catalogue;
    use super::*;

    fn datatype() -> &'static Datatype {
        catalogue().datatype(&"cnaf/revenu@1".parse().unwrap()).unwrap()
    }

    fn cut(json: &str, unit: &str) -> Result<Vec<(UnitName, String)>, SchemaViolation> {
        let answer = Answer::Document(Document {
            json: json.into(),
            ids: vec![],
        });
        let units = datatype().unit(&unit.parse().unwrap()).unwrap();
        minimise(datatype(), units, answer).map(|m| m.units)
    }

    #[test]
    fn i4_a_source_that_breaks_its_schema_lets_nothing_leave() {
        for (json, at, keyword) in [
            (r#"{"taux":1}"#, "/montant", "required"),
            (r#"{"montant":"900"}"#, "/montant", "type"),
            (r#"{"montant":-1}"#, "/montant", "minimum"),
            (r#"{"montant":900.0}"#, "/montant", "integer"),
            (r#"{"montant":9e2}"#, "/montant", "integer"),
            (r#"{"montant":900,"membres":[{}]}"#, "/membres/0/nom", "required"),
            (r#"{"montant":900,"montant":901}"#, "", "duplicate key"),
            ("null", "", "type"),
            ("[]", "", "type"),
        ] {
            let SchemaViolation {
                at: found,
                keyword: why,
            } = cut(json, "montant").expect_err(json);
            assert_eq!((found.as_str(), why.as_str()), (at, keyword), "{json}");
        }
    }

    #[test]
    fn i4_only_granted_units_are_left_and_values_stay_text() {
        let json = r#"{"montant": 900, "taux": 12.50, "nir": "secret", "membres": [{"nom": "EXEMPLE", "nir": "x"}]}"#;
        assert_eq!(
            cut(json, "montant").unwrap(),
            [(
                "montant".parse().unwrap(),
                r#"{"montant":900,"taux":12.50}"#.into()
            )]
        );
        assert_eq!(
            cut(json, "foyer").unwrap(),
            [(
                "foyer".parse().unwrap(),
                r#"{"membres":[{"nom":"EXEMPLE"}]}"#.into()
            )]
        );
    }

    #[test]
    fn an_absence_has_no_unit_and_another_digest() {
        let absence = minimise(datatype(), datatype().all_units(), Answer::Absence).unwrap();
        assert_eq!(absence.form(), AnswerForm::Absence);
        assert!(absence.units().is_empty());
        assert_ne!(absence.digest(), content_digest(AnswerForm::Document, []));
    }
}
