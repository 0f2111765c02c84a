//! JSON Schemas of payloads: compiled once, in a closed list of keywords, so that the places that a payload may have
//! can be read off its schema.

use jsonschema::error::ValidationErrorKind;
use serde_json::Value;

use crate::payload::{Pointer, PointerSet};

/// A compiled schema (JSON Schema 2020-12) and the places that it knows.
#[derive(Debug)]
pub struct Schema {
    validator: jsonschema::Validator,
    known: PointerSet,
}

/// A text that breaks its schema: where and by which keyword, never by what value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the payload breaks its schema at {at:?}: {keyword}")]
pub struct SchemaViolation {
    /// The place in the payload, as a JSON Pointer.
    pub at: String,
    /// The keyword of the schema that it breaks, `json` if it is no JSON at all.
    pub keyword: String,
}

/// A schema that may not be used, with the place in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the schema is unusable at {at:?}: {what}")]
pub struct InvalidSchema {
    /// The place in the schema, as a JSON Pointer.
    pub at: String,
    /// What is wrong, in French.
    pub what: String,
}

/// Keywords that constrain a value and need nothing else.
const PLAIN: &[&str] = &[
    "type",
    "enum",
    "const",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minItems",
    "maxItems",
    "uniqueItems",
    "title",
    "description",
];

impl Schema {
    /// Compiles `schema`, or says all that stands against it.
    pub fn compile(schema: &Value) -> Result<Self, Vec<InvalidSchema>> {
        let mut problems = Vec::new();
        inspect(schema, "", &mut problems);
        let options = jsonschema::options().with_draft(jsonschema::Draft::Draft202012);
        match options.build(schema) {
            Ok(validator) if problems.is_empty() => {
                let known = leaves(schema).iter().collect();
                Ok(Self { validator, known })
            }
            Ok(_) => Err(problems),
            Err(error) => {
                problems.push(InvalidSchema {
                    at: error.instance_path().to_string(),
                    what: "n'est pas un schéma JSON 2020-12 valide".to_owned(),
                });
                Err(problems)
            }
        }
    }

    /// The leaves that the schema knows, each with everything under it.
    pub const fn known(&self) -> &PointerSet {
        &self.known
    }

    /// Judges a JSON text. Numbers are parsed for that and thrown away.
    pub fn validate(&self, text: &str) -> Result<(), SchemaViolation> {
        let value: Value = serde_json::from_str(text).map_err(|_| SchemaViolation {
            at: String::new(),
            keyword: "json".to_owned(),
        })?;
        self.validator.validate(&value).map_err(|error| SchemaViolation {
            // A missing member is named by the schema, not by the payload: safe to show, and what helps.
            at: match error.kind() {
                ValidationErrorKind::Required { property } => {
                    format!(
                        "{}/{}",
                        error.instance_path(),
                        property.as_str().unwrap_or_default()
                    )
                }
                _ => error.instance_path().to_string(),
            },
            keyword: error.kind().keyword().to_owned(),
        })
    }
}

/// The schema of a payload of which only `kept` remains.
pub fn restrict(schema: &Value, kept: &PointerSet) -> Value {
    let Value::Object(members) = schema else {
        return schema.clone();
    };
    if kept.is_whole() {
        return schema.clone();
    }
    let mut restricted = members.clone();
    if let Some(Value::Object(properties)) = restricted.get_mut("properties") {
        properties.retain(|key, _| kept.key(key).is_some());
        for (key, schema) in properties.iter_mut() {
            if let Some(kept) = kept.key(key) {
                *schema = restrict(schema, kept);
            }
        }
    }
    if let Some(Value::Array(required)) = restricted.get_mut("required") {
        required.retain(|key| key.as_str().is_some_and(|key| kept.key(key).is_some()));
    }
    if let (Some(items), Some(kept)) = (restricted.get_mut("items"), kept.each()) {
        *items = restrict(items, kept);
    }
    Value::Object(restricted)
}

/// What the schema says at a place of the payload.
pub fn at<'s>(schema: &'s Value, pointer: &Pointer) -> Option<&'s Value> {
    pointer.steps().try_fold(schema, |schema, step| match step {
        Some(key) => schema.get("properties")?.get(key),
        None => schema.get("items"),
    })
}

/// The places where a payload under this schema has scalars.
pub fn leaves(schema: &Value) -> Vec<Pointer> {
    let mut found = Vec::new();
    collect(schema, Pointer::ROOT, &mut found);
    found
}

fn collect(schema: &Value, here: Pointer, found: &mut Vec<Pointer>) {
    match (schema.get("properties"), schema.get("items")) {
        (Some(Value::Object(properties)), _) => {
            for (key, schema) in properties {
                collect(schema, here.key(key), found);
            }
        }
        (_, Some(items)) => collect(items, here.each(), found),
        _ => found.push(here),
    }
}

