use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde::{Deserialize, Serialize};
use unefois_core::{AuthorizationDetails, Capacity, DemarcheId, Pivot, Reason, Siren, Way, entity_form};
use unefois_jose::{jwe, strict_json};

use super::{MAX_REASON, is_plain};
use crate::Error;
use crate::form::Form;
use crate::published::Edition;

/// Largest `subject_check`.
const MAX_CHECK_BYTES: usize = 256;

/// How the grant is tied to the consumer's file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Binding {
    /// The file's identity, as an HMAC under 32 bytes that the consumer drew.
    Check(SubjectCheck),
    /// None, for this reason, where the démarche allows it.
    Unbound(String),
    /// The identity itself, sealed to the authority (`subject_jwe`), where the person does not log in.
    Sealed(String),
}

fn allows_unbound(edition: &Edition, demarche: &DemarcheId) -> bool {
    let demarche = edition.catalogue.demarche(demarche);
    demarche.is_some_and(|demarche| demarche.subject_unbound)
}

/// Refuses what was asked for without a check once its démarche allows that no more.
pub(crate) fn still_unbound(edition: &Edition, demarche: &DemarcheId) -> Result<(), Error> {
    match allows_unbound(edition, demarche) {
        true => Ok(()),
        false => Err(Error::Details {
            path: "demarche".into(),
            what: "allows no unchecked identity any more".into(),
            reason: Reason::NotEntitled,
        }),
    }
}

/// `subject_check`: HMAC-SHA-256 under `salt` of the canonical form that the consumer holds; both 32 bytes, base64url.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SubjectCheck {
    salt: String,
    hmac: String,
}

impl SubjectCheck {
    fn parse(text: &str) -> Result<Self, Error> {
        let check: Self = strict_json::from_slice(text.as_bytes())
            .map_err(|_| Error::request("subject_check is {\"salt\", \"hmac\"}"))?;
        let long = |text: &str| URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() == 32);
        match long(&check.salt) && long(&check.hmac) {
            true => Ok(check),
            false => Err(Error::request("subject_check holds 32 bytes of base64url each")),
        }
    }

    /// Whether this is the person: the date is tried at each precision at which a file may hold it.
    pub(crate) fn is(&self, pivot: &Pivot) -> bool {
        let (Ok(salt), Ok(mac)) = (
            URL_SAFE_NO_PAD.decode(&self.salt),
            URL_SAFE_NO_PAD.decode(&self.hmac),
        ) else {
            return false;
        };
        let key = hmac::Key::new(hmac::HMAC_SHA256, &salt);
        pivot
            .birthdate
            .precisions()
            .any(|date| hmac::verify(&key, &pivot.check_form(&date), &mac).is_ok())
    }

    /// Whether this is the company.
    pub(crate) fn is_entity(&self, siren: &Siren) -> bool {
        let decoded = (
            URL_SAFE_NO_PAD.decode(&self.salt),
            URL_SAFE_NO_PAD.decode(&self.hmac),
        );
        let (Ok(salt), Ok(mac)) = decoded else {
            return false;
        };
        let key = hmac::Key::new(hmac::HMAC_SHA256, &salt);
        hmac::verify(&key, &entity_form(siren), &mac).is_ok()
    }
}

