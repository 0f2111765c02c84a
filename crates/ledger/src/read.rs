//! What is read back from a log: its right edge, its heads, its proofs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;
use unefois_store::Db;
use unefois_store::entry::entry_range;
use unefois_store::head;
use unefois_store::tile::tile_range;
use unefois_tlog::{Hash, Origin, Receipt, SignedCheckpoint, Tile, TileId, Tiles, Tree};

use crate::Error;

/// How many tiles of past sizes are read at once, whoever asks: fewer than either database has connections, so that a
/// release always finds one.
static READS: Semaphore = Semaphore::const_new(2);

/// How many tiles a log keeps at hand: 8 KiB each.
const KEPT: usize = 512;

/// Full tiles of one log that were read of late; they never change.
#[derive(Debug, Default)]
pub(crate) struct Shelf(Mutex<HashMap<TileId, Arc<Tile>>>);

impl Shelf {
    fn find(&self, id: TileId) -> Option<Arc<Tile>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
            .cloned()
    }

    fn keep(&self, tile: Arc<Tile>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            // Those of higher levels serve more proofs.
            kept.retain(|id, _| id.level() > 0);
        }
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(tile.id(), tile);
    }
}

/// One committed size of one log of the database, of this process or of another replica.
#[derive(Clone, Debug)]
pub(crate) struct LogView {
    pub(crate) log: i32,
    pub(crate) origin: Origin,
    pub(crate) tree: Arc<Tree>,
    pub(crate) checkpoint: Arc<SignedCheckpoint>,
    pub(crate) shelf: Arc<Shelf>,
}

impl LogView {
    /// The present head of a log as its writer stored it; `None` while it has no entry.
    pub(crate) async fn stored(db: &Db, origin: &str) -> Result<Option<Self>, Error> {
        let Some(head) = head::head_read(db, origin).await?.filter(|head| head.size > 0) else {
            return Ok(None);
        };
        let tree = tree_at(db, head.log, head.size, None).await?;
        Ok(Some(Self {
            log: head.log,
            origin: origin.parse()?,
            tree: Arc::new(tree),
            checkpoint: Arc::new(SignedCheckpoint::parse(head.checkpoint.as_bytes())?),
            shelf: Arc::default(),
        }))
    }

    /// The proof that the log of size `new` starts with that of size `old`.
    pub(crate) async fn consistency(&self, db: &Db, old: u64, new: u64) -> Result<Vec<Hash>, Error> {
        if old > new || new > self.tree.size() {
            return Err(Error::OutOfRange);
        }
        let needed = self.tree.consistency_tiles(old, new)?;
        let tiles = self.tiles(db, &needed).await?;
        Ok(self.tree.consistency_proof(old, new, &tiles)?)
    }

    /// The proof of entry `index` under this head.
    pub(crate) async fn proof(&self, db: &Db, index: u64) -> Result<Receipt, Error> {
        let size = self.tree.size();
        if index >= size {
            return Err(Error::OutOfRange);
        }
        let needed = self.tree.inclusion_tiles(index, size)?;
        let tiles = self.tiles(db, &needed).await?;
        let proof = self.tree.inclusion_proof(index, size, &tiles)?;
        Ok(Receipt::new(
            index,
            proof,
            SignedCheckpoint::clone(&self.checkpoint),
        )?)
    }

    /// The stored tiles that a proof needs.
    async fn tiles(&self, db: &Db, needed: &[TileId]) -> Result<Tiles, Error> {
        let mut found = Tiles::new();
        for id in needed {
            if let Some(tile) = self.shelf.find(*id) {
                found.insert(tile);
                continue;
            }
            for tile in tile_range(db, self.log, id.level(), id.index(), 1).await? {
                let tile = Arc::new(tile);
                self.shelf.keep(Arc::clone(&tile));
                found.insert(tile);
            }
        }
        Ok(found)
    }
}

/// The tree of a log at `size`; `tree`, where the caller has one, is of the same log at that size or a later one.
///
/// Of an earlier size, at most one stored tile a level is read; of the present one without its `tree`, at most 255
/// entries, and 255 tiles a level.
///
/// # Errors
/// [`Error::Corrupt`] if an entry or a tile is missing; the caller compares the root with a signed head.
pub(crate) async fn tree_at(db: &Db, log: i32, size: u64, tree: Option<&Tree>) -> Result<Tree, Error> {
    Ok(Tree::restore(size, &edge_at(db, log, size, tree).await?)?)
}

/// The partial tiles of a log at `size`, lowest level first; `tree` as in [`tree_at`].
///
/// # Errors
/// As [`tree_at`].
pub(crate) async fn edge_at(db: &Db, log: i32, size: u64, tree: Option<&Tree>) -> Result<Vec<Tile>, Error> {
    let mut partials = Vec::new();
    for id in TileId::partials(size) {
        partials.push(tile_at(db, log, id, tree).await?);
    }
    Ok(partials)
}

/// A tile as wide as asked for: from `tree`, if that holds it; else the start of the one that is stored; else, at the
/// right edge, from what is below it.
///
/// # Errors
/// [`Error::Corrupt`] if what it is made from is missing.
pub(crate) async fn tile_at(db: &Db, log: i32, id: TileId, tree: Option<&Tree>) -> Result<Tile, Error> {
    if let Some(tile) = tree.and_then(|tree| tree.tile(id)) {
        return Ok(tile);
    }
    let _turn = READS.acquire().await;
    let stored = tile_range(db, log, id.level(), id.index(), 1).await?;
    match stored.first() {
        Some(full) => Ok(full.narrowed(id.width())?),
        None => tile_made(db, log, id).await,
    }
}

/// A tile made from what is below it: entries, or full tiles.
async fn tile_made(db: &Db, log: i32, id: TileId) -> Result<Tile, Error> {
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
