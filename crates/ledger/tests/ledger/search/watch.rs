//! Watches: what is told as it comes, and when they end.

use tokio_util::sync::CancellationToken;
use unefois_ledger::Lent;
use unefois_mesh::Peer;
use unefois_proto::pb::ledger::v1::WatchResponse;

use super::*;

both_databases![
    a_watch_tells_entries_as_they_come,
    a_watch_ends_with_its_server_and_gives_its_place_back,
    a_reader_that_does_not_keep_up_is_told_so,
];

async fn a_watch_tells_entries_as_they_come(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = written(&scene, 3).await;
    let service = LedgerService::new(vec![ledger.clone()], authority(), lent());
    let filter: EntryFilter = "events=released".parse().unwrap();
    let question = |from| WatchRequest {
        filter: Some((&filter).into()),
        from,
        ..WatchRequest::default()
    };
    let peer: EntryFilter = "peer=confirmed".parse().unwrap();
    for wrong in [
        question(Some(5)),
        WatchRequest {
            known_size: 5,
            ..question(None)
        },
        WatchRequest {
            filter: Some((&peer).into()),
            ..question(None)
        },
    ] {
        let refusal = service
            .watch(from(auditor(), wrong))
            .await
            .err()
            .expect("refused");
        assert_eq!(reason_of(&refusal), Some(Reason::InvalidRequest));
    }
    let mut told = service
        .watch(from(auditor(), question(Some(1))))
        .await
        .unwrap()
        .into_inner();
    let mut next = async || told.next().await.expect("a message").expect("no end");
    let first: WatchResponse = next().await;
    let head = proved(&first.rows, &first.checkpoint, &first.proof);
    assert_eq!(places(&first.rows), [1, 2]);
    // The query is recorded before the first row; it is no release.
    assert_eq!((head.size, first.looked_end), (5, 5));
    assert_eq!(events(&ledger).await[4], Event::Queried);

    let receipt = claimed(
        fetch(&ledger, scene.once(scene.handle()), payload(1))
            .await
            .unwrap(),
    );
    let second: WatchResponse = next().await;
    let later = proved(&second.rows, &second.checkpoint, &second.proof);
    assert_eq!(places(&second.rows), [receipt.index()]);
    let growth: Vec<Hash> = second
        .consistency
        .iter()
        .map(|h| Hash::try_from(h.as_slice()).unwrap())
        .collect();
    verify_consistency((head.size, &head.root), (later.size, &later.root), &growth).unwrap();
}

async fn a_watch_ends_with_its_server_and_gives_its_place_back(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = written(&scene, 3).await;
    let shutdown = CancellationToken::new();
    let lent = Lent {
        shutdown: shutdown.clone(),
        ..lent()
    };
    let tasks = lent.tasks.clone();
    let service = LedgerService::new(vec![ledger.clone()], authority(), lent);
    let watch = |peer: PeerId, key: u8| {
        let question = WatchRequest {
            from: Some(0),
            ..WatchRequest::default()
        };
        let mut request = from(peer, question);
        let peer = request.extensions_mut().get_mut::<Peer>().unwrap();
        peer.spki_sha256 = Sha256::of(&[key]);
        service.watch(request)
    };
    // Two for a key, half of all for participants, the rest for auditors; one too many is refused.
    let mut places = Vec::new();
    for (peer, keys) in [(participant(consumer()), 0..8), (auditor(), 100..108)] {
        for key in keys {
            for _ in 0..2 {
                places.push(watch(peer.clone(), key).await.unwrap().into_inner());
            }
            let refusal = watch(peer.clone(), key).await.err().expect("a third of one key");
            assert_eq!(reason_of(&refusal), Some(Reason::Overloaded));
        }
        let size = ledger.head().size;
        let refusal = watch(participant(consumer()), 50).await.err();
        assert_eq!(
            reason_of(&refusal.expect("no place is left")),
            Some(Reason::Overloaded)
        );
        assert_eq!(
            ledger.head().size,
            size,
            "what is refused is not recorded as a watch"
        );
    }
    let refusal = watch(auditor(), 200).await.err().expect("no place is left");
    assert_eq!(reason_of(&refusal), Some(Reason::Overloaded));
    // Those who leave give their place back.
    let mut kept = places.pop().unwrap();
    drop(places);
    let again = async {
        loop {
            match watch(auditor(), 107).await {
                Ok(told) => return told.into_inner(),
                Err(refusal) => assert_eq!(reason_of(&refusal), Some(Reason::Overloaded)),
            }
            tokio::task::yield_now().await;
        }
    };
    let _again = again.await;
    tasks.close();
    let first = kept.next().await.unwrap().unwrap();
    assert!(!first.rows.is_empty());

    shutdown.cancel();
    tasks.wait().await;
    let mut last = None;
    while let Some(message) = kept.next().await {
        last = Some(message);
    }
    let end = last.expect("an end").expect_err("it says why it ends");
    assert_eq!(reason_of(&end), Some(Reason::Maintenance));
}

async fn a_reader_that_does_not_keep_up_is_told_so(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    noise(&scene, &ledger, 7_000).await;
    let lent = lent();
    let tasks = lent.tasks.clone();
    let service = LedgerService::new(vec![ledger.clone()], authority(), lent);
    let question = WatchRequest {
        from: Some(0),
        ..WatchRequest::default()
    };
    let told = service
        .watch(from(auditor(), question))
        .await
        .unwrap()
        .into_inner();
    // Nobody reads: the watch ends by itself.
    tasks.close();
    tasks.wait().await;
    let mut messages: Vec<_> = told.collect().await;
    let end = messages.pop().unwrap().expect_err("it says why it ends");
    assert_eq!(reason_of(&end), Some(Reason::Overloaded));
    assert!(messages.len() < 7 && messages.iter().all(Result::is_ok));
}
