use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sqlx::{PgPool, SqlitePool, Transaction};
use tokio::sync::Mutex;

use crate::Error;
use crate::writer::Writer;

/// An open database; clones share it.
#[derive(Clone, Debug)]
pub enum Db {
    /// A PostgreSQL database, which other replicas may use too.
    Postgres(Postgres),
    /// A SQLite file, which this process alone uses.
    Sqlite(Sqlite),
}

/// A PostgreSQL database: connections for whoever asks, and one for the batches of the ledger.
#[derive(Clone, Debug)]
pub struct Postgres {
    pub(crate) pool: PgPool,
    pub(crate) writer: Arc<Mutex<Writer>>,
}

/// A SQLite file: one connection that writes, several that read.
#[derive(Clone, Debug)]
pub struct Sqlite {
    pub(crate) rw: SqlitePool,
    pub(crate) ro: SqlitePool,
    pub(crate) path: PathBuf,
    /// Device and inode of the file when it was opened.
    pub(crate) inode: (u64, u64),
    /// Held locked as long as the database is open; `None` for a reader's handle.
    pub(crate) lock: Option<Arc<File>>,
}

impl Sqlite {
    pub(crate) const fn readers(&self) -> &SqlitePool {
        &self.ro
    }

    /// SQLite goes on acknowledging commits to a file that was deleted or replaced: nobody would ever read them.
    pub(crate) fn check_file(&self) -> Result<(), Error> {
        match std::fs::metadata(&self.path) {
            Ok(file) if (file.dev(), file.ino()) == self.inode => Ok(()),
            Ok(_) | Err(_) => Err(Error::Replaced),
        }
    }
}

/// A transaction; dropped without [`Tx::commit`], it is rolled back.
#[derive(Debug)]
pub enum Tx {
    /// On PostgreSQL, at `READ COMMITTED`.
    Postgres(Transaction<'static, sqlx::Postgres>),
    /// On SQLite, the only writer.
    Sqlite(Transaction<'static, sqlx::Sqlite>),
}

impl Db {
    /// Begins a transaction that may write.
    ///
    /// # Errors
    /// [`Error::Database`]; [`Error::Replaced`] on SQLite.
    pub async fn begin(&self) -> Result<Tx, Error> {
        match self {
            Self::Postgres(postgres) => Ok(Tx::Postgres(postgres.pool.begin().await?)),
            Self::Sqlite(sqlite) => {
                sqlite.check_file()?;
                Ok(Tx::Sqlite(sqlite.rw.begin_with("BEGIN IMMEDIATE").await?))
            }
        }
    }

    /// Whether what was committed is where a later start will read it: on SQLite, that the file is still the one
    /// that was opened.
    ///
    /// # Errors
    /// [`Error::Replaced`].
    pub fn check_file(&self) -> Result<(), Error> {
        match self {
            Self::Postgres(_) => Ok(()),
            Self::Sqlite(sqlite) => sqlite.check_file(),
        }
    }

    /// How many bytes the file system of a SQLite file has left for it; `None` on PostgreSQL, whose disk is its own
    /// server's to watch.
    ///
    /// # Errors
    /// [`Error::Replaced`] if the folder cannot be asked.
    pub fn free_bytes(&self) -> Result<Option<u64>, Error> {
        match self {
            Self::Postgres(_) => Ok(None),
            Self::Sqlite(sqlite) => {
                let folder = sqlite
                    .path
                    .parent()
                    .filter(|folder| !folder.as_os_str().is_empty());
                let folder = folder.unwrap_or(Path::new("."));
                let disk = rustix::fs::statvfs(folder).map_err(|_| Error::Replaced)?;
                Ok(Some(disk.f_bavail.saturating_mul(disk.f_frsize)))
            }
        }
    }

    /// How many connections other processes of this program have to the database: the replicas that run. None on SQLite,
    /// where one process alone has the file.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn others(&self) -> Result<u64, Error> {
        const SQL: &str = "SELECT COUNT(*) FROM pg_stat_activity \
             WHERE datname = current_database() AND application_name = 'unefois'";
        match self {
            Self::Postgres(postgres) => {
                let all: i64 = sqlx::query_scalar(SQL).fetch_one(&postgres.pool).await?;
                // One that is in use is there.
                let writes = postgres
                    .writer
                    .try_lock()
                    .map_or(true, |writer| writer.is_connected());
                let own = u64::from(postgres.pool.size()) + u64::from(writes);
                Ok(crate::to_u64(all, "a count")?.saturating_sub(own))
            }
            Self::Sqlite(_) => Ok(0),
        }
    }

    /// Closes every connection, waiting for those in use.
    pub async fn close(&self) {
        match self {
            Self::Postgres(postgres) => {
                postgres.writer.lock().await.close().await;
                postgres.pool.close().await;
            }
            Self::Sqlite(sqlite) => {
                sqlite.ro.close().await;
                sqlite.rw.close().await;
                if let Some(lock) = &sqlite.lock {
                    // Closing the file would free it too; clones of this handle may live on.
                    let _freed = lock.unlock();
                }
            }
        }
    }
}

impl Tx {
    /// Commits. Once this returns `Ok`, what was written survives a crash.
    ///
    /// # Errors
    /// After [`Error::Database`] nobody knows whether the transaction took effect.
    pub async fn commit(self) -> Result<(), Error> {
        match self {
            Self::Postgres(tx) => Ok(tx.commit().await?),
            Self::Sqlite(tx) => Ok(tx.commit().await?),
        }
    }
}
