use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use unefois_core::Sha256;
use unefois_jose::sd_jwt::{
    Attestation, Disclosure, MAX_DISCLOSURES, TYP, issue, present, verify, verify_presented,
};
use unefois_jose::{Error, InvalidJson, SigningKey, jws};

use crate::{b64, flipped, signing_key, unb64};

const LIMIT: usize = 64 * 1024;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Visible {
    iss: String,
    vct: String,
    iat: i64,
}

fn visible() -> Visible {
    Visible {
        iss: "urn:unefois:participant:18003506500010".to_owned(),
        vct: "urn:unefois:cnaf/quotient-familial@1".to_owned(),
        iat: 1_795_512_305,
    }
}

fn unit<'a>(name: &'a str, json: &'a str) -> Disclosure<'a> {
    let mut salt = [0; 16];
    salt.copy_from_slice(&Sha256::of(name.as_bytes()).as_bytes()[..16]);
    Disclosure { name, json, salt }
}

fn check(key: &SigningKey, text: &str) -> Result<Attestation, Error> {
    verify(text, LIMIT, |kid| {
        (kid == key.thumbprint()).then_some(key.verifying_key())
    })
}

fn disclosure(text: &str) -> String {
    b64(text)
}

fn digest(encoded: &str) -> String {
    b64(Sha256::of(encoded.as_bytes()).as_bytes())
}

/// An attestation with any payload and any disclosures, signed by the right key.
fn forged(key: &SigningKey, payload: &Value, disclosures: &[String]) -> String {
    let jwt = jws::sign_claims(key, TYP, payload).unwrap();
    format!(
        "{jwt}~{}",
        disclosures.iter().map(|d| format!("{d}~")).collect::<String>()
    )
}

/// The refusal of one disclosure text, well referenced.
fn refusal_of(text: &str) -> Option<Error> {
    let key = signing_key();
    let encoded = disclosure(text);
    let payload = json!({"iss": "x", "_sd": [digest(&encoded)], "_sd_alg": "sha-256"});
    check(&key, &forged(&key, &payload, &[encoded])).err()
}

#[test]
fn refuses_to_issue_what_it_would_not_verify() {
    let key = signing_key();
    let reserved = Some(Error::Json(InvalidJson::ReservedKey));
    for claims in [
        json!({"cnf": {}}),
        json!({"_sd": []}),
        json!({"_sd_alg": "sha-256"}),
        json!({"a": {"_sd": []}}),
        json!({"a": [{"...": "x"}]}),
    ] {
        assert_eq!(issue(&key, &claims, &[]).err(), reserved, "{claims}");
    }
    assert_eq!(
        issue(&key, &[1], &[]).err(),
        Some(Error::Json(InvalidJson::Shape))
    );
    for name in [
        "iss", "vct", "exp", "nbf", "cnf", "status", "_sd", "_sd_alg", "...",
    ] {
        let refusal = issue(&key, &json!({}), &[unit(name, "1")]).err();
        assert_eq!(refusal, Some(Error::Disclosure), "{name}");
    }
    let twice = issue(&key, &visible(), &[unit("a", "1"), unit("a", "2")]);
    assert_eq!(twice.err(), Some(Error::Disclosure));
    let taken = issue(&key, &json!({"period": "2026-05"}), &[unit("period", "1")]);
    assert_eq!(taken.err(), Some(Error::Disclosure));
    let many: Vec<String> = (0..=MAX_DISCLOSURES).map(|n| format!("u{n}")).collect();
    let many: Vec<_> = many.iter().map(|name| unit(name, "1")).collect();
    assert_eq!(issue(&key, &visible(), &many).err(), Some(Error::Disclosure));
}

