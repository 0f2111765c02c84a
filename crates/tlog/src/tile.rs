//! Tiles of 256 hashes (C2SP tlog-tiles, « Merkle Tree »).

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use crate::{Error, Hash, MAX_TREE_SIZE, decimal};

/// How many hashes a full tile has.
pub const TILE_WIDTH: u16 = 256;
/// How many levels of the tree one tile spans.
pub const TILE_HEIGHT: u8 = 8;
/// The highest tile level that a tree of [`MAX_TREE_SIZE`] reaches.
const MAX_LEVEL: u8 = 7;

/// Where a tile is and how wide: as text, its path `tile/<L>/<N>[.p/<W>]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    level: u8,
    index: u64,
    width: u16,
}

impl TileId {
    /// The full tile at `level` (0 for leaves) and `index`.
    ///
    /// # Errors
    /// [`Error::TilePath`] if no tree has this tile.
    pub fn full(level: u8, index: u64) -> Result<Self, Error> {
        Self::new(level, index, TILE_WIDTH)
    }

    /// A tile of `width` hashes, from 1 to 256.
    ///
    /// # Errors
    /// [`Error::TilePath`] if no tree has this tile.
    pub fn new(level: u8, index: u64, width: u16) -> Result<Self, Error> {
        // The last leaf under the tile is that of a possible tree.
        let last = u128::from(index) * u128::from(TILE_WIDTH) + u128::from(width);
        let fits = level <= MAX_LEVEL && last <= u128::from(MAX_TREE_SIZE >> (TILE_HEIGHT * level));
        if fits && (1..=TILE_WIDTH).contains(&width) {
            Ok(Self { level, index, width })
        } else {
            Err(Error::TilePath)
        }
    }

    /// The partial tiles of a tree of `size`: at most one a level, lowest level first.
    pub fn partials(size: u64) -> Vec<Self> {
        (0..=MAX_LEVEL)
            .filter_map(|level| {
                let hashes = size >> (TILE_HEIGHT * level);
                let width = u16::from(hashes.to_le_bytes()[0]);
                (width > 0).then_some(Self {
                    level,
                    index: hashes >> TILE_HEIGHT,
                    width,
                })
            })
            .collect()
    }

    /// The full tile that holds the tree's node at `level` (0 for leaves) and `index`, or from which it is computed.
    pub(crate) fn of_node(level: u8, index: u64) -> Self {
        Self {
            level: level / TILE_HEIGHT,
            index: index >> (TILE_HEIGHT - level % TILE_HEIGHT),
            width: TILE_WIDTH,
        }
    }

    /// The tile's level: 0 holds leaf hashes, each next one the roots of full tiles below.
    pub const fn level(&self) -> u8 {
        self.level
    }

    /// The tile's place in its level.
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// How many hashes it holds, from 1 to 256.
    pub const fn width(&self) -> u16 {
        self.width
    }

    /// Whether it has all its 256 hashes, and so never changes.
    pub const fn is_full(&self) -> bool {
        self.width == TILE_WIDTH
    }

    /// How many of its hashes a tree of `size` has, from 0 to 256: a tile of more is not in that tree.
    pub fn width_in(&self, size: u64) -> u16 {
        let hashes = (size >> (TILE_HEIGHT * self.level)).saturating_sub(self.first());
        u16::try_from(hashes).map_or(TILE_WIDTH, |hashes| hashes.min(TILE_WIDTH))
    }

    /// Its first hash's place among the hashes of its level.
    pub const fn first(&self) -> u64 {
        self.index << TILE_HEIGHT
    }
}

impl fmt::Display for TileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tile/{}/", self.level)?;
        // Groups of three digits, all but the last marked with an x.
        let mut unit = 1_000;
        while unit <= self.index / 1_000 {
            unit *= 1_000;
        }
        while unit > 1 {
            if self.index >= unit {
                write!(f, "x{:03}/", self.index / unit % 1_000)?;
            }
            unit /= 1_000;
        }
        write!(f, "{:03}", self.index % 1_000)?;
        if self.is_full() {
            Ok(())
        } else {
            write!(f, ".p/{}", self.width)
        }
    }
}

impl FromStr for TileId {
    type Err = Error;

