//! A request without an identity check is judged by the démarche as it is now: at the page, at the choice, at each token.

use http::StatusCode;
use unefois_core::{Event, Reason};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::kit::{COMMUNE, Kit, set};
use crate::mandate::refreshed;

both_databases![what_needs_a_check_by_now_is_neither_shown_nor_granted_nor_minted];

const REASON: &str = "le dossier ne porte pas d’état civil";

fn unbound(kit: &Kit) -> Vec<(&'static str, String)> {
    let mut parameters = kit.parameters();
    set(&mut parameters, "subject_check", None);
    set(&mut parameters, "subject_unbound", Some(REASON.to_owned()));
    parameters
}

/// Publishes a catalogue whose démarches allow unchecked identities, or not, and waits until it is in use.
async fn publish(kit: &mut Kit, allowed: bool) {
    kit.publish_with_catalogue(|text| {
        let allows = format!("subject_unbound: {allowed}");
        text.replace("subject_unbound: false", &allows)
    });
    kit.taken_up().await;
}

async fn what_needs_a_check_by_now_is_neither_shown_nor_granted_nor_minted(database: TestDatabase) {
    let mut kit = Kit::on(database).await;
    publish(&mut kit, true).await;
    let mut browser = kit.browser();
    let code = kit.grant(&mut browser, &unbound(&kit), "").await;
    let redeemed = kit.redeem(&code).await;
    let claims = kit.claims(redeemed.json["access_token"].as_str().unwrap());
    assert_eq!(claims.subject_unbound.as_deref(), Some(REASON));
    assert_eq!(refreshed(&kit, &redeemed).await.status, StatusCode::OK);
    let open = kit.open(&mut browser, &unbound(&kit)).await;
    let chosen = format!("csrf={}&choix=recuperer", open.page.csrf());
    let pushed = kit.push(&unbound(&kit)).await;

    publish(&mut kit, false).await;
    let refused = [(
        Event::Refused,
        Some(Reason::NotEntitled),
        Some(COMMUNE.parse().unwrap()),
    )];
    let said = async |before: usize| -> Vec<_> {
        let entries = kit.entries().await.split_off(before);
        entries.iter().map(|e| (e.event, e.reason, e.requester)).collect()
    };
    for (address, posted) in [
        (&pushed, None),
        (&open.address, None),
        (&open.address, Some(&chosen)),
    ] {
        let before = kit.entries().await.len();
        let told = match posted {
            None => browser.follow(address).await,
            Some(form) => browser.post(address, form).await,
        };
        assert_eq!(told.status, StatusCode::BAD_REQUEST, "{address}: {}", told.body);
        assert!(
            told.body.contains("Cette demande n’est plus permise"),
            "{}",
            told.body
        );
        assert_eq!(said(before).await, refused, "{address}");
    }
    let before = kit.entries().await.len();
    let answer = refreshed(&kit, &redeemed).await;
    assert_eq!(answer.json["unefois_reason"], "NOT_ENTITLED", "{}", answer.json);
    assert_eq!(said(before).await, refused, "at the token endpoint");

    // The grant stands: it gives tokens again once that is allowed again.
    publish(&mut kit, true).await;
    assert_eq!(refreshed(&kit, &redeemed).await.status, StatusCode::OK);
    kit.stop().await;
}
