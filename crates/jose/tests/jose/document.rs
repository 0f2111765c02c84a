use serde_json::{Value, json};
use unefois_jose::{Error, InvalidJson, MAX_SIGNATURES, SignedDocument, jws};

use crate::{b64, signing_key, unb64};

const TYP: &str = "directory+jws";
const LIMIT: usize = 64 * 1024;

fn parse(json: &Value) -> Result<SignedDocument, Error> {
    SignedDocument::parse(json.to_string().as_bytes(), TYP, LIMIT)
}

fn flattened() -> (unefois_jose::SigningKey, Value) {
    let key = signing_key();
    let text = SignedDocument::sign(&key, TYP, br#"{"version":1}"#)
        .unwrap()
        .to_json()
        .unwrap();
    (key, serde_json::from_str(&text).unwrap())
}

#[test]
fn refuses_other_shapes() {
    let (_, good) = flattened();
    let with = |name: &str, value: Value| {
        let mut json = good.clone();
        json[name] = value;
        json
    };
    for json in [
        json!({}),
        json!([]),
        with("extra", json!(1)),
        with("signatures", json!([])),
        with("signature", json!(7)),
        with("header", json!({})),
        with("header", json!({"jwk": {"kty": "EC"}})),
        with("header", json!({"jwk": good["header"]["jwk"], "kid": "x"})),
    ] {
        assert_eq!(parse(&json), Err(Error::Json(InvalidJson::Shape)), "{json}");
    }
    let twice = good.to_string().replacen('{', r#"{"payload":"","#, 1);
    let refusal = SignedDocument::parse(twice.as_bytes(), TYP, LIMIT);
    assert_eq!(refusal, Err(Error::Json(InvalidJson::DuplicateKey)));
    let none = json!({"payload": good["payload"], "signatures": []});
    assert_eq!(parse(&none), Err(Error::Malformed));
    let small = SignedDocument::parse(good.to_string().as_bytes(), TYP, 100);
    assert_eq!(small, Err(Error::TooLarge));
}

#[test]
fn refuses_other_protected_headers() {
    let (key, good) = flattened();
    let kid = key.thumbprint();
    for header in [
        json!({"alg": "none", "typ": TYP, "kid": kid}),
        json!({"alg": "ES256", "typ": "at+jwt", "kid": kid}),
        json!({"alg": "ES256", "typ": TYP, "kid": kid, "crit": []}),
        json!({"alg": "ES256", "typ": TYP, "kid": kid, "b64": false}),
        json!({"alg": "ES256", "typ": TYP, "kid": kid, "jwk": good["header"]["jwk"]}),
        json!({"alg": "ES256", "typ": TYP, "kid": signing_key().thumbprint()}),
    ] {
        let mut json = good.clone();
        json["protected"] = b64(header.to_string()).into();
        assert_eq!(parse(&json), Err(Error::Header), "{header}");
    }
}

#[test]
fn a_carried_key_is_believed_only_under_its_pinned_name() {
    let (key, good) = flattened();
    let thief = signing_key();
    let stolen = SignedDocument::sign(&thief, TYP, br#"{"version":2}"#).unwrap();
    assert_eq!(stolen.verify_pinned(key.thumbprint()), Err(Error::UnknownKey));
    // The thief's key and signature under the pinned name.
    let mut renamed: Value = serde_json::from_str(&stolen.to_json().unwrap()).unwrap();
    renamed["protected"] = good["protected"].clone();
    assert_eq!(parse(&renamed), Err(Error::Header));
    // The right key with the thief's payload and signature.
    renamed["header"] = good["header"].clone();
    let document = parse(&renamed).unwrap();
    assert_eq!(document.verify_pinned(key.thumbprint()), Err(Error::Signature));
    assert_eq!(document.verify(key.verifying_key()), Err(Error::Signature));
}

#[test]
fn refuses_tampered_payloads_and_signatures() {
    let (key, good) = flattened();
    for name in ["payload", "signature"] {
        let mut json = good.clone();
        let mut bytes = unb64(json[name].as_str().unwrap());
        bytes[3] ^= 1;
        json[name] = b64(bytes).into();
        let document = parse(&json).unwrap();
        assert_eq!(
            document.verify_pinned(key.thumbprint()),
            Err(Error::Signature),
            "{name}"
        );
    }
}

#[test]
fn each_party_is_verified_for_itself() {
    let (consumer, producer, authority) = (signing_key(), signing_key(), signing_key());
    let mut document = SignedDocument::sign(&consumer, TYP, b"{}").unwrap();
    document.add_signature(&producer, TYP).unwrap();
    assert_eq!(document.add_signature(&producer, TYP), Err(Error::Malformed));
    let text = document.to_json().unwrap();

    let mut json: Value = serde_json::from_str(&text).unwrap();
    json["signatures"][0]["signature"] = json["signatures"][1]["signature"].clone();
    let spoiled = parse(&json).unwrap();
    assert_eq!(spoiled.verify(consumer.verifying_key()), Err(Error::Signature));
    assert!(spoiled.verify(producer.verifying_key()).is_ok());
    json["signatures"][0] = json["signatures"][1].clone();
    assert_eq!(parse(&json), Err(Error::Header));

    let read = SignedDocument::parse(text.as_bytes(), TYP, LIMIT).unwrap();
    assert_eq!(read, document);
    assert_eq!(read.verify(authority.verifying_key()), Err(Error::UnknownKey));
    for key in [&consumer, &producer] {
        let verified = read.verify(key.verifying_key()).unwrap();
        assert_eq!(
            (verified.payload(), verified.kid()),
            (b"{}".as_slice(), key.thumbprint())
        );
    }
}

#[test]
fn holds_a_bounded_number_of_signatures() {
    let mut document = SignedDocument::sign(&signing_key(), TYP, b"{}").unwrap();
    for _ in 1..MAX_SIGNATURES {
        document.add_signature(&signing_key(), TYP).unwrap();
    }
    assert_eq!(document.add_signature(&signing_key(), TYP), Err(Error::Malformed));
    let mut json: Value = serde_json::from_str(&document.to_json().unwrap()).unwrap();
    assert!(parse(&json).is_ok());
    let another = json["signatures"][0].clone();
    json["signatures"].as_array_mut().unwrap().push(another);
    assert_eq!(parse(&json), Err(Error::Malformed));
}

#[test]
fn one_signature_is_also_a_compact_one() {
    let (key, good) = flattened();
    let compact = ["protected", "payload", "signature"]
        .map(|name| good[name].as_str().unwrap())
        .join(".");
    let verified = jws::verify(&compact, TYP, LIMIT, |_| Some(key.verifying_key())).unwrap();
    assert_eq!(verified.payload(), br#"{"version":1}"#);
}
