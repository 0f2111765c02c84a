//! The hourly commitment to counts.

use std::collections::BTreeSet;

use futures_util::future::try_join_all;
use unefois_core::commitment::{Field, Salt};
use unefois_core::{Clock as _, Entry, Event, Outcome, Reason};
use unefois_ledger::Draft;
use unefois_store::evidence::evidence_read;
use unefois_store::head::head_read;

use crate::both_databases;
use crate::database::TestDatabase;
use crate::raw::Raw;
use crate::scene::{Scene, assert_proved, claimed, consumer, fetch, payload, producer, refused, verifier};

both_databases![
    i8_a_tally_counts_each_exchange_once,
    i8_a_tally_that_fails_forgets_nothing,
    i8_more_kinds_than_one_tally_takes_are_counted_by_several,
];

async fn body(scene: &Scene, receipt: &unefois_ledger::DurableReceipt) -> String {
    let log = head_read(&scene.db, receipt.origin().as_str())
        .await
        .unwrap()
        .unwrap()
        .log;
    let evidence = evidence_read(&scene.db, log, receipt.index())
        .await
        .unwrap()
        .unwrap();
    let commit = Salt::from_bytes(evidence.salt).commit(Field::Evidence, &evidence.body);
    assert_eq!(receipt.entry().evidence_commit, Some(commit));
    String::from_utf8(evidence.body).unwrap()
}

async fn i8_a_tally_counts_each_exchange_once(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    let now = scene.clock.now();
    for _ in 0..3 {
        claimed(
            fetch(&ledger, scene.once(scene.handle()), payload(1))
                .await
                .unwrap(),
        );
    }
    let request = scene.once(scene.handle());
    claimed(fetch(&ledger, request.clone(), payload(1)).await.unwrap());
    refused(fetch(&ledger, request, payload(2)).await.unwrap());
    ledger.turned_away(Some("urn:unefois:participant:21920023500014"), Reason::Overloaded);
    ledger.turned_away(None, Reason::NotEntitled);
    ledger.turned_away(None, Reason::NotEntitled);

    let first = ledger.tally(now).await.unwrap();
    assert_eq!(first.entry().event, Event::Tally);
    assert_proved(&first, &verifier(1));
    assert_eq!(
        body(&scene, &first).await,
        format!(
            "unefois/tally/v1 0 5 {}\n\
             exchange 21920023500014 18003506500010 cnaf/quotient-familial@1 answered 4\n\
             exchange 21920023500014 18003506500010 cnaf/quotient-familial@1 refused 1\n\
             turned_away - NOT_ENTITLED 2\n\
             turned_away urn:unefois:participant:21920023500014 OVERLOADED 1\n",
            now.get()
        )
    );
    // The next one starts where this one ended, over a restart too.
    ledger.close().await;
    let ledger = scene.open(1).await;
    let second = ledger.tally(now).await.unwrap();
    assert_eq!(
        body(&scene, &second).await,
        format!("unefois/tally/v1 5 6 {}\n", now.get())
    );
}

async fn i8_a_tally_that_fails_forgets_nothing(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    let mut raw = Raw::open(&scene.database).await;
    ledger.turned_away(None, Reason::NotEntitled);
    raw.break_head().await;
    ledger
        .tally(scene.clock.now())
        .await
        .expect_err("nothing can be written");
    raw.mend_head().await;
    let tally = ledger.tally(scene.clock.now()).await.unwrap();
    assert!(
        body(&scene, &tally)
            .await
            .ends_with("turned_away - NOT_ENTITLED 1\n")
    );
}

async fn i8_more_kinds_than_one_tally_takes_are_counted_by_several(database: TestDatabase) {
    const KINDS: usize = 12_000;
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    let entry = |kind: usize| Entry {
        exchange_id: Some(scene.exchange()),
        requester: Some(consumer()),
        provider: Some(producer()),
        datatype: Some(format!("cnaf/{}-{kind:05}@1", "long".repeat(12)).parse().unwrap()),
        outcome: Some(Outcome::Refused),
        ..Entry::new(Event::Refused, scene.clock.now())
    };
    for kinds in (0..KINDS).collect::<Vec<_>>().chunks(2_000) {
        let appends = kinds.iter().map(|kind| ledger.append(Draft::new(entry(*kind))));
        try_join_all(appends).await.unwrap();
    }
    ledger.turned_away(None, Reason::NotEntitled);
    ledger.tally(scene.clock.now()).await.unwrap();

    let (mut counted, mut kinds, mut turned_away) = (0, BTreeSet::new(), 0);
    for index in KINDS as u64..ledger.head().size {
        let log = head_read(&scene.db, ledger.origin().as_str())
            .await
            .unwrap()
            .unwrap()
            .log;
        let evidence = evidence_read(&scene.db, log, index).await.unwrap().unwrap();
        let text = String::from_utf8(evidence.body).unwrap();
        let mut lines = text.lines();
        let range: Vec<&str> = lines.next().unwrap().split(' ').collect();
        assert_eq!(range[1], counted.to_string());
        counted = range[2].parse().unwrap();
        for line in lines {
            match line.split_once(' ').unwrap().0 {
                "exchange" => assert!(kinds.insert(line.to_owned()), "{line}"),
                _ => turned_away += 1,
            }
        }
    }
    assert!(ledger.head().size - KINDS as u64 > 1);
    assert_eq!((counted, kinds.len(), turned_away), (KINDS as u64, KINDS, 1));
    assert!(kinds.iter().all(|line| line.ends_with(" 1")));
}
