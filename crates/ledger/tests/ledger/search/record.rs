//! Each reading is an entry of the log that is read.

use unefois_core::commitment::{Field, Salt};
use unefois_store::evidence::evidence_read;
use unefois_store::head::head_read;

use super::*;
use crate::raw::Raw;

both_databases![
    a_query_is_one_entry_that_opens_to_its_reader_and_filter,
    a_log_that_cannot_be_written_is_read_by_auditors_alone,
    a_reading_in_order_is_of_what_was_recorded,
];

async fn a_query_is_one_entry_that_opens_to_its_reader_and_filter(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = written(&scene, 6).await;
    let service = LedgerService::new(vec![ledger.clone()], authority(), lent());
    let filter = "party=urn:unefois:participant:21920023500014 events=released";
    let question = SearchRequest {
        purpose: "contrôle n° 12".to_owned(),
        ..asked(filter, Order::OldestFirst, 2)
    };
    let rows = all_pages(&service, auditor(), question).await;
    assert_eq!(rows.len(), 6);
    assert_eq!(events(&ledger).await[8..], [Event::Queried]);
    let bytes = ledger.entries(8, 9).await.unwrap().remove(0);
    let entry = Entry::decode(&bytes).unwrap();
    assert_eq!((entry.directory_version, entry.requester), (7, None));

    let log = head_read(&scene.db, ledger.origin().as_str()).await.unwrap();
    let evidence = evidence_read(&scene.db, log.unwrap().log, 8)
        .await
        .unwrap()
        .unwrap();
    let commit = Salt::from_bytes(evidence.salt).commit(Field::Evidence, &evidence.body);
    assert_eq!(entry.evidence_commit, Some(commit));
    let text = String::from_utf8(evidence.body).unwrap();
    let value = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(&format!("{name} ")));
        line.expect("a line")[name.len() + 1..].to_owned()
    };
    assert_eq!(value("kind"), "search");
    assert_eq!(value("reader"), "urn:unefois:auditor:cnil-1");
    assert_eq!(value("size"), "8");
    assert_eq!(value("what"), format!("oldest_first {filter}"));
    assert_eq!(value("purpose"), "contrôle n° 12");
    assert_eq!(value("rows"), "2");
    assert!(value("cursor").parse::<Sha256>().is_ok());
    // The salt in the evidence opens the commitment to the reader's key.
    let salt: Sha256 = value("actor_salt").parse().unwrap();
    let key: Sha256 = value("key").parse().unwrap();
    let actor = Salt::from_bytes(*salt.as_bytes()).commit(Field::Actor, key.as_bytes());
    assert_eq!(entry.actor_commit, Some(actor));
    assert_eq!(key, Sha256::of(b"key"));

    // Each way to read is one entry, whatever its pages.
    for _ in 0..2 {
        let list = ListEntriesRequest {
            limit: 2,
            ..ListEntriesRequest::default()
        };
        let first = service
            .list_entries(from(auditor(), list))
            .await
            .unwrap()
            .into_inner();
        let size = ledger.head().size;
        let next = ListEntriesRequest {
            start: 2,
            limit: 2,
            size: size - 1,
            reading: first.reading,
            ..ListEntriesRequest::default()
        };
        service.list_entries(from(auditor(), next)).await.unwrap();
        assert_eq!(ledger.head().size, size);
    }
    assert_eq!(events(&ledger).await[8..], [Event::Queried; 3]);
}

async fn a_log_that_cannot_be_written_is_read_by_auditors_alone(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = written(&scene, 3).await;
    let service = LedgerService::new(vec![ledger.clone()], authority(), lent());
    let mut raw = Raw::open(&scene.database).await;
    raw.break_head().await;
    let whole = || asked("all", Order::OldestFirst, 10);
    let refusal = search(&service, participant(consumer()), whole()).await;
    let refusal = refusal.expect_err("what cannot be recorded is not told");
    assert_eq!(reason_of(&refusal), Some(Reason::LedgerUnavailable));
    let rows = all_pages(&service, auditor(), whole()).await;
    assert_eq!(rows.len(), 4);
    raw.mend_head().await;
    // The next tally counts the query that has no entry.
    let tally = ledger.tally(scene.clock.now()).await.unwrap();
    let log = head_read(&scene.db, ledger.origin().as_str())
        .await
        .unwrap()
        .unwrap()
        .log;
    let evidence = evidence_read(&scene.db, log, tally.index())
        .await
        .unwrap()
        .unwrap();
    let text = String::from_utf8(evidence.body).unwrap();
    assert!(text.ends_with("read urn:unefois:auditor:cnil-1 1\n"), "{text}");
}

async fn a_reading_in_order_is_of_what_was_recorded(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = written(&scene, 3).await;
    let service = LedgerService::new(vec![ledger.clone()], authority(), lent());
    let size = ledger.head().size;
    let list = async |start: u64, reading: Vec<u8>| {
        let question = ListEntriesRequest {
            start,
            limit: 1,
            size,
            reading,
            ..ListEntriesRequest::default()
        };
        let listed = service.list_entries(from(auditor(), question)).await;
        listed.map(tonic::Response::into_inner)
    };
    let nothing = list(size, Vec::new()).await.unwrap();
    assert!(nothing.entries.is_empty() && nothing.reading.is_empty());
    let last = list(size - 1, Vec::new()).await.unwrap();
    assert_eq!((last.entries.len(), last.reading.len()), (1, 0));
    let reading = list(2, Vec::new()).await.unwrap().reading;
    for start in [0, 1] {
        let refusal = list(start, reading.clone())
            .await
            .expect_err("not what was recorded");
        assert_eq!(reason_of(&refusal), Some(Reason::InvalidRequest));
    }
    let recorded = ledger.head().size;
    for start in 2..size {
        let page = list(start, reading.clone()).await.unwrap();
        assert_eq!(page.entries.len(), 1);
        assert_eq!(page.reading.is_empty(), start + 1 == size);
    }
    assert_eq!(ledger.head().size, recorded, "one reading, one entry");
}
