use unefois_authority::portal::{
    Acting, ChildForm, Datatype, Demande, DemandeEnd, DemandeOutcome, Duration, FormError, Keeping, Lang,
    LegalGround, Pace, Source, Term, Unit,
};
use unefois_core::LegalBasis;

use super::{DPO, at, canteen, clamart, cnaf, mesr, publisher, quotient, request, student, words};

pub(super) fn unit(field: &str, label: &str, details: Option<&str>, required: bool) -> Unit {
    Unit {
        field: field.to_owned(),
        label: label.to_owned(),
        details: details.map(str::to_owned),
        also_about: None,
        required,
        ticked: false,
    }
}

/// Whoever runs the company is asked.
pub(super) fn demande_of_a_company(lang: Lang) -> Demande {
    Demande {
        acting: Some(Acting {
            principal: lang
                .t(
                    "l’entreprise de SIREN 219 200 235",
                    "the company of SIREN 219 200 235",
                )
                .to_owned(),
            mandate: None,
        }),
        ..demande(lang)
    }
}

/// The page of the story: two producers, one optional unit.
pub(crate) fn demande(lang: Lang) -> Demande {
    Demande {
        acting: None,
        action: "/demande/0h4s9".to_owned(),
        other_person: "/demande/0h4s9/autre".to_owned(),
        asker: clamart(lang),
        publisher: None,
        demarche: canteen(lang),
        dossier: "2026-0412".to_owned(),
        sources: vec![
            Source {
                name: cnaf(lang),
                holders: Some(lang.t("CAF et MSA", "CAF and MSA").to_owned()),
                datatypes: vec![Datatype {
                    label: quotient(lang),
                    period: Some(lang.t("octobre 2026", "October 2026").to_owned()),
                    units: vec![
                        unit(
                            "u-0-valeur",
                            lang.t("Votre quotient familial", "Your family quotient"),
                            Some(lang.t("montant, mois de calcul", "amount, month of calculation")),
                            true,
                        ),
                        Unit {
                            also_about: Some(lang.t("vos enfants", "your children").to_owned()),
                            ..unit(
                                "u-0-composition",
                                lang.t("La composition de votre foyer", "Who lives in your household"),
                                Some(
                                    lang.t("nombre d’enfants et d’adultes", "number of children and adults"),
                                ),
                                false,
                            )
                        },
                    ],
                    link: None,
                    not_sent: words(&[
                        lang.t("adresse", "address"),
                        lang.t("dates de naissance", "dates of birth"),
                    ]),
                }],
            },
            Source {
                name: mesr(lang),
                holders: None,
                datatypes: vec![Datatype {
                    label: student(lang),
                    period: None,
                    units: vec![unit(
                        "u-1-inscription",
                        lang.t(
                            "Votre inscription dans l’enseignement supérieur",
                            "Your enrolment in higher education",
                        ),
                        Some(lang.t(
                            "inscrit ou non, dates de l’année",
                            "enrolled or not, dates of the year",
                        )),
                        true,
                    )],
                    link: None,
                    not_sent: words(&[
                        lang.t("établissement", "institution"),
                        lang.t("régime de formation", "type of course"),
                    ]),
                }],
            },
        ],
        terms: vec![Term {
            what: None,
            duration: Duration::Once,
            keeping: Keeping::Days(365),
        }],
        ground: request(lang),
        dpo: DPO.to_owned(),
        child: None,
        errors: Vec::new(),
    }
}

/// A child's page, come back with errors.
pub(super) fn demande_child(lang: Lang) -> Demande {
    Demande {
        publisher: publisher(lang),
        sources: vec![Source {
            name: lang
                .t("Ministère de l’Éducation nationale", "Ministry of Education")
                .to_owned(),
            holders: None,
            datatypes: vec![Datatype {
                label: lang.t("Statut d’élève", "Pupil status").to_owned(),
                period: Some(
                    lang.t("année scolaire 2026-2027", "school year 2026-2027")
                        .to_owned(),
                ),
                units: vec![unit(
                    "u-0-scolarise",
                    lang.t("La scolarisation de votre enfant", "Your child’s schooling"),
                    None,
                    true,
                )],
                link: None,
                not_sent: Vec::new(),
            }],
        }],
        terms: vec![Term {
            what: None,
            duration: Duration::Until {
                end: at("2027-08-31T21:59:59Z"),
                pace: Pace {
                    min_interval_s: Some(2_592_000),
                    max_count: None,
                },
            },
            keeping: Keeping::View,
        }],
        child: Some(ChildForm {
            birth_name: "DUBOIS".to_owned(),
            gender: "female".to_owned(),
            day: "31".to_owned(),
            month: "2".to_owned(),
            year: "2019".to_owned(),
            given_names: String::new(),
        }),
        errors: vec![FormError::ChildGivenNames, FormError::ChildBirthDate],
        ..demande(lang)
    }
}

/// Consent, come back because its box was not ticked.
pub(crate) fn demande_consent(lang: Lang) -> Demande {
    Demande {
        ground: LegalGround {
            basis: LegalBasis::Consent,
            text: None,
        },
        errors: vec![FormError::Consent],
        ..demande(lang)
    }
}

pub(super) fn end(lang: Lang, outcome: DemandeOutcome) -> DemandeEnd {
    let known = outcome != DemandeOutcome::Expired;
    DemandeEnd {
        asker: known.then(|| clamart(lang).name),
        back: known.then(|| "https://cantine.clamart.example/retour?error=access_denied".to_owned()),
        outcome,
    }
}
