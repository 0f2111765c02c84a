//! The catalogue's rules. Each problem stands at its line, and all of them are reported.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use serde_json::Value;

use super::position::Entry;
use super::{
    Datatype, DatatypeSheet, Datum, Demarche, LinkProof, MAX_UNITS, PeriodUnit, PersonRole, Presence,
    Problem, Producer, SecrecyKind, Unit,
};
use crate::directory::{Bilingual, ParticipantKind};
use crate::payload::{Pointer, PointerSet};
use crate::{DatatypeId, DatatypeRev, HolderId, LegalBasis, Micros, SubjectKind, schema};

/// The longest that a grant's data may be kept on the grounds of the law (a year); texts of their own say more.
const DATA_LIFE_DAYS: u16 = 366;

pub(super) fn check(
    datatypes: &[Entry<DatatypeSheet>],
    demarches: &[Entry<Demarche>],
    producers: &[Entry<Producer>],
) -> Vec<Problem> {
    let mut all = Vec::new();
    let holders: BTreeMap<_, _> = producers.iter().map(|e| (&e.value.id, &e.value)).collect();
    let revs: BTreeMap<_, _> = datatypes.iter().map(|e| (e.value.rev(), &e.value)).collect();

    unique("/id", datatypes, DatatypeSheet::rev, &mut all);
    unique("/id", demarches, |d| d.id.clone(), &mut all);
    unique("/id", producers, |p| p.id.clone(), &mut all);
    let mut participants = BTreeSet::new();
    for entry in producers {
        producer(entry, &mut all);
        if entry.value.participant.is_some_and(|id| !participants.insert(id)) {
            all.push(entry.problem(
                "/participant",
                "duplicate",
                "un autre producteur est ce participant".to_owned(),
            ));
        }
    }
    let mut folders = BTreeSet::new();
    for entry in datatypes {
        datatype(entry, &holders, &revs, &mut all);
        for (n, folder) in entry.value.sandbox.iter().enumerate() {
            if !folders.insert(folder) {
                let message = format!("le dossier « {folder} » est déjà celui d'un type");
                all.push(entry.problem(&format!("/sandbox/{n}"), "duplicate", message));
            }
        }
    }
    for entry in demarches {
        demarche(entry, &revs, &mut all);
    }
    all
}

/// The problems of a datatype's samples, once it is compiled.
pub(super) fn samples<O>(entry: &Entry<DatatypeSheet>, datatype: &Datatype<O>) -> Vec<Problem> {
    let mut all = Vec::new();
    for (n, sample) in entry.value.samples.iter().enumerate() {
        if let Some(violation) = datatype.sample_problem(&sample.payload) {
            let message = format!(
                "l'exemple ne suit pas le schéma en « {} » : {}",
                violation.at, violation.keyword
            );
            all.push(entry.problem(&format!("/samples/{n}/payload"), "sample", message));
        }
    }
    all
}

fn unique<T, K: Ord + Display>(
    path: &str,
    entries: &[Entry<T>],
    key: impl Fn(&T) -> K,
    all: &mut Vec<Problem>,
) {
    let mut seen = BTreeSet::new();
    for entry in entries {
        let key = key(&entry.value);
        let name = key.to_string();
        if !seen.insert(key) {
            all.push(entry.problem(path, "duplicate", format!("un autre fichier décrit « {name} »")));
        }
    }
}

/// The place of an entry's file follows from its identifier, so that nothing hides under another name.
fn file_name<T>(entry: &Entry<T>, expected: &str, all: &mut Vec<Problem>) {
    if entry.file().is_some_and(|file| file != expected) {
        all.push(entry.problem(
            "/id",
            "file_name",
            format!("ce fichier devrait s'appeler {expected}"),
        ));
    }
}

fn words<T>(entry: &Entry<T>, path: &str, text: &Bilingual, all: &mut Vec<Problem>) {
    for (language, words) in [("fr", &text.fr), ("en", &text.en)] {
        if words.trim().is_empty() {
            all.push(entry.problem(&format!("{path}/{language}"), "words", "texte vide".to_owned()));
        }
    }
}

