use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, REFRESH};
use http::{HeaderMap, HeaderValue};
use unefois_core::{Acr, OfficerAssurance, Sha256};
use unefois_store::authority::session::{Attempt, Holder, Login, OfficerLogin, attempt_insert, attempt_take};

use super::kind::{ProviderConfig, Wanted};
use super::provider::{Leaving, Returning};
use super::{LoggedIn, Provider, Who};
use crate::Error;
use crate::form::Form;
use crate::pages::{self, Reader};
use crate::portal::{self, LoginError};
use crate::service::Authority;
use crate::session::Visit;

/// Longest time between leaving for the provider and coming back.
const LOGIN_MS: i64 = 15 * 60_000;
/// The parameter of a login by somebody else than who is logged in: the provider too asks again who it is.
pub(crate) const OTHER: &str = "autre";

type Shared = State<Arc<Authority>>;

/// `GET /connexion`: the choice of a provider. Where a request waits and one provider alone will do, it is taken,
/// unless somebody is logged in already, who is told why that is not enough.
pub(crate) async fn choose(
    State(authority): Shared,
    reader: Reader,
    RawQuery(query): RawQuery,
) -> Result<Response, Error> {
    let mut form = Form::query(query.as_deref())?;
    let next = form.take("suite").map(next).transpose()?;
    let wanted = wanted(form.take("niveau"))?;
    let error = form.take("erreur").and_then(|code| error_of(&code));
    let other = form.has(OTHER);
    let (asker, company) = match &next {
        Some(next) => pages::demande::asker_of(&authority, &reader, next).await?.unzip(),
        None => (None, None),
    };
    let company = company.unwrap_or(false);
    let already = authority.already(&reader, wanted).filter(|_| !other && !company);
    let mut providers = authority.choices(
        next.as_deref(),
        wanted,
        other,
        error == Some(LoginError::Unavailable),
    );
    if company && let Wanted::Person(_) = wanted {
        // Whoever runs it answers by their own login, anybody else by a mandate.
        let runs = Wanted::Officer(OfficerAssurance::Certified);
        providers.extend(authority.choices(next.as_deref(), runs, other, false));
    }
    match providers.as_slice() {
        [] => return Err(Error::NoProvider),
        [only] if asker.is_some() && error.is_none() && already.is_none() && !other => {
            return Ok(pages::see_other(&only.href));
        }
        [_, ..] => {}
    }
    let page = portal::Login {
        providers,
        officer: matches!(wanted, Wanted::Officer(_)),
        asker,
        error,
        already,
    };
    pages::show(&authority, &reader, &page).await
}

/// The choice of a provider after an answer that belongs to no login of this browser.
async fn lost(authority: &Authority, reader: &Reader) -> Result<Response, Error> {
    let page = portal::Login {
        providers: authority.choices(None, Wanted::Person(Acr::Eidas1), false, false),
        officer: false,
        asker: None,
        error: Some(LoginError::Lost),
        already: None,
    };
    let mut response = pages::show(authority, reader, &page).await?;
    *response.status_mut() = Error::LoginState.status();
    Ok(response)
}

/// `GET /{provider}/connexion`: leaves for the provider.
pub(crate) async fn begin(
    State(authority): Shared,
    Path(name): Path<String>,
    reader: Reader,
    RawQuery(query): RawQuery,
) -> Result<Response, Error> {
    let mut form = Form::query(query.as_deref())?;
    let provider = authority.provider(&name).ok_or(Error::NotFound)?;
    let next = match form.take("suite") {
        Some(text) => next(text)?,
        None => home_of(provider).to_owned(),
    };
    let wanted = match form.take("niveau") {
        None => provider.config.least(),
        text => wanted(text)?,
    };
    let prompt = form.has(OTHER).then_some("login");
    let acr_values = provider.config.acr_values(wanted).ok_or(Error::NoProvider)?;
    let (state, nonce) = (draw(&authority), draw(&authority));
    let leaving = Leaving {
        redirect_uri: &redirect_uri(&authority, &name),
        acr_values: &acr_values,
        state: &state,
        nonce: &nonce,
        lang: reader.lang.code(),
        prompt,
        verifier: &authority.keys.pkce_verifier(&state),
    };
    let url = match provider.authorize_url(&leaving).await {
        Ok(url) => url,
        Err(error) => return Ok(back_to_choice(&error, &next, wanted)),
    };
    let visit = authority.begin_if_none(reader.visit).await?;
    let attempt = Attempt {
        session_hash: visit.hash,
        issuer: name,
        nonce,
        next,
        wanted: wanted.as_str().to_owned(),
        created_at: authority.clock.now(),
    };
    let mut tx = authority.db.begin().await?;
    attempt_insert(&mut tx, &Sha256::of(state.as_bytes()), &attempt).await?;
    tx.commit().await?;
    Ok(visit.set_cookie(pages::see_other(url.as_str())))
}

