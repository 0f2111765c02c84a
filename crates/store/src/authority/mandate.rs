//! Mandates: whom somebody lets act for a company, or for themselves.

use unefois_core::revocation::{Head, Record};
use unefois_core::{Handle, Micros, Sha256, WithdrawnBy};

use super::PersonUid;
use super::person::uid_of;
use super::revocation::{hold, mark};
use crate::{Db, Error, Tx, on, read, to_array};

/// The most mandates that one list holds.
const MAX_LISTED: i64 = 200;

/// A mandate.
#[derive(Clone, Debug)]
pub struct MandateRow {
    /// Its name.
    pub id: [u8; 16],
    /// Who gave it: an officer or a person.
    pub mandator: [u8; 16],
    /// Who took it up; `None` as long as nobody has.
    pub holder: Option<PersonUid>,
    /// For whom and for what, sealed.
    pub sealed: Vec<u8>,
    /// When it was given.
    pub issued_at: Micros,
    /// Until when it may be taken up.
    pub invited_until: Micros,
    /// When it was taken up.
    pub accepted_at: Option<Micros>,
    /// When it ends by itself.
    pub expires_at: Micros,
    /// When either side ended it.
    pub ended_at: Option<Micros>,
}

impl MandateRow {
    /// Whether it is in force at `now`.
    pub fn holds(&self, now: Micros) -> bool {
        self.accepted_at.is_some() && self.ended_at.is_none() && now < self.expires_at
    }
}

type Row = (
    Vec<u8>,
    Vec<u8>,
    Option<Vec<u8>>,
    Vec<u8>,
    i64,
    i64,
    Option<i64>,
    i64,
    Option<i64>,
);

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, mandator, holder, sealed, issued_at, invited_until, accepted_at, expires_at, ended_at \
             FROM mandate ",
            $rest
        )
    };
}

fn mandate(row: Row) -> Result<MandateRow, Error> {
    let (id, mandator, holder, sealed, issued_at, invited_until, accepted_at, expires_at, ended_at) = row;
    Ok(MandateRow {
        id: to_array(id, "mandate.id")?,
        mandator: to_array(mandator, "mandate.mandator")?,
        holder: holder.map(uid_of).transpose()?,
        sealed,
        issued_at: Micros::new(issued_at),
        invited_until: Micros::new(invited_until),
        accepted_at: accepted_at.map(Micros::new),
        expires_at: Micros::new(expires_at),
        ended_at: ended_at.map(Micros::new),
    })
}

/// Writes a mandate that nobody has taken up, and the hash of what it is taken up with.
///
/// # Errors
/// [`Error::Database`].
pub async fn mandate_insert(tx: &mut Tx, row: &MandateRow, invitation: &Sha256) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO mandate (id, mandator, invitation, sealed, issued_at, invited_until, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)";
    on!(tx, c => sqlx::query(SQL)
        .bind(&row.id[..])
        .bind(&row.mandator[..])
        .bind(&invitation.as_bytes()[..])
        .bind(&row.sealed)
        .bind(row.issued_at.get())
        .bind(row.invited_until.get())
        .bind(row.expires_at.get())
        .execute(c)
        .await?
        .rows_affected());
    Ok(())
}

/// The mandate of an invitation that can still be taken up.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn mandate_invited(db: &Db, invitation: &Sha256, now: Micros) -> Result<Option<MandateRow>, Error> {
    const SQL: &str =
        select!("WHERE invitation = $1 AND holder IS NULL AND ended_at IS NULL AND invited_until > $2");
    let invitation = &invitation.as_bytes()[..];
    let row = read!(db, pool => {
        sqlx::query_as::<_, Row>(SQL).bind(invitation).bind(now.get()).fetch_optional(pool).await?
    });
    row.map(mandate).transpose()
}

/// Gives an invited mandate its holder; `false` if it cannot be taken up any more: one holder counts.
///
/// # Errors
/// [`Error::Database`].
pub async fn mandate_accept(
    tx: &mut Tx,
    invitation: &Sha256,
    holder: &PersonUid,
    sealed: &[u8],
    now: Micros,
) -> Result<bool, Error> {
    const SQL: &str = "UPDATE mandate SET holder = $2, sealed = $3, accepted_at = $4, invitation = NULL \
         WHERE invitation = $1 AND holder IS NULL AND ended_at IS NULL AND invited_until > $4";
    let (invitation, holder) = (&invitation.as_bytes()[..], &holder.as_bytes()[..]);
    let rows = on!(tx, c => sqlx::query(SQL)
        .bind(invitation)
        .bind(holder)
        .bind(sealed)
        .bind(now.get())
        .execute(c)
        .await?
        .rows_affected());
    Ok(rows == 1)
}

