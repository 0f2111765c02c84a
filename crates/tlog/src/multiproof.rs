//! One proof for several leaves of a tree: what their single proofs share is there once.
//!
//! The proof is the hashes of the largest subtrees that hold none of the leaves, from left to right. With the leaves
//! they are all that the root is computed from (RFC 6962, 2.1), and no other list of hashes has its form: a verifier
//! knows from the size and the leaves' places how many hashes there are and where each belongs.

use crate::proof::subtree;
use crate::{Error, Hash, MAX_PROOF_HASHES, MAX_TREE_SIZE};

/// The proof that the leaves at `indices`, which grow strictly, are in the tree of `size`; empty for no leaf.
///
/// `hash_at(level, index)` gives a complete node.
///
/// # Errors
/// [`Error::TreeTooLarge`], [`Error::IndexOutsideTree`], [`Error::IndexOrder`], or what `hash_at` returns.
pub fn multi_inclusion_proof<E: From<Error>>(
    indices: &[u64],
    size: u64,
    mut hash_at: impl FnMut(u8, u64) -> Result<Hash, E>,
) -> Result<Vec<Hash>, E> {
    multi_inclusion_path(indices, size, |level, node| {
        subtree(level, node, size, &mut hash_at)
    })
}

/// Verifies that each leaf, by its index and hash, is in the tree of `size` and `root`. The indices grow strictly; of no
/// leaf nothing is proved, and the proof is empty.
///
/// # Errors
/// [`Error::TreeTooLarge`], [`Error::IndexOutsideTree`], [`Error::IndexOrder`]; [`Error::ProofTooLong`] for more hashes
/// than the single proofs would have; [`Error::ProofLength`]; [`Error::RootMismatch`].
pub fn verify_multi_inclusion(
    leaves: &[(u64, Hash)],
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), Error> {
    check_indices(leaves.iter().map(|(index, _)| *index), size)?;
    if proof.len() > leaves.len().saturating_mul(MAX_PROOF_HASHES) {
        return Err(Error::ProofTooLong(proof.len()));
    }
    if leaves.is_empty() {
        return Ok(());
    }
    let mut rest = proof.iter();
    let computed = fold(top_level(size), 0, leaves, size, &mut rest)?;
    if rest.next().is_some() {
        return Err(Error::ProofLength);
    }
    match computed == *root {
        true => Ok(()),
        false => Err(Error::RootMismatch),
    }
}

/// The subtrees beside the paths of `indices`; `node` gives one of the tree of `size`, complete or not.
pub(crate) fn multi_inclusion_path<E: From<Error>>(
    indices: &[u64],
    size: u64,
    mut node: impl FnMut(u8, u64) -> Result<Hash, E>,
) -> Result<Vec<Hash>, E> {
    check_indices(indices.iter().copied(), size)?;
    let mut proof = Vec::new();
    if indices.is_empty() {
        return Ok(proof);
    }
    // Subtrees still to be looked at, the leftmost last, each with the indices under it.
    let mut stack = vec![(top_level(size), 0, indices)];
    while let Some((level, index, under)) = stack.pop() {
        match (level.checked_sub(1), under) {
            (_, []) => proof.push(node(level, index)?),
            (None, [_, ..]) => {}
            (Some(below), under) => {
                let middle = (2 * index + 1) << below;
                let (left, right) = under.split_at(under.partition_point(|at| *at < middle));
                if middle < size {
                    stack.push((below, 2 * index + 1, right));
                }
                stack.push((below, 2 * index, left));
            }
        }
    }
    Ok(proof)
}

/// The hash of the subtree at `level` and `index`, from the leaves under it and the proof. The recursion is as deep as
/// the tree.
fn fold<'a>(
    level: u8,
    index: u64,
    leaves: &[(u64, Hash)],
    size: u64,
    proof: &mut impl Iterator<Item = &'a Hash>,
) -> Result<Hash, Error> {
    let below = match (level.checked_sub(1), leaves) {
        (_, []) => return proof.next().copied().ok_or(Error::ProofLength),
        (None, [(_, hash), ..]) => return Ok(*hash),
        (Some(below), [_, ..]) => below,
    };
    let middle = (2 * index + 1) << below;
    let (left, right) = leaves.split_at(leaves.partition_point(|(at, _)| *at < middle));
    let left = fold(below, 2 * index, left, size, proof)?;
    if middle >= size {
        return Ok(left);
    }
    let right = fold(below, 2 * index + 1, right, size, proof)?;
    Ok(Hash::of_node(&left, &right))
}

/// The level of the root of a tree of `size`, from 1 leaf on.
#[expect(clippy::cast_possible_truncation, reason = "a u64 has at most 64 zeros")]
const fn top_level(size: u64) -> u8 {
    (u64::BITS - (size - 1).leading_zeros()) as u8
}

fn check_indices(indices: impl Iterator<Item = u64>, size: u64) -> Result<(), Error> {
    if size > MAX_TREE_SIZE {
        return Err(Error::TreeTooLarge);
    }
    let mut last = None;
    for index in indices {
        if index >= size {
            return Err(Error::IndexOutsideTree { index, size });
        }
        if last.is_some_and(|last| last >= index) {
            return Err(Error::IndexOrder);
        }
        last = Some(index);
    }
    Ok(())
}
