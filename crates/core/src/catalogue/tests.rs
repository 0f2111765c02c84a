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
fn every_rule_is_reported_at_its_line() {
    for (file, from, to, code, at) in [
        (
            QF,
            "revision: 1",
            "revision: 1\nversion: 1",
            "shape",
            "revision: 1",
        ),
        (QF, "revision: 1", "revision: 1\n\tx: 1", "yaml", "revision: 1"),
        (
            QF,
            "id: cnaf/quotient-familial",
            "id: cnaf/quotient",
            "file_name",
            "id: cnaf",
        ),
        (QF, "revision: 1", "revision: 2", "file_name", "id: cnaf"),
        (
            QF,
            "operator: cnaf",
            "operator: caf",
            "unknown_holder",
            "operator: cnaf",
        ),
        (
            QF,
            "operator: cnaf",
            "operator: msa",
            "operator",
            "operator: cnaf",
        ),
        (QF, "CRPA-D114-9-1/", "CRPA-D114/", "legal_type", "legal_type"),
        (
            QF,
            "holders: [cnaf, msa]",
            "holders: [cnaf, msa, ccas]",
            "unknown_holder",
            "holders:",
        ),
        (
            QF,
            "holders: [cnaf, msa]",
            "holders: [cnaf]",
            "holder_from",
            "values: {CNAF",
        ),
        (
            QF,
            "{CNAF: cnaf, MSA: msa}",
            "{CNAF: cnaf}",
            "holder_from",
            "holder_from:",
        ),
        (
            QF,
            "legal_bases: [CRPA-L114-8-I, CRPA-L114-8-II]",
            "legal_bases: [SDG-14]",
            "legal_sdg14",
            "legal_bases",
        ),
        (
            QF,
            "legal_bases: [CRPA-L114-8-I, CRPA-L114-8-II]",
            "legal_bases: []",
            "legal_bases",
            "legal_bases",
        ),
        (
            QF,
            "assurance: eidas1",
            "secrecy: {kind: secret_medical}\nassurance: eidas1",
            "legal_secrecy",
            "assurance",
        ),
        (
            QF,
            "assurance: eidas1",
            "secrecy: {kind: defense, waiver: TEXTE:X}\nassurance: eidas1",
            "legal_secrecy",
            "assurance",
        ),
        (
            QF,
            "assurance: eidas1",
            "secrecy: {kind: secret_fiscal, waiver: RGPD-6-1-a}\nassurance: eidas1",
            "legal_secrecy",
            "assurance",
        ),
        // The text that lifts the secrecy is not one on which the datatype is fetched.
        (
            QF,
            "legal_bases: [CRPA-L114-8-I, CRPA-L114-8-II]",
            "secrecy: {kind: secret_medical, waiver: TEXTE:X}\nlegal_bases: [TEXTE:Y]",
            "legal_secrecy",
            "legal_bases",
        ),
        (
            FRAUDE,
            "legal_bases: [\"TEXTE:CMF-L561-46\"]",
            "legal_bases: [CRPA-L114-8-II]",
            "legal_fraud",
            "fraud_detection",
        ),
        (QF, "kind: self", "kind: child", "child_link", "kind: self"),
        (
            QF,
            "{at: /enfants/*, role: child, family_name: nom_naissance",
            "{at: /enfants/*, role: child, family_name: nom",
            "persons",
            "{at: /enfants/*",
        ),
        (
            QF,
            "absence_when: []",
            "absence_when: [{status: 502, code: \"37003\"}]",
            "absence_when",
            "absence_when",
        ),
        (
            QF,
            "absence_when: []",
            "absence_when: [{status: 404, code: \"\"}]",
            "absence_when",
            "absence_when",
        ),
        (
            QF,
            "{unit: month, past: 23}",
            "{unit: none, past: 23}",
            "period",
            "period:",
        ),
        (QF, "timeout_ms: 10000", "timeout_ms: 0", "timeout", "timeout_ms"),
        (
            QF,
            "pointers: [/adresse]",
            "pointers: [/adresse/rue]",
            "unit_pointer",
            "pointers: [/adresse]",
        ),
        (
            QF,
            "pointers: [/adresse]",
            "pointers: [/adresse/*]",
            "unit_pointer",
            "pointers: [/adresse]",
        ),
        (
            QF,
            "pointers: [/adresse]",
            "pointers: [/adresse/pays]",
            "uncovered",
            "destinataire: {type",
        ),
        (
            QF,
            "- name: composition",
            "- name: valeur",
            "duplicate",
            "- name: composition",
        ),
        (
            QF,
            "lieu_dit: {type: [string, \"null\"]}",
            "lieu_dit: {format: date}",
            "schema",
            "lieu_dit: {",
        ),
        (
            QF,
            "lieu_dit: {type: [string, \"null\"]}",
            "lieu_dit: {type: strin}",
            "schema",
            "lieu_dit: {",
        ),
        (
            QF,
            "\"valeur\": 900",
            "\"valeur\": \"900\"",
            "sample",
            "payload: |",
        ),
        (
            QF,
            "\"valeur\": 900",
            "\"valeur\": 900, \"valeur\": 901",
            "sample",
            "payload: |",
        ),
        (
            QF,
            "url: https://www.caf.fr",
            "url: http://www.caf.fr",
            "url",
            "url: https",
        ),
        (
            QF,
            "  en: your income",
            "  en: \"\" #",
            "words",
            "  en: your income",
        ),
        (
            ELEVE,
            "unit: composition,",
            "unit: enfants,",
            "child_link",
            "link:",
        ),
        // A unit that names no family proves no link.
        (
            ELEVE,
            "unit: composition,",
            "unit: adresse,",
            "child_link",
            "link:",
        ),
        (
            ELEVE,
            "asked_by: parental_authority\n    link:\n      attestation: {datatype: cnaf/quotient-familial, unit: composition, max_age_days: 31}",
            "asked_by: parental_authority",
            "child_link",
            "- kind: child",
        ),
        (
            TRANSPORT,
            "fixed: [composition]\n    free: []",
            "fixed: [valeur]\n    free: [composition]",
            "child_link",
            "- datatype: men/",
        ),
        (
            CANTINE,
            "cnaf/quotient-familial@1",
            "cnaf/quotient-familial@2",
            "unknown_datatype",
            "- datatype: cnaf",
        ),
        (
            CANTINE,
            "fixed: [valeur]",
            "fixed: [montant]",
            "unknown_unit",
            "fixed: [valeur]",
        ),
        (
            CANTINE,
            "free: [composition, adresse]",
            "free: [valeur]",
            "duplicate",
            "free: [composition",
        ),
        (
            CANTINE,
            "- [cnaf/quotient-familial]",
            "- [men/statut-eleve]",
            "unknown_datatype",
            "- [cnaf/quotient",
        ),
        (
            CANTINE,
            "waiver: TEXTE:CRPA-L114-8",
            "",
            "legal_secrecy",
            "- datatype: dgfip",
        ),
        (
            CANTINE,
            "waiver: TEXTE:CRPA-L114-8",
            "waiver: CRPA-L114-8-I",
            "legal_secrecy",
            "- datatype: dgfip",
        ),
        (
            CANTINE,
            "free: [composition, adresse]",
            "free: [composition, adresse]\n    waiver: TEXTE:X",
            "legal_secrecy",
            "- datatype: cnaf",
        ),
        (
            CANTINE,
            "participants: [collectivite]",
            "participants: [prive]",
            "legal_private",
            "legal_bases",
        ),
        (
            CANTINE,
            "legal_bases: [CRPA-L114-8-I]",
            "legal_bases: [CRPA-L114-8-II]",
            "presence",
            "presence:",
        ),
        (
            CANTINE,
            "data_life_days: 366",
            "data_life_days: 3660",
            "data_life",
            "data_life_days",
        ),
        (CANTINE, "id: cantine", "id: cantines", "file_name", "id: cantine"),
        (
            "producers/cnaf.yaml",
            "participant: urn:unefois:participant:18003506500010\n",
            "",
            "producer_answers",
            "id: cnaf",
        ),
        (
            "producers/men.yaml",
            "11004301500012",
            "18003506500010",
            "duplicate",
            "participant:",
        ),
        (
            "producers/men.yaml",
            "11004301500012",
            "11004301500013",
            "shape",
            "participant:",
        ),
    ] {
        let problems = broken(file, from, to);
        // A text that adds a line moves what stood on its own line by one.
        let at = line(file, at);
        let there = |p: &&Problem| p.line == at || (p.line == at + 1 && to.contains('\n'));
        let found = problems
            .iter()
            .find(|p| p.file == file && p.code == code && there(p));
        let found = found.unwrap_or_else(|| panic!("{code} at line {at}: {problems:?}"));
        assert!(found.column > 0 && !found.message.is_empty());
    }
}

