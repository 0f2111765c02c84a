//! Logging in at an identity provider.

use http::StatusCode;
use serde_json::{Value, json};
use unefois_core::{Acr, Event, Reason};

use crate::both_databases;
use crate::browser::{Browser, Page};
use crate::database::TestDatabase;
use crate::kit::{COMMUNE, CROUS, Kit, merge, set, subject_check};
use crate::provider::{Says, Sends};

both_databases![
    i10_a_level_counts_only_from_whoever_may_assert_it,
    the_cookie_of_before_opens_nothing_after_the_login,
    a_friend_cannot_authorise_under_my_dossier,
    tries_at_once_are_each_counted_before_anything_is_told,
    a_grant_that_needs_more_leads_to_another_login,
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
            nonce: Some(""),
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

/// Answers that belong to another login, and parameters that are missing or another provider's.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_of_the_provider_that_was_asked() {
    let kit = Kit::new().await;
    let answer_of = async |browser: &mut Browser, name: &str| {
        let leaves = browser.get(&format!("/{name}/connexion")).await;
        browser.get(&leaves.location).await.location
    };
    for (from, to) in [("fc", "fcp"), ("fcp", "fc"), ("fc", "pro"), ("pro", "fcp")] {
        let mut browser = kit.browser();
        let answer = answer_of(&mut browser, from).await;
        let crossed = answer.replace(&format!("/{from}/retour"), &format!("/{to}/retour"));
        assert_ne!(crossed, answer);
        assert_eq!(
            browser.get(&crossed).await.status,
            StatusCode::BAD_REQUEST,
            "{from} {to}"
        );
        assert_eq!(
            browser.get(&answer).await.status,
            StatusCode::BAD_REQUEST,
            "the state counted once"
        );
        assert!(is_nobody(&mut browser).await);
    }
    // The provider says that it names itself: another's name, or none, is a mix-up (RFC 9207).
    for iss in [kit.plus.issuer.clone(), String::new()] {
        kit.provider.says.lock().unwrap().iss = Some(iss.leak());
        let mut browser = kit.browser();
        let answer = answer_of(&mut browser, "fc").await;
        assert_eq!(
            browser.get(&answer).await.status,
            StatusCode::BAD_REQUEST,
            "{answer}"
        );
        assert!(is_nobody(&mut browser).await);
    }
    *kit.provider.says.lock().unwrap() = Says::default();
    for wrong in [
        "/fc/retour?code=c",
        "/fc/retour",
        "/fc/retour?code=c&state=",
        "/fc/retour?code=c&state=s",
    ] {
        let mut browser = kit.browser();
        answer_of(&mut browser, "fc").await;
        assert_eq!(
            browser.get(wrong).await.status,
            StatusCode::BAD_REQUEST,
            "{wrong}"
        );
        assert!(is_nobody(&mut browser).await);
    }
    kit.stop().await;
}

/// A code that another browser got is of no use with a state of one's own: at FranceConnect the nonce, at ProConnect the
/// verifier too is another.
#[tokio::test(flavor = "multi_thread")]
async fn a_code_of_another_login_is_refused() {
    let kit = Kit::new().await;
    for name in ["fc", "fcp", "pro"] {
        let parameter = |page: &Page, name: &str| page.parameter(name).expect("a parameter");
        let mut thief = kit.browser();
        let mut victim = kit.browser();
        let leaves = victim.get(&format!("/{name}/connexion")).await;
        let stolen = victim.get(&leaves.location).await;
        let leaves = thief.get(&format!("/{name}/connexion")).await;
        let own = thief.get(&leaves.location).await;
        let iss = parameter(&own, "iss");
        let injected = format!(
            "/{name}/retour?code={}&state={}&iss={iss}",
            parameter(&stolen, "code"),
            parameter(&own, "state")
        );
        let page = thief.follow(&injected).await;
        assert!(
            page.body.contains("La connexion n’a pas abouti"),
            "{name}: {}",
            page.body
        );
        assert!(is_nobody(&mut thief).await && !thief.get("/").await.body.contains("agent"));
        // The code was used up at the provider: the one it was for is not logged in by it either.
        let page = victim.follow(&stolen.location).await;
        assert!(
            page.body.contains("La connexion n’a pas abouti"),
            "{name}: {}",
            page.body
        );
    }
    kit.stop().await;
}