fn producer(entry: &Entry<Producer>, all: &mut Vec<Problem>) {
    let producer = &entry.value;
    file_name(entry, &format!("producers/{}.yaml", producer.id), all);
    words(entry, "/label", &producer.label, all);
    words(entry, "/contact/label", &producer.contact.label, all);
    url(entry, "/contact/url", &producer.contact.url, all);
    if producer.participant.is_some() != producer.answers.is_some() {
        let message = "participant et answers vont ensemble : l'un sans l'autre ne sert à rien".to_owned();
        all.push(entry.problem("/id", "producer_answers", message));
    }
}

fn url<T>(entry: &Entry<T>, path: &str, url: &str, all: &mut Vec<Problem>) {
    if !url.starts_with("https://") || url.contains(char::is_whitespace) {
        all.push(entry.problem(path, "url", "une adresse commence par https://".to_owned()));
    }
}

fn datatype(
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

/// A secrecy that the datatype's own file does not lift is lifted for each démarche by a text, or not at all.
fn waiver_problem(sheet: &DatatypeSheet, datum: &Datum) -> Option<&'static str> {
    let lifted_for_all = sheet.secrecy.as_ref().map(|secrecy| secrecy.waiver.is_some());
    match (lifted_for_all, &datum.waiver) {
        (Some(false), Some(LegalBasis::Text(_))) | (Some(true) | None, None) => None,
        (Some(false), Some(_)) => Some("ce qui lève un secret est un texte : TEXTE:…"),
        (Some(false), None) => {
            Some("un secret couvre ce type : il manque le texte qui le lève pour cette démarche (waiver)")
        }
        (Some(true), Some(_)) => Some("le type dit déjà quel texte lève son secret : waiver est de trop"),
        (None, Some(_)) => Some("aucun secret ne couvre ce type : waiver est de trop"),
    }
}

