//! Which request holds a handle: where invariant I2 rests.
//!
//! A claim is read and written under its lock: on PostgreSQL an advisory lock a key for the length of the
//! transaction, on SQLite the database's own. Each write says what it expects to find and how many rows it changed,
//! so that even without the lock one request alone holds a key.

use sqlx::sqlite::SqliteConnection;
use unefois_core::{ExchangeId, Handle, Micros, Sha256};
use uuid::Uuid;

use crate::rows::{PgQuery, Script, SqliteQuery};
use crate::{Db, Error, Tx, on, read, to_array};

/// The key of a claim: a one-shot handle, or a standing handle with one request id.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClaimKey(pub(crate) Vec<u8>);

impl ClaimKey {
    /// The key of a one-shot handle.
    pub fn once(handle: &Handle) -> Self {
        Self(handle.as_bytes().to_vec())
    }

    /// The key of one use of a standing handle.
    pub fn standing(handle: &Handle, request_id: &ExchangeId) -> Self {
        Self([handle.as_bytes().as_slice(), request_id.as_bytes()].concat())
    }

    /// The number that PostgreSQL locks the key by. Two keys may share one: the second then waits for no reason.
    pub(crate) fn lock(&self) -> i64 {
        let [a, b, c, d, e, f, g, h, ..] = *Sha256::of_parts(&[b"unefois/claim", &self.0]).as_bytes();
        i64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

/// A key holds a handle, so a log never shows one.
impl std::fmt::Debug for ClaimKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClaimKey(…)")
    }
}

/// Which request holds a key, and how often its answer may have left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// SIRET of the client.
    pub client: String,
    /// The request.
    pub request_id: Uuid,
    /// Hash of the canonical request.
    pub request_hash: Sha256,
    /// Binds the claim to what was sent; `None` once blanked.
    pub payload_mac: Option<[u8; 32]>,
    /// Entries `released` and `released_again` that no `withheld` closed.
    pub live: i32,
    /// Instant of the first `released`.
    pub at: Micros,
}

type Row = (Vec<u8>, String, Uuid, Vec<u8>, Option<Vec<u8>>, i32, i64);

fn claim((key, client, request_id, hash, mac, live, at): Row) -> Result<(ClaimKey, Claim), Error> {
    let claim = Claim {
        client,
        request_id,
        request_hash: Sha256::from_bytes(to_array(hash, "claim.request_hash")?),
        payload_mac: mac.map(|mac| to_array(mac, "claim.payload_mac")).transpose()?,
        live,
        at: Micros::new(at),
    };
    Ok((ClaimKey(key), claim))
}

/// Locks `keys` until the transaction ends, without waiting; those that another transaction holds.
///
/// # Errors
/// [`Error::Database`].
pub async fn claim_lock(tx: &mut Tx, keys: &[&ClaimKey]) -> Result<Vec<ClaimKey>, Error> {
    match tx {
        Tx::Postgres(tx) => {
            const SQL: &str = "SELECT pg_try_advisory_xact_lock(k) FROM UNNEST($1::bigint[]) WITH ORDINALITY AS t (k, n) ORDER BY n";
            let locks: Vec<i64> = keys.iter().map(|key| key.lock()).collect();
            let got: Vec<bool> = sqlx::query_scalar(SQL).bind(locks).fetch_all(&mut **tx).await?;
            let missed = keys.iter().zip(got).filter(|(_, got)| !got);
            Ok(missed.map(|(key, _)| (*key).clone()).collect())
        }
        // One writer: whoever is in a transaction holds every key.
        Tx::Sqlite(_) => Ok(Vec::new()),
    }
}

/// The claims on `keys`.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn claim_read(tx: &mut Tx, keys: &[&ClaimKey]) -> Result<Vec<(ClaimKey, Claim)>, Error> {
    let found: Vec<Row> = match tx {
        Tx::Postgres(tx) => {
            // One look-up a key: the planner, which knows nothing of the array, might else read the whole table.
            const SQL: &str = "SELECT c.key, client, request_id, request_hash, payload_mac, live, at \
                 FROM UNNEST($1::bytea[]) AS wanted (key) CROSS JOIN LATERAL \
                 (SELECT * FROM claim WHERE claim.key = wanted.key LIMIT 1) AS c";
            let keys: Vec<&[u8]> = keys.iter().map(|key| key.0.as_slice()).collect();
            sqlx::query_as(SQL).bind(keys).fetch_all(&mut **tx).await?
        }
        Tx::Sqlite(tx) => {
            const SQL: &str = "SELECT key, client, request_id, request_hash, payload_mac, live, at FROM claim WHERE key = $1";
            let mut found = Vec::new();
            for key in keys {
                let row = sqlx::query_as::<_, Row>(SQL)
                    .bind(&key.0[..])
                    .fetch_optional(&mut **tx)
                    .await?;
                found.extend(row);
            }
            found
        }
    };
    found.into_iter().map(claim).collect()
}

