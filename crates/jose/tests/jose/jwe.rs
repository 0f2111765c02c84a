use ring::rand::SecureRandom as _;
use ring::{aead, agreement};
use unefois_core::Sha256;
use unefois_jose::jwe::{
    MAX_PIVOT_BYTES, PIVOT_BYTES, open, open_nested, open_pivot, seal, seal_nested, seal_pivot,
};
use unefois_jose::{DecryptionKey, EncryptionKey, Error, InvalidJson, PublicKey};

use crate::{b64, decryption_key, flipped, rng, unb64, with_part};

const LIMIT: usize = 8_192;

/// A sender apart from the crate's own, which encrypts rightly under any header: `header` gets the epk's JWK.
fn encrypt(
    key: &EncryptionKey,
    plaintext: &[u8],
    parties: [&[u8]; 2],
    header: impl Fn(&str) -> String,
) -> String {
    let secret = agreement::EphemeralPrivateKey::generate(&agreement::ECDH_P256, &rng()).unwrap();
    let epk = PublicKey::from_point(secret.compute_public_key().unwrap().as_ref()).unwrap();
    let peer = agreement::UnparsedPublicKey::new(&agreement::ECDH_P256, key.public().point());
    let content_key = agreement::agree_ephemeral(secret, &peer, |z| {
        let mut input = vec![0, 0, 0, 1];
        input.extend_from_slice(z);
        input.extend_from_slice(b"\0\0\0\x07A256GCM");
        for party in parties {
            input.extend_from_slice(&u32::try_from(party.len()).unwrap().to_be_bytes());
            input.extend_from_slice(party);
        }
        input.extend_from_slice(&[0, 0, 1, 0]);
        *Sha256::of(&input).as_bytes()
    })
    .unwrap();
    let header = b64(header(&epk.to_jwk()));
    let mut iv = [0; 12];
    rng().fill(&mut iv).unwrap();
    let cipher = aead::LessSafeKey::new(aead::UnboundKey::new(&aead::AES_256_GCM, &content_key).unwrap());
    let mut text = plaintext.to_vec();
    let nonce = aead::Nonce::assume_unique_for_key(iv);
    let tag = cipher
        .seal_in_place_separate_tag(nonce, aead::Aad::from(header.as_bytes()), &mut text)
        .unwrap();
    format!("{header}..{}.{}.{}", b64(iv), b64(text), b64(tag.as_ref()))
}

fn plain(key: &DecryptionKey, jwe: &str) -> Result<Vec<u8>, Error> {
    open(&[key], jwe, LIMIT).map(|text| text.to_vec())
}

