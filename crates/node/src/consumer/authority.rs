//! The back channel to the authority: forms over mutual TLS, JSON back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use unefois_core::{AuthorizationDetails, Reason};
use unefois_jose::strict_json;
use unefois_mesh::{Connector, Credential, DirectoryFollower, HttpsClient, Identity, Target};

use super::Error;

/// Longest time for one call of the authority.
const DEADLINE: Duration = Duration::from_secs(5);
/// Largest answer that is read, in bytes.
const MAX_BYTES: usize = 128 * 1024;

/// Answer to a pushed request (RFC 9126, 2.2).
#[derive(Deserialize)]
pub(super) struct Pushed {
    pub(super) request_uri: String,
    pub(super) expires_in: i64,
}

/// Answer of the token endpoint: one access token with its pivot.
#[derive(Deserialize)]
pub(super) struct Tokens {
    pub(super) access_token: String,
    pub(super) token_type: String,
    pub(super) grant_id: String,
    /// What was granted, a handle each.
    pub(super) authorization_details: Vec<AuthorizationDetails>,
    #[serde(default)]
    pub(super) refresh_token: Option<String>,
    pub(super) pivot_jwe: String,
}

#[derive(Deserialize)]
struct Failed {
    error: String,
    #[serde(default)]
    error_description: Option<String>,
    #[serde(default)]
    unefois_reason: Option<String>,
}

/// Calls the authority of the directory in use.
#[derive(Debug)]
pub(super) struct AuthorityClient {
    connector: Connector,
    identity: Arc<Identity>,
    directory: Arc<DirectoryFollower>,
    /// The client of the last call: it serves until the credential or the address changes.
    last: Mutex<Option<(Arc<Credential>, Target, HttpsClient)>>,
}

impl AuthorityClient {
    pub(super) fn new(
        connector: Connector,
        identity: Arc<Identity>,
        directory: Arc<DirectoryFollower>,
    ) -> Self {
        Self {
            connector,
            identity,
            directory,
            last: Mutex::default(),
        }
    }

    /// The credential that calls show from now on: a token minted by one is bound to it.
    pub(super) fn credential(&self) -> Arc<Credential> {
        self.identity.current()
    }

    /// Posts a form, and reads the answer to a success.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        credential: &Arc<Credential>,
        path: &str,
        form: &BTreeMap<&'static str, String>,
    ) -> Result<T, Error> {
        let body = self.send(credential, path, form).await?;
        strict_json::from_slice(&body).map_err(|_| Error::AuthorityAnswer("its members"))
    }

    /// Posts a form; the body of the answer to a success, which may be empty.
    pub(super) async fn send(
        &self,
        credential: &Arc<Credential>,
        path: &str,
        form: &BTreeMap<&'static str, String>,
    ) -> Result<Bytes, Error> {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let (_, body) = self.call(credential, Method::POST, path, body.into()).await?;
        Ok(body)
    }

    /// Gives a grant back; one of which the authority says itself that it does not know it is given back already.
    pub(super) async fn delete_grant(&self, grant_id: &str) -> Result<(), Error> {
        let named = (1..=64).contains(&grant_id.len())
            && grant_id
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'));
        if !named {
            return Err(Error::Unknown { field: "grant_id" });
        }
        let path = format!("/as/grants/{grant_id}");
        match self
            .call(&self.credential(), Method::DELETE, &path, Bytes::new())
            .await
        {
            Ok(_) | Err(Error::Unknown { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn call(
        &self,
        credential: &Arc<Credential>,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), Error> {
        let target = self
            .directory
            .authority()
            .ok_or(Error::AuthorityUnreachable(None))?;
        let url = Uri::builder()
            .scheme("https")
            .authority(target.authority.clone())
            .path_and_query(path)
            .build()
            .map_err(|_| Error::AuthorityUnreachable(None))?;
        let client = self.client(credential, target);
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        let answer = client
            .request(method, &url, headers, body, DEADLINE, MAX_BYTES)
            .await;
        let answer = answer.map_err(|e| Error::AuthorityUnreachable(Some(e)))?;
        match answer.status {
            status if status.is_success() => Ok((status, answer.body)),
            status => Err(refusal(status, &answer.body)),
        }
    }

    fn client(&self, credential: &Arc<Credential>, target: Target) -> HttpsClient {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((shown, at, client)) = &*last
            && Arc::ptr_eq(shown, credential)
            && *at == target
        {
            return client.clone();
        }
        let client = self
            .connector
            .with_credential(Arc::clone(credential))
            .https(&target);
        *last = Some((Arc::clone(credential), target, client.clone()));
        client
    }
}

/// What an error body means. Its description is for our own log: it may name what was asked.
fn refusal(status: StatusCode, body: &[u8]) -> Error {
    let Ok(failed) = strict_json::from_slice::<Failed>(body) else {
        return match status.is_server_error() {
            true => Error::AuthorityUnreachable(None),
            false => Error::AuthorityAnswer("its error"),
        };
    };
    let description = failed.error_description.unwrap_or_default();
    tracing::warn!(error = failed.error, description, "the authority refuses a call");
    if let Some(reason) = failed.unefois_reason.and_then(|reason| reason.parse().ok()) {
        return match (status, reason) {
            // What stands before the authority, or an address that it does not serve, gives no such reason.
            (StatusCode::NOT_FOUND, Reason::TokenInvalid) => Error::Unknown { field: "grant_id" },
            (_, reason) => Error::AuthorityRefused(reason),
        };
    }
    match failed.error.as_str() {
        "invalid_grant" => Error::AuthorityRefused(Reason::TokenInvalid),
        "invalid_client" | "invalid_target" => Error::AuthorityRefused(Reason::NotEntitled),
        "server_error" | "temporarily_unavailable" => Error::AuthorityUnreachable(None),
        _ => Error::AuthorityRefused(Reason::InvalidRequest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_body_gives_its_reason_or_the_nearest() {
        let reason = |status, body: &str| refusal(status, body.as_bytes()).reason();
        let bad = StatusCode::BAD_REQUEST;
        assert_eq!(
            reason(
                bad,
                r#"{"error":"invalid_grant","unefois_reason":"GRANT_REVOKED"}"#
            ),
            Some(Reason::GrantRevoked)
        );
        assert_eq!(
            reason(bad, r#"{"error":"invalid_grant"}"#),
            Some(Reason::TokenInvalid)
        );
        assert_eq!(
            reason(bad, r#"{"error":"x","unefois_reason":"NO_SUCH"}"#),
            Some(Reason::InvalidRequest)
        );
        assert_eq!(reason(bad, "<html>"), Some(Reason::TokenInvalid));
        let unknown = r#"{"error":"access_denied","unefois_reason":"TOKEN_INVALID"}"#;
        let missing = StatusCode::NOT_FOUND;
        for (status, body, is_unknown) in [
            (missing, unknown, true),
            (bad, unknown, false),
            (
                missing,
                r#"{"error":"access_denied","unefois_reason":"NOT_ENTITLED"}"#,
                false,
            ),
            (missing, r#"{"error":"access_denied"}"#, false),
            (missing, "<html>", false),
            (missing, "", false),
        ] {
            let refused = refusal(status, body.as_bytes());
            let told = matches!(refused, Error::Unknown { .. });
            assert_eq!(told, is_unknown, "{status} {body}: {refused:?}");
        }
        assert_eq!(reason(StatusCode::BAD_GATEWAY, "<html>"), Some(Reason::Deadline));
    }
}
