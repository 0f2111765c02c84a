//! What each request id stands for, and what producers have yet to be told.

use unefois_core::{ExchangeId, Micros, Sha256};

use super::Mac;
use crate::{Db, Error, Tx, on, read, to_array};

/// A request as it was first made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRow {
    /// Whose back-office asked.
    pub tenant: String,
    /// Its id, among that tenant's.
    pub request_id: ExchangeId,
    /// The handle it is under.
    pub handle: Mac,
    /// How often it was begun, this time included.
    pub attempts: u16,
    /// When it was first begun.
    pub at: Micros,
    /// The nonce and what is asked for.
    pub sealed: Vec<u8>,
}

/// Begins an attempt of a request: the row as it stands, which is `first` unless the tenant used the id before. One id
/// of a tenant, one row, over all replicas.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn request_begin(tx: &mut Tx, first: &RequestRow) -> Result<RequestRow, Error> {
    const SQL: &str = "INSERT INTO consumer_request (tenant, request_id, handle, attempts, at, sealed) \
         VALUES ($1, $2, $3, 1, $4, $5) \
         ON CONFLICT (tenant, request_id) DO UPDATE SET attempts = consumer_request.attempts + 1 \
         RETURNING handle, attempts, at, sealed";
    type Row = (Vec<u8>, i32, i64, Vec<u8>);
    let (handle, attempts, at, sealed) = on!(tx, c => sqlx::query_as::<_, Row>(SQL)
        .bind(&first.tenant).bind(first.request_id.as_uuid()).bind(&first.handle[..]).bind(first.at.get()).bind(&first.sealed[..])
        .fetch_one(c).await?);
    Ok(RequestRow {
        tenant: first.tenant.clone(),
        request_id: first.request_id,
        handle: to_array(handle, "consumer_request.handle")?,
        // An exchange of more attempts is nobody's; the count stays at its end.
        attempts: u16::try_from(attempts).unwrap_or(u16::MAX),
        at: Micros::new(at),
        sealed,
    })
}

/// Notes an entry of `provider` (a SIRET) that a tenant received and logged.
///
/// # Errors
/// [`Error::Database`].
pub async fn acknowledgement_insert(
    tx: &mut Tx,
    tenant: &str,
    provider: &str,
    leaf: &Sha256,
    at: Micros,
) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO consumer_acknowledgement (tenant, provider, leaf, at) \
         VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
    on!(tx, c => sqlx::query(SQL).bind(tenant).bind(provider).bind(&leaf.as_bytes()[..]).bind(at.get())
        .execute(c).await.map(drop)?);
    Ok(())
}

/// The oldest entries of a tenant that `provider` has yet to be told of, at most `limit`.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn acknowledgements(
    db: &Db,
    tenant: &str,
    provider: &str,
    limit: u16,
) -> Result<Vec<Sha256>, Error> {
    const SQL: &str = "SELECT leaf FROM consumer_acknowledgement WHERE tenant = $1 AND provider = $2 \
         ORDER BY at, leaf LIMIT $3";
    let rows = read!(db, pool => sqlx::query_scalar::<_, Vec<u8>>(SQL)
        .bind(tenant).bind(provider).bind(i64::from(limit)).fetch_all(pool).await?);
    rows.into_iter()
        .map(|leaf| to_array(leaf, "consumer_acknowledgement.leaf").map(Sha256::from_bytes))
        .collect()
}

/// Forgets entries of a tenant that `provider` has been told of.
///
/// # Errors
/// [`Error::Database`].
pub async fn acknowledgements_delete(
    tx: &mut Tx,
    tenant: &str,
    provider: &str,
    leaves: &[Sha256],
) -> Result<(), Error> {
    const SQL: &str =
        "DELETE FROM consumer_acknowledgement WHERE tenant = $1 AND provider = $2 AND leaf = $3";
    for leaf in leaves {
        on!(tx, c => sqlx::query(SQL).bind(tenant).bind(provider).bind(&leaf.as_bytes()[..]).execute(c).await.map(drop)?);
    }
    Ok(())
}

/// Before when rows count no more.
#[derive(Clone, Copy, Debug)]
pub struct Before {
    /// Now: states that have expired go.
    pub now: Micros,
    /// Requests first begun before.
    pub requests: Micros,
    /// Grants that ended before, with their elements.
    pub grants: Micros,
}

/// Deletes what counts no more; how many rows, elements not counted.
///
/// # Errors
/// [`Error::Database`].
pub async fn consumer_sweep(tx: &mut Tx, before: Before) -> Result<u64, Error> {
    const PENDING: &str = "DELETE FROM consumer_pending WHERE expires_at <= $1";
    const REQUESTS: &str = "DELETE FROM consumer_request WHERE at < $1";
    const GRANTS: &str = "DELETE FROM consumer_grant WHERE ends_at < $1";
    let mut rows = 0;
    for (sql, bound) in [
        (PENDING, before.now),
        (REQUESTS, before.requests),
        (GRANTS, before.grants),
    ] {
        rows += on!(tx, c => sqlx::query(sql).bind(bound.get()).execute(c).await?.rows_affected());
    }
    Ok(rows)
}
