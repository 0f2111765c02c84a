//! Why the operator ordered a withdrawal that concerns more than one grant.

use unefois_core::Micros;
use unefois_core::revocation::{Head, Record, Withdrawal};

use super::revocation::{RecordRow, record, record_of};
use crate::{Db, Error, Tx, on, read, to_i64};

/// A withdrawal that was ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// What was recorded.
    pub record: Record,
    /// Why, on one line.
    pub reason: String,
}

/// Appends the record of an order, and keeps its reason; `None` if this process does not hold the epoch.
pub async fn order_record(
    tx: &mut Tx,
    epoch: u64,
    withdrawal: Withdrawal,
    reason: &str,
    at: Micros,
) -> Result<Option<(Vec<Record>, Head)>, Error> {
    const SQL: &str = "INSERT INTO revocation_order (seq, reason) VALUES ($1, $2)";
    let written = record(tx, epoch, vec![withdrawal], at).await?;
    for record in written.iter().flat_map(|(records, _)| records) {
        let seq = to_i64(record.place.seq)?;
        on!(tx, c => sqlx::query(SQL).bind(seq).bind(reason).execute(c).await?.rows_affected());
    }
    Ok(written)
}

/// Notes that the ledger holds the entry of the order of record `seq`.
pub async fn order_logged(tx: &mut Tx, seq: u64, at: Micros) -> Result<(), Error> {
    const SQL: &str = "UPDATE revocation_order SET logged_at = $2 WHERE seq = $1 AND logged_at IS NULL";
    let seq = to_i64(seq)?;
    on!(tx, c => sqlx::query(SQL).bind(seq).bind(at.get()).execute(c).await?.rows_affected());
    Ok(())
}

/// The orders from before `before` whose entry the ledger does not hold yet, after number `after`, in order, 100 at most.
pub async fn order_unlogged(db: &Db, before: Micros, after: u64) -> Result<Vec<Order>, Error> {
    const SQL: &str = "SELECT r.epoch, r.seq, r.kind, r.record_key, r.at, o.reason FROM revocation_order o \
         JOIN revocation_record r ON r.seq = o.seq WHERE o.logged_at IS NULL AND r.at < $1 AND o.seq > $2 ORDER BY o.seq LIMIT 100";
    type Row = (i64, i64, String, String, i64, String);
    let after = to_i64(after)?;
    let rows: Vec<Row> = read!(db, pool => {
        sqlx::query_as::<_, Row>(SQL).bind(before.get()).bind(after).fetch_all(pool).await?
    });
    let order = |(epoch, seq, kind, key, at, reason): Row| {
        let row: RecordRow = (epoch, seq, kind, key, at);
        Ok(Order {
            record: record_of(row)?,
            reason,
        })
    };
    rows.into_iter().map(order).collect()
}
