//! The log of withdrawals as consumers are told of it: each record with whom its handle was given to.

use std::collections::HashMap;

use sqlx::AssertSqlSafe;
use unefois_core::revocation::{Record, Withdrawal};
use unefois_core::{Handle, Micros, ParticipantId, WithdrawnBy};

use super::revocation::{RecordRow, record_of};
use super::word;
use crate::rows::chunks;
use crate::{Db, Error, read, to_array, to_i64};

/// To whom a handle was given, and how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The client.
    pub client: ParticipantId,
    /// The publisher over whose connection it was obtained, where it is not the client itself.
    pub publisher: Option<ParticipantId>,
    /// Who ended it; `None` where the element does not say.
    pub by: Option<WithdrawnBy>,
    /// When the grant would have ended by itself.
    pub ends_at: Micros,
}

/// One record, with the holder of its handle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributed {
    /// The record.
    pub record: Record,
    /// `None` for a record of another kind, and for a handle that this database does not know.
    pub holder: Option<Holder>,
}

/// The records after number `after` up to `last`, in order, the first `limit` of them.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn attributed(db: &Db, after: u64, last: u64, limit: u16) -> Result<Vec<Attributed>, Error> {
    const SQL: &str = "SELECT epoch, seq, kind, record_key, at FROM revocation_record \
         WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT $3";
    let (after, last) = (to_i64(after)?, to_i64(last)?);
    let rows = read!(db, pool => sqlx::query_as::<_, RecordRow>(SQL)
        .bind(after).bind(last).bind(i64::from(limit)).fetch_all(pool).await?);
    let records: Vec<Record> = rows.into_iter().map(record_of).collect::<Result<_, _>>()?;
    let handles: Vec<Handle> = records
        .iter()
        .filter_map(|record| match record.withdrawal {
            Withdrawal::Grant(handle) => Some(handle),
            Withdrawal::Client(_)
            | Withdrawal::ClientCert(_)
            | Withdrawal::SigningKey(_)
            | Withdrawal::AllBefore => None,
        })
        .collect();
    let holders = holders(db, &handles).await?;
    let attributed = records.into_iter().map(|record| Attributed {
        holder: match &record.withdrawal {
            Withdrawal::Grant(handle) => holders.get(handle).copied(),
            Withdrawal::Client(_)
            | Withdrawal::ClientCert(_)
            | Withdrawal::SigningKey(_)
            | Withdrawal::AllBefore => None,
        },
        record,
    });
    Ok(attributed.collect())
}

async fn holders(db: &Db, handles: &[Handle]) -> Result<HashMap<Handle, Holder>, Error> {
    type Row = (Vec<u8>, String, Option<String>, Option<String>, i64);
    const SQL: &str = "SELECT e.handle, g.client, g.act_client, e.withdrawn_by, g.ends_at \
         FROM grant_element e JOIN person_grant g ON g.id = e.grant_id WHERE e.handle IN";
    let mut holders = HashMap::with_capacity(handles.len());
    for chunk in chunks(handles) {
        // A few lengths only, so that either database keeps the statements it has prepared.
        let places: Vec<String> = (1..=chunk.len()).map(|n| format!("${n}")).collect();
        let sql = format!("{SQL} ({})", places.join(", "));
        let rows = read!(db, pool => {
            let query = sqlx::query_as::<_, Row>(AssertSqlSafe(sql));
            let query = chunk.iter().fold(query, |query, handle| query.bind(handle.as_bytes().to_vec()));
            query.fetch_all(pool).await?
        });
        for (handle, client, publisher, by, ends_at) in rows {
            let handle = Handle::from_bytes(to_array(handle, "grant_element.handle")?);
            let publisher = publisher.map(|id| word(&id, "person_grant.act_client"));
            let by = by.map(|by| word(&by, "grant_element.withdrawn_by"));
            let holder = Holder {
                client: word(&client, "person_grant.client")?,
                publisher: publisher.transpose()?,
                by: by.transpose()?,
                ends_at: Micros::new(ends_at),
            };
            holders.insert(handle, holder);
        }
    }
    Ok(holders)
}
