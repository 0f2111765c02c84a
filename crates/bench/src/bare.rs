//! The bare limit: the bytes of all rows of an append in one row, primary key only, durable.

use sqlx::Connection as _;

use crate::Error;
use crate::sql::{Sql, chunks, values};

/// Columns beside an entry's own bytes, the claim, the handle's and the person's index rows, the secret's: what their
/// values take without any row or page overhead.
const BESIDE_ENTRY: usize = 106 + 127 + 32 + 32 + 60;

pub(crate) struct Bare {
    next: i64,
    row: Vec<u8>,
}

impl Bare {
    pub(crate) async fn new(sql: &mut Sql, entry_bytes: usize) -> Result<Self, Error> {
        let table = match sql {
            Sql::Postgres(_) => "CREATE TABLE bench_bare (idx BIGINT PRIMARY KEY, bytes BYTEA NOT NULL)",
            Sql::Sqlite(_) => "CREATE TABLE bench_bare (idx INTEGER PRIMARY KEY, bytes BLOB NOT NULL)",
        };
        sql.execute(table).await?;
        let row = (0..entry_bytes + BESIDE_ENTRY).map(|n| u8::try_from(n % 251).unwrap_or(0));
        Ok(Self {
            next: 0,
            row: row.collect(),
        })
    }

    /// One durable insert of `rows` rows.
    pub(crate) async fn insert(&mut self, sql: &mut Sql, rows: usize) -> Result<(), Error> {
        let end = self.next + i64::try_from(rows).unwrap_or(0);
        let places: Vec<i64> = (self.next..end).collect();
        self.next = end;
        match sql {
            Sql::Postgres(c) => {
                const SQL: &str =
                    "INSERT INTO bench_bare (idx, bytes) SELECT * FROM UNNEST($1::bigint[], $2::bytea[])";
                let bytes = vec![self.row.as_slice(); rows];
                sqlx::query(SQL).bind(places).bind(bytes).execute(c).await?;
            }
            Sql::Sqlite(c) => {
                let mut tx = c.begin_with("BEGIN IMMEDIATE").await?;
                for chunk in chunks(&places) {
                    let sql = values("INSERT INTO bench_bare (idx, bytes)", 2, chunk.len());
                    let query = chunk.iter().fold(sqlx::query(sql), |query, idx| {
                        query.bind(*idx).bind(self.row.as_slice())
                    });
                    query.execute(&mut *tx).await?;
                }
                tx.commit().await?;
            }
        }
        Ok(())
    }
}
