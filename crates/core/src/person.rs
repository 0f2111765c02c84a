mod birthdate;
mod name;
mod named;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use self::birthdate::BirthDate;
use self::name::hidden;
pub use self::name::{compare_key, given_names_match};
pub use self::named::NamedPerson;
use self::named::named_form;
use crate::{InvalidId, Siren};

/// The identity that travels, sealed, from the authority to one producer: only the attributes that the datatype needs.
///
/// Names are as the identity provider gave them (NFC); comparison goes through [`compare_key`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pivot {
    /// Birth name.
    pub family_name: String,
    /// All first names, in order.
    pub given_names: Vec<String>,
    /// Birth date, as precise as it is known.
    pub birthdate: BirthDate,
    /// Sex of the civil register.
    pub gender: Gender,
    /// COG code of the commune of birth; absent for births abroad.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub birthplace: Option<Cog>,
    /// COG code of the country of birth, 99100 for France.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub birthcountry: Option<Cog>,
    /// Name in use, where it differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred_username: Option<String>,
}

/// Who an attestation is about, as sealed to the producer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SealedSubject {
    /// The person who granted; for a household too.
    Person(Pivot),
    /// A child, and the person who granted for it: the producer matches both and their link.
    Child {
        /// The child.
        child: Pivot,
        /// The person who granted.
        asker: Pivot,
    },
    /// A company or association.
    Entity(Siren),
}

/// Under what exchanges about somebody are found: made by [`Pivot::subject_form`] alone, so that nobody is shown a
/// namesake's as their own. Its bytes are the input of a keyed hash, never stored.
#[derive(Clone, PartialEq, Eq)]
pub enum SubjectForm {
    /// It names one person: whatever is found under it is theirs.
    Exact(Vec<u8>),
    /// Namesakes may share it, since the identity lacks what tells them apart: whatever is found under it may be another's.
    Shared(Vec<u8>),
}

/// An attribute of an identity is not what its kind allows; the value is never shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} of the identity is invalid")]
pub struct InvalidPivot(&'static str);

/// Sex in the civil register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gender {
    /// Female.
    Female,
    /// Male.
    Male,
    /// Not stated.
    Unspecified,
}

/// A code of INSEE's geographical register: a commune, or a country (`99xxx`).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Cog(String);

impl Cog {
    /// The five characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is France, as a country.
    pub fn is_france(&self) -> bool {
        self.0 == "99100"
    }
}

impl FromStr for Cog {
    type Err = InvalidId;

    fn from_str(s: &str) -> Result<Self, InvalidId> {
        let (department, rest) = s.split_at_checked(2).unwrap_or(("", ""));
        let digits = |s: &str| s.bytes().all(|c| c.is_ascii_digit());
        let valid = s.len() == 5 && digits(rest) && (digits(department) || matches!(department, "2A" | "2B"));
        valid
            .then(|| Self(s.to_owned()))
            .ok_or(InvalidId::new("a COG code is five digits, or 2A or 2B and three"))
    }
}

impl From<Cog> for String {
    fn from(cog: Cog) -> Self {
        cog.0
    }
}

impl TryFrom<String> for Cog {
    type Error = InvalidId;

    fn try_from(s: String) -> Result<Self, InvalidId> {
        s.parse()
    }
}

impl Pivot {
    /// Checks what the type cannot hold: names that are not empty, at most 128 characters each and at most 20 first
    /// names, none with a control or direction character.
    ///
    /// # Errors
    /// Names the attribute, never its value.
    pub fn checked(self) -> Result<Self, InvalidPivot> {
        let sound = |name: &str| {
            let chars = name.chars().count();
            (1..=128).contains(&chars) && !compare_key(name).is_empty() && !name.chars().any(hidden)
        };
        if !sound(&self.family_name) {
            return Err(InvalidPivot("family_name"));
        }
        if self.given_names.is_empty()
            || self.given_names.len() > 20
            || !self.given_names.iter().all(|n| sound(n))
        {
            return Err(InvalidPivot("given_names"));
        }
        if self.preferred_username.as_deref().is_some_and(|n| !sound(n)) {
            return Err(InvalidPivot("preferred_username"));
        }
        Ok(self)
    }

    /// Whether it can be matched as strictly as a request needs that no login of the person stands behind: the whole date
    /// of birth, the country, the place where that is France, and the sex.
    pub fn is_whole(&self) -> bool {
        let place = match &self.birthcountry {
            Some(country) if country.is_france() => self.birthplace.is_some(),
            Some(_) => true,
            None => false,
        };
        self.birthdate.day().is_some() && place && self.gender != Gender::Unspecified
    }

