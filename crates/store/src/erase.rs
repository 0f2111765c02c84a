//! Destroying what opens commitments and what finds the entries of a person: by age, or by name.
//!
//! What is deleted is gone from SQLite's pages (`secure_delete`), and from its WAL once [`erased_settle`] has emptied
//! it; on PostgreSQL [`erased_settle`] gives the pages back for reuse.

use unefois_core::commitment::GrantSecret;
use unefois_core::{Event, Handle, LegalBasis, Micros, Month, Sha256};

use crate::claim::ClaimKey;
use crate::index::{BUCKET_BITS, Index, Mac, StoredMac, index_lookup};
use crate::name::name_id;
use crate::{Db, Error, Tx, on, read, to_array, to_i64, to_u64};

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

/// What names a handle that `wanted` knows beside the logs: claims made before `before`, and counts of uses. They hold
/// the handle itself, so that every one is looked at.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn claims_of(
    db: &Db,
    wanted: impl Fn(&Handle) -> bool,
    before: Micros,
) -> Result<Vec<Erased>, Error> {
    const CLAIMS: &str = "SELECT key FROM claim WHERE key > $1 AND at < $2 ORDER BY key LIMIT 4096";
    const USES: &str =
        "SELECT handle FROM claim_count WHERE handle > $1 AND at <= $2 ORDER BY handle LIMIT 4096";
    let claim: fn(ClaimKey) -> Erased = Erased::Claim;
    let mut found = Vec::new();
    for (sql, before, row) in [(CLAIMS, before.get(), claim), (USES, i64::MAX, Erased::Uses)] {
        let mut after = Vec::new();
        loop {
            let page = read!(db, pool => sqlx::query_scalar::<_, Vec<u8>>(sql).bind(&after[..]).bind(before)
                .fetch_all(pool).await?);
            let Some(last) = page.last() else { break };
            after.clone_from(last);
            for key in page {
                let handle = key.first_chunk().ok_or(Error::Corrupt("claim.key"))?;
                if wanted(&Handle::from_bytes(*handle)) {
                    found.push(row(ClaimKey(key)));
                }
            }
        }
    }
    Ok(found)
}

/// The secrets kept of a handle from the month `first` to the month `last`.
///
/// # Errors
/// [`Error::Database`].
pub async fn secrets_of(
    db: &Db,
    mac: &StoredMac,
    (first, last): (Month, Month),
) -> Result<Vec<Erased>, Error> {
    // The key begins with the month and the coarse time of the handle, of which there are few: each is looked up.
    const SQL: &str = "WITH RECURSIVE m (month) AS ( \
         SELECT MIN(month) FROM grant_secret WHERE month >= $2 AND month <= $3 \
         UNION ALL SELECT (SELECT MIN(s.month) FROM grant_secret s WHERE s.month > m.month AND s.month <= $3) \
         FROM m WHERE m.month IS NOT NULL), \
         u (month, unit) AS ( \
         SELECT month, (SELECT MIN(s.unit) FROM grant_secret s WHERE s.month = m.month) FROM m WHERE month IS NOT NULL \
         UNION ALL SELECT month, (SELECT MIN(s.unit) FROM grant_secret s WHERE s.month = u.month AND s.unit > u.unit) \
         FROM u WHERE u.unit IS NOT NULL) \
         SELECT month, unit FROM u WHERE EXISTS \
         (SELECT 1 FROM grant_secret s WHERE s.month = u.month AND s.unit = u.unit AND s.mac = $1) ORDER BY month, unit";
    let found = read!(db, pool => sqlx::query_as::<_, (i32, i32)>(SQL)
        .bind(&mac[..]).bind(first.ordinal()).bind(last.ordinal()).fetch_all(pool).await?);
    Ok(found
        .into_iter()
        .map(|(month, unit)| Erased::Secret(month, unit, *mac))
        .collect())
}

