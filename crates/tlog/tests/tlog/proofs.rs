//! Forged proofs.

use proptest::prelude::*;
use unefois_tlog::{
    Error, Hash, MAX_PROOF_HASHES, MAX_TREE_SIZE, consistency_proof, verify_consistency, verify_inclusion,
};

use crate::reference::{leaf_hashes, mth, path, proof};

/// Each proof that differs from `proof` by one bit of one byte.
fn flipped(proof: &[Hash]) -> impl Iterator<Item = Vec<Hash>> {
    (0..proof.len()).flat_map(move |at| {
        (0..32).map(move |byte| {
            let mut forged = proof.to_vec();
            let mut bytes = *forged[at].as_bytes();
            bytes[byte] ^= 1 << (byte % 8);
            forged[at] = Hash::new(bytes);
            forged
        })
    })
}

/// Each proof with one hash less, or one more at any place.
fn resized(proof: &[Hash]) -> impl Iterator<Item = Vec<Hash>> {
    let without = (0..proof.len()).map(|at| [&proof[..at], &proof[at + 1..]].concat());
    let with = (0..=proof.len()).map(|at| [&proof[..at], &[Hash::EMPTY], &proof[at..]].concat());
    let twice = (0..proof.len()).map(|at| [&proof[..at], &[proof[at]], &proof[at..]].concat());
    without.chain(with).chain(twice)
}

#[test]
fn impossible_sizes_and_lengths_are_refused() {
    let (hash, long) = (Hash::EMPTY, vec![Hash::EMPTY; MAX_PROOF_HASHES + 1]);
    let outside = |index, size| Err(Error::IndexOutsideTree { index, size });
    assert_eq!(verify_inclusion(0, 0, &hash, &[], &hash), outside(0, 0));
    assert_eq!(verify_inclusion(1, 1, &hash, &[], &hash), outside(1, 1));
    assert_eq!(
        verify_inclusion(u64::MAX, 1, &hash, &[], &hash),
        outside(u64::MAX, 1)
    );
    assert_eq!(
        verify_inclusion(0, MAX_TREE_SIZE + 1, &hash, &[], &hash),
        Err(Error::TreeTooLarge)
    );
    assert_eq!(
        verify_inclusion(0, u64::MAX, &hash, &[], &hash),
        Err(Error::TreeTooLarge)
    );
    assert_eq!(
        verify_inclusion(0, MAX_TREE_SIZE, &hash, &long, &hash),
        Err(Error::ProofTooLong(65))
    );
    assert_eq!(
        verify_inclusion(0, MAX_TREE_SIZE, &hash, &long[..64], &hash),
        Err(Error::ProofLength)
    );
    assert_eq!(
        verify_inclusion(0, MAX_TREE_SIZE, &hash, &long[..63], &hash),
        Err(Error::RootMismatch)
    );

    assert_eq!(
        verify_consistency((2, &hash), (1, &hash), &[]),
        Err(Error::SizeOrder { old: 2, new: 1 })
    );
    assert_eq!(
        verify_consistency((1, &hash), (u64::MAX, &hash), &[]),
        Err(Error::TreeTooLarge)
    );
    assert_eq!(
        verify_consistency((1, &hash), (2, &hash), &long),
        Err(Error::ProofTooLong(65))
    );
    assert_eq!(
        verify_consistency((1, &hash), (2, &hash), &[]),
        Err(Error::ProofLength)
    );
}

#[test]
fn the_empty_tree_comes_before_all_and_equal_trees_need_no_proof() {
    let [a, b] = [Hash::of_leaf(b"a"), Hash::of_leaf(b"b")];
    assert_eq!(verify_consistency((0, &Hash::EMPTY), (1, &a), &[]), Ok(()));
    assert_eq!(
        verify_consistency((0, &Hash::EMPTY), (0, &Hash::EMPTY), &[]),
        Ok(())
    );
    assert_eq!(verify_consistency((5, &a), (5, &a), &[]), Ok(()));

    assert_eq!(
        verify_consistency((0, &a), (1, &a), &[]),
        Err(Error::OldRootMismatch)
    );
    assert_eq!(
        verify_consistency((0, &Hash::EMPTY), (0, &a), &[]),
        Err(Error::RootMismatch)
    );
    assert_eq!(
        verify_consistency((0, &Hash::EMPTY), (1, &a), &[a]),
        Err(Error::ProofLength)
    );
    assert_eq!(
        verify_consistency((5, &a), (5, &b), &[]),
        Err(Error::RootMismatch)
    );
    assert_eq!(
        verify_consistency((5, &a), (5, &a), &[a]),
        Err(Error::ProofLength)
    );
}

