use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use unefois_core::authorization::ModeKind;
use unefois_core::{AuthorizationDetails, Capacity, Handle, LegalBasis, Micros, WithdrawnBy};
use unefois_store::authority::grant::{Element, GrantRow, grant_at_head, grant_list};
use unefois_store::authority::{GrantId, PersonUid};

use super::effect::{WAIT, Wanted};
use super::history::on_behalf;
use super::standing::{is_ended, state, withdrawal};
use super::{narrow, words};
use crate::Error;
use crate::form::Form;
use crate::history::{Collected, FoundBy};
use crate::oauth::{bytes_of, details_of, end_of, text_of};
use crate::pages::{self, Reader};
use crate::portal::{
    self, Act, Ender, ExchangeResult, GrantCard, GrantDetail, GrantPart, GrantState, Grants, Lang, OnBehalf,
    Withdraw, Withdrawn,
};
use crate::published::Edition;
use crate::service::Authority;

/// How far back a person sees (R.114-9-7 CRPA): 36 months.
pub(crate) const KEPT_MS: i64 = 36 * 30 * 24 * 3_600_000 + 16 * 24 * 3_600_000;

/// How long a consent stands before its person is reminded of it, and how long what was asked without them is told first.
const REMINDED_MS: i64 = 90 * 24 * 3_600_000;

/// The parameter that names one mandate.
pub(super) const MANDATE: &str = "mandat";

type Shared = State<Arc<Authority>>;

/// `GET /autorisations`: Mes autorisations.
///
/// With `?mandat` those alone that rest on this mandate.
pub(crate) async fn list(
    State(authority): Shared,
    reader: Reader,
    RawQuery(query): RawQuery,
) -> Result<Response, Error> {
    let owner = authority.owner(&reader).await?;
    let mandate = match Form::query(query.as_deref())?.take(MANDATE) {
        Some(text) => Some(bytes_of(&text).ok_or(Error::NotFound)?),
        None => None,
    };
    let now = authority.clock.now();
    let since = now.plus_ms(-KEPT_MS);
    let mut rows = grant_list(&authority.db, &owner, since).await?;
    rows.retain(|row| mandate.is_none() || row.mandate == mandate);
    let edition = authority.published.edition();
    let history = authority.history(&rows, since).await?;
    let mut page = Grants {
        by_mandate: mandate.is_some(),
        ..Grants::default()
    };
    for row in &rows {
        let details = details(row)?;
        let state = served(state(row, now), &history, row, &details, now);
        let first = details.first().ok_or(Error::Stored)?;
        let lately = now.ms_since(row.grant.granted_at) <= REMINDED_MS;
        let absent = matches!(row.grant.capacity, Capacity::Agent | Capacity::Automatic);
        page.unasked += usize::from(lately && absent);
        let card = GrantCard {
            asker: words::name(&edition, reader.lang, &row.grant.client),
            publisher: words::publisher(&edition, reader.lang, row.grant.act_client),
            demarche: words::demarche(&edition, reader.lang, &first.demarche),
            dossier: first.dossier_ref.to_string(),
            what: labels(&edition, &reader, &details),
            duration: words::duration(first, row.grant.ends_at),
            state,
            on_behalf: authority.asked_by(reader.lang, row).await?,
            exchanges: count(&history, row),
            href: address(row),
            stop: stop(row, state),
            reminder: !lately && state == GrantState::Current && first.legal_basis == LegalBasis::Consent,
        };
        match state {
            GrantState::Current => page.current.push(card),
            GrantState::Ended { .. } | GrantState::Withdrawn { by: Ender::Asker, .. } => {
                page.ended.push(card)
            }
            GrantState::Withdrawn {
                by: Ender::Person | Ender::Mandator | Ender::Mandate | Ender::Security | Ender::Unrecorded,
                ..
            } => page.stopped.push(card),
        }
    }
    pages::show(&authority, &reader, &page).await
}

