//! What every page promises, on pages filled as the demo fills them, in both languages.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod markup;
mod sample;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use markup::{elements, text};
use unefois_authority::portal::{DemandeEnd, DemandeOutcome, Frame, Lang, LegalGround, Person, Theme};
use unefois_core::LegalBasis;

/// Calls `check` with the name, the language and the document of every page.
fn each(mut check: impl FnMut(&str, Lang, &str)) {
    for lang in Lang::ALL {
        for (name, html) in sample::all(lang) {
            check(&format!("{name}.{}", lang.code()), lang, &html);
        }
    }
}

#[test]
fn hostile_strings_stay_text() {
    const HOSTILE: &str =
        "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u{202e}evil\u{2066}\u{0}";
    let lang = Lang::Fr;
    let mut page = sample::demande(lang);
    page.demarche = HOSTILE.to_owned();
    page.dossier = HOSTILE.to_owned();
    page.asker.name = HOSTILE.to_owned();
    page.dpo = HOSTILE.to_owned();
    page.sources[0].name = HOSTILE.to_owned();
    page.sources[0].datatypes[0].units[1].label = HOSTILE.to_owned();
    page.sources[0].datatypes[0].units[1].field = HOSTILE.to_owned();
    let person = Person {
        name: HOSTILE.to_owned(),
        provider: HOSTILE.to_owned(),
    };
    let frame = Frame {
        person: Some(person),
        csrf: HOSTILE.to_owned(),
        ..sample::frame(lang)
    };

    let html = sample::site().show(&frame, &page).unwrap();

    let all = elements(&html);
    assert!(all.iter().all(|e| e.name != "script"), "no element came in");
    assert!(
        all.iter()
            .all(|e| e.attributes.keys().all(|a| !a.starts_with("on"))),
        "no attribute came in"
    );
    assert!(
        !html.contains(['\u{202e}', '\u{2066}', '\u{0}']),
        "no invisible direction mark"
    );
    assert!(
        text(&html).contains("<script>alert(1)</script>"),
        "the text is shown as it is"
    );
    assert!(
        text(&html).contains("\u{fffd}evil\u{fffd}\u{fffd}"),
        "the marks are made visible"
    );
}

#[test]
fn hostile_strings_stay_text_in_history() {
    const HOSTILE: &str = "</a><script src=//x>\u{202e}";
    let mut page = sample::history(Lang::Fr);
    page.rows[0].asker = HOSTILE.to_owned();
    page.rows[0].what = vec![HOSTILE.to_owned()];
    page.rows[0].proof = Some(HOSTILE.to_owned());
    page.filters.administrations[0].value = HOSTILE.to_owned();
    page.filters.from = HOSTILE.to_owned();
    page.silent = vec![HOSTILE.to_owned()];
    let html = sample::site().show(&sample::frame(Lang::Fr), &page).unwrap();
    assert!(elements(&html).iter().all(|e| e.name != "script"));
    assert!(!html.contains('\u{202e}'));
}

#[test]
fn no_page_needs_script_style_attribute_or_another_host() {
    each(|name, _, html| {
        for element in elements(html) {
            assert!(
                !["script", "style", "iframe", "base"].contains(&element.name.as_str()),
                "{name}: {}",
                element.name
            );
            for (attribute, value) in &element.attributes {
                assert!(
                    attribute != "style" && !attribute.starts_with("on"),
                    "{name}: {attribute}"
                );
                if attribute == "src" || (element.name == "link" && attribute == "href") {
                    assert!(value.starts_with("/static/"), "{name}: {value}");
                }
            }
        }
    });
}

#[test]
fn what_a_page_refers_to_exists() {
    let site = sample::site();
    let paths: BTreeSet<&str> = site.assets().iter().map(|a| a.path.as_str()).collect();
    each(|name, _, html| {
        let all = elements(html);
        let mut ids = BTreeSet::new();
        for id in all.iter().map(|e| e.id()).filter(|id| !id.is_empty()) {
            assert!(ids.insert(id.to_owned()), "{name}: id {id} stands twice");
        }
        for element in &all {
            for (attribute, value) in &element.attributes {
                let ids_named: Vec<&str> = match attribute.as_str() {
                    "aria-labelledby" | "aria-describedby" | "for" => value.split(' ').collect(),
                    "href" => value.strip_prefix('#').into_iter().collect(),
                    _ => Vec::new(),
                };
                for id in ids_named {
                    assert!(ids.contains(id), "{name}: {attribute} names {id}");
                }
                if value.starts_with("/static/") {
                    assert!(paths.contains(value.as_str()), "{name}: {value}");
                }
            }
        }
    });
}

