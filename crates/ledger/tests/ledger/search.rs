//! Searches, proofs and watches: who sees what, what is recorded, what is proved.

mod record;
mod watch;

use tokio_stream::StreamExt as _;
use tonic::{Request, Status};
use unefois_core::{Clock as _, Entry, EntryFilter, Event, ParticipantId, Reason, Sha256};
use unefois_ledger::{About, Ledger, LedgerService};
use unefois_mesh::{PeerId, status::reason_of};
use unefois_proto::pb::ledger::v1::ledger_service_server::LedgerService as _;
use unefois_proto::pb::ledger::v1::{
    EntryRow, GetProofRequest, ListEntriesRequest, Order, SearchRequest, SearchResponse, WatchRequest,
};
use unefois_store::peer::peer_receipt_insert;
use unefois_tlog::{Checkpoint, Hash, Receipt, SignedCheckpoint, verify_consistency, verify_multi_inclusion};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::scene::{
    Scene, claimed, consumer, draft, events, fetch, payload, producer, refused, stranger, verifier,
};
use crate::service::{assert_not_entitled, auditor, authority, from, lent};

both_databases![
    i6_a_participant_finds_what_names_it_and_nothing_else,
    a_page_cannot_be_turned_into_another_query,
    pages_are_of_one_head_each_with_one_proof,
    every_condition_finds_what_the_filter_says,
    a_page_looks_at_a_bounded_part_of_the_log,
    places_are_proved_alone_and_together,
];

fn participant(id: ParticipantId) -> PeerId {
    PeerId::Participant(id)
}

fn asked(filter: &str, order: Order, limit: u32) -> SearchRequest {
    let filter: EntryFilter = filter.parse().unwrap();
    SearchRequest {
        filter: Some((&filter).into()),
        order: order.into(),
        limit,
        ..SearchRequest::default()
    }
}

async fn search(
    service: &LedgerService,
    peer: PeerId,
    question: SearchRequest,
) -> Result<SearchResponse, Status> {
    Ok(service.search(from(peer, question)).await?.into_inner())
}

fn leaf(row: &EntryRow) -> (u64, Hash) {
    (row.index, Hash::of_leaf(&row.entry))
}

/// The head, once every row is seen to be under it.
fn proved(rows: &[EntryRow], checkpoint: &str, proof: &[Vec<u8>]) -> Checkpoint {
    let signed = SignedCheckpoint::parse(checkpoint.as_bytes()).unwrap();
    let head = signed.verify(&verifier(1)).unwrap().clone();
    let mut leaves: Vec<(u64, Hash)> = rows.iter().map(leaf).collect();
    leaves.sort();
    let proof: Vec<Hash> = proof
        .iter()
        .map(|h| Hash::try_from(h.as_slice()).unwrap())
        .collect();
    verify_multi_inclusion(&leaves, head.size, &proof, &head.root).unwrap();
    head
}

fn places(rows: &[EntryRow]) -> Vec<u64> {
    rows.iter().map(|row| row.index).collect()
}

/// Every page, each proved under the same head.
async fn all_pages(service: &LedgerService, peer: PeerId, first: SearchRequest) -> Vec<EntryRow> {
    let limit = first.limit;
    let mut page = search(service, peer.clone(), first).await.unwrap();
    let head = proved(&page.rows, &page.checkpoint, &page.proof);
    let mut rows = Vec::new();
    loop {
        rows.append(&mut page.rows);
        if page.cursor.is_empty() {
            return rows;
        }
        let next = SearchRequest {
            cursor: page.cursor,
            limit,
            ..SearchRequest::default()
        };
        page = search(service, peer.clone(), next).await.unwrap();
        assert_eq!(proved(&page.rows, &page.checkpoint, &page.proof), head);
    }
}

/// A log of `n` exchanges of the consumer, one of the stranger after each third.
async fn written(scene: &Scene, n: usize) -> Ledger {
    let ledger = scene.open(1).await;
    for i in 0..n {
        claimed(
            fetch(&ledger, scene.once(scene.handle()), payload(1))
                .await
                .unwrap(),
        );
        if i % 3 == 2 {
            let mut other = draft(&scene.once(scene.handle()));
            other.entry.requester = Some(stranger());
            ledger.append(other).await.unwrap();
        }
        scene.clock.forward_ms(1_000);
    }
    ledger
}

