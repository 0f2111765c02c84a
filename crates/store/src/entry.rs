//! The leaves of the logs, with the columns that a search reads.

use sqlx::sqlite::SqliteConnection;
use unefois_core::{
    Acr, Capacity, Entry, Event, ExchangeId, Micros, Outcome, Outline, ParticipantId, Reason,
};
use unefois_tlog::Hash;
use uuid::Uuid;

use crate::name::{FIELDS, Names, UNKNOWN, each_name, name_id};
use crate::rows::{PgQuery, Script, SqliteQuery};
use crate::{Db, Error, Postgres, Tx, read, to_i64, to_u64};

/// The columns beside an entry's bytes, each derived from them; names stand by their number in the dictionary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Columns {
    pub(crate) event: i16,
    pub(crate) outcome: Option<i16>,
    pub(crate) at: i64,
    pub(crate) leaf: i64,
    pub(crate) units: i64,
    pub(crate) exchange_id: Option<Uuid>,
    pub(crate) peer: Option<i32>,
    pub(crate) other: Option<i32>,
    pub(crate) requester: Option<i32>,
    pub(crate) provider: Option<i32>,
    pub(crate) holder: Option<i32>,
    pub(crate) publisher: Option<i32>,
    pub(crate) datatype: Option<i32>,
    pub(crate) demarche: Option<i32>,
    pub(crate) habilitation: Option<i32>,
    pub(crate) legal_basis: Option<i32>,
    pub(crate) reason: Option<i16>,
    pub(crate) capacity: Option<i16>,
    pub(crate) acr: Option<i16>,
}

/// The columns that hold names, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    ids: [Option<i32>; FIELDS],
    peer: Option<i32>,
    other: Option<i32>,
}

impl Named {
    /// Those of an entry of the log that `owner` writes. A name that `names` does not know gives a number that none has.
    pub fn of(entry: &Entry, owner: Option<&ParticipantId>, names: &Names) -> Self {
        let mut ids = [None; FIELDS];
        each_name(entry, |field, name| ids[field] = Some(names.id(name)));
        let [requester, provider, ..] = ids;
        // The other end as the owner sees it; the authority is neither end.
        let is_owner = |end: &Option<ParticipantId>| owner.is_some() && end.as_ref() == owner;
        let (peer, other) = match (is_owner(&entry.requester), is_owner(&entry.provider)) {
            (true, _) => (provider, None),
            (false, true) => (requester, None),
            (false, false) => (requester, provider),
        };
        Self { ids, peer, other }
    }
}

impl Columns {
    /// The columns of an entry of the log that `owner` writes, whose leaf hash is `leaf`.
    pub fn of(entry: &Entry, leaf: &Hash, owner: Option<&ParticipantId>, names: &Names) -> Self {
        Self::with(&Outline::from(entry), leaf, &Named::of(entry, owner, names))
    }

    /// The columns of an entry with this outline and these names: the only place that says what they hold.
    pub fn with(outline: &Outline, leaf: &Hash, named: &Named) -> Self {
        let [
            requester,
            provider,
            holder,
            publisher,
            datatype,
            demarche,
            habilitation,
            legal_basis,
        ] = named.ids;
        let [a, b, c, d, e, f, g, h, ..] = *leaf.as_bytes();
        Self {
            event: i16::from(outline.event.code()),
            outcome: outline.outcome.map(Outcome::code).map(i16::from),
            at: outline.at.get(),
            leaf: i64::from_be_bytes([a, b, c, d, e, f, g, h]),
            units: outline.units.cast_signed(),
            exchange_id: outline.exchange_id.as_ref().map(ExchangeId::as_uuid),
            peer: named.peer,
            other: named.other,
            requester,
            provider,
            holder,
            publisher,
            datatype,
            demarche,
            habilitation,
            legal_basis,
            reason: outline.reason.map(Reason::code).map(i16::from),
            capacity: outline.capacity.map(Capacity::code).map(i16::from),
            acr: outline.acr.map(Acr::code).map(i16::from),
        }
    }

