//! An identity provider of FranceConnect's shape, whose answers a test may spoil.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use unefois_core::Clock;
use unefois_jose::{SigningKey, jwks, jws};
use unefois_mesh::SystemClock;

pub(crate) const CLIENT: &str = "portail";
pub(crate) const SECRET: &str = "secret-of-the-portal";

/// What the provider says next.
#[derive(Clone)]
pub(crate) struct Says {
    pub(crate) acr: Option<&'static str>,
    pub(crate) sub: &'static str,
    pub(crate) nonce: Option<&'static str>,
    pub(crate) state: Option<&'static str>,
    pub(crate) userinfo_sub: Option<&'static str>,
    pub(crate) identity: Value,
}

impl Default for Says {
    fn default() -> Self {
        Self {
            acr: Some("eidas1"),
            sub: "angela-at-fc",
            nonce: None,
            state: None,
            userinfo_sub: None,
            identity: angela(),
        }
    }
}

/// FranceConnect's public test identity.
pub(crate) fn angela() -> Value {
    json!({
        "family_name": "DUBOIS", "given_name": "Angela Claire Louise",
        "given_name_array": ["Angela", "Claire", "Louise"], "birthdate": "1962-08-24", "gender": "female",
        "birthplace": "75107", "birthcountry": "99100"
    })
}

#[derive(Clone)]
pub(crate) struct IdentityProvider {
    issuer: String,
    key: Arc<SigningKey>,
    pub(crate) says: Arc<Mutex<Says>>,
    nonces: Arc<Mutex<HashMap<String, String>>>,
    /// The parameters of the last `/authorize`.
    pub(crate) asked: Arc<Mutex<HashMap<String, String>>>,
}

impl IdentityProvider {
    pub(crate) fn new(issuer: String, key: SigningKey) -> Self {
        Self {
            issuer,
            key: Arc::new(key),
            says: Arc::default(),
            nonces: Arc::default(),
            asked: Arc::default(),
        }
    }

    pub(crate) fn router(&self) -> Router {
        Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/jwks", get(keys))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .route("/userinfo", get(userinfo))
            .with_state(self.clone())
    }

    fn claims(&self, sub: &str, more: &[(&str, Value)]) -> Value {
        let now = SystemClock.now().secs();
        let mut claims = json!({"iss": self.issuer, "aud": CLIENT, "sub": sub, "iat": now, "exp": now + 60});
        for (name, value) in more {
            claims[*name] = value.clone();
        }
        claims
    }
}

async fn metadata(State(idp): State<IdentityProvider>) -> impl IntoResponse {
    let at = |path: &str| format!("{}{path}", idp.issuer);
    axum::Json(json!({
        "issuer": idp.issuer, "authorization_endpoint": at("/authorize"), "token_endpoint": at("/token"),
        "userinfo_endpoint": at("/userinfo"), "jwks_uri": at("/jwks"), "end_session_endpoint": at("/logout"),
    }))
}

async fn keys(State(idp): State<IdentityProvider>) -> String {
    jwks::publish(&[idp.key.verifying_key()], &[])
}

async fn authorize(
    State(idp): State<IdentityProvider>,
    Query(asked): Query<HashMap<String, String>>,
) -> Response {
    let code = format!("code-{}", asked["nonce"]);
    idp.nonces
        .lock()
        .unwrap()
        .insert(code.clone(), asked["nonce"].clone());
    let says = idp.says.lock().unwrap().clone();
    let state = says.state.unwrap_or(&asked["state"]);
    let to = format!("{}?code={code}&state={state}", asked["redirect_uri"]);
    idp.asked.lock().unwrap().clone_from(&asked);
    Redirect::to(&to).into_response()
}

async fn token(State(idp): State<IdentityProvider>, Form(form): Form<HashMap<String, String>>) -> Response {
    let nonce = idp.nonces.lock().unwrap().remove(&form["code"]);
    let (Some(nonce), true) = (
        nonce,
        form["client_secret"] == SECRET && form["client_id"] == CLIENT,
    ) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let says = idp.says.lock().unwrap().clone();
    let nonce = says.nonce.map_or(nonce, str::to_owned);
    let mut more = vec![
        ("nonce", json!(nonce)),
        ("auth_time", json!(SystemClock.now().secs())),
    ];
    more.extend(says.acr.map(|acr| ("acr", json!(acr))));
    let id_token = jws::sign_claims(&idp.key, "JWT", &idp.claims(says.sub, &more)).unwrap();
    axum::Json(json!({"access_token": "at", "token_type": "Bearer", "expires_in": 60, "id_token": id_token}))
        .into_response()
}

async fn userinfo(State(idp): State<IdentityProvider>, headers: HeaderMap) -> Response {
    if headers
        .get(header::AUTHORIZATION)
        .is_none_or(|v| v != "Bearer at")
    {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let says = idp.says.lock().unwrap().clone();
    let identity: Vec<(&str, Value)> = says
        .identity
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect();
    let claims = idp.claims(says.userinfo_sub.unwrap_or(says.sub), &identity);
    let jwt = jws::sign_claims(&idp.key, "JWT", &claims).unwrap();
    ([(header::CONTENT_TYPE, "application/jwt")], jwt).into_response()
}
