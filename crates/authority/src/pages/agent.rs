//! An officer asks in the place of a person, who does not log in: at a counter, by telephone, for a file on paper.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use unefois_core::{Micros, OfficerAssurance, Pivot, SubjectForm, UnitName};
use unefois_store::authority::grant::ByOfficer;
use unefois_store::authority::session::{Holder, OfficerLogin};

use super::demande::{Given, Open, ended, leading_back};
use super::words;
use crate::Error;
use crate::form::Form;
use crate::oauth::{Behind, Binding, ON_FILE, ends_at, text_of};
use crate::pages::{self, Reader};
use crate::portal::{self, AgentDemande, DemandeOutcome, Lang, OnFile, field};
use crate::published::Edition;
use crate::service::Authority;

/// How long after an officer's login tokens may be minted under what they asked for: whoever has left since logs in no more.
const OFFICER_MS: i64 = 12 * 3_600_000;
/// How far a provider's clock may be ahead.
const AHEAD_MS: i64 = 10_000;

type Shared = State<Arc<Authority>>;

/// `GET /agent/{id}`: what will be fetched, about whom, why, and that the person will see it.
pub(crate) async fn show(
    State(authority): Shared,
    Path(id): Path<String>,
    reader: Reader,
) -> Result<Response, Error> {
    let Some(open) = authority.open_request(&reader, &id, true).await? else {
        return ended(&authority, &reader, DemandeOutcome::AgentExpired, None).await;
    };
    let Some(officer) = officer(&reader) else {
        return Ok(to_login(&open));
    };
    let edition = authority.published.edition();
    authority.may_ask(&open, officer, &edition).await?;
    let Binding::Sealed(subject_jwe) = &open.request.binding else {
        return Err(Error::Stored);
    };
    let pivot = authority.sealed_subject(subject_jwe)?;
    let page = authority.agent_page(&open, &edition, reader.lang, &pivot)?;
    let mut response = pages::show(&authority, &reader, &page).await?;
    leading_back(&mut response, &open.request)?;
    Ok(response)
}

