use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{file_name, url, words};
use crate::catalogue::position::Entry;
use crate::catalogue::{
    DatatypeSheet, LinkProof, MAX_UNITS, PeriodUnit, PersonRole, Problem, Producer, SecrecyKind, Unit,
};
use crate::payload::{Pointer, PointerSet};
use crate::{DatatypeRev, HolderId, LegalBasis, Micros, SubjectKind, schema};

pub(super) fn datatype(
    entry: &Entry<DatatypeSheet>,
    holders: &BTreeMap<&HolderId, &Producer>,
    revs: &BTreeMap<DatatypeRev, &DatatypeSheet>,
    all: &mut Vec<Problem>,
) {
    let sheet = &entry.value;
    let mut wrong = |path: &str, code, message: String| all.push(entry.problem(path, code, message));

    if sheet.revision == 0 {
        wrong(
            "/revision",
            "revision",
            "les révisions se comptent à partir de 1".to_owned(),
        );
    }
    if !["CRPA-D114-9-1/", "CRPA-R114-9-1/"]
        .iter()
        .any(|row| sheet.legal_type.starts_with(row))
    {
        wrong(
            "/legal_type",
            "legal_type",
            "CRPA-D114-9-1/… ou CRPA-R114-9-1/…, une ligne du tableau".to_owned(),
        );
    }
    match holders.get(&sheet.operator) {
        None => wrong(
            "/operator",
            "unknown_holder",
            format!("« {} » n'est pas un producteur", sheet.operator),
        ),
        Some(producer) if producer.participant.is_none() => {
            wrong(
                "/operator",
                "operator",
                "l'opérateur est un participant : il a un nœud".to_owned(),
            );
        }
        Some(_) => {}
    }
    let prefix = format!("{}/", sheet.operator);
    if !sheet.id.to_string().starts_with(&prefix) {
        wrong(
            "/id",
            "operator",
            format!("l'identifiant commence par le nom de l'opérateur : {prefix}…"),
        );
    }
    if sheet.holders.is_empty() {
        wrong("/holders", "unknown_holder", "il manque un détenteur".to_owned());
    }
    for (n, holder) in sheet.holders.iter().enumerate() {
        if !holders.contains_key(holder) {
            let message = format!("« {holder} » n'est pas un producteur");
            wrong(&format!("/holders/{n}"), "unknown_holder", message);
        }
    }
    if !(500..=60_000).contains(&sheet.timeout_ms) {
        wrong("/timeout_ms", "timeout", "entre 500 et 60000 ms".to_owned());
    }
    if sheet.rate_per_minute == 0 {
        wrong("/rate_per_minute", "rate", "au moins 1".to_owned());
    }
    if sheet
        .sunset
        .as_ref()
        .is_some_and(|day| format!("{day}T00:00:00Z").parse::<Micros>().is_err())
    {
        wrong("/sunset", "sunset", "une date AAAA-MM-JJ".to_owned());
    }
    if sheet.samples.is_empty() {
        wrong("/samples", "sample", "il manque un exemple".to_owned());
    }
    for (n, absence) in sheet.absence_when.iter().enumerate() {
        let code_ok =
            (1..=64).contains(&absence.code.len()) && absence.code.bytes().all(|c| c.is_ascii_graphic());
        // A certified absence is an answer: neither a failure of the source (5xx, 408) nor a refusal to answer (401,
        // 403, 429) can be one.
        let status_ok = matches!(absence.status, 200 | 404 | 410 | 422);
        if !code_ok || !status_ok {
            let message = "une absence certifiée est un statut 200, 404, 410 ou 422 et un code".to_owned();
            wrong(&format!("/absence_when/{n}"), "absence_when", message);
        }
    }
    period(sheet, &mut wrong);
    legal(sheet, &mut wrong);
    subjects(sheet, revs, &mut wrong);
    units(sheet, &mut wrong);
    persons(sheet, &mut wrong);
    holder(sheet, &mut wrong);

    file_name(
        entry,
        &format!(
            "types/{}@{}.yaml",
            sheet.id.to_string().replace('/', "."),
            sheet.revision
        ),
        all,
    );
    words(entry, "/label", &sheet.label, all);
    words(entry, "/summary", &sheet.summary, all);
    words(entry, "/not_sent", &sheet.not_sent, all);
    words(entry, "/freshness/label", &sheet.freshness.label, all);
    words(entry, "/contact/label", &sheet.contact.label, all);
    url(entry, "/contact/url", &sheet.contact.url, all);
    for (n, unit) in sheet.units.iter().enumerate() {
        words(entry, &format!("/units/{n}/label"), &unit.label, all);
    }
}