/// `n` more entries, of another démarche.
async fn noise(scene: &Scene, ledger: &Ledger, n: usize) {
    let one = || {
        let mut one = draft(&scene.once(scene.handle()));
        one.entry.demarche = Some("bourse".parse().unwrap());
        one.about = About::default();
        one
    };
    for _ in 0..n / 500 {
        let waits = (0..500).map(|_| ledger.append(one()));
        for done in futures_util::future::join_all(waits).await {
            done.unwrap();
        }
    }
}

async fn i6_a_participant_finds_what_names_it_and_nothing_else(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = written(&scene, 6).await;
    let service = LedgerService::new(vec![ledger.clone()], consumer(), lent());
    let whole = || asked("all", Order::OldestFirst, 100);
    assert_not_entitled(service.search(Request::new(whole())).await);
    // The authority reads by handle; nobody reads in another's name.
    assert_not_entitled(search(&service, participant(consumer()), whole()).await);
    let other = asked(
        "party=urn:unefois:participant:21920023500014",
        Order::OldestFirst,
        100,
    );
    assert_not_entitled(search(&service, participant(stranger()), other).await);
    let places_of_others = |indexes: Vec<u64>| GetProofRequest {
        indexes,
        ..GetProofRequest::default()
    };
    for indexes in [vec![0], vec![0, 3]] {
        let asked = from(participant(stranger()), places_of_others(indexes));
        assert_not_entitled(service.get_proof(asked).await);
    }
    assert_eq!(ledger.head().size, 8, "a refused question is no query");

    let found = all_pages(&service, participant(stranger()), whole()).await;
    assert_eq!(places(&found), [3, 7]);
    let asked = from(participant(stranger()), places_of_others(vec![3, 7]));
    let proof = service.get_proof(asked).await.unwrap().into_inner();
    proved(&proof.rows, &proof.checkpoint, &proof.proof);
    // Whoever answers is named too.
    let found = all_pages(&service, participant(producer()), whole()).await;
    assert_eq!(places(&found), [0, 1, 2, 3, 4, 5, 6, 7]);
    // A watch too tells a participant what names it.
    let watch = WatchRequest {
        from: Some(0),
        ..WatchRequest::default()
    };
    let told = service.watch(from(participant(stranger()), watch)).await.unwrap();
    let first = told.into_inner().next().await.unwrap().unwrap();
    assert_eq!(places(&first.rows), [3, 7]);
}

async fn a_page_cannot_be_turned_into_another_query(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = written(&scene, 6).await;
    let service = LedgerService::new(vec![ledger.clone()], authority(), lent());
    let narrow = asked("events=released", Order::OldestFirst, 2);
    let page = search(&service, auditor(), narrow.clone()).await.unwrap();
    let next = SearchRequest {
        cursor: page.cursor.clone(),
        limit: 2,
        ..SearchRequest::default()
    };
    let refused = async |question: SearchRequest, peer: PeerId| {
        let refusal = search(&service, peer, question).await.expect_err("no such page");
        assert_eq!(reason_of(&refusal), Some(Reason::InvalidRequest));
    };
    let mut forged = next.clone();
    let last = forged.cursor.len() - 1;
    forged.cursor[last] ^= 1;
    refused(forged, auditor()).await;
    let wider = SearchRequest {
        filter: Some((&EntryFilter::default()).into()),
        ..next.clone()
    };
    refused(wider, auditor()).await;
    // What was given for reading in order is no search, and the other way round.
    let list = ListEntriesRequest {
        limit: 2,
        ..ListEntriesRequest::default()
    };
    let listed = service.list_entries(from(auditor(), list.clone())).await.unwrap();
    let reading = SearchRequest {
        cursor: listed.into_inner().reading,
        ..next.clone()
    };
    refused(reading, auditor()).await;
    let other = ListEntriesRequest {
        reading: page.cursor.clone(),
        size: 8,
        ..list
    };
    let refusal = service.list_entries(from(auditor(), other)).await;
    assert_eq!(
        reason_of(&refusal.expect_err("no reading")),
        Some(Reason::InvalidRequest)
    );
    // A day later, the query is asked and recorded anew.
    let size = ledger.head().size;
    search(&service, auditor(), next.clone()).await.unwrap();
    assert_eq!(ledger.head().size, size, "a further page is no further query");
    scene.clock.forward_ms(24 * 3_600_000);
    refused(next, auditor()).await;
}

