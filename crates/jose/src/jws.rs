//! Compact signatures: JWS (RFC 7515), ES256, one type, a key known beforehand.

use std::borrow::Borrow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Error, SigningKey, Thumbprint, VerifyingKey, base64url, strict_json};

/// Header members that are refused wherever they stand: extensions to understand, other payload forms, and keys or
/// places of keys that the signer would choose (RFC 7515, 4.1; RFC 7797; RFC 7516, 4.1.3).
const REFUSED: [&str; 7] = ["crit", "b64", "jku", "jwk", "x5u", "x5c", "zip"];

/// What a valid signature stands for: the payload, and the key that signed it. Only verification makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    pub(crate) kid: Thumbprint,
    pub(crate) payload: Vec<u8>,
}

impl Verified {
    /// The key that signed.
    pub const fn kid(&self) -> &Thumbprint {
        &self.kid
    }

    /// The signed bytes.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Reads the payload as strict JSON.
    pub fn claims<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Error> {
        Ok(strict_json::from_slice(&self.payload)?)
    }
}

/// Signs `payload`: compact serialisation, ES256, header `alg`, `typ` and `kid` (the key's thumbprint).
pub fn sign(key: &SigningKey, typ: &str, payload: &[u8]) -> Result<String, Error> {
    let mut text = signing_input(&protected(key, typ), payload);
    let signature = base64url::encode(key.sign(text.as_bytes())?);
    text.push('.');
    text.push_str(&signature);
    Ok(text)
}

/// Signs `claims` as JSON.
pub fn sign_claims<T: Serialize>(key: &SigningKey, typ: &str, claims: &T) -> Result<String, Error> {
    let payload = serde_json::to_vec(claims).map_err(|_| Error::Malformed)?;
    sign(key, typ, &payload)
}

/// Verifies a compact signature in this project's profile: at most `limit` bytes, a header of exactly `alg` = ES256,
/// `typ` = `typ` and `kid` = a thumbprint, and a signature by the key that `key` finds for it.
pub fn verify<K: Borrow<VerifyingKey>>(
    token: &str,
    typ: &str,
    limit: usize,
    key: impl FnOnce(&Thumbprint) -> Option<K>,
) -> Result<Verified, Error> {
    let parts = Parts::split(token, limit)?;
    let kid = own_header(parts.header, typ)?;
    let key = key(&kid).ok_or(Error::UnknownKey)?;
    verify_parts(&parts, key.borrow(), kid)
}

pub(crate) fn verify_parts(
    parts: &Parts<'_>,
    key: &VerifyingKey,
    kid: Thumbprint,
) -> Result<Verified, Error> {
    if *key.thumbprint() != kid {
        return Err(Error::UnknownKey);
    }
    key.verify(parts.signed.as_bytes(), &base64url::decode(parts.signature)?)?;
    let payload = base64url::decode(parts.payload)?;
    Ok(Verified { kid, payload })
}

/// The three parts of a compact signature, undecoded.
pub(crate) struct Parts<'a> {
    pub(crate) header: &'a str,
    pub(crate) payload: &'a str,
    pub(crate) signature: &'a str,
    /// Header and payload with the dot between: what is signed.
    pub(crate) signed: &'a str,
}

impl<'a> Parts<'a> {
    pub(crate) fn split(token: &'a str, limit: usize) -> Result<Self, Error> {
        if token.len() > limit {
            return Err(Error::TooLarge);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Error::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(Error::Malformed)?;
        if payload.contains('.') {
            return Err(Error::Malformed);
        }
        Ok(Self {
            header,
            payload,
            signature,
            signed,
        })
    }
}

/// The protected header that this project writes, encoded.
pub(crate) fn protected(key: &SigningKey, typ: &str) -> String {
    let typ = Value::from(typ);
    base64url::encode(format!(
        r#"{{"alg":"ES256","typ":{typ},"kid":"{}"}}"#,
        key.thumbprint()
    ))
}

pub(crate) fn signing_input(protected: &str, payload: &[u8]) -> String {
    format!("{protected}.{}", base64url::encode(payload))
}

/// Checks an encoded header of this project's profile; its `kid`.
pub(crate) fn own_header(encoded: &str, typ: &str) -> Result<Thumbprint, Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Header {
        alg: String,
        typ: String,
        kid: String,
    }
    let header: Header =
        serde_json::from_value(Value::Object(parse_header(encoded)?)).map_err(|_| Error::Header)?;
    if header.alg != "ES256" || header.typ != typ {
        return Err(Error::Header);
    }
    header.kid.parse().map_err(|_| Error::UnknownKey)
}

/// Decodes a header: strict JSON, an object, none of [`REFUSED`].
pub(crate) fn parse_header(encoded: &str) -> Result<Map<String, Value>, Error> {
    let header: Map<String, Value> = strict_json::from_slice(&base64url::decode(encoded)?)?;
    if REFUSED.iter().any(|name| header.contains_key(*name)) {
        return Err(Error::Header);
    }
    Ok(header)
}

/// The text member `name` of a header; `None` if absent.
pub(crate) fn header_text<'a>(header: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, Error> {
    match header.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Error::Header),
    }
}