/// The claim on `key` as it is committed, to refuse early; only the sequencer decides.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn claim_peek(db: &Db, key: &ClaimKey) -> Result<Option<Claim>, Error> {
    const SQL: &str =
        "SELECT key, client, request_id, request_hash, payload_mac, live, at FROM claim WHERE key = $1";
    let row = read!(db, pool => sqlx::query_as::<_, Row>(SQL).bind(&key.0[..]).fetch_optional(pool).await?);
    Ok(row.map(claim).transpose()?.map(|(_, claim)| claim))
}

/// Makes new claims; how many keys were free.
///
/// # Errors
/// [`Error::Database`].
pub async fn claim_insert(tx: &mut Tx, claims: &[(&ClaimKey, &Claim)]) -> Result<u64, Error> {
    match tx {
        Tx::Postgres(tx) => {
            const SQL: &str = "INSERT INTO claim (key, client, request_id, request_hash, payload_mac, live, at) \
                 SELECT unnest($1::bytea[]), unnest($2::text[]), unnest($3::uuid[]), unnest($4::bytea[]), \
                 unnest($5::bytea[]), unnest($6::int[]), unnest($7::bigint[]) \
                 ON CONFLICT (key) DO NOTHING";
            let done = bind_claims(sqlx::query(SQL), claims).execute(&mut **tx).await?;
            Ok(done.rows_affected())
        }
        Tx::Sqlite(tx) => {
            let mut script = Script::default();
            script_claims(tx, &mut script, "ON CONFLICT (key) DO NOTHING", claims).await?;
            script.end(tx).await
        }
    }
}

/// Binds the seven columns.
pub(crate) fn bind_claims<'q>(query: PgQuery<'q>, claims: &[(&ClaimKey, &Claim)]) -> PgQuery<'q> {
    fn column<'a, T>(claims: &[(&ClaimKey, &'a Claim)], of: impl Fn(&'a Claim) -> T) -> Vec<T> {
        claims.iter().map(|(_, claim)| of(claim)).collect()
    }
    let keys: Vec<&[u8]> = claims.iter().map(|(key, _)| key.0.as_slice()).collect();
    query
        .bind(keys)
        .bind(column(claims, |c| c.client.as_str()))
        .bind(column(claims, |c| c.request_id))
        .bind(column(claims, |c| &c.request_hash.as_bytes()[..]))
        .bind(column(claims, |c| c.payload_mac.as_ref().map(|mac| &mac[..])))
        .bind(column(claims, |c| c.live))
        .bind(column(claims, |c| c.at.get()))
}

/// Adds new claims to what SQLite shall execute.
pub(crate) async fn script_claims(
    conn: &mut SqliteConnection,
    script: &mut Script,
    conflict: &'static str,
    claims: &[(&ClaimKey, &Claim)],
) -> Result<(), Error> {
    const HEAD: &str =
        "INSERT INTO claim (key, client, request_id, request_hash, payload_mac, live, at) VALUES";
    let bind = |query: SqliteQuery, (key, claim): &(&ClaimKey, &Claim)| {
        query
            .bind(key.0.clone())
            .bind(claim.client.clone())
            .bind(claim.request_id)
            .bind(claim.request_hash.as_bytes().to_vec())
            .bind(claim.payload_mac.map(|mac| mac.to_vec()))
            .bind(claim.live)
            .bind(claim.at.get())
    };
    script.insert(conn, (HEAD, conflict), 7, claims, bind).await
}

/// Sets `live` of the claim that is now `from`; `false` if the row is another.
///
/// # Errors
/// [`Error::Database`].
pub async fn claim_update(tx: &mut Tx, key: &ClaimKey, from: &Claim, live: i32) -> Result<bool, Error> {
    const SQL: &str = "UPDATE claim SET live = $6 \
         WHERE key = $1 AND client = $2 AND request_id = $3 AND request_hash = $4 AND live = $5";
    let hash = from.request_hash.as_bytes().to_vec();
    let done = on!(tx, c => sqlx::query(SQL)
        .bind(&key.0[..]).bind(from.client.as_str()).bind(from.request_id).bind(hash).bind(from.live).bind(live)
        .execute(c).await?.rows_affected());
    Ok(done == 1)
}

