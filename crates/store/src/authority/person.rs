//! Accounts: who an identity provider names, and the identities each person ever had.

use unefois_core::{Micros, Sha256};

use super::PersonUid;
use crate::{Db, Error, Tx, on, read, to_array};

/// What an identity provider of people says of whoever logs in.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// The provider.
    pub iss: &'a str,
    /// Its subject.
    pub sub: &'a str,
    /// The keyed digest of the identity given.
    pub pivot: &'a Sha256,
}

/// The account that a provider's subject with this very identity leads to.
pub async fn identity_find(tx: &mut Tx, said: Said<'_>) -> Result<Option<PersonUid>, Error> {
    // Rows from before providers had a kind do not say whether theirs was one of people; those that still lead here are.
    const SQL: &str = "UPDATE person_identity SET people = TRUE \
         WHERE iss = $1 AND sub = $2 AND pivot_digest = $3 RETURNING person_uid";
    let pivot = &said.pivot.as_bytes()[..];
    let uid = on!(tx, c => sqlx::query_scalar::<_, Vec<u8>>(SQL)
        .bind(said.iss)
        .bind(said.sub)
        .bind(pivot)
        .fetch_optional(c)
        .await?);
    uid.map(uid_of).transpose()
}

/// Whether a provider's subject leads to an account, whatever its identity.
pub async fn subject_known(tx: &mut Tx, iss: &str, sub: &str) -> Result<bool, Error> {
    const SQL: &str = "SELECT 1 FROM person_identity WHERE iss = $1 AND sub = $2 LIMIT 1";
    let row = on!(tx, c => sqlx::query_scalar::<_, i32>(SQL).bind(iss).bind(sub).fetch_optional(c).await?);
    Ok(row.is_some())
}

/// Holds an identity until the transaction ends: whoever else looks for its account waits, and sees what is made of it.
/// On SQLite the transaction itself is that: there is one at a time.
///
/// # Errors
/// [`Error::Database`].
pub async fn pivot_lock(tx: &mut Tx, digest: &Sha256) -> Result<(), Error> {
    const SQL: &str =
        "SELECT pg_advisory_xact_lock(hashtextextended('unefois/identity/' || encode($1, 'hex'), 0))";
    if let Tx::Postgres(tx) = tx {
        sqlx::query(SQL)
            .bind(&digest.as_bytes()[..])
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}

/// The accounts, two at most, to which a provider of people ever led with this identity.
pub async fn pivot_find(tx: &mut Tx, digest: &Sha256) -> Result<Vec<PersonUid>, Error> {
    const SQL: &str =
        "SELECT DISTINCT person_uid FROM person_identity WHERE pivot_digest = $1 AND people LIMIT 2";
    let digest = &digest.as_bytes()[..];
    let uids = on!(tx, c => sqlx::query_scalar::<_, Vec<u8>>(SQL).bind(digest).fetch_all(c).await?);
    uids.into_iter().map(uid_of).collect()
}

/// The accounts, two at most, to which a provider of people ever led with this identity, which namesakes may share: none
/// once the very provider named another subject with it, and none of what `own`, the authority, read in files.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn pivot_find_shared(tx: &mut Tx, said: Said<'_>, own: &str) -> Result<Vec<PersonUid>, Error> {
    const SQL: &str = "SELECT DISTINCT person_uid FROM person_identity \
         WHERE pivot_digest = $1 AND people AND iss <> $3 AND NOT EXISTS \
         (SELECT 1 FROM person_identity WHERE pivot_digest = $1 AND people AND iss = $2) LIMIT 2";
    let digest = &said.pivot.as_bytes()[..];
    let uids = on!(tx, c => sqlx::query_scalar::<_, Vec<u8>>(SQL)
        .bind(digest)
        .bind(said.iss)
        .bind(own)
        .fetch_all(c)
        .await?);
    uids.into_iter().map(uid_of).collect()
}

/// Makes an account.
pub async fn person_insert(tx: &mut Tx, uid: &PersonUid, at: Micros) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO person (uid, created_at) VALUES ($1, $2)";
    let uid = &uid.as_bytes()[..];
    on!(tx, c => sqlx::query(SQL).bind(uid).bind(at.get()).execute(c).await?.rows_affected());
    Ok(())
}

/// Leads a provider's subject with this identity to an account; `false` if it leads somewhere already.
pub async fn identity_insert(
    tx: &mut Tx,
    said: Said<'_>,
    uid: &PersonUid,
    at: Micros,
) -> Result<bool, Error> {
    const SQL: &str = "INSERT INTO person_identity (iss, sub, pivot_digest, people, person_uid, created_at) \
         VALUES ($1, $2, $3, TRUE, $4, $5) ON CONFLICT (iss, sub, pivot_digest) DO NOTHING";
    let (pivot, uid) = (&said.pivot.as_bytes()[..], &uid.as_bytes()[..]);
    let rows = on!(tx, c => sqlx::query(SQL)
        .bind(said.iss)
        .bind(said.sub)
        .bind(pivot)
        .bind(uid)
        .bind(at.get())
        .execute(c)
        .await?
        .rows_affected());
    Ok(rows == 1)
}

/// An identity of a person, as it is kept.
#[derive(Clone, Copy, Debug)]
pub struct Kept<'a> {
    /// Its keyed digest.
    pub digest: &'a Sha256,
    /// The keyed digest that it shares with whoever may be the same person, otherwise written.
    pub near: &'a Sha256,
    /// Itself, sealed.
    pub sealed: &'a [u8],
}