#[test]
fn headings_are_one_first_then_in_order() {
    each(|name, _, html| {
        let mut before = 0;
        let mut firsts = 0;
        for element in elements(html) {
            let level = match element.name.as_str() {
                "h1" => 1,
                "h2" => 2,
                "h3" => 3,
                "h4" | "h5" | "h6" => panic!("{name}: {} is deeper than a page needs", element.name),
                _ => continue,
            };
            firsts += usize::from(level == 1);
            assert!(
                level <= before + 1,
                "{name}: h{level} after h{before}: {}",
                element.text
            );
            assert!(!element.text.trim().is_empty(), "{name}: empty heading");
            before = level;
        }
        assert_eq!(firsts, 1, "{name}");
    });
}

#[test]
fn every_field_has_a_label_and_every_changing_form_its_hidden_value() {
    each(|name, _, html| {
        let all = elements(html);
        let labels: BTreeMap<&str, &str> = all
            .iter()
            .filter(|e| e.name == "label")
            .filter_map(|e| Some((e.attribute("for")?, e.text.as_str())))
            .collect();
        for field in all
            .iter()
            .filter(|e| e.name == "select" || (e.name == "input" && e.attribute("type") != Some("hidden")))
        {
            let label = labels
                .get(field.id())
                .unwrap_or_else(|| panic!("{name}: no label for {field:?}"));
            assert!(!label.trim().is_empty(), "{name}: {field:?}");
        }
        for fieldset in html.split("<fieldset").skip(1) {
            assert!(
                fieldset
                    .split_once('>')
                    .is_some_and(|(_, inside)| inside.trim_start().starts_with("<legend>")),
                "{name}"
            );
        }
        for form in html
            .split("<form")
            .skip(1)
            .filter(|f| f.contains("method=\"post\""))
        {
            let form = form.split("</form>").next().unwrap();
            assert_eq!(
                form.matches(&format!("name=\"csrf\" value=\"{}\"", sample::CSRF))
                    .count(),
                1,
                "{name}"
            );
        }
    });
}

#[test]
fn every_page_says_its_language_and_can_be_skipped_through() {
    each(|name, lang, html| {
        let all = elements(html);
        let one = |tag: &str| {
            let found: Vec<_> = all.iter().filter(|e| e.name == tag).collect();
            assert_eq!(found.len(), 1, "{name}: one {tag}");
            found[0]
        };
        assert_eq!(one("html").attribute("lang"), Some(lang.code()), "{name}");
        assert_eq!(one("main").id(), "contenu", "{name}");
        assert!(one("title").text.trim().ends_with("– unefois"), "{name}");
        one("header");
        one("footer");
        let first = all.iter().find(|e| e.name == "a").unwrap();
        assert_eq!(
            first.attribute("href"),
            Some("#contenu"),
            "{name}: the first link skips to the contents"
        );
        assert!(html.starts_with("<!doctype html>"), "{name}");
        assert!(html.len() < 60_000, "{name}: {} bytes", html.len());
    });
}

#[test]
fn french_and_english_have_the_same_structure() {
    const COMPARED: [&str; 14] = [
        "h1", "h2", "h3", "p", "li", "a", "form", "input", "select", "option", "button", "label", "fieldset",
        "td",
    ];
    for ((name, fr), (_, en)) in sample::all(Lang::Fr).iter().zip(&sample::all(Lang::En)) {
        let count = |html: &str| {
            let all = elements(html);
            COMPARED.map(|tag| (tag, all.iter().filter(|e| e.name == tag).count()))
        };
        assert_eq!(count(fr), count(en), "{name}");
        assert!(!text(en).contains(['«', '»']), "{name}: French quotes in English");
    }
}

#[test]
fn no_exclamation_no_breaking_space_before_french_punctuation() {
    each(|name, lang, html| {
        let shown = text(html);
        assert!(!shown.contains('!'), "{name}");
        if lang.fr() {
            for wrong in [" :", " ;", " ?", " »", "« ", "n° "] {
                let place = shown.find(wrong).map(|at| {
                    shown[at.saturating_sub(24)..]
                        .chars()
                        .take(48)
                        .collect::<String>()
                });
                assert_eq!(place, None, "{name}: « {wrong} » breaks");
            }
        }
    });
}

