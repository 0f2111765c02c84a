mod acting;
mod child;
mod office;

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_SECURITY_POLICY;
use unefois_core::{
    Acr, AuthorizationDetails, Capacity, Event, Handle, LegalBasis, Reason, Sha256, Siren, UnitName, Way,
};
use unefois_mesh::web;
use unefois_store::Tx;
use unefois_store::authority::grant::{Code, code_insert, grant_insert};
use unefois_store::authority::notice::notice_insert;
use unefois_store::authority::request::{
    interaction_answer, interaction_close, interaction_find, subject_try,
};
use unefois_store::authority::session::{Holder, Login};

use self::office::to_certified_login;
use super::mandates::{company, name_of, principal};
use super::words;
use crate::Error;
use crate::form::Form;
use crate::journal::Fact;
use crate::login::OTHER;
use crate::mandate::Mandate;
use crate::oauth::{Behind, Binding, CODE_MS, Draft, PushedRequest, bytes_of, draw_secret, ends_at};
use crate::pages::{self, Reader};
use crate::portal::{self, ChildForm, DemandeEnd, DemandeOutcome, FormError, Lang, field};
use crate::published::Edition;
use crate::service::Authority;
use crate::session::Visit;
use crate::subject::{GrantSubject, Office};

/// How many identities may be tried for one dossier in a day.
const TRIES: i64 = 3;
const DAY_S: i64 = 86_400;

type Shared = State<Arc<Authority>>;

/// An open request in this browser's session.
pub(super) struct Open {
    pub(super) id: [u8; 16],
    pub(super) request: PushedRequest,
    /// How the reader's session names itself.
    address: String,
    /// For whom the reader answers, where that is not themselves.
    acting: Option<Acting>,
}

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

/// Why somebody may not answer.
struct Refusal {
    reason: Reason,
    acr: Acr,
    outcome: DemandeOutcome,
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
            Err(error) => return Err(error),
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
        Err(error) => return Err(error),
    };
    authority.check_again(&open, &edition).await?;
    let login = visit.login()?;
    if let Some(refused) = authority.not_the_subject(&reader, &open, &edition, login).await? {
        return Ok(refused);
    }
    open.acting = authority
        .mandate_for(&open, &edition, login)
        .await?
        .map(by_mandate);
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
    let behind = match officer {
        Some(officer) => authority.answers_for_company(&open, &edition, officer).await?,
        None => behind(authority.decider(&reader, &open, &edition)?.login()?),
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
            let login = visit.login()?;
            if let Some(refused) = authority.not_the_subject(&reader, &open, &edition, login).await? {
                return Ok(refused);
            }
            authority
                .mandate_for(&open, &edition, login)
                .await?
                .map(by_mandate)
        }
    };
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
            None if open.request.by_mandate() => return Err(Error::Stored),
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
    let given = Given {
        lang: reader.lang,
        words: authority.site.words(reader.lang, &page)?,
        subject,
    };
    authority.grant(&open, &edition, behind, &posted, &given).await
}

/// What was shown before the choice, and whom the person named.
pub(super) struct Given {
    lang: Lang,
    words: String,
    subject: Option<GrantSubject>,
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

/// Whose request waits behind an address of ours, to say so at the login, and whether it is about a company.
pub(crate) async fn asker_of(
    authority: &Authority,
    reader: &Reader,
    address: &str,
) -> Result<Option<(String, bool)>, Error> {
    let (id, by_officer) = match (address.strip_prefix("/demande/"), address.strip_prefix("/agent/")) {
        (Some(id), _) => (id, false),
        (None, Some(id)) => (id, true),
        (None, None) => return Ok(None),
    };
    let open = authority.open_request(reader, id, by_officer).await?;
    let edition = authority.published.edition();
    Ok(open.map(|Open { request, .. }| {
        let name = words::name(&edition, reader.lang, &request.client);
        (name, request.capacity == Capacity::Entity)
    }))
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

impl Authority {
    /// Checks that a request may still be put before a person, and records where it may not.
    pub(super) async fn check_again(&self, open: &Open, edition: &Edition) -> Result<(), Error> {
        let Err(error) = open.request.still_authorizable(edition, self.clock.now()) else {
            return Ok(());
        };
        if let Some(reason) = error.reason() {
            self.count_refusal(reason);
            let first = open.request.elements.first();
            self.journal
                .refused(reason, open.fact(edition, first, None))
                .await?;
        }
        Err(error)
    }

    pub(super) async fn open_request(
        &self,
        reader: &Reader,
        id: &str,
        by_officer: bool,
    ) -> Result<Option<Open>, Error> {
        let Some(id) = bytes_of(id) else {
            return Err(Error::NotFound);
        };
        let found = interaction_find(&self.db, &id, self.clock.now()).await?;
        let mine = found.filter(|i| {
            reader
                .visit
                .as_ref()
                .is_some_and(|visit| visit.hash == i.session_hash)
        });
        let request = mine.and_then(|interaction| PushedRequest::stored(&interaction.body));
        let request = request.filter(|request| (request.way == Way::Agent) == by_officer);
        Ok(request.map(|request| Open {
            id,
            request,
            address: format!("/demande/{}", crate::oauth::text_of(&id)),
            acting: None,
        }))
    }

    /// The session of somebody who may decide: logged in, at the level that the data need, by whom it may be asserted.
    fn decider<'a>(&self, reader: &'a Reader, open: &Open, edition: &Edition) -> Result<&'a Visit, Error> {
        let visit = reader.logged_in()?;
        let login = visit.login()?;
        if !edition.directory.issuer_entitled(&login.idp_iss, login.acr) {
            return Err(Error::AcrUnknown);
        }
        match login.acr >= open.request.level(edition) {
            true => Ok(visit),
            false => Err(Error::AcrTooLow),
        }
    }

