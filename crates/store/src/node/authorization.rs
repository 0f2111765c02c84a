//! Pushed requests that wait for their browser.

use unefois_core::Micros;

use super::Mac;
use crate::{Db, Error, Tx, on, read, to_array};

/// A pushed request, under its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The state that comes back with the browser.
    pub state: Mac,
    /// Whose back-office asked.
    pub tenant: String,
    /// The back-office's session that the browser must come back in.
    pub session: Mac,
    /// What was asked, and the PKCE verifier.
    pub sealed: Vec<u8>,
    /// Until when it may come back.
    pub expires_at: Micros,
}

/// Keeps a pushed request.
///
/// # Errors
/// [`Error::Database`].
pub async fn pending_insert(tx: &mut Tx, pending: &Pending) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO consumer_pending (state, tenant, session, sealed, expires_at) \
         VALUES ($1, $2, $3, $4, $5)";
    on!(tx, c => sqlx::query(SQL).bind(&pending.state[..]).bind(&pending.tenant).bind(&pending.session[..])
        .bind(&pending.sealed[..]).bind(pending.expires_at.get()).execute(c).await.map(drop)?);
    Ok(())
}

/// The tenant's pushed request of `state`, left where it is.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn pending_find(db: &Db, tenant: &str, state: &Mac) -> Result<Option<Pending>, Error> {
    const SQL: &str = "SELECT tenant, session, sealed, expires_at FROM consumer_pending \
         WHERE state = $1 AND tenant = $2";
    let row = read!(db, pool => {
        sqlx::query_as::<_, Row>(SQL).bind(&state[..]).bind(tenant).fetch_optional(pool).await?
    });
    row.map(|row| pending(*state, row)).transpose()
}

/// Takes the tenant's pushed request of `state` out, whatever its age: a state serves once, and of two that take it at
/// once one gets it. Another tenant's stays where it is. Its expiry and session are the caller's to judge.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn pending_take(db: &Db, tenant: &str, state: &Mac) -> Result<Option<Pending>, Error> {
    const SQL: &str = "DELETE FROM consumer_pending WHERE state = $1 AND tenant = $2 \
         RETURNING tenant, session, sealed, expires_at";
    let mut tx = db.begin().await?;
    let row = on!(&mut tx, c => {
        sqlx::query_as::<_, Row>(SQL).bind(&state[..]).bind(tenant).fetch_optional(c).await?
    });
    tx.commit().await?;
    row.map(|row| pending(*state, row)).transpose()
}

type Row = (String, Vec<u8>, Vec<u8>, i64);

fn pending(state: Mac, (tenant, session, sealed, expires_at): Row) -> Result<Pending, Error> {
    Ok(Pending {
        state,
        tenant,
        session: to_array(session, "consumer_pending.session")?,
        sealed,
        expires_at: Micros::new(expires_at),
    })
}
