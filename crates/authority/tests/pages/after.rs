//! What comes after the decision: Retrait and Historique.

use std::collections::{BTreeMap, BTreeSet};

use unefois_authority::portal::Lang;

use crate::markup::{Element, elements, text};
use crate::{each, page, sample};

/// The region that a withdrawal's page changes.
fn status(html: &str) -> Element {
    let all = elements(html);
    let mut found = all.into_iter().filter(|e| e.attribute("role") == Some("status"));
    let status = found.next().expect("a region");
    assert!(found.next().is_none(), "what is said once has one place");
    assert_eq!(status.attribute("aria-live"), Some("polite"));
    status
}

#[test]
fn a_withdrawal_is_recorded_with_its_bound_then_effective() {
    for (name, stage, says, means) in [
        (
            "retrait-en-cours",
            "under_way",
            "Retrait enregistré à\u{a0}14:05:12, en cours",
            "Au plus tard 1,1\u{a0}seconde après",
        ),
        (
            "retrait-long",
            "late",
            "Retrait enregistré à\u{a0}14:05:12, toujours en cours",
            "rien ne prouve encore",
        ),
        (
            "retrait-effectif",
            "effective",
            "Retrait effectif à\u{a0}14:05:13",
            "plus aucune administration ne transmet",
        ),
    ] {
        let html = page(name, Lang::Fr);
        let status = status(&html);
        assert_eq!(status.attribute("data-stage"), Some(stage));
        assert!(status.text.contains(says), "{}", status.text);
        assert!(status.text.contains(means), "{}", status.text);
        assert_eq!(
            status.attribute("data-effect").is_some(),
            stage != "effective",
            "what is proved is not followed"
        );
    }
}

/// What the script shows once it is effective: nothing else on the page changes.
#[test]
fn a_grants_page_holds_the_way_to_the_proof_for_later() {
    for name in [
        "autorisation-retrait",
        "autorisation-rendue",
        "autorisation-limitee",
    ] {
        let html = page(name, Lang::Fr);
        let region = html.split_once("role=\"status\"").expect("a region").1;
        let (region, _) = region.split_once("</div>").unwrap();
        let (_, proof) = region.split_once("<p data-proof hidden>").expect("in the region");
        assert!(proof.contains("?attendre=oui#preuve"), "{name}: {proof}");
        assert!(!html.contains("id=\"preuve\""), "{name}: not yet");
    }
    for name in [
        "autorisation-effectif",
        "autorisation-rendue-effectif",
        "autorisation-limitee-effectif",
    ] {
        let html = page(name, Lang::Fr);
        assert!(html.contains("<h2 id=\"preuve\">") && !html.contains("data-proof"));
    }
}

#[test]
fn nothing_is_called_effective_without_a_proof() {
    each(|name, _, html| {
        let shown = text(html).to_lowercase();
        let proved = name.contains("-effectif");
        let says = ["effectif", "effective"].iter().any(|word| shown.contains(word));
        assert_eq!(says, proved, "{name}");
        for word in ["prend effet", "takes effect", "taken effect"] {
            assert!(!shown.contains(word), "{name} says {word}");
        }
    });
}

#[test]
fn what_the_asker_gave_back_is_under_way_until_that_is_proved() {
    let html = page("autorisation-rendue", Lang::Fr);
    let status = status(&html);
    assert!(
        status
            .text
            .contains("Autorisation rendue à\u{a0}14:05:12, en cours"),
        "{}",
        status.text
    );
    assert!(status.attribute("data-effect").is_some(), "it is followed");
    assert!(!text(&html).contains("ne récupère plus rien"));

    let shown = text(&page("autorisation-rendue-effectif", Lang::Fr));
    for required in [
        "ne récupère plus rien depuis le mardi 24\u{a0}novembre\u{a0}2026 à 14:05:13",
        "Preuve du retrait",
        "Télécharger la preuve",
    ] {
        assert!(shown.contains(required), "{required}");
    }
}

#[test]
fn the_file_is_offered_once_its_entry_is_written() {
    let html = page("autorisation-effectif-recent", Lang::Fr);
    assert!(!html.contains("preuve.json"));
    let shown = text(&html);
    assert!(shown.contains("2 registres sur 2 ont confirmé"));
    assert!(shown.contains("sera proposé ici") && !shown.contains("peut le vérifier"));
    assert!(html.contains("?attendre=oui#preuve"));
}

