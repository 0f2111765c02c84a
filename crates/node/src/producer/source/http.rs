//! A JSON API of the producing administration.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use url::{Host, Url};
use zeroize::Zeroizing;

use super::parameters::{Filled, Parameters, Value};
use super::reply::{Layout, MAX_BODY_BYTES, Reply};
use super::{Answer, Failure, Question, Source};

/// Where the API is and how it is called.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    /// The one address that is called: `https`, or `http` on 127.0.0.1 or [::1]; no query, no fragment, no password.
    pub url: String,
    /// How the parameters are sent.
    #[serde(default)]
    pub method: CallMethod,
    /// PEM file of the certificate authorities that the API's certificate may come from; needed for `https`.
    pub ca: Option<PathBuf>,
    /// A header that is sent with each call.
    pub header: Option<SecretHeader>,
    /// Longest time for one call; a caller's deadline or the datatype may set less.
    #[serde(default = "HttpConfig::default_timeout_ms")]
    pub timeout_ms: u32,
}

impl HttpConfig {
    const fn default_timeout_ms() -> u32 {
        10_000
    }
}

/// How the parameters are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum CallMethod {
    /// In the query; a list as one pair for each value.
    #[default]
    Get,
    /// As a JSON object.
    Post,
}

/// A header whose value is a secret.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretHeader {
    /// Its name.
    pub name: String,
    /// The file that holds its value; white space around it does not count.
    pub file: PathBuf,
}

/// A configuration that cannot be used. It names files and keys, never a secret.
#[derive(Debug, thiserror::Error)]
pub enum HttpConfigError {
    /// The address is not one that may be called.
    #[error(
        "the source's url must be https, or http on 127.0.0.1 or [::1], without query, fragment or password"
    )]
    Url,
    /// `https` without `ca`, or a file that holds no certificate.
    #[error("the source's ca must be a PEM file of certificate authorities")]
    Authorities,
    /// The header's name or value is not valid.
    #[error("the source's header is not valid")]
    Header,
    /// A file cannot be read.
    #[error("{path} cannot be read")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// TLS cannot be set up.
    #[error("TLS towards the source cannot be set up")]
    Tls(#[source] rustls::Error),
}

/// A source behind HTTP: one origin, no redirect, bounded in time and size.
pub struct HttpSource {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: Url,
    method: CallMethod,
    header: Option<(HeaderName, HeaderValue)>,
    timeout: Duration,
    parameters: Parameters,
    layout: Layout,
}

impl HttpSource {
    /// A source as `config` says.
    ///
    /// # Errors
    /// The address, the authorities or the header cannot be used.
    pub fn open(
        config: &HttpConfig,
        parameters: Parameters,
        layout: Layout,
    ) -> Result<Self, HttpConfigError> {
        let url = checked_url(&config.url)?;
        let roots = match (&config.ca, url.scheme()) {
            (Some(path), _) => authorities(path)?,
            (None, "http") => rustls::RootCertStore::empty(),
            (None, _) => return Err(HttpConfigError::Authorities),
        };
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(HttpConfigError::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_all_versions()
            .build();
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            url,
            method: config.method,
            header: config.header.as_ref().map(secret_header).transpose()?,
            timeout: Duration::from_millis(config.timeout_ms.into()),
            parameters,
            layout,
        })
    }

    fn request(&self, filled: &Filled) -> Result<Request<Full<Bytes>>, http::Error> {
        let mut url = self.url.clone();
        let (method, body) = match self.method {
            CallMethod::Get => {
                let mut query = url.query_pairs_mut();
                for (name, value) in filled {
                    match value {
                        Value::Text(text) => query.append_pair(name, text),
                        Value::Number(n) => query.append_pair(name, &n.to_string()),
                        Value::List(texts) => query.extend_pairs(texts.iter().map(|text| (name, text))),
                    };
                }
                drop(query);
                (Method::GET, Bytes::new())
            }
            CallMethod::Post => (Method::POST, json(filled).into()),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(url.as_str())
            .header(ACCEPT, "application/json");
        if self.method == CallMethod::Post {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some((name, value)) = &self.header {
            request = request.header(name, value);
        }
        request.body(Full::new(body))
    }

    async fn call(&self, request: Request<Full<Bytes>>, question: &Question<'_>) -> Result<Answer, Failure> {
        let response = self.client.request(request).await.map_err(|e| {
            // The address's host alone: hyper's own texts hold no query, but nothing promises it.
            tracing::warn!(
                host = self.url.host_str(),
                connect = e.is_connect(),
                "the source cannot be reached"
            );
            Failure::Unavailable
        })?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, MAX_BODY_BYTES)
            .collect()
            .await
            .map_err(|e| match e.downcast_ref::<LengthLimitError>() {
                Some(_) => Failure::Unexpected,
                None => Failure::Unavailable,
            })?;
        let body = Zeroizing::new(body.to_bytes().to_vec());
        let reply = Reply {
            status: parts.status.as_u16(),
            body: &body,
            retry_after: parts
                .headers
                .get(RETRY_AFTER)
                .and_then(|value| value.to_str().ok()),
        };
        self.layout.read(&reply, question)
    }
}

