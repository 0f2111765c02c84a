//! The portal's handlers: they fill the pure views of [`crate::portal`] and keep what a browser sends within bounds.

pub(crate) mod agent;
pub(crate) mod demande;
pub(crate) mod effect;
pub(crate) mod fixed;
pub(crate) mod grants;
pub(crate) mod history;
pub(crate) mod mandates;
pub(crate) mod narrow;
pub(crate) mod oppositions;
pub(crate) mod receipt;
mod standing;

pub(crate) mod words;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse as _, Response};
use http::header::{ACCEPT_LANGUAGE, LOCATION, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use unefois_core::{Acr, OfficerAssurance};
use unefois_mesh::{status, web};
use unefois_store::authority::session::Holder;

use crate::Error;
use crate::form::Form;
use crate::login;
use crate::portal::{ErrorPage, Failure, Frame, Lang, Office, Page, Person, SessionExpired};
use crate::service::Authority;
use crate::session::{Visit, idle_ms};

/// The cookie that keeps the language chosen, after `__Host-`.
const LANG_COOKIE: &str = "lang";
/// The parameters of our pages, which the page in another language is asked with again; a code or a state is none.
const PARAMETERS: [&str; 13] = [
    "suite",
    "niveau",
    "erreur",
    login::OTHER,
    "du",
    "au",
    "administration",
    "information",
    "resultat",
    "autorisation",
    "avant",
    grants::MANDATE,
    oppositions::DONE,
];

/// Who reads: the session, the language, what the address asks for.
pub(crate) struct Reader {
    pub(crate) lang: Lang,
    pub(crate) visit: Option<Visit>,
    /// What of the query is a page's, without the language.
    query: String,
}

impl FromRequestParts<Arc<Authority>> for Reader {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, authority: &Arc<Authority>) -> Result<Self, Error> {
        Ok(Self {
            lang: lang_of(parts.uri.query(), &parts.headers),
            visit: authority.visit(&parts.headers).await?,
            query: query_of(&parts.uri),
        })
    }
}

impl Reader {
    /// The session in which a person is logged in.
    pub(crate) fn logged_in(&self) -> Result<&Visit, Error> {
        let visit = self.visit.as_ref().ok_or(Error::NotLoggedIn)?;
        visit.login().map(|_| visit)
    }

    /// The session in which somebody is logged in, a person or an officer.
    pub(crate) fn somebody(&self) -> Result<&Visit, Error> {
        let visit = self.visit.as_ref().filter(|visit| visit.holder.is_some());
        visit.ok_or(Error::NotLoggedIn)
    }
}

fn lang_of(query: Option<&str>, headers: &HeaderMap) -> Lang {
    let asked = Form::query(query).ok().and_then(|mut form| form.take("lang"));
    let kept = || web::session(headers, LANG_COOKIE).map(str::to_owned);
    let browser = || {
        let list = headers.get(ACCEPT_LANGUAGE)?.to_str().ok()?;
        list.get(..2).map(str::to_ascii_lowercase)
    };
    asked
        .or_else(kept)
        .or_else(browser)
        .and_then(|code| Lang::from_code(&code))
        .unwrap_or_default()
}

fn query_of(uri: &http::Uri) -> String {
    let pairs = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let mut kept = url::form_urlencoded::Serializer::new(String::new());
    kept.extend_pairs(pairs.filter(|(name, _)| PARAMETERS.contains(&name.as_ref())));
    kept.finish()
}

/// The page as this reader gets it.
pub(crate) async fn show(
    authority: &Authority,
    reader: &Reader,
    page: &impl Page,
) -> Result<Response, Error> {
    let person = match reader.visit.as_ref().and_then(|visit| visit.holder.as_ref()) {
        Some(holder) => Some(authority.reader_of(holder).await?),
        None => None,
    };
    let csrf = reader.visit.as_ref().map(|visit| authority.form_token(visit));
    let frame = frame(
        authority,
        reader.lang,
        &reader.query,
        person,
        csrf.unwrap_or_default(),
    );
    Ok(Html(authority.site.show(&frame, page)?).into_response())
}

impl Authority {
    /// Whoever reads, as pages name them.
    async fn reader_of(&self, holder: &Holder) -> Result<Person, Error> {
        let (name, office) = match holder {
            Holder::Person(login) => {
                let pivot = self.identity(&login.person, &login.pivot_digest).await?;
                let given = pivot.given_names.first().map_or("", String::as_str);
                (format!("{given} {}", pivot.family_name), None)
            }
            Holder::Officer(login) => {
                let profile = self.profile(login)?;
                let office = Office {
                    siret: login.siret.to_string(),
                    unit: profile.organizational_unit.clone(),
                    is_run: self.runs(login).await?,
                };
                (profile.name(), Some(office))
            }
        };
        Ok(Person {
            name,
            provider: self.provider_label(holder.idp_iss()),
            office,
        })
    }

