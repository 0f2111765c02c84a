//! Officers: whom an identity provider of professionals names. No officer is a person here, and none leads to one.

use unefois_core::{Micros, Siret};

use super::OfficerUid;
use crate::{Error, Tx, on, to_array};

/// What an identity provider of professionals says of an officer.
#[derive(Clone, Copy, Debug)]
pub struct OfficerSaid<'a> {
    /// The provider.
    pub iss: &'a str,
    /// Its subject.
    pub sub: &'a str,
    /// The body that the officer belongs to.
    pub siret: &'a Siret,
}

/// The officer of this subject in this body, if known; whoever moves to another body is another officer.
pub async fn officer_find(tx: &mut Tx, said: OfficerSaid<'_>) -> Result<Option<OfficerUid>, Error> {
    const SQL: &str = "SELECT uid FROM officer WHERE iss = $1 AND sub = $2 AND siret = $3";
    let uid = on!(tx, c => sqlx::query_scalar::<_, Vec<u8>>(SQL)
        .bind(said.iss)
        .bind(said.sub)
        .bind(said.siret.as_str())
        .fetch_optional(c)
        .await?);
    uid.map(uid_of).transpose()
}

/// Keeps an officer with the sealed profile of the latest login; `false` if somebody else made the same officer under
/// another uid meanwhile.
pub async fn officer_put(
    tx: &mut Tx,
    uid: &OfficerUid,
    said: OfficerSaid<'_>,
    profile: &[u8],
    at: Micros,
) -> Result<bool, Error> {
    const SQL: &str = "INSERT INTO officer (uid, iss, sub, siret, profile, created_at, seen_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $6) ON CONFLICT (iss, sub, siret) DO UPDATE \
         SET profile = excluded.profile, seen_at = excluded.seen_at WHERE officer.uid = excluded.uid";
    let uid = &uid.as_bytes()[..];
    let rows = on!(tx, c => sqlx::query(SQL)
        .bind(uid)
        .bind(said.iss)
        .bind(said.sub)
        .bind(said.siret.as_str())
        .bind(profile)
        .bind(at.get())
        .execute(c)
        .await?
        .rows_affected());
    Ok(rows == 1)
}

pub(super) fn uid_of(bytes: Vec<u8>) -> Result<OfficerUid, Error> {
    to_array(bytes, "officer_uid").map(OfficerUid::from_bytes)
}