async fn pages_are_of_one_head_each_with_one_proof(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = written(&scene, 9).await;
    let known = ledger.head();
    let service = LedgerService::new(vec![ledger.clone()], authority(), lent());
    claimed(
        fetch(&ledger, scene.once(scene.handle()), payload(1))
            .await
            .unwrap(),
    );
    let first = SearchRequest {
        known_size: known.size,
        ..asked("events=released", Order::NewestFirst, 4)
    };
    let page = search(&service, auditor(), first.clone()).await.unwrap();
    let head = proved(&page.rows, &page.checkpoint, &page.proof);
    assert_eq!((head.size, places(&page.rows)), (13, vec![12, 10, 9, 8]));
    let growth: Vec<Hash> = page
        .consistency
        .iter()
        .map(|h| Hash::try_from(h.as_slice()).unwrap())
        .collect();
    verify_consistency((known.size, &known.root), (head.size, &head.root), &growth).unwrap();

    // What is written meanwhile, the query's own entry too, is in no later page.
    claimed(
        fetch(&ledger, scene.once(scene.handle()), payload(1))
            .await
            .unwrap(),
    );
    let rows = all_pages(
        &service,
        auditor(),
        SearchRequest {
            size: head.size,
            ..first.clone()
        },
    )
    .await;
    assert_eq!(places(&rows), [12, 10, 9, 8, 6, 5, 4, 2, 1, 0]);
    let oldest = SearchRequest {
        size: head.size,
        order: Order::OldestFirst.into(),
        ..first
    };
    let rows = all_pages(&service, auditor(), oldest).await;
    assert_eq!(places(&rows), [0, 1, 2, 4, 5, 6, 8, 9, 10, 12]);
    // A search of nothing ends at once, with nothing to prove.
    let none = search(&service, auditor(), asked("first=5 end=5", Order::OldestFirst, 9))
        .await
        .unwrap();
    assert_eq!((none.rows.len(), none.proof.len(), none.cursor.len()), (0, 0, 0));
}

