//! Names, ids and text encodings of Ed25519 keys (C2SP signed-note, « Signatures » and « Verifier keys »).

use std::{fmt, str::FromStr, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{
    digest::{Context, SHA256},
    signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey},
};
use zeroize::Zeroizing;

use crate::{Error, Origin};

/// The signature type of notes signed with Ed25519.
const NOTE: u8 = 0x01;
/// The signature type of timestamped Ed25519 cosignatures.
const COSIGNATURE: u8 = 0x04;

const PRIVATE: &str = "PRIVATE+KEY+";
const MAX_NAME_BYTES: usize = 255;

/// A log's public key.
pub type VerifierKey = PublicKey<NOTE>;
/// A log's private key.
pub type SignerKey = PrivateKey<NOTE>;
/// A witness's public key.
pub type CosignerKey = PublicKey<COSIGNATURE>;
/// A witness's private key.
pub type Cosigner = PrivateKey<COSIGNATURE>;

/// The name of a key: 1 to 255 bytes without space, control character or plus. A log's is its origin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(Arc<str>);

impl KeyName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let foreign = |c: char| c.is_whitespace() || c.is_ascii_control() || c == '+';
        if name.is_empty() || name.len() > MAX_NAME_BYTES || name.contains(foreign) {
            return Err(Error::KeyName);
        }
        Ok(Self(name.into()))
    }
}

impl TryFrom<&Origin> for KeyName {
    type Error = Error;

    fn try_from(origin: &Origin) -> Result<Self, Error> {
        origin.as_str().parse()
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Four bytes that say which key of a name signed; it tells keys apart but proves nothing. As text, hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 4]);

impl KeyId {
    fn of(name: &KeyName, signature_type: u8, public: &[u8; 32]) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(name.as_str().as_bytes());
        context.update(&[b'\n', signature_type]);
        context.update(public);
        let mut id = [0; 4];
        id.copy_from_slice(&context.finish().as_ref()[..4]);
        Self(id)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

/// An Ed25519 public key with its name, for one signature type; as text, a vkey: `<name>+<id>+<base64>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey<const TYPE: u8> {
    name: KeyName,
    id: KeyId,
    public: [u8; 32],
}

impl<const TYPE: u8> PublicKey<TYPE> {
    /// The key of these 32 bytes (RFC 8032) under a name.
    pub fn new(name: KeyName, public: [u8; 32]) -> Self {
        let id = KeyId::of(&name, TYPE, &public);
        Self { name, id, public }
    }

    /// Its name.
    pub const fn name(&self) -> &KeyName {
        &self.name
    }

    /// Its id.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// Its 32 bytes (RFC 8032).
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.public
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), Error> {
        UnparsedPublicKey::new(&ED25519, self.public)
            .verify(message, signature)
            .map_err(|_| Error::SignatureInvalid {
                name: self.name.clone(),
                id: self.id,
            })
    }
}

impl<const TYPE: u8> FromStr for PublicKey<TYPE> {
    type Err = Error;

    fn from_str(vkey: &str) -> Result<Self, Error> {
        let (name, id, public) = decode::<TYPE>(vkey)?;
        let key = Self::new(name, *public);
        if key.id.to_string() == id {
            Ok(key)
        } else {
            Err(Error::KeyIdMismatch(key.name))
        }
    }
}

impl<const TYPE: u8> fmt::Display for PublicKey<TYPE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode::<TYPE>(&self.name, self.id, &self.public))
    }
}

/// An Ed25519 private key with its name, for one signature type.
pub struct PrivateKey<const TYPE: u8> {
    pair: Ed25519KeyPair,
    verifier: PublicKey<TYPE>,
}

impl<const TYPE: u8> PrivateKey<TYPE> {
    /// The key of this seed (RFC 8032, 5.1.5: 32 random bytes) under a name.
    pub fn new(name: KeyName, seed: &[u8; 32]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("any 32 bytes are a seed");
        let mut public = [0; 32];
        public.copy_from_slice(pair.public_key().as_ref());
        Self {
            pair,
            verifier: PublicKey::new(name, public),
        }
    }

    /// Reads a key from its text, `PRIVATE+KEY+<name>+<id>+<base64>`.
    ///
    /// # Errors
    /// [`Error::KeyText`], [`Error::KeyName`], [`Error::KeyType`], [`Error::KeyIdMismatch`].
    pub fn from_text(skey: &str) -> Result<Self, Error> {
        let (name, id, seed) = decode::<TYPE>(skey.strip_prefix(PRIVATE).ok_or(Error::KeyText)?)?;
        let key = Self::new(name, &seed);
        if key.verifier.id.to_string() == id {
            Ok(key)
        } else {
            Err(Error::KeyIdMismatch(key.verifier.name))
        }
    }

    /// The text of the key of this seed under a name, secret as the seed is.
    pub fn to_text(name: KeyName, seed: &[u8; 32]) -> Zeroizing<String> {
        let verifier = Self::new(name, seed).verifier;
        let key = encode::<TYPE>(&verifier.name, verifier.id, seed);
        Zeroizing::new([PRIVATE, &key].concat())
    }

    /// The public key that verifies what this one signs.
    pub const fn verifier(&self) -> &PublicKey<TYPE> {
        &self.verifier
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut signature = [0; 64];
        signature.copy_from_slice(self.pair.sign(message).as_ref());
        signature
    }
}

impl<const TYPE: u8> fmt::Debug for PrivateKey<TYPE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey")
            .field("verifier", &self.verifier)
            .finish_non_exhaustive()
    }
}

fn encode<const TYPE: u8>(name: &KeyName, id: KeyId, key: &[u8; 32]) -> Zeroizing<String> {
    let mut typed = Zeroizing::new([TYPE; 33]);
    typed[1..].copy_from_slice(key);
    let base64 = Zeroizing::new(STANDARD.encode(*typed));
    Zeroizing::new(format!("{name}+{id}+{}", *base64))
}

/// The parts of `<name>+<id>+<base64 of the type and 32 bytes>`; the id is the caller's to check.
fn decode<const TYPE: u8>(text: &str) -> Result<(KeyName, &str, Zeroizing<[u8; 32]>), Error> {
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(base64)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(Error::KeyText);
    };
    let name = name.parse()?;
    if base64.len() != 44 {
        return Err(Error::KeyText);
    }
    let typed = Zeroizing::new(STANDARD.decode(base64).map_err(|_| Error::KeyText)?);
    let (&found, key) = typed.split_first().ok_or(Error::KeyText)?;
    if found != TYPE {
        return Err(Error::KeyType {
            expected: TYPE,
            found,
        });
    }
    let key = <[u8; 32]>::try_from(key).map_err(|_| Error::KeyText)?;
    Ok((name, id, Zeroizing::new(key)))
}
