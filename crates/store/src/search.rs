//! What a search reads beside the leaves: which of them a peer confirmed, and the tiles that prove them.

use std::collections::BTreeSet;

use sqlx::AssertSqlSafe;
use unefois_core::Sha256;
use unefois_tlog::{Tile, TileId};

use crate::{Db, Error, read, rows, to_array, to_i64, to_u64};

/// Which of these leaves, each with the SIRET of its counterparty, that counterparty said that it received.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn peer_receipts_of(
    db: &Db,
    leaves: &[(Sha256, String)],
) -> Result<BTreeSet<(Sha256, String)>, Error> {
    let mut found = BTreeSet::new();
    for chunk in rows::chunks(leaves) {
        let places: Vec<String> = (1..=chunk.len()).map(|n| format!("${n}")).collect();
        let sql = format!(
            "SELECT leaf, peer FROM peer_receipt WHERE leaf IN ({})",
            places.join(", ")
        );
        let sql = AssertSqlSafe(sql);
        let rows = read!(db, pool => {
            let query = sqlx::query_as::<_, (Vec<u8>, String)>(sql);
            let bound = chunk.iter().fold(query, |query, (leaf, _)| query.bind(leaf.as_bytes().to_vec()));
            bound.fetch_all(pool).await?
        });
        for (leaf, peer) in rows {
            found.insert((Sha256::from_bytes(to_array(leaf, "peer_receipt.leaf")?), peer));
        }
    }
    Ok(found)
}

/// The stored tiles of `ids`, which are full ones; one that is not stored is left out.
///
/// # Errors
/// [`Error::Database`], [`Error::Range`]; [`Error::Corrupt`] for a tile of another length.
pub async fn tiles_of(db: &Db, log: i32, ids: &[TileId]) -> Result<Vec<Tile>, Error> {
    let mut found = Vec::with_capacity(ids.len());
    for chunk in rows::chunks(ids) {
        let places: Vec<String> = (0..chunk.len())
            .map(|n| format!("(${}, ${})", 2 * n + 2, 2 * n + 3))
            .collect();
        let sql = format!(
            "SELECT level, idx, hashes FROM ledger_tile WHERE log = $1 AND (level, idx) IN (VALUES {})",
            places.join(", ")
        );
        let sql = AssertSqlSafe(sql);
        let keys = chunk
            .iter()
            .map(|id| Ok((i16::from(id.level()), to_i64(id.index())?)))
            .collect::<Result<Vec<_>, Error>>()?;
        let rows = read!(db, pool => {
            let query = sqlx::query_as::<_, (i16, i64, Vec<u8>)>(sql).bind(log);
            let bound = keys.into_iter().fold(query, |query, (level, idx)| query.bind(level).bind(idx));
            bound.fetch_all(pool).await?
        });
        for (level, idx, hashes) in rows {
            let corrupt = || Error::Corrupt("ledger_tile.hashes");
            let level = u8::try_from(level).map_err(|_| corrupt())?;
            let id = TileId::full(level, to_u64(idx, "ledger_tile.idx")?).map_err(|_| corrupt())?;
            found.push(Tile::from_bytes(id, &hashes).map_err(|_| corrupt())?);
        }
    }
    Ok(found)
}

/// The leaves at `places`, which grow, in order; one that is not stored is left out.
///
/// # Errors
/// [`Error::Database`], [`Error::Range`], [`Error::Corrupt`].
pub async fn entries_at(db: &Db, log: i32, places: &[u64]) -> Result<Vec<(u64, Vec<u8>)>, Error> {
    let mut found = Vec::with_capacity(places.len());
    for chunk in rows::chunks(places) {
        let binds: Vec<String> = (2..chunk.len() + 2).map(|n| format!("${n}")).collect();
        let sql = format!(
            "SELECT idx, entry FROM ledger_entry WHERE log = $1 AND idx IN ({}) ORDER BY idx",
            binds.join(", ")
        );
        let sql = AssertSqlSafe(sql);
        let keys = chunk
            .iter()
            .map(|idx| to_i64(*idx))
            .collect::<Result<Vec<_>, _>>()?;
        let rows = read!(db, pool => {
            let query = sqlx::query_as::<_, (i64, Vec<u8>)>(sql).bind(log);
            keys.into_iter().fold(query, |query, idx| query.bind(idx)).fetch_all(pool).await?
        });
        for (idx, entry) in rows {
            found.push((to_u64(idx, "ledger_entry.idx")?, entry));
        }
    }
    Ok(found)
}
