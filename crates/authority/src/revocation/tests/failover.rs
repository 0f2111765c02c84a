//! A standby beside a holder that goes on, that stops, and that stands still inside a withdrawal.

use unefois_store::authority::effect::{Written, effect_insert};

use super::*;
use crate::revocation::barrier::Concerned;

const SOON: Duration = Duration::from_secs(20);

/// A standby of the database, on connections of its own.
async fn standby(url: &str) -> Arc<Revocation> {
    let db = Db::open(url, Component::Authority).await.unwrap();
    let (clock, keys) = (Arc::new(SystemClock), Arc::new(keys()));
    Arc::new(Revocation::take_over(db, clock, keys, TaskTracker::new(), Arc::new(Always)).await)
}

/// Waits until the holder has shown `n` times that it goes on.
async fn beats(db: &Db, n: usize) {
    let mut every = tokio::time::interval(Duration::from_millis(20));
    let mut seen = store::pulse(db).await.unwrap();
    let mut changes = 0;
    while changes < n {
        every.tick().await;
        let pulse = store::pulse(db).await.unwrap();
        changes += usize::from(pulse != seen);
        seen = pulse;
    }
}

/// Whoever held the epoch before can do nothing that counts.
async fn assert_superseded(old: &Arc<Revocation>, next: &Revocation) {
    let records = async || {
        let mut tx = next.db.begin().await.unwrap();
        store::log(&mut tx, 0, u64::MAX).await.unwrap().1
    };
    let before = records().await;
    assert!(matches!(withdraw(old, 9).await, Err(Error::Superseded)));
    assert!(matches!(old.epoch(), Err(Error::Superseded)));
    assert!(!old.is_fresh());
    let mut tx = old.db.begin().await.unwrap();
    let written = effect_insert(&mut tx, old.epoch, 1, SystemClock.now(), b"").await;
    assert_eq!(written.unwrap(), Written::Superseded);
    drop(tx);
    assert_eq!(records().await, before);
    let (row, rvk) = grant_at_head(&next.db, &GRANT).await.unwrap().unwrap();
    let nine = row.elements.iter().find(|element| element.handle == handle(9));
    assert!(nine.unwrap().withdrawn.is_none(), "it was rolled back");
    assert_eq!(
        rvk.epoch, next.epoch,
        "a mint of the one before sees that it is over"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn i3_of_two_standbys_one_takes_over_and_only_from_a_silent_holder() {
    let database = TestDatabase::postgres();
    let holder = open(database.url()).await;
    let (dies, lives, tasks) = (
        CancellationToken::new(),
        CancellationToken::new(),
        TaskTracker::new(),
    );
    tasks.spawn(Arc::clone(&holder).heartbeats(dies.clone()));
    let mut standbys = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let url = database.url().to_owned();
        standbys.spawn(async move { standby(&url).await });
    }
    beats(&holder.db, 15).await;
    assert!(standbys.try_join_next().is_none(), "the holder goes on");

    dies.cancel();
    let silent_since = SystemClock.boottime();
    let last = store::pulse(&holder.db).await.unwrap();
    let next = tokio::time::timeout(SOON, standbys.join_next()).await;
    let next = next.expect("one takes over").unwrap().unwrap();
    tasks.spawn(Arc::clone(&next).heartbeats(lives.clone()));
    assert_ne!(store::pulse(&next.db).await.unwrap(), last);
    assert!(
        SystemClock.boottime() >= silent_since.plus_ms(800),
        "it was not waited for"
    );
    assert_eq!(next.epoch, holder.epoch + 1);
    beats(&next.db, 15).await;
    assert!(standbys.try_join_next().is_none(), "the other goes on waiting");
    assert_superseded(&holder, &next).await;
    assert!(withdraw(&next, 1).await.unwrap());

    lives.cancel();
    let third = tokio::time::timeout(SOON, standbys.join_next()).await;
    let third = third.expect("the other has its turn").unwrap().unwrap();
    assert_eq!(
        third.view(),
        RevocationView {
            epoch: next.epoch + 1,
            seq: 1
        }
    );
    assert_superseded(&next, &third).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i3_of_two_standbys_one_takes_a_new_database() {
    let database = TestDatabase::postgres();
    // The schema first: two that make it at once are told apart by the database.
    Db::open(database.url(), Component::Authority)
        .await
        .unwrap()
        .close()
        .await;
    let mut standbys = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let url = database.url().to_owned();
        standbys.spawn(async move { standby(&url).await });
    }
    let first = tokio::time::timeout(SOON, standbys.join_next()).await;
    let first = first.expect("one takes it").unwrap().unwrap();
    let (lives, tasks) = (CancellationToken::new(), TaskTracker::new());
    tasks.spawn(Arc::clone(&first).heartbeats(lives.clone()));
    assert_eq!(first.epoch, 1);
    beats(&first.db, 15).await;
    assert!(standbys.try_join_next().is_none());
    assert!(first.is_fresh() && first.epoch().is_ok());
}

/// The holder stands still inside a withdrawal, before or after the database has it; what it says of it when it wakes up is
/// what the one that took over holds.
#[tokio::test(flavor = "multi_thread")]
async fn i3_a_withdrawal_under_way_at_a_takeover_is_lost_to_nobody_who_was_told() {
    for (fault, kept) in [
        (Fault::Held as fn(Hold) -> Fault, false),
        (Fault::Unanswered, true),
    ] {
        let database = TestDatabase::postgres();
        let proxy = Proxy::new(&database);
        let holder = open(&proxy.url).await;
        assert!(withdraw(&holder, 1).await.unwrap());
        let hold = Hold::default();
        proxy.arm([fault(hold.clone())]);
        let mut withdrawing = tokio::task::JoinSet::new();
        let writer = Arc::clone(&holder);
        withdrawing.spawn(async move { withdraw(&writer, 2).await });
        hold.reached.notified().await;

        let began = SystemClock.boottime();
        let next = tokio::time::timeout(SOON, standby(database.url())).await;
        let next = next.expect("a holder that stands still keeps nobody waiting");
        hold.go.notify_one();
        let told = withdrawing.join_next().await.unwrap().unwrap();
        assert_eq!(told.is_ok(), kept, "{told:?}");
        let seq = 1 + u64::from(kept);
        assert_announced(&next, seq).await;
        assert_superseded(&holder, &next).await;

        // Both are taken up, and neither is effective while the holder's last answers may count.
        let waiting: Vec<u64> = next.state().waiting.keys().map(|place| place.seq).collect();
        assert_eq!(waiting, (1..=seq).collect::<Vec<_>>());
        assert!(next.opens_at >= began.plus_ms(1_000 + 1_050 + SUPERSEDED_MS));
        let early = next.opens_at.plus_ms(-1);
        let state = next.state();
        for place in state.waiting.keys() {
            assert_eq!(
                state.barrier.settled(*place, &Concerned::All, early),
                Err(next.opens_at)
            );
        }
    }
}
