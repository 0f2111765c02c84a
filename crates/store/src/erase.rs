//! Destroying what opens commitments and what finds the entries of a person: by age, or by name.
//!
//! What is deleted is gone from SQLite's pages (`secure_delete`), and from its WAL once [`erased_settle`] has emptied
//! it; on PostgreSQL [`erased_settle`] gives the pages back for reuse.

mod find;

use unefois_core::{Event, Month, Sha256};

pub use self::find::{claims_of, entry_proactive, index_places, log_sizes, secret_values, secrets_of};
use crate::claim::ClaimKey;
use crate::index::{BUCKET_BITS, StoredMac};
use crate::{Db, Error, Postgres, Tx, on, read, to_i64, to_u64};

/// A kind of what is destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Erasable {
    /// What opens the commitments of a handle in a month.
    Secret,
    /// What finds the entries of a handle.
    Handle,
    /// What finds the entries of a person.
    Person,
    /// What an entry commits to as evidence, save that of entries about no exchange and nobody's question.
    Evidence,
    /// A peer's word that it received an entry.
    Receipt,
}

impl Erasable {
    /// Every kind; what opens comes first.
    pub const ALL: [Self; 5] = [
        Self::Secret,
        Self::Handle,
        Self::Person,
        Self::Evidence,
        Self::Receipt,
    ];

    /// Its word in the evidence of an `erased` entry.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Handle => "handle",
            Self::Person => "person",
            Self::Evidence => "evidence",
            Self::Receipt => "receipt",
        }
    }
}

/// What is too old: everything of `month` and before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The last month whose time is over.
    pub month: Month,
    /// Of each log, the first entry that is later.
    pub logs: Vec<(i32, u64)>,
}

impl Due {
    /// The rows of `kind` that are due, each a condition with its parameters.
    fn conditions(&self, kind: Erasable) -> Result<Vec<Vec<i64>>, Error> {
        let of_log = |(log, below): &(i32, u64)| {
            let below = to_i64(*below)?;
            Ok(match kind {
                Erasable::Evidence => vec![i64::from(*log), below],
                Erasable::Secret | Erasable::Handle | Erasable::Person | Erasable::Receipt => {
                    vec![i64::from(*log), below >> BUCKET_BITS, below]
                }
            })
        };
        match kind {
            Erasable::Secret => Ok(vec![vec![i64::from(self.month.ordinal())]]),
            Erasable::Receipt => Ok(vec![vec![self.month.plus(1).start().get()]]),
            Erasable::Handle | Erasable::Person | Erasable::Evidence => {
                self.logs.iter().map(of_log).collect()
            }
        }
    }
}

/// How many rows of `kind` are due.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn due_count(db: &Db, kind: Erasable, due: &Due) -> Result<u64, Error> {
    let sql = match kind {
        Erasable::Secret => "SELECT COUNT(*) FROM grant_secret WHERE month <= $1",
        Erasable::Handle => "SELECT COUNT(*) FROM handle_index WHERE log = $1 AND bucket <= $2 AND idx < $3",
        Erasable::Person => "SELECT COUNT(*) FROM person_index WHERE log = $1 AND bucket <= $2 AND idx < $3",
        Erasable::Evidence => {
            "SELECT COUNT(*) FROM ledger_evidence v JOIN ledger_entry e ON e.log = v.log AND e.idx = v.idx \
             WHERE v.log = $1 AND v.idx < $2 AND e.event NOT IN ($3, $4, $5, $6)"
        }
        Erasable::Receipt => "SELECT COUNT(*) FROM peer_receipt WHERE at < $1",
    };
    let mut sum = 0;
    for binds in due.conditions(kind)? {
        let binds = binds.into_iter().chain(kept_events(kind));
        let count = read!(db, pool => binds.fold(sqlx::query_scalar::<_, i64>(sql), |q, b| q.bind(b))
            .fetch_one(pool).await?);
        sum += to_u64(count, "a count")?;
    }
    Ok(sum)
}

