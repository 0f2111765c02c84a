//! The grants that a consumer holds.

use unefois_core::{ExchangeId, Micros};
use uuid::Uuid;

use super::Mac;
use crate::{Db, Error, Tx, on, read, to_array};

/// A grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantRow {
    /// The grant's name.
    pub mac: Mac,
    /// Whose back-office holds it.
    pub tenant: String,
    /// The file that it is for.
    pub dossier: Mac,
    /// Since when it is held.
    pub at: Micros,
    /// When it ends by itself.
    pub ends_at: Micros,
    /// The authority's name of it, its refresh token, its file.
    pub sealed: Vec<u8>,
}

/// Earliest notice of a grant's end.
const NOTICE_US: i64 = 30 * 24 * 3_600_000_000;

impl GrantRow {
    /// When its end is first announced: with a tenth of its life left, 30 days before at most.
    fn notice_at(&self) -> Micros {
        let tenth = self.ends_at.get().saturating_sub(self.at.get()) / 10;
        Micros::new(self.ends_at.get() - tenth.min(NOTICE_US))
    }
}

/// One element of a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElementRow {
    /// Its handle.
    pub handle: Mac,
    /// The grant.
    pub grant: Mac,
    /// Its place in the grant, from 0.
    pub place: i16,
    /// Where it stands.
    pub state: ElementState,
    /// The request that a one-shot element served.
    pub request_id: Option<ExchangeId>,
    /// What was granted.
    pub sealed: Vec<u8>,
}

/// Where an element stands; an element that is no longer `Active` never is again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i16)]
pub enum ElementState {
    /// It may serve.
    Active = 1,
    /// It served once, and may not again.
    Used = 2,
    /// It was withdrawn.
    Withdrawn = 3,
    /// The consumer gave it back.
    GivenBack = 4,
    /// The person narrowed it: another handle follows.
    Narrowed = 5,
}

impl ElementState {
    fn read(code: i16) -> Result<Self, Error> {
        [
            Self::Active,
            Self::Used,
            Self::Withdrawn,
            Self::GivenBack,
            Self::Narrowed,
        ]
        .into_iter()
        .find(|state| *state as i16 == code)
        .ok_or(Error::Corrupt("consumer_element.state"))
    }
}

pub(super) type Granted = (Vec<u8>, String, Vec<u8>, i64, i64, Vec<u8>);
type Element = (Vec<u8>, Vec<u8>, i16, i16, Option<Uuid>, Vec<u8>);

pub(super) fn granted((mac, tenant, dossier, at, ends_at, sealed): Granted) -> Result<GrantRow, Error> {
    Ok(GrantRow {
        mac: to_array(mac, "consumer_grant.mac")?,
        tenant,
        dossier: to_array(dossier, "consumer_grant.dossier")?,
        at: Micros::new(at),
        ends_at: Micros::new(ends_at),
        sealed,
    })
}

fn element((handle, grant, place, state, request_id, sealed): Element) -> Result<ElementRow, Error> {
    let request_id = request_id.map(ExchangeId::try_from).transpose();
    Ok(ElementRow {
        handle: to_array(handle, "consumer_element.handle")?,
        grant: to_array(grant, "consumer_element.grant_mac")?,
        place,
        state: ElementState::read(state)?,
        request_id: request_id.map_err(|_| Error::Corrupt("consumer_element.request_id"))?,
        sealed,
    })
}

