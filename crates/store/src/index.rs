//! The erasable indexes beside the logs, and the secrets that open their commitments.

use sqlx::sqlite::SqliteConnection;
use unefois_core::Month;
use unefois_core::commitment::GrantSecret;

use crate::rows::{PgQuery, Script, SqliteQuery};
use crate::{Db, Error, Tx, read, to_array, to_i64, to_u64};

/// Entries a bucket of an index: within one, keys are random; the buckets grow to the right.
pub(crate) const BUCKET_BITS: u32 = 13;

/// The key of a handle or a person in an index: an HMAC under the node's key.
pub type Mac = [u8; 32];

/// How much of it is stored: enough to tell a billion apart, and a length that PostgreSQL need not pad.
const STORED: usize = 15;

/// A key as the indexes store it.
pub type StoredMac = [u8; STORED];

/// The end of the stored key of whatever finds a person a second time, so that people are counted without it. A key that is
/// none ends so once in 16 million.
const ALIAS: [u8; 3] = [0xa1, 0x1a, 0x5e];

/// The key of what finds a person a second time: `mac`, marked.
pub fn alias(mut mac: Mac) -> Mac {
    mac[STORED - ALIAS.len()..STORED].copy_from_slice(&ALIAS);
    mac
}

/// Whether a stored key finds somebody whom another key of the same entry finds too.
pub fn is_alias(key: &StoredMac) -> bool {
    key.ends_with(&ALIAS)
}

fn stored(mac: &Mac) -> &[u8] {
    &mac[..STORED]
}

/// One of the two indexes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Index {
    /// By handle.
    Handle,
    /// By person.
    Person,
}

/// Notes which handles or persons the entries of a batch are about.
///
/// # Errors
/// [`Error::Database`], [`Error::Range`].
pub async fn index_insert(tx: &mut Tx, index: Index, log: i32, pairs: &[(Mac, u64)]) -> Result<(), Error> {
    if pairs.is_empty() {
        return Ok(());
    }
    match tx {
        Tx::Postgres(tx) => {
            let sql = match index {
                Index::Handle => {
                    "INSERT INTO handle_index (log, bucket, mac, idx) \
                     SELECT $4, unnest($1::int[]), unnest($2::bytea[]), unnest($3::bigint[])"
                }
                Index::Person => {
                    "INSERT INTO person_index (log, bucket, mac, idx) \
                     SELECT $4, unnest($1::int[]), unnest($2::bytea[]), unnest($3::bigint[])"
                }
            };
            let query = bind_index(sqlx::query(sql), pairs)?.bind(log);
            query.execute(&mut **tx).await?;
        }
        Tx::Sqlite(tx) => {
            let mut script = Script::default();
            script_index(tx, &mut script, index, log, pairs).await?;
            script.end(tx).await?;
        }
    }
    Ok(())
}

/// Binds buckets, keys and places.
pub(crate) fn bind_index<'q>(query: PgQuery<'q>, pairs: &[(Mac, u64)]) -> Result<PgQuery<'q>, Error> {
    let (mut buckets, mut macs, mut places) = (Vec::new(), Vec::new(), Vec::new());
    for (mac, idx) in pairs {
        buckets.push(bucket(*idx)?);
        macs.push(stored(mac));
        places.push(to_i64(*idx)?);
    }
    Ok(query.bind(buckets).bind(macs).bind(places))
}

/// Adds the rows of an index to what SQLite shall execute.
pub(crate) async fn script_index(
    conn: &mut SqliteConnection,
    script: &mut Script,
    index: Index,
    log: i32,
    pairs: &[(Mac, u64)],
) -> Result<(), Error> {
    let head = match index {
        Index::Handle => "INSERT INTO handle_index (log, bucket, mac, idx) VALUES",
        Index::Person => "INSERT INTO person_index (log, bucket, mac, idx) VALUES",
    };
    let rows = pairs
        .iter()
        .map(|(mac, idx)| Ok((bucket(*idx)?, stored(mac), to_i64(*idx)?)))
        .collect::<Result<Vec<_>, Error>>()?;
    let bind = |query: SqliteQuery, (bucket, mac, idx): &(i32, &[u8], i64)| {
        query.bind(log).bind(*bucket).bind(mac.to_vec()).bind(*idx)
    };
    script.insert(conn, (head, ""), 4, &rows, bind).await
}

/// The entries, below `size`, that the index holds under `mac`, in order.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn index_lookup(db: &Db, index: Index, log: i32, mac: &Mac, size: u64) -> Result<Vec<u64>, Error> {
    let sql = match index {
        Index::Handle => {
            "WITH RECURSIVE b (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM b WHERE n < $2) \
             SELECT h.idx FROM b JOIN handle_index h ON h.log = $1 AND h.bucket = b.n AND h.mac = $3 \
             WHERE h.idx < $4 ORDER BY h.idx"
        }
        Index::Person => {
            "WITH RECURSIVE b (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM b WHERE n < $2) \
             SELECT h.idx FROM b JOIN person_index h ON h.log = $1 AND h.bucket = b.n AND h.mac = $3 \
             WHERE h.idx < $4 ORDER BY h.idx"
        }
    };
    let (last, size) = (bucket(size)?, to_i64(size)?);
    let found = read!(db, pool => sqlx::query_scalar::<_, i64>(sql)
        .bind(log).bind(last).bind(stored(mac)).bind(size).fetch_all(pool).await?);
    found
        .into_iter()
        .map(|idx| to_u64(idx, "handle_index.idx"))
        .collect()
}