/// `GET /autorisations/{id}`: Détail. It waits as [`withdrawn`] does.
pub(crate) async fn detail(
    State(authority): Shared,
    Path(id): Path<String>,
    reader: Reader,
    RawQuery(query): RawQuery,
) -> Result<Response, Error> {
    let row = authority.seen_grant(&reader, &id).await?;
    let within = authority.within(&row, query.as_deref())?;
    let row = authority.settled(&reader, &id, within, Wanted::Proof).await?;
    let owner = authority.owner(&reader).await?;
    let edition = authority.published.edition();
    let details = details(&row)?;
    let first = details.first().ok_or(Error::Stored)?;
    let (now, lang) = (authority.clock.now(), reader.lang);
    let rows = [row];
    let history = authority.history(&rows, rows[0].grant.granted_at).await?;
    let [row] = &rows;
    let state = served(state(row, now), &history, row, &details, now);
    let refresh = format!("{}?{WAIT}=oui", address(row));
    let page = GrantDetail {
        asker: words::organisation(&edition, lang, &row.grant.client),
        publisher: words::publisher(&edition, lang, row.grant.act_client),
        demarche: words::demarche(&edition, lang, &first.demarche),
        dossier: first.dossier_ref.to_string(),
        granted_at: row.grant.granted_at,
        on_behalf: authority.asked_by(lang, row).await?,
        state,
        parts: row
            .last()
            .map(|element| part(&edition, &reader, row, element))
            .collect::<Result<_, _>>()?,
        terms: words::terms(&edition, lang, &details, row.grant.ends_at),
        ground: words::ground(&edition, lang, &first.legal_basis, &first.demarche),
        dpo: words::dpo(&edition, &row.grant.client),
        exchanges: count(&history, row),
        history: history_of(row),
        // Whoever a mandate was given for stops what rests on it; it is its holder's to limit.
        narrow: match state {
            GrantState::Current if row.grant.person == owner => narrow::address_of(row, now)?,
            GrantState::Current | GrantState::Ended { .. } | GrantState::Withdrawn { .. } => None,
        },
        stop: stop(row, state),
        limited_at: withdrawal(row)
            .filter(|withdrawal| withdrawal.act == Act::Limit)
            .and_then(|withdrawal| withdrawal.effective_at),
        progress: authority
            .progress(row, lang, refresh.clone())
            .filter(portal::Progress::is_under_way)
            .map(|progress| portal::Progress {
                // Another address than this page's, so that the browser asks for it again.
                proof: Some(format!("{refresh}#preuve")),
                ..progress
            }),
        proof: authority
            .effect_proof(&edition, lang, row, format!("{refresh}#preuve"))
            .await?,
        receipt: format!("{}/recu.json", address(row)),
    };
    pages::show(&authority, &reader, &page).await
}

/// `GET /autorisations/{id}/arreter`: Retrait, the question.
pub(crate) async fn ask(
    State(authority): Shared,
    Path(id): Path<String>,
    reader: Reader,
) -> Result<Response, Error> {
    let row = authority.seen_grant(&reader, &id).await?;
    if stop(&row, state(&row, authority.clock.now())).is_none() {
        return Ok(pages::see_other(&address(&row)));
    }
    let edition = authority.published.edition();
    let details = details(&row)?;
    let first = details.first().ok_or(Error::Stored)?;
    let rows = [row];
    let history = authority.history(&rows, rows[0].grant.granted_at).await?;
    let [row] = &rows;
    let page = Withdraw {
        action: format!("{}/arreter", address(row)),
        cancel: address(row),
        asker: words::name(&edition, reader.lang, &row.grant.client),
        what: labels(&edition, &reader, &details),
        demarche: words::demarche(&edition, reader.lang, &first.demarche),
        dossier: first.dossier_ref.to_string(),
        nothing_sent: count(&history, row) == 0 && history.silent.is_empty() && history.incomplete.is_empty(),
        dpo: words::dpo(&edition, &row.grant.client),
    };
    pages::show(&authority, &reader, &page).await
}