    /// The name for people of an identity provider; empty where it is not known any more.
    pub(crate) fn provider_label(&self, issuer: &str) -> String {
        let provider = self.providers.iter().find(|p| p.config.issuer == issuer);
        provider.map_or_else(String::new, |p| p.config.label.clone())
    }
}

fn frame(authority: &Authority, lang: Lang, query: &str, person: Option<Person>, csrf: String) -> Frame {
    let other = match lang {
        Lang::Fr => Lang::En,
        Lang::En => Lang::Fr,
    };
    let mark = if query.is_empty() { "" } else { "&" };
    Frame {
        lang,
        person,
        csrf,
        // Of this very page, whatever its path.
        other_lang: format!("?{query}{mark}lang={}", other.code()),
        demonstration: authority.demonstration,
    }
}

/// Goes on to another address with GET.
pub(crate) fn see_other(address: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    match HeaderValue::try_from(address) {
        Ok(address) => response.headers_mut().insert(LOCATION, address),
        // No address of ours is without a header's form.
        Err(_) => return Error::Stored.into_response(),
    };
    response
}

/// Logs what is our own fault, once, with its chain.
pub(crate) fn log(error: &Error) {
    if error.is_ours() {
        tracing::error!(error = status::chain(error), "a page could not be served");
    }
}

/// What surrounds every page: the rate of one address, the language chosen, errors as pages.
pub(crate) async fn edge(State(authority): State<Arc<Authority>>, request: Request, next: Next) -> Response {
    let address = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map(|info| info.0.ip());
    let lang = lang_of(request.uri().query(), request.headers());
    let chosen = Form::query(request.uri().query())
        .ok()
        .and_then(|mut form| form.take("lang"));
    let path = request.uri().path().to_owned();
    let method = request.method().clone();
    let admitted = address.is_none_or(|ip| authority.browsers.admit(ip, authority.clock.boottime()));
    let mut response = match admitted {
        true => next.run(request).await,
        false => Error::TooManyRequests.into_response(),
    };
    if let Some(error) = response.extensions_mut().remove::<Arc<Error>>() {
        log(&error);
        let cookies: Vec<HeaderValue> = response.headers().get_all(SET_COOKIE).iter().cloned().collect();
        response = failure(&authority, lang, &path, &method, &error);
        for cookie in cookies {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
    }
    if let Some(lang) = chosen.and_then(|code| Lang::from_code(&code))
        && let Some(cookie) = web::session_cookie(LANG_COOKIE, lang.code())
    {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

/// An error as a person reads it. Who is not logged in, or is an officer, is sent to the login of people, and comes back
/// to what was asked.
fn failure(authority: &Authority, lang: Lang, path: &str, method: &Method, error: &Error) -> Response {
    let login = || {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("suite", path);
        if path.starts_with("/agent/") {
            query.append_pair("niveau", OfficerAssurance::Identified.as_str());
        }
        format!("{}?{}", crate::portal::path::LOGIN, query.finish())
    };
    // A page that tells of an error repeats nothing of what was sent.
    let frame = frame(authority, lang, "", None, String::new());
    let document = match error {
        Error::NotLoggedIn | Error::NotForOfficers if method == Method::GET => return see_other(&login()),
        Error::NotLoggedIn => {
            let page = SessionExpired {
                login: login(),
                idle_minutes: idle_minutes(Acr::Eidas1),
                high_idle_minutes: idle_minutes(Acr::Eidas2),
            };
            authority.site.show(&frame, &page)
        }
        error => {
            let page = ErrorPage {
                failure: match error {
                    Error::Recovering => Failure::Recovering,
                    Error::NotForOfficers => Failure::Officer,
                    Error::OtherBody => Failure::OtherBody,
                    Error::TooManyMandates => Failure::TooManyMandates,
                    Error::RequestUri => Failure::Closed,
                    Error::Details { .. } => Failure::NoLonger,
                    Error::AcrUnknown => Failure::LoginUnknown,
                    error => failure_of(error.status()),
                },
                code: error.reason().map(|reason| reason.as_str().to_owned()),
                request_id: None,
                back: None,
            };
            authority.site.show(&frame, &page)
        }
    };
    match document {
        Ok(document) => (error.status(), Html(document)).into_response(),
        Err(_) => Response::new(Body::from("error")),
    }
}

fn idle_minutes(acr: Acr) -> u16 {
    u16::try_from(idle_ms(acr) / 60_000).unwrap_or(u16::MAX)
}

const fn failure_of(status: StatusCode) -> Failure {
    match status.as_u16() {
        403 | 401 => Failure::Forbidden,
        404 => Failure::NotFound,
        429 => Failure::TooMany,
        502 | 503 => Failure::Unavailable,
        400..=499 => Failure::BadRequest,
        _ => Failure::Internal,
    }
}
