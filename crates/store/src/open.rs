//! Opening a database, with the checks without which an acknowledged write could be lost.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use crate::migration::{Component, migrate};
use crate::{Db, Error, Sqlite};

/// The first PostgreSQL that is supported, as `server_version_num` writes it.
const POSTGRES_15: i32 = 150_000;
/// How long a call waits for a free connection.
const ACQUIRE: Duration = Duration::from_secs(2);

impl Db {
    /// Opens `url` (`postgres://…` or `sqlite:PATH`) for `component` and brings its schema up to date.
    ///
    /// # Errors
    /// [`Error::Version`], [`Error::NotDurable`] and [`Error::UnknownSchema`] are refusals to start on this
    /// database; [`Error::Locked`] says that another process has the SQLite file.
    pub async fn open(url: &str, component: Component) -> Result<Self, Error> {
        let db = match Scheme::of(url)? {
            Scheme::Postgres => Self::open_postgres(url, true).await?,
            Scheme::Sqlite => Self::open_sqlite(url, true).await?,
        };
        migrate(&db, component).await?;
        Ok(db)
    }

    /// Opens `url` for reading alone, beside the process that writes it. Nothing is created, migrated or locked.
    ///
    /// # Errors
    /// As [`Db::open`].
    pub async fn open_for_reading(url: &str) -> Result<Self, Error> {
        match Scheme::of(url)? {
            Scheme::Postgres => Self::open_postgres(url, false).await,
            Scheme::Sqlite => Self::open_sqlite(url, false).await,
        }
    }

    async fn open_postgres(url: &str, write: bool) -> Result<Self, Error> {
        let options = PgConnectOptions::from_str(url).map_err(|e| Error::Url(Some(e)))?;
        // A replica that is stuck inside a transaction must not block another's batch; on a Unix socket the server
        // ignores tcp_user_timeout.
        let options = options.application_name("unefois").options([
            ("idle_in_transaction_session_timeout", "2s"),
            ("tcp_user_timeout", "2000"),
            ("default_transaction_read_only", if write { "off" } else { "on" }),
        ]);
        let pool = PgPoolOptions::new()
            .max_connections(8)
            .acquire_timeout(ACQUIRE)
            .connect_with(options)
            .await?;
        const SETTINGS: &str = "SELECT current_setting('server_version_num')::int, current_setting('fsync'), \
             current_setting('full_page_writes'), current_setting('synchronous_commit')";
        let (version, fsync, full_page_writes, synchronous_commit): (i32, String, String, String) =
            sqlx::query_as(SETTINGS).fetch_one(&pool).await?;
        if version < POSTGRES_15 {
            return Err(Error::Version(version / 10_000));
        }
        for (name, value) in [
            ("fsync", fsync),
            ("full_page_writes", full_page_writes),
            ("synchronous_commit", synchronous_commit),
        ] {
            if value == "off" {
                return Err(Error::NotDurable(name));
            }
        }
        Ok(Self::Postgres(pool))
    }

    async fn open_sqlite(url: &str, write: bool) -> Result<Self, Error> {
        let options = SqliteConnectOptions::from_str(url).map_err(|e| Error::Url(Some(e)))?;
        let path = options.get_filename().to_owned();
        let lock = match write {
            true => Some(Arc::new(lock_beside(&path)?)),
            false => None,
        };
        let options = options.busy_timeout(ACQUIRE);
        let writer = options
            .clone()
            .create_if_missing(write)
            .read_only(!write)
            .foreign_keys(true);
        let writer = match write {
            true => writer
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                // What is deleted is overwritten: an erased secret would else stay in a page that waits for reuse.
                .pragma("secure_delete", "ON"),
            false => writer,
        };
        let pool = SqlitePoolOptions::new()
            .acquire_timeout(ACQUIRE)
            .idle_timeout(None)
            .max_lifetime(None);
        let rw = pool.clone().max_connections(1).connect_with(writer).await?;
        let ro = pool
            .max_connections(4)
            .connect_with(options.read_only(true))
            .await?;
        let file = std::fs::metadata(&path).map_err(|_| Error::Replaced)?;
        Ok(Self::Sqlite(Sqlite {
            rw,
            ro,
            path,
            inode: (file.dev(), file.ino()),
            lock,
        }))
    }
}

enum Scheme {
    Postgres,
    Sqlite,
}

impl Scheme {
    fn of(url: &str) -> Result<Self, Error> {
        match url.split_once(':') {
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres),
            Some(("sqlite", _)) => Ok(Self::Sqlite),
            Some(_) | None => Err(Error::Url(None)),
        }
    }
}

/// Locks `PATH.lock`: SQLite's own locks keep two processes from writing at once, not from taking turns.
fn lock_beside(path: &Path) -> Result<File, Error> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(beside)
        .map_err(Error::LockFile)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked),
        Err(TryLockError::Error(e)) => Err(Error::LockFile(e)),
    }
}
