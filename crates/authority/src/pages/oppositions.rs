use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use unefois_core::{DemarcheId, LegalBasis, Micros, ParticipantId};
use unefois_jose::access_token;
use unefois_store::authority::PersonUid;
use unefois_store::authority::opposition::{Opposition, opposition_list};

use super::words;
use crate::Error;
use crate::form::Form;
use crate::oauth::{bytes_of, text_of};
use crate::opposition::{MONTHS, Scope, until};
use crate::pages::{self, Reader};
use crate::portal::{self, Done, Lang, Oppositions, SCOPE};
use crate::published::Edition;
use crate::service::Authority;

/// How long before its end an opposition may be prolonged.
const NEAR_MS: i64 = 92 * 24 * 3_600_000;
/// The parameter that says what was just done.
pub(crate) const DONE: &str = "fait";

type Shared = State<Arc<Authority>>;

/// `GET /oppositions`.
pub(crate) async fn list(
    State(authority): Shared,
    reader: Reader,
    RawQuery(query): RawQuery,
) -> Result<Response, Error> {
    let done = Form::query(query.as_deref())?.take(DONE);
    let done = done.and_then(|code| Done::ALL.into_iter().find(|done| done.code() == code));
    show(&authority, &reader, done, false).await
}

/// `POST /oppositions`: objects.
pub(crate) async fn oppose(
    State(authority): Shared,
    reader: Reader,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Error> {
    let (person, mut posted) = posted(&authority, &reader, &headers, &body)?;
    let Some(value) = posted.take(SCOPE) else {
        let mut page = show(&authority, &reader, None, true).await?;
        *page.status_mut() = StatusCode::BAD_REQUEST;
        return Ok(page);
    };
    let edition = authority.published.edition();
    let scope = scopes(&edition)
        .into_iter()
        .find(|scope| value_of(scope) == value);
    let scope = scope.ok_or(Error::request("portee is not one of the choices"))?;
    authority.oppose(person, scope).await?;
    Ok(done(Done::Opposed))
}

/// `POST /oppositions/{id}/prolonger`.
pub(crate) async fn renew(
    State(authority): Shared,
    Path(id): Path<String>,
    reader: Reader,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Error> {
    let (person, id) = mine(&authority, &reader, &id, &headers, &body)?;
    authority.renew_opposition(&person, &id).await?;
    Ok(done(Done::Renewed))
}

/// `POST /oppositions/{id}/lever`.
pub(crate) async fn lift(
    State(authority): Shared,
    Path(id): Path<String>,
    reader: Reader,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Error> {
    let (person, id) = mine(&authority, &reader, &id, &headers, &body)?;
    authority.lift_opposition(&person, &id).await?;
    Ok(done(Done::Lifted))
}

/// Who posts from a page of ours, and about which opposition.
fn mine(
    authority: &Authority,
    reader: &Reader,
    id: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(PersonUid, [u8; 16]), Error> {
    let (person, _) = posted(authority, reader, headers, body)?;
    Ok((person, bytes_of(id).ok_or(Error::NotFound)?))
}

/// A form of ours, and who posts it.
fn posted(
    authority: &Authority,
    reader: &Reader,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(PersonUid, Form), Error> {
    let visit = reader.logged_in()?;
    let mut posted = Form::parse(body)?;
    authority.check_form_origin(headers, visit, &mut posted)?;
    Ok((visit.login()?.person, posted))
}

fn done(done: Done) -> Response {
    pages::see_other(&format!("{}?{DONE}={}", portal::path::OPPOSITIONS, done.code()))
}

async fn show(
    authority: &Authority,
    reader: &Reader,
    done: Option<Done>,
    missing: bool,
) -> Result<Response, Error> {
    let login = reader.logged_in()?.login()?;
    let (now, lang) = (authority.clock.now(), reader.lang);
    let edition = authority.published.edition();
    let standing = opposition_list(&authority.db, &login.person, now).await?;
    let open = |scope: &Scope| !standing.iter().any(|one| covers(one, scope));
    let choices = scopes(&edition).into_iter().filter(open);
    let page = Oppositions {
        choices: choices
            .map(|scope| portal::Scope {
                value: value_of(&scope),
                asker: asker(&edition, lang, scope.client.as_ref()),
                demarche: demarche(&edition, lang, scope.demarche.as_ref()),
            })
            .collect(),
        standing: standing
            .iter()
            .map(|one| card(&edition, lang, one, now))
            .collect(),
        months: MONTHS,
        lapse_minutes: lapse_minutes(access_token::USABLE_S),
        until: Some(until(now)?),
        done,
        missing,
    };
    pages::show(authority, reader, &page).await
}

fn card(edition: &Edition, lang: Lang, one: &Opposition, now: Micros) -> portal::Standing {
    let address = format!("{}/{}", portal::path::OPPOSITIONS, text_of(&one.id));
    portal::Standing {
        asker: asker(edition, lang, one.client.as_ref()),
        demarche: demarche(edition, lang, one.demarche.as_ref()),
        since: one.since,
        ends_at: one.ends_at,
        renew: (one.ends_at.ms_since(now) < NEAR_MS).then(|| format!("{address}/prolonger")),
        lift: format!("{address}/lever"),
    }
}

fn asker(edition: &Edition, lang: Lang, id: Option<&ParticipantId>) -> Option<String> {
    id.map(|id| words::name(edition, lang, id))
}

fn demarche(edition: &Edition, lang: Lang, id: Option<&DemarcheId>) -> Option<String> {
    id.map(|id| words::demarche(edition, lang, id))
}

/// To what anybody may object: everything, then each body that a habilitation entitles to fetch without being asked, and
/// each of its démarches.
fn scopes(edition: &Edition) -> Vec<Scope> {
    let mut askers: BTreeMap<ParticipantId, Vec<DemarcheId>> = BTreeMap::new();
    let habilitations = &edition.directory.document().habilitations;
    for one in habilitations
        .iter()
        .map(|row| &row.habilitation)
        .filter(|h| h.legal_bases.contains(&LegalBasis::Proactive))
    {
        let demarches = askers.entry(one.consumer).or_default();
        if !demarches.contains(&one.demarche) {
            demarches.push(one.demarche.clone());
        }
    }
    let mut scopes = vec![Scope::default()];
    for (client, demarches) in askers {
        scopes.push(Scope {
            client: Some(client),
            demarche: None,
        });
        scopes.extend(demarches.into_iter().map(|demarche| Scope {
            client: Some(client),
            demarche: Some(demarche),
        }));
    }
    scopes
}

/// So many seconds in minutes, never shorter than they are.
const fn lapse_minutes(seconds: i64) -> i64 {
    (seconds + 59) / 60
}

/// Whether an opposition leaves nothing of `scope` to object to.
fn covers(one: &Opposition, scope: &Scope) -> bool {
    let wider = |have: bool, same: bool| !have || same;
    wider(one.client.is_some(), one.client == scope.client)
        && wider(one.demarche.is_some(), one.demarche == scope.demarche)
}

fn value_of(scope: &Scope) -> String {
    match (&scope.client, &scope.demarche) {
        (None, _) => "tout".to_owned(),
        (Some(client), None) => client.to_string(),
        (Some(client), Some(demarche)) => format!("{client} {demarche}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_objected_to_is_not_offered_again() {
        let body = |digits: &str| format!("urn:unefois:participant:{digits}").parse().ok();
        let (one, two): (Option<ParticipantId>, Option<ParticipantId>) =
            (body("21920023500014"), body("13000495500014"));
        let a: Option<DemarcheId> = "a".parse().ok();
        let opposed = |client, demarche| Opposition {
            id: [0; 16],
            person: PersonUid::from_bytes([0; 16]),
            client,
            demarche,
            since: Micros::new(0),
            ends_at: Micros::new(0),
        };
        let scope = |client, demarche| Scope { client, demarche };
        let all = [
            scope(None, None),
            scope(one, None),
            scope(one, a.clone()),
            scope(two, None),
        ];
        let left = |opposition: Opposition| -> Vec<bool> {
            all.iter().map(|scope| !covers(&opposition, scope)).collect()
        };
        assert!(one.is_some() && two.is_some() && a.is_some());
        assert_eq!(left(opposed(None, None)), [false; 4]);
        assert_eq!(left(opposed(one, None)), [true, false, false, true]);
        assert_eq!(left(opposed(one, a.clone())), [true, true, false, true]);
    }
}
