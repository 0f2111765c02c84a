use super::*;

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