async fn every_condition_finds_what_the_filter_says(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = written(&scene, 12).await;
    let request = scene.once(scene.handle());
    let released = claimed(fetch(&ledger, request.clone(), payload(1)).await.unwrap());
    refused(fetch(&ledger, request.clone(), payload(2)).await.unwrap());
    let leaf = Sha256::from_bytes(*released.leaf_hash().as_bytes());
    let mut tx = scene.db.begin().await.unwrap();
    peer_receipt_insert(&mut tx, consumer().siret().as_str(), &[leaf], scene.clock.now())
        .await
        .unwrap();
    // Another peer's word confirms nothing.
    let first = Hash::of_leaf(&ledger.entries(0, 1).await.unwrap()[0]);
    let first = Sha256::from_bytes(*first.as_bytes());
    peer_receipt_insert(&mut tx, stranger().siret().as_str(), &[first], scene.clock.now())
        .await
        .unwrap();
    tx.commit().await.unwrap();

    let size = ledger.head().size;
    let entries: Vec<Entry> = (ledger.entries(0, size).await.unwrap().iter())
        .map(|bytes| Entry::decode(bytes).unwrap())
        .collect();
    let at = |index: usize| entries[index].at;
    let service = LedgerService::new(vec![ledger.clone()], authority(), lent());
    let conditions = [
        "all".to_owned(),
        format!("from={}", at(6)),
        format!("from={} to={}", at(3), at(6)),
        format!("to={}", at(6)),
        format!("from={}", at(15).plus_ms(1)),
        format!("requester={}", stranger()),
        format!("provider={}", producer()),
        format!("requester={} provider={}", producer(), stranger()),
        format!("party={}", stranger()),
        "datatype=cnaf/quotient-familial".to_owned(),
        "datatype=cnaf/quotient-familial@2".to_owned(),
        "demarche=cantine units_all=3".to_owned(),
        "units_any=4".to_owned(),
        "events=released,refused outcome=refused".to_owned(),
        format!("exchange_id={}", request.request_id),
        "first=3 end=7".to_owned(),
        "reason=RETRY_MISMATCH".to_owned(),
    ];
    for condition in &conditions {
        let filter: EntryFilter = condition.parse().unwrap();
        let expected: Vec<u64> = (0..size)
            .filter(|index| filter.matches(*index, &entries[usize::try_from(*index).unwrap()]))
            .collect();
        for (order, limit) in [
            (Order::OldestFirst, 1),
            (Order::OldestFirst, 1_000),
            (Order::NewestFirst, 3),
        ] {
            let question = SearchRequest {
                size,
                ..asked(condition, order, limit)
            };
            let mut found = places(&all_pages(&service, auditor(), question).await);
            if order == Order::NewestFirst {
                found.reverse();
            }
            assert_eq!(found, expected, "{condition}");
        }
    }
    let question = |text: &str| SearchRequest {
        size,
        ..asked(text, Order::OldestFirst, 4)
    };
    let confirmed = all_pages(&service, auditor(), question("peer=confirmed")).await;
    assert_eq!(
        (places(&confirmed), confirmed[0].acknowledged),
        (vec![released.index()], true)
    );
    let waiting = all_pages(&service, auditor(), question("peer=unconfirmed")).await;
    assert_eq!(
        (waiting.len(), waiting.iter().any(|row| row.acknowledged)),
        (12, false)
    );
}

async fn a_page_looks_at_a_bounded_part_of_the_log(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = written(&scene, 3).await;
    // More entries than one statement gives.
    noise(&scene, &ledger, 6_000).await;
    let service = LedgerService::new(vec![ledger.clone()], authority(), lent());
    let found = all_pages(
        &service,
        auditor(),
        asked("demarche=cantine", Order::NewestFirst, 10),
    )
    .await;
    assert_eq!(places(&found), [3, 2, 1, 0]);
    let found = all_pages(
        &service,
        auditor(),
        asked("demarche=bourse", Order::OldestFirst, 999),
    )
    .await;
    assert_eq!(found.len(), 6_000);
    assert!(places(&found).is_sorted());
}

async fn places_are_proved_alone_and_together(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = written(&scene, 6).await;
    let service = LedgerService::new(vec![ledger.clone()], authority(), lent());
    let ask = async |indexes: Vec<u64>, size: u64| {
        let asked = GetProofRequest {
            indexes,
            size,
            ..GetProofRequest::default()
        };
        Ok::<_, Status>(service.get_proof(from(auditor(), asked)).await?.into_inner())
    };
    for (indexes, size) in [
        (vec![], 0),
        (vec![1, 1], 0),
        (vec![8], 0),
        (vec![5], 5),
        (vec![0], 9),
    ] {
        let refusal = ask(indexes, size).await.expect_err("no such places");
        assert_eq!(reason_of(&refusal), Some(Reason::InvalidRequest));
    }
    let alone = ask(vec![4], 6).await.unwrap();
    assert_eq!(proved(&alone.rows, &alone.checkpoint, &alone.proof).size, 6);
    let receipt: Receipt = alone.receipt.parse().unwrap();
    let said = receipt.verify(&leaf(&alone.rows[0]).1, &verifier(1)).unwrap();
    assert_eq!((said.size, receipt.index()), (6, 4));
    let several = ask(vec![0, 3, 7], 0).await.unwrap();
    assert_eq!(
        proved(&several.rows, &several.checkpoint, &several.proof).size,
        9,
        "with the record of the proof before"
    );
    assert_eq!(
        (places(&several.rows), several.receipt.as_str()),
        (vec![0, 3, 7], "")
    );
    assert_eq!(events(&ledger).await[8..], [Event::Queried; 2]);
}
