//! Access tokens: raw, with claims signed rightly, with header and claims signed rightly.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use unefois_core::{AccessTokenClaims, Micros};
use unefois_fuzz::{NOW_S, header, input, signed, signing_key, seeds};
use unefois_jose::access_token::{Expected, TYP, authenticate};
use unefois_jose::SigningKey;

static KEY: LazyLock<SigningKey> = LazyLock::new(signing_key);

fuzz_target!(init: seeds::write("token"), |data: &[u8]| {
    let Some((mode, parts)) = input(data) else { return };
    let token = match (mode, &parts[..]) {
        (1, [payload, ..]) => signed(&KEY, header(&KEY, TYP).as_bytes(), payload),
        (2, [header, payload, ..]) => signed(&KEY, header, payload),
        _ => String::from_utf8_lossy(&data[1..]).into_owned(),
    };
    let Ok(token) = authenticate(&token, |kid| (kid == KEY.thumbprint()).then(|| KEY.verifying_key())) else {
        return;
    };
    let audience = "urn:unefois:participant:18003506500010".parse().expect("a participant");
    let expected = Expected { issuer: "https://autorite.example", audience: &audience };
    if let Ok(token) = token.check(expected, Micros::from_secs(NOW_S)) {
        let claims = token.claims();
        assert!((1..=300).contains(&(claims.exp - claims.iat)) && claims.exp + 5 > NOW_S);
        assert!(claims.iat <= NOW_S + 10 && claims.aud == audience);
        let text = serde_json::to_string(claims).expect("JSON");
        let again: AccessTokenClaims = serde_json::from_str(&text).expect("claims");
        assert_eq!(again, *claims);
    }
});