/// What is sent in another envelope than agreed is refused, both ways.
#[tokio::test(flavor = "multi_thread")]
async fn answers_come_as_agreed_with_the_provider() {
    let kit = Kit::new().await;
    let keys = kit.browser().get("/fcp/jwks").await;
    assert_eq!(keys.status, StatusCode::OK);
    let keys: Value = serde_json::from_str(&keys.body).unwrap();
    assert_eq!(
        (&keys["keys"][0]["use"], &keys["keys"][0]["alg"]),
        (&json!("enc"), &json!("ECDH-ES"))
    );
    assert_eq!(kit.browser().get("/fc/jwks").await.status, StatusCode::NOT_FOUND);

    kit.plus.says.lock().unwrap().sends = Some(Sends::Signed);
    let ours = kit.pivot_key.encryption_key().clone();
    kit.provider.says.lock().unwrap().sends = Some(Sends::Encrypted(ours.clone()));
    for name in ["fc", "fcp"] {
        let mut browser = kit.browser();
        let page = browser.follow(&format!("/{name}/connexion")).await;
        assert!(
            page.body.contains("La connexion n’a pas abouti"),
            "{name}: {}",
            page.body
        );
        assert!(is_nobody(&mut browser).await);
    }
    // Encrypted to another key of ours.
    kit.plus.says.lock().unwrap().sends = Some(Sends::Encrypted(ours));
    let mut browser = kit.browser();
    browser.follow("/fcp/connexion").await;
    assert!(is_nobody(&mut browser).await);
    kit.plus.says.lock().unwrap().sends = None;
    browser.follow("/fcp/connexion").await;
    assert!(!is_nobody(&mut browser).await);
    kit.stop().await;
}

/// The directory and the habilitation under which the commune may ask for the reference tax income.
pub(crate) fn with_tax_income(document: &mut Value, _: &mut Value) {
    let pivot_keys = document["participants"][3]["pivot_keys"].clone();
    document["participants"][2]["pivot_keys"] = pivot_keys;
    document["habilitations"].as_array_mut().unwrap().push(json!({
        "id": "DP-3", "consumer": COMMUNE, "producer": CROUS, "demarche": "cantine",
        "datatypes": [{"datatype": "dgfip/revenu-fiscal-de-reference@1", "units": ["revenu", "foyer"]}],
        "legal_bases": ["CRPA-L114-8-I"],
        "not_before": "2020-01-01T00:00:00Z", "not_after": "2090-01-01T00:00:00Z",
    }));
}

/// 30 minutes at eidas1, ten above, and ten for officers.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_idles_for_less_the_more_it_opens() {
    const MINUTE_MS: i64 = 60_000;
    let kit = Kit::new().await;
    let [mut low, mut high, mut officer] = [kit.browser(), kit.browser(), kit.browser()];
    low.follow("/fc/connexion").await;
    high.follow("/fcp/connexion").await;
    officer.follow("/pro/connexion").await;
    let mut who = async || {
        let is_officer = officer.get("/").await.body.contains("Camille EXEMPLE");
        [
            !is_nobody(&mut low).await,
            !is_nobody(&mut high).await,
            is_officer,
        ]
    };
    kit.clock.pass(9 * MINUTE_MS);
    assert_eq!(who().await, [true, true, true]);
    kit.clock.pass(9 * MINUTE_MS);
    assert_eq!(who().await, [true, true, true], "what is used does not idle");
    kit.clock.pass(11 * MINUTE_MS);
    assert_eq!(who().await, [true, false, false]);
    kit.clock.pass(29 * MINUTE_MS);
    assert_eq!(who().await, [true, false, false]);
    kit.clock.pass(31 * MINUTE_MS);
    assert_eq!(who().await, [false, false, false]);
    kit.stop().await;
}

/// Twelve hours, however much it is used.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_never_idles_ends_all_the_same() {
    const STEP_MS: i64 = 9 * 60_000;
    let kit = Kit::new().await;
    let mut browser = kit.browser();
    browser.follow("/fcp/connexion").await;
    for _ in 1..12 * 60 / 9 {
        kit.clock.pass(STEP_MS);
        assert!(!is_nobody(&mut browser).await);
    }
    kit.clock.pass(STEP_MS);
    assert!(is_nobody(&mut browser).await);
    kit.stop().await;
}

