use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use tokio::sync::Mutex;
use unefois_core::{Boot, Clock, Sha256};
use unefois_jose::id_token::{Envelope, IdToken, Login};
use unefois_jose::{DecryptionKey, Jwks, SignatureAlgorithm, jwks, strict_json};
use url::Url;
use zeroize::Zeroizing;

use super::http::{HttpClient, HttpError, allowed};
use super::identity::UserInfo;
use super::kind::ProviderConfig;
use super::who::{LoggedIn, OfficerInfo, Who};
use crate::Error;

/// Least time between two fetches of a provider's keys, however many unknown `kid`s arrive.
const KEYS_REFRESH_MS: i64 = 30_000;
/// How long a provider's keys are believed without asking again: one that it leaves out may have been stolen.
const KEYS_AGE_MS: i64 = 3_600_000;

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
    /// RFC 9207, 3.
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
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

/// What sends a browser to a provider.
pub(crate) struct Leaving<'a> {
    pub(crate) redirect_uri: &'a str,
    /// See [`ProviderConfig::acr_values`].
    pub(crate) acr_values: &'a str,
    pub(crate) state: &'a str,
    pub(crate) nonce: &'a str,
    pub(crate) lang: &'a str,
    /// The parameter of that name.
    pub(crate) prompt: Option<&'a str>,
    /// The PKCE verifier of this login.
    pub(crate) verifier: &'a str,
}