#[test]
fn all_problems_are_reported_not_only_the_first() {
    let files: Vec<(&str, String)> = FILES
        .iter()
        .map(|(path, text)| {
            let text = text
                .replace("timeout_ms: 10000", "timeout_ms: 1")
                .replace("rate_per_minute: 100", "rate_per_minute: 0");
            (*path, text)
        })
        .collect();
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(p, t)| (*p, t.as_str()))
        .chain([("notes.txt", "")])
        .collect();
    let problems = Catalogue::load(&files).unwrap_err();
    let count = |code| problems.iter().filter(|p| p.code == code).count();
    assert_eq!((count("timeout"), count("rate"), count("file_place")), (3, 4, 1));
    assert!(problems.is_sorted());
}

#[test]
fn more_units_than_bits_do_not_load() {
    let units: String = (0..65)
        .map(|n| format!("  - {{name: u{n}, label: {{fr: a, en: b}}, pointers: [/adresse], concerns: none, retention_days: 1}}\n"))
        .collect();
    let problems = broken(QF, "units:\n", &format!("units:\n{units}"));
    assert!(problems.iter().any(|p| p.code == "units_count"), "{problems:?}");
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

const ANSWER: &str = r#"{"quotient_familial": {"fournisseur": "MSA", "valeur": 900, "annee": 2026, "mois": 5,
    "annee_calcul": 2026, "mois_calcul": 10, "interne": "SECRET"},
    "allocataires": [{"nom_naissance": "DUBOIS", "prenoms": "ANGELA", "date_naissance": "1962-08-24", "nir": "SECRET"}],
    "enfants": [], "adresse": null, "dossier": {"ressources": "SECRET"}}"#;

