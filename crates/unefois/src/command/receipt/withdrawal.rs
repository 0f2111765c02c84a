//! The proof of a withdrawal that a person takes home, `preuve-retrait.json`, judged without the authority.
//!
//! For each element of the grant the file holds the proof of effect, the entry `effective` of the authority's ledger that
//! commits to it, the salt that shows so and the entry's place under a signed head. Nothing is believed but what the
//! authority's log key signed and, where the directory is at hand, what the keys of the producers' logs did.

#[cfg(test)]
mod tests;
pub(super) mod words;

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::Deserialize;
use unefois_auditor::withdrawals::{Case, Disclosed, Fault, Listed, Noted, Opening, Remark};
use unefois_core::commitment::{Field, Salt};
use unefois_core::effect::{Effect, Standing};
use unefois_core::revocation::Withdrawal;
use unefois_core::{Entry, Event, Handle, Micros};
use unefois_jose::strict_json;
use unefois_tlog::{Hash, Receipt, SignedCheckpoint};

use super::Trust;

/// Largest file that is read, in bytes: eight proofs of the ledger's largest evidence.
pub(super) const MAX_BYTES: usize = 16 * 1_024 * 1_024;
/// Most proofs that a file holds. A grant has eight elements, and one more each time that one is narrowed.
const MAX_PROOFS: usize = 1_024;

/// The file, read and not judged.
#[derive(Debug)]
pub(super) struct ProofFile {
    /// The grant's number, which nothing in the file proves.
    pub(super) grant_id: String,
    /// One an element.
    pub(super) proofs: Vec<Proof>,
}

/// What the file holds of one element.
#[derive(Debug)]
pub(super) struct Proof {
    pub(super) effect: Effect,
    pub(super) handle: Handle,
    /// `None` until the authority has written its entry.
    pub(super) logged: Option<Logged>,
}

/// The entry that commits to a proof, and where it is.
#[derive(Debug)]
pub(super) struct Logged {
    bytes: Vec<u8>,
    entry: Entry,
    salt: Salt,
    receipt: Receipt,
}

/// The file is not one that the authority hands out; it says nothing either way.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidFile {
    #[error("il dépasse 16 Mio")]
    TooLarge,
    #[error("ce n'est pas le JSON d'une preuve de retrait")]
    Form,
    #[error("il contient {0} preuves ; il en faut de 1 à {MAX_PROOFS}")]
    Count(usize),
    #[error("le membre {0} est mal formé")]
    Member(&'static str),
    #[error("deux membres de la preuve {0} se contredisent")]
    Contradiction(usize),
    #[error("la preuve {0} n'est pas celle du retrait d'une autorisation")]
    NotOfGrant(usize),
    #[error("deux preuves sont du même élément")]
    Twice,
}

/// Why a proof does not hold.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("l'annuaire ne connaît pas le registre {0}")]
    UnknownLog(String),
    #[error("le registre {0} n'est pas celui de l'autorité")]
    NotTheAuthority(String),
    #[error("l'inscription n'est pas dans le registre")]
    NotInLog(#[source] unefois_tlog::Error),
    #[error("l'inscription n'est pas celle d'un retrait effectif")]
    OtherEvent,
    #[error("{}", crate::command::audit::check_withdrawals::fault_fr(.0))]
    Fault(Fault),
}

/// What a proof shows that holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shown {
    /// The size of the authority's head that the entry lies under.
    pub(super) size: u64,
    /// The heads that logs acknowledged it with, of those whose own signatures are verified.
    pub(super) signed: BTreeMap<String, (u64, Hash)>,
    /// Logs that another version of the directory gives the operator, and of which the proof says nothing.
    pub(super) without_line: Vec<String>,
}

impl ProofFile {
    /// Reads a file.
    ///
    /// # Errors
    /// [`InvalidFile`].
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, InvalidFile> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct File {
            grant_id: String,
            proofs: Vec<Text>,
        }
        if bytes.len() > MAX_BYTES {
            return Err(InvalidFile::TooLarge);
        }
        let file: File = strict_json::from_slice(bytes).map_err(|_| InvalidFile::Form)?;
        let grant = URL_SAFE_NO_PAD.decode(&file.grant_id);
        if grant.map(|bytes| bytes.len()) != Ok(16) {
            return Err(InvalidFile::Member("grant_id"));
        }
        if !(1..=MAX_PROOFS).contains(&file.proofs.len()) {
            return Err(InvalidFile::Count(file.proofs.len()));
        }
        let proofs = (1..).zip(file.proofs);
        let proofs: Vec<Proof> = proofs
            .map(|(number, text)| text.read(number))
            .collect::<Result<_, _>>()?;
        let handles: BTreeSet<Handle> = proofs.iter().map(|proof| proof.handle).collect();
        if handles.len() < proofs.len() {
            return Err(InvalidFile::Twice);
        }
        Ok(Self {
            grant_id: file.grant_id,
            proofs,
        })
    }

    /// Judges each proof: what it shows, or `None` where its entry is not written yet.
    ///
    /// # Errors
    /// The number of the first that does not hold, from 1, and why.
    pub(super) fn verify(&self, trust: &Trust) -> Result<Vec<Option<Shown>>, (usize, Refusal)> {
        let judged = (1..).zip(&self.proofs).map(|(number, proof)| {
            let logged = proof.logged.as_ref();
            let shown = logged.map(|logged| logged.verify(&proof.effect, trust));
            shown.transpose().map_err(|why| (number, why))
        });
        judged.collect()
    }
}

