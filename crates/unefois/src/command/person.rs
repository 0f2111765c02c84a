//! A person or a handle, read from a file: neither belongs on a command line, which every process can read.

use std::io::Read as _;
use std::path::Path;

use unefois_core::{Handle, Pivot, SubjectForm};

use super::read_text;
use crate::failure::{Failure, Kind};

/// The longest id of a person, in bytes.
const MAX_BYTES: usize = 512;

/// What an identity looks like.
const SHAPE: &str = r#"donnez un objet comme {"family_name":"DURAND","given_names":["ANNE"],"birthdate":"1990-01-31","gender":"female","birthplace":"75107","birthcountry":"99100"}"#;

/// The person as a ledger's index knows them: the identity (a JSON object) in its canonical form, or else the source's
/// own id, as it stands in the file.
pub(super) fn person(path: &Path) -> Result<Vec<u8>, Failure> {
    match subject(path)? {
        SubjectForm::Exact(person) | SubjectForm::Shared(person) => Ok(person),
    }
}

/// As [`person`], and whether that names them alone; a source's own id does.
pub(super) fn subject(path: &Path) -> Result<SubjectForm, Failure> {
    let text = text(path)?;
    if text.starts_with('{') {
        let pivot: Pivot = serde_json::from_str(&text)
            // Its cause would show values.
            .map_err(|_| Failure::new(Kind::Data, "l'identité n'est pas lisible").next(SHAPE))?;
        let pivot = pivot
            .checked()
            .map_err(|e| Failure::new(Kind::Data, "l'identité n'est pas valable").because(e))?;
        return Ok(pivot.subject_form());
    }
    match text.is_empty() || text.len() > MAX_BYTES {
        true => Err(Failure::new(
            Kind::Data,
            "l'identifiant de la personne a de 1 à 512 octets",
        )),
        false => Ok(SubjectForm::Exact(text.into_bytes())),
    }
}

/// The handle of a grant.
pub(super) fn handle(path: &Path) -> Result<Handle, Failure> {
    text(path)?
        .parse()
        .map_err(|e| Failure::new(Kind::Data, "ce n'est pas l'identifiant d'une autorisation").because(e))
}

/// The text of a file, or of standard input for `-`, without what surrounds it.
fn text(path: &Path) -> Result<String, Failure> {
    let text = match path.as_os_str() == "-" {
        true => {
            let mut text = String::new();
            let read = std::io::stdin().read_to_string(&mut text);
            read.map_err(|e| Failure::new(Kind::NoInput, "l'entrée standard n'est pas lue").because(e))?;
            text
        }
        false => read_text(path)?,
    };
    Ok(text.trim().to_owned())
}
