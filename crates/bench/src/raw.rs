//! The same rows, tables and indexes in one raw statement: no hash, claim check, fence or signature.

use sqlx::Connection as _;
use unefois_core::{Micros, Random};
use uuid::Uuid;

use crate::Error;
use crate::sample::Draws;
use crate::sql::{Sql, chunks, values};

/// The number of the log that the rows go to; no log has it.
const LOG: i32 = 1_000_000;

/// A row of `ledger_entry` as it is.
#[derive(Clone, Debug, sqlx::FromRow)]
struct EntryRow {
    event: i16,
    outcome: Option<i16>,
    at: i64,
    leaf: i64,
    units: i64,
    exchange_id: Option<Uuid>,
    peer: Option<i32>,
    requester: Option<i32>,
    provider: Option<i32>,
    holder: Option<i32>,
    datatype: Option<i32>,
    demarche: Option<i32>,
    habilitation: Option<i32>,
    legal_basis: Option<i32>,
    capacity: Option<i16>,
    acr: Option<i16>,
    entry: Vec<u8>,
}

/// The rows of one append beside its entry.
struct Beside {
    handle: Vec<u8>,
    request_id: Uuid,
    digest: Vec<u8>,
    handle_mac: Vec<u8>,
    person_mac: Vec<u8>,
}

pub(crate) struct Raw {
    next: i64,
    rows: Vec<EntryRow>,
    checkpoint: String,
    draws: Draws,
    month: i32,
    unit: i32,
}

/// What one batch writes, made before the clock starts.
pub(crate) struct RawBatch {
    first: i64,
    entries: Vec<EntryRow>,
    beside: Vec<Beside>,
    tiles: Vec<i64>,
}

const ENTRY: &str = "INSERT INTO ledger_entry (log, idx, event, outcome, at, leaf, units, exchange_id, peer, requester, \
     provider, holder, datatype, demarche, habilitation, legal_basis, capacity, acr, entry)";
const CLAIM: &str = "INSERT INTO claim (key, client, request_id, request_hash, payload_mac, live, at)";
const HANDLE: &str = "INSERT INTO handle_index (log, bucket, mac, idx)";
const PERSON: &str = "INSERT INTO person_index (log, bucket, mac, idx)";
const SECRET: &str = "INSERT INTO grant_secret (month, unit, log, mac, secret)";
const TILE: &str = "INSERT INTO ledger_tile (log, level, idx, hashes)";
const HEAD: &str = "UPDATE ledger_head SET size = $2, root = $3, at = $4, view_epoch = 0, view_seq = 0, checkpoint = $5 \
     WHERE log = $1";

impl Raw {
    /// Takes its rows from the log that is there.
    pub(crate) async fn new(sql: &mut Sql, now: Micros) -> Result<Self, Error> {
        const ROWS: &str = "SELECT event, outcome, at, leaf, units, exchange_id, peer, requester, provider, holder, datatype, \
             demarche, habilitation, legal_basis, capacity, acr, entry FROM ledger_entry WHERE exchange_id IS NOT NULL \
             ORDER BY log, idx LIMIT 2048";
        const COPY: &str = "INSERT INTO ledger_head (log, origin, epoch, holder, size, root, at, view_epoch, view_seq, \
             checkpoint) SELECT 1000000, 'raw', epoch, holder, 0, root, at, 0, 0, checkpoint FROM ledger_head LIMIT 1";
        const CHECKPOINT: &str = "SELECT checkpoint FROM ledger_head WHERE log = $1";
        sql.execute(COPY).await?;
        let (rows, checkpoint) = match sql {
            Sql::Postgres(c) => (
                sqlx::query_as(ROWS).fetch_all(&mut *c).await?,
                sqlx::query_scalar(CHECKPOINT).bind(LOG).fetch_one(c).await?,
            ),
            Sql::Sqlite(c) => (
                sqlx::query_as(ROWS).fetch_all(&mut *c).await?,
                sqlx::query_scalar(CHECKPOINT).bind(LOG).fetch_one(c).await?,
            ),
        };
        Ok(Self {
            next: 0,
            rows,
            checkpoint,
            draws: Draws::new(0x5851_f42d_4c95_7f2d),
            month: now.month().ordinal(),
            unit: i32::try_from(now.secs().div_euclid(4_096).rem_euclid(1 << 16)).unwrap_or(0),
        })
    }

