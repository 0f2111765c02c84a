//! Who may answer under a handle.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use unefois_core::{Clock as _, Event, Outcome, Reason, RevocationView, Sha256};
use unefois_ledger::{Begin, ClaimRequest, GateState, Ledger, Release};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::scene::{
    Scene, VIEW, again, assert_proved, claimed, draft, events, fetch, open_gate, payload, refused, release,
    stranger, verifier,
};

both_databases![
    i2_second_request_finds_the_handle_consumed,
    i2_retry_with_another_payload_is_a_mismatch,
    i2_retry_with_other_contents_is_a_mismatch,
    i2_another_client_never_retries,
    i2_after_120_s_it_was_delivered,
    i2_purged_macs_end_retries_whatever_the_clock_says,
    i2_withheld_frees_only_its_own_attempt,
    i2_one_shot_claims_once,
    i2_a_retry_among_many_is_answered_again,
    i3_closed_gate_takes_no_claim,
    i3_views_never_decrease,
    in_progress_while_an_attempt_runs,
    standing_handle_keeps_its_limits,
    i2_standing_limits_hold_over_replicas_and_restarts,
    standing_handle_counts_a_withheld_use_back,
];

async fn i2_second_request_finds_the_handle_consumed(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    let handle = scene.handle();

    let receipt = claimed(fetch(&ledger, scene.once(handle), payload(1)).await.unwrap());
    assert_eq!(receipt.entry().event, Event::Released);
    assert_eq!(receipt.entry().outcome, Some(Outcome::Answered));
    assert_eq!(receipt.entry().view, VIEW);
    assert_proved(&receipt, &verifier(1));

    // Before the source is asked, and again where that look-up saw nothing yet.
    let early = fetch(&ledger, scene.once(handle), payload(1)).await;
    assert_eq!(early.unwrap_err(), Reason::TokenConsumed);
    let (reason, receipt) = refused(decide(&ledger, scene.once(handle), payload(1)).await);
    assert_eq!(reason, Reason::TokenConsumed);
    assert_eq!(receipt.entry().event, Event::Refused);
    assert_eq!(receipt.entry().outcome, Some(Outcome::Refused));
    assert_eq!(receipt.entry().reason, Some(Reason::TokenConsumed));
    assert_eq!(receipt.entry().content_commit, None);
    assert_proved(&receipt, &verifier(1));
}

/// Releases as a replica does that looked before another one committed.
async fn decide(ledger: &Ledger, request: ClaimRequest, payload: Sha256) -> Release {
    let attempt = ledger.attempt(request).expect("no other attempt runs");
    release(ledger, &attempt, payload, open_gate())
        .await
        .expect("the ledger writes")
}

async fn i2_retry_with_another_payload_is_a_mismatch(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    let request = scene.once(scene.handle());

    claimed(fetch(&ledger, request.clone(), payload(1)).await.unwrap());
    let (reason, receipt) = refused(fetch(&ledger, request.clone(), payload(2)).await.unwrap());
    assert_eq!(reason, Reason::RetryMismatch);
    assert_eq!(receipt.entry().event, Event::Refused);
    let receipt = again(fetch(&ledger, request, payload(1)).await.unwrap());
    assert_eq!(receipt.entry().event, Event::ReleasedAgain);
    assert_proved(&receipt, &verifier(1));
    assert_eq!(
        events(&ledger).await,
        [Event::Released, Event::Refused, Event::ReleasedAgain]
    );
}

async fn i2_retry_with_other_contents_is_a_mismatch(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    let request = scene.once(scene.handle());
    let other = ClaimRequest {
        request_hash: Sha256::of(b"other contents"),
        ..request.clone()
    };

    claimed(fetch(&ledger, request, payload(1)).await.unwrap());
    assert_eq!(
        fetch(&ledger, other.clone(), payload(1)).await.unwrap_err(),
        Reason::RetryMismatch
    );
    let (reason, _) = refused(decide(&ledger, other, payload(1)).await);
    assert_eq!(reason, Reason::RetryMismatch);
}

