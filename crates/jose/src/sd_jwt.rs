//! Attestations: SD-JWT (RFC 9901) in the profile of SD-JWT VC, one flat level, every disclosure present.

use std::borrow::{Borrow, Cow};
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use unefois_core::Sha256;

use crate::{Error, SigningKey, Thumbprint, VerifyingKey, base64url, jws, strict_json};

/// The header's `typ` (SD-JWT VC, 2.2.1).
pub const TYP: &str = "dc+sd-jwt";
/// Most disclosures of one attestation.
pub const MAX_DISCLOSURES: usize = 64;

const HASH_ALGORITHM: &str = "sha-256";
/// Claims that are never disclosed apart (SD-JWT VC, 2.2.2.2), beside those of the mechanism itself.
const NEVER_DISCLOSED: [&str; 10] = [
    "_sd", "_sd_alg", "...", "iss", "nbf", "exp", "iat", "cnf", "vct", "status",
];

/// One disclosure to make: a grant's unit and its value.
#[derive(Clone, Copy)]
pub struct Disclosure<'a> {
    /// The unit, which becomes the claim's name.
    pub name: &'a str,
    /// The value: one JSON text, embedded byte for byte.
    pub json: &'a str,
    /// 16 random bytes, fresh for each disclosure.
    pub salt: [u8; 16],
}