/// A mandate by its name.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn mandate_find(db: &Db, id: &[u8; 16]) -> Result<Option<MandateRow>, Error> {
    const SQL: &str = select!("WHERE id = $1");
    let row = read!(db, pool => sqlx::query_as::<_, Row>(SQL).bind(&id[..]).fetch_optional(pool).await?);
    row.map(mandate).transpose()
}

/// The mandates that somebody gave, newest first, 200 at most.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn mandates_given(db: &Db, mandator: &[u8; 16]) -> Result<Vec<MandateRow>, Error> {
    const SQL: &str = select!("WHERE mandator = $1 ORDER BY issued_at DESC, id LIMIT $2");
    let rows = read!(db, pool => {
        sqlx::query_as::<_, Row>(SQL).bind(&mandator[..]).bind(MAX_LISTED).fetch_all(pool).await?
    });
    rows.into_iter().map(mandate).collect()
}

/// The mandates that a person took up, newest first, 200 at most.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn mandates_held(db: &Db, holder: &PersonUid) -> Result<Vec<MandateRow>, Error> {
    const SQL: &str = select!("WHERE holder = $1 ORDER BY issued_at DESC, id LIMIT $2");
    let holder = &holder.as_bytes()[..];
    let rows = read!(db, pool => {
        sqlx::query_as::<_, Row>(SQL).bind(holder).bind(MAX_LISTED).fetch_all(pool).await?
    });
    rows.into_iter().map(mandate).collect()
}

/// Ends a mandate and withdraws all that stands of the grants that rest on it, in the caller's transaction. A mandate that
/// had ended keeps its instant.
///
/// The records written and the head after them; `None` if this process does not hold the epoch, and then the caller rolls
/// back.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn mandate_end(
    tx: &mut Tx,
    epoch: u64,
    id: &[u8; 16],
    at: Micros,
) -> Result<Option<(Vec<Record>, Head)>, Error> {
    const END: &str =
        "UPDATE mandate SET ended_at = $2, invitation = NULL WHERE id = $1 AND ended_at IS NULL";
    const STANDING: &str = "SELECT e.handle FROM grant_subject s JOIN grant_element e ON e.grant_id = s.grant_id \
         WHERE s.mandate = $1 AND e.withdrawn_at IS NULL ORDER BY e.grant_id, e.position";
    if !hold(tx, epoch).await? {
        return Ok(None);
    }
    let id = &id[..];
    on!(tx, c => sqlx::query(END).bind(id).bind(at.get()).execute(c).await?.rows_affected());
    let standing = on!(tx, c => sqlx::query_scalar::<_, Vec<u8>>(STANDING).bind(id).fetch_all(c).await?);
    let handles = standing.into_iter().map(|handle| {
        let handle = to_array(handle, "grant_element.handle").map(Handle::from_bytes)?;
        Ok((handle, WithdrawnBy::Mandate))
    });
    let handles: Vec<_> = handles.collect::<Result<_, Error>>()?;
    mark(tx, epoch, &handles, at).await
}

/// Notes what the last login said of an officer: certified, or not any more.
///
/// # Errors
/// [`Error::Database`].
pub async fn officer_certified(
    tx: &mut Tx,
    officer: &[u8; 16],
    certified: bool,
    now: Micros,
) -> Result<(), Error> {
    const PUT: &str = "INSERT INTO officer_certificate (officer, certified_at) VALUES ($1, $2) \
         ON CONFLICT (officer) DO UPDATE SET certified_at = excluded.certified_at, ended_at = NULL";
    const END: &str = "UPDATE officer_certificate SET ended_at = $2 WHERE officer = $1 AND ended_at IS NULL";
    let sql = if certified { PUT } else { END };
    on!(tx, c => sqlx::query(sql).bind(&officer[..]).bind(now.get()).execute(c).await?.rows_affected());
    Ok(())
}

/// Whether an officer was certified since `since`, and no login has said otherwise after that.
///
/// # Errors
/// [`Error::Database`].
pub async fn officer_is_certified(db: &Db, officer: &[u8; 16], since: Micros) -> Result<bool, Error> {
    const SQL: &str =
        "SELECT 1 FROM officer_certificate WHERE officer = $1 AND ended_at IS NULL AND certified_at >= $2";
    let found = read!(db, pool => {
        sqlx::query_scalar::<_, i32>(SQL).bind(&officer[..]).bind(since.get()).fetch_optional(pool).await?
    });
    Ok(found.is_some())
}
