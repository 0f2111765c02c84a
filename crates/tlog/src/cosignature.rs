//! Cosignatures of witnesses (C2SP tlog-cosignature, « Ed25519 signed message »).

use crate::{Cosigner, CosignerKey, Error, Note, NoteSignature, SignedCheckpoint};

/// The latest time a cosignature may carry.
const MAX_SECONDS: u64 = i64::MAX as u64;

/// A witness's timestamped signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosignature {
    /// When the witness signed, in seconds since 1970.
    pub at_s: u64,
    /// The Ed25519 signature.
    pub signature: [u8; 64],
}

impl Cosignature {
    /// Reads the bytes that a signature line carries after the key id: the time, then the signature.
    ///
    /// # Errors
    /// [`Error::CosignatureLength`], [`Error::CosignatureTime`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let parts = bytes
            .split_first_chunk()
            .and_then(|(at, signature)| Some((at, signature.try_into().ok()?)));
        let (at, signature) = parts.ok_or(Error::CosignatureLength(bytes.len()))?;
        let at_s = u64::from_be_bytes(*at);
        if at_s > MAX_SECONDS {
            return Err(Error::CosignatureTime);
        }
        Ok(Self { at_s, signature })
    }

    /// The bytes that a signature line carries after the key id.
    pub fn to_bytes(&self) -> [u8; 72] {
        let mut bytes = [0; 72];
        bytes[..8].copy_from_slice(&self.at_s.to_be_bytes());
        bytes[8..].copy_from_slice(&self.signature);
        bytes
    }

    /// Cosigns a checkpoint at `at_s`, in seconds since 1970: the line to give to [`SignedCheckpoint::add`].
    ///
    /// A witness first verifies the log's signature and the consistency with the last head it cosigned.
    ///
    /// # Errors
    /// [`Error::CosignatureTime`].
    pub fn sign(checkpoint: &SignedCheckpoint, key: &Cosigner, at_s: u64) -> Result<NoteSignature, Error> {
        if at_s > MAX_SECONDS {
            return Err(Error::CosignatureTime);
        }
        let signature = key.sign(message(at_s, checkpoint.note().text()).as_bytes());
        Ok(NoteSignature::new(
            key,
            Self { at_s, signature }.to_bytes().to_vec(),
        ))
    }
}

/// When the witness of `key` cosigned the note.
pub(crate) fn verify(note: &Note, key: &CosignerKey) -> Result<u64, Error> {
    note.verify_with(key, |bytes| {
        let Cosignature { at_s, signature } = Cosignature::from_bytes(bytes)?;
        key.verify(message(at_s, note.text()).as_bytes(), &signature)?;
        Ok(at_s)
    })
}

fn message(at_s: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {at_s}\n{text}")
}
