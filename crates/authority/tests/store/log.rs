//! The log of withdrawals: its epoch, its numbers, proofs of effect, and the mark of a database that went back.

use super::*;

both_databases![
    a_superseded_process_withdraws_nothing,
    withdrawals_race_to_one_number_each,
    a_withdrawal_of_a_grant_waits_for_what_takes_an_elements_place,
    i3_a_proof_of_effect_is_written_once_and_by_the_holder_of_the_epoch,
    i3_a_mark_is_set_once_for_each_cause_and_lifted_by_the_holder_of_the_epoch,
    i3_what_begins_anew_is_above_all_and_ends_all_that_was_given,
    i3_a_new_epoch_learns_the_longest_lease_that_an_older_one_gave,
    i3_the_newest_start_of_a_log_is_never_forgotten,
];

async fn a_superseded_process_withdraws_nothing(database: TestDatabase) {
    let db = open(&database).await;
    let id = granted(&db, 1, &[1]).await;
    let first = take_epoch(&db).await;
    let second = take_epoch(&db).await;
    assert_eq!((first.epoch, second.epoch, second.seq), (1, 2, 0));

    assert_eq!(withdraw(&db, first.epoch, &[1]).await, None);
    let mut tx = db.begin().await.unwrap();
    for (epoch, held) in [(first.epoch, None), (second.epoch, Some(0))] {
        assert_eq!(
            revocation::heartbeat(&mut tx, epoch, 1_000, at(1)).await.unwrap(),
            held
        );
    }
    drop(tx);
    let (row, head) = grant::grant_at_head(&db, &id).await.unwrap().unwrap();
    assert_eq!(row.elements[0].withdrawn, None, "rolled back");
    assert_eq!(head, RevocationView { epoch: 2, seq: 0 });
}

async fn withdrawals_race_to_one_number_each(database: TestDatabase) {
    let db = open(&database).await;
    let handles: Vec<u8> = (1..=20).collect();
    granted(&db, 1, &handles).await;
    let epoch = take_epoch(&db).await.epoch;
    let all = futures_util::future::join_all(handles.iter().map(|n| {
        let db = db.clone();
        async move { withdraw(&db, epoch, &[*n, 1]).await.unwrap().seq }
    }));
    all.await;

    let mut tx = db.begin().await.unwrap();
    let (head, records) = revocation::log(&mut tx, 0, u64::MAX).await.unwrap();
    assert_eq!((head.seq, records.len()), (20, 20), "handle 1 was withdrawn once");
    for (after, last) in [(18, 20), (3, 7), (20, 30)] {
        let (_, some) = revocation::log(&mut tx, after, last).await.unwrap();
        let (after, last) = (usize::try_from(after).unwrap(), usize::try_from(last).unwrap());
        assert_eq!(some, records[after..last.min(20)]);
    }
    let message = SignedRecords {
        extent: Extent::Snapshot,
        from: Head::empty(),
        head,
        records,
    };
    let mut view = Withdrawals::default();
    view.apply(&message).unwrap();
    for n in handles {
        assert!(view.withdrew(&handle(n), RevocationView { epoch, seq: 0 }));
    }
}

async fn a_withdrawal_of_a_grant_waits_for_what_takes_an_elements_place(database: TestDatabase) {
    let db = open(&database).await;
    let id = granted(&db, 1, &[1, 2]).await;
    let old = take_epoch(&db).await.epoch;
    let epoch = take_epoch(&db).await.epoch;
    let next = Element {
        handle: handle(3),
        details: "{}".to_owned(),
        left_out: Vec::new(),
        withdrawn: None,
        followed_by: None,
    };
    let mut narrowing = db.begin().await.unwrap();
    let one = Narrowing {
        old: handle(1),
        next: Some(next),
    };
    let narrowed = narrow(&mut narrowing, epoch, &[one], at(4)).await;
    assert_eq!(narrowed.unwrap().unwrap().0.len(), 1);
    let stop = async |epoch| {
        let mut tx = db.begin().await.unwrap();
        let stopped = revocation::withdraw_grant(&mut tx, epoch, &id, WithdrawnBy::Person, at(5));
        let (records, _) = stopped.await.unwrap()?;
        tx.commit().await.unwrap();
        Some(records.len())
    };
    let (stopped, committed) = tokio::join!(stop(epoch), narrowing.commit());
    committed.unwrap();
    assert_eq!(stopped, Some(2), "the one that stood, and the one that had come");
    let (row, _) = grant::grant_at_head(&db, &id).await.unwrap().unwrap();
    let by: Vec<_> = row
        .elements
        .iter()
        .map(|e| e.withdrawn.as_ref().unwrap().by)
        .collect();
    assert_eq!(
        by,
        [WithdrawnBy::Narrowed, WithdrawnBy::Person, WithdrawnBy::Person]
    );
    assert_eq!(stop(old).await, None, "superseded");
    assert_eq!(stop(epoch).await, Some(0), "nothing is left");
}

