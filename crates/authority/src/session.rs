use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};
use unefois_core::{Acr, Micros, Sha256};
use unefois_mesh::web;
use unefois_store::authority::request::interaction_move;
use unefois_store::authority::session as store;
use unefois_store::authority::session::{Holder, Login};

use crate::Error;
use crate::form::Form;
use crate::pages::Reader;
use crate::published::Edition;
use crate::service::Authority;

/// The session cookie's name, after `__Host-`.
const COOKIE: &str = "unefois";
/// Idle time after which a login at the lowest level ends.
const IDLE_LOW_MS: i64 = 30 * 60_000;
/// Idle time at the levels above.
const IDLE_HIGH_MS: i64 = 10 * 60_000;
/// The longest life of a session, however much it is used: a browser that was left open, or a cookie that was taken.
const LONGEST_MS: i64 = 12 * 3_600_000;
/// How often the last request of a session is written down.
const TOUCH_MS: i64 = 15_000;

/// A browser's session.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    /// SHA-256 of the cookie: how the database names it.
    pub(crate) hash: Sha256,
    /// Who is logged in.
    pub(crate) holder: Option<Holder>,
    /// The cookie to set, where the session was begun by this request.
    pub(crate) cookie: Option<HeaderValue>,
}

impl Visit {
    /// Sends the cookie of a session begun by this request.
    pub(crate) fn set_cookie(&self, mut response: Response) -> Response {
        if let Some(cookie) = &self.cookie {
            response.headers_mut().append(SET_COOKIE, cookie.clone());
        }
        response
    }

    /// The person who is logged in. What is a person's is never an officer's.
    pub(crate) fn login(&self) -> Result<&Login, Error> {
        match &self.holder {
            Some(Holder::Person(login)) => Ok(login),
            Some(Holder::Officer(_)) => Err(Error::NotForOfficers),
            None => Err(Error::NotLoggedIn),
        }
    }
}

/// How long a login of a person may idle.
pub(crate) const fn idle_ms(acr: Acr) -> i64 {
    match acr {
        Acr::Eidas1 => IDLE_LOW_MS,
        Acr::Eidas2 | Acr::Eidas3 => IDLE_HIGH_MS,
    }
}

const fn idle_of(holder: Option<&Holder>) -> i64 {
    match holder {
        None => IDLE_LOW_MS,
        Some(Holder::Person(login)) => idle_ms(login.acr),
        // They act on others, and at a counter.
        Some(Holder::Officer(_)) => IDLE_HIGH_MS,
    }
}

impl Authority {
    /// The session that the cookie opens; `None` without one, once it idled too long, or after [`LONGEST_MS`].
    pub(crate) async fn visit(&self, headers: &HeaderMap) -> Result<Option<Visit>, Error> {
        let Some(cookie) = web::session(headers, COOKIE) else {
            return Ok(None);
        };
        let hash = Sha256::of(cookie.as_bytes());
        let Some(session) = store::session_find(&self.db, &hash).await? else {
            return Ok(None);
        };
        let now = self.clock.now();
        let since = now.ms_since(session.seen_at);
        if since > idle_of(session.holder.as_ref()) || now.ms_since(session.created_at) > LONGEST_MS {
            let mut tx = self.db.begin().await?;
            store::session_delete(&mut tx, &hash).await?;
            tx.commit().await?;
            return Ok(None);
        }
        if since > TOUCH_MS {
            let mut tx = self.db.begin().await?;
            store::session_touch(&mut tx, &hash, now).await?;
            tx.commit().await?;
        }
        Ok(Some(Visit {
            hash,
            holder: session.holder,
            cookie: None,
        }))
    }

    /// The session, or a fresh one in which nobody is logged in.
    pub(crate) async fn begin_if_none(&self, visit: Option<Visit>) -> Result<Visit, Error> {
        match visit {
            Some(visit) => Ok(visit),
            None => self.begin_session(None, None, self.clock.now()).await,
        }
    }

    /// A fresh session in which nobody is logged in, with the open requests of the one before, which ends.
    pub(crate) async fn begin_after(&self, before: &Sha256) -> Result<Visit, Error> {
        self.begin_session(Some(before), None, self.clock.now()).await
    }

    /// Logs somebody in under a fresh cookie: what was known before the login opens nothing after it. The open
    /// requests of the session before go along.
    pub(crate) async fn log_in(&self, before: Option<&Sha256>, holder: Holder) -> Result<Visit, Error> {
        self.begin_session(before, Some(holder), self.clock.now()).await
    }

    async fn begin_session(
        &self,
        before: Option<&Sha256>,
        holder: Option<Holder>,
        now: Micros,
    ) -> Result<Visit, Error> {
        let id = URL_SAFE_NO_PAD.encode(self.random.bytes::<32>());
        let hash = Sha256::of(id.as_bytes());
        let mut tx = self.db.begin().await?;
        store::session_insert(&mut tx, &hash, holder.as_ref(), now).await?;
        if let Some(before) = before {
            interaction_move(&mut tx, before, &hash).await?;
            store::session_delete(&mut tx, before).await?;
        }
        tx.commit().await?;
        Ok(Visit {
            hash,
            holder,
            cookie: web::session_cookie(COOKIE, &id),
        })
    }

    /// Checks that the provider that named whoever is logged in may still say so: a session outlives the directory that it
    /// was begun under (I10).
    ///
    /// # Errors
    /// [`Error::AcrUnknown`].
    pub(crate) fn still_named(&self, edition: &Edition, holder: &Holder) -> Result<(), Error> {
        let directory = &edition.directory;
        let entitled = match holder {
            Holder::Person(login) => directory.issuer_entitled(&login.idp_iss, login.acr),
            Holder::Officer(login) => directory.issuer_entitled_to_officers(&login.idp_iss, login.assurance),
        };
        entitled.then_some(()).ok_or(Error::AcrUnknown)
    }

    /// Ends a session here; the cookie that takes it away.
    pub(crate) async fn log_out(&self, visit: &Visit) -> Result<Option<HeaderValue>, Error> {
        let mut tx = self.db.begin().await?;
        store::session_delete(&mut tx, &visit.hash).await?;
        tx.commit().await?;
        Ok(web::no_session_cookie(COOKIE))
    }

    /// Checks that a form was sent from a page of ours, in this very session.
    pub(crate) fn check_form_origin(
        &self,
        headers: &HeaderMap,
        visit: &Visit,
        form: &mut Form,
    ) -> Result<(), Error> {
        web::same_origin(headers, &self.origin).map_err(|_| Error::Csrf)?;
        let token = form.take("csrf").unwrap_or_default();
        match self.keys.forms.verify(visit.hash.as_bytes(), FORMS, &token) {
            true => Ok(()),
            false => Err(Error::Csrf),
        }
    }

    /// A form that somebody who is logged in sent from a page of ours, in this very session.
    pub(crate) fn posted<'a>(
        &self,
        reader: &'a Reader,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<(&'a Visit, Form), Error> {
        let visit = reader.somebody()?;
        let mut form = Form::parse(body)?;
        self.check_form_origin(headers, visit, &mut form)?;
        Ok((visit, form))
    }

    /// The token that forms of this session carry.
    pub(crate) fn form_token(&self, visit: &Visit) -> String {
        self.keys.forms.token(visit.hash.as_bytes(), FORMS)
    }
}

/// What the form token is for.
const FORMS: &str = "portal";
