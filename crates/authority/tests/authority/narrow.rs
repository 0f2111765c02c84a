//! Leaving out a part of what was granted.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use unefois_authority::portal::{Lang, paris};
use unefois_core::{Clock as _, Event, Micros};

use crate::both_databases;
use crate::browser::Browser;
use crate::database::TestDatabase;
use crate::kit::{Answer, Kit, form, set};

both_databases![
    a_limit_that_another_tab_came_before_is_told_and_not_dropped,
    parts_are_limited_together_though_nothing_can_be_logged,
    a_person_brings_the_end_of_a_grant_forward,
    a_person_narrows_a_grant_and_its_refresh_gives_the_handle_that_follows
];

const DAY_MS: i64 = 86_400_000;
const TEN_MINUTES_MS: i64 = 600_000;
const CHANGED: &str = "Cette autorisation a changé entre-temps";

fn handle(answer: &Answer) -> String {
    answer.json["authorization_details"][0]["gh"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn units(answer: &Answer) -> Vec<String> {
    let units = answer.json["authorization_details"][0]["units"]
        .as_array()
        .unwrap();
    units
        .iter()
        .map(|unit| unit["unit"].as_str().unwrap().to_owned())
        .collect()
}

async fn refresh(kit: &Kit, given: &Answer, gh: &str) -> Answer {
    let refresh = form(&[
        ("grant_type", "refresh_token".to_owned()),
        (
            "refresh_token",
            given.json["refresh_token"].as_str().unwrap().to_owned(),
        ),
        ("gh", gh.to_owned()),
    ]);
    kit.call(Method::POST, "/as/token", &refresh).await
}

async fn post(browser: &mut Browser, address: &str, csrf: &str, fields: &str) -> StatusCode {
    browser
        .post(address, &format!("csrf={csrf}{fields}"))
        .await
        .status
}

async fn a_limit_that_another_tab_came_before_is_told_and_not_dropped(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let mut parameters = kit.parameters();
    let mut standing = kit.element();
    standing["mode"] = json!({"kind": "standing", "max_count": 12, "min_interval_s": 2_419_200});
    let details = json!([standing]).to_string();
    set(&mut parameters, "authorization_details", Some(details));
    let mut browser = kit.browser();
    let code = kit.grant(&mut browser, &parameters, "&e0.composition=1").await;
    let given = kit.redeem(&code).await;
    let id = given.json["grant_id"].as_str().unwrap();
    let narrow = format!("/autorisations/{id}/limiter");
    let ends_at = async || {
        let shown = kit.call(Method::GET, &format!("/as/grants/{id}"), "").await;
        Micros::new(shown.json["ends_at_us"].as_i64().unwrap())
    };
    let (whole, now) = (ends_at().await, kit.clock.now());
    let page = browser.get(&narrow).await;
    assert!(!page.body.contains(CHANGED), "{}", page.body);
    let csrf = page.csrf();
    let unticked = post(&mut browser, &narrow, &csrf, "&p0=1").await;
    assert_eq!(unticked, StatusCode::SEE_OTHER);
    let next = handle(&refresh(&kit, &given, &handle(&given)).await);

    // What the first tab did is kept, what the other asked for is not done, and it is told so whatever day it holds.
    let days = [day(now, 10), "demain".to_owned()];
    let texts = [
        ("?lang=fr", CHANGED, "Votre choix n’a pas été appliqué."),
        (
            "?lang=en",
            "This authorisation has changed meanwhile",
            "Your choice was not applied.",
        ),
    ];
    for day in &days {
        for (lang, changed, nothing) in texts {
            let fields = format!("csrf={csrf}&p0=1&e0.composition=1&fin={day}");
            let told = browser.post(&format!("{narrow}{lang}"), &fields).await;
            assert_eq!(told.status, StatusCode::OK, "{day}");
            let as_it_is = format!("value=\"{}\"", self::day(whole, 0));
            for text in [changed, nothing, "name=\"p1\"", &as_it_is] {
                assert!(told.body.contains(text), "{day}: {text}\n{}", told.body);
            }
            assert!(!told.body.contains("name=\"p0\""), "{}", told.body);
        }
    }
    assert_eq!(ends_at().await, whole);
    assert_eq!(handle(&refresh(&kit, &given, &next).await), next);

    // The form that it was shown does what it says.
    let fields = format!("&p1=1&fin={}", day(now, 10));
    let done = post(&mut browser, &narrow, &csrf, &fields).await;
    assert_eq!(done, StatusCode::SEE_OTHER);
    let until = paris::day_ends(now.plus_ms(10 * DAY_MS)).unwrap();
    assert_eq!(ends_at().await, until);
    kit.stop().await;
}

async fn parts_are_limited_together_though_nothing_can_be_logged(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let mut parameters = kit.parameters();
    let mut student = kit.student();
    student["units"] = json!([
        {"unit": "inscription", "need": "required"}, {"unit": "etablissement", "need": "optional"}
    ]);
    let both = json!([kit.element(), student]).to_string();
    set(&mut parameters, "authorization_details", Some(both));
    let mut browser = kit.browser();
    let ticks = "&e0.composition=1&e1.etablissement=1";
    let code = kit.grant(&mut browser, &parameters, ticks).await;
    let given = kit.redeem(&code).await;
    let id = given.json["grant_id"].as_str().unwrap().to_owned();
    let narrow = format!("/autorisations/{id}/limiter");
    let csrf = browser.get(&narrow).await.csrf();

    kit.running.ledger().close().await;
    let failed = post(&mut browser, &narrow, &csrf, "&p0=1&p1=1").await;
    assert!(failed.is_server_error(), "{failed}");
    let kit = kit.restart(|_, _| {}).await;
    let shown = kit.call(Method::GET, &format!("/as/grants/{id}"), "").await;
    let standing = shown.json["authorization_details"].as_array().unwrap();
    let units: Vec<&Value> = standing.iter().map(|details| &details["units"]).collect();
    let required = |unit: &str| json!([{"unit": unit, "need": "required"}]);
    assert_eq!(units, [&required("valeur"), &required("inscription")]);
    kit.stop().await;
}

async fn a_person_narrows_a_grant_and_its_refresh_gives_the_handle_that_follows(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let mut parameters = kit.parameters();
    let mut standing = kit.element();
    standing["mode"] = json!({"kind": "standing", "max_count": 12, "min_interval_s": 2_419_200});
    set(
        &mut parameters,
        "authorization_details",
        Some(json!([standing]).to_string()),
    );
    let mut browser = kit.browser();
    let code = kit.grant(&mut browser, &parameters, "&e0.composition=1").await;
    let given = kit.redeem(&code).await;
    assert_eq!(units(&given), ["valeur", "composition"], "{}", given.json);
    let old = handle(&given);
    let grant = format!("/autorisations/{}", given.json["grant_id"].as_str().unwrap());
    let narrow = format!("{grant}/limiter");

    // Not another person's, not without the form's token, not what the form did not show.
    let mut stranger = kit.browser();
    kit.provider.says.lock().unwrap().sub = "somebody";
    kit.provider.says.lock().unwrap().identity["family_name"] = "MERCIER".into();
    stranger.follow("/fc/connexion").await;
    assert_eq!(stranger.get(&narrow).await.status, StatusCode::NOT_FOUND);
    assert!(
        browser
            .get(&grant)
            .await
            .body
            .contains("Limiter cette autorisation")
    );
    let page = browser.get(&narrow).await;
    assert!(
        page.body.contains("name=\"e0.composition\" value=\"1\" checked"),
        "{}",
        page.body
    );
    let csrf = page.csrf();
    assert_eq!(
        post(&mut stranger, &narrow, &csrf, "&p0=1").await,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        post(&mut browser, &narrow, "x", "&p0=1").await,
        StatusCode::FORBIDDEN
    );
    for (nothing, told) in [
        ("", StatusCode::OK),
        ("&p1=1", StatusCode::OK),
        ("&p0=1&e0.composition=1", StatusCode::SEE_OTHER),
    ] {
        assert_eq!(
            post(&mut browser, &narrow, &csrf, nothing).await,
            told,
            "{nothing}"
        );
        assert_eq!(handle(&refresh(&kit, &given, &old).await), old, "{nothing}");
    }

    // The same from two tabs, one after the other: one handle follows, and that is what both asked for.
    for _ in 0..2 {
        assert_eq!(
            post(&mut browser, &narrow, &csrf, "&p0=1").await,
            StatusCode::SEE_OTHER
        );
    }
    let next = refresh(&kit, &given, &old).await;
    assert_eq!(
        (next.status, units(&next)),
        (StatusCode::OK, vec!["valeur".to_owned()])
    );
    assert_ne!(handle(&next), old);
    assert_eq!(
        kit.claims(next.json["access_token"].as_str().unwrap())
            .gh
            .to_string(),
        handle(&next)
    );
    assert_eq!(
        handle(&refresh(&kit, &given, &handle(&next)).await),
        handle(&next)
    );
    let shown = kit
        .call(
            Method::GET,
            &format!("/as/grants/{}", given.json["grant_id"].as_str().unwrap()),
            "",
        )
        .await;
    assert_eq!(
        shown.json["authorization_details"],
        next.json["authorization_details"]
    );
    let detail = browser.get(&grant).await;
    assert!(detail.body.contains("En cours") && detail.body.contains("Vous avez retiré"));
    assert!(!detail.body.contains("pas coché"), "it was ticked");
    let rest = browser.get(&narrow).await.body;
    assert!(
        !rest.contains("type=\"checkbox\""),
        "nothing is optional any more: {rest}"
    );
    assert!(rest.contains("name=\"fin\""), "the end may be earlier: {rest}");

    // Stopped after that, it stays stopped, under either name.
    let question = browser.get(&format!("{grant}/arreter")).await;
    let stopped = post(&mut browser, &format!("{grant}/arreter"), &question.csrf(), "").await;
    assert_eq!(stopped, StatusCode::SEE_OTHER);
    assert_eq!(
        post(&mut browser, &narrow, &csrf, "&p0=1").await,
        StatusCode::SEE_OTHER
    );
    for gh in [&old, &handle(&next)] {
        let refused = refresh(&kit, &given, gh).await;
        assert_eq!(
            refused.json["unefois_reason"], "GRANT_REVOKED",
            "{}",
            refused.json
        );
    }
    let events = kit.events().await;
    let count = |event| events.iter().filter(|e| **e == event).count();
    assert_eq!(
        (count(Event::Narrowed), count(Event::Withdrawn)),
        (1, 1),
        "{events:?}"
    );
    kit.stop().await;
}

/// A day as the field holds it, so many days after the one of `at`.
fn day(at: Micros, days: i64) -> String {
    paris::iso_day(at.plus_ms(days * DAY_MS))
}

/// For how many seconds the next token of a handle holds.
async fn life_s(kit: &Kit, given: &Answer, gh: &str) -> i64 {
    let minted = refresh(kit, given, gh).await;
    assert_eq!(minted.status, StatusCode::OK, "{}", minted.json);
    let claims = kit.claims(minted.json["access_token"].as_str().unwrap());
    assert_eq!(minted.json["expires_in"], claims.exp - claims.iat);
    claims.exp - claims.iat
}

async fn a_person_brings_the_end_of_a_grant_forward(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let mut parameters = kit.parameters();
    let mut standing = kit.element();
    standing["mode"] = json!({"kind": "standing", "max_count": 12, "min_interval_s": 2_419_200});
    let asked = json!([standing, kit.student()]).to_string();
    set(&mut parameters, "authorization_details", Some(asked));
    let mut browser = kit.browser();
    let code = kit.grant(&mut browser, &parameters, "").await;
    let given = kit.redeem(&code).await;
    let id = given.json["grant_id"].as_str().unwrap().to_owned();
    let grant = format!("/autorisations/{id}");
    let narrow = format!("{grant}/limiter");
    let old = handle(&given);
    let once = given.json["authorization_details"][1]["gh"].as_str().unwrap();
    let shown = async || kit.call(Method::GET, &format!("/as/grants/{id}"), "").await.json;
    let ends_at = Micros::new(shown().await["ends_at_us"].as_i64().unwrap());
    // Not across a midnight.
    let left_ms = |now: Micros| paris::day_ends(now).unwrap().ms_since(now);
    if left_ms(kit.clock.now()) < TEN_MINUTES_MS {
        kit.clock.pass(TEN_MINUTES_MS);
    }
    let now = kit.clock.now();
    let page = browser.get(&narrow).await;
    let csrf = page.csrf();
    let (first, last) = (day(now, 0), day(ends_at, 0));
    let field = format!("name=\"fin\" value=\"{last}\" min=\"{first}\" max=\"{last}\"");
    assert!(page.body.contains(&field), "{}", page.body);

    // Not what is no day, is over, or is later than it is: the page says so, and nothing changes.
    let post = |fin: &str| format!("csrf={csrf}&p0=1&p1=1&fin={}", fin.replace('/', "%2F"));
    for (wrong, told) in [
        ("demain", "Exemple : 31/12/2026."),
        ("2027-02-30", "Exemple : 31/12/2026."),
        (&day(now, -1), "Ce jour est passé."),
        (&day(ends_at, 1), "L’autorisation se termine le"),
        ("31/12/9998", "L’autorisation se termine le"),
    ] {
        let answer = browser.post(&narrow, &post(wrong)).await;
        assert_eq!(answer.status, StatusCode::OK, "{wrong}");
        let body = answer.body.replace(['\u{a0}', '\u{202f}'], " ");
        for text in [
            told,
            &format!("value=\"{wrong}\""),
            "aria-invalid=\"true\"",
            "<title>Erreur : ",
        ] {
            assert!(body.contains(text), "{wrong}: {text}\n{body}");
        }
    }
    // That of a part that was not shown: no change, and the page says so.
    let unseen = format!("csrf={csrf}&fin={}", day(now, 1));
    let answer = browser.post(&narrow, &unseen).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.body.contains(CHANGED), "{}", answer.body);
    // The end as it is, or none: no change.
    for same in [post(&last), post("")] {
        let answer = browser.post(&narrow, &same).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{same}");
    }
    assert_eq!(handle(&refresh(&kit, &given, &old).await), old);
    assert_eq!(shown().await["ends_at_us"], ends_at.get());

    // As people write it; the part for one fetch stays as it is.
    let tenth = day(now, 10);
    let (year, rest) = tenth.split_once('-').unwrap();
    let (month, tenth) = rest.split_once('-').unwrap();
    let answer = browser
        .post(&narrow, &post(&format!("{tenth}/{month}/{year}")))
        .await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    let next = refresh(&kit, &given, &old).await;
    let until = paris::day_ends(now.plus_ms(10 * DAY_MS)).unwrap();
    let told = &next.json["authorization_details"][0]["mode"]["until_us"];
    assert_eq!(*told, until.get());
    assert_ne!(handle(&next), old);
    assert_eq!(units(&next), ["valeur"]);
    assert_eq!(handle(&refresh(&kit, &given, once).await), once);
    assert_eq!(shown().await["ends_at_us"], until.get());
    let detail = browser.get(&grant).await.body;
    assert!(detail.contains(&paris::short_day(until, Lang::Fr)), "{detail}");

    // Earlier still, never later again.
    let post = |fin: String| format!("csrf={csrf}&p1=1&p2=1&fin={fin}");
    let later = browser
        .post(&format!("{narrow}?lang=en"), &post(day(until, 1)))
        .await;
    assert_eq!(later.status, StatusCode::OK);
    assert!(later.body.contains("The authorisation ends on"), "{}", later.body);
    let earlier = browser.post(&narrow, &post(day(now, 0))).await;
    assert_eq!(earlier.status, StatusCode::SEE_OTHER);
    let gh = handle(&refresh(&kit, &given, &old).await);
    assert_ne!(gh, handle(&next));
    assert_eq!(life_s(&kit, &given, &gh).await, 300);

    // No token holds beyond the end, and none is given after it.
    kit.clock.pass(left_ms(kit.clock.now()) - 100_000);
    assert!(life_s(&kit, &given, &gh).await <= 101);
    kit.clock.pass(100_000);
    let refused = refresh(&kit, &given, &gh).await;
    assert_eq!(
        refused.json["unefois_reason"], "GRANT_REVOKED",
        "{}",
        refused.json
    );
    let events = kit.events().await;
    let count = |event| events.iter().filter(|e| **e == event).count();
    assert_eq!(
        (count(Event::Narrowed), count(Event::Withdrawn)),
        (2, 0),
        "{events:?}"
    );
    kit.stop().await;
}
