use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use tokio::sync::Mutex;
use unefois_core::{Acr, Boot, Clock, Pivot};
use unefois_jose::id_token::{IdToken, Login};
use unefois_jose::{Jwks, SignatureAlgorithm, strict_json};
use url::Url;
use zeroize::Zeroizing;

use super::http::{HttpClient, HttpError, allowed};
use super::identity::UserInfo;
use crate::Error;

/// Least time between two fetches of a provider's keys, however many unknown `kid`s arrive.
const KEYS_REFRESH_MS: i64 = 30_000;

/// `[[login]]`: one identity provider that this authority is registered with. Nothing is negotiated: what stands here
/// was agreed beforehand.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderConfig {
    /// Its short name here; the redirect URI is `<issuer>/<name>/retour`.
    pub name: String,
    /// Its name for people.
    pub label: String,
    /// Its issuer URL; everything else is discovered there.
    pub issuer: String,
    /// Our name there.
    pub client_id: String,
    /// File of our secret there.
    pub client_secret: PathBuf,
    /// File of the certificate authorities (PEM) that its HTTPS rests on; none for HTTP on loopback.
    #[serde(default)]
    pub authorities: Option<PathBuf>,
    /// The `acr` values that count when it asserts them, and the level that each stands for.
    pub levels: BTreeMap<String, Acr>,
    /// The scopes asked for.
    #[serde(default = "identity_scopes")]
    pub scope: String,
    /// Whether those it logs in are people asking for themselves, whose accounts may be joined by their identity.
    #[serde(default = "yes")]
    pub people: bool,
}

fn identity_scopes() -> String {
    "openid given_name family_name preferred_username birthdate gender birthplace birthcountry".to_owned()
}

const fn yes() -> bool {
    true
}

/// What a provider says of itself (OpenID Connect Discovery, 3); members of no use here are dropped.
#[derive(Clone, Deserialize)]
struct Metadata {
    issuer: String,
    #[serde(deserialize_with = "url")]
    authorization_endpoint: Url,
    #[serde(deserialize_with = "url")]
    token_endpoint: Url,
    #[serde(deserialize_with = "url")]
    userinfo_endpoint: Url,
    #[serde(deserialize_with = "url")]
    jwks_uri: Url,
    #[serde(default, deserialize_with = "optional_url")]
    end_session_endpoint: Option<Url>,
}

fn url<'de, D: Deserializer<'de>>(from: D) -> Result<Url, D::Error> {
    let text = String::deserialize(from)?;
    Url::parse(&text).map_err(D::Error::custom)
}

fn optional_url<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Url>, D::Error> {
    url(from).map(Some)
}

#[derive(Default)]
struct Known {
    metadata: Option<Arc<Metadata>>,
    keys: Option<(Arc<Jwks>, Boot)>,
}

/// One identity provider, with what was learnt of it.
pub(crate) struct Provider {
    pub(crate) config: ProviderConfig,
    secret: Zeroizing<String>,
    terms: unefois_jose::id_token::Provider,
    http: HttpClient,
    clock: Arc<dyn Clock>,
    known: Mutex<Known>,
}

/// Who logged in, as this provider says.
pub(crate) struct LoggedIn {
    pub(crate) sub: String,
    pub(crate) acr: Acr,
    pub(crate) auth_time: i64,
    pub(crate) pivot: Pivot,
    /// The ID token as received, to hand back at logout.
    pub(crate) id_token: Zeroizing<String>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    token_type: String,
    id_token: String,
}

impl Provider {
    pub(crate) fn new(
        config: ProviderConfig,
        secret: Zeroizing<String>,
        authorities: Option<&[u8]>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, HttpError> {
        let terms = unefois_jose::id_token::Provider {
            issuer: config.issuer.clone(),
            client_id: config.client_id.clone(),
            algorithm: SignatureAlgorithm::Es256,
        };
        let http = HttpClient::new(authorities)?;
        Ok(Self {
            config,
            secret,
            terms,
            http,
            clock,
            known: Mutex::default(),
        })
    }

    /// The weakest `acr` value that stands for at least `level`; `None` where this provider asserts none.
    pub(crate) fn acr_for(&self, level: Acr) -> Option<&str> {
        let enough = self.config.levels.iter().filter(|(_, l)| **l >= level);
        enough.min_by_key(|(_, l)| **l).map(|(value, _)| value.as_str())
    }

    /// Where to send the browser: only the parameters that FranceConnect's `/authorize` allows, so no PKCE; code
    /// injection is stopped by the nonce and by client authentication. `prompt` is the parameter of that name.
    pub(crate) async fn authorize_url(
        &self,
        redirect_uri: &str,
        acr: &str,
        state: &str,
        nonce: &str,
        lang: &str,
        prompt: Option<&str>,
    ) -> Result<Url, Error> {
        let mut url = self.metadata().await?.authorization_endpoint.clone();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.config.client_id)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("scope", &self.config.scope)
            .append_pair("acr_values", acr)
            .append_pair("state", state)
            .append_pair("nonce", nonce)
            .append_pair("ui_locales", lang);
        if let Some(prompt) = prompt {
            url.query_pairs_mut().append_pair("prompt", prompt);
        }
        Ok(url)
    }

