//! What a datatype's file says.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Contact;
use crate::directory::{Bilingual, ClosedWindow};
use crate::payload::Pointer;
use crate::{Acr, DatatypeId, DatatypeRev, HolderId, LegalBasis, Micros, Period, SubjectKind, UnitName};

/// One revision of a datatype. Payload keys, nesting and values are the source's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatatypeSheet {
    /// The datatype.
    pub id: DatatypeId,
    /// Its revision, from 1.
    pub revision: u16,
    /// Its name for people.
    pub label: Bilingual,
    /// In one sentence, what it says.
    pub summary: Bilingual,
    /// The row of the law that names it: `CRPA-D114-9-1/…` for people, `CRPA-R114-9-1/…` for companies.
    pub legal_type: String,
    /// Whose node answers.
    pub operator: HolderId,
    /// Whose data it is.
    pub holders: Vec<HolderId>,
    /// Where the payload tells which of several holders answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder_from: Option<HolderFrom>,
    /// Whom it may be about, and who may ask.
    pub subjects: Vec<SubjectRule>,
    /// What of an identity the source needs.
    pub pivot: PivotRule,
    /// Which periods may be asked for.
    pub period: PeriodRule,
    /// The least assurance of the asker's identity.
    pub assurance: Acr,
    /// On which legal grounds it may be fetched.
    pub legal_bases: Vec<LegalBasis>,
    /// A secrecy that it is under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrecy: Option<Secrecy>,
    /// How it ages.
    pub freshness: Refresh,
    /// Which answers of the source certify that there is no record; no other answer ever does.
    pub absence_when: Vec<AbsenceWhen>,
    /// The parts that can be granted, at most 64; their order is that of the bits of a `UnitSet`.
    pub units: Vec<Unit>,
    /// Whom the payload names beside its subject, so that each finds the exchange in their own history.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub persons: Vec<Persons>,
    /// What the source knows and never sends, in words for the page.
    pub not_sent: Bilingual,
    /// How long the source may take.
    pub timeout_ms: u32,
    /// How many calls a minute the source bears from one consumer.
    pub rate_per_minute: u32,
    /// When the source is closed.
    #[serde(default)]
    pub closed_windows: Vec<ClosedWindow>,
    /// The day from which this revision is not answered any more, `YYYY-MM-DD` (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sunset: Option<String>,
    /// Where a person has a wrong value corrected.
    pub contact: Contact,
    /// Folders of published test cases that are cases of this datatype.
    #[serde(default)]
    pub sandbox: Vec<String>,
    /// JSON Schema 2020-12 of the payload.
    pub schema: Value,
    /// Payloads to show and to test with.
    pub samples: Vec<Sample>,
}

/// How the payload names the holder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HolderFrom {
    /// Where.
    pub pointer: Pointer,
    /// Which string there stands for which holder.
    pub values: BTreeMap<String, HolderId>,
}

/// Whom a datatype may be about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubjectRule {
    /// Who.
    pub kind: SubjectKind,
    /// Who may ask.
    pub asked_by: Asker,
    /// For a child: what proves its link to the asker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkProof>,
}

/// In what quality somebody asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asker {
    /// The person concerned.
    Person,
    /// Whoever holds parental authority.
    ParentalAuthority,
    /// Whoever represents the company or association.
    Representative,
}

/// What proves that a child is the asker's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum LinkProof {
    /// The holder's own data.
    Holder,
    /// An attestation that the producer verifies.
    Attestation(Attestation),
    /// What an officer wrote down: on that way alone.
    Declared,
}

/// The unit of another datatype that names the adults and the children of a household.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attestation {
    /// The datatype.
    pub datatype: DatatypeId,
    /// Its unit.
    pub unit: UnitName,
    /// How old it may be, in days; a month where it is not said.
    #[serde(default = "month_days")]
    pub max_age_days: u16,
}

const fn month_days() -> u16 {
    31
}

/// What of an identity the source needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PivotRule {
    /// Sets of attributes, each of which suffices; the first is the one asked for.
    pub any_of: Vec<Vec<PivotAttribute>>,
    /// Whether the place of birth is needed too.
    pub birthplace: Birthplace,
}

/// An attribute of an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PivotAttribute {
    /// Birth name.
    FamilyName,
    /// First names.
    GivenNames,
    /// Birth date.
    Birthdate,
    /// Sex of the civil register.
    Gender,
    /// Country of birth.
    Birthcountry,
    /// Name in use.
    PreferredUsername,
    /// A company's number.
    Siren,
}

/// Whether the commune of birth is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Birthplace {
    /// For births in France.
    IfFrance,
    /// Not at all.
    Never,
}

/// Which periods may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeriodRule {
    /// In which unit.
    pub unit: PeriodUnit,
    /// Whether one must be named; otherwise the latest known is answered.
    #[serde(default)]
    pub required: bool,
    /// How many before the current one.
    #[serde(default)]
    pub past: u16,
    /// How many after the current one.
    #[serde(default)]
    pub future: u16,
}

