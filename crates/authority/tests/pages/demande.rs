//! Demande: what it says, how both choices weigh, what is ticked, how errors are said.

use unefois_authority::portal::{Demande, DemandeEnd, DemandeOutcome, Lang, LegalGround};
use unefois_core::LegalBasis;

use crate::markup::{elements, text};
use crate::{page, sample};

#[test]
fn demande_says_all_it_must_before_any_button() {
    let html = page("demande", Lang::Fr);
    let shown = text(&html);
    let (before, _) = shown.split_once("Récupérer pour moi").unwrap();
    for required in [
        "La mairie de Clamart demande 3\u{a0}informations, dont 1 facultative",
        "Étape 2 sur 2",
        "Votre identité, donnée par FranceConnect\u{a0}: Angela DUBOIS",
        "Ce n’est pas vous\u{202f}?",
        "Pour votre dossier «\u{a0}Tarif de la cantine 2026-2027\u{a0}» (n°\u{a0}2026-0412).",
        "SIREN\u{a0}219\u{a0}200\u{a0}235",
        "Caisse nationale des allocations familiales",
        "Répond pour\u{a0}: CAF et MSA",
        "Votre quotient familial",
        "montant, mois de calcul",
        "nécessaire",
        "facultatif",
        "Concerne aussi\u{a0}: vos enfants",
        "Ne sera pas transmis\u{a0}: adresse, dates de naissance",
        "Une seule fois. La mairie de Clamart conserve la réponse 12\u{a0}mois.",
        "Pourquoi la mairie de Clamart en a le droit",
        "Article L.\u{a0}114\u{2011}8, I, du code des relations entre le public et l’administration",
    ] {
        assert!(before.contains(required), "{required} in {before}");
    }
    for required in [
        "Si vous la fournissez vous-même, votre demande est traitée de la même façon.",
        "Vous pourrez voir chaque échange et arrêter à tout moment dans Mes autorisations.",
        "Délégué à la protection des données de la mairie de Clamart\u{a0}: dpo@clamart.example",
    ] {
        assert!(shown.contains(required), "{required}");
    }
}

#[test]
fn an_officer_reads_for_whom_and_why_before_any_button() {
    let shown = text(&page("agent", Lang::Fr));
    let (before, _) = shown.split_once("Récupérer ces informations").unwrap();
    for required in [
        "Demande par un agent",
        "Vous êtes connecté·e comme agent\u{a0}: Camille EXEMPLE",
        "La personne verra cet échange dans son historique, avec votre administration et votre motif, sans votre nom.",
        "Angela Claire Louise DUBOIS",
        "24\u{a0}août\u{a0}1962",
        "demande reçue au guichet",
        "SIREN\u{a0}219\u{a0}200\u{a0}235",
        "Votre quotient familial",
        "Concerne aussi\u{a0}: vos enfants",
        "Ne sera pas transmis\u{a0}: adresse, dates de naissance",
        "Une seule fois. La mairie de Clamart conserve la réponse 12\u{a0}mois.",
        "Article L.\u{a0}114\u{2011}8, I, du code des relations entre le public et l’administration",
    ] {
        assert!(before.contains(required), "{required} in {before}");
    }
}

/// What others asked for is marked where it is listed and where it is told, and said first.
#[test]
fn what_others_asked_for_is_marked() {
    let list = text(&page("autorisations-consentement", Lang::Fr));
    let (before, cards) = list.split_once("En cours").unwrap();
    assert!(
        before.contains("2 demandes vous concernant ont été faites sans vous"),
        "{before}"
    );
    assert!(
        cards.contains("Demandé par un agent (motif\u{a0}: demande reçue au guichet)"),
        "{cards}"
    );
    assert!(cards.contains("Demandé automatiquement"), "{cards}");
    assert!(
        cards.contains("Vous y consentez depuis plus de 90\u{a0}jours."),
        "{cards}"
    );
    assert!(!text(&page("autorisations", Lang::Fr)).contains("sans vous"));
    let history = text(&page("historique", Lang::Fr));
    for required in [
        "Demandé par vous",
        "Demandé par un agent (motif\u{a0}: demande reçue au guichet)",
        "Demandé pour votre enfant Emma",
        "Demandé automatiquement",
        "une information de votre foyer, pas à votre demande",
    ] {
        assert!(history.contains(required), "{required} in {history}");
    }
}

