//! How a question becomes the named parameters of a back end: by naming attributes, never by writing text around
//! them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use unefois_core::{BirthDate, Gender, Period, Pivot, SealedSubject};

use super::Question;

/// Which attribute each parameter of a back end carries.
///
/// In configuration: a table from the parameter's name to an attribute's, such as `nomNaissance = "family_name"`. For
/// a child's datatype `asker.family_name` and so on name the person who granted. A parameter whose attribute is
/// unknown is not sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Parameters(BTreeMap<String, Attribute>);

/// One attribute of a question, by its name in configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Attribute {
    of: Of,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Subject,
    Asker,
}

/// The text names no attribute.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an attribute: one of {}, each with `asker.` before it for the person who granted",
    names()
)]
pub struct UnknownAttribute;

macro_rules! attributes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum What { $($(#[$doc])* $variant,)* }

        impl What {
            const ALL: &'static [(Self, &'static str)] = &[$((Self::$variant, $name)),*];
        }
    };
}

attributes! {
    /// Birth name.
    FamilyName = "family_name";
    /// First names, a list.
    GivenNames = "given_names";
    /// First names in one text, separated by spaces.
    GivenNamesJoined = "given_names_joined";
    /// The first of the first names.
    FirstGivenName = "first_given_name";
    /// Name in use.
    PreferredUsername = "preferred_username";
    /// `YYYY-MM-DD`, `00` for what is unknown.
    BirthDate = "birthdate";
    /// A number.
    BirthYear = "birthdate.year";
    /// A number.
    BirthMonth = "birthdate.month";
    /// A number.
    BirthDay = "birthdate.day";
    /// `M` or `F`.
    Sex = "sex";
    /// COG code of the commune.
    Birthplace = "birthplace";
    /// COG code of the country.
    Birthcountry = "birthcountry";
    /// SIREN of an entity.
    Siren = "siren";
    /// The period, as its text.
    Period = "period";
    /// The period's year, or first year.
    PeriodYear = "period.year";
    /// The period's month.
    PeriodMonth = "period.month";
}

fn names() -> String {
    let names: Vec<&str> = What::ALL.iter().map(|(_, name)| *name).collect();
    names.join(", ")
}

/// The value of one parameter.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// A text.
    Text(String),
    /// A number.
    Number(u16),
    /// Several texts in order.
    List(Vec<String>),
}

/// The parameters of one question. They are personal data and have no `Debug`.
pub type Filled = BTreeMap<String, Value>;

impl Parameters {
    /// The parameters for `question`; `None` where the subject is a child and nothing names the asker, because the back
    /// end could not have checked their link.
    pub fn fill(&self, question: &Question<'_>) -> Option<Filled> {
        let (subject, asker, siren) = match question.subject {
            SealedSubject::Person(person) => (Some(person), None, None),
            SealedSubject::Child { child, asker } => (Some(child), Some(asker), None),
            SealedSubject::Entity(siren) => (None, None, Some(siren)),
        };
        let names_asker = self.0.values().any(|attribute| attribute.of == Of::Asker);
        if asker.is_some() && !names_asker {
            return None;
        }
        let value = |attribute: &Attribute| match (attribute.of, attribute.what) {
            (_, What::Siren) => siren.map(|siren| Value::Text(siren.to_string())),
            (_, What::Period | What::PeriodYear | What::PeriodMonth) => question
                .period
                .and_then(|period| of_period(&period, attribute.what)),
            (Of::Subject, what) => subject.and_then(|person| of_person(person, what)),
            (Of::Asker, what) => asker.and_then(|person| of_person(person, what)),
        };
        let filled = self.0.iter();
        Some(
            filled
                .filter_map(|(name, attribute)| Some((name.clone(), value(attribute)?)))
                .collect(),
        )
    }
}

/// The names that French administrations' hub gives to the attributes of a person, a period and a company.
impl Default for Parameters {
    fn default() -> Self {
        let table = [
            ("nomNaissance", What::FamilyName),
            ("nomUsage", What::PreferredUsername),
            ("prenoms", What::GivenNames),
            ("anneeDateNaissance", What::BirthYear),
            ("moisDateNaissance", What::BirthMonth),
            ("jourDateNaissance", What::BirthDay),
            ("sexeEtatCivil", What::Sex),
            ("codeCogInseeCommuneNaissance", What::Birthplace),
            ("codeCogInseePaysNaissance", What::Birthcountry),
            ("annee", What::PeriodYear),
            ("mois", What::PeriodMonth),
            ("siren", What::Siren),
        ];
        let attribute = |what| Attribute {
            of: Of::Subject,
            what,
        };
        Self(
            table
                .into_iter()
                .map(|(name, what)| (name.to_owned(), attribute(what)))
                .collect(),
        )
    }
}