    /// Makes the rows of a batch of `count` appends.
    pub(crate) fn prepare(&mut self, count: usize) -> RawBatch {
        let random: &dyn Random = &self.draws;
        let first = self.next;
        let end = first + i64::try_from(count).unwrap_or(0);
        self.next = end;
        let unit = u16::try_from(self.unit).unwrap_or(0).to_be_bytes();
        // Keys in order, as the ledger writes them.
        let keys = || {
            let mut keys: Vec<[u8; 16]> = (0..count).map(|_| random.bytes()).collect();
            keys.sort_unstable();
            keys
        };
        let beside = |((handle, handle_mac), person_mac): (([u8; 16], [u8; 16]), [u8; 16])| Beside {
            handle: [&unit[..], &handle[..14]].concat(),
            request_id: random.uuid_v4(),
            digest: random.bytes::<32>().to_vec(),
            handle_mac: handle_mac[1..].to_vec(),
            person_mac: person_mac[1..].to_vec(),
        };
        RawBatch {
            first,
            entries: self.rows.iter().cycle().take(count).cloned().collect(),
            beside: keys().into_iter().zip(keys()).zip(keys()).map(beside).collect(),
            tiles: (first / 256..end / 256).collect(),
        }
    }

    /// Writes a batch durably.
    pub(crate) async fn insert(&self, sql: &mut Sql, batch: &RawBatch) -> Result<(), Error> {
        match sql {
            Sql::Postgres(c) => self.insert_postgres(c, batch).await,
            Sql::Sqlite(c) => self.insert_sqlite(c, batch).await,
        }
    }

    async fn insert_postgres(&self, conn: &mut sqlx::PgConnection, batch: &RawBatch) -> Result<(), Error> {
        let sql = format!(
            "WITH e AS ({ENTRY} SELECT $1, unnest($6::bigint[]), unnest($7::smallint[]), unnest($8::smallint[]), \
             unnest($9::bigint[]), unnest($10::bigint[]), unnest($11::bigint[]), unnest($12::uuid[]), unnest($13::int[]), \
             unnest($14::int[]), unnest($15::int[]), unnest($16::int[]), unnest($17::int[]), unnest($18::int[]), \
             unnest($19::int[]), unnest($20::int[]), unnest($21::smallint[]), unnest($22::smallint[]), \
             unnest($23::bytea[])), \
             c AS ({CLAIM} SELECT unnest($24::bytea[]), '21920023500014', unnest($25::uuid[]), unnest($26::bytea[]), \
             unnest($26::bytea[]), 1, $4), \
             h AS ({HANDLE} SELECT $1, unnest($6::bigint[]) >> 13, unnest($27::bytea[]), unnest($6::bigint[])), \
             p AS ({PERSON} SELECT $1, unnest($6::bigint[]) >> 13, unnest($28::bytea[]), unnest($6::bigint[])), \
             s AS ({SECRET} SELECT $29, $30, $1, unnest($27::bytea[]), unnest($26::bytea[])), \
             t AS ({TILE} SELECT $1, 0, unnest($31::bigint[]), $32) {HEAD}"
        );
        let (entries, beside) = (&batch.entries, &batch.beside);
        fn column<T, U>(rows: &[T], of: impl Fn(&T) -> U) -> Vec<U> {
            rows.iter().map(of).collect()
        }
        let places: Vec<i64> = (batch.first..).take(entries.len()).collect();
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(LOG)
            .bind(self.next)
            .bind(vec![7_u8; 32])
            .bind(entries.last().map_or(0, |entry| entry.at))
            .bind(self.checkpoint.as_str())
            .bind(places)
            .bind(column(entries, |e| e.event))
            .bind(column(entries, |e| e.outcome))
            .bind(column(entries, |e| e.at))
            .bind(column(entries, |e| e.leaf))
            .bind(column(entries, |e| e.units))
            .bind(column(entries, |e| e.exchange_id))
            .bind(column(entries, |e| e.peer))
            .bind(column(entries, |e| e.requester))
            .bind(column(entries, |e| e.provider))
            .bind(column(entries, |e| e.holder))
            .bind(column(entries, |e| e.datatype))
            .bind(column(entries, |e| e.demarche))
            .bind(column(entries, |e| e.habilitation))
            .bind(column(entries, |e| e.legal_basis))
            .bind(column(entries, |e| e.capacity))
            .bind(column(entries, |e| e.acr))
            .bind(entries.iter().map(|e| e.entry.as_slice()).collect::<Vec<_>>())
            .bind(beside.iter().map(|b| b.handle.as_slice()).collect::<Vec<_>>())
            .bind(column(beside, |b| b.request_id))
            .bind(beside.iter().map(|b| b.digest.as_slice()).collect::<Vec<_>>())
            .bind(beside.iter().map(|b| b.handle_mac.as_slice()).collect::<Vec<_>>())
            .bind(beside.iter().map(|b| b.person_mac.as_slice()).collect::<Vec<_>>())
            .bind(self.month)
            .bind(self.unit)
            .bind(batch.tiles.as_slice())
            .bind(vec![7_u8; 8_192])
            .execute(conn)
            .await?;
        Ok(())
    }

