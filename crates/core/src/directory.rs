//! The directory: who takes part, with which keys and habilitations, under which catalogue.
//!
//! It is one signed document. [`Unverified`] is what was parsed; only a [`SignatureChecked`] for exactly its bytes
//! turns it into a [`Directory`], and every decision takes a [`Directory`].

mod check;
mod document;
mod jwk;
mod window;

pub(crate) use document::rfc3339;
pub use document::{
    Auditor, AuthorityRow, Bilingual, DirectoryDocument, IdentityProvider, KeyStatus, LogRow,
    ParticipantKind, ParticipantRow, Quota, TlsKey, WindowRow,
};
pub use jwk::{InvalidJwk, Jwk};
pub use window::{ClosedWindow, Day, InvalidWindow, WallTime, paris_offset};

use std::collections::BTreeMap;

use crate::{
    Acr, DatatypeRev, Habilitation, HabilitationId, Micros, OfficerAssurance, ParticipantId, Sha256,
    SignedHabilitation, SignerRole,
};

/// Why a directory is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryError {
    /// The bytes are no directory document; the message names what was expected, never a value.
    #[error("the directory is malformed at line {line}, column {column}: {what}")]
    Malformed {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What is wrong.
        what: String,
    },
    /// The document contradicts itself.
    #[error("the directory is inconsistent at {path}: {what}")]
    Inconsistent {
        /// The member, `participants[2].id`.
        path: String,
        /// What is wrong.
        what: &'static str,
    },
    /// The proof is about other bytes.
    #[error("the signature that was checked is not this directory's")]
    OtherBytes,
    /// A habilitation whose signatures were not verified.
    #[error("a habilitation of the directory was not verified")]
    UnverifiedHabilitation,
    /// An older version than the one in use.
    #[error("version {offered} of the directory is older than version {held}")]
    Rollback {
        /// The version in use.
        held: u64,
        /// The version offered.
        offered: u64,
    },
    /// The same version number over other contents.
    #[error("there are two directories of version {0}")]
    Fork(u64),
    /// The next version does not name the one in use as its predecessor.
    #[error("version {0} of the directory does not follow the one in use")]
    BrokenChain(u64),
}

/// A parsed directory that nobody has vouched for yet.
#[derive(Clone, Debug)]
pub struct Unverified {
    document: DirectoryDocument,
    hash: Sha256,
}

/// Proof that a signature over some bytes was verified with the directory key.
///
/// It holds only the digest of those bytes, so it cannot vouch for others. [`SignatureChecked::over`] is for crate
/// `jose`, after it has verified the JWS; for anyone else to call it is to lie.
#[derive(Debug)]
pub struct SignatureChecked(Sha256);

impl SignatureChecked {
    /// To be called by whoever has just verified, with the pinned directory key, a signature over `payload`.
    pub fn over(payload: &[u8]) -> Self {
        Self(Sha256::of(payload))
    }
}

/// How far a directory may be relied on at some instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// As it should be.
    Fresh,
    /// A newer one is overdue: still good, but somebody must be told.
    Alarm,
    /// Past its end: refuse with DIRECTORY_STALE.
    Expired,
}

/// How an offered directory stands to the one in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Succession {
    /// The very same.
    Same,
    /// A later version: use it.
    Newer,
}

impl Unverified {
    /// Parses the payload of a directory JWS: closed schema, members consistent with each other.
    pub fn parse(payload: &[u8]) -> Result<Self, DirectoryError> {
        let document: DirectoryDocument =
            serde_json::from_slice(payload).map_err(|e| DirectoryError::Malformed {
                line: e.line(),
                column: e.column(),
                what: what_is_wrong(&e),
            })?;
        check::check(&document)?;
        Ok(Self {
            document,
            hash: Sha256::of(payload),
        })
    }

    /// What it says, for tools that show or sign a directory; not a ground for any decision.
    pub const fn document(&self) -> &DirectoryDocument {
        &self.document
    }

