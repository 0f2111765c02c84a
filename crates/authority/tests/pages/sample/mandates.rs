use unefois_authority::portal::{
    Choice, Lang, MandateCard, MandateError, MandateForm, MandateGrants, MandateInvitation, MandateState,
    MandateTaker, Mandates,
};

use super::{at, words};

fn company(lang: Lang) -> String {
    lang.t(
        "l’entreprise de SIREN 552 100 554",
        "the company of SIREN 552 100 554",
    )
    .to_owned()
}

fn card(lang: Lang, state: MandateState) -> MandateCard {
    MandateCard {
        by: Some("Camille EXEMPLE".to_owned()),
        to: Some("Angela DUBOIS".to_owned()),
        taker: None,
        accept: None,
        principal: company(lang),
        perimeter: words(&[lang.t("Candidature à un marché public", "Bid for a public contract")]),
        until: at("2027-03-31T21:59:59Z"),
        state,
        granted: (state == MandateState::Current).then(|| MandateGrants {
            all: 3,
            current: 1,
            href: "/autorisations?mandat=AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
        }),
        end: (state == MandateState::Current).then(|| "/mandats/AAAAAAAAAAAAAAAAAAAAAA/fin".to_owned()),
    }
}

/// Mandates in every state, one just given, and a form with all that may be wrong with it.
pub(crate) fn mandates(lang: Lang) -> Mandates {
    Mandates {
        invitation: Some(
            "https://autorite.example/mandats/invitation/dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
                .to_owned(),
        ),
        given: vec![
            MandateCard {
                to: None,
                end: Some("/mandats/AAAAAAAAAAAAAAAAAAAAAQ/fin".to_owned()),
                ..card(
                    lang,
                    MandateState::Waiting {
                        until: at("2026-12-01T10:00:00Z"),
                    },
                )
            },
            MandateCard {
                taker: Some(MandateTaker {
                    name: "Angela Claire Louise DUBOIS".to_owned(),
                    birthdate: "1962-08-24".parse().expect("a day"),
                    provider: "FranceConnect".to_owned(),
                    surely: false,
                }),
                accept: Some("/mandats/AAAAAAAAAAAAAAAAAAAAAg/accepter".to_owned()),
                end: Some("/mandats/AAAAAAAAAAAAAAAAAAAAAg/fin".to_owned()),
                ..card(
                    lang,
                    MandateState::Asked {
                        until: at("2026-12-01T10:00:00Z"),
                    },
                )
            },
            card(lang, MandateState::Recording),
            MandateCard {
                by: None,
                to: None,
                principal: lang
                    .t(
                        "mandat n° AAAAAAAAAAAAAAAAAAAAAw",
                        "mandate no. AAAAAAAAAAAAAAAAAAAAAw",
                    )
                    .to_owned(),
                perimeter: Vec::new(),
                end: Some("/mandats/AAAAAAAAAAAAAAAAAAAAAw/fin".to_owned()),
                ..card(
                    lang,
                    MandateState::Sealed {
                        since: at("2026-10-03T10:00:00Z"),
                    },
                )
            },
            card(lang, MandateState::Current),
            card(
                lang,
                MandateState::Ended {
                    at: at("2026-11-20T10:00:00Z"),
                },
            ),
        ],
        held: vec![
            MandateCard {
                by: None,
                principal: lang.t("Une personne", "A person").to_owned(),
                ..card(
                    lang,
                    MandateState::Asked {
                        until: at("2026-12-01T10:00:00Z"),
                    },
                )
            },
            card(lang, MandateState::Expired),
            card(lang, MandateState::Unsupported),
        ],
        form: Some(MandateForm {
            principal: company(lang),
            company: true,
            choices: vec![Choice {
                value: "p.marche-public".to_owned(),
                label: lang
                    .t("Candidature à un marché public", "Bid for a public contract")
                    .to_owned(),
                selected: false,
            }],
            until: "2031-01-01".to_owned(),
            days: ("2026-11-24".to_owned(), "2027-11-25".to_owned()),
            errors: vec![MandateError::Perimeter, MandateError::Until],
        }),
        certify: Some("/connexion?suite=%2Fmandats&niveau=certified".to_owned()),
    }
}

pub(crate) fn invitation(lang: Lang, own: bool) -> MandateInvitation {
    MandateInvitation {
        company: !own,
        own,
        perimeter: words(&[lang.t("Candidature à un marché public", "Bid for a public contract")]),
        until: at("2027-03-31T21:59:59Z"),
        shown: "0QVzEZzJ7oA1eDn5gH4m2w8Y3x6b9c_kLrTqUvXyZ01".to_owned(),
    }
}
