use std::sync::Arc;

use unefois_core::{Entry, Micros, Reason, RevocationView};
use unefois_store::index::Mac;
use unefois_tlog::{Hash, Origin, Receipt, SignedCheckpoint};

use crate::attempt::ClaimRequest;

/// The committed head of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Which log.
    pub origin: Origin,
    /// The epoch that its writer took: the boot that a withdrawal lease is keyed by.
    pub epoch: u64,
    /// How many entries it has.
    pub size: u64,
    /// Their root.
    pub root: Hash,
    /// Instant of the last entry.
    pub at: Micros,
    /// The last view of the withdrawal log that was written down; a later start refuses any lower one.
    pub view: RevocationView,
    /// The signed checkpoint of this size.
    pub checkpoint: Arc<SignedCheckpoint>,
}

/// An entry that survives a crash, with its proof.
///
/// Only the sequencer makes one, after the commit: whoever asks for one before sending holds invariant I1. It does
/// not clone, so that a release is withheld once at most.
#[derive(Debug)]
pub struct DurableReceipt {
    pub(crate) index: u64,
    pub(crate) entry: Entry,
    pub(crate) bytes: Vec<u8>,
    pub(crate) leaf: Hash,
    pub(crate) proof: Vec<Hash>,
    pub(crate) checkpoint: Arc<SignedCheckpoint>,
    /// Size of the tree of the checkpoint.
    pub(crate) size: u64,
    pub(crate) held: Option<Held>,
}

/// What a release holds, to give it back.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) request: ClaimRequest,
    pub(crate) handle_key: Option<Mac>,
    pub(crate) person_keys: Vec<Mac>,
}

impl DurableReceipt {
    /// The entry's place in its log.
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// The entry as it was written.
    pub const fn entry(&self) -> &Entry {
        &self.entry
    }

    /// The leaf's bytes.
    pub fn entry_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The leaf's hash: how the peer's entry names this one.
    pub const fn leaf_hash(&self) -> &Hash {
        &self.leaf
    }

    /// The signed checkpoint that covers the entry.
    pub fn checkpoint(&self) -> &SignedCheckpoint {
        &self.checkpoint
    }

    /// How many entries the log has at that checkpoint.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The log.
    pub fn origin(&self) -> &Origin {
        self.checkpoint.claimed_origin()
    }

    /// The proof that the entry is under the checkpoint.
    pub fn inclusion_proof(&self) -> &[Hash] {
        &self.proof
    }

    /// The proof as a C2SP tlog-proof: what a person or an auditor keeps beside the entry's bytes.
    pub fn to_proof_file(&self) -> String {
        Receipt::new(
            self.index,
            self.proof.clone(),
            SignedCheckpoint::clone(&self.checkpoint),
        )
        .expect("a tree's own proof has at most 64 hashes")
        .to_string()
    }
}

/// How a release ended; each with its own durable entry.
#[derive(Debug)]
pub enum Release {
    /// The claim is this request's: the bytes may leave. Entry `released`.
    Claimed(DurableReceipt),
    /// The request held the claim already, for the same payload: the bytes may leave again. Entry `released_again`.
    Again(DurableReceipt),
    /// Nothing may leave. Entry `refused`.
    Refused(Reason, DurableReceipt),
}
