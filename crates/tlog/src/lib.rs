//! Transparency logs in the formats of C2SP: everything of a log but its storage and its network.
//!
//! Leaves are opaque bytes. Nothing here reads a clock, a file or a socket, or draws a random number.
//!
//! - [`struct@Hash`]: RFC 6962 leaf and node hashes.
//! - [`Tree`]: the right edge of a growing log, and the proofs it gives.
//! - [`TileId`], [`Tile`], [`Tiles`]: tlog-tiles, where tiles are and what they hold.
//! - [`inclusion_proof`], [`consistency_proof`] from any source of hashes; [`verify_inclusion`],
//!   [`verify_consistency`]; for several leaves at once, [`multi_inclusion_proof`] and [`verify_multi_inclusion`].
//! - [`SignerKey`], [`VerifierKey`], [`Note`]: signed-note with Ed25519.
//! - [`Checkpoint`], [`SignedCheckpoint`]: tlog-checkpoint; [`Cosignature`]: cosignature/v1 of tlog-cosignature.
//! - [`AddCheckpoint`]: tlog-witness, what a log asks a witness with.
//! - [`Receipt`]: tlog-proof, the file that proves one leaf without the log's help.
//!
//! A log appends, signs and proves; a reader verifies with the log's key alone:
//!
//! ```
//! use unefois_tlog::{Checkpoint, Hash, KeyName, Origin, Receipt, SignerKey, Tiles, Tree};
//!
//! let origin: Origin = "example.com/log".parse()?;
//! let key = SignerKey::new(KeyName::try_from(&origin)?, &[7; 32]);
//!
//! let mut tree = Tree::new();
//! let full_tiles = tree.append(&[Hash::of_leaf(b"first"), Hash::of_leaf(b"second")])?;
//! assert!(full_tiles.is_empty());
//! let checkpoint = Checkpoint::new(origin, tree.size(), tree.root())?.sign(&key)?;
//! let proof = tree.inclusion_proof(1, tree.size(), &Tiles::new())?;
//!
//! let file = Receipt::new(1, proof, checkpoint)?.to_string();
//! let receipt: Receipt = file.parse()?;
//! assert_eq!(receipt.verify(&Hash::of_leaf(b"second"), key.verifier())?.size, 2);
//! # Ok::<(), unefois_tlog::Error>(())
//! ```

mod checkpoint;
mod cosignature;
mod error;
mod hash;
mod key;
mod multiproof;
mod note;
mod proof;
mod receipt;
mod tile;
mod tree;
mod witness;

pub use checkpoint::{Checkpoint, Origin, SignedCheckpoint};
pub use cosignature::Cosignature;
pub use error::Error;
pub use hash::Hash;
pub use key::{Cosigner, CosignerKey, KeyId, KeyName, PrivateKey, PublicKey, SignerKey, VerifierKey};
pub use multiproof::{multi_inclusion_proof, verify_multi_inclusion};
pub use note::{MAX_NOTE_BYTES, MAX_SIGNATURES, Note, NoteSignature};
pub use proof::{MAX_PROOF_HASHES, consistency_proof, inclusion_proof, verify_consistency, verify_inclusion};
pub use receipt::{MAX_EXTRA_BYTES, MAX_RECEIPT_BYTES, Receipt};
pub use tile::{TILE_HEIGHT, TILE_WIDTH, Tile, TileId, Tiles};
pub use tree::Tree;
pub use witness::{AddCheckpoint, MAX_ADD_CHECKPOINT_BYTES, MAX_WITNESS_HASHES, TLOG_SIZE, held_size};

/// The largest tree: its size fits an `i64`, as databases store it.
pub const MAX_TREE_SIZE: u64 = i64::MAX as u64;

/// Parses the decimal numbers of the C2SP formats: ASCII digits, no sign, no leading zero.
fn decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let canonical = text == "0" || !text.starts_with('0');
    (digits && canonical).then(|| text.parse().ok()).flatten()
}
