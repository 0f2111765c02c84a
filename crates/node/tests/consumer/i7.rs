//! I7: whichever log a producer answers from, it must continue what was seen of it.

use std::sync::Arc;

use unefois_core::{Event, Reason};
use unefois_ledger::Standing;
use unefois_node::consumer::Error;
use unefois_node::consumer::evidence::Fault;
use unefois_node::consumer::verify::ReceivedAnswer;
use unefois_store::evidence::evidence_read;
use unefois_store::head::head_read;
use unefois_store::peer::peer_head;

use crate::both_databases;
use crate::database::TestDatabase;
use crate::house::{House, arranged};
use crate::world::{Running, World, case};

both_databases![
    i7_a_fork_is_refused_where_a_producer_has_several_logs,
    i7_a_log_that_went_back_is_refused,
    i7_growth_that_no_call_named_is_proved_on_demand,
    i7_a_producer_s_witness_moves_on_with_proofs
];

const DOCUMENT: &str = r#"{"data":{"montant":900,"taux":12.50,"membres":[{"nom":"EXEMPLE"}]}}"#;

/// A producer with two logs in the directory, and a consumer that reaches it at the addresses of `nodes`, which all
/// write the first: so no call can name a log before the answer came.
struct Scene {
    house: House,
    nodes: Vec<Running>,
    _databases: Vec<TestDatabase>,
}

impl Scene {
    async fn new(database: TestDatabase, nodes: usize) -> Self {
        let world = World::new(&[("a.yaml", &case("EXEMPLE", 200, DOCUMENT))]).await;
        world.change(arranged);
        world.add_log();
        let (mut running, mut databases) = (Vec::new(), Vec::new());
        for _ in 0..nodes {
            let database = TestDatabase::sqlite();
            running.push(world.node(database.url()).await);
            databases.push(database);
        }
        let addresses = running.iter().map(|node| node.target.authority.to_string());
        let house = House::new(&Arc::new(world), database, addresses.collect(), |_| {}).await;
        Self {
            house,
            nodes: running,
            _databases: databases,
        }
    }

    async fn fetch(&self) -> Result<ReceivedAnswer, Error> {
        let grant = self.house.granted().await;
        self.house.fetch(&grant.elements[0].handle, "").await
    }

    fn origin(&self) -> &str {
        self.nodes[0].foundation.ledger.origin().as_str()
    }

    /// The size of the head held of the producer's log.
    async fn held(&self) -> Option<u64> {
        let head = peer_head(&self.house.db, self.origin()).await.expect("reads");
        head.map(|head| head.size)
    }

    /// The last answer was refused as a fork, and the entry commits to both signed heads.
    async fn assert_refused(&self, error: &Error) {
        assert!(matches!(error, Error::Unverified(Fault::Forked)), "{error}");
        let entries = self.house.entries().await;
        let last = entries.last().expect("an entry");
        assert_eq!(
            (last.event, last.reason),
            (Event::Refused, Some(Reason::SourceSchema))
        );
        assert!(last.content_commit.is_none());
        let own = self.house.ledger.origin().as_str();
        let log = head_read(&self.house.db, own)
            .await
            .expect("reads")
            .expect("a log")
            .log;
        let place = entries.len() as u64 - 1;
        let evidence = evidence_read(&self.house.db, log, place).await.expect("reads");
        let text = String::from_utf8(evidence.expect("evidence").body).expect("text");
        let signed = text.lines().filter(|line| *line == self.origin()).count();
        assert_eq!(signed, 2, "{text}");
    }

    async fn stop(self) {
        self.house.stop().await;
        for node in self.nodes {
            node.stop().await;
        }
    }
}

/// Two nodes show two histories of one log: of one size, then of a later one.
async fn i7_a_fork_is_refused_where_a_producer_has_several_logs(database: TestDatabase) {
    let scene = Scene::new(database, 2).await;
    scene.fetch().await.expect("the first history");
    let error = scene.fetch().await.expect_err("another root of one size");
    scene.assert_refused(&error).await;
    let grant = scene.house.granted().await;
    assert_eq!(scene.held().await, Some(1));

    // The calls name the log by now and show what it signed: the other node learns that its log is not that one and
    // writes nothing more, the first answers.
    scene.fetch().await.expect("the first history goes on");
    assert_eq!(scene.held().await, Some(2));
    let answer = scene.house.fetch(&grant.elements[0].handle, "").await;
    answer.expect("the first node answers for the other");
    assert_eq!(scene.held().await, Some(3));
    let [first, other] = [0, 1].map(|node| scene.nodes[node].foundation.ledger.standing());
    assert_eq!((first, other), (Standing::Open, Standing::RolledBack));
    scene.stop().await;
}

/// A restored backup: the log is shorter than what was seen of it.
async fn i7_a_log_that_went_back_is_refused(database: TestDatabase) {
    let scene = Scene::new(database, 2).await;
    let caller = scene.house.granted().await;
    scene.fetch().await.expect("a document");
    // The second node is called next; the first grows meanwhile, by an answer at each end of the turn.
    let first = &scene.nodes[0].foundation.ledger;
    let entry = unefois_core::Entry::new(Event::Admin, unefois_core::Micros::new(0));
    for _ in 0..2 {
        first
            .append(unefois_ledger::Draft::new(entry.clone()))
            .await
            .expect("an entry");
    }
    let head = first.head();
    let proof = first.consistency(1, 3).await.expect("a proof");
    let growth = unefois_ledger::Growth {
        from: 1,
        to: 3,
        hashes: &proof,
    };
    let witnessed = unefois_ledger::peer_head_witness(
        &scene.house.db,
        first.verifier(),
        &head.checkpoint,
        Some(growth),
        head.at,
    );
    assert_eq!(
        witnessed.await.expect("the database writes"),
        unefois_ledger::Witnessed::Kept
    );
    let error = scene.house.fetch(&caller.elements[0].handle, "").await;
    scene
        .assert_refused(&error.expect_err("the log of the second node went back"))
        .await;
    assert_eq!(scene.held().await, Some(3));
    scene.stop().await;
}

/// What a restarted consumer meets: it holds a head, and does not know yet which log answers where.
async fn i7_growth_that_no_call_named_is_proved_on_demand(database: TestDatabase) {
    let scene = Scene::new(database, 1).await;
    let first = &scene.nodes[0].foundation.ledger;
    let entry = unefois_core::Entry::new(Event::Admin, unefois_core::Micros::new(0));
    first
        .append(unefois_ledger::Draft::new(entry))
        .await
        .expect("an entry");
    let head = first.head();
    let witnessed =
        unefois_ledger::peer_head_witness(&scene.house.db, first.verifier(), &head.checkpoint, None, head.at);
    assert_eq!(
        witnessed.await.expect("the database writes"),
        unefois_ledger::Witnessed::Kept
    );
    scene.fetch().await.expect("a document");
    assert_eq!(scene.held().await, Some(2));
    // From now on the calls name it.
    scene.fetch().await.expect("a document");
    assert_eq!(scene.held().await, Some(3));
    scene.stop().await;
}

async fn i7_a_producer_s_witness_moves_on_with_proofs(database: TestDatabase) {
    let scene = Scene::new(database, 1).await;
    for expected in [None, Some(1), Some(2), Some(3)] {
        scene.fetch().await.expect("a document");
        let held = peer_head(
            &scene.nodes[0].foundation.db,
            scene.house.ledger.origin().as_str(),
        );
        let held = held.await.expect("reads").map(|head| head.size);
        assert_eq!(held.filter(|size| *size > 0), expected);
    }
    scene.stop().await;
}
