//! What the operator suspends is refused at once, over restarts, without any authority, and its log says so.

use std::time::Duration;

use futures_util::StreamExt as _;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use unefois_core::{Entry, Event, Micros, Outcome, Reason};
use unefois_mesh::{Peer, status};
use unefois_proto::pb::exchange::v1::exchange_service_server::ExchangeService as _;
use unefois_store::node::suspension::{
    SuspensionId, SuspensionKind, SuspensionRow, suspension_end, suspension_insert, suspensions,
    suspensions_unsaid,
};
use unefois_store::{Component, Db};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::held_source::HeldSource;
use crate::world::{Caller, Running, WAIT, World, case, consumer_id, producer_id, stranger_id, until};

both_databases![
    what_is_suspended_is_refused_within_a_second_and_after_a_restart,
    a_suspension_covers_what_it_names_and_nothing_else,
    what_ends_while_the_source_answers_does_not_leave,
    what_is_suspended_before_its_first_byte_is_withheld,
];

const DOCUMENT: &str = r#"{"data":{"montant":900,"taux":12.50,"membres":[{"nom":"EXEMPLE"}]}}"#;
/// « Within a second. »
const FOLLOWED_WITHIN_US: i64 = 1_000_000;
const DAY_MS: i64 = 86_400_000;

async fn world() -> World {
    World::new(&[("exemple.yaml", &case("EXEMPLE", 200, DOCUMENT))]).await
}

/// The operator's command, beside the node's processes.
struct Operator<'a> {
    world: &'a World,
    url: &'a str,
}

impl Operator<'_> {
    async fn suspend(&self, n: u8, kind: SuspensionKind, key: &str, for_ms: i64) -> SuspensionId {
        let now = self.world.clock.now();
        let row = SuspensionRow {
            id: [n; 16],
            kind,
            key: key.to_owned(),
            reason: "incident 12".to_owned(),
            began_at: now,
            ends_at: now.plus_ms(for_ms),
            ended: None,
        };
        let db = Db::open_beside(self.url, Component::Node)
            .await
            .expect("a database");
        let mut tx = db.begin().await.expect("a transaction");
        suspension_insert(&mut tx, &row).await.expect("a row");
        tx.commit().await.expect("a commit");
        db.close().await;
        row.id
    }

    async fn end(&self, id: &SuspensionId, at: Micros) -> bool {
        let db = Db::open_beside(self.url, Component::Node)
            .await
            .expect("a database");
        let mut tx = db.begin().await.expect("a transaction");
        let ended = suspension_end(&mut tx, id, at, "réglé").await.expect("an update");
        tx.commit().await.expect("a commit");
        db.close().await;
        ended
    }
}

/// How a fetch under a new grant ends.
async fn outcome(world: &World, caller: &Caller) -> Option<Reason> {
    let request = world.request(&world.grant("EXEMPLE", &["montant"]));
    match caller.fetch(request).await {
        Ok(_) => None,
        Err(status) => unefois_mesh::status::reason_of(&status),
    }
}

/// Asks until the answer is `expected`. Of a suspension: a call that begins a second from now is answered in no case.
async fn becomes(world: &World, caller: &Caller, expected: Option<Reason>) {
    let since = world.clock.boottime();
    let expectation = async {
        loop {
            let later = world.clock.boottime().micros_since(since);
            let outcome = outcome(world, caller).await;
            if outcome == expected {
                return;
            }
            assert!(
                outcome.is_some() || later < FOLLOWED_WITHIN_US,
                "a call {later} µs later is answered"
            );
        }
    };
    tokio::time::timeout(WAIT, expectation).await.expect("in time");
}

/// Waits until what the operator has said is followed.
async fn followed(world: &World) {
    let since = world.clock.boottime();
    until(|| world.clock.boottime().micros_since(since) >= FOLLOWED_WITHIN_US).await;
}

