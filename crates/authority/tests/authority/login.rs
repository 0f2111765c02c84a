//! Logging in at an identity provider.

use http::StatusCode;
use serde_json::json;
use unefois_core::{Event, Reason};

use crate::both_databases;
use crate::browser::Browser;
use crate::database::TestDatabase;
use crate::kit::{Kit, merge, set, subject_check};
use crate::provider::Says;

both_databases![
    i10_a_level_counts_only_from_whoever_may_assert_it,
    the_cookie_of_before_opens_nothing_after_the_login,
    a_friend_cannot_authorise_under_my_dossier,
];

async fn i10_a_level_counts_only_from_whoever_may_assert_it(database: TestDatabase) {
    let kit = Kit::on(database).await;
    for acr in [None, Some("eidas2"), Some("eidas3"), Some("unknown"), Some("")] {
        kit.provider.says.lock().unwrap().acr = acr;
        let mut browser = kit.browser();
        let page = browser.follow("/fc/connexion").await;
        assert!(
            browser
                .get("/autorisations")
                .await
                .location
                .starts_with("/connexion"),
            "{acr:?} was let in"
        );
        assert_eq!(page.status, StatusCode::OK);
    }
    kit.stop().await;

    // The configuration says more than the directory: the directory decides.
    let kit = Kit::new().await;
    kit.plus.says.lock().unwrap().acr = Some("eidas3");
    let mut browser = kit.browser();
    browser.follow("/fcp/connexion").await;
    assert!(is_nobody(&mut browser).await);
    kit.plus.says.lock().unwrap().acr = Some("eidas2");
    browser.follow("/fcp/connexion").await;
    assert!(!is_nobody(&mut browser).await);
    // Less than the login was begun for.
    let mut browser = kit.browser();
    let page = browser.follow("/fcp/connexion?niveau=eidas3").await;
    assert!(
        page.body.contains("exige une identité mieux garantie"),
        "{}",
        page.body
    );
    assert!(is_nobody(&mut browser).await);
    // Nobody is asked for more than they can say.
    assert_eq!(
        browser.get("/fc/connexion?niveau=eidas2").await.status,
        StatusCode::NOT_FOUND
    );
    kit.stop().await;
}

