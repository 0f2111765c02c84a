//! Signed heads of a log (C2SP tlog-checkpoint).

use std::{fmt, str::FromStr, sync::Arc};

use crate::{CosignerKey, Error, Hash, MAX_TREE_SIZE, Note, NoteSignature, SignerKey, VerifierKey, decimal};

const MAX_ORIGIN_BYTES: usize = 255;

/// The identity of a log: one line of 1 to 255 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(Arc<str>);

impl Origin {
    /// The line.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Origin {
    type Err = Error;

    fn from_str(origin: &str) -> Result<Self, Error> {
        if origin.is_empty()
            || origin.len() > MAX_ORIGIN_BYTES
            || origin.contains(|c: char| c.is_ascii_control())
        {
            return Err(Error::Origin);
        }
        Ok(Self(origin.into()))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a log says of itself at one size; displayed, the text that is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: Origin,
    /// How many leaves it has.
    pub size: u64,
    /// Their root.
    pub root: Hash,
    extensions: Vec<String>,
}

impl Checkpoint {
    /// A checkpoint without extension lines.
    ///
    /// # Errors
    /// [`Error::TreeTooLarge`].
    pub fn new(origin: Origin, size: u64, root: Hash) -> Result<Self, Error> {
        if size > MAX_TREE_SIZE {
            return Err(Error::TreeTooLarge);
        }
        Ok(Self {
            origin,
            size,
            root,
            extensions: Vec::new(),
        })
    }

    /// Adds an extension line.
    ///
    /// # Errors
    /// [`Error::CheckpointExtension`] if it is empty or holds a control character.
    pub fn with_extension(mut self, line: &str) -> Result<Self, Error> {
        if line.is_empty() || line.contains(|c: char| c.is_ascii_control()) {
            return Err(Error::CheckpointExtension);
        }
        self.extensions.push(line.to_owned());
        Ok(self)
    }

    /// The extension lines.
    pub fn extensions(&self) -> &[String] {
        &self.extensions
    }

    /// Signs it with the log's key.
    ///
    /// # Errors
    /// [`Error::OriginMismatch`] if the key is another log's; [`Error::NoteTooLarge`].
    pub fn sign(self, key: &SignerKey) -> Result<SignedCheckpoint, Error> {
        self.check_key(key.verifier())?;
        let note = Note::sign(&self.to_string(), key)?;
        Ok(SignedCheckpoint { note, claimed: self })
    }

    /// Reads the text of a note.
    fn parse(text: &str) -> Result<Self, Error> {
        let mut lines = text.lines();
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(Error::CheckpointLines);
        };
        let origin = origin.parse()?;
        let size = decimal(size).ok_or(Error::CheckpointSize)?;
        let root = root.parse().map_err(|_| Error::CheckpointRoot)?;
        lines.try_fold(Self::new(origin, size, root)?, |checkpoint, line| {
            checkpoint.with_extension(line)
        })
    }

    /// A log signs under its own origin: the key of one log says nothing of another's tree.
    fn check_key(&self, key: &VerifierKey) -> Result<(), Error> {
        if key.name().as_str() == self.origin.as_str() {
            Ok(())
        } else {
            Err(Error::OriginMismatch(key.name().clone()))
        }
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, self.root)?;
        self.extensions.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// A checkpoint as a note; what it says comes out only through [`SignedCheckpoint::verify`].
///
/// Displayed, it is byte for byte what was parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    note: Note,
    claimed: Checkpoint,
}

impl SignedCheckpoint {
    /// Reads a checkpoint; of its signatures, only the form is checked.
    ///
    /// # Errors
    /// Those of [`Note::parse`]; [`Error::Origin`], [`Error::TreeTooLarge`], the `Checkpoint…` variants.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let note = Note::parse(bytes)?;
        let claimed = Checkpoint::parse(note.text())?;
        Ok(Self { note, claimed })
    }

    /// What the log of `key` says, once it is seen to have signed it.
    ///
    /// # Errors
    /// [`Error::OriginMismatch`], [`Error::NotSignedBy`], [`Error::SignatureInvalid`].
    pub fn verify(&self, key: &VerifierKey) -> Result<&Checkpoint, Error> {
        self.claimed.check_key(key)?;
        self.note.verify(key)?;
        Ok(&self.claimed)
    }

    /// When the witness of `key` cosigned it, in seconds since 1970.
    ///
    /// # Errors
    /// [`Error::NotSignedBy`], [`Error::SignatureInvalid`], [`Error::CosignatureLength`], [`Error::CosignatureTime`].
    pub fn cosigned_at_s(&self, key: &CosignerKey) -> Result<u64, Error> {
        crate::cosignature::verify(&self.note, key)
    }

    /// The origin that the checkpoint claims, to find the key to verify it with.
    pub const fn claimed_origin(&self) -> &Origin {
        &self.claimed.origin
    }

    /// Adds the signature line of a witness.
    ///
    /// # Errors
    /// [`Error::TooManySignatures`], [`Error::NoteTooLarge`].
    pub fn add(&mut self, signature: NoteSignature) -> Result<(), Error> {
        self.note.add(signature)
    }

    /// The checkpoint as it is exchanged and stored.
    pub fn as_str(&self) -> &str {
        self.note.as_str()
    }

    /// The note, unverified.
    pub const fn note(&self) -> &Note {
        &self.note
    }
}

impl fmt::Display for SignedCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.note.fmt(f)
    }
}