/// Step-up: whoever is logged in at eidas1 is told why, and logs in again at FranceConnect+. The account is the same.
async fn a_grant_that_needs_more_leads_to_another_login(database: TestDatabase) {
    // The tax authority's number is that of the CROUS in this world.
    let kit = Kit::with(database, with_tax_income).await;
    let mut browser = kit.browser();
    let code = kit.grant(&mut browser, &kit.parameters(), "").await;
    let low = kit.claims(kit.redeem(&code).await.json["access_token"].as_str().unwrap());
    assert_eq!(low.acr, Acr::Eidas1);

    let mut element = kit.element();
    merge(
        &mut element,
        json!({"datatypes": ["dgfip/revenu-fiscal-de-reference@1"], "locations": [CROUS], "habilitation": "DP-3",
            "units": [{"unit": "revenu", "need": "required"}, {"unit": "foyer", "need": "optional"}]}),
    );
    let mut parameters = kit.parameters();
    set(
        &mut parameters,
        "authorization_details",
        Some(json!([element]).to_string()),
    );
    let address = kit.push(&parameters).await;
    let opened = browser.get(&address).await.location;
    let told = browser.follow(&opened).await;
    assert!(
        told.body.contains("Une connexion plus sûre est nécessaire"),
        "{}",
        told.body
    );
    assert!(told.body.contains("href=\"/fcp/connexion?") && !told.body.contains("href=\"/fc/connexion?"));
    let csrf = browser.get("/autorisations").await.csrf();
    let early = browser
        .post(&opened, &format!("csrf={csrf}&choix=recuperer"))
        .await;
    assert_eq!(early.status, StatusCode::FORBIDDEN);

    // A failure leads back to the same choice.
    kit.plus.says.lock().unwrap().acr = Some("eidas1");
    let login = format!("/fcp/connexion?suite={opened}&niveau=eidas2");
    let failed = browser.follow(&login).await;
    assert!(
        failed.body.contains("exige une identité mieux garantie"),
        "{}",
        failed.body
    );
    assert!(failed.body.contains("niveau=eidas2") && !failed.body.contains("href=\"/fc/connexion?"));
    kit.plus.says.lock().unwrap().acr = Some("eidas2");
    let page = browser.follow(&login).await;
    assert!(
        page.body.contains("2026-0412") && page.body.contains("FranceConnect+"),
        "{}",
        page.body
    );
    let back = browser
        .post(&opened, &format!("csrf={}&choix=recuperer", page.csrf()))
        .await;
    let high = kit.redeem(&back.parameter("code").expect("a code")).await;
    let high = kit.claims(high.json["access_token"].as_str().unwrap());
    assert_eq!((high.acr, &high.idp_iss), (Acr::Eidas2, &kit.plus.issuer));
    assert_eq!(high.sub, low.sub, "one person");

    // Nobody logged in is sent there at once.
    let address = kit.push(&parameters).await;
    let mut other = kit.browser();
    let opened = other.get(&address).await.location;
    let choice = other.get(&opened).await.location;
    assert!(other.get(&choice).await.location.starts_with("/fcp/connexion?"));
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
        let last = kit.entries().await.pop().unwrap();
        assert_eq!(
            (last.event, last.reason, last.requester),
            (
                Event::Refused,
                Some(Reason::SubjectMismatch),
                Some(COMMUNE.parse().unwrap())
            ),
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

/// Whoever tries many identities at once learns of none more than whoever tries them one after the other.
async fn tries_at_once_are_each_counted_before_anything_is_told(database: TestDatabase) {
    const AT_ONCE: usize = 8;
    let kit = Kit::on(database).await;
    let mut parameters = kit.parameters();
    set(
        &mut parameters,
        "subject_check",
        Some(subject_check("DURAND", "Angela", "1962-08-24")),
    );
    let mut opened = Vec::new();
    for _ in 0..AT_ONCE {
        let mut browser = kit.browser();
        browser.follow("/fc/connexion").await;
        let address = browser.get(&kit.push(&parameters).await).await.location;
        opened.push((browser, address));
    }
    let looks = opened
        .iter_mut()
        .map(|(browser, address)| browser.follow(address));
    let pages = futures_util::future::join_all(looks).await;
    let told = |words: &str| pages.iter().filter(|page| page.body.contains(words)).count();
    assert_eq!(
        (
            told("Il reste 2 essais"),
            told("Il reste un essai"),
            told("ne reste plus d’essai")
        ),
        (1, 1, AT_ONCE - 2)
    );
    let entries = kit.entries().await;
    let mismatch = (Event::Refused, Some(Reason::SubjectMismatch));
    let refused = entries
        .iter()
        .filter(|entry| (entry.event, entry.reason) == mismatch);
    assert_eq!(refused.count(), AT_ONCE, "each is in the ledger");
    // The right person waits now.
    let demande = kit.open(&mut kit.browser(), &kit.parameters()).await;
    assert!(demande.page.body.contains("access_denied"));
    assert!(!kit.events().await.contains(&Event::Granted));
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
