//! The catalogue: which datatypes exist, what they need and hold, and which démarches may ask for them.
//!
//! It is written as YAML files, one a datatype, démarche or producer, checked as a whole, and compiled to one JSON
//! text whose digest the directory signs. A node takes the compiled text and nothing else, so that every participant
//! cuts the same payloads to the same units.

mod check;
mod datatype;
mod demarche;
mod named;
mod position;
mod producer;
mod sheet;
mod signed;
mod units;

pub(crate) use datatype::canonical;
pub use datatype::{Accepted, Datatype, UnitViolation};
pub use demarche::{Datum, Demarche, Mandatory, Presence, Standing};
pub use producer::{Answers, Contact, Producer};
pub use sheet::{
    AbsenceWhen, Asker, Attestation, Birthplace, Concerns, DatatypeSheet, HolderFrom, LinkProof, PeriodRule,
    PeriodUnit, PersonRole, Persons, PivotAttribute, PivotRule, Refresh, Sample, Secrecy, SecrecyKind,
    SubjectRule, Unit,
};
pub use units::{MAX_UNITS, UnitSet};

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{DatatypeRev, DemarcheId, HolderId, Sha256};
use position::{Entry, Sources};

/// A checked catalogue.
#[derive(Debug)]
pub struct Catalogue {
    datatypes: BTreeMap<DatatypeRev, Datatype>,
    demarches: BTreeMap<DemarcheId, Demarche>,
    demarche_digests: BTreeMap<DemarcheId, Sha256>,
    producers: BTreeMap<HolderId, Producer>,
    bytes: Vec<u8>,
    hash: Sha256,
}

/// Something wrong in a catalogue file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file, as it was named to [`Catalogue::load`].
    pub file: String,
    /// From 1; 0 where no place is known.
    pub line: u64,
    /// From 1; 0 where no place is known.
    pub column: u64,
    /// A word for machines: `unit_pointer`, `legal_secrecy`.
    pub code: &'static str,
    /// For people, in French.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            code,
            message,
        } = self;
        write!(f, "{file}:{line}:{column}: {code}: {message}")
    }
}

/// A compiled catalogue that may not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogueError {
    /// It is not the one that the directory names.
    #[error("the catalogue is not the one that the directory names")]
    OtherBytes,
    /// It does not read as a compiled catalogue of this version.
    #[error("the compiled catalogue is malformed at line {line}, column {column}")]
    Malformed {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// It breaks the catalogue's rules; the first problem is given.
    #[error("the compiled catalogue breaks a rule: {0}")]
    Inconsistent(Problem),
}

/// The compiled form, in the order of identifiers.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Compiled {
    datatypes: Vec<DatatypeSheet>,
    demarches: Vec<Demarche>,
    producers: Vec<Producer>,
}

impl Catalogue {
    /// Reads and checks the files, each with its path below the catalogue's folder (`types/…`, `demarches/…`,
    /// `producers/…`) and its text. Everything wrong is reported, in the order of files and lines; of a file that is
    /// not even in the right shape, its first mistake.
    pub fn load(files: &[(&str, &str)]) -> Result<Self, Vec<Problem>> {
        let mut sources = Sources::default();
        for (path, text) in files {
            sources.read(path, text);
        }
        let Sources {
            datatypes,
            demarches,
            producers,
            mut problems,
        } = sources;
        match Self::assemble(datatypes, demarches, producers) {
            Ok(catalogue) if problems.is_empty() => Ok(catalogue),
            Ok(_) => Err(sorted(problems)),
            Err(more) => {
                problems.extend(more);
                Err(sorted(problems))
            }
        }
    }