/// One proof as it stands in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    effective_at: String,
    /// Its text, since the entry commits to these very bytes.
    effect: String,
    receipt: Option<LoggedText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LoggedText {
    log: String,
    index: u64,
    entry: String,
    salt: String,
    proof: String,
}

impl Text {
    fn read(self, number: usize) -> Result<Proof, InvalidFile> {
        let effect = Effect::from_bytes(self.effect.as_bytes()).ok_or(InvalidFile::Member("effect"))?;
        if effect.effective_at.to_rfc3339() != self.effective_at {
            return Err(InvalidFile::Contradiction(number));
        }
        let Withdrawal::Grant(handle) = effect.record.withdrawal else {
            return Err(InvalidFile::NotOfGrant(number));
        };
        let logged = self.receipt.map(|logged| logged.read(number)).transpose()?;
        Ok(Proof {
            effect,
            handle,
            logged,
        })
    }
}

impl LoggedText {
    fn read(self, number: usize) -> Result<Logged, InvalidFile> {
        let bytes = STANDARD
            .decode(&self.entry)
            .map_err(|_| InvalidFile::Member("entry"))?;
        let entry = Entry::decode(&bytes).map_err(|_| InvalidFile::Member("entry"))?;
        let salt = STANDARD
            .decode(&self.salt)
            .map_err(|_| InvalidFile::Member("salt"))?;
        let salt = salt.try_into().map_err(|_| InvalidFile::Member("salt"))?;
        let receipt: Receipt = self.proof.parse().map_err(|_| InvalidFile::Member("proof"))?;
        let same = receipt.checkpoint().claimed_origin().as_str() == self.log
            && receipt.index() == self.index
            && receipt.unauthenticated_extra().is_none_or(|leaf| leaf == bytes);
        if !same {
            return Err(InvalidFile::Contradiction(number));
        }
        Ok(Logged {
            bytes,
            entry,
            salt: Salt::from_bytes(salt),
            receipt,
        })
    }
}

impl Logged {
    /// The place of the entry in the authority's ledger.
    pub(super) const fn index(&self) -> u64 {
        self.receipt.index()
    }

    /// The authority's ledger.
    pub(super) fn log(&self) -> &str {
        self.receipt.checkpoint().claimed_origin().as_str()
    }

    fn verify(&self, effect: &Effect, trust: &Trust) -> Result<Shown, Refusal> {
        let key = trust.key(self.log());
        let key = key.ok_or_else(|| Refusal::UnknownLog(self.log().to_owned()))?;
        if trust.is_anothers(self.log()) {
            return Err(Refusal::NotTheAuthority(self.log().to_owned()));
        }
        let head = self
            .receipt
            .verify(&Hash::of_leaf(&self.bytes), &key)
            .map_err(Refusal::NotInLog)?;
        if self.entry.event != Event::Effective {
            return Err(Refusal::OtherEvent);
        }
        let bytes = effect.to_bytes();
        let opens = self.entry.evidence_commit == Some(self.salt.commit(Field::Evidence, &bytes));
        let evidence = match opens {
            true => Opening::Opens(bytes),
            false => Opening::DoesNotOpen,
        };
        self.judged(effect, evidence, trust, head.size)
    }

    /// By the rules that auditors judge a proof by, without the secrets that they are given.
    fn judged(&self, effect: &Effect, evidence: Opening, trust: &Trust, size: u64) -> Result<Shown, Refusal> {
        let noted = Noted {
            log: 0,
            index: self.index(),
            entry: self.entry.clone(),
        };
        let disclosed = Disclosed {
            evidence,
            secrets: Vec::new(),
        };
        let listed = match trust {
            Trust::Directory(directory) => Listed::of(directory),
            // Of no version: each log may be one that it does not name.
            Trust::Key(_) => Listed {
                version: u64::MAX,
                issued_at: Micros::new(i64::MAX),
                logs: BTreeMap::new(),
            },
        };
        let case = Case::open(&noted, disclosed, &listed);
        if let Some(fault) = case.faults().first() {
            return Err(Refusal::Fault(fault.clone()));
        }
        let mut signed = BTreeMap::new();
        for line in &effect.logs {
            let Standing::Acknowledged { view, checkpoint } = &line.standing else {
                continue;
            };
            if *view < effect.place() {
                return Err(Refusal::Fault(Fault::BelowRecord(line.origin.clone())));
            }
            let head = SignedCheckpoint::parse(checkpoint.as_bytes()).ok();
            let head = head.filter(|head| head.claimed_origin().as_str() == line.origin);
            let head = head.ok_or_else(|| Refusal::Fault(Fault::Checkpoint(line.origin.clone())))?;
            // Where its key is known, the rules above have verified it.
            let key = listed.logs.get(&line.origin).map(|(_, key)| key);
            if let Some(head) = key.and_then(|key| head.verify(key).ok()) {
                signed.insert(line.origin.clone(), (head.size, head.root));
            }
        }
        let without_line = case.remarks().iter().filter_map(|remark| match remark {
            Remark::AddedSince(log) => Some(log.clone()),
            Remark::Duplicate(_) | Remark::RemovedSince(_) | Remark::Unread(_) => None,
        });
        Ok(Shown {
            size,
            signed,
            without_line: without_line.collect(),
        })
    }
}
