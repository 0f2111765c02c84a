use super::name::{compare_key, given_names_match};
use super::{BirthDate, Gender, Pivot};

/// Somebody whom a payload names, as far as it does.
#[derive(Clone, PartialEq, Eq)]
pub struct NamedPerson {
    /// Whether the payload names them as a child.
    pub child: bool,
    /// Birth name.
    pub family_name: String,
    /// First names, in order.
    pub given_names: Vec<String>,
    /// Birth date, as precise as the payload has it.
    pub birthdate: BirthDate,
    /// Sex, where the payload says it.
    pub gender: Option<Gender>,
}

impl NamedPerson {
    /// The bytes under which this person is found; they are the input of a keyed hash, never stored, and never equal to
    /// those of a [`Pivot::canonical`].
    pub fn form(&self) -> Vec<u8> {
        named_form(&self.family_name, &self.given_names, &self.birthdate, self.gender)
    }

    /// Whether this may be the same person as `pivot`: birth names equal, one list of first names a beginning of the
    /// other, dates equal as far as both are known, no other sex.
    pub fn agrees_with(&self, pivot: &Pivot) -> bool {
        let sex = self
            .gender
            .is_none_or(|sex| sex == pivot.gender || pivot.gender == Gender::Unspecified);
        sex && compare_key(&self.family_name) == compare_key(&pivot.family_name)
            && given_names_match(&self.given_names, &pivot.given_names)
            && self.birthdate.agrees_with(&pivot.birthdate)
    }

    /// This person as far as the payload names them, and no further.
    pub fn attested(&self) -> Pivot {
        Pivot {
            family_name: self.family_name.clone(),
            given_names: self.given_names.clone(),
            birthdate: self.birthdate,
            gender: self.gender.unwrap_or(Gender::Unspecified),
            birthplace: None,
            birthcountry: None,
            preferred_username: None,
        }
    }
}

pub(super) fn named_form(
    family_name: &str,
    given_names: &[String],
    birthdate: &BirthDate,
    gender: Option<Gender>,
) -> Vec<u8> {
    // In lower case, unlike every name: no canonical identity begins so.
    const DOMAIN: &str = "named";
    let given: Vec<String> = given_names.iter().map(|name| compare_key(name)).collect();
    let sex = match gender {
        Some(Gender::Female) => "F",
        Some(Gender::Male) => "M",
        Some(Gender::Unspecified) | None => "",
    };
    let parts = [
        DOMAIN,
        &compare_key(family_name),
        &given.join(" "),
        &birthdate.to_string(),
        sex,
    ];
    parts.join("\u{1f}").into_bytes()
}
