use super::*;

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
