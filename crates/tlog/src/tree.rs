//! The right edge of a growing log.

use std::collections::BTreeSet;

use crate::{
    Error, Hash, MAX_TREE_SIZE, TILE_HEIGHT, TILE_WIDTH, Tile, TileId, Tiles,
    multiproof::{self, multi_inclusion_path},
    proof::{self, inclusion_path},
};

/// An append-only tree of which memory holds only what can still change, and what the last append added.
///
/// The right edge is, at each tile level, the partial tile and the nodes over it: at most 16 KiB a level, three
/// levels for 16 million leaves. Any leaf of the last append is proved from it; an older one with the full tiles
/// that [`Tree::inclusion_tiles`] names. [`Tree::rollback`] undoes the last append at no cost.
#[derive(Clone, Debug)]
pub struct Tree {
    size: u64,
    /// The size before the last append: what [`Tree::rollback`] can go back to.
    floor: u64,
    /// Level by level, complete nodes from that of the partial tile before the last append on.
    rows: Vec<Row>,
    /// Level by level, the last node when it is not complete; else unused. The one over all levels is the root.
    edge: Vec<Hash>,
}

#[derive(Clone, Debug, Default)]
struct Row {
    first: u64,
    hashes: Vec<Hash>,
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl Tree {
    /// The tree without leaves.
    pub const fn new() -> Self {
        Self {
            size: 0,
            floor: 0,
            rows: Vec::new(),
            edge: Vec::new(),
        }
    }

    /// The tree of `size` whose partial tiles are `partials`, those of [`TileId::partials`] in that order.
    ///
    /// A log that stores full tiles finds the partial tile of level 0 in its last leaves, and that of each level
    /// above in the [`Tile::root`]s of the last full tiles below. The caller compares the root with a signed head.
    ///
    /// # Errors
    /// [`Error::TreeTooLarge`]; [`Error::EdgeTiles`] if the tiles are not those of this size.
    pub fn restore(size: u64, partials: &[Tile]) -> Result<Self, Error> {
        if size > MAX_TREE_SIZE {
            return Err(Error::TreeTooLarge);
        }
        if !partials.iter().map(Tile::id).eq(TileId::partials(size)) {
            return Err(Error::EdgeTiles(size));
        }
        let mut tree = Self {
            size,
            floor: size,
            rows: Vec::new(),
            edge: Vec::new(),
        };
        tree.grow_rows();
        for tile in partials {
            let mut level = usize::from(tile.id().level() * TILE_HEIGHT);
            tree.rows[level].hashes.extend_from_slice(tile.hashes());
            for _ in 1..TILE_HEIGHT {
                level += 1;
                tree.fill_row(level);
            }
        }
        tree.fold_edge();
        Ok(tree)
    }

    /// How many leaves there are.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root (RFC 6962, 2.1); [`Hash::EMPTY`] without leaves.
    pub fn root(&self) -> Hash {
        self.edge.last().copied().unwrap_or(Hash::EMPTY)
    }

    /// A tile of this tree, as narrow as asked for, if memory holds it: those of the right edge are always there.
    pub fn tile(&self, id: TileId) -> Option<Tile> {
        let row = self.rows.get(usize::from(id.level() * TILE_HEIGHT))?;
        let start = usize::try_from(id.first().checked_sub(row.first)?).ok()?;
        let hashes = row.hashes.get(start..)?.get(..usize::from(id.width()))?;
        Tile::new(id, hashes.to_vec()).ok()
    }

    /// Appends leaves by their hashes ([`Hash::of_leaf`]) and returns the full tiles that this completes, lowest
    /// level first.
    ///
    /// # Errors
    /// [`Error::TreeTooLarge`], with the tree unchanged.
    pub fn append(&mut self, leaves: &[Hash]) -> Result<Vec<Tile>, Error> {
        let added = u64::try_from(leaves.len()).map_err(|_| Error::TreeTooLarge)?;
        let size = self
            .size
            .checked_add(added)
            .filter(|size| *size <= MAX_TREE_SIZE)
            .ok_or(Error::TreeTooLarge)?;
        self.forget();
        if leaves.is_empty() {
            return Ok(Vec::new());
        }
        self.size = size;
        self.grow_rows();
        self.rows[0].hashes.extend_from_slice(leaves);
        for level in 1..self.rows.len() {
            self.fill_row(level);
        }
        self.fold_edge();
        Ok(self.full_tiles())
    }

    /// Goes back to `size`: that before the last append, or one since.
    ///
    /// # Errors
    /// [`Error::SizeOrder`] for a size larger than the tree's; [`Error::RollbackTooFar`] for one before the last
    /// append.
    pub fn rollback(&mut self, size: u64) -> Result<(), Error> {
        if size > self.size {
            return Err(Error::SizeOrder {
                old: size,
                new: self.size,
            });
        }
        if size < self.floor {
            return Err(Error::RollbackTooFar {
                from: self.size,
                to: size,
            });
        }
        for (row, level) in self.rows.iter_mut().zip(0_u8..) {
            let kept = (size >> level).saturating_sub(row.first);
            row.hashes.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
        }
        self.size = size;
        self.rows.truncate(levels(size));
        self.fold_edge();
        Ok(())
    }

    /// The proof that leaf `index` is in the tree of `size`, this one or an earlier one.
    ///
    /// A leaf of the last append needs no tile; for another, `tiles` holds those of [`Tree::inclusion_tiles`].
    ///
    /// # Errors
    /// [`Error::SizeOrder`], [`Error::IndexOutsideTree`], [`Error::TileMissing`].
    pub fn inclusion_proof(&self, index: u64, size: u64, tiles: &Tiles) -> Result<Vec<Hash>, Error> {
        if size != self.size {
            self.check_size(size)?;
            return proof::inclusion_proof(index, size, |level, node| self.hash_at(level, node, tiles));
        }
        inclusion_path(index, size, |level, node| {
            if node < size >> level {
                self.hash_at(level, node, tiles)
            } else {
                Ok(self.edge[usize::from(level)])
            }
        })
    }

    /// One proof that the leaves at `indices`, which grow strictly, are in the tree of `size`, this one or an earlier one.
    ///
    /// `tiles` holds those of [`Tree::multi_inclusion_tiles`].
    ///
    /// # Errors
    /// [`Error::SizeOrder`], [`Error::IndexOutsideTree`], [`Error::IndexOrder`], [`Error::TileMissing`].
    pub fn multi_inclusion_proof(
        &self,
        indices: &[u64],
        size: u64,
        tiles: &Tiles,
    ) -> Result<Vec<Hash>, Error> {
        if size != self.size {
            self.check_size(size)?;
            return multiproof::multi_inclusion_proof(indices, size, |level, node| {
                self.hash_at(level, node, tiles)
            });
        }
        multi_inclusion_path(indices, size, |level, node| {
            if node < size >> level {
                self.hash_at(level, node, tiles)
            } else {
                Ok(self.edge[usize::from(level)])
            }
        })
    }

    /// The proof that the tree of size `old` is the start of the tree of size `new`, this one or an earlier one.
    ///
    /// `tiles` holds those of [`Tree::consistency_tiles`].
    ///
    /// # Errors
    /// [`Error::SizeOrder`], [`Error::TileMissing`].
    pub fn consistency_proof(&self, old: u64, new: u64, tiles: &Tiles) -> Result<Vec<Hash>, Error> {
        self.check_size(new)?;
        proof::consistency_proof(old, new, |level, node| self.hash_at(level, node, tiles))
    }

    /// The full tiles that [`Tree::inclusion_proof`] needs; none for a leaf of the last append.
    ///
    /// # Errors
    /// [`Error::SizeOrder`], [`Error::IndexOutsideTree`].
    pub fn inclusion_tiles(&self, index: u64, size: u64) -> Result<Vec<TileId>, Error> {
        self.check_size(size)?;
        let mut needed = Vec::new();
        proof::inclusion_proof(index, size, |level, node| {
            self.note_tile(level, node, &mut needed)
        })?;
        Ok(needed)
    }

    /// The full tiles that [`Tree::multi_inclusion_proof`] needs.
    ///
    /// # Errors
    /// [`Error::SizeOrder`], [`Error::IndexOutsideTree`], [`Error::IndexOrder`].
    pub fn multi_inclusion_tiles(&self, indices: &[u64], size: u64) -> Result<Vec<TileId>, Error> {
        self.check_size(size)?;
        let mut needed = BTreeSet::new();
        multiproof::multi_inclusion_proof(indices, size, |level, node| {
            let hash = self.in_memory(level, node);
            if hash.is_none() {
                needed.insert(TileId::of_node(level, node));
            }
            Ok::<_, Error>(hash.unwrap_or(Hash::EMPTY))
        })?;
        Ok(needed.into_iter().collect())
    }

    /// The full tiles that [`Tree::consistency_proof`] needs.
    ///
    /// # Errors
    /// [`Error::SizeOrder`].
    pub fn consistency_tiles(&self, old: u64, new: u64) -> Result<Vec<TileId>, Error> {
        self.check_size(new)?;
        let mut needed = Vec::new();
        proof::consistency_proof(old, new, |level, node| self.note_tile(level, node, &mut needed))?;
        Ok(needed)
    }

    fn check_size(&self, size: u64) -> Result<(), Error> {
        if size <= self.size {
            Ok(())
        } else {
            Err(Error::SizeOrder {
                old: size,
                new: self.size,
            })
        }
    }

    /// A complete node, from memory or else from `tiles`.
    fn hash_at(&self, level: u8, index: u64, tiles: &Tiles) -> Result<Hash, Error> {
        self.in_memory(level, index)
            .map_or_else(|| tiles.hash_at(level, index), Ok)
    }

    fn in_memory(&self, level: u8, index: u64) -> Option<Hash> {
        let row = self.rows.get(usize::from(level))?;
        let place = usize::try_from(index.checked_sub(row.first)?).ok()?;
        row.hashes.get(place).copied()
    }

    /// Notes the tile of a complete node that is not in memory; the hash it returns means nothing then.
    fn note_tile(&self, level: u8, index: u64, needed: &mut Vec<TileId>) -> Result<Hash, Error> {
        let hash = self.in_memory(level, index);
        let tile = TileId::of_node(level, index);
        if hash.is_none() && !needed.contains(&tile) {
            needed.push(tile);
        }
        Ok(hash.unwrap_or(Hash::EMPTY))
    }

    /// Drops what the next append cannot change: the nodes of full tiles.
    fn forget(&mut self) {
        self.floor = self.size;
        for (row, level) in self.rows.iter_mut().zip(0_u8..) {
            let first = first_kept(level, self.size);
            let dropped = usize::try_from(first - row.first).unwrap_or(usize::MAX);
            row.hashes.drain(..dropped.min(row.hashes.len()));
            row.first = first;
        }
    }

    /// Makes one row a level of the tree; a new one starts where its partial tile did before the last append.
    fn grow_rows(&mut self) {
        for level in (0_u8..).take(levels(self.size)).skip(self.rows.len()) {
            self.rows.push(Row {
                first: first_kept(level, self.floor),
                hashes: Vec::new(),
            });
        }
    }

    /// Adds to a row, if the tree has it, the nodes whose two children are now in the row below.
    fn fill_row(&mut self, level: usize) {
        let Some((below, [row, ..])) = self.rows.split_at_mut_checked(level) else {
            return;
        };
        let below = below.last().expect("no row of leaves is filled from below");
        // The row below holds the children of all that is in this one, and those that have no parent yet.
        let children = 2 * (row.first + row.hashes.len() as u64);
        let skip = usize::try_from(children - below.first).expect("they are in memory");
        let (pairs, _) = below.hashes[skip..].as_chunks::<2>();
        row.hashes
            .extend(pairs.iter().map(|[left, right]| Hash::of_node(left, right)));
    }

    /// Joins the complete nodes that end the tree, from right to left.
    fn fold_edge(&mut self) {
        self.edge.clear();
        let mut hash = None;
        for (row, level) in self.rows.iter().zip(0_u8..) {
            self.edge.push(hash.unwrap_or(Hash::EMPTY));
            if self.size >> level & 1 == 1
                && let Some(left) = row.hashes.last()
            {
                hash = Some(hash.map_or(*left, |right| Hash::of_node(left, &right)));
            }
        }
        self.edge.extend(hash);
    }

    /// The tiles that the last append completed.
    fn full_tiles(&self) -> Vec<Tile> {
        let mut tiles = Vec::new();
        for (row, level) in self.rows.iter().step_by(usize::from(TILE_HEIGHT)).zip(0_u8..) {
            let (full, _) = row.hashes.as_chunks::<{ TILE_WIDTH as usize }>();
            for (hashes, index) in full.iter().zip(row.first >> TILE_HEIGHT..) {
                let id = TileId::full(level, index).expect("the tree has this tile");
                tiles.push(Tile::new(id, hashes.to_vec()).expect("a chunk is as wide as a tile"));
            }
        }
        tiles
    }
}

/// How many levels a tree of `size` has complete nodes in.
const fn levels(size: u64) -> usize {
    (u64::BITS - size.leading_zeros()) as usize
}

/// The first node of a level that is in, or over, the partial tile of a tree of `size`.
const fn first_kept(level: u8, size: u64) -> u64 {
    let row = level % TILE_HEIGHT;
    let tile = size.checked_shr((level - row + TILE_HEIGHT) as u32);
    match tile {
        Some(tile) => tile << (TILE_HEIGHT - row),
        None => 0,
    }
}
