use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use url::Url;

/// Largest answer that is read from a provider.
const MAX_BYTES: usize = 64 * 1024;
/// Longest wait for a whole answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// Why an identity provider could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The URL is neither HTTPS nor HTTP on loopback.
    #[error("an identity provider is reached over HTTPS, or HTTP on loopback")]
    Url,
    /// The file of trusted authorities is unreadable or empty.
    #[error("the identity provider's certificate authorities cannot be read")]
    Authorities,
    /// No connection, or it broke.
    #[error("the identity provider cannot be reached")]
    Transport(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No answer in time.
    #[error("the identity provider did not answer in time")]
    Timeout,
    /// Another status than 200.
    #[error("the identity provider answered {0}")]
    Status(StatusCode),
    /// Too large, or of another content type.
    #[error("the identity provider's answer is not of the expected kind")]
    Answer,
}

/// What an identity provider sent.
pub(super) struct Answer {
    pub(super) content_type: String,
    pub(super) body: Bytes,
}

/// A client for one identity provider: its own trusted authorities, no redirect, bounded answers.
#[derive(Clone)]
pub(super) struct HttpClient(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl HttpClient {
    /// Trusts the certificate authorities of `authorities` (PEM) and no other.
    pub(super) fn new(authorities: Option<&[u8]>) -> Result<Self, HttpError> {
        let mut roots = RootCertStore::empty();
        if let Some(pem) = authorities {
            for root in CertificateDer::pem_slice_iter(pem) {
                let root = root.map_err(|_| HttpError::Authorities)?;
                roots.add(root).map_err(|_| HttpError::Authorities)?;
            }
            if roots.is_empty() {
                return Err(HttpError::Authorities);
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| HttpError::Authorities)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        // HTTP is let through here because `allowed` has judged the URL before.
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self(Client::builder(TokioExecutor::new()).build(connector)))
    }

    pub(super) async fn get(&self, url: &Url, bearer: Option<&str>) -> Result<Answer, HttpError> {
        let mut request = Request::builder().method(Method::GET);
        if let Some(token) = bearer {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        self.send(url, request, Bytes::new()).await
    }

    pub(super) async fn post_form(&self, url: &Url, form: String) -> Result<Answer, HttpError> {
        let request = Request::builder()
            .method(Method::POST)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(url, request, Bytes::from(form)).await
    }

    async fn send(
        &self,
        url: &Url,
        request: http::request::Builder,
        body: Bytes,
    ) -> Result<Answer, HttpError> {
        if !allowed(url) {
            return Err(HttpError::Url);
        }
        let uri: Uri = url.as_str().parse().map_err(|_| HttpError::Url)?;
        let request = request
            .uri(uri)
            .header(ACCEPT, "application/json, application/jwt")
            .body(Full::new(body))
            .map_err(|_| HttpError::Url)?;
        let exchange = async {
            let response = self
                .0
                .request(request)
                .await
                .map_err(|e| HttpError::Transport(Box::new(e)))?;
            if response.status() != StatusCode::OK {
                return Err(HttpError::Status(response.status()));
            }
            let content_type = response.headers().get(CONTENT_TYPE);
            let content_type = content_type.and_then(|v| v.to_str().ok()).unwrap_or_default();
            let content_type = content_type
                .split(';')
                .next()
                .unwrap_or_default()
                .trim()
                .to_ascii_lowercase();
            let body = Limited::new(response.into_body(), MAX_BYTES).collect().await;
            let body = body.map_err(|_| HttpError::Answer)?.to_bytes();
            Ok(Answer { content_type, body })
        };
        tokio::time::timeout(DEADLINE, exchange)
            .await
            .map_err(|_| HttpError::Timeout)?
    }
}

/// HTTPS anywhere, HTTP on loopback only.
pub(super) fn allowed(url: &Url) -> bool {
    let loopback = match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(_)) | None => false,
    };
    let plain = url.scheme() == "http" && loopback;
    (url.scheme() == "https" || plain) && url.username().is_empty() && url.password().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_leaves_the_machine_never() {
        for (text, ok) in [
            ("http://127.0.0.1:9/x", true),
            ("http://[::1]/x", true),
            ("https://fc.example/x", true),
            ("http://fc.example/x", false),
            ("http://localhost/x", false),
            ("http://127.0.0.1.example/x", false),
            ("https://u:p@fc.example/", false),
            ("file:///etc/passwd", false),
        ] {
            assert_eq!(allowed(&Url::parse(text).unwrap()), ok, "{text}");
        }
    }

    #[test]
    fn no_authority_in_the_file_is_refused() {
        assert!(matches!(
            HttpClient::new(Some(b"nothing")),
            Err(HttpError::Authorities)
        ));
        assert!(HttpClient::new(None).is_ok());
    }
}
