//! The right edge against RFC 6962 word for word and against the crate ct-merkle.

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proptest::prelude::*;
use sha2::Sha256;
use unefois_tlog::{Error, Hash, MAX_TREE_SIZE, TILE_WIDTH, Tile, TileId, Tiles, Tree};

use crate::reference::{leaf_hashes, mth, path, proof};

/// A tree grown by batches, and all the full tiles this gave.
fn grown(batches: &[usize]) -> (Tree, Vec<Hash>, Tiles) {
    let leaves = leaf_hashes(batches.iter().sum::<usize>() as u64);
    let (mut tree, mut tiles, mut at) = (Tree::new(), Tiles::new(), 0);
    for batch in batches {
        tree.append(&leaves[at..at + batch])
            .unwrap()
            .into_iter()
            .for_each(|tile| tiles.insert(tile));
        at += batch;
    }
    (tree, leaves, tiles)
}

/// The tile as tlog-tiles defines it: `MTH(D[(n·256+i)·256^l : (n·256+i+1)·256^l])`.
fn tile_of(id: TileId, leaves: &[Hash]) -> Tile {
    let span = 256_usize.pow(u32::from(id.level()));
    let first = usize::try_from(id.first()).unwrap() * span;
    let hashes = leaves[first..]
        .chunks_exact(span)
        .take(usize::from(id.width()))
        .map(mth)
        .collect();
    Tile::new(id, hashes).unwrap()
}

fn fetched(needed: &[TileId], leaves: &[Hash]) -> Tiles {
    needed.iter().map(|id| tile_of(*id, leaves)).collect()
}

/// The ends of a range, the ends of tiles in it, and some between: a reference proof hashes the whole tree.
fn some(range: std::ops::Range<usize>) -> impl Iterator<Item = usize> {
    let last = range.end.saturating_sub(1);
    range
        .clone()
        .filter(move |at| at % 256 < 2 || at % 37 == 0 || *at == range.start || *at == last)
}

#[test]
fn a_tree_over_the_limit_is_refused_and_unchanged() {
    let partials: Vec<_> = TileId::partials(MAX_TREE_SIZE)
        .into_iter()
        .map(|id| Tile::new(id, vec![Hash::EMPTY; usize::from(id.width())]).unwrap())
        .collect();
    let mut tree = Tree::restore(MAX_TREE_SIZE, &partials).unwrap();
    let root = tree.root();

    assert_eq!(tree.append(&[Hash::EMPTY]), Err(Error::TreeTooLarge));
    assert_eq!((tree.size(), tree.root()), (MAX_TREE_SIZE, root));
    assert_eq!(
        Tree::restore(MAX_TREE_SIZE + 1, &partials).unwrap_err(),
        Error::TreeTooLarge
    );
}

#[test]
fn restoring_from_other_tiles_is_refused() {
    let leaves = leaf_hashes(600);
    let right: Vec<_> = TileId::partials(600)
        .into_iter()
        .map(|id| tile_of(id, &leaves))
        .collect();
    assert_eq!(Tree::restore(600, &right).unwrap().root(), mth(&leaves));

    let swapped = [right[1].clone(), right[0].clone()];
    let full = [tile_of(TileId::full(0, 0).unwrap(), &leaves), right[1].clone()];
    let narrow = [tile_of(TileId::new(0, 2, 87).unwrap(), &leaves), right[1].clone()];
    for wrong in [&[][..], &right[..1], &right[1..], &swapped, &full, &narrow] {
        assert_eq!(Tree::restore(600, wrong).unwrap_err(), Error::EdgeTiles(600));
    }
    assert_eq!(Tree::restore(601, &right).unwrap_err(), Error::EdgeTiles(601));
    assert_eq!(Tree::restore(0, &right).unwrap_err(), Error::EdgeTiles(0));
    assert_eq!(Tree::restore(0, &[]).unwrap().root(), Hash::EMPTY);
}

#[test]
fn going_back_further_than_the_last_append_is_refused() {
    let (mut tree, leaves, _) = grown(&[300, 10]);
    assert_eq!(
        tree.rollback(299),
        Err(Error::RollbackTooFar { from: 310, to: 299 })
    );
    assert_eq!(tree.rollback(311), Err(Error::SizeOrder { old: 311, new: 310 }));
    assert_eq!((tree.size(), tree.root()), (310, mth(&leaves)));

    tree.rollback(300).unwrap();
    assert_eq!((tree.size(), tree.root()), (300, mth(&leaves[..300])));
    assert_eq!(
        tree.rollback(299),
        Err(Error::RollbackTooFar { from: 300, to: 299 })
    );
}

