//! Consumer and producer over the wire: what each log says when it ends badly, and when it ends well.

use std::sync::Arc;

use serde_json::json;
use unefois_core::revocation::Withdrawal;
use unefois_core::{Entry, Event, Outcome, Random, Reason, Sha256};
use unefois_node::consumer::Error;
use unefois_store::node::grant::ElementState;
use unefois_store::peer::{peer_head, peer_receipt_exists};
use unefois_tlog::Hash;

use crate::both_databases;
use crate::database::TestDatabase;
use crate::house::{House, page, producing};
use crate::world::{Running, World, case, consumer_id};

both_databases![
    both_logs_hold_the_exchange_and_each_is_the_other_s_witness,
    a_refusal_is_recorded_with_the_producer_s_entry
];

const DOCUMENT: &str = r#"{"data":{"montant":900,"taux":12.50,"membres":[{"nom":"EXEMPLE"}],"secret":1}}"#;

fn address(node: &Running) -> Vec<String> {
    vec![node.target.authority.to_string()]
}

fn last(entries: &[Entry]) -> &Entry {
    entries.last().expect("an entry")
}

fn request_id(world: &World) -> String {
    let random: &dyn Random = &world.random;
    random.exchange_id(world.clock.now()).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_is_not_there_leaves_an_unanswered_entry() {
    let world = Arc::new(World::new(&[]).await);
    let house = House::new(&world, TestDatabase::sqlite(), vec!["127.0.0.1:1".into()], |_| {}).await;
    let grant = house.granted().await;
    let error = house
        .fetch(&grant.elements[0].handle, "")
        .await
        .expect_err("nobody answers");
    assert!(matches!(error, Error::Unanswered), "{error}");
    assert_eq!(error.reason(), Some(Reason::Deadline));
    let entries = house.entries().await;
    assert_eq!(entries.len(), 1);
    assert_eq!(
        (last(&entries).event, last(&entries).outcome),
        (Event::Unanswered, Some(Outcome::Later))
    );
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_hangs_is_given_up_at_the_deadline() {
    // It takes connections, and says nothing.
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a socket");
    let world = Arc::new(World::new(&[]).await);
    let at = vec![mute.local_addr().expect("an address").to_string()];
    let house = House::new(&world, TestDatabase::sqlite(), at, |_| {}).await;
    let grant = house.granted().await;
    let call = unefois_proto::HandleCall {
        link: None,
        handle: grant.elements[0].handle,
        request_id: None,
        units: vec![],
    };
    let began = world.clock.boottime();
    let within = std::time::Duration::from_millis(500);
    let error = house
        .consumer
        .fetch(call, within)
        .await
        .expect_err("nothing comes");
    assert!(matches!(error, Error::Unanswered), "{error}");
    assert!(world.clock.boottime().micros_since(began) < 3_000_000);
    assert_eq!(last(&house.entries().await).event, Event::Unanswered);

    house.consumer.drained().await;
    let error = house
        .fetch(&grant.elements[0].handle, "")
        .await
        .expect_err("the node stops");
    assert!(matches!(error, Error::Stopping), "{error}");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_believed_is_recorded_and_not_handed_on() {
    let database = TestDatabase::sqlite();
    let (world, node) = producing(&[("a.yaml", &case("EXEMPLE", 200, DOCUMENT))], &database).await;
    // The consumer's directory knows no seal key of the producer.
    let house = House::new(&world, TestDatabase::sqlite(), address(&node), |d| {
        for row in &mut d.participants {
            row.seal_keys.clear();
        }
    })
    .await;
    let grant = house.granted().await;
    let error = house
        .fetch(&grant.elements[0].handle, "")
        .await
        .expect_err("not believed");
    assert!(matches!(error, Error::Unverified(_)), "{error}");
    let (entries, theirs) = (house.entries().await, node.entries().await);
    let ours = last(&entries);
    assert_eq!(
        (ours.event, ours.reason),
        (Event::Refused, Some(Reason::SourceSchema))
    );
    let leaf = Hash::of_leaf(&last(&theirs).encode());
    assert_eq!(ours.peer_entry_hash, Some(Sha256::from_bytes(*leaf.as_bytes())));
    assert!(ours.evidence_commit.is_some() && ours.content_commit.is_none());
    // Nothing of it counts as received: the next call does not acknowledge it.
    let siret = consumer_id().siret().to_string();
    let _refused = house.fetch(&grant.elements[0].handle, "").await;
    assert!(
        !peer_receipt_exists(&node.foundation.db, &siret, &leaf)
            .await
            .expect("the database reads")
    );
    house.stop().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_requests_under_one_handle_one_is_answered() {
    let database = TestDatabase::sqlite();
    let (world, node) = producing(&[("a.yaml", &case("EXEMPLE", 200, DOCUMENT))], &database).await;
    let house = House::new(&world, TestDatabase::sqlite(), address(&node), |_| {}).await;
    let handle = house.granted().await.elements[0].handle;
    let (one, two) = tokio::join!(house.fetch(&handle, ""), house.fetch(&handle, ""));
    let refusals: Vec<_> = [&one, &two]
        .iter()
        .filter_map(|r| r.as_ref().err()?.reason())
        .collect();
    assert_eq!(refusals, [Reason::TokenConsumed]);
    let events: Vec<_> = house.entries().await.iter().map(|entry| entry.event).collect();
    assert_eq!(
        events.iter().filter(|event| **event == Event::Received).count(),
        1
    );
    house.stop().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_here_calls_nobody() {
    let world = Arc::new(World::new(&[]).await);
    let unreachable = || vec!["127.0.0.1:1".to_owned()];
    let house = House::new(&world, TestDatabase::sqlite(), unreachable(), |d| {
        d.quotas.clear()
    })
    .await;
    let grant = house.granted().await;
    let handle = grant.elements[0].handle;
    let error = house.fetch(&handle, "").await.expect_err("no quota");
    assert_eq!(error.reason(), Some(Reason::QuotaConsumer));
    let unknown = unefois_core::Handle::from_bytes([9; 16]);
    let error = house.fetch(&unknown, "").await.expect_err("no such handle");
    assert!(matches!(error, Error::Unknown { .. }), "{error}");
    assert!(house.entries().await.is_empty());
    house.stop().await;

    let closed = |d: &mut unefois_core::directory::DirectoryDocument| {
        d.closed_windows = vec![unefois_core::directory::WindowRow {
            participant: crate::world::producer_id(),
            datatype: None,
            window: serde_json::from_str(r#"{"day":"daily","from":"00:00","to":"00:00"}"#).expect("a window"),
        }];
    };
    let house = House::new(&world, TestDatabase::sqlite(), unreachable(), closed).await;
    let grant = house.granted().await;
    let error = house
        .fetch(&grant.elements[0].handle, "")
        .await
        .expect_err("closed");
    assert_eq!(error.reason(), Some(Reason::Maintenance));
    assert!(error.to_refusal().expect("a refusal").retry_after.is_some());
    house.stop().await;
}

async fn a_refusal_is_recorded_with_the_producer_s_entry(database: TestDatabase) {
    let producer_database = TestDatabase::sqlite();
    let (world, node) = producing(&[("a.yaml", &case("AUTRE", 200, DOCUMENT))], &producer_database).await;
    let house = House::new(&world, database, address(&node), |_| {}).await;
    let grant = house.granted().await;
    let error = house
        .fetch(&grant.elements[0].handle, "")
        .await
        .expect_err("nobody matches");
    assert_eq!(error.reason(), Some(Reason::SubjectNotResolved));

    let (entries, theirs) = (house.entries().await, node.entries().await);
    let (ours, theirs) = (last(&entries), last(&theirs));
    assert_eq!(
        (ours.event, ours.outcome),
        (Event::Refused, Some(Outcome::Refused))
    );
    assert_eq!((theirs.event, theirs.reason), (Event::Refused, ours.reason));
    let leaf = Hash::of_leaf(&theirs.encode());
    assert_eq!(ours.peer_entry_hash, Some(Sha256::from_bytes(*leaf.as_bytes())));
    let origin = node.foundation.ledger.origin().as_str();
    assert_eq!(ours.peer_origin_hash, Some(Sha256::of(origin.as_bytes())));
    assert_eq!(
        (ours.exchange_id, ours.request_hash),
        (theirs.exchange_id, theirs.request_hash)
    );
    assert_eq!(
        (ours.grant_commit, ours.dossier_commit),
        (theirs.grant_commit, theirs.dossier_commit)
    );
    house.stop().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawn_grant_is_dropped_wherever_it_shows() {
    let database = TestDatabase::sqlite();
    let (world, node) = producing(&[("a.yaml", &case("EXEMPLE", 200, DOCUMENT))], &database).await;
    let house = House::new(&world, TestDatabase::sqlite(), address(&node), |_| {}).await;

    // At the producer: the token of the code is still fresh.
    let grant = house.granted().await;
    let handle = grant.elements[0].handle;
    world
        .authority
        .0
        .withdraw_everywhere(Withdrawal::Grant(handle))
        .await;
    let error = house.fetch(&handle, "").await.expect_err("withdrawn");
    assert_eq!(error.reason(), Some(Reason::GrantRevoked));
    assert_eq!(last(&house.entries().await).reason, Some(Reason::GrantRevoked));
    let state = async || house.consumer.grants(&page()).await.expect("a page").grants[0].elements[0].state;
    assert_eq!(
        state().await,
        ElementState::Active,
        "a producer's word ends no grant"
    );

    // At the authority, which is asked for another token.
    let revoked = json!({"error": "invalid_grant", "unefois_reason": "GRANT_REVOKED"});
    house.oauth.refuse(Some((400, revoked)));
    let error = house.fetch(&handle, "").await.expect_err("withdrawn");
    assert_eq!(error.reason(), Some(Reason::GrantRevoked));
    assert_eq!(state().await, ElementState::Withdrawn);
    let calls = house.oauth.calls().len();
    let error = house.fetch(&handle, "").await.expect_err("dropped");
    assert_eq!(error.reason(), Some(Reason::GrantRevoked));
    assert_eq!(
        (house.entries().await.len(), house.oauth.calls().len()),
        (1, calls),
        "nobody was called"
    );
    house.stop().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sick_replica_is_left_out() {
    let database = TestDatabase::sqlite();
    let (world, node) = producing(&[("a.yaml", &case("EXEMPLE", 200, DOCUMENT))], &database).await;
    let replicas = vec!["127.0.0.1:1".to_owned(), node.target.authority.to_string()];
    let house = House::new(&world, TestDatabase::sqlite(), replicas, |_| {}).await;
    for _ in 0..3 {
        let grant = house.granted().await;
        house
            .fetch(&grant.elements[0].handle, "")
            .await
            .expect("the replica that is well answers");
    }
    assert!(
        house
            .entries()
            .await
            .iter()
            .all(|entry| entry.event == Event::Received)
    );
    house.stop().await;
    node.stop().await;
}

async fn both_logs_hold_the_exchange_and_each_is_the_other_s_witness(database: TestDatabase) {
    let producer_database = TestDatabase::sqlite();
    let (world, node) = producing(&[("a.yaml", &case("EXEMPLE", 200, DOCUMENT))], &producer_database).await;
    let house = House::new(&world, database, address(&node), |_| {}).await;
    let grant = house.granted().await;
    let (handle, id) = (grant.elements[0].handle, request_id(&world));

    let answer = house.fetch(&handle, &id).await.expect("a document");
    let units: Vec<_> = answer
        .attested()
        .units()
        .iter()
        .map(|(n, t)| (n.as_str(), t.as_str()))
        .collect();
    let [foyer, montant] = [
        r#"{"membres":[{"nom":"EXEMPLE"}]}"#,
        r#"{"montant":900,"taux":12.50}"#,
    ];
    assert_eq!(units, [("montant", montant), ("foyer", foyer)]);
    let (entries, theirs) = (house.entries().await, node.entries().await);
    let (ours, theirs) = (last(&entries), last(&theirs).clone());
    assert_eq!((ours.event, theirs.event), (Event::Received, Event::Released));
    assert_eq!(ours.content_commit, theirs.content_commit);
    assert_eq!(ours.peer_entry_hash, Some(answer.producer().leaf));
    assert_eq!(
        (ours.units, ours.holder.clone()),
        (theirs.units, theirs.holder.clone())
    );

    // The same id again: the same payload, and an entry at each end. Another id: not under this handle.
    let again = house.fetch(&handle, &id).await.expect("the same answer");
    assert_eq!(again.attested().units(), answer.attested().units());
    assert_eq!(last(&node.entries().await).event, Event::ReleasedAgain);
    assert_eq!(last(&house.entries().await).attempt, 2);
    let error = house.fetch(&handle, "").await.expect_err("used");
    assert_eq!(error.reason(), Some(Reason::TokenConsumed));
    let other = house.granted().await.elements[0].handle;
    let error = house
        .fetch(&other, &id)
        .await
        .expect_err("another handle under the same id");
    assert!(matches!(error, Error::RetryMismatch), "{error}");

    // Each call told what was received before, and the heads moved on with proofs.
    let siret = consumer_id().siret().to_string();
    let leaf = Hash::new(*answer.producer().leaf.as_bytes());
    assert!(
        peer_receipt_exists(&node.foundation.db, &siret, &leaf)
            .await
            .expect("the database reads")
    );
    let seen = peer_head(&house.db, node.foundation.ledger.origin().as_str())
        .await
        .expect("reads");
    assert_eq!(seen.map(|head| head.size), Some(again.producer().size));
    let seen = peer_head(&node.foundation.db, house.ledger.origin().as_str())
        .await
        .expect("reads");
    assert_eq!(
        seen.map(|head| head.size),
        Some(1),
        "the head that the second call carried"
    );
    house.stop().await;
    node.stop().await;
}
