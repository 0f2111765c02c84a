//! The pages filled with what the demo's people and administrations would see.

mod agent;
mod demande;
mod grants;
mod history;
mod mandates;
mod oppositions;

pub(crate) use agent::agent;
pub(crate) use demande::{demande, demande_consent};
use demande::{demande_child, demande_of_a_company, end};
pub(crate) use grants::withdrawn;
use grants::{
    EFFECTIVE, grant, grant_just_effective, grant_limited, grant_unasked, grant_withdrawn, grants,
    grants_of_others, narrow, narrow_again, shorten, withdraw,
};
pub(crate) use history::{history, history_empty};
use mandates::{invitation, mandates};
use oppositions::{oppositions, oppositions_everything};
use unefois_authority::portal::{
    Accessibility, Already, Audience, DemandeOutcome, EndError, Ender, ErrorPage, Failure, Frame, Grants,
    Help, Home, Lang, LegalGround, LoggedOut, Login, LoginError, Missed, Office, Oppositions, Organisation,
    Page, Person, Privacy, Provider, Publisher, SessionExpired, Site, Stage, Theme,
};
use unefois_core::{LegalBasis, Micros};

pub(crate) const CSRF: &str = "b3duZXItb2YtdGhlLWZvcm0";
pub(crate) const DPO: &str = "dpo@clamart.example";

pub(crate) fn site() -> Site {
    Site::new("unefois", Theme::default())
}

pub(crate) fn frame(lang: Lang) -> Frame {
    Frame {
        lang,
        person: Some(Person {
            name: "Angela DUBOIS".to_owned(),
            provider: "FranceConnect".to_owned(),
            office: None,
        }),
        csrf: CSRF.to_owned(),
        other_lang: "?lang=autre".to_owned(),
        demonstration: false,
    }
}

fn officer(lang: Lang) -> Frame {
    Frame {
        person: Some(Person {
            name: "Camille EXEMPLE".to_owned(),
            provider: "ProConnect".to_owned(),
            office: Some(Office {
                siret: "21920023500014".to_owned(),
                unit: Some("Service des écoles".to_owned()),
                is_run: false,
            }),
        }),
        ..frame(lang)
    }
}

/// Whoever runs a company.
fn boss(lang: Lang) -> Frame {
    let mut frame = officer(lang);
    if let Some(office) = frame.person.as_mut().and_then(|person| person.office.as_mut()) {
        office.is_run = true;
        office.unit = None;
    }
    frame
}

fn nobody(lang: Lang) -> Frame {
    Frame {
        person: None,
        csrf: String::new(),
        demonstration: true,
        ..frame(lang)
    }
}

pub(crate) fn at(text: &str) -> Micros {
    text.parse().expect("an instant")
}

fn words(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|t| (*t).to_owned()).collect()
}

fn publisher(lang: Lang) -> Option<Publisher> {
    Some(Publisher {
        name: lang
            .t("Éditeur de démonstration", "Demonstration publisher")
            .to_owned(),
    })
}

pub(crate) fn clamart(lang: Lang) -> Organisation {
    Organisation {
        name: lang.t("Mairie de Clamart", "Clamart Town Council").to_owned(),
        siren: "219200235".parse().expect("a SIREN"),
        card: Some("/participants/219200235".to_owned()),
    }
}

fn cnaf(lang: Lang) -> String {
    lang.t(
        "Caisse nationale des allocations familiales",
        "National Family Allowances Fund",
    )
    .to_owned()
}

fn mesr(lang: Lang) -> String {
    lang.t(
        "Ministère de l’Enseignement supérieur",
        "Ministry of Higher Education",
    )
    .to_owned()
}

fn canteen(lang: Lang) -> String {
    lang.t("Tarif de la cantine 2026-2027", "School meal price 2026-2027")
        .to_owned()
}

fn quotient(lang: Lang) -> String {
    lang.t("Quotient familial (CAF ou MSA)", "Family quotient (CAF or MSA)")
        .to_owned()
}

fn student(lang: Lang) -> String {
    lang.t("Statut étudiant", "Student status").to_owned()
}

pub(crate) fn request(lang: Lang) -> LegalGround {
    LegalGround {
        basis: LegalBasis::Request,
        text: Some(
            lang.t(
                "Délibération du conseil municipal du 12 mai 2026",
                "Council decision of 12 May 2026",
            )
            .to_owned(),
        ),
    }
}

fn error(failure: Failure) -> ErrorPage {
    ErrorPage {
        failure,
        code: Some("UF-0417".to_owned()),
        request_id: Some("01938f0e-7b1c-7c3a-9d54-1f2e3a4b5c6d".to_owned()),
        back: None,
    }
}

