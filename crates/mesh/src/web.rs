//! What every page needs: security headers, CSRF tokens, the origin of requests, cookies.

use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, COOKIE, ORIGIN, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use ring::hmac;

/// Adds the security headers to a response: `Router::layer(axum::middleware::map_response(web::security_headers))`.
///
/// A policy, or a cache rule, that a handler set stays. Browsers apply `form-action` to the redirect that answers a
/// form too, so that a page whose form leads to another site has to name it: [`content_security_policy`].
pub async fn security_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        // Not `no-referrer`: with it, browsers send `Origin: null` on our own forms.
        (REFERRER_POLICY, "same-origin"),
        (STRICT_TRANSPORT_SECURITY, "max-age=31536000"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("permissions-policy"),
            "camera=(), geolocation=(), microphone=(), payment=()",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(CONTENT_SECURITY_POLICY) {
        headers.insert(CONTENT_SECURITY_POLICY, policy(""));
    }
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// The policy of a page whose form may lead to `site` (an origin, `https://mairie.example`) beside our own pages.
/// `None` where the text is no origin.
pub fn content_security_policy(site: &str) -> Option<HeaderValue> {
    let url: http::Uri = site.parse().ok()?;
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b':' | b'[' | b']');
    let authority = url.authority().filter(|a| a.as_str().bytes().all(plain))?;
    let scheme = url.scheme_str().filter(|s| matches!(*s, "https" | "http"))?;
    let origin = format!("{scheme}://{authority}");
    (site == origin).then(|| policy(&format!(" {origin}")))
}

fn policy(form_targets: &str) -> HeaderValue {
    let text = format!(
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; font-src 'self'; \
         connect-src 'self'; form-action 'self'{form_targets}; frame-ancestors 'none'; base-uri 'none'"
    );
    HeaderValue::try_from(text).expect("an origin is printable ASCII")
}

/// The key of CSRF tokens: one for all processes that answer under one address, so that a form that one has shown may be
/// sent to the next.
#[derive(Debug)]
pub struct CsrfKey(hmac::Key);

impl CsrfKey {
    /// The key that is these bytes.
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The token for forms of `purpose` in the session `session`.
    pub fn token(&self, session: &[u8], purpose: &str) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, &message(session, purpose)))
    }

    /// Whether `token` is the one for `session` and `purpose`; in constant time.
    pub fn verify(&self, session: &[u8], purpose: &str, token: &str) -> bool {
        let tag = URL_SAFE_NO_PAD.decode(token);
        tag.is_ok_and(|tag| hmac::verify(&self.0, &message(session, purpose), &tag).is_ok())
    }
}

/// The length comes first, so that no two pairs make one message.
fn message(session: &[u8], purpose: &str) -> Vec<u8> {
    let mut message = session.len().to_be_bytes().to_vec();
    message.extend_from_slice(session);
    message.extend_from_slice(purpose.as_bytes());
    message
}

/// The request did not come from a page of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request did not come from a page of this site")]
pub struct CrossSite;

/// Checks that a POST comes from a page of `own_origin` (`https://portail.example`): by `Sec-Fetch-Site` and
/// `Origin`, those of the two that are there, and at least one is.
pub fn same_origin(headers: &HeaderMap, own_origin: &str) -> Result<(), CrossSite> {
    let fetch_site = headers.get("sec-fetch-site").map(|v| v == "same-origin");
    let origin = headers.get(ORIGIN).map(|v| v == own_origin);
    match (fetch_site, origin) {
        (Some(true), Some(true) | None) | (None, Some(true)) => Ok(()),
        (Some(false), _) | (_, Some(false)) | (None, None) => Err(CrossSite),
    }
}

/// `Set-Cookie` of a session: `__Host-<name>`, which only this very host can set (browsers take it over plain HTTP
/// on localhost too). `None` where the value holds what a cookie cannot.
pub fn session_cookie(name: &str, value: &str) -> Option<HeaderValue> {
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.' | b'=');
    let text = format!("__Host-{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax");
    value
        .bytes()
        .all(plain)
        .then(|| HeaderValue::try_from(text).ok())?
}

/// `Set-Cookie` that takes the session cookie away.
pub fn no_session_cookie(name: &str) -> Option<HeaderValue> {
    HeaderValue::try_from(format!(
        "__Host-{name}=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0"
    ))
    .ok()
}

/// The value of the session cookie `__Host-<name>`; `None` where there is none, or more than one.
pub fn session<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok());
    let pairs = lines
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    let mut values = pairs
        .filter(|(key, _)| key.strip_prefix("__Host-") == Some(name))
        .map(|(_, value)| value);
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "https://portail.example";

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_token_is_for_one_session_purpose_and_key() {
        let (key, other) = (CsrfKey::new(&[1; 32]), CsrfKey::new(&[2; 32]));
        let token = key.token(b"session", "retrait");
        assert!(!key.verify(b"session", "demande", &token));
        assert!(!key.verify(b"sessio", "nretrait", &token));
        assert!(!key.verify(b"other", "retrait", &token));
        assert!(!other.verify(b"session", "retrait", &token));
        for text in ["", "=", "é", &token[1..], &format!("{token}A")] {
            assert!(!key.verify(b"session", "retrait", text), "{text}");
        }
        assert!(key.verify(b"session", "retrait", &token));
    }

    #[test]
    fn a_post_from_elsewhere_is_refused() {
        for pairs in [
            &[][..],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site"), ("origin", OWN)],
            &[("sec-fetch-site", "none")],
            &[("origin", "null")],
            &[("origin", "https://portail.example.evil")],
            &[
                ("sec-fetch-site", "same-origin"),
                ("origin", "http://portail.example"),
            ],
        ] {
            assert_eq!(same_origin(&headers(pairs), OWN), Err(CrossSite), "{pairs:?}");
        }
        for pairs in [
            &[("origin", OWN)][..],
            &[("sec-fetch-site", "same-origin")],
            &[("sec-fetch-site", "same-origin"), ("origin", OWN)],
        ] {
            assert_eq!(same_origin(&headers(pairs), OWN), Ok(()), "{pairs:?}");
        }
    }

    #[test]
    fn a_session_cookie_is_read_once() {
        assert_eq!(session_cookie("s", "a;b"), None);
        assert_eq!(session_cookie("s", "a\r\nb"), None);
        assert!(session_cookie("s", "aZ-_").is_some());
        assert_eq!(session(&headers(&[("cookie", "s=1")]), "s"), None);
        assert_eq!(
            session(&headers(&[("cookie", "__Host-s=1; __Host-s=2")]), "s"),
            None
        );
        assert_eq!(
            session(
                &headers(&[("cookie", "__Host-s=1"), ("cookie", "__Host-s=2")]),
                "s"
            ),
            None
        );
        assert_eq!(
            session(&headers(&[("cookie", "a=b; __Host-s=1")]), "s"),
            Some("1")
        );
    }

    #[test]
    fn a_policy_names_an_origin_and_nothing_else() {
        for text in [
            "",
            "mairie.example",
            "https://mairie.example/",
            "https://mairie.example/x",
            "https://mairie.example; script-src *",
            "javascript:alert(1)",
            "https://a@b",
            "https://*",
        ] {
            assert_eq!(content_security_policy(text), None, "{text}");
        }
        let policy = content_security_policy("https://mairie.example:8443").expect("an origin");
        assert!(
            policy
                .to_str()
                .unwrap()
                .contains("form-action 'self' https://mairie.example:8443;")
        );
    }
}
