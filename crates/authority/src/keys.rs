use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::{aead, hkdf, hmac};
use serde::Deserialize;
use unefois_core::commitment::NodeKey;
use unefois_core::{ParticipantId, Pivot, Random, Sha256, Siren, entity_form};
use unefois_jose::{DecryptionKey, Pkcs8, SigningKey, SystemRandom};
use unefois_mesh::web::CsrfKey;
use unefois_store::authority::PersonUid;
use zeroize::Zeroizing;

/// `[keys]`: files of private keys.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFiles {
    /// Signs access tokens: PKCS#8, P-256.
    pub token: PathBuf,
    /// The key that is to follow it, from before its turn: of the two, the directory's first signs.
    #[serde(default)]
    pub token_next: Option<PathBuf>,
    /// Signs withdrawals: PKCS#8, P-256.
    pub withdrawal: PathBuf,
    /// The key that is to follow it.
    #[serde(default)]
    pub withdrawal_next: Option<PathBuf>,
    /// 32 secret bytes (raw, or 64 hexadecimal digits) behind pairwise names and identity digests. Never rotated while
    /// a grant lives.
    pub subject: PathBuf,
    /// 32 secret bytes behind what is stored sealed (identities, ID tokens) and behind the tokens of forms.
    pub storage: PathBuf,
    /// 32 secret bytes behind the ledger's erasable indexes.
    pub node: PathBuf,
    /// Open the identities that consumers seal to the authority, where an officer or nobody asks: PKCS#8, P-256; the present
    /// key and, at a change, the next one. Without one, requests are made by people alone.
    #[serde(default)]
    pub pivot: Vec<PathBuf>,
}

/// A key file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the key file {path} cannot be used: {what}")]
pub struct KeyFileError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub what: &'static str,
}

/// A key that signs, and the one that is to follow it.
pub(crate) struct KeyPair {
    present: SigningKey,
    next: Option<SigningKey>,
}

impl KeyPair {
    /// Both, or the one there is.
    pub(crate) fn all(&self) -> impl Iterator<Item = &SigningKey> {
        std::iter::once(&self.present).chain(&self.next)
    }

    /// The first of `listed` that is held. Where neither is, nobody believes either of them.
    pub(crate) fn first_or_present(&self, listed: impl IntoIterator<Item = String>) -> &SigningKey {
        self.first_of(listed).unwrap_or(&self.present)
    }

    /// The first of `listed` that is held: so a directory that changes the order changes the key, without a restart.
    pub(crate) fn first_of(&self, listed: impl IntoIterator<Item = String>) -> Option<&SigningKey> {
        listed
            .into_iter()
            .find_map(|kid| self.all().find(|key| key.thumbprint().to_string() == kid))
    }
}

/// What the authority keeps secret.
pub(crate) struct Keys {
    pub(crate) token: KeyPair,
    pub(crate) withdrawal: KeyPair,
    pub(crate) node: NodeKey,
    /// Behind the tokens of forms: the same after a restart, and at whoever takes over.
    pub(crate) forms: CsrfKey,
    /// Open sealed identities.
    pub(crate) pivot: Vec<DecryptionKey>,
    subject: hmac::Key,
    identity: hmac::Key,
    pkce: hmac::Key,
    storage: aead::LessSafeKey,
}

impl Keys {
    /// Reads the files.
    pub(crate) fn load(files: &KeyFiles, rng: &SystemRandom) -> Result<Self, KeyFileError> {
        let signing = |path: &Path| {
            let bytes = Zeroizing::new(read(path)?);
            Pkcs8::from_file(bytes)
                .and_then(|key| SigningKey::from_pkcs8(&key, rng))
                .map_err(|_| broken(path, "not a P-256 private key in PKCS#8"))
        };
        let pair = |present: &Path, next: Option<&Path>| {
            Ok(KeyPair {
                present: signing(present)?,
                next: next.map(signing).transpose()?,
            })
        };
        let subject = secret(&files.subject)?;
        let storage = secret(&files.storage)?;
        Ok(Self {
            token: pair(&files.token, files.token_next.as_deref())?,
            withdrawal: pair(&files.withdrawal, files.withdrawal_next.as_deref())?,
            node: NodeKey::new(&*secret(&files.node)?),
            forms: CsrfKey::new(&derive(&storage, b"forms")),
            pivot: files
                .pivot
                .iter()
                .map(|path| decryption(path))
                .collect::<Result<_, _>>()?,
            subject: hmac::Key::new(hmac::HMAC_SHA256, &*derive(&subject, b"pairwise")),
            identity: hmac::Key::new(hmac::HMAC_SHA256, &*derive(&subject, b"identity")),
            pkce: hmac::Key::new(hmac::HMAC_SHA256, &*derive(&storage, b"pkce")),
            storage: aead::LessSafeKey::new(
                aead::UnboundKey::new(&aead::AES_256_GCM, &*derive(&storage, b"at rest"))
                    .expect("32 bytes make an AES-256 key"),
            ),
        })
    }

