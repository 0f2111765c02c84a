mod asked;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use serde_json::{Value, json};
use unefois_core::catalogue::UnitSet;
use unefois_core::{Capacity, Micros, Month, ParticipantId};
use unefois_store::authority::grant::ByOfficer;

use self::view::{Line, View};
use super::mandates::{company, name_of};
use super::words;
use crate::Error;
use crate::history::{FoundBy, Proved};
use crate::pages::{self, Reader};
use crate::portal::{self, History, Lang, MonthCount, OnBehalf, OtherRow, ResultKind, paris};
use crate::service::Authority;
use crate::subject::{GrantSubject, Mandated};

/// Rows on one page.
const PAGE: usize = 100;

type Shared = State<Arc<Authority>>;

/// `GET /historique`.
pub(crate) async fn page(
    State(authority): Shared,
    reader: Reader,
    RawQuery(query): RawQuery,
) -> Result<Response, Error> {
    let view = View::of(&authority, &reader, query.as_deref()).await?;
    let selected = view.selected();
    let rows = selected.iter().take(PAGE).map(|line| view.row(line, reader.lang));
    let more = selected.len() > PAGE;
    let older = selected.get(PAGE - 1).filter(|_| more).map(|line| {
        let avant = line.exchange.at.get().to_string();
        format!(
            "{}?{}",
            portal::path::HISTORY,
            view.asked.query(&[("avant", &avant)])
        )
    });
    let others = view.others(reader.lang);
    let names = |ids: &[ParticipantId]| {
        let names = ids.iter().map(|id| words::name(&view.edition, reader.lang, id));
        names.collect()
    };
    let page = History {
        from: view.since,
        until: view.until,
        asked: view.collected.asked,
        silent: names(&view.collected.silent),
        incomplete: names(&view.collected.incomplete),
        near_incomplete: names(&view.collected.near_incomplete),
        shared: view.collected.shared,
        unread: view.collected.unread,
        erased: view.collected.erased,
        rows: rows.collect(),
        more_others: others.len() > PAGE,
        others: others.into_iter().take(PAGE).collect(),
        months: months(
            view.lines()
                .map(|line| (line.exchange.at, line.exchange.ended.kind())),
        ),
        filters: view.filters(reader.lang),
        csv: format!("/historique.csv?{}", view.asked.query(&[])),
        json: format!("/historique.json?{}", view.asked.query(&[])),
        older,
    };
    pages::show(&authority, &reader, &page).await
}

/// `GET /historique.csv`: the same rows.
pub(crate) async fn csv(
    State(authority): Shared,
    reader: Reader,
    RawQuery(query): RawQuery,
) -> Result<Response, Error> {
    let view = View::of(&authority, &reader, query.as_deref()).await?;
    let lang = reader.lang;
    let mut text = String::from(
        "\u{feff}date;demandeur;source;information;demarche;dossier;fondement;pour_qui;resultat\r\n",
    );
    for other in view.others(lang) {
        let [day, source, what, whose] = other.cells(lang);
        let cells = [day, "", source, what, "", "", "", whose, ""];
        text.push_str(&cells.map(csv_cell).join(";"));
        text.push_str("\r\n");
    }
    for line in view.selected() {
        let row = view.row(&line, lang);
        let cells = [
            row.at.to_rfc3339(),
            row.asker,
            row.source,
            row.what.join(", "),
            row.demarche,
            row.dossier.unwrap_or_default(),
            row.ground.basis.to_string(),
            row.on_behalf.words(lang),
            row.result.kind().words(lang).to_owned(),
        ];
        text.push_str(&cells.map(|cell| csv_cell(&cell)).join(";"));
        text.push_str("\r\n");
    }
    Ok(download(
        text.into_bytes(),
        "text/csv; charset=utf-8",
        "historique.csv",
    ))
}

