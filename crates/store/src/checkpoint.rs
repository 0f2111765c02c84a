//! The published head of each log: what third parties see of it.

use unefois_core::Micros;
use unefois_tlog::Hash;

use crate::{Db, Error, Tx, on, read, to_array, to_i64, to_u64};

/// The last head of a log that was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedHead {
    /// How many entries it covers.
    pub size: u64,
    /// Their root.
    pub root: Hash,
    /// The signed checkpoint, with the cosignatures it was given.
    pub checkpoint: String,
    /// When this size was published.
    pub at: Micros,
}

/// The published head of a log; `None` before the first.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn checkpoint_read(db: &Db, log: i32) -> Result<Option<PublishedHead>, Error> {
    const SQL: &str = "SELECT size, root, checkpoint, at FROM ledger_checkpoint WHERE log = $1";
    let row = read!(db, pool => sqlx::query_as::<_, (i64, Vec<u8>, String, i64)>(SQL)
        .bind(log).fetch_optional(pool).await?);
    row.map(|(size, root, checkpoint, at)| {
        Ok(PublishedHead {
            size: to_u64(size, "ledger_checkpoint.size")?,
            root: Hash::new(to_array(root, "ledger_checkpoint.root")?),
            checkpoint,
            at: Micros::new(at),
        })
    })
    .transpose()
}

/// Keeps the head that is about to be published; `false`, with nothing changed, if a later one was published already,
/// or another one of this size.
///
/// # Errors
/// [`Error::Database`], [`Error::Range`].
pub async fn checkpoint_publish(tx: &mut Tx, log: i32, head: &PublishedHead) -> Result<bool, Error> {
    const SQL: &str = "INSERT INTO ledger_checkpoint AS held (log, size, root, checkpoint, at) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (log) DO UPDATE SET size = excluded.size, root = excluded.root, \
         checkpoint = excluded.checkpoint, at = excluded.at \
         WHERE held.size < excluded.size OR (held.size = excluded.size AND held.root = excluded.root)";
    let (size, root) = (to_i64(head.size)?, head.root.as_bytes().to_vec());
    let done = on!(tx, c => sqlx::query(SQL)
        .bind(log).bind(size).bind(root).bind(head.checkpoint.as_str()).bind(head.at.get())
        .execute(c).await?.rows_affected());
    Ok(done == 1)
}
