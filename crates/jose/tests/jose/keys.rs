use unefois_jose::{DecryptionKey, Error, InvalidJson, Jwks, Pkcs8, PublicKey, SigningKey, jwks};
use zeroize::Zeroizing;

use crate::{b64, decryption_key, rng, signing_key};

fn file(bytes: &[u8]) -> Result<Pkcs8, Error> {
    Pkcs8::from_file(Zeroizing::new(bytes.to_vec()))
}

#[test]
fn refuses_files_that_hold_no_single_private_key() {
    let pem = Pkcs8::generate(&rng()).unwrap().to_pem();
    for text in [
        pem.replace("PRIVATE KEY", "EC PRIVATE KEY"),
        pem.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"),
        pem.replace("PRIVATE KEY", "PUBLIC KEY"),
        pem.replace("-----END", "----END"),
        pem.replace("\nM", "\n M"),
        format!("{}{}", *pem, *pem),
        format!("{}x", *pem),
    ] {
        assert!(matches!(file(text.as_bytes()), Err(Error::Key)), "{text}");
    }
    let mut broken = Pkcs8::generate(&rng()).unwrap().as_der().to_vec();
    broken[40] ^= 1; // in the private half, which no longer fits the public one
    for bytes in [&[], &b"not a key"[..], &broken] {
        let key = file(bytes).unwrap();
        assert!(matches!(SigningKey::from_pkcs8(&key, &rng()), Err(Error::Key)));
        assert!(matches!(DecryptionKey::from_pkcs8(&key), Err(Error::Key)));
    }
}

#[test]
fn one_file_serves_signing_and_decryption_in_either_form() {
    let key = Pkcs8::generate(&rng()).unwrap();
    let from_pem = file(key.to_pem().as_bytes()).unwrap();
    let from_crlf = file(key.to_pem().replace('\n', "\r\n").as_bytes()).unwrap();
    let from_der = file(key.as_der()).unwrap();
    let signing = SigningKey::from_pkcs8(&key, &rng()).unwrap();
    for same in [from_pem, from_crlf, from_der] {
        assert_eq!(same.as_der(), key.as_der());
        let decryption = DecryptionKey::from_pkcs8(&same).unwrap();
        assert_eq!(decryption.thumbprint(), signing.thumbprint());
    }
}

#[test]
fn debug_shows_no_secret() {
    let file = Pkcs8::generate(&rng()).unwrap();
    let key = SigningKey::from_pkcs8(&file, &rng()).unwrap();
    assert_eq!(format!("{file:?}"), "Pkcs8(…)");
    assert_eq!(format!("{key:?}"), format!("SigningKey({})", key.thumbprint()));
    let decryption = DecryptionKey::from_pkcs8(&file).unwrap();
    assert_eq!(
        format!("{decryption:?}"),
        format!("DecryptionKey({})", key.thumbprint())
    );
}

#[test]
fn a_key_of_openssl_is_read() {
    // openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256; for tests only.
    let pem = concat!(
        "-----BEGIN ",
        "PRIVATE KEY-----\n",
        "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQglasuqQaaVlZgca6/\n",
        "8pHFB7iUjxeJmNUnws6z85/fFf6hRANCAAQdmO8P5QHPzxy7zUdi82Y57guWcvs3\n",
        "HioK9lsTrKBDKe74Qnfen4mkJsDyJNJgGtYwsCEbVQFxmjYXOToA5k5+\n",
        "-----END ",
        "PRIVATE KEY-----\n"
    );
    let key = file(pem.as_bytes()).unwrap();
    let signing = SigningKey::from_pkcs8(&key, &rng()).unwrap();
    assert_eq!(
        signing.verifying_key().public().spki_sha256().to_string(),
        "abbb0482675f6a806696bbc977c92d53d85115fdc535abeb1c81bb43f40cc145"
    );
    assert_eq!(
        DecryptionKey::from_pkcs8(&key).unwrap().thumbprint(),
        signing.thumbprint()
    );
}

#[test]
fn a_key_set_is_refused_whole_for_one_bad_key() {
    let key = signing_key();
    let good = jwks::publish(&[key.verifying_key()], &[]);
    let jwk = good
        .strip_prefix(r#"{"keys":["#)
        .unwrap()
        .strip_suffix("]}")
        .unwrap();
    let set = |keys: &str| Jwks::parse(format!(r#"{{"keys":[{keys}]}}"#).as_bytes()).map(|_| ());
    for keys in [
        format!("{jwk},{jwk}"),
        jwk.replace(r#""kty""#, r#""d":"AA","kty""#),
        jwk.replace(r#""x":""#, r#""x":"A"#),
        jwk.replace(r#""x":"#, r#""z":"#),
        r#"{"kid":"1"}"#.to_owned(),
        r#"{"kty":"RSA","kid":"1","e":"AQAB"}"#.to_owned(),
        r#"{"kty":"RSA","kid":"1","n":"AAEC","e":"AQAB"}"#.to_owned(),
        r#"{"kty":"RSA","kid":"1","n":"AQAB","e":"AQAB","d":"AQAB"}"#.to_owned(),
        r#"{"kty":"oct","kid":"1","k":"AQAB"},7"#.to_owned(),
        vec![r#"{"kty":"OKP"}"#; jwks::MAX_KEYS + 1].join(","),
    ] {
        assert_eq!(set(&keys), Err(Error::KeySet), "{keys}");
    }
    assert_eq!(
        set(&jwk.replace(r#""kid""#, r#""kid":"x","kid""#)),
        Err(Error::Json(InvalidJson::DuplicateKey))
    );
    let large = vec![b' '; jwks::MAX_BYTES + 1];
    assert_eq!(Jwks::parse(&large).map(|_| ()), Err(Error::TooLarge));
}

#[test]
fn keys_for_other_uses_are_passed_over() {
    let key = signing_key();
    let decryption = decryption_key();
    let foreign = format!(
        r#"{{"kty":"OKP","crv":"Ed25519","x":"{}","kid":"ed"}},{{"kty":"EC","crv":"P-384","x":"","y":"","kid":"p384"}},
           {{"kty":"RSA","alg":"RSA-OAEP","kid":"enc"}}"#,
        b64([1; 32])
    );
    let set = jwks::publish(&[key.verifying_key()], &[decryption.encryption_key()]);
    let set = set.replace(r#""keys":["#, &format!(r#""keys":[{foreign},"#));
    assert!(Jwks::parse(set.as_bytes()).is_ok());
}

#[test]
fn what_is_published_is_public_and_leads_back() {
    let key = signing_key();
    let decryption = decryption_key();
    let set = jwks::publish(&[key.verifying_key()], &[decryption.encryption_key()]);
    let set: serde_json::Value = serde_json::from_str(&set).unwrap();
    assert_eq!(set["keys"][0]["use"], "sig");
    assert_eq!(set["keys"][0]["alg"], "ES256");
    assert_eq!(set["keys"][0]["kid"], key.thumbprint().to_string());
    assert_eq!(set["keys"][1]["use"], "enc");
    assert_eq!(set["keys"][1]["alg"], "ECDH-ES");
    let first = PublicKey::from_jwk(set["keys"][0].to_string().as_bytes()).unwrap();
    assert_eq!(&first, key.verifying_key().public());
}
