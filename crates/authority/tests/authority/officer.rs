//! Officers, who log in at ProConnect and are no person here.

use http::StatusCode;
use serde_json::json;
use unefois_core::Event;

use crate::both_databases;
use crate::database::TestDatabase;
use crate::kit::Kit;
use crate::provider::Says;

both_databases![
    i10_an_officer_is_certified_by_whoever_may_assert_it,
    an_officer_is_no_person,
];

/// The same for what is said of officers, an entitlement of its own.
async fn i10_an_officer_is_certified_by_whoever_may_assert_it(database: TestDatabase) {
    let kit = Kit::on(database).await;
    for (acr, let_in) in [
        (None, false),
        (Some("unknown"), false),
        (Some("eidas1"), false),
        // Known to the configuration, not in the directory.
        (Some("dirigeant"), false),
        (Some("agent"), true),
    ] {
        kit.pro.says.lock().unwrap().acr = acr;
        let mut browser = kit.browser();
        browser.follow("/pro/connexion").await;
        let home = browser.get("/").await;
        assert_eq!(home.body.contains("21920023500014"), let_in, "{acr:?}");
    }
    let mut browser = kit.browser();
    let page = browser.follow("/pro/connexion?niveau=certified").await;
    assert!(
        page.body.contains("exige une identité mieux garantie"),
        "{}",
        page.body
    );
    // Levels of people are not ProConnect's to assert, and the other way round.
    for address in ["/pro/connexion?niveau=eidas1", "/fc/connexion?niveau=identified"] {
        assert_eq!(
            browser.get(address).await.status,
            StatusCode::NOT_FOUND,
            "{address}"
        );
    }
    kit.stop().await;
}

/// An officer has no identity: nothing of a person's is seen or decided, and no account is theirs.
async fn an_officer_is_no_person(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let mut browser = kit.browser();
    let home = browser.follow("/pro/connexion").await;
    assert!(
        home.body.contains("Vous êtes connecté·e comme agent"),
        "{}",
        home.body
    );
    assert!(home.body.contains("Camille EXEMPLE") && home.body.contains("Service des écoles"));
    assert!(!home.body.contains("href=\"/autorisations\""));
    for address in ["/autorisations", "/historique", "/historique.csv"] {
        let sent = browser.get(address).await;
        assert!(
            sent.location.starts_with("/connexion?"),
            "{address}: {}",
            sent.status
        );
        let told = browser.follow(&sent.location).await;
        assert!(
            told.body.contains("Vous êtes connecté·e comme agent"),
            "{}",
            told.body
        );
        assert!(!told.body.contains("/pro/connexion"), "{}", told.body);
    }

    // The person's request waits; the officer can neither see it nor answer it.
    let address = kit.push(&kit.parameters()).await;
    let opened = browser.get(&address).await.location;
    let told = browser.follow(&opened).await;
    assert!(
        told.body.contains("Vous êtes connecté·e comme agent"),
        "{}",
        told.body
    );
    assert!(!told.body.contains("2026-0412"), "{}", told.body);
    let csrf = home.csrf();
    let decided = browser
        .post(&opened, &format!("csrf={csrf}&choix=recuperer"))
        .await;
    assert_eq!(decided.status, StatusCode::FORBIDDEN);
    assert!(
        decided.body.contains("Cette page est celle d’une personne"),
        "{}",
        decided.body
    );
    assert!(!kit.events().await.contains(&Event::Granted));

    // The person logs in in their stead: another session, and nothing of the officer in it.
    let page = browser.follow(&format!("/fc/connexion?suite={opened}")).await;
    assert!(
        page.body.contains("Angela DUBOIS") && page.body.contains("2026-0412"),
        "{}",
        page.body
    );
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_officer_s_body_has_its_check_digits() {
    let kit = Kit::new().await;
    for (name, value) in [
        ("siret", json!("21920023500015")),
        ("siret", json!("219200235")),
        ("siret", json!(null)),
        ("usual_name", json!("")),
        ("given_name", json!(null)),
    ] {
        let mut says = Says::officer("agent");
        says.identity[name] = value;
        *kit.pro.says.lock().unwrap() = says;
        let mut browser = kit.browser();
        let page = browser.follow("/pro/connexion").await;
        assert!(
            page.body.contains("La connexion n’a pas abouti"),
            "{name}: {}",
            page.body
        );
        assert!(!browser.get("/").await.body.contains("agent"));
    }
    kit.stop().await;
}
