//! Browser sessions and the logins begun in them.

use unefois_core::{Acr, Micros, OfficerAssurance, Sha256, Siret};

use super::{OfficerUid, PersonUid, officer, person, word};
use crate::{Db, Error, Tx, on, read, to_array};

/// Which person is logged in, and how.
#[derive(Clone, Debug)]
pub struct Login {
    /// The account.
    pub person: PersonUid,
    /// Which identity provider said so.
    pub idp_iss: String,
    /// How sure it was.
    pub acr: Acr,
    /// When the person logged in there, seconds.
    pub auth_time: i64,
    /// Which of the person's identities it gave.
    pub pivot_digest: Sha256,
    /// The ID token, sealed.
    pub id_token: Vec<u8>,
}

/// Which officer is logged in, and how. Nothing of it is a person's: no level, no identity, no account of people.
#[derive(Clone, Debug)]
pub struct OfficerLogin {
    /// The officer.
    pub officer: OfficerUid,
    /// Which identity provider said so.
    pub idp_iss: String,
    /// The body that the officer belongs to.
    pub siret: Siret,
    /// How well the provider knows the officer.
    pub assurance: OfficerAssurance,
    /// When the officer logged in there, seconds.
    pub auth_time: i64,
    /// Name and service, sealed.
    pub profile: Vec<u8>,
    /// The ID token, sealed.
    pub id_token: Vec<u8>,
}

/// Whose a session is.
#[derive(Clone, Debug)]
pub enum Holder {
    /// A person's.
    Person(Login),
    /// An officer's.
    Officer(OfficerLogin),
}

impl Holder {
    /// The identity provider that named them.
    pub fn idp_iss(&self) -> &str {
        match self {
            Self::Person(login) => &login.idp_iss,
            Self::Officer(login) => &login.idp_iss,
        }
    }
}

/// A session.
#[derive(Clone, Debug)]
pub struct Session {
    /// `None` before the login.
    pub holder: Option<Holder>,
    /// When it began.
    pub created_at: Micros,
    /// When its last request came.
    pub seen_at: Micros,
}

/// Begins a session. An officer's profile stays where `officer_put` wrote it.
pub async fn session_insert(
    tx: &mut Tx,
    id_hash: &Sha256,
    holder: Option<&Holder>,
    at: Micros,
) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO session \
         (id_hash, person_uid, officer_uid, idp_iss, acr, officer_assurance, auth_time, pivot_digest, id_token, \
         created_at, seen_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)";
    let (person, officer) = match holder {
        Some(Holder::Person(login)) => (Some(login), None),
        Some(Holder::Officer(login)) => (None, Some(login)),
        None => (None, None),
    };
    let id = &id_hash.as_bytes()[..];
    let person_uid = person.map(|l| &l.person.as_bytes()[..]);
    let officer_uid = officer.map(|l| &l.officer.as_bytes()[..]);
    let iss = holder.map(Holder::idp_iss);
    let acr = person.map(|l| l.acr.as_str());
    let assurance = officer.map(|l| l.assurance.as_str());
    let auth_time = (person.map(|l| l.auth_time)).or(officer.map(|l| l.auth_time));
    let pivot = person.map(|l| &l.pivot_digest.as_bytes()[..]);
    let id_token = (person.map(|l| &l.id_token[..])).or(officer.map(|l| &l.id_token[..]));
    on!(tx, c => sqlx::query(SQL)
        .bind(id)
        .bind(person_uid)
        .bind(officer_uid)
        .bind(iss)
        .bind(acr)
        .bind(assurance)
        .bind(auth_time)
        .bind(pivot)
        .bind(id_token)
        .bind(at.get())
        .execute(c)
        .await?
        .rows_affected());
    Ok(())
}

/// What both kinds of session hold: issuer, time of the login, ID token.
type Common = (Option<String>, Option<i64>, Option<Vec<u8>>, i64, i64);
type OfPerson = (Option<Vec<u8>>, Option<String>, Option<Vec<u8>>);
type OfOfficer = (Option<Vec<u8>>, Option<String>, Option<String>, Option<Vec<u8>>);
type Row = (
    Option<String>,
    Option<i64>,
    Option<Vec<u8>>,
    i64,
    i64,
    Option<Vec<u8>>,
    Option<String>,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Option<String>,
    Option<String>,
    Option<Vec<u8>>,
);

/// The session of this id.
pub async fn session_find(db: &Db, id_hash: &Sha256) -> Result<Option<Session>, Error> {
    const SQL: &str = "SELECT s.idp_iss, s.auth_time, s.id_token, s.created_at, s.seen_at, s.person_uid, s.acr, s.pivot_digest, \
         s.officer_uid, s.officer_assurance, o.siret, o.profile \
         FROM session s LEFT JOIN officer o ON o.uid = s.officer_uid WHERE s.id_hash = $1";
    let id = &id_hash.as_bytes()[..];
    let row = read!(db, pool => sqlx::query_as::<_, Row>(SQL).bind(id).fetch_optional(pool).await?);
    row.map(
        |(iss, at, token, created, seen, person, acr, pivot, officer, assurance, siret, profile)| {
            session_of(
                (iss, at, token, created, seen),
                (person, acr, pivot),
                (officer, assurance, siret, profile),
            )
        },
    )
    .transpose()
}