/// Keeps an identity, sealed, or notes that it was seen again.
///
/// # Errors
/// [`Error::Database`].
pub async fn pivot_put(tx: &mut Tx, uid: &PersonUid, kept: Kept<'_>, at: Micros) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO person_pivot (person_uid, digest, near, sealed, seen_at) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (person_uid, digest) \
         DO UPDATE SET near = excluded.near, sealed = excluded.sealed, seen_at = excluded.seen_at, unread_at = NULL";
    let (uid, digest, near) = (
        &uid.as_bytes()[..],
        &kept.digest.as_bytes()[..],
        &kept.near.as_bytes()[..],
    );
    on!(tx, c => sqlx::query(SQL)
        .bind(uid)
        .bind(digest)
        .bind(near)
        .bind(kept.sealed)
        .bind(at.get())
        .execute(c)
        .await?
        .rows_affected());
    Ok(())
}

/// An identity that is found by its exact form alone: it was kept before the other was.
#[derive(Clone, Debug)]
pub struct Unfilled {
    /// Whose it is.
    pub person: PersonUid,
    /// Its keyed digest.
    pub digest: Sha256,
    /// Itself, sealed.
    pub sealed: Vec<u8>,
}

/// The identities that lack the digest of [`Kept::near`], `limit` at most, in the order of persons and digests, those
/// after `after` alone.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn pivot_unfilled(
    db: &Db,
    after: Option<(&PersonUid, &Sha256)>,
    limit: u32,
) -> Result<Vec<Unfilled>, Error> {
    const SQL: &str = "SELECT person_uid, digest, sealed FROM person_pivot \
         WHERE near IS NULL AND (person_uid > $1 OR (person_uid = $1 AND digest > $2)) \
         ORDER BY person_uid, digest LIMIT $3";
    let (uid, digest) = after.map_or((&[][..], &[][..]), |(uid, digest)| {
        (&uid.as_bytes()[..], &digest.as_bytes()[..])
    });
    let rows = read!(db, pool => sqlx::query_as::<_, (Vec<u8>, Vec<u8>, Vec<u8>)>(SQL)
        .bind(uid)
        .bind(digest)
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await?);
    let unfilled = |(person, digest, sealed)| {
        Ok(Unfilled {
            person: uid_of(person)?,
            digest: Sha256::from_bytes(to_array(digest, "person_pivot.digest")?),
            sealed,
        })
    };
    rows.into_iter().map(unfilled).collect()
}

/// Fills in the digest of [`Kept::near`] where it is lacking.
///
/// # Errors
/// [`Error::Database`].
pub async fn pivot_fill(tx: &mut Tx, uid: &PersonUid, digest: &Sha256, near: &Sha256) -> Result<(), Error> {
    const SQL: &str = "UPDATE person_pivot SET near = $3, unread_at = NULL WHERE person_uid = $1 AND digest = $2 AND near IS NULL";
    let (uid, digest, near) = (&uid.as_bytes()[..], &digest.as_bytes()[..], &near.as_bytes()[..]);
    on!(tx, c => sqlx::query(SQL).bind(uid).bind(digest).bind(near).execute(c).await?.rows_affected());
    Ok(())
}

/// Notes that an identity that lacks the digest of [`Kept::near`] does not open, unless that was noted before.
///
/// # Errors
/// [`Error::Database`].
pub async fn pivot_unread(tx: &mut Tx, uid: &PersonUid, digest: &Sha256, at: Micros) -> Result<(), Error> {
    const SQL: &str = "UPDATE person_pivot SET unread_at = $3 \
         WHERE person_uid = $1 AND digest = $2 AND near IS NULL AND unread_at IS NULL";
    let (uid, digest) = (&uid.as_bytes()[..], &digest.as_bytes()[..]);
    on!(tx, c => sqlx::query(SQL).bind(uid).bind(digest).bind(at.get()).execute(c).await?.rows_affected());
    Ok(())
}

/// One identity of a person, sealed.
pub async fn pivot_sealed(db: &Db, uid: &PersonUid, digest: &Sha256) -> Result<Option<Vec<u8>>, Error> {
    const SQL: &str = "SELECT sealed FROM person_pivot WHERE person_uid = $1 AND digest = $2";
    let (uid, digest) = (&uid.as_bytes()[..], &digest.as_bytes()[..]);
    Ok(read!(db, pool => {
        sqlx::query_scalar::<_, Vec<u8>>(SQL).bind(uid).bind(digest).fetch_optional(pool).await?
    }))
}

/// The identities, sealed, that providers of people ever gave for a person: the newest first, `limit` at most.
///
/// # Errors
/// [`Error::Database`].
pub async fn pivots_sealed(db: &Db, uid: &PersonUid, limit: u32) -> Result<Vec<Vec<u8>>, Error> {
    const SQL: &str = "SELECT p.sealed FROM person_pivot p WHERE p.person_uid = $1 AND EXISTS (SELECT 1 \
         FROM person_identity i WHERE i.person_uid = p.person_uid AND i.pivot_digest = p.digest AND i.people) \
         ORDER BY p.seen_at DESC, p.digest LIMIT $2";
    let uid = &uid.as_bytes()[..];
    Ok(read!(db, pool => {
        sqlx::query_scalar::<_, Vec<u8>>(SQL).bind(uid).bind(i64::from(limit)).fetch_all(pool).await?
    }))
}

pub(super) fn uid_of(bytes: Vec<u8>) -> Result<PersonUid, Error> {
    to_array(bytes, "person_uid").map(PersonUid::from_bytes)
}
