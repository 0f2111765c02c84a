//! A grant that serves more than once: as often as it says, not sooner than it says, and not after its end.

use serde_json::json;
use unefois_core::{Event, Outcome, Reason, WithdrawnBy};
use unefois_node::consumer::{Error, HeldGrant};
use unefois_proto::pb::backoffice::v1 as pb;
use unefois_store::node::grant::ElementState;
use unefois_store::node::notice::{NoticeKind, notices};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::feed::noted;
use crate::house::{House, asking, page, producing};
use crate::world::{Running, WAIT, case, consumer_id};

both_databases![
    a_narrowed_grant_goes_on_under_the_handle_that_follows,
    a_standing_grant_serves_as_often_as_it_says,
    a_standing_grant_that_ended_is_refused_at_the_authority_and_told
];

const DOCUMENT: &str = r#"{"data":{"montant":900,"taux":12.50,"membres":[{"nom":"EXEMPLE"}]}}"#;

async fn scene(database: TestDatabase) -> (House, Running, TestDatabase) {
    let producers = TestDatabase::sqlite();
    let (world, node) = producing(&[("a.yaml", &case("EXEMPLE", 200, DOCUMENT))], &producers).await;
    let address = vec![node.target.authority.to_string()];
    (
        House::new(&world, database, address, |_| {}).await,
        node,
        producers,
    )
}

async fn granted(house: &House, max_count: u32, min_interval_s: u32) -> HeldGrant {
    let asking = pb::RequestAuthorizationRequest {
        standing: Some(pb::Standing {
            max_count,
            min_interval_s,
        }),
        ..asking()
    };
    house.granted_as(asking).await
}

async fn a_standing_grant_serves_as_often_as_it_says(database: TestDatabase) {
    let (house, node, _producers) = scene(database).await;
    let handle = granted(&house, 3, 1).await.elements[0].handle;
    // The next one comes too soon: the node waits as it is told, and asks again under the same id.
    for _ in 0..3 {
        house.fetch(&handle, "").await.expect("a document");
    }
    let error = house.fetch(&handle, "").await.expect_err("once more");
    assert_eq!(error.reason(), Some(Reason::TokenConsumed));
    let refusal = error.to_refusal().expect("told");
    assert_eq!(refusal.retry_after, None, "waiting does not help");
    let entries = node.entries().await;
    let released: Vec<_> = entries.iter().filter(|e| e.event == Event::Released).collect();
    assert_eq!(released.len(), 3);
    for pair in released.windows(2) {
        assert!(pair[1].at.ms_since(pair[0].at) >= 1_000, "no sooner than granted");
    }
    let later = |e: &&unefois_core::Entry| e.reason == Some(Reason::QuotaConsumer);
    assert!(
        entries
            .iter()
            .filter(later)
            .all(|e| e.outcome == Some(Outcome::Later))
    );
    assert!(
        entries.iter().filter(later).count() >= 2,
        "each refusal is an entry"
    );

    // Where waiting takes longer than anybody waits, the back-office hears how long.
    let handle = granted(&house, 3, 3_600).await.elements[0].handle;
    house.fetch(&handle, "").await.expect("a document");
    let error = house.fetch(&handle, "").await.expect_err("too soon");
    assert!(matches!(error, Error::ProducerRefused(_)), "{error}");
    let refusal = error.to_refusal().expect("told");
    assert_eq!(refusal.reason, Reason::QuotaConsumer);
    let wait = refusal.retry_after.expect("it may come back");
    assert!((3_500..=3_600).contains(&wait.as_secs()), "{wait:?}");
    house.stop().await;
    node.stop().await;
}

