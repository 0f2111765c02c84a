//! What is read back from a log: its right edge, its heads, its proofs.

use unefois_store::Db;
use unefois_store::entry::entry_range;
use unefois_store::tile::tile_range;
use unefois_tlog::{Hash, Tile, TileId, Tiles, Tree};

use crate::Error;

/// The tree of a log at `size`, from its last entries and the tiles over the others: at most 255 entries and 255
/// tiles a level are read.
///
/// # Errors
/// [`Error::Corrupt`] if an entry or a tile is missing; the caller compares the root with a signed head.
pub(crate) async fn tree_at(db: &Db, log: i32, size: u64) -> Result<Tree, Error> {
    let mut partials = Vec::new();
    for id in TileId::partials(size) {
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
        let tile = Tile::new(id, hashes).map_err(|_| Error::Corrupt("an entry or a tile is missing"))?;
        partials.push(tile);
    }
    Ok(Tree::restore(size, &partials)?)
}

/// The stored tiles that a proof needs.
pub(crate) async fn tiles(db: &Db, log: i32, needed: &[TileId]) -> Result<Tiles, Error> {
    let mut found = Tiles::new();
    for id in needed {
        for tile in tile_range(db, log, id.level(), id.index(), 1).await? {
            found.insert(tile);
        }
    }
    Ok(found)
}