/// The secrets themselves, oldest month first.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn secret_values(
    db: &Db,
    mac: &StoredMac,
    months: (Month, Month),
) -> Result<Vec<GrantSecret>, Error> {
    const SQL: &str = "SELECT DISTINCT secret FROM grant_secret WHERE month = $1 AND unit = $2 AND mac = $3 ORDER BY secret";
    let mut values = Vec::new();
    for row in secrets_of(db, mac, months).await? {
        let Erased::Secret(month, unit, mac) = row else {
            continue;
        };
        let found = read!(db, pool => sqlx::query_scalar::<_, Vec<u8>>(SQL)
            .bind(month).bind(unit).bind(&mac[..]).fetch_all(pool).await?);
        for secret in found {
            values.push(GrantSecret::from_bytes(to_array(secret, "grant_secret.secret")?));
        }
    }
    Ok(values)
}

/// The entries from `start` up to but not including `end` that name proactive information as their legal basis, with
/// their bytes, in order.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn entry_proactive(
    db: &Db,
    log: i32,
    (start, end): (u64, u64),
) -> Result<Vec<(u64, Vec<u8>)>, Error> {
    const SQL: &str = "SELECT idx, entry FROM ledger_entry WHERE log = $1 AND idx >= $2 AND idx < $3 AND legal_basis = $4 \
         ORDER BY idx";
    let Some(basis) = name_id(db, &LegalBasis::Proactive.to_string()).await? else {
        return Ok(Vec::new());
    };
    let (start, end) = (to_i64(start)?, to_i64(end)?);
    let rows = read!(db, pool => sqlx::query_as::<_, (i64, Vec<u8>)>(SQL)
        .bind(log).bind(start).bind(end).bind(basis).fetch_all(pool).await?);
    rows.into_iter()
        .map(|(idx, entry)| Ok((to_u64(idx, "ledger_entry.idx")?, entry)))
        .collect()
}

/// Whom the entries from `start` up to but not including `end` are about, as `index` has it.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn index_range(
    db: &Db,
    index: Index,
    log: i32,
    (start, end): (u64, u64),
) -> Result<Vec<(StoredMac, u64)>, Error> {
    let sql = match index {
        Index::Handle => {
            "SELECT mac, idx FROM handle_index WHERE log = $1 AND bucket >= $2 AND bucket <= $3 AND idx >= $4 AND idx < $5"
        }
        Index::Person => {
            "SELECT mac, idx FROM person_index WHERE log = $1 AND bucket >= $2 AND bucket <= $3 AND idx >= $4 AND idx < $5"
        }
    };
    let (first, last) = (to_i64(start >> BUCKET_BITS)?, to_i64(end >> BUCKET_BITS)?);
    let (start, end) = (to_i64(start)?, to_i64(end)?);
    let rows = read!(db, pool => sqlx::query_as::<_, (Vec<u8>, i64)>(sql)
        .bind(log).bind(first).bind(last).bind(start).bind(end).fetch_all(pool).await?);
    rows.into_iter()
        .map(|(mac, idx)| Ok((to_array(mac, "an index's mac")?, to_u64(idx, "an index's idx")?)))
        .collect()
}

/// The number and the size of each log of the database.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn log_sizes(db: &Db) -> Result<Vec<(i32, u64)>, Error> {
    const SQL: &str = "SELECT log, size FROM ledger_head ORDER BY log";
    let rows = read!(db, pool => sqlx::query_as::<_, (i32, i64)>(SQL).fetch_all(pool).await?);
    rows.into_iter()
        .map(|(log, size)| Ok((log, to_u64(size, "ledger_head.size")?)))
        .collect()
}

/// The entries, below `size`, that the index holds under a key as it is stored, in order.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn index_places(
    db: &Db,
    index: Index,
    log: i32,
    mac: &StoredMac,
    size: u64,
) -> Result<Vec<u64>, Error> {
    let mut whole = Mac::default();
    whole[..mac.len()].copy_from_slice(mac);
    index_lookup(db, index, log, &whole, size).await
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
        Db::Postgres(pool) => {
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
