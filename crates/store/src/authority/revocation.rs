//! The log of withdrawals. Epoch and head are one row; who does not hold the epoch writes nothing.

use unefois_core::revocation::{Head, Record, RecordPlace, Withdrawal, chain};
use unefois_core::{Handle, Micros, ParticipantId, Sha256, WithdrawnBy};

use super::{GrantId, word};
use crate::{Db, Error, Tx, on, read, to_array, to_i64, to_u64};

pub(super) type HeadRow = (i64, i64, Vec<u8>);

pub(super) fn head_of((epoch, seq, chain): HeadRow) -> Result<Head, Error> {
    Ok(Head {
        epoch: to_u64(epoch, "revocation_head.epoch")?,
        seq: to_u64(seq, "revocation_head.seq")?,
        chain: Sha256::from_bytes(to_array(chain, "revocation_head.chain")?),
    })
}

/// What changes with each epoch and each heartbeat of its holder: two readings that are equal had neither between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulse {
    epoch: i64,
    heartbeat_at: i64,
}

impl Pulse {
    /// The epoch that was held.
    pub fn epoch(&self) -> Result<u64, Error> {
        to_u64(self.epoch, "revocation_head.epoch")
    }
}

/// The last sign of life of whoever holds the epoch; `None` where nobody ever did.
pub async fn pulse(db: &Db) -> Result<Option<Pulse>, Error> {
    const SQL: &str = "SELECT epoch, heartbeat_at FROM revocation_head WHERE id = 1";
    let row = read!(db, pool => sqlx::query_as::<_, (i64, i64)>(SQL).fetch_optional(pool).await?);
    Ok(row.map(|(epoch, heartbeat_at)| Pulse { epoch, heartbeat_at }))
}

/// Takes the next epoch: every older process is superseded from the commit on.
///
/// The head, and the longest lease, in milliseconds, that an older process may have given; from now on at least
/// `lease_ms` is kept for the next.
pub async fn epoch_take(tx: &mut Tx, lease_ms: u32, at: Micros) -> Result<(Head, u32), Error> {
    first(tx, lease_ms, at).await?;
    let taken = take(tx, None, lease_ms, at).await?;
    // The row is there.
    taken.ok_or(Error::Corrupt("revocation_head.id"))
}

/// As [`epoch_take`], where the holder has given no sign of life since it was `seen`; `None` where it has, or another
/// process was first. It waits for a write of the holder's under way.
pub async fn epoch_take_over(
    tx: &mut Tx,
    seen: Option<Pulse>,
    lease_ms: u32,
    at: Micros,
) -> Result<Option<(Head, u32)>, Error> {
    let seen = match seen {
        Some(seen) => seen,
        None if first(tx, lease_ms, at).await? => Pulse {
            epoch: 0,
            heartbeat_at: at.get(),
        },
        None => return Ok(None),
    };
    take(tx, Some(seen), lease_ms, at).await
}

/// Makes the row of a new database; whether there was none.
async fn first(tx: &mut Tx, lease_ms: u32, at: Micros) -> Result<bool, Error> {
    const FIRST: &str = "INSERT INTO revocation_head (id, epoch, seq, chain, heartbeat_at, lease_ms) \
         VALUES (1, 0, 0, $1, $2, $3) ON CONFLICT (id) DO NOTHING";
    let empty = Head::empty();
    let zero = &empty.chain.as_bytes()[..];
    let mine = i64::from(lease_ms);
    let rows = on!(tx, c => sqlx::query(FIRST).bind(zero).bind(at.get()).bind(mine).execute(c).await?.rows_affected());
    Ok(rows == 1)
}

async fn take(
    tx: &mut Tx,
    seen: Option<Pulse>,
    lease_ms: u32,
    at: Micros,
) -> Result<Option<(Head, u32)>, Error> {
    // MAX of two is GREATEST in one database and unknown in the other.
    const TAKE: &str = "UPDATE revocation_head SET epoch = epoch + 1, heartbeat_at = $1, \
         lease_ms = CASE WHEN lease_ms < $2 THEN $2 ELSE lease_ms END \
         WHERE id = 1 AND epoch = COALESCE($3, epoch) AND heartbeat_at = COALESCE($4, heartbeat_at) \
         RETURNING epoch, seq, chain, lease_ms";
    let mine = i64::from(lease_ms);
    let (epoch, heartbeat_at) = (seen.map(|seen| seen.epoch), seen.map(|seen| seen.heartbeat_at));
    let row = on!(tx, c => {
        sqlx::query_as::<_, (i64, i64, Vec<u8>, i64)>(TAKE)
            .bind(at.get())
            .bind(mine)
            .bind(epoch)
            .bind(heartbeat_at)
            .fetch_optional(c)
            .await?
    });
    let Some((epoch, seq, chain, longest)) = row else {
        return Ok(None);
    };
    let longest = u32::try_from(longest).map_err(|_| Error::Corrupt("revocation_head.lease_ms"))?;
    Ok(Some((head_of((epoch, seq, chain))?, longest)))
}