/// Issues an attestation: an SD-JWT (RFC 9901) with `claims`, a JSON object, always visible, and `disclosures` in the
/// given order. No decoy, no holder's key.
///
/// Refused: a value or claims that are no strict JSON or that hold `_sd`, `_sd_alg` or `...` at any depth; `cnf`; a
/// name given twice, or one that may not be disclosed; more than [`MAX_DISCLOSURES`].
pub fn issue<T: Serialize>(
    key: &SigningKey,
    claims: &T,
    disclosures: &[Disclosure<'_>],
) -> Result<String, Error> {
    let claims = serde_json::to_string(claims).map_err(|_| Error::Malformed)?;
    strict_json::check_keys(claims.as_bytes(), &|depth, name| {
        !reserved(name) && (depth, name) != (1, "cnf")
    })?;
    let members: BTreeMap<String, &RawValue> = strict_json::from_slice(claims.as_bytes())?;
    if disclosures.len() > MAX_DISCLOSURES {
        return Err(Error::Disclosure);
    }

    let mut names: BTreeSet<&str> = members.keys().map(String::as_str).collect();
    let mut digests = BTreeSet::new();
    let mut tail = String::from("~");
    for disclosure in disclosures {
        check_value(disclosure.json)?;
        if NEVER_DISCLOSED.contains(&disclosure.name) || !names.insert(disclosure.name) {
            return Err(Error::Disclosure);
        }
        let encoded = encode_disclosure(disclosure)?;
        digests.insert(digest(&encoded));
        tail.push_str(&encoded);
        tail.push('~');
    }

    let mut payload = claims
        .trim_end()
        .strip_suffix('}')
        .ok_or(Error::Malformed)?
        .to_owned();
    if !members.is_empty() {
        payload.push(',');
    }
    payload.push_str(&format!(r#""_sd_alg":"{HASH_ALGORITHM}""#));
    if !digests.is_empty() {
        // A set is sorted, so the order tells nothing (RFC 9901, 4.2.4.1).
        payload.push_str(&format!(r#","_sd":{}"#, Value::from_iter(digests)));
    }
    payload.push('}');
    Ok(jws::sign(key, TYP, payload.as_bytes())? + &tail)
}

/// A verified attestation; only [`verify`] makes one.
///
/// It has no opinion on `iss`, `vct`, `aud` or `exp`: the reader compares them with what it asked for, and with the
/// directory's owner of [`kid`](Self::kid).
#[derive(Clone)]
pub struct Attestation {
    kid: Thumbprint,
    claims: String,
    disclosures: Vec<Disclosed>,
}

/// One disclosed claim.
#[derive(Clone)]
pub struct Disclosed {
    /// The unit.
    pub name: String,
    /// The value's text, as the issuer signed it.
    pub value: Box<RawValue>,
}

impl Attestation {
    /// The seal key.
    pub const fn kid(&self) -> &Thumbprint {
        &self.kid
    }

    /// Reads the claims that are always visible, without those of the mechanism.
    pub fn claims<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Error> {
        Ok(strict_json::from_slice(self.claims.as_bytes())?)
    }

    /// The disclosed claims, in the order of the text.
    pub fn disclosures(&self) -> &[Disclosed] {
        &self.disclosures
    }
}

/// What an attestation says is personal data, so a log never shows it.
impl std::fmt::Debug for Attestation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Attestation(…)")
    }
}

impl std::fmt::Debug for Disclosed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Disclosed(…)")
    }
}

/// Verifies an attestation of at most `limit` bytes: the signature by the key that `key` finds for the `kid`, and that
/// digests and disclosures match one to one (RFC 9901, 7.1, in the profile of [`issue`]: nothing is withheld).
pub fn verify<K: Borrow<VerifyingKey>>(
    text: &str,
    limit: usize,
    key: impl FnOnce(&Thumbprint) -> Option<K>,
) -> Result<Attestation, Error> {
    match read(text, limit, key)? {
        (attestation, 0) => Ok(attestation),
        (_, _) => Err(Error::Disclosure),
    }
}

/// As [`verify`], of an attestation that [`present`] may have cut: what is disclosed is the issuer's, and something may be
/// withheld.
pub fn verify_presented<K: Borrow<VerifyingKey>>(
    text: &str,
    limit: usize,
    key: impl FnOnce(&Thumbprint) -> Option<K>,
) -> Result<Attestation, Error> {
    read(text, limit, key).map(|(attestation, _)| attestation)
}

/// The attestation with the disclosures of these names alone (RFC 9901, 4). Nothing is verified.
///
/// # Errors
/// The text is no SD-JWT.
pub fn present(text: &str, names: &[&str]) -> Result<String, Error> {
    let (jwt, tail) = text.split_once('~').ok_or(Error::Malformed)?;
    let mut cut = format!("{jwt}~");
    let mut rest = tail;
    while let Some((encoded, after)) = rest.split_once('~') {
        if names.contains(&decode_disclosure(encoded)?.name.as_str()) {
            cut.push_str(encoded);
            cut.push('~');
        }
        rest = after;
    }
    match rest.is_empty() {
        true => Ok(cut),
        false => Err(Error::HolderKey),
    }
}

/// The attestation, and how many of its digests nothing discloses.
fn read<K: Borrow<VerifyingKey>>(
    text: &str,
    limit: usize,
    key: impl FnOnce(&Thumbprint) -> Option<K>,
) -> Result<(Attestation, usize), Error> {
    if text.len() > limit {
        return Err(Error::TooLarge);
    }
    let (jwt, tail) = text.split_once('~').ok_or(Error::Malformed)?;
    let verified = jws::verify(jwt, TYP, limit, key)?;
    let (claims, mut digests) = split_payload(verified.payload())?;

    let mut names: BTreeSet<String> = claims.keys().cloned().collect();
    let mut disclosures = Vec::new();
    let mut rest = tail;
    while let Some((encoded, after)) = rest.split_once('~') {
        if disclosures.len() == MAX_DISCLOSURES || !digests.remove(&digest(encoded)) {
            return Err(Error::Disclosure);
        }
        let disclosed = decode_disclosure(encoded)?;
        if NEVER_DISCLOSED.contains(&disclosed.name.as_str()) || !names.insert(disclosed.name.clone()) {
            return Err(Error::Disclosure);
        }
        disclosures.push(disclosed);
        rest = after;
    }
    if !rest.is_empty() {
        // What follows the last tilde would be a key-binding JWT (RFC 9901, 4).
        return Err(Error::HolderKey);
    }
    let attestation = Attestation {
        kid: *verified.kid(),
        claims: serde_json::to_string(&claims).map_err(|_| Error::Malformed)?,
        disclosures,
    };
    Ok((attestation, digests.len()))
}

/// The visible claims and the digests of a signed payload.
fn split_payload(payload: &[u8]) -> Result<(BTreeMap<String, &RawValue>, BTreeSet<String>), Error> {
    strict_json::check_keys(payload, &|depth, name| {
        !reserved(name) || (depth == 1 && name != "...")
    })?;
    let mut claims: BTreeMap<String, &RawValue> = strict_json::from_slice(payload)?;
    if claims.contains_key("cnf") {
        return Err(Error::HolderKey);
    }
    if let Some(algorithm) = claims.remove("_sd_alg") {
        let algorithm: String = strict_json::from_slice(algorithm.get().as_bytes())?;
        if algorithm != HASH_ALGORITHM {
            return Err(Error::Header);
        }
    }
    let listed: Vec<String> = match claims.remove("_sd") {
        Some(digests) => strict_json::from_slice(digests.get().as_bytes())?,
        None => Vec::new(),
    };
    let count = listed.len();
    let digests: BTreeSet<String> = listed.into_iter().collect();
    if digests.len() != count {
        return Err(Error::Disclosure);
    }
    Ok((claims, digests))
}

fn encode_disclosure(disclosure: &Disclosure<'_>) -> Result<String, Error> {
    let salt = base64url::encode(disclosure.salt);
    let name = Value::from(disclosure.name);
    let text = format!(r#"["{salt}",{name},{}]"#, disclosure.json);
    // The value again, now inside: what leaves is what `verify` takes, its depth included.
    strict_json::check(text.as_bytes())?;
    Ok(base64url::encode(text))
}

fn decode_disclosure(encoded: &str) -> Result<Disclosed, Error> {
    let text = base64url::decode(encoded)?;
    strict_json::check_keys(&text, &|_, name| !reserved(name))?;
    let (_salt, name, value): (Cow<'_, str>, String, Box<RawValue>) =
        serde_json::from_slice(&text).map_err(|_| Error::Disclosure)?;
    Ok(Disclosed { name, value })
}

/// A value is one JSON text, so that its bytes cannot end the disclosure they are put in.
fn check_value(json: &str) -> Result<(), Error> {
    Ok(strict_json::check_keys(json.as_bytes(), &|_, name| {
        !reserved(name)
    })?)
}

/// Names with a meaning of their own wherever they stand (RFC 9901, 4.1); this profile has one flat level only.
fn reserved(name: &str) -> bool {
    matches!(name, "_sd" | "_sd_alg" | "...")
}

/// The digest of a disclosure: over its encoded text (RFC 9901, 4.2.3).
fn digest(encoded: &str) -> String {
    base64url::encode(Sha256::of(encoded.as_bytes()).as_bytes())
}