/// Whether the pages of people send this browser to the login.
pub(crate) async fn is_nobody(browser: &mut Browser) -> bool {
    browser
        .get("/autorisations")
        .await
        .location
        .starts_with("/connexion")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_belongs_to_the_login_begun_in_this_browser() {
    let kit = Kit::new().await;
    for says in [
        Says {
            nonce: Some("another"),
            ..Says::default()
        },
        Says {
            userinfo_sub: Some("another"),
            ..Says::default()
        },
        Says {
            identity: json!({"family_name": "DUBOIS"}),
            ..Says::default()
        },
        Says {
            state: Some("another"),
            ..Says::default()
        },
    ] {
        *kit.provider.says.lock().unwrap() = says;
        let mut browser = kit.browser();
        browser.follow("/fc/connexion").await;
        assert!(
            browser
                .get("/autorisations")
                .await
                .location
                .starts_with("/connexion")
        );
    }
    *kit.provider.says.lock().unwrap() = Says::default();

    // A link that brings the answer of somebody else's login.
    let mut attacker = kit.browser();
    let leaves = attacker.get("/fc/connexion").await;
    let answer = attacker.get(&leaves.location).await.location;
    let mut victim = kit.browser();
    assert_eq!(victim.get(&answer).await.status, StatusCode::BAD_REQUEST);
    let leaves = victim.get("/fc/connexion").await;
    assert_eq!(victim.get(&answer).await.status, StatusCode::BAD_REQUEST);
    let own = victim.get(&leaves.location).await.location;
    assert_eq!(victim.get(&own).await.status, StatusCode::SEE_OTHER);
    assert_eq!(
        victim.get(&own).await.status,
        StatusCode::BAD_REQUEST,
        "a state counts once"
    );
    kit.stop().await;
}

async fn the_cookie_of_before_opens_nothing_after_the_login(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let mut browser = kit.browser();
    browser.get("/fc/connexion").await;
    let before = browser.cookies.clone();
    browser.follow("/fc/connexion").await;
    assert_ne!(browser.cookies["__Host-unefois"], before["__Host-unefois"]);
    assert_eq!(browser.get("/autorisations").await.status, StatusCode::OK);

    let mut fixed = browser.without_cookies();
    fixed.cookies = before;
    assert_eq!(fixed.get("/autorisations").await.status, StatusCode::SEE_OTHER);
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_provider_is_asked_with_its_own_parameters_alone() {
    let kit = Kit::new().await;
    kit.browser().follow("/fc/connexion").await;
    let asked = kit.provider.asked.lock().unwrap().clone();
    let mut names: Vec<&str> = asked.keys().map(String::as_str).collect();
    names.sort_unstable();
    let allowed = [
        "acr_values",
        "client_id",
        "nonce",
        "redirect_uri",
        "response_type",
        "scope",
        "state",
        "ui_locales",
    ];
    assert_eq!(names, allowed);
    assert_eq!(asked["acr_values"], "eidas1");
    assert_eq!((asked["state"].len(), asked["nonce"].len()), (64, 64));
    assert!(asked["redirect_uri"].ends_with("/fc/retour"));
    kit.stop().await;
}

/// Browsers hold the redirects that answer a form to its page's `form-action`, which does not name the provider.
#[tokio::test(flavor = "multi_thread")]
async fn a_form_leads_to_the_provider_by_a_page_alone() {
    let kit = Kit::new().await;
    let mut browser = kit.browser();
    let demande = kit.open(&mut browser, &kit.parameters()).await;
    let csrf = format!("csrf={}", demande.page.csrf());
    let other = browser.post(&format!("{}/autre", demande.address), &csrf).await;
    assert!(other.location.starts_with("/connexion?"), "{}", other.location);
    let choice = browser.get(&other.location).await;
    assert_eq!(choice.status, StatusCode::OK, "the choice is shown, not taken");
    let (_, link) = choice
        .body
        .split_once("href=\"/fc/connexion?")
        .expect("a provider");
    let query = link
        .split('"')
        .next()
        .unwrap()
        .replace("&#38;", "&")
        .replace("&amp;", "&");
    let again = browser.follow(&format!("/fc/connexion?{query}")).await;
    assert_eq!(kit.provider.asked.lock().unwrap()["prompt"], "login");
    assert!(again.body.contains("2026-0412"), "the request is still open");

    let csrf = format!("csrf={}", again.csrf());
    let out = browser.post("/deconnexion", &csrf).await;
    assert_eq!((out.status, out.location.as_str()), (StatusCode::OK, ""));
    let refresh = out.headers["refresh"].to_str().unwrap();
    let end = refresh.strip_prefix("0; url=").expect("the provider's address");
    assert!(end.contains("/logout?id_token_hint="), "{end}");
    assert!(
        browser
            .get("/autorisations")
            .await
            .location
            .starts_with("/connexion")
    );
    assert_eq!(browser.get("/deconnexion").await.location, "/");
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_counts_from_its_own_page_alone() {
    let kit = Kit::new().await;
    let mut browser = kit.browser();
    let demande = kit.open(&mut browser, &kit.parameters()).await;
    let csrf = demande.page.csrf();
    let posted = format!("csrf={csrf}&choix=recuperer");
    let from = browser
        .post_from("https://evil.example", &demande.address, &posted)
        .await;
    assert_eq!(from.status, StatusCode::FORBIDDEN);
    let without = browser.post(&demande.address, "choix=recuperer").await;
    assert_eq!(without.status, StatusCode::FORBIDDEN);
    let wrong = browser.post(&demande.address, "csrf=AAAA&choix=recuperer").await;
    assert_eq!(wrong.status, StatusCode::FORBIDDEN);

    let mut other = kit.browser();
    other.follow("/fc/connexion").await;
    let foreign = other.post(&demande.address, &posted).await;
    assert_eq!(foreign.status, StatusCode::FORBIDDEN);
    assert!(!kit.events().await.contains(&Event::Granted));
    assert_eq!(
        browser.post(&demande.address, &posted).await.status,
        StatusCode::SEE_OTHER
    );
    kit.stop().await;
}

async fn a_friend_cannot_authorise_under_my_dossier(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let mut parameters = kit.parameters();
    set(
        &mut parameters,
        "subject_check",
        Some(subject_check("DURAND", "Angela", "1962-08-24")),
    );
    let mut browser = kit.browser();
    for left in [2, 1, 0] {
        let demande = kit.open(&mut browser, &parameters).await;
        assert!(
            demande.page.body.contains("access_denied"),
            "{}",
            demande.page.body
        );
        assert_eq!(
            kit.entries().await.last().unwrap().reason,
            Some(Reason::SubjectMismatch),
            "{left}"
        );
    }
    // Even the right person waits now: three tries a dossier and day.
    let demande = kit.open(&mut browser, &kit.parameters()).await;
    assert!(demande.page.body.contains("access_denied"));
    let mut other = kit.parameters();
    let mut element = kit.element();
    merge(&mut element, json!({"dossier_ref": "2026-0413"}));
    set(
        &mut other,
        "authorization_details",
        Some(json!([element]).to_string()),
    );
    kit.grant(&mut browser, &other, "").await;
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_tells_of_an_error_repeats_nothing_of_what_was_sent() {
    let kit = Kit::with(TestDatabase::sqlite(), |_, config| {
        config["demo"] = json!({"personas": true})
    })
    .await;
    let mut browser = kit.browser();
    for address in [
        "/qxzwjv?qxzwjv=qxzwjv",
        "/fc/retour?code=qxzwjv&state=qxzwjv&error_description=qxzwjv",
        "/as/authorize?client_id=qxzwjv&request_uri=qxzwjv&lang=en",
        "/static/qxzwjv?x=qxzwjv",
    ] {
        let page = browser.get(address).await;
        assert!(page.status.is_client_error(), "{address}: {}", page.status);
        assert!(!page.body.contains("qxzwjv"), "{address}: {}", page.body);
        assert!(
            page.body.contains("href=\"?lang="),
            "{address} has no other language"
        );
    }
    for body in [
        json!({"qxzwjv": 1}),
        json!({"provider": "fc", "sub": "s", "acr": "qxzwjv", "pivot": {}}),
        json!({"provider": "fc", "sub": "s", "acr": "eidas1", "pivot": {"gender": "qxzwjv"}}),
    ] {
        let answer = browser.post_json("/demo/persona", &body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert!(!answer.body.contains("qxzwjv"), "{}", answer.body);
    }
    kit.stop().await;
}
