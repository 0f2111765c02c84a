use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::{Micros, Random};

/// The name of one element of a grant at one producer (claim `gh`): 16 bytes, as text 22 characters of base64url.
///
/// The first two bytes count units of 4,096 s (they wrap after eight years), so that handles drawn together lie
/// together in an index; the other 112 bits are random, so that two producers cannot join on them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Handle([u8; 16]);

/// The text is not a handle: 22 characters of unpadded base64url.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a handle: 22 characters of base64url")]
pub struct InvalidHandle;

impl Handle {
    /// Draws a handle at `now`.
    pub fn draw(now: Micros, random: &dyn Random) -> Self {
        let mut bytes: [u8; 16] = random.bytes();
        let unit = now.secs().div_euclid(4_096).rem_euclid(1 << 16);
        bytes[..2].copy_from_slice(&u16::try_from(unit).unwrap_or(0).to_be_bytes());
        Self(bytes)
    }

    /// The coarse time in its first two bytes: when it was drawn, in units of 4,096 s.
    pub const fn unit(&self) -> u16 {
        let [high, low, ..] = self.0;
        u16::from_be_bytes([high, low])
    }

    /// The handle of these 16 bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// A handle is personal data, so a log never shows one.
impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle(…)")
    }
}

impl FromStr for Handle {
    type Err = InvalidHandle;

    fn from_str(s: &str) -> Result<Self, InvalidHandle> {
        let bytes = URL_SAFE_NO_PAD.decode(s).map_err(|_| InvalidHandle)?;
        bytes.try_into().map(Self).map_err(|_| InvalidHandle)
    }
}

impl From<Handle> for String {
    fn from(handle: Handle) -> Self {
        handle.to_string()
    }
}

impl TryFrom<String> for Handle {
    type Error = InvalidHandle;

    fn try_from(s: String) -> Result<Self, InvalidHandle> {
        s.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Ones;
    impl Random for Ones {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(0xff);
        }
    }

    #[test]
    fn refuses_padding_other_lengths_and_trailing_bits() {
        for text in [
            "",
            "AAAAAAAAAAAAAAAAAAAAAA==",
            "AAAAAAAAAAAAAAAAAAAAAB",
            "AAAA",
            "é",
        ] {
            assert_eq!(text.parse::<Handle>(), Err(InvalidHandle), "{text}");
        }
    }

    #[test]
    fn carries_the_coarse_time_then_randomness() {
        let handle = Handle::draw(Micros::from_secs(4_096 * 3 + 5), &Ones);
        assert_eq!((handle.unit(), &handle.as_bytes()[..2]), (3, &[0, 3][..]));
        assert_eq!(handle.as_bytes()[2..], [0xff; 14]);
        assert_eq!(handle.to_string().parse(), Ok(handle));
        assert_eq!(format!("{handle:?}"), "Handle(…)");
    }
}
