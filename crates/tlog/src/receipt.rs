//! Files that prove one leaf without the log's help (C2SP tlog-proof).

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    Checkpoint, Error, Hash, MAX_NOTE_BYTES, MAX_PROOF_HASHES, SignedCheckpoint, VerifierKey, decimal,
    verify_inclusion,
};

/// The largest extra data.
pub const MAX_EXTRA_BYTES: usize = 64 * 1024;
/// The largest file: extra data in base64, the proof's lines, the checkpoint.
pub const MAX_RECEIPT_BYTES: usize = MAX_NOTE_BYTES + MAX_EXTRA_BYTES / 3 * 4 + 8 * 1024;

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// The proof that a leaf is in a log, with the log's signed head; displayed, a `.tlog-proof` file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    extra: Option<Vec<u8>>,
    index: u64,
    hashes: Vec<Hash>,
    checkpoint: SignedCheckpoint,
}

impl Receipt {
    /// The receipt of leaf `index`, whose inclusion `hashes` prove in the tree of `checkpoint`.
    ///
    /// # Errors
    /// [`Error::ProofTooLong`].
    pub fn new(index: u64, hashes: Vec<Hash>, checkpoint: SignedCheckpoint) -> Result<Self, Error> {
        if hashes.len() > MAX_PROOF_HASHES {
            return Err(Error::ProofTooLong(hashes.len()));
        }
        Ok(Self {
            extra: None,
            index,
            hashes,
            checkpoint,
        })
    }

    /// Adds data that travels with the receipt and that no signature covers, such as the leaf.
    ///
    /// # Errors
    /// [`Error::ReceiptExtra`] over [`MAX_EXTRA_BYTES`].
    pub fn with_extra(mut self, extra: Vec<u8>) -> Result<Self, Error> {
        if extra.len() > MAX_EXTRA_BYTES {
            return Err(Error::ReceiptExtra);
        }
        self.extra = Some(extra);
        Ok(self)
    }

    /// What the log of `key` says, once its signature and the place of the leaf of hash `leaf` in it are verified.
    ///
    /// # Errors
    /// Those of [`SignedCheckpoint::verify`] and [`verify_inclusion`].
    pub fn verify(&self, leaf: &Hash, key: &VerifierKey) -> Result<&Checkpoint, Error> {
        let checkpoint = self.checkpoint.verify(key)?;
        verify_inclusion(self.index, checkpoint.size, leaf, &self.hashes, &checkpoint.root)?;
        Ok(checkpoint)
    }

    /// The data that no signature covers.
    pub fn unauthenticated_extra(&self) -> Option<&[u8]> {
        self.extra.as_deref()
    }

    /// The leaf's index, true once the receipt is verified.
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// The log's signed head.
    pub const fn checkpoint(&self) -> &SignedCheckpoint {
        &self.checkpoint
    }
}

impl FromStr for Receipt {
    type Err = Error;

    fn from_str(file: &str) -> Result<Self, Error> {
        if file.len() > MAX_RECEIPT_BYTES {
            return Err(Error::ReceiptTooLarge(file.len()));
        }
        let rest = file
            .strip_prefix(HEADER)
            .and_then(|rest| rest.strip_prefix('\n'))
            .ok_or(Error::ReceiptHeader)?;
        // No line of the proof is empty, so the first empty line ends it.
        let (proof, checkpoint) = rest.split_once("\n\n").ok_or(Error::ReceiptSeparator)?;
        let mut lines = proof.split('\n').peekable();

        let extra = lines
            .next_if(|line| line.starts_with("extra "))
            .map(decode_extra)
            .transpose()?;
        let index = lines
            .next()
            .and_then(|line| decimal(line.strip_prefix("index ")?))
            .ok_or(Error::ReceiptIndex)?;
        let hashes: Vec<Hash> = lines
            .take(MAX_PROOF_HASHES + 1)
            .map(str::parse)
            .collect::<Result<_, _>>()?;

        let receipt = Self::new(index, hashes, SignedCheckpoint::parse(checkpoint.as_bytes())?)?;
        match extra {
            Some(extra) => receipt.with_extra(extra),
            None => Ok(receipt),
        }
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", STANDARD.encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.hashes.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

fn decode_extra(line: &str) -> Result<Vec<u8>, Error> {
    let base64 = line.strip_prefix("extra ").ok_or(Error::ReceiptExtra)?;
    STANDARD.decode(base64).map_err(|_| Error::ReceiptExtra)
}