/// Destroys at most `most` rows of `kind` that are due; how many. None are left once it says 0.
///
/// # Errors
/// [`Error::Database`].
pub async fn due_erase(tx: &mut Tx, kind: Erasable, due: &Due, most: u32) -> Result<u64, Error> {
    let sql = match kind {
        Erasable::Secret => {
            "DELETE FROM grant_secret WHERE (month, unit, mac, log) IN \
             (SELECT month, unit, mac, log FROM grant_secret WHERE month <= $1 LIMIT $2)"
        }
        Erasable::Handle => {
            "DELETE FROM handle_index WHERE (log, bucket, mac, idx) IN \
             (SELECT log, bucket, mac, idx FROM handle_index WHERE log = $1 AND bucket <= $2 AND idx < $3 LIMIT $4)"
        }
        Erasable::Person => {
            "DELETE FROM person_index WHERE (log, bucket, mac, idx) IN \
             (SELECT log, bucket, mac, idx FROM person_index WHERE log = $1 AND bucket <= $2 AND idx < $3 LIMIT $4)"
        }
        Erasable::Evidence => {
            "DELETE FROM ledger_evidence WHERE (log, idx) IN \
             (SELECT v.log, v.idx FROM ledger_evidence v JOIN ledger_entry e ON e.log = v.log AND e.idx = v.idx \
             WHERE v.log = $1 AND v.idx < $2 AND e.event NOT IN ($3, $4, $5, $6) LIMIT $7)"
        }
        Erasable::Receipt => {
            "DELETE FROM peer_receipt WHERE (leaf, peer) IN \
             (SELECT leaf, peer FROM peer_receipt WHERE at < $1 LIMIT $2)"
        }
    };
    for binds in due.conditions(kind)? {
        let binds = binds
            .into_iter()
            .chain(kept_events(kind))
            .chain([i64::from(most)]);
        let rows =
            on!(tx, c => binds.fold(sqlx::query(sql), |q, b| q.bind(b)).execute(c).await?.rows_affected());
        if rows > 0 {
            return Ok(rows);
        }
    }
    Ok(0)
}

/// Entries whose evidence is about no exchange and names nobody: counts, references of decisions, configuration.
fn kept_events(kind: Erasable) -> impl Iterator<Item = i64> {
    let events = [Event::Tally, Event::Erased, Event::Admin, Event::Closed];
    let events = (kind == Erasable::Evidence).then_some(events);
    events.into_iter().flatten().map(|event| i64::from(event.code()))
}

/// One row to destroy, by its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Erased {
    /// The secrets of a handle for one month and the handle's coarse time, whoever keeps them.
    Secret(i32, i32, StoredMac),
    /// That an entry of a log is about a handle.
    Handle(i32, StoredMac, u64),
    /// That an entry of a log is about a person.
    Person(i32, StoredMac, u64),
    /// The evidence of an entry of a log.
    Evidence(i32, u64),
    /// What peers said of the entry with this leaf hash.
    Receipt(Sha256),
    /// A claim, which names its handle.
    Claim(ClaimKey),
    /// How often a standing handle was used.
    Uses(ClaimKey),
}

impl Erased {
    /// Its kind; `None` for what is about no entry, opens nothing and is not counted.
    pub const fn kind(&self) -> Option<Erasable> {
        match self {
            Self::Secret(..) => Some(Erasable::Secret),
            Self::Handle(..) => Some(Erasable::Handle),
            Self::Person(..) => Some(Erasable::Person),
            Self::Evidence(..) => Some(Erasable::Evidence),
            Self::Receipt(_) => Some(Erasable::Receipt),
            Self::Claim(_) | Self::Uses(_) => None,
        }
    }
}

