//! The catalogue's rules. Each problem stands at its line, and all of them are reported.

mod datatype;
mod demarche;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use self::datatype::datatype;
use self::demarche::demarche;
use super::position::Entry;
use super::{Datatype, DatatypeSheet, Demarche, Problem, Producer};
use crate::directory::Bilingual;

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
