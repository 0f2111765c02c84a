//! Withdrawals that the authority's operator asks for.

use http::{Method, StatusCode};
use serde_json::Value;
use unefois_core::revocation::Withdrawal;
use unefois_core::{Event, Micros};
use unefois_store::authority::order::order_record;
use unefois_store::authority::revocation;
use unefois_store::{Component, Db};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::kit::{COMMUNE, Kit, form, until};
use crate::withdrawal::logged;

both_databases![
    i3_a_withdrawal_of_a_client_takes_effect,
    i8_an_order_is_logged_though_who_ordered_it_is_gone
];

/// A participant that neither the directory nor a grant names.
const STRANGER: &str = "urn:unefois:participant:21690123100011";
const PATH: &str = "/as/withdrawals";

fn asked(kind: &str, key: &str, reason: &str) -> String {
    let fields = [("kind", kind), ("key", key), ("reason", reason)];
    form(&fields.map(|(name, value)| (name, value.to_owned())))
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_operator_withdraws_and_says_what_and_why() {
    let kit = Kit::new().await;
    let right = asked("client", COMMUNE, "clé perdue");
    for refused in [
        kit.call(Method::POST, PATH, &right).await,
        kit.call(Method::GET, "/as/withdrawals/1", "").await,
    ] {
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        assert_eq!(refused.json["unefois_reason"], "NOT_ENTITLED");
    }
    let digest = "A".repeat(43);
    for wrong in [
        asked("grant", COMMUNE, "x"),
        asked("client", "commune", "x"),
        asked("client", STRANGER, "x"),
        asked("client_cert", &"A".repeat(42), "x"),
        asked("signing_key", &"é".repeat(21), "x"),
        asked("signing_key", &digest, "x"),
        asked("signing_key", &digest, ""),
        asked("signing_key", &digest, "deux\nlignes"),
        asked("signing_key", &digest, &"x".repeat(513)),
        asked("all_before", COMMUNE, "x"),
        format!("{right}&kind=client"),
    ] {
        let refused = kit.call_as_operator(Method::POST, PATH, &wrong).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{wrong}");
        assert_eq!(refused.json["unefois_reason"], "INVALID_REQUEST", "{wrong}");
    }
    for unknown in ["0", "1"] {
        let path = format!("{PATH}/{unknown}");
        let answer = kit.call_as_operator(Method::GET, &path, "").await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(kit.events().await, [] as [Event; 0], "nothing was withdrawn");
    kit.stop().await;
}

async fn i3_a_withdrawal_of_a_client_takes_effect(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let body = asked("client", COMMUNE, "clé perdue");
    let answer = kit.call_as_operator(Method::POST, PATH, &body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json);
    assert_eq!(
        (&answer.json["epoch"], &answer.json["seq"]),
        (&1.into(), &1.into())
    );
    assert_eq!(answer.json["effective_at_us"], Value::Null);
    let told = until(async || {
        let answer = kit.call_as_operator(Method::GET, "/as/withdrawals/1", "").await;
        answer.json["effective_at_us"].is_i64().then_some(answer.json)
    })
    .await;
    assert!(told["effective_at_us"].as_i64() > told["at_us"].as_i64());
    logged(&kit, Event::Effective).await;
    let entries = kit.entries().await;
    let events: Vec<Event> = entries.iter().map(|entry| entry.event).collect();
    assert_eq!(events, [Event::Admin, Event::Effective]);
    for entry in entries {
        assert_eq!(entry.requester, Some(COMMUNE.parse().unwrap()));
        assert!(entry.evidence_commit.is_some());
    }
    kit.stop().await;
}

/// Orders a withdrawal, and is gone before its entry is written.
async fn ordered(url: &str) {
    let db = Db::open(url, Component::Authority).await.unwrap();
    let mut tx = db.begin().await.unwrap();
    let at = Micros::new(1_795_512_305_000_000);
    let (head, _) = revocation::epoch_take(&mut tx, 1_000, at).await.unwrap();
    let done = order_record(&mut tx, head.epoch, Withdrawal::AllBefore, "clé perdue", at).await;
    assert!(done.unwrap().is_some());
    tx.commit().await.unwrap();
    db.close().await;
}

async fn i8_an_order_is_logged_though_who_ordered_it_is_gone(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let order = |database: &TestDatabase| {
        let runtime = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| runtime.block_on(ordered(database.url())));
    };
    let kit = kit.restart(|_, database| order(database)).await;
    logged(&kit, Event::Admin).await;
    let kit = kit.restart(|_, _| {}).await;
    logged(&kit, Event::Effective).await;
    let admin = |events: Vec<Event>| events.into_iter().filter(|event| *event == Event::Admin).count();
    assert_eq!(admin(kit.events().await), 1, "once");
    kit.stop().await;
}