/// Those of `rows` that are there, in order.
///
/// # Errors
/// [`Error::Database`], [`Error::Range`].
pub async fn rows_present(db: &Db, rows: impl IntoIterator<Item = Erased>) -> Result<Vec<Erased>, Error> {
    let mut present = Vec::new();
    for row in rows {
        let found = match &row {
            Erased::Secret(month, unit, mac) => {
                const SQL: &str =
                    "SELECT 1 FROM grant_secret WHERE month = $1 AND unit = $2 AND mac = $3 LIMIT 1";
                read!(db, pool => sqlx::query_scalar::<_, i32>(SQL).bind(*month).bind(*unit).bind(&mac[..])
                    .fetch_optional(pool).await?)
            }
            Erased::Handle(log, mac, idx) => {
                const SQL: &str =
                    "SELECT 1 FROM handle_index WHERE log = $1 AND bucket = $2 AND mac = $3 AND idx = $4";
                let (bucket, idx) = place(*idx)?;
                read!(db, pool => sqlx::query_scalar::<_, i32>(SQL).bind(*log).bind(bucket).bind(&mac[..]).bind(idx)
                    .fetch_optional(pool).await?)
            }
            Erased::Person(log, mac, idx) => {
                const SQL: &str =
                    "SELECT 1 FROM person_index WHERE log = $1 AND bucket = $2 AND mac = $3 AND idx = $4";
                let (bucket, idx) = place(*idx)?;
                read!(db, pool => sqlx::query_scalar::<_, i32>(SQL).bind(*log).bind(bucket).bind(&mac[..]).bind(idx)
                    .fetch_optional(pool).await?)
            }
            Erased::Evidence(log, idx) => {
                const SQL: &str = "SELECT 1 FROM ledger_evidence WHERE log = $1 AND idx = $2";
                let idx = to_i64(*idx)?;
                read!(db, pool => sqlx::query_scalar::<_, i32>(SQL).bind(*log).bind(idx).fetch_optional(pool).await?)
            }
            Erased::Receipt(leaf) => {
                const SQL: &str = "SELECT 1 FROM peer_receipt WHERE leaf = $1 LIMIT 1";
                read!(db, pool => sqlx::query_scalar::<_, i32>(SQL).bind(&leaf.as_bytes()[..])
                    .fetch_optional(pool).await?)
            }
            Erased::Claim(key) => {
                const SQL: &str = "SELECT 1 FROM claim WHERE key = $1";
                read!(db, pool => sqlx::query_scalar::<_, i32>(SQL).bind(&key.0[..]).fetch_optional(pool).await?)
            }
            Erased::Uses(key) => {
                const SQL: &str = "SELECT 1 FROM claim_count WHERE handle = $1";
                read!(db, pool => sqlx::query_scalar::<_, i32>(SQL).bind(&key.0[..]).fetch_optional(pool).await?)
            }
        };
        if found.is_some() {
            present.push(row);
        }
    }
    Ok(present)
}

/// Bucket and place of an entry in an index.
fn place(idx: u64) -> Result<(i64, i64), Error> {
    Ok((to_i64(idx >> BUCKET_BITS)?, to_i64(idx)?))
}

