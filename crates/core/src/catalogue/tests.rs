mod payload;
mod rules;

use super::*;
use crate::{Acr, Period};

/// The files of this repository.
pub(crate) const FILES: &[(&str, &str)] = &[
    (
        "demarches/bourse.yaml",
        include_str!("../../../../catalogue/demarches/bourse.yaml"),
    ),
    (
        "demarches/cantine.yaml",
        include_str!("../../../../catalogue/demarches/cantine.yaml"),
    ),
    (
        FRAUDE,
        include_str!("../../../../catalogue/demarches/detection-fraude.yaml"),
    ),
    (
        MARCHE,
        include_str!("../../../../catalogue/demarches/marche-public.yaml"),
    ),
    (
        "demarches/transports-information.yaml",
        include_str!("../../../../catalogue/demarches/transports-information.yaml"),
    ),
    (
        "demarches/transports-verification.yaml",
        include_str!("../../../../catalogue/demarches/transports-verification.yaml"),
    ),
    (
        TRANSPORT,
        include_str!("../../../../catalogue/demarches/transport-scolaire.yaml"),
    ),
    (
        "producers/cnaf.yaml",
        include_str!("../../../../catalogue/producers/cnaf.yaml"),
    ),
    (
        "producers/dgfip.yaml",
        include_str!("../../../../catalogue/producers/dgfip.yaml"),
    ),
    (
        "producers/men.yaml",
        include_str!("../../../../catalogue/producers/men.yaml"),
    ),
    (
        "producers/mesr.yaml",
        include_str!("../../../../catalogue/producers/mesr.yaml"),
    ),
    (
        "producers/msa.yaml",
        include_str!("../../../../catalogue/producers/msa.yaml"),
    ),
    (
        "producers/urssaf.yaml",
        include_str!("../../../../catalogue/producers/urssaf.yaml"),
    ),
    (
        QF,
        include_str!("../../../../catalogue/types/cnaf.quotient-familial@1.yaml"),
    ),
    (
        "types/dgfip.revenu-fiscal-de-reference@1.yaml",
        include_str!("../../../../catalogue/types/dgfip.revenu-fiscal-de-reference@1.yaml"),
    ),
    (
        ELEVE,
        include_str!("../../../../catalogue/types/men.statut-eleve@1.yaml"),
    ),
    (
        "types/mesr.statut-etudiant@1.yaml",
        include_str!("../../../../catalogue/types/mesr.statut-etudiant@1.yaml"),
    ),
    (
        "types/urssaf.attestation-de-vigilance@1.yaml",
        include_str!("../../../../catalogue/types/urssaf.attestation-de-vigilance@1.yaml"),
    ),
];
const QF: &str = "types/cnaf.quotient-familial@1.yaml";
const ELEVE: &str = "types/men.statut-eleve@1.yaml";
const TRANSPORT: &str = "demarches/transport-scolaire.yaml";
const CANTINE: &str = "demarches/cantine.yaml";
const FRAUDE: &str = "demarches/detection-fraude.yaml";
const MARCHE: &str = "demarches/marche-public.yaml";

pub(crate) fn catalogue() -> Catalogue {
    Catalogue::load(FILES).unwrap_or_else(|problems| {
        let lines: Vec<_> = problems.iter().map(Problem::to_string).collect();
        panic!("{}", lines.join("\n"))
    })
}

/// The problems once `from` is `to` in one file; types that no other file needs stay out, to be quick.
fn broken(file: &str, from: &str, to: &str) -> Vec<Problem> {
    let school = |path: &str| path == ELEVE || path == TRANSPORT;
    let spare =
        |path: &str| school(path) || path == FRAUDE || path == MARCHE || path.starts_with("types/urssaf");
    let needed = |path: &str| path == file || (school(path) && school(file)) || !spare(path);
    let mut texts: Vec<(&str, String)> = FILES
        .iter()
        .filter(|(path, _)| needed(path))
        .map(|(path, text)| (*path, (*text).to_owned()))
        .collect();
    let (_, text) = texts.iter_mut().find(|(path, _)| *path == file).unwrap();
    assert!(text.contains(from), "{file} has no {from:?}");
    *text = text.replacen(from, to, 1);
    let files: Vec<(&str, &str)> = texts.iter().map(|(path, text)| (*path, text.as_str())).collect();
    Catalogue::load(&files).err().unwrap_or_default()
}

