//! Pushed requests, and the interactions that browsers open with them.

use unefois_core::{Micros, ParticipantId, Sha256};

use crate::{Db, Error, Tx, on, read, to_array};

/// Keeps a pushed request.
pub async fn pushed_insert(
    tx: &mut Tx,
    uri_hash: &Sha256,
    client: &ParticipantId,
    body: &str,
    expires_at: Micros,
) -> Result<(), Error> {
    const SQL: &str =
        "INSERT INTO pushed_request (uri_hash, client, body, expires_at) VALUES ($1, $2, $3, $4)";
    let (uri, client) = (&uri_hash.as_bytes()[..], client.to_string());
    on!(tx, c => {
        sqlx::query(SQL).bind(uri).bind(&client).bind(body).bind(expires_at.get()).execute(c).await?.rows_affected()
    });
    Ok(())
}

/// Takes a pushed request of `client` out, if it has not expired: a `request_uri` serves once.
pub async fn pushed_take(
    tx: &mut Tx,
    uri_hash: &Sha256,
    client: &ParticipantId,
    now: Micros,
) -> Result<Option<String>, Error> {
    const SQL: &str = "DELETE FROM pushed_request WHERE uri_hash = $1 AND client = $2 AND expires_at > $3 \
         RETURNING body";
    let (uri, client) = (&uri_hash.as_bytes()[..], client.to_string());
    Ok(on!(tx, c => {
        sqlx::query_scalar::<_, String>(SQL).bind(uri).bind(&client).bind(now.get()).fetch_optional(c).await?
    }))
}

/// Keeps a request that a link leads to.
///
/// # Errors
/// [`Error::Database`].
pub async fn link_insert(
    tx: &mut Tx,
    uri_hash: &Sha256,
    client: &ParticipantId,
    body: &str,
    expires_at: Micros,
) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO link_request (uri_hash, client, body, expires_at) VALUES ($1, $2, $3, $4)";
    let (uri, client) = (&uri_hash.as_bytes()[..], client.to_string());
    on!(tx, c => {
        sqlx::query(SQL).bind(uri).bind(&client).bind(body).bind(expires_at.get()).execute(c).await?.rows_affected()
    });
    Ok(())
}

/// The request of `client` that a link leads to, if nobody has answered it and it has not expired. To open it leaves it
/// there: whoever forwards or looks at a link uses nothing up.
///
/// # Errors
/// [`Error::Database`].
pub async fn link_find(
    db: &Db,
    uri_hash: &Sha256,
    client: &ParticipantId,
    now: Micros,
) -> Result<Option<String>, Error> {
    const SQL: &str = "SELECT body FROM link_request WHERE uri_hash = $1 AND client = $2 AND expires_at > $3";
    let (uri, client) = (&uri_hash.as_bytes()[..], client.to_string());
    Ok(read!(db, pool => {
        sqlx::query_scalar::<_, String>(SQL).bind(uri).bind(&client).bind(now.get()).fetch_optional(pool).await?
    }))
}

/// Ends a link of `client`; `false` where there is none any more.
///
/// # Errors
/// [`Error::Database`].
pub async fn link_end(tx: &mut Tx, uri_hash: &Sha256, client: &ParticipantId) -> Result<bool, Error> {
    const SQL: &str = "DELETE FROM link_request WHERE uri_hash = $1 AND client = $2";
    let (uri, client) = (&uri_hash.as_bytes()[..], client.to_string());
    let rows = on!(tx, c => sqlx::query(SQL).bind(uri).bind(&client).execute(c).await?.rows_affected());
    Ok(rows == 1)
}

/// A request that a browser has opened.
#[derive(Clone, Debug)]
pub struct Interaction {
    /// The session that may answer it.
    pub session_hash: Sha256,
    /// The link that led to it, if one did.
    pub link_hash: Option<Sha256>,
    /// The pushed request.
    pub body: String,
}

/// Opens an interaction in a session.
pub async fn interaction_insert(
    tx: &mut Tx,
    id: &[u8; 16],
    interaction: &Interaction,
    expires_at: Micros,
) -> Result<(), Error> {
    const SQL: &str =
        "INSERT INTO interaction (id, session_hash, body, expires_at, link_hash) VALUES ($1, $2, $3, $4, $5)";
    let session = &interaction.session_hash.as_bytes()[..];
    let link = interaction.link_hash.as_ref().map(|hash| &hash.as_bytes()[..]);
    on!(tx, c => sqlx::query(SQL)
        .bind(&id[..])
        .bind(session)
        .bind(&interaction.body)
        .bind(expires_at.get())
        .bind(link)
        .execute(c)
        .await?
        .rows_affected());
    Ok(())
}

