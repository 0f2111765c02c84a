//! The answer to a request: a grant of what is ticked, or none; then back to the asker.

use axum::response::Response;
use unefois_core::{Acr, Event, Sha256, UnitName};
use unefois_store::authority::grant::{Code, code_insert, grant_insert};
use unefois_store::authority::mandate::mandate_hold;
use unefois_store::authority::notice::notice_insert;
use unefois_store::authority::request::interaction_answer;
use unefois_store::authority::session::Login;

use super::Open;
use crate::Error;
use crate::form::Form;
use crate::journal::Fact;
use crate::mandate::mandate_over;
use crate::oauth::{Behind, Binding, CODE_MS, Draft, draw_secret};
use crate::pages::{self, words};
use crate::portal::Lang;
use crate::published::Edition;
use crate::service::Authority;
use crate::subject::GrantSubject;

/// What was shown before the choice, and whom the person named.
pub(in crate::pages) struct Given {
    pub(in crate::pages) lang: Lang,
    pub(in crate::pages) words: String,
    pub(in crate::pages) subject: Option<GrantSubject>,
}

impl Authority {
    /// « Je fournirai la pièce moi-même »: the entries `declined`, then back to the asker. `acr` is of the person's login.
    pub(in crate::pages) async fn decline(
        &self,
        open: &Open,
        edition: &Edition,
        acr: Option<Acr>,
    ) -> Result<Response, Error> {
        let mut tx = self.db.begin().await?;
        let first = interaction_answer(&mut tx, &open.id, self.clock.now()).await?;
        tx.commit().await?;
        if !first {
            return Err(Error::RequestUri);
        }
        for details in &open.request.elements {
            let fact = Fact {
                acr,
                capacity: Some(open.request.capacity),
                ..open.fact(edition, Some(details), None)
            };
            self.journal.write(Event::Declined, fact).await?;
        }
        let back = open.request.back(&self.issuer, &[("error", "access_denied")])?;
        Ok(pages::see_other(&back))
    }

    /// « Récupérer pour moi »: the grant of what is ticked, or what [`Self::decline`] does where nothing is.
    pub(super) async fn grant(
        &self,
        open: &Open,
        edition: &Edition,
        behind: Behind,
        posted: &Form,
        given: &Given,
    ) -> Result<Response, Error> {
        if matches!(open.request.binding, Binding::Sealed(_)) {
            return Err(Error::Stored);
        }
        let acr = behind.acr;
        let ticks = |n: usize, unit: &UnitName| posted.has(&words::field(n, unit));
        match self.draft(&open.request, &ticks, behind)? {
            Some(draft) => self.answer(open, edition, &draft, given).await,
            None => self.decline(open, edition, Some(acr)).await,
        }
    }

    /// Answers a request with a grant, a handle each element; the entries `granted`; then back to the asker with a code.
    pub(in crate::pages) async fn answer(
        &self,
        open: &Open,
        edition: &Edition,
        draft: &Draft,
        given: &Given,
    ) -> Result<Response, Error> {
        let (request, grant) = (&open.request, &draft.grant);
        let back = request.back.as_ref().ok_or(Error::Stored)?;
        let secret = draw_secret(&*self.random);
        let code = Code {
            redirect_uri: back.redirect_uri.clone(),
            challenge: back.challenge()?,
            expires_at: grant.granted_at.plus_ms(CODE_MS),
        };
        let mut tx = self.db.begin().await?;
        // One answer counts: whoever closes the request writes the grant.
        if !interaction_answer(&mut tx, &open.id, grant.granted_at).await? {
            return Err(Error::RequestUri);
        }
        if let Some(mandate) = given.subject.as_ref().and_then(GrantSubject::mandate) {
            // One that ends at this moment withdraws the grant, or comes first and there is none.
            let held = mandate_hold(&mut tx, &mandate.id, grant.granted_at).await?;
            held.then_some(()).ok_or_else(mandate_over)?;
        }
        grant_insert(&mut tx, grant, &draft.elements).await?;
        notice_insert(&mut tx, &grant.id, given.lang.code(), &given.words).await?;
        if let Some(subject) = &given.subject {
            self.keep_subject(&mut tx, &grant.id, subject).await?;
        }
        let hash = Sha256::of(secret.as_bytes());
        code_insert(&mut tx, &hash, &grant.id, &request.client, &code).await?;
        tx.commit().await?;

        self.record_granted(grant, &draft.granted, edition).await?;
        let back = request.back(&self.issuer, &[("code", &secret)])?;
        Ok(pages::see_other(&back))
    }
}

/// A person's login, as what vouches for their grant.
pub(super) fn behind(login: &Login) -> Behind {
    Behind {
        latest: None,
        person: login.person,
        pivot_digest: login.pivot_digest,
        acr: login.acr,
        auth_time: login.auth_time,
        idp_iss: login.idp_iss.clone(),
        by: None,
    }
}
