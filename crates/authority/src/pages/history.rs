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
use unefois_core::authorization::UnitRequest;
use unefois_core::catalogue::UnitSet;
use unefois_core::{
    AuthorizationDetails, Capacity, DatatypeRev, DemarcheId, Handle, LegalBasis, Micros, Month, ParticipantId,
};
use unefois_store::authority::grant::{ByOfficer, GrantRow, grant_list};

use super::grants::KEPT_MS;
use super::mandates::{company, name_of};
use super::words;
use crate::Error;
use crate::form::Form;
use crate::history::{Collected, Exchange, FoundBy, Proved};
use crate::oauth::{details_of, text_of};
use crate::pages::{self, Reader};
use crate::portal::{
    self, Choice, Filters, History, HistoryRow, Lang, MonthCount, Named, OnBehalf, OtherKind, OtherRow,
    ResultKind, paris,
};
use crate::published::Edition;
use crate::service::Authority;
use crate::subject::{GrantSubject, Mandated, capacity_of};

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

/// What the query asks for.
#[derive(Default)]
struct Asked {
    from: String,
    to: String,
    administration: String,
    information: String,
    result: Option<ResultKind>,
    grant: Option<String>,
    before: Option<Micros>,
}

impl Asked {
    fn parse(query: Option<&str>) -> Result<Self, Error> {
        let mut form = Form::query(query)?;
        let mut take = |name| form.take(name).filter(|text| text.len() <= 128);
        Ok(Self {
            from: take("du").unwrap_or_default(),
            to: take("au").unwrap_or_default(),
            administration: take("administration").unwrap_or_default(),
            information: take("information").unwrap_or_default(),
            result: take("resultat").and_then(|code| ResultKind::from_code(&code)),
            grant: take("autorisation"),
            before: take("avant").and_then(|text| text.parse().ok()).map(Micros::new),
        })
    }

    /// The same question, with more.
    fn query(&self, more: &[(&str, &str)]) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in [
            ("du", self.from.as_str()),
            ("au", &self.to),
            ("administration", &self.administration),
            ("information", &self.information),
            ("resultat", self.result.map_or("", ResultKind::code)),
            ("autorisation", self.grant.as_deref().unwrap_or_default()),
        ] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        query.extend_pairs(more).finish()
    }

    /// First and last instant asked for; `None` where they are no dates or the wrong way round.
    fn period(&self) -> Option<(Option<Micros>, Option<Micros>)> {
        let from = day(&self.from)?;
        let to = day(&self.to)?.map(|start| start.plus_ms(24 * 3_600_000));
        match (from, to) {
            (Some(from), Some(to)) if to <= from => None,
            period => Some(period),
        }
    }
}

/// The start of a day in Paris; `Some(None)` for an empty text, `None` for what is no date.
fn day(text: &str) -> Option<Option<Micros>> {
    if text.is_empty() {
        return Some(None);
    }
    paris::day_begins(text).map(Some)
}

/// A person's grants and what both ends say under them.
struct View {
    edition: Arc<Edition>,
    asked: Asked,
    since: Micros,
    until: Micros,
    grants: Vec<GrantRow>,
    elements: BTreeMap<Handle, (usize, AuthorizationDetails)>,
    /// By grant, where it is not about the person.
    subjects: BTreeMap<[u8; 16], GrantSubject>,
    collected: Collected,
}

/// One exchange with what is told of it: what was granted, where the person granted it, or else what its entry says.
struct Line<'a> {
    exchange: &'a Exchange,
    granted: Option<(&'a GrantRow, &'a AuthorizationDetails)>,
    requester: ParticipantId,
    provider: ParticipantId,
    datatype: &'a DatatypeRev,
    demarche: &'a DemarcheId,
    basis: &'a LegalBasis,
    capacity: Capacity,
}

impl<'a> Line<'a> {
    fn of_grant(exchange: &'a Exchange, row: &'a GrantRow, details: &'a AuthorizationDetails) -> Self {
        Self {
            exchange,
            granted: Some((row, details)),
            requester: row.grant.client,
            provider: *details.operator(),
            datatype: details.datatype(),
            demarche: &details.demarche,
            basis: &details.legal_basis,
            capacity: capacity_of(row.grant.capacity, details.subject.kind),
        }
    }

    /// What an entry says of an exchange under somebody else's grant: neither the file nor who granted.
    fn of_entry(exchange: &'a Exchange) -> Option<Self> {
        let entry = &exchange.last()?.entry;
        Some(Self {
            exchange,
            granted: None,
            requester: entry.requester?,
            provider: entry.provider?,
            datatype: entry.datatype.as_ref()?,
            demarche: entry.demarche.as_ref()?,
            basis: entry.legal_basis.as_ref()?,
            capacity: entry.capacity?,
        })
    }

