use crate::{KeyId, KeyName, TileId};

/// Why bytes, a proof or a signature are refused; each variant names the one thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A hash of another length than SHA-256's.
    #[error("a hash has 32 bytes, not {0}")]
    HashLength(usize),
    /// A hash that is not canonical base64 of 32 bytes.
    #[error("a hash is not base64 of 32 bytes")]
    HashText,

    /// A tree larger than [`crate::MAX_TREE_SIZE`].
    #[error("the tree is too large")]
    TreeTooLarge,
    /// A leaf that the tree does not have.
    #[error("leaf {index} is not in a tree of size {size}")]
    IndexOutsideTree {
        /// The leaf asked for.
        index: u64,
        /// The tree's size.
        size: u64,
    },
    /// Leaves that are not named in the order of the tree, each once.
    #[error("the leaves of a proof are not in order, each once")]
    IndexOrder,
    /// A size larger than the tree's, or an old size larger than the new one.
    #[error("size {old} is larger than size {new}")]
    SizeOrder {
        /// The size that should be the smaller.
        old: u64,
        /// The size that should be the larger.
        new: u64,
    },
    /// A size older than what the right edge still remembers.
    #[error("the tree cannot go back from size {from} to size {to}")]
    RollbackTooFar {
        /// The tree's size.
        from: u64,
        /// The size asked for.
        to: u64,
    },

    /// A tile's path that is not canonical, or names a tile no tree can have.
    #[error("the path of a tile is malformed")]
    TilePath,
    /// A tile's bytes do not have its width.
    #[error("{tile} has {bytes} bytes")]
    TileLength {
        /// The tile.
        tile: TileId,
        /// How many bytes were given for it.
        bytes: usize,
    },
    /// A tile that a proof needs was not given.
    #[error("{0} is needed and was not given")]
    TileMissing(TileId),
    /// The tiles given are not those of the right edge of a tree of this size.
    #[error("the tiles given are not the right edge of a tree of size {0}")]
    EdgeTiles(u64),

    /// More hashes than any proof has.
    #[error("a proof has {0} hashes, more than any tree needs")]
    ProofTooLong(usize),
    /// A proof with too many or too few hashes for its index and sizes.
    #[error("a proof does not have the number of hashes that its sizes ask for")]
    ProofLength,
    /// The proof leads to another root than the tree's.
    #[error("the proof does not lead to the root")]
    RootMismatch,
    /// The consistency proof leads to another root than the old tree's.
    #[error("the proof does not lead to the old root")]
    OldRootMismatch,

    /// A key name that is empty, too long, or holds a space, a control character or a plus.
    #[error("a key name is malformed")]
    KeyName,
    /// An encoded key that does not have its form.
    #[error("an encoded key is malformed")]
    KeyText,
    /// An encoded key of a signature type that is not the one expected here.
    #[error("a key has signature type {found:#04x}, not {expected:#04x}")]
    KeyType {
        /// The type expected.
        expected: u8,
        /// The type found.
        found: u8,
    },
    /// An encoded key whose key id is not that of its name and bytes.
    #[error("the id of key {0} does not match its bytes")]
    KeyIdMismatch(KeyName),

    /// A note over the size limit.
    #[error("a note of {0} bytes is too large")]
    NoteTooLarge(usize),
    /// A note that is not UTF-8.
    #[error("a note is not UTF-8")]
    NoteNotUtf8,
    /// A note with a control character other than a newline.
    #[error("a note holds a control character")]
    NoteControlCharacter,
    /// A note, or a text to sign, that does not end in a newline.
    #[error("a note does not end in a newline")]
    NoteUnterminated,
    /// A note without the empty line that comes before the signatures.
    #[error("a note has no empty line before its signatures")]
    NoteSeparator,
    /// A note without any signature.
    #[error("a note has no signature")]
    NoteUnsigned,
    /// A signature line that does not have its form.
    #[error("a signature line is malformed")]
    SignatureLine,
    /// More signatures than the limit.
    #[error("a note has too many signatures")]
    TooManySignatures,
    /// The key that must have signed has not.
    #[error("key {name}+{id} has not signed the note")]
    NotSignedBy {
        /// The key's name.
        name: KeyName,
        /// The key's id.
        id: KeyId,
    },
    /// A signature of the key that must have signed does not verify.
    #[error("a signature of key {name}+{id} is not valid")]
    SignatureInvalid {
        /// The key's name.
        name: KeyName,
        /// The key's id.
        id: KeyId,
    },

    /// An origin that is empty, too long, or holds a control character.
    #[error("an origin is malformed")]
    Origin,
    /// A checkpoint with fewer than three lines.
    #[error("a checkpoint has fewer than three lines")]
    CheckpointLines,
    /// A checkpoint's tree size that is not a canonical decimal.
    #[error("the size of a checkpoint is malformed")]
    CheckpointSize,
    /// A checkpoint's root that is not base64 of 32 bytes.
    #[error("the root of a checkpoint is malformed")]
    CheckpointRoot,
    /// An extension line that is empty or holds a control character.
    #[error("an extension line of a checkpoint is malformed")]
    CheckpointExtension,
    /// A checkpoint signed by the key of another log.
    #[error("the checkpoint's origin is not the name of the key {0}")]
    OriginMismatch(KeyName),

    /// A cosignature that is not a timestamp and an Ed25519 signature.
    #[error("a cosignature has 72 bytes, not {0}")]
    CosignatureLength(usize),
    /// A cosignature whose timestamp is over 2^63 − 1.
    #[error("the timestamp of a cosignature is too large")]
    CosignatureTime,

    /// A request to a witness that is too large, does not begin with the line of the old size, or has no empty line
    /// before its checkpoint.
    #[error("a request to a witness is malformed")]
    AddCheckpoint,

    /// A receipt over the size limit.
    #[error("a receipt of {0} bytes is too large")]
    ReceiptTooLarge(usize),
    /// A receipt that does not start with the line of tlog-proof v1.
    #[error("a receipt does not start with the line of tlog-proof v1")]
    ReceiptHeader,
    /// A receipt's extra line that is not canonical base64, or over its limit.
    #[error("the extra line of a receipt is malformed")]
    ReceiptExtra,
    /// A receipt's index line that is absent or not a canonical decimal.
    #[error("the index line of a receipt is malformed")]
    ReceiptIndex,
    /// A receipt without the empty line that comes before its checkpoint.
    #[error("a receipt has no empty line before its checkpoint")]
    ReceiptSeparator,
}