async fn i2_another_client_never_retries(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    for request in [
        scene.once(scene.handle()),
        scene.standing(scene.handle(), None, None),
    ] {
        let other = ClaimRequest {
            client: stranger(),
            ..request.clone()
        };
        claimed(fetch(&ledger, request, payload(1)).await.unwrap());
        let (reason, _) = refused(decide(&ledger, other, payload(1)).await);
        assert_eq!(reason, Reason::TokenConsumed);
    }
}

async fn i2_after_120_s_it_was_delivered(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    let request = scene.once(scene.handle());

    claimed(fetch(&ledger, request.clone(), payload(1)).await.unwrap());
    scene.clock.forward_ms(119_999);
    again(fetch(&ledger, request.clone(), payload(1)).await.unwrap());
    // A retry does not open the window anew.
    scene.clock.forward_ms(2);
    let early = fetch(&ledger, request.clone(), payload(1)).await;
    assert_eq!(early.unwrap_err(), Reason::AlreadyDelivered);
    let (reason, _) = refused(decide(&ledger, request, payload(1)).await);
    assert_eq!(reason, Reason::AlreadyDelivered);
}

async fn i2_purged_macs_end_retries_whatever_the_clock_says(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    let request = scene.once(scene.handle());

    claimed(fetch(&ledger, request.clone(), payload(1)).await.unwrap());
    let now = unefois_core::Clock::now(&*scene.clock);
    assert_eq!(ledger.purge(now.plus_ms(3_600_001)).await.unwrap(), 1);
    let (reason, _) = refused(decide(&ledger, request.clone(), payload(1)).await);
    assert_eq!(reason, Reason::AlreadyDelivered);
    let other = scene.once(request.handle);
    let (reason, _) = refused(decide(&ledger, other, payload(1)).await);
    assert_eq!(reason, Reason::TokenConsumed);
}

async fn i2_withheld_frees_only_its_own_attempt(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    let handle = scene.handle();
    let request = scene.once(handle);

    let first = claimed(fetch(&ledger, request.clone(), payload(1)).await.unwrap());
    let second = again(fetch(&ledger, request.clone(), payload(1)).await.unwrap());

    // The first attempt's bytes may be out: the second's withholding frees nothing.
    let receipt = ledger.withhold(second, Reason::GrantRevoked).await.unwrap();
    assert_eq!(receipt.entry().event, Event::Withheld);
    assert_eq!(receipt.entry().reason, Some(Reason::GrantRevoked));
    assert_proved(&receipt, &verifier(1));
    let (reason, _) = refused(decide(&ledger, scene.once(handle), payload(1)).await);
    assert_eq!(reason, Reason::TokenConsumed);

    // Once nothing left at all, another request may claim, and the withheld one has lost its place.
    ledger
        .withhold(first, Reason::RevocationStateStale)
        .await
        .unwrap();
    claimed(fetch(&ledger, scene.once(handle), payload(2)).await.unwrap());
    let (reason, receipt) = refused(decide(&ledger, request, payload(1)).await);
    assert_eq!(reason, Reason::TokenConsumed);

    // A refusal holds nothing, so there is nothing to give back.
    assert!(ledger.withhold(receipt, Reason::GrantRevoked).await.is_err());
}

async fn i2_one_shot_claims_once(database: TestDatabase) {
    const REQUESTS: usize = 1_000;
    const REPLICAS: u8 = 2;
    let scene = Scene::new(database).await;
    // Each replica has its own log; the claims are common. In one process, one attempt of a handle runs at a time.
    let mut replicas = Vec::new();
    for shard in 1..=REPLICAS {
        replicas.push((scene.open(shard).await, Arc::new(Semaphore::new(1))));
    }
    let handle = scene.handle();
    let mut requests = (0..REQUESTS).map(|n| (replicas[n % replicas.len()].clone(), scene.once(handle)));

    let one = |((ledger, turn), request): ((Ledger, Arc<Semaphore>), ClaimRequest)| async move {
        loop {
            let _turn = turn.acquire().await.expect("never closed");
            // The write alone decides: the early look-up is left out.
            let attempt = ledger.attempt(request.clone()).expect("no other attempt runs");
            match release(&ledger, &attempt, payload(1), open_gate()).await {
                Ok(Release::Claimed(_)) => return (None, request),
                Ok(Release::Again(_)) => panic!("nobody retries"),
                Ok(Release::Refused(Reason::InProgress, _)) => {}
                Ok(Release::Refused(reason, _)) => return (Some(reason), request),
                Err(e) => panic!("{e}"),
            }
        }
    };
    let mut running = JoinSet::new();
    for next in requests.by_ref().take(64) {
        running.spawn(one(next));
    }
    let (mut winners, mut consumed) = (Vec::new(), 0);
    while let Some(done) = running.join_next().await {
        match done.expect("no panic") {
            (None, request) => winners.push(request),
            (Some(Reason::TokenConsumed), _) => consumed += 1,
            (Some(other), _) => panic!("{other}"),
        }
        if let Some(next) = requests.next() {
            running.spawn(one(next));
        }
    }
    assert_eq!((winners.len(), consumed), (1, REQUESTS - 1));

    let mut released = 0;
    for (ledger, _) in &replicas {
        let events = events(ledger).await;
        released += events.iter().filter(|event| **event == Event::Released).count();
    }
    assert_eq!(released, 1);
    let winner = winners.remove(0);
    again(fetch(&replicas[1].0, winner.clone(), payload(1)).await.unwrap());
    let (reason, _) = refused(fetch(&replicas[0].0, winner, payload(2)).await.unwrap());
    assert_eq!(reason, Reason::RetryMismatch);
}

