use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use unefois_core::{Acr, Pivot};
use zeroize::Zeroizing;

use super::LoggedIn;
use crate::Error;
use crate::oauth;
use crate::service::Authority;

/// A simulated person.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Persona {
    /// The short name of the identity provider that would have named it.
    provider: String,
    /// Its subject there.
    sub: String,
    /// The level that would have been asserted.
    acr: Acr,
    /// The identity.
    pivot: Pivot,
}

/// `POST /demo/persona`: logs a simulated person in without a browser, for a publisher's own tests. Routed only in
/// demonstration mode, whose listeners are all on loopback.
pub(crate) async fn persona(
    State(authority): State<Arc<Authority>>,
    headers: HeaderMap,
    persona: Result<Json<Persona>, JsonRejection>,
) -> Response {
    // The parser's own words quote what it read.
    let entered = match persona {
        Ok(Json(persona)) => enter(&authority, &headers, persona).await,
        Err(_) => Err(Error::request("the body is no persona in JSON")),
    };
    entered.unwrap_or_else(|error| oauth::error_response(&error))
}

async fn enter(authority: &Authority, headers: &HeaderMap, persona: Persona) -> Result<Response, Error> {
    let provider = authority.provider(&persona.provider).ok_or(Error::NoProvider)?;
    let entitled = provider.config.levels.values().any(|level| *level == persona.acr);
    if !entitled {
        return Err(Error::AcrUnknown);
    }
    let who = LoggedIn {
        sub: persona.sub,
        acr: persona.acr,
        auth_time: authority.clock.now().secs(),
        pivot: persona.pivot.checked().map_err(|_| Error::Identity("the name"))?,
        id_token: Zeroizing::new(String::new()),
    };
    let before = authority.visit(headers).await?;
    let visit = authority
        .enter(provider, before.as_ref().map(|v| &v.hash), who)
        .await?;
    Ok(visit.set_cookie(StatusCode::NO_CONTENT.into_response()))
}
