//! Inclusion and consistency proofs (RFC 6962, 2.1.1 and 2.1.2; verified as RFC 9162, 2.1.3 and 2.1.4).
//!
//! A tree's *node* is named by its level (0 for leaves) and its index in that level; it is complete when all the
//! leaves under it are there. Complete nodes never change, so a proof for any size is built from them alone.

use crate::{Error, Hash, MAX_TREE_SIZE};

/// More hashes than any inclusion or consistency proof has.
pub const MAX_PROOF_HASHES: usize = 64;

/// The proof that leaf `index` is in the tree of `size`, from the leaf's sibling up to the root's child.
///
/// `hash_at(level, index)` gives a complete node.
///
/// # Errors
/// [`Error::IndexOutsideTree`], [`Error::TreeTooLarge`], or what `hash_at` returns.
pub fn inclusion_proof<E: From<Error>>(
    index: u64,
    size: u64,
    mut hash_at: impl FnMut(u8, u64) -> Result<Hash, E>,
) -> Result<Vec<Hash>, E> {
    inclusion_path(index, size, |level, node| {
        subtree(level, node, size, &mut hash_at)
    })
}

/// The proof that the tree of size `old` is the start of the tree of size `new`; empty if they are equal or `old` is 0.
///
/// `hash_at(level, index)` gives a complete node.
///
/// # Errors
/// [`Error::SizeOrder`], [`Error::TreeTooLarge`], or what `hash_at` returns.
pub fn consistency_proof<E: From<Error>>(
    old: u64,
    new: u64,
    mut hash_at: impl FnMut(u8, u64) -> Result<Hash, E>,
) -> Result<Vec<Hash>, E> {
    check_sizes(old, new)?;
    let mut proof = Vec::new();
    if old == 0 || old == new {
        return Ok(proof);
    }
    // The largest complete subtree that ends the old tree; if it is the whole of it, the verifier has its hash.
    let mut level = trailing_zeros(old);
    let (mut node, mut last) = ((old - 1) >> level, (new - 1) >> level);
    if node > 0 {
        proof.push(hash_at(level, node)?);
    }
    while last > 0 {
        if node % 2 == 1 || node < last {
            proof.push(subtree(level, node ^ 1, new, &mut hash_at)?);
        }
        (level, node, last) = (level + 1, node >> 1, last >> 1);
    }
    Ok(proof)
}