/// One claim that is held must not fail the batch of everybody else.
async fn i2_a_retry_among_many_is_answered_again(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    let request = scene.once(scene.handle());
    claimed(fetch(&ledger, request.clone(), payload(1)).await.unwrap());
    let epoch = ledger.head().epoch;

    // While the writer waits, the others queue; wherever it cut the queue, 40 of them are with the retry.
    let mut raw = crate::raw::Raw::open(&scene.database).await;
    raw.execute("BEGIN; UPDATE ledger_head SET at = at").await;
    let attempt = ledger.attempt(request).unwrap();
    let append = |_| ledger.append(draft(&scene.once(scene.handle())));
    let (before, retried, after, _) = tokio::join!(
        join_all((0..40).map(append)),
        release(&ledger, &attempt, payload(1), open_gate()),
        join_all((0..40).map(append)),
        raw.execute("ROLLBACK"),
    );
    for appended in before.into_iter().chain(after) {
        assert_proved(&appended.unwrap(), &verifier(1));
    }
    let retried = again(retried.unwrap());
    assert_eq!(retried.entry().event, Event::ReleasedAgain);
    assert_eq!((ledger.head().size, ledger.head().epoch), (82, epoch));
}

async fn i3_closed_gate_takes_no_claim(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    let handle = scene.handle();

    let attempt = ledger.attempt(scene.once(handle)).expect("no other attempt runs");
    let closed = Arc::new(|| GateState::Closed(Reason::GrantRevoked, VIEW));
    let (reason, receipt) = refused(release(&ledger, &attempt, payload(1), closed).await.unwrap());
    assert_eq!(reason, Reason::GrantRevoked);
    assert_eq!(receipt.entry().event, Event::Refused);
    drop(attempt);

    claimed(fetch(&ledger, scene.once(handle), payload(1)).await.unwrap());
}

async fn i3_views_never_decrease(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let mut ledger = scene.open(1).await;
    let later = RevocationView { epoch: 3, seq: 8 };
    let head = ledger.observe(later).await.unwrap();
    assert_eq!((head.view, head.size), (later, 0));

    // A guard that knows less than what was written down decides nothing, not even after a restart.
    for _ in 0..2 {
        let attempt = ledger
            .attempt(scene.once(scene.handle()))
            .expect("no other attempt runs");
        let (reason, receipt) = refused(release(&ledger, &attempt, payload(1), open_gate()).await.unwrap());
        assert_eq!(reason, Reason::RevocationStateStale);
        assert_eq!(receipt.entry().view, later);
        drop(attempt);
        ledger.close().await;
        ledger = scene.open(1).await;
    }
}

async fn in_progress_while_an_attempt_runs(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    let request = scene.once(scene.handle());

    let Begin::First(attempt) = ledger.begin(request.clone()).await.unwrap() else {
        panic!("nobody holds the handle");
    };
    assert_eq!(
        fetch(&ledger, request.clone(), payload(1)).await.unwrap_err(),
        Reason::InProgress
    );
    drop(attempt);
    claimed(fetch(&ledger, request, payload(1)).await.unwrap());
}