#[test]
fn the_largest_tree_has_proofs_within_the_limit() {
    let hash_at =
        |level, index| Ok::<_, Error>(Hash::of_leaf(&[&[level][..], &u64::to_be_bytes(index)].concat()));
    for old in [1, 3, MAX_TREE_SIZE / 2, MAX_TREE_SIZE - 1] {
        assert!(consistency_proof(old, MAX_TREE_SIZE, hash_at).unwrap().len() <= MAX_PROOF_HASHES);
    }
}

#[test]
fn a_failing_source_of_hashes_is_what_the_builder_returns() {
    let failing = |_, _| Err(Error::HashLength(0));
    assert_eq!(
        unefois_tlog::inclusion_proof(0, 2, failing),
        Err(Error::HashLength(0))
    );
    assert_eq!(consistency_proof(1, 2, failing), Err(Error::HashLength(0)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn forged_inclusion_is_refused(size in 1_u64..600, index in any::<prop::sample::Index>()) {
        let leaves = leaf_hashes(size);
        let (at, root) = (index.index(leaves.len()), mth(&leaves));
        let (index, leaf, path) = (at as u64, leaves[at], path(at, &leaves));
        prop_assert_eq!(verify_inclusion(index, size, &leaf, &path, &root), Ok(()));

        for forged in flipped(&path) {
            prop_assert_eq!(verify_inclusion(index, size, &leaf, &forged, &root), Err(Error::RootMismatch));
        }
        for forged in resized(&path) {
            prop_assert_eq!(verify_inclusion(index, size, &leaf, &forged, &root), Err(Error::ProofLength));
        }
        for wrong in (0..size).filter(|wrong| *wrong != index) {
            prop_assert!(verify_inclusion(wrong, size, &leaf, &path, &root).is_err());
        }
        prop_assert_eq!(verify_inclusion(index, size, &Hash::EMPTY, &path, &root), Err(Error::RootMismatch));
        prop_assert_eq!(verify_inclusion(index, size, &leaf, &path, &Hash::EMPTY), Err(Error::RootMismatch));
        // The leaf of another tree, and a node given for a leaf of a smaller tree.
        let shorter = path.get(1..).unwrap_or_default();
        prop_assert!(path.is_empty() || verify_inclusion(index, size, &leaf, shorter, &root).is_err());
    }

    #[test]
    fn forged_consistency_is_refused(new in 2_u64..600, old in any::<prop::sample::Index>()) {
        let leaves = leaf_hashes(new);
        let at = 1 + old.index(leaves.len() - 1);
        let (old, old_root, new_root, proof) = (at as u64, mth(&leaves[..at]), mth(&leaves), proof(at, &leaves));
        let verify = |proof: &[Hash]| verify_consistency((old, &old_root), (new, &new_root), proof);
        prop_assert_eq!(verify(&proof), Ok(()));

        for forged in flipped(&proof) {
            let refused = verify(&forged);
            prop_assert!(matches!(refused, Err(Error::OldRootMismatch | Error::RootMismatch)), "{:?}", refused);
        }
        for forged in resized(&proof) {
            prop_assert_eq!(verify(&forged), Err(Error::ProofLength));
        }
        prop_assert_eq!(
            verify_consistency((old, &Hash::EMPTY), (new, &new_root), &proof),
            Err(if old.is_power_of_two() { Error::RootMismatch } else { Error::OldRootMismatch })
        );
        prop_assert_eq!(verify_consistency((old, &old_root), (new, &Hash::EMPTY), &proof), Err(Error::RootMismatch));
        prop_assert!(verify_consistency((old, &new_root), (new, &old_root), &proof).is_err());

        // The same sizes of a log that was rewritten in its first leaf.
        let rewritten = [&[Hash::EMPTY], &leaves[1..]].concat();
        let forked = crate::reference::proof(at, &rewritten);
        let refused = verify_consistency((old, &old_root), (new, &mth(&rewritten)), &forked);
        prop_assert!(refused.is_err());
    }
}
