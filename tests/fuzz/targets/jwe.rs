//! Sealed pivots: raw, and texts sealed rightly; nested tokens.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use ring::rand::SystemRandom;
use unefois_fuzz::{b64, input, pivot_key, rng, seeds};
use unefois_jose::jwe::{PIVOT_BYTES, open_nested, open_pivot, seal, seal_pivot};
use unefois_jose::{DecryptionKey, strict_json};

static KEY: LazyLock<DecryptionKey> = LazyLock::new(pivot_key);
static RNG: LazyLock<SystemRandom> = LazyLock::new(rng);
/// One message, whose parts an input puts others in the place of.
static SEALED: LazyLock<String> =
    LazyLock::new(|| seal_pivot(KEY.encryption_key(), r#"{"a":1}"#, &RNG).expect("sealed"));

fuzz_target!(init: seeds::write("jwe"), |data: &[u8]| {
    let Some((mode, parts)) = input(data) else { return };
    let to = KEY.encryption_key();
    match (mode, &parts[..]) {
        // Whatever is sealed opens as what it was, or not at all.
        (1, [text, ..]) => {
            let text = String::from_utf8_lossy(text);
            if let Ok(sealed) = seal_pivot(to, &text, &RNG) {
                let opened = open_pivot(&[&KEY], &sealed).expect("what was sealed opens");
                assert_eq!(opened.as_slice(), text.trim_end_matches(' ').as_bytes());
            }
        }
        (2, [text, ..]) => {
            let mut text = text.to_vec();
            text.resize(PIVOT_BYTES, b' ');
            let sealed = seal(to, &text, &RNG).expect("sealed");
            if let Ok(opened) = open_pivot(&[&KEY], &sealed) {
                assert!(strict_json::check(&opened).is_ok());
            }
        }
        // Another part in the place of one of a message's.
        (3, [place, part, ..]) => {
            let mut whole: Vec<String> = SEALED.split('.').map(str::to_owned).collect();
            let n = usize::from(place.first().copied().unwrap_or(0)) % whole.len();
            let changed = b64(part);
            if whole[n] != changed {
                whole[n] = changed;
                assert!(open_pivot(&[&KEY], &whole.join(".")).is_err(), "a changed part");
            }
        }
        _ => {
            let text = String::from_utf8_lossy(&data[1..]);
            let _ = open_pivot(&[&KEY], &text);
            let _ = open_nested(&[&KEY], &text, 8 * 1024);
        }
    }
});