    /// Counts an identity that was tried for the file, and says how many there were that day; `None` for the right one, as
    /// long as there were not too many: its try goes with the transaction, which is not to be committed then.
    ///
    /// It is counted before anything is told: several at once wait for each other here, and none sees an older count.
    async fn tried(&self, tx: &mut Tx, open: &Open, right: bool) -> Result<Option<i64>, Error> {
        let day = self.clock.now().secs().div_euclid(DAY_S);
        let tries = subject_try(tx, &open.request.dossier_hash(), day).await?;
        Ok((tries > TRIES || !right).then_some(tries))
    }

    /// The page that refuses whoever is not the person of the file; `None` for that person.
    ///
    /// A wrong identity counts once a login, and after three the file waits until the next day.
    async fn not_the_subject(
        &self,
        reader: &Reader,
        open: &Open,
        edition: &Edition,
        login: &Login,
    ) -> Result<Option<Response>, Error> {
        if open.request.by_mandate() {
            return self.not_mandated(reader, open, edition, login).await;
        }
        let check = match &open.request.binding {
            Binding::Check(check) => check,
            Binding::Unbound(_) => return Ok(None),
            Binding::Sealed(_) => return Err(Error::Stored),
        };
        let pivot = self.identity(&login.person, &login.pivot_digest).await?;
        let mut tx = self.db.begin().await?;
        let Some(tries) = self.tried(&mut tx, open, check.is(&pivot)).await? else {
            return Ok(None);
        };
        let refusal = Refusal {
            reason: Reason::SubjectMismatch,
            acr: login.acr,
            outcome: DemandeOutcome::Mismatch {
                tries_left: tries_left(tries),
            },
        };
        self.refuse_answer(tx, reader, open, edition, refusal)
            .await
            .map(Some)
    }

    /// Closes a request that somebody may not answer, records why, and shows them the way back.
    async fn refuse_answer(
        &self,
        mut tx: Tx,
        reader: &Reader,
        open: &Open,
        edition: &Edition,
        refusal: Refusal,
    ) -> Result<Response, Error> {
        interaction_close(&mut tx, &open.id).await?;
        tx.commit().await?;
        let fact = Fact {
            acr: Some(refusal.acr),
            capacity: Some(open.request.capacity),
            ..open.fact(edition, open.request.elements.first(), None)
        };
        self.count_refusal(refusal.reason);
        self.journal.refused(refusal.reason, fact).await?;
        let told = [
            ("error", "access_denied"),
            ("error_description", refusal.reason.as_str()),
        ];
        let back = open.request.back(&self.issuer, &told)?;
        let asker = words::name(edition, reader.lang, &open.request.client);
        ended(self, reader, refusal.outcome, Some((asker, back))).await
    }

    /// « Je fournirai la pièce moi-même »: the entries `declined`, then back to the asker. `acr` is of the person's login.
    pub(super) async fn decline(
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
    async fn grant(
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
            Some(draft) => self.answer(open, edition, &draft, Some(given)).await,
            None => self.decline(open, edition, Some(acr)).await,
        }
    }

    /// Answers a request with a grant, a handle each element; the entries `granted`; then back to the asker with a code.
    pub(super) async fn answer(
        &self,
        open: &Open,
        edition: &Edition,
        draft: &Draft,
        given: Option<&Given>,
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
        grant_insert(&mut tx, grant, &draft.elements).await?;
        if let Some(given) = given {
            notice_insert(&mut tx, &grant.id, given.lang.code(), &given.words).await?;
            if let Some(subject) = &given.subject {
                self.keep_subject(&mut tx, &grant.id, subject).await?;
            }
        }
        let hash = Sha256::of(secret.as_bytes());
        code_insert(&mut tx, &hash, &grant.id, &request.client, &code).await?;
        tx.commit().await?;

        self.record_granted(grant, &draft.granted, edition).await?;
        let back = request.back(&self.issuer, &[("code", &secret)])?;
        Ok(pages::see_other(&back))
    }
}

impl Open {
    pub(super) fn fact<'a>(
        &self,
        edition: &'a Edition,
        details: Option<&'a AuthorizationDetails>,
        handle: Option<Handle>,
    ) -> Fact<'a> {
        Fact {
            edition,
            client: Some(self.request.client),
            publisher: self.request.publisher,
            details,
            handle,
            capacity: None,
            acr: None,
        }
    }
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
    Ok(portal::Demande {
        action: open.address.clone(),
        other_person: format!("{}/autre", open.address),
        asker: words::organisation(edition, reader.lang, &request.client),
        publisher: request.publisher.map(|id| portal::Publisher {
            name: words::name(edition, reader.lang, &id),
        }),
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

/// How often another identity may still be tried for the file that day.
fn tries_left(tries: i64) -> u8 {
    u8::try_from((TRIES - tries).max(0)).unwrap_or(0)
}

/// A person's login, as what vouches for their grant.
fn behind(login: &Login) -> Behind {
    Behind {
        person: login.person,
        pivot_digest: login.pivot_digest,
        acr: login.acr,
        auth_time: login.auth_time,
        idp_iss: login.idp_iss.clone(),
        by: None,
    }
}

fn by_mandate(mandate: Mandate) -> Acting {
    Acting::Mandate(Box::new(mandate))
}
