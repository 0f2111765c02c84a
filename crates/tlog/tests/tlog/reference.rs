//! RFC 6962, 2.1 word for word, on lists of leaf hashes: slow and recursive.

use unefois_tlog::Hash;

/// The hashes of `count` distinct leaves: leaf `n` is the decimal of `n`.
pub(crate) fn leaf_hashes(count: u64) -> Vec<Hash> {
    (0..count)
        .map(|n| Hash::of_leaf(n.to_string().as_bytes()))
        .collect()
}

/// The largest power of two smaller than `n`.
fn split(n: usize) -> usize {
    let mut k = 1;
    while k * 2 < n {
        k *= 2;
    }
    k
}

/// MTH(D[n]).
pub(crate) fn mth(d: &[Hash]) -> Hash {
    match d {
        [] => Hash::EMPTY,
        [one] => *one,
        _ => {
            let k = split(d.len());
            Hash::of_node(&mth(&d[..k]), &mth(&d[k..]))
        }
    }
}

/// PATH(m, D[n]).
pub(crate) fn path(m: usize, d: &[Hash]) -> Vec<Hash> {
    if d.len() == 1 {
        return Vec::new();
    }
    let k = split(d.len());
    let (mut path, sibling) = if m < k {
        (path(m, &d[..k]), mth(&d[k..]))
    } else {
        (path(m - k, &d[k..]), mth(&d[..k]))
    };
    path.push(sibling);
    path
}

/// PROOF(m, D[n]), empty also for the empty tree and for m = n.
pub(crate) fn proof(m: usize, d: &[Hash]) -> Vec<Hash> {
    if m == 0 { Vec::new() } else { subproof(m, d, true) }
}

/// SUBPROOF(m, D[n], b).
fn subproof(m: usize, d: &[Hash], whole: bool) -> Vec<Hash> {
    if m == d.len() {
        return if whole { Vec::new() } else { vec![mth(d)] };
    }
    let k = split(d.len());
    let (mut proof, other) = if m <= k {
        (subproof(m, &d[..k], whole), mth(&d[k..]))
    } else {
        (subproof(m - k, &d[k..], false), mth(&d[..k]))
    };
    proof.push(other);
    proof
}