    fn from_str(path: &str) -> Result<Self, Error> {
        let parsed = || {
            let (level, rest) = path.strip_prefix("tile/")?.split_once('/')?;
            let (index, width) = match rest.split_once(".p/") {
                Some((index, width)) => (index, u16::try_from(decimal(width)?).ok()?),
                None => (rest, TILE_WIDTH),
            };
            let mut number = 0_u64;
            for group in index.split('/') {
                let digits = group.strip_prefix('x').unwrap_or(group);
                number = number.checked_mul(1_000)?.checked_add(digits.parse().ok()?)?;
            }
            Self::new(u8::try_from(decimal(level)?).ok()?, number, width).ok()
        };
        // A path has one spelling: what does not come out as it went in is another's.
        parsed()
            .filter(|tile| tile.to_string() == path)
            .ok_or(Error::TilePath)
    }
}

/// A tile and its hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    id: TileId,
    hashes: Vec<Hash>,
}

impl Tile {
    /// A tile from its hashes.
    ///
    /// # Errors
    /// [`Error::TileLength`] unless there are as many hashes as the tile is wide.
    pub fn new(id: TileId, hashes: Vec<Hash>) -> Result<Self, Error> {
        if hashes.len() == usize::from(id.width) {
            Ok(Self { id, hashes })
        } else {
            Err(Error::TileLength {
                tile: id,
                bytes: hashes.len() * 32,
            })
        }
    }

    /// A tile as it is stored and served: its hashes one after the other.
    ///
    /// # Errors
    /// [`Error::TileLength`] unless the bytes are those of as many hashes as the tile is wide.
    pub fn from_bytes(id: TileId, bytes: &[u8]) -> Result<Self, Error> {
        let (hashes, rest) = bytes.as_chunks::<32>();
        if !rest.is_empty() || hashes.len() != usize::from(id.width) {
            return Err(Error::TileLength {
                tile: id,
                bytes: bytes.len(),
            });
        }
        Ok(Self {
            id,
            hashes: hashes.iter().copied().map(Hash::new).collect(),
        })
    }

    /// The narrower tile that this one once was: its first `width` hashes.
    ///
    /// # Errors
    /// [`Error::TilePath`] unless `width` is from 1 to this one's.
    pub fn narrowed(&self, width: u16) -> Result<Self, Error> {
        let id = TileId::new(self.id.level, self.id.index, width)?;
        let hashes = self.hashes.get(..usize::from(width)).ok_or(Error::TilePath)?;
        Ok(Self {
            id,
            hashes: hashes.to_vec(),
        })
    }

    /// The bytes that are stored and served.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
    }

    /// Where it is.
    pub const fn id(&self) -> TileId {
        self.id
    }

    /// Its hashes, from left to right.
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// The root of a full tile, which is a hash of the tile above; `None` for a partial one.
    pub fn root(&self) -> Option<Hash> {
        self.id.is_full().then(|| self.subtree(TILE_HEIGHT, 0)).flatten()
    }

    /// The node `row` levels above the tile's hashes, if all that is under it is in the tile.
    fn subtree(&self, row: u8, index: usize) -> Option<Hash> {
        let mut nodes = [Hash::EMPTY; TILE_WIDTH as usize];
        let mut width = 1 << row;
        nodes[..width].copy_from_slice(self.hashes.get(index << row..(index + 1) << row)?);
        while width > 1 {
            width /= 2;
            for node in 0..width {
                nodes[node] = Hash::of_node(&nodes[2 * node], &nodes[2 * node + 1]);
            }
        }
        Some(nodes[0])
    }
}

/// Full tiles read from a store or a peer, from which proofs are computed; whoever keeps them besides shares them.
#[derive(Clone, Debug, Default)]
pub struct Tiles(BTreeMap<(u8, u64), Arc<Tile>>);

impl Tiles {
    /// No tile.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Adds a tile; one already there at the same place is replaced.
    pub fn insert(&mut self, tile: impl Into<Arc<Tile>>) {
        let tile = tile.into();
        self.0.insert((tile.id.level, tile.id.index), tile);
    }

    /// The node at `level` (0 for leaves) and `index` of the tree.
    ///
    /// # Errors
    /// [`Error::TileMissing`] if the tile it is in is not here.
    pub fn hash_at(&self, level: u8, index: u64) -> Result<Hash, Error> {
        let id = TileId::of_node(level, index);
        let row = level % TILE_HEIGHT;
        let within = index - (id.index << (TILE_HEIGHT - row));
        let tile = self.0.get(&(id.level, id.index)).ok_or(Error::TileMissing(id))?;
        let within = usize::try_from(within).map_err(|_| Error::TileMissing(id))?;
        tile.subtree(row, within).ok_or(Error::TileMissing(id))
    }
}

