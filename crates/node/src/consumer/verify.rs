//! Everything of an answer is checked before anything of it is handed on.

use std::sync::Arc;

use unefois_core::commitment::{AnswerForm, Field, GrantSecret, Salt};
use unefois_core::{Event, FetchCore, Micros, Outcome, ParticipantId};
use unefois_ledger::DurableReceipt;
use unefois_mesh::Edition;
use unefois_tlog::{Hash, verify_consistency};

use super::evidence::{Attested, Fault, Proved};

/// How far ahead of ours a producer's clock may be.
const AHEAD_MS: i64 = 60_000;

/// What was asked, and under what.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The directory and catalogue that the call rests on.
    pub edition: Arc<Edition>,
    /// This consumer.
    pub consumer: ParticipantId,
    /// Who was asked.
    pub operator: ParticipantId,
    /// The canonical request.
    pub core: FetchCore,
    /// The handle's secret of the month.
    pub gs: GrantSecret,
    /// The head of the producer's log that was named in the call.
    pub known: Option<KnownHead>,
    /// When the answer arrived.
    pub now: Micros,
}

/// A head of a peer's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownHead {
    /// Which log.
    pub origin: String,
    /// How many entries it had.
    pub size: u64,
    /// Their root.
    pub root: Hash,
    /// The checkpoint, as the log signed it.
    pub checkpoint: String,
}

/// An answer as it came.
#[derive(Clone)]
pub struct Answer {
    /// SD-JWT.
    pub sd_jwt: String,
    /// The 32 bytes under the content's commitment.
    pub content_salt: [u8; 32],
    /// What the message says that it is; the signed claim must say the same.
    pub form: AnswerForm,
    /// The producer's entry.
    pub entry: Vec<u8>,
    /// Its proof.
    pub proof: String,
    /// That the log extends the head that was named.
    pub consistency: Vec<Hash>,
    /// The head of this consumer's own log that the producer says it holds; empty where it holds none.
    pub held: String,
}

/// An answer of which everything was checked, and that no entry records yet: it cannot be handed on.
#[derive(Debug)]
pub struct VerifiedAnswer {
    sd_jwt: String,
    content_salt: [u8; 32],
    attested: Attested,
    producer: Proved,
}

/// A verified answer whose entry `received` is durable: what a back-office gets.
#[derive(Debug)]
pub struct ReceivedAnswer {
    verified: VerifiedAnswer,
    receipt: DurableReceipt,
}

impl Answer {
    /// Checks all of it against what was asked.
    ///
    /// # Errors
    /// The first [`Fault`]; then nothing of the answer may be used.
    pub fn verify(self, asked: &Asked) -> Result<VerifiedAnswer, Fault> {
        let directory = &asked.edition.directory;
        let attested = Attested::verify(&self.sd_jwt, directory)?;
        check_attestation(&attested, &self, asked)?;
        let producer = Proved::verify(&self.entry, &self.proof, &asked.operator, directory)?;
        check_entry(&producer, &attested, &self, asked)?;
        check_continuation(&producer, &self.consistency, asked)?;
        Ok(VerifiedAnswer {
            sd_jwt: self.sd_jwt,
            content_salt: self.content_salt,
            attested,
            producer,
        })
    }
}

fn check_attestation(attested: &Attested, answer: &Answer, asked: &Asked) -> Result<(), Fault> {
    let core = &asked.core;
    for (claim, holds) in [
        ("iss", *attested.issuer() == asked.operator),
        ("aud", *attested.audience() == asked.consumer),
        ("vct", *attested.datatype() == core.datatype),
        ("exchange_id", *attested.exchange_id() == core.request_id),
        ("request_hash", *attested.request_hash() == core.hash()),
        ("period", attested.period() == core.period),
        ("outcome", attested.form() == answer.form),
        ("iat", attested.issued_at() <= asked.now.plus_ms(AHEAD_MS)),
        (
            "computed_at",
            attested.computed_at() <= asked.now.plus_ms(AHEAD_MS),
        ),
    ] {
        if !holds {
            return Err(Fault::Claim(claim));
        }
    }
    if attested.expires_at() <= asked.now {
        return Err(Fault::Expired);
    }
    let datatype = asked
        .edition
        .catalogue
        .datatype(&core.datatype)
        .ok_or(Fault::Datatype)?;
    if attested
        .holder()
        .is_some_and(|holder| !datatype.sheet().holders.contains(holder))
    {
        return Err(Fault::Claim("holder"));
    }
    if !attested.units().iter().all(|(name, _)| core.units.contains(name)) {
        return Err(Fault::UnitNotAsked);
    }
    attested.check_units(&asked.edition.catalogue)
}