fn demarche(entry: &Entry<Demarche>, revs: &BTreeMap<DatatypeRev, &DatatypeSheet>, all: &mut Vec<Problem>) {
    let demarche = &entry.value;
    file_name(entry, &format!("demarches/{}.yaml", demarche.id), all);
    words(entry, "/label", &demarche.label, all);
    words(entry, "/legal_text", &demarche.legal_text, all);
    let mut wrong = |path: &str, code, message: String| all.push(entry.problem(path, code, message));

    if demarche.participants.is_empty() {
        wrong(
            "/participants",
            "participants",
            "il manque qui la conduit".to_owned(),
        );
    }
    if demarche.legal_references.is_empty() {
        wrong(
            "/legal_references",
            "legal_bases",
            "il manque la référence du texte".to_owned(),
        );
    }
    let consent_only = demarche
        .legal_bases
        .iter()
        .all(|basis| *basis == LegalBasis::Consent);
    if demarche.legal_bases.is_empty() {
        wrong(
            "/legal_bases",
            "legal_bases",
            "il manque une base légale".to_owned(),
        );
    } else if demarche.participants.contains(&ParticipantKind::Prive) && !consent_only {
        wrong(
            "/legal_bases",
            "legal_private",
            "un participant privé n'a que RGPD-6-1-a".to_owned(),
        );
    }
    if demarche.legal_bases.contains(&LegalBasis::Proactive) && demarche.presence != Presence::None {
        wrong(
            "/presence",
            "presence",
            "CRPA-L114-8-II est sans présence de la personne (presence: none)".to_owned(),
        );
    }
    if demarche.legal_bases.contains(&LegalBasis::Proactive) && demarche.fraud_detection {
        wrong(
            "/fraud_detection",
            "legal_fraud",
            "CRPA-L114-8-II ne sert jamais à détecter une fraude".to_owned(),
        );
    }
    if demarche.legal_bases.contains(&LegalBasis::Consent) && demarche.presence == Presence::None {
        wrong(
            "/presence",
            "presence",
            "un consentement se donne en personne".to_owned(),
        );
    }
    let own_text = demarche
        .legal_bases
        .iter()
        .all(|basis| matches!(basis, LegalBasis::Text(_)));
    if demarche.data_life_days == 0 || (demarche.data_life_days > DATA_LIFE_DAYS && !own_text) {
        wrong(
            "/data_life_days",
            "data_life",
            format!("de 1 à {DATA_LIFE_DAYS} jours, plus si un texte le dit"),
        );
    }
    if demarche
        .standing
        .is_some_and(|s| s.max_count == 0 || s.min_interval_s == 0)
    {
        wrong(
            "/standing",
            "standing",
            "au moins une fois, et un intervalle".to_owned(),
        );
    }

    let mut seen: BTreeSet<&DatatypeId> = BTreeSet::new();
    for (n, datum) in demarche.data.iter().enumerate() {
        let path = format!("/data/{n}");
        if !seen.insert(datum.datatype.id()) {
            wrong(
                &format!("{path}/datatype"),
                "duplicate",
                "ce type est déjà demandé".to_owned(),
            );
        }
        let Some(sheet) = revs.get(&datum.datatype) else {
            let message = format!("le type « {} » n'existe pas", datum.datatype);
            wrong(&format!("{path}/datatype"), "unknown_datatype", message);
            continue;
        };
        if !demarche
            .legal_bases
            .iter()
            .any(|basis| sheet.legal_bases.contains(basis))
        {
            let message = "aucune base légale commune avec ce type".to_owned();
            wrong(&format!("{path}/datatype"), "legal_bases", message);
        }
        if let Some(message) = waiver_problem(sheet, datum) {
            wrong(&format!("{path}/datatype"), "legal_secrecy", message.to_owned());
        }
        if datum.fixed.is_empty() && datum.free.is_empty() {
            wrong(&path, "unknown_unit", "aucune unité".to_owned());
        }
        let mut units = BTreeSet::new();
        for (list, names) in [("fixed", &datum.fixed), ("free", &datum.free)] {
            for (m, name) in names.iter().enumerate() {
                let path = format!("{path}/{list}/{m}");
                if !units.insert(name) {
                    wrong(&path, "duplicate", format!("l'unité « {name} » est déjà là"));
                }
                if !sheet.units.iter().any(|unit| unit.name == *name) {
                    wrong(
                        &path,
                        "unknown_unit",
                        format!("« {} » n'a pas d'unité « {name} »", datum.datatype),
                    );
                }
            }
        }
    }
    for (n, datum) in demarche.data.iter().enumerate() {
        let rule = revs
            .get(&datum.datatype)
            .and_then(|sheet| sheet.subject(SubjectKind::Child));
        let Some(LinkProof::Attestation(proof)) = rule.and_then(|rule| rule.link.as_ref()) else {
            continue;
        };
        let proves =
            |other: &Datum| *other.datatype.id() == proof.datatype && other.fixed.contains(&proof.unit);
        if !demarche.data.iter().any(proves) {
            let message = format!(
                "le lien de l'enfant se prouve par « {} » de « {} », que la démarche doit toujours demander (fixed)",
                proof.unit, proof.datatype
            );
            wrong(&format!("/data/{n}"), "child_link", message);
        }
    }
    if demarche.mandatory.any_of.iter().any(Vec::is_empty) {
        wrong(
            "/mandatory/any_of",
            "mandatory",
            "une alternative est vide".to_owned(),
        );
    }
    for (n, ids) in demarche.mandatory.any_of.iter().enumerate() {
        for (m, id) in ids.iter().enumerate() {
            if !seen.contains(id) {
                let message = format!("« {id} » n'est pas dans data");
                wrong(&format!("/mandatory/any_of/{n}/{m}"), "unknown_datatype", message);
            }
        }
    }
}
