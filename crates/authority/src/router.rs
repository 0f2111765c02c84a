//! Every path in one table.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use http::StatusCode;
use unefois_mesh::{Peer, web};

use crate::form::MAX_BYTES;
use crate::pages::{
    self, agent, demande, effect, fixed, grants, history, mandates, narrow, oppositions, receipt,
};
use crate::service::Authority;
use crate::{Error, directory, login, oauth, operator, portal};

/// What browsers reach.
pub(crate) fn portal(authority: Arc<Authority>) -> Router {
    let mut router = Router::new()
        .route(portal::path::HOME, get(fixed::home))
        .route(portal::path::HELP, get(fixed::help))
        .route(portal::path::PRIVACY, get(fixed::privacy))
        .route(portal::path::ACCESSIBILITY, get(fixed::accessibility))
        .route("/static/{file}", get(fixed::asset))
        .route(portal::path::LOGIN, get(login::choose))
        .route(portal::path::LOGOUT, get(fixed::to_home).post(login::log_out))
        .route("/{provider}/connexion", get(login::begin))
        .route("/{provider}/retour", get(login::come_back))
        .route("/{provider}/jwks", get(login::keys))
        .route("/demande/{id}", get(demande::show).post(demande::decide))
        .route("/demande/{id}/autre", post(demande::other_person))
        .route("/agent/{id}", get(agent::show).post(agent::decide))
        .route(portal::path::GRANTS, get(grants::list))
        .route("/autorisations/{id}", get(grants::detail))
        .route(
            "/autorisations/{id}/arreter",
            get(grants::ask).post(grants::withdraw),
        )
        .route(
            "/autorisations/{id}/limiter",
            get(narrow::ask).post(narrow::narrow),
        )
        .route("/autorisations/{id}/arretee", get(grants::withdrawn))
        .route("/autorisations/{id}/effet", get(effect::follow))
        .route("/autorisations/{id}/preuve.json", get(effect::proof))
        .route("/autorisations/{id}/recu.json", get(receipt::download))
        .route(
            portal::path::OPPOSITIONS,
            get(oppositions::list).post(oppositions::oppose),
        )
        .route("/oppositions/{id}/prolonger", post(oppositions::renew))
        .route("/oppositions/{id}/lever", post(oppositions::lift))
        .route(portal::path::HISTORY, get(history::page))
        .route("/historique.csv", get(history::csv))
        .route("/historique.json", get(history::json))
        .route("/preuve/{id}", get(history::proof))
        .route("/preuve/{id}/recu.json", get(history::receipt))
        .route(portal::path::MANDATES, get(mandates::list).post(mandates::give))
        .route("/mandats/invitation/{secret}", get(mandates::invited))
        .route(
            portal::path::INVITATION,
            get(mandates::invitation).post(mandates::take_up),
        )
        .route("/mandats/{id}/accepter", post(mandates::accept))
        .route("/mandats/{id}/fin", post(mandates::end))
        .route("/as/authorize", get(oauth::authorize))
        .route("/as/jwks", get(oauth::jwks))
        .route("/.well-known/oauth-authorization-server", get(oauth::metadata));
    if authority.demonstration {
        router = router.route("/demo/persona", post(login::persona));
    }
    router
        .fallback(fixed::not_found)
        .method_not_allowed_fallback(fixed::not_found)
        .layer(DefaultBodyLimit::max(MAX_BYTES))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&authority),
            pages::edge,
        ))
        .layer(middleware::map_response(web::security_headers))
        .with_state(authority)
}

/// What participants reach over mutual TLS, beside the gRPC services.
pub(crate) fn mesh(authority: Arc<Authority>) -> Router {
    Router::new()
        .route("/as/par", post(oauth::par))
        .route("/as/token", post(oauth::token))
        .route("/as/revoke", post(oauth::revoke))
        .route(
            "/as/grants/{id}",
            get(oauth::show_grant).delete(oauth::delete_grant),
        )
        .route("/as/withdrawals", post(operator::withdraw))
        .route("/as/recovery", post(operator::end_recovery))
        .route("/as/withdrawals/{seq}", get(operator::withdrawal))
        .route("/as/jwks", get(oauth::jwks))
        .route("/.well-known/oauth-authorization-server", get(oauth::metadata))
        .route("/directory", get(directory::file))
        .route("/catalogue", get(directory::catalogue))
        .layer(DefaultBodyLimit::max(MAX_BYTES))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&authority),
            oauth_errors,
        ))
        .with_state(authority)
}

/// Renders errors as OAuth does, logs our own, and counts what was too large to be read.
async fn oauth_errors(State(authority): State<Arc<Authority>>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().cloned();
    let mut response = next.run(request).await;
    match (response.extensions_mut().remove::<Arc<Error>>(), peer) {
        (Some(error), _) => {
            pages::log(&error);
            oauth::error_response(&error)
        }
        (None, Some(peer)) if response.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            oauth::error_response(&authority.turned_away(&peer, Error::TooLarge))
        }
        (None, _) => response,
    }
}
