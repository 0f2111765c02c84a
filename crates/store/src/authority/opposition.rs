//! What people object to being fetched without being asked for.
//!
//! An opposition is written in the transaction that withdraws what stands under it, with the head of the withdrawal log
//! held; a grant that nobody asked for is written with the head held too. So of the two, the later one sees the earlier.

use unefois_core::revocation::{Head, Record};
use unefois_core::{DemarcheId, Handle, Micros, ParticipantId, WithdrawnBy};

use super::grant::{Element, Grant, grant_insert};
use super::revocation::{hold, mark};
use super::{PersonUid, person, word};
use crate::{Db, Error, Tx, on, read, to_array};

/// Whether a proactive grant of `$person` to `$client` for `$demarche` meets an opposition at `$at`: of that person, of
/// anybody who ever had the very same identity, or of anybody who may be the same person, otherwise written. Of whoever
/// objects under an identity that nobody has tried to read yet, it may be so; of one that does not open, its exact digest
/// alone tells. A person whose own identity tells nothing falls under whatever anybody objects to.
macro_rules! opposed {
    ($person:literal, $client:literal, $demarche:literal, $at:literal) => {
        concat!(
            "EXISTS (SELECT 1 FROM opposition o WHERE o.lifted_at IS NULL AND o.ends_at > ",
            $at,
            " AND (o.client IS NULL OR o.client = ",
            $client,
            ") AND (o.demarche IS NULL OR o.demarche = ",
            $demarche,
            ") AND (o.person_uid = ",
            $person,
            " OR o.person_uid IN (SELECT theirs.person_uid FROM person_pivot own JOIN person_pivot theirs ",
            "ON theirs.near = own.near WHERE own.person_uid = ",
            $person,
            ") OR o.person_uid IN (SELECT same.person_uid FROM person_pivot own JOIN person_identity same ",
            "ON same.pivot_digest = own.digest WHERE own.person_uid = ",
            $person,
            ") OR o.person_uid IN (SELECT person_uid FROM person_pivot WHERE near IS NULL AND unread_at IS NULL) ",
            "OR EXISTS (SELECT 1 FROM person_pivot WHERE near IS NULL AND person_uid = ",
            $person,
            ")))"
        )
    };
}
pub(super) use opposed;

/// What a person objects to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opposition {
    /// Its name.
    pub id: [u8; 16],
    /// Whose it is.
    pub person: PersonUid,
    /// To what one body fetches; to everybody's where absent.
    pub client: Option<ParticipantId>,
    /// To what it fetches for one démarche; for all where absent.
    pub demarche: Option<DemarcheId>,
    /// Since when.
    pub since: Micros,
    /// Until when it is kept, unless it is renewed.
    pub ends_at: Micros,
}

/// What became of a grant that nobody was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unasked {
    /// It is written.
    Written,
    /// The person objects.
    Opposed,
    /// This process does not hold the epoch; the caller rolls back.
    Superseded,
}

/// What was done with an opposition, as the ledger is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unlogged {
    /// The opposition as it stands.
    pub opposition: Opposition,
    /// When it was lifted.
    pub lifted_at: Option<Micros>,
    /// `opposed`, `renewed`, `lifted`: in the order in which they were done, a prolongation of a prolongation once.
    pub acts: Vec<String>,
}

/// The column `unlogged` with one act more, so that none takes the place of an earlier one.
macro_rules! and_then {
    ($act:literal) => {
        concat!(
            "unlogged = CASE WHEN unlogged LIKE '%",
            $act,
            "' THEN unlogged ELSE COALESCE(unlogged || ' ', '') || '",
            $act,
            "' END"
        )
    };
}