async fn standing_handle_keeps_its_limits(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    let handle = scene.handle();
    let request = || scene.standing(handle, Some(2), Some(60));

    let first = request();
    claimed(fetch(&ledger, first.clone(), payload(1)).await.unwrap());
    assert_eq!(
        fetch(&ledger, request(), payload(1)).await.unwrap_err(),
        Reason::QuotaConsumer
    );
    let (reason, receipt) = refused(decide(&ledger, request(), payload(1)).await);
    assert_eq!(reason, Reason::QuotaConsumer);
    assert_eq!(receipt.entry().outcome, Some(Outcome::Later));

    scene.clock.forward_ms(60_000);
    // A retry is no use of its own.
    again(fetch(&ledger, first, payload(1)).await.unwrap());
    claimed(fetch(&ledger, request(), payload(1)).await.unwrap());
    scene.clock.forward_ms(60_000);
    let (reason, _) = refused(decide(&ledger, request(), payload(1)).await);
    assert_eq!(reason, Reason::TokenConsumed);
}

/// What the writes of many requests decide, with the early look-up left out: how many won, and why the others lost.
async fn decide_all(replicas: &[Ledger; 2], requests: Vec<ClaimRequest>) -> (usize, Vec<Reason>) {
    let one = |(n, request): (usize, ClaimRequest)| async move {
        loop {
            match decide(&replicas[n % 2], request.clone(), payload(1)).await {
                Release::Claimed(_) => return Ok(()),
                Release::Again(_) => panic!("nobody retries"),
                // The other replica writes at this moment.
                Release::Refused(Reason::InProgress, _) => {}
                Release::Refused(reason, _) => return Err(reason),
            }
        }
    };
    let done = join_all(requests.into_iter().enumerate().map(one)).await;
    let lost: Vec<Reason> = done.iter().filter_map(|done| done.err()).collect();
    (done.len() - lost.len(), lost)
}

async fn i2_standing_limits_hold_over_replicas_and_restarts(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let handle = scene.handle();
    let many = || {
        (0..20)
            .map(|_| scene.standing(handle, Some(3), Some(60)))
            .collect()
    };
    let (reason_once, reason_used_up) = (Reason::QuotaConsumer, Reason::TokenConsumed);
    for (expected, lost) in [
        (1, reason_once),
        (1, reason_once),
        (1, reason_used_up),
        (0, reason_used_up),
    ] {
        // Each round finds other processes, which know what the database holds.
        let replicas = [scene.open(1).await, scene.open(2).await];
        let (won, reasons) = decide_all(&replicas, many()).await;
        assert_eq!((won, reasons), (expected, vec![lost; 20 - expected]));
        for replica in &replicas {
            let again = replica
                .begin(scene.standing(handle, Some(3), Some(60)))
                .await
                .unwrap();
            match again {
                Begin::TooSoon(wait) if lost == reason_once => assert_eq!(wait.as_secs(), 60),
                Begin::Refused(reason) => assert_eq!(reason, reason_used_up),
                other => panic!("{other:?}"),
            }
        }
        scene.clock.forward_ms(60_000);
        // Forgetting claims forgets no use: a request of yesterday would be a new one, and there is none left.
        replicas[0].purge(scene.clock.now()).await.unwrap();
        for replica in replicas {
            replica.close().await;
        }
    }
    scene.clock.forward_ms(30 * 24 * 3_600_000);
    let ledger = scene.open(1).await;
    ledger.purge(scene.clock.now()).await.unwrap();
    let month_later = fetch(&ledger, scene.standing(handle, Some(3), Some(60)), payload(1)).await;
    assert_eq!(month_later.unwrap_err(), Reason::TokenConsumed);
}

async fn standing_handle_counts_a_withheld_use_back(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    let handle = scene.handle();
    let request = || scene.standing(handle, Some(1), None);

    let receipt = claimed(fetch(&ledger, request(), payload(1)).await.unwrap());
    ledger.withhold(receipt, Reason::GrantRevoked).await.unwrap();
    claimed(fetch(&ledger, request(), payload(1)).await.unwrap());
    assert_eq!(
        fetch(&ledger, request(), payload(1)).await.unwrap_err(),
        Reason::TokenConsumed
    );
}