    async fn insert_sqlite(&self, conn: &mut sqlx::SqliteConnection, batch: &RawBatch) -> Result<(), Error> {
        let mut tx = conn.begin_with("BEGIN IMMEDIATE").await?;
        let rows: Vec<(i64, &EntryRow, &Beside)> = (batch.first..)
            .zip(&batch.entries)
            .zip(&batch.beside)
            .map(|((idx, entry), beside)| (idx, entry, beside))
            .collect();
        for chunk in chunks(&rows) {
            let query = chunk
                .iter()
                .fold(sqlx::query(values(ENTRY, 19, chunk.len())), |q, (idx, e, _)| {
                    q.bind(LOG)
                        .bind(*idx)
                        .bind(e.event)
                        .bind(e.outcome)
                        .bind(e.at)
                        .bind(e.leaf)
                        .bind(e.units)
                        .bind(e.exchange_id)
                        .bind(e.peer)
                        .bind(e.requester)
                        .bind(e.provider)
                        .bind(e.holder)
                        .bind(e.datatype)
                        .bind(e.demarche)
                        .bind(e.habilitation)
                        .bind(e.legal_basis)
                        .bind(e.capacity)
                        .bind(e.acr)
                        .bind(e.entry.as_slice())
                });
            query.execute(&mut *tx).await?;
            let query = chunk
                .iter()
                .fold(sqlx::query(values(CLAIM, 7, chunk.len())), |q, (_, e, b)| {
                    q.bind(b.handle.as_slice())
                        .bind("21920023500014")
                        .bind(b.request_id)
                        .bind(b.digest.as_slice())
                        .bind(b.digest.as_slice())
                        .bind(1)
                        .bind(e.at)
                });
            query.execute(&mut *tx).await?;
            let query = chunk
                .iter()
                .fold(sqlx::query(values(HANDLE, 4, chunk.len())), |q, (idx, _, b)| {
                    q.bind(LOG)
                        .bind(idx >> 13)
                        .bind(b.handle_mac.as_slice())
                        .bind(*idx)
                });
            query.execute(&mut *tx).await?;
            let query = chunk
                .iter()
                .fold(sqlx::query(values(PERSON, 4, chunk.len())), |q, (idx, _, b)| {
                    q.bind(LOG)
                        .bind(idx >> 13)
                        .bind(b.person_mac.as_slice())
                        .bind(*idx)
                });
            query.execute(&mut *tx).await?;
            let query = chunk
                .iter()
                .fold(sqlx::query(values(SECRET, 5, chunk.len())), |q, (_, _, b)| {
                    q.bind(self.month)
                        .bind(self.unit)
                        .bind(LOG)
                        .bind(b.handle_mac.as_slice())
                        .bind(b.digest.as_slice())
                });
            query.execute(&mut *tx).await?;
        }
        for tile in &batch.tiles {
            let query = sqlx::query(values(TILE, 4, 1))
                .bind(LOG)
                .bind(0)
                .bind(*tile)
                .bind(vec![7_u8; 8_192]);
            query.execute(&mut *tx).await?;
        }
        sqlx::query(HEAD)
            .bind(LOG)
            .bind(self.next)
            .bind(vec![7_u8; 32])
            .bind(batch.entries.last().map_or(0, |entry| entry.at))
            .bind(self.checkpoint.as_str())
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }
}
