//! The one row of each log that changes: its fence, its size and its signed head.

use std::time::Duration;

use tokio::time::MissedTickBehavior;
use unefois_core::{Micros, RevocationView};
use unefois_tlog::Hash;
use uuid::Uuid;

use crate::{Db, Error, Postgres, Tx, on, read, to_array, to_i64, to_u64};

/// How often a standby is asked for, whether it has caught up.
const REPLICATED_EVERY: Duration = Duration::from_millis(10);

/// What `ledger_head` says of one log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The log's number in this database.
    pub log: i32,
    /// Its epoch: one more each time a process takes the log.
    pub epoch: u64,
    /// How many entries it has.
    pub size: u64,
    /// Their root.
    pub root: Hash,
    /// Instant of the last entry.
    pub at: Micros,
    /// The view of the withdrawal log that the writer held last; it never decreases.
    pub view: RevocationView,
    /// The signed checkpoint of this size; empty before the first entry.
    pub checkpoint: String,
}

type Row = (i32, i64, i64, Vec<u8>, i64, i64, i64, String);

fn head((log, epoch, size, root, at, view_epoch, view_seq, checkpoint): Row) -> Result<Head, Error> {
    Ok(Head {
        log,
        epoch: to_u64(epoch, "ledger_head.epoch")?,
        size: to_u64(size, "ledger_head.size")?,
        root: Hash::new(to_array(root, "ledger_head.root")?),
        at: Micros::new(at),
        view: RevocationView {
            epoch: to_u64(view_epoch, "ledger_head.view_epoch")?,
            seq: to_u64(view_seq, "ledger_head.view_seq")?,
        },
        checkpoint,
    })
}

/// Takes the log of `origin` for the process that drew `holder`, in a new epoch above `floor`; a log not seen before is
/// made.
///
/// Every earlier holder is fenced off once this commits. `floor` is an epoch known from outside the database, which may
/// be an old copy: no epoch is taken twice.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn head_take(tx: &mut Tx, origin: &str, holder: Uuid, floor: u64) -> Result<Head, Error> {
    const INSERT: &str = "INSERT INTO ledger_head (origin, epoch, holder, size, root, at, view_epoch, view_seq, checkpoint) \
         VALUES ($1, 0, $2, 0, $3, $4, 0, 0, '') ON CONFLICT (origin) DO NOTHING";
    const TAKE: &str = "UPDATE ledger_head SET epoch = CASE WHEN epoch < $3 THEN $3 ELSE epoch END + 1, holder = $2 \
         WHERE origin = $1 RETURNING log, epoch, size, root, at, view_epoch, view_seq, checkpoint";
    let (root, floor) = (Hash::EMPTY.as_bytes().to_vec(), to_i64(floor)?);
    on!(tx, c => sqlx::query(INSERT).bind(origin).bind(holder).bind(root).bind(i64::MIN).execute(c).await.map(drop)?);
    let row = on!(tx, c => sqlx::query_as::<_, Row>(TAKE).bind(origin).bind(holder).bind(floor).fetch_one(c).await?);
    head(row)
}

/// Takes a new epoch of a log that `holder` still holds; `None` if another process took it.
///
/// On PostgreSQL this waits for a transaction of unknown outcome that still holds the row, so that what it returns is
/// the outcome.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn head_retake(tx: &mut Tx, log: i32, holder: Uuid) -> Result<Option<Head>, Error> {
    const RETAKE: &str = "UPDATE ledger_head SET epoch = epoch + 1 WHERE log = $1 AND holder = $2 \
         RETURNING log, epoch, size, root, at, view_epoch, view_seq, checkpoint";
    let row = on!(tx, c => sqlx::query_as::<_, Row>(RETAKE).bind(log).bind(holder).fetch_optional(c).await?);
    row.map(head).transpose()
}

/// Moves a log's head from `size` to `next`; `false` if `next.epoch` is no longer the log's, or the size another.
///
/// # Errors
/// [`Error::Database`], [`Error::Range`].
pub async fn head_advance(tx: &mut Tx, size: u64, next: &Head) -> Result<bool, Error> {
    const SQL: &str = "UPDATE ledger_head SET size = $4, root = $5, at = $6, view_epoch = $7, view_seq = $8, checkpoint = $9 \
         WHERE log = $1 AND epoch = $2 AND size = $3";
    let (epoch, old, new) = (to_i64(next.epoch)?, to_i64(size)?, to_i64(next.size)?);
    let (view_epoch, view_seq) = (to_i64(next.view.epoch)?, to_i64(next.view.seq)?);
    let done = on!(tx, c => sqlx::query(SQL)
        .bind(next.log).bind(epoch).bind(old).bind(new)
        .bind(next.root.as_bytes().to_vec())
        .bind(next.at.get()).bind(view_epoch).bind(view_seq).bind(next.checkpoint.as_str())
        .execute(c).await?.rows_affected());
    Ok(done == 1)
}