/// `POST /agent/{id}`: fetch, or not.
pub(crate) async fn decide(
    State(authority): Shared,
    Path(id): Path<String>,
    reader: Reader,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Error> {
    let visit = reader.visit.as_ref().ok_or(Error::NotLoggedIn)?;
    let officer = officer(&reader).ok_or(Error::NotLoggedIn)?;
    let mut posted = Form::parse(&body)?;
    authority.check_form_origin(&headers, visit, &mut posted)?;
    let Some(open) = authority.open_request(&reader, &id, true).await? else {
        return ended(&authority, &reader, DemandeOutcome::AgentExpired, None).await;
    };
    let edition = authority.published.edition();
    authority.may_ask(&open, officer, &edition).await?;
    match posted.take(field::CHOICE).as_deref() {
        Some(field::FETCH) => {
            authority.revocation.recovered()?;
            authority
                .grant_by_officer(&open, officer, &edition, &posted, reader.lang)
                .await
        }
        Some(field::PROVIDE) => authority.decline(&open, &edition, None).await,
        Some(_) | None => Err(Error::request("the choice is missing")),
    }
}

/// The officer who is logged in; a person never asks in another's place.
fn officer(reader: &Reader) -> Option<&OfficerLogin> {
    match reader.visit.as_ref()?.holder.as_ref()? {
        Holder::Officer(login) => Some(login),
        Holder::Person(_) => None,
    }
}

fn address(open: &Open) -> String {
    format!("/agent/{}", text_of(&open.id))
}

fn to_login(open: &Open) -> Response {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("suite", &address(open))
        .append_pair("niveau", OfficerAssurance::Identified.as_str())
        .finish();
    pages::see_other(&format!("{}?{query}", portal::path::LOGIN))
}

impl Authority {
    /// Whether this officer may ask: of the body that asks, or of the publisher that the directory lets act for it, named by
    /// whoever is entitled to name officers, and lately.
    async fn may_ask(&self, open: &Open, officer: &OfficerLogin, edition: &Edition) -> Result<(), Error> {
        let request = &open.request;
        let own = |id: &unefois_core::ParticipantId| id.siren() == officer.siret.siren();
        let delegated =
            |id: &unefois_core::ParticipantId| own(id) && edition.directory.acts_for(id, &request.client);
        let of_the_asker = own(&request.client) || request.publisher.as_ref().is_some_and(delegated);
        let now = self.clock.now();
        let known = self.is_known(
            edition,
            &officer.idp_iss,
            officer.assurance,
            officer.auth_time,
            now,
        );
        if of_the_asker && known {
            return self.check_again(open, edition).await;
        }
        Err(self.refused_reader(open, edition, Error::OtherBody).await?)
    }

    /// Whether tokens may still be minted under what an officer asked for.
    pub(crate) fn still_officer(
        &self,
        edition: &Edition,
        by: &ByOfficer,
        auth_time: i64,
        now: Micros,
    ) -> Result<(), Error> {
        match self.is_known(edition, &by.idp_iss, by.assurance, auth_time, now) {
            true => Ok(()),
            false => Err(Error::OtherBody),
        }
    }

    fn is_known(
        &self,
        edition: &Edition,
        iss: &str,
        assurance: OfficerAssurance,
        auth_time: i64,
        now: Micros,
    ) -> bool {
        edition.directory.issuer_entitled_to_officers(iss, assurance)
            && (-AHEAD_MS..=OFFICER_MS).contains(&now.ms_since(Micros::from_secs(auth_time)))
    }

    fn agent_page(
        &self,
        open: &Open,
        edition: &Edition,
        lang: Lang,
        pivot: &Pivot,
    ) -> Result<AgentDemande, Error> {
        let request = &open.request;
        let first = request.elements.first().ok_or(Error::Stored)?;
        let end = ends_at(&request.elements, self.clock.now());
        Ok(AgentDemande {
            action: address(open),
            asker: words::organisation(edition, lang, &request.client),
            demarche: words::demarche(edition, lang, &first.demarche),
            dossier: first.dossier_ref.to_string(),
            about: Some(OnFile {
                name: format!("{} {}", pivot.given_names.join(" "), pivot.family_name),
                birthdate: portal::paris::birth_day(pivot.birthdate, lang),
            }),
            shared: matches!(pivot.subject_form(), SubjectForm::Shared(_)),
            motive: request.motive.clone().ok_or(Error::Stored)?,
            sources: words::sources(edition, lang, &request.elements, &|_| false),
            terms: words::terms(edition, lang, &request.elements, end),
            ground: words::ground(edition, lang, &first.legal_basis, &first.demarche),
        })
    }

    /// The grant is the person's, whoever asked: they see it as soon as they log in, and may stop it. Where namesakes may
    /// share the identity, no login leads to it. The words that the officer read are kept for its receipt, without those that name
    /// the person.
    async fn grant_by_officer(
        &self,
        open: &Open,
        officer: &OfficerLogin,
        edition: &Edition,
        posted: &Form,
        lang: Lang,
    ) -> Result<Response, Error> {
        let request = &open.request;
        let Binding::Sealed(subject_jwe) = &request.binding else {
            return Err(Error::Stored);
        };
        if request.level(edition) > ON_FILE {
            return Err(self.refused_reader(open, edition, Error::AcrTooLow).await?);
        }
        if !edition.directory.issuer_entitled(&self.issuer, ON_FILE) {
            return Err(self.refused_reader(open, edition, Error::AcrUnknown).await?);
        }
        let pivot = self.sealed_subject(subject_jwe)?;
        let (person, pivot_digest) = self.account_on_file(&pivot).await?;
        let behind = Behind {
            latest: None,
            person,
            pivot_digest,
            acr: ON_FILE,
            auth_time: officer.auth_time,
            idp_iss: self.issuer.clone(),
            by: Some(ByOfficer {
                motive: request.motive.clone().ok_or(Error::Stored)?,
                officer: officer.officer,
                idp_iss: officer.idp_iss.clone(),
                assurance: officer.assurance,
            }),
        };
        let ticks = |n: usize, unit: &UnitName| posted.has(&words::field(n, unit));
        match self.draft(request, &ticks, behind)? {
            Some(draft) => {
                let page = AgentDemande {
                    about: None,
                    ..self.agent_page(open, edition, lang, &pivot)?
                };
                let given = Given {
                    lang,
                    words: self.site.words(lang, &page)?,
                    subject: None,
                };
                self.answer(open, edition, &draft, &given).await
            }
            None => self.decline(open, edition, None).await,
        }
    }
}