/// Objects, and withdraws every standing grant of the person that rests on proactive information and falls under it, all in
/// the caller's transaction. Those of whoever may be the same person, otherwise written, stand, and no token comes of them
/// for as long as the opposition stands: they may be a namesake's. Whoever objects to the same again prolongs what stands.
///
/// The records written and the head after them; `None` if this process does not hold the epoch, and then the caller rolls
/// back.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn oppose(
    tx: &mut Tx,
    epoch: u64,
    opposition: &Opposition,
    at: Micros,
) -> Result<Option<(Vec<Record>, Head)>, Error> {
    const PROLONG: &str = concat!(
        "UPDATE opposition SET ends_at = $4, changed_at = $5, ",
        and_then!("renewed"),
        " WHERE person_uid = $1 AND client IS NOT DISTINCT FROM $2 AND demarche IS NOT DISTINCT FROM $3",
        " AND lifted_at IS NULL AND ends_at > $5"
    );
    const INSERT: &str = "INSERT INTO opposition (id, person_uid, client, demarche, since, ends_at, unlogged, changed_at) \
         VALUES ($1, $2, $3, $4, $5, $6, 'opposed', $5)";
    const STANDING: &str = "SELECT e.handle FROM grant_element e JOIN person_grant g ON g.id = e.grant_id \
         WHERE g.person_uid = $1 AND g.proactive AND ($2 IS NULL OR g.client = $2) \
         AND ($3 IS NULL OR g.demarche = $3) AND e.withdrawn_at IS NULL AND g.ends_at > $4 \
         ORDER BY g.granted_at, e.position";
    if !hold(tx, epoch).await? {
        return Ok(None);
    }
    let (id, uid) = (&opposition.id[..], &opposition.person.as_bytes()[..]);
    let client = opposition.client.map(|client| client.to_string());
    let demarche = opposition.demarche.as_ref().map(DemarcheId::as_str);
    let ends_at = opposition.ends_at.get();
    let prolonged = on!(tx, c => sqlx::query(PROLONG)
        .bind(uid)
        .bind(&client)
        .bind(demarche)
        .bind(ends_at)
        .bind(at.get())
        .execute(c)
        .await?
        .rows_affected());
    if prolonged == 0 {
        on!(tx, c => sqlx::query(INSERT)
            .bind(id)
            .bind(uid)
            .bind(&client)
            .bind(demarche)
            .bind(at.get())
            .bind(ends_at)
            .execute(c)
            .await?
            .rows_affected());
    }
    let standing = on!(tx, c => sqlx::query_scalar::<_, Vec<u8>>(STANDING)
        .bind(uid)
        .bind(&client)
        .bind(demarche)
        .bind(at.get())
        .fetch_all(c)
        .await?);
    let handles = standing.into_iter().map(|handle| {
        let handle = to_array(handle, "grant_element.handle").map(Handle::from_bytes)?;
        Ok((handle, WithdrawnBy::Opposition))
    });
    let handles: Vec<_> = handles.collect::<Result<_, Error>>()?;
    mark(tx, epoch, &handles, at).await
}

/// Writes a grant that nobody was asked for, unless it rests on proactive information and its person objects, or somebody
/// who may be the same person, otherwise written.
///
/// # Errors
/// [`Error::Database`].
pub async fn grant_unasked(
    tx: &mut Tx,
    epoch: u64,
    grant: &Grant,
    elements: &[Element],
) -> Result<Unasked, Error> {
    const OPPOSED: &str = concat!(
        "SELECT CASE WHEN ",
        opposed!("$1", "$2", "$3", "$4"),
        " THEN 1 ELSE 0 END"
    );
    if !hold(tx, epoch).await? {
        return Ok(Unasked::Superseded);
    }
    let (uid, client) = (&grant.person.as_bytes()[..], grant.client.to_string());
    let demarche = grant.demarche.as_ref().map(DemarcheId::as_str);
    let at = grant.granted_at.get();
    let opposed: i32 = on!(tx, c => {
        sqlx::query_scalar(OPPOSED).bind(uid).bind(&client).bind(demarche).bind(at).fetch_one(c).await?
    });
    if grant.proactive && opposed > 0 {
        return Ok(Unasked::Opposed);
    }
    grant_insert(tx, grant, elements).await?;
    Ok(Unasked::Written)
}

/// What a person objects to at `at`, the newest first.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn opposition_list(db: &Db, person: &PersonUid, at: Micros) -> Result<Vec<Opposition>, Error> {
    const SQL: &str = "SELECT id, person_uid, client, demarche, since, ends_at FROM opposition \
         WHERE person_uid = $1 AND lifted_at IS NULL AND ends_at > $2 ORDER BY since DESC, id";
    let uid = &person.as_bytes()[..];
    let rows = read!(db, pool => {
        sqlx::query_as::<_, Row>(SQL).bind(uid).bind(at.get()).fetch_all(pool).await?
    });
    rows.into_iter().map(Row::read).collect()
}