/// Shows that this process still holds the epoch, and reads the last record's number; `None` if it was superseded.
/// It waits for every write under way. No lease longer than `lease_ms` may be in force, or be given until the next.
pub async fn heartbeat(tx: &mut Tx, epoch: u64, lease_ms: u32, at: Micros) -> Result<Option<u64>, Error> {
    const SQL: &str =
        "UPDATE revocation_head SET heartbeat_at = $2, lease_ms = $3 WHERE epoch = $1 RETURNING seq";
    let (epoch, lease_ms) = (to_i64(epoch)?, i64::from(lease_ms));
    let seq = on!(tx, c => {
        sqlx::query_scalar::<_, i64>(SQL).bind(epoch).bind(at.get()).bind(lease_ms).fetch_optional(c).await?
    });
    seq.map(|seq| to_u64(seq, "revocation_head.seq")).transpose()
}

/// Appends records that another database of this log held beyond `from`, each under its own place, and marks the elements
/// that they withdraw, those that are known here. The epoch becomes at least `seen`, so that whoever takes the next is above
/// it: the caller stops.
///
/// `false` if this process does not hold the epoch, or the head has moved, and then the caller rolls back.
pub async fn relearn(
    tx: &mut Tx,
    epoch: u64,
    from: &Head,
    records: &[Record],
    seen: u64,
) -> Result<bool, Error> {
    const HEAD: &str = "UPDATE revocation_head SET seq = $4, chain = $5, \
         epoch = CASE WHEN epoch < $6 THEN $6 ELSE epoch END WHERE epoch = $1 AND seq = $2 AND chain = $3";
    // A record does not tell who asked for it. A place that stands is an earlier withdrawal's.
    const MARK: &str = "UPDATE grant_element SET withdrawn_at = $2, withdrawn_by = 'person', withdrawn_epoch = $3, \
         withdrawn_seq = $4 WHERE handle = $1 AND withdrawn_at IS NULL";
    let to = records.iter().fold(*from, |head, record| head.after(record));
    let (mine, seen) = (to_i64(epoch)?, to_i64(seen)?);
    let (before, after) = (to_i64(from.seq)?, to_i64(to.seq)?);
    let (old, new) = (&from.chain.as_bytes()[..], &to.chain.as_bytes()[..]);
    let rows = on!(tx, c => {
        sqlx::query(HEAD)
            .bind(mine)
            .bind(before)
            .bind(old)
            .bind(after)
            .bind(new)
            .bind(seen)
            .execute(c)
            .await?
            .rows_affected()
    });
    if rows == 0 {
        return Ok(false);
    }
    for record in records {
        record_insert(tx, record).await?;
        if let Withdrawal::Grant(handle) = &record.withdrawal {
            let key = &handle.as_bytes()[..];
            let (epoch, seq) = (to_i64(record.place.epoch)?, to_i64(record.place.seq)?);
            let at = record.at.get();
            on!(tx, c => sqlx::query(MARK).bind(key).bind(at).bind(epoch).bind(seq).execute(c).await?.rows_affected());
        }
    }
    Ok(true)
}

async fn record_insert(tx: &mut Tx, record: &Record) -> Result<(), Error> {
    const RECORD: &str =
        "INSERT INTO revocation_record (seq, epoch, kind, record_key, at) VALUES ($1, $2, $3, $4, $5)";
    let (kind, key) = parts(&record.withdrawal);
    let (epoch, seq) = (to_i64(record.place.epoch)?, to_i64(record.place.seq)?);
    on!(tx, c => sqlx::query(RECORD)
        .bind(seq)
        .bind(epoch)
        .bind(kind)
        .bind(&key)
        .bind(record.at.get())
        .execute(c)
        .await?
        .rows_affected());
    Ok(())
}

/// Withdraws handles, each by whom: marks the elements and writes one record a handle, in the caller's transaction.
///
/// The records written, those of handles withdrawn before left out, and the head after them; `None` if this process
/// does not hold the epoch, and then the caller rolls back.
pub async fn withdraw(
    tx: &mut Tx,
    epoch: u64,
    handles: &[(Handle, WithdrawnBy)],
    at: Micros,
) -> Result<Option<(Vec<Record>, Head)>, Error> {
    match hold(tx, epoch).await? {
        true => mark(tx, epoch, handles, at).await,
        false => Ok(None),
    }
}

