//! What the `evidence_commit` of an entry commits to: kept beside the log, erasable.

use crate::{Db, Error, Tx, on, read, to_array, to_i64};

/// Evidence of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceRow {
    /// The entry.
    pub idx: u64,
    /// The commitment's salt.
    pub salt: [u8; 32],
    /// What is committed to.
    pub body: Vec<u8>,
}

/// Stores evidence.
///
/// # Errors
/// [`Error::Database`], [`Error::Range`].
pub async fn evidence_insert(tx: &mut Tx, log: i32, rows: &[EvidenceRow]) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO ledger_evidence (log, idx, salt, body) VALUES ($1, $2, $3, $4)";
    for row in rows {
        let idx = to_i64(row.idx)?;
        on!(tx, c => sqlx::query(SQL).bind(log).bind(idx).bind(&row.salt[..]).bind(&row.body[..]).execute(c).await.map(drop)?);
    }
    Ok(())
}

/// The evidence of one entry, if it is kept still.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn evidence_read(db: &Db, log: i32, idx: u64) -> Result<Option<EvidenceRow>, Error> {
    const SQL: &str = "SELECT salt, body FROM ledger_evidence WHERE log = $1 AND idx = $2";
    let key = to_i64(idx)?;
    let row = read!(db, pool => sqlx::query_as::<_, (Vec<u8>, Vec<u8>)>(SQL).bind(log).bind(key).fetch_optional(pool).await?);
    row.map(|(salt, body)| {
        let salt = to_array(salt, "ledger_evidence.salt")?;
        Ok(EvidenceRow { idx, salt, body })
    })
    .transpose()
}
