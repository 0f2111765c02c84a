use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use unefois_core::authorization::Need;
use unefois_core::{AuthorizationDetails, Micros};
use unefois_store::authority::grant::{Element, GrantRow};

use super::grants::address;
use super::words;
use crate::Error;
use crate::form::Form;
use crate::oauth::{details_of, stands};
use crate::pages::{self, Reader};
use crate::portal::{self, NarrowPart, NarrowUnit};
use crate::published::Edition;
use crate::service::Authority;

type Shared = State<Arc<Authority>>;

/// `GET /autorisations/{id}/limiter`: what may be left out.
pub(crate) async fn ask(
    State(authority): Shared,
    Path(id): Path<String>,
    reader: Reader,
) -> Result<Response, Error> {
    let row = authority.my_grant(&reader, &id).await?;
    let in_force = in_force(&row, authority.clock.now())?;
    let Some((_, _, first)) = in_force.iter().find(|(_, _, details)| is_optional(details)) else {
        return Ok(pages::see_other(&address(&row)));
    };
    let edition = authority.published.edition();
    let page = portal::Narrow {
        action: format!("{}/limiter", address(&row)),
        cancel: address(&row),
        asker: words::name(&edition, reader.lang, &row.grant.client),
        demarche: words::demarche(&edition, reader.lang, &first.demarche),
        dossier: first.dossier_ref.to_string(),
        parts: (in_force.iter())
            .map(|(n, _, details)| part(&edition, &reader, *n, details))
            .collect(),
    };
    pages::show(&authority, &reader, &page).await
}

/// `POST /autorisations/{id}/limiter`: leaves out what was unticked, all of it or nothing. A part that the form did not show stays as it is:
/// another tab may have narrowed it meanwhile.
pub(crate) async fn narrow(
    State(authority): Shared,
    Path(id): Path<String>,
    reader: Reader,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Error> {
    let mut posted = Form::parse(&body)?;
    authority.check_form_origin(&headers, reader.logged_in()?, &mut posted)?;
    let row = authority.my_grant(&reader, &id).await?;
    let mut narrowings = Vec::new();
    for (n, element, _) in in_force(&row, authority.clock.now())? {
        if posted.has(&shown(n)) {
            let kept = |unit: &_| posted.has(&words::field(n, unit));
            narrowings.extend(authority.narrowing(element, kept)?);
        }
    }
    authority.narrow(&row.grant.id, narrowings).await?;
    Ok(pages::see_other(&address(&row)))
}

/// Limiter, where something is optional and in force.
pub(super) fn address_of(row: &GrantRow, now: Micros) -> Result<Option<String>, Error> {
    let any = in_force(row, now)?
        .iter()
        .any(|(_, _, details)| is_optional(details));
    Ok(any.then(|| format!("{}/limiter", address(row))))
}

/// The elements in force, each with its place in the grant: places stay when others are narrowed.
fn in_force(row: &GrantRow, now: Micros) -> Result<Vec<(usize, &Element, AuthorizationDetails)>, Error> {
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

fn part(edition: &Edition, reader: &Reader, place: usize, details: &AuthorizationDetails) -> NarrowPart {
    let known = edition.catalogue.datatype(details.datatype());
    let unit = |asked: &unefois_core::authorization::UnitRequest| NarrowUnit {
        field: words::field(place, &asked.unit),
        label: words::unit(reader.lang, known, &asked.unit),
        required: asked.need == Need::Required,
    };
    NarrowPart {
        field: shown(place),
        source: words::name(edition, reader.lang, details.operator()),
        label: words::datatype(edition, reader.lang, details),
        units: details.units.iter().map(unit).collect(),
    }
}