/// Verifies that the leaf of hash `leaf` is at `index` in the tree of `size` and `root` (RFC 9162, 2.1.3.2).
///
/// # Errors
/// [`Error::IndexOutsideTree`], [`Error::TreeTooLarge`], [`Error::ProofTooLong`], [`Error::ProofLength`],
/// [`Error::RootMismatch`].
pub fn verify_inclusion(
    index: u64,
    size: u64,
    leaf: &Hash,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), Error> {
    check_index(index, size)?;
    check_length(proof)?;
    let (mut node, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in proof {
        if last == 0 {
            return Err(Error::ProofLength);
        }
        if node % 2 == 1 || node == last {
            hash = Hash::of_node(sibling, &hash);
            skip_lone(&mut node, &mut last);
        } else {
            hash = Hash::of_node(&hash, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    if last != 0 {
        return Err(Error::ProofLength);
    }
    if hash == *root {
        Ok(())
    } else {
        Err(Error::RootMismatch)
    }
}

/// Verifies that the tree of `new` and `new_root` starts with the tree of `old` and `old_root` (RFC 9162, 2.1.4.2).
///
/// From the empty tree, whose root must be [`Hash::EMPTY`], any tree follows, with an empty proof.
///
/// # Errors
/// [`Error::SizeOrder`], [`Error::TreeTooLarge`], [`Error::ProofTooLong`], [`Error::ProofLength`],
/// [`Error::OldRootMismatch`], [`Error::RootMismatch`].
pub fn verify_consistency(
    (old, old_root): (u64, &Hash),
    (new, new_root): (u64, &Hash),
    proof: &[Hash],
) -> Result<(), Error> {
    check_sizes(old, new)?;
    check_length(proof)?;
    if old == 0 && old_root != &Hash::EMPTY {
        return Err(Error::OldRootMismatch);
    }
    if old == 0 || old == new {
        return match (proof, old == new && old_root != new_root) {
            ([], false) => Ok(()),
            ([], true) => Err(Error::RootMismatch),
            ([_, ..], _) => Err(Error::ProofLength),
        };
    }

    let level = trailing_zeros(old);
    let (mut node, mut last) = ((old - 1) >> level, (new - 1) >> level);
    let (first, rest) = match (node, proof) {
        (0, _) => (old_root, proof), // the old tree is one complete subtree
        (_, [first, rest @ ..]) => (first, rest),
        (_, []) => return Err(Error::ProofLength),
    };
    let (mut old_hash, mut new_hash) = (*first, *first);
    for sibling in rest {
        if last == 0 {
            return Err(Error::ProofLength);
        }
        if node % 2 == 1 || node == last {
            old_hash = Hash::of_node(sibling, &old_hash);
            new_hash = Hash::of_node(sibling, &new_hash);
            skip_lone(&mut node, &mut last);
        } else {
            new_hash = Hash::of_node(&new_hash, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    if last != 0 {
        return Err(Error::ProofLength);
    }
    if old_hash != *old_root {
        return Err(Error::OldRootMismatch);
    }
    if new_hash == *new_root {
        Ok(())
    } else {
        Err(Error::RootMismatch)
    }
}

/// The siblings from leaf `index` to the root; `subtree` gives a node of the tree of `size`, complete or not.
pub(crate) fn inclusion_path<E: From<Error>>(
    index: u64,
    size: u64,
    mut subtree: impl FnMut(u8, u64) -> Result<Hash, E>,
) -> Result<Vec<Hash>, E> {
    check_index(index, size)?;
    let (mut level, mut node, mut last) = (0, index, size - 1);
    let mut proof = Vec::with_capacity(64 - last.leading_zeros() as usize);
    while last > 0 {
        if node ^ 1 <= last {
            proof.push(subtree(level, node ^ 1)?);
        }
        (level, node, last) = (level + 1, node >> 1, last >> 1);
    }
    Ok(proof)
}

/// A node of the tree of `size`, complete or not.
pub(crate) fn subtree<E>(
    level: u8,
    index: u64,
    size: u64,
    hash_at: &mut impl FnMut(u8, u64) -> Result<Hash, E>,
) -> Result<Hash, E> {
    let missing = size & ((1 << level) - 1);
    if index < size >> level || missing == 0 {
        return hash_at(level, index);
    }
    // The last node: the complete nodes that end the tree, joined from right to left.
    let mut hash = None;
    for below in (0..level).filter(|below| missing >> below & 1 == 1) {
        let left = hash_at(below, (size >> below) - 1)?;
        hash = Some(hash.map_or(left, |right| Hash::of_node(&left, &right)));
    }
    Ok(hash.unwrap_or(Hash::EMPTY))
}

/// Goes up from a last node without right sibling to the level where it has a left one.
fn skip_lone(node: &mut u64, last: &mut u64) {
    while node.is_multiple_of(2) && *node != 0 {
        *node >>= 1;
        *last >>= 1;
    }
}

fn check_index(index: u64, size: u64) -> Result<(), Error> {
    if size > MAX_TREE_SIZE {
        return Err(Error::TreeTooLarge);
    }
    if index < size {
        Ok(())
    } else {
        Err(Error::IndexOutsideTree { index, size })
    }
}

fn check_sizes(old: u64, new: u64) -> Result<(), Error> {
    if new > MAX_TREE_SIZE {
        return Err(Error::TreeTooLarge);
    }
    if old <= new {
        Ok(())
    } else {
        Err(Error::SizeOrder { old, new })
    }
}

fn check_length(proof: &[Hash]) -> Result<(), Error> {
    if proof.len() <= MAX_PROOF_HASHES {
        Ok(())
    } else {
        Err(Error::ProofTooLong(proof.len()))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a u64 has at most 64 zeros")]
const fn trailing_zeros(size: u64) -> u8 {
    size.trailing_zeros() as u8
}
