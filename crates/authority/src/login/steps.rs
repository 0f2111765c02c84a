use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use bytes::Bytes;
use http::header::REFRESH;
use http::{HeaderMap, HeaderValue};
use unefois_core::{Acr, Sha256};
use unefois_store::authority::session::{Attempt, Login, attempt_insert, attempt_take};

use super::{LoggedIn, Provider};
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
/// unless it is for somebody else to log in.
pub(crate) async fn choose(
    State(authority): Shared,
    reader: Reader,
    RawQuery(query): RawQuery,
) -> Result<Response, Error> {
    let mut form = Form::query(query.as_deref())?;
    let next = next(form.take("suite"))?;
    let level = level(form.take("niveau"))?;
    let error = form.take("erreur").and_then(|code| error_of(&code));
    let other = form.has(OTHER);
    let asker = pages::demande::asker_of(&authority, &reader, &next).await?;
    let providers = authority.choices(&next, level, other);
    match providers.as_slice() {
        [] => return Err(Error::NoProvider),
        [only] if asker.is_some() && error.is_none() && !other => return Ok(pages::see_other(&only.href)),
        [_, ..] => {}
    }
    let page = portal::Login {
        providers,
        asker,
        error,
    };
    pages::show(&authority, &reader, &page).await
}

/// The choice of a provider after an answer that belongs to no login of this browser.
async fn lost(authority: &Authority, reader: &Reader) -> Result<Response, Error> {
    let page = portal::Login {
        providers: authority.choices(portal::path::GRANTS, Acr::Eidas1, false),
        asker: None,
        error: Some(LoginError::Lost),
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
    let next = next(form.take("suite"))?;
    let level = level(form.take("niveau"))?;
    let prompt = form.has(OTHER).then_some("login");
    let provider = authority.provider(&name).ok_or(Error::NotFound)?;
    let acr = provider.acr_for(level).ok_or(Error::NoProvider)?;
    let (state, nonce) = (draw(&authority), draw(&authority));
    let url = provider
        .authorize_url(
            &redirect_uri(&authority, &name),
            acr,
            &state,
            &nonce,
            reader.lang.code(),
            prompt,
        )
        .await;
    let url = match url {
        Ok(url) => url,
        Err(error) => return Ok(back_to_choice(&error, &next, level)),
    };
    let visit = authority.begin_if_none(reader.visit).await?;
    let attempt = Attempt {
        session_hash: visit.hash,
        issuer: name,
        nonce,
        next,
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
    let (attempt, code) = match answer(&authority, &name, visit, form).await {
        Err(Error::LoginState) => return lost(&authority, &reader).await,
        other => other?,
    };
    let done = match code {
        Ok(code) => enter(&authority, &name, visit, &attempt, &code).await,
        Err(error) => Err(error),
    };
    match done {
        Ok(after) => Ok(after.set_cookie(pages::see_other(&attempt.next))),
        Err(error) => {
            pages::log(&error);
            Ok(back_to_choice(&error, &attempt.next, Acr::Eidas1))
        }
    }
}

/// The login that this answer belongs to, and its code. Whatever comes, a `state` counts once and only in the session
/// that it was drawn for.
async fn answer(
    authority: &Authority,
    name: &str,
    visit: &Visit,
    mut form: Form,
) -> Result<(Attempt, Result<String, Error>), Error> {
    let state = form.take("state").ok_or(Error::LoginState)?;
    let mut tx = authority.db.begin().await?;
    let attempt = attempt_take(&mut tx, &Sha256::of(state.as_bytes())).await?;
    tx.commit().await?;
    let attempt = attempt.ok_or(Error::LoginState)?;
    let late = authority.clock.now().ms_since(attempt.created_at) > LOGIN_MS;
    if attempt.session_hash != visit.hash || attempt.issuer != name || late {
        return Err(Error::LoginState);
    }
    let provider = authority.provider(name).ok_or(Error::NotFound)?;
    // RFC 9207, 2.4: where the answer names its issuer, it is the one that was asked.
    if form.take("iss").is_some_and(|iss| iss != provider.config.issuer) {
        return Err(Error::LoginState);
    }
    let code = match (form.take("error"), form.take("code")) {
        (None, Some(code)) if code.len() <= 4_096 => Ok(code),
        (Some(_), _) | (None, _) => Err(Error::LoginDeclined),
    };
    Ok((attempt, code))
}

async fn enter(
    authority: &Authority,
    name: &str,
    visit: &Visit,
    attempt: &Attempt,
    code: &str,
) -> Result<Visit, Error> {
    let provider = authority.provider(name).ok_or(Error::NotFound)?;
    let who = provider
        .complete(code, &redirect_uri(authority, name), &attempt.nonce)
        .await?;
    authority.enter(provider, Some(&visit.hash), who).await
}

impl Authority {
    /// The providers that assert at least `level`, each with where its login begins.
    fn choices(&self, next: &str, level: Acr, other: bool) -> Vec<portal::Provider> {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query
            .append_pair("suite", next)
            .append_pair("niveau", level.as_str());
        if other {
            query.append_pair(OTHER, "1");
        }
        let query = query.finish();
        let fit = self.providers.iter().filter(|p| p.acr_for(level).is_some());
        fit.map(|p| portal::Provider {
            name: p.config.label.clone(),
            href: format!("/{}/connexion?{query}", p.config.name),
            professional: !p.config.people,
        })
        .collect()
    }

    /// Lets in whoever a provider has named: the directory too must entitle it to the level that it asserts (I10).
    pub(crate) async fn enter(
        &self,
        provider: &Provider,
        before: Option<&Sha256>,
        who: LoggedIn,
    ) -> Result<Visit, Error> {
        let iss = &provider.config.issuer;
        if !self.published.edition().directory.issuer_entitled(iss, who.acr) {
            return Err(Error::AcrUnknown);
        }
        let (person, pivot_digest) = self.account(iss, provider.config.people, &who).await?;
        let sealed = self.keys.seal(
            "id_token",
            person.as_bytes(),
            who.id_token.as_bytes(),
            &*self.random,
        );
        let login = Login {
            person,
            idp_iss: iss.clone(),
            acr: who.acr,
            auth_time: who.auth_time,
            pivot_digest,
            id_token: sealed,
        };
        self.log_in(before, login).await
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
    let elsewhere = match &visit.login {
        Some(login) => end_session(&authority, login).await,
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

async fn end_session(authority: &Authority, login: &Login) -> Option<portal::LoggedOut> {
    let provider = authority
        .providers
        .iter()
        .find(|p| p.config.issuer == login.idp_iss)?;
    let id_token = authority
        .keys
        .open("id_token", login.person.as_bytes(), &login.id_token)?;
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

/// 64 hexadecimal digits.
fn draw(authority: &Authority) -> String {
    Sha256::from_bytes(authority.random.bytes()).to_string()
}

fn redirect_uri(authority: &Authority, name: &str) -> String {
    format!("{}/{name}/retour", authority.issuer)
}

/// A page of ours to go on to: a path of plain characters, so that it leads nowhere else.
fn next(text: Option<String>) -> Result<String, Error> {
    let text = text.unwrap_or_else(|| portal::path::GRANTS.to_owned());
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'/' | b'-' | b'_');
    let own =
        text.starts_with('/') && !text.starts_with("//") && text.len() <= 128 && text.bytes().all(plain);
    match own {
        true => Ok(text),
        false => Err(Error::request("suite is not a page of this site")),
    }
}

fn level(text: Option<String>) -> Result<Acr, Error> {
    match text {
        None => Ok(Acr::Eidas1),
        Some(text) => text.parse().map_err(|_| Error::request("niveau is not a level")),
    }
}

fn back_to_choice(error: &Error, next: &str, level: Acr) -> Response {
    let code = if matches!(error, Error::LoginDeclined) {
        "abandon"
    } else if matches!(error, Error::AcrUnknown | Error::AcrTooLow) {
        "niveau"
    } else {
        "indisponible"
    };
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("suite", next)
        .append_pair("niveau", level.as_str())
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
        ] {
            assert!(next(Some(text.to_owned())).is_err(), "{text}");
        }
        assert_eq!(next(Some("/demande/abc_-".to_owned())).unwrap(), "/demande/abc_-");
    }
}
