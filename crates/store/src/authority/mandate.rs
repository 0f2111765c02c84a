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
    /// The account that it is given for, a person's or a company's; `None` of one from before that was kept.
    pub principal: Option<PersonUid>,
    /// Who took it up; `None` as long as nobody has.
    pub holder: Option<PersonUid>,
    /// For whom and for what, sealed.
    pub sealed: Vec<u8>,
    /// When it was given.
    pub issued_at: Micros,
    /// Until when it may be taken up, or accepted once it was.
    pub invited_until: Micros,
    /// When its invitation was taken up.
    pub asked_at: Option<Micros>,
    /// Since when it is in force: its giver has accepted who took it up.
    pub accepted_at: Option<Micros>,
    /// When the ledger held the entry of its beginning.
    pub accepted_logged_at: Option<Micros>,
    /// When it ends by itself.
    pub expires_at: Micros,
    /// When either side ended it.
    pub ended_at: Option<Micros>,
}

impl MandateRow {
    /// Whether it is in force at `now`: what no entry of the ledger records is not.
    pub fn holds(&self, now: Micros) -> bool {
        self.accepted_logged_at.is_some() && self.ended_at.is_none() && now < self.expires_at
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Vec<u8>,
    mandator: Vec<u8>,
    principal: Option<Vec<u8>>,
    holder: Option<Vec<u8>>,
    sealed: Vec<u8>,
    issued_at: i64,
    invited_until: i64,
    asked_at: Option<i64>,
    accepted_at: Option<i64>,
    accepted_logged_at: Option<i64>,
    expires_at: i64,
    ended_at: Option<i64>,
}

/// Whether a mandate is in force at `$now`, or may still be.
macro_rules! living {
    ($now:literal) => {
        concat!(
            "ended_at IS NULL AND expires_at > ",
            $now,
            " AND (accepted_at IS NOT NULL OR invited_until > ",
            $now,
            ")"
        )
    };
}

macro_rules! select {
    ($($rest:expr),+) => {
        concat!(
            "SELECT id, mandator, principal, holder, sealed, issued_at, invited_until, asked_at, accepted_at, \
             accepted_logged_at, expires_at, ended_at FROM mandate ",
            $($rest),+
        )
    };
}

/// Those of one side: no list is so long that what is over hides what is not.
macro_rules! listed {
    ($side:literal) => {
        select!(
            "WHERE ",
            $side,
            " = $1 ORDER BY CASE WHEN ",
            living!("$2"),
            " THEN 0 ELSE 1 END, issued_at DESC, id LIMIT $3"
        )
    };
}

impl Row {
    fn read(self) -> Result<MandateRow, Error> {
        Ok(MandateRow {
            id: to_array(self.id, "mandate.id")?,
            mandator: to_array(self.mandator, "mandate.mandator")?,
            principal: self.principal.map(uid_of).transpose()?,
            holder: self.holder.map(uid_of).transpose()?,
            sealed: self.sealed,
            issued_at: Micros::new(self.issued_at),
            invited_until: Micros::new(self.invited_until),
            asked_at: self.asked_at.map(Micros::new),
            accepted_at: self.accepted_at.map(Micros::new),
            accepted_logged_at: self.accepted_logged_at.map(Micros::new),
            expires_at: Micros::new(self.expires_at),
            ended_at: self.ended_at.map(Micros::new),
        })
    }
}

/// Writes a mandate that nobody has taken up, and the hash of what it is taken up with.
///
/// # Errors
/// [`Error::Database`].
pub async fn mandate_insert(tx: &mut Tx, row: &MandateRow, invitation: &Sha256) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO mandate \
         (id, mandator, principal, invitation, sealed, issued_at, invited_until, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    let principal = row.principal.as_ref().map(|uid| &uid.as_bytes()[..]);
    on!(tx, c => sqlx::query(SQL)
        .bind(&row.id[..])
        .bind(&row.mandator[..])
        .bind(principal)
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
    row.map(Row::read).transpose()
}

/// Gives an invited mandate to whoever takes it up, until its giver has accepted them or `until` is over; `false` if it
/// cannot be taken up any more: one holder counts, and an invitation serves once.
///
/// # Errors
/// [`Error::Database`].
pub async fn mandate_ask(
    tx: &mut Tx,
    invitation: &Sha256,
    holder: &PersonUid,
    sealed: &[u8],
    (now, until): (Micros, Micros),
) -> Result<bool, Error> {
    const SQL: &str = "UPDATE mandate SET holder = $2, sealed = $3, asked_at = $4, invited_until = $5, \
         invitation = NULL WHERE invitation = $1 AND holder IS NULL AND ended_at IS NULL AND invited_until > $4";
    let (invitation, holder) = (&invitation.as_bytes()[..], &holder.as_bytes()[..]);
    let rows = on!(tx, c => sqlx::query(SQL)
        .bind(invitation)
        .bind(holder)
        .bind(sealed)
        .bind(now.get())
        .bind(until.get())
        .execute(c)
        .await?
        .rows_affected());
    Ok(rows == 1)
}

/// Puts in force, for the account that it was given for, a mandate that somebody has taken up; `false` where nobody has,
/// or it is over.
///
/// # Errors
/// [`Error::Database`].
pub async fn mandate_accept(
    tx: &mut Tx,
    id: &[u8; 16],
    principal: &PersonUid,
    now: Micros,
) -> Result<bool, Error> {
    const SQL: &str = "UPDATE mandate SET accepted_at = $3 WHERE id = $1 AND principal = $2 AND holder IS NOT NULL \
         AND accepted_at IS NULL AND ended_at IS NULL AND invited_until > $3 AND expires_at > $3";
    let principal = &principal.as_bytes()[..];
    let rows = on!(tx, c => sqlx::query(SQL)
        .bind(&id[..])
        .bind(principal)
        .bind(now.get())
        .execute(c)
        .await?
        .rows_affected());
    Ok(rows == 1)
}

/// How many mandates an account has given and holds that are in force or may still be, once nobody else may change that
/// before the transaction ends.
///
/// # Errors
/// [`Error::Database`].
pub async fn mandates_living(tx: &mut Tx, account: &PersonUid, now: Micros) -> Result<Living, Error> {
    const HOLD: &str = "UPDATE person SET created_at = created_at WHERE uid = $1";
    const GIVEN: &str = concat!(
        "SELECT COUNT(*) FROM mandate WHERE principal = $1 AND ",
        living!("$2")
    );
    const HELD: &str = concat!(
        "SELECT COUNT(*) FROM mandate WHERE holder = $1 AND ",
        living!("$2")
    );
    let uid = &account.as_bytes()[..];
    on!(tx, c => sqlx::query(HOLD).bind(uid).execute(c).await?.rows_affected());
    Ok(Living {
        given: on!(tx, c => sqlx::query_scalar(GIVEN).bind(uid).bind(now.get()).fetch_one(c).await?),
        held: on!(tx, c => sqlx::query_scalar(HELD).bind(uid).bind(now.get()).fetch_one(c).await?),
    })
}

/// How many mandates of an account are in force or may still be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Living {
    /// Those given for it.
    pub given: i64,
    /// Those that it took up.
    pub held: i64,
}

/// Where one mandate stands among those of [`mandate_unlogged`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnloggedPlace {
    accepted_at: i64,
    id: Vec<u8>,
}

