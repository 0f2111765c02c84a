//! What comes after the decision: Retrait and Historique.

use std::collections::{BTreeMap, BTreeSet};

use unefois_authority::portal::Lang;

use crate::markup::{elements, text};
use crate::{each, page, sample};
#[test]
fn a_stop_is_recorded_with_its_bound_and_never_called_effective() {
    let html = page("retrait-enregistre", Lang::Fr);
    let status = elements(&html)
        .into_iter()
        .find(|e| e.attribute("role") == Some("status"))
        .unwrap();
    assert_eq!(status.attribute("aria-live"), Some("polite"));
    assert!(
        status.text.contains("Arrêt enregistré à\u{a0}14:05:12"),
        "{}",
        status.text
    );
    assert!(
        status.text.contains("Au plus tard une seconde après"),
        "{}",
        status.text
    );
    each(|name, _, html| {
        let shown = text(html).to_lowercase();
        for word in [
            "effectif",
            "effective",
            "prend effet",
            "takes effect",
            "taken effect",
        ] {
            assert!(!shown.contains(word), "{name} says {word} without a proof");
        }
    });
}

#[test]
fn history_tells_result_in_words_sign_and_colour_and_who_answered() {
    let html = page("historique", Lang::Fr);
    let shown = text(&html);
    for required in [
        "4 administrations sur 4 ont répondu",
        "mardi 24\u{a0}novembre\u{a0}2026",
        "La mairie de Clamart n’a rien reçu de la caisse nationale des allocations familiales",
        "La mairie de Clamart a reçu une réponse de la caisse nationale des allocations familiales",
        "devait recevoir une réponse du ministère de l’Enseignement supérieur",
        "refusé, rien n’a été transmis",
        "Vous avez arrêté cette autorisation.",
        "réception non confirmée",
        "arrêté avant l’envoi",
        "par un agent (motif\u{a0}: demande reçue au guichet)",
        "pour votre enfant Emma",
        "automatiquement",
        "septembre\u{a0}2026",
        "Ce qui n’est pas montré",
    ] {
        assert!(shown.contains(required), "{required}");
    }
    let all = elements(&html);
    let results: Vec<_> = all
        .iter()
        .filter(|e| e.attribute("class").is_some_and(|c| c.starts_with("result ")))
        .collect();
    assert_eq!(results.len(), 7);
    let signs: BTreeMap<_, _> = results
        .iter()
        .map(|r| {
            (
                r.attribute("class").unwrap(),
                r.text.trim().chars().next().unwrap(),
            )
        })
        .collect();
    assert_eq!(signs.len(), 5, "each kind has its colour");
    assert_eq!(
        signs.values().collect::<BTreeSet<_>>().len(),
        5,
        "and its own sign"
    );
    assert_eq!(
        all.iter()
            .filter(|e| e.name == "a" && e.text.starts_with("Je ne reconnais pas cet échange"))
            .count(),
        7
    );
    assert_eq!(
        all.iter()
            .filter(|e| e.name == "a" && e.text.starts_with("Preuve"))
            .count(),
        6
    );

    let silent = text(&page("historique-vide", Lang::Fr));
    assert!(silent.contains("2 administrations sur 4 ont répondu"));
    assert!(silent.contains("Des échanges plus récents existent"));
    assert!(silent.contains("Sans réponse pour l’instant\u{a0}: Ministère de l’Enseignement supérieur."));
    assert!(silent.contains("Aucun échange ne correspond à ces filtres."));
}

#[test]
fn an_empty_history_says_what_will_come() {
    let mut page = sample::history(Lang::Fr);
    page.rows.clear();
    page.months.clear();
    let html = sample::site().show(&sample::frame(Lang::Fr), &page).unwrap();
    assert!(text(&html).contains("Aucun échange. C’est ici que vous les verrez."));

    page.asked = 0;
    let html = sample::site().show(&sample::frame(Lang::Fr), &page).unwrap();
    let shown = text(&html);
    assert!(shown.contains("aucune administration n’avait à répondre"));
    assert!(
        !shown.contains("Filtrer") && !shown.contains("CSV"),
        "nothing to filter or to take home"
    );
}