    /// Exchanges the code, verifies ID token and userinfo, and judges the level (I10).
    pub(crate) async fn complete(
        &self,
        code: &str,
        redirect_uri: &str,
        nonce: &str,
    ) -> Result<LoggedIn, Error> {
        let metadata = self.metadata().await?;
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("client_id", &self.config.client_id)
            .append_pair("client_secret", &self.secret)
            .finish();
        let answer = self
            .http
            .post_form(&metadata.token_endpoint, form)
            .await
            .map_err(Error::Provider)?;
        let tokens: TokenAnswer =
            strict_json::from_slice(&answer.body).map_err(|e| Error::LoginAnswer(e.into()))?;
        if !tokens.token_type.eq_ignore_ascii_case("bearer") {
            return Err(Error::LoginAnswer(unefois_jose::Error::Malformed));
        }

        let id_token = self.id_token(&tokens, nonce).await?;
        let acr = self.level(id_token.acr.as_deref())?;
        let userinfo = self
            .http
            .get(&metadata.userinfo_endpoint, Some(&tokens.access_token))
            .await
            .map_err(Error::Provider)?;
        if userinfo.content_type != "application/jwt" {
            return Err(Error::Provider(HttpError::Answer));
        }
        let text = std::str::from_utf8(&userinfo.body)
            .map_err(|_| Error::LoginAnswer(unefois_jose::Error::Malformed))?;
        let now = self.clock.now();
        let keys = self.keys(false).await?;
        let info: UserInfo = self
            .terms
            .verify_userinfo(text.trim(), &keys, &id_token.sub, now)
            .map_err(Error::LoginAnswer)?;
        Ok(LoggedIn {
            pivot: info.into_pivot()?,
            auth_time: id_token.auth_time.unwrap_or_else(|| now.secs()),
            acr,
            sub: id_token.sub,
            id_token: Zeroizing::new(tokens.id_token),
        })
    }

    /// Where to send the browser to end the session there as well; `None` where the provider has no such place.
    pub(crate) async fn end_session_url(&self, id_token: &str, state: &str, back: &str) -> Option<Url> {
        let mut url = self.metadata().await.ok()?.end_session_endpoint.clone()?;
        url.query_pairs_mut()
            .append_pair("id_token_hint", id_token)
            .append_pair("state", state)
            .append_pair("post_logout_redirect_uri", back);
        Some(url)
    }

    /// An `acr` counts only if this provider is entitled to assert it; unknown or absent is refused (I10).
    fn level(&self, acr: Option<&str>) -> Result<Acr, Error> {
        acr.and_then(|acr| self.config.levels.get(acr))
            .copied()
            .ok_or(Error::AcrUnknown)
    }

    async fn id_token(&self, tokens: &TokenAnswer, nonce: &str) -> Result<IdToken, Error> {
        let login = Login {
            nonce,
            access_token: &tokens.access_token,
        };
        let now = self.clock.now();
        let verify = |keys: &Jwks| self.terms.verify_id_token(&tokens.id_token, keys, login, now);
        match verify(&*self.keys(false).await?) {
            Err(unefois_jose::Error::UnknownKey) => verify(&*self.keys(true).await?),
            other => other,
        }
        .map_err(Error::LoginAnswer)
    }

    async fn metadata(&self) -> Result<Arc<Metadata>, Error> {
        let mut known = self.known.lock().await;
        if let Some(metadata) = &known.metadata {
            return Ok(Arc::clone(metadata));
        }
        let base = self.config.issuer.trim_end_matches('/');
        let url = Url::parse(&format!("{base}/.well-known/openid-configuration"))
            .map_err(|_| Error::Provider(HttpError::Url))?;
        let answer = self.http.get(&url, None).await.map_err(Error::Provider)?;
        let metadata: Metadata =
            serde_json::from_slice(&answer.body).map_err(|_| Error::Provider(HttpError::Answer))?;
        // OpenID Connect Discovery, 4.3.
        if metadata.issuer != self.config.issuer {
            return Err(Error::Provider(HttpError::Answer));
        }
        if !allowed(&metadata.authorization_endpoint) {
            return Err(Error::Provider(HttpError::Url));
        }
        let metadata = Arc::new(metadata);
        known.metadata = Some(Arc::clone(&metadata));
        Ok(metadata)
    }

    /// The provider's keys; fetched again if `renew`, but never sooner than [`KEYS_REFRESH_MS`] after the last time.
    async fn keys(&self, renew: bool) -> Result<Arc<Jwks>, Error> {
        let url = self.metadata().await?.jwks_uri.clone();
        let mut known = self.known.lock().await;
        let now = self.clock.boottime();
        if let Some((keys, at)) = &known.keys
            && (!renew || now < at.plus_ms(KEYS_REFRESH_MS))
        {
            return Ok(Arc::clone(keys));
        }
        let answer = self.http.get(&url, None).await.map_err(Error::Provider)?;
        let keys = Arc::new(Jwks::parse(&answer.body).map_err(Error::LoginAnswer)?);
        known.keys = Some((Arc::clone(&keys), now));
        Ok(keys)
    }
}