#[test]
fn what_the_person_did_not_stop_says_why_it_ended() {
    for (name, tag, why) in [
        (
            "autorisation-securite",
            "Arrêtée par sécurité",
            Some("a été présenté deux fois"),
        ),
        (
            "autorisation-annulee-effectif",
            "Annulée",
            Some("n’a pas pu être enregistrée"),
        ),
        (
            "autorisation-rendue",
            "Rendue",
            Some("L’administration l’a rendue"),
        ),
        ("autorisation-retrait", "Arrêtée", None),
    ] {
        let html = page(name, Lang::Fr);
        let tags = elements(&html)
            .into_iter()
            .filter(|e| e.attribute("class") == Some("tag"));
        let tags: Vec<String> = tags.map(|e| e.text).collect();
        assert!(tags.iter().any(|text| text == tag), "{name}: {tags:?}");
        let after = html.split_once("<p class=\"state\">").unwrap().1;
        let sentence = after
            .split_once("</p>")
            .unwrap()
            .1
            .trim_start()
            .starts_with("<p>");
        assert_eq!(sentence, why.is_some(), "{name}");
        assert!(why.is_none_or(|why| text(&html).contains(why)), "{name}");
    }
}

#[test]
fn a_limitation_is_under_way_until_that_is_proved() {
    let html = page("autorisation-limitee", Lang::Fr);
    let status = status(&html);
    for required in [
        "Limitation enregistrée à\u{a0}14:05:12, en cours",
        "n’a pas reçu la limitation",
    ] {
        assert!(status.text.contains(required), "{}", status.text);
    }
    assert!(status.attribute("data-effect").is_some(), "it is followed");
    let shown = text(&html);
    assert!(shown.contains("Vous avez retiré\u{a0}: La composition de votre foyer"));
    assert!(!shown.contains("pas coché"), "what was granted was ticked");

    let shown = text(&page("autorisation-limitee-effectif", Lang::Fr));
    for required in [
        "En cours Limitation effective depuis le mardi 24\u{a0}novembre\u{a0}2026 à 14:05:13",
        "Preuve de la limitation",
        "2 registres sur 2 ont confirmé la limitation.",
        "Télécharger la preuve",
        "Arrêter cette autorisation",
    ] {
        assert!(shown.contains(required), "{required}");
    }
}

#[test]
fn the_proof_says_in_words_what_it_rests_on() {
    let shown = text(&page("autorisation-effectif", Lang::Fr));
    for required in [
        "Retrait effectif depuis le mardi 24\u{a0}novembre\u{a0}2026 à 14:05:13",
        "2 registres sur 2 ont confirmé le retrait.",
        "Le délai d’un registre injoignable s’est écoulé",
        "Télécharger la preuve",
    ] {
        assert!(shown.contains(required), "{required}");
    }
    assert!(!text(&page("autorisation-retrait", Lang::Fr)).contains("Preuve du retrait"));
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
        "Cette autorisation avait été arrêtée ou limitée, ou l’accès qui s’en servait avait été coupé.",
        "réception non confirmée",
        "arrêté avant l’envoi",
        "par un agent (motif\u{a0}: demande reçue au guichet)",
        "pour votre enfant Emma",
        "automatiquement",
        "Vous concerne, demandé par l’un de vos parents",
        "une information de votre foyer, pas à votre demande (Quotient familial (CAF ou MSA))",
        "une demande à un nom proche du vôtre",
        "Les plus récentes.",
        "numéro non montré",
        "Données de\u{a0}: Mutualité sociale agricole",
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
    assert_eq!(results.len(), 8);
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
        8
    );
    assert_eq!(
        all.iter()
            .filter(|e| e.name == "a" && e.text.starts_with("Preuve"))
            .count(),
        7
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
    page.others.clear();
    page.months.clear();
    let html = sample::site().show(&sample::frame(Lang::Fr), &page).unwrap();
    assert!(text(&html).contains("Aucun échange. C’est ici que vous les verrez."));
    // Of whoever cannot be told from a namesake, it is said all the same, without an empty list.
    let (_, around) = html.split_once(r#"id="autour""#).unwrap();
    let (around, _) = around.split_once("</section>").unwrap();
    assert!(
        around.contains("distinguer d’un homonyme") && !around.contains("<ul>"),
        "{around}"
    );
    page.shared = false;
    page.near_incomplete.clear();
    let html = sample::site().show(&sample::frame(Lang::Fr), &page).unwrap();
    assert!(!html.contains(r#"id="autour""#));

    page.asked = 0;
    let html = sample::site().show(&sample::frame(Lang::Fr), &page).unwrap();
    let shown = text(&html);
    assert!(shown.contains("aucune administration n’avait à répondre"));
    assert!(
        !shown.contains("Filtrer") && !shown.contains("CSV"),
        "nothing to filter or to take home"
    );
}
