use std::collections::BTreeMap;
use std::sync::Arc;

use unefois_core::authorization::UnitRequest;
use unefois_core::catalogue::UnitSet;
use unefois_core::{
    AuthorizationDetails, Capacity, DatatypeRev, DemarcheId, Handle, LegalBasis, Micros, ParticipantId,
};
use unefois_store::authority::grant::{GrantRow, grant_list};

use super::asked::Asked;
use super::on_behalf;
use crate::Error;
use crate::history::{Collected, Exchange, FoundBy};
use crate::oauth::{details_of, text_of};
use crate::pages::grants::KEPT_MS;
use crate::pages::{Reader, words};
use crate::portal::{self, Choice, Filters, HistoryRow, Lang, Named, OnBehalf, OtherKind, OtherRow};
use crate::published::Edition;
use crate::service::Authority;
use crate::subject::{GrantSubject, capacity_of};

/// A person's grants and what both ends say under them.
pub(super) struct View {
    pub(super) edition: Arc<Edition>,
    pub(super) asked: Asked,
    pub(super) since: Micros,
    pub(super) until: Micros,
    pub(super) grants: Vec<GrantRow>,
    pub(super) elements: BTreeMap<Handle, (usize, AuthorizationDetails)>,
    /// By grant, where it is not about the person.
    pub(super) subjects: BTreeMap<[u8; 16], GrantSubject>,
    pub(super) collected: Collected,
}

/// One exchange with what is told of it: what was granted, where the person granted it, or else what its entry says.
pub(super) struct Line<'a> {
    pub(super) exchange: &'a Exchange,
    pub(super) granted: Option<(&'a GrantRow, &'a AuthorizationDetails)>,
    pub(super) requester: ParticipantId,
    pub(super) provider: ParticipantId,
    pub(super) datatype: &'a DatatypeRev,
    pub(super) demarche: &'a DemarcheId,
    pub(super) basis: &'a LegalBasis,
    pub(super) capacity: Capacity,
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
    pub(super) async fn of(
        authority: &Authority,
        reader: &Reader,
        query: Option<&str>,
    ) -> Result<Self, Error> {
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
    pub(super) fn lines(&self) -> impl Iterator<Item = Line<'_>> {
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
    pub(super) fn others(&self, lang: Lang) -> Vec<OtherRow> {
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
    pub(super) fn selected(&self) -> Vec<Line<'_>> {
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

    pub(super) fn find(&self, exchange: &str) -> Result<Line<'_>, Error> {
        self.lines()
            .find(|line| line.name() == exchange)
            .ok_or(Error::NotFound)
    }

    pub(super) fn row(&self, line: &Line<'_>, lang: Lang) -> HistoryRow {
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
    pub(super) fn subject(&self, line: &Line<'_>) -> Option<&GrantSubject> {
        let (row, _) = line.granted?;
        self.subjects.get(row.grant.id.as_bytes())
    }

    pub(super) fn filters(&self, lang: Lang) -> Filters {
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
