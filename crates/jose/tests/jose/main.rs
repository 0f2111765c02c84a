//! The public API, refusals first.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod access_token;
mod document;
mod habilitation;
mod id_token;
mod jwe;
mod jws;
mod keys;
mod mutated;
mod sd_jwt;
mod wycheproof;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use unefois_jose::{DecryptionKey, Pkcs8, SigningKey, SystemRandom};

#[expect(clippy::disallowed_methods, reason = "keys of a test are drawn at random")]
fn rng() -> SystemRandom {
    SystemRandom::new()
}

fn signing_key() -> SigningKey {
    SigningKey::generate(&rng()).unwrap()
}

fn decryption_key() -> DecryptionKey {
    DecryptionKey::from_pkcs8(&Pkcs8::generate(&rng()).unwrap()).unwrap()
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn unb64(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// A compact signature with any header: what a hostile holder of the right key could make.
fn forge(key: &SigningKey, header: &str, payload: &str) -> String {
    let signed = format!("{}.{}", b64(header), b64(payload));
    let signature = b64(key.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{signature}")
}

/// The part at `index` replaced.
fn with_part(token: &str, index: usize, part: &str) -> String {
    let mut parts: Vec<&str> = token.split('.').collect();
    parts[index] = part;
    parts.join(".")
}

/// The part at `index` with one bit of its bytes flipped.
fn flipped(token: &str, index: usize, byte: usize) -> String {
    let mut bytes = unb64(token.split('.').nth(index).unwrap());
    bytes[byte] ^= 1;
    with_part(token, index, &b64(bytes))
}
