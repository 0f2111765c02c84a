//! A connection behind the store's back: what is bare or raw goes through no code of ours.

use std::str::FromStr as _;

use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, SqliteConnection};

use crate::Error;

pub(crate) enum Sql {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

impl Sql {
    /// Connects with the settings that the store writes with.
    pub(crate) async fn open(url: &str) -> Result<Self, Error> {
        if url.starts_with("sqlite:") {
            let options = SqliteConnectOptions::from_str(url)?
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .pragma("secure_delete", "ON")
                .pragma("cache_size", "-65536")
                .pragma("wal_autocheckpoint", "4096");
            Ok(Self::Sqlite(options.connect().await?))
        } else {
            let options = PgConnectOptions::from_str(url)?;
            let options = options.options([("plan_cache_mode", "force_generic_plan")]);
            Ok(Self::Postgres(options.connect().await?))
        }
    }

    pub(crate) async fn execute(&mut self, sql: &str) -> Result<(), Error> {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Postgres(c) => sqlx::raw_sql(sql).execute(c).await.map(drop)?,
            Self::Sqlite(c) => sqlx::raw_sql(sql).execute(c).await.map(drop)?,
        }
        Ok(())
    }

    pub(crate) async fn number(&mut self, sql: &str) -> Result<i64, Error> {
        let sql = AssertSqlSafe(sql.to_owned());
        Ok(match self {
            Self::Postgres(c) => sqlx::query_scalar(sql).fetch_one(c).await?,
            Self::Sqlite(c) => sqlx::query_scalar(sql).fetch_one(c).await?,
        })
    }

    pub(crate) async fn version(&mut self) -> Result<String, Error> {
        Ok(match self {
            Self::Postgres(c) => sqlx::query_scalar("SHOW server_version").fetch_one(c).await?,
            Self::Sqlite(c) => sqlx::query_scalar("SELECT sqlite_version()").fetch_one(c).await?,
        })
    }

    pub(crate) async fn close(self) -> Result<(), Error> {
        match self {
            Self::Postgres(c) => c.close().await?,
            Self::Sqlite(c) => c.close().await?,
        }
        Ok(())
    }
}

/// Cuts `rows` into pieces of the few sizes that multi-row statements are made for.
pub(crate) fn chunks<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = [256, 32, 4, 1].into_iter().find(|size| *size <= rows.len())?;
        let (chunk, rest) = rows.split_at(size);
        rows = rest;
        Some(chunk)
    })
}

/// `head (?, …), (?, …)`: a statement of `rows` rows of `columns` parameters.
pub(crate) fn values(head: &str, columns: usize, rows: usize) -> AssertSqlSafe<String> {
    let row = format!("({})", vec!["?"; columns].join(", "));
    AssertSqlSafe(format!("{head} VALUES {}", vec![row; rows].join(", ")))
}
