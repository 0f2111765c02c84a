//! Writes that fail, and writes whose outcome nobody told: each applied and not applied.

use unefois_core::{Clock as _, Event, Outcome, Reason};
use unefois_ledger::verify::verify_database;
use unefois_ledger::{ClaimRequest, Error, Ledger, Safeguards};
use unefois_mesh::SystemClock;
use unefois_store::{Component, Db};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::outage::until;
use crate::proxy::{Fault, Hold, Proxy};
use crate::raw::Raw;
use crate::scene::{
    Scene, again, assert_proved, claimed, draft, events, fetch, open_gate, patient, payload, refused,
    release, verifier,
};

both_databases![
    i11_a_write_that_fails_leaves_neither_claim_nor_entry,
    i1_a_changed_right_edge_is_not_opened,
    i1_names_are_read_again_after_an_outcome_nobody_told,
];

async fn i11_a_write_that_fails_leaves_neither_claim_nor_entry(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    let mut raw = Raw::open(&scene.database).await;
    let (handle, request) = (scene.handle(), scene.once(scene.handle()));
    claimed(fetch(&ledger, request.clone(), payload(1)).await.unwrap());

    raw.break_head().await;
    let attempt = ledger.attempt(scene.once(handle)).unwrap();
    for _ in 0..2 {
        let failed = release(&ledger, &attempt, payload(1), open_gate()).await;
        assert!(matches!(failed, Err(Error::Unavailable)), "{failed:?}");
    }
    assert_eq!(ledger.head().size, 1);
    assert_eq!(raw.count("SELECT COUNT(*) FROM ledger_entry").await, 1);
    assert_eq!(raw.count("SELECT COUNT(*) FROM claim").await, 1);
    assert_eq!(raw.count("SELECT COUNT(*) FROM handle_index").await, 1);

    raw.mend_head().await;
    let receipt = claimed(release(&ledger, &attempt, payload(1), open_gate()).await.unwrap());
    assert_eq!(receipt.index(), 1);
    assert_proved(&receipt, &verifier(1));
    again(fetch(&ledger, request, payload(1)).await.unwrap());
}

async fn i1_a_changed_right_edge_is_not_opened(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    claimed(
        fetch(&ledger, scene.once(scene.handle()), payload(1))
            .await
            .unwrap(),
    );
    ledger.close().await;

    let mut raw = Raw::open(&scene.database).await;
    let mut entry = raw.entry(0).await;
    entry[40] ^= 1;
    raw.set_entry(0, &entry).await;
    let refused = scene
        .open_on(scene.db.clone(), 1)
        .await
        .expect_err("the log was changed");
    assert!(matches!(refused, Error::Corrupt(_)), "{refused}");

    entry[40] ^= 1;
    raw.set_entry(0, &entry).await;
    scene.open(1).await;
}

/// The server that answers next may have lost a name that no entry used yet, and given its number to another.
async fn i1_names_are_read_again_after_an_outcome_nobody_told(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    let mut raw = Raw::open(&scene.database).await;
    let request = scene.once(scene.handle());
    raw.break_head().await;
    let attempt = ledger.attempt(request.clone()).unwrap();
    let failed = release(&ledger, &attempt, payload(1), open_gate()).await;
    assert!(matches!(failed, Err(Error::Unavailable)), "{failed:?}");
    drop(attempt);
    let renamed = raw.execute("UPDATE ledger_name SET name = 'not ' || name").await;
    assert!(renamed > 0);
    raw.mend_head().await;
    claimed(fetch(&ledger, request, payload(1)).await.unwrap());
    let report = verify_database(&scene.db, ledger.origin().as_str(), &verifier(1), |_, _| {}).await;
    let report = report.unwrap();
    assert!(report.is_sound(), "{report:?}");
}

/// A ledger whose wire to PostgreSQL fails as told, and a second replica on a sound one.
struct Wires {
    scene: Scene,
    proxy: Proxy,
    faulty: Ledger,
}

impl Wires {
    /// Whose callers wait for as long as a busy machine may take.
    async fn new() -> Self {
        Self::with(patient()).await
    }

    /// Whose callers wait no longer than in service.
    async fn in_service() -> Self {
        Self::with(Safeguards::default()).await
    }