/// Destroys `rows`; one that is not there is no error.
///
/// # Errors
/// [`Error::Database`], [`Error::Range`].
pub async fn rows_erase(tx: &mut Tx, rows: &[Erased]) -> Result<(), Error> {
    for row in rows {
        match row {
            Erased::Secret(month, unit, mac) => {
                const SQL: &str = "DELETE FROM grant_secret WHERE month = $1 AND unit = $2 AND mac = $3";
                on!(tx, c => sqlx::query(SQL).bind(*month).bind(*unit).bind(&mac[..]).execute(c).await.map(drop)?);
            }
            Erased::Handle(log, mac, idx) => {
                const SQL: &str =
                    "DELETE FROM handle_index WHERE log = $1 AND bucket = $2 AND mac = $3 AND idx = $4";
                let (bucket, idx) = place(*idx)?;
                on!(tx, c => sqlx::query(SQL).bind(*log).bind(bucket).bind(&mac[..]).bind(idx)
                    .execute(c).await.map(drop)?);
            }
            Erased::Person(log, mac, idx) => {
                const SQL: &str =
                    "DELETE FROM person_index WHERE log = $1 AND bucket = $2 AND mac = $3 AND idx = $4";
                let (bucket, idx) = place(*idx)?;
                on!(tx, c => sqlx::query(SQL).bind(*log).bind(bucket).bind(&mac[..]).bind(idx)
                    .execute(c).await.map(drop)?);
            }
            Erased::Evidence(log, idx) => {
                const SQL: &str = "DELETE FROM ledger_evidence WHERE log = $1 AND idx = $2";
                let idx = to_i64(*idx)?;
                on!(tx, c => sqlx::query(SQL).bind(*log).bind(idx).execute(c).await.map(drop)?);
            }
            Erased::Receipt(leaf) => {
                const SQL: &str = "DELETE FROM peer_receipt WHERE leaf = $1";
                on!(tx, c => sqlx::query(SQL).bind(&leaf.as_bytes()[..]).execute(c).await.map(drop)?);
            }
            Erased::Claim(key) => {
                const SQL: &str = "DELETE FROM claim WHERE key = $1";
                on!(tx, c => sqlx::query(SQL).bind(&key.0[..]).execute(c).await.map(drop)?);
            }
            Erased::Uses(key) => {
                const SQL: &str = "DELETE FROM claim_count WHERE handle = $1";
                on!(tx, c => sqlx::query(SQL).bind(&key.0[..]).execute(c).await.map(drop)?);
            }
        }
    }
    Ok(())
}

/// The entry below which proactive exchanges of a log have lost what opened them.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn proactive_erased(db: &Db, log: i32) -> Result<u64, Error> {
    const SQL: &str = "SELECT proactive FROM ledger_erasure WHERE log = $1";
    let below = read!(db, pool => sqlx::query_scalar::<_, i64>(SQL).bind(log).fetch_optional(pool).await?);
    to_u64(below.unwrap_or(0), "ledger_erasure.proactive")
}

/// Notes that they have, below `below`.
///
/// # Errors
/// [`Error::Database`], [`Error::Range`].
pub async fn proactive_erased_set(tx: &mut Tx, log: i32, below: u64) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO ledger_erasure (log, proactive) VALUES ($1, $2) \
         ON CONFLICT (log) DO UPDATE SET proactive = $2 WHERE ledger_erasure.proactive < $2";
    let below = to_i64(below)?;
    on!(tx, c => sqlx::query(SQL).bind(log).bind(below).execute(c).await.map(drop)?);
    Ok(())
}

/// Takes what was deleted out of what the database keeps for itself: empties SQLite's WAL, which holds pages as they
/// were; vacuums the tables on PostgreSQL. `false` if a reader was in the way: to be asked again.
///
/// # Errors
/// [`Error::Database`].
pub async fn erased_settle(db: &Db) -> Result<bool, Error> {
    match db {
        Db::Postgres(Postgres { pool, .. }) => {
            const SQL: &str = "VACUUM (INDEX_CLEANUP ON) grant_secret, handle_index, person_index, ledger_evidence, peer_receipt, \
                 claim, claim_count";
            sqlx::raw_sql(SQL).execute(pool).await?;
            Ok(true)
        }
        Db::Sqlite(file) => {
            // Not for long: the one connection that writes is the sequencer's.
            let mut conn = file.rw.acquire().await?;
            sqlx::raw_sql("PRAGMA busy_timeout = 100")
                .execute(&mut *conn)
                .await?;
            let emptied = sqlx::query_as::<_, (i64, i64, i64)>("PRAGMA wal_checkpoint(TRUNCATE)")
                .fetch_one(&mut *conn)
                .await;
            sqlx::raw_sql("PRAGMA busy_timeout = 2000")
                .execute(&mut *conn)
                .await?;
            let (busy, ..) = emptied?;
            Ok(busy == 0)
        }
    }
}
