//! Pushed requests of a known client, against one edition: the whole form, or one element in an otherwise good one.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tempfile::TempDir;
use unefois_authority::{Published, fuzz};
use unefois_core::Micros;
use unefois_fuzz::{COMMUNE, NOW_S, REDIRECT, catalogue, input, published, request, seeds};

static PUBLISHED: LazyLock<(TempDir, Published)> = LazyLock::new(published);
static REQUEST: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
    let form = request(&catalogue());
    url::form_urlencoded::parse(form.as_bytes()).into_owned().collect()
});

/// A good form with another value of this parameter.
fn with(name: &str, value: &[u8]) -> Vec<u8> {
    let value = String::from_utf8_lossy(value);
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    for (known, own) in REQUEST.iter() {
        form.append_pair(known, if known == name { &value } else { own });
    }
    form.finish().into_bytes()
}

fuzz_target!(init: seeds::write("par"), |data: &[u8]| {
    let Some((mode, _)) = input(data) else { return };
    let rest = &data[1..];
    let body = match mode {
        1 => with("authorization_details", rest),
        2 => with("subject_check", rest),
        3 => with("state", rest),
        _ => rest.to_vec(),
    };
    let commune = COMMUNE.parse().expect("a participant");
    match fuzz::pushed(&PUBLISHED.1, commune, Micros::from_secs(NOW_S), &body) {
        Ok(kept) => {
            let kept: Value = serde_json::from_str(&kept).expect("JSON");
            // Nobody comes back of a request with nobody present.
            match kept["way"] == "automatic" {
                true => assert!(kept["back"].is_null()),
                false => assert_eq!(kept["back"]["redirect_uri"], REDIRECT),
            }
            let elements = kept["elements"].as_array().expect("elements");
            assert!((1..=8).contains(&elements.len()));
            for element in elements {
                assert_eq!((&element["habilitation"], &element["demarche"]), (&"DP-1".into(), &"cantine".into()));
                for unit in element["units"].as_array().expect("units") {
                    assert!(["valeur", "composition"].contains(&unit["unit"].as_str().expect("a name")));
                }
                let dossier = element["dossier_ref"].as_str().expect("a reference");
                assert!(dossier.len() <= 64 && dossier.bytes().all(|c| c.is_ascii_graphic()));
                assert!(element.get("gh").is_none());
            }
        }
        // Public text: short, on one line, whatever was sent.
        Err(text) => assert!(text.len() < 300 && !text.chars().any(char::is_control), "{text:?}"),
    }
});