#[test]
fn both_choices_weigh_the_same_and_are_never_barred() {
    for (name, labels) in [
        (
            "demande",
            ["Récupérer pour moi", "Je fournirai la pièce moi-même"],
        ),
        ("demande-consentement", ["Je consens", "Je refuse"]),
        ("agent", ["Récupérer ces informations", "Ne rien récupérer"]),
    ] {
        let html = page(name, Lang::Fr);
        let buttons: Vec<_> = elements(&html)
            .into_iter()
            .filter(|e| e.name == "button" && e.attribute("name") == Some("choix"))
            .collect();
        assert_eq!(
            buttons.iter().map(|b| b.text.as_str()).collect::<Vec<_>>(),
            labels
        );
        let weight = |i: usize| {
            let mut attributes = buttons[i].attributes.clone();
            (attributes.remove("value"), attributes)
        };
        assert_eq!(
            weight(0).1,
            weight(1).1,
            "same class, same type, neither disabled"
        );
        assert_ne!(weight(0).0, weight(1).0);
        assert!(!html.contains("disabled") && !html.contains(" required"));
    }
}

#[test]
fn nothing_is_ticked_that_the_person_did_not_tick() {
    for lang in Lang::ALL {
        let html = page("demande", lang);
        let boxes: Vec<_> = elements(&html)
            .into_iter()
            .filter(|e| e.attribute("type") == Some("checkbox"))
            .collect();
        assert_eq!(
            boxes.iter().map(|b| b.id()).collect::<Vec<_>>(),
            ["u-0-composition"],
            "only what is optional"
        );
        assert!(boxes.iter().all(|b| b.attribute("checked").is_none()));

        let mut ticked = sample::demande(lang);
        ticked.sources[0].datatypes[0].units[1].ticked = true;
        let html = sample::site().show(&sample::frame(lang), &ticked).unwrap();
        assert_eq!(
            elements(&html)
                .iter()
                .filter(|e| e.attribute("checked").is_some())
                .count(),
            1
        );
    }
    let consent = page("demande-consentement", Lang::Fr);
    assert!(
        elements(&consent)
            .iter()
            .all(|e| e.attribute("checked").is_none()),
        "« Je consens » is not ticked"
    );
}

#[test]
fn an_error_stands_at_its_field_and_in_a_summary_that_takes_focus() {
    for (name, fields) in [
        ("demande-enfant", &["enfant_prenoms", "enfant_jour"][..]),
        ("demande-consentement", &["accord"]),
    ] {
        let html = page(name, Lang::Fr);
        let all = elements(&html);
        let summary = all.iter().find(|e| e.attribute("role") == Some("alert")).unwrap();
        assert_eq!(
            (summary.attribute("tabindex"), summary.attribute("autofocus")),
            (Some("-1"), Some(""))
        );
        assert!(
            all.iter()
                .find(|e| e.name == "title")
                .unwrap()
                .text
                .starts_with("Erreur"),
            "{name}"
        );
        for field in fields {
            let link = all
                .iter()
                .find(|e| e.attribute("href") == Some(&format!("#{field}")))
                .unwrap();
            let input = all.iter().find(|e| e.id() == *field).unwrap();
            let said = all
                .iter()
                .find(|e| Some(e.id()) == input.attribute("aria-describedby"))
                .unwrap();
            assert_eq!(input.attribute("aria-invalid"), Some("true"));
            assert!(
                said.text.ends_with(&link.text),
                "{name}: the same words in both places"
            );
        }
        assert_eq!(html.matches("aria-invalid").count(), fields.len());
    }
    assert!(!page("demande", Lang::Fr).contains("role=\"alert\""));
}

#[test]
fn tries_left_are_said_to_the_last() {
    for (tries_left, expected) in [
        (0, "ne reste plus d’essai"),
        (1, "Il reste un essai"),
        (2, "Il reste 2 essais"),
    ] {
        let outcome = DemandeOutcome::Mismatch { tries_left };
        let page = DemandeEnd {
            asker: None,
            back: None,
            outcome,
        };
        let html = sample::site().show(&sample::frame(Lang::Fr), &page).unwrap();
        assert!(text(&html).contains(expected), "{tries_left}");
    }
}

#[test]
fn other_grounds_say_themselves() {
    for (basis, fr, en) in [
        (
            LegalBasis::Proactive,
            "Vous pouvez vous y opposer",
            "You may object",
        ),
        (
            LegalBasis::Text("LPF-L103".to_owned()),
            "Un texte particulier prévoit cet échange",
            "A specific text provides",
        ),
    ] {
        for lang in Lang::ALL {
            let page = Demande {
                ground: LegalGround {
                    basis: basis.clone(),
                    text: None,
                },
                ..sample::demande(lang)
            };
            let html = sample::site().show(&sample::frame(lang), &page).unwrap();
            assert!(text(&html).contains(lang.t(fr, en)), "{basis} {lang:?}");
            assert!(!html.to_lowercase().contains("consent"));
        }
    }
}
