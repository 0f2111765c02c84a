mod acting;
mod answer;
mod child;
mod office;
mod open;
mod subject;

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_SECURITY_POLICY;
use unefois_core::{LegalBasis, Micros, Siren};
use unefois_mesh::web;
use unefois_store::authority::session::Holder;

pub(super) use self::answer::Given;
use self::answer::behind;
use self::office::to_certified_login;
pub(super) use self::open::Open;
pub(crate) use self::open::asker_of;
use super::mandates::{company, name_of, principal};
use super::words;
use crate::Error;
use crate::form::Form;
use crate::login::OTHER;
use crate::mandate::Mandate;
use crate::oauth::{PushedRequest, ends_at};
use crate::pages::{self, Reader};
use crate::portal::{self, ChildForm, DemandeEnd, DemandeOutcome, FormError, field};
use crate::published::Edition;
use crate::service::Authority;
use crate::subject::{GrantSubject, Office};

type Shared = State<Arc<Authority>>;

/// For whom somebody answers, and by what.
enum Acting {
    /// By a mandate.
    Mandate(Box<Mandate>),
    /// For the company that they run.
    Office {
        /// The company.
        siren: Siren,
        /// Who runs it.
        office: Office,
    },
}

/// `GET /demande/{id}`: who asks what, from where, why, for how long; then the choice.
pub(crate) async fn show(
    State(authority): Shared,
    Path(id): Path<String>,
    reader: Reader,
) -> Result<Response, Error> {
    let Some(mut open) = authority.open_request(&reader, &id, false).await? else {
        return ended(&authority, &reader, DemandeOutcome::Expired, None).await;
    };
    let edition = authority.published.edition();
    if let Some(officer) = open.officer(&reader) {
        match authority.answers_for_company(&open, &edition, officer).await {
            Ok(_) => {}
            Err(Error::NotForOfficers) => return Ok(to_certified_login(&open)),
            Err(error) => return Err(authority.refused_reader(&open, &edition, error).await?),
        }
        authority.check_again(&open, &edition).await?;
        open.acting = match authority.office(&reader, &open, &edition, officer).await? {
            Ok(acting) => Some(acting),
            Err(page) => return Ok(page),
        };
        return form(
            &authority,
            &reader,
            &open,
            &edition,
            &Form::default(),
            None,
            Vec::new(),
        )
        .await;
    }
    let visit = match authority.decider(&reader, &open, &edition) {
        Ok(visit) => visit,
        Err(Error::NotLoggedIn | Error::AcrTooLow | Error::NotForOfficers) => {
            return Ok(to_login(&open, &edition, false));
        }
        Err(error) => return Err(authority.refused_reader(&open, &edition, error).await?),
    };
    authority.check_again(&open, &edition).await?;
    let login = visit.login()?;
    open.acting = match authority.acts_as(&reader, &open, &edition, login).await? {
        Ok(acting) => acting,
        Err(page) => return Ok(page),
    };
    let child = open.request.about_child().then(ChildForm::default);
    form(
        &authority,
        &reader,
        &open,
        &edition,
        &Form::default(),
        child,
        Vec::new(),
    )
    .await
}