    /// Its name in addresses. Another log may give its own exchange the id of one of the person's.
    fn name(&self) -> String {
        match self.granted {
            Some(_) => self.exchange.id.to_string(),
            None => format!("{}-{}", self.exchange.id, self.provider.siret()),
        }
    }

    /// The units, in words.
    fn units(&self, edition: &Edition, lang: Lang) -> Vec<String> {
        let known = edition.catalogue.datatype(self.datatype);
        if let Some((_, details)) = self.granted {
            let name = |asked: &UnitRequest| words::unit(lang, known, &asked.unit);
            return details.units.iter().map(name).collect();
        }
        let bits = self.exchange.last().map_or(0, |proved| proved.entry.units);
        let named = known
            .into_iter()
            .flat_map(|d| d.sheets_of(UnitSet::from_bits(bits)));
        let mut units: Vec<String> = named.map(|unit| words::text(lang, &unit.label)).collect();
        // A refusal that came before the units were judged names none.
        if units.is_empty() {
            units.extend(known.map(|d| words::text(lang, &d.sheet().label)));
        }
        units
    }

    fn on_behalf(&self, lang: Lang, subject: Option<&GrantSubject>) -> OnBehalf {
        match self.exchange.found {
            FoundBy::Handle(_) => {
                let by = self.granted.and_then(|(row, _)| row.grant.by.as_ref());
                on_behalf(lang, self.capacity, subject, by)
            }
            FoundBy::Subject | FoundBy::Beside | FoundBy::Near => OnBehalf::AboutYou(self.capacity),
        }
    }
}

impl View {
    async fn of(authority: &Authority, reader: &Reader, query: Option<&str>) -> Result<Self, Error> {
        let owner = authority.owner(reader).await?;
        let asked = Asked::parse(query)?;
        let until = authority.clock.now();
        let since = until.plus_ms(-KEPT_MS);
        let grants = grant_list(&authority.db, &owner, since).await?;
        let collected = authority.whole_history(&owner, &grants, since).await?;
        let (mut elements, mut subjects) = (BTreeMap::new(), BTreeMap::new());
        for (n, row) in grants.iter().enumerate() {
            if row.grant.capacity != Capacity::SelfPerson
                && let Some(subject) = authority.subject_of(&row.grant.id).await?
            {
                subjects.insert(*row.grant.id.as_bytes(), subject);
            }
            for element in &row.elements {
                elements.insert(element.handle, (n, details_of(element)?));
            }
        }
        Ok(Self {
            edition: authority.published.edition(),
            asked,
            since,
            until,
            grants,
            elements,
            subjects,
            collected,
        })
    }

