use serde_json::{Value, json};
use unefois_core::{AccessTokenClaims, Micros, ParticipantId, Sha256};
use unefois_jose::access_token::{Expected, MAX_BYTES, TYP, VerifiedToken, authenticate, sign, verify};
use unefois_jose::{Error, InvalidJson, SigningKey, jws};

use crate::{b64, flipped, forge, signing_key};

const NOW_S: i64 = 1_795_512_305;
const ISSUER: &str = "https://autorite.example";
const PRODUCER: &str = "urn:unefois:participant:18003506500010";
const PIVOT: &str = "a.b.c.d.e";

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": PRODUCER, "sub": "pairwise", "client_id": "urn:unefois:participant:13000495500014",
        "iat": NOW_S, "nbf": NOW_S, "exp": NOW_S + 60, "jti": "j-1", "acr": "eidas1", "auth_time": NOW_S - 30,
        "idp_iss": "https://fc.example", "cnf": {"x5t#S256": b64([7; 32])}, "gh": b64([1; 16]),
        "authorization_details": [{
            "type": "urn:unefois:justificatif:1", "datatypes": ["cnaf/quotient-familial@1"],
            "units": [{"unit": "valeur", "need": "required"}], "locations": [PRODUCER], "actions": ["fetch"],
            "demarche": "cantine", "habilitation": "DP-1", "dossier_ref": "2026-0412",
            "legal_basis": "CRPA-L114-8-I", "mode": {"kind": "once"}, "use": "store", "data_life_days": 365,
            "subject": {"kind": "self"}
        }],
        "capacity": "self", "pivot_hash": b64(Sha256::of(PIVOT.as_bytes()).as_bytes()), "gs": b64([2; 32]),
        "rvk": {"e": 3, "s": 14}
    })
}

fn check_at(key: &SigningKey, token: &str, now: Micros) -> Result<VerifiedToken, Error> {
    let audience: ParticipantId = PRODUCER.parse().unwrap();
    let expected = Expected {
        issuer: ISSUER,
        audience: &audience,
    };
    let known = key.verifying_key();
    verify(token, expected, now, |kid| {
        (kid == known.thumbprint()).then_some(known)
    })
}

fn check(key: &SigningKey, claims: &Value) -> Result<VerifiedToken, Error> {
    let token = jws::sign_claims(key, TYP, claims).unwrap();
    check_at(key, &token, Micros::from_secs(NOW_S))
}

fn with(name: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims();
    claims[name] = value.into();
    claims
}

#[test]
fn each_refusal_has_its_own_error() {
    let key = signing_key();
    for (changed, refusal) in [
        (with("iss", "https://autorite.example/"), Error::Issuer),
        (
            with("aud", "urn:unefois:participant:13000495500014"),
            Error::Audience,
        ),
        (with("iat", NOW_S + 11), Error::NotYetValid),
        (with("nbf", NOW_S + 11), Error::NotYetValid),
        (with("exp", NOW_S - 5), Error::Expired),
        (with("exp", i64::MIN), Error::Expired),
        (with("exp", NOW_S + 301), Error::Lifetime),
        (with("exp", i64::MAX), Error::Lifetime),
        (with("iat", i64::MIN), Error::Lifetime),
        (with("iat", NOW_S - 241), Error::Lifetime),
        (with("iat", i64::MAX), Error::NotYetValid),
        (with("cnf", json!({"x5t#S256": b64([7; 31])})), Error::Malformed),
        (with("pivot_hash", ""), Error::Malformed),
        (with("email", "a@b.fr"), Error::Json(InvalidJson::Shape)),
        (with("aud", json!([PRODUCER])), Error::Json(InvalidJson::Shape)),
        (with("exp", 1.5), Error::Json(InvalidJson::Shape)),
        (with("cnf", Value::Null), Error::Json(InvalidJson::Shape)),
    ] {
        assert_eq!(check(&key, &changed).err(), Some(refusal), "{changed}");
    }
}

#[test]
fn every_claim_but_the_optional_ones_is_needed() {
    let key = signing_key();
    let all = claims();
    for name in all.as_object().unwrap().keys() {
        let mut less = all.clone();
        less.as_object_mut().unwrap().remove(name);
        assert_eq!(
            check(&key, &less).err(),
            Some(Error::Json(InvalidJson::Shape)),
            "{name}"
        );
    }
}

