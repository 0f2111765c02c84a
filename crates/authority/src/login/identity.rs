use serde::Deserialize;
use unefois_core::{Gender, Pivot};

use crate::Error;

/// The identity attributes that FranceConnect gives, by the names of its scopes; whatever else it sends is dropped.
#[derive(Deserialize)]
pub(super) struct UserInfo {
    family_name: Option<String>,
    given_name: Option<String>,
    given_name_array: Option<Vec<String>>,
    birthdate: Option<String>,
    gender: Option<String>,
    birthplace: Option<String>,
    birthcountry: Option<String>,
    preferred_username: Option<String>,
}

impl UserInfo {
    /// The pivot: births may be partial (`YYYY-00-00`), the birthplace of one born abroad is an empty text.
    ///
    /// # Errors
    /// Names the attribute that is missing or malformed, never its value.
    pub(super) fn into_pivot(self) -> Result<Pivot, Error> {
        let given_names = match (self.given_name_array, self.given_name) {
            (Some(names), _) => names,
            (None, Some(names)) => names.split_whitespace().map(str::to_owned).collect(),
            (None, None) => return Err(Error::Identity("given_name")),
        };
        let gender = match self.gender.as_deref() {
            Some("female") => Gender::Female,
            Some("male") => Gender::Male,
            Some("unspecified") => Gender::Unspecified,
            Some(_) | None => return Err(Error::Identity("gender")),
        };
        let cog = |code: Option<String>, name| {
            let code = code.filter(|code| !code.is_empty());
            code.map(|code| code.parse().map_err(|_| Error::Identity(name)))
                .transpose()
        };
        let pivot = Pivot {
            family_name: self.family_name.ok_or(Error::Identity("family_name"))?,
            given_names,
            birthdate: self
                .birthdate
                .and_then(|date| date.parse().ok())
                .ok_or(Error::Identity("birthdate"))?,
            gender,
            birthplace: cog(self.birthplace, "birthplace")?,
            birthcountry: cog(self.birthcountry, "birthcountry")?,
            preferred_username: self.preferred_username.filter(|name| !name.is_empty()),
        };
        pivot.checked().map_err(|_| Error::Identity("the name"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pivot(json: &str) -> Result<Pivot, Error> {
        serde_json::from_str::<UserInfo>(json).unwrap().into_pivot()
    }

    const ANGELA: &str = r#"{"sub":"s","family_name":"DUBOIS","given_name":"Angela Claire Louise",
        "birthdate":"1962-08-24","gender":"female","birthplace":"75107","birthcountry":"99100","email":"x@y.z"}"#;

    #[test]
    fn each_missing_or_malformed_attribute_is_named() {
        for (from, to, named) in [
            (r#""family_name":"DUBOIS","#, "", "family_name"),
            (r#""given_name":"Angela Claire Louise","#, "", "given_name"),
            ("1962-08-24", "24/08/1962", "birthdate"),
            ("1962-08-24", "1962-00-24", "birthdate"),
            ("female", "femme", "gender"),
            ("75107", "Paris", "birthplace"),
            ("99100", "FR", "birthcountry"),
            ("DUBOIS", " ", "the name"),
            ("Angela Claire Louise", " ", "the name"),
        ] {
            let changed = ANGELA.replace(from, to);
            assert_ne!(changed, ANGELA);
            match pivot(&changed) {
                Err(Error::Identity(name)) => assert_eq!(name, named, "{to}"),
                Ok(_) | Err(_) => panic!("{to} was taken"),
            }
        }
    }

    #[test]
    fn reads_partial_births_births_abroad_and_the_array_first() {
        let full = pivot(ANGELA).unwrap();
        assert_eq!(full.given_names, ["Angela", "Claire", "Louise"]);
        let abroad = ANGELA
            .replace("75107", "")
            .replace("99100", "99109")
            .replace("1962-08-24", "1962-00-00")
            .replace(
                r#""gender""#,
                r#""given_name_array":["Angela Claire","Louise"],"gender""#,
            );
        let pivot = pivot(&abroad).unwrap();
        assert_eq!(pivot.birthplace, None);
        assert_eq!((pivot.birthdate.month(), pivot.birthdate.day()), (None, None));
        assert_eq!(pivot.given_names, ["Angela Claire", "Louise"]);
    }
}