/// Frees the key that `from` holds; `false` if the row is another.
///
/// # Errors
/// [`Error::Database`].
pub async fn claim_delete(tx: &mut Tx, key: &ClaimKey, from: &Claim) -> Result<bool, Error> {
    const SQL: &str = "DELETE FROM claim \
         WHERE key = $1 AND client = $2 AND request_id = $3 AND request_hash = $4 AND live = $5";
    let hash = from.request_hash.as_bytes().to_vec();
    let done = on!(tx, c => sqlx::query(SQL)
        .bind(&key.0[..]).bind(from.client.as_str()).bind(from.request_id).bind(hash).bind(from.live)
        .execute(c).await?.rows_affected());
    Ok(done == 1)
}

/// How often a standing handle was used, and when last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uses {
    /// Uses that no `withheld` gave back.
    pub uses: i64,
    /// Instant of the last one.
    pub at: Micros,
}

/// The uses of a standing handle, under the lock of `ClaimKey::once(handle)`.
///
/// # Errors
/// [`Error::Database`].
pub async fn uses_read(tx: &mut Tx, handle: &Handle) -> Result<Option<Uses>, Error> {
    const SQL: &str = "SELECT uses, at FROM claim_count WHERE handle = $1";
    let row = on!(tx, c => sqlx::query_as::<_, (i64, i64)>(SQL).bind(&handle.as_bytes()[..]).fetch_optional(c).await?);
    Ok(row.map(|(uses, at)| Uses {
        uses,
        at: Micros::new(at),
    }))
}

/// The committed uses of a standing handle, to refuse early.
///
/// # Errors
/// [`Error::Database`].
pub async fn uses_peek(db: &Db, handle: &Handle) -> Result<Option<Uses>, Error> {
    const SQL: &str = "SELECT uses, at FROM claim_count WHERE handle = $1";
    let row = read!(db, pool => sqlx::query_as::<_, (i64, i64)>(SQL).bind(&handle.as_bytes()[..]).fetch_optional(pool).await?);
    Ok(row.map(|(uses, at)| Uses {
        uses,
        at: Micros::new(at),
    }))
}

/// Sets the uses of a standing handle, which were `from`; `false` if they are others.
///
/// # Errors
/// [`Error::Database`].
pub async fn uses_write(tx: &mut Tx, handle: &Handle, from: Option<Uses>, to: Uses) -> Result<bool, Error> {
    const INSERT: &str =
        "INSERT INTO claim_count (handle, uses, at) VALUES ($1, $2, $3) ON CONFLICT (handle) DO NOTHING";
    const UPDATE: &str = "UPDATE claim_count SET uses = $2, at = $3 WHERE handle = $1 AND uses = $4";
    let handle = &handle.as_bytes()[..];
    let done = match from {
        None => on!(tx, c => sqlx::query(INSERT).bind(handle).bind(to.uses).bind(to.at.get())
            .execute(c).await?.rows_affected()),
        Some(from) => {
            on!(tx, c => sqlx::query(UPDATE).bind(handle).bind(to.uses).bind(to.at.get()).bind(from.uses)
            .execute(c).await?.rows_affected())
        }
    };
    Ok(done == 1)
}

/// Deletes claims made before `claims`, blanks the payload MACs of those made before `macs`, deletes the counts of
/// standing handles last used before `counts`; how many rows.
///
/// # Errors
/// [`Error::Database`].
pub async fn claim_purge(tx: &mut Tx, claims: Micros, macs: Micros, counts: Micros) -> Result<u64, Error> {
    const DELETE: &str = "DELETE FROM claim WHERE at < $1";
    const BLANK: &str = "UPDATE claim SET payload_mac = NULL WHERE at < $1 AND payload_mac IS NOT NULL";
    const COUNTS: &str = "DELETE FROM claim_count WHERE at < $1";
    let mut rows = 0;
    for (sql, before) in [(DELETE, claims), (BLANK, macs), (COUNTS, counts)] {
        rows += on!(tx, c => sqlx::query(sql).bind(before.get()).execute(c).await?.rows_affected());
    }
    Ok(rows)
}
