use aws_lc_rs::signature::KeyPair as _;
use aws_lc_rs::{rand, rsa, signature};
use serde_json::{Value, json};
use unefois_core::Micros;
use unefois_jose::id_token::{Envelope, IdToken, Login, MAX_BYTES, Provider, at_hash};
use unefois_jose::{DecryptionKey, Error, InvalidJson, Jwks, SignatureAlgorithm, SigningKey, jwe, jwks, jws};

use crate::{b64, decryption_key, flipped, forge, rng, signing_key, unb64, with_part};

const NOW_S: i64 = 1_795_512_305;
const LOGIN: Login<'_> = Login {
    nonce: "n-0S6_WzA2Mj",
    access_token: "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y",
};

fn provider(algorithm: SignatureAlgorithm) -> Provider {
    Provider {
        issuer: "https://fc.example".to_owned(),
        client_id: "unefois".to_owned(),
        algorithm,
        envelope: Envelope::Signed,
    }
}

/// As FranceConnect+ has it.
fn encrypting(keys: Vec<DecryptionKey>) -> Provider {
    Provider {
        envelope: Envelope::Encrypted(keys),
        ..provider(SignatureAlgorithm::Es256)
    }
}

fn claims() -> Value {
    json!({
        "iss": "https://fc.example", "sub": "b6048e95", "aud": "unefois", "exp": NOW_S + 60, "iat": NOW_S,
        "nonce": LOGIN.nonce, "acr": "eidas1", "at_hash": at_hash(LOGIN.access_token), "auth_time": NOW_S - 5,
        "amr": ["pwd"]
    })
}

