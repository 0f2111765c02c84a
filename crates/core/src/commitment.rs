//! Salted commitments: what a ledger holds instead of identifiers.
//!
//! `commit = SHA-256("unefois/commit/v1" ‖ len(field) ‖ field ‖ salt ‖ value)`, with a salt of 32 bytes. Without the
//! salt a commitment says nothing; once the secret behind the salt is destroyed it never opens again, while every
//! proof over the entry still verifies.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::{hkdf, hmac};
use serde::{Deserialize, Serialize};

use crate::{ExchangeId, InvalidId, Random, Sha256, UnitName};

/// Which field of an entry a commitment stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `grant_commit`: the handle.
    Grant,
    /// `content_commit`: what was sent.
    Content,
    /// `dossier_commit`: the consumer's file.
    Dossier,
    /// `actor_commit`: who acted.
    Actor,
    /// `evidence_commit`: what is kept beside the log.
    Evidence,
}

impl Field {
    const fn name(self) -> &'static [u8] {
        match self {
            Self::Grant => b"grant",
            Self::Content => b"content",
            Self::Dossier => b"dossier",
            Self::Actor => b"actor",
            Self::Evidence => b"evidence",
        }
    }
}

/// 32 random bytes that the authority draws for one handle and one calendar month (claim `gs`): whoever holds them
/// opens that month's commitments of that handle, in any log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct GrantSecret([u8; 32]);

impl GrantSecret {
    /// Draws a secret.
    pub fn draw(random: &dyn Random) -> Self {
        Self(random.bytes())
    }

    /// The secret of these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes, to store them where they can be erased.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The salt of one field of one exchange: HKDF-SHA-256 (RFC 5869) with info `exchange_id ‖ field`.
    pub fn salt(&self, exchange: &ExchangeId, field: Field) -> Salt {
        self.salts().salt(exchange, field)
    }

    /// All its salts, for whoever tries it on many exchanges: the extraction is done once.
    pub fn salts(&self) -> Salts {
        Salts(hkdf::Salt::new(hkdf::HKDF_SHA256, b"unefois/salt/v1").extract(&self.0))
    }

    /// Commits to `value` as `field` of `exchange`.
    pub fn commit(&self, exchange: &ExchangeId, field: Field, value: &[u8]) -> Sha256 {
        self.salt(exchange, field).commit(field, value)
    }
}

impl fmt::Debug for GrantSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GrantSecret(…)")
    }
}

impl From<GrantSecret> for String {
    fn from(secret: GrantSecret) -> Self {
        URL_SAFE_NO_PAD.encode(secret.0)
    }
}

impl TryFrom<String> for GrantSecret {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        let invalid = InvalidId::new("a commitment secret is 32 bytes of base64url");
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| invalid)?;
        bytes.try_into().map(Self).map_err(|_| invalid)
    }
}

/// A [`GrantSecret`] made ready to give the salts of many exchanges.
pub struct Salts(hkdf::Prk);

impl Salts {
    /// As [`GrantSecret::salt`].
    pub fn salt(&self, exchange: &ExchangeId, field: Field) -> Salt {
        let info: &[&[u8]] = &[exchange.as_bytes(), field.name()];
        let mut salt = [0; 32];
        self.0
            .expand(info, hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut salt))
            .expect("32 bytes are one block of HKDF-SHA-256");
        Salt(salt)
    }
}

impl fmt::Debug for Salts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salts(…)")
    }
}

/// The salt of one commitment; disclosed alone, it opens that one and no other.
#[derive(Clone, PartialEq, Eq)]
pub struct Salt([u8; 32]);

impl Salt {
    /// Draws a salt, as the producer does for the content of each exchange.
    pub fn draw(random: &dyn Random) -> Self {
        Self(random.bytes())
    }

    /// The salt of these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Commits to `value` as `field`.
    pub fn commit(&self, field: Field, value: &[u8]) -> Sha256 {
        let name = field.name();
        let len = u8::try_from(name.len()).expect("field names are short");
        Sha256::of_parts(&[b"unefois/commit/v1", &[len], name, &self.0, value])
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt(…)")
    }
}

/// Whether an answer is a document or a certified absence; only the content commitment and the attestation tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerForm {
    /// The data asked for.
    Document,
    /// Exactly one person, and every holder certifies that it has no record.
    Absence,
}

impl AnswerForm {
    /// The word in the attestation (claim `outcome`).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Document => "document",
            Self::Absence => "absence",
        }
    }
}

/// The digest of what an attestation discloses, the value under `content_commit`: both ends compute it from the
/// answer's form and each unit's name and JSON text, in the order of the attestation's units.
pub fn content_digest<'a>(
    form: AnswerForm,
    units: impl IntoIterator<Item = (&'a UnitName, &'a str)>,
) -> Sha256 {
    let mut bytes = Vec::new();
    let mut put = |part: &[u8]| {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    };
    put(b"unefois/content/v1");
    put(form.as_str().as_bytes());
    for (name, text) in units {
        put(name.as_str().as_bytes());
        put(text.as_bytes());
    }
    Sha256::of(&bytes)
}

