use unefois_authority::portal::{
    Act, Duration, EffectProof, EndError, Ender, GrantCard, GrantDetail, GrantPart, GrantState, Grants,
    Keeping, Lang, Missed, Narrow, NarrowEnd, NarrowPart, NarrowUnit, OnBehalf, Pace, Progress, SourceProof,
    Stage, Term, Withdraw, Withdrawn,
};

use super::{DPO, at, canteen, clamart, cnaf, mesr, publisher, quotient, request, student, words};

fn card(lang: Lang, id: &str, state: GrantState, exchanges: u32) -> GrantCard {
    GrantCard {
        asker: clamart(lang).name,
        publisher: None,
        demarche: canteen(lang),
        dossier: "2026-0412".to_owned(),
        what: vec![quotient(lang), student(lang)],
        duration: Duration::Once,
        state,
        on_behalf: OnBehalf::Yourself,
        exchanges,
        href: format!("/autorisations/{id}"),
        stop: (state == GrantState::Current).then(|| format!("/autorisations/{id}/arreter")),
        reminder: false,
    }
}

/// What others asked for, and a consent of four months ago.
pub(super) fn grants_of_others(lang: Lang) -> Grants {
    let by_officer = GrantCard {
        on_behalf: OnBehalf::Agent {
            motive: lang
                .t("demande reçue au guichet", "request received at the desk")
                .to_owned(),
        },
        ..card(lang, "a", GrantState::Current, 1)
    };
    let automatic = GrantCard {
        on_behalf: OnBehalf::Automatic,
        ..card(lang, "b", GrantState::Current, 0)
    };
    let old = GrantCard {
        reminder: true,
        ..card(lang, "c", GrantState::Current, 4)
    };
    Grants {
        by_mandate: false,
        current: vec![by_officer, automatic, old],
        unasked: 2,
        ..Grants::default()
    }
}

pub(super) fn grants(lang: Lang) -> Grants {
    let standing = GrantCard {
        asker: lang.t("CROUS de Lille", "CROUS of Lille").to_owned(),
        publisher: publisher(lang),
        demarche: lang
            .t("Bourse sur critères sociaux", "Needs-based grant")
            .to_owned(),
        dossier: "B-118-2026".to_owned(),
        what: vec![student(lang)],
        duration: Duration::Until {
            end: at("2027-08-31T21:59:59Z"),
            pace: Pace {
                min_interval_s: Some(2_592_000),
                max_count: None,
            },
        },
        ..card(lang, "b", GrantState::Current, 3)
    };
    Grants {
        by_mandate: false,
        current: vec![card(lang, "a", GrantState::Current, 0), standing],
        ended: vec![
            card(
                lang,
                "c",
                GrantState::Ended {
                    at: at("2025-11-03T09:00:00Z"),
                },
                1,
            ),
            card(
                lang,
                "e",
                GrantState::Withdrawn {
                    by: Ender::Asker,
                    at: at("2025-12-01T10:12:00Z"),
                    effective_at: None,
                },
                1,
            ),
        ],
        stopped: vec![card(
            lang,
            "d",
            GrantState::Withdrawn {
                by: Ender::Person,
                at: at("2026-02-10T16:42:00Z"),
                effective_at: None,
            },
            2,
        )],
        unasked: 0,
    }
}

pub(super) fn grant(lang: Lang) -> GrantDetail {
    GrantDetail {
        asker: clamart(lang),
        publisher: publisher(lang),
        demarche: canteen(lang),
        dossier: "2026-0412".to_owned(),
        granted_at: at("2026-11-24T13:05:12Z"),
        on_behalf: OnBehalf::Yourself,
        state: GrantState::Current,
        parts: vec![
            GrantPart {
                source: cnaf(lang),
                label: quotient(lang),
                units: words(&[lang.t("Votre quotient familial", "Your family quotient")]),
                left_out: words(&[lang.t("La composition de votre foyer", "Who lives in your household")]),
                taken_out: Vec::new(),
            },
            GrantPart {
                source: mesr(lang),
                label: student(lang),
                units: words(&[lang.t(
                    "Votre inscription dans l’enseignement supérieur",
                    "Your enrolment in higher education",
                )]),
                left_out: Vec::new(),
                taken_out: Vec::new(),
            },
        ],
        terms: vec![Term {
            what: None,
            duration: Duration::Once,
            keeping: Keeping::Days(365),
        }],
        ground: request(lang),
        dpo: DPO.to_owned(),
        exchanges: 2,
        history: "/historique?autorisation=a".to_owned(),
        narrow: Some("/autorisations/a/limiter".to_owned()),
        stop: Some("/autorisations/a/arreter".to_owned()),
        limited_at: None,
        progress: None,
        proof: None,
        receipt: "/autorisations/a/recu.json".to_owned(),
    }
}

/// A grant of which something was taken out, and nothing is left of one part.
/// A grant that nobody was asked for.
pub(super) fn grant_unasked(lang: Lang) -> GrantDetail {
    GrantDetail {
        on_behalf: OnBehalf::Automatic,
        ..grant(lang)
    }
}