    /// The names of the columns in which these differ from `right`, those that the entry's bytes give.
    pub fn differences(&self, right: &Self) -> Vec<&'static str> {
        [
            ("event", self.event == right.event),
            ("outcome", self.outcome == right.outcome),
            ("at", self.at == right.at),
            ("leaf", self.leaf == right.leaf),
            ("units", self.units == right.units),
            ("exchange_id", self.exchange_id == right.exchange_id),
            ("peer", self.peer == right.peer),
            ("other", self.other == right.other),
            ("requester", self.requester == right.requester),
            ("provider", self.provider == right.provider),
            ("holder", self.holder == right.holder),
            ("publisher", self.publisher == right.publisher),
            ("datatype", self.datatype == right.datatype),
            ("demarche", self.demarche == right.demarche),
            ("habilitation", self.habilitation == right.habilitation),
            ("legal_basis", self.legal_basis == right.legal_basis),
            ("reason", self.reason == right.reason),
            ("capacity", self.capacity == right.capacity),
            ("acr", self.acr == right.acr),
        ]
        .into_iter()
        .filter_map(|(name, same)| (!same).then_some(name))
        .collect()
    }

    /// Whether every name has its number.
    fn is_numbered(&self) -> bool {
        let named = [
            self.requester,
            self.provider,
            self.holder,
            self.publisher,
            self.datatype,
            self.demarche,
            self.habilitation,
            self.legal_basis,
        ];
        !named.contains(&Some(UNKNOWN))
    }
}

/// The participant whose log `origin` names (`<participant>/<shard>`).
pub fn owner(origin: &str) -> Option<ParticipantId> {
    origin.split_once('/')?.0.parse().ok()
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

macro_rules! insert_entries {
    () => {
        "INSERT INTO ledger_entry (log, idx, event, outcome, at, leaf, units, exchange_id, peer, other, requester, \
         provider, holder, publisher, datatype, demarche, habilitation, legal_basis, reason, capacity, acr, entry)"
    };
}
macro_rules! unnest_entries {
    () => {
        "unnest($1::bigint[]), unnest($2::smallint[]), unnest($3::smallint[]), unnest($4::bigint[]), \
         unnest($5::bigint[]), unnest($6::bigint[]), unnest($7::uuid[]), unnest($8::int[]), \
         unnest($9::int[]), unnest($10::int[]), unnest($11::int[]), unnest($12::int[]), unnest($13::int[]), \
         unnest($14::int[]), unnest($15::int[]), unnest($16::int[]), unnest($17::int[]), \
         unnest($18::smallint[]), unnest($19::smallint[]), unnest($20::smallint[]), unnest($21::bytea[])"
    };
}
pub(crate) use {insert_entries, unnest_entries};

/// Stores the leaves of a batch, whose names were learned before.
///
/// # Errors
/// [`Error::Database`], [`Error::Range`]; [`Error::Unnamed`] for a name without its number.
pub async fn entry_insert(tx: &mut Tx, log: i32, entries: &[&EntryRow]) -> Result<(), Error> {
    match tx {
        Tx::Postgres(tx) => {
            let sql = concat!(insert_entries!(), " SELECT $22, ", unnest_entries!());
            let query = bind_entries(sqlx::query(sql), entries)?.bind(log);
            query.execute(&mut **tx).await?;
        }
        Tx::Sqlite(tx) => {
            let mut script = Script::default();
            script_entries(tx, &mut script, log, entries).await?;
            script.end(tx).await?;
        }
    }
    Ok(())
}

/// Binds the arrays of `unnest_entries!`.
pub(crate) fn bind_entries<'q>(query: PgQuery<'q>, entries: &[&EntryRow]) -> Result<PgQuery<'q>, Error> {
    fn column<'a, T>(entries: &[&'a EntryRow], of: impl Fn(&'a Columns) -> T) -> Vec<T> {
        entries.iter().map(|row| of(&row.columns)).collect()
    }
    let places = places(entries)?;
    let bytes: Vec<&[u8]> = entries.iter().map(|row| row.entry.as_slice()).collect();
    Ok(query
        .bind(places)
        .bind(column(entries, |c| c.event))
        .bind(column(entries, |c| c.outcome))
        .bind(column(entries, |c| c.at))
        .bind(column(entries, |c| c.leaf))
        .bind(column(entries, |c| c.units))
        .bind(column(entries, |c| c.exchange_id))
        .bind(column(entries, |c| c.peer))
        .bind(column(entries, |c| c.other))
        .bind(column(entries, |c| c.requester))
        .bind(column(entries, |c| c.provider))
        .bind(column(entries, |c| c.holder))
        .bind(column(entries, |c| c.publisher))
        .bind(column(entries, |c| c.datatype))
        .bind(column(entries, |c| c.demarche))
        .bind(column(entries, |c| c.habilitation))
        .bind(column(entries, |c| c.legal_basis))
        .bind(column(entries, |c| c.reason))
        .bind(column(entries, |c| c.capacity))
        .bind(column(entries, |c| c.acr))
        .bind(bytes))
}

/// The places of rows that may be stored.
fn places(entries: &[&EntryRow]) -> Result<Vec<i64>, Error> {
    if !entries.iter().all(|row| row.columns.is_numbered()) {
        return Err(Error::Unnamed);
    }
    entries.iter().map(|row| to_i64(row.idx)).collect()
}

