//! Attestations: raw, with a payload signed rightly, and with disclosures that the payload names rightly.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use unefois_core::Sha256;
use unefois_fuzz::{b64, header, input, signed, signing_key, seeds};
use unefois_jose::SigningKey;
use unefois_jose::sd_jwt::{Disclosure, TYP, issue, verify};

static KEY: LazyLock<SigningKey> = LazyLock::new(signing_key);

fuzz_target!(init: seeds::write("sd_jwt"), |data: &[u8]| {
    let Some((mode, parts)) = input(data) else { return };
    let text = match (mode, &parts[..]) {
        (1, [payload, disclosures @ ..]) => {
            let tail: String = disclosures.iter().map(|text| b64(text) + "~").collect();
            format!("{}~{tail}", signed(&KEY, header(&KEY, TYP).as_bytes(), payload))
        }
        (2, disclosures) => {
            let encoded: Vec<String> = disclosures.iter().map(b64).collect();
            let digests: Vec<String> = (encoded.iter())
                .map(|text| b64(Sha256::of(text.as_bytes()).as_bytes()))
                .collect();
            let payload = json!({"iss": "x", "_sd_alg": "sha-256", "_sd": digests}).to_string();
            let tail: String = encoded.iter().map(|text| format!("{text}~")).collect();
            format!("{}~{tail}", signed(&KEY, header(&KEY, TYP).as_bytes(), payload.as_bytes()))
        }
        // What is issued says what it was given, to the byte.
        (3, [name, json, ..]) => {
            let (name, json) = (String::from_utf8_lossy(name), String::from_utf8_lossy(json));
            let unit = Disclosure { name: &name, json: &json, salt: [7; 16] };
            match issue(&KEY, &json!({"iss": "x"}), &[unit]) {
                Ok(text) => {
                    let read = verify(&text, text.len(), |_| Some(KEY.verifying_key())).expect("what was issued");
                    let [unit] = read.disclosures() else { panic!("one unit") };
                    assert_eq!((unit.name.as_str(), unit.value.get()), (&*name, json.trim()));
                    text
                }
                Err(_) => return,
            }
        }
        _ => String::from_utf8_lossy(&data[1..]).into_owned(),
    };
    let known = |kid: &_| (kid == KEY.thumbprint()).then(|| KEY.verifying_key());
    if let Ok(read) = verify(&text, 64 * 1024, known) {
        let claims: Value = read.claims().expect("an object");
        assert!(claims.get("_sd").is_none() && claims.get("cnf").is_none());
        assert_eq!(read.disclosures().len(), text.matches('~').count() - 1, "nothing is withheld");
    }
});
