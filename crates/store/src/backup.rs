//! What a backup needs of a database: one state of it that does not move, and what logs it holds then.

use std::path::Path;

use sqlx::Transaction;
use unefois_core::Micros;
use unefois_tlog::Hash;

use crate::head::Marks;
use crate::{Component, Db, Error, Postgres, read, to_array, to_u64};

/// One log as a database holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogState {
    /// Which.
    pub origin: String,
    /// How many entries it has.
    pub size: u64,
    /// Their root.
    pub root: Hash,
    /// The signed checkpoint; empty before the first entry.
    pub checkpoint: String,
    /// What an operator did to it.
    pub marks: Marks,
}

/// How far the schema of a database is.
pub type SchemaVersions = Vec<(String, i64)>;

/// One state of a PostgreSQL database that another session can take up, as long as this lives.
#[derive(Debug)]
pub struct Snapshot {
    /// What `pg_dump --snapshot` takes.
    pub id: String,
    /// The schema that the tables are in.
    pub schema: String,
    /// The logs of that state.
    pub logs: Vec<LogState>,
    _held: Transaction<'static, sqlx::Postgres>,
}

type Row = (String, i64, Vec<u8>, String, Option<i64>, Option<i64>);

const LOGS: &str =
    "SELECT origin, size, root, checkpoint, closed_at, restored_at FROM ledger_head ORDER BY origin";

fn state((origin, size, root, checkpoint, closed_at, restored_at): Row) -> Result<LogState, Error> {
    Ok(LogState {
        origin,
        size: to_u64(size, "ledger_head.size")?,
        root: Hash::new(to_array(root, "ledger_head.root")?),
        checkpoint,
        marks: Marks {
            closed_at: closed_at.map(Micros::new),
            restored_at: restored_at.map(Micros::new),
        },
    })
}

impl Db {
    /// The logs that the database holds, by origin.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Corrupt`].
    pub async fn log_states(&self) -> Result<Vec<LogState>, Error> {
        let rows = read!(self, pool => sqlx::query_as::<_, Row>(LOGS).fetch_all(pool).await?);
        rows.into_iter().map(state).collect()
    }

    /// The last migration of each of the component's tables of them.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn schema_versions(&self, component: Component) -> Result<SchemaVersions, Error> {
        const LEDGER: &str = "SELECT MAX(version) FROM migration_ledger";
        const NODE: &str = "SELECT MAX(version) FROM migration_node";
        const AUTHORITY: &str = "SELECT MAX(version) FROM migration_authority";
        let own = match component {
            Component::Node => ("migration_node", NODE),
            Component::Authority => ("migration_authority", AUTHORITY),
        };
        let mut versions = Vec::new();
        for (table, sql) in [("migration_ledger", LEDGER), own] {
            let version =
                read!(self, pool => sqlx::query_scalar::<_, Option<i64>>(sql).fetch_one(pool).await?);
            versions.push((table.to_owned(), version.unwrap_or_default()));
        }
        Ok(versions)
    }

    /// Writes the state that a SQLite database has now to the file `path`, which must be empty or absent. The process
    /// that uses the database goes on.
    ///
    /// # Errors
    /// [`Error::Database`]; [`Error::Url`] on PostgreSQL.
    pub async fn copy_to(&self, path: &Path) -> Result<(), Error> {
        let Self::Sqlite(sqlite) = self else {
            return Err(Error::Url(None));
        };
        let path = path.to_str().ok_or(Error::Url(None))?;
        sqlx::query("VACUUM INTO $1")
            .bind(path)
            .execute(&sqlite.ro)
            .await?;
        Ok(())
    }

    /// Holds the state that a PostgreSQL database has now.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Corrupt`]; [`Error::Url`] on SQLite.
    pub async fn snapshot(&self) -> Result<Snapshot, Error> {
        let Self::Postgres(Postgres { pool, .. }) = self else {
            return Err(Error::Url(None));
        };
        let mut tx = pool
            .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await?;
        // It is held as long as the dump takes.
        sqlx::query("SET LOCAL idle_in_transaction_session_timeout = 0")
            .execute(&mut *tx)
            .await?;
        const EXPORT: &str = "SELECT pg_export_snapshot(), current_schema()";
        let (id, schema): (String, String) = sqlx::query_as(EXPORT).fetch_one(&mut *tx).await?;
        let rows: Vec<Row> = sqlx::query_as(LOGS).fetch_all(&mut *tx).await?;
        let logs = rows.into_iter().map(state).collect::<Result<_, _>>()?;
        Ok(Snapshot {
            id,
            schema,
            logs,
            _held: tx,
        })
    }
}
