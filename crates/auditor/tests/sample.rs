//! The draw of a sample, again by other means: HMAC by hand over another SHA-256, as the documentation says it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};
use unefois_auditor::KnownHead;
use unefois_auditor::sample::draw;
use unefois_tlog::Hash;

const ORIGIN: &str = "urn:unefois:participant:18003506500010/1";

/// RFC 2104 for keys of at most one block.
fn hmac(key: &[u8], message: &str) -> [u8; 32] {
    let mut block = [0_u8; 64];
    block[..key.len()].copy_from_slice(key);
    let padded = |pad: u8| block.map(|byte| byte ^ pad);
    let inner = Sha256::new()
        .chain_update(padded(0x36))
        .chain_update(message)
        .finalize();
    let outer = Sha256::new()
        .chain_update(padded(0x5c))
        .chain_update(inner)
        .finalize();
    outer.into()
}

fn redrawn(seed: &str, size: u64, root: &str, (first, end): (u64, u64), count: usize) -> Vec<u64> {
    let span = u128::from(end - first);
    let most = (1_u128 << 64) / span * span;
    let mut places = BTreeSet::new();
    for number in 0.. {
        if places.len() == count {
            break;
        }
        let text = format!("unefois/sample/v1\n{ORIGIN}\n{size}\n{root}\n{first}\n{end}\n{number}");
        let mac = hmac(seed.as_bytes(), &text);
        let drawn = mac[..8]
            .iter()
            .fold(0_u128, |number, byte| number * 256 + u128::from(*byte));
        if drawn < most {
            places.insert(first + u64::try_from(drawn % span).unwrap());
        }
    }
    places.into_iter().collect()
}

#[test]
fn hmac_by_hand_is_that_of_rfc_4231() {
    let hex: String = hmac(b"Jefe", "what do ya want for nothing?")
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        hex,
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
}

#[test]
fn anybody_draws_the_same_places_again() {
    let root = Hash::of_leaf(b"any root");
    for (size, first, end, count) in [
        (1, 0, 1, 1),
        (345, 0, 345, 20),
        (345, 100, 120, 19),
        (10_000_000, 0, 10_000_000, 200),
        // So wide a range passes over a third of all numbers.
        (u64::MAX / 2, 0, 0xaaaa_aaaa_aaaa_aaab_u64 / 2, 50),
    ] {
        for seed in ["2026-11-29 CNIL", "é", ""] {
            let origin = ORIGIN.parse().unwrap();
            let drawn = draw(seed, &origin, KnownHead { size, root }, first..end, count);
            let again = redrawn(seed, size, &root.to_string(), (first, end), count);
            assert_eq!(drawn, again, "{seed} {size} {first}..{end}");
        }
    }
}