#[test]
fn proofs_outside_the_tree_are_refused() {
    let (tree, ..) = grown(&[5]);
    let none = Tiles::new();
    assert_eq!(
        tree.inclusion_proof(5, 5, &none),
        Err(Error::IndexOutsideTree { index: 5, size: 5 })
    );
    assert_eq!(
        tree.inclusion_proof(3, 3, &none),
        Err(Error::IndexOutsideTree { index: 3, size: 3 })
    );
    assert_eq!(
        tree.inclusion_proof(0, 6, &none),
        Err(Error::SizeOrder { old: 6, new: 5 })
    );
    assert_eq!(
        tree.consistency_proof(4, 3, &none),
        Err(Error::SizeOrder { old: 4, new: 3 })
    );
    assert_eq!(
        tree.consistency_proof(1, 6, &none),
        Err(Error::SizeOrder { old: 6, new: 5 })
    );
    assert_eq!(
        tree.inclusion_tiles(0, 6),
        Err(Error::SizeOrder { old: 6, new: 5 })
    );
    assert_eq!(
        tree.consistency_tiles(1, 6),
        Err(Error::SizeOrder { old: 6, new: 5 })
    );
    let empty = Error::IndexOutsideTree { index: 0, size: 0 };
    assert_eq!(Tree::new().inclusion_proof(0, 0, &none), Err(empty));
}

#[test]
fn a_proof_without_the_tiles_it_needs_names_one() {
    let (tree, ..) = grown(&[256, 44, 1]);
    let first = TileId::full(0, 0).unwrap();
    assert_eq!(tree.inclusion_tiles(3, 301), Ok(vec![first]));
    assert_eq!(
        tree.inclusion_proof(3, 301, &Tiles::new()),
        Err(Error::TileMissing(first))
    );
    assert_eq!(
        tree.consistency_proof(3, 301, &Tiles::new()),
        Err(Error::TileMissing(first))
    );
    // A leaf of the right edge needs none, even an old one.
    assert_eq!(tree.inclusion_tiles(256, 301), Ok(vec![]));
}

/// The example of tlog-tiles: 273 full tiles of leaves, one above them, and three partial ones.
#[test]
fn a_tree_of_three_tile_levels() {
    let (tree, leaves, tiles) = grown(&[1, 69_998, 1]);
    assert_eq!(tree.root(), mth(&leaves));
    let above = tile_of(TileId::full(1, 0).unwrap(), &leaves);
    for index in 0..256 {
        let id = TileId::full(0, index).unwrap();
        let tile = tile_of(id, &leaves);
        assert_eq!(tile.root(), Some(above.hashes()[usize::try_from(index).unwrap()]));
        assert_eq!(tiles.hash_at(0, id.first()), Ok(tile.hashes()[0]));
    }
    assert_eq!(tiles.hash_at(8, 255), Ok(above.hashes()[255]));
    assert_eq!(tiles.hash_at(15, 1), Ok(mth(&leaves[32_768..65_536])));

    let right: Vec<_> = TileId::partials(70_000)
        .into_iter()
        .map(|id| tile_of(id, &leaves))
        .collect();
    assert_eq!(
        right.iter().map(|tile| tile.id().width()).collect::<Vec<_>>(),
        [112, 17, 1]
    );
    let restored = Tree::restore(70_000, &right).unwrap();
    assert_eq!(restored.root(), tree.root());
    for index in [0, 255, 256, 40_000, 65_535, 65_536, 69_888, 69_999] {
        let needed = restored.inclusion_tiles(index as u64, 70_000).unwrap();
        assert!(needed.len() <= 2, "{index} needs {needed:?}");
        let proof = restored
            .inclusion_proof(index as u64, 70_000, &fetched(&needed, &leaves))
            .unwrap();
        assert_eq!(proof, path(index, &leaves), "{index}");
    }
}

#[test]
fn roots_and_proofs_of_ct_merkle() {
    let (tree, leaves, tiles) = grown(&[300, 33]);
    let mut other = MemoryBackedTree::<Sha256, String>::new();
    for size in 1..=333_u64 {
        other.push((size - 1).to_string());
        let mut ours = Tree::new();
        ours.append(&leaves[..usize::try_from(size).unwrap()]).unwrap();
        assert_eq!(
            ours.root().as_bytes(),
            &other.root().as_bytes()[..],
            "size {size}"
        );
        for index in [0, size / 3, size / 2, size - 1] {
            let proof = tree.inclusion_proof(index, size, &tiles).unwrap();
            let theirs = other.prove_inclusion(usize::try_from(index).unwrap());
            assert_eq!(concat(&proof), theirs.as_bytes(), "{index} of {size}");
        }
        for added in [0, 1, size / 3, size / 2, size - 1]
            .into_iter()
            .filter(|added| *added < size)
        {
            let proof = tree.consistency_proof(size - added, size, &tiles).unwrap();
            let theirs = other.prove_consistency(usize::try_from(added).unwrap());
            // Where no proof is needed, ct-merkle gives the root.
            if added > 0 {
                assert_eq!(concat(&proof), theirs.as_bytes(), "{added} added to reach {size}");
            }
        }
    }
}

