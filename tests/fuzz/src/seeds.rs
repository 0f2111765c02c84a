//! What each target begins with: messages of the mesh, whole and in parts.

use std::path::Path;

use unefois_jose::sd_jwt::Disclosure;
use unefois_jose::{access_token, directory, jwe, sd_jwt};

use crate::{
    b64, catalogue, claims, document, element, header, pivot_key, producer, request, rng, signed, signing_key,
};

/// Writes those of `target` into its corpus.
///
/// # Panics
/// Where a file cannot be written.
pub fn write(target: &str) {
    match target {
        "token" => token(),
        "jwe" => sealed(),
        "sd_jwt" => attestations(),
        "directory" => directories(),
        _ => requests(),
    }
}

fn whole_token() -> (String, String) {
    let (key, claims) = (signing_key(), claims().to_string());
    let token = signed(&key, header(&key, access_token::TYP).as_bytes(), claims.as_bytes());
    (claims, token)
}

fn token() {
    let (claims, token) = whole_token();
    let header = header(&signing_key(), access_token::TYP);
    seed("token", 0, &[token.as_bytes()]);
    seed("token", 1, &[claims.as_bytes()]);
    seed("token", 2, &[header.as_bytes(), claims.as_bytes()]);
}

fn sealed() {
    let pivot = r#"{"person":{"family_name":"DUBOIS","given_names":["Angela"],"birthdate":"1962-08-24","gender":"female"}}"#;
    let key = pivot_key();
    let sealed = jwe::seal_pivot(key.encryption_key(), pivot, &rng()).expect("sealed");
    let nested = jwe::seal_nested(key.encryption_key(), &whole_token().1, &rng()).expect("sealed");
    seed("jwe", 0, &[sealed.as_bytes()]);
    seed("jwe", 0, &[nested.as_bytes()]);
    seed("jwe", 1, &[pivot.as_bytes()]);
    seed("jwe", 2, &[pivot.as_bytes()]);
    for n in 0..5_u8 {
        let part = sealed.split('.').nth(usize::from(n)).unwrap_or_default();
        seed("jwe", 3, &[&[n + 5], part.as_bytes()]);
    }
}

fn attestations() {
    let units = [("valeur", "900"), ("composition", r#"["A",{"b":1.50}]"#)];
    let disclosures: Vec<Disclosure<'_>> = (units.iter().zip(1..))
        .map(|((name, json), n)| Disclosure { name, json, salt: [n; 16] })
        .collect();
    let visible = serde_json::json!({"iss": "urn:unefois:participant:18003506500010", "iat": 1_795_512_305});
    let attestation = sd_jwt::issue(&signing_key(), &visible, &disclosures).expect("issued");
    seed("sd_jwt", 0, &[attestation.as_bytes()]);
    let payload = r#"{"iss":"x","_sd_alg":"sha-256","_sd":[]}"#;
    let disclosure = format!(r#"["{}","valeur",900]"#, b64([1; 16]));
    seed("sd_jwt", 1, &[payload.as_bytes(), disclosure.as_bytes()]);
    seed("sd_jwt", 2, &[disclosure.as_bytes(), disclosure.replace("valeur", "adresse").as_bytes()]);
    seed("sd_jwt", 3, &[b"composition", units[1].1.as_bytes()]);
}

fn directories() {
    let document = document(&catalogue());
    let jws = directory::sign(&document, &signing_key()).expect("signed");
    seed("directory", 0, &[jws.as_bytes()]);
    seed("directory", 1, &[&serde_json::to_vec(&document).expect("JSON")]);
}

fn requests() {
    let catalogue = catalogue();
    let one = element(&producer(&catalogue).to_string());
    seed("par", 0, &[request(&catalogue).as_bytes()]);
    for elements in [vec![one.clone()], vec![one; 8]] {
        seed("par", 1, &[serde_json::Value::from(elements).to_string().as_bytes()]);
    }
    let check = format!(r#"{{"salt":"{}","hmac":"{}"}}"#, b64([9; 32]), b64([8; 32]));
    seed("par", 2, &[check.as_bytes()]);
    seed("par", 3, &[b"state-of-the-back-office"]);
}

/// One input: its mode, and its parts.
fn seed(target: &str, mode: u8, parts: &[&[u8]]) {
    let bytes = [&[mode][..], &parts.join(&0)].concat();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    std::fs::create_dir_all(&folder).expect("a folder");
    let name = unefois_core::Sha256::of(&bytes).to_string();
    std::fs::write(folder.join(format!("seed-{}", &name[..12])), bytes).expect("a file");
}