fn session_of(
    (iss, auth_time, id_token, created_at, seen_at): Common,
    person: OfPerson,
    officer: OfOfficer,
) -> Result<Session, Error> {
    let holder = match (iss, auth_time, id_token, person, officer) {
        (
            Some(idp_iss),
            Some(auth_time),
            Some(id_token),
            (Some(person), Some(acr), Some(pivot)),
            (None, None, None, None),
        ) => Some(Holder::Person(Login {
            person: person::uid_of(person)?,
            idp_iss,
            acr: word(&acr, "session.acr")?,
            auth_time,
            pivot_digest: Sha256::from_bytes(to_array(pivot, "session.pivot_digest")?),
            id_token,
        })),
        (
            Some(idp_iss),
            Some(auth_time),
            Some(id_token),
            (None, None, None),
            (Some(officer), Some(assurance), Some(siret), Some(profile)),
        ) => Some(Holder::Officer(OfficerLogin {
            officer: officer::uid_of(officer)?,
            idp_iss,
            siret: word(&siret, "officer.siret")?,
            assurance: word(&assurance, "session.officer_assurance")?,
            auth_time,
            profile,
            id_token,
        })),
        (None, None, None, (None, None, None), (None, None, None, None)) => None,
        _ => return Err(Error::Corrupt("session")),
    };
    Ok(Session {
        holder,
        created_at: Micros::new(created_at),
        seen_at: Micros::new(seen_at),
    })
}

/// Notes that a session's request came.
pub async fn session_touch(tx: &mut Tx, id_hash: &Sha256, at: Micros) -> Result<(), Error> {
    const SQL: &str = "UPDATE session SET seen_at = $2 WHERE id_hash = $1 AND seen_at < $2";
    let id = &id_hash.as_bytes()[..];
    on!(tx, c => sqlx::query(SQL).bind(id).bind(at.get()).execute(c).await?.rows_affected());
    Ok(())
}

/// Ends a session, with the logins begun in it.
pub async fn session_delete(tx: &mut Tx, id_hash: &Sha256) -> Result<(), Error> {
    const SESSION: &str = "DELETE FROM session WHERE id_hash = $1";
    const LOGINS: &str = "DELETE FROM login_attempt WHERE session_hash = $1";
    let id = &id_hash.as_bytes()[..];
    on!(tx, c => sqlx::query(SESSION).bind(id).execute(c).await?.rows_affected());
    on!(tx, c => sqlx::query(LOGINS).bind(id).execute(c).await?.rows_affected());
    Ok(())
}

/// A login on its way through an identity provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The session it was begun in.
    pub session_hash: Sha256,
    /// The short name of the identity provider.
    pub issuer: String,
    /// The nonce sent.
    pub nonce: String,
    /// Where to go afterwards.
    pub next: String,
    /// What it was begun for: the word of a level or of an officer's assurance.
    pub wanted: String,
    /// When it was begun.
    pub created_at: Micros,
}

/// Begins a login.
pub async fn attempt_insert(tx: &mut Tx, state_hash: &Sha256, attempt: &Attempt) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO login_attempt (state_hash, session_hash, issuer, nonce, next, wanted, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let (state, session) = (&state_hash.as_bytes()[..], &attempt.session_hash.as_bytes()[..]);
    on!(tx, c => sqlx::query(SQL)
        .bind(state)
        .bind(session)
        .bind(&attempt.issuer)
        .bind(&attempt.nonce)
        .bind(&attempt.next)
        .bind(&attempt.wanted)
        .bind(attempt.created_at.get())
        .execute(c)
        .await?
        .rows_affected());
    Ok(())
}

/// Takes a login out: each `state` counts once.
pub async fn attempt_take(tx: &mut Tx, state_hash: &Sha256) -> Result<Option<Attempt>, Error> {
    const SQL: &str = "DELETE FROM login_attempt WHERE state_hash = $1 \
         RETURNING session_hash, issuer, nonce, next, wanted, created_at";
    type Row = (Vec<u8>, String, String, String, String, i64);
    let state = &state_hash.as_bytes()[..];
    let row = on!(tx, c => sqlx::query_as::<_, Row>(SQL).bind(state).fetch_optional(c).await?);
    row.map(|(session, issuer, nonce, next, wanted, created_at)| {
        Ok(Attempt {
            session_hash: Sha256::from_bytes(to_array(session, "login_attempt.session_hash")?),
            issuer,
            nonce,
            next,
            wanted,
            created_at: Micros::new(created_at),
        })
    })
    .transpose()
}

/// Deletes sessions last seen, and logins begun, before `before`.
pub async fn session_sweep(tx: &mut Tx, before: Micros) -> Result<u64, Error> {
    const SESSIONS: &str = "DELETE FROM session WHERE seen_at < $1";
    const LOGINS: &str = "DELETE FROM login_attempt WHERE created_at < $1";
    let before = before.get();
    let sessions = on!(tx, c => sqlx::query(SESSIONS).bind(before).execute(c).await?.rows_affected());
    let logins = on!(tx, c => sqlx::query(LOGINS).bind(before).execute(c).await?.rows_affected());
    Ok(sessions + logins)
}