#[test]
fn a_source_that_breaks_its_schema_gives_nothing() {
    let catalogue = catalogue();
    for (from, to, at) in [
        ("\"valeur\": 900", "\"valeur\": null", "/quotient_familial/valeur"),
        ("\"valeur\": 900,", "", "/quotient_familial/valeur"),
        (
            "\"valeur\": 900",
            "\"valeur\": {\"x\": \"SECRET\"}",
            "/quotient_familial/valeur",
        ),
        ("\"enfants\": []", "\"enfants\": \"SECRET\"", "/enfants"),
        ("\"adresse\": null", "\"adresse\": null, \"adresse\": null", ""),
        ("1962-08-24", "24/08/1962", "/allocataires/0/date_naissance"),
    ] {
        let changed = ANSWER.replace(from, to);
        let violation = qf(&catalogue).accept(changed.as_bytes(), 4096).unwrap_err();
        assert_eq!(violation.at, at, "{to}");
        assert!(!violation.to_string().contains("SECRET"));
    }
    assert!(qf(&catalogue).accept(ANSWER.as_bytes(), 100).is_err(), "too long");
}

#[test]
fn unknown_keys_are_dropped_and_units_are_cut_byte_for_byte() {
    let catalogue = catalogue();
    let qf = qf(&catalogue);
    // An integer by its value, whatever its spelling: it must not change on the way.
    let answer = ANSWER.replace("\"valeur\": 900", "\"valeur\": 900.0");
    let accepted = qf.accept(answer.as_bytes(), 4096).unwrap();
    assert!(!accepted.text().contains("SECRET"));
    assert_eq!(accepted.holder().unwrap().to_string(), "msa");

    let [valeur, adresse] = ["valeur", "adresse"].map(|unit| unit.parse().unwrap());
    let units = accepted.cut(qf.unit_set([&adresse, &valeur]).unwrap()).unwrap();
    assert_eq!(
        units,
        [
            (
                valeur.clone(),
                r#"{"quotient_familial":{"fournisseur":"MSA","valeur":900.0,"annee":2026,"mois":5,"annee_calcul":2026,"mois_calcul":10}}"#
                    .to_owned()
            ),
            (adresse.clone(), r#"{"adresse":null}"#.to_owned()),
        ]
    );
    for (name, text) in &units {
        assert_eq!(qf.check_unit(name, text), Ok(()));
    }
    assert!(accepted.cut(UnitSet::EMPTY).unwrap().is_empty());
}

#[test]
fn a_unit_that_holds_more_than_its_own_is_refused_by_the_consumer() {
    let catalogue = catalogue();
    let qf = qf(&catalogue);
    let adresse = "adresse".parse().unwrap();
    for text in [
        r#"{"adresse":null,"enfants":[]}"#,
        r#"{"adresse":{"destinataire":"a","telephone":"1"}}"#,
        r#"{"adresse":"12 rue"}"#,
    ] {
        assert_eq!(
            qf.check_unit(&adresse, text),
            Err(UnitViolation::Excess),
            "{text}"
        );
    }
    assert!(matches!(
        qf.check_unit(&adresse, "{}"),
        Err(UnitViolation::Schema(_))
    ));
    assert!(matches!(
        qf.check_unit(&adresse, "{"),
        Err(UnitViolation::Malformed(_))
    ));
    let unknown = "revenu".parse().unwrap();
    assert_eq!(qf.check_unit(&unknown, "{}"), Err(UnitViolation::UnknownUnit));
}

#[test]
fn only_a_listed_status_and_code_certify_an_absence() {
    let catalogue = catalogue();
    let mut sheet = qf(&catalogue).sheet().clone();
    assert!(!sheet.certifies_absence(404, ["37003"]));
    sheet.absence_when.push(AbsenceWhen {
        status: 404,
        code: "37999".to_owned(),
    });
    assert!(sheet.certifies_absence(404, ["37999"]));
    assert!(
        !sheet.certifies_absence(404, ["37999", "37001"]),
        "an error stands beside it"
    );
    assert!(!sheet.certifies_absence(404, []));
    assert!(!sheet.certifies_absence(502, ["37999"]));
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
