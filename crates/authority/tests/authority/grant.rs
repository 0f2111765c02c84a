//! From the pushed request to the token.

use futures_util::future::join_all;
use http::{Method, StatusCode};
use serde_json::json;
use unefois_core::{Event, Handle, Reason, SealedSubject, Sha256};
use unefois_jose::jwe;

use crate::both_databases;
use crate::database::TestDatabase;
use crate::kit::{COMMUNE, CROUS, Kit, Publisher, REDIRECT, form, merge, set, until};

both_databases![
    i2_a_one_shot_element_ends_in_its_time_beside_a_standing_one,
    one_choice_and_one_token_whoever_races,
    one_grant_for_two_producers_gives_a_handle_and_a_token_each,
    whoever_provides_the_paper_declines,
    who_obtained_a_grant_for_a_body_that_delegates_no_more_is_told_so,
];

async fn one_grant_for_two_producers_gives_a_handle_and_a_token_each(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let mut browser = kit.browser();
    let mut parameters = kit.parameters();
    let elements = json!([kit.element(), kit.student()]);
    set(
        &mut parameters,
        "authorization_details",
        Some(elements.to_string()),
    );
    let demande = kit.open(&mut browser, &parameters).await;
    for words in ["mairie de Clamart", "Angela DUBOIS", "FranceConnect", "2026-0412"] {
        assert!(demande.page.body.contains(words), "{words}");
    }
    let policy = demande.page.headers["content-security-policy"].to_str().unwrap();
    assert!(
        policy.contains("form-action 'self' https://commune.example"),
        "{policy}"
    );

    let posted = format!("csrf={}&choix=recuperer&e0.composition=1", demande.page.csrf());
    let back = browser.post(&demande.address, &posted).await;
    assert!(back.location.starts_with(REDIRECT), "{}", back.location);
    assert_eq!(back.parameter("iss"), Some(kit.issuer.clone()));
    assert_eq!(
        back.parameter("state").as_deref(),
        Some("state-of-the-back-office")
    );
    let again = browser.post(&demande.address, &posted).await;
    assert_eq!(
        again.status,
        StatusCode::OK,
        "answered once, told so the second time"
    );

    let answer = kit.redeem(&back.parameter("code").unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
    assert_eq!(answer.headers["cache-control"], "no-store");
    let details = answer.json["authorization_details"].as_array().unwrap();
    let units = |n: usize| {
        let units = details[n]["units"].as_array().unwrap();
        units
            .iter()
            .map(|u| u["unit"].as_str().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (details.len(), units(0), units(1)),
        (2, vec!["valeur", "composition"], vec!["inscription"])
    );
    assert_ne!(details[0]["gh"], details[1]["gh"]);

    let token = answer.json["access_token"].as_str().unwrap();
    let claims = kit.claims(token);
    let pivot_jwe = answer.json["pivot_jwe"].as_str().unwrap();
    assert_eq!(claims.aud.to_string(), kit.cnaf);
    assert_eq!(claims.gh.to_string(), details[0]["gh"]);
    assert_eq!(claims.cnf.x5t_s256, kit.commune_x5t());
    assert_eq!((claims.exp - claims.iat, claims.rvk.epoch), (60, 1));
    assert_eq!(claims.client_id, COMMUNE.parse().unwrap());
    let hash = Sha256::of(pivot_jwe.as_bytes());
    assert_eq!(claims.pivot_hash, base64(hash.as_bytes()));
    assert!(!serde_json::to_string(&claims).unwrap().contains("DUBOIS"), "I6");

    let plain = jwe::open_pivot(&[&*kit.pivot_key], pivot_jwe).unwrap();
    let SealedSubject::Person(pivot) = serde_json::from_slice(&plain).unwrap() else {
        panic!("a person");
    };
    assert_eq!(
        (pivot.family_name.as_str(), pivot.preferred_username),
        ("DUBOIS", None)
    );

    let refresh = |gh: &str| {
        form(&[
            ("grant_type", "refresh_token".to_owned()),
            (
                "refresh_token",
                answer.json["refresh_token"].as_str().unwrap().to_owned(),
            ),
            ("gh", gh.to_owned()),
        ])
    };
    let second = kit
        .call(
            Method::POST,
            "/as/token",
            &refresh(details[1]["gh"].as_str().unwrap()),
        )
        .await;
    let other = kit.claims(second.json["access_token"].as_str().unwrap());
    assert_ne!(other.aud, claims.aud);
    assert_eq!(second.json["authorization_details"].as_array().unwrap().len(), 1);
    assert_eq!(other.sub, claims.sub, "one person, one consumer");
    assert_ne!(other.gs, claims.gs, "a secret each handle");
    let same = kit
        .call(
            Method::POST,
            "/as/token",
            &refresh(details[0]["gh"].as_str().unwrap()),
        )
        .await;
    let same = kit.claims(same.json["access_token"].as_str().unwrap());
    assert_eq!(
        (same.gs, same.gh),
        (claims.gs, claims.gh),
        "minted again for the same handle"
    );
    assert_ne!(same.jti, claims.jti);
    let unknown = kit
        .call(
            Method::POST,
            "/as/token",
            &refresh(&Handle::from_bytes([0; 16]).to_string()),
        )
        .await;
    assert_eq!(unknown.json["error"], "invalid_target");

    let events = kit.events().await;
    assert_eq!(
        events,
        [
            Event::Granted,
            Event::Granted,
            Event::Minted,
            Event::Minted,
            Event::Minted,
            Event::Refused
        ]
    );
    kit.stop().await;
}

async fn i2_a_one_shot_element_ends_in_its_time_beside_a_standing_one(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let mut parameters = kit.parameters();
    let mut standing = kit.student();
    let mode = json!({"kind": "standing", "max_count": 12, "min_interval_s": 2_419_200});
    merge(&mut standing, json!({"mode": mode}));
    let elements = json!([kit.element(), standing]);
    set(
        &mut parameters,
        "authorization_details",
        Some(elements.to_string()),
    );
    let mut browser = kit.browser();
    let code = kit.grant(&mut browser, &parameters, "").await;
    let answer = kit.redeem(&code).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
    let handle = |n: usize| answer.json["authorization_details"][n]["gh"].as_str().unwrap();
    let refresh = async |gh: Option<&str>| {
        let mut parameters = vec![
            ("grant_type", "refresh_token".to_owned()),
            (
                "refresh_token",
                answer.json["refresh_token"].as_str().unwrap().to_owned(),
            ),
        ];
        parameters.extend(gh.map(|gh| ("gh", gh.to_owned())));
        kit.call(Method::POST, "/as/token", &form(&parameters)).await
    };
    // Within the 75 minutes that a document may need.
    kit.clock.pass(74 * 60_000);
    assert_eq!(refresh(Some(handle(0))).await.status, StatusCode::OK);

    // The producer forgets the claim after a day: no token may exist by then.
    kit.clock.pass(60_000);
    let refused = refresh(Some(handle(0))).await;
    assert_eq!(
        (refused.status, refused.json["unefois_reason"].as_str()),
        (StatusCode::BAD_REQUEST, Some("GRANT_REVOKED")),
        "{}",
        refused.json
    );
    for gh in [Some(handle(1)), None] {
        let minted = refresh(gh).await;
        assert_eq!(minted.status, StatusCode::OK, "{}", minted.json);
        let token = kit.claims(minted.json["access_token"].as_str().unwrap());
        assert_eq!(token.gh.to_string(), handle(1), "the one that stands");
    }
    let path = format!("/as/grants/{}", answer.json["grant_id"].as_str().unwrap());
    let shown = kit.call(Method::GET, &path, "").await;
    let left = shown.json["authorization_details"].as_array().unwrap();
    assert_eq!(
        left.iter().map(|d| &d["gh"]).collect::<Vec<_>>(),
        [&json!(handle(1))]
    );
    kit.stop().await;
}

async fn whoever_provides_the_paper_declines(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let mut browser = kit.browser();
    let demande = kit.open(&mut browser, &kit.parameters()).await;
    let posted = format!("csrf={}&choix=fournir", demande.page.csrf());
    let back = browser.post(&demande.address, &posted).await;
    assert_eq!(back.parameter("error").as_deref(), Some("access_denied"));
    assert_eq!(back.parameter("iss"), Some(kit.issuer.clone()));
    assert_eq!(kit.events().await, [Event::Declined]);
    kit.stop().await;
}

async fn one_choice_and_one_token_whoever_races(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let mut browser = kit.browser();
    let demande = kit.open(&mut browser, &kit.parameters()).await;
    let posted = format!("csrf={}&choix=recuperer", demande.page.csrf());
    let mut tabs: Vec<_> = (0..4).map(|_| browser.copy()).collect();
    let posts = tabs.iter_mut().map(|tab| tab.post(&demande.address, &posted));
    let codes: Vec<String> = join_all(posts)
        .await
        .iter()
        .filter_map(|page| page.parameter("code"))
        .collect();
    assert_eq!(codes.len(), 1, "one choice counts");
    assert_eq!(kit.events().await, [Event::Granted]);

    let redeemed = join_all((0..4).map(|_| kit.redeem(&codes[0]))).await;
    let tokens = redeemed
        .iter()
        .filter(|answer| answer.status == StatusCode::OK)
        .count();
    assert!(tokens <= 1, "one token at most");
    // The code came more than once: whatever it gave is over.
    let events = kit.events().await;
    assert_eq!(
        events.iter().filter(|event| **event == Event::Withdrawn).count(),
        1,
        "{events:?}"
    );
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persona_grants_without_a_browser_in_a_demonstration() {
    let kit = Kit::with(TestDatabase::sqlite(), |_, config| {
        config["demo"] = json!({"personas": true})
    })
    .await;
    let mut browser = kit.browser();
    let persona = |acr: &str| {
        json!({"provider": "fc", "sub": "angela", "acr": acr, "pivot": {
            "family_name": "DUBOIS", "given_names": ["Angela"], "birthdate": "1962-08-24", "gender": "female"}})
    };
    assert_eq!(
        browser
            .post_json("/demo/persona", &persona("eidas3"))
            .await
            .status,
        StatusCode::FORBIDDEN
    );
    let entered = browser.post_json("/demo/persona", &persona("eidas1")).await;
    assert_eq!(entered.status, StatusCode::NO_CONTENT);
    let code = kit.grant(&mut browser, &kit.parameters(), "").await;
    let answer = kit.redeem(&code).await;
    assert_eq!(
        answer.json["authorization_details"][0]["units"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let id = answer.json["grant_id"].as_str().unwrap();
    let detail = browser.get(&format!("/autorisations/{id}")).await;
    assert!(detail.body.contains("Démonstration"));
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_habilitation_that_ends_ends_the_tokens() {
    let mut kit = Kit::new().await;
    let mut browser = kit.browser();
    let code = kit.grant(&mut browser, &kit.parameters(), "").await;
    let answer = kit.redeem(&code).await;
    let refresh = form(&[
        ("grant_type", "refresh_token".to_owned()),
        (
            "refresh_token",
            answer.json["refresh_token"].as_str().unwrap().to_owned(),
        ),
    ]);
    assert_eq!(
        kit.call(Method::POST, "/as/token", &refresh).await.status,
        StatusCode::OK
    );
    kit.publish(|document| document.habilitations.truncate(0));
    let refused = until(async || {
        let answer = kit.call(Method::POST, "/as/token", &refresh).await;
        (answer.status != StatusCode::OK).then_some(answer)
    })
    .await;
    assert_eq!(refused.json["unefois_reason"], "NOT_ENTITLED");
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_consumer_gives_a_grant_back() {
    let kit = Kit::new().await;
    let mut browser = kit.browser();
    let code = kit.grant(&mut browser, &kit.parameters(), "").await;
    let answer = kit.redeem(&code).await;
    let path = format!("/as/grants/{}", answer.json["grant_id"].as_str().unwrap());
    let shown = kit.call(Method::GET, &path, "").await;
    assert_eq!(shown.json["authorization_details"].as_array().unwrap().len(), 1);
    assert_eq!(
        kit.call(Method::GET, "/as/grants/AAAAAAAAAAAAAAAAAAAAAA", "")
            .await
            .status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        kit.call(Method::DELETE, &path, "").await.status,
        StatusCode::NO_CONTENT
    );
    let shown = kit.call(Method::GET, &path, "").await;
    assert_eq!(shown.json["authorization_details"].as_array().unwrap().len(), 0);
    let revoke = form(&[("token", "unknown".to_owned())]);
    assert_eq!(
        kit.call(Method::POST, "/as/revoke", &revoke).await.status,
        StatusCode::OK
    );
    assert_eq!(kit.events().await.last(), Some(&Event::Withdrawn));
    kit.stop().await;
}

async fn who_obtained_a_grant_for_a_body_that_delegates_no_more_is_told_so(database: TestDatabase) {
    let mut kit = Kit::with(database, |directory, _| {
        directory["participants"][1]["publishers"] = json!([CROUS]);
    })
    .await;
    let code = kit.grant_through(Publisher::Crous, &mut kit.browser()).await;
    let given = kit
        .call_as_publisher(Publisher::Crous, Method::POST, "/as/token", &form(&code))
        .await;
    let path = format!("/as/grants/{}", given.json["grant_id"].as_str().unwrap());
    kit.publish(|document| document.participants[1].publishers.clear());
    let ask = async |method| kit.call_as_publisher(Publisher::Crous, method, &path, "").await;
    until(async || (ask(Method::GET).await.status != StatusCode::OK).then_some(())).await;

    for method in [Method::GET, Method::DELETE] {
        let refused = ask(method).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.json);
        assert_eq!(refused.json["unefois_reason"], "NOT_ENTITLED");
        let entry = kit.entries().await.pop().unwrap();
        assert_eq!(
            (entry.event, entry.reason, entry.requester, entry.datatype),
            (
                Event::Refused,
                Some(Reason::NotEntitled),
                Some(CROUS.parse().unwrap()),
                None
            )
        );
    }
    assert!(!kit.events().await.contains(&Event::Withdrawn));
    // The body itself, which did not obtain it, learns of no grant.
    let unknown = kit.call(Method::DELETE, &path, "").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);

    kit.publish(|document| document.participants[1].publishers = vec![CROUS.parse().unwrap()]);
    let ask = async |method| kit.call_as_publisher(Publisher::Crous, method, &path, "").await;
    until(async || (ask(Method::GET).await.status == StatusCode::OK).then_some(())).await;
    assert_eq!(ask(Method::DELETE).await.status, StatusCode::NO_CONTENT);
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_and_keys_are_public() {
    let kit = Kit::new().await;
    let mut browser = kit.browser();
    let metadata = browser.get("/.well-known/oauth-authorization-server").await;
    let metadata: serde_json::Value = serde_json::from_str(&metadata.body).unwrap();
    assert_eq!(metadata["issuer"], kit.issuer);
    assert_eq!(metadata["require_pushed_authorization_requests"], true);
    let keys: serde_json::Value = serde_json::from_str(&browser.get("/as/jwks").await.body).unwrap();
    assert_eq!(keys["keys"][0]["kid"], kit.token_key.thumbprint().to_string());
    kit.stop().await;
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}