/// What a browser brought back from a provider, beside what the login was begun with.
pub(crate) struct Returning<'a> {
    pub(crate) code: &'a str,
    pub(crate) redirect_uri: &'a str,
    pub(crate) nonce: &'a str,
    pub(crate) verifier: &'a str,
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
        decryption: Vec<DecryptionKey>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, HttpError> {
        let terms = unefois_jose::id_token::Provider {
            issuer: config.issuer.clone(),
            client_id: config.client_id.clone(),
            algorithm: SignatureAlgorithm::Es256,
            envelope: match config.kind.encrypts() {
                true => Envelope::Encrypted(decryption),
                false => Envelope::Signed,
            },
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

    /// Where to send the browser: with the parameters that the provider's kind takes, and no other.
    pub(crate) async fn authorize_url(&self, leaving: &Leaving<'_>) -> Result<Url, Error> {
        let mut url = self.metadata().await?.authorization_endpoint.clone();
        let mut query = url.query_pairs_mut();
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.config.client_id)
            .append_pair("redirect_uri", leaving.redirect_uri)
            .append_pair("scope", self.config.scope())
            .append_pair("acr_values", leaving.acr_values)
            .append_pair("state", leaving.state)
            .append_pair("nonce", leaving.nonce)
            .append_pair("ui_locales", leaving.lang);
        if self.config.kind.has_pkce() {
            let digest = Sha256::of(leaving.verifier.as_bytes());
            query
                .append_pair("code_challenge", &URL_SAFE_NO_PAD.encode(digest.as_bytes()))
                .append_pair("code_challenge_method", "S256");
        }
        if let Some(prompt) = leaving.prompt {
            query.append_pair("prompt", prompt);
        }
        drop(query);
        Ok(url)
    }

    /// Whether an answer that names `iss`, or no issuer, may be this provider's (RFC 9207, 2.4).
    pub(crate) async fn answers_as(&self, iss: Option<&str>) -> Result<bool, Error> {
        Ok(match iss {
            Some(iss) => iss == self.config.issuer,
            None => {
                !self
                    .metadata()
                    .await?
                    .authorization_response_iss_parameter_supported
            }
        })
    }

    /// Exchanges the code, verifies ID token and userinfo, and judges what is asserted (I10).
    pub(crate) async fn complete(&self, returning: &Returning<'_>) -> Result<LoggedIn, Error> {
        let metadata = self.metadata().await?;
        let form = self.token_form(returning);
        let answer = self.http.post_form(&metadata.token_endpoint, form).await;
        // RFC 6749, 5.2: 400 is for a code that is not this client's to use, 401 for a client that is not known.
        let answer = answer.map_err(|error| match error {
            HttpError::Status(StatusCode::BAD_REQUEST) => Error::LoginCode(error),
            other => Error::Provider(other),
        })?;
        let tokens: TokenAnswer =
            strict_json::from_slice(&answer.body).map_err(|e| Error::LoginAnswer(e.into()))?;
        if !tokens.token_type.eq_ignore_ascii_case("bearer") {
            return Err(Error::LoginAnswer(unefois_jose::Error::Malformed));
        }

        let id_token = self.id_token(&tokens, returning.nonce).await?;
        let acr = id_token.acr.as_deref();
        let who = match self.config.kind.is_professional() {
            true => {
                let assurance = counted(&self.config.officers, acr)?;
                let info: OfficerInfo = self.userinfo(&tokens, &id_token).await?;
                Who::Officer(info.into_officer(assurance)?)
            }
            false => {
                let acr = counted(&self.config.levels, acr)?;
                let info: UserInfo = self.userinfo(&tokens, &id_token).await?;
                Who::Person {
                    acr,
                    pivot: info.into_pivot()?,
                }
            }
        };
        Ok(LoggedIn {
            who,
            auth_time: id_token.auth_time.unwrap_or_else(|| self.clock.now().secs()),
            sub: id_token.sub,
            id_token: id_token.signed,
        })
    }

    fn token_form(&self, returning: &Returning<'_>) -> String {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", returning.code)
            .append_pair("redirect_uri", returning.redirect_uri)
            .append_pair("client_id", &self.config.client_id)
            .append_pair("client_secret", &self.secret);
        if self.config.kind.has_pkce() {
            form.append_pair("code_verifier", returning.verifier);
        }
        form.finish()
    }

    /// The keys that this provider encrypts to, as a key set; `None` where it encrypts nothing.
    pub(crate) fn published_keys(&self) -> Option<String> {
        match &self.terms.envelope {
            Envelope::Encrypted(keys) => {
                let keys: Vec<_> = keys.iter().map(DecryptionKey::encryption_key).collect();
                Some(jwks::publish(&[], &keys))
            }
            Envelope::Signed => None,
        }
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

    /// The userinfo of whoever logged in, signed and in the envelope agreed.
    async fn userinfo<T: DeserializeOwned>(
        &self,
        tokens: &TokenAnswer,
        id_token: &IdToken,
    ) -> Result<T, Error> {
        let url = &self.metadata().await?.userinfo_endpoint;
        let answer = self.http.get(url, Some(&tokens.access_token)).await;
        let answer = answer.map_err(Error::Provider)?;
        if answer.content_type != "application/jwt" {
            return Err(Error::Provider(HttpError::Answer));
        }
        let text = std::str::from_utf8(&answer.body)
            .map_err(|_| Error::LoginAnswer(unefois_jose::Error::Malformed))?;
        let now = self.clock.now();
        let verify = |keys: &Jwks| self.terms.verify_userinfo(text.trim(), keys, &id_token.sub, now);
        self.by_a_known_key(verify).await
    }

    async fn id_token(&self, tokens: &TokenAnswer, nonce: &str) -> Result<IdToken, Error> {
        let login = Login {
            nonce,
            access_token: &tokens.access_token,
        };
        let now = self.clock.now();
        let verify = |keys: &Jwks| self.terms.verify_id_token(&tokens.id_token, keys, login, now);
        self.by_a_known_key(verify).await
    }

    /// Verifies by the keys that are known, and once by fresh ones where the key is none of them.
    async fn by_a_known_key<T>(
        &self,
        verify: impl Fn(&Jwks) -> Result<T, unefois_jose::Error>,
    ) -> Result<T, Error> {
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

    /// The provider's keys, at most [`KEYS_AGE_MS`] old; fetched again if `renew`, but never sooner than
    /// [`KEYS_REFRESH_MS`] after the last time.
    async fn keys(&self, renew: bool) -> Result<Arc<Jwks>, Error> {
        let url = self.metadata().await?.jwks_uri.clone();
        let mut known = self.known.lock().await;
        let now = self.clock.boottime();
        if let Some((keys, at)) = &known.keys
            && now < at.plus_ms(if renew { KEYS_REFRESH_MS } else { KEYS_AGE_MS })
        {
            return Ok(Arc::clone(keys));
        }
        let answer = self.http.get(&url, None).await.map_err(Error::Provider)?;
        let keys = Arc::new(Jwks::parse(&answer.body).map_err(Error::LoginAnswer)?);
        known.keys = Some((Arc::clone(&keys), now));
        Ok(keys)
    }
}

/// What an `acr` stands for: unknown or absent is refused (I10).
fn counted<T: Copy>(known: &BTreeMap<String, T>, acr: Option<&str>) -> Result<T, Error> {
    acr.and_then(|acr| known.get(acr))
        .copied()
        .ok_or(Error::AcrUnknown)
}
