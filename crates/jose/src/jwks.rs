//! Key sets (RFC 7517, 5): read from foreign issuers, published for ours.

use ring::signature::{self, RsaPublicKeyComponents};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{EncryptionKey, Error, PublicKey, VerifyingKey, base64url, strict_json};

/// Largest key set that is read.
pub const MAX_BYTES: usize = 64 * 1024;
/// Most keys that a set may hold.
pub const MAX_KEYS: usize = 32;

/// The one signature algorithm that a foreign issuer is configured with; never taken from a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum SignatureAlgorithm {
    /// ECDSA with P-256 and SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256, keys of 2048 to 8192 bits.
    #[serde(rename = "RS256")]
    Rs256,
}

impl SignatureAlgorithm {
    /// The name in a header (RFC 7518, 3.1).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }
}

/// A public signature key of a foreign issuer; its type fixes the algorithm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum IssuerKey {
    P256(VerifyingKey),
    Rsa { n: Vec<u8>, e: Vec<u8> },
}

impl IssuerKey {
    pub(crate) const fn algorithm(&self) -> SignatureAlgorithm {
        match self {
            Self::P256(_) => SignatureAlgorithm::Es256,
            Self::Rsa { .. } => SignatureAlgorithm::Rs256,
        }
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), Error> {
        match self {
            Self::P256(key) => key.verify(message, signature),
            Self::Rsa { n, e } => RsaPublicKeyComponents { n, e }
                .verify(&signature::RSA_PKCS1_2048_8192_SHA256, message, signature)
                .map_err(|_| Error::Signature),
        }
    }
}

/// The signature keys that a foreign issuer publishes (RFC 7517, 5), by `kid`.
#[derive(Clone, Debug)]
pub struct Jwks(Vec<(String, IssuerKey)>);

#[derive(Deserialize)]
struct Set<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Members {
    kty: String,
    kid: Option<String>,
    crv: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    n: Option<String>,
    e: Option<String>,
    d: Option<serde::de::IgnoredAny>,
}

impl Jwks {
    /// Reads a key set of at most [`MAX_BYTES`] and [`MAX_KEYS`]. Keys of other kinds, uses or algorithms and keys
    /// without a `kid` are passed over (RFC 7517, 5); a malformed P-256 or RSA key, a private key, and a name given
    /// twice refuse the whole set.
    pub fn parse(json: &[u8]) -> Result<Self, Error> {
        if json.len() > MAX_BYTES {
            return Err(Error::TooLarge);
        }
        let set: Set<'_> = strict_json::from_slice(json)?;
        if set.keys.len() > MAX_KEYS {
            return Err(Error::KeySet);
        }
        let mut keys: Vec<(String, IssuerKey)> = Vec::new();
        for jwk in set.keys {
            let Some((kid, key)) = issuer_key(jwk)? else {
                continue;
            };
            if keys.iter().any(|(known, _)| *known == kid) {
                return Err(Error::KeySet);
            }
            keys.push((kid, key));
        }
        Ok(Self(keys))
    }

    pub(crate) fn find(&self, kid: &str, algorithm: SignatureAlgorithm) -> Option<&IssuerKey> {
        self.0
            .iter()
            .find(|(known, key)| known == kid && key.algorithm() == algorithm)
            .map(|(_, key)| key)
    }
}

fn issuer_key(jwk: &RawValue) -> Result<Option<(String, IssuerKey)>, Error> {
    let members: Members = serde_json::from_str(jwk.get()).map_err(|_| Error::KeySet)?;
    if members.d.is_some() {
        return Err(Error::KeySet);
    }
    let meant_for = |algorithm: SignatureAlgorithm| {
        members.usage.as_deref().is_none_or(|usage| usage == "sig")
            && members.alg.as_deref().is_none_or(|alg| alg == algorithm.as_str())
    };
    let key = match (members.kty.as_str(), members.crv.as_deref()) {
        ("EC", Some("P-256")) if meant_for(SignatureAlgorithm::Es256) => {
            let key = PublicKey::from_jwk(jwk.get().as_bytes()).map_err(|_| Error::KeySet)?;
            IssuerKey::P256(VerifyingKey::new(key))
        }
        ("RSA", _) if meant_for(SignatureAlgorithm::Rs256) => {
            let number = |text: Option<&str>| {
                let bytes = base64url::decode(text.unwrap_or_default()).map_err(|_| Error::KeySet)?;
                // RFC 7518, 6.3.1.1: no leading zero.
                match bytes.first() {
                    Some(1..) => Ok(bytes),
                    Some(0) | None => Err(Error::KeySet),
                }
            };
            IssuerKey::Rsa {
                n: number(members.n.as_deref())?,
                e: number(members.e.as_deref())?,
            }
        }
        _ => return Ok(None),
    };
    Ok(members.kid.map(|kid| (kid, key)))
}

/// The key set to publish for these keys: each with its thumbprint as `kid`, its use and its algorithm.
pub fn publish(signing: &[&VerifyingKey], encryption: &[&EncryptionKey]) -> String {
    let jwk = |key: &PublicKey, usage: &str, alg: &str| {
        let jwk = key.to_jwk();
        let members = jwk.trim_end_matches('}');
        format!(
            r#"{members},"kid":"{}","use":"{usage}","alg":"{alg}"}}"#,
            key.thumbprint()
        )
    };
    let keys: Vec<String> = signing
        .iter()
        .map(|key| jwk(key.public(), "sig", "ES256"))
        .chain(encryption.iter().map(|key| jwk(key.public(), "enc", "ECDH-ES")))
        .collect();
    format!(r#"{{"keys":[{}]}}"#, keys.join(","))
}