/// The unit of a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeriodUnit {
    /// None may be named.
    None,
    /// Calendar months.
    Month,
    /// Calendar years.
    Year,
    /// School years, from September.
    SchoolYear,
}

/// A secrecy protected by law.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secrecy {
    /// Which.
    pub kind: SecrecyKind,
    /// The text that lifts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiver: Option<LegalBasis>,
}

/// Which secrecy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecrecyKind {
    /// Medical secrecy.
    SecretMedical,
    /// National defence.
    Defense,
    /// Tax secrecy.
    SecretFiscal,
    /// Professional secrecy.
    SecretProfessionnel,
}

/// How a value ages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    /// In words.
    pub label: Bilingual,
    /// How long an answer may serve again before a consumer should ask anew.
    pub cache_s: u32,
    /// Whether the value of a past period may change.
    pub retroactive: bool,
}

/// An answer of the source that certifies that there is no record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AbsenceWhen {
    /// The HTTP status.
    pub status: u16,
    /// The source's own code.
    pub code: String,
}

/// A part of a datatype that can be granted on its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unit {
    /// Its name.
    pub name: UnitName,
    /// What it is, in plain words.
    pub label: Bilingual,
    /// What of the payload it holds.
    pub pointers: Vec<Pointer>,
    /// What other systems call it.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Whose data leave beside the subject's.
    pub concerns: Concerns,
    /// For how long it is of use, in days, as a hint to the page.
    pub retention_days: u16,
}

/// Whose data a unit holds beside the subject's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Concerns {
    /// Nobody's.
    None,
    /// The household's.
    Household,
    /// The children's.
    Children,
}

/// Where a payload names people, and in which members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Persons {
    /// The place of each: `/enfants/*`.
    pub at: Pointer,
    /// Whether they are children there, or adults.
    pub role: PersonRole,
    /// The member that holds the birth name.
    pub family_name: String,
    /// The member that holds the first names, in order and separated by spaces.
    pub given_names: String,
    /// The member that holds the birth date, `YYYY-MM-DD` with `00` for what is unknown.
    pub birthdate: String,
    /// The member that holds the sex, `F` or `M`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sex: Option<String>,
}

/// As what a payload names somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PersonRole {
    /// An adult: whoever holds the household, a parent.
    Adult,
    /// A child.
    Child,
}

/// A payload as the source writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// What it shows.
    pub name: String,
    /// Its JSON text.
    pub payload: String,
}

impl DatatypeSheet {
    /// Datatype and revision.
    pub fn rev(&self) -> DatatypeRev {
        DatatypeRev::new(self.id.clone(), self.revision)
    }

    /// The rule for a kind of subject; `None` if the datatype is not about such.
    pub fn subject(&self, kind: SubjectKind) -> Option<&SubjectRule> {
        self.subjects.iter().find(|rule| rule.kind == kind)
    }

    /// Whether this revision is still answered at `now`.
    pub fn in_use(&self, now: Micros) -> bool {
        let day = |text: &String| format!("{text}T00:00:00Z").parse::<Micros>();
        self.sunset
            .as_ref()
            .map(day)
            .is_none_or(|sunset| sunset.is_ok_and(|sunset| now < sunset))
    }

    /// Whether an answer with this status and these codes certifies that there is no record.
    pub fn certifies_absence<'a>(&self, status: u16, codes: impl IntoIterator<Item = &'a str>) -> bool {
        // Every code must certify: an error beside an absence is an error.
        let certified = |code: &str| {
            self.absence_when
                .iter()
                .any(|a| a.status == status && a.code == code)
        };
        let mut codes = codes.into_iter().peekable();
        codes.peek().is_some() && codes.all(certified)
    }

    /// When the source answers again, if one of its closed windows holds at `now`.
    pub fn closed_until(&self, now: Micros) -> Option<Micros> {
        self.closed_windows
            .iter()
            .filter_map(|w| w.closed_until(now))
            .max()
    }
}

impl PeriodRule {
    /// Whether this period, or none, may be asked for at `now`.
    pub fn allows(&self, period: Option<Period>, now: Micros) -> bool {
        let month = now.month();
        let (asked, current) = match (self.unit, period) {
            (_, None) => return !self.required,
            (PeriodUnit::Month, Some(Period::Month { year, month: m })) => {
                (i32::from(year) * 12 + i32::from(m) - 1, month.ordinal())
            }
            (PeriodUnit::Year, Some(Period::Year(year))) => (i32::from(year), month.year),
            (PeriodUnit::SchoolYear, Some(Period::SchoolYear(year))) => {
                (i32::from(year), month.year - i32::from(month.month < 9))
            }
            (PeriodUnit::None | PeriodUnit::Month | PeriodUnit::Year | PeriodUnit::SchoolYear, Some(_)) => {
                return false;
            }
        };
        (current - i32::from(self.past)..=current + i32::from(self.future)).contains(&asked)
    }
}