/// Keeps a grant with its elements.
///
/// # Errors
/// [`Error::Database`], of a grant or a handle that is held already too.
pub async fn grant_insert(tx: &mut Tx, grant: &GrantRow, elements: &[ElementRow]) -> Result<(), Error> {
    const GRANT: &str = "INSERT INTO consumer_grant (mac, tenant, dossier, at, ends_at, sealed, notice_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)";
    const ELEMENT: &str = "INSERT INTO consumer_element (handle, grant_mac, place, state, request_id, sealed) \
         VALUES ($1, $2, $3, $4, $5, $6)";
    on!(tx, c => sqlx::query(GRANT).bind(&grant.mac[..]).bind(&grant.tenant).bind(&grant.dossier[..])
        .bind(grant.at.get()).bind(grant.ends_at.get()).bind(&grant.sealed[..])
        .bind(grant.notice_at().get()).execute(c).await.map(drop)?);
    for row in elements {
        let request_id = row.request_id.map(|id| id.as_uuid());
        on!(tx, c => sqlx::query(ELEMENT).bind(&row.handle[..]).bind(&row.grant[..]).bind(row.place)
            .bind(row.state as i16).bind(request_id).bind(&row.sealed[..]).execute(c).await.map(drop)?);
    }
    Ok(())
}

/// A grant by its name.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn grant_find(db: &Db, mac: &Mac) -> Result<Option<GrantRow>, Error> {
    const SQL: &str = "SELECT mac, tenant, dossier, at, ends_at, sealed FROM consumer_grant WHERE mac = $1";
    let row = read!(db, pool => {
        sqlx::query_as::<_, Granted>(SQL).bind(&mac[..]).fetch_optional(pool).await?
    });
    row.map(granted).transpose()
}

/// Where a page of grants starts: after this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct After {
    /// Since when the last grant of the page before was held.
    pub at: Micros,
    /// Its name.
    pub mac: Mac,
}

/// A tenant's grants, newest first, of one file or of all.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn grant_page(
    db: &Db,
    tenant: &str,
    dossier: Option<&Mac>,
    after: Option<&After>,
    limit: u16,
) -> Result<Vec<GrantRow>, Error> {
    const SQL: &str = "SELECT mac, tenant, dossier, at, ends_at, sealed FROM consumer_grant \
         WHERE tenant = $1 AND (at < $2 OR (at = $2 AND mac < $3)) AND ($4 = 0 OR dossier = $5) \
         ORDER BY at DESC, mac DESC LIMIT $6";
    let (at, mac) = after.map_or((i64::MAX, [0xff; 32]), |after| (after.at.get(), after.mac));
    let by_dossier = i32::from(dossier.is_some());
    let dossier = dossier.copied().unwrap_or_default();
    let rows = read!(db, pool => sqlx::query_as::<_, Granted>(SQL).bind(tenant).bind(at).bind(&mac[..])
        .bind(by_dossier).bind(&dossier[..]).bind(i64::from(limit)).fetch_all(pool).await?);
    rows.into_iter().map(granted).collect()
}

/// The elements of a grant, in their order.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn grant_elements(db: &Db, grant: &Mac) -> Result<Vec<ElementRow>, Error> {
    const SQL: &str = "SELECT handle, grant_mac, place, state, request_id, sealed FROM consumer_element \
         WHERE grant_mac = $1 ORDER BY place";
    let rows = read!(db, pool => sqlx::query_as::<_, Element>(SQL).bind(&grant[..]).fetch_all(pool).await?);
    rows.into_iter().map(element).collect()
}

/// An element by its handle.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn element_find(db: &Db, handle: &Mac) -> Result<Option<ElementRow>, Error> {
    const SQL: &str =
        "SELECT handle, grant_mac, place, state, request_id, sealed FROM consumer_element WHERE handle = $1";
    let row = read!(db, pool => {
        sqlx::query_as::<_, Element>(SQL).bind(&handle[..]).fetch_optional(pool).await?
    });
    row.map(element).transpose()
}

/// Notes the one request that an active element served; `false` if it was not active any more.
///
/// # Errors
/// [`Error::Database`].
pub async fn element_used(tx: &mut Tx, handle: &Mac, request_id: &ExchangeId) -> Result<bool, Error> {
    const SQL: &str =
        "UPDATE consumer_element SET state = $2, request_id = $3 WHERE handle = $1 AND state = $4";
    let (used, active) = (ElementState::Used as i16, ElementState::Active as i16);
    let rows = on!(tx, c => sqlx::query(SQL).bind(&handle[..]).bind(used).bind(request_id.as_uuid())
        .bind(active).execute(c).await?.rows_affected());
    Ok(rows == 1)
}