/// `GET /{provider}/retour`: comes back from the provider.
pub(crate) async fn come_back(
    State(authority): Shared,
    Path(name): Path<String>,
    reader: Reader,
    RawQuery(query): RawQuery,
) -> Result<Response, Error> {
    let form = Form::query(query.as_deref())?;
    let Some(visit) = &reader.visit else {
        return lost(&authority, &reader).await;
    };
    let answer = match answer(&authority, &name, visit, form).await {
        Err(Error::LoginState) => return lost(&authority, &reader).await,
        other => other?,
    };
    let done = enter(&authority, &name, visit, &answer).await;
    match done {
        Ok(after) => Ok(after.set_cookie(pages::see_other(&answer.attempt.next))),
        Err(error) => {
            let attempt = &answer.attempt;
            let error = authority
                .refused_login(&attempt.session_hash, &attempt.next, error)
                .await?;
            pages::log(&error);
            Ok(back_to_choice(&error, &answer.attempt.next, answer.wanted))
        }
    }
}

/// `GET /{provider}/jwks`: the keys that a provider encrypts to.
pub(crate) async fn keys(State(authority): Shared, Path(name): Path<String>) -> Result<Response, Error> {
    let provider = authority.provider(&name).ok_or(Error::NotFound)?;
    let keys = provider.published_keys().ok_or(Error::NotFound)?;
    Ok(([(CONTENT_TYPE, "application/jwk-set+json")], keys).into_response())
}

/// An answer that belongs to a login begun here.
struct Answer {
    attempt: Attempt,
    wanted: Wanted,
    state: String,
    /// `None` where the provider answered with an error, or with nothing.
    code: Option<String>,
}

/// The login that an answer belongs to, and its code. Whatever comes, a `state` counts once and only in the session
/// that it was drawn for.
async fn answer(authority: &Authority, name: &str, visit: &Visit, mut form: Form) -> Result<Answer, Error> {
    let state = form.take("state").ok_or(Error::LoginState)?;
    let mut tx = authority.db.begin().await?;
    let attempt = attempt_take(&mut tx, &Sha256::of(state.as_bytes())).await?;
    tx.commit().await?;
    let attempt = attempt.ok_or(Error::LoginState)?;
    let late = authority.clock.now().ms_since(attempt.created_at) > LOGIN_MS;
    let mine = attempt.session_hash == visit.hash && attempt.issuer == name && !late;
    let provider = authority.provider(name).ok_or(Error::NotFound)?;
    if !mine || !provider.answers_as(form.take("iss").as_deref()).await? {
        return Err(authority
            .refused_login(&attempt.session_hash, &attempt.next, Error::LoginState)
            .await?);
    }
    let code = match (form.take("error"), form.take("code")) {
        (None, Some(code)) if code.len() <= 4_096 => Some(code),
        (Some(_), _) | (None, _) => None,
    };
    Ok(Answer {
        wanted: attempt.wanted.parse().map_err(|_| Error::Stored)?,
        attempt,
        state,
        code,
    })
}

async fn enter(authority: &Authority, name: &str, visit: &Visit, answer: &Answer) -> Result<Visit, Error> {
    let provider = authority.provider(name).ok_or(Error::NotFound)?;
    let returning = Returning {
        code: answer.code.as_deref().ok_or(Error::LoginDeclined)?,
        redirect_uri: &redirect_uri(authority, name),
        nonce: &answer.attempt.nonce,
        verifier: &authority.keys.pkce_verifier(&answer.state),
    };
    let logged_in = provider.complete(&returning).await?;
    if !logged_in.who.suffices(answer.wanted) {
        if let (Who::Officer(officer), Wanted::Officer(OfficerAssurance::Certified)) =
            (&logged_in.who, answer.wanted)
        {
            // Asked for as one who runs the company, and no more than an officer of it: mandates rest on the former.
            authority
                .certified_no_more(&provider.config.issuer, &logged_in.sub, officer)
                .await?;
        }
        return Err(Error::AcrTooLow);
    }
    authority.enter(provider, Some(&visit.hash), logged_in).await
}

