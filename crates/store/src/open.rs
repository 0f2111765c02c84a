//! Opening a database, with the checks without which an acknowledged write could be lost.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use tokio::sync::Mutex;

use crate::migration::{Component, migrate};
use crate::writer::{STALE, Writer};
use crate::{Db, Error, Postgres, Sqlite};

/// The first PostgreSQL that is supported, as `server_version_num` writes it.
const POSTGRES_15: i32 = 150_000;
/// How long a call waits for a free connection.
pub(crate) const ACQUIRE: Duration = Duration::from_secs(2);
/// SQLite's page cache for writing, in KiB: the pages that batches touch, keys of an index's present bucket among them.
const WRITER_CACHE: &str = "-65536";
/// After how many pages in SQLite's WAL they go into the file: the more, the more batches share the writing of a page.
const CHECKPOINT: &str = "4096";
/// How many rows SQLite's thread may be ahead of who reads them: each time it waits costs more than a row.
const ROWS: usize = 1_024;

impl Db {
    /// Opens `url` (`postgres://…` or `sqlite:PATH`) for `component` and brings its schema up to date.
    ///
    /// # Errors
    /// [`Error::Version`], [`Error::NotDurable`] and [`Error::UnknownSchema`] are refusals to start on this
    /// database; [`Error::Locked`] says that another process has the SQLite file.
    pub async fn open(url: &str, component: Component) -> Result<Self, Error> {
        let db = match Scheme::of(url)? {
            Scheme::Postgres => Self::open_postgres(url, Access::Own).await?,
            Scheme::Sqlite => Self::open_sqlite(url, Access::Own).await?,
        };
        migrate(&db, component).await?;
        Ok(db)
    }

    /// Opens `url` to write a few rows beside the process whose database it is, or without it: nothing is created or
    /// migrated, and a SQLite file is not locked for longer than a transaction.
    ///
    /// # Errors
    /// As [`Db::open`]; [`Error::NoLog`] if the database holds no tables of `component`.
    pub async fn open_beside(url: &str, component: Component) -> Result<Self, Error> {
        let db = match Scheme::of(url)? {
            Scheme::Postgres => Self::open_postgres(url, Access::Beside).await?,
            Scheme::Sqlite => Self::open_sqlite(url, Access::Beside).await?,
        };
        match db.component().await? {
            Some(found) if found == component => Ok(db),
            Some(_) | None => Err(Error::NoLog),
        }
    }

    /// Opens `url` for reading alone, beside the process that writes it. Nothing is created, migrated or locked.
    ///
    /// # Errors
    /// As [`Db::open`].
    pub async fn open_for_reading(url: &str) -> Result<Self, Error> {
        match Scheme::of(url)? {
            Scheme::Postgres => Self::open_postgres(url, Access::Read).await,
            Scheme::Sqlite => Self::open_sqlite(url, Access::Read).await,
        }
    }

    /// Opens `url` for writing, as the process does that the database is of, and says of which component it is; nothing is
    /// made.
    ///
    /// # Errors
    /// As [`Db::open`]; [`Error::NoLog`] if the database holds none.
    pub async fn open_existing(url: &str) -> Result<(Self, Component), Error> {
        let reader = Self::open_for_reading(url).await?;
        let component = reader.component().await;
        reader.close().await;
        let component = component?.ok_or(Error::NoLog)?;
        Ok((Self::open(url, component).await?, component))
    }

