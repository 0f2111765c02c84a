//! Leaving out a part of what was granted.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use unefois_core::Event;

use crate::both_databases;
use crate::browser::Browser;
use crate::database::TestDatabase;
use crate::kit::{Answer, Kit, form, set};

both_databases![
    parts_are_limited_together_though_nothing_can_be_logged,
    a_person_narrows_a_grant_and_its_refresh_gives_the_handle_that_follows
];

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
    for nothing in ["", "&p1=1", "&p0=1&e0.composition=1"] {
        assert_eq!(
            post(&mut browser, &narrow, &csrf, nothing).await,
            StatusCode::SEE_OTHER
        );
        assert_eq!(handle(&refresh(&kit, &given, &old).await), old, "{nothing}");
    }

    // From two tabs, one after the other: one handle follows.
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
    assert!(
        !detail.body.contains("Limiter cette autorisation"),
        "nothing is optional any more"
    );
    assert!(detail.body.contains("En cours") && detail.body.contains("Vous avez retiré"));
    assert!(!detail.body.contains("pas coché"), "it was ticked");
    assert_eq!(browser.get(&narrow).await.status, StatusCode::SEE_OTHER);

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
