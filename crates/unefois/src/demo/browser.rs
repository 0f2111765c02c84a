//! The person's browser of the headless story: cookies, redirects and forms, over plain HTTP on loopback.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use anyhow::{Context as _, bail};
use axum::body::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use url::Url;

/// Largest page that is read.
const MAX_PAGE_BYTES: usize = 1 << 20;
const FORM: &str = "application/x-www-form-urlencoded";
/// Most redirects that are followed in a row.
const MAX_REDIRECTS: usize = 10;

/// One browser, with the cookies of each origin.
#[derive(Debug)]
pub struct Browser {
    client: Client<HttpConnector, Full<Bytes>>,
    cookies: BTreeMap<String, BTreeMap<String, String>>,
    trail: Vec<Url>,
}

/// Where the browser ended.
#[derive(Debug)]
pub struct Page {
    /// Its address.
    pub url: Url,
    /// Its status.
    pub status: StatusCode,
    /// Its text; empty where the browser stopped at an address that it was to leave to others.
    pub body: String,
}

impl Default for Browser {
    fn default() -> Self {
        Self::at(Ipv4Addr::LOCALHOST)
    }
}

impl Page {
    /// The value of the hidden field `name`.
    pub fn hidden(&self, name: &str) -> anyhow::Result<String> {
        let (_, rest) = self
            .body
            .split_once(&format!("name=\"{name}\" value=\""))
            .with_context(|| {
                format!(
                    "{} answers {} without a field {name}",
                    self.url.path(),
                    self.status.as_u16()
                )
            })?;
        let value = rest.split('"').next().unwrap_or_default();
        Ok(value
            .replace("&quot;", "\"")
            .replace("&#34;", "\"")
            .replace("&#39;", "'")
            .replace("&amp;", "&"))
    }

    /// The address of the first link to a path that begins so.
    pub fn link(&self, start: &str) -> Option<String> {
        let (_, rest) = self.body.split_once(&format!("href=\"{start}"))?;
        let rest = rest.split('"').next().unwrap_or_default();
        Some(
            format!("{start}{rest}")
                .replace("&amp;", "&")
                .replace("&#38;", "&"),
        )
    }

    /// A parameter of the address.
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.url
            .query_pairs()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }
}

impl Browser {
    /// A browser whose connections come from this loopback address.
    pub fn at(address: Ipv4Addr) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_local_address(Some(address.into()));
        Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            cookies: BTreeMap::new(),
            trail: Vec::new(),
        }
    }

    /// Every address that it was sent to, in order.
    pub fn trail(&self) -> &[Url] {
        &self.trail
    }

    /// The values of the cookies that it holds.
    pub fn cookies(&self) -> impl Iterator<Item = &str> {
        self.cookies
            .values()
            .flat_map(|jar| jar.values().map(String::as_str))
    }

    /// Opens `url` and follows redirects up to a page, or to an address that begins with `stop`.
    pub async fn open(&mut self, url: &str, stop: &str) -> anyhow::Result<Page> {
        self.go(Method::GET, Url::parse(url)?, String::new(), stop).await
    }

    /// Sends a form from `page` to `action`, and follows.
    pub async fn submit(
        &mut self,
        page: &Page,
        action: &str,
        fields: &[(&str, &str)],
        stop: &str,
    ) -> anyhow::Result<Page> {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        self.go(Method::POST, page.url.join(action)?, body, stop).await
    }

    /// Sends JSON to `url`; the status of the answer.
    pub async fn post_json(&mut self, url: &str, body: &serde_json::Value) -> anyhow::Result<StatusCode> {
        let url = Url::parse(url)?;
        let body = body.to_string();
        Ok(self.send(&Method::POST, &url, "application/json", &body).await?.0)
    }

    async fn go(
        &mut self,
        mut method: Method,
        mut url: Url,
        mut body: String,
        stop: &str,
    ) -> anyhow::Result<Page> {
        self.trail.push(url.clone());
        for _ in 0..MAX_REDIRECTS {
            let (status, headers, text) = self.send(&method, &url, FORM, &body).await?;
            let location = headers.get(header::LOCATION).and_then(|l| l.to_str().ok());
            let Some(location) = location.filter(|_| status.is_redirection()) else {
                return Ok(Page {
                    url,
                    status,
                    body: text,
                });
            };
            url = url.join(location)?;
            self.trail.push(url.clone());
            if !stop.is_empty() && url.as_str().starts_with(stop) {
                return Ok(Page {
                    url,
                    status,
                    body: String::new(),
                });
            }
            (method, body) = (Method::GET, String::new());
        }
        bail!("too many redirects");
    }

    async fn send(
        &mut self,
        method: &Method,
        url: &Url,
        kind: &str,
        body: &str,
    ) -> anyhow::Result<(StatusCode, HeaderMap, String)> {
        let origin = url.origin().ascii_serialization();
        let jar = self.cookies.entry(origin.clone()).or_default();
        let mut request = Request::builder().method(method).uri(url.as_str());
        if !jar.is_empty() {
            let cookies: Vec<String> = jar
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            request = request.header(header::COOKIE, cookies.join("; "));
        }
        if method == Method::POST {
            request = request
                .header(header::ORIGIN, origin)
                .header("sec-fetch-site", "same-origin")
                .header(header::CONTENT_TYPE, kind);
        }
        let response = self
            .client
            .request(request.body(Full::new(Bytes::from(body.to_owned())))?)
            .await?;
        let (head, body) = response.into_parts();
        for cookie in head.headers.get_all(header::SET_COOKIE) {
            let pair = cookie
                .to_str()
                .ok()
                .and_then(|c| c.split(';').next())
                .and_then(|c| c.split_once('='));
            match pair {
                Some((name, "")) => drop(jar.remove(name)),
                Some((name, value)) => drop(jar.insert(name.to_owned(), value.to_owned())),
                None => {}
            }
        }
        let bytes = Limited::new(body, MAX_PAGE_BYTES)
            .collect()
            .await
            .map_err(|e| anyhow::anyhow!("{e}"))?
            .to_bytes();
        Ok((head.status, head.headers, String::from_utf8(bytes.to_vec())?))
    }
}
