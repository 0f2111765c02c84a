use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::HeaderMap;
use http::header::SET_COOKIE;
use unefois_core::{
    Acr, DatatypeRev, DemarcheId, Micros, OfficerAssurance, Pivot, Sha256, Siren, SubjectKind,
};
use unefois_mesh::web;
use unefois_store::authority::PersonUid;
use unefois_store::authority::grant::{GrantRow, grant_list};
use unefois_store::authority::mandate::MandateRow;
use unefois_store::authority::session::Holder;

use super::grants::{KEPT_MS, resting_on};
use super::{standing, words};
use crate::Error;
use crate::form::Form;
use crate::mandate::{LONGEST_MS, Listed, MandateBody, NewMandate, Principal, Taker};
use crate::oauth::{bytes_of, text_of};
use crate::pages::{self, Reader};
use crate::portal::{
    self, Choice, GrantState, Lang, MandateCard, MandateError, MandateForm, MandateGrants, MandateInvitation,
    MandateState, MandateTaker, Mandates, paris,
};
use crate::published::Edition;
use crate::service::Authority;

/// The cookie that keeps what opens an invitation, after `__Host-`.
const INVITATION: &str = "invitation";
/// The field that says which invitation was read.
const SHOWN: &str = "lue";
/// Its length, 32 bytes in base64url.
const SECRET_LEN: usize = 43;

type Shared = State<Arc<Authority>>;

/// Who gives a mandate: for whom, and under which name.
struct Giver {
    id: [u8; 16],
    /// The account that it is given for.
    account: PersonUid,
    name: String,
    /// Which identity provider named them.
    idp_iss: String,
    principal: Principal,
}

/// On which side of a mandate the reader is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Given,
    Held,
}

/// `GET /mandats`.
pub(crate) async fn list(State(authority): Shared, reader: Reader) -> Result<Response, Error> {
    shown(&authority, &reader, None, None).await
}

