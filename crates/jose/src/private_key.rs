use std::fmt;

use aws_lc_rs::agreement;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use zeroize::Zeroizing;

use crate::{EncryptionKey, Error, PublicKey, Thumbprint, VerifyingKey};

const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";

/// A private key as it lies in its file: unencrypted PKCS#8 (RFC 5958). Wiped from memory when dropped.
pub struct Pkcs8(Zeroizing<Vec<u8>>);

impl Pkcs8 {
    /// Draws a new P-256 private key, for signing or for decryption.
    pub fn generate(rng: &SystemRandom) -> Result<Self, Error> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, rng)
            .map_err(|_| Error::Randomness)?;
        Ok(Self(Zeroizing::new(document.as_ref().to_vec())))
    }

    /// Takes the bytes of a key file, DER or PEM with one `PRIVATE KEY` block and nothing else.
    pub fn from_file(bytes: Zeroizing<Vec<u8>>) -> Result<Self, Error> {
        if !bytes.starts_with(b"-----") {
            return Ok(Self(bytes));
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| Error::Key)?.trim_end();
        let body = text
            .strip_prefix(PEM_BEGIN)
            .and_then(|rest| rest.strip_suffix(PEM_END))
            .ok_or(Error::Key)?;
        let mut joined = Zeroizing::new(String::with_capacity(body.len()));
        joined.extend(body.chars().filter(|c| !matches!(c, '\r' | '\n')));
        let der = STANDARD.decode(joined.as_bytes()).map_err(|_| Error::Key)?;
        Ok(Self(Zeroizing::new(der)))
    }

    /// The DER bytes.
    pub fn as_der(&self) -> &[u8] {
        &self.0
    }

    /// The PEM text (RFC 7468, 10).
    pub fn to_pem(&self) -> Zeroizing<String> {
        let body = Zeroizing::new(STANDARD.encode(&*self.0));
        let mut pem = Zeroizing::new(String::with_capacity(body.len() + 80));
        pem.push_str(PEM_BEGIN);
        for (at, c) in body.chars().enumerate() {
            if at % 64 == 0 {
                pem.push('\n');
            }
            pem.push(c);
        }
        pem.push('\n');
        pem.push_str(PEM_END);
        pem.push('\n');
        pem
    }
}

impl fmt::Debug for Pkcs8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pkcs8(…)")
    }
}

/// A private key that makes ES256 signatures, read once.
pub struct SigningKey {
    pair: EcdsaKeyPair,
    public: VerifyingKey,
    rng: SystemRandom,
}

impl SigningKey {
    /// Reads a P-256 key that carries its public half, as those of ring, rcgen and OpenSSL do; `rng` feeds the nonces
    /// of its signatures.
    pub fn from_pkcs8(key: &Pkcs8, rng: &SystemRandom) -> Result<Self, Error> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_der(), rng)
            .map_err(|_| Error::Key)?;
        let public = VerifyingKey::new(PublicKey::from_point(pair.public_key().as_ref())?);
        Ok(Self {
            pair,
            public,
            rng: rng.clone(),
        })
    }

    /// A new key that lives in memory only.
    pub fn generate(rng: &SystemRandom) -> Result<Self, Error> {
        Self::from_pkcs8(&Pkcs8::generate(rng)?, rng)
    }

    /// The public half.
    pub const fn verifying_key(&self) -> &VerifyingKey {
        &self.public
    }

    /// The key's name.
    pub const fn thumbprint(&self) -> &Thumbprint {
        self.public.thumbprint()
    }

    /// The raw signature of `message`: r then s, 64 bytes.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.pair
            .sign(&self.rng, message)
            .map(|signature| signature.as_ref().to_vec())
            .map_err(|_| Error::Randomness)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.thumbprint())
    }
}

/// A private key that opens what was encrypted to its public half, read once.
pub struct DecryptionKey {
    private: agreement::PrivateKey,
    public: EncryptionKey,
}

impl DecryptionKey {
    /// Reads a P-256 key.
    pub fn from_pkcs8(key: &Pkcs8) -> Result<Self, Error> {
        let private = agreement::PrivateKey::from_private_key_der(&agreement::ECDH_P256, key.as_der())
            .map_err(|_| Error::Key)?;
        let point = private.compute_public_key().map_err(|_| Error::Key)?;
        let public = EncryptionKey::new(PublicKey::from_point(point.as_ref())?);
        Ok(Self { private, public })
    }

    /// The public half.
    pub const fn encryption_key(&self) -> &EncryptionKey {
        &self.public
    }

    /// The key's name.
    pub const fn thumbprint(&self) -> &Thumbprint {
        self.public.thumbprint()
    }

    /// Agrees with `peer` (SEC 1, 3.3.1); the shared secret is seen by `derive` alone.
    pub(crate) fn agree<R>(&self, peer: &PublicKey, derive: impl FnOnce(&[u8]) -> R) -> Result<R, Error> {
        let peer = agreement::UnparsedPublicKey::new(&agreement::ECDH_P256, peer.point());
        agreement::agree(&self.private, peer, Error::Decryption, |z| Ok(derive(z)))
    }
}

impl fmt::Debug for DecryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DecryptionKey({})", self.thumbprint())
    }
}