#[test]
fn refuses_other_algorithms_and_members_though_it_could_decrypt() {
    let key = decryption_key();
    let to = key.encryption_key();
    for (alg, enc, more) in [
        ("ECDH-ES+A256KW", "A256GCM", ""),
        ("dir", "A256GCM", ""),
        ("RSA-OAEP-256", "A256GCM", ""),
        ("ECDH-ES", "A128GCM", ""),
        ("ECDH-ES", "A256CBC-HS512", ""),
        ("ECDH-ES", "A256GCM", r#","zip":"DEF""#),
        ("ECDH-ES", "A256GCM", r#","crit":["exp"],"exp":1"#),
        ("ECDH-ES", "A256GCM", r#","jwk":{}"#),
        ("ECDH-ES", "A256GCM", r#","jku":"https://example.org""#),
        ("ECDH-ES", "A256GCM", r#","enc":"A256GCM""#),
        ("ECDH-ES", "A256GCM", r#","kid":"another""#),
        ("ECDH-ES", "A256GCM", r#","kid":7"#),
        ("ECDH-ES", "A256GCM", r#","apu":7"#),
        ("ECDH-ES", "A256GCM", r#","apu":"QQ==""#),
    ] {
        let jwe = encrypt(to, b"text", [b"", b""], |epk| {
            format!(r#"{{"alg":"{alg}","enc":"{enc}","epk":{epk}{more}}}"#)
        });
        assert_eq!(plain(&key, &jwe), Err(Error::Decryption), "{alg} {enc} {more}");
    }
    let good = encrypt(to, b"text", [b"", b""], |epk| {
        format!(r#"{{"alg":"ECDH-ES","enc":"A256GCM","epk":{epk}}}"#)
    });
    assert_eq!(plain(&key, &good), Ok(b"text".to_vec()));
}

#[test]
fn refuses_an_epk_in_other_forms_or_off_the_curve() {
    let key = decryption_key();
    let longer = |epk: &str| {
        let mut jwk: serde_json::Value = serde_json::from_str(epk).unwrap();
        let x = unb64(jwk["x"].as_str().unwrap());
        jwk["x"] = b64([&[0], x.as_slice()].concat()).into();
        jwk.to_string()
    };
    let off_curve = |epk: &str| {
        let mut jwk: serde_json::Value = serde_json::from_str(epk).unwrap();
        jwk["y"] = jwk["x"].clone();
        jwk.to_string()
    };
    let private = |epk: &str| epk.replace(r#""kty""#, r#""d":"AA","kty""#);
    let other_curve = |epk: &str| epk.replace("P-256", "P-384");
    let changes: [&dyn Fn(&str) -> String; 5] = [&longer, &off_curve, &private, &other_curve, &|_| {
        "null".to_owned()
    }];
    for change in changes {
        let jwe = encrypt(key.encryption_key(), b"text", [b"", b""], |epk| {
            format!(r#"{{"alg":"ECDH-ES","enc":"A256GCM","epk":{}}}"#, change(epk))
        });
        assert_eq!(plain(&key, &jwe), Err(Error::Decryption), "{jwe}");
    }
}

#[test]
fn refuses_every_tampered_part() {
    let key = decryption_key();
    let jwe = seal(key.encryption_key(), b"some text", &rng()).unwrap();
    let header = String::from_utf8(unb64(jwe.split('.').next().unwrap())).unwrap();
    for tampered in (0..12)
        .map(|byte| flipped(&jwe, 2, byte))
        .chain((0..9).map(|byte| flipped(&jwe, 3, byte)))
        .chain((0..16).map(|byte| flipped(&jwe, 4, byte)))
        .chain([
            with_part(&jwe, 0, &b64(header.replace(r#","enc""#, r#", "enc""#))),
            with_part(&jwe, 1, "AA"),
            with_part(&jwe, 2, &b64([0; 16])),
            with_part(&jwe, 2, ""),
            with_part(&jwe, 3, ""),
            with_part(&jwe, 4, ""),
            with_part(&jwe, 4, &b64(&unb64(jwe.rsplit_once('.').unwrap().1)[..12])),
            format!("{jwe}="),
            format!("{jwe}."),
            format!("{jwe}.AA"),
            jwe.rsplit_once('.').unwrap().0.to_owned(),
            jwe.replacen("..", ".", 1),
            String::new(),
        ])
    {
        assert_eq!(plain(&key, &tampered), Err(Error::Decryption), "{tampered}");
    }
    assert_eq!(plain(&key, &jwe), Ok(b"some text".to_vec()));
}

#[test]
fn refuses_what_is_too_large_or_for_somebody_else() {
    let (key, other) = (decryption_key(), decryption_key());
    let jwe = seal(key.encryption_key(), &[b'x'; LIMIT], &rng()).unwrap();
    assert_eq!(plain(&key, &jwe), Err(Error::TooLarge));
    let jwe = seal(key.encryption_key(), b"text", &rng()).unwrap();
    assert_eq!(plain(&other, &jwe), Err(Error::Decryption));
    assert_eq!(open(&[], &jwe, LIMIT), Err(Error::Decryption));
    let nameless = encrypt(key.encryption_key(), b"text", [b"", b""], |epk| {
        format!(r#"{{"alg":"ECDH-ES","enc":"A256GCM","epk":{epk}}}"#)
    });
    assert_eq!(open(&[&key, &other], &nameless, LIMIT), Err(Error::Decryption));
}

#[test]
fn the_named_key_opens_the_present_or_the_next() {
    let (present, next) = (decryption_key(), decryption_key());
    for key in [&present, &next] {
        let jwe = seal(key.encryption_key(), b"text", &rng()).unwrap();
        assert_eq!(open(&[&present, &next], &jwe, LIMIT).unwrap().as_slice(), b"text");
    }
}

#[test]
fn parties_named_in_the_header_enter_the_key() {
    let key = decryption_key();
    let header = |epk: &str| {
        let (apu, apv) = (b64("Alice"), b64("Bob"));
        format!(r#"{{"alg":"ECDH-ES","enc":"A256GCM","apu":"{apu}","apv":"{apv}","epk":{epk}}}"#)
    };
    let ignored = encrypt(key.encryption_key(), b"text", [b"", b""], header);
    assert_eq!(plain(&key, &ignored), Err(Error::Decryption));
    let swapped = encrypt(key.encryption_key(), b"text", [b"Bob", b"Alice"], header);
    assert_eq!(plain(&key, &swapped), Err(Error::Decryption));
    let honoured = encrypt(key.encryption_key(), b"text", [b"Alice", b"Bob"], header);
    assert_eq!(plain(&key, &honoured), Ok(b"text".to_vec()));
}

#[test]
fn only_a_nested_jwt_opens_as_one() {
    let key = decryption_key();
    let flat = seal(key.encryption_key(), b"a.b.c", &rng()).unwrap();
    assert_eq!(open_nested(&[&key], &flat, LIMIT), Err(Error::Header));
    let nested = seal_nested(key.encryption_key(), "a.b.c", &rng()).unwrap();
    assert_eq!(
        open_nested(&[&decryption_key()], &nested, LIMIT),
        Err(Error::Decryption)
    );
    assert_eq!(open_nested(&[&key], &nested, LIMIT).unwrap().as_str(), "a.b.c");
}

#[test]
fn a_pivot_is_strict_json_of_one_size() {
    let key = decryption_key();
    let to = key.encryption_key();
    let long = format!(r#""{}""#, "x".repeat(PIVOT_BYTES - 1));
    assert_eq!(seal_pivot(to, &long, &rng()), Err(Error::PlaintextTooLong));
    for (json, refusal) in [
        ("", InvalidJson::Syntax),
        (r#"{"a":1,"a":2}"#, InvalidJson::DuplicateKey),
    ] {
        assert_eq!(seal_pivot(to, json, &rng()), Err(Error::Json(refusal)));
        let padded = format!("{json:PIVOT_BYTES$}");
        let hostile = seal(to, padded.as_bytes(), &rng()).unwrap();
        assert_eq!(open_pivot(&[&key], &hostile), Err(Error::Json(refusal)));
    }
    for text in [r#"{"a":1}"#.to_owned(), format!("{:1$}", "{}", PIVOT_BYTES + 1)] {
        let unpadded = seal(to, text.as_bytes(), &rng()).unwrap();
        assert_eq!(open_pivot(&[&key], &unpadded), Err(Error::Decryption));
    }
    let large = "x".repeat(MAX_PIVOT_BYTES + 1);
    assert_eq!(open_pivot(&[&key], &large), Err(Error::TooLarge));

    let full = format!(r#""{}""#, "x".repeat(PIVOT_BYTES - 2));
    let mut sizes = Vec::new();
    for json in [r#"{"birth_name":"DUBOIS"}"#, "{}", &full] {
        let jwe = seal_pivot(to, json, &rng()).unwrap();
        sizes.push(jwe.len());
        assert_eq!(open_pivot(&[&key], &jwe).unwrap().as_slice(), json.as_bytes());
    }
    assert!(
        sizes
            .iter()
            .all(|size| *size == sizes[0] && *size < MAX_PIVOT_BYTES)
    );
}
