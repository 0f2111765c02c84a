//! What a back-office has to know of the grants that its node holds, in the order in which it became true.

use unefois_core::Micros;

use super::Mac;
use super::grant::{GrantRow, Granted, granted};
use crate::{Db, Error, Tx, on, read, to_array, to_i64, to_u64};

/// What happened to an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i16)]
pub enum NoticeKind {
    /// It was withdrawn.
    Withdrawn = 1,
    /// The consumer gave it back.
    GivenBack = 2,
    /// It ends by itself before long.
    Expiring = 3,
    /// It has ended by itself.
    Expired = 4,
    /// The person narrowed it; another handle follows.
    Narrowed = 5,
    /// It follows one that the person narrowed.
    Follows = 6,
}

impl NoticeKind {
    fn read(code: i16) -> Result<Self, Error> {
        [
            Self::Withdrawn,
            Self::GivenBack,
            Self::Expiring,
            Self::Expired,
            Self::Narrowed,
            Self::Follows,
        ]
        .into_iter()
        .find(|kind| *kind as i16 == code)
        .ok_or(Error::Corrupt("consumer_notice.kind"))
    }
}

/// A notice to be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whose back-office has to know.
    pub tenant: String,
    /// Which element.
    pub handle: Mac,
    /// What happened.
    pub kind: NoticeKind,
    /// When.
    pub at: Micros,
}

/// Gives notices, in the order of their commits over all replicas. The transaction holds a lock on each tenant from here
/// on: whatever else it locks comes before.
///
/// # Errors
/// [`Error::Database`].
pub async fn notices_insert(tx: &mut Tx, notices: &[Notice]) -> Result<(), Error> {
    const NEXT: &str = "INSERT INTO consumer_notice_head (tenant, seq) VALUES ($1, 1) \
         ON CONFLICT (tenant) DO UPDATE SET seq = consumer_notice_head.seq + 1 RETURNING seq";
    const INSERT: &str =
        "INSERT INTO consumer_notice (tenant, seq, handle, kind, at) VALUES ($1, $2, $3, $4, $5)";
    let mut ordered: Vec<&Notice> = notices.iter().collect();
    ordered.sort_by(|a, b| a.tenant.cmp(&b.tenant));
    for notice in ordered {
        let seq = on!(tx, c => sqlx::query_scalar::<_, i64>(NEXT).bind(&notice.tenant).fetch_one(c).await?);
        on!(tx, c => sqlx::query(INSERT).bind(&notice.tenant).bind(seq).bind(&notice.handle[..])
            .bind(notice.kind as i16).bind(notice.at.get()).execute(c).await.map(drop)?);
    }
    Ok(())
}

/// A notice as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// Its number among the tenant's, from 1.
    pub seq: u64,
    /// Which element.
    pub handle: Mac,
    /// What happened.
    pub kind: NoticeKind,
    /// When.
    pub at: Micros,
}

/// A tenant's notices after number `after`, in order, the first `limit` of them. Those of grants that the node holds no
/// more are gone.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn notices(db: &Db, tenant: &str, after: u64, limit: u16) -> Result<Vec<Given>, Error> {
    const SQL: &str = "SELECT seq, handle, kind, at FROM consumer_notice \
         WHERE tenant = $1 AND seq > $2 ORDER BY seq LIMIT $3";
    let after = to_i64(after)?;
    let rows = read!(db, pool => sqlx::query_as::<_, (i64, Vec<u8>, i16, i64)>(SQL)
        .bind(tenant).bind(after).bind(i64::from(limit)).fetch_all(pool).await?);
    rows.into_iter()
        .map(|(seq, handle, kind, at)| {
            Ok(Given {
                seq: to_u64(seq, "consumer_notice.seq")?,
                handle: to_array(handle, "consumer_notice.handle")?,
                kind: NoticeKind::read(kind)?,
                at: Micros::new(at),
            })
        })
        .collect()
}

/// The number of a tenant's last notice, 0 before the first.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn notice_head(db: &Db, tenant: &str) -> Result<u64, Error> {
    const SQL: &str = "SELECT seq FROM consumer_notice_head WHERE tenant = $1";
    let seq = read!(db, pool => sqlx::query_scalar::<_, i64>(SQL).bind(tenant).fetch_optional(pool).await?);
    to_u64(seq.unwrap_or(0), "consumer_notice_head.seq")
}

/// Takes the grants of whose end a notice is due, 100 at most: each is taken once before its end and once after.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn grants_ending(tx: &mut Tx, now: Micros) -> Result<Vec<GrantRow>, Error> {
    // The bound stands in both places: of two replicas, the second finds what the first has left.
    const SQL: &str = "UPDATE consumer_grant SET notice_at = CASE WHEN ends_at <= $1 THEN NULL ELSE ends_at END \
         WHERE notice_at <= $1 AND mac IN (SELECT mac FROM consumer_grant WHERE notice_at <= $1 \
         ORDER BY notice_at, mac LIMIT 100) RETURNING mac, tenant, dossier, at, ends_at, sealed";
    let rows = on!(tx, c => sqlx::query_as::<_, Granted>(SQL).bind(now.get()).fetch_all(c).await?);
    rows.into_iter().map(granted).collect()
}