fn period(sheet: &DatatypeSheet, wrong: &mut impl FnMut(&str, &'static str, String)) {
    let period = &sheet.period;
    if period.unit == PeriodUnit::None && (period.required || period.past > 0 || period.future > 0) {
        wrong(
            "/period",
            "period",
            "sans unité, ni période exigée ni portée".to_owned(),
        );
    }
    if period.past > 120 || period.future > 12 {
        wrong(
            "/period",
            "period",
            "au plus 120 périodes passées et 12 à venir".to_owned(),
        );
    }
}

fn legal(sheet: &DatatypeSheet, wrong: &mut impl FnMut(&str, &'static str, String)) {
    if sheet.legal_bases.is_empty() {
        wrong(
            "/legal_bases",
            "legal_bases",
            "il manque une base légale".to_owned(),
        );
    }
    let Some(secrecy) = &sheet.secrecy else { return };
    let texts_only = sheet
        .legal_bases
        .iter()
        .all(|basis| matches!(basis, LegalBasis::Text(_)));
    match secrecy.kind {
        SecrecyKind::SecretMedical | SecrecyKind::Defense if !texts_only || secrecy.waiver.is_none() => {
            let message = "une donnée couverte par le secret médical ou de la défense n'a que des bases TEXTE:, et dit \
                           laquelle lève le secret (waiver)";
            wrong("/secrecy", "legal_secrecy", message.to_owned());
        }
        SecrecyKind::SecretMedical
        | SecrecyKind::Defense
        | SecrecyKind::SecretFiscal
        | SecrecyKind::SecretProfessionnel => {}
    }
    if let Some(waiver) = &secrecy.waiver
        && matches!(waiver, LegalBasis::Text(_))
        && !sheet.legal_bases.contains(waiver)
    {
        wrong(
            "/secrecy/waiver",
            "legal_secrecy",
            "le texte qui lève le secret est l'une des bases légales".to_owned(),
        );
    }
    if secrecy
        .waiver
        .as_ref()
        .is_some_and(|waiver| !matches!(waiver, LegalBasis::Text(_)))
    {
        wrong(
            "/secrecy/waiver",
            "legal_secrecy",
            "ce qui lève un secret est un texte : TEXTE:…".to_owned(),
        );
    }
}

fn subjects(
    sheet: &DatatypeSheet,
    revs: &BTreeMap<DatatypeRev, &DatatypeSheet>,
    wrong: &mut impl FnMut(&str, &'static str, String),
) {
    if sheet.subjects.is_empty() {
        wrong("/subjects", "subjects", "il manque de qui il s'agit".to_owned());
    }
    let mut seen = BTreeSet::new();
    for (n, rule) in sheet.subjects.iter().enumerate() {
        let path = format!("/subjects/{n}");
        if !seen.insert(rule.kind) {
            wrong(&path, "duplicate", "ce sujet est déjà décrit".to_owned());
        }
        match (rule.kind, &rule.link) {
            (SubjectKind::Child, None) => {
                wrong(
                    &path,
                    "child_link",
                    "rien ne prouve le lien de l'enfant avec son parent (link)".to_owned(),
                );
            }
            (SubjectKind::Child, Some(LinkProof::Attestation(proof))) => {
                let units = revs
                    .values()
                    .filter(|other| other.id == proof.datatype)
                    .flat_map(|other| {
                        let unit = other.units.iter().find(|unit| unit.name == proof.unit);
                        unit.map(|unit| names_family(other, unit))
                    });
                let families: Vec<bool> = units.collect();
                if families.is_empty() {
                    let message = format!("« {} » n'a pas d'unité « {} »", proof.datatype, proof.unit);
                    wrong(&format!("{path}/link"), "child_link", message);
                } else if families.contains(&false) {
                    let message = format!(
                        "l'unité « {} » de « {} » ne nomme pas des adultes et des enfants (persons)",
                        proof.unit, proof.datatype
                    );
                    wrong(&format!("{path}/link"), "child_link", message);
                }
            }
            (SubjectKind::Child, Some(LinkProof::Holder | LinkProof::Declared)) => {}
            (SubjectKind::SelfPerson | SubjectKind::Household | SubjectKind::Entity, Some(_)) => {
                wrong(
                    &format!("{path}/link"),
                    "child_link",
                    "seul un enfant a un lien à prouver".to_owned(),
                );
            }
            (SubjectKind::SelfPerson | SubjectKind::Household | SubjectKind::Entity, None) => {}
        }
    }
    if sheet.pivot.any_of.is_empty() || sheet.pivot.any_of.iter().any(Vec::is_empty) {
        wrong(
            "/pivot/any_of",
            "pivot",
            "il manque les attributs de l'identité".to_owned(),
        );
    }
}

/// Whether a unit holds what names both adults and children: only that proves who is whose child.
fn names_family(sheet: &DatatypeSheet, unit: &Unit) -> bool {
    let held: PointerSet = unit.pointers.iter().collect();
    let named = |role: PersonRole| {
        let mut lists = sheet.persons.iter().filter(|list| list.role == role);
        lists.any(|list| list.members().all(|member| held.covers(&member)))
    };
    named(PersonRole::Adult) && named(PersonRole::Child)
}

fn units(sheet: &DatatypeSheet, wrong: &mut impl FnMut(&str, &'static str, String)) {
    if sheet.units.is_empty() || sheet.units.len() > MAX_UNITS {
        wrong("/units", "units_count", format!("de 1 à {MAX_UNITS} unités"));
    }
    let (mut names, mut aliases, mut covered) = (BTreeSet::new(), BTreeSet::new(), PointerSet::default());
    for (n, unit) in sheet.units.iter().enumerate() {
        let path = format!("/units/{n}");
        if !names.insert(&unit.name) {
            wrong(
                &format!("{path}/name"),
                "duplicate",
                format!("l'unité « {} » est déjà décrite", unit.name),
            );
        }
        for (m, alias) in unit.aliases.iter().enumerate() {
            if !aliases.insert(alias) {
                wrong(
                    &format!("{path}/aliases/{m}"),
                    "duplicate",
                    format!("« {alias} » est déjà un alias"),
                );
            }
        }
        if unit.pointers.is_empty() {
            wrong(
                &format!("{path}/pointers"),
                "unit_pointer",
                "l'unité ne contient rien".to_owned(),
            );
        }
        for (m, pointer) in unit.pointers.iter().enumerate() {
            covered.insert(pointer);
            if schema::at(&sheet.schema, pointer).is_none() {
                let message = format!("« {pointer} » n'existe pas dans le schéma");
                wrong(&format!("{path}/pointers/{m}"), "unit_pointer", message);
            }
        }
    }
    for leaf in schema::leaves(&sheet.schema) {
        if !covered.covers(&leaf) {
            let message =
                format!("« {leaf} » n'est dans aucune unité : le mettre dans une, ou l'ôter du schéma");
            wrong(&schema_path(&leaf), "uncovered", message);
        }
    }
}

/// Who is named is found only if the schema has the members that name them.
fn persons(sheet: &DatatypeSheet, wrong: &mut impl FnMut(&str, &'static str, String)) {
    for (n, list) in sheet.persons.iter().enumerate() {
        for member in list.members() {
            if schema::at(&sheet.schema, &member).is_none() {
                let message = format!("« {member} » n'existe pas dans le schéma");
                wrong(&format!("/persons/{n}"), "persons", message);
            }
        }
    }
}

fn holder(sheet: &DatatypeSheet, wrong: &mut impl FnMut(&str, &'static str, String)) {
    let Some(from) = &sheet.holder_from else {
        if sheet.holders.len() > 1 {
            let message = "plusieurs détenteurs : dire où la réponse nomme le sien".to_owned();
            wrong("/holders", "holder_from", message);
        }
        return;
    };
    for (name, holder) in &from.values {
        if !sheet.holders.contains(holder) {
            let message = format!("« {holder} » n'est pas parmi les détenteurs");
            wrong(&format!("/holder_from/values/{name}"), "holder_from", message);
        }
    }
    // Every name that the payload may bear must lead to a holder, or an attestation would name none.
    let listed = schema::at(&sheet.schema, &from.pointer)
        .and_then(|place| place.get("enum"))
        .and_then(Value::as_array);
    let mapped = |names: &Vec<Value>| {
        names
            .iter()
            .all(|n| n.as_str().is_some_and(|n| from.values.contains_key(n)))
    };
    if !listed.is_some_and(mapped) {
        let message = "le schéma y énumère des noms, et chacun a son détenteur ici".to_owned();
        wrong("/holder_from", "holder_from", message);
    }
}

/// Where the schema describes a place of the payload, as a path into the file.
fn schema_path(pointer: &Pointer) -> String {
    let step = |step: Option<&str>| step.map_or("/items".to_owned(), |key| format!("/properties/{key}"));
    format!("/schema{}", pointer.steps().map(step).collect::<String>())
}