/// `POST /autorisations/{id}/arreter`: records the withdrawal and announces it.
pub(crate) async fn withdraw(
    State(authority): Shared,
    Path(id): Path<String>,
    reader: Reader,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Error> {
    let mut posted = Form::parse(&body)?;
    authority.check_form_origin(&headers, reader.somebody()?, &mut posted)?;
    let row = authority.seen_grant(&reader, &id).await?;
    let by = match row.grant.person == authority.owner(&reader).await? {
        true => WithdrawnBy::Person,
        false => WithdrawnBy::Mandator,
    };
    authority.end_grant(&row.grant.id, by).await?;
    Ok(pages::see_other(&format!("{}/arretee", address(&row))))
}

/// `GET /autorisations/{id}/arretee`: recorded, with the bound, and effective only once that is proved.
///
/// The proof is mostly there within milliseconds, so the first answer waits for it, no longer than a person notices.
/// With `?attendre` the person asks to wait until the bound is over. No other administration is asked for anything: one
/// that is away would hold the page up.
pub(crate) async fn withdrawn(
    State(authority): Shared,
    Path(id): Path<String>,
    reader: Reader,
    RawQuery(query): RawQuery,
) -> Result<Response, Error> {
    let row = authority.seen_grant(&reader, &id).await?;
    if !is_ended(&row) {
        return Ok(pages::see_other(&address(&row)));
    }
    let within = authority.within(&row, query.as_deref())?;
    let row = authority.settled(&reader, &id, within, Wanted::Effective).await?;
    let refresh = format!("{}/arretee?{WAIT}=oui", address(&row));
    let Some(progress) = authority.progress(&row, reader.lang, refresh) else {
        return Ok(pages::see_other(&address(&row)));
    };
    let edition = authority.published.edition();
    let page = Withdrawn {
        asker: words::name(&edition, reader.lang, &row.grant.client),
        what: labels(&edition, &reader, &details(&row)?),
        progress,
        dpo: words::dpo(&edition, &row.grant.client),
        grant: address(&row),
        history: history_of(&row),
    };
    pages::show(&authority, &reader, &page).await
}

impl Authority {
    /// By whom, and for whom, a grant was asked for.
    async fn asked_by(&self, lang: Lang, row: &GrantRow) -> Result<OnBehalf, Error> {
        let subject = match row.grant.capacity {
            Capacity::Child | Capacity::Entity | Capacity::Helper => self.subject_of(&row.grant.id).await?,
            Capacity::SelfPerson | Capacity::Agent | Capacity::Automatic => None,
        };
        Ok(on_behalf(
            lang,
            row.grant.capacity,
            subject.as_ref(),
            row.grant.by.as_ref(),
        ))
    }

    /// A grant of the reader's own.
    pub(super) async fn my_grant(&self, reader: &Reader, id: &str) -> Result<GrantRow, Error> {
        let (row, owner) = self.read_grant(reader, id).await?;
        let own = row.grant.person == owner;
        own.then_some(row).ok_or(Error::NotFound)
    }

    /// A grant that the reader sees and may stop: their own, or one that somebody gave by a mandate for them.
    pub(super) async fn seen_grant(&self, reader: &Reader, id: &str) -> Result<GrantRow, Error> {
        let (row, owner) = self.read_grant(reader, id).await?;
        let seen = row.grant.person == owner
            || match &row.mandate {
                Some(mandate) => self.is_principal(mandate, &owner).await?,
                None => false,
            };
        seen.then_some(row).ok_or(Error::NotFound)
    }

    async fn read_grant(&self, reader: &Reader, id: &str) -> Result<(GrantRow, PersonUid), Error> {
        let owner = self.owner(reader).await?;
        let id = bytes_of(id).map(GrantId::from_bytes).ok_or(Error::NotFound)?;
        let (row, _) = grant_at_head(&self.db, &id).await?.ok_or(Error::NotFound)?;
        Ok((row, owner))
    }
}

fn details(row: &GrantRow) -> Result<Vec<AuthorizationDetails>, Error> {
    row.last().map(details_of).collect()
}

/// A grant in force has ended once each of its elements was for one fetch and both ends tell that the answer arrived, or
/// once the last end is over that the person chose.
///
/// The asker's word alone ends nothing: it would take « Arrêter » away.
fn served(
    state: GrantState,
    history: &Collected,
    row: &GrantRow,
    details: &[AuthorizationDetails],
    now: Micros,
) -> GrantState {
    let chosen = details.iter().map(|details| end_of(&row.grant, details)).max();
    let answered = |handle: &Handle| {
        let mut of_this = history
            .exchanges
            .iter()
            .filter(|e| e.found == FoundBy::Handle(*handle));
        of_this
            .find(|e| e.ended == ExchangeResult::Answered && !e.producer.is_empty())
            .map(|e| e.at)
    };
    let last: Option<Vec<Micros>> = row
        .last()
        .zip(details)
        .map(|(element, details)| match details.mode.kind {
            ModeKind::Once => answered(&element.handle),
            ModeKind::Standing => None,
        })
        .collect();
    match (state, last.and_then(|all| all.into_iter().max())) {
        (GrantState::Current, Some(at)) => GrantState::Ended { at },
        (GrantState::Current, None) => match chosen.filter(|end| *end <= now) {
            Some(at) => GrantState::Ended { at },
            None => GrantState::Current,
        },
        (state, _) => state,
    }
}

/// Mes autorisations, those alone that rest on one mandate.
pub(super) fn resting_on(mandate: &[u8; 16]) -> String {
    format!("{}?{MANDATE}={}", portal::path::GRANTS, text_of(mandate))
}

pub(super) fn address(row: &GrantRow) -> String {
    format!("{}/{}", portal::path::GRANTS, text_of(row.grant.id.as_bytes()))
}

fn history_of(row: &GrantRow) -> String {
    format!(
        "{}?autorisation={}",
        portal::path::HISTORY,
        text_of(row.grant.id.as_bytes())
    )
}

fn stop(row: &GrantRow, state: GrantState) -> Option<String> {
    (state == GrantState::Current).then(|| format!("{}/arreter", address(row)))
}

fn labels(edition: &Edition, reader: &Reader, details: &[AuthorizationDetails]) -> Vec<String> {
    details
        .iter()
        .map(|details| words::datatype(edition, reader.lang, details.datatype()))
        .collect()
}

fn part(edition: &Edition, reader: &Reader, row: &GrantRow, element: &Element) -> Result<GrantPart, Error> {
    let details = details_of(element)?;
    let known = edition.catalogue.datatype(details.datatype());
    let unit = |name| words::unit(reader.lang, known, name);
    let mut units: Vec<_> = details.units.iter().map(|asked| unit(&asked.unit)).collect();
    // What was left out later comes after what had not been granted.
    let (left_out, later) = element.left_out.split_at(row.granted(element).left_out.len());
    let mut taken_out: Vec<_> = later.iter().map(unit).collect();
    if element.withdrawn.is_some() && !is_ended(row) {
        taken_out.append(&mut units);
    }
    Ok(GrantPart {
        source: words::name(edition, reader.lang, details.operator()),
        label: words::datatype(edition, reader.lang, details.datatype()),
        units,
        left_out: left_out.iter().map(unit).collect(),
        taken_out,
    })
}

/// How many exchanges there were under a grant, as far as the administrations answered.
fn count(history: &Collected, row: &GrantRow) -> u32 {
    let of_this = |found| {
        let mut handles = row.elements.iter().map(|element| FoundBy::Handle(element.handle));
        handles.any(|handle| handle == found)
    };
    let n = history
        .exchanges
        .iter()
        .filter(|exchange| of_this(exchange.found))
        .count();
    u32::try_from(n).unwrap_or(u32::MAX)
}
