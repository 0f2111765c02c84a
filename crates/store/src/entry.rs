//! The leaves of the logs, with the columns that a search reads.

use sqlx::postgres::PgConnection;
use unefois_core::{DatatypeRev, DemarcheId, Entry, ExchangeId, Outcome, ParticipantId, Reason};
use unefois_tlog::Hash;
use uuid::Uuid;

use crate::{Db, Error, Tx, read, rows, to_i64, to_u64};

/// The columns beside an entry's bytes, each derived from them.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Columns {
    at: i64,
    leaf: i64,
    exchange_id: Option<Uuid>,
    event: i16,
    outcome: Option<i16>,
    reason: Option<i16>,
    requester: Option<String>,
    provider: Option<String>,
    datatype: Option<String>,
    demarche: Option<String>,
}

impl Columns {
    /// The columns of an entry whose leaf hash is `leaf`: the only place that says what they hold.
    pub fn of(entry: &Entry, leaf: &Hash) -> Self {
        let siret = |id: Option<&ParticipantId>| id.map(|id| id.siret().to_string());
        let [a, b, c, d, e, f, g, h, ..] = *leaf.as_bytes();
        Self {
            at: entry.at.get(),
            leaf: i64::from_be_bytes([a, b, c, d, e, f, g, h]),
            exchange_id: entry.exchange_id.as_ref().map(ExchangeId::as_uuid),
            event: i16::from(entry.event.code()),
            outcome: entry.outcome.map(Outcome::code).map(i16::from),
            reason: entry.reason.map(Reason::code).map(i16::from),
            requester: siret(entry.requester.as_ref()),
            provider: siret(entry.provider.as_ref()),
            datatype: entry.datatype.as_ref().map(DatatypeRev::to_string),
            demarche: entry.demarche.as_ref().map(DemarcheId::to_string),
        }
    }

    /// The names of the columns in which these differ from `right`, those that the entry's bytes give.
    pub fn differences(&self, right: &Self) -> Vec<&'static str> {
        [
            ("at", self.at == right.at),
            ("leaf", self.leaf == right.leaf),
            ("exchange_id", self.exchange_id == right.exchange_id),
            ("event", self.event == right.event),
            ("outcome", self.outcome == right.outcome),
            ("reason", self.reason == right.reason),
            ("requester", self.requester == right.requester),
            ("provider", self.provider == right.provider),
            ("datatype", self.datatype == right.datatype),
            ("demarche", self.demarche == right.demarche),
        ]
        .into_iter()
        .filter_map(|(name, same)| (!same).then_some(name))
        .collect()
    }
}

/// A leaf as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryRow {
    /// Its place in the log.
    pub idx: u64,
    /// The columns that searches read.
    pub columns: Columns,
    /// Its bytes.
    pub entry: Vec<u8>,
}

/// Stores the leaves of a batch.
///
/// # Errors
/// [`Error::Database`], [`Error::Range`].
pub async fn entry_insert(tx: &mut Tx, log: i32, entries: &[&EntryRow]) -> Result<(), Error> {
    match tx {
        Tx::Postgres(tx) => entry_insert_postgres(tx, log, entries).await,
        Tx::Sqlite(tx) => {
            const HEAD: &str = "INSERT INTO ledger_entry (log, idx, at, leaf, exchange_id, event, outcome, reason, requester, \
                 provider, datatype, demarche, entry) VALUES";
            rows::insert(tx, (HEAD, ""), 13, entries, |query, row| {
                let c = row.columns.clone();
                query
                    .bind(log)
                    .bind(i64::try_from(row.idx).unwrap_or(i64::MAX))
                    .bind(c.at)
                    .bind(c.leaf)
                    .bind(c.exchange_id)
                    .bind(c.event)
                    .bind(c.outcome)
                    .bind(c.reason)
                    .bind(c.requester)
                    .bind(c.provider)
                    .bind(c.datatype)
                    .bind(c.demarche)
                    .bind(row.entry.clone())
            })
            .await
            .map(drop)
        }
    }
}

async fn entry_insert_postgres(
    conn: &mut PgConnection,
    log: i32,
    entries: &[&EntryRow],
) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO ledger_entry (log, idx, at, leaf, exchange_id, event, outcome, reason, requester, \
         provider, datatype, demarche, entry) SELECT $1, * FROM UNNEST($2::bigint[], $3::bigint[], $4::bigint[], \
         $5::uuid[], $6::smallint[], $7::smallint[], $8::smallint[], $9::text[], $10::text[], $11::text[], \
         $12::text[], $13::bytea[])";
    fn column<'a, T>(entries: &[&'a EntryRow], of: impl Fn(&'a Columns) -> T) -> Vec<T> {
        entries.iter().map(|row| of(&row.columns)).collect()
    }
    let idx = entries
        .iter()
        .map(|row| to_i64(row.idx))
        .collect::<Result<Vec<_>, _>>()?;
    let bytes: Vec<&[u8]> = entries.iter().map(|row| row.entry.as_slice()).collect();
    sqlx::query(SQL)
        .bind(log)
        .bind(idx)
        .bind(column(entries, |c| c.at))
        .bind(column(entries, |c| c.leaf))
        .bind(column(entries, |c| c.exchange_id))
        .bind(column(entries, |c| c.event))
        .bind(column(entries, |c| c.outcome))
        .bind(column(entries, |c| c.reason))
        .bind(column(entries, |c| c.requester.as_deref()))
        .bind(column(entries, |c| c.provider.as_deref()))
        .bind(column(entries, |c| c.datatype.as_deref()))
        .bind(column(entries, |c| c.demarche.as_deref()))
        .bind(bytes)
        .execute(conn)
        .await?;
    Ok(())
}