#[test]
fn another_type_or_key_or_size_is_refused() {
    let key = signing_key();
    let now = Micros::from_secs(NOW_S);
    let id_token = jws::sign_claims(&key, "JWT", &claims()).unwrap();
    assert_eq!(check_at(&key, &id_token, now).err(), Some(Error::Header));
    let header = format!(
        r#"{{"alg":"ES256","typ":"at+jwt","kid":"{}","crit":["x"]}}"#,
        key.thumbprint()
    );
    let critical = forge(&key, &header, &claims().to_string());
    assert_eq!(check_at(&key, &critical, now).err(), Some(Error::Header));
    let foreign = jws::sign_claims(&signing_key(), TYP, &claims()).unwrap();
    assert_eq!(check_at(&key, &foreign, now).err(), Some(Error::UnknownKey));
    let token = jws::sign_claims(&key, TYP, &claims()).unwrap();
    assert_eq!(
        check_at(&key, &flipped(&token, 2, 9), now).err(),
        Some(Error::Signature)
    );
    let long = jws::sign_claims(&key, TYP, &with("sub", "x".repeat(MAX_BYTES))).unwrap();
    assert_eq!(check_at(&key, &long, now).err(), Some(Error::TooLarge));
    let twice = claims().to_string().replacen('{', r#"{"exp":1,"#, 1);
    let twice = jws::sign(&key, TYP, twice.as_bytes()).unwrap();
    assert_eq!(
        check_at(&key, &twice, now).err(),
        Some(Error::Json(InvalidJson::DuplicateKey))
    );
}

#[test]
fn times_are_judged_to_the_bound() {
    let key = signing_key();
    let token = jws::sign_claims(&key, TYP, &claims()).unwrap();
    let end = Micros::from_secs(NOW_S + 65);
    assert_eq!(check_at(&key, &token, end).err(), Some(Error::Expired));
    assert!(check_at(&key, &token, Micros::new(end.get() - 1)).is_ok());
    let start = Micros::from_secs(NOW_S - 10);
    assert_eq!(
        check_at(&key, &token, Micros::new(start.get() - 1)).err(),
        Some(Error::NotYetValid)
    );
    assert!(check_at(&key, &token, start).is_ok());
    assert!(check(&key, &with("exp", NOW_S + 300)).is_ok());
}

#[test]
fn a_remembered_signature_is_judged_anew_at_every_call() {
    let key = signing_key();
    let token = jws::sign_claims(&key, TYP, &claims()).unwrap();
    let authentic = authenticate(&token, |_| Some(key.verifying_key())).unwrap();
    let audience: ParticipantId = PRODUCER.parse().unwrap();
    let expected = Expected {
        issuer: ISSUER,
        audience: &audience,
    };
    assert_eq!(
        authentic.check(expected, Micros::from_secs(NOW_S + 65)).err(),
        Some(Error::Expired)
    );
    assert!(authentic.check(expected, Micros::from_secs(NOW_S)).is_ok());
}

#[test]
fn what_would_be_refused_is_not_signed() {
    let key = signing_key();
    for (changed, refusal) in [
        (with("exp", NOW_S + 301), Error::Lifetime),
        (with("exp", NOW_S), Error::Lifetime),
        (with("pivot_hash", "x"), Error::Malformed),
        (with("mandate", "x"), Error::Malformed),
    ] {
        let changed: AccessTokenClaims = serde_json::from_value(changed).unwrap();
        assert_eq!(sign(&key, &changed), Err(refusal));
    }
}

#[test]
fn a_good_token_shows_its_claims_and_what_it_is_bound_to() {
    let key = signing_key();
    let minted: AccessTokenClaims = serde_json::from_value(claims()).unwrap();
    let token = check_at(&key, &sign(&key, &minted).unwrap(), Micros::from_secs(NOW_S)).unwrap();
    assert_eq!(token.claims(), &minted);
    assert_eq!(token.kid(), key.thumbprint());
    assert_eq!(token.certificate(), &Sha256::from_bytes([7; 32]));
    assert!(token.names_pivot(PIVOT));
    assert!(!token.names_pivot("a.b.c.d.f"));
    assert_eq!(format!("{token:?}"), "VerifiedToken(…)");
    let by_mandate = AccessTokenClaims {
        mandate: Some(minted.pivot_hash.clone()),
        ..minted
    };
    let token = sign(&key, &by_mandate).unwrap();
    let read = check_at(&key, &token, Micros::from_secs(NOW_S)).unwrap();
    assert_eq!(read.claims(), &by_mandate);
}
