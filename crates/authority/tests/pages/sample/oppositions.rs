use unefois_authority::portal::{Done, Lang, Oppositions, Scope, Standing};

use super::{at, clamart};

fn transports(lang: Lang) -> String {
    lang.t(
        "Information sur le tarif social des transports",
        "Information about the reduced public transport fare",
    )
    .to_owned()
}

pub(super) fn oppositions(lang: Lang) -> Oppositions {
    let asker = || Some(clamart(lang).name);
    Oppositions {
        standing: vec![Standing {
            asker: asker(),
            demarche: Some(transports(lang)),
            since: at("2024-12-24T13:05:12Z"),
            ends_at: at("2026-12-24T22:59:59Z"),
            renew: Some("/oppositions/AAAA/prolonger".to_owned()),
            lift: "/oppositions/AAAA/lever".to_owned(),
        }],
        choices: vec![
            Scope {
                value: "tout".to_owned(),
                asker: None,
                demarche: None,
            },
            Scope {
                value: "urn:unefois:participant:21920023500014".to_owned(),
                asker: asker(),
                demarche: None,
            },
        ],
        months: 24,
        lapse_minutes: 6,
        until: Some(at("2028-11-24T22:59:59Z")),
        done: None,
        missing: false,
    }
}

/// Just after a person has objected to everything.
pub(super) fn oppositions_everything(lang: Lang) -> Oppositions {
    Oppositions {
        standing: vec![Standing {
            asker: None,
            demarche: None,
            since: at("2026-11-24T13:05:12Z"),
            ends_at: at("2028-11-24T22:59:59Z"),
            renew: None,
            lift: "/oppositions/AAAA/lever".to_owned(),
        }],
        choices: Vec::new(),
        done: Some(Done::Opposed),
        ..oppositions(lang)
    }
}