impl UnloggedPlace {
    /// Before all of them.
    pub const START: Self = Self {
        accepted_at: i64::MIN,
        id: Vec::new(),
    };
}

/// The mandates whose beginning or end before `before` the ledger does not hold yet, one or all, in the order of their
/// beginnings, those after `after`, 100 at most. One that does not read is [`Error::Corrupt`] in its place.
///
/// # Errors
/// [`Error::Database`].
pub async fn mandate_unlogged(
    db: &Db,
    before: Micros,
    one: Option<&[u8; 16]>,
    after: &UnloggedPlace,
) -> Result<Vec<(UnloggedPlace, Result<MandateRow, Error>)>, Error> {
    const SQL: &str = select!(
        "WHERE accepted_at IS NOT NULL \
         AND (accepted_logged_at IS NULL OR (ended_at IS NOT NULL AND ended_logged_at IS NULL)) \
         AND COALESCE(ended_at, accepted_at) < $1 AND ($2 IS NULL OR id = $2) AND (accepted_at, id) > ($3, $4) \
         ORDER BY accepted_at, id LIMIT 100"
    );
    let (one, before) = (one.map(|id| &id[..]), before.get());
    let rows = read!(db, pool => {
        sqlx::query_as::<_, Row>(SQL)
            .bind(before)
            .bind(one)
            .bind(after.accepted_at)
            .bind(&after.id)
            .fetch_all(pool)
            .await?
    });
    rows.into_iter()
        .map(|row| {
            let place = UnloggedPlace {
                accepted_at: row.accepted_at.ok_or(Error::Corrupt("mandate.accepted_at"))?,
                id: row.id.clone(),
            };
            Ok((place, row.read()))
        })
        .collect()
}

/// Notes that the ledger holds the entry of a mandate's beginning, or of its end.
///
/// # Errors
/// [`Error::Database`].
pub async fn mandate_logged(tx: &mut Tx, id: &[u8; 16], is_end: bool, at: Micros) -> Result<(), Error> {
    const BEGINNING: &str =
        "UPDATE mandate SET accepted_logged_at = $2 WHERE id = $1 AND accepted_logged_at IS NULL";
    const END: &str = "UPDATE mandate SET ended_logged_at = $2 WHERE id = $1 AND ended_logged_at IS NULL";
    let sql = if is_end { END } else { BEGINNING };
    on!(tx, c => sqlx::query(sql).bind(&id[..]).bind(at.get()).execute(c).await?.rows_affected());
    Ok(())
}

