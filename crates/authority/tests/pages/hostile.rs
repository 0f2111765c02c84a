//! Whatever strings a page is given.

use unefois_authority::portal::{Frame, Lang, Person};

use crate::markup::{elements, text};
use crate::sample;
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
        office: None,
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
    page.incomplete = vec![HOSTILE.to_owned()];
    let html = sample::site().show(&sample::frame(Lang::Fr), &page).unwrap();
    assert!(elements(&html).iter().all(|e| e.name != "script"));
    assert!(!html.contains('\u{202e}'));
}

#[test]
fn long_names_fit_in_the_page_limit() {
    let long = "Communauté d’agglomération ".repeat(40);
    let mut page = sample::history(Lang::Fr);
    page.rows.iter_mut().for_each(|row| row.asker = long.clone());
    let html = sample::site().show(&sample::frame(Lang::Fr), &page).unwrap();
    assert!(html.len() < 60_000, "{}", html.len());
}
