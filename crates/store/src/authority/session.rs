//! Browser sessions and the logins begun in them.

use unefois_core::{Acr, Micros, Sha256};

use super::person::uid_of;
use super::{PersonUid, word};
use crate::{Db, Error, Tx, on, read, to_array};

/// Who is logged in, and how.
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

/// A session.
#[derive(Clone, Debug)]
pub struct Session {
    /// `None` before the login.
    pub login: Option<Login>,
    /// When its last request came.
    pub seen_at: Micros,
}

/// Begins a session.
pub async fn session_insert(
    tx: &mut Tx,
    id_hash: &Sha256,
    login: Option<&Login>,
    at: Micros,
) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO session \
         (id_hash, person_uid, idp_iss, acr, auth_time, pivot_digest, id_token, created_at, seen_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)";
    let id = &id_hash.as_bytes()[..];
    let person = login.map(|l| &l.person.as_bytes()[..]);
    let iss = login.map(|l| l.idp_iss.as_str());
    let acr = login.map(|l| l.acr.as_str());
    let auth_time = login.map(|l| l.auth_time);
    let pivot = login.map(|l| &l.pivot_digest.as_bytes()[..]);
    let id_token = login.map(|l| &l.id_token[..]);
    on!(tx, c => sqlx::query(SQL)
        .bind(id)
        .bind(person)
        .bind(iss)
        .bind(acr)
        .bind(auth_time)
        .bind(pivot)
        .bind(id_token)
        .bind(at.get())
        .execute(c)
        .await?
        .rows_affected());
    Ok(())
}

type Row = (
    Option<Vec<u8>>,
    Option<String>,
    Option<String>,
    Option<i64>,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    i64,
);

/// The session of this id.
pub async fn session_find(db: &Db, id_hash: &Sha256) -> Result<Option<Session>, Error> {
    const SQL: &str = "SELECT person_uid, idp_iss, acr, auth_time, pivot_digest, id_token, seen_at \
         FROM session WHERE id_hash = $1";
    let id = &id_hash.as_bytes()[..];
    let row = read!(db, pool => sqlx::query_as::<_, Row>(SQL).bind(id).fetch_optional(pool).await?);
    row.map(session_of).transpose()
}

fn session_of((person, iss, acr, auth_time, pivot, id_token, seen_at): Row) -> Result<Session, Error> {
    let login = match (person, iss, acr, auth_time, pivot, id_token) {
        (Some(person), Some(idp_iss), Some(acr), Some(auth_time), Some(pivot), Some(id_token)) => {
            Some(Login {
                person: uid_of(person)?,
                idp_iss,
                acr: word(&acr, "session.acr")?,
                auth_time,
                pivot_digest: Sha256::from_bytes(to_array(pivot, "session.pivot_digest")?),
                id_token,
            })
        }
        (None, None, None, None, None, None) => None,
        _ => return Err(Error::Corrupt("session")),
    };
    Ok(Session {
        login,
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
    /// When it was begun.
    pub created_at: Micros,
}

/// Begins a login.
pub async fn attempt_insert(tx: &mut Tx, state_hash: &Sha256, attempt: &Attempt) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO login_attempt (state_hash, session_hash, issuer, nonce, next, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6)";
    let (state, session) = (&state_hash.as_bytes()[..], &attempt.session_hash.as_bytes()[..]);
    on!(tx, c => sqlx::query(SQL)
        .bind(state)
        .bind(session)
        .bind(&attempt.issuer)
        .bind(&attempt.nonce)
        .bind(&attempt.next)
        .bind(attempt.created_at.get())
        .execute(c)
        .await?
        .rows_affected());
    Ok(())
}

/// Takes a login out: each `state` counts once.
pub async fn attempt_take(tx: &mut Tx, state_hash: &Sha256) -> Result<Option<Attempt>, Error> {
    const SQL: &str = "DELETE FROM login_attempt WHERE state_hash = $1 \
         RETURNING session_hash, issuer, nonce, next, created_at";
    type Row = (Vec<u8>, String, String, String, i64);
    let state = &state_hash.as_bytes()[..];
    let row = on!(tx, c => sqlx::query_as::<_, Row>(SQL).bind(state).fetch_optional(c).await?);
    row.map(|(session, issuer, nonce, next, created_at)| {
        Ok(Attempt {
            session_hash: Sha256::from_bytes(to_array(session, "login_attempt.session_hash")?),
            issuer,
            nonce,
            next,
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