fn inspect(schema: &Value, here: &str, problems: &mut Vec<InvalidSchema>) {
    let mut wrong = |at: String, what: String| problems.push(InvalidSchema { at, what });
    let Value::Object(members) = schema else {
        return wrong(here.to_owned(), "un schéma est un objet".to_owned());
    };
    let types: Vec<&str> = match members.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        Some(_) | None => Vec::new(),
    };
    if types.is_empty() {
        wrong(here.to_owned(), "chaque niveau donne son type".to_owned());
    }
    let is = |kind: &str| types.contains(&kind);
    if (is("object") || is("array")) && types.iter().filter(|t| **t != "null").count() > 1 {
        wrong(
            format!("{here}/type"),
            "un objet ou un tableau ne peut être que cela, ou null".to_owned(),
        );
    }
    for key in members.keys() {
        let allowed = match key.as_str() {
            "$schema" => here.is_empty(),
            "properties" | "required" => is("object"),
            "items" => is("array"),
            plain => PLAIN.contains(&plain),
        };
        if !allowed {
            wrong(
                format!("{here}/{key}"),
                format!("mot clé « {key} » non admis ici"),
            );
        }
    }
    let properties = members.get("properties").and_then(Value::as_object);
    if is("object") && properties.is_none_or(|p| p.is_empty()) {
        wrong(here.to_owned(), "un objet nomme ses propriétés".to_owned());
    }
    if is("array") && !members.contains_key("items") {
        wrong(here.to_owned(), "un tableau décrit ses éléments".to_owned());
    }
    for name in members
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        if !name
            .as_str()
            .is_some_and(|name| properties.is_some_and(|p| p.contains_key(name)))
        {
            wrong(
                format!("{here}/required"),
                "une propriété exigée n'est pas décrite".to_owned(),
            );
        }
    }
    for (key, schema) in properties.into_iter().flatten() {
        inspect(schema, &format!("{here}/properties/{key}"), problems);
    }
    if let Some(items) = members.get("items") {
        inspect(items, &format!("{here}/items"), problems);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn person() -> Value {
        json!({"type": "object", "required": ["nom", "enfants"], "properties": {
            "nom": {"type": "string", "minLength": 1},
            "age": {"type": ["integer", "null"]},
            "enfants": {"type": "array", "items": {"type": "object", "required": ["nom"], "properties": {
                "nom": {"type": "string"}, "sexe": {"enum": ["F", "M"], "type": "string"}}}}}})
    }

    #[test]
    fn refuses_keywords_that_hide_places_and_reports_all() {
        for (schema, at) in [
            (json!({"$ref": "#/x"}), ""),
            (json!({"type": "object"}), ""),
            (json!({"type": "array"}), ""),
            (
                json!({"type": ["object", "string"], "properties": {"a": {"type": "null"}}}),
                "/type",
            ),
            (
                json!({"type": "object", "properties": {"a": true}}),
                "/properties/a",
            ),
            (
                json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["b"]}),
                "/required",
            ),
            (json!({"type": "string", "format": "date"}), "/format"),
            (
                json!({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": true}),
                "/additionalProperties",
            ),
        ] {
            let problems = Schema::compile(&schema).unwrap_err();
            assert!(problems.iter().any(|p| p.at == at), "{schema}: {problems:?}");
        }
        let two = json!({"type": "object", "properties": {"a": {"anyOf": []}, "b": {"type": "strin"}}});
        assert!(Schema::compile(&two).unwrap_err().len() >= 3);
    }

    #[test]
    fn a_violation_names_place_and_keyword_and_no_value() {
        let schema = Schema::compile(&person()).unwrap();
        for (text, at, keyword) in [
            (r#"{"nom":"","enfants":[]}"#, "/nom", "minLength"),
            (r#"{"nom":"SECRET","enfants":"SECRET"}"#, "/enfants", "type"),
            (
                r#"{"nom":"SECRET","enfants":[{"nom":"a"},{"nom":"b","sexe":"SECRET"}]}"#,
                "/enfants/1/sexe",
                "enum",
            ),
            (r#"{"enfants":[]}"#, "/nom", "required"),
            ("{", "", "json"),
        ] {
            let violation = schema.validate(text).unwrap_err();
            assert_eq!((violation.at.as_str(), violation.keyword.as_str()), (at, keyword));
            assert!(!violation.to_string().contains("SECRET"));
        }
        assert_eq!(schema.validate(r#"{"nom":"a","age":null,"enfants":[]}"#), Ok(()));
    }

    #[test]
    fn restricting_keeps_what_the_pointers_reach() {
        let pointers = ["/enfants/*/nom".parse().unwrap()];
        let restricted = restrict(&person(), &pointers.iter().collect());
        assert_eq!(
            restricted,
            json!({"type": "object", "required": ["enfants"], "properties": {
                "enfants": {"type": "array", "items": {"type": "object", "required": ["nom"], "properties": {
                    "nom": {"type": "string"}}}}}})
        );
        let leaves: Vec<_> = leaves(&person()).iter().map(Pointer::to_string).collect();
        assert_eq!(leaves, ["/age", "/enfants/*/nom", "/enfants/*/sexe", "/nom"]);
        assert!(at(&person(), &"/enfants/*".parse().unwrap()).is_some());
        assert!(at(&person(), &"/enfants/nom".parse().unwrap()).is_none());
    }
}