/// Adds the leaves of a batch to what SQLite shall execute.
pub(crate) async fn script_entries(
    conn: &mut SqliteConnection,
    script: &mut Script,
    log: i32,
    entries: &[&EntryRow],
) -> Result<(), Error> {
    let head = concat!(insert_entries!(), " VALUES");
    let rows: Vec<(i64, &EntryRow)> = places(entries)?
        .into_iter()
        .zip(entries.iter().copied())
        .collect();
    let bind = |query: SqliteQuery, (idx, row): &(i64, &EntryRow)| {
        let c = &row.columns;
        query
            .bind(log)
            .bind(*idx)
            .bind(c.event)
            .bind(c.outcome)
            .bind(c.at)
            .bind(c.leaf)
            .bind(c.units)
            .bind(c.exchange_id)
            .bind(c.peer)
            .bind(c.other)
            .bind(c.requester)
            .bind(c.provider)
            .bind(c.holder)
            .bind(c.publisher)
            .bind(c.datatype)
            .bind(c.demarche)
            .bind(c.habilitation)
            .bind(c.legal_basis)
            .bind(c.reason)
            .bind(c.capacity)
            .bind(c.acr)
            .bind(row.entry.clone())
    };
    script.insert(conn, (head, ""), 22, &rows, bind).await
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
    placed(rows)
}

fn placed(rows: Vec<(i64, Vec<u8>)>) -> Result<Vec<(u64, Vec<u8>)>, Error> {
    rows.into_iter()
        .map(|(idx, entry)| Ok((to_u64(idx, "ledger_entry.idx")?, entry)))
        .collect()
}

/// What the database itself sorts out before an entry is decoded: it may let through what a filter does not want, never
/// the other way round.
#[derive(Clone, Debug, Default)]
pub struct Prefilter {
    /// Who writes the log ([`owner`] of its origin).
    pub owner: Option<ParticipantId>,
    /// Named as requester or as provider. The owner itself is at an end of all it wrote, so for it nothing is sorted out.
    pub participant: Option<ParticipantId>,
    /// What happened.
    pub event: Option<Event>,
    /// The exchange. No index holds it: bound the range by the time in the identifier ([`entry_at_or_after`]).
    pub exchange_id: Option<ExchangeId>,
}

/// The leaves that `filter` lets through from `start` up to but not including `end`, at most `limit`, from the last one
/// on where `descending`.
///
/// # Errors
/// [`Error::Database`], [`Error::Range`], [`Error::Corrupt`].
pub async fn entry_search(
    db: &Db,
    log: i32,
    filter: &Prefilter,
    (start, end): (u64, u64),
    descending: bool,
    limit: u32,
) -> Result<Vec<(u64, Vec<u8>)>, Error> {
    let range = (to_i64(start)?, to_i64(end)?);
    let participant = filter.participant.filter(|_| filter.participant != filter.owner);
    let Some(participant) = participant else {
        return searched(db, log, filter, None, range, descending, limit).await;
    };
    let Some(id) = name_id(db, participant.siret().as_str()).await? else {
        return Ok(Vec::new());
    };
    let mut found = searched(db, log, filter, Some(("peer", id)), range, descending, limit).await?;
    found.extend(searched(db, log, filter, Some(("other", id)), range, descending, limit).await?);
    found.sort_unstable_by_key(|(idx, _)| *idx);
    // An entry whose two ends are the same participant is found twice.
    found.dedup_by_key(|(idx, _)| *idx);
    if descending {
        found.reverse();
    }
    found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(found)
}

