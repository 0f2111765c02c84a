use serde::{Deserialize, Serialize};
use unefois_core::{Acr, OfficerAssurance, Pivot, Siret, is_hidden};
use zeroize::Zeroizing;

use super::kind::Wanted;
use crate::Error;

/// Longest name of an officer or of a service, in characters.
const MAX_CHARS: usize = 128;

/// What a login yields: somebody whom a provider named.
pub(crate) struct LoggedIn {
    /// The provider's subject.
    pub(crate) sub: String,
    /// When they logged in there, seconds.
    pub(crate) auth_time: i64,
    /// The signed ID token, to hand back at logout.
    pub(crate) id_token: Zeroizing<String>,
    pub(crate) who: Who,
}

/// Who it is. A person has an identity that may be matched; an officer has none, only a body to act for.
pub(crate) enum Who {
    Person { acr: Acr, pivot: Pivot },
    Officer(Officer),
}

impl Who {
    /// Whether a login that was begun for `wanted` may end with them.
    pub(crate) fn suffices(&self, wanted: Wanted) -> bool {
        match (self, wanted) {
            (Self::Person { acr, .. }, Wanted::Person(least)) => *acr >= least,
            (Self::Officer(officer), Wanted::Officer(least)) => officer.assurance >= least,
            (Self::Person { .. }, Wanted::Officer(_)) | (Self::Officer(_), Wanted::Person(_)) => false,
        }
    }
}

/// An officer, as ProConnect names one.
pub(crate) struct Officer {
    pub(crate) siret: Siret,
    pub(crate) assurance: OfficerAssurance,
    pub(crate) profile: Profile,
}

/// What pages show of an officer; kept sealed.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Profile {
    given_name: String,
    usual_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) organizational_unit: Option<String>,
}

impl Profile {
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.given_name, self.usual_name)
    }
}

/// The attributes that ProConnect gives, by the names of its scopes; whatever else it sends is dropped.
#[derive(Deserialize)]
pub(crate) struct OfficerInfo {
    given_name: Option<String>,
    usual_name: Option<String>,
    siret: Option<String>,
    organizational_unit: Option<String>,
}

impl OfficerInfo {
    /// The officer, of a body whose SIRET has its check digits.
    ///
    /// # Errors
    /// Names the attribute that is missing or malformed, never its value.
    pub(crate) fn into_officer(self, assurance: OfficerAssurance) -> Result<Officer, Error> {
        let siret = self.siret.and_then(|text| text.parse().ok());
        let unit = self.organizational_unit.filter(|unit| !unit.trim().is_empty());
        if unit.as_deref().is_some_and(|unit| !is_sound(unit)) {
            return Err(Error::Identity("organizational_unit"));
        }
        Ok(Officer {
            siret: siret.ok_or(Error::Identity("siret"))?,
            assurance,
            profile: Profile {
                given_name: sound(self.given_name).ok_or(Error::Identity("given_name"))?,
                usual_name: sound(self.usual_name).ok_or(Error::Identity("usual_name"))?,
                organizational_unit: unit,
            },
        })
    }
}

fn sound(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty() && is_sound(text))
}

fn is_sound(text: &str) -> bool {
    text.chars().count() <= MAX_CHARS && !text.chars().any(is_hidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn officer(json: &str) -> Result<Officer, Error> {
        let info: OfficerInfo = serde_json::from_str(json).unwrap();
        info.into_officer(OfficerAssurance::Identified)
    }

    const CAMILLE: &str = r#"{"sub":"s","given_name":"Camille","usual_name":"EXEMPLE","siret":"21920023500014",
        "organizational_unit":"Service des écoles","email":"c@example.fr"}"#;

    #[test]
    fn each_missing_or_malformed_attribute_is_named() {
        for (from, to, named) in [
            (r#""given_name":"Camille","#, "", "given_name"),
            (r#""usual_name":"EXEMPLE","#, "", "usual_name"),
            (r#""siret":"21920023500014","#, "", "siret"),
            ("21920023500014", "21920023500015", "siret"),
            ("21920023500014", "219200235", "siret"),
            ("21920023500014", "219 200 235 00014", "siret"),
            ("Camille", " ", "given_name"),
            ("EXEMPLE", "EX\u{202e}EMPLE", "usual_name"),
            ("Service", "Ser\\nvice", "organizational_unit"),
        ] {
            let changed = CAMILLE.replace(from, to);
            assert_ne!(changed, CAMILLE);
            match officer(&changed) {
                Err(Error::Identity(name)) => assert_eq!(name, named, "{to}"),
                Ok(_) | Err(_) => panic!("{to} was taken"),
            }
        }
        let long = CAMILLE.replace("EXEMPLE", &"x".repeat(MAX_CHARS + 1));
        assert!(matches!(officer(&long), Err(Error::Identity("usual_name"))));
    }

    #[test]
    fn an_officer_is_of_a_body_and_no_person() {
        let camille = officer(CAMILLE).unwrap();
        assert_eq!(camille.siret.as_str(), "21920023500014");
        assert_eq!(camille.profile.name(), "Camille EXEMPLE");
        assert_eq!(
            camille.profile.organizational_unit.as_deref(),
            Some("Service des écoles")
        );
        let who = Who::Officer(camille);
        assert!(who.suffices(Wanted::Officer(OfficerAssurance::Identified)));
        assert!(!who.suffices(Wanted::Officer(OfficerAssurance::Certified)));
        assert!(!who.suffices(Wanted::Person(Acr::Eidas1)));
    }
}
