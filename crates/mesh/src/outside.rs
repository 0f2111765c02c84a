use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use http_body_util::Full;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::error::read;
use crate::https::answer;
use crate::{Error, HttpsError, HttpsResponse, tls};

const IDLE: Duration = Duration::from_secs(60);

/// A client for one address outside of the mesh, by HTTPS without a client certificate: a witness that is nobody's
/// participant, a log's public address.
///
/// It trusts the certificate authorities that it was given and no other, follows no redirect, and keeps no cookie.
#[derive(Clone, Debug)]
pub struct OutsideClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: Uri,
}

impl OutsideClient {
    /// A client for what is below `base`: `https`, or `http` on 127.0.0.1 or [::1]; without query or password.
    /// `authorities` is a PEM file, needed for `https`.
    ///
    /// # Errors
    /// [`Error::OutsideUrl`], [`Error::Read`], [`Error::Pem`], [`Error::Root`].
    pub fn new(base: &str, authorities: Option<&Path>) -> Result<Self, Error> {
        let base: Uri = base
            .trim_end_matches('/')
            .parse()
            .map_err(|_| Error::OutsideUrl)?;
        let secure = is_allowed(&base).ok_or(Error::OutsideUrl)?;
        let mut roots = RootCertStore::empty();
        if let Some(path) = authorities {
            for root in CertificateDer::pem_slice_iter(&read(path)?) {
                let root = root.map_err(|_| Error::Pem("certificate"))?;
                roots.add(root).map_err(|_| Error::Root)?;
            }
        }
        if secure && roots.is_empty() {
            return Err(Error::Pem("certificate"));
        }
        let config = rustls::ClientConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .expect("ring has the cipher suites of TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        // HTTP is let through here because the address was judged above.
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_all_versions()
            .build();
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE);
        Ok(Self {
            client: builder.build(connector),
            base,
        })
    }

    /// Reads what is at `path` below the base, whole, within `deadline` and at most `max_bytes`.
    ///
    /// # Errors
    /// [`HttpsError`]; another status than 200 is an answer.
    pub async fn get(
        &self,
        path: &str,
        deadline: Duration,
        max_bytes: usize,
    ) -> Result<HttpsResponse, HttpsError> {
        let request = self.request(Method::GET, path, String::new())?;
        tokio::time::timeout(deadline, answer(&self.client, request, max_bytes))
            .await
            .unwrap_or(Err(HttpsError::Deadline))
    }

    fn request(&self, method: Method, path: &str, text: String) -> Result<Request<Full<Bytes>>, HttpsError> {
        let mut request = Request::new(Full::new(Bytes::from(text)));
        *request.method_mut() = method;
        let url = format!("{}{path}", self.base.to_string().trim_end_matches('/'));
        *request.uri_mut() = url
            .parse()
            .map_err(|e: http::uri::InvalidUri| HttpsError::Broken(e.into()))?;
        Ok(request)
    }

    /// Posts a text to `path` below the base, and reads the answer whole, within `deadline` and at most `max_bytes`.
    ///
    /// # Errors
    /// [`HttpsError`]; another status than 200 is an answer.
    pub async fn post_text(
        &self,
        path: &str,
        text: String,
        deadline: Duration,
        max_bytes: usize,
    ) -> Result<HttpsResponse, HttpsError> {
        let mut request = self.request(Method::POST, path, text)?;
        *request.headers_mut() =
            HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("text/plain"))]);
        tokio::time::timeout(deadline, answer(&self.client, request, max_bytes))
            .await
            .unwrap_or(Err(HttpsError::Deadline))
    }
}

/// Whether an address may be called: `Some(true)` over TLS, `Some(false)` in clear on this machine.
fn is_allowed(base: &Uri) -> Option<bool> {
    let authority = base.authority()?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let loopback = host
        .parse::<std::net::IpAddr>()
        .is_ok_and(|address| address.is_loopback());
    let bare = base.query().is_none() && !authority.as_str().contains('@');
    match base.scheme_str() {
        Some("https") if bare => Some(true),
        Some("http") if bare && loopback => Some(false),
        Some(_) | None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_leaves_the_machine_never() {
        for base in [
            "",
            "witness.example",
            "ftp://127.0.0.1/",
            "http://witness.example/",
            "http://localhost/",
            "http://127.0.0.1.example/",
            "https://user@witness.example/",
            "https://witness.example/?a=b",
        ] {
            assert!(
                matches!(OutsideClient::new(base, None), Err(Error::OutsideUrl)),
                "{base}"
            );
        }
        assert!(
            matches!(
                OutsideClient::new("https://witness.example/w", None),
                Err(Error::Pem(_))
            ),
            "nobody is trusted unless named"
        );
        for base in ["http://127.0.0.1:9/w/", "http://[::1]"] {
            assert!(OutsideClient::new(base, None).is_ok(), "{base}");
        }
    }
}
