use unefois_core::catalogue::{Birthplace, PivotAttribute};
use unefois_core::{Acr, AuthorizationDetails, Reason};
use unefois_jose::strict_json;

use crate::Error;
use crate::published::Edition;

/// Largest `authorization_details`.
pub(super) const MAX_BYTES: usize = 32 * 1024;

/// Reads `authorization_details` (RFC 9396): 1 to 8 elements of the one type, each of a closed schema.
pub(super) fn read(text: &str) -> Result<Vec<AuthorizationDetails>, Error> {
    const NAME: &str = "authorization_details";
    strict_json::check(text.as_bytes())
        .map_err(|_| details(NAME.to_owned(), "an array of objects, no member named twice"))?;
    let raw: Vec<&serde_json::value::RawValue> =
        serde_json::from_str(text).map_err(|_| details(NAME.to_owned(), "an array of objects"))?;
    if raw.is_empty() || raw.len() > unefois_core::authorization::MAX_ELEMENTS {
        return Err(details(NAME.to_owned(), "1 to 8 elements"));
    }
    let read = raw.into_iter().enumerate().map(|(n, element)| {
        serde_json::from_str(element.get()).map_err(|error| {
            // serde's text names members that are unknown or missing; values it would quote are cut off.
            let text = error.to_string();
            let member = ["unknown field `", "missing field `"]
                .iter()
                .find_map(|start| text.strip_prefix(start))
                .and_then(|rest| rest.split('`').next());
            match member {
                Some(member)
                    if member.len() <= 64
                        && member.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_') =>
                {
                    let what = match text.starts_with("unknown") {
                        true => "not a member of this type",
                        false => "missing",
                    };
                    details(format!("{NAME}[{n}].{member}"), what)
                }
                Some(_) | None => details(format!("{NAME}[{n}]"), "not of type urn:unefois:justificatif:1"),
            }
        })
    });
    read.collect()
}

fn details(path: String, what: &'static str) -> Error {
    Error::Details {
        path,
        what: what.into(),
        reason: Reason::InvalidRequest,
    }
}

/// The least assurance that all of them need.
pub(super) fn level(elements: &[AuthorizationDetails], edition: &Edition) -> Acr {
    let levels = elements.iter().filter_map(|element| {
        let datatype = edition.catalogue.datatype(element.datatype())?;
        Some(datatype.sheet().assurance)
    });
    levels.max().unwrap_or(Acr::Eidas3)
}
/// A child's identity is typed on the page, which asks for no place of birth: nobody knows its code by heart.
pub(super) fn child_can_be_named(
    element: &AuthorizationDetails,
    n: usize,
    edition: &Edition,
) -> Result<(), Error> {
    let datatype = edition.catalogue.datatype(element.datatype());
    let needs_place = datatype.is_some_and(|datatype| {
        let pivot = &datatype.sheet().pivot;
        let needed = pivot.any_of.first().map_or(&[][..], Vec::as_slice);
        pivot.birthplace != Birthplace::Never || needed.contains(&PivotAttribute::Birthcountry)
    });
    match needs_place {
        false => Ok(()),
        true => Err(Error::Details {
            path: format!("authorization_details[{n}].subject.kind"),
            what: "not served: this datatype needs the child's place of birth".into(),
            reason: Reason::NotImplemented,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_element_names_its_member_and_no_value() {
        for (text, path) in [
            (r#"[{"type":"x"}]"#, "authorization_details[0]"),
            (r#"[]"#, "authorization_details"),
            (r#"{}"#, "authorization_details"),
            (r#"[{"a":1,"a":2}]"#, "authorization_details"),
            (
                r#"[{"secret_member":1}]"#,
                "authorization_details[0].secret_member",
            ),
            ("[{},{},{},{},{},{},{},{},{}]", "authorization_details"),
        ] {
            match read(text) {
                Err(Error::Details { path: at, .. }) => assert_eq!(at, path, "{text}"),
                Ok(_) | Err(_) => panic!("{text} was taken"),
            }
        }
    }
}
