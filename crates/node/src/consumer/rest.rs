//! What is stored at rest: sealed, under names that say nothing.

use std::path::Path;

use ring::{aead, hkdf, hmac};
use serde::Serialize;
use serde::de::DeserializeOwned;
use unefois_core::Random;
use unefois_store::node::Mac;
use zeroize::Zeroizing;

use crate::config::{self, KeyFileError};

/// What a stored name, or a sealed text, is for: one is never good for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    State,
    Session,
    Issuer,
    Grant,
    Dossier,
    Handle,
    Request,
    Notice,
}

impl Purpose {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::State => b"state",
            Self::Session => b"session",
            Self::Issuer => b"issuer",
            Self::Grant => b"grant",
            Self::Dossier => b"dossier",
            Self::Handle => b"handle",
            Self::Request => b"request",
            Self::Notice => b"notice",
        }
    }
}

/// The keys of what a consumer stores; neither is in the database.
pub struct RestKeys {
    seal: aead::LessSafeKey,
    names: hmac::Key,
}

impl RestKeys {
    /// The keys that come of this secret (RFC 5869).
    pub fn new(secret: &[u8; 32]) -> Self {
        let derive = |label: &[u8]| {
            let mut key = Zeroizing::new([0; 32]);
            hkdf::Salt::new(hkdf::HKDF_SHA256, b"unefois/consumer/v1")
                .extract(secret)
                .expand(&[label], hkdf::HKDF_SHA256)
                .and_then(|okm| okm.fill(&mut *key))
                .expect("32 bytes are one block of HKDF-SHA-256");
            key
        };
        let seal = aead::UnboundKey::new(&aead::AES_256_GCM, &*derive(b"at rest"));
        Self {
            seal: aead::LessSafeKey::new(seal.expect("32 bytes make an AES-256 key")),
            names: hmac::Key::new(hmac::HMAC_SHA256, &*derive(b"names")),
        }
    }

    /// Reads the secret from its file.
    ///
    /// # Errors
    /// It cannot be read, or holds no 32 bytes.
    pub fn load(path: &Path) -> Result<Self, KeyFileError> {
        Ok(Self::new(&*config::secret(path)?))
    }

    /// The name under which something is stored.
    pub(super) fn name(&self, purpose: Purpose, value: &[u8]) -> Mac {
        let mut mac = [0; 32];
        mac.copy_from_slice(hmac::sign(&self.names, &message(purpose, value)).as_ref());
        mac
    }

    /// Whether `value` has this name; in constant time.
    pub(super) fn is_named(&self, purpose: Purpose, value: &[u8], name: &Mac) -> bool {
        hmac::verify(&self.names, &message(purpose, value), name).is_ok()
    }

    /// Seals `value` as JSON: AES-256-GCM under a fresh nonce, bound to its purpose and to the row that holds it.
    pub(super) fn seal<T: Serialize>(
        &self,
        purpose: Purpose,
        row: &[u8],
        value: &T,
        random: &dyn Random,
    ) -> Vec<u8> {
        let nonce: [u8; aead::NONCE_LEN] = random.bytes();
        let mut sealed =
            serde_json::to_vec(value).expect("what is stored has string keys and finite numbers");
        self.seal
            .seal_in_place_append_tag(
                aead::Nonce::assume_unique_for_key(nonce),
                aead::Aad::from(message(purpose, row)),
                &mut sealed,
            )
            .expect("what is sealed here is far below the limit of AES-GCM");
        [nonce.as_slice(), &sealed].concat()
    }

    /// Opens what [`RestKeys::seal`] made for the same purpose and row; `None` for anything else.
    pub(super) fn open<T: DeserializeOwned>(&self, purpose: Purpose, row: &[u8], sealed: &[u8]) -> Option<T> {
        let (nonce, sealed) = sealed.split_at_checked(aead::NONCE_LEN)?;
        let nonce = aead::Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = Zeroizing::new(sealed.to_vec());
        let aad = aead::Aad::from(message(purpose, row));
        let plain = self.seal.open_in_place(nonce, aad, &mut text).ok()?;
        serde_json::from_slice(plain).ok()
    }
}

impl std::fmt::Debug for RestKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RestKeys(…)")
    }
}

/// No label holds a zero, so that no two pairs make one message.
fn message(purpose: Purpose, value: &[u8]) -> Vec<u8> {
    [purpose.label(), &[0], value].concat()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use unefois_mesh::SystemRandom;

    use super::*;

    #[test]
    fn what_is_sealed_opens_for_its_purpose_row_and_key_alone() {
        let (keys, random) = (RestKeys::new(&[7; 32]), SystemRandom::new());
        let sealed = keys.seal(Purpose::Grant, b"row", &"refresh", &random);
        assert_eq!(keys.open::<String>(Purpose::Request, b"row", &sealed), None);
        assert_eq!(keys.open::<String>(Purpose::Grant, b"other", &sealed), None);
        assert_eq!(
            RestKeys::new(&[8; 32]).open::<String>(Purpose::Grant, b"row", &sealed),
            None
        );
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(
                keys.open::<String>(Purpose::Grant, b"row", &changed),
                None,
                "byte {at}"
            );
        }
        assert_eq!(keys.open::<String>(Purpose::Grant, b"row", &sealed[..11]), None);
        assert_eq!(
            keys.open(Purpose::Grant, b"row", &sealed),
            Some("refresh".to_owned())
        );
        assert!(!sealed.windows(7).any(|w| w == b"refresh"));
    }

    #[test]
    fn names_differ_by_purpose() {
        let keys = RestKeys::new(&[7; 32]);
        let name = keys.name(Purpose::State, b"x");
        assert!(!keys.is_named(Purpose::Session, b"x", &name));
        assert!(!keys.is_named(Purpose::State, b"y", &name));
        assert!(keys.is_named(Purpose::State, b"x", &name));
    }

    #[test]
    fn a_key_file_is_32_bytes_in_one_of_three_spellings() {
        let dir = std::env::temp_dir().join(format!("unefois-rest-{}", std::process::id()));
        for (text, good) in [
            (vec![b'k'; 32], true),
            ("6b".repeat(32).into_bytes(), true),
            (STANDARD.encode([b'k'; 32]).into_bytes(), true),
            (b"short".to_vec(), false),
            (vec![0xff; 33], false),
        ] {
            std::fs::write(&dir, &text).unwrap();
            assert_eq!(RestKeys::load(&dir).is_ok(), good, "{}", text.len());
        }
        std::fs::remove_file(&dir).unwrap();
        assert!(RestKeys::load(&dir).is_err());
    }
}