impl Authority {
    /// The providers that will do for `wanted`, each with where its login begins: those that assert the least that is
    /// enough, and all where one of those did not answer (`failed`). Where nobody asked for a page, those of officers too.
    fn choices(
        &self,
        next: Option<&str>,
        wanted: Wanted,
        other: bool,
        failed: bool,
    ) -> Vec<portal::Provider> {
        let enough = |config: &ProviderConfig| match wanted {
            Wanted::Person(least) => config
                .levels
                .values()
                .copied()
                .filter(|level| *level >= least)
                .min(),
            Wanted::Officer(_) => None,
        };
        let least = self.providers.iter().filter_map(|p| enough(&p.config)).min();
        let mut choices = Vec::new();
        for provider in &self.providers {
            let config = &provider.config;
            let wanted = match next {
                None if config.kind.is_professional() => config.least(),
                Some(_) | None => wanted,
            };
            let stronger = enough(config).is_some_and(|level| Some(level) > least);
            if config.acr_values(wanted).is_none() || stronger && !failed {
                continue;
            }
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            query
                .append_pair("suite", next.unwrap_or(home_of(provider)))
                .append_pair("niveau", wanted.as_str());
            if other {
                query.append_pair(OTHER, "1");
            }
            choices.push(portal::Provider {
                name: config.label.clone(),
                href: format!("/{}/connexion?{}", config.name, query.finish()),
                audience: config.kind.audience(),
            });
        }
        choices
    }

    /// Who is logged in, where that is not enough for `wanted`.
    fn already(&self, reader: &Reader, wanted: Wanted) -> Option<portal::Already> {
        let holder = reader.visit.as_ref()?.holder.as_ref()?;
        match (holder, wanted) {
            (Holder::Person(login), Wanted::Person(least)) if login.acr < least => {
                Some(portal::Already::LessSure {
                    provider: self.provider_label(&login.idp_iss),
                })
            }
            (Holder::Officer(_), Wanted::Person(_)) => Some(portal::Already::Officer),
            (Holder::Person(_), Wanted::Officer(_)) => Some(portal::Already::Person),
            (Holder::Person(_), Wanted::Person(_)) | (Holder::Officer(_), Wanted::Officer(_)) => None,
        }
    }

    /// Lets in whoever a provider has named: the directory too must entitle it to what it asserts (I10).
    pub(crate) async fn enter(
        &self,
        provider: &Provider,
        before: Option<&Sha256>,
        logged_in: LoggedIn,
    ) -> Result<Visit, Error> {
        let iss = &provider.config.issuer;
        let edition = self.published.edition();
        let LoggedIn {
            sub,
            auth_time,
            id_token,
            who,
        } = logged_in;
        let seal = |owner: &[u8]| {
            self.keys
                .seal(ID_TOKEN, owner, id_token.as_bytes(), &*self.random)
        };
        let holder = match who {
            Who::Person { acr, pivot } => {
                if !edition.directory.issuer_entitled(iss, acr) {
                    return Err(Error::AcrUnknown);
                }
                let (person, pivot_digest) = self.account(iss, &sub, &pivot).await?;
                Holder::Person(Login {
                    id_token: seal(person.as_bytes()),
                    person,
                    idp_iss: iss.clone(),
                    acr,
                    auth_time,
                    pivot_digest,
                })
            }
            Who::Officer(officer) => {
                let entitled = (edition.directory).issuer_entitled_to_officers(iss, officer.assurance);
                if !entitled {
                    return Err(Error::AcrUnknown);
                }
                let (uid, profile) = self.officer(iss, &sub, &officer).await?;
                Holder::Officer(OfficerLogin {
                    id_token: seal(uid.as_bytes()),
                    officer: uid,
                    idp_iss: iss.clone(),
                    siret: officer.siret,
                    assurance: officer.assurance,
                    auth_time,
                    profile,
                })
            }
        };
        self.log_in(before, holder).await
    }
}

