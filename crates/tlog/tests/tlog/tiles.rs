//! What a reader makes of tiles that it fetched, full and partial, and of those that are not what they should be.

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proptest::prelude::*;
use sha2::Sha256;
use unefois_tlog::{
    Error, Hash, TILE_WIDTH, Tile, TileId, Tiles, Tree, consistency_proof, inclusion_proof,
    verify_consistency, verify_inclusion,
};

use crate::reference::{leaf_hashes, mth};

/// Every tile that a log of these leaves shows, lowest level first.
fn shown(leaves: &[Hash]) -> Vec<Tile> {
    let mut tree = Tree::new();
    let mut tiles = tree.append(leaves).unwrap();
    for id in TileId::partials(tree.size()) {
        let hashes = match id.level().checked_sub(1) {
            None => leaves[usize::try_from(id.first()).unwrap()..].to_vec(),
            Some(below) => tiles
                .iter()
                .filter(|tile| tile.id().level() == below && tile.id().index() >= id.first())
                .filter_map(Tile::root)
                .collect(),
        };
        tiles.push(Tile::new(id, hashes).unwrap());
    }
    tiles
}

fn bytes(proof: &[Hash]) -> Vec<u8> {
    proof.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// The tiles alone give the proofs of the crate ct-merkle, which verify.
    #[test]
    fn tiles_give_the_proofs_of_ct_merkle(size in 1_usize..900, index in 0_usize..900, old in 0_usize..900) {
        let (index, old) = (index % size, old % size + 1);
        let leaves = leaf_hashes(size as u64);
        let tiles: Tiles = shown(&leaves).into_iter().collect();
        let mut other = MemoryBackedTree::<Sha256, String>::new();
        (0..size).for_each(|n| other.push(n.to_string()));
        let (root, size) = (mth(&leaves), size as u64);
        let theirs = other.root();
        prop_assert_eq!(&root.as_bytes()[..], &theirs.as_bytes()[..]);

        let hash_at = |level, node| tiles.hash_at(level, node);
        let proof = inclusion_proof::<Error>(index as u64, size, hash_at).unwrap();
        let theirs = other.prove_inclusion(index);
        prop_assert_eq!(bytes(&proof), theirs.as_bytes());
        prop_assert_eq!(verify_inclusion(index as u64, size, &leaves[index], &proof, &root), Ok(()));

        let grown = consistency_proof::<Error>(old as u64, size, hash_at).unwrap();
        let old_root = mth(&leaves[..old]);
        if old as u64 != size {
            let added = leaves.len() - old;
            let theirs = other.prove_consistency(added);
            prop_assert_eq!(bytes(&grown), theirs.as_bytes());
        }
        prop_assert_eq!(verify_consistency((old as u64, &old_root), (size, &root), &grown), Ok(()));
    }

    /// A tile with one bit changed, or of other leaves, leads to another root; one of another width is none.
    #[test]
    fn a_tile_that_is_not_the_log_s_is_seen(size in 2_usize..900, at in any::<prop::sample::Index>(), bit in 0_usize..256) {
        let leaves = leaf_hashes(size as u64);
        let root = mth(&leaves);
        let mut tiles = shown(&leaves);
        let place = at.index(tiles.len());
        let (id, good) = (tiles[place].id(), tiles[place].to_bytes());
        for wrong in [&good[1..], &good[..good.len() - 32], &[&good[..], &good[..32]].concat(), &[]] {
            let refused = Err(Error::TileLength { tile: id, bytes: wrong.len() });
            prop_assert_eq!(Tile::from_bytes(id, wrong), refused);
        }
        let mut changed = good.clone();
        let byte = at.index(good.len());
        changed[byte] ^= 1 << (bit % 8);
        tiles[place] = Tile::from_bytes(id, &changed).unwrap();
        // Whoever takes the tiles of a log makes each again from those below it.
        let upwards = tiles.iter().filter(|tile| tile.id().level() > 0).any(|above| {
            above.hashes().iter().zip(above.id().first()..).any(|(hash, below)| {
                let full = tiles.iter().find(|t| (t.id().level() + 1, t.id().index()) == (above.id().level(), below));
                full.and_then(Tile::root) != Some(*hash)
            })
        });
        let lowest: Vec<Hash> = tiles.iter().filter(|t| t.id().level() == 0).flat_map(Tile::hashes).copied().collect();
        prop_assert!(upwards || mth(&lowest) != root);
    }
}

#[test]
fn a_narrower_tile_than_a_proof_needs_is_missing() {
    let leaves = leaf_hashes(300);
    let mut tiles: Tiles = shown(&leaves).into_iter().collect();
    let narrow = TileId::new(0, 1, 43).unwrap();
    tiles.insert(Tile::new(narrow, leaves[256..299].to_vec()).unwrap());
    let proof = inclusion_proof::<Error>(298, 300, |level, node| tiles.hash_at(level, node));
    let missing = TileId::new(0, 1, TILE_WIDTH).unwrap();
    assert_eq!(proof, Err(Error::TileMissing(missing)));
}
