//! The demonstration's identity providers: OpenID Connect as FranceConnect, FranceConnect+ and ProConnect speak it, with
//! public test identities and made-up officers.
//!
//! Each takes the parameters of its own `/authorize` and refuses any other, asserts its own levels, signs ID tokens and
//! userinfo with ES256, and gives each relying party a pairwise `sub`. FranceConnect+ encrypts both to the relying party;
//! ProConnect asks for PKCE. They listen on loopback only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::{Value, json};
use unefois_core::{Clock, Micros, Random, Sha256};
use unefois_jose::jwks::publish;
use unefois_jose::{EncryptionKey, SigningKey, jwe, jws};
use unefois_mesh::SystemRandom;
use url::Url;

use super::persona::{Officer, Persona};

/// The parameters that `/authorize` takes; it refuses any other.
const PARAMETERS: [&str; 10] = [
    "client_id",
    "acr_values",
    "claims",
    "response_type",
    "nonce",
    "state",
    "redirect_uri",
    "scope",
    "prompt",
    "ui_locales",
];
/// Those that ProConnect takes beside them (RFC 7636, 4.3).
const PKCE: [&str; 2] = ["code_challenge", "code_challenge_method"];
/// What ProConnect asserts of an officer.
pub const AGENT: &str = "agent";
/// What it asserts of a certified one.
pub const DIRIGEANT: &str = "dirigeant";

/// Which of the three a provider is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdpKind {
    /// People, `eidas1`.
    FranceConnect,
    /// People, `eidas2` and `eidas3`, answers encrypted.
    FranceConnectPlus,
    /// Officers, PKCE.
    ProConnect,
}

impl IdpKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::FranceConnect, Self::FranceConnectPlus, Self::ProConnect];

    /// Its short name at the authority.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FranceConnect => "fc",
            Self::FranceConnectPlus => "fcp",
            Self::ProConnect => "pro",
        }
    }

    /// Its name for people.
    pub const fn label(self) -> &'static str {
        match self {
            Self::FranceConnect => "FranceConnect",
            Self::FranceConnectPlus => "FranceConnect+",
            Self::ProConnect => "ProConnect",
        }
    }

    /// Where it is, on the host of all three.
    pub const fn path(self) -> &'static str {
        match self {
            Self::FranceConnect => "",
            Self::FranceConnectPlus => "/fcp",
            Self::ProConnect => "/pro",
        }
    }

    const fn acr_values(self) -> &'static [&'static str] {
        match self {
            Self::FranceConnect => &["eidas1"],
            Self::FranceConnectPlus => &["eidas2", "eidas3"],
            Self::ProConnect => &[AGENT, DIRIGEANT],
        }
    }
}

/// Somebody who may log in, as the provider shows and asserts them.
#[derive(Clone, Debug)]
pub struct Face {
    key: &'static str,
    label: String,
    sub: Option<&'static str>,
    claims: Value,
    is_certified: bool,
}

impl Face {
    /// A person.
    pub fn person(persona: &Persona) -> Self {
        Self {
            key: persona.key,
            label: format!(
                "{} {}, né·e le {}",
                persona.given_name, persona.family_name, persona.birthdate
            ),
            sub: persona.sub,
            claims: serde_json::to_value(persona).unwrap_or_default(),
            is_certified: false,
        }
    }

    /// An officer.
    pub fn officer(officer: &Officer) -> Self {
        Self {
            key: officer.key,
            label: format!(
                "{} {}, établissement {}",
                officer.given_name, officer.usual_name, officer.siret
            ),
            sub: None,
            claims: serde_json::to_value(officer).unwrap_or_default(),
            is_certified: officer.is_certified,
        }
    }
}

/// How long a code or an access token lives.
const LIFETIME_MS: i64 = 60_000;
/// The most codes and tokens kept at once; the demonstration has one person.
const MAX_PENDING: usize = 1_000;

/// One relying party, registered beforehand.
#[derive(Clone, Debug)]
pub struct RelyingParty {
    /// Its `client_id`.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// Where the browser may be sent back, exactly.
    pub redirect_uris: Vec<String>,
    /// The key that answers are encrypted to, where they are.
    pub encrypt_to: Option<EncryptionKey>,
}

/// The provider: its router and what it remembers.
#[derive(Clone, Debug)]
pub struct IdentityProvider(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    kind: IdpKind,
    issuer: String,
    key: SigningKey,
    parties: Vec<RelyingParty>,
    faces: Vec<Face>,
    clock: Arc<dyn Clock>,
    random: SystemRandom,
    pairwise_secret: [u8; 32],
    logins: Mutex<HashMap<String, Login>>,
}

