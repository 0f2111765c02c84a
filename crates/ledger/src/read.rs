//! What is read back from a log: its right edge, its heads, its proofs.

use std::sync::Arc;

use unefois_store::Db;
use unefois_store::entry::entry_range;
use unefois_store::head;
use unefois_store::tile::tile_range;
use unefois_tlog::{Hash, Origin, Receipt, SignedCheckpoint, Tile, TileId, Tiles, Tree};

use crate::Error;

/// One committed size of one log of the database, of this process or of another replica.
#[derive(Clone, Debug)]
pub(crate) struct LogView {
    pub(crate) log: i32,
    pub(crate) origin: Origin,
    pub(crate) tree: Arc<Tree>,
    pub(crate) checkpoint: Arc<SignedCheckpoint>,
}

impl LogView {
    /// The present head of a log as its writer stored it; `None` while it has no entry.
    pub(crate) async fn stored(db: &Db, origin: &str) -> Result<Option<Self>, Error> {
        let Some(head) = head::head_read(db, origin).await?.filter(|head| head.size > 0) else {
            return Ok(None);
        };
        let tree = tree_at(db, head.log, head.size).await?;
        Ok(Some(Self {
            log: head.log,
            origin: origin.parse()?,
            tree: Arc::new(tree),
            checkpoint: Arc::new(SignedCheckpoint::parse(head.checkpoint.as_bytes())?),
        }))
    }

    /// The proof that the log of size `new` starts with that of size `old`.
    pub(crate) async fn consistency(&self, db: &Db, old: u64, new: u64) -> Result<Vec<Hash>, Error> {
        if old > new || new > self.tree.size() {
            return Err(Error::OutOfRange);
        }
        let needed = self.tree.consistency_tiles(old, new)?;
        let tiles = tiles(db, self.log, &needed).await?;
        Ok(self.tree.consistency_proof(old, new, &tiles)?)
    }

    /// The proof of entry `index` under this head.
    pub(crate) async fn proof(&self, db: &Db, index: u64) -> Result<Receipt, Error> {
        let size = self.tree.size();
        if index >= size {
            return Err(Error::OutOfRange);
        }
        let needed = self.tree.inclusion_tiles(index, size)?;
        let tiles = tiles(db, self.log, &needed).await?;
        let proof = self.tree.inclusion_proof(index, size, &tiles)?;
        Ok(Receipt::new(
            index,
            proof,
            SignedCheckpoint::clone(&self.checkpoint),
        )?)
    }
}

/// The tree of a log at `size`, from its last entries and the tiles over the others: at most 255 entries and 255
/// tiles a level are read.
///
/// # Errors
/// [`Error::Corrupt`] if an entry or a tile is missing; the caller compares the root with a signed head.
pub(crate) async fn tree_at(db: &Db, log: i32, size: u64) -> Result<Tree, Error> {
    Ok(Tree::restore(size, &edge_at(db, log, size).await?)?)
}

/// The partial tiles of a log at `size`, lowest level first.
///
/// # Errors
/// As [`tree_at`].
pub(crate) async fn edge_at(db: &Db, log: i32, size: u64) -> Result<Vec<Tile>, Error> {
    let mut partials = Vec::new();
    for id in TileId::partials(size) {
        partials.push(tile_made(db, log, id).await?);
    }
    Ok(partials)
}

/// A tile made from what is below it: entries, or full tiles.
///
/// # Errors
/// [`Error::Corrupt`] if one of them is missing.
pub(crate) async fn tile_made(db: &Db, log: i32, id: TileId) -> Result<Tile, Error> {
    let (first, width) = (id.first(), u64::from(id.width()));
    let hashes: Vec<Hash> = match id.level().checked_sub(1) {
        None => {
            let entries = entry_range(db, log, first, first + width).await?;
            entries.iter().map(|(_, entry)| Hash::of_leaf(entry)).collect()
        }
        Some(below) => {
            let tiles = tile_range(db, log, below, first, width).await?;
            tiles.iter().filter_map(Tile::root).collect()
        }
    };
    Tile::new(id, hashes).map_err(|_| Error::Corrupt("an entry or a tile is missing"))
}

/// The stored tiles that a proof needs.
async fn tiles(db: &Db, log: i32, needed: &[TileId]) -> Result<Tiles, Error> {
    let mut found = Tiles::new();
    for id in needed {
        for tile in tile_range(db, log, id.level(), id.index(), 1).await? {
            found.insert(tile);
        }
    }
    Ok(found)
}
