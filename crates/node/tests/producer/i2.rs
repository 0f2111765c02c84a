//! I2: bytes of a one-shot handle leave under one request id, over all replicas and races.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinSet;
use unefois_core::{Event, Reason};
use unefois_mesh::status::Refusal;
use unefois_proto::pb::exchange::v1::FetchRequest;

use crate::database::TestDatabase;
use crate::world::{Caller, Running, World, case};

const REQUESTS: usize = 1_000;
const AT_ONCE: usize = 64;

#[tokio::test(flavor = "multi_thread")]
async fn i2_a_thousand_requests_of_one_handle_on_sqlite() {
    let world = world().await;
    let database = TestDatabase::sqlite();
    let node = world.node(database.url()).await;
    race(&world, database.url(), vec![node]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i2_a_thousand_requests_of_one_handle_over_two_replicas_on_postgres() {
    let world = world().await;
    let database = TestDatabase::postgres();
    world.add_log();
    let first = world.node(database.url()).await;
    let mut config = world.config(database.url());
    config.ledger.signer = world.path("ledger2.key");
    let second = world.node_with(config).await;
    race(&world, database.url(), vec![first, second]).await;
}

/// Its lease outlives a busy machine's pauses: who starves must refuse, which is not what these tests are about.
async fn world() -> World {
    let world = World::new(&[("a.yaml", &case("EXEMPLE", 200, r#"{"data":{"montant":900}}"#))]).await;
    let (_, jws) = world.change(|d| d.lease_ms = 30_000);
    std::fs::write(world.path("directory.jws"), jws).expect("a file");
    world
}

async fn race(world: &World, url: &str, nodes: Vec<Running>) {
    let callers: Vec<Caller> = nodes
        .iter()
        .map(|node| world.caller(node, &world.consumer))
        .collect();
    let grant = world.grant("EXEMPLE", &["montant"]);
    let requests: Arc<Vec<FetchRequest>> = Arc::new((0..REQUESTS).map(|_| world.request(&grant)).collect());
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    for worker in 0..AT_ONCE {
        let (caller, requests, next) = (
            callers[worker % callers.len()].clone(),
            Arc::clone(&requests),
            Arc::clone(&next),
        );
        workers.spawn(async move {
            let (mut won, mut lost, mut again) = (Vec::new(), BTreeMap::<Reason, usize>::new(), 0_usize);
            while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                // One that met a held lock is sent again under its own id, after the wait that it was told.
                loop {
                    match caller.fetch(request.clone()).await {
                        Ok(_) => won.push(request.clone()),
                        Err(status) => {
                            let refusal = Refusal::of(&status).expect("a refusal of ours");
                            if refusal.reason == Reason::InProgress {
                                again += 1;
                                let wait = refusal.retry_after.expect("how long to wait");
                                let _over = tokio::time::timeout(wait, std::future::pending::<()>()).await;
                                continue;
                            }
                            *lost.entry(refusal.reason).or_default() += 1;
                        }
                    }
                    break;
                }
            }
            (won, lost, again)
        });
    }
    let (mut won, mut lost, mut again) = (Vec::new(), BTreeMap::<Reason, usize>::new(), 0);
    while let Some(done) = workers.join_next().await {
        let (more, reasons, retries) = done.expect("a worker ends");
        won.extend(more);
        reasons
            .into_iter()
            .for_each(|(reason, n)| *lost.entry(reason).or_default() += n);
        again += retries;
    }
    eprintln!(
        "{} nodes: {} released, {lost:?}, {again} sent again after IN_PROGRESS",
        nodes.len(),
        won.len()
    );
    assert_eq!(lost, BTreeMap::from([(Reason::TokenConsumed, REQUESTS - 1)]));
    let winner = match won.as_slice() {
        [winner] => winner.clone(),
        _ => unreachable!("{} requests won", won.len()),
    };
    let (mut released, mut refused) = (0, 0);
    for node in &nodes {
        let entries = node.entries().await;
        let used = (Event::Refused, Some(Reason::TokenConsumed));
        released += entries.iter().filter(|e| e.event == Event::Released).count();
        refused += entries.iter().filter(|e| (e.event, e.reason) == used).count();
    }
    assert_eq!(
        (released, refused),
        (1, REQUESTS - 1),
        "each refusal has its entry"
    );

    // The winner's id again, at any replica.
    for caller in &callers {
        let answer = caller
            .fetch(winner.clone())
            .await
            .expect("the same request again");
        assert_eq!(answer.entry.event, Event::ReleasedAgain);
    }
    for node in nodes {
        node.stop().await;
    }

    // And once more when the source has changed meanwhile.
    let changed = case("EXEMPLE", 200, r#"{"data":{"montant":901}}"#);
    std::fs::write(world.path("cases/a.yaml"), changed).expect("a file");
    let node = world.node(url).await;
    let caller = world.caller(&node, &world.consumer);
    assert_eq!(caller.refused(winner).await.0, Reason::RetryMismatch);
    node.stop().await;
}
