//! The heads of others' logs that this participant cosigned.

use unefois_core::Micros;
use unefois_tlog::Hash;

use crate::{Db, Error, Tx, on, read, to_array, to_i64, to_u64};

/// The last head cosigned of one log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CosignedHead {
    /// How many entries it covers.
    pub size: u64,
    /// Their root.
    pub root: Hash,
    /// The checkpoint as its log signed it.
    pub checkpoint: String,
    /// When it was cosigned last.
    pub at: Micros,
}

/// The last head cosigned of the log of `origin`; `None` if none ever was.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn witness_head(db: &Db, origin: &str) -> Result<Option<CosignedHead>, Error> {
    const SQL: &str = "SELECT size, root, checkpoint, at FROM witness_state WHERE origin = $1";
    let row = read!(db, pool => sqlx::query_as::<_, (i64, Vec<u8>, String, i64)>(SQL)
        .bind(origin).fetch_optional(pool).await?);
    row.map(|(size, root, checkpoint, at)| {
        Ok(CosignedHead {
            size: to_u64(size, "witness_state.size")?,
            root: Hash::new(to_array(root, "witness_state.root")?),
            checkpoint,
            at: Micros::new(at),
        })
    })
    .transpose()
}

/// The signed heads cosigned of the logs of `participant`, whose origins are `<participant>/<shard>`; at most `most`.
///
/// # Errors
/// [`Error::Database`].
pub async fn witness_heads_of(db: &Db, participant: &str, most: u32) -> Result<Vec<String>, Error> {
    const SQL: &str =
        "SELECT checkpoint FROM witness_state WHERE substr(origin, 1, $2) = $1 ORDER BY origin LIMIT $3";
    let prefix = format!("{participant}/");
    let length = i32::try_from(prefix.len()).map_err(|_| Error::Range)?;
    Ok(read!(db, pool => sqlx::query_scalar::<_, String>(SQL)
        .bind(&prefix).bind(length).bind(i64::from(most)).fetch_all(pool).await?))
}

/// Moves the head cosigned of the log of `origin` from `held`, or from none, to `next`; `false` if it is not the one
/// held any more. Whether `next` continues it is for the caller to have proved.
///
/// # Errors
/// [`Error::Database`], [`Error::Range`].
pub async fn witness_advance(
    tx: &mut Tx,
    origin: &str,
    held: Option<&CosignedHead>,
    next: &CosignedHead,
) -> Result<bool, Error> {
    let size = to_i64(next.size)?;
    let root = next.root.as_bytes().to_vec();
    let (checkpoint, at) = (next.checkpoint.as_str(), next.at.get());
    let done = match held {
        None => {
            const SQL: &str = "INSERT INTO witness_state (origin, size, root, checkpoint, at) \
                 VALUES ($1, $2, $3, $4, $5) ON CONFLICT (origin) DO NOTHING";
            on!(tx, c => sqlx::query(SQL).bind(origin).bind(size).bind(root).bind(checkpoint).bind(at)
                .execute(c).await?.rows_affected())
        }
        Some(held) => {
            const SQL: &str = "UPDATE witness_state SET size = $2, root = $3, checkpoint = $4, at = $5 \
                 WHERE origin = $1 AND size = $6 AND root = $7";
            let (from, from_root) = (to_i64(held.size)?, held.root.as_bytes().to_vec());
            on!(tx, c => sqlx::query(SQL).bind(origin).bind(size).bind(root).bind(checkpoint).bind(at)
                .bind(from).bind(from_root).execute(c).await?.rows_affected())
        }
    };
    Ok(done == 1)
}
