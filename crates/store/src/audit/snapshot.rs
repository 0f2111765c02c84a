//! The views in a SQLite file of their own, for whoever has no PostgreSQL or is not to have it.

use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};
use unefois_core::Event;

use super::definitions;
use super::view::Dialect;
use crate::entry::Columns;
use crate::page::entry_page;
use crate::{Db, Error, read, to_i64};

/// Entries copied at once.
const PAGE: u64 = 2_048;
/// The tables under the views: what they read, and nothing else.
const TABLES: &str = "\
    CREATE TABLE ledger_head (log INTEGER PRIMARY KEY, origin TEXT NOT NULL UNIQUE, size INTEGER NOT NULL, \
    root BLOB NOT NULL, at INTEGER NOT NULL, checkpoint TEXT NOT NULL);\
    CREATE TABLE ledger_name (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);\
    CREATE TABLE ledger_entry (log INTEGER NOT NULL, idx INTEGER NOT NULL, at INTEGER NOT NULL, event INTEGER NOT NULL, \
    outcome INTEGER, units INTEGER NOT NULL, exchange_id BLOB, requester INTEGER, provider INTEGER, holder INTEGER, \
    publisher INTEGER, datatype INTEGER, demarche INTEGER, habilitation INTEGER, legal_basis INTEGER, reason INTEGER, \
    capacity INTEGER, acr INTEGER, entry BLOB NOT NULL, PRIMARY KEY (log, idx)) WITHOUT ROWID;\
    CREATE TABLE ledger_evidence (log INTEGER NOT NULL, idx INTEGER NOT NULL, body BLOB NOT NULL, \
    PRIMARY KEY (log, idx)) WITHOUT ROWID;";

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Something is there already, and is not overwritten.
    #[error("the file exists")]
    Exists,
    /// The file cannot be written.
    #[error("the file cannot be written")]
    File(#[source] std::io::Error),
    /// The database that is copied cannot be read.
    #[error("the database cannot be read")]
    Read(#[from] Error),
    /// The copy cannot be written.
    #[error("the copy cannot be written")]
    Write(#[source] sqlx::Error),
}

/// Copies what the views show of `db` into a new SQLite file at `to`, which its owner alone may read. It takes its name once it
/// is whole. `progress` is called with the entries copied and their number.
///
/// # Errors
/// [`SnapshotError`]: nothing is at `to`.
pub async fn audit_snapshot(
    db: &Db,
    to: &Path,
    mut progress: impl FnMut(u64, u64),
) -> Result<(), SnapshotError> {
    if to.try_exists().map_err(SnapshotError::File)? {
        return Err(SnapshotError::Exists);
    }
    let mut partial = to.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    // What an earlier attempt left.
    match std::fs::remove_file(&partial) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(SnapshotError::File(e)),
        Ok(()) | Err(_) => {}
    }
    let copied = copy(db, &partial, &mut progress).await;
    let named = match copied {
        Ok(()) => seal(&partial, to),
        Err(e) => Err(e),
    };
    if named.is_err() {
        // It is worth nothing; the reason that is told is the first one.
        let _removed = std::fs::remove_file(&partial);
    }
    named
}

/// Makes the file read-only and gives it its name, unless that was taken meanwhile.
fn seal(partial: &Path, to: &Path) -> Result<(), SnapshotError> {
    std::fs::set_permissions(partial, Permissions::from_mode(0o400)).map_err(SnapshotError::File)?;
    match std::fs::hard_link(partial, to) {
        Ok(()) => std::fs::remove_file(partial).map_err(SnapshotError::File),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Err(SnapshotError::Exists),
        Err(e) => Err(SnapshotError::File(e)),
    }
}

type HeadRow = (i32, String, i64, Vec<u8>, i64, String);

async fn copy(db: &Db, file: &Path, progress: &mut impl FnMut(u64, u64)) -> Result<(), SnapshotError> {
    const HEADS: &str = "SELECT log, origin, size, root, at, checkpoint FROM ledger_head ORDER BY log";
    const NAMES: &str = "SELECT id, name FROM ledger_name ORDER BY id";
    // Its owner's alone from the first byte on, whatever the process's umask.
    let created = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file);
    created.map(drop).map_err(SnapshotError::File)?;
    let options = SqliteConnectOptions::new()
        .filename(file)
        .journal_mode(SqliteJournalMode::Off);
    let mut conn = SqliteConnection::connect_with(&options)
        .await
        .map_err(SnapshotError::Write)?;
    execute(&mut conn, TABLES).await?;
    // Heads first: what is below them never changes, whatever is written meanwhile.
    let heads =
        read!(db, pool => sqlx::query_as::<_, HeadRow>(HEADS).fetch_all(pool).await.map_err(Error::from)?);
    let total = heads.iter().map(|(_, _, size, ..)| size.unsigned_abs()).sum();
    let mut done = 0;
    for (log, origin, size, root, at, checkpoint) in heads {
        const INSERT: &str = "INSERT INTO ledger_head (log, origin, size, root, at, checkpoint) VALUES ($1, $2, $3, $4, $5, $6)";
        let head = sqlx::query(INSERT)
            .bind(log)
            .bind(origin)
            .bind(size)
            .bind(root)
            .bind(at)
            .bind(checkpoint);
        head.execute(&mut conn).await.map_err(SnapshotError::Write)?;
        let size = size.unsigned_abs();
        for start in (0..size).step_by(usize::try_from(PAGE).unwrap_or(usize::MAX)) {
            let end = size.min(start + PAGE);
            let page = entry_page(db, log, start, end).await?;
            let mut tx = conn.begin().await.map_err(SnapshotError::Write)?;
            for row in page.rows() {
                insert(&mut tx, log, row).await?;
            }
            tx.commit().await.map_err(SnapshotError::Write)?;
            done += end - start;
            progress(done, total);
        }
        evidence(db, &mut conn, log, size).await?;
    }
    for (id, name) in read!(db, pool => sqlx::query_as::<_, (i32, String)>(NAMES).fetch_all(pool).await.map_err(Error::from)?)
    {
        const INSERT: &str = "INSERT INTO ledger_name (id, name) VALUES ($1, $2)";
        let inserted = sqlx::query(INSERT).bind(id).bind(name).execute(&mut conn).await;
        inserted.map_err(SnapshotError::Write)?;
    }
    execute(&mut conn, &definitions(Dialect::Sqlite)).await?;
    conn.close().await.map_err(SnapshotError::Write)
}

