//! What there is to destroy, found by whom it is about.

use unefois_core::commitment::GrantSecret;
use unefois_core::{Handle, LegalBasis, Micros, Month};

use super::Erased;
use crate::claim::ClaimKey;
use crate::index::{Index, Mac, StoredMac, index_lookup};
use crate::name::name_id;
use crate::{Db, Error, read, to_array, to_i64, to_u64};

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

/// The secrets themselves, each with its month, oldest first.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn secret_values(
    db: &Db,
    mac: &StoredMac,
    months: (Month, Month),
) -> Result<Vec<(Month, GrantSecret)>, Error> {
    const SQL: &str = "SELECT DISTINCT secret FROM grant_secret WHERE month = $1 AND unit = $2 AND mac = $3 ORDER BY secret";
    let mut values = Vec::new();
    for row in secrets_of(db, mac, months).await? {
        let Erased::Secret(month, unit, mac) = row else {
            continue;
        };
        let found = read!(db, pool => sqlx::query_scalar::<_, Vec<u8>>(SQL)
            .bind(month).bind(unit).bind(&mac[..]).fetch_all(pool).await?);
        let of_month = months.0.plus(month - months.0.ordinal());
        for secret in found {
            let secret = GrantSecret::from_bytes(to_array(secret, "grant_secret.secret")?);
            values.push((of_month, secret));
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