    /// Every exchange, newest first.
    fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        self.collected
            .exchanges
            .iter()
            .filter_map(|exchange| match exchange.found {
                FoundBy::Handle(handle) => {
                    let (n, details) = self.elements.get(&handle)?;
                    Some(Line::of_grant(exchange, self.grants.get(*n)?, details))
                }
                FoundBy::Subject => Line::of_entry(exchange),
                FoundBy::Beside | FoundBy::Near => None,
            })
    }

    /// Those of others that the filters on time and source let through; any other filter leaves none.
    fn others(&self, lang: Lang) -> Vec<OtherRow> {
        let asked = &self.asked;
        let (from, to) = asked.period().unwrap_or((None, None));
        if asked.result.is_some() || asked.grant.is_some() || !asked.information.is_empty() {
            return Vec::new();
        }
        let named = |id: String, words: String| Named { id, words };
        let row = |(kind, exchange, provider, datatype): (_, &Exchange, _, Option<&DatatypeRev>)| {
            let source = named(
                ParticipantId::to_string(&provider),
                words::name(&self.edition, lang, &provider),
            );
            let what = datatype.map(|rev| named(rev.to_string(), words::datatype(&self.edition, lang, rev)));
            OtherRow::new(kind, exchange.at, source, what)
        };
        let mut rows: Vec<OtherRow> = (self.of_others())
            .filter(|(_, exchange, provider, _)| {
                from.is_none_or(|from| exchange.at >= from)
                    && to.is_none_or(|to| exchange.at < to)
                    && (asked.administration.is_empty() || provider.to_string() == asked.administration)
            })
            .map(row)
            .collect();
        rows.sort();
        rows
    }

    /// The exchanges that are somebody else's, or may be, each with its source and the justificatif.
    fn of_others(&self) -> impl Iterator<Item = (OtherKind, &Exchange, ParticipantId, Option<&DatatypeRev>)> {
        self.collected.exchanges.iter().filter_map(|exchange| {
            let kind = match exchange.found {
                FoundBy::Handle(_) | FoundBy::Subject => return None,
                FoundBy::Beside => OtherKind::Household,
                FoundBy::Near => OtherKind::Near,
            };
            let entry = &exchange.last()?.entry;
            Some((kind, exchange, entry.provider?, entry.datatype.as_ref()))
        })
    }

    /// Those that the filters let through.
    fn selected(&self) -> Vec<Line<'_>> {
        let asked = &self.asked;
        let (from, to) = asked.period().unwrap_or((None, None));
        self.lines()
            .filter(|line| {
                let at = line.exchange.at;
                let parties = [line.requester, line.provider];
                from.is_none_or(|from| at >= from)
                    && to.is_none_or(|to| at < to)
                    && asked.before.is_none_or(|before| at < before)
                    && (asked.administration.is_empty()
                        || parties.iter().any(|id| id.to_string() == asked.administration))
                    && (asked.information.is_empty() || line.datatype.id().as_str() == asked.information)
                    && asked.result.is_none_or(|kind| line.exchange.ended.kind() == kind)
                    && asked.grant.as_ref().is_none_or(|id| {
                        line.granted
                            .is_some_and(|(row, _)| *id == text_of(row.grant.id.as_bytes()))
                    })
            })
            .collect()
    }

    fn find(&self, exchange: &str) -> Result<Line<'_>, Error> {
        self.lines()
            .find(|line| line.name() == exchange)
            .ok_or(Error::NotFound)
    }

    fn row(&self, line: &Line<'_>, lang: Lang) -> HistoryRow {
        let edition = &self.edition;
        let id = line.name();
        let known = edition.catalogue.datatype(line.datatype);
        HistoryRow {
            at: line.exchange.at,
            asker: words::name(edition, lang, &line.requester),
            source: words::name(edition, lang, &line.provider),
            holder: words::other_holder(edition, lang, known, line.exchange),
            what: line.units(edition, lang),
            demarche: words::demarche(edition, lang, line.demarche),
            dossier: line.granted.map(|(_, details)| details.dossier_ref.to_string()),
            ground: words::ground(edition, lang, line.basis, line.demarche),
            on_behalf: line.on_behalf(lang, self.subject(line)),
            result: line.exchange.ended,
            proof: Some(format!("/preuve/{id}")),
            receipt: Some(format!("/preuve/{id}/recu.json")),
            report: portal::path::HELP_UNKNOWN_EXCHANGE.to_owned(),
            correct: known.map(|datatype| datatype.sheet().contact.url.clone()),
            id,
        }
    }

    /// Whom the grant of a line is about, where that is not the person.
    fn subject(&self, line: &Line<'_>) -> Option<&GrantSubject> {
        let (row, _) = line.granted?;
        self.subjects.get(row.grant.id.as_bytes())
    }

    fn filters(&self, lang: Lang) -> Filters {
        let (mut administrations, mut information) = (BTreeMap::new(), BTreeMap::new());
        for line in self.lines() {
            for id in [line.requester, line.provider] {
                administrations.insert(id.to_string(), words::name(&self.edition, lang, &id));
            }
            let id = line.datatype.id().to_string();
            information.insert(id, words::datatype(&self.edition, lang, line.datatype));
        }
        for (_, _, id, _) in self.of_others() {
            administrations.insert(id.to_string(), words::name(&self.edition, lang, &id));
        }
        let choices = |all: BTreeMap<String, String>, chosen: &str| {
            let choice = |(value, label): (String, String)| Choice {
                selected: value == chosen,
                value,
                label,
            };
            all.into_iter().map(choice).collect()
        };
        Filters {
            from: self.asked.from.clone(),
            to: self.asked.to.clone(),
            administrations: choices(administrations, &self.asked.administration),
            information: choices(information, &self.asked.information),
            result: self.asked.result,
            grant: self.asked.grant.clone(),
            invalid_period: self.asked.period().is_none(),
        }
    }
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

    #[test]
    fn a_period_that_is_none_is_said_so() {
        for (from, to) in [
            ("2026-13-01", ""),
            ("x", ""),
            ("2026-11-24", "2026-11-23"),
            ("2026-11", ""),
        ] {
            let asked = Asked {
                from: from.to_owned(),
                to: to.to_owned(),
                ..Asked::default()
            };
            assert!(asked.period().is_none(), "{from} {to}");
        }
        let asked = Asked {
            from: "2026-11-24".to_owned(),
            to: "2026-11-24".to_owned(),
            ..Asked::default()
        };
        let (from, to) = asked.period().unwrap();
        assert_eq!(to.unwrap().ms_since(from.unwrap()), 24 * 3_600_000);
    }

    #[test]
    fn the_same_question_goes_on_without_what_is_empty() {
        let asked = Asked::parse(Some("du=2026-11-24&resultat=transmis&administration=&avant=5")).unwrap();
        assert_eq!(
            asked.query(&[("avant", "4")]),
            "du=2026-11-24&resultat=transmis&avant=4"
        );
        assert_eq!(asked.before, Some(Micros::new(5)));
    }
}