async fn insert(
    conn: &mut SqliteConnection,
    log: i32,
    (idx, c, entry): (u64, &Columns, &[u8]),
) -> Result<(), SnapshotError> {
    const SQL: &str = "INSERT INTO ledger_entry (log, idx, at, event, outcome, units, exchange_id, requester, provider, \
         holder, publisher, datatype, demarche, habilitation, legal_basis, reason, capacity, acr, entry) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)";
    let query = sqlx::query(SQL)
        .bind(log)
        .bind(to_i64(idx)?)
        .bind(c.at)
        .bind(c.event)
        .bind(c.outcome)
        .bind(c.units)
        .bind(c.exchange_id)
        .bind(c.requester)
        .bind(c.provider)
        .bind(c.holder)
        .bind(c.publisher)
        .bind(c.datatype)
        .bind(c.demarche)
        .bind(c.habilitation)
        .bind(c.legal_basis)
        .bind(c.reason)
        .bind(c.capacity)
        .bind(c.acr)
        .bind(entry);
    query.execute(conn).await.map(drop).map_err(SnapshotError::Write)
}

/// The texts of the views: counts and notices of erasure, which are about nobody; no salt, nobody's question.
async fn evidence(db: &Db, conn: &mut SqliteConnection, log: i32, size: u64) -> Result<(), SnapshotError> {
    const SQL: &str = "SELECT v.idx, v.body FROM ledger_evidence v JOIN ledger_entry e ON e.log = v.log AND e.idx = v.idx \
         WHERE v.log = $1 AND v.idx >= $2 AND v.idx < $3 AND e.event IN ($4, $5) ORDER BY v.idx LIMIT 1000";
    const INSERT: &str = "INSERT INTO ledger_evidence (log, idx, body) VALUES ($1, $2, $3)";
    let [tally, erased] = [Event::Tally, Event::Erased].map(|event| i16::from(event.code()));
    let (mut next, size) = (0, to_i64(size)?);
    loop {
        let rows = read!(db, pool => sqlx::query_as::<_, (i64, Vec<u8>)>(SQL)
            .bind(log).bind(next).bind(size).bind(tally).bind(erased).fetch_all(pool).await.map_err(Error::from)?);
        let Some((last, _)) = rows.last() else {
            return Ok(());
        };
        next = last + 1;
        for (idx, body) in rows {
            let inserted = sqlx::query(INSERT)
                .bind(log)
                .bind(idx)
                .bind(body)
                .execute(&mut *conn)
                .await;
            inserted.map_err(SnapshotError::Write)?;
        }
    }
}

async fn execute(conn: &mut SqliteConnection, sql: &str) -> Result<(), SnapshotError> {
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(conn).await;
    done.map(drop).map_err(SnapshotError::Write)
}