pub(super) fn grant_limited(lang: Lang, effective: bool) -> GrantDetail {
    let mut page = grant(lang);
    for part in &mut page.parts {
        part.taken_out.append(&mut part.left_out);
    }
    let all = page.parts.last_mut().expect("two parts");
    all.taken_out.append(&mut all.units);
    GrantDetail {
        narrow: None,
        limited_at: effective.then(|| at(EFFECTIVE)),
        progress: (!effective).then(|| Progress {
            act: Act::Limit,
            proof: Some("/autorisations/a?attendre=oui#preuve".to_owned()),
            ..progress(Stage::UnderWay)
        }),
        proof: effective.then(|| proof(lang, Act::Limit)),
        ..page
    }
}

/// A grant that was withdrawn, as long as the proof's entry is not written.
pub(super) fn grant_just_effective(lang: Lang) -> GrantDetail {
    let proof = EffectProof {
        download: None,
        ..proof(lang, Act::Stop)
    };
    GrantDetail {
        proof: Some(proof),
        ..grant_withdrawn(lang, Ender::Person, true)
    }
}

fn proof(lang: Lang, act: Act) -> EffectProof {
    let source = |source: String, acknowledged, lapsed| SourceProof {
        source,
        acknowledged,
        lapsed,
        opened: 0,
        absent: 0,
    };
    EffectProof {
        act,
        sources: vec![source(cnaf(lang), 2, 0), source(mesr(lang), 0, 1)],
        download: Some("/autorisations/a/preuve.json".to_owned()),
        refresh: "/autorisations/a?attendre=oui#preuve".to_owned(),
    }
}

pub(super) fn narrow(lang: Lang) -> Narrow {
    let unit = |name: &str, label: &str, required| NarrowUnit {
        field: format!("e0.{name}"),
        label: label.to_owned(),
        required,
        ticked: true,
    };
    Narrow {
        action: "/autorisations/a/limiter".to_owned(),
        cancel: "/autorisations/a".to_owned(),
        asker: clamart(lang).name,
        demarche: canteen(lang),
        dossier: "2026-0412".to_owned(),
        parts: vec![NarrowPart {
            field: "p0".to_owned(),
            source: cnaf(lang),
            label: quotient(lang),
            units: vec![
                unit(
                    "valeur",
                    lang.t("Votre quotient familial", "Your family quotient"),
                    true,
                ),
                unit(
                    "composition",
                    lang.t("La composition de votre foyer", "Who lives in your household"),
                    false,
                ),
            ],
        }],
        end: None,
        missed: None,
    }
}

/// Of a standing grant, its end included; `value` is what the field of the last day holds.
pub(super) fn shorten(lang: Lang, value: &str, error: Option<EndError>) -> Narrow {
    Narrow {
        end: Some(NarrowEnd {
            now: at("2026-11-24T13:05:00Z"),
            end: at("2027-08-31T21:59:59Z"),
            value: value.to_owned(),
            error,
        }),
        ..narrow(lang)
    }
}

/// After another tab changed the grant.
pub(super) fn narrow_again(lang: Lang, missed: Missed) -> Narrow {
    Narrow {
        missed: Some(missed),
        ..narrow(lang)
    }
}

pub(super) fn withdraw(lang: Lang) -> Withdraw {
    Withdraw {
        action: "/autorisations/a/arreter".to_owned(),
        cancel: "/autorisations/a".to_owned(),
        asker: clamart(lang).name,
        what: words(&[lang.t("votre quotient familial", "your family quotient")]),
        demarche: canteen(lang),
        dossier: "2026-0412".to_owned(),
        nothing_sent: false,
        dpo: DPO.to_owned(),
    }
}

const RECORDED: &str = "2026-11-24T13:05:12.3Z";
pub(super) const EFFECTIVE: &str = "2026-11-24T13:05:13.1Z";

fn progress(stage: Stage) -> Progress {
    Progress {
        act: Act::Stop,
        recorded_at: at(RECORDED),
        stage,
        bound_ms: 1_050,
        follow: "/autorisations/a/effet?langue=fr".to_owned(),
        refresh: "/autorisations/a/arretee?attendre=oui".to_owned(),
        proof: None,
    }
}

pub(crate) fn withdrawn(lang: Lang, stage: Stage) -> Withdrawn {
    Withdrawn {
        asker: clamart(lang).name,
        what: words(&[lang.t("Quotient familial (CAF ou MSA)", "Family quotient (CAF or MSA)")]),
        progress: progress(stage),
        dpo: DPO.to_owned(),
        grant: "/autorisations/a".to_owned(),
        history: "/historique?autorisation=a".to_owned(),
    }
}

/// A grant that was withdrawn.
pub(super) fn grant_withdrawn(lang: Lang, by: Ender, effective: bool) -> GrantDetail {
    GrantDetail {
        state: GrantState::Withdrawn {
            by,
            at: at(RECORDED),
            effective_at: effective.then(|| at(EFFECTIVE)),
        },
        narrow: None,
        stop: None,
        progress: (!effective).then(|| Progress {
            act: match by {
                Ender::Person | Ender::Mandator | Ender::Mandate | Ender::Security | Ender::Unrecorded => {
                    Act::Stop
                }
                Ender::Asker => Act::GiveBack,
            },
            proof: Some("/autorisations/a?attendre=oui#preuve".to_owned()),
            ..progress(Stage::UnderWay)
        }),
        proof: effective.then(|| proof(lang, Act::Stop)),
        ..grant(lang)
    }
}
