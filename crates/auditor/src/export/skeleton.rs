//! The hashes of a whole log that an export needs: one for each 256 entries, all of them for some.

use std::collections::BTreeMap;
use std::ops::Range;

use unefois_tlog::{Error, Hash, TILE_WIDTH, Tile, TileId, Tree};

const WIDTH: u64 = TILE_WIDTH as u64;
/// The level of the tree whose nodes are the roots of 256 leaves.
const LEVEL: u8 = 8;

/// A part that a root is rebuilt from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// The leaves of bundle number n, which are known.
    Entries(u64),
    /// The last leaves, fewer than 256, of the partial tile of level 0.
    Edge(u64),
    /// A complete node, at level 8 or above.
    Node(u8, u64),
}

/// The root of the tree of `size`, of which the leaves in `covered` are known: a range of whole bundles.
pub(super) fn root<E>(
    size: u64,
    covered: &Range<u64>,
    hash_of: &mut impl FnMut(Part) -> Result<Hash, E>,
) -> Result<Hash, E> {
    if size == 0 {
        return Ok(Hash::EMPTY);
    }
    subtree(0..size, covered, hash_of)
}

fn subtree<E>(
    leaves: Range<u64>,
    covered: &Range<u64>,
    hash_of: &mut impl FnMut(Part) -> Result<Hash, E>,
) -> Result<Hash, E> {
    let (first, n) = (leaves.start, leaves.end - leaves.start);
    let known = first < covered.end && covered.start < leaves.end;
    if n <= WIDTH {
        // RFC 6962 cuts at powers of two, so that every cut above 256 leaves begins a bundle.
        return hash_of(match (known, n == WIDTH) {
            (true, _) => Part::Entries(first / WIDTH),
            (false, true) => Part::Node(LEVEL, first / WIDTH),
            (false, false) => Part::Edge(first / WIDTH),
        });
    }
    if !known && n.is_power_of_two() {
        let level = u8::try_from(n.trailing_zeros()).unwrap_or(u8::MAX);
        return hash_of(Part::Node(level, first / n));
    }
    // The largest power of two below n (RFC 6962, 2.1).
    let cut = first + (1 << (u64::BITS - 1 - (n - 1).leading_zeros()));
    let left = subtree(first..cut, covered, hash_of)?;
    let right = subtree(cut..leaves.end, covered, hash_of)?;
    Ok(Hash::of_node(&left, &right))
}

impl Part {
    /// The tile of the tree of `size` that has it; none for entries.
    pub(super) fn tile(self, size: u64) -> Result<Option<TileId>, Error> {
        match self {
            Self::Entries(_) => Ok(None),
            Self::Edge(n) => Ok(Some(TileId::new(0, n, width(size, n))?)),
            Self::Node(level, index) => {
                let (tile_level, row) = (level / LEVEL, level % LEVEL);
                let n = (index << row) / WIDTH;
                let width = width(size >> (LEVEL * tile_level), n);
                Ok(Some(TileId::new(tile_level, n, width)?))
            }
        }
    }

    /// Its hash, from the tile that has it.
    pub(super) fn within(self, tile: &Tile) -> Option<Hash> {
        match self {
            Self::Entries(_) => None,
            Self::Edge(_) => fold(tile.hashes()),
            Self::Node(level, index) => {
                let row = level % LEVEL;
                let first = usize::try_from((index << row) - tile.id().first()).ok()?;
                fold(tile.hashes().get(first..first + (1 << row))?)
            }
        }
    }
}

/// How many of the `size` hashes of a level are in its tile number `n`.
fn width(size: u64, n: u64) -> u16 {
    let width = size.saturating_sub(n * WIDTH).min(WIDTH);
    u16::try_from(width).unwrap_or(TILE_WIDTH)
}

/// The root over these nodes.
pub(super) fn fold(nodes: &[Hash]) -> Option<Hash> {
    let mut tree = Tree::new();
    tree.append(nodes).ok()?;
    (!nodes.is_empty()).then(|| tree.root())
}

/// Which leaves of a tree of `size` are in bundle number `n`.
pub(super) fn bundle(n: u64, size: u64) -> Range<u64> {
    n * WIDTH..size.min((n + 1) * WIDTH)
}

