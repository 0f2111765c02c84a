use unefois_authority::portal::{
    Choice, ExchangeResult, Filters, History, HistoryRow, Lang, LegalGround, MonthCount, Named, OnBehalf,
    OtherKind, OtherRow,
};
use unefois_core::{Capacity, LegalBasis, Month, Reason};

use super::{at, canteen, clamart, cnaf, mesr, quotient, request, student, words};

fn row(lang: Lang, id: &str, when: &str, result: ExchangeResult) -> HistoryRow {
    HistoryRow {
        id: format!("e-{id}"),
        at: at(when),
        asker: clamart(lang).name,
        source: cnaf(lang),
        what: words(&[lang.t("Votre quotient familial", "Your family quotient")]),
        demarche: canteen(lang),
        holder: None,
        dossier: Some("2026-0412".to_owned()),
        ground: request(lang),
        on_behalf: OnBehalf::Yourself,
        result,
        proof: Some(format!("/preuves/{id}.tlog-proof")),
        receipt: Some(format!("/preuves/{id}.json")),
        report: "/aide#echange-inconnu".to_owned(),
        correct: Some("https://www.caf.example/contact".to_owned()),
    }
}

fn named(id: &str, words: String) -> Named {
    Named {
        id: id.to_owned(),
        words,
    }
}

pub(crate) fn history(lang: Lang) -> History {
    let student_row = HistoryRow {
        source: mesr(lang),
        what: words(&[lang.t(
            "Votre inscription dans l’enseignement supérieur",
            "Your enrolment in higher education",
        )]),
        correct: None,
        ..row(lang, "2", "2026-11-24T13:05:14Z", ExchangeResult::Unconfirmed)
    };
    let officer = HistoryRow {
        on_behalf: OnBehalf::Agent {
            motive: lang
                .t("demande reçue au guichet", "request received at the desk")
                .to_owned(),
        },
        ..row(lang, "5", "2026-09-02T07:30:00Z", ExchangeResult::ToCheck)
    };
    let child = HistoryRow {
        on_behalf: OnBehalf::Child {
            given_name: Some("Emma".to_owned()),
        },
        ground: LegalGround {
            basis: LegalBasis::Text("CSP-R3131".to_owned()),
            text: Some("CSP, R. 3131".to_owned()),
        },
        ..row(
            lang,
            "6",
            "2026-09-01T22:10:00Z",
            ExchangeResult::Later(Some(Reason::SourceTimeout)),
        )
    };
    let choice = |value: &str, label: String| Choice {
        value: value.to_owned(),
        label,
        selected: false,
    };
    let month = |month, counts| MonthCount {
        month: Month { year: 2026, month },
        counts,
    };
    History {
        from: at("2023-11-24T13:10:00Z"),
        until: at("2026-11-24T13:10:00Z"),
        asked: 4,
        silent: Vec::new(),
        incomplete: Vec::new(),
        unread: 0,
        erased: 0,
        rows: vec![
            row(
                lang,
                "1",
                "2026-11-24T13:05:20Z",
                ExchangeResult::Refused(Reason::GrantRevoked),
            ),
            student_row,
            row(lang, "3", "2026-11-24T13:05:13Z", ExchangeResult::Answered),
            row(lang, "4", "2026-10-05T08:00:00Z", ExchangeResult::Withheld),
            officer,
            child,
            HistoryRow {
                holder: Some(
                    lang.t("Mutualité sociale agricole", "Agricultural social insurance fund")
                        .to_owned(),
                ),
                what: words(&[lang.t("La composition de votre foyer", "The members of your household")]),
                dossier: None,
                on_behalf: OnBehalf::AboutYou(Capacity::Child),
                ..row(lang, "8", "2026-09-01T09:00:00Z", ExchangeResult::Answered)
            },
            HistoryRow {
                on_behalf: OnBehalf::Automatic,
                proof: None,
                receipt: None,
                ..row(lang, "7", "2026-09-01T06:00:00Z", ExchangeResult::Expired)
            },
        ],
        others: vec![
            OtherRow::new(
                OtherKind::Household,
                at("2026-10-01T09:00:00Z"),
                named("180035065", cnaf(lang)),
                Some(named("cnaf/quotient-familial", quotient(lang))),
            ),
            OtherRow::new(
                OtherKind::Near,
                at("2026-09-01T09:00:00Z"),
                named("110044013", mesr(lang)),
                None,
            ),
        ],
        more_others: true,
        near_incomplete: vec![mesr(lang)],
        shared: true,
        months: vec![
            month(11, [1, 1, 0, 1, 0]),
            month(10, [0, 0, 0, 1, 0]),
            month(9, [1, 0, 1, 1, 1]),
        ],
        filters: Filters {
            administrations: vec![
                choice("219200235", clamart(lang).name),
                choice("180035065", cnaf(lang)),
            ],
            information: vec![
                choice("cnaf/quotient-familial", quotient(lang)),
                choice("mesr/statut-etudiant", student(lang)),
            ],
            ..Filters::default()
        },
        csv: "/historique.csv".to_owned(),
        json: "/historique.json".to_owned(),
        older: None,
    }
}

/// Some administrations silent or not read to the end, a filter on, a period that is none, nothing found.
pub(crate) fn history_empty(lang: Lang) -> History {
    let full = history(lang);
    History {
        silent: vec![mesr(lang)],
        incomplete: vec![cnaf(lang)],
        unread: 1,
        erased: 2,
        rows: Vec::new(),
        others: Vec::new(),
        more_others: false,
        near_incomplete: Vec::new(),
        shared: false,
        months: Vec::new(),
        filters: Filters {
            from: "2026-12-01".to_owned(),
            to: "2026-11-01".to_owned(),
            grant: Some("a".to_owned()),
            invalid_period: true,
            ..full.filters
        },
        older: Some("/historique?avant=1".to_owned()),
        ..full
    }
}