    async fn with(safeguards: Safeguards) -> Self {
        let scene = Scene::new(TestDatabase::postgres()).await;
        // Names that entries repeat are written once, in a transaction of their own: here before any fault is armed.
        let sound = scene.open(9).await;
        let named = draft(&scene.once(scene.handle()));
        sound.append(named).await.expect("the names are learned");
        sound.close().await;
        let proxy = Proxy::new(&scene.database);
        let db = Db::open(&proxy.url, Component::Node)
            .await
            .expect("the database opens");
        let faulty = scene.open_with(db, 1, safeguards).await;
        let faulty = faulty.expect("the log opens");
        Self { scene, proxy, faulty }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i1_an_outcome_nobody_told_is_read_from_the_head() {
    let wires = Wires::new().await;
    let ledger = &wires.faulty;
    let mut epoch = ledger.head().epoch;

    // Not applied: refused, and free for the next.
    let handle = wires.scene.handle();
    let attempt = ledger.attempt(wires.scene.once(handle)).unwrap();
    wires.proxy.arm([Fault::Unsent]);
    let failed = release(ledger, &attempt, payload(1), open_gate()).await;
    assert!(matches!(failed, Err(Error::Unavailable)), "{failed:?}");
    drop(attempt);
    assert_eq!(ledger.head().size, 0);

    // Applied: acknowledged, in a new epoch.
    wires.proxy.arm([Fault::Unheard]);
    let receipt = claimed(fetch(ledger, wires.scene.once(handle), payload(2)).await.unwrap());
    assert_proved(&receipt, &verifier(1));
    assert!(ledger.head().epoch > epoch);
    epoch = ledger.head().epoch;

    // The same where taking the epoch meets the same fate.
    for faults in [
        [Fault::Unheard, Fault::Unheard, Fault::Unsent],
        [Fault::Unheard, Fault::Unsent, Fault::Unheard],
    ] {
        wires.proxy.arm(faults);
        let request = wires.scene.once(wires.scene.handle());
        claimed(fetch(ledger, request, payload(1)).await.unwrap());
        assert!(ledger.head().epoch > epoch);
        epoch = ledger.head().epoch;
    }
    wires.proxy.arm([Fault::Unsent, Fault::Unheard, Fault::Unsent]);
    let request = wires.scene.once(wires.scene.handle());
    let attempt = ledger.attempt(request).unwrap();
    assert!(release(ledger, &attempt, payload(1), open_gate()).await.is_err());

    assert_eq!(events(ledger).await, [Event::Released; 3]);
    let mut raw = Raw::open(&wires.scene.database).await;
    assert_eq!(raw.count("SELECT COUNT(*) FROM claim").await, 3);
}

/// What became of it is learnt later, and shown then.
#[tokio::test(flavor = "multi_thread")]
async fn i9_an_outcome_that_stays_unknown_is_told_before_the_deadline() {
    let wires = Wires::in_service().await;
    let (ledger, hold) = (&wires.faulty, Hold::default());
    let request = wires.scene.once(wires.scene.handle());
    wires.proxy.arm([Fault::Unheard, Fault::Held(hold.clone())]);
    let attempt = ledger.attempt(request.clone()).unwrap();
    let began = SystemClock.boottime();
    let unknown = release(ledger, &attempt, payload(1), open_gate()).await;
    assert!(matches!(unknown, Err(Error::Unavailable)), "{unknown:?}");
    let waited = SystemClock.boottime().micros_since(began) / 1_000;
    assert!((500..1_500).contains(&waited), "{waited} ms");
    drop(attempt);
    assert_eq!(ledger.head().size, 0, "nothing is shown that is not known");
    hold.go.notify_one();
    until(|| ledger.head().size == 1).await;
    again(fetch(ledger, request, payload(1)).await.unwrap());
    assert_eq!(events(ledger).await, [Event::Released, Event::ReleasedAgain]);
}

#[tokio::test(flavor = "multi_thread")]
async fn i2_a_caller_that_gave_up_leaves_the_claim_alone() {
    let wires = Wires::in_service().await;
    let (ledger, hold) = (&wires.faulty, Hold::default());
    let request = wires.scene.once(wires.scene.handle());

    wires.proxy.arm([Fault::Unanswered(hold.clone())]);
    let attempt = ledger.attempt(request.clone()).unwrap();
    let late = release(ledger, &attempt, payload(1), open_gate()).await;
    assert!(matches!(late, Err(Error::Unavailable)), "{late:?}");
    drop(attempt);
    hold.go.notify_one();

    let other = fetch(ledger, wires.scene.once(request.handle), payload(1)).await;
    assert_eq!(other.unwrap_err(), Reason::TokenConsumed);
    again(fetch(ledger, request, payload(1)).await.unwrap());
    assert_eq!(events(ledger).await, [Event::Released, Event::ReleasedAgain]);
}

#[tokio::test(flavor = "multi_thread")]
async fn i9_a_batch_that_is_not_answered_is_told_to_probes_until_it_ends() {
    let wires = Wires::in_service().await;
    let ledger = &wires.faulty;
    let request = wires.scene.once(wires.scene.handle());
    for fault in [Fault::Held as fn(Hold) -> Fault, Fault::Unanswered] {
        let hold = Hold::default();
        wires.proxy.arm([fault(hold.clone())]);
        let attempt = ledger.attempt(request.clone()).unwrap();
        let waits = async {
            hold.reached.notified().await;
            assert_eq!(ledger.writable(), Ok(()), "what was just sent is not late");
        };
        let (late, ()) = tokio::join!(release(ledger, &attempt, payload(1), open_gate()), waits);
        assert!(matches!(late, Err(Error::Unavailable)), "{late:?}");
        until(|| !ledger.is_writable()).await;
        assert!(ledger.writable().unwrap_err().contains("has not answered"));
        hold.go.notify_one();
        until(|| ledger.is_writable()).await;
        drop(attempt);
        again(fetch(ledger, request.clone(), payload(1)).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_replica_blocks_only_its_own_handle() {
    let wires = Wires::new().await;
    let sound = wires.scene.open(2).await;
    let (handle, hold) = (wires.scene.handle(), Hold::default());
    // Uses of a standing handle are written claim by claim, under locks.
    let use_of = |handle| wires.scene.standing(handle, Some(1), None);
    let direct = async || {
        let attempt = sound.attempt(use_of(handle)).unwrap();
        refused(release(&sound, &attempt, payload(1), open_gate()).await.unwrap())
    };

    // The first replica is stuck before its commit, the handle's lock in its hands.
    wires.proxy.arm([Fault::Held(hold.clone())]);
    let attempt = wires.faulty.attempt(use_of(handle)).unwrap();
    let stuck = release(&wires.faulty, &attempt, payload(1), open_gate());
    let others = async {
        hold.reached.notified().await;
        let (reason, receipt) = direct().await;
        assert_eq!(reason, Reason::InProgress);
        assert_eq!(receipt.entry().outcome, Some(Outcome::Later));
        // Everything else goes on, entries about the same handle included.
        sound.append(draft(&wires.scene.once(handle))).await.unwrap();
        let other = wires.scene.once(wires.scene.handle());
        claimed(fetch(&sound, other, payload(1)).await.unwrap());
        hold.go.notify_one();
    };
    let (stuck, ()) = tokio::join!(stuck, others);
    claimed(stuck.unwrap());
    assert_eq!(direct().await.0, Reason::TokenConsumed);
}

#[tokio::test(flavor = "multi_thread")]
async fn i7_a_process_frozen_before_its_commit_writes_nothing_once_replaced() {
    let wires = Wires::in_service().await;
    let request = wires.scene.standing(wires.scene.handle(), None, None);
    frozen_before_its_commit(&wires, request).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i7_a_process_frozen_before_a_batch_at_once_writes_nothing_once_replaced() {
    let wires = Wires::in_service().await;
    let request = wires.scene.once(wires.scene.handle());
    frozen_before_its_commit(&wires, request).await;
}

async fn frozen_before_its_commit(wires: &Wires, request: ClaimRequest) {
    let hold = Hold::default();
    wires.proxy.arm([Fault::Held(hold.clone())]);
    let attempt = wires.faulty.attempt(request).unwrap();
    let frozen = release(&wires.faulty, &attempt, payload(1), open_gate());
    let replaced = async {
        hold.reached.notified().await;
        // The server ends a transaction that is idle for 2 s; until then the row may be locked.
        let new = wires.scene.open(1).await;
        claimed(
            fetch(&new, wires.scene.once(wires.scene.handle()), payload(1))
                .await
                .unwrap(),
        );
        new
    };
    let (frozen, new) = tokio::join!(frozen, replaced);
    assert!(frozen.is_err(), "{frozen:?}");
    hold.go.notify_one();

    let fenced = wires.faulty.observe(crate::scene::VIEW).await;
    assert!(matches!(fenced, Err(Error::Fenced)), "{fenced:?}");
    assert_eq!(events(&new).await, [Event::Released]);
}
