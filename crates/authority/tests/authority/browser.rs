//! A browser's part: cookies, redirects one at a time, forms with their origin.

use std::collections::BTreeMap;

use axum::body::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, StatusCode, header};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

const FORM: &str = "application/x-www-form-urlencoded";

pub(crate) struct Browser {
    client: Client<HttpConnector, Full<Bytes>>,
    base: String,
    pub(crate) cookies: BTreeMap<String, String>,
}

pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) location: String,
    pub(crate) headers: hyper::HeaderMap,
    pub(crate) body: String,
}

impl Page {
    /// The value of the hidden field that guards forms.
    pub(crate) fn csrf(&self) -> String {
        self.hidden("csrf")
    }

    /// The value of a form's hidden field.
    pub(crate) fn hidden(&self, name: &str) -> String {
        let field = format!(r#"name="{name}" value=""#);
        let (_, rest) = self.body.split_once(&field).expect("a form");
        rest.split('"').next().unwrap().to_owned()
    }

    /// What takes up the invitation that this page shows.
    pub(crate) fn taking(&self) -> String {
        format!("csrf={}&lue={}", self.csrf(), self.hidden("lue"))
    }

    /// A parameter of the redirect's query.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        let url = url::Url::parse(&self.location).ok()?;
        url.query_pairs()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }
}

impl Browser {
    pub(crate) fn new(base: &str) -> Self {
        Self {
            client: Client::builder(TokioExecutor::new()).build_http(),
            base: base.to_owned(),
            cookies: BTreeMap::new(),
        }
    }

    /// The same browser with no cookie.
    pub(crate) fn without_cookies(&self) -> Self {
        Self {
            client: self.client.clone(),
            base: self.base.clone(),
            cookies: BTreeMap::new(),
        }
    }

    /// Another tab, with the same cookies.
    pub(crate) fn copy(&self) -> Self {
        Self {
            cookies: self.cookies.clone(),
            ..self.without_cookies()
        }
    }

    pub(crate) async fn get(&mut self, address: &str) -> Page {
        self.send(Method::GET, address, "", None, FORM).await
    }

    pub(crate) async fn post(&mut self, address: &str, form: &str) -> Page {
        let origin = self.base.clone();
        self.send(Method::POST, address, form, Some(&origin), FORM).await
    }

    pub(crate) async fn post_from(&mut self, origin: &str, address: &str, form: &str) -> Page {
        self.send(Method::POST, address, form, Some(origin), FORM).await
    }

    pub(crate) async fn post_json(&mut self, address: &str, body: &serde_json::Value) -> Page {
        let origin = self.base.clone();
        let body = body.to_string();
        self.send(Method::POST, address, &body, Some(&origin), "application/json")
            .await
    }

    /// Follows redirects on loopback until a page, or one that leads elsewhere.
    pub(crate) async fn follow(&mut self, address: &str) -> Page {
        let mut page = self.get(address).await;
        for _ in 0..10 {
            if page.status != StatusCode::SEE_OTHER || page.location.starts_with("https:") {
                break;
            }
            page = self.get(&page.location.clone()).await;
        }
        page
    }

    async fn send(
        &mut self,
        method: Method,
        address: &str,
        body: &str,
        origin: Option<&str>,
        kind: &str,
    ) -> Page {
        let url = match address.starts_with("http") {
            true => address.to_owned(),
            false => format!("{}{address}", self.base),
        };
        let cookies: Vec<String> = self.cookies.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let mut request = Request::builder().method(method).uri(url);
        if !cookies.is_empty() {
            request = request.header(header::COOKIE, cookies.join("; "));
        }
        if let Some(origin) = origin {
            request = request
                .header(header::ORIGIN, origin)
                .header(header::CONTENT_TYPE, kind);
        }
        let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
        let response = self.client.request(request).await.unwrap();
        let (head, body) = response.into_parts();
        for cookie in head.headers.get_all(header::SET_COOKIE) {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            match value.is_empty() {
                true => self.cookies.remove(name),
                false => self.cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
        let location = head.headers.get(header::LOCATION);
        Page {
            status: head.status,
            location: location.map_or_else(String::new, |l| l.to_str().unwrap().to_owned()),
            body: String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap(),
            headers: head.headers,
        }
    }
}