    /// The person's name for one consumer: HMAC(K, "c1" ‖ SIREN ‖ person). Two consumers cannot join on it.
    pub(crate) fn pairwise(&self, client: &ParticipantId, person: &PersonUid) -> String {
        let message = [b"c1", client.siren().as_str().as_bytes(), &person.as_bytes()[..]].concat();
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.subject, &message))
    }

    /// A mandate's name for one producer: HMAC(K, "m1" ‖ SIREN ‖ mandate). Two producers cannot join on it.
    pub(crate) fn mandate_at(&self, producer: &ParticipantId, mandate: &[u8; 16]) -> String {
        let message = [b"m1", producer.siren().as_str().as_bytes(), &mandate[..]].concat();
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.subject, &message))
    }

    /// The digest under which an identity is found again.
    pub(crate) fn identity_digest(&self, pivot: &Pivot) -> Sha256 {
        self.identity_of(&pivot.canonical())
    }

    /// The digest under which every identity is found that may be this person's, otherwise written.
    pub(crate) fn near_digest(&self, pivot: &Pivot) -> Sha256 {
        self.identity_of(&pivot.near_form())
    }

    fn identity_of(&self, form: &[u8]) -> Sha256 {
        let mut digest = [0; 32];
        digest.copy_from_slice(hmac::sign(&self.identity, form).as_ref());
        Sha256::from_bytes(digest)
    }

    /// The digest that names a company; no identity of a person's has such a form.
    pub(crate) fn company_digest(&self, siren: &Siren) -> Sha256 {
        let mut digest = [0; 32];
        digest.copy_from_slice(hmac::sign(&self.identity, &entity_form(siren)).as_ref());
        Sha256::from_bytes(digest)
    }

    /// The PKCE verifier of the login with this `state` (RFC 7636, 4.1): made again when it is needed, so nothing of it
    /// is stored or sent along.
    pub(crate) fn pkce_verifier(&self, state: &str) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.pkce, state.as_bytes()))
    }

    /// Seals what is stored: AES-256-GCM under a fresh nonce, bound to `purpose` and `owner`.
    pub(crate) fn seal(&self, purpose: &str, owner: &[u8], plain: &[u8], random: &dyn Random) -> Vec<u8> {
        let nonce: [u8; aead::NONCE_LEN] = random.bytes();
        let mut sealed = plain.to_vec();
        self.storage
            .seal_in_place_append_tag(
                aead::Nonce::assume_unique_for_key(nonce),
                aead::Aad::from(binding(purpose, owner)),
                &mut sealed,
            )
            .expect("what is sealed here is far below the limit of AES-GCM");
        [nonce.as_slice(), &sealed].concat()
    }

    /// Opens what [`Keys::seal`] made for the same purpose and owner; `None` for anything else.
    pub(crate) fn open(&self, purpose: &str, owner: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = sealed.split_at_checked(aead::NONCE_LEN)?;
        let nonce = aead::Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = Zeroizing::new(sealed.to_vec());
        let plain = self
            .storage
            .open_in_place(nonce, aead::Aad::from(binding(purpose, owner)), &mut text)
            .ok()?
            .len();
        text.truncate(plain);
        Some(text)
    }
}

/// A key that others encrypt to.
pub(crate) fn decryption_key(path: &Path) -> Result<DecryptionKey, KeyFileError> {
    let bytes = Zeroizing::new(read(path)?);
    Pkcs8::from_file(bytes)
        .and_then(|key| DecryptionKey::from_pkcs8(&key))
        .map_err(|_| broken(path, "not a P-256 private key in PKCS#8"))
}

fn binding(purpose: &str, owner: &[u8]) -> Vec<u8> {
    [purpose.as_bytes(), &[0], owner].concat()
}

/// One key of several from one secret (RFC 5869).
fn derive(secret: &[u8; 32], label: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    hkdf::Salt::new(hkdf::HKDF_SHA256, b"unefois/authority/v1")
        .extract(secret)
        .expand(&[label], hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut *key))
        .expect("32 bytes are one block of HKDF-SHA-256");
    key
}

fn decryption(path: &Path) -> Result<DecryptionKey, KeyFileError> {
    let bytes = Zeroizing::new(read(path)?);
    Pkcs8::from_file(bytes)
        .and_then(|key| DecryptionKey::from_pkcs8(&key))
        .map_err(|_| broken(path, "not a P-256 private key in PKCS#8"))
}

fn secret(path: &Path) -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
    let bytes = Zeroizing::new(read(path)?);
    if let Ok(raw) = <[u8; 32]>::try_from(bytes.as_slice()) {
        return Ok(Zeroizing::new(raw));
    }
    let hex: Option<Sha256> = std::str::from_utf8(&bytes)
        .ok()
        .and_then(|text| text.trim_end().parse().ok());
    hex.map(|secret| Zeroizing::new(*secret.as_bytes()))
        .ok_or_else(|| broken(path, "neither 32 bytes nor 64 hexadecimal digits"))
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, KeyFileError> {
    std::fs::read(path).map_err(|_| broken(path, "it cannot be read"))
}

fn broken(path: &Path, what: &'static str) -> KeyFileError {
    KeyFileError {
        path: path.to_owned(),
        what,
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(…)")
    }
}