async fn searched(
    db: &Db,
    log: i32,
    filter: &Prefilter,
    by: Option<(&'static str, i32)>,
    (start, end): (i64, i64),
    descending: bool,
    limit: u32,
) -> Result<Vec<(u64, Vec<u8>)>, Error> {
    // Told which, SQLite goes by the index or fails; left to itself it reads every entry of the range by its primary key.
    let index = match (db, by) {
        (Db::Sqlite(_), Some((column, _))) => format!("INDEXED BY ledger_entry_{column} "),
        (Db::Sqlite(_) | Db::Postgres(_), _) => String::new(),
    };
    let mut sql =
        format!("SELECT idx, entry FROM ledger_entry {index}WHERE log = $1 AND idx >= $2 AND idx < $3");
    let mut parameters = 4..;
    let mut condition = |column: &str| {
        let n = parameters.next().unwrap_or_default();
        sql += &format!(" AND {column} = ${n}");
    };
    if let Some((column, _)) = by {
        condition(column);
    }
    if filter.event.is_some() {
        condition("event");
    }
    if filter.exchange_id.is_some() {
        condition("exchange_id");
    }
    let order = if descending { "DESC" } else { "ASC" };
    let sql = format!("{sql} ORDER BY idx {order} LIMIT {limit}");
    let rows = read!(db, pool => {
        let mut query = sqlx::query_as::<_, (i64, Vec<u8>)>(sqlx::AssertSqlSafe(sql)).bind(log).bind(start).bind(end);
        if let Some((_, id)) = by {
            query = query.bind(id);
        }
        if let Some(event) = filter.event {
            query = query.bind(i16::from(event.code()));
        }
        if let Some(id) = filter.exchange_id {
            query = query.bind(id.as_uuid());
        }
        // Planned for these bounds: a plan for any bounds reads and sorts all that the participant has.
        query.persistent(false).fetch_all(pool).await?
    });
    placed(rows)
}

/// The place of the first leaf that is not before `at`; the log's size where all are. Instants never decrease in a log,
/// so that a time is found in as many steps as the size has bits.
///
/// # Errors
/// [`Error::Database`]; [`Error::Corrupt`] where an entry is missing or there is no such log.
pub async fn entry_at_or_after(db: &Db, log: i32, at: Micros) -> Result<u64, Error> {
    const SQL: &str = "WITH RECURSIVE span (low, high) AS ( \
         SELECT CAST(0 AS BIGINT), size FROM ledger_head WHERE log = $1 \
         UNION ALL \
         SELECT CASE WHEN e.at < $2 THEN e.idx + 1 ELSE s.low END, CASE WHEN e.at < $2 THEN s.high ELSE e.idx END \
         FROM span s JOIN ledger_entry e ON e.log = $1 AND e.idx = (s.low + s.high) / 2 WHERE s.low < s.high) \
         SELECT low FROM span WHERE low = high";
    let found = read!(db, pool => sqlx::query_scalar::<_, i64>(SQL)
        .bind(log).bind(at.get()).fetch_optional(pool).await?);
    to_u64(
        found.ok_or(Error::Corrupt("ledger_entry.idx"))?,
        "ledger_entry.idx",
    )
}

/// Entries of one log that a partition holds on PostgreSQL, as a power of two; the migrations know it too.
const PARTITION_BITS: u32 = 24;

/// Makes, on PostgreSQL, the partitions of the entries from `size` on and of as many again: ahead of need, without
/// waiting for readers or writers and without making them wait (ATTACH takes SHARE UPDATE EXCLUSIVE on the whole,
/// which CREATE TABLE … PARTITION OF would lock ACCESS EXCLUSIVE).
///
/// # Errors
/// [`Error::Database`].
pub async fn partition_ensure(db: &Db, size: u64) -> Result<(), Error> {
    const EXISTS: &str = "SELECT to_regclass($1) IS NOT NULL";
    const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended('unefois/partition', 0))";
    let Db::Postgres(Postgres { pool, .. }) = db else {
        return Ok(());
    };
    let first = to_i64(size >> PARTITION_BITS)?;
    for n in [first, first + 1] {
        let name = format!("ledger_entry_p{n}");
        let exists = || sqlx::query_scalar::<_, bool>(EXISTS).bind(&name);
        if exists().fetch_one(pool).await? {
            continue;
        }
        let mut tx = pool.begin().await?;
        sqlx::query("SET LOCAL lock_timeout = '1s'")
            .execute(&mut *tx)
            .await?;
        sqlx::query(LOCK).execute(&mut *tx).await?;
        // Another replica may have been first.
        if !exists().fetch_one(&mut *tx).await? {
            let (from, to) = (n << PARTITION_BITS, (n + 1) << PARTITION_BITS);
            let sql = format!(
                "CREATE TABLE {name} (LIKE ledger_entry INCLUDING ALL); \
                 ALTER TABLE ledger_entry ATTACH PARTITION {name} FOR VALUES FROM ({from}) TO ({to})"
            );
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut *tx).await?;
        }
        tx.commit().await?;
    }
    Ok(())
}

/// Whether a log that grew from `from` to `to` should make sure of its next partition: now and then, from the middle
/// of the one it fills.
pub const fn partition_is_due(from: u64, to: u64) -> bool {
    const STEP: u32 = PARTITION_BITS - 4;
    let half = (to >> (PARTITION_BITS - 1)) & 1 == 1;
    half && from >> STEP != to >> STEP
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
    const SQL: &str = "SELECT r.name AS requester, p.name AS provider, d.name AS datatype, outcome, count FROM ( \
         SELECT requester, provider, datatype, outcome, COUNT(*) AS count FROM ledger_entry \
         WHERE log = $1 AND idx >= $2 AND idx < $3 AND exchange_id IS NOT NULL AND outcome IS NOT NULL \
         GROUP BY requester, provider, datatype, outcome) AS counted \
         LEFT JOIN ledger_name r ON r.id = requester LEFT JOIN ledger_name p ON p.id = provider \
         LEFT JOIN ledger_name d ON d.id = datatype";
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