/// A login under way: kept under its code, then under its access token.
#[derive(Clone, Debug)]
struct Login {
    face: Face,
    request: Request,
    at: Micros,
}

#[derive(Debug, Deserialize)]
struct LoginForm {
    persona: String,
    query: String,
}

#[derive(Debug, Deserialize)]
struct TokenForm {
    grant_type: String,
    code: String,
    redirect_uri: String,
    client_id: Option<String>,
    client_secret: Option<String>,
    code_verifier: Option<String>,
}

impl IdentityProvider {
    /// A provider of this kind on the host `base` that signs with `key` and knows `faces`.
    pub fn new(
        kind: IdpKind,
        base: &str,
        key: SigningKey,
        parties: Vec<RelyingParty>,
        faces: Vec<Face>,
        clock: Arc<dyn Clock>,
        random: SystemRandom,
    ) -> Self {
        let pairwise_secret = (&random as &dyn Random).bytes();
        Self(Arc::new(Inner {
            kind,
            issuer: format!("{base}{}", kind.path()),
            key,
            parties,
            faces,
            clock,
            random,
            pairwise_secret,
            logins: Mutex::default(),
        }))
    }

    /// Its pages and endpoints, below its path.
    pub fn router(&self) -> Router {
        let at = |path: &str| format!("{}{path}", self.0.kind.path());
        Router::new()
            .route(&at("/.well-known/openid-configuration"), get(metadata))
            .route(&at("/jwks"), get(keys))
            .route(&at("/authorize"), get(authorize))
            .route(&at("/login"), post(login))
            .route(&at("/token"), post(token))
            .route(&at("/userinfo"), get(userinfo))
            .route(&at("/logout"), get(logout))
            .with_state(self.clone())
    }

    fn party(&self, client_id: &str) -> Option<&RelyingParty> {
        self.0.parties.iter().find(|p| p.client_id == client_id)
    }

    fn keep(&self, login: Login) -> String {
        let random: &dyn Random = &self.0.random;
        let name = URL_SAFE_NO_PAD.encode(random.bytes::<32>());
        let now = self.0.clock.now();
        let mut logins = self.0.logins.lock().unwrap_or_else(PoisonError::into_inner);
        logins.retain(|_, login| now.ms_since(login.at) <= LIFETIME_MS);
        if logins.len() < MAX_PENDING {
            logins.insert(name.clone(), login);
        }
        name
    }

    fn take(&self, name: &str) -> Option<Login> {
        let login = self
            .0
            .logins
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name)?;
        (self.0.clock.now().ms_since(login.at) <= LIFETIME_MS).then_some(login)
    }

    fn sub(&self, login: &Login) -> String {
        if let Some(sub) = login.face.sub {
            return sub.to_owned();
        }
        let parts: [&[u8]; 4] = [
            &self.0.pairwise_secret,
            login.request.client_id.as_bytes(),
            b"\0",
            login.face.key.as_bytes(),
        ];
        format!("{}v1", Sha256::of_parts(&parts))
    }

    /// `claims` signed, and encrypted where the relying party has a key for it.
    fn sent(&self, party: &RelyingParty, claims: &Value) -> Result<String, StatusCode> {
        let signed = jws::sign_claims(&self.0.key, "JWT", claims);
        let sent = signed.and_then(|signed| match &party.encrypt_to {
            Some(key) => jwe::seal_nested(key, &signed, self.0.random.ring()),
            None => Ok(signed),
        });
        sent.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
    }
}

async fn metadata(State(idp): State<IdentityProvider>) -> Response {
    let issuer = &idp.0.issuer;
    axum::Json(json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "userinfo_endpoint": format!("{issuer}/userinfo"),
        "end_session_endpoint": format!("{issuer}/logout"),
        "jwks_uri": format!("{issuer}/jwks"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["pairwise"],
        "acr_values_supported": idp.0.kind.acr_values(),
        "id_token_signing_alg_values_supported": ["ES256"],
        "userinfo_signing_alg_values_supported": ["ES256"],
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
        "authorization_response_iss_parameter_supported": true,
    }))
    .into_response()
}

async fn keys(State(idp): State<IdentityProvider>) -> Response {
    (
        [(header::CONTENT_TYPE, "application/jwk-set+json")],
        publish(&[idp.0.key.verifying_key()], &[]),
    )
        .into_response()
}

/// A checked authorization request.
#[derive(Clone, Debug)]
struct Request {
    client_id: String,
    redirect_uri: String,
    nonce: String,
    state: String,
    /// Those asked for that the provider asserts at all.
    acr_values: Vec<&'static str>,
    challenge: Option<String>,
}

