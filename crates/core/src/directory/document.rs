use serde::{Deserialize, Serialize};

use super::{ClosedWindow, Jwk};
use crate::{Acr, DatatypeRev, HabilitationRow, Micros, OfficerAssurance, ParticipantId, Sha256};

/// What the offline key signs, as JSON in a closed schema; instants are RFC 3339 text, digests hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectoryDocument {
    /// Strictly increasing, by one at each signature.
    pub version: u64,
    /// SHA-256 of the previous version's payload; absent in the first.
    #[serde(default, with = "optional_hex", skip_serializing_if = "Option::is_none")]
    pub prev: Option<Sha256>,
    /// When it was signed.
    #[serde(with = "rfc3339")]
    pub issued_at: Micros,
    /// When a newer one is due: an alarm from then on.
    #[serde(with = "rfc3339")]
    pub next_update: Micros,
    /// When it stops counting, without grace.
    #[serde(with = "rfc3339")]
    pub expires: Micros,
    /// Thumbprint (RFC 7638) of the key that is to sign directories after the present one: from now on one that it has
    /// signed is followed too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_directory_key: Option<String>,
    /// How long a withdrawal lease lasts.
    pub lease_ms: u32,
    /// SHA-256 of the compiled catalogue (`Catalogue::to_bytes`).
    #[serde(with = "crate::digest::hex")]
    pub catalogue_hash: Sha256,
    /// Everyone who takes part, the authority included.
    pub participants: Vec<ParticipantRow>,
    /// The authority.
    pub authority: AuthorityRow,
    /// Who may read whole ledgers.
    #[serde(default)]
    pub auditors: Vec<Auditor>,
    /// Who may ask for what.
    pub habilitations: Vec<HabilitationRow>,
    /// How often.
    #[serde(default)]
    pub quotas: Vec<Quota>,
    /// When a node does not answer.
    #[serde(default)]
    pub closed_windows: Vec<WindowRow>,
}

/// A text in both languages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bilingual {
    /// French.
    pub fr: String,
    /// English.
    pub en: String,
}

/// What kind of body a participant is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParticipantKind {
    /// A State service, a public establishment or a social security body.
    Administration,
    /// A local authority, or a body of one.
    Collectivite,
    /// A private body: it gets nothing but on consent.
    Prive,
}

/// One participant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParticipantRow {
    /// Its name everywhere.
    pub id: ParticipantId,
    /// Its name for people.
    pub name: Bilingual,
    /// What it is.
    pub kind: ParticipantKind,
    /// Where its node listens on the mesh, `host:port` for each replica; empty for one that only calls.
    #[serde(default)]
    pub mesh: Vec<String>,
    /// Its pages for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_url: Option<String>,
    /// How to reach its data protection officer: a mail address or a URL.
    pub dpo: String,
    /// Where a browser may come back to after a grant, compared exactly.
    #[serde(default)]
    pub redirect_uris: Vec<String>,
    /// The keys of its certificates.
    pub tls: Vec<TlsKey>,
    /// The keys of its attestations, current first.
    #[serde(default)]
    pub seal_keys: Vec<Jwk>,
    /// The keys that pivots are sealed to, current first.
    #[serde(default)]
    pub pivot_keys: Vec<Jwk>,
    /// Its ledgers, one a replica.
    #[serde(default)]
    pub logs: Vec<LogRow>,
    /// The keys that sign its habilitations, which are kept offline, current first.
    #[serde(default)]
    pub habilitation_keys: Vec<Jwk>,
    /// Who may act for it.
    #[serde(default)]
    pub publishers: Vec<ParticipantId>,
}

/// A TLS key that a participant's certificates may hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsKey {
    /// SHA-256 of the SubjectPublicKeyInfo in DER.
    #[serde(with = "crate::digest::hex")]
    pub spki_sha256: Sha256,
    /// In use, or about to be.
    pub status: KeyStatus,
}

/// Where a key stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyStatus {
    /// In use.
    Current,
    /// Published ahead of its use.
    Next,
}

/// One ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogRow {
    /// The origin line of its checkpoints.
    pub origin: String,
    /// Its verifier key (C2SP signed-note, `name+hash+key`).
    pub vkey: String,
}

/// The authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorityRow {
    /// Its participant.
    pub participant: ParticipantId,
    /// Its issuer URL (RFC 8414), as in the `iss` of tokens.
    pub issuer: String,
    /// Where people see and withdraw.
    pub portal: String,
    /// The keys of access tokens, current first.
    pub token_keys: Vec<Jwk>,
    /// The keys of withdrawal batches, current first.
    pub withdrawal_keys: Vec<Jwk>,
    /// The keys that consumers seal an identity to where its person does not log in, current first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subject_keys: Vec<Jwk>,
    /// Which identity provider may assert which level.
    pub identity_providers: Vec<IdentityProvider>,
}

/// An identity provider and the levels that it is entitled to assert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityProvider {
    /// Its issuer, as in the claim `idp_iss`.
    pub issuer: String,
    /// The levels that count when it asserts them of people.
    pub acr: Vec<Acr>,
    /// What counts when it asserts it of officers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub officers: Vec<OfficerAssurance>,
}

/// Somebody who may read whole ledgers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auditor {
    /// Their name.
    pub name: String,
    /// SHA-256 of the SubjectPublicKeyInfo of their certificate.
    #[serde(with = "crate::digest::hex")]
    pub spki_sha256: Sha256,
}

/// How often a consumer may fetch a datatype.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// Who.
    pub consumer: ParticipantId,
    /// What.
    pub datatype: DatatypeRev,
    /// How many a minute.
    pub per_minute: u32,
}

/// When a participant's node does not answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowRow {
    /// Whose node.
    pub participant: ParticipantId,
    /// For which datatype; for all where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datatype: Option<DatatypeRev>,
    /// When.
    pub window: ClosedWindow,
}

pub(crate) mod rfc3339 {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::Micros;

    pub(crate) fn serialize<S: Serializer>(instant: &Micros, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&instant.to_rfc3339())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Micros, D::Error> {
        String::deserialize(d)?.parse().map_err(D::Error::custom)
    }
}

mod optional_hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::Sha256;

    pub(super) fn serialize<S: Serializer>(digest: &Option<Sha256>, s: S) -> Result<S::Ok, S::Error> {
        match digest {
            Some(digest) => s.serialize_str(&digest.to_string()),
            None => s.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Sha256>, D::Error> {
        let text = Option::<String>::deserialize(d)?;
        text.map(|text| text.parse())
            .transpose()
            .map_err(D::Error::custom)
    }
}
