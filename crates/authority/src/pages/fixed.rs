use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG};

use super::words;
use crate::Error;
use crate::pages::{Reader, see_other, show};
use crate::portal::{Accessibility, Help, Home, Privacy, path};
use crate::service::Authority;

type Shared = State<Arc<Authority>>;

/// `GET /`: Accueil.
pub(crate) async fn home(State(authority): Shared, reader: Reader) -> Result<Response, Error> {
    show(&authority, &reader, &Home).await
}

/// `GET /aide`.
pub(crate) async fn help(State(authority): Shared, reader: Reader) -> Result<Response, Error> {
    let page = Help {
        contact: contact(&authority),
    };
    show(&authority, &reader, &page).await
}

/// `GET /donnees-personnelles`.
pub(crate) async fn privacy(State(authority): Shared, reader: Reader) -> Result<Response, Error> {
    let page = Privacy {
        controller: controller(&authority, &reader),
        dpo: contact(&authority),
    };
    show(&authority, &reader, &page).await
}

/// `GET /accessibilite`.
pub(crate) async fn accessibility(State(authority): Shared, reader: Reader) -> Result<Response, Error> {
    let page = Accessibility {
        controller: controller(&authority, &reader),
        contact: contact(&authority),
    };
    show(&authority, &reader, &page).await
}

fn controller(authority: &Authority, reader: &Reader) -> String {
    words::name(
        &authority.published.edition(),
        reader.lang,
        &authority.participant,
    )
}

fn contact(authority: &Authority) -> String {
    words::dpo(&authority.published.edition(), &authority.participant)
}

/// `GET /static/{file}`: the stylesheet and the logo, from memory; a path changes with its bytes.
pub(crate) async fn asset(State(authority): Shared, Path(file): Path<String>) -> Result<Response, Error> {
    let path = format!("/static/{file}");
    let asset = authority
        .site
        .assets()
        .iter()
        .find(|asset| asset.path == path)
        .ok_or(Error::NotFound)?;
    let mut response = asset.bytes.clone().into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=31536000, immutable"),
    );
    if let Ok(etag) = HeaderValue::try_from(asset.etag.as_str()) {
        headers.insert(ETAG, etag);
    }
    Ok(response)
}

/// `GET /deconnexion`: where the page that a log-out answered is asked for again, in another language or by a reload.
pub(crate) async fn to_home() -> Response {
    see_other(path::HOME)
}

/// What no path of the table names, or not with this method.
pub(crate) async fn not_found() -> Error {
    Error::NotFound
}