/// Deletes mandates that were over before `before`, and those that were never in force and over before `unused_before`,
/// once the ledger holds what was to be told of them. The grants that rested on one keep who had acted by it.
///
/// # Errors
/// [`Error::Database`].
pub async fn mandate_sweep(tx: &mut Tx, before: Micros, unused_before: Micros) -> Result<u64, Error> {
    macro_rules! over {
        ($head:literal) => {
            concat!(
                $head,
                "CASE WHEN accepted_at IS NULL THEN COALESCE(ended_at, invited_until) < $2 ",
                "ELSE COALESCE(ended_at, expires_at) < $1 AND accepted_logged_at IS NOT NULL ",
                "AND (ended_at IS NULL OR ended_logged_at IS NOT NULL) END"
            )
        };
    }
    const LOOSE: &str = concat!(
        over!("UPDATE grant_subject SET mandate = NULL WHERE mandate IN (SELECT id FROM mandate WHERE "),
        ")"
    );
    const DELETE: &str = over!("DELETE FROM mandate WHERE ");
    let (before, unused) = (before.get(), unused_before.get());
    on!(tx, c => sqlx::query(LOOSE).bind(before).bind(unused).execute(c).await?.rows_affected());
    Ok(on!(tx, c => sqlx::query(DELETE).bind(before).bind(unused).execute(c).await?.rows_affected()))
}

/// A mandate by its name.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn mandate_find(db: &Db, id: &[u8; 16]) -> Result<Option<MandateRow>, Error> {
    const SQL: &str = select!("WHERE id = $1");
    let row = read!(db, pool => sqlx::query_as::<_, Row>(SQL).bind(&id[..]).fetch_optional(pool).await?);
    row.map(Row::read).transpose()
}

/// The mandates that were given for an account: those in force or that may still be, then the others, each newest first,
/// 200 at most.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn mandates_given(db: &Db, principal: &PersonUid, now: Micros) -> Result<Vec<MandateRow>, Error> {
    const SQL: &str = listed!("principal");
    let principal = &principal.as_bytes()[..];
    let rows = read!(db, pool => {
        sqlx::query_as::<_, Row>(SQL).bind(principal).bind(now.get()).bind(MAX_LISTED).fetch_all(pool).await?
    });
    rows.into_iter().map(Row::read).collect()
}

/// The mandates that a person took up, in the same order, 200 at most.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn mandates_held(db: &Db, holder: &PersonUid, now: Micros) -> Result<Vec<MandateRow>, Error> {
    const SQL: &str = listed!("holder");
    let holder = &holder.as_bytes()[..];
    let rows = read!(db, pool => {
        sqlx::query_as::<_, Row>(SQL).bind(holder).bind(now.get()).bind(MAX_LISTED).fetch_all(pool).await?
    });
    rows.into_iter().map(Row::read).collect()
}

/// The mandates from before it was kept for whom they are, `limit` at most, in the order of their names, those after `after`
/// alone.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn mandate_unfilled(db: &Db, after: &[u8; 16], limit: u32) -> Result<Vec<MandateRow>, Error> {
    const SQL: &str = select!("WHERE principal IS NULL AND id > $1 ORDER BY id LIMIT $2");
    let rows = read!(db, pool => {
        sqlx::query_as::<_, Row>(SQL).bind(&after[..]).bind(i64::from(limit)).fetch_all(pool).await?
    });
    rows.into_iter().map(Row::read).collect()
}

/// Keeps for whom a mandate is, with what it says sealed anew; nothing where that has changed since it was read.
///
/// # Errors
/// [`Error::Database`].
pub async fn mandate_fill(
    tx: &mut Tx,
    row: &MandateRow,
    principal: &PersonUid,
    sealed: &[u8],
) -> Result<(), Error> {
    const SQL: &str = "UPDATE mandate SET principal = $2, sealed = $3 \
         WHERE id = $1 AND principal IS NULL AND sealed = $4";
    let principal = &principal.as_bytes()[..];
    on!(tx, c => sqlx::query(SQL)
        .bind(&row.id[..])
        .bind(principal)
        .bind(sealed)
        .bind(&row.sealed)
        .execute(c)
        .await?
        .rows_affected());
    Ok(())
}

/// Holds a mandate that is in force until the transaction ends, so that what is written under it is either there when it
/// ends, or refused; `false` where it is not in force.
///
/// # Errors
/// [`Error::Database`].
pub async fn mandate_hold(tx: &mut Tx, id: &[u8; 16], now: Micros) -> Result<bool, Error> {
    const SQL: &str = "UPDATE mandate SET expires_at = expires_at \
         WHERE id = $1 AND accepted_logged_at IS NOT NULL AND ended_at IS NULL AND expires_at > $2";
    let rows = on!(tx, c => sqlx::query(SQL).bind(&id[..]).bind(now.get()).execute(c).await?.rows_affected());
    Ok(rows == 1)
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