/// `GET /historique.json`: the same rows, with each end's entry.
pub(crate) async fn json(
    State(authority): Shared,
    reader: Reader,
    RawQuery(query): RawQuery,
) -> Result<Response, Error> {
    let view = View::of(&authority, &reader, query.as_deref()).await?;
    let rows: Vec<Value> = view
        .selected()
        .iter()
        .map(|line| receipt_of(&view, line))
        .collect();
    let names = |ids: &[ParticipantId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    let body = json!({
        "from": view.since.to_rfc3339(),
        "until": view.until.to_rfc3339(),
        "asked": view.collected.asked,
        "silent": names(&view.collected.silent),
        "incomplete": names(&view.collected.incomplete),
        "others_incomplete": names(&view.collected.near_incomplete),
        "identity_shared": view.collected.shared,
        "identities_unread": view.collected.unread,
        "erased": view.collected.erased,
        "exchanges": rows,
        "others": view.others(reader.lang).iter().map(OtherRow::json).collect::<Vec<_>>(),
    });
    let mut response = Json(body).into_response();
    disposition(&mut response, "historique.json");
    Ok(response)
}

/// `GET /preuve/{exchange}`: the proof of the entry that tells most, as a C2SP tlog-proof that carries its leaf.
pub(crate) async fn proof(
    State(authority): Shared,
    Path(exchange): Path<String>,
    reader: Reader,
) -> Result<Response, Error> {
    let view = View::of(&authority, &reader, None).await?;
    let line = view.find(&exchange)?;
    let proved = line.exchange.last().ok_or(Error::NotFound)?;
    let receipt = proved.receipt.clone().with_extra(proved.bytes.clone());
    let receipt = receipt.map_err(|_| Error::Stored)?;
    Ok(download(
        receipt.to_string().into_bytes(),
        "text/plain; charset=utf-8",
        "echange.tlog-proof",
    ))
}

/// `GET /preuve/{exchange}/recu.json`: the exchange in JSON, with every entry of both ends and its proof.
pub(crate) async fn receipt(
    State(authority): Shared,
    Path(exchange): Path<String>,
    reader: Reader,
) -> Result<Response, Error> {
    let view = View::of(&authority, &reader, None).await?;
    let line = view.find(&exchange)?;
    let mut response = Json(receipt_of(&view, &line)).into_response();
    disposition(&mut response, "recu.json");
    Ok(response)
}

/// The capacities that are served; the others come with what they need to be named.
pub(super) fn on_behalf(
    lang: Lang,
    capacity: Capacity,
    subject: Option<&GrantSubject>,
    by: Option<&ByOfficer>,
) -> OnBehalf {
    match (capacity, subject) {
        (_, Some(GrantSubject::Entity { siren, mandate })) => by_mandate(company(lang, siren), mandate),
        (_, Some(GrantSubject::Helped { person, mandate })) => by_mandate(name_of(person), mandate),
        (_, Some(GrantSubject::Run { siren, office })) => OnBehalf::Entity {
            name: company(lang, siren),
            by: office.name.clone(),
        },
        (Capacity::SelfPerson, _) => OnBehalf::Yourself,
        (Capacity::Child, Some(GrantSubject::Child(child))) => OnBehalf::Child {
            given_name: child.given_names.first().cloned(),
        },
        (Capacity::Child, None) => OnBehalf::Child { given_name: None },
        (Capacity::Entity, _) => OnBehalf::AboutYou(Capacity::Entity),
        (Capacity::Helper, _) => OnBehalf::Helper,
        (Capacity::Agent, _) => OnBehalf::Agent {
            motive: by.map_or_else(String::new, |by| by.motive.clone()),
        },
        (Capacity::Automatic, _) => OnBehalf::Automatic,
    }
}

fn by_mandate(principal: String, mandate: &Mandated) -> OnBehalf {
    OnBehalf::ByMandate {
        principal,
        by: mandate.by.clone(),
        to: mandate.to.clone(),
    }
}

/// Counts by month in Paris, newest first.
fn months(rows: impl Iterator<Item = (Micros, ResultKind)>) -> Vec<MonthCount> {
    let mut counts: BTreeMap<Month, [u32; 5]> = BTreeMap::new();
    for (at, kind) in rows {
        let place = ResultKind::ALL
            .iter()
            .position(|k| *k == kind)
            .unwrap_or_default();
        counts.entry(paris::month_of(at)).or_default()[place] += 1;
    }
    counts
        .into_iter()
        .rev()
        .map(|(month, counts)| MonthCount { month, counts })
        .collect()
}

fn receipt_of(view: &View, line: &Line<'_>) -> Value {
    let entry = |proved: &Proved| {
        json!({
            "event": proved.entry.event.as_str(),
            "at": proved.entry.at.to_rfc3339(),
            "reason": proved.entry.reason.map(|reason| reason.as_str()),
            "log": proved.origin,
            "index": proved.receipt.index(),
            "entry": STANDARD.encode(&proved.bytes),
            "proof": proved.receipt.to_string(),
        })
    };
    let asked = line.granted.map(|(row, details)| (&row.grant, details));
    let units = match asked {
        Some((_, details)) => details.units.iter().map(|u| u.unit.to_string()).collect(),
        None => {
            let bits = line.exchange.last().map_or(0, |proved| proved.entry.units);
            let known = view.edition.catalogue.datatype(line.datatype);
            let named = known
                .into_iter()
                .flat_map(|d| d.sheets_of(UnitSet::from_bits(bits)));
            named.map(|unit| unit.name.to_string()).collect::<Vec<_>>()
        }
    };
    json!({
        "exchange_id": line.exchange.id.to_string(),
        "at": line.exchange.at.to_rfc3339(),
        "requester": line.requester.to_string(),
        "provider": line.provider.to_string(),
        "holder": line.exchange.last().and_then(|proved| proved.entry.holder.as_ref()).map(ToString::to_string),
        "datatype": line.datatype.to_string(),
        "units": units,
        "demarche": line.demarche.to_string(),
        "dossier_ref": asked.map(|(_, details)| details.dossier_ref.to_string()),
        "legal_basis": line.basis.to_string(),
        "capacity": line.capacity.as_str(),
        "mandate": view.subject(line).and_then(GrantSubject::mandate).map(|mandate| json!({
            "by": mandate.by, "to": mandate.to,
        })),
        "found_by": match line.exchange.found {
            FoundBy::Handle(_) => "grant",
            FoundBy::Subject | FoundBy::Beside | FoundBy::Near => "identity",
        },
        "subject_unbound": asked.and_then(|(grant, _)| grant.subject_unbound.clone()),
        "result": line.exchange.ended.kind().code(),
        "catalogue": view.edition.directory.catalogue_hash().to_string(),
        "producer": line.exchange.producer.iter().map(entry).collect::<Vec<_>>(),
        "consumer": line.exchange.consumer.iter().map(entry).collect::<Vec<_>>(),
    })
}

/// One cell: quoted, and never read as a formula by a spreadsheet.
fn csv_cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let guard = if formula { "'" } else { "" };
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

fn download(body: Vec<u8>, kind: &'static str, name: &'static str) -> Response {
    let mut response = body.into_response();
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    disposition(&mut response, name);
    response
}

pub(super) fn disposition(response: &mut Response, name: &'static str) {
    if let Ok(value) = HeaderValue::try_from(format!("attachment; filename=\"{name}\"")) {
        response.headers_mut().insert(CONTENT_DISPOSITION, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_never_a_formula() {
        assert_eq!(csv_cell("=1+1"), "\"'=1+1\"");
        assert_eq!(csv_cell("a \"b\"; c"), "\"a \"\"b\"\"; c\"");
    }
}