/// The hashes of a log as it is read.
#[derive(Debug, Default)]
pub(super) struct Skeleton {
    /// The roots of the full bundles.
    roots: Vec<Hash>,
    /// The leaves of the bundle under way, and of the last one.
    edge: Vec<Hash>,
    /// The leaves of the bundles that were kept.
    kept: BTreeMap<u64, Vec<Hash>>,
}

impl Skeleton {
    /// Adds a leaf. Once a bundle is full its leaves are dropped, unless `keep`.
    pub(super) fn push(&mut self, leaf: &Hash, keep: bool) {
        self.edge.push(*leaf);
        if self.edge.len() == usize::from(TILE_WIDTH) {
            let full = std::mem::take(&mut self.edge);
            if keep {
                self.kept.insert(self.roots.len() as u64, full.clone());
            }
            self.roots.extend(fold(&full));
        }
    }

    pub(super) fn size(&self) -> u64 {
        self.roots.len() as u64 * WIDTH + self.edge.len() as u64
    }

    /// A complete node: below level 8 only within a bundle that was kept, or the last one.
    pub(super) fn node(&self, level: u8, index: u64) -> Result<Hash, Error> {
        let missing = || Error::IndexOutsideTree {
            index,
            size: self.size(),
        };
        let slice = |hashes: &[Hash], from: u64, row: u8| {
            let from = usize::try_from(from).ok()?;
            fold(hashes.get(from..from.checked_add(1 << row)?)?)
        };
        let found = match level.checked_sub(LEVEL) {
            Some(row) => slice(&self.roots, index << row, row),
            None => {
                let first = index << level;
                let n = first / WIDTH;
                let leaves = match n == self.roots.len() as u64 {
                    true => Some(&self.edge),
                    false => self.kept.get(&n),
                };
                leaves.and_then(|leaves| slice(leaves, first % WIDTH, level))
            }
        };
        found.ok_or_else(missing)
    }

    /// The tile `id`.
    pub(super) fn tile(&self, id: TileId) -> Result<Tile, Error> {
        let level = id.level() * LEVEL;
        let hashes = (id.first()..id.first() + u64::from(id.width())).map(|index| self.node(level, index));
        Tile::new(id, hashes.collect::<Result<_, _>>()?)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn leaf(n: u64) -> Hash {
        Hash::of_leaf(&n.to_be_bytes())
    }

    #[test]
    fn nothing_known_and_nothing_there() {
        let mut none = |part| Err::<Hash, Part>(part);
        assert_eq!(root(0, &(0..0), &mut none), Ok(Hash::EMPTY));
        assert_eq!(root(65_536, &(0..0), &mut none), Err(Part::Node(16, 0)));
        assert_eq!(root(255, &(0..0), &mut none), Err(Part::Edge(0)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// The root from the entries of some bundles and the tiles of the rest is the tree's, for any of both.
        #[test]
        fn a_root_is_rebuilt_from_bundles_and_tiles(size in 1_u64..140_000, a in any::<u64>(), b in any::<u64>()) {
            let (mut tree, mut skeleton) = (Tree::new(), Skeleton::default());
            for n in 0..size {
                skeleton.push(&leaf(n), false);
            }
            let leaves: Vec<Hash> = (0..size).map(leaf).collect();
            tree.append(&leaves).unwrap();
            let bundles = size.div_ceil(WIDTH);
            let (a, b) = (a % (bundles + 1), b % (bundles + 1));
            let covered = a.min(b) * WIDTH..size.min(a.max(b) * WIDTH);
            let mut tiles = BTreeSet::new();
            let rebuilt = root(size, &covered, &mut |part| {
                if let Part::Entries(n) = part {
                    assert!(covered.contains(&(n * WIDTH)));
                    let own: Vec<Hash> = bundle(n, size).map(leaf).collect();
                    return Ok(fold(&own).unwrap());
                }
                let id = part.tile(size)?.unwrap();
                tiles.insert(id);
                Ok::<_, Error>(part.within(&skeleton.tile(id)?).unwrap())
            });
            prop_assert_eq!(rebuilt.unwrap(), tree.root());
            prop_assert!(tiles.len() < 12, "{:?}", tiles);
        }
    }
}
