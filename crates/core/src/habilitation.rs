use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::directory::rfc3339;
use crate::{DatatypeRev, DemarcheId, HabilitationId, LegalBasis, Micros, ParticipantId, UnitName};

/// The right of one consumer to ask one producer for some units of some datatypes, for one démarche. It counts while
/// the directory carries it and between its two dates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Habilitation {
    /// Its number.
    pub id: HabilitationId,
    /// Who may ask.
    pub consumer: ParticipantId,
    /// Who may ask in the consumer's name; it alone, where one is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publisher: Option<ParticipantId>,
    /// The operator that answers.
    pub producer: ParticipantId,
    /// For which démarche.
    pub demarche: DemarcheId,
    /// What may be asked.
    pub datatypes: Vec<HabilitatedDatatype>,
    /// On which legal grounds.
    pub legal_bases: Vec<LegalBasis>,
    /// How many fetches a year were foreseen; more of them raises a question, not a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_per_year: Option<u32>,
    /// From when.
    #[serde(with = "rfc3339")]
    pub not_before: Micros,
    /// Until when, excluded.
    #[serde(with = "rfc3339")]
    pub not_after: Micros,
}

/// The units of one datatype that a habilitation covers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HabilitatedDatatype {
    /// The datatype.
    pub datatype: DatatypeRev,
    /// Its units.
    pub units: BTreeSet<UnitName>,
}

impl Habilitation {
    /// Whether `now` lies between its dates.
    pub fn in_force(&self, now: Micros) -> bool {
        (self.not_before..self.not_after).contains(&now)
    }

    /// The units that may be asked of a datatype; `None` if it is not covered.
    pub fn units(&self, datatype: &DatatypeRev) -> Option<&BTreeSet<UnitName>> {
        self.datatypes
            .iter()
            .find(|d| d.datatype == *datatype)
            .map(|d| &d.units)
    }
}