    /// The keys that may sign a habilitation in this capacity: of the row of the consumer, the producer or the authority.
    pub fn signer_keys(&self, habilitation: &Habilitation, role: SignerRole) -> &[Jwk] {
        signer_keys(&self.document, habilitation, role)
    }

    /// The directory, given proof that its bytes were signed, and its habilitations, each verified.
    pub fn accept(
        self,
        proof: &SignatureChecked,
        habilitations: Vec<SignedHabilitation>,
    ) -> Result<Directory, DirectoryError> {
        let Self { document, hash } = self;
        if proof.0 != hash {
            return Err(DirectoryError::OtherBytes);
        }
        let rows = document.habilitations.iter().map(|row| &row.habilitation);
        if !rows.eq(habilitations.iter().map(SignedHabilitation::habilitation)) {
            return Err(DirectoryError::UnverifiedHabilitation);
        }
        let by_id = |signed: SignedHabilitation| (signed.habilitation().id.clone(), signed);
        Ok(Directory {
            habilitations: habilitations.into_iter().map(by_id).collect(),
            document,
            hash,
        })
    }
}

/// serde's message without the values that it repeats.
fn what_is_wrong(error: &serde_json::Error) -> String {
    use serde_json::error::Category;
    let text = error.to_string();
    match error.classify() {
        // "invalid type: string \"…\"" and its like repeat the value; the other messages name members and forms.
        Category::Data if text.starts_with("invalid ") => "a value is not of the kind expected".to_owned(),
        Category::Data => text.split(" at line ").next().unwrap_or_default().to_owned(),
        Category::Syntax | Category::Eof | Category::Io => "not JSON".to_owned(),
    }
}

fn signer_keys<'a>(
    document: &'a DirectoryDocument,
    habilitation: &Habilitation,
    role: SignerRole,
) -> &'a [Jwk] {
    let signer = habilitation.party(role);
    if role == SignerRole::Authority && signer != document.authority.participant {
        return &[];
    }
    let row = document.participants.iter().find(|row| row.id == signer);
    row.map_or(&[], |row| &row.habilitation_keys)
}

/// A directory whose signature was verified, and those of its habilitations.
#[derive(Clone, Debug)]
pub struct Directory {
    document: DirectoryDocument,
    habilitations: BTreeMap<HabilitationId, SignedHabilitation>,
    hash: Sha256,
}

impl Directory {
    /// Its version; a later one is greater.
    pub const fn version(&self) -> u64 {
        self.document.version
    }

    /// SHA-256 of the signed payload, which the next version names as `prev`.
    pub const fn hash(&self) -> &Sha256 {
        &self.hash
    }

    /// Everything it says.
    pub const fn document(&self) -> &DirectoryDocument {
        &self.document
    }

    /// The digest of the compiled catalogue that goes with it.
    pub const fn catalogue_hash(&self) -> &Sha256 {
        &self.document.catalogue_hash
    }

    /// How long a withdrawal lease lasts, in milliseconds.
    pub const fn lease_ms(&self) -> u32 {
        self.document.lease_ms
    }

    /// The authority's row.
    pub const fn authority(&self) -> &AuthorityRow {
        &self.document.authority
    }

    /// A participant's row.
    pub fn participant(&self, id: &ParticipantId) -> Option<&ParticipantRow> {
        self.document.participants.iter().find(|row| row.id == *id)
    }

    /// Whether a peer that proved `id` by its certificate may use the key with this SPKI digest: its row lists it, as
    /// current or next.
    pub fn peer_allowed(&self, id: &ParticipantId, spki_sha256: &Sha256) -> bool {
        self.participant(id)
            .is_some_and(|row| row.tls.iter().any(|key| key.spki_sha256 == *spki_sha256))
    }