    /// Reads the compiled form; `expected` is the digest in the directory.
    pub fn from_bytes(bytes: &[u8], expected: &Sha256) -> Result<Self, CatalogueError> {
        if Sha256::of(bytes) != *expected {
            return Err(CatalogueError::OtherBytes);
        }
        let Compiled {
            datatypes,
            demarches,
            producers,
        } = serde_json::from_slice(bytes).map_err(|e| CatalogueError::Malformed {
            line: e.line(),
            column: e.column(),
        })?;
        let catalogue = Self::assemble(
            datatypes
                .into_iter()
                .map(|sheet| Entry::compiled(sheet.rev().to_string(), sheet))
                .collect(),
            demarches
                .into_iter()
                .map(|demarche| Entry::compiled(demarche.id.to_string(), demarche))
                .collect(),
            producers
                .into_iter()
                .map(|producer| Entry::compiled(producer.id.to_string(), producer))
                .collect(),
        );
        catalogue.map_err(|problems| match sorted(problems).into_iter().next() {
            Some(problem) => CatalogueError::Inconsistent(problem),
            None => CatalogueError::Malformed { line: 0, column: 0 },
        })
    }

    /// The compiled form: JSON, canonical, so that the same files give the same bytes everywhere.
    pub fn to_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of the compiled form.
    pub const fn hash(&self) -> Sha256 {
        self.hash
    }

    /// A revision of a datatype.
    pub fn datatype(&self, rev: &DatatypeRev) -> Option<&Datatype> {
        self.datatypes.get(rev)
    }

    /// Every revision of every datatype, in the order of their identifiers.
    pub fn datatypes(&self) -> impl Iterator<Item = &Datatype> {
        self.datatypes.values()
    }

    /// A démarche.
    pub fn demarche(&self, id: &DemarcheId) -> Option<&Demarche> {
        self.demarches.get(id)
    }

    /// The digest of what a habilitation signs of a démarche.
    pub fn demarche_sha256(&self, id: &DemarcheId) -> Option<&Sha256> {
        self.demarche_digests.get(id)
    }

    /// Every démarche.
    pub fn demarches(&self) -> impl Iterator<Item = &Demarche> {
        self.demarches.values()
    }

    /// A producer, or another body whose data some operator holds.
    pub fn producer(&self, id: &HolderId) -> Option<&Producer> {
        self.producers.get(id)
    }

    /// Every producer.
    pub fn producers(&self) -> impl Iterator<Item = &Producer> {
        self.producers.values()
    }

    fn assemble(
        datatypes: Vec<Entry<DatatypeSheet>>,
        demarches: Vec<Entry<Demarche>>,
        producers: Vec<Entry<Producer>>,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = check::check(&datatypes, &demarches, &producers);
        let producers: BTreeMap<_, _> = producers
            .into_iter()
            .map(|e| (e.value.id.clone(), e.value))
            .collect();
        let mut built = BTreeMap::new();
        for entry in datatypes {
            let operator = producers.get(&entry.value.operator);
            let answers = operator.and_then(|p| p.answers.as_ref());
            let operator = operator.and_then(|p| p.participant);
            match (Datatype::build(entry.value.clone(), answers), operator) {
                (Ok(datatype), Some(operator)) => {
                    problems.extend(check::samples(&entry, &datatype));
                    built.insert(entry.value.rev(), datatype.operated_by(operator));
                }
                // Reported by `check` already.
                (Ok(_), None) => {}
                (Err(invalid), _) => problems.extend(invalid.iter().map(|schema| {
                    entry.problem(&format!("/schema{}", schema.at), "schema", schema.what.clone())
                })),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let demarches: BTreeMap<_, _> = demarches
            .into_iter()
            .map(|e| (e.value.id.clone(), e.value))
            .collect();
        let compiled = Compiled {
            datatypes: built.values().map(|d| d.sheet().clone()).collect(),
            demarches: demarches.values().cloned().collect(),
            producers: producers.values().cloned().collect(),
        };
        let bytes = serde_json::to_vec(&compiled).expect("sheets have string keys and finite numbers");
        let digest = |demarche: &Demarche| (demarche.id.clone(), signed::demarche(demarche));
        Ok(Self {
            datatypes: built,
            demarche_digests: demarches.values().map(digest).collect(),
            demarches,
            producers,
            hash: Sha256::of(&bytes),
            bytes,
        })
    }
}

fn sorted(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort();
    problems.dedup();
    problems
}

#[cfg(test)]
pub(crate) mod tests;
