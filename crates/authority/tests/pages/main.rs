//! What every page promises, on pages filled as the demo fills them, in both languages.

mod after;
mod demande;
mod hostile;
mod markup;
mod sample;
mod theme;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use markup::{elements, text};
use unefois_authority::portal::Lang;

/// Calls `check` with the name, the language and the document of every page.
fn each(mut check: impl FnMut(&str, Lang, &str)) {
    for lang in Lang::ALL {
        for (name, html) in sample::all(lang) {
            check(&format!("{name}.{}", lang.code()), lang, &html);
        }
    }
}

#[test]
fn no_page_needs_script_style_attribute_or_another_host() {
    each(|name, _, html| {
        let all = elements(html);
        for script in all.iter().filter(|e| e.name == "script") {
            assert!(
                script.attribute("src").is_some() && script.text.is_empty(),
                "{name}"
            );
            assert!(
                all.iter()
                    .any(|e| e.name == "a" && ["Actualiser", "Refresh"].contains(&e.text.as_str())),
                "{name}: a link does what the script does"
            );
        }
        for element in all {
            assert!(
                !["style", "iframe", "base"].contains(&element.name.as_str()),
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
        let expected = if name.contains("-consentement") {
            Some("consent")
        } else {
            None
        };
        assert_eq!(forbidden(html), expected, "{name}");
    });
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
    sample::all(lang)
        .into_iter()
        .find(|(n, _)| *n == name)
        .expect("a page of that name")
        .1
}
