//! An identity provider of each of the three kinds, whose answers a test may spoil.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use unefois_core::{Clock, Sha256};
use unefois_jose::{EncryptionKey, SigningKey, jwe, jwks, jws};
use unefois_mesh::SystemClock;

use crate::kit::ring;

pub(crate) const CLIENT: &str = "portail";
pub(crate) const SECRET: &str = "secret-of-the-portal";

/// How the provider sends ID tokens and userinfo.
#[derive(Clone)]
pub(crate) enum Sends {
    Signed,
    Encrypted(EncryptionKey),
}

/// What the provider says next.
#[derive(Clone)]
pub(crate) struct Says {
    pub(crate) acr: Option<&'static str>,
    pub(crate) sub: &'static str,
    /// Instead of the one that was sent; none at all where it is empty.
    pub(crate) nonce: Option<&'static str>,
    pub(crate) state: Option<&'static str>,
    pub(crate) iss: Option<&'static str>,
    pub(crate) userinfo_sub: Option<&'static str>,
    pub(crate) identity: Value,
    /// Instead of the way agreed.
    pub(crate) sends: Option<Sends>,
    /// How far its clock is ahead of the system's, in seconds.
    pub(crate) ahead_s: i64,
    /// Whether its keys are not to be had.
    pub(crate) without_keys: bool,
}

impl Says {
    pub(crate) fn person(acr: &'static str) -> Self {
        Self {
            acr: Some(acr),
            sub: "angela-at-fc",
            nonce: None,
            state: None,
            iss: None,
            userinfo_sub: None,
            identity: angela(),
            sends: None,
            ahead_s: 0,
            without_keys: false,
        }
    }

    pub(crate) fn officer(acr: &'static str) -> Self {
        Self {
            sub: "camille-at-pro",
            identity: camille(),
            ..Self::person(acr)
        }
    }
}

impl Default for Says {
    fn default() -> Self {
        Self::person("eidas1")
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

/// An officer of the commune.
pub(crate) fn camille() -> Value {
    json!({
        "given_name": "Camille", "usual_name": "EXEMPLE", "siret": "21920023500014",
        "organizational_unit": "Service des écoles"
    })
}

#[derive(Clone)]
pub(crate) struct IdentityProvider {
    pub(crate) issuer: String,
    key: Arc<SigningKey>,
    sends: Sends,
    pub(crate) says: Arc<Mutex<Says>>,
    /// What each code was issued for.
    codes: Arc<Mutex<HashMap<String, HashMap<String, String>>>>,
    /// The parameters of the last `/authorize`.
    pub(crate) asked: Arc<Mutex<HashMap<String, String>>>,
}

impl IdentityProvider {
    pub(crate) fn new(issuer: String, key: SigningKey, sends: Sends, says: Says) -> Self {
        Self {
            issuer,
            key: Arc::new(key),
            sends,
            says: Arc::new(Mutex::new(says)),
            codes: Arc::default(),
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
        let now = SystemClock.now().secs() + self.says.lock().unwrap().ahead_s;
        let mut claims = json!({"iss": self.issuer, "aud": CLIENT, "sub": sub, "iat": now, "exp": now + 60});
        for (name, value) in more {
            claims[*name] = value.clone();
        }
        claims
    }

    /// `claims` as they are sent.
    fn sent(&self, claims: &Value) -> String {
        let signed = jws::sign_claims(&self.key, "JWT", claims).unwrap();
        let sends = self.says.lock().unwrap().sends.clone();
        match sends.as_ref().unwrap_or(&self.sends) {
            Sends::Signed => signed,
            Sends::Encrypted(key) => jwe::seal_nested(key, &signed, &ring()).unwrap(),
        }
    }
}

async fn metadata(State(idp): State<IdentityProvider>) -> impl IntoResponse {
    let at = |path: &str| format!("{}{path}", idp.issuer);
    axum::Json(json!({
        "issuer": idp.issuer, "authorization_endpoint": at("/authorize"), "token_endpoint": at("/token"),
        "userinfo_endpoint": at("/userinfo"), "jwks_uri": at("/jwks"), "end_session_endpoint": at("/logout"),
        "authorization_response_iss_parameter_supported": true,
    }))
}

async fn keys(State(idp): State<IdentityProvider>) -> Response {
    match idp.says.lock().unwrap().without_keys {
        true => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        false => jwks::publish(&[idp.key.verifying_key()], &[]).into_response(),
    }
}

async fn authorize(
    State(idp): State<IdentityProvider>,
    Query(asked): Query<HashMap<String, String>>,
) -> Response {
    let code = format!("code-{}", asked["nonce"]);
    idp.codes.lock().unwrap().insert(code.clone(), asked.clone());
    let says = idp.says.lock().unwrap().clone();
    let state = says.state.unwrap_or(&asked["state"]);
    let mut to = format!("{}?code={code}&state={state}", asked["redirect_uri"]);
    let iss = says.iss.unwrap_or(&idp.issuer);
    if !iss.is_empty() {
        to.push_str(&format!("&iss={iss}"));
    }
    idp.asked.lock().unwrap().clone_from(&asked);
    Redirect::to(&to).into_response()
}

async fn token(State(idp): State<IdentityProvider>, Form(form): Form<HashMap<String, String>>) -> Response {
    let asked = idp.codes.lock().unwrap().remove(&form["code"]);
    let Some(asked) = asked else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    // RFC 7636, 4.6: a challenge asks for its verifier, and a verifier for its challenge.
    let challenge = form
        .get("code_verifier")
        .map(|verifier| URL_SAFE_NO_PAD.encode(Sha256::of(verifier.as_bytes()).as_bytes()));
    let bound = asked.get("code_challenge") == challenge.as_ref();
    if !bound || form["client_secret"] != SECRET || form["client_id"] != CLIENT {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let says = idp.says.lock().unwrap().clone();
    let nonce = says.nonce.unwrap_or(&asked["nonce"]);
    let mut more = vec![("auth_time", json!(SystemClock.now().secs() + says.ahead_s))];
    if !nonce.is_empty() {
        more.push(("nonce", json!(nonce)));
    }
    more.extend(says.acr.map(|acr| ("acr", json!(acr))));
    let id_token = idp.sent(&idp.claims(says.sub, &more));
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
    ([(header::CONTENT_TYPE, "application/jwt")], idp.sent(&claims)).into_response()
}
