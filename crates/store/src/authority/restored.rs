//! A database that went back to an earlier state: the mark that says so, and where the log of withdrawals goes on beyond
//! records that are lost for good.

use unefois_core::revocation::{Head, Record, Withdrawal};
use unefois_core::{Micros, RevocationView};

use super::revocation::{HeadRow, head_of, record};
use crate::{Db, Error, Tx, on, read, to_i64, to_u64};

/// That the database went back, until it is known again what it has lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// How that was found: one name for each time.
    pub cause: String,
    /// When.
    pub at: Micros,
    /// Where the log of withdrawals ended then.
    pub view: RevocationView,
}

type Row = (String, i64, i64, i64);

fn mark_of((cause, at, epoch, seq): Row) -> Result<Mark, Error> {
    Ok(Mark {
        cause,
        at: Micros::new(at),
        view: RevocationView {
            epoch: to_u64(epoch, "revocation_restored.epoch")?,
            seq: to_u64(seq, "revocation_restored.seq")?,
        },
    })
}

const STANDING: &str =
    "SELECT cause, at, epoch, seq FROM revocation_restored WHERE ended_at IS NULL ORDER BY at, cause LIMIT 1";

/// The oldest mark that stands.
pub async fn standing(tx: &mut Tx) -> Result<Option<Mark>, Error> {
    let row = on!(tx, c => sqlx::query_as::<_, Row>(STANDING).fetch_optional(c).await?);
    row.map(mark_of).transpose()
}

/// As [`standing`], for whoever only looks.
pub async fn standing_read(db: &Db) -> Result<Option<Mark>, Error> {
    let row = read!(db, pool => sqlx::query_as::<_, Row>(STANDING).fetch_optional(pool).await?);
    row.map(mark_of).transpose()
}

/// Marks the database as one that was restored from a backup at that instant.
pub async fn mark_restored(tx: &mut Tx, at: Micros) -> Result<(), Error> {
    mark(tx, &format!("restored {}", at.get()), at).await.map(drop)
}

/// Marks the database as one that went back, for a cause; `false` where that cause was marked before, and may have ended.
pub async fn mark(tx: &mut Tx, cause: &str, at: Micros) -> Result<bool, Error> {
    const SQL: &str = "INSERT INTO revocation_restored (cause, at, epoch, seq) \
         SELECT $1, $2, COALESCE(MAX(epoch), 0), COALESCE(MAX(seq), 0) FROM revocation_head WHERE true \
         ON CONFLICT (cause) DO NOTHING";
    let rows = on!(tx, c => sqlx::query(SQL).bind(cause).bind(at.get()).execute(c).await?.rows_affected());
    Ok(rows == 1)
}

/// Takes the marks off: everything that was lost is known again. The epoch becomes at least `seen`, so that whoever takes
/// the next is above it: the caller stops.
///
/// `false` if this process does not hold the epoch, and then the caller rolls back.
pub async fn lift(tx: &mut Tx, epoch: u64, seen: u64, at: Micros) -> Result<bool, Error> {
    const EPOCH: &str =
        "UPDATE revocation_head SET epoch = CASE WHEN epoch < $2 THEN $2 ELSE epoch END WHERE epoch = $1";
    let (mine, seen) = (to_i64(epoch)?, to_i64(seen)?);
    let rows = on!(tx, c => sqlx::query(EPOCH).bind(mine).bind(seen).execute(c).await?.rows_affected());
    if rows == 0 {
        return Ok(false);
    }
    end(tx, at).await?;
    Ok(true)
}

async fn end(tx: &mut Tx, at: Micros) -> Result<(), Error> {
    const SQL: &str = "UPDATE revocation_restored SET ended_at = $1 WHERE ended_at IS NULL";
    on!(tx, c => sqlx::query(SQL).bind(at.get()).execute(c).await?.rows_affected());
    Ok(())
}

/// Takes the marks off though records are lost for good: the log goes on beyond `next`, which is above every place that
/// was seen, with a record that ends every token from before, and with those of the signing keys that are known to be
/// withdrawn. Codes and refresh tokens go, since nobody knows which of their grants was withdrawn. The caller stops, as
/// after [`lift`].
///
/// The first record; `None` if this process does not hold the epoch, or the mark of `cause` does not stand any more, and then
/// the caller rolls back.
pub async fn begin_anew(
    tx: &mut Tx,
    epoch: u64,
    cause: &str,
    next: RevocationView,
    at: Micros,
) -> Result<Option<Record>, Error> {
    const HEAD: &str = "UPDATE revocation_head SET epoch = $2, seq = $3 \
         WHERE epoch = $1 AND epoch < $2 AND seq < $3 RETURNING chain";
    const GAP: &str = "INSERT INTO revocation_gap (seq, epoch, chain) VALUES ($1, $2, $3)";
    const KEYS: &str =
        "SELECT DISTINCT record_key FROM revocation_record WHERE kind = 'SIGNING_KEY' ORDER BY record_key";
    const CODES: &str = "DELETE FROM authorization_code";
    const REFRESH: &str = "DELETE FROM refresh_token";
    let mine = to_i64(epoch)?;
    let (later, seq) = (to_i64(next.epoch)?, to_i64(next.seq)?);
    let chain = on!(tx, c => {
        sqlx::query_scalar::<_, Vec<u8>>(HEAD).bind(mine).bind(later).bind(seq).fetch_optional(c).await?
    });
    let Some(chain) = chain else {
        return Ok(None);
    };
    if standing(tx).await?.is_none_or(|mark| mark.cause != cause) {
        return Ok(None);
    }
    on!(tx, c => sqlx::query(GAP).bind(seq).bind(later).bind(&chain).execute(c).await?.rows_affected());
    for sql in [CODES, REFRESH] {
        on!(tx, c => sqlx::query(sql).execute(c).await?.rows_affected());
    }
    end(tx, at).await?;
    let kids = on!(tx, c => sqlx::query_scalar::<_, String>(KEYS).fetch_all(c).await?);
    let keys = kids.into_iter().map(Withdrawal::SigningKey);
    let withdrawals = std::iter::once(Withdrawal::AllBefore).chain(keys).collect();
    let written = record(tx, next.epoch, withdrawals, at).await?;
    Ok(written.and_then(|(records, _)| records.into_iter().next()))
}

/// The head before the first record that the log is read from: the empty one, unless records before it are lost for good.
pub async fn beginning(tx: &mut Tx) -> Result<Head, Error> {
    const SQL: &str = "SELECT epoch, seq, chain FROM revocation_gap ORDER BY seq DESC LIMIT 1";
    let row = on!(tx, c => sqlx::query_as::<_, HeadRow>(SQL).fetch_optional(c).await?);
    row.map_or_else(|| Ok(Head::empty()), head_of)
}