/// The line of `needle` in a file of the repository.
fn line(file: &str, needle: &str) -> u64 {
    let (_, text) = FILES.iter().find(|(path, _)| *path == file).unwrap();
    1 + text.lines().position(|l| l.contains(needle)).unwrap() as u64
}

#[test]
fn the_compiled_form_is_taken_only_under_its_digest_and_is_the_same_everywhere() {
    let catalogue = catalogue();
    let bytes = catalogue.to_bytes();
    assert_eq!(
        Catalogue::from_bytes(bytes, &Sha256::of(b"other")).unwrap_err(),
        CatalogueError::OtherBytes
    );
    let tampered = String::from_utf8(bytes.to_vec())
        .unwrap()
        .replace("\"/adresse\"", "\"/adresses\"");
    let refused = Catalogue::from_bytes(tampered.as_bytes(), &Sha256::of(tampered.as_bytes())).unwrap_err();
    assert!(
        matches!(refused, CatalogueError::Inconsistent(ref p) if p.code == "uncovered"),
        "{refused}"
    );
    let again = Catalogue::from_bytes(bytes, &catalogue.hash()).unwrap();
    assert_eq!(again.to_bytes(), bytes);

    let mut reversed = FILES.to_vec();
    reversed.reverse();
    assert_eq!(Catalogue::load(&reversed).unwrap().hash(), catalogue.hash());
}

fn qf(catalogue: &Catalogue) -> &Datatype {
    catalogue
        .datatype(&"cnaf/quotient-familial@1".parse().unwrap())
        .unwrap()
}

#[test]
fn periods_sunset_and_windows() {
    let catalogue = catalogue();
    let mut sheet = qf(&catalogue).sheet().clone();
    let now: crate::Micros = "2026-11-24T12:00:00Z".parse().unwrap();
    let allows = |rule: &PeriodRule, text: &str| rule.allows(Some(text.parse::<Period>().unwrap()), now);
    for (text, allowed) in [
        ("2024-12", true),
        ("2024-11", false),
        ("2026-11", true),
        ("2026-12", false),
        ("2026", false),
    ] {
        assert_eq!(allows(&sheet.period, text), allowed, "{text}");
    }
    assert!(sheet.period.allows(None, now));
    let year = PeriodRule {
        unit: PeriodUnit::SchoolYear,
        required: true,
        past: 0,
        future: 1,
    };
    assert!(!year.allows(None, now));
    assert!(allows(&year, "2026-2027") && allows(&year, "2027-2028") && !allows(&year, "2025-2026"));
    let spring = "2026-05-01T00:00:00Z".parse().unwrap();
    assert!(year.allows(Some(Period::SchoolYear(2025)), spring));

    assert!(sheet.in_use(now));
    sheet.sunset = Some("2026-11-24".to_owned());
    assert!(!sheet.in_use(now));
    assert!(
        sheet
            .closed_until("2026-11-22T22:10:00Z".parse().unwrap())
            .is_some()
    );
    assert_eq!(sheet.assurance, Acr::Eidas1);
}

#[test]
fn unit_sets_are_sets() {
    let [a, b] = [0, 63].map(|n| UnitSet::single(n).unwrap());
    assert_eq!(UnitSet::single(64), None);
    assert!(!(a | b).contains(64) && (a | b).contains(63));
    assert!(a.is_subset(a | b) && !(a | b).is_subset(a));
    assert_eq!(((a | b) - a, (a | b) & a), (b, a));
    assert_eq!((a | b).iter().collect::<Vec<_>>(), [0, 63]);
    assert_eq!(UnitSet::from_bits((a | b).bits()), a | b);
}

#[test]
fn a_problem_reads_as_file_line_column_code_and_words() {
    let problem = &broken(CANTINE, "id: cantine", "id: cantine\nprix: 3")[0];
    let text = problem.to_string();
    assert!(
        text.starts_with("demarches/cantine.yaml:2:1: shape: forme inattendue : unknown field `prix`"),
        "{text}"
    );
}