async fn i3_a_proof_of_effect_is_written_once_and_by_the_holder_of_the_epoch(database: TestDatabase) {
    let db = open(&database).await;
    granted(&db, 1, &[1, 2]).await;
    let old = take_epoch(&db).await.epoch;
    withdraw(&db, old, &[1, 2]).await.unwrap();
    let insert = async |epoch, n: i64| {
        let mut tx = db.begin().await.unwrap();
        let written = effect::effect_insert(&mut tx, epoch, 1, at(n), &[1])
            .await
            .unwrap();
        if written != Written::Superseded {
            tx.commit().await.unwrap();
        }
        written
    };
    let new = take_epoch(&db).await.epoch;
    assert_eq!(insert(old, 7).await, Written::Superseded);
    let effective = async || {
        let row = grant::grant_of_handle(&db, &handle(1)).await.unwrap().unwrap();
        row.elements[0].withdrawn.clone().unwrap().effective_at
    };
    assert_eq!(effective().await, None);
    assert_eq!(
        (insert(new, 8).await, insert(new, 9).await),
        (Written::First, Written::Before)
    );
    assert_eq!(effective().await, Some(at(8)));
    assert!(grant::grant_of_handle(&db, &handle(9)).await.unwrap().is_none());

    let mut tx = db.begin().await.unwrap();
    let missing = async |tx: &mut Tx, after| {
        let records = effect::effect_missing(tx, after).await.unwrap();
        records.iter().map(|record| record.place.seq).collect::<Vec<_>>()
    };
    assert_eq!(missing(&mut tx, 0).await, [2]);
    assert_eq!(missing(&mut tx, 2).await, [] as [u64; 0]);
    let unlogged = async |before| effect::effect_unlogged(&db, before, 0).await.unwrap();
    assert_eq!(unlogged(at(8)).await, [], "whoever proved it is still at it");
    assert_eq!(unlogged(at(9)).await, [(1, vec![1])]);
    assert_eq!(effect::effect_unlogged(&db, at(9), 1).await.unwrap(), []);
    let logged = async || {
        let row = grant::grant_of_handle(&db, &handle(1)).await.unwrap().unwrap();
        row.elements[0].withdrawn.clone().unwrap().is_proof_logged
    };
    assert!(!logged().await);
    effect::effect_logged(&mut tx, 1, at(9)).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(unlogged(at(9)).await, []);
    assert!(logged().await);
}

async fn i3_a_mark_is_set_once_for_each_cause_and_lifted_by_the_holder_of_the_epoch(database: TestDatabase) {
    let db = open(&database).await;
    let mut tx = db.begin().await.unwrap();
    assert!(restored::mark(&mut tx, "a", at(1)).await.unwrap());
    tx.commit().await.unwrap();
    let new = restored::standing_read(&db).await.unwrap().unwrap();
    assert_eq!(
        (new.cause.as_str(), new.at, new.view),
        ("a", at(1), RevocationView::NONE),
        "a database that nobody has used"
    );
    let old = take_epoch(&db).await.epoch;
    let mut tx = db.begin().await.unwrap();
    assert!(!restored::mark(&mut tx, "a", at(2)).await.unwrap());
    assert!(restored::mark(&mut tx, "b", at(2)).await.unwrap());
    tx.commit().await.unwrap();
    let new = take_epoch(&db).await.epoch;

    let lift = async |epoch, seen| {
        let mut tx = db.begin().await.unwrap();
        let lifted = restored::lift(&mut tx, epoch, seen, at(3)).await.unwrap();
        tx.commit().await.unwrap();
        lifted
    };
    assert!(!lift(old, 9).await);
    assert_eq!(restored::standing_read(&db).await.unwrap().unwrap().cause, "a");
    assert!(lift(new, 9).await);
    assert_eq!(restored::standing_read(&db).await.unwrap(), None);
    assert_eq!(take_epoch(&db).await.epoch, 10, "above every one seen");
    let mut tx = db.begin().await.unwrap();
    assert!(
        !restored::mark(&mut tx, "a", at(4)).await.unwrap(),
        "it has ended"
    );
    assert_eq!(restored::standing(&mut tx).await.unwrap(), None);
}

