//! A node whose database went back: its peers know, and nothing leaves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use unefois_core::commitment::NodeKey;
use unefois_core::{Clock as _, Event, ParticipantId, Reason};
use unefois_ledger::{
    Head, Keys, Ledger, LedgerService, Lent, PublicConfig, Safeguards, Seen, Standing, Witnessed,
    peer_head_witness,
};
use unefois_mesh::{Peer, SystemClock, status};
use unefois_node::{Config, StartError};
use unefois_proto::pb::exchange::v1::exchange_service_server::ExchangeService as _;
use unefois_proto::pb::ledger::v1::ledger_service_server::LedgerServiceServer;
use unefois_store::head::heads_restored;
use unefois_store::{Component, Db};
use unefois_tlog::{Checkpoint, Hash, KeyName, SignerKey, VerifierKey};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::world::{Running, World, authority_id, case, consumer_id, producer_id, stranger_id, until};

both_databases![
    i7_a_node_asks_its_peers_before_it_writes,
    i7_a_peer_that_answers_later_stops_the_node,
    i7_a_restored_log_is_written_once_all_have_answered,
    i7_a_caller_that_shows_a_later_head_stops_the_node,
    a_start_that_fails_leaves_the_writer_writing,
    i7_what_is_not_handed_over_yet_does_not_leave_a_node_that_went_back,
];

const DOCUMENT: &str = r#"{"data":{"montant":900}}"#;

/// The commune, as far as it holds heads of the producer's log; it answers where a test lets it.
struct Commune {
    db: Db,
    answers: Arc<AtomicBool>,
    stop: CancellationToken,
    _database: TestDatabase,
}

impl Commune {
    /// It stands in the directory that nodes start from.
    async fn new(world: &World) -> Self {
        let database = TestDatabase::sqlite();
        let db = Db::open(database.url(), Component::Node)
            .await
            .expect("a database");
        let name: KeyName = format!("{}/1", consumer_id()).parse().expect("a name");
        let keys = Keys {
            signer: SignerKey::new(name, &[7; 32]),
            node_key: NodeKey::new(&[7; 32]),
        };
        let random = Arc::new(world.random.clone());
        let ledger = Ledger::open(
            db.clone(),
            keys,
            Safeguards::default(),
            Arc::clone(&world.clock),
            random,
        );
        let stop = CancellationToken::new();
        let lent = Lent {
            directory_version: Arc::new(|| 1),
            auditor: Arc::new(|_| None),
            identities: Arc::new(|_| None),
            acts_for: Arc::new(|publisher, tenant| publisher == tenant),
            tasks: TaskTracker::new(),
            shutdown: stop.clone(),
        };
        let logs = LedgerService::new(vec![ledger.await.expect("a ledger")], authority_id(), lent);
        let answers = Arc::new(AtomicBool::new(true));
        let answering = Arc::clone(&answers);
        let gate = move |request: Request, next: Next| {
            let open = answering.load(Ordering::SeqCst);
            async move {
                match open {
                    true => next.run(request).await,
                    false => Response::into_response(http::StatusCode::SERVICE_UNAVAILABLE.into_response()),
                }
            }
        };
        let routes = Routes::new(LedgerServiceServer::new(logs)).into_axum_router();
        let address = world
            .serve_as_consumer(routes.layer(from_fn(gate)), stop.clone())
            .await;
        let (_, jws) = world.change(|directory| {
            let row = directory
                .participants
                .iter_mut()
                .find(|row| row.id == consumer_id());
            row.expect("the commune").mesh = vec![address];
        });
        std::fs::write(world.path("directory.jws"), jws).expect("a file");
        Self {
            db,
            answers,
            stop,
            _database: database,
        }
    }

    async fn holds(&self, key: &VerifierKey, head: &Head) {
        let now = SystemClock.now();
        let kept = peer_head_witness(&self.db, key, &head.checkpoint, None, now).await;
        assert_eq!(kept.expect("it is kept"), Witnessed::Kept);
    }
}