/// As [`withdraw`], all that stands of a grant: elements that have taken the place of others meanwhile too.
pub async fn withdraw_grant(
    tx: &mut Tx,
    epoch: u64,
    grant: &GrantId,
    by: WithdrawnBy,
    at: Micros,
) -> Result<Option<(Vec<Record>, Head)>, Error> {
    const STANDING: &str =
        "SELECT handle FROM grant_element WHERE grant_id = $1 AND withdrawn_at IS NULL ORDER BY position";
    if !hold(tx, epoch).await? {
        return Ok(None);
    }
    let id = &grant.as_bytes()[..];
    let standing = on!(tx, c => sqlx::query_scalar::<_, Vec<u8>>(STANDING).bind(id).fetch_all(c).await?);
    let handles = standing.into_iter().map(|handle| {
        let handle = to_array(handle, "grant_element.handle").map(Handle::from_bytes)?;
        Ok((handle, by))
    });
    let handles: Vec<_> = handles.collect::<Result<_, Error>>()?;
    mark(tx, epoch, &handles, at).await
}

/// Makes every other writer of the log wait until this transaction ends, so that what is read in it stays; `false` if this
/// process does not hold the epoch.
///
/// It is what a transaction that withdraws or proves does first: two that took the head after an element could each wait
/// for the other.
pub(super) async fn hold(tx: &mut Tx, epoch: u64) -> Result<bool, Error> {
    const HELD: &str = "UPDATE revocation_head SET epoch = epoch WHERE epoch = $1";
    let epoch = to_i64(epoch)?;
    Ok(on!(tx, c => sqlx::query(HELD).bind(epoch).execute(c).await?.rows_affected()) == 1)
}

/// Withdraws handles, the head held; as [`withdraw`].
pub(super) async fn mark(
    tx: &mut Tx,
    epoch: u64,
    handles: &[(Handle, WithdrawnBy)],
    at: Micros,
) -> Result<Option<(Vec<Record>, Head)>, Error> {
    const MARK: &str = "UPDATE grant_element SET withdrawn_at = $2, withdrawn_by = $3 \
         WHERE handle = $1 AND withdrawn_at IS NULL";
    const PLACE: &str = "UPDATE grant_element SET withdrawn_epoch = $2, withdrawn_seq = $3 WHERE handle = $1";
    let mut fresh = Vec::new();
    for (handle, by) in handles {
        let key = &handle.as_bytes()[..];
        let rows = on!(tx, c => sqlx::query(MARK).bind(key).bind(at.get()).bind(by.as_str()).execute(c).await?.rows_affected());
        if rows == 1 {
            fresh.push(Withdrawal::Grant(*handle));
        }
    }
    let Some((records, head)) = record(tx, epoch, fresh, at).await? else {
        return Ok(None);
    };
    for record in &records {
        if let Withdrawal::Grant(handle) = &record.withdrawal {
            let key = &handle.as_bytes()[..];
            let (epoch, seq) = (to_i64(record.place.epoch)?, to_i64(record.place.seq)?);
            on!(tx, c => sqlx::query(PLACE).bind(key).bind(epoch).bind(seq).execute(c).await?.rows_affected());
        }
    }
    Ok(Some((records, head)))
}

/// Appends records to the log; `None` if this process does not hold the epoch.
pub async fn record(
    tx: &mut Tx,
    epoch: u64,
    withdrawals: Vec<Withdrawal>,
    at: Micros,
) -> Result<Option<(Vec<Record>, Head)>, Error> {
    // Never a sequence: numbers are given in the order of commits, since the row stays locked until then.
    const NEXT: &str =
        "UPDATE revocation_head SET seq = seq + $2 WHERE epoch = $1 RETURNING epoch, seq, chain";
    const CHAIN: &str = "UPDATE revocation_head SET chain = $2 WHERE epoch = $1";
    let mine = to_i64(epoch)?;
    let count = withdrawals.len() as u64;
    let added = to_i64(count)?;
    let row =
        on!(tx, c => sqlx::query_as::<_, HeadRow>(NEXT).bind(mine).bind(added).fetch_optional(c).await?);
    let Some(row) = row else {
        return Ok(None);
    };
    let mut head = head_of(row)?;
    let mut records = Vec::with_capacity(withdrawals.len());
    for (seq, withdrawal) in (head.seq - count + 1..).zip(withdrawals) {
        let record = Record {
            place: RecordPlace { epoch, seq },
            withdrawal,
            at,
        };
        head.chain = chain(&head.chain, &record);
        record_insert(tx, &record).await?;
        records.push(record);
    }
    let chain = &head.chain.as_bytes()[..];
    on!(tx, c => sqlx::query(CHAIN).bind(mine).bind(chain).execute(c).await?.rows_affected());
    Ok(Some((records, head)))
}

