//! What somebody does to a database behind the ledger's back.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};

use crate::database::TestDatabase;

pub(crate) enum Raw {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

impl Raw {
    pub(crate) async fn open(database: &TestDatabase) -> Self {
        let url = database.url();
        match url.starts_with("sqlite:") {
            true => Self::Sqlite(SqliteConnection::connect(url).await.expect("SQLite opens")),
            false => Self::Postgres(PgConnection::connect(url).await.expect("PostgreSQL answers")),
        }
    }

    /// Executes statements; how many rows the last one changed.
    pub(crate) async fn execute(&mut self, sql: &str) -> u64 {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Postgres(c) => sqlx::raw_sql(sql)
                .execute(c)
                .await
                .expect("executed")
                .rows_affected(),
            Self::Sqlite(c) => sqlx::raw_sql(sql)
                .execute(c)
                .await
                .expect("executed")
                .rows_affected(),
        }
    }

    pub(crate) async fn count(&mut self, sql: &'static str) -> i64 {
        match self {
            Self::Postgres(c) => sqlx::query_scalar(sql).fetch_one(c).await.expect("a count"),
            Self::Sqlite(c) => sqlx::query_scalar(sql).fetch_one(c).await.expect("a count"),
        }
    }

    pub(crate) async fn entry(&mut self, idx: i64) -> Vec<u8> {
        const SQL: &str = "SELECT entry FROM ledger_entry WHERE idx = $1";
        match self {
            Self::Postgres(c) => sqlx::query_scalar(SQL)
                .bind(idx)
                .fetch_one(c)
                .await
                .expect("an entry"),
            Self::Sqlite(c) => sqlx::query_scalar(SQL)
                .bind(idx)
                .fetch_one(c)
                .await
                .expect("an entry"),
        }
    }

    pub(crate) async fn set_entry(&mut self, idx: i64, entry: &[u8]) {
        const SQL: &str = "UPDATE ledger_entry SET entry = $2 WHERE idx = $1";
        let rows = match self {
            Self::Postgres(c) => {
                let done = sqlx::query(SQL).bind(idx).bind(entry).execute(c).await;
                done.expect("updated").rows_affected()
            }
            Self::Sqlite(c) => {
                let done = sqlx::query(SQL).bind(idx).bind(entry).execute(c).await;
                done.expect("updated").rows_affected()
            }
        };
        assert_eq!(rows, 1);
    }

    /// Puts the head of the only log back to `head`.
    pub(crate) async fn set_head(&mut self, head: &unefois_ledger::Head) {
        const SQL: &str = "UPDATE ledger_head SET size = $1, root = $2, checkpoint = $3";
        let size = i64::try_from(head.size).expect("a small log");
        let (root, checkpoint) = (&head.root.as_bytes()[..], head.checkpoint.as_str());
        let rows = match self {
            Self::Postgres(c) => {
                let done = sqlx::query(SQL)
                    .bind(size)
                    .bind(root)
                    .bind(checkpoint)
                    .execute(c)
                    .await;
                done.expect("updated").rows_affected()
            }
            Self::Sqlite(c) => {
                let done = sqlx::query(SQL)
                    .bind(size)
                    .bind(root)
                    .bind(checkpoint)
                    .execute(c)
                    .await;
                done.expect("updated").rows_affected()
            }
        };
        assert_eq!(rows, 1);
    }

    /// Makes every batch fail when it moves the head, after everything else is written.
    pub(crate) async fn break_head(&mut self) {
        let sql = match self {
            Self::Sqlite(_) => {
                "CREATE TRIGGER fault BEFORE UPDATE ON ledger_head WHEN NEW.size <> OLD.size \
                 BEGIN SELECT RAISE(ABORT, 'fault'); END"
            }
            Self::Postgres(_) => {
                "CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS \
                 $$ BEGIN RAISE EXCEPTION 'fault'; END $$; \
                 CREATE TRIGGER fault BEFORE UPDATE ON ledger_head FOR EACH ROW WHEN (NEW.size <> OLD.size) \
                 EXECUTE FUNCTION fault()"
            }
        };
        self.execute(sql).await;
    }

    pub(crate) async fn mend_head(&mut self) {
        let sql = match self {
            Self::Sqlite(_) => "DROP TRIGGER fault",
            Self::Postgres(_) => "DROP TRIGGER fault ON ledger_head",
        };
        self.execute(sql).await;
    }

    /// Makes every deletion from `table` fail.
    pub(crate) async fn break_deletion(&mut self, table: &str) {
        let sql = match self {
            Self::Sqlite(_) => {
                format!("CREATE TRIGGER kept BEFORE DELETE ON {table} BEGIN SELECT RAISE(ABORT, 'kept'); END")
            }
            Self::Postgres(_) => format!(
                "CREATE OR REPLACE FUNCTION kept() RETURNS trigger LANGUAGE plpgsql AS \
                 $$ BEGIN RAISE EXCEPTION 'kept'; END $$; \
                 CREATE TRIGGER kept BEFORE DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION kept()"
            ),
        };
        self.execute(&sql).await;
    }

    pub(crate) async fn mend_deletion(&mut self, table: &str) {
        let sql = match self {
            Self::Sqlite(_) => "DROP TRIGGER kept".to_owned(),
            Self::Postgres(_) => format!("DROP TRIGGER kept ON {table}"),
        };
        self.execute(&sql).await;
    }
}