/// Ends an element that is active or used, for good; its grant's name, or `None` if it had ended before or is not held.
/// Of two that end it at once, one is told.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn element_end(tx: &mut Tx, handle: &Mac, state: ElementState) -> Result<Option<Mac>, Error> {
    const SQL: &str =
        "UPDATE consumer_element SET state = $2 WHERE handle = $1 AND state IN ($3, $4) RETURNING grant_mac";
    let (active, used) = (ElementState::Active as i16, ElementState::Used as i16);
    let grant = on!(tx, c => sqlx::query_scalar::<_, Vec<u8>>(SQL).bind(&handle[..]).bind(state as i16)
        .bind(active).bind(used).fetch_optional(c).await?);
    grant
        .map(|grant| to_array(grant, "consumer_element.grant_mac"))
        .transpose()
}

/// A grant, locked until the transaction ends. Who locks elements too locks them first.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn grant_lock(tx: &mut Tx, grant: &Mac) -> Result<Option<GrantRow>, Error> {
    // An update is the lock that both databases know.
    const SQL: &str = "UPDATE consumer_grant SET at = at WHERE mac = $1 \
         RETURNING mac, tenant, dossier, at, ends_at, sealed";
    let row = on!(tx, c => sqlx::query_as::<_, Granted>(SQL).bind(&grant[..]).fetch_optional(c).await?);
    row.map(granted).transpose()
}

/// Keeps an element that follows one of its grant, at the end of the grant; `false` if it is held already.
///
/// # Errors
/// [`Error::Database`].
pub async fn element_follow(tx: &mut Tx, row: &ElementRow) -> Result<bool, Error> {
    const SQL: &str = "INSERT INTO consumer_element (handle, grant_mac, place, state, request_id, sealed) \
         SELECT $1, $2, MAX(place) + 1, $3, NULL, $4 FROM consumer_element WHERE grant_mac = $2 \
         ON CONFLICT (handle) DO NOTHING";
    let rows = on!(tx, c => sqlx::query(SQL).bind(&row.handle[..]).bind(&row.grant[..])
        .bind(row.state as i16).bind(&row.sealed[..]).execute(c).await?.rows_affected());
    Ok(rows == 1)
}

/// Whether anything of a grant may still be asked for.
///
/// # Errors
/// [`Error::Database`].
pub async fn grant_serves(tx: &mut Tx, grant: &Mac) -> Result<bool, Error> {
    const SQL: &str = "SELECT COUNT(*) FROM consumer_element WHERE grant_mac = $1 AND state IN ($2, $3, $4)";
    let [active, used, narrowed] =
        [ElementState::Active, ElementState::Used, ElementState::Narrowed].map(|state| state as i16);
    let count = on!(tx, c => sqlx::query_scalar::<_, i64>(SQL).bind(&grant[..]).bind(active).bind(used)
        .bind(narrowed).fetch_one(c).await?);
    Ok(count > 0)
}

/// The elements of a grant that may serve.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn elements_active(tx: &mut Tx, grant: &Mac) -> Result<Vec<Mac>, Error> {
    const SQL: &str =
        "SELECT handle FROM consumer_element WHERE grant_mac = $1 AND state = $2 ORDER BY place";
    let active = ElementState::Active as i16;
    let rows = on!(tx, c => {
        sqlx::query_scalar::<_, Vec<u8>>(SQL).bind(&grant[..]).bind(active).fetch_all(c).await?
    });
    rows.into_iter()
        .map(|handle| to_array(handle, "consumer_element.handle"))
        .collect()
}

/// Replaces what is sealed of a grant.
///
/// # Errors
/// [`Error::Database`].
pub async fn grant_seal(tx: &mut Tx, grant: &Mac, sealed: &[u8]) -> Result<(), Error> {
    const SQL: &str = "UPDATE consumer_grant SET sealed = $2 WHERE mac = $1";
    on!(tx, c => sqlx::query(SQL).bind(&grant[..]).bind(sealed).execute(c).await.map(drop)?);
    Ok(())
}