/// Reads how the grant is tied to the file: with somebody present by `subject_check`, with nobody by the identity itself.
pub(super) fn read(
    form: &mut Form,
    way: Way,
    edition: &Edition,
    first: &AuthorizationDetails,
) -> Result<Binding, Error> {
    let (check, unbound) = (form.take("subject_check"), form.take("subject_unbound"));
    let sealed = form.take("subject_jwe");
    match (way, &check, &unbound, sealed) {
        (Way::Agent | Way::Automatic, None, None, Some(sealed)) => {
            return match sealed.len() <= jwe::MAX_PIVOT_BYTES {
                true => Ok(Binding::Sealed(sealed)),
                false => Err(Error::request("subject_jwe is too long")),
            };
        }
        (Way::Agent | Way::Automatic, ..) => {
            return Err(Error::request(
                "subject_jwe is needed, and nothing else of the identity",
            ));
        }
        (Way::Present | Way::Link, _, _, Some(_)) => {
            return Err(Error::request(
                "subject_jwe is for requests without the person's login",
            ));
        }
        (Way::Present | Way::Link, _, _, None) => {}
    }
    match (check, unbound) {
        (Some(check), None) => {
            if check.len() > MAX_CHECK_BYTES {
                return Err(Error::request("subject_check is too long"));
            }
            SubjectCheck::parse(&check).map(Binding::Check)
        }
        // Nobody sees who follows a link: with nothing to compare, whoever holds it would put their own data under the file.
        (None, Some(_)) if way == Way::Link => Err(Error::request("a link goes with subject_check")),
        (None, Some(reason)) => {
            if !allows_unbound(edition, &first.demarche) {
                return Err(Error::request(
                    "this démarche allows no unchecked identity: send subject_check",
                ));
            }
            let sound = reason.chars().count() <= MAX_REASON && reason.chars().all(is_plain);
            match sound {
                true => Ok(Binding::Unbound(reason)),
                false => Err(Error::request(
                    "subject_unbound is one line of at most 200 characters, in Latin letters",
                )),
            }
        }
        (Some(_), Some(_)) | (None, None) => Err(Error::request(
            "either subject_check or subject_unbound is needed",
        )),
    }
}

/// The second check: of the child, wherever the asker is checked and a child is asked about.
pub(super) fn read_child(
    form: &mut Form,
    capacity: Capacity,
    binding: &Binding,
) -> Result<Option<SubjectCheck>, Error> {
    const NAME: &str = "subject_check_child";
    let wanted = capacity == Capacity::Child && matches!(binding, Binding::Check(_));
    match (form.take(NAME), wanted) {
        (None, false) => Ok(None),
        (Some(check), true) if check.len() <= MAX_CHECK_BYTES => SubjectCheck::parse(&check).map(Some),
        (Some(_), true) => Err(Error::request("subject_check_child is too long")),
        (None, true) => Err(Error::request(
            "subject_check_child is needed: the file names a child",
        )),
        (Some(_), false) => Err(Error::request(
            "subject_check_child goes with subject_check, about a child",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pivot() -> Pivot {
        serde_json::from_str(
            r#"{"family_name":"DUBOIS","given_names":["Angela","Claire"],"birthdate":"1962-08-24","gender":"female"}"#,
        )
        .unwrap()
    }

    fn check(family: &str, given: &str, date: &str) -> SubjectCheck {
        let salt = [7; 32];
        let form = unefois_core::check_form(family, given, &date.parse().unwrap());
        let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &salt), &form);
        SubjectCheck {
            salt: URL_SAFE_NO_PAD.encode(salt),
            hmac: URL_SAFE_NO_PAD.encode(mac),
        }
    }

    #[test]
    fn another_person_is_not_the_dossier_s() {
        for (family, given, date) in [
            ("DURAND", "Angela", "1962-08-24"),
            ("DUBOIS", "Claire", "1962-08-24"),
            ("DUBOIS", "Angela", "1962-08-25"),
            ("DUBOIS", "Angela", "1963"),
        ] {
            assert!(
                !check(family, given, date).is(&pivot()),
                "{family} {given} {date}"
            );
        }
        for (family, given, date) in [
            ("Dubois", "angéla", "1962-08-24"),
            ("DUBOIS", "Angela", "1962-08"),
            ("DUBOIS", "Angela", "1962"),
        ] {
            assert!(check(family, given, date).is(&pivot()), "{family} {given} {date}");
        }
    }

    #[test]
    fn a_subject_check_is_two_times_32_bytes() {
        for text in [
            "{}",
            "[]",
            r#"{"salt":"AA","hmac":"AA"}"#,
            r#"{"salt":"","hmac":"","x":1}"#,
        ] {
            assert!(SubjectCheck::parse(text).is_err(), "{text}");
        }
    }
}