/// The head, and the records after number `after`, up to `last` or the head's.
pub async fn log(tx: &mut Tx, after: u64, last: u64) -> Result<(Head, Vec<Record>), Error> {
    // The head first: what commits between the two reads is cut off below.
    const HEAD: &str = "SELECT epoch, seq, chain FROM revocation_head WHERE id = 1";
    const RECORDS: &str = "SELECT epoch, seq, kind, record_key, at FROM revocation_record WHERE seq > $1 AND seq <= $2 ORDER BY seq";
    let head = head_of(on!(tx, c => sqlx::query_as::<_, HeadRow>(HEAD).fetch_one(c).await?))?;
    let (after, last) = (to_i64(after)?, to_i64(head.seq.min(last))?);
    let rows =
        on!(tx, c => sqlx::query_as::<_, RecordRow>(RECORDS).bind(after).bind(last).fetch_all(c).await?);
    Ok((head, rows.into_iter().map(record_of).collect::<Result<_, _>>()?))
}

/// Epoch, seq, kind, key, instant.
pub(super) type RecordRow = (i64, i64, String, String, i64);

pub(super) fn record_of((epoch, seq, kind, key, at): RecordRow) -> Result<Record, Error> {
    Ok(Record {
        place: RecordPlace {
            epoch: to_u64(epoch, "revocation_record.epoch")?,
            seq: to_u64(seq, "revocation_record.seq")?,
        },
        withdrawal: withdrawal(&kind, key)?,
        at: Micros::new(at),
    })
}

fn parts(withdrawal: &Withdrawal) -> (&'static str, String) {
    match withdrawal {
        Withdrawal::Grant(handle) => ("GRANT", handle.to_string()),
        Withdrawal::Client(client) => ("CLIENT", client.to_string()),
        Withdrawal::ClientCert(x5t) => ("CLIENT_CERT", x5t.clone()),
        Withdrawal::SigningKey(kid) => ("SIGNING_KEY", kid.clone()),
        Withdrawal::AllBefore => ("ALL_BEFORE", String::new()),
    }
}

fn withdrawal(kind: &str, key: String) -> Result<Withdrawal, Error> {
    const COLUMN: &str = "revocation_record.record_key";
    match kind {
        "GRANT" => key
            .parse()
            .map(Withdrawal::Grant)
            .map_err(|_| Error::Corrupt(COLUMN)),
        "CLIENT" => key
            .parse()
            .map(Withdrawal::Client)
            .map_err(|_| Error::Corrupt(COLUMN)),
        "CLIENT_CERT" => Ok(Withdrawal::ClientCert(key)),
        "SIGNING_KEY" => Ok(Withdrawal::SigningKey(key)),
        "ALL_BEFORE" => Ok(Withdrawal::AllBefore),
        _ => Err(Error::Corrupt("revocation_record.kind")),
    }
}

/// Keeps the newest start that is known of a log; it never goes back.
pub async fn start_keep(
    tx: &mut Tx,
    participant: &ParticipantId,
    origin: &str,
    boot: u64,
) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO producer_start (participant, origin, boot) VALUES ($1, $2, $3) \
         ON CONFLICT (participant, origin) DO UPDATE SET boot = excluded.boot \
         WHERE producer_start.boot < excluded.boot";
    let (participant, boot) = (participant.to_string(), to_i64(boot)?);
    on!(tx, c => sqlx::query(SQL).bind(&participant).bind(origin).bind(boot).execute(c).await?.rows_affected());
    Ok(())
}

/// The newest start known of each log: its participant, its origin and the epoch that it took.
pub async fn starts(tx: &mut Tx) -> Result<Vec<(ParticipantId, String, u64)>, Error> {
    const SQL: &str = "SELECT participant, origin, boot FROM producer_start ORDER BY participant, origin";
    let rows = on!(tx, c => sqlx::query_as::<_, (String, String, i64)>(SQL).fetch_all(c).await?);
    let start = |(participant, origin, boot): (String, String, i64)| {
        let participant = word(&participant, "producer_start.participant")?;
        Ok((participant, origin, to_u64(boot, "producer_start.boot")?))
    };
    rows.into_iter().map(start).collect()
}
