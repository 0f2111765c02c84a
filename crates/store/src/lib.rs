//! All SQL of unefois, for PostgreSQL and SQLite.
//!
//! One SQL text serves both databases wherever it can: `$1` binds, `RETURNING` and `ON CONFLICT` work in both, instants
//! are `i64` microseconds, identifiers text, digests bytes. A function that writes takes a [`Tx`], so that its caller
//! says what is atomic; a function that only reads takes a [`Db`]. Both expand one body per driver with the macros
//! below: the compiler checks the types of both, the tests run on both.
//!
//! ```ignore
//! // crates/store/src/node_grant.rs; the table is in migrations/node/{postgres,sqlite}/.
//! pub async fn grant_insert(tx: &mut Tx, id: Uuid, at: Micros) -> Result<bool, Error> {
//!     const SQL: &str = "INSERT INTO node_grant (id, at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING";
//!     let done = on!(tx, c => sqlx::query(SQL).bind(id).bind(at.get()).execute(c).await?.rows_affected());
//!     Ok(done == 1)
//! }
//!
//! pub async fn grant_at(db: &Db, id: Uuid) -> Result<Option<Micros>, Error> {
//!     const SQL: &str = "SELECT at FROM node_grant WHERE id = $1";
//!     let at = read!(db, pool => sqlx::query_scalar::<_, i64>(SQL).bind(id).fetch_optional(pool).await?);
//!     Ok(at.map(Micros::new))
//! }
//! ```
//!
//! - PostgreSQL: 15 or later, refused where it could lose what it acknowledged; `READ COMMITTED`.
//! - SQLite: WAL, `synchronous=FULL`, one writer (`BEGIN IMMEDIATE`) and a lock file, so one process; readers beside it;
//!   what is deleted is overwritten (`secure_delete`).
//! - Migrations are embedded and append-only; each [`Component`] has its own table of applied ones on top of the
//!   ledger's, and an unknown one refuses the start.
//!
//! The ledger's tables are written by the sequencer of `unefois-ledger` alone (modules [`head`], [`entry`], [`name`],
//! [`tile`], [`claim`], [`index`], [`evidence`]); the database is where invariant I2 rests: the primary key of `claim`.

mod db;
mod error;
mod migration;
mod open;
mod rows;
mod writer;

pub mod audit;
pub mod authority;
pub mod backup;
pub mod batch;
pub mod checkpoint;
pub mod claim;
pub mod entry;
pub mod erase;
pub mod evidence;
pub mod head;
pub mod index;
pub mod name;
pub mod node;
pub mod page;
pub mod peer;
pub mod search;
pub mod tile;
pub mod witness;

pub use db::{Db, Postgres, Sqlite, Tx};
pub use error::Error;
pub use migration::Component;

/// Expands one body per driver over a transaction: `on!(tx, c => sqlx::query(SQL).bind(x).execute(c).await?)`.
macro_rules! on {
    ($tx:expr, $conn:ident => $body:expr) => {
        match $tx {
            $crate::Tx::Postgres(tx) => {
                let $conn = &mut **tx;
                $body
            }
            $crate::Tx::Sqlite(tx) => {
                let $conn = &mut **tx;
                $body
            }
        }
    };
}

/// Expands one body per driver over the reading side of a database; it sees what is committed.
macro_rules! read {
    ($db:expr, $pool:ident => $body:expr) => {
        match $db {
            $crate::Db::Postgres($crate::Postgres { pool, .. }) => {
                let $pool = pool;
                $body
            }
            $crate::Db::Sqlite(sqlite) => {
                let $pool = sqlite.readers();
                $body
            }
        }
    };
}
pub(crate) use {on, read};

/// A count or an index as the databases hold it.
pub(crate) fn to_i64(n: u64) -> Result<i64, Error> {
    i64::try_from(n).map_err(|_| Error::Range)
}

/// A count or an index as it was stored.
pub(crate) fn to_u64(n: i64, column: &'static str) -> Result<u64, Error> {
    u64::try_from(n).map_err(|_| Error::Corrupt(column))
}

/// Bytes of fixed length as they were stored.
pub(crate) fn to_array<const N: usize>(bytes: Vec<u8>, column: &'static str) -> Result<[u8; N], Error> {
    bytes.try_into().map_err(|_| Error::Corrupt(column))
}
