//! Identifiers in words, from the directory and the catalogue.

use unefois_core::authorization::{ModeKind, Need, Use};
use unefois_core::catalogue::{Concerns, Datatype, LinkProof};
use unefois_core::directory::Bilingual;
use unefois_core::{
    AuthorizationDetails, DatatypeRev, DemarcheId, HolderId, LegalBasis, Micros, ParticipantId, Period,
    SubjectKind, UnitName,
};

use crate::history::Exchange;
use crate::portal::{self, Duration, Keeping, Lang, LegalGround, Organisation, Pace, Publisher, Term};
use crate::published::Edition;

/// One text of two.
pub(crate) fn text(lang: Lang, both: &Bilingual) -> String {
    lang.t(&both.fr, &both.en).to_owned()
}

/// A participant's name; its SIREN where the directory no longer lists it.
pub(crate) fn name(edition: &Edition, lang: Lang, id: &ParticipantId) -> String {
    match edition.directory.participant(id) {
        Some(row) => text(lang, &row.name),
        None => id.siren().to_string(),
    }
}

pub(crate) fn organisation(edition: &Edition, lang: Lang, id: &ParticipantId) -> Organisation {
    let row = edition.directory.participant(id);
    Organisation {
        name: name(edition, lang, id),
        siren: id.siren(),
        card: row.and_then(|row| row.public_url.clone()),
    }
}

/// Who runs the asker's software.
pub(crate) fn publisher(edition: &Edition, lang: Lang, id: Option<ParticipantId>) -> Option<Publisher> {
    id.map(|id| Publisher {
        name: name(edition, lang, &id),
    })
}

/// How to reach a participant's data protection officer.
pub(crate) fn dpo(edition: &Edition, id: &ParticipantId) -> String {
    let row = edition.directory.participant(id);
    row.map_or_else(String::new, |row| row.dpo.clone())
}

pub(crate) fn demarche(edition: &Edition, lang: Lang, id: &DemarcheId) -> String {
    let known = edition.catalogue.demarche(id);
    known.map_or_else(|| id.to_string(), |demarche| text(lang, &demarche.label))
}

pub(crate) fn ground(edition: &Edition, lang: Lang, basis: &LegalBasis, id: &DemarcheId) -> LegalGround {
    let known = edition.catalogue.demarche(id);
    LegalGround {
        basis: basis.clone(),
        text: known.map(|demarche| text(lang, &demarche.legal_text)),
    }
}

/// A datatype's name.
pub(crate) fn datatype(edition: &Edition, lang: Lang, rev: &DatatypeRev) -> String {
    let known = edition.catalogue.datatype(rev);
    known.map_or_else(|| rev.to_string(), |datatype| text(lang, &datatype.sheet().label))
}

/// The name of a unit.
pub(crate) fn unit(lang: Lang, datatype: Option<&Datatype>, name: &UnitName) -> String {
    let unit = datatype.and_then(|d| d.sheet().units.iter().find(|unit| unit.name == *name));
    unit.map_or_else(|| name.to_string(), |unit| text(lang, &unit.label))
}

/// The bodies whose data it is, where the operator answers for others.
pub(crate) fn holders(edition: &Edition, lang: Lang, datatype: &Datatype) -> Option<String> {
    let sheet = datatype.sheet();
    let others = sheet.holders.iter().any(|holder| *holder != sheet.operator);
    let label = |id: &HolderId| {
        let known = edition.catalogue.producer(id);
        known.map_or_else(|| id.to_string(), |producer| text(lang, &producer.label))
    };
    others.then(|| {
        let names: Vec<String> = sheet.holders.iter().map(label).collect();
        names.join(lang.t(" et ", " and "))
    })
}

/// The body whose data an exchange is about, where that is not the operator that answered.
pub(crate) fn other_holder(
    edition: &Edition,
    lang: Lang,
    datatype: Option<&Datatype>,
    exchange: &Exchange,
) -> Option<String> {
    let entries = exchange.producer.iter().chain(&exchange.consumer).rev();
    let holder = entries.filter_map(|proved| proved.entry.holder.as_ref()).next()?;
    if datatype.is_some_and(|datatype| datatype.sheet().operator == *holder) {
        return None;
    }
    let known = edition.catalogue.producer(holder);
    Some(known.map_or_else(|| holder.to_string(), |producer| text(lang, &producer.label)))
}

/// Whose data leave beside the subject's.
pub(crate) fn concerns(lang: Lang, concerns: Concerns, subject: SubjectKind) -> Option<&'static str> {
    match (concerns, subject) {
        // The child is whom it is about.
        (Concerns::None, _) | (Concerns::Children, SubjectKind::Child) => None,
        (Concerns::Household, _) => Some(lang.t(
            "les autres membres de votre foyer",
            "the other members of your household",
        )),
        (Concerns::Children, _) => Some(lang.t("vos enfants", "your children")),
    }
}

