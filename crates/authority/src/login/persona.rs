use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use unefois_core::{Acr, OfficerAssurance, Pivot, Siret};
use zeroize::Zeroizing;

use super::{LoggedIn, Officer, Profile, Who};
use crate::Error;
use crate::oauth;
use crate::service::Authority;

/// A simulated person or officer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Persona {
    /// The short name of the identity provider that would have named it.
    provider: String,
    /// Its subject there.
    sub: String,
    /// The level that would have been asserted, of a person.
    #[serde(default)]
    acr: Option<Acr>,
    /// A person's identity.
    #[serde(default)]
    pivot: Option<Pivot>,
    /// An officer, where there is no identity.
    #[serde(default)]
    officer: Option<SimulatedOfficer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SimulatedOfficer {
    assurance: OfficerAssurance,
    siret: Siret,
    #[serde(flatten)]
    profile: Profile,
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
    let config = &provider.config;
    let who = match (persona.pivot, persona.acr, persona.officer) {
        (Some(pivot), Some(acr), None) if config.levels.values().any(|level| *level == acr) => Who::Person {
            acr,
            pivot: pivot.checked().map_err(|_| Error::Identity("the name"))?,
        },
        (None, None, Some(officer)) if config.officers.values().any(|a| *a == officer.assurance) => {
            Who::Officer(Officer {
                siret: officer.siret,
                assurance: officer.assurance,
                profile: officer.profile,
            })
        }
        (Some(_), Some(_), None) | (None, None, Some(_)) => return Err(Error::AcrUnknown),
        _ => return Err(Error::request("a persona is a person (acr, pivot) or an officer")),
    };
    let logged_in = LoggedIn {
        sub: persona.sub,
        auth_time: authority.clock.now().secs(),
        id_token: Zeroizing::new(String::new()),
        who,
    };
    let before = authority.visit(headers).await?;
    let visit = authority
        .enter(provider, before.as_ref().map(|v| &v.hash), logged_in)
        .await?;
    Ok(visit.set_cookie(StatusCode::NO_CONTENT.into_response()))
}