/// `POST /deconnexion`: ends the session here, then at the provider, where the page leads that this answers.
pub(crate) async fn log_out(
    State(authority): Shared,
    mut reader: Reader,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Error> {
    let mut form = Form::parse(&body)?;
    let Some(visit) = reader.visit.take() else {
        return Ok(pages::see_other(portal::path::HOME));
    };
    authority.check_form_origin(&headers, &visit, &mut form)?;
    let cookie = authority.log_out(&visit).await?;
    let elsewhere = match &visit.holder {
        Some(holder) => end_session(&authority, holder).await,
        None => None,
    };
    let mut response = match elsewhere {
        Some(page) => {
            let refresh = HeaderValue::try_from(format!("0; url={}", page.end)).ok();
            let mut response = pages::show(&authority, &reader, &page).await?;
            if let Some(refresh) = refresh {
                response.headers_mut().insert(REFRESH, refresh);
            }
            response
        }
        None => pages::see_other(portal::path::HOME),
    };
    if let Some(cookie) = cookie {
        response.headers_mut().append(http::header::SET_COOKIE, cookie);
    }
    Ok(response)
}

async fn end_session(authority: &Authority, holder: &Holder) -> Option<portal::LoggedOut> {
    let provider = authority
        .providers
        .iter()
        .find(|p| p.config.issuer == holder.idp_iss())?;
    let id_token = match holder {
        Holder::Person(login) => authority
            .keys
            .open(ID_TOKEN, login.person.as_bytes(), &login.id_token),
        Holder::Officer(login) => authority
            .keys
            .open(ID_TOKEN, login.officer.as_bytes(), &login.id_token),
    }?;
    let id_token = std::str::from_utf8(&id_token).ok()?;
    let back = format!("{}/", authority.issuer);
    let url = provider
        .end_session_url(id_token, &draw(authority), &back)
        .await?;
    Some(portal::LoggedOut {
        provider: provider.config.label.clone(),
        end: url.into(),
    })
}

/// What an ID token is sealed for.
const ID_TOKEN: &str = "id_token";

/// 64 hexadecimal digits.
fn draw(authority: &Authority) -> String {
    Sha256::from_bytes(authority.random.bytes()).to_string()
}

fn redirect_uri(authority: &Authority, name: &str) -> String {
    format!("{}/{name}/retour", authority.issuer)
}

/// A page of ours to go on to: a path of plain characters, so that it leads nowhere else.
fn next(text: String) -> Result<String, Error> {
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'/' | b'-' | b'_' | b'.');
    let own =
        text.starts_with('/') && !text.starts_with("//") && text.len() <= 128 && text.bytes().all(plain);
    // What opens an invitation is kept nowhere in clear.
    let secret = text
        .strip_prefix(portal::path::INVITATION)
        .is_some_and(|rest| !rest.is_empty());
    match own && !secret {
        true => Ok(text),
        false => Err(Error::request("suite is not a page of this site")),
    }
}

/// Where whoever logs in there without having asked for a page goes on to: what people have, officers have not.
const fn home_of(provider: &Provider) -> &'static str {
    match provider.config.kind.is_professional() {
        true => portal::path::HOME,
        false => portal::path::GRANTS,
    }
}

fn wanted(text: Option<String>) -> Result<Wanted, Error> {
    match text {
        None => Ok(Wanted::Person(Acr::Eidas1)),
        Some(text) => text.parse().map_err(|_| Error::request("niveau is not a level")),
    }
}

fn back_to_choice(error: &Error, next: &str, wanted: Wanted) -> Response {
    let code = if matches!(error, Error::LoginDeclined) {
        "abandon"
    } else if matches!(error, Error::AcrUnknown | Error::AcrTooLow) {
        "niveau"
    } else {
        "indisponible"
    };
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("suite", next)
        .append_pair("niveau", wanted.as_str())
        .append_pair("erreur", code)
        .finish();
    pages::see_other(&format!("{}?{query}", portal::path::LOGIN))
}

fn error_of(code: &str) -> Option<LoginError> {
    match code {
        "abandon" => Some(LoginError::Cancelled),
        "niveau" => Some(LoginError::LevelTooLow),
        "indisponible" => Some(LoginError::Unavailable),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leads_to_another_site() {
        for text in [
            "//evil.example",
            "https://evil.example",
            "/\\evil.example",
            "/a?b=c",
            "/a#b",
            "a",
            "",
            "/é",
            "/a\r\nb",
            "/mandats/invitation/abc",
        ] {
            assert!(next(text.to_owned()).is_err(), "{text}");
        }
        assert!(next("/mandats/invitation".to_owned()).is_ok());
        assert_eq!(next("/demande/abc_-".to_owned()).unwrap(), "/demande/abc_-");
    }
}