/// The key of one node's erasable indexes and payload MACs: a file outside the database, one a participant, shared
/// by its replicas.
#[derive(Clone)]
pub struct NodeKey(hmac::Key);

impl NodeKey {
    /// The key of these 32 bytes.
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// HMAC-SHA-256 over the length-prefixed `domain` and `parts`.
    fn mac(&self, domain: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut out = [0; 32];
        out.copy_from_slice(hmac::sign(&self.0, &prefixed(domain, parts)).as_ref());
        out
    }

    /// `payload_mac`: binds a claim to what was sent under it, so that a retry sends the same or nothing.
    pub fn payload_mac(&self, exchange: &ExchangeId, content: &Sha256) -> [u8; 32] {
        self.mac("payload", &[exchange.as_bytes(), content.as_bytes()])
    }

    /// The key of a handle in the handle index.
    pub fn handle_key(&self, handle: &crate::Handle) -> [u8; 32] {
        self.mac("handle", &[handle.as_bytes()])
    }

    /// Authenticates what this node gives a reader to come back with.
    pub fn cursor_mac(&self, cursor: &[u8]) -> [u8; 32] {
        self.mac("cursor", &[cursor])
    }

    /// Whether this node, or a replica, gave out `cursor` with this code; in a time that tells nothing of the right one.
    pub fn cursor_is_ours(&self, cursor: &[u8], mac: &[u8]) -> bool {
        hmac::verify(&self.0, &prefixed("cursor", &[cursor]), mac).is_ok()
    }

    /// The key of a person in the person index; `person` is the source's own stable id or the canonical pivot.
    pub fn person_key(&self, person: &[u8]) -> [u8; 32] {
        self.mac("person", &[person])
    }
}

/// `domain` and `parts`, each after its length.
fn prefixed(domain: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in std::iter::once(&domain.as_bytes()).chain(parts) {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange() -> ExchangeId {
        "0190163d-8694-739b-aea5-966c26f8ad91".parse().unwrap()
    }

    #[test]
    fn i6_salts_differ_by_field_exchange_and_secret() {
        let secret = GrantSecret::from_bytes([7; 32]);
        let other: ExchangeId = "0190163d-8694-739b-aea5-966c26f8ad92".parse().unwrap();
        let salt = secret.salt(&exchange(), Field::Grant);
        assert_ne!(salt, secret.salt(&exchange(), Field::Dossier));
        assert_ne!(salt, secret.salt(&other, Field::Grant));
        assert_ne!(
            salt,
            GrantSecret::from_bytes([8; 32]).salt(&exchange(), Field::Grant)
        );
        assert_ne!(salt.commit(Field::Grant, b"a"), salt.commit(Field::Dossier, b"a"));
    }

    #[test]
    fn one_salt_opens_one_commitment() {
        let secret = GrantSecret::from_bytes([7; 32]);
        let commit = secret.commit(&exchange(), Field::Dossier, b"2026-0412");
        let disclosed = secret.salt(&exchange(), Field::Dossier);
        assert_eq!(disclosed.commit(Field::Dossier, b"2026-0412"), commit);
        assert_ne!(disclosed.commit(Field::Dossier, b"2026-0413"), commit);
    }

    #[test]
    fn content_has_one_reading() {
        let (a, b): (UnitName, UnitName) = ("a".parse().unwrap(), "b".parse().unwrap());
        let one = content_digest(AnswerForm::Document, [(&a, "1"), (&b, "2")]);
        assert_ne!(one, content_digest(AnswerForm::Document, [(&b, "2"), (&a, "1")]));
        assert_ne!(one, content_digest(AnswerForm::Absence, [(&a, "1"), (&b, "2")]));
        assert_ne!(
            one,
            content_digest(AnswerForm::Document, [(&a, "1"), (&b, "2.0")])
        );
    }

    #[test]
    fn a_cursor_is_ours_only_unchanged_and_under_our_key() {
        let (key, other) = (NodeKey::new(&[7; 32]), NodeKey::new(&[8; 32]));
        let mac = key.cursor_mac(b"where we were");
        assert!(key.cursor_is_ours(b"where we were", &mac));
        assert!(!key.cursor_is_ours(b"where we Were", &mac));
        assert!(!key.cursor_is_ours(b"where we were", &mac[..31]));
        assert!(!other.cursor_is_ours(b"where we were", &mac));
        // What the key authenticates elsewhere is no cursor.
        assert!(!key.cursor_is_ours(b"where we were", &key.person_key(b"where we were")));
    }

    #[test]
    fn secrets_do_not_show() {
        assert_eq!(
            format!("{:?}", GrantSecret::from_bytes([7; 32])),
            "GrantSecret(…)"
        );
        assert_eq!(format!("{:?}", NodeKey::new(&[7; 32])), "NodeKey(…)");
    }
}