#[derive(sqlx::FromRow)]
struct Stored {
    idx: i64,
    entry: Vec<u8>,
    #[sqlx(flatten)]
    columns: Columns,
}

/// The stored leaves from `start` up to but not including `end`, with their columns, in order.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn entry_rows(db: &Db, log: i32, start: u64, end: u64) -> Result<Vec<EntryRow>, Error> {
    const SQL: &str = "SELECT idx, at, leaf, exchange_id, event, outcome, reason, requester, provider, datatype, demarche, entry \
         FROM ledger_entry WHERE log = $1 AND idx >= $2 AND idx < $3 ORDER BY idx";
    let (start, end) = (to_i64(start)?, to_i64(end)?);
    let rows = read!(db, pool => sqlx::query_as::<_, Stored>(SQL).bind(log).bind(start).bind(end).fetch_all(pool).await?);
    rows.into_iter()
        .map(|row| {
            Ok(EntryRow {
                idx: to_u64(row.idx, "ledger_entry.idx")?,
                columns: row.columns,
                entry: row.entry,
            })
        })
        .collect()
}

/// The bytes of the leaves from `start` up to but not including `end`, in order, with their places.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn entry_range(db: &Db, log: i32, start: u64, end: u64) -> Result<Vec<(u64, Vec<u8>)>, Error> {
    const SQL: &str =
        "SELECT idx, entry FROM ledger_entry WHERE log = $1 AND idx >= $2 AND idx < $3 ORDER BY idx";
    let (start, end) = (to_i64(start)?, to_i64(end)?);
    let rows = read!(db, pool => sqlx::query_as::<_, (i64, Vec<u8>)>(SQL).bind(log).bind(start).bind(end).fetch_all(pool).await?);
    rows.into_iter()
        .map(|(idx, entry)| Ok((to_u64(idx, "ledger_entry.idx")?, entry)))
        .collect()
}

/// How many leaves of some range have the same four columns.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct EntryCount {
    /// SIRET of the requester.
    pub requester: Option<String>,
    /// SIRET of the provider.
    pub provider: Option<String>,
    /// The revision of the datatype.
    pub datatype: Option<String>,
    /// Code of the outcome.
    pub outcome: Option<i16>,
    /// How many.
    pub count: i64,
}

/// Counts the exchanges logged from `start` up to but not including `end`, in the order of the four columns.
///
/// # Errors
/// [`Error::Database`], [`Error::Range`].
pub async fn entry_counts(db: &Db, log: i32, start: u64, end: u64) -> Result<Vec<EntryCount>, Error> {
    const SQL: &str = "SELECT requester, provider, datatype, outcome, COUNT(*) AS count FROM ledger_entry \
         WHERE log = $1 AND idx >= $2 AND idx < $3 AND exchange_id IS NOT NULL AND outcome IS NOT NULL \
         GROUP BY requester, provider, datatype, outcome";
    let (start, end) = (to_i64(start)?, to_i64(end)?);
    let mut counts = read!(db, pool => sqlx::query_as::<_, EntryCount>(SQL)
        .bind(log).bind(start).bind(end).fetch_all(pool).await?);
    // Here, not in SQL: the two databases put NULL and accents in different places.
    counts.sort_by(|a, b| {
        (&a.requester, &a.provider, &a.datatype, a.outcome).cmp(&(
            &b.requester,
            &b.provider,
            &b.datatype,
            b.outcome,
        ))
    });
    Ok(counts)
}

/// The place of the last leaf with this event, if there is one.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn entry_last(db: &Db, log: i32, event: unefois_core::Event) -> Result<Option<u64>, Error> {
    const SQL: &str = "SELECT idx FROM ledger_entry WHERE log = $1 AND event = $2 ORDER BY idx DESC LIMIT 1";
    let code = i16::from(event.code());
    let idx =
        read!(db, pool => sqlx::query_scalar::<_, i64>(SQL).bind(log).bind(code).fetch_optional(pool).await?);
    idx.map(|idx| to_u64(idx, "ledger_entry.idx")).transpose()
}

/// The places of stored leaves at or beyond the size of their log's head, in order, at most `most`. Leaves and head are
/// written in one transaction and read here in one statement, so that a batch under way never shows.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn entry_beyond_head(db: &Db, log: i32, most: u32) -> Result<Vec<u64>, Error> {
    const SQL: &str = "SELECT e.idx FROM ledger_entry e JOIN ledger_head h ON h.log = e.log \
         WHERE e.log = $1 AND e.idx >= h.size ORDER BY e.idx LIMIT $2";
    let found = read!(db, pool => sqlx::query_scalar::<_, i64>(SQL)
        .bind(log).bind(i64::from(most)).fetch_all(pool).await?);
    found
        .into_iter()
        .map(|idx| to_u64(idx, "ledger_entry.idx"))
        .collect()
}