/// On a page of `CRPA-L114-8-I` nobody is asked to consent, and nobody « shares their data ».
#[test]
fn words_of_consent_stay_on_pages_of_consent() {
    let forbidden = |html: &str| {
        let shown = html.to_lowercase();
        ["consent", "partager vos données", "share your data"]
            .into_iter()
            .find(|word| shown.contains(word))
    };
    each(|name, _, html| {
        let expected = if name.starts_with("demande-consentement") {
            Some("consent")
        } else {
            None
        };
        assert_eq!(forbidden(html), expected, "{name}");
    });
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
            let page = unefois_authority::portal::Demande {
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

#[test]
fn demande_says_all_it_must_before_any_button() {
    let html = page("demande", Lang::Fr);
    let shown = text(&html);
    let (before, _) = shown.split_once("Récupérer pour moi").unwrap();
    for required in [
        "La mairie de Clamart demande 3 informations",
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
fn both_choices_weigh_the_same_and_are_never_barred() {
    for (name, labels) in [
        (
            "demande",
            ["Récupérer pour moi", "Je fournirai la pièce moi-même"],
        ),
        ("demande-consentement", ["Je consens", "Je refuse"]),
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
    assert!(silent.contains("3 administrations sur 4 ont répondu"));
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
fn long_names_fit_in_the_page_limit() {
    let long = "Communauté d’agglomération ".repeat(40);
    let mut page = sample::history(Lang::Fr);
    page.rows.iter_mut().for_each(|row| row.asker = long.clone());
    let html = sample::site().show(&sample::frame(Lang::Fr), &page).unwrap();
    assert!(html.len() < 60_000, "{}", html.len());
}

/// Every pair of colours that carries text or the edge of a field, by WCAG 2.2's formula.
#[test]
fn contrast_of_the_theme_in_light_and_dark() {
    const TEXT: [(&str, &[&str]); 9] = [
        (
            "ink",
            &[
                "paper",
                "surface",
                "accent-soft",
                "danger-soft",
                "warn-soft",
                "ok-soft",
            ],
        ),
        ("ink-soft", &["paper", "surface"]),
        ("accent", &["paper", "surface", "accent-soft"]),
        ("accent-strong", &["paper", "surface", "accent-soft"]),
        ("on-accent", &["accent", "accent-strong"]),
        ("danger", &["paper", "surface", "danger-soft"]),
        ("on-danger", &["danger"]),
        ("ok", &["paper", "surface", "ok-soft"]),
        ("warn", &["paper", "surface", "warn-soft"]),
    ];
    const EDGES: [(&str, &[&str]); 2] = [
        ("line-strong", &["paper", "surface"]),
        ("focus", &["paper", "surface", "danger-soft"]),
    ];
    let css = Theme::default().tokens_css;
    let (light, dark) = css.split_once("@media (prefers-color-scheme: dark)").unwrap();
    for (scheme, block) in [("light", light), ("dark", dark)] {
        let colour = |name: &str| {
            let hex = block
                .split_once(&format!("--{name}: #"))
                .unwrap_or_else(|| panic!("{scheme}: {name}"))
                .1;
            u32::from_str_radix(&hex[..6], 16).unwrap()
        };
        for (pairs, least) in [(&TEXT[..], 4.5), (&EDGES[..], 3.0)] {
            for (front, grounds) in pairs {
                for ground in *grounds {
                    let ratio = contrast(colour(front), colour(ground));
                    assert!(ratio >= least, "{scheme}: {front} on {ground} is {ratio:.2}");
                }
            }
        }
    }
    assert!(
        (contrast(0x00_00_00, 0xff_ff_ff) - 21.0).abs() < 1e-9,
        "the formula itself"
    );
}

fn contrast(a: u32, b: u32) -> f64 {
    let luminance = |colour: u32| {
        let channel = |shift: u32| {
            let c = f64::from((colour >> shift) & 0xff) / 255.0;
            if c <= 0.040_45 {
                c / 12.92
            } else {
                ((c + 0.055) / 1.055).powf(2.4)
            }
        };
        0.2126 * channel(16) + 0.7152 * channel(8) + 0.0722 * channel(0)
    };
    let (high, low) = (luminance(a).max(luminance(b)), luminance(a).min(luminance(b)));
    (high + 0.05) / (low + 0.05)
}

/// Leaves every page beside its stylesheet, to be looked at: `target/tmp/pages/*.html`.
#[test]
fn pages_are_left_to_be_looked_at() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pages");
    std::fs::create_dir_all(folder.join("static")).unwrap();
    let site = sample::site();
    for asset in site.assets() {
        std::fs::write(folder.join(asset.path.trim_start_matches('/')), &asset.bytes).unwrap();
    }
    let mut written = 0;
    each(|name, _, html| {
        std::fs::write(
            folder.join(format!("{name}.html")),
            html.replace("\"/static/", "\"static/"),
        )
        .unwrap();
        written += 1;
    });
    assert_eq!(written, 2 * sample::all(Lang::Fr).len());
}

fn page(name: &str, lang: Lang) -> String {
    sample::all(lang).into_iter().find(|(n, _)| *n == name).unwrap().1
}
