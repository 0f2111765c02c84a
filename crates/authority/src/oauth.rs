//! The authorization server: the FAPI 2.0 Security Profile's part of OAuth.
//!
//! Consumers push their requests over mutual TLS ([`par`]), browsers open them ([`authorize`]), and the code that comes
//! back is worth one grant ([`token`]). Every token is bound to the certificate that asked for it, names one handle at
//! one producer, and is in the ledger before it leaves.

mod authorize;
mod automatic;
mod client;
mod granted;
mod grants;
mod metadata;
mod mint;
mod par;
mod pushed;
mod token;

pub(crate) use authorize::authorize;
pub(crate) use automatic::ON_FILE;
pub(crate) use granted::{Behind, Draft};
pub(crate) use grants::{bytes_of, delete_grant, revoke, show_grant, text_of};
pub(crate) use metadata::{jwks, metadata};
pub(crate) use mint::{details_of, end_of, needed, seal_subject, stands};
pub(crate) use par::par;
pub(crate) use pushed::{Binding, PushedRequest};
pub(crate) use token::{CODE_MS, draw_secret, ends_at, token};

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use http::HeaderValue;
use http::header::{CACHE_CONTROL, RETRY_AFTER};
use serde::Serialize;

use crate::Error;

#[derive(Serialize)]
struct Body {
    error: &'static str,
    error_description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    unefois_reason: Option<&'static str>,
}

/// An error as OAuth renders it (RFC 6749, 5.2).
pub(crate) fn error_response(error: &Error) -> Response {
    let body = Body {
        error: error.oauth_code(),
        error_description: error.to_string(),
        unefois_reason: error.reason().map(|reason| reason.as_str()),
    };
    let mut response = (error.status(), Json(body)).into_response();
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if error.reason().is_some_and(|reason| reason.retryable()) {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// An answer that nobody may keep (RFC 6749, 5.1).
fn no_store(body: impl Serialize) -> Response {
    let mut response = Json(body).into_response();
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