#[test]
fn refuses_values_that_are_not_one_strict_json_text() {
    let key = signing_key();
    let deep = format!("{}{}", "[".repeat(16), "]".repeat(16));
    for (json, refusal) in [
        ("", InvalidJson::Syntax),
        (r#"1],["x","y",2"#, InvalidJson::Syntax),
        (r#"1,2"#, InvalidJson::Syntax),
        ("1]", InvalidJson::Syntax),
        (r#"{"a":1,"a":2}"#, InvalidJson::DuplicateKey),
        (r#"{"a":[{"_sd":[]}]}"#, InvalidJson::ReservedKey),
        (r#"[{"...":"x"}]"#, InvalidJson::ReservedKey),
        (&deep, InvalidJson::TooDeep),
    ] {
        let refused = issue(&key, &visible(), &[unit("a", json)]);
        assert_eq!(refused.err(), Some(Error::Json(refusal)), "{json}");
    }
}

#[test]
fn refuses_disclosures_that_match_no_digest_one_to_one() {
    let key = signing_key();
    let (a, b) = (disclosure(r#"["s1","a",1]"#), disclosure(r#"["s2","b",2]"#));
    let payload = |digests: &[&String]| {
        let digests: Vec<String> = digests.iter().map(|d| digest(d)).collect();
        json!({"iss": "x", "_sd": digests, "_sd_alg": "sha-256"})
    };
    for (digests, disclosures) in [
        (vec![&a], vec![]),
        (vec![&a, &b], vec![a.clone()]),
        (vec![&a], vec![b.clone()]),
        (vec![&a], vec![a.clone(), b.clone()]),
        (vec![&a], vec![a.clone(), a.clone()]),
        (vec![&a, &a], vec![a.clone()]),
        (vec![&a, &a], vec![a.clone(), a.clone()]),
        (vec![&a], vec![format!("{a}=")]),
        (vec![&a], vec![String::new(), a.clone()]),
    ] {
        let text = forged(&key, &payload(&digests), &disclosures);
        assert_eq!(check(&key, &text).err(), Some(Error::Disclosure), "{text}");
    }
    let unlisted = forged(
        &key,
        &json!({"iss": "x", "_sd_alg": "sha-256"}),
        std::slice::from_ref(&a),
    );
    assert_eq!(check(&key, &unlisted).err(), Some(Error::Disclosure));
    assert!(check(&key, &forged(&key, &payload(&[&b, &a]), &[a, b])).is_ok());
}

#[test]
fn refuses_names_that_are_taken_or_reserved() {
    for name in [
        "iss", "_sd", "_sd_alg", "...", "vct", "exp", "nbf", "iat", "cnf", "status",
    ] {
        assert_eq!(
            refusal_of(&format!(r#"["s","{name}",1]"#)),
            Some(Error::Disclosure),
            "{name}"
        );
    }
    let key = signing_key();
    let twice = [disclosure(r#"["s1","a",1]"#), disclosure(r#"["s2","a",1]"#)];
    let payload = json!({"iss": "x", "_sd": [digest(&twice[0]), digest(&twice[1])]});
    assert_eq!(
        check(&key, &forged(&key, &payload, &twice)).err(),
        Some(Error::Disclosure)
    );
}

#[test]
fn refuses_disclosures_of_other_shapes() {
    for text in [
        r#"["s",1]"#,
        r#"["s","a",1,2]"#,
        r#"[1,"a",1]"#,
        r#"["s",1,1]"#,
        "{}",
        "[]",
        "null",
    ] {
        assert_eq!(refusal_of(text), Some(Error::Disclosure), "{text}");
    }
    for (text, refusal) in [
        (r#"["s","a",{"_sd":[]}]"#, InvalidJson::ReservedKey),
        (r#"["s","a",[{"...":"x"}]]"#, InvalidJson::ReservedKey),
        (r#"["s","a",{"b":1,"b":1}]"#, InvalidJson::DuplicateKey),
        (r#"["s","a",1"#, InvalidJson::Syntax),
    ] {
        assert_eq!(refusal_of(text), Some(Error::Json(refusal)), "{text}");
    }
    assert_eq!(refusal_of(r#"["s","a",1]"#), None);
}

#[test]
fn refuses_payloads_of_other_mechanisms() {
    let key = signing_key();
    for (payload, refusal) in [
        (json!({"cnf": {"jwk": {}}}), Error::HolderKey),
        (json!({"_sd_alg": "sha-512"}), Error::Header),
        (json!({"_sd_alg": 1}), Error::Json(InvalidJson::Shape)),
        (json!({"_sd": "x"}), Error::Json(InvalidJson::Shape)),
        (json!({"a": {"_sd": []}}), Error::Json(InvalidJson::ReservedKey)),
        (
            json!({"a": [{"...": "x"}]}),
            Error::Json(InvalidJson::ReservedKey),
        ),
        (json!({"...": "x"}), Error::Json(InvalidJson::ReservedKey)),
        (json!([]), Error::Json(InvalidJson::Shape)),
    ] {
        assert_eq!(
            check(&key, &forged(&key, &payload, &[])).err(),
            Some(refusal),
            "{payload}"
        );
    }
}

#[test]
fn refuses_key_bindings_other_types_keys_and_forms() {
    let key = signing_key();
    let good = issue(&key, &visible(), &[unit("valeur", "1")]).unwrap();
    let kb = jws::sign(&key, "kb+jwt", b"{}").unwrap();
    assert_eq!(check(&key, &format!("{good}{kb}")).err(), Some(Error::HolderKey));
    let (jwt, tail) = good.split_once('~').unwrap();
    assert_eq!(check(&key, jwt).err(), Some(Error::Malformed));
    assert_eq!(
        check(&key, good.trim_end_matches('~')).err(),
        Some(Error::HolderKey)
    );
    assert_eq!(check(&key, &format!("{good}~")).err(), Some(Error::Disclosure));
    assert_eq!(
        check(&key, &format!("{}~{tail}", flipped(jwt, 2, 1))).err(),
        Some(Error::Signature)
    );
    assert_eq!(check(&signing_key(), &good).err(), Some(Error::UnknownKey));
    for typ in ["vc+sd-jwt", "at+jwt", "JWT"] {
        let other = jws::sign(&key, typ, b"{}").unwrap() + "~";
        assert_eq!(check(&key, &other).err(), Some(Error::Header), "{typ}");
    }
    let small = verify(&good, good.len() - 1, |_| Some(key.verifying_key()));
    assert_eq!(small.err(), Some(Error::TooLarge));
}

#[test]
fn every_changed_character_is_refused() {
    let key = signing_key();
    let good = issue(&key, &visible(), &[unit("valeur", "12.30")]).unwrap();
    for at in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert!(check(&key, &changed).is_err(), "{at}");
    }
}

#[test]
fn values_arrive_byte_for_byte_and_in_order() {
    let key = signing_key();
    let values = [
        ("valeur", "123.40"),
        ("annee", "123456789012345678901234567890"),
        ("allocataires", r#"[ {"nom" : "DUBOIS" , "x":1e2}, null ]"#),
        ("adresse", r#""\u00e9 é \/""#),
    ];
    let units: Vec<_> = values.iter().map(|(name, json)| unit(name, json)).collect();
    let text = issue(&key, &visible(), &units).unwrap();
    let attestation = check(&key, &text).unwrap();
    let read: Vec<_> = attestation
        .disclosures()
        .iter()
        .map(|d| (d.name.as_str(), d.value.get()))
        .collect();
    assert_eq!(read, values);
    assert_eq!(attestation.claims::<Visible>(), Ok(visible()));
    assert_eq!(attestation.kid(), key.thumbprint());
    assert_eq!(format!("{attestation:?}"), "Attestation(…)");
}

#[test]
fn digests_are_sorted_and_nothing_is_left_of_an_empty_list() {
    let key = signing_key();
    let units = ["a", "b", "c", "d", "e", "f"].map(|name| unit(name, "1"));
    let payload =
        |text: &str| -> Value { serde_json::from_slice(&unb64(text.split('.').nth(1).unwrap())).unwrap() };
    let listed = payload(&issue(&key, &visible(), &units).unwrap())["_sd"].clone();
    let listed: Vec<String> = serde_json::from_value(listed).unwrap();
    assert_eq!(listed.len(), 6);
    assert!(listed.is_sorted());

    let absence = issue(&key, &visible(), &[]).unwrap();
    assert_eq!(payload(&absence).get("_sd"), None);
    assert_eq!(payload(&absence)["_sd_alg"], "sha-256");
    assert_eq!(check(&key, &absence).unwrap().disclosures().len(), 0);
    assert!(check(&key, &issue(&key, &json!({}), &[]).unwrap()).is_ok());
}

#[test]
fn the_digest_is_that_of_rfc_9901() {
    // RFC 9901, 4.2.3: the disclosure of 4.2.1 and its digest.
    let encoded = "WyJfMjZiYzRMVC1hYzZxMktJNmNCVzVlcyIsICJmYW1pbHlfbmFtZSIsICJNw7ZiaXVzIl0";
    let key = signing_key();
    let payload = json!({"_sd": ["X9yH0Ajrdm1Oij4tWso9UzzKJvPoDxwmuEcO3XAdRC0"], "_sd_alg": "sha-256"});
    let attestation = check(&key, &forged(&key, &payload, &[encoded.to_owned()])).unwrap();
    let disclosed = &attestation.disclosures()[0];
    assert_eq!(
        (disclosed.name.as_str(), disclosed.value.get()),
        ("family_name", r#""Möbius""#)
    );
}

#[test]
fn what_is_presented_is_the_issuer_s_and_no_more_than_named() {
    let key = signing_key();
    let units = [unit("valeur", "900"), unit("foyer", r#"{"enfants":[]}"#)];
    let whole = issue(&key, &visible(), &units).unwrap();
    let cut = present(&whole, &["foyer"]).unwrap();
    let shown = |text: &str| {
        verify_presented(text, LIMIT, |kid| {
            (kid == key.thumbprint()).then_some(key.verifying_key())
        })
    };
    let names = |text: &str| -> Vec<String> {
        let shown = shown(text).unwrap();
        shown
            .disclosures()
            .iter()
            .map(|disclosed| disclosed.name.clone())
            .collect()
    };
    assert_eq!(names(&cut), ["foyer"]);
    assert_eq!(shown(&cut).unwrap().claims::<Visible>().unwrap(), visible());
    assert_eq!(names(&present(&whole, &[]).unwrap()).len(), 0);
    assert_eq!(names(&whole).len(), 2);
    // An answer is never taken with something left out.
    assert!(matches!(check(&key, &cut), Err(Error::Disclosure)));
    let foreign = disclosure(r#"["AAAAAAAAAAAAAAAAAAAAAA","enfants",[]]"#);
    let twice = format!("{cut}{}~", cut.split('~').nth(1).unwrap());
    for forged in [
        format!("{cut}{foreign}~"),
        twice,
        format!("{cut}kb-jwt"),
        cut.replacen('.', "x.", 1),
    ] {
        assert!(shown(&forged).is_err(), "{forged}");
    }
    for text in ["", "no tilde", "a~b~", "a~b"] {
        assert!(present(text, &["foyer"]).is_err(), "{text}");
    }
}