impl Drop for Commune {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn exchange(world: &World, node: &Running) {
    let caller = world.caller(node, &world.consumer);
    let grant = world.grant("EXEMPLE", &["montant"]);
    caller.fetch(world.request(&grant)).await.expect("a document");
}

/// Two exchanges, a copy of the database, one more: the copy, and the head that it lacks.
async fn went_back(world: &World, database: &TestDatabase) -> (TestDatabase, VerifierKey, Head) {
    let node = world.node(database.url()).await;
    exchange(world, &node).await;
    exchange(world, &node).await;
    node.stop().await;
    let copy = database.copy();
    let node = world.node(database.url()).await;
    exchange(world, &node).await;
    let (key, head) = (
        node.foundation.ledger.verifier().clone(),
        node.foundation.ledger.head(),
    );
    node.stop().await;
    (copy, key, head)
}

async fn world() -> World {
    World::new(&[("a.yaml", &case("EXEMPLE", 200, DOCUMENT))]).await
}

/// Nothing leaves, and nothing is written.
async fn assert_read_only(world: &World, node: &Running, standing: Standing) {
    assert_eq!(node.foundation.ledger.standing(), standing);
    assert!(!node.producer.ready());
    let before = node.foundation.ledger.head();
    let caller = world.caller(node, &world.consumer);
    let grant = world.grant("EXEMPLE", &["montant"]);
    let (reason, _) = caller.refused(world.request(&grant)).await;
    // The lease needs the log too, so either may be told first.
    assert!(
        matches!(reason, Reason::LedgerUnavailable | Reason::RevocationStateStale),
        "{reason}"
    );
    assert_eq!(node.foundation.ledger.head(), before);
}

async fn i7_a_node_asks_its_peers_before_it_writes(database: TestDatabase) {
    let world = world().await;
    let commune = Commune::new(&world).await;
    let (copy, key, head) = went_back(&world, &database).await;
    commune.holds(&key, &head).await;
    let node = world.started(world.config(copy.url())).await;
    assert!(node.foundation.ledger.head().size < head.size);
    assert_read_only(&world, &node, Standing::RolledBack).await;
    node.stop().await;
    // The evidence stays where nobody repeats it.
    commune.answers.store(false, Ordering::SeqCst);
    let node = world.started(world.config(copy.url())).await;
    assert_read_only(&world, &node, Standing::RolledBack).await;
    node.stop().await;
    // The database that was right all along is written.
    let node = world.node(database.url()).await;
    exchange(&world, &node).await;
    node.stop().await;
}

async fn i7_a_peer_that_answers_later_stops_the_node(database: TestDatabase) {
    let world = world().await;
    let commune = Commune::new(&world).await;
    let (copy, key, head) = went_back(&world, &database).await;
    commune.holds(&key, &head).await;
    commune.answers.store(false, Ordering::SeqCst);
    let node = world.node(copy.url()).await;
    exchange(&world, &node).await;
    commune.answers.store(true, Ordering::SeqCst);
    until(|| node.foundation.ledger.standing() == Standing::RolledBack).await;
    assert_read_only(&world, &node, Standing::RolledBack).await;
    node.stop().await;
}

/// Has the node see a head of the log of `peer`, whose key is drawn from `seed`.
async fn know(node: &Running, peer: ParticipantId, seed: u8) {
    let name: KeyName = format!("{peer}/1").parse().expect("a name");
    let origin = name.as_str().parse().expect("an origin");
    let signer = SignerKey::new(name, &[seed; 32]);
    let head = Checkpoint::new(origin, 4, Hash::of_leaf(b"x")).expect("a checkpoint");
    let head = head.sign(&signer).expect("signed");
    let (db, key) = (&node.foundation.db, signer.verifier());
    let kept = peer_head_witness(db, key, &head, None, SystemClock.now()).await;
    assert_eq!(kept.expect("kept"), Witnessed::Kept);
}

async fn i7_a_restored_log_is_written_once_all_have_answered(database: TestDatabase) {
    let world = world().await;
    let commune = Commune::new(&world).await;
    let guarded = |database: &TestDatabase| -> Config {
        let mut config = world.config(database.url());
        config.ledger.anchor = Some(world.path("anchor"));
        config
    };
    let node = world.node_with(guarded(&database)).await;
    let key = node.foundation.ledger.verifier().clone();
    exchange(&world, &node).await;
    // The commune is one that this log knows.
    know(&node, consumer_id(), 7).await;
    // So is one that the directory lists without an address: nobody will ever hear from it.
    know(&node, stranger_id(), 6).await;
    let head = node.foundation.ledger.head();
    commune.holds(&key, &head).await;
    node.stop().await;

    let backup = database.copy();
    let restored = Db::open(backup.url(), Component::Node).await.expect("a database");
    let mut tx = restored.begin().await.expect("begun");
    heads_restored(&mut tx, SystemClock.now()).await.expect("marked");
    tx.commit().await.expect("committed");
    restored.close().await;

    // Without an anchor nobody can say that this is the end.
    let node = world.started(world.config(backup.url())).await;
    assert_read_only(&world, &node, Standing::Unproved).await;
    assert_eq!(node.foundation.ledger.awaited(), []);
    node.stop().await;
    commune.answers.store(false, Ordering::SeqCst);
    let node = world.started(guarded(&backup)).await;
    assert_read_only(&world, &node, Standing::Unproved).await;
    assert_eq!(node.foundation.ledger.awaited(), [consumer_id()]);
    commune.answers.store(true, Ordering::SeqCst);
    until(|| node.foundation.ledger.standing() == Standing::Open).await;
    assert_eq!(node.foundation.ledger.awaited(), []);
    until(|| node.producer.ready()).await;
    exchange(&world, &node).await;
    node.stop().await;
    // What was shown once is not asked again.
    commune.answers.store(false, Ordering::SeqCst);
    let node = world.node_with(guarded(&backup)).await;
    exchange(&world, &node).await;
    node.stop().await;
}

async fn i7_a_caller_that_shows_a_later_head_stops_the_node(database: TestDatabase) {
    let world = world().await;
    let (copy, _, head) = went_back(&world, &database).await;
    let node = world.node(copy.url()).await;
    let caller = world.caller(&node, &world.consumer);
    let showing = |checkpoint: &str| {
        let mut request = world.request(&world.grant("EXEMPLE", &["montant"]));
        request.known_origin = head.origin.to_string();
        request.known_size = head.size;
        request.known_checkpoint = checkpoint.to_owned();
        request
    };
    // A number is no evidence, and neither is what another key signed.
    let name: KeyName = format!("{}/1", producer_id()).parse().expect("a name");
    let forged = Checkpoint::new(head.origin.clone(), 99, Hash::of_leaf(b"x")).expect("a checkpoint");
    let forged = forged.sign(&SignerKey::new(name, &[8; 32])).expect("signed");
    for lie in ["", "nonsense", forged.as_str()] {
        caller.fetch(showing(lie)).await.expect("a document");
    }
    assert_eq!(node.foundation.ledger.standing(), Standing::Open);
    let own = node.foundation.ledger.head().checkpoint;
    caller.fetch(showing(own.as_str())).await.expect("a document");

    let before = node.foundation.ledger.head();
    let (reason, _) = caller.refused(showing(head.checkpoint.as_str())).await;
    assert_eq!(reason, Reason::LedgerUnavailable);
    assert_eq!(node.foundation.ledger.head(), before);
    assert_read_only(&world, &node, Standing::RolledBack).await;
    node.stop().await;
}

/// Recorded as released, and not handed over when the evidence comes: nothing leaves, and the claim stays.
async fn i7_what_is_not_handed_over_yet_does_not_leave_a_node_that_went_back(database: TestDatabase) {
    let world = world().await;
    let (copy, _, head) = went_back(&world, &database).await;
    let node = world.node(copy.url()).await;
    let grant = world.grant("EXEMPLE", &["montant"]);
    let der = CertificateDer::from_pem_slice(world.consumer.cert.as_bytes()).expect("a certificate");
    let mut request = tonic::Request::new(world.request(&grant));
    request
        .extensions_mut()
        .insert(Peer::from_der(&der).expect("a participant"));
    // The service itself, so that the answer waits until the test asks for it.
    let mut answer = node.producer.fetch(request).await.expect("decided").into_inner();
    let before = node.entries().await;
    assert_eq!(before.last().map(|entry| entry.event), Some(Event::Released));

    let seen = node.foundation.ledger.seen(&head.checkpoint, "a peer").await;
    assert_eq!(seen.expect("compared"), Seen::Contradicted);
    let status = answer.next().await.expect("an end").expect_err("nothing leaves");
    assert_eq!(status::reason_of(&status), Some(Reason::LedgerUnavailable));
    assert!(answer.next().await.is_none(), "nothing follows");
    assert_eq!(node.entries().await, before, "the claim is not given back");
    node.stop().await;
}

async fn a_start_that_fails_leaves_the_writer_writing(database: TestDatabase) {
    let world = world().await;
    let node = world.node(database.url()).await;
    exchange(&world, &node).await;
    let taken: SocketAddr = node.target.authority.as_str().parse().expect("an address");
    let mut busy = world.config(database.url());
    busy.listen.mesh = taken;
    let mut shown_busy = world.config(database.url());
    shown_busy.public = Some(PublicConfig {
        listen: taken,
        certificate: None,
        every_s: 600,
    });
    let mut no_cases = world.config(database.url());
    no_cases.producer.as_mut().expect("a producer").produce[0].sandbox = Some(world.path("nowhere"));
    let mut no_pivot = world.config(database.url());
    no_pivot.producer.as_mut().expect("a producer").pivot = vec![world.path("nowhere")];
    for config in [busy, shown_busy, no_cases, no_pivot] {
        let surroundings = unefois_node::Surroundings {
            clock: Arc::clone(&world.clock),
            random: world.random.clone(),
        };
        let refused = unefois_node::Node::build(config, surroundings).await;
        let error = refused.expect_err("it does not start");
        exchange(&world, &node).await;
        assert!(
            !matches!(error, StartError::Ledger(_) | StartError::Store(_)),
            "{error}"
        );
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_does_not_start_with_keys_that_the_directory_does_not_list() {
    let world = world().await;
    world.add_log();
    let database = TestDatabase::sqlite();
    let surroundings = || unefois_node::Surroundings {
        clock: Arc::clone(&world.clock),
        random: world.random.clone(),
    };
    // A second key of the row is as good as the first.
    let mut next = world.config(database.url());
    next.ledger.signer = world.path("ledger2.key");
    world.node_with(next).await.stop().await;

    let name: KeyName = format!("{}/1", producer_id()).parse().expect("a name");
    std::fs::write(
        world.path("other.key"),
        SignerKey::to_text(name, &[9; 32]).as_bytes(),
    )
    .expect("a file");
    let mut other_log = world.config(database.url());
    other_log.ledger.signer = world.path("other.key");
    let mut other_seal = world.config(database.url());
    other_seal.producer.as_mut().expect("a producer").seal = world.path("pivot.key");
    let mut other_name = world.config(database.url());
    other_name.node.participant = consumer_id();
    for (config, file) in [
        (other_log, "other.key"),
        (other_seal, "pivot.key"),
        (other_name, "ledger.key"),
    ] {
        let refused = unefois_node::Node::build(config, surroundings()).await;
        let refused = refused.expect_err(file).to_string();
        assert!(
            refused.contains(file) && refused.contains("the directory does not list"),
            "{refused}"
        );
    }
}
