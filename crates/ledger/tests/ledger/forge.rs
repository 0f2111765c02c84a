//! A log that signs whatever it is told to: one history, or several.

use unefois_tlog::{
    AddCheckpoint, Checkpoint, Hash, KeyName, SignedCheckpoint, SignerKey, Tiles, Tree, VerifierKey,
};

/// A log whose leaves are numbers.
pub(crate) struct Forger {
    key: SignerKey,
}

impl Forger {
    pub(crate) fn new(name: &str, seed: u8) -> Self {
        let name: KeyName = name.parse().expect("a key's name");
        Self {
            key: SignerKey::new(name, &[seed; 32]),
        }
    }

    pub(crate) fn verifier(&self) -> &VerifierKey {
        self.key.verifier()
    }

    /// The tree of the history `fork`, which parts from the others at leaf 3.
    fn tree(&self, fork: u8, size: u64) -> Tree {
        let leaf =
            |n: u64| Hash::of_leaf(&[n.to_be_bytes().as_slice(), &[if n < 3 { 0 } else { fork }]].concat());
        let leaves: Vec<Hash> = (0..size).map(leaf).collect();
        let mut tree = Tree::new();
        tree.append(&leaves).expect("a small tree");
        tree
    }

    pub(crate) fn checkpoint(&self, fork: u8, size: u64) -> SignedCheckpoint {
        let origin = self.key.verifier().name().as_str().parse().expect("an origin");
        let checkpoint = Checkpoint::new(origin, size, self.tree(fork, size).root());
        let signed = checkpoint.and_then(|checkpoint| checkpoint.sign(&self.key));
        signed.expect("its own origin")
    }

    /// The request that an honest log of this history makes.
    pub(crate) fn request(&self, fork: u8, old_size: u64, size: u64) -> AddCheckpoint {
        let tree = self.tree(fork, size);
        let proof = match old_size <= size {
            true => tree.consistency_proof(old_size, size, &Tiles::new()),
            false => Ok(Vec::new()),
        };
        AddCheckpoint {
            old_size,
            proof: proof.expect("all of it is in memory"),
            checkpoint: self.checkpoint(fork, size),
        }
    }
}