    /// Whose tables the database holds; `None` where nothing was made in it.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn component(&self) -> Result<Option<Component>, Error> {
        for (component, table) in [
            (Component::Authority, "migration_authority"),
            (Component::Node, "migration_node"),
        ] {
            const POSTGRES: &str = "SELECT to_regclass($1) IS NOT NULL";
            const SQLITE: &str = "SELECT COUNT(*) > 0 FROM sqlite_master WHERE name = $1";
            let found: bool = match self {
                Self::Postgres(Postgres { pool, .. }) => {
                    sqlx::query_scalar(POSTGRES).bind(table).fetch_one(pool).await?
                }
                Self::Sqlite(file) => {
                    sqlx::query_scalar(SQLITE)
                        .bind(table)
                        .fetch_one(file.readers())
                        .await?
                }
            };
            if found {
                return Ok(Some(component));
            }
        }
        Ok(None)
    }

    /// Whether what PostgreSQL acknowledges is on a second server by then.
    ///
    /// # Errors
    /// [`Error::Standby`] says what is missing; on SQLite there is no standby.
    pub async fn check_standby(&self) -> Result<(), Error> {
        let Self::Postgres(Postgres { pool, .. }) = self else {
            return Err(Error::Standby("SQLite has none"));
        };
        const SQL: &str = "SELECT current_setting('synchronous_standby_names') <> '', \
             current_setting('synchronous_commit') IN ('on', 'remote_apply'), \
             (SELECT COUNT(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')) > 0, \
             pg_has_role('pg_monitor', 'USAGE')";
        let (named, waits, attached, sees): (bool, bool, bool, bool) =
            sqlx::query_as(SQL).fetch_one(pool).await?;
        match (named, waits, attached, sees) {
            (false, ..) => Err(Error::Standby("synchronous_standby_names is empty")),
            (_, false, ..) => Err(Error::Standby(
                "synchronous_commit is neither on nor remote_apply",
            )),
            (.., false, false) => Err(Error::Standby(
                "it cannot be seen; type: GRANT pg_monitor TO this role",
            )),
            (.., false, true) => Err(Error::Standby("none is attached in state sync or quorum")),
            (true, true, true, _) => Ok(()),
        }
    }

    async fn open_postgres(url: &str, access: Access) -> Result<Self, Error> {
        let write = access != Access::Read;
        let options = PgConnectOptions::from_str(url).map_err(|e| Error::Url(Some(e)))?;
        // A replica that is stuck inside a transaction must not block another's batch; on a Unix socket the server
        // ignores tcp_user_timeout.
        let options = options.application_name("unefois").options([
            ("idle_in_transaction_session_timeout", "2s"),
            ("tcp_user_timeout", "2000"),
            // What a failed statement carried stays out of the server's log, whatever that is set to.
            ("log_parameter_max_length_on_error", "0"),
            ("default_transaction_read_only", if write { "off" } else { "on" }),
            // Each statement reads a few rows, and the server's estimate of some is high enough that it would compile
            // them, at tens of milliseconds each time.
            ("jit", "off"),
        ]);
        let pool = PgPoolOptions::new()
            .max_connections(7)
            .acquire_timeout(ACQUIRE)
            // A round trip before each use would cost as much as most of them.
            .test_before_acquire(false)
            .before_acquire(|conn, idle| {
                Box::pin(async move {
                    if idle.idle_for >= STALE {
                        conn.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_with(options)
            .await?;
        const SETTINGS: &str = "SELECT current_setting('server_version_num')::int, current_setting('fsync'), \
             current_setting('full_page_writes'), current_setting('synchronous_commit'), pg_is_in_recovery()";
        type Settings = (i32, String, String, String, bool);
        let (version, fsync, full_page_writes, synchronous_commit, recovery): Settings =
            sqlx::query_as(SETTINGS).fetch_one(&pool).await?;
        if write && recovery {
            return Err(Error::Recovery);
        }
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
        Ok(Self::Postgres(Postgres {
            writer: Arc::new(Mutex::new(Writer::new(&pool.connect_options()))),
            pool,
        }))
    }

    async fn open_sqlite(url: &str, access: Access) -> Result<Self, Error> {
        let write = access != Access::Read;
        let options = SqliteConnectOptions::from_str(url).map_err(|e| Error::Url(Some(e)))?;
        let path = options.get_filename().to_owned();
        let lock = match access {
            Access::Own => Some(Arc::new(lock_beside(&path)?)),
            Access::Beside | Access::Read => None,
        };
        let options = options.busy_timeout(ACQUIRE);
        let writer = options
            .clone()
            .create_if_missing(access == Access::Own)
            .read_only(!write)
            .foreign_keys(true);
        let writer = match write {
            true => writer
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                // What is deleted is overwritten: an erased secret would else stay in a page that waits for reuse.
                .pragma("secure_delete", "ON")
                .pragma("cache_size", WRITER_CACHE)
                .pragma("wal_autocheckpoint", CHECKPOINT),
            false => writer,
        };
        let pool = SqlitePoolOptions::new()
            .acquire_timeout(ACQUIRE)
            // Nothing lies between this process and its file.
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None);
        let rw = pool
            .clone()
            .max_connections(1)
            // After a write error SQLite may have rolled back by itself; the driver, whose ROLLBACK then fails, believes
            // for ever that the transaction is open, and begins no other on this connection.
            .before_acquire(|conn, _| Box::pin(async move { Ok(!conn.is_in_transaction()) }))
            .connect_with(writer)
            .await?;
        let ro = pool
            .max_connections(4)
            .connect_with(options.read_only(true).row_buffer_size(ROWS))
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

/// What a database is opened for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    /// By the process whose database it is.
    Own,
    /// To write beside that process.
    Beside,
    /// To read beside that process.
    Read,
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
