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

/// Puts a head of the log of `origin` in the place of the one of size `from`, or of none; `false` if that is not the one
/// held any more. Whether the one continues the other is for the caller to have proved.
///
/// # Errors
/// [`Error::Database`], [`Error::Range`].
pub async fn peer_head_replace(
    tx: &mut Tx,
    origin: &str,
    from: Option<u64>,
    head: &PeerHead,
) -> Result<bool, Error> {
    let size = to_i64(head.size)?;
    let root = head.root.as_bytes().to_vec();
    let (checkpoint, at) = (head.checkpoint.as_str(), head.at.get());
    let done = match from {
        None => {
            const SQL: &str = "INSERT INTO peer_state (origin, size, root, checkpoint, at) \
                 VALUES ($1, $2, $3, $4, $5) ON CONFLICT (origin) DO NOTHING";
            on!(tx, c => sqlx::query(SQL).bind(origin).bind(size).bind(root).bind(checkpoint).bind(at)
                .execute(c).await?.rows_affected())
        }
        Some(from) => {
            const SQL: &str = "UPDATE peer_state SET size = $2, root = $3, checkpoint = $4, at = $5 \
                 WHERE origin = $1 AND size = $6";
            let from = to_i64(from)?;
            on!(tx, c => sqlx::query(SQL).bind(origin).bind(size).bind(root).bind(checkpoint).bind(at).bind(from)
                .execute(c).await?.rows_affected())
        }
    };
    Ok(done == 1)
}

/// The signed heads held of the logs of `participant`, whose origins are `<participant>/<shard>`; at most `most`.
///
/// # Errors
/// [`Error::Database`].
pub async fn peer_heads_of(db: &Db, participant: &str, most: u32) -> Result<Vec<String>, Error> {
    const SQL: &str =
        "SELECT checkpoint FROM peer_state WHERE substr(origin, 1, $2) = $1 ORDER BY origin LIMIT $3";
    let prefix = format!("{participant}/");
    let length = i32::try_from(prefix.len()).map_err(|_| Error::Range)?;
    Ok(read!(db, pool => sqlx::query_scalar::<_, String>(SQL)
        .bind(&prefix).bind(length).bind(i64::from(most)).fetch_all(pool).await?))
}

/// The origins of the logs of which a head is held.
///
/// # Errors
/// [`Error::Database`].
pub async fn peer_origins(db: &Db) -> Result<Vec<String>, Error> {
    const SQL: &str = "SELECT origin FROM peer_state ORDER BY origin";
    Ok(read!(db, pool => sqlx::query_scalar::<_, String>(SQL).fetch_all(pool).await?))
}

/// Notes that `peer` (a SIRET) says it received and logged these entries of ours; how many it had not said before.
///
/// # Errors
/// [`Error::Database`].
pub async fn peer_receipt_insert(
    tx: &mut Tx,
    peer: &str,
    leaves: &[Sha256],
    at: Micros,
) -> Result<u64, Error> {
    const SQL: &str = "INSERT INTO peer_receipt (leaf, peer, at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    let mut inserted = 0;
    for leaf in leaves {
        inserted += on!(tx, c => sqlx::query(SQL).bind(&leaf.as_bytes()[..]).bind(peer).bind(at.get())
            .execute(c).await?.rows_affected());
    }
    Ok(inserted)
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