async fn a_standing_grant_that_ended_is_refused_at_the_authority_and_told(database: TestDatabase) {
    let (house, node, _producers) = scene(database).await;
    let grant = granted(&house, 12, 1).await;
    let handle = grant.elements[0].handle;
    house.fetch(&handle, "").await.expect("a document");
    // A token is kept as long as it lives; then each use asks the authority, which reads the grant again.
    let calls = house.oauth.calls().len();
    house.clock.pass(61_000);
    house.fetch(&handle, "").await.expect("a document");
    let asked = house.oauth.calls()[calls..].to_vec();
    assert!(
        !asked.is_empty() && asked.iter().all(|call| *call == "token"),
        "{asked:?}"
    );
    assert_eq!(house.oauth.last()["grant_type"], "refresh_token");

    let mut changes = house.consumer.watch_grants(None).await.expect("a watch");
    let revoked = json!({"error": "invalid_grant", "unefois_reason": "GRANT_REVOKED"});
    house.oauth.refuse(Some((400, revoked)));
    house.clock.pass(61_000);
    let error = house.fetch(&handle, "").await.expect_err("withdrawn");
    assert!(matches!(error, Error::Over(ElementState::Withdrawn)), "{error}");
    // The stream says so too, later: it is told once.
    house.announcer.end(handle, WithdrawnBy::Person);
    let change = tokio::time::timeout(WAIT, changes.recv()).await.expect("in time");
    let change = change.expect("an open watch").expect("a change");
    assert_eq!(
        (change.kind, change.grant_id),
        (NoticeKind::Withdrawn, grant.grant_id)
    );
    noted(&house, 1).await;
    let tenant = consumer_id().siret().to_string();
    assert_eq!(notices(&house.db, &tenant, 0, 9).await.expect("reads").len(), 1);
    let held = house.consumer.grants(&page()).await.expect("a page");
    assert_eq!(held.grants[0].elements[0].state, ElementState::Withdrawn);
    house.stop().await;
    node.stop().await;
}

async fn a_narrowed_grant_goes_on_under_the_handle_that_follows(database: TestDatabase) {
    let (house, node, _producers) = scene(database).await;
    let grant = granted(&house, 12, 1).await;
    let old = grant.elements[0].handle;
    let mut changes = house.consumer.watch_grants(None).await.expect("a watch");

    // The authority says that it was narrowed and does not answer what follows: the handle serves no more.
    let next = house.oauth.narrow(old);
    house
        .oauth
        .refuse(Some((503, json!({"error": "temporarily_unavailable"}))));
    house.announcer.end(old, WithdrawnBy::Narrowed);
    let mut told = async || {
        let change = tokio::time::timeout(WAIT, changes.recv()).await.expect("in time");
        let change = change.expect("an open watch").expect("a change");
        (change.kind, change.element.handle, change.element.state)
    };
    assert_eq!(told().await, (NoticeKind::Narrowed, old, ElementState::Narrowed));
    house
        .fetch(&old, "")
        .await
        .expect_err("nobody tells what follows");

    // The next call under the old handle learns it; it is refused all the same, since less was granted.
    house.oauth.refuse(None);
    for _ in 0..2 {
        let error = house.fetch(&old, "").await.expect_err("narrowed");
        assert!(matches!(error, Error::Over(ElementState::Narrowed)), "{error}");
        assert_eq!(error.reason(), Some(Reason::GrantRevoked));
    }
    assert_eq!(told().await, (NoticeKind::Follows, next, ElementState::Active));
    let held = house.consumer.grants(&page()).await.expect("a page");
    let units = |n: usize| held.grants[0].elements[n].details.units.len();
    assert_eq!(
        (
            held.grants.len(),
            held.grants[0].elements.len(),
            units(0),
            units(1)
        ),
        (1, 2, 2, 1)
    );
    house.fetch(&next, "").await.expect("a document");

    // An answer that would give more, or something else, is not believed.
    let more: [fn(&mut serde_json::Value); 3] = [
        |answer| answer["authorization_details"][0]["units"][0]["unit"] = json!("foyer"),
        |answer| answer["authorization_details"][0]["dossier_ref"] = json!("2026-0413"),
        |answer| answer["authorization_details"] = json!([]),
    ];
    house.oauth.narrow(next);
    house.clock.pass(61_000);
    for change in more {
        house.oauth.change(change);
        let error = house.fetch(&next, "").await.expect_err("more than was granted");
        assert!(matches!(error, Error::AuthorityAnswer(_)), "{error}");
    }
    house.stop().await;
    node.stop().await;
}