    /// [`Pivot::canonical`], by whether it names one person: born in a commune of France, the whole date and the sex known.
    /// Registers abroad tell no place, so that of two born in one country on one day nothing tells which is meant.
    pub fn subject_form(&self) -> SubjectForm {
        let france = self.birthcountry.as_ref().is_some_and(Cog::is_france);
        let exact = france
            && self.birthplace.is_some()
            && self.birthdate.day().is_some()
            && self.gender != Gender::Unspecified;
        match exact {
            true => SubjectForm::Exact(self.canonical()),
            false => SubjectForm::Shared(self.canonical()),
        }
    }

    /// The bytes that name this person at one node or authority, whatever the spelling: birth name, first names, birth
    /// date, sex, place where born in France, country. They are the input of a keyed hash, never stored.
    pub fn canonical(&self) -> Vec<u8> {
        let country = self.birthcountry.as_ref().map_or("", Cog::as_str);
        let place = match (&self.birthplace, &self.birthcountry) {
            (Some(place), Some(country)) if country.is_france() => place.as_str(),
            _ => "",
        };
        let gender = match self.gender {
            Gender::Female => "F",
            Gender::Male => "M",
            Gender::Unspecified => "U",
        };
        let names: Vec<String> = self.given_names.iter().map(|n| compare_key(n)).collect();
        let parts = [
            &compare_key(&self.family_name),
            &names.join(" "),
            &self.birthdate.to_string(),
            gender,
            place,
            country,
        ];
        parts.join("\u{1f}").into_bytes()
    }

    /// The bytes under which this person is found where an answer names them beside its subject ([`NamedPerson::form`]):
    /// with and without the sex, which not every source writes, and with the day or month of birth left out where a
    /// provider made them up. All first names count: a sibling or a namesake shares one often enough.
    pub fn named_forms(&self) -> Vec<Vec<u8>> {
        let mut dates = vec![self.birthdate];
        if self.birthdate.day == Some(1) {
            dates.push(BirthDate {
                day: None,
                ..self.birthdate
            });
        }
        if self.birthdate.month == Some(1) && self.birthdate.day.is_none_or(|day| day == 1) {
            dates.push(BirthDate {
                month: None,
                day: None,
                ..self.birthdate
            });
        }
        let sexes = match self.gender {
            Gender::Female | Gender::Male => vec![Some(self.gender), None],
            Gender::Unspecified => vec![Some(Gender::Female), Some(Gender::Male), None],
        };
        let form = |date: &BirthDate, sex: &Option<Gender>| {
            named_form(&self.family_name, &self.given_names, date, *sex)
        };
        dates
            .iter()
            .flat_map(|date| sexes.iter().map(move |sex| form(date, sex)))
            .collect()
    }

    /// The bytes that this person shares with whoever may be the same one otherwise written: birth name, first word of the
    /// first names, year of birth. Namesakes of the year share them too, so that they tell only that somebody may be
    /// meant. They are the input of a keyed hash, never stored, and never equal to those of a [`Pivot::canonical`] or of a
    /// [`NamedPerson::form`].
    pub fn near_form(&self) -> Vec<u8> {
        // In lower case, unlike every name.
        const DOMAIN: &str = "near";
        let given = compare_key(self.given_names.first().map_or("", String::as_str));
        let first = given.split(' ').next().unwrap_or_default();
        let year = self.birthdate.year.to_string();
        let parts = [DOMAIN, &compare_key(&self.family_name), first, &year];
        parts.join("\u{1f}").into_bytes()
    }

    /// The form under which a consumer binds a dossier to a person (`subject_check`): birth name, first given name,
    /// birth date with the precision that it holds.
    pub fn check_form(&self, birthdate: &BirthDate) -> Vec<u8> {
        check_form(
            &self.family_name,
            self.given_names.first().map_or("", String::as_str),
            birthdate,
        )
    }
}

/// The bytes under a `subject_check`; see [`Pivot::check_form`].
pub fn check_form(family_name: &str, first_given_name: &str, birthdate: &BirthDate) -> Vec<u8> {
    [
        compare_key(family_name),
        compare_key(first_given_name),
        birthdate.to_string(),
    ]
    .join("\u{1f}")
    .into_bytes()
}

/// The bytes under a `subject_check` of a company: its SIREN.
pub fn entity_form(siren: &Siren) -> Vec<u8> {
    ["siren", siren.as_str()].join("\u{1f}").into_bytes()
}

macro_rules! hidden_in_debug {
    ($($type:ident),*) => { $(
        /// Personal data never shows in a log.
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($type), "(…)"))
            }
        }
    )* };
}
hidden_in_debug!(Pivot, SealedSubject, SubjectForm, NamedPerson, BirthDate, Cog);