/// Waits, however long it takes, until a synchronous standby has on disk that the log of number `log` is at `size` in
/// `epoch`; `false` if the database says otherwise.
///
/// Call it after the commit where a standby must have it: a commit whose wait for the standby an operator cancelled
/// succeeds like any other, with a warning that the driver keeps to itself.
///
/// # Errors
/// [`Error::Database`]: nobody knows; [`Error::Standby`] on SQLite, which has none.
pub async fn head_replicated(db: &Db, log: i32, epoch: u64, size: u64) -> Result<bool, Error> {
    const HERE: &str = "WITH here AS MATERIALIZED (SELECT pg_current_wal_flush_lsn() AS lsn FROM ledger_head \
         WHERE log = $1 AND epoch = $2 AND size = $3) SELECT lsn::text, EXISTS (SELECT FROM pg_stat_replication \
         WHERE sync_state IN ('sync', 'quorum') AND flush_lsn >= lsn) FROM here";
    const THERE: &str = "SELECT EXISTS (SELECT FROM pg_stat_replication \
         WHERE sync_state IN ('sync', 'quorum') AND flush_lsn >= $1::pg_lsn)";
    let Db::Postgres(Postgres { pool, .. }) = db else {
        return Err(Error::Standby("SQLite has none"));
    };
    // One connection: another may be to a server that took over, whose standby has another log.
    let mut conn = pool.acquire().await?;
    let here = sqlx::query_as::<_, (String, bool)>(HERE)
        .bind(log)
        .bind(to_i64(epoch)?)
        .bind(to_i64(size)?);
    let Some((lsn, mut there)) = here.fetch_optional(&mut *conn).await? else {
        return Ok(false);
    };
    let mut look = tokio::time::interval(REPLICATED_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !there {
        look.tick().await;
        there = sqlx::query_scalar(THERE).bind(&lsn).fetch_one(&mut *conn).await?;
    }
    Ok(true)
}

/// The committed head of the log of `origin`.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn head_read(db: &Db, origin: &str) -> Result<Option<Head>, Error> {
    const SQL: &str = "SELECT log, epoch, size, root, at, view_epoch, view_seq, checkpoint FROM ledger_head WHERE origin = $1";
    let row = read!(db, pool => sqlx::query_as::<_, Row>(SQL).bind(origin).fetch_optional(pool).await?);
    row.map(head).transpose()
}

/// The origins of the logs that this database holds, sorted.
///
/// # Errors
/// [`Error::Database`].
pub async fn origins(db: &Db) -> Result<Vec<String>, Error> {
    const SQL: &str = "SELECT origin FROM ledger_head ORDER BY origin";
    Ok(read!(db, pool => sqlx::query_scalar::<_, String>(SQL).fetch_all(pool).await?))
}

/// What an operator did to a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// When it was closed for ever.
    pub closed_at: Option<Micros>,
    /// When a backup of it was restored; none once it was shown that nothing came after that backup.
    pub restored_at: Option<Micros>,
}

/// The marks of the log of `origin`; none for a log that is not there.
///
/// # Errors
/// [`Error::Database`].
pub async fn head_marks(tx: &mut Tx, origin: &str) -> Result<Marks, Error> {
    const SQL: &str = "SELECT closed_at, restored_at FROM ledger_head WHERE origin = $1";
    let row = on!(tx, c => sqlx::query_as::<_, (Option<i64>, Option<i64>)>(SQL).bind(origin)
        .fetch_optional(c).await?);
    let (closed_at, restored_at) = row.unwrap_or_default();
    Ok(Marks {
        closed_at: closed_at.map(Micros::new),
        restored_at: restored_at.map(Micros::new),
    })
}

/// Closes the log of `origin` for ever, in a new epoch, so that its writer writes nothing more; `false` if there is no
/// such log, or it was closed before.
///
/// # Errors
/// [`Error::Database`].
pub async fn head_close(tx: &mut Tx, origin: &str, at: Micros) -> Result<bool, Error> {
    const SQL: &str =
        "UPDATE ledger_head SET closed_at = $2, epoch = epoch + 1 WHERE origin = $1 AND closed_at IS NULL";
    let done = on!(tx, c => sqlx::query(SQL).bind(origin).bind(at.get()).execute(c).await?.rows_affected());
    Ok(done == 1)
}

/// Marks every log of the database as restored from a backup.
///
/// # Errors
/// [`Error::Database`].
pub async fn heads_restored(tx: &mut Tx, at: Micros) -> Result<(), Error> {
    const SQL: &str = "UPDATE ledger_head SET restored_at = $1 WHERE closed_at IS NULL";
    on!(tx, c => sqlx::query(SQL).bind(at.get()).execute(c).await.map(drop)?);
    Ok(())
}

/// Takes the mark of a restored backup off the log of `origin`: it was shown that nothing came after it.
///
/// # Errors
/// [`Error::Database`].
pub async fn head_proved_last(tx: &mut Tx, origin: &str) -> Result<(), Error> {
    const SQL: &str = "UPDATE ledger_head SET restored_at = NULL WHERE origin = $1";
    on!(tx, c => sqlx::query(SQL).bind(origin).execute(c).await.map(drop)?);
    Ok(())
}

/// The origins of the logs that are not closed, sorted.
///
/// # Errors
/// [`Error::Database`].
pub async fn origins_open(db: &Db) -> Result<Vec<String>, Error> {
    const SQL: &str = "SELECT origin FROM ledger_head WHERE closed_at IS NULL ORDER BY origin";
    Ok(read!(db, pool => sqlx::query_scalar::<_, String>(SQL).fetch_all(pool).await?))
}