fn check_entry(producer: &Proved, attested: &Attested, answer: &Answer, asked: &Asked) -> Result<(), Fault> {
    let (entry, core) = (&producer.entry, &asked.core);
    let commit = |field, value: &[u8]| Some(asked.gs.commit(&core.request_id, field, value));
    let units = asked.edition.catalogue.datatype(&core.datatype);
    let units = units.and_then(|datatype| datatype.unit_set(&core.units).ok());
    for (field, holds) in [
        (
            "event",
            matches!(entry.event, Event::Released | Event::ReleasedAgain),
        ),
        ("exchange_id", entry.exchange_id == Some(core.request_id)),
        ("requester", entry.requester == Some(asked.consumer)),
        ("provider", entry.provider == Some(asked.operator)),
        ("datatype", entry.datatype.as_ref() == Some(&core.datatype)),
        ("demarche", entry.demarche.as_ref() == Some(&core.demarche)),
        ("units", units.is_some_and(|units| units.bits() == entry.units)),
        ("outcome", entry.outcome == Some(Outcome::Answered)),
        ("holder", entry.holder.as_ref() == attested.holder()),
        ("request_hash", entry.request_hash == Some(core.hash())),
        (
            "grant_commit",
            entry.grant_commit == commit(Field::Grant, core.handle.as_bytes()),
        ),
        (
            "dossier_commit",
            entry.dossier_commit == commit(Field::Dossier, core.dossier.as_str().as_bytes()),
        ),
    ] {
        if !holds {
            return Err(Fault::EntryField(field));
        }
    }
    let salt = Salt::from_bytes(answer.content_salt);
    match entry.content_commit == Some(attested.content_commit(&salt)) {
        true => Ok(()),
        false => Err(Fault::Content),
    }
}

/// The log must extend the head that was named; another log of the same operator proves nothing of that one.
fn check_continuation(producer: &Proved, proof: &[Hash], asked: &Asked) -> Result<(), Fault> {
    let Some(known) = asked
        .known
        .as_ref()
        .filter(|known| known.origin == producer.origin)
    else {
        return Ok(());
    };
    verify_consistency((known.size, &known.root), (producer.size, &producer.root), proof)
        .map_err(|_| Fault::Forked)
}

impl VerifiedAnswer {
    /// What it attests.
    pub const fn attested(&self) -> &Attested {
        &self.attested
    }

    /// The producer's entry and its proof.
    pub const fn producer(&self) -> &Proved {
        &self.producer
    }

    /// Joins the answer with the proof that its entry is durable.
    pub(super) const fn received(self, receipt: DurableReceipt) -> ReceivedAnswer {
        ReceivedAnswer {
            verified: self,
            receipt,
        }
    }
}

impl ReceivedAnswer {
    /// The attestation as received (SD-JWT).
    pub fn sd_jwt(&self) -> &str {
        &self.verified.sd_jwt
    }

    /// The salt of the content's commitment.
    pub const fn content_salt(&self) -> &[u8; 32] {
        &self.verified.content_salt
    }

    /// What it attests.
    pub const fn attested(&self) -> &Attested {
        &self.verified.attested
    }

    /// The producer's entry and its proof.
    pub const fn producer(&self) -> &Proved {
        &self.verified.producer
    }

    /// This node's own entry and its proof.
    pub const fn receipt(&self) -> &DurableReceipt {
        &self.receipt
    }
}
