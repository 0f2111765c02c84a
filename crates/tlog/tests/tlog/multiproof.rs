//! Proofs of several leaves, against RFC 6962 word for word and against the single proofs of the crate ct-merkle.

use std::collections::BTreeSet;

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proptest::prelude::*;
use sha2::Sha256;
use unefois_tlog::{
    Error, Hash, MAX_TREE_SIZE, Tile, TileId, Tiles, Tree, multi_inclusion_proof, verify_multi_inclusion,
};

use crate::reference::{leaf_hashes, mth, path};

/// The proof as it is defined: of the parts that `MTH` is computed from, those without a wanted leaf whose other half
/// has one.
fn defined(wanted: &BTreeSet<usize>, first: usize, leaves: &[Hash]) -> Vec<Hash> {
    if wanted.range(first..first + leaves.len()).next().is_none() {
        return vec![mth(leaves)];
    }
    if leaves.len() == 1 {
        return Vec::new();
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (left, right) = leaves.split_at(k);
    [defined(wanted, first, left), defined(wanted, first + k, right)].concat()
}

fn tile_of(id: TileId, leaves: &[Hash]) -> Tile {
    let span = 256_usize.pow(u32::from(id.level()));
    let first = usize::try_from(id.first()).unwrap() * span;
    let hashes = leaves[first..].chunks_exact(span).take(256).map(mth).collect();
    Tile::new(id, hashes).unwrap()
}

fn tree(leaves: &[Hash]) -> Tree {
    let mut tree = Tree::new();
    tree.append(&leaves[..leaves.len() / 2]).unwrap();
    tree.append(&leaves[leaves.len() / 2..]).unwrap();
    tree
}

fn indices(wanted: &BTreeSet<usize>) -> Vec<u64> {
    wanted.iter().map(|at| *at as u64).collect()
}

fn chosen(wanted: &BTreeSet<usize>, leaves: &[Hash]) -> Vec<(u64, Hash)> {
    wanted.iter().map(|at| (*at as u64, leaves[*at])).collect()
}

#[test]
fn impossible_places_and_sizes_are_refused() {
    let hash = Hash::EMPTY;
    let outside = |index, size| Err(Error::IndexOutsideTree { index, size });
    assert_eq!(verify_multi_inclusion(&[(0, hash)], 0, &[], &hash), outside(0, 0));
    assert_eq!(
        verify_multi_inclusion(&[(0, hash), (2, hash)], 2, &[], &hash),
        outside(2, 2)
    );
    assert_eq!(
        verify_multi_inclusion(&[(0, hash)], u64::MAX, &[], &hash),
        Err(Error::TreeTooLarge)
    );
    for order in [[1, 0], [1, 1]] {
        let leaves = order.map(|at| (at, hash));
        assert_eq!(
            verify_multi_inclusion(&leaves, 2, &[], &hash),
            Err(Error::IndexOrder)
        );
        let asked: Result<_, Error> = multi_inclusion_proof(&order, 2, |_, _| Ok(hash));
        assert_eq!(asked, Err(Error::IndexOrder));
    }
    assert_eq!(
        verify_multi_inclusion(&[(0, hash)], 100, &[hash; 65], &hash),
        Err(Error::ProofTooLong(65))
    );
    // Of nothing, nothing is proved, whatever the root.
    assert_eq!(verify_multi_inclusion(&[], 7, &[], &hash), Ok(()));
    assert_eq!(
        verify_multi_inclusion(&[], 7, &[hash], &hash),
        Err(Error::ProofTooLong(1))
    );
    assert_eq!(
        multi_inclusion_proof::<Error>(&[], 7, |_, _| unreachable!("no node is needed")),
        Ok(Vec::new())
    );
}

#[test]
fn the_largest_tree_has_proofs_within_the_limit() {
    let hash_at =
        |level, index| Ok::<_, Error>(Hash::of_leaf(&[&[level][..], &u64::to_be_bytes(index)].concat()));
    let places = [0, 1, MAX_TREE_SIZE / 2, MAX_TREE_SIZE - 1];
    let proof = multi_inclusion_proof(&places, MAX_TREE_SIZE, hash_at).unwrap();
    assert!(proof.len() <= places.len() * 64, "{}", proof.len());
    let leaves = places.map(|at| (at, Hash::EMPTY));
    assert_eq!(
        verify_multi_inclusion(&leaves, MAX_TREE_SIZE, &proof, &Hash::EMPTY),
        Err(Error::RootMismatch)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn agrees_with_the_definition_and_with_every_single_proof(
        size in 1_usize..1_400,
        picks in prop::collection::vec(any::<prop::sample::Index>(), 1..40),
        earlier in any::<prop::sample::Index>(),
    ) {
        let leaves = leaf_hashes(size as u64);
        let tree = tree(&leaves);
        // Under the present head, and under one that the log had before.
        for size in [size, earlier.index(size) + 1] {
            let wanted: BTreeSet<usize> = picks.iter().map(|pick| pick.index(size)).collect();
            let (at, of, root) = (size as u64, &leaves[..size], mth(&leaves[..size]));
            let needed = tree.multi_inclusion_tiles(&indices(&wanted), at).unwrap();
            let tiles: Tiles = needed.into_iter().map(|id| tile_of(id, &leaves)).collect();
            let proof = tree.multi_inclusion_proof(&indices(&wanted), at, &tiles).unwrap();
            prop_assert_eq!(&proof, &defined(&wanted, 0, of));
            prop_assert_eq!(verify_multi_inclusion(&chosen(&wanted, of), at, &proof, &root), Ok(()));

            let mut other = MemoryBackedTree::<Sha256, Vec<u8>>::new();
            (0..size).for_each(|n| other.push(n.to_string().into_bytes()));
            let mut beside = BTreeSet::new();
            for one in &wanted {
                let theirs = other.prove_inclusion(*one);
                let theirs: BTreeSet<Hash> = (theirs.as_bytes().chunks(32))
                    .map(|hash| Hash::try_from(hash).unwrap())
                    .collect();
                // Alone, the leaf's proof has the very hashes of the single one.
                let alone = defined(&BTreeSet::from([*one]), 0, of);
                prop_assert_eq!(&alone.iter().copied().collect::<BTreeSet<_>>(), &theirs);
                prop_assert_eq!(verify_multi_inclusion(&[(*one as u64, of[*one])], at, &alone, &root), Ok(()));
                beside.extend(theirs);
            }
            prop_assert!(proof.iter().all(|hash| beside.contains(hash)));
        }
    }

    #[test]
    fn forged_proofs_are_refused(
        size in 2_usize..300,
        picks in prop::collection::vec(any::<prop::sample::Index>(), 1..12),
    ) {
        let leaves = leaf_hashes(size as u64);
        let wanted: BTreeSet<usize> = picks.iter().map(|pick| pick.index(size)).collect();
        let (at, root) = (size as u64, mth(&leaves));
        let (rows, proof) = (chosen(&wanted, &leaves), defined(&wanted, 0, &leaves));
        let verify = |rows: &[(u64, Hash)], proof: &[Hash]| verify_multi_inclusion(rows, at, proof, &root);
        prop_assert_eq!(verify(&rows, &proof), Ok(()));

        for place in 0..proof.len() {
            let mut flipped = proof.clone();
            let mut bytes = *flipped[place].as_bytes();
            bytes[place % 32] ^= 1;
            flipped[place] = Hash::new(bytes);
            prop_assert_eq!(verify(&rows, &flipped), Err(Error::RootMismatch));
            let without = [&proof[..place], &proof[place + 1..]].concat();
            prop_assert_eq!(verify(&rows, &without), Err(Error::ProofLength));
            let twice = [&proof[..place], &[proof[place]], &proof[place..]].concat();
            prop_assert!(matches!(verify(&rows, &twice), Err(Error::ProofLength | Error::ProofTooLong(_))));
            if let Some(next) = proof.get(place + 1).copied().filter(|next| *next != proof[place]) {
                let mut swapped = proof.clone();
                (swapped[place], swapped[place + 1]) = (next, proof[place]);
                prop_assert_eq!(verify(&rows, &swapped), Err(Error::RootMismatch));
            }
        }
        for place in 0..rows.len() {
            let mut changed = rows.clone();
            changed[place].1 = Hash::EMPTY;
            prop_assert_eq!(verify(&changed, &proof), Err(Error::RootMismatch));
            let without = [&rows[..place], &rows[place + 1..]].concat();
            prop_assert!(verify(&without, &proof).is_err());
        }
        // A row that is not in the log, beside those that are.
        for extra in (0..size).filter(|extra| !wanted.contains(extra)) {
            let mut more = rows.clone();
            more.push((extra as u64, leaves[extra]));
            more.sort();
            prop_assert!(verify(&more, &proof).is_err());
            let mut all = wanted.clone();
            all.insert(extra);
            let mut invented = rows.clone();
            invented.push((extra as u64, Hash::EMPTY));
            invented.sort();
            prop_assert_eq!(verify(&invented, &defined(&all, 0, &leaves)), Err(Error::RootMismatch));
        }
        // The proofs of another size, and of another order.
        let single = path(*wanted.first().unwrap(), &leaves);
        if let [row] = rows.as_slice() && single != proof {
            prop_assert!(verify(&[*row], &single).is_err());
        }
        prop_assert!(verify_multi_inclusion(&rows, at, &proof, &Hash::EMPTY).is_err());
    }
}