/// Keeps a person's opposition until `ends_at`; `false` where it does not stand.
///
/// # Errors
/// [`Error::Database`].
pub async fn opposition_renew(
    tx: &mut Tx,
    person: &PersonUid,
    id: &[u8; 16],
    ends_at: Micros,
    at: Micros,
) -> Result<bool, Error> {
    const SQL: &str = concat!(
        "UPDATE opposition SET ends_at = $3, changed_at = $4, ",
        and_then!("renewed"),
        " WHERE id = $1 AND person_uid = $2 AND lifted_at IS NULL AND ends_at > $4"
    );
    let uid = &person.as_bytes()[..];
    let rows = on!(tx, c => sqlx::query(SQL)
        .bind(&id[..])
        .bind(uid)
        .bind(ends_at.get())
        .bind(at.get())
        .execute(c)
        .await?
        .rows_affected());
    Ok(rows == 1)
}

/// Lifts a person's opposition; `false` where it does not stand.
///
/// # Errors
/// [`Error::Database`].
pub async fn opposition_lift(
    tx: &mut Tx,
    person: &PersonUid,
    id: &[u8; 16],
    at: Micros,
) -> Result<bool, Error> {
    const SQL: &str = concat!(
        "UPDATE opposition SET lifted_at = $3, changed_at = $3, ",
        and_then!("lifted"),
        " WHERE id = $1 AND person_uid = $2 AND lifted_at IS NULL AND ends_at > $3"
    );
    let uid = &person.as_bytes()[..];
    let rows = on!(tx, c => sqlx::query(SQL).bind(&id[..]).bind(uid).bind(at.get()).execute(c).await?.rows_affected());
    Ok(rows == 1)
}

/// What was changed before `before` and the ledger does not hold yet, of one person or of all, 100 at most.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn opposition_unlogged(
    db: &Db,
    before: Micros,
    of: Option<&PersonUid>,
) -> Result<Vec<Unlogged>, Error> {
    const SQL: &str = "SELECT unlogged AS acts, lifted_at, id, person_uid, client, demarche, since, ends_at FROM opposition \
         WHERE unlogged IS NOT NULL AND changed_at < $1 AND ($2 IS NULL OR person_uid = $2) \
         ORDER BY changed_at LIMIT 100";
    #[derive(sqlx::FromRow)]
    struct Told {
        acts: String,
        lifted_at: Option<i64>,
        #[sqlx(flatten)]
        row: Row,
    }
    let uid = of.map(|person| &person.as_bytes()[..]);
    let rows = read!(db, pool => {
        sqlx::query_as::<_, Told>(SQL).bind(before.get()).bind(uid).fetch_all(pool).await?
    });
    let told = |told: Told| {
        Ok(Unlogged {
            opposition: told.row.read()?,
            lifted_at: told.lifted_at.map(Micros::new),
            acts: told.acts.split(' ').map(str::to_owned).collect(),
        })
    };
    rows.into_iter().map(told).collect()
}

/// Notes that the ledger holds the entry of `act`, the first of those that it lacked; what was done since stays.
///
/// # Errors
/// [`Error::Database`].
pub async fn opposition_logged(tx: &mut Tx, id: &[u8; 16], act: &str) -> Result<(), Error> {
    const SQL: &str = "UPDATE opposition SET unlogged = NULLIF(SUBSTR(unlogged, LENGTH($2) + 2), '') \
         WHERE id = $1 AND (unlogged = $2 OR unlogged LIKE $2 || ' %')";
    on!(tx, c => sqlx::query(SQL).bind(&id[..]).bind(act).execute(c).await?.rows_affected());
    Ok(())
}

/// Deletes oppositions that were lifted or whose time is over, once the ledger holds what was done with them.
///
/// # Errors
/// [`Error::Database`].
pub async fn opposition_sweep(tx: &mut Tx, now: Micros) -> Result<u64, Error> {
    const SQL: &str =
        "DELETE FROM opposition WHERE (ends_at <= $1 OR lifted_at IS NOT NULL) AND unlogged IS NULL";
    Ok(on!(tx, c => sqlx::query(SQL).bind(now.get()).execute(c).await?.rows_affected()))
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Vec<u8>,
    person_uid: Vec<u8>,
    client: Option<String>,
    demarche: Option<String>,
    since: i64,
    ends_at: i64,
}

impl Row {
    fn read(self) -> Result<Opposition, Error> {
        let client = self.client.map(|id| word(&id, "opposition.client"));
        let demarche = self.demarche.map(|id| word(&id, "opposition.demarche"));
        Ok(Opposition {
            id: to_array(self.id, "opposition.id")?,
            person: person::uid_of(self.person_uid)?,
            client: client.transpose()?,
            demarche: demarche.transpose()?,
            since: Micros::new(self.since),
            ends_at: Micros::new(self.ends_at),
        })
    }
}