/// Waits until the log holds so many entries of its operator's.
async fn said(node: &Running, count: usize) -> Vec<Entry> {
    let mut look = tokio::time::interval(Duration::from_millis(5));
    let told = async {
        loop {
            look.tick().await;
            let mut entries = node.entries().await;
            entries.retain(|e| e.event == Event::Admin);
            if entries.len() == count {
                return entries;
            }
        }
    };
    tokio::time::timeout(WAIT, told).await.expect("in time")
}

async fn what_is_suspended_is_refused_within_a_second_and_after_a_restart(database: TestDatabase) {
    let world = world().await;
    let node = world.node(database.url()).await;
    let caller = world.caller(&node, &world.consumer);
    let operator = Operator {
        world: &world,
        url: database.url(),
    };
    assert_eq!(outcome(&world, &caller).await, None);

    let consumer = consumer_id().to_string();
    let id = operator.suspend(1, SuspensionKind::Peer, &consumer, DAY_MS).await;
    becomes(&world, &caller, Some(Reason::Suspended)).await;
    // The first may have been stopped on its way out; the next is at the door.
    assert_eq!(outcome(&world, &caller).await, Some(Reason::Suspended));
    let began = said(&node, 1).await;
    assert_eq!(
        (began[0].requester, began[0].provider),
        (Some(consumer_id()), Some(producer_id()))
    );
    assert!(began[0].evidence_commit.is_some(), "it commits to the reason");
    let entries = node.entries().await;
    let refused = entries
        .iter()
        .rfind(|e| e.event == Event::Refused)
        .expect("an entry");
    assert_eq!(
        (refused.reason, refused.outcome, refused.requester),
        (
            Some(Reason::Suspended),
            Some(Outcome::Refused),
            Some(consumer_id())
        )
    );
    node.stop().await;

    let node = world.node(database.url()).await;
    let caller = world.caller(&node, &world.consumer);
    assert_eq!(outcome(&world, &caller).await, Some(Reason::Suspended));
    said(&node, 1).await;

    assert!(operator.end(&id, world.clock.now()).await);
    assert!(!operator.end(&id, world.clock.now()).await, "it is over");
    becomes(&world, &caller, None).await;
    said(&node, 2).await;
    let db = Db::open_for_reading(database.url()).await.expect("a database");
    let origin = format!("{}/1", producer_id());
    assert_eq!(suspensions_unsaid(&db, &origin).await.expect("rows"), []);
    // Another replica's log has to say it too.
    assert_eq!(suspensions_unsaid(&db, "another").await.expect("rows").len(), 2);
    let rows = suspensions(&db, world.clock.now()).await.expect("rows");
    assert_eq!(rows.len(), 1);
    assert!(!rows[0].holds(world.clock.now()));
    db.close().await;
    node.stop().await;
}

async fn a_suspension_covers_what_it_names_and_nothing_else(database: TestDatabase) {
    let world = world().await;
    let node = world.node(database.url()).await;
    let caller = world.caller(&node, &world.consumer);
    let operator = Operator {
        world: &world,
        url: database.url(),
    };
    let stranger = stranger_id().to_string();
    for (n, kind, key) in [
        (1, SuspensionKind::Peer, stranger.as_str()),
        (2, SuspensionKind::Datatype, "cnaf/autre"),
        (3, SuspensionKind::Datatype, "cnaf/revenu@2"),
        (4, SuspensionKind::Habilitation, "DP-2"),
    ] {
        operator.suspend(n, kind, key, DAY_MS).await;
    }
    // Over when it was written.
    operator
        .suspend(5, SuspensionKind::Habilitation, "DP-1", -1)
        .await;
    for (n, kind, key) in [
        (11, SuspensionKind::Datatype, "cnaf/revenu@1"),
        (12, SuspensionKind::Datatype, "cnaf/revenu"),
        (13, SuspensionKind::Habilitation, "DP-1"),
        // What does not read was written to stop something.
        (14, SuspensionKind::Datatype, "?"),
    ] {
        becomes(&world, &caller, None).await;
        let id = operator.suspend(n, kind, key, DAY_MS).await;
        becomes(&world, &caller, Some(Reason::Suspended)).await;
        assert!(operator.end(&id, world.clock.now()).await, "{key}");
    }
    becomes(&world, &caller, None).await;
    node.stop().await;
}

