use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::Error;

/// Base64url without padding (RFC 7515, 2).
pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The one spelling of each byte string: padding, other alphabets, white space and trailing bits are refused, so that
/// no signed object has a second form.
pub(crate) fn decode(text: &str) -> Result<Vec<u8>, Error> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Error::Malformed)
}

/// [`decode`] to exactly `N` bytes.
pub(crate) fn decode_array<const N: usize>(text: &str) -> Result<[u8; N], Error> {
    decode(text)?.try_into().map_err(|_| Error::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_every_second_spelling() {
        for text in ["AA==", "AB", "AA ", "\nAA", "A", "+/+/", "AA\0", "é"] {
            assert_eq!(decode(text), Err(Error::Malformed), "{text:?}");
        }
        assert_eq!(decode_array::<2>("AA"), Err(Error::Malformed));
        assert_eq!(decode("-_-_"), Ok(vec![0xfb, 0xff, 0xbf]));
    }
}
