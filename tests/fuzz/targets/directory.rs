//! Directories: raw, and with a payload signed by the pinned key.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use unefois_core::directory::Unverified;
use unefois_fuzz::{input, signing_key, seeds};
use unefois_jose::directory::{TYP, verify};
use unefois_jose::{SignedDocument, SigningKey};

static KEY: LazyLock<SigningKey> = LazyLock::new(signing_key);

fuzz_target!(init: seeds::write("directory"), |data: &[u8]| {
    let Some((mode, _)) = input(data) else { return };
    let rest = &data[1..];
    let text = match mode {
        1 => SignedDocument::sign(&KEY, TYP, rest).and_then(|signed| signed.to_json()).expect("signed"),
        _ => String::from_utf8_lossy(rest).into_owned(),
    };
    if let Ok(directory) = verify(&text, KEY.thumbprint()) {
        // Whatever is accepted can be written down and read again.
        if mode == 1 {
            let document = Unverified::parse(rest).expect("it was accepted").document().clone();
            let again = serde_json::to_vec(&document).expect("JSON");
            let again = Unverified::parse(&again).expect("what was accepted");
            assert_eq!(again.document().version, directory.version());
        }
    }
});