async fn i3_what_begins_anew_is_above_all_and_ends_all_that_was_given(database: TestDatabase) {
    let db = open(&database).await;
    let grant = granted(&db, 1, &[1]).await;
    let old = take_epoch(&db).await.epoch;
    let mine = take_epoch(&db).await.epoch;
    let client: ParticipantId = client();
    let mut tx = db.begin().await.unwrap();
    grant::refresh_insert(&mut tx, &hash(1), &grant, &client, at(1_000))
        .await
        .unwrap();
    let stolen = vec![Withdrawal::SigningKey("stolen".to_owned()); 2];
    let (_, before) = revocation::record(&mut tx, mine, stolen, at(1))
        .await
        .unwrap()
        .unwrap();
    restored::mark_restored(&mut tx, at(2)).await.unwrap();
    tx.commit().await.unwrap();
    let refresh = async || {
        let by = Bearer {
            client: &client,
            publisher: None,
        };
        grant::refresh_find(&db, &hash(1), by, at(2)).await.unwrap()
    };
    assert_eq!(refresh().await, Some(grant));

    let cause = format!("restored {}", at(2).get());
    let anew = async |epoch, next| {
        let mut tx = db.begin().await.unwrap();
        let record = restored::begin_anew(&mut tx, epoch, &cause, next, at(3)).await;
        let record = record.unwrap();
        tx.commit().await.unwrap();
        record
    };
    let next = RevocationView { epoch: 50, seq: 70 };
    let below = RevocationView { epoch: 50, seq: 2 };
    assert_eq!(anew(old, next).await, None, "superseded");
    assert_eq!(anew(mine, below).await, None, "not above what is held");
    assert!(restored::standing_read(&db).await.unwrap().is_some());
    let record = anew(mine, next).await.unwrap();
    assert_eq!(
        (record.place, &record.withdrawal),
        (RecordPlace { epoch: 50, seq: 71 }, &Withdrawal::AllBefore)
    );
    assert_eq!(anew(mine, next).await, None, "once");
    assert_eq!(restored::standing_read(&db).await.unwrap(), None);
    assert_eq!(refresh().await, None);

    let mut tx = db.begin().await.unwrap();
    let from = restored::beginning(&mut tx).await.unwrap();
    assert_eq!((from.view(), from.chain), (next, before.chain));
    let (head, records) = revocation::log(&mut tx, from.seq, u64::MAX).await.unwrap();
    assert_eq!(records.iter().fold(from, |head, record| head.after(record)), head);
    let withdrawn: Vec<_> = records.into_iter().map(|record| record.withdrawal).collect();
    let key = Withdrawal::SigningKey("stolen".to_owned());
    assert_eq!(withdrawn, [Withdrawal::AllBefore, key], "it stays withdrawn");
}

async fn i3_a_new_epoch_learns_the_longest_lease_that_an_older_one_gave(database: TestDatabase) {
    let db = open(&database).await;
    let take = async |lease_ms| {
        let mut tx = db.begin().await.unwrap();
        let (head, longest) = revocation::epoch_take(&mut tx, lease_ms, at(0)).await.unwrap();
        tx.commit().await.unwrap();
        (head.epoch, longest)
    };
    assert_eq!(take(5_000).await, (1, 5_000));
    assert_eq!(take(1_000).await, (2, 5_000), "its own is shorter");
    assert_eq!(
        take(1_000).await,
        (3, 5_000),
        "nobody said that the long one is over"
    );
    let mut tx = db.begin().await.unwrap();
    assert_eq!(revocation::heartbeat(&mut tx, 2, 200, at(1)).await.unwrap(), None);
    assert_eq!(
        revocation::heartbeat(&mut tx, 3, 1_000, at(1)).await.unwrap(),
        Some(0)
    );
    tx.commit().await.unwrap();
    assert_eq!(take(200).await, (4, 1_000));
    assert_eq!(take(9_000).await, (5, 9_000));
}

async fn i3_the_newest_start_of_a_log_is_never_forgotten(database: TestDatabase) {
    let db = open(&database).await;
    for (origin, boot) in [("a/1", 3), ("a/1", 2), ("b/1", 1), ("a/1", 3)] {
        let mut tx = db.begin().await.unwrap();
        revocation::start_keep(&mut tx, &client(), origin, boot)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }
    let mut tx = db.begin().await.unwrap();
    let starts = revocation::starts(&mut tx).await.unwrap();
    let expected = [("a/1", 3), ("b/1", 1)].map(|(origin, boot)| (client(), origin.to_owned(), boot));
    assert_eq!(starts, expected);
}
