//! What peers said of their logs, and of ours.

use unefois_core::{Micros, Sha256};
use unefois_tlog::Hash;

use crate::{Db, Error, Tx, on, read, to_array, to_i64, to_u64};

/// The last head seen of a peer's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerHead {
    /// How many entries it had.
    pub size: u64,
    /// Their root.
    pub root: Hash,
    /// The signed checkpoint.
    pub checkpoint: String,
    /// When it was seen.
    pub at: Micros,
}

/// The last head seen of the log of `origin`.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn peer_head(db: &Db, origin: &str) -> Result<Option<PeerHead>, Error> {
    const SQL: &str = "SELECT size, root, checkpoint, at FROM peer_state WHERE origin = $1";
    let row = read!(db, pool => sqlx::query_as::<_, (i64, Vec<u8>, String, i64)>(SQL)
        .bind(origin).fetch_optional(pool).await?);
    row.map(|(size, root, checkpoint, at)| {
        Ok(PeerHead {
            size: to_u64(size, "peer_state.size")?,
            root: Hash::new(to_array(root, "peer_state.root")?),
            checkpoint,
            at: Micros::new(at),
        })
    })
    .transpose()
}

/// Keeps a head of the log of `origin`, unless a later one is kept already.
///
/// # Errors
/// [`Error::Database`], [`Error::Range`].
pub async fn peer_head_store(tx: &mut Tx, origin: &str, head: &PeerHead) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO peer_state (origin, size, root, checkpoint, at) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (origin) DO UPDATE SET size = excluded.size, root = excluded.root, \
         checkpoint = excluded.checkpoint, at = excluded.at WHERE peer_state.size < excluded.size";
    let size = to_i64(head.size)?;
    on!(tx, c => sqlx::query(SQL).bind(origin).bind(size).bind(head.root.as_bytes().to_vec())
        .bind(head.checkpoint.as_str()).bind(head.at.get()).execute(c).await.map(drop)?);
    Ok(())
}

/// Notes that `peer` (a SIRET) says it received and logged these entries of ours.
///
/// # Errors
/// [`Error::Database`].
pub async fn peer_receipt_insert(
    tx: &mut Tx,
    peer: &str,
    leaves: &[Sha256],
    at: Micros,
) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO peer_receipt (leaf, peer, at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    for leaf in leaves {
        on!(tx, c => sqlx::query(SQL).bind(&leaf.as_bytes()[..]).bind(peer).bind(at.get()).execute(c).await.map(drop)?);
    }
    Ok(())
}

/// Whether `peer` (a SIRET) said that it received the entry of this leaf hash.
///
/// # Errors
/// [`Error::Database`].
pub async fn peer_receipt_exists(db: &Db, peer: &str, leaf: &Hash) -> Result<bool, Error> {
    const SQL: &str = "SELECT 1 FROM peer_receipt WHERE leaf = $1 AND peer = $2";
    let row = read!(db, pool => sqlx::query_scalar::<_, i32>(SQL)
        .bind(&leaf.as_bytes()[..]).bind(peer).fetch_optional(pool).await?);
    Ok(row.is_some())
}