/// `POST /mandats`: gives one.
pub(crate) async fn give(
    State(authority): Shared,
    reader: Reader,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Error> {
    let (_, posted) = authority.posted(&reader, &headers, &body)?;
    let giver = authority.giver(&reader).await?.ok_or(Error::NotFound)?;
    let edition = authority.published.edition();
    let now = authority.clock.now();
    let choices = authority.mandate_choices(&edition, reader.lang, &giver.principal);
    let perimeter: Vec<String> = (choices.iter().map(|(word, _)| word.clone()))
        .filter(|word| posted.has(&field(word)))
        .collect();
    let until = paris::day_begins(posted.text("fin")).and_then(paris::day_ends);
    let longest = paris::day_ends(now.plus_ms(LONGEST_MS)).ok_or(Error::Stored)?;
    let until = until.filter(|until| *until > now && *until <= longest);
    let (Some(expires_at), false) = (until, perimeter.is_empty()) else {
        let mut errors = Vec::new();
        if perimeter.is_empty() {
            errors.push(MandateError::Perimeter);
        }
        if until.is_none() {
            errors.push(MandateError::Until);
        }
        return shown(&authority, &reader, Some((&posted, errors)), None).await;
    };
    let demarches = match &giver.principal {
        Principal::Entity(_) => None,
        Principal::Person { .. } => Some(authority.demarches_of(&perimeter)),
    };
    let new = NewMandate {
        mandator: giver.id,
        principal: giver.account,
        body: MandateBody {
            principal: giver.principal,
            by: giver.name,
            idp_iss: giver.idp_iss,
            to: None,
            taker: None,
            perimeter,
            demarches,
        },
        expires_at,
    };
    let secret = authority.give_mandate(new).await?;
    let link = format!("{}/mandats/invitation/{secret}", authority.issuer);
    shown(&authority, &reader, None, Some(link)).await
}

/// `GET /mandats/invitation/{secret}`: keeps what opens the invitation in the browser alone, so that it goes through no
/// login, and goes on.
pub(crate) async fn invited(Path(secret): Path<String>) -> Result<Response, Error> {
    let cookie = (secret.len() == SECRET_LEN).then(|| web::session_cookie(INVITATION, &secret));
    let mut response = pages::see_other(portal::path::INVITATION);
    response
        .headers_mut()
        .append(SET_COOKIE, cookie.flatten().ok_or(Error::NotFound)?);
    Ok(response)
}

/// `GET /mandats/invitation`: what one is invited to; not by whom, which the giver's answer tells.
pub(crate) async fn invitation(
    State(authority): Shared,
    headers: HeaderMap,
    reader: Reader,
) -> Result<Response, Error> {
    // Whoever is not logged in as a person comes back here once they are.
    let login = reader.logged_in()?.login()?;
    let secret = secret(&headers)?;
    let mandate = authority.invited(secret).await?;
    let edition = authority.published.edition();
    let page = MandateInvitation {
        shown: shown_by(secret),
        company: matches!(mandate.body.principal, Principal::Entity(_)),
        own: mandate.row.principal == Some(login.person),
        perimeter: authority.perimeter(&edition, reader.lang, &mandate.body),
        until: mandate.row.expires_at,
    };
    pages::show(&authority, &reader, &page).await
}

/// `POST /mandats/invitation`: takes it up.
pub(crate) async fn take_up(
    State(authority): Shared,
    reader: Reader,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Error> {
    let (visit, mut form) = authority.posted(&reader, &headers, &body)?;
    let login = visit.login()?;
    let holder = visit.holder.as_ref().ok_or(Error::NotLoggedIn)?;
    authority.still_named(&authority.published.edition(), holder)?;
    let secret = secret(&headers)?;
    // Another link may have been followed meanwhile, in another tab: what is taken up is what was read.
    if form.take(SHOWN).is_none_or(|shown| shown != shown_by(secret)) {
        return Err(Error::NotFound);
    }
    let pivot = authority.identity(&login.person, &login.pivot_digest).await?;
    let taker = Taker {
        full_name: format!("{} {}", pivot.given_names.join(" "), pivot.family_name),
        birthdate: pivot.birthdate,
        acr: login.acr,
        idp_iss: login.idp_iss.clone(),
    };
    let who = (name_of(&pivot), taker);
    authority.take_mandate_up(secret, &login.person, who).await?;
    let mut response = pages::see_other(portal::path::MANDATES);
    if let Some(gone) = web::no_session_cookie(INVITATION) {
        response.headers_mut().append(SET_COOKIE, gone);
    }
    Ok(response)
}

/// `POST /mandats/{id}/accepter`: whoever answers for whom it was given accepts who took it up.
pub(crate) async fn accept(
    State(authority): Shared,
    Path(id): Path<String>,
    reader: Reader,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Error> {
    let (visit, _) = authority.posted(&reader, &headers, &body)?;
    let id = bytes_of(&id).ok_or(Error::NotFound)?;
    let side = authority.owner(&reader).await?;
    let holder = visit.holder.as_ref().ok_or(Error::NotLoggedIn)?;
    authority.accept_mandate(&id, &side, holder).await?;
    Ok(pages::see_other(portal::path::MANDATES))
}

/// `POST /mandats/{id}/fin`: either side ends it.
pub(crate) async fn end(
    State(authority): Shared,
    Path(id): Path<String>,
    reader: Reader,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Error> {
    authority.posted(&reader, &headers, &body)?;
    let id = bytes_of(&id).ok_or(Error::NotFound)?;
    let side = authority.owner(&reader).await?;
    authority.end_mandate(&id, &side).await?;
    Ok(pages::see_other(portal::path::MANDATES))
}

async fn shown(
    authority: &Authority,
    reader: &Reader,
    posted: Option<(&Form, Vec<MandateError>)>,
    invitation: Option<String>,
) -> Result<Response, Error> {
    let visit = reader.somebody()?;
    let holder = visit.holder.as_ref().ok_or(Error::NotLoggedIn)?;
    let held = match holder {
        Holder::Person(login) => authority.held_mandates(&login.person).await?,
        Holder::Officer(_) => Vec::new(),
    };
    // An officer who is not certified, or not any more, answers for no company.
    let (given, rows) = match authority.owner(reader).await {
        Ok(owner) => {
            let since = authority.clock.now().plus_ms(-KEPT_MS);
            let rows = grant_list(&authority.db, &owner, since).await?;
            (authority.given_mandates(&owner).await?, rows)
        }
        Err(Error::NotForOfficers) => (Vec::new(), Vec::new()),
        Err(error) => return Err(error),
    };
    let edition = authority.published.edition();
    let form = match authority.giver(reader).await? {
        None => None,
        Some(giver) => {
            let (posted, errors) = posted.unzip();
            Some(authority.form(&edition, reader.lang, &giver, posted, errors.unwrap_or_default()))
        }
    };
    let certified =
        matches!(holder, Holder::Officer(login) if login.assurance == OfficerAssurance::Certified);
    let professional = authority
        .providers
        .iter()
        .any(|p| p.config.kind.is_professional());
    let certify = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("suite", portal::path::MANDATES)
        .append_pair("niveau", OfficerAssurance::Certified.as_str())
        .finish();
    let mut page = Mandates {
        invitation,
        form,
        certify: (professional && !certified).then(|| format!("{}?{certify}", portal::path::LOGIN)),
        ..Mandates::default()
    };
    for mandate in &given {
        page.given.push(
            authority
                .card(&edition, reader.lang, mandate, Side::Given, &rows)
                .await?,
        );
    }
    for mandate in &held {
        page.held.push(
            authority
                .card(&edition, reader.lang, mandate, Side::Held, &rows)
                .await?,
        );
    }
    pages::show(authority, reader, &page).await
}

impl Authority {
    /// Who may give a mandate in this session: a person, for themselves; a certified officer, for the company.
    async fn giver(&self, reader: &Reader) -> Result<Option<Giver>, Error> {
        Ok(
            match reader.somebody()?.holder.as_ref().ok_or(Error::NotLoggedIn)? {
                Holder::Person(login) => {
                    let pivot = self.identity(&login.person, &login.pivot_digest).await?;
                    Some(Giver {
                        id: *login.person.as_bytes(),
                        account: login.person,
                        name: name_of(&pivot),
                        idp_iss: login.idp_iss.clone(),
                        principal: Principal::Person {
                            person: pivot,
                            acr: login.acr,
                        },
                    })
                }
                Holder::Officer(login) if self.runs(login).await? => Some(Giver {
                    id: *login.officer.as_bytes(),
                    account: self.company(&login.siret.siren()).await?.0,
                    name: self.profile(login)?.name(),
                    idp_iss: login.idp_iss.clone(),
                    principal: Principal::Entity(login.siret.siren()),
                }),
                Holder::Officer(_) => None,
            },
        )
    }

    /// For what a mandate may be given, each with its words.
    fn mandate_choices(&self, edition: &Edition, lang: Lang, of: &Principal) -> Vec<(String, String)> {
        match of {
            Principal::Entity(_) => {
                let about_company = |id: &DatatypeRev| {
                    let datatype = edition.catalogue.datatype(id);
                    datatype.is_some_and(|d| d.sheet().subject(SubjectKind::Entity).is_some())
                };
                let demarches = edition.catalogue.demarches();
                demarches
                    .filter(|demarche| demarche.data.iter().any(|datum| about_company(&datum.datatype)))
                    .map(|demarche| (demarche.id.to_string(), words::text(lang, &demarche.label)))
                    .collect()
            }
            Principal::Person { .. } => {
                let covering = self.perimeters.iter();
                covering
                    .filter(|(_, known)| !known.demarches.is_empty())
                    .map(|(word, known)| (word.clone(), words::text(lang, &known.label)))
                    .collect()
            }
        }
    }

    fn perimeter(&self, edition: &Edition, lang: Lang, body: &MandateBody) -> Vec<String> {
        let word = |word: &String| match &body.principal {
            Principal::Entity(_) => match word.parse::<DemarcheId>() {
                Ok(id) => words::demarche(edition, lang, &id),
                Err(_) => word.clone(),
            },
            Principal::Person { .. } => {
                let known = self.perimeters.get(word);
                known.map_or_else(|| word.clone(), |known| words::text(lang, &known.label))
            }
        };
        body.perimeter.iter().map(word).collect()
    }

    fn form(
        &self,
        edition: &Edition,
        lang: Lang,
        giver: &Giver,
        posted: Option<&Form>,
        errors: Vec<MandateError>,
    ) -> MandateForm {
        let now = self.clock.now();
        let choices = self.mandate_choices(edition, lang, &giver.principal).into_iter();
        MandateForm {
            principal: principal(lang, &giver.principal),
            company: matches!(giver.principal, Principal::Entity(_)),
            choices: choices
                .map(|(word, label)| Choice {
                    selected: posted.is_some_and(|posted| posted.has(&field(&word))),
                    value: field(&word),
                    label,
                })
                .collect(),
            until: posted.map_or_else(
                || paris::iso_day(now.plus_ms(LONGEST_MS / 2)),
                |posted| posted.text("fin").to_owned(),
            ),
            days: (paris::iso_day(now), paris::iso_day(now.plus_ms(LONGEST_MS))),
            errors,
        }
    }

    async fn card(
        &self,
        edition: &Edition,
        lang: Lang,
        listed: &Listed,
        side: Side,
        grants: &[GrantRow],
    ) -> Result<MandateCard, Error> {
        let now = self.clock.now();
        let mandate = match listed {
            Listed::Opened(mandate) => mandate,
            Listed::Sealed(row) => return Ok(sealed_card(lang, row, grants, now)),
        };
        let (row, body) = (&mandate.row, &mandate.body);
        let state = match state(row, now) {
            MandateState::Current if !self.mandate_is_supported(edition, mandate, now).await? => {
                MandateState::Unsupported
            }
            state => state,
        };
        let asks = matches!(state, MandateState::Asked { .. }) && side == Side::Given;
        let taker = body.taker.as_ref().filter(|_| asks).map(|taker| MandateTaker {
            name: taker.full_name.clone(),
            birthdate: taker.birthdate,
            provider: self.provider_label(&taker.idp_iss),
            surely: taker.acr > Acr::Eidas1,
        });
        // Whoever has the link alone knows neither for whom it is nor from whom.
        let known = side == Side::Given || row.accepted_at.is_some();
        Ok(MandateCard {
            granted: granted(row, grants, now),
            by: known.then(|| body.by.clone()),
            to: body.to.clone(),
            principal: match known {
                true => principal(lang, &body.principal),
                false => unknown(lang, &body.principal).to_owned(),
            },
            perimeter: self.perimeter(edition, lang, body),
            until: row.expires_at,
            state,
            accept: taker
                .is_some()
                .then(|| format!("/mandats/{}/accepter", text_of(&row.id))),
            taker,
            end: end_address(row, state),
        })
    }
}

/// Where a mandate stands, by its row: whoever gave it may be somebody who may not any more.
fn state(row: &MandateRow, now: Micros) -> MandateState {
    match (row.ended_at, row.accepted_at) {
        (Some(at), _) => MandateState::Ended { at },
        (None, _) if now >= row.expires_at => MandateState::Expired,
        (None, None) if now >= row.invited_until => MandateState::Expired,
        (None, None) => match row.holder {
            None => MandateState::Waiting {
                until: row.invited_until,
            },
            Some(_) => MandateState::Asked {
                until: row.invited_until,
            },
        },
        (None, Some(_)) if row.accepted_logged_at.is_none() => MandateState::Recording,
        (None, Some(_)) => MandateState::Current,
    }
}

/// Where either side ends a mandate, as long as it can be.
fn end_address(row: &MandateRow, state: MandateState) -> Option<String> {
    let ends = match state {
        MandateState::Waiting { .. }
        | MandateState::Asked { .. }
        | MandateState::Recording
        | MandateState::Current
        | MandateState::Unsupported
        | MandateState::Sealed { .. } => true,
        MandateState::Ended { .. } | MandateState::Expired => false,
    };
    ends.then(|| format!("/mandats/{}/fin", text_of(&row.id)))
}

/// What was granted by a mandate.
fn granted(row: &MandateRow, grants: &[GrantRow], now: Micros) -> Option<MandateGrants> {
    let resting: Vec<&GrantRow> = grants
        .iter()
        .filter(|grant| grant.mandate == Some(row.id))
        .collect();
    let current = resting
        .iter()
        .filter(|grant| standing::state(grant, now) == GrantState::Current);
    (!resting.is_empty()).then(|| MandateGrants {
        all: resting.len(),
        current: current.count(),
        href: resting_on(&row.id),
    })
}

/// A mandate that does not open: its number and its days, and either side ends it all the same.
fn sealed_card(lang: Lang, row: &MandateRow, grants: &[GrantRow], now: Micros) -> MandateCard {
    let state = match state(row, now) {
        over @ (MandateState::Ended { .. } | MandateState::Expired) => over,
        MandateState::Waiting { .. }
        | MandateState::Asked { .. }
        | MandateState::Recording
        | MandateState::Current
        | MandateState::Unsupported
        | MandateState::Sealed { .. } => MandateState::Sealed { since: row.issued_at },
    };
    MandateCard {
        by: None,
        to: None,
        taker: None,
        accept: None,
        principal: format!("{} {}", lang.t("mandat n°", "mandate no."), text_of(&row.id)),
        perimeter: Vec::new(),
        until: row.expires_at,
        granted: granted(row, grants, now),
        end: end_address(row, state),
        state,
    }
}

/// What opens the invitation, as the browser keeps it.
fn secret(headers: &HeaderMap) -> Result<&str, Error> {
    web::session(headers, INVITATION).ok_or(Error::NotFound)
}

/// Which invitation a page shows, without what opens it.
fn shown_by(secret: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::of(secret.as_bytes()).as_bytes())
}

/// For whom, as somebody is told who does not know.
const fn unknown(lang: Lang, of: &Principal) -> &'static str {
    match of {
        Principal::Entity(_) => lang.t("Une entreprise", "A company"),
        Principal::Person { .. } => lang.t("Une personne", "A person"),
    }
}

/// For whom, in words.
pub(crate) fn principal(lang: Lang, of: &Principal) -> String {
    match of {
        Principal::Entity(siren) => company(lang, siren),
        Principal::Person { person, .. } => name_of(person),
    }
}

/// A company, of which no register tells the name here.
pub(crate) fn company(lang: Lang, siren: &Siren) -> String {
    format!(
        "{} {}",
        lang.t("l’entreprise de SIREN", "the company of SIREN"),
        portal::siren(siren)
    )
}

/// First given name and birth name.
pub(crate) fn name_of(pivot: &Pivot) -> String {
    let given = pivot.given_names.first().map_or("", String::as_str);
    format!("{given} {}", pivot.family_name)
}

/// The name of a checkbox.
fn field(word: &str) -> String {
    format!("p.{word}")
}
