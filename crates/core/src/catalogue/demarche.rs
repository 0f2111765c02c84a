use serde::{Deserialize, Serialize};

use crate::directory::{Bilingual, ParticipantKind};
use crate::{DatatypeId, DatatypeRev, DemarcheId, LegalBasis, UnitName};

/// What an administration does for a person, and what it may ask for to do it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Demarche {
    /// Its name.
    pub id: DemarcheId,
    /// Its name for people.
    pub label: Bilingual,
    /// Which kinds of participant carry it out.
    pub participants: Vec<ParticipantKind>,
    /// Why they may ask, in one sentence.
    pub legal_text: Bilingual,
    /// The texts of law, by number.
    pub legal_references: Vec<String>,
    /// On which legal grounds they may ask.
    pub legal_bases: Vec<LegalBasis>,
    /// What it cannot do without.
    pub mandatory: Mandatory,
    /// What it may ask for.
    pub data: Vec<Datum>,
    /// Whether somebody must be there to grant.
    pub presence: Presence,
    /// Whether it looks for fraud: then nothing is ever fetched for it on the ground of proactive information
    /// (L.114-8 II CRPA).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fraud_detection: bool,
    /// Whether an identity may stay unchecked against the file.
    pub subject_unbound: bool,
    /// The longest time that data may be kept, in days.
    pub data_life_days: u16,
    /// Whether a grant may serve more than once, and how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<Standing>,
}

/// Alternatives, of which one must be asked for whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mandatory {
    /// Each a set of datatypes.
    pub any_of: Vec<Vec<DatatypeId>>,
}

/// One datatype that a démarche may ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Datum {
    /// Which.
    pub datatype: DatatypeRev,
    /// The units that are always asked for, as required ones.
    pub fixed: Vec<UnitName>,
    /// The units that may be asked for beside them, as optional ones.
    pub free: Vec<UnitName>,
    /// The text that lifts the datatype's secrecy for this démarche, where the datatype's own file names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiver: Option<LegalBasis>,
}

/// Whether somebody must be there to grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// The person, or an officer with a motive.
    Required,
    /// Nobody.
    None,
}

/// How a grant may serve more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    /// How many times at most.
    pub max_count: u32,
    /// How far apart at least, in seconds.
    pub min_interval_s: u32,
}

impl Demarche {
    /// What it may ask of a datatype.
    pub fn datum(&self, datatype: &DatatypeRev) -> Option<&Datum> {
        self.data.iter().find(|d| d.datatype == *datatype)
    }
}
