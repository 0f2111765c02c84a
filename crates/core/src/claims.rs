use serde::{Deserialize, Serialize};

use crate::commitment::GrantSecret;
use crate::{Acr, AuthorizationDetails, Capacity, Handle, ParticipantId};

/// A place in the log of withdrawals; later places are greater, and no clock is involved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevocationView {
    /// The authority's epoch: one more at each of its starts.
    #[serde(rename = "e")]
    pub epoch: u64,
    /// The number of the last record, never restarted.
    #[serde(rename = "s")]
    pub seq: u64,
}

impl RevocationView {
    /// Before any record of any epoch.
    pub const NONE: Self = Self { epoch: 0, seq: 0 };
}

/// Confirmation of the holder's key (RFC 8705, 3.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cnf {
    /// SHA-256 of the DER certificate, base64url.
    #[serde(rename = "x5t#S256")]
    pub x5t_s256: String,
}

/// The claims of an access token (`typ: at+jwt`, RFC 9068): one handle, one producer, one certificate. No name, birth
/// date, provider's `sub` or address is ever in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessTokenClaims {
    /// The authority.
    pub iss: String,
    /// The one producer that may answer.
    pub aud: ParticipantId,
    /// The person, pairwise for the consumer.
    pub sub: String,
    /// The consumer.
    pub client_id: ParticipantId,
    /// The publisher that hosts the consumer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act_client: Option<ParticipantId>,
    /// Issued at, seconds.
    pub iat: i64,
    /// Not before, seconds.
    pub nbf: i64,
    /// Expires, seconds.
    pub exp: i64,
    /// The token's own name.
    pub jti: String,
    /// How sure the identity was.
    pub acr: Acr,
    /// When the person logged in, seconds.
    pub auth_time: i64,
    /// Which identity provider asserted it.
    pub idp_iss: String,
    /// The certificate it is bound to.
    pub cnf: Cnf,
    /// The grant's element at this producer.
    pub gh: Handle,
    /// What was granted: this handle's element only.
    pub authorization_details: [AuthorizationDetails; 1],
    /// In what capacity the person stands behind it.
    pub capacity: Capacity,
    /// The mandate that the person acts by, as this producer alone knows it: 32 bytes, base64url. Two producers cannot join
    /// on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mandate: Option<String>,
    /// SHA-256 of the pivot JWE's text, base64url.
    pub pivot_hash: String,
    /// The month's commitment secret of this handle.
    pub gs: GrantSecret,
    /// Head of the withdrawal log when this was minted.
    pub rvk: RevocationView,
    /// Why an officer asked, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub motive: Option<String>,
    /// Why the identity was not checked against the dossier, where the démarche allows that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject_unbound: Option<String>,
}
