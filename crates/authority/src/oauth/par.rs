use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;
use unefois_core::{Sha256, Way};
use unefois_mesh::Peer;
use unefois_store::authority::request::{link_insert, pushed_insert};

use super::{Binding, PushedRequest, draw_secret, no_store};
use crate::Error;
use crate::service::Authority;

/// How long a `request_uri` may wait for a browser.
const LIFE_S: i64 = 60;
const DAY_S: i64 = 86_400;
const URN: &str = "urn:ietf:params:oauth:request_uri:";

#[derive(Serialize)]
struct Pushed {
    request_uri: String,
    expires_in: i64,
}

/// `POST /as/par` (RFC 9126).
pub(crate) async fn par(
    State(authority): State<Arc<Authority>>,
    peer: Peer,
    body: Bytes,
) -> Result<Response, Error> {
    let edition = authority.published.edition();
    let (client, form) = authority.admit(&peer, &body, &edition).await?;
    let now = authority.clock.now();
    if let Err(error) = authority.revocation.recovered() {
        return Err(authority.refused(&client, &edition, error).await);
    }
    let pushed = PushedRequest::check(form, client.id, client.publisher, &edition, now);
    let pushed = pushed.and_then(|pushed| match &pushed.binding {
        Binding::Sealed(subject_jwe) => authority.sealed_subject(subject_jwe).map(|_| pushed),
        Binding::Check(_) | Binding::Unbound(_) => Ok(pushed),
    });
    let pushed = match pushed {
        Ok(pushed) => pushed,
        Err(error) => return Err(authority.refused(&client, &edition, error).await),
    };
    let body = serde_json::to_string(&pushed).map_err(|_| Error::Stored)?;
    let request_uri = format!("{URN}{}", draw_secret(&*authority.random));
    let hash = Sha256::of(request_uri.as_bytes());
    let expires_in = pushed.link_days.map_or(LIFE_S, |days| i64::from(days) * DAY_S);
    let expires_at = now.plus_ms(expires_in * 1_000);
    let mut tx = authority.db.begin().await?;
    match pushed.way {
        Way::Link => link_insert(&mut tx, &hash, &client.id, &body, expires_at).await?,
        Way::Present | Way::Agent | Way::Automatic => {
            pushed_insert(&mut tx, &hash, &client.id, &body, expires_at).await?;
        }
    }
    tx.commit().await?;
    let answer = Pushed {
        request_uri,
        expires_in,
    };
    Ok((StatusCode::CREATED, no_store(answer)).into_response())
}