/// The source takes seconds, and the operator's word or the directory changes meanwhile.
async fn what_ends_while_the_source_answers_does_not_leave(database: TestDatabase) {
    let world = World::new(&[]).await;
    let source = HeldSource::new().await;
    let mut config = world.config(database.url());
    source.serve(&mut config);
    let node = world.node_with(config).await;
    let caller = world.caller(&node, &world.consumer);
    let operator = Operator {
        world: &world,
        url: database.url(),
    };

    let grant = world.grant("EXEMPLE", &["montant"]);
    let suspend = async {
        source.asked.notified().await;
        let consumer = consumer_id().to_string();
        let id = operator.suspend(1, SuspensionKind::Peer, &consumer, DAY_MS).await;
        followed(&world).await;
        source.answer.notify_one();
        id
    };
    let ((reason, _), id) = tokio::join!(caller.refused(world.request(&grant)), suspend);
    assert_eq!(reason, Reason::Suspended);
    assert!(operator.end(&id, world.clock.now()).await);
    followed(&world).await;
    // No claim was taken: another request may have it.
    source.answer.notify_one();
    caller.fetch(world.request(&grant)).await.expect("a document");

    let grant = world.grant("EXEMPLE", &["montant"]);
    source.asked.notified().await;
    let end = async {
        source.asked.notified().await;
        world
            .publish(&node, |directory| directory.habilitations.clear())
            .await;
        source.answer.notify_one();
    };
    let ((reason, _), ()) = tokio::join!(caller.refused(world.request(&grant)), end);
    assert_eq!(reason, Reason::NotEntitled);
    let entries = node.entries().await;
    let released = entries.iter().filter(|e| e.event == Event::Released).count();
    assert_eq!(released, 1);
    node.stop().await;
}

/// Recorded as released, and not handed over when the operator suspends it: nothing of it leaves, its log says so, and the
/// claim is given back.
async fn what_is_suspended_before_its_first_byte_is_withheld(database: TestDatabase) {
    let world = world().await.unhurried();
    let node = world.node(database.url()).await;
    let operator = Operator {
        world: &world,
        url: database.url(),
    };
    let grant = world.grant("EXEMPLE", &["montant"]);
    let der = CertificateDer::from_pem_slice(world.consumer.cert.as_bytes()).expect("a certificate");
    let mut request = tonic::Request::new(world.request(&grant));
    request
        .extensions_mut()
        .insert(Peer::from_der(&der).expect("a participant"));
    // The service itself, so that the answer waits until the test asks for it.
    let mut answer = node.producer.fetch(request).await.expect("decided").into_inner();
    let entry = node.entries().await.pop().expect("an entry");
    assert_eq!(entry.event, Event::Released);

    let consumer = consumer_id().to_string();
    let id = operator.suspend(1, SuspensionKind::Peer, &consumer, DAY_MS).await;
    followed(&world).await;
    let status = answer.next().await.expect("an end").expect_err("nothing leaves");
    assert_eq!(status::reason_of(&status), Some(Reason::Suspended));
    assert!(answer.next().await.is_none(), "nothing follows");
    let entries = node.entries().await;
    let withheld: Vec<_> = (entries.iter().filter(|e| e.event == Event::Withheld))
        .map(|e| (e.reason, e.exchange_id))
        .collect();
    assert_eq!(withheld, [(Some(Reason::Suspended), entry.exchange_id)]);

    assert!(operator.end(&id, world.clock.now()).await);
    followed(&world).await;
    // The handle was not used: another request may use it.
    let caller = world.caller(&node, &world.consumer);
    caller.fetch(world.request(&grant)).await.expect("a document");
    node.stop().await;
}