fn of_person(person: &Pivot, what: What) -> Option<Value> {
    let text = |text: &str| Some(Value::Text(text.to_owned()));
    let date: &BirthDate = &person.birthdate;
    match what {
        What::FamilyName => text(&person.family_name),
        What::GivenNames => Some(Value::List(person.given_names.clone())),
        What::GivenNamesJoined => Some(Value::Text(person.given_names.join(" "))),
        What::FirstGivenName => person.given_names.first().cloned().map(Value::Text),
        What::PreferredUsername => person.preferred_username.clone().map(Value::Text),
        What::BirthDate => Some(Value::Text(date.to_string())),
        What::BirthYear => Some(Value::Number(date.year())),
        What::BirthMonth => date.month().map(|month| Value::Number(month.into())),
        What::BirthDay => date.day().map(|day| Value::Number(day.into())),
        What::Sex => match person.gender {
            Gender::Female => text("F"),
            Gender::Male => text("M"),
            Gender::Unspecified => None,
        },
        What::Birthplace => person.birthplace.as_ref().and_then(|place| text(place.as_str())),
        What::Birthcountry => person
            .birthcountry
            .as_ref()
            .and_then(|country| text(country.as_str())),
        What::Siren | What::Period | What::PeriodYear | What::PeriodMonth => None,
    }
}

fn of_period(period: &Period, what: What) -> Option<Value> {
    let (year, month) = match *period {
        Period::Month { year, month } => (year, Some(month)),
        Period::Year(year) | Period::SchoolYear(year) => (year, None),
    };
    match what {
        What::PeriodYear => Some(Value::Number(year)),
        What::PeriodMonth => month.map(|month| Value::Number(month.into())),
        _ => Some(Value::Text(period.to_string())),
    }
}

impl From<Attribute> for String {
    fn from(attribute: Attribute) -> Self {
        let name = What::ALL.iter().find(|(what, _)| *what == attribute.what);
        let name = name.map_or("", |(_, name)| *name);
        match attribute.of {
            Of::Subject => name.to_owned(),
            Of::Asker => format!("asker.{name}"),
        }
    }
}

impl TryFrom<String> for Attribute {
    type Error = UnknownAttribute;

    fn try_from(text: String) -> Result<Self, UnknownAttribute> {
        let (of, name) = match text.strip_prefix("asker.") {
            Some(name) => (Of::Asker, name),
            None => (Of::Subject, text.as_str()),
        };
        let what = What::ALL
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(what, _)| *what);
        what.map(|what| Self { of, what }).ok_or(UnknownAttribute)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::question;
    use super::*;

    fn person(name: &str) -> Pivot {
        Pivot {
            family_name: name.into(),
            given_names: vec!["Angela".into(), "Claire".into()],
            birthdate: "1962-08".parse().unwrap(),
            gender: Gender::Female,
            birthplace: None,
            birthcountry: Some("99352".parse().unwrap()),
            preferred_username: None,
        }
    }

    #[test]
    fn an_unknown_attribute_is_refused_with_the_list() {
        let error = serde_json::from_str::<Parameters>(r#"{"nom":"{family_name}"}"#).unwrap_err();
        assert!(error.to_string().contains("given_names"), "{error}");
    }

    #[test]
    fn a_child_needs_a_parameter_of_the_asker() {
        let child = || SealedSubject::Child {
            child: person("MARTIN"),
            asker: person("DUBOIS"),
        };
        assert!(Parameters::default().fill(&question(&child(), None)).is_none());
        let both: Parameters =
            serde_json::from_str(r#"{"nom":"family_name","nomParent":"asker.family_name"}"#).unwrap();
        let filled = both.fill(&question(&child(), None)).unwrap();
        assert!(filled["nom"] == Value::Text("MARTIN".into()));
        assert!(filled["nomParent"] == Value::Text("DUBOIS".into()));
    }

    #[test]
    fn what_is_unknown_is_not_sent() {
        let filled = Parameters::default()
            .fill(&question(&SealedSubject::Person(person("DUBOIS")), None))
            .unwrap();
        let names: Vec<&str> = filled.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "anneeDateNaissance",
                "codeCogInseePaysNaissance",
                "moisDateNaissance",
                "nomNaissance",
                "prenoms",
                "sexeEtatCivil"
            ]
        );
        let subject = SealedSubject::Entity("130025265".parse().unwrap());
        let filled = Parameters::default()
            .fill(&question(&subject, Some("2026-05")))
            .unwrap();
        assert!(filled["mois"] == Value::Number(5) && filled["siren"] == Value::Text("130025265".into()));
        assert_eq!(filled.len(), 3);
    }
}
