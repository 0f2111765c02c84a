//! What an exchange leaves behind, checked against a directory alone: the attestation, and each end's entry with its
//! proof. The same checks serve when an answer arrives and years later, offline.

use serde::Deserialize;
use unefois_core::catalogue::{Catalogue, UnitViolation};
use unefois_core::commitment::{AnswerForm, Field, Salt, content_digest};
use unefois_core::entry::InvalidEntry;
use unefois_core::{
    DatatypeRev, Directory, Entry, ExchangeId, HolderId, Micros, ParticipantId, Period, Sha256, UnitName,
};
use unefois_jose::{PublicKey, Thumbprint, VerifyingKey, sd_jwt};
use unefois_tlog::{Hash, Receipt, VerifierKey};

/// Largest attestation that is read, in bytes.
pub const MAX_ATTESTATION_BYTES: usize = 2 * 1_024 * 1_024;

/// Why an answer is not believed. The text names a field at most, never a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The SD-JWT is malformed, or no seal key of the directory signed it.
    #[error("the attestation is not signed by a producer of the directory")]
    Signature(#[source] unefois_jose::Error),
    /// A claim is absent, malformed, or not what was asked for.
    #[error("the claim {0} of the attestation is not the expected one")]
    Claim(&'static str),
    /// The attestation's time is over.
    #[error("the attestation has expired")]
    Expired,
    /// A unit that was not asked for.
    #[error("the attestation holds a unit that was not asked for")]
    UnitNotAsked,
    /// A document without any unit, or an absence with one.
    #[error("the attestation's units do not fit its outcome")]
    Outcome,
    /// The catalogue does not hold the datatype.
    #[error("the datatype is not in the catalogue")]
    Datatype,
    /// A unit is not what its datatype says.
    #[error("a unit of the attestation is not what its datatype says")]
    Unit(#[source] UnitViolation),
    /// The bytes are no entry.
    #[error("the entry is malformed")]
    Entry(#[source] InvalidEntry),
    /// The entry says something else than the exchange.
    #[error("the field {0} of the entry is not the expected one")]
    EntryField(&'static str),
    /// The log is not one that the directory lists for that participant.
    #[error("the log is not one of its participant")]
    ForeignLog,
    /// Inclusion proof, checkpoint or its signature do not verify.
    #[error("the entry is not proved to be in its log")]
    Proof(#[source] unefois_tlog::Error),
    /// The log is not the continuation of what was seen of it: two histories, or one rolled back.
    #[error("the log contradicts the head seen before")]
    Forked,
    /// The logged commitment is not about this content.
    #[error("the content is not what the log commits to")]
    Content,
}

/// The claims that are always visible.
#[derive(Clone, Debug, Deserialize)]
struct Claims {
    vct: String,
    iss: ParticipantId,
    aud: ParticipantId,
    iat: i64,
    exp: i64,
    computed_at: String,
    #[serde(default)]
    period: Option<Period>,
    outcome: String,
    exchange_id: ExchangeId,
    request_hash: String,
    #[serde(default)]
    holder: Option<HolderId>,
}

/// An attestation whose signature is that of its issuer's seal key. What it holds is personal.
#[derive(Clone)]
pub struct Attested {
    claims: Claims,
    datatype: DatatypeRev,
    form: AnswerForm,
    computed_at: Micros,
    request_hash: Sha256,
    /// In the order of the attestation.
    units: Vec<(UnitName, String)>,
}

impl std::fmt::Debug for Attested {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Attested(…)")
    }
}

impl Attested {
    /// Verifies the signature with the seal keys of `directory`, and that the one who signed is the one who is named.
    ///
    /// # Errors
    /// [`Fault::Signature`]; [`Fault::Claim`] names what is missing or malformed.
    pub fn verify(sd_jwt: &str, directory: &Directory) -> Result<Self, Fault> {
        Self::read(directory, |key| {
            sd_jwt::verify(sd_jwt, MAX_ATTESTATION_BYTES, key)
        })
    }

    /// As [`verify`](Self::verify), of an attestation of at most `limit` bytes some units of which may have been left out.
    ///
    /// # Errors
    /// As [`verify`](Self::verify).
    pub fn verify_presented(sd_jwt: &str, limit: usize, directory: &Directory) -> Result<Self, Fault> {
        Self::read(directory, |key| sd_jwt::verify_presented(sd_jwt, limit, key))
    }

    fn read(
        directory: &Directory,
        verify: impl FnOnce(
            &mut dyn FnMut(&Thumbprint) -> Option<VerifyingKey>,
        ) -> Result<sd_jwt::Attestation, unefois_jose::Error>,
    ) -> Result<Self, Fault> {
        let mut signer = None;
        let attestation = verify(&mut |kid: &Thumbprint| {
            let kid = kid.to_string();
            let rows = directory.document().participants.iter();
            let (row, jwk) = rows
                .flat_map(|row| row.seal_keys.iter().map(move |jwk| (row, jwk)))
                .find(|(_, jwk)| jwk.kid() == kid)?;
            signer = Some(row.id);
            PublicKey::from_point(&jwk.sec1()).ok().map(VerifyingKey::new)
        })
        .map_err(Fault::Signature)?;
        let claims: Claims = attestation.claims().map_err(|_| Fault::Claim("set"))?;
        if signer != Some(claims.iss) {
            return Err(Fault::Claim("iss"));
        }
        let datatype = claims
            .vct
            .strip_prefix("urn:unefois:")
            .and_then(|rev| rev.parse().ok());
        let form = [AnswerForm::Document, AnswerForm::Absence]
            .into_iter()
            .find(|form| form.as_str() == claims.outcome);
        let units = attestation.disclosures().iter().map(|disclosed| {
            let name = disclosed.name.parse().map_err(|_| Fault::UnitNotAsked)?;
            Ok((name, disclosed.value.get().to_owned()))
        });
        let units: Vec<(UnitName, String)> = units.collect::<Result<_, Fault>>()?;
        let form = form.ok_or(Fault::Claim("outcome"))?;
        match (form, units.is_empty()) {
            (AnswerForm::Document, false) | (AnswerForm::Absence, true) => {}
            (AnswerForm::Document, true) | (AnswerForm::Absence, false) => return Err(Fault::Outcome),
        }
        Ok(Self {
            datatype: datatype.ok_or(Fault::Claim("vct"))?,
            form,
            computed_at: claims
                .computed_at
                .parse()
                .map_err(|_| Fault::Claim("computed_at"))?,
            request_hash: claims
                .request_hash
                .parse()
                .map_err(|_| Fault::Claim("request_hash"))?,
            units,
            claims,
        })
    }

    /// The operator that signed.
    pub const fn issuer(&self) -> &ParticipantId {
        &self.claims.iss
    }

    /// The consumer that it is for.
    pub const fn audience(&self) -> &ParticipantId {
        &self.claims.aud
    }

    /// What it is about.
    pub const fn datatype(&self) -> &DatatypeRev {
        &self.datatype
    }

    /// The period asked for.
    pub const fn period(&self) -> Option<Period> {
        self.claims.period
    }

    /// The exchange.
    pub const fn exchange_id(&self) -> &ExchangeId {
        &self.claims.exchange_id
    }

    /// Hash of the canonical request.
    pub const fn request_hash(&self) -> &Sha256 {
        &self.request_hash
    }

    /// Whose data it is.
    pub const fn holder(&self) -> Option<&HolderId> {
        self.claims.holder.as_ref()
    }

    /// Document or certified absence.
    pub const fn form(&self) -> AnswerForm {
        self.form
    }

    /// When the source answered.
    pub const fn computed_at(&self) -> Micros {
        self.computed_at
    }

    /// When it was signed.
    pub const fn issued_at(&self) -> Micros {
        Micros::from_secs(self.claims.iat)
    }

    /// Until when the data may be kept.
    pub const fn expires_at(&self) -> Micros {
        Micros::from_secs(self.claims.exp)
    }

    /// Each unit with its JSON text, byte for byte the source's, in the order of the attestation.
    pub fn units(&self) -> &[(UnitName, String)] {
        &self.units
    }

    /// Checks each unit against the datatype's schema.
    ///
    /// # Errors
    /// [`Fault::Datatype`], [`Fault::Unit`].
    pub fn check_units(&self, catalogue: &Catalogue) -> Result<(), Fault> {
        let datatype = catalogue.datatype(&self.datatype).ok_or(Fault::Datatype)?;
        self.units
            .iter()
            .try_for_each(|(name, text)| datatype.check_unit(name, text).map_err(Fault::Unit))
    }

    /// The commitment to this content under `salt`: what both ends' entries hold.
    pub fn content_commit(&self, salt: &Salt) -> Sha256 {
        let digest = content_digest(
            self.form,
            self.units.iter().map(|(name, text)| (name, text.as_str())),
        );
        salt.commit(Field::Content, digest.as_bytes())
    }
}

/// An entry that is proved to be in a log of a participant of the directory.
#[derive(Clone, Debug)]
pub struct Proved {
    /// The entry.
    pub entry: Entry,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The proof as it came (C2SP tlog-proof).
    pub proof: String,
    /// Its leaf hash.
    pub leaf: Sha256,
    /// Its place in the log.
    pub index: u64,
    /// The log's origin.
    pub origin: String,
    /// Size of the log at the checkpoint.
    pub size: u64,
    /// Root of the log at the checkpoint.
    pub root: Hash,
    /// The signed checkpoint.
    pub checkpoint: String,
}

impl Proved {
    /// Verifies the entry, its inclusion and the checkpoint's signature, by a log that `directory` lists for `owner`.
    ///
    /// # Errors
    /// [`Fault::Entry`], [`Fault::Proof`], [`Fault::ForeignLog`].
    pub fn verify(
        bytes: &[u8],
        proof: &str,
        owner: &ParticipantId,
        directory: &Directory,
    ) -> Result<Self, Fault> {
        let entry = Entry::decode(bytes).map_err(Fault::Entry)?;
        let receipt: Receipt = proof.parse().map_err(Fault::Proof)?;
        let origin = receipt.checkpoint().claimed_origin().as_str();
        let (row, log) = directory.log(origin).ok_or(Fault::ForeignLog)?;
        if row.id != *owner {
            return Err(Fault::ForeignLog);
        }
        let key: VerifierKey = log.vkey.parse().map_err(Fault::Proof)?;
        let leaf = Hash::of_leaf(bytes);
        let checkpoint = receipt.verify(&leaf, &key).map_err(Fault::Proof)?;
        Ok(Self {
            entry,
            bytes: bytes.to_vec(),
            leaf: Sha256::from_bytes(*leaf.as_bytes()),
            index: receipt.index(),
            origin: origin.to_owned(),
            size: checkpoint.size,
            root: checkpoint.root,
            checkpoint: receipt.checkpoint().as_str().to_owned(),
            proof: proof.to_owned(),
        })
    }

    /// SHA-256 of the origin: how the peer's entry names this log.
    pub fn origin_hash(&self) -> Sha256 {
        Sha256::of(self.origin.as_bytes())
    }
}