fn request(idp: &IdentityProvider, pairs: &[(String, String)]) -> Result<Request, &'static str> {
    let mut values = HashMap::new();
    for (name, value) in pairs {
        let pkce = idp.0.kind == IdpKind::ProConnect && PKCE.contains(&name.as_str());
        if !PARAMETERS.contains(&name.as_str()) && !pkce {
            return Err("un paramètre n'est pas admis");
        }
        if values.insert(name.as_str(), value.as_str()).is_some() {
            return Err("un paramètre est répété");
        }
    }
    let value = |name: &str| {
        values
            .get(name)
            .map(|v| (*v).to_owned())
            .filter(|v| !v.is_empty())
    };
    let party = value("client_id")
        .and_then(|id| idp.party(&id))
        .ok_or("client_id est inconnu")?;
    let redirect_uri = value("redirect_uri").filter(|uri| party.redirect_uris.contains(uri));
    let acr_values = value("acr_values").ok_or("acr_values manque")?;
    let asserted = idp.0.kind.acr_values().iter().copied();
    let request = Request {
        client_id: party.client_id.clone(),
        redirect_uri: redirect_uri.ok_or("redirect_uri n'est pas enregistrée")?,
        nonce: value("nonce").ok_or("nonce manque")?,
        state: value("state").ok_or("state manque")?,
        acr_values: asserted
            .filter(|acr| acr_values.split(' ').any(|asked| asked == *acr))
            .collect(),
        challenge: value("code_challenge"),
    };
    if value("response_type").as_deref() != Some("code") {
        return Err("response_type doit être code");
    }
    if request.acr_values.is_empty() {
        return Err("acr_values ne dit aucun niveau de ce fournisseur");
    }
    let pkce = request.challenge.is_some() && value("code_challenge_method").as_deref() == Some("S256");
    if idp.0.kind == IdpKind::ProConnect && !pkce {
        return Err("code_challenge et code_challenge_method=S256 sont obligatoires");
    }
    if !value("scope").is_some_and(|scope| scope.split(' ').any(|s| s == "openid")) {
        return Err("scope doit contenir openid");
    }
    Ok(request)
}

async fn authorize(
    State(idp): State<IdentityProvider>,
    uri: axum::http::Uri,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Response {
    if let Err(why) = request(&idp, &pairs) {
        return (
            StatusCode::BAD_REQUEST,
            Html(page(&format!("<p role=\"alert\">Demande refusée : {why}.</p>"))),
        )
            .into_response();
    }
    let query = escape(uri.query().unwrap_or(""));
    let choices: String = (idp.0.faces.iter())
        .map(|face| {
            format!(
                "<p><button name=\"persona\" value=\"{}\">{}</button></p>",
                face.key,
                escape(&face.label)
            )
        })
        .collect();
    let form = format!(
        "<p>Ce fournisseur d'identité est simulé, comme {label}. Choisissez une identité de test.</p>\
         <form method=\"post\" action=\"{path}/login\"><input type=\"hidden\" name=\"query\" value=\"{query}\">{choices}</form>",
        label = idp.0.kind.label(),
        path = idp.0.kind.path(),
    );
    Html(page(&form)).into_response()
}

async fn login(State(idp): State<IdentityProvider>, Form(form): Form<LoginForm>) -> Response {
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(form.query.as_bytes())
        .into_owned()
        .collect();
    let face = idp.0.faces.iter().find(|face| face.key == form.persona);
    let (Ok(request), Some(face)) = (request(&idp, &pairs), face) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let Ok(mut back) = Url::parse(&request.redirect_uri) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let state = request.state.clone();
    let code = idp.keep(Login {
        face: face.clone(),
        request,
        at: idp.0.clock.now(),
    });
    (back.query_pairs_mut())
        .append_pair("code", &code)
        .append_pair("state", &state)
        .append_pair("iss", &idp.0.issuer);
    Redirect::to(back.as_str()).into_response()
}

async fn token(
    State(idp): State<IdentityProvider>,
    headers: HeaderMap,
    Form(form): Form<TokenForm>,
) -> Response {
    let refused =
        |status: StatusCode, error: &str| (status, axum::Json(json!({ "error": error }))).into_response();
    let Some((client_id, secret)) = credentials(&headers, &form) else {
        return refused(StatusCode::UNAUTHORIZED, "invalid_client");
    };
    // Compared as digests, so that the time taken tells nothing of the secret.
    let known = idp
        .party(&client_id)
        .filter(|p| Sha256::of(p.client_secret.as_bytes()) == Sha256::of(secret.as_bytes()));
    let Some(party) = known else {
        return refused(StatusCode::UNAUTHORIZED, "invalid_client");
    };
    if form.grant_type != "authorization_code" {
        return refused(StatusCode::BAD_REQUEST, "unsupported_grant_type");
    }
    // RFC 7636, 4.6.
    let verified = form.code_verifier.as_ref().map(|verifier| {
        let digest = Sha256::of(verifier.as_bytes());
        URL_SAFE_NO_PAD.encode(digest.as_bytes())
    });
    let login = idp.take(&form.code).filter(|login| {
        let asked = &login.request;
        asked.client_id == client_id && asked.redirect_uri == form.redirect_uri && asked.challenge == verified
    });
    let Some(login) = login else {
        return refused(StatusCode::BAD_REQUEST, "invalid_grant");
    };
    let now = idp.0.clock.now();
    let access_token = idp.keep(Login {
        at: now,
        ..login.clone()
    });
    let claims = json!({
        "iss": idp.0.issuer,
        "sub": idp.sub(&login),
        "aud": login.request.client_id,
        "iat": now.secs(),
        "exp": now.plus_ms(LIFETIME_MS).secs(),
        "auth_time": login.at.secs(),
        "nonce": login.request.nonce,
        "acr": acr_of(&login),
        "at_hash": unefois_jose::id_token::at_hash(&access_token),
    });
    let id_token = idp.sent(party, &claims);
    match id_token {
        Ok(id_token) => axum::Json(json!({
            "access_token": access_token,
            "token_type": "Bearer",
            "expires_in": LIFETIME_MS / 1_000,
            "id_token": id_token,
        }))
        .into_response(),
        Err(status) => status.into_response(),
    }
}

/// What is asserted: of people the weakest that was asked for, of an officer what they are.
fn acr_of(login: &Login) -> Option<&'static str> {
    let asked = &login.request.acr_values;
    match login.face.is_certified {
        true => asked.last().copied(),
        false => asked.iter().copied().find(|acr| *acr != DIRIGEANT),
    }
}

