use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use unefois_core::authorization::{ModeKind, Need, UnitRequest};
use unefois_core::{AuthorizationDetails, Micros};
use unefois_store::authority::grant::{Element, GrantRow};
use unefois_store::authority::narrow::Narrowing;

use super::grants::address;
use super::words;
use crate::Error;
use crate::form::Form;
use crate::oauth::{details_of, end_of, stands};
use crate::pages::{self, Reader};
use crate::portal::{self, EndError, Missed, NarrowEnd, NarrowPart, NarrowUnit, paris};
use crate::published::Edition;
use crate::service::Authority;

type Shared = State<Arc<Authority>>;

/// The field of the last day.
const END: &str = "fin";

/// `GET /autorisations/{id}/limiter`: what may be left out, and until when the rest may be fetched.
pub(crate) async fn ask(
    State(authority): Shared,
    Path(id): Path<String>,
    reader: Reader,
) -> Result<Response, Error> {
    form(&authority, &reader, &id, None).await
}

/// `POST /autorisations/{id}/limiter`: leaves out what was unticked, and ends the rest with the day chosen: all of it or
/// nothing. Another tab may have narrowed a part meanwhile: whoever asked for more than that is told, and shown the form
/// as it is now, since nobody may believe in a limit that is not set.
pub(crate) async fn narrow(
    State(authority): Shared,
    Path(id): Path<String>,
    reader: Reader,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Error> {
    let mut posted = Form::parse(&body)?;
    authority.check_form_origin(&headers, reader.somebody()?, &mut posted)?;
    let row = authority.my_grant(&reader, &id).await?;
    let now = authority.clock.now();
    let in_force = in_force(&row, now)?;
    let asked = end(&row, &in_force, now).zip(posted.take(END));
    let until = match asked {
        None => None,
        Some((end, value)) => match last_second(&value, now, end) {
            Ok(until) => Some(until),
            Err(_) if in_force.iter().any(|(n, ..)| !posted.has(&shown(*n))) => {
                return form(&authority, &reader, &id, Some(Missed::All)).await;
            }
            Err(error) => {
                let end = NarrowEnd {
                    now,
                    end,
                    value,
                    error: Some(error),
                };
                let ticked = |field: &str| posted.has(field);
                let page = page(&authority, &reader, &row, &in_force, Some(end), &ticked)?;
                return pages::show(&authority, &reader, &page).await;
            }
        },
    };
    let Some(narrowings) = narrowings_of(&authority, &row, &in_force, &posted, until)? else {
        return form(&authority, &reader, &id, Some(Missed::All)).await;
    };
    let asked = narrowings.len();
    let done = authority.narrow(&row.grant.id, narrowings).await?;
    if done < asked {
        // Others came first since the grant was read; what they did may be all that was asked for.
        let row = authority.my_grant(&reader, &id).await?;
        let in_force = self::in_force(&row, authority.clock.now())?;
        let left = narrowings_of(&authority, &row, &in_force, &posted, until)?;
        if left.is_none_or(|left| !left.is_empty()) {
            let missed = if done == 0 { Missed::All } else { Missed::Some };
            return form(&authority, &reader, &id, Some(missed)).await;
        }
    }
    Ok(pages::see_other(&address(&row)))
}

/// The form as the grant is now; the grant itself where nothing can be less.
async fn form(
    authority: &Arc<Authority>,
    reader: &Reader,
    id: &str,
    missed: Option<Missed>,
) -> Result<Response, Error> {
    let row = authority.my_grant(reader, id).await?;
    let now = authority.clock.now();
    let in_force = in_force(&row, now)?;
    if !may_be_less(&row, &in_force, now) {
        return Ok(pages::see_other(&address(&row)));
    }
    let end = end(&row, &in_force, now).map(|end| NarrowEnd {
        now,
        end,
        value: paris::iso_day(end),
        error: None,
    });
    let page = portal::Narrow {
        missed,
        ..page(authority, reader, &row, &in_force, end, &|_| true)?
    };
    pages::show(authority, reader, &page).await
}

/// What the posted form asks for; `None` where some of it concerns a part that the form did not show.
fn narrowings_of(
    authority: &Authority,
    row: &GrantRow,
    in_force: &[InForce<'_>],
    posted: &Form,
    until: Option<Micros>,
) -> Result<Option<Vec<Narrowing>>, Error> {
    let mut narrowings = Vec::new();
    for (n, element, _) in in_force {
        let Some(place) = place_shown(row, *n, posted) else {
            return Ok(None);
        };
        let kept = |unit: &_| posted.has(&words::field(place, unit));
        let narrowing = authority.narrowing(&row.grant, element, kept, until)?;
        if narrowing.is_some() && place != *n {
            return Ok(None);
        }
        narrowings.extend(narrowing);
    }
    Ok(Some(narrowings))
}

/// The place at which the form showed an element, or the one that it follows.
fn place_shown(row: &GrantRow, place: usize, posted: &Form) -> Option<usize> {
    let mut place = place;
    while !posted.has(&shown(place)) {
        let handle = row.elements.get(place)?.handle;
        let before = row.elements.get(..place)?;
        place = (before.iter()).position(|element| element.followed_by == Some(handle))?;
    }
    Some(place)
}

fn page(
    authority: &Authority,
    reader: &Reader,
    row: &GrantRow,
    in_force: &[InForce<'_>],
    end: Option<NarrowEnd>,
    ticked: &dyn Fn(&str) -> bool,
) -> Result<portal::Narrow, Error> {
    let edition = authority.published.edition();
    let (_, _, first) = in_force.first().ok_or(Error::Stored)?;
    Ok(portal::Narrow {
        action: format!("{}/limiter", address(row)),
        cancel: address(row),
        asker: words::name(&edition, reader.lang, &row.grant.client),
        demarche: words::demarche(&edition, reader.lang, &first.demarche),
        dossier: first.dossier_ref.to_string(),
        parts: (in_force.iter())
            .map(|(n, _, details)| part(&edition, reader, *n, details, ticked))
            .collect(),
        end,
        missed: None,
    })
}

/// The last second of the day that was chosen.
fn last_second(chosen: &str, now: Micros, end: Micros) -> Result<Micros, EndError> {
    let begins = paris::day_begins(chosen).ok_or(EndError::NotADay)?;
    let until = paris::day_ends(begins).ok_or(EndError::NotADay)?;
    match () {
        () if until <= now => Err(EndError::Past),
        () if begins > end => Err(EndError::Later),
        () => Ok(until),
    }
}

/// Limiter, where something in force is optional or could end earlier.
pub(super) fn address_of(row: &GrantRow, now: Micros) -> Result<Option<String>, Error> {
    let any = may_be_less(row, &in_force(row, now)?, now);
    Ok(any.then(|| format!("{}/limiter", address(row))))
}

fn may_be_less(row: &GrantRow, in_force: &[InForce<'_>], now: Micros) -> bool {
    let optional = in_force.iter().any(|(_, _, details)| is_optional(details));
    optional || end(row, in_force, now).is_some()
}

/// When the last of what is standing ends; `None` where that is today.
fn end(row: &GrantRow, in_force: &[InForce<'_>], now: Micros) -> Option<Micros> {
    let standing = in_force
        .iter()
        .filter(|(_, _, details)| details.mode.kind == ModeKind::Standing);
    let last = standing
        .map(|(_, _, details)| end_of(&row.grant, details))
        .max()?;
    (last > paris::day_ends(now)?).then_some(last)
}

/// An element in force, with its place in the grant.
type InForce<'a> = (usize, &'a Element, AuthorizationDetails);

/// The elements in force, each with its place in the grant: places stay when others are narrowed.
fn in_force(row: &GrantRow, now: Micros) -> Result<Vec<InForce<'_>>, Error> {
    let mut in_force = Vec::new();
    for (n, element) in row.elements.iter().enumerate() {
        let details = details_of(element)?;
        if stands(&row.grant, element, &details, now) {
            in_force.push((n, element, details));
        }
    }
    Ok(in_force)
}

fn is_optional(details: &AuthorizationDetails) -> bool {
    details.units.iter().any(|asked| asked.need == Need::Optional)
}

/// The field that says that the form showed a part.
fn shown(place: usize) -> String {
    format!("p{place}")
}

fn part(
    edition: &Edition,
    reader: &Reader,
    place: usize,
    details: &AuthorizationDetails,
    ticked: &dyn Fn(&str) -> bool,
) -> NarrowPart {
    let known = edition.catalogue.datatype(details.datatype());
    let unit = |asked: &UnitRequest| {
        let field = words::field(place, &asked.unit);
        NarrowUnit {
            ticked: ticked(&field),
            field,
            label: words::unit(reader.lang, known, &asked.unit),
            required: asked.need == Need::Required,
        }
    };
    NarrowPart {
        field: shown(place),
        source: words::name(edition, reader.lang, details.operator()),
        label: words::datatype(edition, reader.lang, details.datatype()),
        units: details.units.iter().map(unit).collect(),
    }
}
