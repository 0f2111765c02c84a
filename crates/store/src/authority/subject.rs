//! Whom a grant is about, where that is not the person who gave it.

use super::GrantId;
use crate::{Db, Error, Tx, on, read};

/// Keeps the subject of a grant, sealed, and the mandate that the grant rests on, if any.
///
/// # Errors
/// [`Error::Database`].
pub async fn grant_subject_insert(
    tx: &mut Tx,
    id: &GrantId,
    sealed: &[u8],
    mandate: Option<&[u8; 16]>,
) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO grant_subject (grant_id, sealed, mandate) VALUES ($1, $2, $3)";
    let (id, mandate) = (&id.as_bytes()[..], mandate.map(|mandate| &mandate[..]));
    on!(tx, c => sqlx::query(SQL)
        .bind(id)
        .bind(sealed)
        .bind(mandate)
        .execute(c)
        .await?
        .rows_affected());
    Ok(())
}

/// The subject of a grant, sealed; `None` where it is the person who gave it.
///
/// # Errors
/// [`Error::Database`].
pub async fn grant_subject_sealed(db: &Db, id: &GrantId) -> Result<Option<Vec<u8>>, Error> {
    const SQL: &str = "SELECT sealed FROM grant_subject WHERE grant_id = $1";
    let id = &id.as_bytes()[..];
    Ok(read!(db, pool => sqlx::query_scalar::<_, Vec<u8>>(SQL).bind(id).fetch_optional(pool).await?))
}