/// An interaction that has not expired, nor its link.
pub async fn interaction_find(db: &Db, id: &[u8; 16], now: Micros) -> Result<Option<Interaction>, Error> {
    const SQL: &str = "SELECT session_hash, body, link_hash FROM interaction i WHERE id = $1 AND expires_at > $2 \
         AND (link_hash IS NULL OR EXISTS (SELECT 1 FROM link_request l WHERE l.uri_hash = i.link_hash \
         AND l.expires_at > $2))";
    type Row = (Vec<u8>, String, Option<Vec<u8>>);
    let row = read!(db, pool => {
        sqlx::query_as::<_, Row>(SQL).bind(&id[..]).bind(now.get()).fetch_optional(pool).await?
    });
    row.map(|(session, body, link)| {
        let link = link.map(|link| to_array(link, "interaction.link_hash").map(Sha256::from_bytes));
        Ok(Interaction {
            session_hash: Sha256::from_bytes(to_array(session, "interaction.session_hash")?),
            link_hash: link.transpose()?,
            body,
        })
    })
    .transpose()
}

/// Closes an interaction without an answer: the link that led to it, if one did, may be followed again.
pub async fn interaction_close(tx: &mut Tx, id: &[u8; 16]) -> Result<(), Error> {
    const SQL: &str = "DELETE FROM interaction WHERE id = $1";
    on!(tx, c => sqlx::query(SQL).bind(&id[..]).execute(c).await?.rows_affected());
    Ok(())
}

/// Closes an interaction with an answer, and ends the link that led to it; `false` if an answer came before, in another
/// browser too, or the link is over by `now`, so that one answer counts.
pub async fn interaction_answer(tx: &mut Tx, id: &[u8; 16], now: Micros) -> Result<bool, Error> {
    const CLOSE: &str = "DELETE FROM interaction WHERE id = $1 RETURNING link_hash";
    const END: &str = "DELETE FROM link_request WHERE uri_hash = $1 AND expires_at > $2";
    type Link = Option<Vec<u8>>;
    let closed = on!(tx, c => sqlx::query_scalar::<_, Link>(CLOSE).bind(&id[..]).fetch_optional(c).await?);
    let Some(link) = closed else {
        return Ok(false);
    };
    let Some(link) = link else {
        return Ok(true);
    };
    let rows =
        on!(tx, c => sqlx::query(END).bind(&link[..]).bind(now.get()).execute(c).await?.rows_affected());
    Ok(rows == 1)
}

/// Hands a session's interactions to the session that follows it at login.
pub async fn interaction_move(tx: &mut Tx, from: &Sha256, to: &Sha256) -> Result<(), Error> {
    const SQL: &str = "UPDATE interaction SET session_hash = $2 WHERE session_hash = $1";
    let (from, to) = (&from.as_bytes()[..], &to.as_bytes()[..]);
    on!(tx, c => sqlx::query(SQL).bind(from).bind(to).execute(c).await?.rows_affected());
    Ok(())
}

/// Counts one more identity that was not the dossier's; how many there were that day.
pub async fn subject_try(tx: &mut Tx, dossier_hash: &Sha256, day: i64) -> Result<i64, Error> {
    const SQL: &str = "INSERT INTO subject_try (dossier_hash, day, tries) VALUES ($1, $2, 1) \
         ON CONFLICT (dossier_hash, day) DO UPDATE SET tries = subject_try.tries + 1 RETURNING tries";
    let dossier = &dossier_hash.as_bytes()[..];
    Ok(on!(tx, c => sqlx::query_scalar::<_, i64>(SQL).bind(dossier).bind(day).fetch_one(c).await?))
}

/// Deletes what has expired: pushed requests, links and interactions at `now`, tries of days before `day`.
pub async fn request_sweep(tx: &mut Tx, now: Micros, day: i64) -> Result<u64, Error> {
    const PUSHED: &str = "DELETE FROM pushed_request WHERE expires_at <= $1";
    const LINKS: &str = "DELETE FROM link_request WHERE expires_at <= $1";
    const OPENED: &str = "DELETE FROM interaction WHERE expires_at <= $1";
    const TRIES: &str = "DELETE FROM subject_try WHERE day < $1";
    let mut rows = 0;
    for (sql, bound) in [
        (PUSHED, now.get()),
        (LINKS, now.get()),
        (OPENED, now.get()),
        (TRIES, day),
    ] {
        rows += on!(tx, c => sqlx::query(sql).bind(bound).execute(c).await?.rows_affected());
    }
    Ok(rows)
}