/// Every page in this language, under the name of its file.
pub(crate) fn all(lang: Lang) -> Vec<(&'static str, String)> {
    let site = site();
    let provider = |name: &str, audience| Provider {
        name: name.to_owned(),
        href: format!("/connexion/{}", name.to_lowercase()),
        audience,
    };
    let login = |asker: Option<String>, error| Login {
        providers: vec![
            provider("FranceConnect", Audience::Everybody),
            provider("ProConnect", Audience::Officers),
        ],
        officer: false,
        asker,
        error,
        already: None,
    };
    let again = |already, other| Login {
        already: Some(already),
        providers: vec![other],
        ..login(Some(clamart(lang).name), None)
    };
    let known = frame(lang);
    let nobody = nobody(lang);
    let officer = officer(lang);
    fn show(site: &Site, frame: &Frame, page: &impl Page) -> String {
        site.show(frame, page).expect("a page")
    }
    let mut pages = vec![
        ("accueil", show(&site, &nobody, &Home)),
        ("accueil-connecte", show(&site, &known, &Home)),
        (
            "connexion",
            show(&site, &nobody, &login(Some(clamart(lang).name), None)),
        ),
        (
            "connexion-renforcee",
            show(
                &site,
                &known,
                &again(
                    Already::LessSure {
                        provider: "FranceConnect".to_owned(),
                    },
                    provider("FranceConnect+", Audience::Verified),
                ),
            ),
        ),
        (
            "connexion-agent",
            show(
                &site,
                &officer,
                &again(Already::Officer, provider("FranceConnect", Audience::Everybody)),
            ),
        ),
        ("accueil-agent", show(&site, &officer, &Home)),
        ("agent", show(&site, &officer, &agent(lang))),
        (
            "agent-connexion",
            show(
                &site,
                &known,
                &Login {
                    officer: true,
                    ..again(Already::Person, provider("ProConnect", Audience::Officers))
                },
            ),
        ),
        (
            "agent-expiree",
            show(&site, &officer, &end(lang, DemandeOutcome::AgentExpired)),
        ),
        (
            "connexion-erreur",
            show(&site, &nobody, &login(None, Some(LoginError::Cancelled))),
        ),
        (
            "deconnecte",
            show(
                &site,
                &nobody,
                &LoggedOut {
                    provider: "FranceConnect".to_owned(),
                    end: "https://fc.example/logout".to_owned(),
                },
            ),
        ),
        ("demande", show(&site, &known, &demande(lang))),
        ("demande-enfant", show(&site, &known, &demande_child(lang))),
        (
            "demande-consentement",
            show(&site, &known, &demande_consent(lang)),
        ),
        (
            "demande-refusee",
            show(
                &site,
                &known,
                &end(lang, DemandeOutcome::Declined { consent: false }),
            ),
        ),
        (
            "demande-repondue",
            show(&site, &known, &end(lang, DemandeOutcome::Answered)),
        ),
        (
            "demande-expiree",
            show(&site, &nobody, &end(lang, DemandeOutcome::Expired)),
        ),
        (
            "demande-identite",
            show(
                &site,
                &known,
                &end(lang, DemandeOutcome::Mismatch { tries_left: 2 }),
            ),
        ),
        (
            "demande-entreprise",
            show(&site, &boss(lang), &demande_of_a_company(lang)),
        ),
        (
            "demande-autre-entreprise",
            show(
                &site,
                &boss(lang),
                &end(lang, DemandeOutcome::OtherCompany { tries_left: 1 }),
            ),
        ),
        (
            "demande-sans-mandat",
            show(&site, &known, &end(lang, DemandeOutcome::NoMandate)),
        ),
        ("autorisations", show(&site, &known, &grants(lang))),
        (
            "autorisations-consentement",
            show(&site, &known, &grants_of_others(lang)),
        ),
        ("autorisations-vide", show(&site, &known, &Grants::default())),
        ("autorisation", show(&site, &known, &grant(lang))),
        (
            "autorisation-automatique",
            show(&site, &known, &grant_unasked(lang)),
        ),
        ("oppositions", show(&site, &known, &oppositions(lang))),
        (
            "oppositions-erreur",
            show(
                &site,
                &known,
                &Oppositions {
                    missing: true,
                    ..oppositions(lang)
                },
            ),
        ),
        (
            "oppositions-tout",
            show(&site, &known, &oppositions_everything(lang)),
        ),
        ("limiter", show(&site, &known, &narrow(lang))),
        (
            "limiter-duree",
            show(&site, &known, &shorten(lang, "2027-08-31", None)),
        ),
        (
            "limiter-erreur",
            show(&site, &known, &shorten(lang, "2027-09-01", Some(EndError::Later))),
        ),
        (
            "limiter-depassee",
            show(&site, &known, &narrow_again(lang, Missed::All)),
        ),
        (
            "limiter-en-partie",
            show(&site, &known, &narrow_again(lang, Missed::Some)),
        ),
        ("retrait", show(&site, &known, &withdraw(lang))),
        (
            "autorisation-retrait",
            show(&site, &known, &grant_withdrawn(lang, Ender::Person, false)),
        ),
        (
            "autorisation-effectif",
            show(&site, &known, &grant_withdrawn(lang, Ender::Person, true)),
        ),
        (
            "autorisation-effectif-recent",
            show(&site, &known, &grant_just_effective(lang)),
        ),
        (
            "autorisation-limitee",
            show(&site, &known, &grant_limited(lang, false)),
        ),
        (
            "autorisation-limitee-effectif",
            show(&site, &known, &grant_limited(lang, true)),
        ),
        (
            "autorisation-rendue",
            show(&site, &known, &grant_withdrawn(lang, Ender::Asker, false)),
        ),
        (
            "autorisation-securite",
            show(&site, &known, &grant_withdrawn(lang, Ender::Security, false)),
        ),
        (
            "autorisation-mandant-effectif",
            show(&site, &known, &grant_withdrawn(lang, Ender::Mandator, true)),
        ),
        (
            "autorisation-mandat",
            show(&site, &known, &grant_withdrawn(lang, Ender::Mandate, false)),
        ),
        (
            "autorisation-annulee-effectif",
            show(&site, &known, &grant_withdrawn(lang, Ender::Unrecorded, true)),
        ),
        (
            "autorisation-rendue-effectif",
            show(&site, &known, &grant_withdrawn(lang, Ender::Asker, true)),
        ),
        (
            "retrait-en-cours",
            show(&site, &known, &withdrawn(lang, Stage::UnderWay)),
        ),
        ("retrait-long", show(&site, &known, &withdrawn(lang, Stage::Late))),
        (
            "retrait-effectif",
            show(
                &site,
                &known,
                &withdrawn(lang, Stage::Effective { at: at(EFFECTIVE) }),
            ),
        ),
        ("historique", show(&site, &known, &history(lang))),
        ("mandats", show(&site, &known, &mandates(lang))),
        ("mandat-invitation", show(&site, &known, &invitation(lang, false))),
        (
            "mandat-invitation-soi",
            show(&site, &known, &invitation(lang, true)),
        ),
        ("historique-vide", show(&site, &known, &history_empty(lang))),
        (
            "donnees-personnelles",
            show(
                &site,
                &nobody,
                &Privacy {
                    controller: lang
                        .t(
                            "Direction interministérielle du numérique",
                            "Interministerial Digital Directorate",
                        )
                        .to_owned(),
                    dpo: "dpo@unefois.example".to_owned(),
                },
            ),
        ),
        (
            "accessibilite",
            show(
                &site,
                &nobody,
                &Accessibility {
                    controller: lang
                        .t(
                            "Direction interministérielle du numérique",
                            "Interministerial Digital Directorate",
                        )
                        .to_owned(),
                    contact: "accessibilite@unefois.example".to_owned(),
                },
            ),
        ),
        (
            "aide",
            show(
                &site,
                &known,
                &Help {
                    contact: "aide@unefois.example".to_owned(),
                },
            ),
        ),
        (
            "session",
            show(
                &site,
                &nobody,
                &SessionExpired {
                    login: "/connexion".to_owned(),
                    idle_minutes: 30,
                    high_idle_minutes: 10,
                },
            ),
        ),
    ];
    for (name, failure) in [
        ("erreur-400", Failure::BadRequest),
        ("erreur-403", Failure::Forbidden),
        ("erreur-404", Failure::NotFound),
        ("erreur-429", Failure::TooMany),
        ("erreur-500", Failure::Internal),
        ("erreur-503", Failure::Unavailable),
        ("erreur-recuperation", Failure::Recovering),
        ("erreur-agent", Failure::Officer),
        ("erreur-autre-administration", Failure::OtherBody),
        ("erreur-repondue", Failure::Closed),
        ("erreur-droits", Failure::NoLonger),
        ("erreur-connexion", Failure::LoginUnknown),
    ] {
        pages.push((name, show(&site, &nobody, &error(failure))));
    }
    pages
}