fn credentials(headers: &HeaderMap, form: &TokenForm) -> Option<(String, String)> {
    if let (Some(id), Some(secret)) = (&form.client_id, &form.client_secret) {
        return Some((id.clone(), secret.clone()));
    }
    let basic = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .strip_prefix("Basic ")?;
    let text = String::from_utf8(STANDARD.decode(basic).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((id.to_owned(), secret.to_owned()))
}

async fn userinfo(State(idp): State<IdentityProvider>, headers: HeaderMap) -> Response {
    let bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.strip_prefix("Bearer "));
    let Some(login) = bearer.and_then(|token| idp.take(token)) else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    let Some(party) = idp.party(&login.request.client_id) else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    let mut claims = login.face.claims.clone();
    claims["sub"] = idp.sub(&login).into();
    claims["iss"] = idp.0.issuer.clone().into();
    claims["aud"] = login.request.client_id.clone().into();
    match idp.sent(party, &claims) {
        Ok(jwt) => ([(header::CONTENT_TYPE, "application/jwt")], jwt).into_response(),
        Err(status) => status.into_response(),
    }
}

async fn logout(
    State(idp): State<IdentityProvider>,
    Query(pairs): Query<HashMap<String, String>>,
) -> Response {
    let back = pairs
        .get("post_logout_redirect_uri")
        .and_then(|uri| Url::parse(uri).ok());
    let ours = |url: &Url| {
        let origin = url.origin();
        (idp.0.parties.iter().flat_map(|p| &p.redirect_uris))
            .any(|known| Url::parse(known).is_ok_and(|known| known.origin() == origin))
    };
    let Some(mut back) = back.filter(ours) else {
        return Html(page("<p>Vous êtes déconnecté·e.</p>")).into_response();
    };
    if let Some(state) = pairs.get("state") {
        back.query_pairs_mut().append_pair("state", state);
    }
    Redirect::to(back.as_str()).into_response()
}

/// Plain on purpose: nobody should take it for a real provider.
const STYLE: &str = "body{font:100%/1.5 system-ui,sans-serif;margin:0;padding:32px 16px}main{max-width:30rem;margin:auto}\
     h1{font-size:1.5625rem}form p{margin:8px 0}button{font:inherit;width:100%;min-height:48px;padding:8px 16px;\
     text-align:left;border:1px solid GrayText;border-radius:8px;cursor:pointer}";

fn page(body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"fr\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><meta name=\"color-scheme\" content=\"light dark\">\
         <link rel=\"icon\" href=\"data:,\"><title>Identité de démonstration</title><style>{STYLE}</style></head>\
         <body><main><h1>Identité de démonstration</h1>{body}</main></body></html>"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}
