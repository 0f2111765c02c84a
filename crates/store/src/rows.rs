//! Many rows in one statement on SQLite, whose statements are cached by their text: only a few texts are made.

use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{AssertSqlSafe, Execute as _, Postgres, Sqlite};

use crate::Error;

/// How many rows one statement may have; SQLite takes 32,766 parameters.
const SIZES: [usize; 4] = [256, 32, 4, 1];
/// From how many rows on a statement is executed alone: below, the way to SQLite's thread and back costs more than it.
const ALONE: usize = 32;

pub(crate) type PgQuery<'q> = Query<'q, Postgres, PgArguments>;
pub(crate) type SqliteQuery = Query<'static, Sqlite, SqliteArguments>;

/// Statements for one transaction, the small ones executed together.
#[derive(Default)]
pub(crate) struct Script {
    sql: String,
    query: Option<SqliteQuery>,
    affected: u64,
}

impl Script {
    /// Adds `head (…), (…) tail` over `rows`, each of `columns` parameters that `bind` adds.
    pub(crate) async fn insert<T>(
        &mut self,
        conn: &mut SqliteConnection,
        (head, tail): (&'static str, &'static str),
        columns: usize,
        rows: &[T],
        bind: impl Fn(SqliteQuery, &T) -> SqliteQuery,
    ) -> Result<(), Error> {
        for chunk in chunks(rows) {
            let row = format!("({})", vec!["?"; columns].join(", "));
            let sql = format!("{head} {} {tail};", vec![row; chunk.len()].join(", "));
            if chunk.len() < ALONE {
                self.add(&sql, |query| chunk.iter().fold(query, &bind));
            } else {
                self.flush(&mut *conn).await?;
                let query = chunk.iter().fold(sqlx::query(AssertSqlSafe(sql)), &bind);
                self.affected += query.execute(&mut *conn).await?.rows_affected();
            }
        }
        Ok(())
    }

    /// Adds one statement, whose parameters are all `?`.
    pub(crate) fn add(&mut self, sql: &str, bind: impl FnOnce(SqliteQuery) -> SqliteQuery) {
        self.sql += sql;
        self.query = Some(bind(self.query.take().unwrap_or_else(|| sqlx::query(""))));
    }

    /// Executes what waits.
    async fn flush(&mut self, conn: &mut SqliteConnection) -> Result<(), Error> {
        if let Some(mut query) = self.query.take() {
            let sql = AssertSqlSafe(std::mem::take(&mut self.sql));
            let arguments = query.take_arguments().map_err(sqlx::Error::Encode)?;
            let query = sqlx::query_with(sql, arguments.unwrap_or_default());
            self.affected += query.execute(conn).await?.rows_affected();
        }
        Ok(())
    }

    /// Executes what waits; the rows affected by all of it.
    pub(crate) async fn end(mut self, conn: &mut SqliteConnection) -> Result<u64, Error> {
        self.flush(conn).await?;
        Ok(self.affected)
    }

    /// Executes what waits; how many rows it returned.
    pub(crate) async fn returned(mut self, conn: &mut SqliteConnection) -> Result<usize, Error> {
        let Some(mut query) = self.query.take() else {
            return Ok(0);
        };
        let arguments = query.take_arguments().map_err(sqlx::Error::Encode)?;
        let query = sqlx::query_with(AssertSqlSafe(self.sql), arguments.unwrap_or_default());
        Ok(query.fetch_all(conn).await?.len())
    }
}

/// Cuts `rows` into pieces of the few sizes above.
pub(crate) fn chunks<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = SIZES.into_iter().find(|size| *size <= rows.len())?;
        let (chunk, rest) = rows.split_at(size);
        rows = rest;
        Some(chunk)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_have_few_sizes_and_lose_nothing() {
        let rows: Vec<u32> = (0..1_000).collect();
        for len in [0, 1, 3, 4, 5, 31, 300, 1_000] {
            let cut: Vec<&[u32]> = chunks(&rows[..len]).collect();
            assert!(cut.iter().all(|chunk| SIZES.contains(&chunk.len())));
            assert_eq!(cut.concat(), rows[..len]);
        }
    }
}