/// Whom the entries from `start` up to but not including `end` are about, as the index has it. The buckets that they lie
/// in are looked through whole: of places far apart, ask bucket by bucket ([`index_bucket_end`]).
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`], [`Error::Range`].
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
    let (first, last) = (bucket(start)?, bucket(end.saturating_sub(1))?);
    let (start, end) = (to_i64(start)?, to_i64(end)?);
    let rows = read!(db, pool => sqlx::query_as::<_, (Vec<u8>, i64)>(sql)
        .bind(log).bind(first).bind(last).bind(start).bind(end).fetch_all(pool).await?);
    rows.into_iter()
        .map(|(mac, idx)| Ok((to_array(mac, "an index's mac")?, to_u64(idx, "an index's idx")?)))
        .collect()
}

/// One more than the last entry of the bucket of `idx`.
pub const fn index_bucket_end(idx: u64) -> u64 {
    ((idx >> BUCKET_BITS) + 1) << BUCKET_BITS
}

fn bucket(idx: u64) -> Result<i32, Error> {
    i32::try_from(idx >> BUCKET_BITS).map_err(|_| Error::Range)
}

/// What opens the commitments of one handle in one month.
#[derive(Clone, Debug)]
pub struct SecretRow {
    /// The month of the token's `iat`.
    pub month: Month,
    /// The handle's coarse time ([`unefois_core::Handle::unit`]): where the row lies among those of its month.
    pub unit: u16,
    /// The handle.
    pub mac: Mac,
    /// Its secret.
    pub secret: GrantSecret,
}

/// Keeps the secret of a handle for a month, for no log; one already kept so stays.
///
/// # Errors
/// [`Error::Database`].
pub async fn secret_insert(tx: &mut Tx, secrets: &[SecretRow]) -> Result<(), Error> {
    secret_insert_of(tx, 0, secrets).await
}

/// Keeps the secrets that entries of `log` were committed with; those already kept stay.
///
/// # Errors
/// [`Error::Database`].
pub async fn secret_insert_of(tx: &mut Tx, log: i32, secrets: &[SecretRow]) -> Result<(), Error> {
    if secrets.is_empty() {
        return Ok(());
    }
    match tx {
        Tx::Postgres(tx) => {
            const SQL: &str = "INSERT INTO grant_secret (month, unit, log, mac, secret) SELECT unnest($1::int[]), \
                 unnest($2::int[]), $5, unnest($3::bytea[]), unnest($4::bytea[]) ON CONFLICT DO NOTHING";
            let query = bind_secrets(sqlx::query(SQL), secrets).bind(log);
            query.execute(&mut **tx).await?;
        }
        Tx::Sqlite(tx) => {
            let mut script = Script::default();
            script_secrets(tx, &mut script, log, secrets).await?;
            script.end(tx).await?;
        }
    }
    Ok(())
}

/// Binds months, units, keys and secrets.
pub(crate) fn bind_secrets<'q>(query: PgQuery<'q>, secrets: &[SecretRow]) -> PgQuery<'q> {
    let months: Vec<i32> = secrets.iter().map(|row| row.month.ordinal()).collect();
    let units: Vec<i32> = secrets.iter().map(|row| row.unit.into()).collect();
    let macs: Vec<&[u8]> = secrets.iter().map(|row| stored(&row.mac)).collect();
    let values: Vec<&[u8]> = secrets.iter().map(|row| &row.secret.as_bytes()[..]).collect();
    query.bind(months).bind(units).bind(macs).bind(values)
}

/// Adds secrets to what SQLite shall execute.
pub(crate) async fn script_secrets(
    conn: &mut SqliteConnection,
    script: &mut Script,
    log: i32,
    secrets: &[SecretRow],
) -> Result<(), Error> {
    const HEAD: &str = "INSERT INTO grant_secret (month, unit, log, mac, secret) VALUES";
    let bind = |query: SqliteQuery, row: &SecretRow| {
        query
            .bind(row.month.ordinal())
            .bind(i32::from(row.unit))
            .bind(log)
            .bind(stored(&row.mac).to_vec())
            .bind(row.secret.as_bytes().to_vec())
    };
    script
        .insert(conn, (HEAD, "ON CONFLICT DO NOTHING"), 5, secrets, bind)
        .await
}

/// The secrets kept for a handle of this `unit`, oldest month first.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn secret_read(
    db: &Db,
    (unit, mac): (u16, &Mac),
    (first, last): (Month, Month),
) -> Result<Vec<GrantSecret>, Error> {
    // Unit -1: rows older than the column.
    const SQL: &str = "SELECT DISTINCT secret, month FROM grant_secret \
         WHERE month >= $1 AND month <= $2 AND unit IN (-1, $3) AND mac = $4 ORDER BY month";
    let found = read!(db, pool => sqlx::query_scalar::<_, Vec<u8>>(SQL)
        .bind(first.ordinal()).bind(last.ordinal()).bind(i32::from(unit)).bind(stored(mac)).fetch_all(pool).await?);
    found
        .into_iter()
        .map(|secret| Ok(GrantSecret::from_bytes(to_array(secret, "grant_secret.secret")?)))
        .collect()
}