impl Source for HttpSource {
    fn ask<'a>(&'a self, question: &'a Question<'a>) -> BoxFuture<'a, Result<Answer, Failure>> {
        Box::pin(async move {
            let filled = self.parameters.fill(question).ok_or(Failure::NotResolved)?;
            let request = self.request(&filled).map_err(|_| Failure::Unexpected)?;
            let within = self.timeout.min(question.within);
            tokio::time::timeout(within, self.call(request, question))
                .await
                .unwrap_or(Err(Failure::Timeout))
        })
    }
}

impl fmt::Debug for HttpSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSource")
            .field("host", &self.url.host_str())
            .finish_non_exhaustive()
    }
}

fn checked_url(text: &str) -> Result<Url, HttpConfigError> {
    let url = Url::parse(text).map_err(|_| HttpConfigError::Url)?;
    let loopback = match url.host() {
        Some(Host::Ipv4(ip)) => IpAddr::from(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::from(ip).is_loopback(),
        Some(Host::Domain(_)) | None => false,
    };
    let scheme = url.scheme() == "https" || (url.scheme() == "http" && loopback);
    let bare = url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    (scheme && bare).then_some(url).ok_or(HttpConfigError::Url)
}

fn authorities(path: &Path) -> Result<rustls::RootCertStore, HttpConfigError> {
    let pem = read(path)?;
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|_| HttpConfigError::Authorities)?;
        roots.add(certificate).map_err(|_| HttpConfigError::Authorities)?;
    }
    match roots.is_empty() {
        true => Err(HttpConfigError::Authorities),
        false => Ok(roots),
    }
}

fn secret_header(header: &SecretHeader) -> Result<(HeaderName, HeaderValue), HttpConfigError> {
    let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| HttpConfigError::Header)?;
    let secret = Zeroizing::new(read(&header.file)?);
    let mut value = HeaderValue::from_bytes(secret.trim_ascii()).map_err(|_| HttpConfigError::Header)?;
    value.set_sensitive(true);
    Ok((name, value))
}

fn read(path: &Path) -> Result<Vec<u8>, HttpConfigError> {
    std::fs::read(path).map_err(|source| HttpConfigError::Unreadable {
        path: path.to_owned(),
        source,
    })
}

fn json(filled: &Filled) -> String {
    let members = filled.iter().map(|(name, value)| {
        let value = match value {
            Value::Text(text) => serde_json::Value::from(text.as_str()),
            Value::Number(n) => serde_json::Value::from(*n),
            Value::List(texts) => serde_json::Value::from(texts.as_slice()),
        };
        (name.clone(), value)
    });
    serde_json::Value::Object(members.collect()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_bare_address_may_be_called() {
        for text in [
            "",
            "ftp://127.0.0.1/",
            "http://example.test/",
            "http://localhost/",
            "http://10.0.0.1/",
            "https://user@example.test/",
            "https://example.test/?a=b",
            "https://example.test/#a",
        ] {
            assert!(matches!(checked_url(text), Err(HttpConfigError::Url)), "{text}");
        }
        for text in [
            "http://127.0.0.1:8080/qf",
            "http://[::1]/",
            "https://example.test/qf",
        ] {
            assert!(checked_url(text).is_ok(), "{text}");
        }
    }
}
