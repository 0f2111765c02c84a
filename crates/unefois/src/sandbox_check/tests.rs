use std::path::Path;

use unefois_core::catalogue::Catalogue;
use unefois_mesh::{SystemClock, SystemRandom};

use super::*;

const FOLDER: &str = "revenu_essai";
const SHEET: &str = include_str!("../../../node/tests/support/catalogue/types/cnaf.revenu@1.yaml");
const PRODUCER: &str = include_str!("../../../node/tests/support/catalogue/producers/cnaf.yaml");

const OK: &str =
    "params: {nom: A}\nstatus: 200\npayload: '{\"data\": {\"montant\": 900, \"taux\": 12.50, \"nir\": 1}}'\n";
const UNKNOWN: &str = "params: {nom: B}\nstatus: 404\npayload: '{\"errors\":[{\"code\":\"37001\"}]}'\n";
const ABSENT: &str = "params: {nom: C}\nstatus: 404\npayload: '{\"errors\":[{\"code\":\"37003\"}]}'\n";
const BUSY: &str = "params: {nom: D}\nstatus: 429\npayload: '{}'\n";
const DOWN: &str = "params: {nom: E}\nstatus: 502\npayload: '{}'\n";
const SLOW: &str = "params: {nom: F}\nstatus: 504\npayload: '{}'\n";
const VOUCHED: &str = "expect: {outcome: absence}\n";

fn catalogue() -> Catalogue {
    let sheet = format!("{SHEET}sandbox: [{FOLDER}]\n");
    Catalogue::load(&[
        ("producers/cnaf.yaml", PRODUCER),
        ("types/cnaf.revenu@1.yaml", &sheet),
    ])
    .expect("a catalogue")
}

fn check(cases: &[(&str, &str)]) -> Report {
    let dir = tempfile::tempdir().expect("a folder");
    write(&dir.path().join(FOLDER), cases);
    write(&dir.path().join("sans_type"), &[("x.yaml", "n'importe quoi")]);
    sandbox_check(dir.path(), &catalogue(), None, &SystemClock, &SystemRandom::new()).expect("a report")
}

fn write(folder: &Path, cases: &[(&str, &str)]) {
    std::fs::create_dir(folder).expect("a folder");
    for (file, text) in cases {
        std::fs::write(folder.join(file), text).expect("a file");
    }
}

/// The failures of the folder that has a datatype.
fn failures(cases: &[(&str, &str)]) -> Vec<(String, String)> {
    let report = check(cases);
    assert_eq!(report.passed(), report.folders[0].failures.is_empty());
    report.folders[0]
        .failures
        .iter()
        .map(|f| (f.file.clone(), f.what.clone()))
        .collect()
}

#[test]
fn doctored_cases_fail() {
    let doctored = |from: &str, to: &str, text: &str| {
        let changed = text.replace(from, to);
        assert_ne!(changed, text);
        let failures = failures(&[("a.yaml", &changed)]);
        assert_eq!(failures.len(), 1, "{to}");
        failures.into_iter().next().expect("one failure").1
    };
    // A value written as no source writes an integer.
    assert_eq!(
        doctored("900", "900.0", OK),
        "expected document, got refused (SOURCE_SCHEMA)"
    );
    // A 404 relabelled as an absence that the catalogue does not certify.
    let relabelled = format!("{UNKNOWN}{VOUCHED}");
    assert_eq!(
        doctored("nom: B", "nom: Z", &relabelled),
        "expected absence, got not_resolved (SUBJECT_NOT_RESOLVED)"
    );
    // A 404 that the catalogue certifies and the case does not vouch for: a catalogue that was doctored looks so.
    assert!(doctored("nom: C", "nom: Z", ABSENT).starts_with("a false absence"));
    // A 404 that was given a 200 and nothing to say.
    assert_eq!(
        doctored("404", "200", ABSENT),
        "expected document, got refused (SOURCE_SCHEMA)"
    );
    // A failure relabelled as a refusal, or as nobody.
    let relabelled = format!("{DOWN}expect: {{outcome: not_resolved}}\n");
    assert_eq!(
        doctored("nom: E", "nom: Z", &relabelled),
        "expected not_resolved, got later (SOURCE_ERROR)"
    );
    // A document whose author expects another text of a unit.
    let expected = format!("{OK}expect: {{outcome: document, units: {{montant: '{{\"montant\":901}}'}}}}\n");
    assert_eq!(
        doctored("nom: A", "nom: Z", &expected),
        "unit montant is not the text that the case expects"
    );
}

#[test]
fn files_that_are_no_case_and_cases_that_ask_the_same_fail() {
    let same = OK.replace("900", "901");
    let found = failures(&[("a.yaml", OK), ("b.yml", &same), ("c.yaml", "status: 200\n")]);
    let files: Vec<&str> = found.iter().map(|(file, _)| file.as_str()).collect();
    // One for the file, one for the pair, and both of the pair are nobody's.
    assert_eq!(files, ["c.yaml", "a.yaml", "a.yaml", "b.yml"]);
    assert!(found.iter().all(|(_, what)| !what.contains("900")));
}

#[test]
fn every_end_is_counted_and_a_folder_without_datatype_fails_nothing() {
    let vouched = format!("{ABSENT}{VOUCHED}");
    let report = check(&[
        ("a.yaml", OK),
        ("b.yml", UNKNOWN),
        ("c.yaml", &vouched),
        ("d.yaml", BUSY),
        ("e.yaml", DOWN),
        ("f.yaml", SLOW),
        ("notes.txt", "not a case"),
    ]);
    assert!(report.passed(), "{report}");
    let [checked, other] = report.folders.as_slice() else {
        unreachable!("two folders")
    };
    assert_eq!(
        (checked.files, checked.cases, checked.datatype.as_deref()),
        (6, 6, Some("cnaf/revenu@1"))
    );
    assert_eq!(
        checked.ends,
        Ends {
            documents: 1,
            absences: 1,
            not_resolved: 1,
            later: 3,
            refused: 0
        }
    );
    assert_eq!(
        (other.files, other.cases, other.datatype.as_deref()),
        (1, 0, None)
    );
    assert!(report.to_string().contains("aucun type de donnée"));
}

#[test]
fn an_empty_folder_is_no_success() {
    let dir = tempfile::tempdir().expect("a folder");
    let checked = sandbox_check(dir.path(), &catalogue(), None, &SystemClock, &SystemRandom::new());
    assert!(matches!(checked, Err(CheckError::Empty(_))));
}
