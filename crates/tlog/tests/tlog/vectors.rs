//! The eight-leaf tree of Certificate Transparency: leaves, roots and proofs as in `proof/verify_test.go` of
//! github.com/transparency-dev/merkle, where leaves are counted from 1.

use unefois_tlog::{
    Hash, Tiles, Tree, consistency_proof, inclusion_proof, verify_consistency, verify_inclusion,
};

use crate::reference;

const LEAVES: [&str; 8] = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
];

const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

/// Leaf counted from 1, size, proof.
const INCLUSION: [(u64, u64, &[&str]); 5] = [
    (1, 1, &[]),
    (
        1,
        8,
        &[
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        6,
        8,
        &[
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (
        3,
        3,
        &["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    ),
    (
        2,
        5,
        &[
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
];

/// Old size, new size, proof.
const CONSISTENCY: [(u64, u64, &[&str]); 5] = [
    (1, 1, &[]),
    (
        1,
        8,
        &[
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        6,
        8,
        &[
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (
        2,
        5,
        &[
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
    (
        6,
        7,
        &[
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
];

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

fn hash(hex: &str) -> Hash {
    Hash::try_from(bytes(hex).as_slice()).unwrap()
}

fn hashes(hex: &[&str]) -> Vec<Hash> {
    hex.iter().map(|hex| hash(hex)).collect()
}

fn leaves() -> Vec<Hash> {
    LEAVES.iter().map(|leaf| Hash::of_leaf(&bytes(leaf))).collect()
}

fn root(size: u64) -> Hash {
    hash(ROOTS[usize::try_from(size).unwrap() - 1])
}

#[test]
fn roots() {
    let leaves = leaves();
    let mut grown = Tree::new();
    assert_eq!(grown.root(), Hash::EMPTY);
    for size in 1..=8 {
        grown.append(&leaves[size - 1..size]).unwrap();
        let mut whole = Tree::new();
        whole.append(&leaves[..size]).unwrap();

        assert_eq!(grown.root(), hash(ROOTS[size - 1]), "size {size}");
        assert_eq!(whole.root(), grown.root(), "size {size}");
        assert_eq!(reference::mth(&leaves[..size]), grown.root(), "size {size}");
    }
}

#[test]
fn inclusion() {
    let leaves = leaves();
    let mut tree = Tree::new();
    tree.append(&leaves).unwrap();
    for (leaf, size, proof) in INCLUSION {
        let (index, proof) = (leaf - 1, hashes(proof));
        assert_eq!(
            tree.inclusion_proof(index, size, &Tiles::new()).as_ref(),
            Ok(&proof),
            "{leaf} of {size}"
        );
        let hash = leaves[usize::try_from(index).unwrap()];
        assert_eq!(
            verify_inclusion(index, size, &hash, &proof, &root(size)),
            Ok(()),
            "{leaf} of {size}"
        );
    }
}

#[test]
fn consistency() {
    let mut tree = Tree::new();
    tree.append(&leaves()).unwrap();
    for (old, new, proof) in CONSISTENCY {
        let proof = hashes(proof);
        assert_eq!(
            tree.consistency_proof(old, new, &Tiles::new()).as_ref(),
            Ok(&proof),
            "{old} to {new}"
        );
        let verified = verify_consistency((old, &root(old)), (new, &root(new)), &proof);
        assert_eq!(verified, Ok(()), "{old} to {new}");
    }
}

/// The corruptions that the same file lists, on each of its vectors.
#[test]
fn corrupted_inclusion_proofs_are_refused() {
    let leaves = leaves();
    for (leaf, size, proof) in INCLUSION {
        let (index, proof, root) = (leaf - 1, hashes(proof), root(size));
        let hash = leaves[usize::try_from(index).unwrap()];
        let refused = |index, size, hash: &Hash, proof: &[Hash], root: &Hash| {
            assert!(
                verify_inclusion(index, size, hash, proof, root).is_err(),
                "{leaf} of {size}: {proof:?}"
            );
        };
        for wrong in [index.wrapping_sub(1), index + 1, index ^ 2] {
            refused(wrong, size, &hash, &proof, &root);
        }
        for wrong in [size * 2, size / 2, 0] {
            refused(index, wrong, &hash, &proof, &root);
        }
        refused(index, size, &Hash::of_leaf(b"WrongLeaf"), &proof, &root);
        refused(index, size, &hash, &proof, &Hash::EMPTY);
        refused(index, size, &hash, &[&proof[..], &[root]].concat(), &root);
        refused(index, size, &hash, &[&[root], &proof[..]].concat(), &root);
        if let Some((_, shorter)) = proof.split_last() {
            refused(index, size, &hash, shorter, &root);
        }
    }
}

#[test]
fn corrupted_consistency_proofs_are_refused() {
    for (old, new, proof) in CONSISTENCY.into_iter().filter(|(.., proof)| !proof.is_empty()) {
        let (proof, old_root, new_root) = (hashes(proof), root(old), root(new));
        let refused = |old, new, old_root: &Hash, new_root: &Hash, proof: &[Hash]| {
            assert!(
                verify_consistency((old, old_root), (new, new_root), proof).is_err(),
                "{old} to {new}"
            );
        };
        for wrong in [old - 1, old + 1, old ^ 2] {
            refused(wrong, new, &old_root, &new_root, &proof);
        }
        for wrong in [new * 2, new / 2] {
            refused(old, wrong, &old_root, &new_root, &proof);
        }
        refused(old, new, &Hash::EMPTY, &new_root, &proof);
        refused(old, new, &old_root, &Hash::EMPTY, &proof);
        refused(old, new, &new_root, &old_root, &proof);
        refused(old, new, &old_root, &new_root, &[]);
        refused(old, new, &old_root, &new_root, &proof[..proof.len() - 1]);
        for more in [old_root, new_root, proof[0]] {
            refused(old, new, &old_root, &new_root, &[&proof[..], &[more]].concat());
            refused(old, new, &old_root, &new_root, &[&[more], &proof[..]].concat());
        }
    }
}

#[test]
fn proofs_from_a_list_of_hashes() {
    let leaves = leaves();
    let hash_at = |level: u8, index: u64| {
        let (first, width) = (usize::try_from(index << level).unwrap(), 1 << level);
        Ok::<_, unefois_tlog::Error>(reference::mth(&leaves[first..first + width]))
    };
    for (leaf, size, proof) in INCLUSION {
        assert_eq!(inclusion_proof(leaf - 1, size, hash_at), Ok(hashes(proof)));
    }
    for (old, new, proof) in CONSISTENCY {
        assert_eq!(consistency_proof(old, new, hash_at), Ok(hashes(proof)));
    }
}
