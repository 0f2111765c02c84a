use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde_json::{Value, json};
use unefois_core::directory::Jwk;
use unefois_jose::SigningKey;

use super::automatic::AUTOMATIC;
use crate::service::Authority;

/// `GET /.well-known/oauth-authorization-server` (RFC 8414). What needs a client certificate is at its mutual-TLS
/// address, in `mtls_endpoint_aliases` too (RFC 8705, 5).
pub(crate) async fn metadata(State(authority): State<Arc<Authority>>) -> Json<Value> {
    let (issuer, mesh) = (&authority.issuer, &authority.mesh_url);
    Json(json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/as/authorize"),
        "pushed_authorization_request_endpoint": format!("{mesh}/as/par"),
        "token_endpoint": format!("{mesh}/as/token"),
        "revocation_endpoint": format!("{mesh}/as/revoke"),
        "grant_management_endpoint": format!("{mesh}/as/grants"),
        "mtls_endpoint_aliases": {
            "pushed_authorization_request_endpoint": format!("{mesh}/as/par"),
            "token_endpoint": format!("{mesh}/as/token"),
            "revocation_endpoint": format!("{mesh}/as/revoke"),
        },
        "jwks_uri": format!("{issuer}/as/jwks"),
        "require_pushed_authorization_requests": true,
        "authorization_response_iss_parameter_supported": true,
        "tls_client_certificate_bound_access_tokens": true,
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token", AUTOMATIC],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["tls_client_auth"],
        "revocation_endpoint_auth_methods_supported": ["tls_client_auth"],
        "authorization_details_types_supported": ["urn:unefois:justificatif:1"],
        "grant_management_actions_supported": ["query", "revoke"],
        "grant_management_action_required": false,
        "ui_locales_supported": ["fr", "en"],
        "service_documentation": format!("{issuer}/aide"),
    }))
}

/// `GET /as/jwks`: the keys of tokens and of withdrawals that sign something, and those that consumers seal identities to.
/// One that the directory does not list, or that was withdrawn, verifies nothing.
pub(crate) async fn jwks(State(authority): State<Arc<Authority>>) -> Response {
    let keys = &authority.keys;
    let sealing: Vec<_> = keys.pivot.iter().map(|key| key.encryption_key()).collect();
    let edition = authority.published.edition();
    let row = edition.directory.authority();
    let listed = |jwks: &[Jwk], key: &SigningKey| {
        let kid = key.thumbprint().to_string();
        jwks.iter().any(|jwk| jwk.kid() == kid) && !authority.revocation.is_key_withdrawn(&kid)
    };
    let token = keys.token.all().filter(|key| listed(&row.token_keys, key));
    let withdrawal = keys
        .withdrawal
        .all()
        .filter(|key| listed(&row.withdrawal_keys, key));
    let all: Vec<_> = token.chain(withdrawal).map(SigningKey::verifying_key).collect();
    let text = unefois_jose::jwks::publish(&all, &sealing);
    let mut response = text.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    response
}