/// `POST /demande/{id}`: the choice.
pub(crate) async fn decide(
    State(authority): Shared,
    Path(id): Path<String>,
    reader: Reader,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Error> {
    let visit = reader.somebody()?;
    let mut posted = Form::parse(&body)?;
    authority.check_form_origin(&headers, visit, &mut posted)?;
    let Some(mut open) = authority.open_request(&reader, &id, false).await? else {
        return ended(&authority, &reader, DemandeOutcome::Answered, None).await;
    };
    let edition = authority.published.edition();
    let officer = open.officer(&reader);
    let answering = match officer {
        Some(officer) => authority.answers_for_company(&open, &edition, officer).await,
        None => authority
            .decider(&reader, &open, &edition)
            .and_then(|visit| visit.login().map(behind)),
    };
    let mut behind = match answering {
        Ok(behind) => behind,
        Err(error) => return Err(authority.refused_reader(&open, &edition, error).await?),
    };
    let fetch = match posted.take(field::CHOICE).as_deref() {
        Some(field::FETCH) => true,
        Some(field::PROVIDE) => false,
        Some(_) | None => return Err(Error::request("the choice is missing")),
    };
    if fetch {
        // A grant of which no token can be minted would be given in vain.
        authority.revocation.recovered()?;
        authority.check_again(&open, &edition).await?;
    }
    // Nobody else declines either: a link may have gone to another person.
    open.acting = match officer {
        Some(officer) => match authority.office(&reader, &open, &edition, officer).await? {
            Ok(acting) => Some(acting),
            Err(page) => return Ok(page),
        },
        None => {
            match authority
                .acts_as(&reader, &open, &edition, visit.login()?)
                .await?
            {
                Ok(acting) => acting,
                Err(page) => return Ok(page),
            }
        }
    };
    behind.latest = open.latest();
    if !fetch {
        return authority.decline(&open, &edition, Some(behind.acr)).await;
    }
    let consent = open
        .request
        .elements
        .iter()
        .any(|e| e.legal_basis == LegalBasis::Consent);
    if consent && posted.take(field::CONSENT).is_none() {
        let child = open.request.about_child().then(|| child::typed(&posted));
        return form(
            &authority,
            &reader,
            &open,
            &edition,
            &posted,
            child,
            vec![FormError::Consent],
        )
        .await;
    }
    let subject = match open.request.about_child() {
        false => match &open.acting {
            Some(Acting::Mandate(mandate)) => {
                let person = authority.identity(&behind.person, &behind.pivot_digest).await?;
                Some(mandate.subject(name_of(&person)))
            }
            Some(Acting::Office { siren, office }) => Some(GrantSubject::Run {
                siren: *siren,
                office: office.clone(),
            }),
            None => None,
        },
        true => match authority
            .child(&reader, &open, &edition, visit.login()?, &posted)
            .await?
        {
            Ok(child) => Some(GrantSubject::Child(child)),
            Err(page) => return Ok(page),
        },
    };
    let child = open.request.about_child().then(ChildForm::default);
    let page = page(
        &authority,
        &reader,
        &open,
        &edition,
        &Form::default(),
        child,
        Vec::new(),
    )?;
    // Who acts for whom is kept in the subject, which is sealed: these words are in clear, for as long as the grant.
    let page = portal::Demande { acting: None, ..page };
    let given = Given {
        lang: reader.lang,
        words: authority.site.words(reader.lang, &page)?,
        subject,
    };
    let acr = behind.acr;
    match authority.grant(&open, &edition, behind, &posted, &given).await {
        // The mandate ended since it was looked for.
        Err(Error::Details { .. }) if matches!(open.acting, Some(Acting::Mandate(_))) => {
            authority.not_mandated(&reader, &open, &edition, acr).await
        }
        answered => answered,
    }
}

/// `POST /demande/{id}/autre`: « Ce n'est pas vous ? ». The login ends, the request stays open in a fresh session.
///
/// It leads to a page of ours: browsers would hold a redirect to the provider to this form's `form-action`.
pub(crate) async fn other_person(
    State(authority): Shared,
    Path(id): Path<String>,
    reader: Reader,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Error> {
    let visit = reader.somebody()?;
    let mut posted = Form::parse(&body)?;
    authority.check_form_origin(&headers, visit, &mut posted)?;
    let Some(open) = authority.open_request(&reader, &id, false).await? else {
        return ended(&authority, &reader, DemandeOutcome::Expired, None).await;
    };
    let edition = authority.published.edition();
    let after = authority.begin_after(&visit.hash).await?;
    Ok(after.set_cookie(to_login(&open, &edition, true)))
}

/// A `request_uri` that leads nowhere any more: it was answered or given back, or its time is over.
pub(crate) async fn no_more(authority: &Authority, reader: &Reader) -> Result<Response, Error> {
    let holder = reader.visit.as_ref().and_then(|visit| visit.holder.as_ref());
    let outcome = match holder {
        Some(Holder::Officer(_)) => DemandeOutcome::AgentExpired,
        Some(Holder::Person(_)) | None => DemandeOutcome::Expired,
    };
    let mut page = ended(authority, reader, outcome, None).await?;
    *page.status_mut() = Error::RequestUri.status();
    Ok(page)
}

async fn form(
    authority: &Authority,
    reader: &Reader,
    open: &Open,
    edition: &Edition,
    posted: &Form,
    child: Option<ChildForm>,
    errors: Vec<FormError>,
) -> Result<Response, Error> {
    let page = page(authority, reader, open, edition, posted, child, errors)?;
    let mut response = pages::show(authority, reader, &page).await?;
    leading_back(&mut response, &open.request)?;
    Ok(response)
}

/// The answer to a form leads to the asker's site, which the policy has to name.
pub(super) fn leading_back(response: &mut Response, request: &PushedRequest) -> Result<(), Error> {
    let back = request.back.as_ref().ok_or(Error::Stored)?;
    let target = url::Url::parse(&back.redirect_uri).map_err(|_| Error::Stored)?;
    let origin = target.origin().ascii_serialization();
    if let Some(policy) = web::content_security_policy(&origin) {
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    }
    Ok(())
}

fn page(
    authority: &Authority,
    reader: &Reader,
    open: &Open,
    edition: &Edition,
    posted: &Form,
    child: Option<ChildForm>,
    errors: Vec<FormError>,
) -> Result<portal::Demande, Error> {
    let request = &open.request;
    let first = request.elements.first().ok_or(Error::Stored)?;
    let end = ends_at(&request.elements, authority.clock.now());
    let end = open.latest().into_iter().fold(end, Micros::min);
    Ok(portal::Demande {
        action: open.address.clone(),
        other_person: format!("{}/autre", open.address),
        asker: words::organisation(edition, reader.lang, &request.client),
        publisher: words::publisher(edition, reader.lang, request.publisher),
        demarche: words::demarche(edition, reader.lang, &first.demarche),
        dossier: first.dossier_ref.to_string(),
        sources: words::sources(edition, reader.lang, &request.elements, &|field| {
            posted.has(field)
        }),
        terms: words::terms(edition, reader.lang, &request.elements, end),
        ground: words::ground(edition, reader.lang, &first.legal_basis, &first.demarche),
        dpo: words::dpo(edition, &request.client),
        acting: open.acting.as_ref().map(|acting| match acting {
            Acting::Mandate(mandate) => portal::Acting {
                principal: principal(reader.lang, &mandate.body.principal),
                mandate: Some((mandate.body.by.clone(), mandate.row.expires_at)),
            },
            Acting::Office { siren, .. } => portal::Acting {
                principal: company(reader.lang, siren),
                mandate: None,
            },
        }),
        child,
        errors,
    })
}

pub(super) async fn ended(
    authority: &Authority,
    reader: &Reader,
    outcome: DemandeOutcome,
    asker: Option<(String, String)>,
) -> Result<Response, Error> {
    let (asker, back) = asker.unzip();
    let page = DemandeEnd { asker, back, outcome };
    pages::show(authority, reader, &page).await
}

fn to_login(open: &Open, edition: &Edition, other: bool) -> Response {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query
        .append_pair("suite", &open.address)
        .append_pair("niveau", open.request.level(edition).as_str());
    if other {
        query.append_pair(OTHER, "1");
    }
    pages::see_other(&format!("{}?{}", portal::path::LOGIN, query.finish()))
}
