//! What becomes of a grant whose code comes again from elsewhere, or comes late.

use http::StatusCode;
use unefois_core::{Entry, Event, Reason};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::kit::{Answer, COMMUNE, CROUS, Kit, redeem};
use crate::mandate::refreshed;

both_databases![
    a_used_code_in_another_s_hands_ends_its_grant,
    a_code_that_comes_again_late_ends_its_grant,
    a_code_that_comes_late_ends_its_grant,
];

/// How long a code may wait.
const CODE_MS: i64 = 30_000;

fn assert_invalid(answer: &Answer) {
    assert_eq!(
        (answer.status, answer.json["error"].as_str()),
        (StatusCode::BAD_REQUEST, Some("invalid_grant")),
        "{}",
        answer.json
    );
}

/// That the grant was withdrawn, and then `client` refused.
async fn assert_ended(kit: &Kit, before: usize, client: &str) {
    let mut said = kit.entries().await.split_off(before);
    said.retain(|entry| entry.event != Event::Effective);
    let said: Vec<_> = said
        .iter()
        .map(|e: &Entry| (e.event, e.reason, e.requester))
        .collect();
    let of = |client: &str| Some(client.parse().unwrap());
    let expected = [
        (Event::Withdrawn, None, of(COMMUNE)),
        (Event::Refused, Some(Reason::TokenInvalid), of(client)),
    ];
    assert_eq!(said, expected);
}

async fn assert_no_token(kit: &Kit, redeemed: &Answer) {
    let answer = refreshed(kit, redeemed).await;
    assert_eq!(answer.json["unefois_reason"], "GRANT_REVOKED", "{}", answer.json);
}

async fn a_used_code_in_another_s_hands_ends_its_grant(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let mut browser = kit.browser();
    let code = kit.grant(&mut browser, &kit.parameters(), "").await;
    let redeemed = kit.redeem(&code).await;
    assert_eq!(refreshed(&kit, &redeemed).await.status, StatusCode::OK);
    let before = kit.entries().await.len();
    assert_invalid(&kit.call_as_crous("/as/token", &redeem(&code)).await);
    assert_ended(&kit, before, CROUS).await;
    assert_no_token(&kit, &redeemed).await;
    let list = browser.get("/autorisations").await.body;
    assert!(list.contains("Arrêtée par sécurité"), "{list}");
    kit.stop().await;
}

async fn a_code_that_comes_again_late_ends_its_grant(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let code = kit.grant(&mut kit.browser(), &kit.parameters(), "").await;
    let redeemed = kit.redeem(&code).await;
    kit.clock.pass(CODE_MS);
    assert_eq!(refreshed(&kit, &redeemed).await.status, StatusCode::OK);
    let before = kit.entries().await.len();
    assert_invalid(&kit.redeem(&code).await);
    assert_ended(&kit, before, COMMUNE).await;
    assert_no_token(&kit, &redeemed).await;
    kit.stop().await;
}

/// Nobody can come to a token of it any more: it is told as given back, and nothing is left to stop.
async fn a_code_that_comes_late_ends_its_grant(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let mut browser = kit.browser();
    let code = kit.grant(&mut browser, &kit.parameters(), "").await;
    kit.clock.pass(CODE_MS);
    let before = kit.entries().await.len();
    assert_invalid(&kit.redeem(&code).await);
    assert_ended(&kit, before, COMMUNE).await;
    let list = browser.get("/autorisations").await.body;
    assert!(!list.contains("/arreter"), "{list}");

    // It stays used: no clock that goes back brings it back.
    kit.clock.pass(-CODE_MS);
    assert_invalid(&kit.redeem(&code).await);
    kit.stop().await;
}
