//! The words on which somebody chose, the person or an officer in their place, kept with the grant for its receipt.

use super::GrantId;
use crate::{Db, Error, Tx, on, read};

/// Keeps the words of the page, with its language, under the grant that was made there.
pub async fn notice_insert(tx: &mut Tx, grant: &GrantId, language: &str, text: &str) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO grant_notice (grant_id, language, words) VALUES ($1, $2, $3)";
    let id = &grant.as_bytes()[..];
    on!(tx, c => sqlx::query(SQL).bind(id).bind(language).bind(text).execute(c).await?.rows_affected());
    Ok(())
}

/// The language and the words of a grant's page; `None` where it was not made at a page.
pub async fn notice_read(db: &Db, grant: &GrantId) -> Result<Option<(String, String)>, Error> {
    const SQL: &str = "SELECT language, words FROM grant_notice WHERE grant_id = $1";
    let id = &grant.as_bytes()[..];
    Ok(read!(db, pool => sqlx::query_as::<_, (String, String)>(SQL).bind(id).fetch_optional(pool).await?))
}