fn concat(proof: &[Hash]) -> Vec<u8> {
    proof.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn however_it_grows_it_is_the_same_tree(batches in prop::collection::vec(0_usize..400, 0..6)) {
        let (tree, leaves, tiles) = grown(&batches);
        prop_assert_eq!(tree.size(), leaves.len() as u64);
        prop_assert_eq!(tree.root(), mth(&leaves));

        for index in 0..tree.size() / u64::from(TILE_WIDTH) {
            let tile = tile_of(TileId::full(0, index).unwrap(), &leaves);
            for (hash, at) in tile.hashes().iter().zip(tile.id().first()..) {
                prop_assert_eq!(tiles.hash_at(0, at), Ok(*hash));
            }
        }

        let right: Vec<_> = TileId::partials(tree.size()).into_iter().map(|id| tile_of(id, &leaves)).collect();
        prop_assert_eq!(Tree::restore(tree.size(), &right).unwrap().root(), tree.root());
    }

    #[test]
    fn each_full_tile_is_given_once(batches in prop::collection::vec(0_usize..700, 1..6)) {
        let leaves = leaf_hashes(batches.iter().sum::<usize>() as u64);
        let (mut tree, mut at, mut given) = (Tree::new(), 0, Vec::new());
        for batch in batches {
            for tile in tree.append(&leaves[at..at + batch]).unwrap() {
                prop_assert_eq!(&tile, &tile_of(tile.id(), &leaves));
                prop_assert_eq!(&Tile::from_bytes(tile.id(), &tile.to_bytes()).unwrap(), &tile);
                given.push(tile.id());
            }
            at += batch;
        }
        let all: Vec<_> = (0..leaves.len() as u64 / 256).map(|index| TileId::full(0, index).unwrap()).collect();
        prop_assert_eq!(given, all);
    }

    #[test]
    fn leaves_of_the_last_append_are_proved_from_memory(before in 0_usize..600, batch in 1_usize..600) {
        let (tree, leaves, _) = grown(&[before, batch]);
        for index in some(before..before + batch) {
            let proof = tree.inclusion_proof(index as u64, tree.size(), &Tiles::new());
            prop_assert_eq!(proof, Ok(path(index, &leaves)));
            prop_assert_eq!(tree.inclusion_tiles(index as u64, tree.size()), Ok(vec![]));
        }
        // What a peer that holds the head from before the append asks for.
        let kept = tree.consistency_proof(before as u64, tree.size(), &Tiles::new());
        prop_assert_eq!(kept, Ok(proof(before, &leaves)));
    }

    #[test]
    fn old_leaves_and_sizes_are_proved_from_the_tiles_named(
        batches in prop::collection::vec(0_usize..400, 1..5),
        (size, old) in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
    ) {
        let (tree, leaves, _) = grown(&batches);
        let size = size.index(leaves.len() + 1);
        let old = old.index(size + 1);

        let needed = tree.consistency_tiles(old as u64, size as u64).unwrap();
        let consistency = tree.consistency_proof(old as u64, size as u64, &fetched(&needed, &leaves));
        prop_assert_eq!(consistency, Ok(proof(old, &leaves[..size])));
        if old < size {
            let needed = tree.inclusion_tiles(old as u64, size as u64).unwrap();
            let inclusion = tree.inclusion_proof(old as u64, size as u64, &fetched(&needed, &leaves));
            prop_assert_eq!(inclusion, Ok(path(old, &leaves[..size])));
        }
    }

    #[test]
    fn going_back_leaves_no_trace(
        batches in prop::collection::vec(0_usize..400, 0..4),
        failed in 0_usize..600,
        kept in any::<prop::sample::Index>(),
        next in 0_usize..600,
    ) {
        let (mut tree, leaves, _) = grown(&batches);
        let size = leaves.len();
        tree.append(&vec![Hash::EMPTY; failed]).unwrap();
        let kept = kept.index(failed + 1);
        tree.rollback((size + kept) as u64).unwrap();
        let left = [&leaves[..], &vec![Hash::EMPTY; kept]].concat();
        prop_assert_eq!(tree.root(), mth(&left));

        tree.rollback(size as u64).unwrap();
        prop_assert_eq!(tree.root(), mth(&leaves));

        let all = leaf_hashes((size + next) as u64);
        let full = tree.append(&all[size..]).unwrap();
        prop_assert_eq!(tree.root(), mth(&all));
        prop_assert_eq!(full.len(), all.len() / 256 - size / 256);
        for tile in full {
            prop_assert_eq!(&tile, &tile_of(tile.id(), &all));
        }
        for index in some(size..size + next) {
            let proof = tree.inclusion_proof(index as u64, tree.size(), &Tiles::new());
            prop_assert_eq!(proof, Ok(path(index, &all)));
        }
    }
}