impl FromIterator<Tile> for Tiles {
    fn from_iter<I: IntoIterator<Item = Tile>>(tiles: I) -> Self {
        let mut all = Self::new();
        tiles.into_iter().for_each(|tile| all.insert(tile));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tile(level: u8, index: u64, width: u16) -> TileId {
        TileId::new(level, index, width).unwrap()
    }

    #[test]
    fn paths_have_one_spelling() {
        // The first is the example of C2SP tlog-tiles.
        for (id, path) in [
            (tile(0, 1_234_067, TILE_WIDTH), "tile/0/x001/x234/067"),
            (tile(0, 0, TILE_WIDTH), "tile/0/000"),
            (tile(1, 999, 1), "tile/1/999.p/1"),
            (tile(2, 1_000, 255), "tile/2/x001/000.p/255"),
            (tile(0, 1_000_000, TILE_WIDTH), "tile/0/x001/x000/000"),
            (
                tile(0, 36_028_797_018_963_966, TILE_WIDTH),
                "tile/0/x036/x028/x797/x018/x963/966",
            ),
        ] {
            assert_eq!(id.to_string(), path);
            assert_eq!(path.parse(), Ok(id));
        }
    }

    #[test]
    fn malformed_paths_are_refused() {
        for path in [
            "",
            "tile",
            "tile/",
            "tile/0",
            "tile/0/",
            "tile//000",
            "tile/0/0",
            "tile/0/00",
            "tile/0/0000",
            "tile/00/000",
            "tile/0/x000/001",
            "tile/0/x1/000",
            "tile/0/001/000",
            "tile/0/x001",
            "tile/0/+01",
            "tile/0/-01",
            "tile/+0/000",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/000.p/",
            "tile/0/000.p",
            "tile/0/000/",
            "/tile/0/000",
            "tile/8/000",
            "tile/64/000",
            "tile/7/x001/000",
            "tile/0/x036/x028/x797/x018/x963/968",
            "tile/0/xx01/000",
            "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
            "tile/0/é00",
            "tile/0/000.p/1.p/1",
        ] {
            assert_eq!(path.parse::<TileId>(), Err(Error::TilePath), "{path}");
        }
    }

    #[test]
    fn partial_tiles_of_a_size() {
        // The example of C2SP tlog-tiles.
        assert_eq!(
            TileId::partials(70_000),
            [tile(0, 273, 112), tile(1, 1, 17), tile(2, 0, 1)]
        );
        assert_eq!(TileId::partials(256), [tile(1, 0, 1)]);
        assert_eq!(TileId::partials(0), []);
    }

    #[test]
    fn a_tile_of_a_smaller_tree_is_the_start_of_the_larger_ones() {
        for (id, size, width) in [
            (tile(0, 0, TILE_WIDTH), 0, 0),
            (tile(0, 0, TILE_WIDTH), 255, 255),
            (tile(0, 0, 3), 256, TILE_WIDTH),
            (tile(0, 1, 1), 256, 0),
            (tile(0, 273, 112), 70_000, 112),
            (tile(1, 1, 17), 70_000, 17),
            (tile(2, 0, 1), 70_000, 1),
            (tile(2, 0, 1), 65_535, 0),
            (tile(7, 0, 1), MAX_TREE_SIZE, 127),
        ] {
            assert_eq!(id.width_in(size), width, "{id} of {size}");
        }
        let three = Tile::from_bytes(tile(1, 4, 3), &(0..96).collect::<Vec<u8>>()).unwrap();
        assert_eq!(three.narrowed(0), Err(Error::TilePath));
        assert_eq!(three.narrowed(4), Err(Error::TilePath));
        let two = three.narrowed(2).unwrap();
        assert_eq!((two.id(), two.hashes()), (tile(1, 4, 2), &three.hashes()[..2]));
    }

    #[test]
    fn bytes_of_another_width_are_refused() {
        let id = tile(0, 0, 3);
        for bytes in [0, 64, 95, 97, 128] {
            assert_eq!(
                Tile::from_bytes(id, &vec![0; bytes]),
                Err(Error::TileLength { tile: id, bytes })
            );
        }
        let bytes: Vec<u8> = (0..96).collect();
        assert_eq!(Tile::from_bytes(id, &bytes).unwrap().to_bytes(), bytes);
    }

    #[test]
    fn an_absent_tile_is_named() {
        let full = Tile::from_bytes(tile(0, 0, TILE_WIDTH), &[1; 8192]).unwrap();
        let tiles = Tiles::from_iter([full]);
        assert!(tiles.hash_at(7, 1).is_ok());
        assert_eq!(
            tiles.hash_at(7, 2),
            Err(Error::TileMissing(tile(0, 1, TILE_WIDTH)))
        );
        assert_eq!(
            tiles.hash_at(8, 0),
            Err(Error::TileMissing(tile(1, 0, TILE_WIDTH)))
        );
    }
}
