//! The proofs that withdrawals have taken effect. Each is written once, by the holder of the epoch.

use unefois_core::Micros;
use unefois_core::revocation::Record;

use super::revocation::{RecordRow, hold, record_of};
use crate::{Db, Error, Tx, on, read, to_i64, to_u64};

/// What became of a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It stands from the commit on.
    First,
    /// One stood already; it stays.
    Before,
    /// This process does not hold the epoch any more; the caller rolls back.
    Superseded,
}

/// Writes the proof of the record `seq` under `epoch`.
pub async fn effect_insert(
    tx: &mut Tx,
    epoch: u64,
    seq: u64,
    effective_at: Micros,
    effect: &[u8],
) -> Result<Written, Error> {
    const SQL: &str = "INSERT INTO revocation_effect (seq, effective_at, effect) VALUES ($1, $2, $3) \
         ON CONFLICT (seq) DO NOTHING";
    // Whoever takes the epoch waits for this transaction.
    if !hold(tx, epoch).await? {
        return Ok(Written::Superseded);
    }
    let seq = to_i64(seq)?;
    let rows = on!(tx, c => {
        sqlx::query(SQL).bind(seq).bind(effective_at.get()).bind(effect).execute(c).await?.rows_affected()
    });
    Ok(match rows {
        0 => Written::Before,
        _ => Written::First,
    })
}

/// When the record `seq` had taken effect, and the proof; `None` while it has not.
pub async fn effect_read(db: &Db, seq: u64) -> Result<Option<(Micros, Vec<u8>)>, Error> {
    const SQL: &str = "SELECT effective_at, effect FROM revocation_effect WHERE seq = $1";
    let seq = to_i64(seq)?;
    let row = read!(db, pool => {
        sqlx::query_as::<_, (i64, Vec<u8>)>(SQL).bind(seq).fetch_optional(pool).await?
    });
    Ok(row.map(|(at, effect)| (Micros::new(at), effect)))
}

/// Notes that the ledger holds the entry `effective` of the record `seq`.
pub async fn effect_logged(tx: &mut Tx, seq: u64, at: Micros) -> Result<(), Error> {
    const SQL: &str = "UPDATE revocation_effect SET logged_at = $2 WHERE seq = $1 AND logged_at IS NULL";
    let seq = to_i64(seq)?;
    on!(tx, c => sqlx::query(SQL).bind(seq).bind(at.get()).execute(c).await?.rows_affected());
    Ok(())
}

/// The proofs from before `before` whose entry the ledger does not hold yet, by their records' numbers, which are after
/// `after`, 100 at most.
pub async fn effect_unlogged(db: &Db, before: Micros, after: u64) -> Result<Vec<(u64, Vec<u8>)>, Error> {
    const SQL: &str = "SELECT seq, effect FROM revocation_effect WHERE logged_at IS NULL AND effective_at < $1 \
         AND seq > $2 ORDER BY seq LIMIT 100";
    let (before, after) = (before.get(), to_i64(after)?);
    let rows = read!(db, pool => {
        sqlx::query_as::<_, (i64, Vec<u8>)>(SQL).bind(before).bind(after).fetch_all(pool).await?
    });
    rows.into_iter()
        .map(|(seq, effect)| Ok((to_u64(seq, "revocation_effect.seq")?, effect)))
        .collect()
}

/// The records after number `after` without a proof, in order, 1,000 at most.
pub async fn effect_missing(tx: &mut Tx, after: u64) -> Result<Vec<Record>, Error> {
    const SQL: &str = "SELECT epoch, seq, kind, record_key, at FROM revocation_record r WHERE seq > $1 \
         AND NOT EXISTS (SELECT 1 FROM revocation_effect f WHERE f.seq = r.seq) ORDER BY seq LIMIT 1000";
    let after = to_i64(after)?;
    let rows = on!(tx, c => sqlx::query_as::<_, RecordRow>(SQL).bind(after).fetch_all(c).await?);
    rows.into_iter().map(record_of).collect()
}
