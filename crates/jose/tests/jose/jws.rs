use unefois_jose::jws::{sign, sign_claims, verify};
use unefois_jose::{Error, InvalidJson, PublicKey, SigningKey, VerifyingKey};

use crate::{b64, flipped, forge, signing_key, unb64, with_part};

const LIMIT: usize = 4_096;

fn check(key: &SigningKey, token: &str) -> Result<Vec<u8>, Error> {
    let known = key.verifying_key();
    verify(token, "test+jwt", LIMIT, |kid| {
        (kid == known.thumbprint()).then_some(known)
    })
    .map(|verified| verified.payload().to_vec())
}

fn header(key: &SigningKey, alg: &str, typ: &str, more: &str) -> String {
    format!(
        r#"{{"alg":"{alg}","typ":"{typ}","kid":"{}"{more}}}"#,
        key.thumbprint()
    )
}

#[test]
fn refuses_other_algorithms_types_and_members_even_well_signed() {
    let key = signing_key();
    for (alg, typ, more) in [
        ("none", "test+jwt", ""),
        ("HS256", "test+jwt", ""),
        ("ES384", "test+jwt", ""),
        ("es256", "test+jwt", ""),
        ("ES256", "at+jwt", ""),
        ("ES256", "TEST+JWT", ""),
        ("ES256", "application/test+jwt", ""),
        ("ES256", "test+jwt", r#","crit":["exp"]"#),
        ("ES256", "test+jwt", r#","b64":false"#),
        ("ES256", "test+jwt", r#","jku":"https://example.org/keys""#),
        ("ES256", "test+jwt", r#","jwk":{"kty":"EC"}"#),
        ("ES256", "test+jwt", r#","x5u":"https://example.org/cert""#),
        ("ES256", "test+jwt", r#","x5c":[]"#),
        ("ES256", "test+jwt", r#","x5c":null"#),
        ("ES256", "test+jwt", r#","zip":"DEF""#),
        ("ES256", "test+jwt", r#","cty":"JWT""#),
        ("ES256", "test+jwt", r#","anything":1"#),
    ] {
        let token = forge(&key, &header(&key, alg, typ, more), "{}");
        assert_eq!(check(&key, &token), Err(Error::Header), "{alg} {typ} {more}");
    }
}

#[test]
fn refuses_headers_that_lack_something_or_are_no_objects() {
    let key = signing_key();
    let kid = key.thumbprint();
    for text in [
        format!(r#"{{"typ":"test+jwt","kid":"{kid}"}}"#),
        format!(r#"{{"alg":"ES256","kid":"{kid}"}}"#),
        r#"{"alg":"ES256","typ":"test+jwt"}"#.to_owned(),
        r#"{"alg":"ES256","typ":"test+jwt","kid":1}"#.to_owned(),
    ] {
        assert_eq!(
            check(&key, &forge(&key, &text, "{}")),
            Err(Error::Header),
            "{text}"
        );
    }
    let shape = Err(Error::Json(InvalidJson::Shape));
    for text in ["[]", "null", "1"] {
        assert_eq!(check(&key, &forge(&key, text, "{}")), shape, "{text}");
    }
}

#[test]
fn refuses_a_header_that_names_a_member_twice_or_nests_deeply() {
    let key = signing_key();
    for more in [r#","alg":"ES256""#, r#","\u0061lg":"none""#] {
        let token = forge(&key, &header(&key, "ES256", "test+jwt", more), "{}");
        assert_eq!(check(&key, &token), Err(Error::Json(InvalidJson::DuplicateKey)));
    }
    let deep = format!(r#","a":{}{}"#, "[".repeat(20), "]".repeat(20));
    let token = forge(&key, &header(&key, "ES256", "test+jwt", &deep), "{}");
    assert_eq!(check(&key, &token), Err(Error::Json(InvalidJson::TooDeep)));
}

#[test]
fn refuses_other_forms() {
    let key = signing_key();
    let token = sign(&key, "test+jwt", b"{}").unwrap();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    for text in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        signed.to_owned(),
        format!("{token}."),
        format!(".{token}"),
        format!("{token}.x"),
        format!("{signed}.{signature}="),
        format!("{signed}.{signature}=="),
        format!("{signed}.{signature}\n"),
        format!(" {token}"),
        with_part(&token, 0, &format!("{}=", token.split('.').next().unwrap())),
        with_part(&token, 0, ""),
    ] {
        let refusal = check(&key, &text).unwrap_err();
        assert!(
            matches!(refusal, Error::Malformed | Error::Json(InvalidJson::Syntax)),
            "{text:?}: {refusal:?}"
        );
    }
}

#[test]
fn refuses_trailing_bits_in_every_part() {
    let key = signing_key();
    // 64 bytes of signature leave four spare bits in the last character; "{}" two bytes, so two.
    let token = sign(&key, "test+jwt", b"{}").unwrap();
    for part in [1, 2] {
        let text = token.split('.').nth(part).unwrap();
        let (rest, last) = text.split_at(text.len() - 1);
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let at = alphabet.find(last).unwrap();
        let spelled = format!("{rest}{}", &alphabet[at + 1..at + 2]);
        assert!(check(&key, &with_part(&token, part, &spelled)).is_err());
    }
    assert!(check(&key, &token).is_ok());
}

#[test]
fn refuses_every_tampered_signature_payload_and_header() {
    let key = signing_key();
    let token = sign(&key, "test+jwt", br#"{"a":1}"#).unwrap();
    for byte in 0..64 {
        assert_eq!(
            check(&key, &flipped(&token, 2, byte)),
            Err(Error::Signature),
            "{byte}"
        );
    }
    for byte in 0..7 {
        assert_eq!(
            check(&key, &flipped(&token, 1, byte)),
            Err(Error::Signature),
            "{byte}"
        );
    }
    let reordered = format!(
        r#"{{"kid":"{}","alg":"ES256","typ":"test+jwt"}}"#,
        key.thumbprint()
    );
    assert_eq!(
        check(&key, &with_part(&token, 0, &b64(reordered))),
        Err(Error::Signature)
    );
}

#[test]
fn refuses_signatures_out_of_range_or_of_other_lengths() {
    let key = signing_key();
    let token = sign(&key, "test+jwt", b"{}").unwrap();
    let signature = unb64(token.rsplit_once('.').unwrap().1);
    let (r, s) = signature.split_at(32);
    let zero = [0; 32];
    // The order of the group.
    let n = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
        0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let high = [0xff; 32];
    for (r, s) in [(&zero, s), (&n, s), (&high, s)]
        .map(|(r, s)| (r.as_slice(), s))
        .into_iter()
        .chain([
            (r, zero.as_slice()),
            (r, &n),
            (r, &high),
            (&zero, &zero),
            (&n, &n),
            (r, &s[..31]),
            (r, &[]),
            (&[], &[]),
            (r, &[s, &[0]].concat()),
        ])
    {
        let text = with_part(&token, 2, &b64([r, s].concat()));
        assert_eq!(check(&key, &text), Err(Error::Signature));
    }
}

#[test]
fn refuses_unknown_and_wrong_keys() {
    let (key, other) = (signing_key(), signing_key());
    let token = sign(&other, "test+jwt", b"{}").unwrap();
    assert_eq!(check(&key, &token), Err(Error::UnknownKey));
    let foreign_name = r#"{"alg":"ES256","typ":"test+jwt","kid":"key-1"}"#;
    assert_eq!(
        check(&key, &forge(&key, foreign_name, "{}")),
        Err(Error::UnknownKey)
    );
    // A look-up that answers another key than the one named.
    let any = verify(&token, "test+jwt", LIMIT, |_| Some(key.verifying_key()));
    assert_eq!(any, Err(Error::UnknownKey));
    let stolen_name = forge(&other, &header(&key, "ES256", "test+jwt", ""), "{}");
    assert_eq!(check(&key, &stolen_name), Err(Error::Signature));
}

#[test]
fn refuses_more_than_the_limit_before_anything_else() {
    let key = signing_key();
    let token = sign(&key, "test+jwt", &vec![b' '; LIMIT]).unwrap();
    assert_eq!(check(&key, &token), Err(Error::TooLarge));
    assert_eq!(check(&key, &"x".repeat(LIMIT + 1)), Err(Error::TooLarge));
    assert_eq!(check(&key, &"x".repeat(LIMIT)), Err(Error::Malformed));
}

#[test]
fn claims_are_strict_json() {
    let key = signing_key();
    for (payload, refusal) in [
        (r#"{"a":1,"a":2}"#, InvalidJson::DuplicateKey),
        (r#"{"a":1"#, InvalidJson::Syntax),
        (r#"{"a":"x"}"#, InvalidJson::Shape),
    ] {
        let token = sign(&key, "test+jwt", payload.as_bytes()).unwrap();
        let verified = verify(&token, "test+jwt", LIMIT, |_| Some(key.verifying_key())).unwrap();
        let claims = verified.claims::<std::collections::BTreeMap<String, u8>>();
        assert_eq!(claims, Err(Error::Json(refusal)), "{payload}");
    }
}

#[test]
fn what_is_signed_verifies() {
    let key = signing_key();
    let token = sign_claims(&key, "test+jwt", &[1, 2]).unwrap();
    let verified = verify(&token, "test+jwt", LIMIT, |_| Some(key.verifying_key())).unwrap();
    assert_eq!(verified.claims::<[u8; 2]>(), Ok([1, 2]));
    assert_eq!(verified.kid(), key.thumbprint());
}

#[test]
fn the_signature_of_rfc_7515_appendix_a_3_verifies() {
    let key = br#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
    let key = VerifyingKey::new(PublicKey::from_jwk(key).unwrap());
    let signed = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let signature =
        unb64("DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q");
    assert_eq!(
        key.verify(&signed.as_bytes()[1..], &signature),
        Err(Error::Signature)
    );
    assert_eq!(key.verify(signed.as_bytes(), &signature), Ok(()));
}