    /// Whether `publisher` may act for `tenant`: itself, or listed in the tenant's row.
    pub fn acts_for(&self, publisher: &ParticipantId, tenant: &ParticipantId) -> bool {
        publisher == tenant
            || self
                .participant(tenant)
                .is_some_and(|row| row.publishers.contains(publisher))
    }

    /// The auditor who holds this key.
    pub fn auditor(&self, spki_sha256: &Sha256) -> Option<&Auditor> {
        self.document
            .auditors
            .iter()
            .find(|a| a.spki_sha256 == *spki_sha256)
    }

    /// A log by its origin, with the participant that keeps it.
    pub fn log(&self, origin: &str) -> Option<(&ParticipantRow, &LogRow)> {
        let mut logs = self
            .document
            .participants
            .iter()
            .flat_map(|row| row.logs.iter().map(move |log| (row, log)));
        logs.find(|(_, log)| log.origin == origin)
    }

    /// A habilitation that three have signed, in force or not.
    pub fn habilitation(&self, id: &HabilitationId) -> Option<&SignedHabilitation> {
        self.habilitations.get(id)
    }

    /// The keys that may sign a habilitation in this capacity.
    pub fn signer_keys(&self, habilitation: &Habilitation, role: SignerRole) -> &[Jwk] {
        signer_keys(&self.document, habilitation, role)
    }

    /// Whether the identity provider with this issuer may assert this level (I10).
    pub fn issuer_entitled(&self, issuer: &str, acr: Acr) -> bool {
        self.document
            .authority
            .identity_providers
            .iter()
            .any(|p| p.issuer == issuer && p.acr.contains(&acr))
    }

    /// Whether the identity provider with this issuer may assert this of officers (I10): an entitlement of its own, which
    /// no level of people's brings.
    pub fn issuer_entitled_to_officers(&self, issuer: &str, assurance: OfficerAssurance) -> bool {
        let mut providers = self.document.authority.identity_providers.iter();
        providers.any(|p| p.issuer == issuer && p.officers.contains(&assurance))
    }

    /// How many fetches of this datatype the consumer may make in a minute; `None` without a row: no right to any.
    pub fn quota_per_minute(&self, consumer: &ParticipantId, datatype: &DatatypeRev) -> Option<u32> {
        let mut rows = self.document.quotas.iter();
        rows.find(|q| q.consumer == *consumer && q.datatype == *datatype)
            .map(|q| q.per_minute)
    }

    /// When this participant answers again for this datatype, if one of its closed windows holds at `now`.
    pub fn closed_until(
        &self,
        participant: &ParticipantId,
        datatype: &DatatypeRev,
        now: Micros,
    ) -> Option<Micros> {
        let rows = self.document.closed_windows.iter().filter(|row| {
            row.participant == *participant && row.datatype.as_ref().is_none_or(|d| d == datatype)
        });
        rows.filter_map(|row| row.window.closed_until(now)).max()
    }

    /// How far this directory may be relied on at `now`.
    pub fn freshness(&self, now: Micros) -> Freshness {
        match () {
            () if now >= self.document.expires => Freshness::Expired,
            () if now >= self.document.next_update => Freshness::Alarm,
            () => Freshness::Fresh,
        }
    }

    /// Whether this directory may take the place of `held`: the version never goes back, one version has one content,
    /// and the version right after names its predecessor.
    pub fn successor_of(&self, held: &Self) -> Result<Succession, DirectoryError> {
        let (offered, held_version) = (self.version(), held.version());
        if self.hash == held.hash {
            return Ok(Succession::Same);
        }
        match offered.cmp(&held_version) {
            std::cmp::Ordering::Less => Err(DirectoryError::Rollback {
                held: held_version,
                offered,
            }),
            std::cmp::Ordering::Equal => Err(DirectoryError::Fork(offered)),
            std::cmp::Ordering::Greater
                if offered == held_version + 1 && self.document.prev != Some(held.hash) =>
            {
                Err(DirectoryError::BrokenChain(offered))
            }
            std::cmp::Ordering::Greater => Ok(Succession::Newer),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
