//! One writer a log.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::JoinSet;
use unefois_core::{Entry, Event, Micros};
use unefois_ledger::{Draft, Error};
use unefois_store::{Component, Db};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::raw::Raw;
use crate::scene::{Scene, assert_proved, events, verifier};

both_databases![
    i7_an_old_process_writes_nothing,
    i1_what_was_acknowledged_is_there_after_a_restart,
    time_never_goes_back,
    close_writes_what_was_queued,
];

fn lapsed() -> Draft {
    Draft::new(Entry::new(Event::Lapsed, Micros::new(0)))
}

async fn i7_an_old_process_writes_nothing(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let old = scene.open(1).await;
    old.append(lapsed()).await.unwrap();

    let new = scene.open(1).await;
    assert!(new.head().epoch > old.head().epoch);
    let refused = old
        .append(lapsed())
        .await
        .expect_err("another process has the log");
    assert!(matches!(refused, Error::Fenced), "{refused}");
    assert!(!old.is_writable());

    new.append(lapsed()).await.unwrap();
    assert!(matches!(old.append(lapsed()).await, Err(Error::Fenced)));
    assert_eq!(events(&new).await.len(), 2);
    assert!(new.is_writable());
}

async fn i1_what_was_acknowledged_is_there_after_a_restart(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let mut receipts = Vec::new();
    for _ in 0..3 {
        let ledger = scene.open(1).await;
        let before = ledger.head().size;
        for append in join_all((0..90).map(|_| ledger.append(lapsed()))).await {
            receipts.push(append.unwrap());
        }
        assert_eq!(ledger.head().size, before + 90);
        ledger.close().await;
        assert!(matches!(ledger.append(lapsed()).await, Err(Error::Unavailable)));
    }
    let ledger = scene.open(1).await;
    for receipt in &receipts {
        assert_proved(receipt, &verifier(1));
        let proof = ledger.proof(receipt.index()).await.unwrap();
        proof.verify(receipt.leaf_hash(), &verifier(1)).unwrap();
        let said = receipt.checkpoint();
        assert_eq!(
            ledger.checkpoint(receipt.size()).await.unwrap().as_str(),
            said.as_str()
        );
    }
    assert_eq!(events(&ledger).await.len(), 270);
}

async fn time_never_goes_back(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    let first = ledger.append(lapsed()).await.unwrap();
    scene.clock.forward_ms(-5_000);
    let second = ledger.append(lapsed()).await.unwrap();
    assert_eq!(second.entry().at, first.entry().at);
    ledger.close().await;
    let third = scene.open(1).await.append(lapsed()).await.unwrap();
    assert_eq!(third.entry().at, first.entry().at);
}

async fn close_writes_what_was_queued(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    let mut appends = JoinSet::new();
    for _ in 0..10 {
        let ledger = ledger.clone();
        appends.spawn(async move { ledger.append(lapsed()).await });
    }
    ledger.close().await;
    let mut durable = 0;
    while let Some(append) = appends.join_next().await {
        durable += usize::from(append.expect("no panic").is_ok());
    }
    assert_eq!(events(&ledger).await.len(), durable);
}

/// What was read before the log was taken may be of the past by then.
#[tokio::test(flavor = "multi_thread")]
async fn i7_a_log_that_went_on_until_it_was_taken_is_read_again() {
    const WAITING: &str = "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    let scene = Scene::new(TestDatabase::postgres()).await;
    let old = scene.open(1).await;
    old.append(lapsed()).await.unwrap();
    let mut lock = Raw::open(&scene.database).await;
    // Within one transaction the server tells of one moment.
    let mut server = Raw::open(&scene.database).await;
    let mut waiting = async |n: i64| {
        let mut look = tokio::time::interval(Duration::from_millis(10));
        let reached = async {
            while server.count(WAITING).await != n {
                look.tick().await;
            }
        };
        let within = tokio::time::timeout(Duration::from_secs(20), reached).await;
        within.expect("in time");
    };

    // The old process waits for its head, and the new one behind it.
    lock.execute("BEGIN; SELECT 1 FROM ledger_head FOR UPDATE").await;
    let appended = old.append(lapsed());
    let taken = async {
        waiting(1).await;
        let behind = async {
            waiting(2).await;
            lock.execute("ROLLBACK").await;
        };
        tokio::join!(scene.open(1), behind).0
    };
    // Its caller may have gone by then: what is written is written.
    let (_, new) = tokio::join!(appended, taken);
    assert_eq!(new.head().size, 2);
    new.append(lapsed()).await.unwrap();
    assert_eq!(events(&new).await, [Event::Lapsed; 3]);
}

#[tokio::test]
async fn a_sqlite_file_has_one_process() {
    let database = TestDatabase::sqlite();
    let first = Db::open(database.url(), Component::Node).await.unwrap();
    let second = Db::open(database.url(), Component::Node).await;
    assert!(matches!(second, Err(unefois_store::Error::Locked)), "{second:?}");
    first.close().await;
    Db::open(database.url(), Component::Node)
        .await
        .expect("the file is free");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sqlite_file_that_is_gone_acknowledges_nothing() {
    let scene = Scene::new(TestDatabase::sqlite()).await;
    let ledger = scene.open(1).await;
    ledger.append(lapsed()).await.unwrap();
    let path = scene.database.url().strip_prefix("sqlite:").unwrap();
    std::fs::remove_file(path).unwrap();
    ledger.append(lapsed()).await.expect_err("nobody would read it");
    assert!(!ledger.is_writable());
}
