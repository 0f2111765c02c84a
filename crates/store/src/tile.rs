//! Full tiles of the logs.

use unefois_tlog::{Tile, TileId};

use crate::{Db, Error, Tx, on, read, to_i64};

/// Stores tiles that a batch completed.
///
/// # Errors
/// [`Error::Database`], [`Error::Range`].
pub async fn tile_insert(tx: &mut Tx, log: i32, tiles: &[Tile]) -> Result<(), Error> {
    // One tile a 256 entries: one statement each is no burden.
    const SQL: &str = "INSERT INTO ledger_tile (log, level, idx, hashes) VALUES ($1, $2, $3, $4)";
    for tile in tiles {
        let (level, idx) = (i16::from(tile.id().level()), to_i64(tile.id().index())?);
        on!(tx, c => sqlx::query(SQL).bind(log).bind(level).bind(idx).bind(tile.to_bytes()).execute(c).await.map(drop)?);
    }
    Ok(())
}

/// The stored tiles of `level` from `first` on, at most `count`, in order.
///
/// # Errors
/// [`Error::Database`]; [`Error::Corrupt`] for a tile of another length.
pub async fn tile_range(db: &Db, log: i32, level: u8, first: u64, count: u64) -> Result<Vec<Tile>, Error> {
    const SQL: &str = "SELECT idx, hashes FROM ledger_tile WHERE log = $1 AND level = $2 AND idx >= $3 AND idx < $4 ORDER BY idx";
    let (from, end) = (to_i64(first)?, to_i64(first.saturating_add(count))?);
    let rows = read!(db, pool => sqlx::query_as::<_, (i64, Vec<u8>)>(SQL)
        .bind(log).bind(i16::from(level)).bind(from).bind(end).fetch_all(pool).await?);
    rows.into_iter()
        .map(|(idx, hashes)| {
            let idx = u64::try_from(idx).map_err(|_| Error::Corrupt("ledger_tile.idx"))?;
            TileId::full(level, idx)
                .and_then(|id| Tile::from_bytes(id, &hashes))
                .map_err(|_| Error::Corrupt("ledger_tile.hashes"))
        })
        .collect()
}