/// What is shown to the source of a child's datum to prove that the child is the asker's.
fn link(edition: &Edition, lang: Lang, details: &AuthorizationDetails) -> Option<String> {
    if details.subject.kind != SubjectKind::Child {
        return None;
    }
    let datatype = edition.catalogue.datatype(details.datatype())?;
    match &datatype.sheet().subject(SubjectKind::Child)?.link {
        Some(LinkProof::Attestation(proof)) => {
            let family = edition
                .catalogue
                .datatypes()
                .find(|known| *known.rev().id() == proof.datatype)?;
            Some(unit(lang, Some(family), &proof.unit))
        }
        Some(LinkProof::Holder | LinkProof::Declared) | None => None,
    }
}

/// A period in words.
pub(crate) fn period(lang: Lang, period: Period) -> String {
    match period {
        Period::Month { year, month } => lang.month(&unefois_core::Month {
            year: i32::from(year),
            month,
        }),
        Period::Year(year) => format!("{} {year}", lang.t("année", "year")),
        Period::SchoolYear(year) => {
            format!("{} {year}-{}", lang.t("année scolaire", "school year"), year + 1)
        }
    }
}

/// How long, and what the asker does with it; one for all elements where they agree.
pub(crate) fn terms(
    edition: &Edition,
    lang: Lang,
    elements: &[AuthorizationDetails],
    end: Micros,
) -> Vec<Term> {
    let term = |details: &AuthorizationDetails| Term {
        what: Some(datatype(edition, lang, details.datatype())),
        duration: duration(details, end),
        keeping: match details.usage {
            Use::View => Keeping::View,
            Use::Store => Keeping::Days(details.data_life_days),
        },
    };
    let mut terms: Vec<Term> = elements.iter().map(term).collect();
    let agree = terms
        .windows(2)
        .all(|pair| pair[0].duration == pair[1].duration && pair[0].keeping == pair[1].keeping);
    if agree {
        terms.truncate(1);
        for term in &mut terms {
            term.what = None;
        }
    }
    terms
}

/// Once, or until the grant's end, or an earlier one that the person chose.
pub(crate) fn duration(details: &AuthorizationDetails, end: Micros) -> Duration {
    match details.mode.kind {
        ModeKind::Once => Duration::Once,
        ModeKind::Standing => Duration::Until {
            end: details.mode.ends_at(end),
            pace: Pace {
                min_interval_s: details.mode.min_interval_s,
                max_count: details.mode.max_count,
            },
        },
    }
}

/// The sources of a request, each with what comes from it. `ticked` says which boxes come back ticked.
pub(crate) fn sources(
    edition: &Edition,
    lang: Lang,
    elements: &[AuthorizationDetails],
    ticked: &dyn Fn(&str) -> bool,
) -> Vec<portal::Source> {
    let mut sources: Vec<(ParticipantId, portal::Source)> = Vec::new();
    for (n, details) in elements.iter().enumerate() {
        let known = edition.catalogue.datatype(details.datatype());
        let units = details.units.iter().map(|asked| {
            let field = field(n, &asked.unit);
            let sheet = known.and_then(|d| d.sheet().units.iter().find(|u| u.name == asked.unit));
            portal::Unit {
                label: unit(lang, known, &asked.unit),
                details: None,
                also_about: sheet
                    .and_then(|unit| concerns(lang, unit.concerns, details.subject.kind))
                    .map(str::to_owned),
                required: asked.need == Need::Required,
                ticked: ticked(&field),
                field,
            }
        });
        let not_sent = known.map(|d| text(lang, &d.sheet().not_sent));
        let one = portal::Datatype {
            label: datatype(edition, lang, details.datatype()),
            period: details.period.map(|p| period(lang, p)),
            units: units.collect(),
            not_sent: not_sent.filter(|words| !words.is_empty()).into_iter().collect(),
            link: link(edition, lang, details),
        };
        let operator = *details.operator();
        match sources.iter_mut().find(|(id, _)| *id == operator) {
            Some((_, source)) => source.datatypes.push(one),
            None => sources.push((
                operator,
                portal::Source {
                    name: name(edition, lang, &operator),
                    holders: known.and_then(|d| holders(edition, lang, d)),
                    datatypes: vec![one],
                },
            )),
        }
    }
    sources.into_iter().map(|(_, source)| source).collect()
}

/// The name of a unit's checkbox.
pub(crate) fn field(element: usize, unit: &UnitName) -> String {
    format!("e{element}.{unit}")
}