fn with(name: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims();
    claims[name] = value.into();
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

fn keys(key: &SigningKey) -> Jwks {
    Jwks::parse(jwks::publish(&[key.verifying_key()], &[]).as_bytes()).unwrap()
}

fn check(key: &SigningKey, token: &str) -> Result<IdToken, Error> {
    provider(SignatureAlgorithm::Es256).verify_id_token(token, &keys(key), LOGIN, Micros::from_secs(NOW_S))
}

#[test]
fn refuses_each_wrong_claim_with_its_own_error() {
    let key = signing_key();
    for (changed, refusal) in [
        (with("iss", "https://fcp.example"), Error::Issuer),
        (with("aud", "other"), Error::Audience),
        (with("aud", json!([])), Error::Audience),
        (with("aud", json!(["other"])), Error::Audience),
        (with("aud", json!(["unefois", "other"])), Error::Audience),
        (with("azp", "other"), Error::Audience),
        (with("exp", NOW_S - 5), Error::Expired),
        (without("exp"), Error::Lifetime),
        (without("iat"), Error::Lifetime),
        (with("iat", NOW_S + 11), Error::NotYetValid),
        (with("auth_time", NOW_S + 11), Error::NotYetValid),
        (with("auth_time", NOW_S * 1_000), Error::NotYetValid),
        (without("nonce"), Error::Nonce),
        (with("nonce", ""), Error::Nonce),
        (with("nonce", "n-0S6_WzA2Mk"), Error::Nonce),
        (with("at_hash", at_hash("another")), Error::AccessTokenHash),
        (with("at_hash", ""), Error::AccessTokenHash),
        (without("sub"), Error::Json(InvalidJson::Shape)),
        (with("sub", 7), Error::Json(InvalidJson::Shape)),
        (with("acr", json!(["eidas1"])), Error::Json(InvalidJson::Shape)),
    ] {
        let token = jws::sign_claims(&key, "JWT", &changed).unwrap();
        assert_eq!(check(&key, &token).err(), Some(refusal), "{changed}");
    }
    let twice = claims().to_string().replacen('{', r#"{"sub":"x","#, 1);
    let token = jws::sign(&key, "JWT", twice.as_bytes()).unwrap();
    assert_eq!(
        check(&key, &token).err(),
        Some(Error::Json(InvalidJson::DuplicateKey))
    );
}

#[test]
fn refuses_other_headers_keys_and_signatures() {
    let key = signing_key();
    let kid = key.thumbprint();
    for (header, refusal) in [
        (format!(r#"{{"alg":"none","kid":"{kid}"}}"#), Error::Header),
        (format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#), Error::Header),
        (format!(r#"{{"alg":"RS256","kid":"{kid}"}}"#), Error::Header),
        (
            format!(r#"{{"alg":"ES256","kid":"{kid}","typ":"at+jwt"}}"#),
            Error::Header,
        ),
        (
            format!(r#"{{"alg":"ES256","kid":"{kid}","typ":"logout+jwt"}}"#),
            Error::Header,
        ),
        (
            format!(r#"{{"alg":"ES256","kid":"{kid}","crit":["b64"]}}"#),
            Error::Header,
        ),
        (
            format!(r#"{{"alg":"ES256","kid":"{kid}","jwk":{{}}}}"#),
            Error::Header,
        ),
        (r#"{"alg":"ES256"}"#.to_owned(), Error::Header),
        (r#"{"alg":"ES256","kid":"other"}"#.to_owned(), Error::UnknownKey),
    ] {
        let token = forge(&key, &header, &claims().to_string());
        assert_eq!(check(&key, &token).err(), Some(refusal), "{header}");
    }
    let token = jws::sign_claims(&key, "JWT", &claims()).unwrap();
    assert_eq!(check(&key, &flipped(&token, 2, 0)).err(), Some(Error::Signature));
    assert_eq!(check(&signing_key(), &token).err(), Some(Error::UnknownKey));
    assert_eq!(
        check(&key, &"x".repeat(MAX_BYTES + 1)).err(),
        Some(Error::TooLarge)
    );
}

#[test]
fn a_good_id_token_gives_what_the_provider_said() {
    let key = signing_key();
    for good in [claims(), with("aud", json!(["unefois"])), without("at_hash"), {
        let mut several = with("aud", json!(["other", "unefois"]));
        several["azp"] = "unefois".into();
        several
    }] {
        let id = check(&key, &jws::sign_claims(&key, "JWT", &good).unwrap()).unwrap();
        assert_eq!(
            (id.sub.as_str(), id.acr.as_deref(), id.auth_time),
            ("b6048e95", Some("eidas1"), Some(NOW_S - 5))
        );
        assert_eq!(id.claims::<Value>().unwrap()["amr"], json!(["pwd"]));
        assert_eq!(format!("{id:?}"), "IdToken(…)");
    }
    let untyped = forge(
        &key,
        &format!(r#"{{"alg":"ES256","kid":"{}","x5t":"AA"}}"#, key.thumbprint()),
        &claims().to_string(),
    );
    assert!(check(&key, &untyped).is_ok());
    let no_level = check(&key, &jws::sign_claims(&key, "JWT", &without("acr")).unwrap()).unwrap();
    assert_eq!(no_level.acr, None);
}

#[test]
fn at_hash_is_that_of_openid_connect_core_appendix_a_3() {
    assert_eq!(at_hash(LOGIN.access_token), "77QmUPtjPfzWtF2AnpK9RQ");
}

#[test]
fn userinfo_must_be_signed_in_time_for_us_about_the_same_person() {
    let key = signing_key();
    let check = |claims: &Value| {
        let token = jws::sign_claims(&key, "JWT", claims).unwrap();
        provider(SignatureAlgorithm::Es256).verify_userinfo::<Value>(
            &token,
            &keys(&key),
            "b6048e95",
            Micros::from_secs(NOW_S),
        )
    };
    for (changed, refusal) in [
        (with("sub", "another"), Error::Subject),
        (with("iss", "another"), Error::Issuer),
        (with("aud", "another"), Error::Audience),
        (with("exp", NOW_S - 5), Error::Expired),
        (with("iat", NOW_S + 11), Error::NotYetValid),
        (without("aud"), Error::Json(InvalidJson::Shape)),
    ] {
        assert_eq!(check(&changed), Err(refusal), "{changed}");
    }
    let angela = with("given_name", "Angela Claire Louise");
    assert_eq!(check(&angela).unwrap()["given_name"], "Angela Claire Louise");
    assert!(check(&without("exp")).is_ok());
}

/// FranceConnect+'s answers: each row is what somebody without its keys, or a provider gone wrong, could send.
#[test]
fn an_encrypted_id_token_is_opened_as_agreed_or_not_at_all() {
    let (key, ours) = (signing_key(), decryption_key());
    let to = ours.encryption_key().clone();
    let fcp = encrypting(vec![ours]);
    let now = Micros::from_secs(NOW_S);
    let check = |token: &str| fcp.verify_id_token(token, &keys(&key), LOGIN, now).err();
    let sealed = |jwt: &str| jwe::seal_nested(&to, jwt, &rng()).unwrap();
    let inner = jws::sign_claims(&key, "JWT", &claims()).unwrap();
    let nested = sealed(&inner);

    for (what, token, refusal) in [
        ("merely signed", inner.clone(), Error::Decryption),
        ("encrypted twice", sealed(&nested), Error::Malformed),
        (
            "encrypted, not signed",
            sealed(&claims().to_string()),
            Error::Malformed,
        ),
        (
            "no type of content",
            jwe::seal(&to, inner.as_bytes(), &rng()).unwrap(),
            Error::Header,
        ),
        (
            "another's key",
            jwe::seal_nested(decryption_key().encryption_key(), &inner, &rng()).unwrap(),
            Error::Decryption,
        ),
        ("a tampered tag", flipped(&nested, 4, 0), Error::Decryption),
        ("a tampered text", flipped(&nested, 3, 0), Error::Decryption),
        ("too large", sealed(&"x".repeat(2 * MAX_BYTES)), Error::TooLarge),
        (
            "too large within",
            sealed(&"x".repeat(MAX_BYTES + 1)),
            Error::TooLarge,
        ),
        (
            "signed by nobody",
            sealed(&forge(&key, r#"{"alg":"none"}"#, &claims().to_string())),
            Error::Header,
        ),
        (
            "signed with a shared secret",
            sealed(&forge(
                &key,
                &format!(r#"{{"alg":"HS256","kid":"{}"}}"#, key.thumbprint()),
                &claims().to_string(),
            )),
            Error::Header,
        ),
        (
            "signed by an unknown key",
            sealed(&jws::sign_claims(&signing_key(), "JWT", &claims()).unwrap()),
            Error::UnknownKey,
        ),
        (
            "for another client",
            sealed(&jws::sign_claims(&key, "JWT", &with("aud", "other")).unwrap()),
            Error::Audience,
        ),
        (
            "of another login",
            sealed(&jws::sign_claims(&key, "JWT", &with("nonce", "other")).unwrap()),
            Error::Nonce,
        ),
    ] {
        assert_eq!(check(&token), Some(refusal), "{what}");
    }
    let reversed = provider(SignatureAlgorithm::Es256).verify_id_token(&nested, &keys(&key), LOGIN, now);
    assert_eq!(
        reversed.err(),
        Some(Error::Malformed),
        "encrypted where signing was agreed"
    );

    let opened = fcp.verify_id_token(&nested, &keys(&key), LOGIN, now).unwrap();
    assert_eq!(opened.signed.as_str(), inner);
    assert_eq!(opened.sub, "b6048e95");
}

/// Headers that are refused before anything is decrypted, whatever the text under them.
#[test]
fn alg_and_enc_of_an_encrypted_answer_are_those_agreed() {
    let (key, ours) = (signing_key(), decryption_key());
    let kid = ours.thumbprint().to_string();
    let nested = {
        let inner = jws::sign_claims(&key, "JWT", &claims()).unwrap();
        jwe::seal_nested(ours.encryption_key(), &inner, &rng()).unwrap()
    };
    let epk: Value = serde_json::from_slice(&unb64(nested.split('.').next().unwrap())).unwrap();
    let epk = epk["epk"].clone();
    let fcp = encrypting(vec![ours]);
    let header = |change: Value| {
        let mut header = json!({"alg": "ECDH-ES", "enc": "A256GCM", "cty": "JWT", "kid": kid, "epk": epk});
        for (name, member) in change.as_object().unwrap() {
            header[name] = member.clone();
        }
        with_part(&nested, 0, &b64(header.to_string()))
    };
    let mut off_curve = epk.clone();
    off_curve["y"] = epk["x"].clone();
    for change in [
        json!({"alg": "ECDH-ES+A256KW"}),
        json!({"alg": "RSA-OAEP-256"}),
        json!({"alg": "dir"}),
        json!({"alg": "none"}),
        json!({"enc": "A128GCM"}),
        json!({"enc": "A256CBC-HS512"}),
        json!({"zip": "DEF"}),
        json!({"crit": ["exp"]}),
        json!({"jwk": epk}),
        json!({"epk": off_curve}),
        json!({"epk": {"kty": "EC", "crv": "P-384", "x": epk["x"], "y": epk["y"]}}),
        json!({"epk": null}),
        json!({"kid": "other"}),
    ] {
        let refused = fcp.verify_id_token(
            &header(change.clone()),
            &keys(&key),
            LOGIN,
            Micros::from_secs(NOW_S),
        );
        assert_eq!(refused.err(), Some(Error::Decryption), "{change}");
    }
    assert!(
        fcp.verify_id_token(&nested, &keys(&key), LOGIN, Micros::from_secs(NOW_S))
            .is_ok()
    );
}

#[test]
fn userinfo_comes_in_the_envelope_agreed_too() {
    let (key, ours) = (signing_key(), decryption_key());
    let signed = jws::sign_claims(&key, "JWT", &claims()).unwrap();
    let nested = jwe::seal_nested(ours.encryption_key(), &signed, &rng()).unwrap();
    let fcp = encrypting(vec![decryption_key(), ours]);
    let now = Micros::from_secs(NOW_S);
    let read = |answer: &str, sub: &str| fcp.verify_userinfo::<Value>(answer, &keys(&key), sub, now);
    assert_eq!(read(&signed, "b6048e95"), Err(Error::Decryption));
    assert_eq!(read(&nested, "another"), Err(Error::Subject));
    let low = provider(SignatureAlgorithm::Es256);
    assert_eq!(
        low.verify_userinfo::<Value>(&nested, &keys(&key), "b6048e95", now),
        Err(Error::Malformed)
    );
    assert_eq!(read(&nested, "b6048e95").unwrap()["sub"], "b6048e95");
}

#[test]
fn rs256_is_tied_to_rsa_keys_and_to_the_configuration() {
    let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
    // RSAPublicKey (RFC 8017, A.1.1) with a modulus of 2048 bits: its 256 bytes follow nine of DER.
    let modulus = b64(&pair.public_key().as_ref()[9..265]);
    let jwk = format!(r#"{{"kty":"RSA","kid":"rsa","n":"{modulus}","e":"AQAB"}}"#);
    let set = |jwk: &str| Jwks::parse(format!(r#"{{"keys":[{jwk}]}}"#).as_bytes()).unwrap();
    let signed = format!(
        "{}.{}",
        b64(r#"{"alg":"RS256","kid":"rsa"}"#),
        b64(claims().to_string())
    );
    let mut bytes = vec![0; pair.public_modulus_len()];
    pair.sign(
        &signature::RSA_PKCS1_SHA256,
        &rand::SystemRandom::new(),
        signed.as_bytes(),
        &mut bytes,
    )
    .unwrap();
    let token = format!("{signed}.{}", b64(&bytes));
    let now = Micros::from_secs(NOW_S);
    let rs256 = provider(SignatureAlgorithm::Rs256);

    let es256 = provider(SignatureAlgorithm::Es256);
    assert_eq!(
        es256.verify_id_token(&token, &set(&jwk), LOGIN, now).err(),
        Some(Error::Header)
    );
    for other_use in [r#""alg":"PS256""#, r#""use":"enc""#] {
        let other = jwk.replace(r#""kty""#, &format!(r#"{other_use},"kty""#));
        assert_eq!(
            rs256.verify_id_token(&token, &set(&other), LOGIN, now).err(),
            Some(Error::UnknownKey)
        );
    }
    let tampered = flipped(&token, 2, 17);
    assert_eq!(
        rs256.verify_id_token(&tampered, &set(&jwk), LOGIN, now).err(),
        Some(Error::Signature)
    );
    // A P-256 key under the same name is not of the configured kind.
    let p256 = signing_key()
        .verifying_key()
        .public()
        .to_jwk()
        .replace(r#""kty""#, r#""kid":"rsa","kty""#);
    assert_eq!(
        rs256.verify_id_token(&token, &set(&p256), LOGIN, now).err(),
        Some(Error::UnknownKey)
    );
    assert!(rs256.verify_id_token(&token, &set(&jwk), LOGIN, now).is_ok());
}
