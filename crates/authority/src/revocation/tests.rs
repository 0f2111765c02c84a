//! Writers that go away, and commits whose outcome nobody told.

use std::path::PathBuf;

use unefois_core::{Acr, Capacity, Sha256};
use unefois_jose::{Pkcs8, SystemRandom};
use unefois_mesh::SystemClock;
use unefois_store::Component;
use unefois_store::authority::grant::{Element, Grant, grant_at_head, grant_insert};
use unefois_store::authority::narrow::Narrowing;
use unefois_store::authority::restored::standing_read;
use unefois_store::authority::{GrantId, PersonUid, person};

use self::proxy::{Fault, Hold, Proxy};
use super::*;
use crate::database::TestDatabase;
use crate::keys::KeyFiles;
use crate::{both_databases, database};

mod failover;
#[path = "../../../../tests/kit/proxy.rs"]
mod proxy;

both_databases![
    i3_what_was_committed_and_not_announced_is_announced,
    i3_a_database_that_lost_records_is_left,
    a_start_keeps_what_looks_old_and_signs_it_once,
];

const GRANT: GrantId = GrantId::from_bytes([1; 16]);

fn handle(n: u8) -> Handle {
    Handle::from_bytes([n; 16])
}

fn keys() -> Keys {
    #[expect(clippy::disallowed_methods, reason = "keys of a test")]
    let ring = SystemRandom::new();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let pem = Pkcs8::generate(&ring).unwrap().to_pem();
    let files = KeyFiles {
        token_next: None,
        withdrawal_next: None,
        token: file("token", pem.as_bytes()),
        withdrawal: file("withdrawal", pem.as_bytes()),
        subject: file("subject", &[1; 32]),
        storage: file("storage", &[2; 32]),
        node: file("node", &[3; 32]),
        pivot: Vec::new(),
    };
    Keys::load(&files, &ring).unwrap()
}

/// The log, in a database with one grant of the handles 1 to 9.
pub(super) async fn open(url: &str) -> Arc<Revocation> {
    let db = Db::open(url, Component::Authority).await.unwrap();
    let mut tx = db.begin().await.unwrap();
    let person = PersonUid::from_bytes([1; 16]);
    person::person_insert(&mut tx, &person, Micros::new(0))
        .await
        .unwrap();
    let grant = Grant {
        id: GRANT,
        person,
        client: "urn:unefois:participant:21920023500014".parse().unwrap(),
        act_client: None,
        capacity: Capacity::SelfPerson,
        acr: Acr::Eidas1,
        auth_time: 1,
        idp_iss: "https://fc.example".to_owned(),
        pivot_digest: Sha256::of(b"pivot"),
        subject_unbound: None,
        demarche: None,
        proactive: false,
        by: None,
        granted_at: Micros::new(0),
        ends_at: Micros::new(1),
    };
    let elements = (1..=9).map(|n| Element {
        handle: handle(n),
        details: "{}".to_owned(),
        left_out: Vec::new(),
        withdrawn: None,
        followed_by: None,
    });
    grant_insert(&mut tx, &grant, &elements.collect::<Vec<_>>())
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let clock = Arc::new(SystemClock);
    let revocation =
        Revocation::start(db, clock, Arc::new(keys()), TaskTracker::new(), Arc::new(Always)).await;
    Arc::new(revocation.unwrap())
}

fn nothing_left(n: u8) -> Vec<Narrowing> {
    let (old, next) = (handle(n), None);
    vec![Narrowing { old, next }]
}

/// A directory that never changes: leases of a second, and the key `listed`.
struct Always;

impl InForce for Always {
    fn lease_ms(&self) -> u32 {
        1_000
    }

    fn lists(&self, kid: &str) -> bool {
        kid == "listed"
    }

    fn withdrawal_kids(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Withdraws one handle; whether this call did it.
async fn withdraw(revocation: &Arc<Revocation>, n: u8) -> Result<bool, Error> {
    let done = revocation.narrow(nothing_left(n), SystemClock.now()).await?;
    Ok(done == [handle(n)])
}

/// What is announced is what the database holds, without a hole.
async fn assert_announced(revocation: &Revocation, seq: u64) {
    let mut tx = revocation.db.begin().await.unwrap();
    let (head, records) = store::log(&mut tx, 0, u64::MAX).await.unwrap();
    assert_eq!((head.seq, records.len() as u64), (seq, seq));
    let snapshot = revocation.state().log.snapshot();
    assert_eq!((snapshot.head, snapshot.records), (head, records));
    assert_eq!(*revocation.head.borrow(), head);
}

async fn i3_what_was_committed_and_not_announced_is_announced(database: TestDatabase) {
    let revocation = open(database.url()).await;
    // What a writer leaves that dies between its commit and its announcement.
    let behind = async |n| {
        let mut tx = revocation.db.begin().await.unwrap();
        let handles = [(handle(n), WithdrawnBy::Person)];
        let done = store::withdraw(&mut tx, revocation.epoch, &handles, SystemClock.now()).await;
        done.unwrap().unwrap();
        tx.commit().await.unwrap();
    };
    behind(1).await;
    assert!(revocation.heartbeat().await.unwrap());
    assert_announced(&revocation, 1).await;

    // The next withdrawal leaves no hole either, and asking again for the same finds it announced.
    behind(2).await;
    assert!(withdraw(&revocation, 3).await.unwrap());
    assert_announced(&revocation, 3).await;
    behind(4).await;
    assert!(!withdraw(&revocation, 4).await.unwrap());
    assert_announced(&revocation, 4).await;
}

async fn a_start_keeps_what_looks_old_and_signs_it_once(database: TestDatabase) {
    let revocation = open(database.url()).await;
    let two_hours_ago = SystemClock.now().plus_ms(-log::KEPT_MS - 1);
    for (n, at) in [(1, two_hours_ago), (2, two_hours_ago), (3, SystemClock.now())] {
        let done = revocation.narrow(nothing_left(n), at).await;
        done.unwrap();
    }
    let (clock, keys, tasks) = (Arc::new(SystemClock), Arc::new(keys()), TaskTracker::new());
    let next = Revocation::start(revocation.db.clone(), clock, keys, tasks, Arc::new(Always))
        .await
        .unwrap();
    for revocation in [&*revocation, &next] {
        let snapshot = revocation.state().log.snapshot();
        let places = snapshot.records.iter().map(|record| record.place.seq);
        assert_eq!(
            (snapshot.from.seq, places.collect::<Vec<_>>()),
            (0, vec![1, 2, 3])
        );
    }
    assert_eq!(next.view(), RevocationView { epoch: 2, seq: 3 });

    let (head, text) = next.snapshot().await.unwrap();
    let (same, again) = next.snapshot().await.unwrap();
    assert!(head == same && Arc::ptr_eq(&text, &again), "signed once");
    let next = Arc::new(next);
    assert!(withdraw(&next, 4).await.unwrap());
    assert_ne!(
        next.snapshot().await.unwrap().1,
        text,
        "and again for another head"
    );
}

async fn i3_a_database_that_lost_records_is_left(database: TestDatabase) {
    let revocation = open(database.url()).await;
    assert!(withdraw(&revocation, 1).await.unwrap());
    // A backup of before is put in its place: here, the announcement that it does not know.
    let ahead = Record {
        place: unefois_core::revocation::RecordPlace {
            epoch: revocation.epoch,
            seq: 2,
        },
        withdrawal: Withdrawal::Grant(handle(2)),
        at: SystemClock.now(),
    };
    let head = revocation.state().log.head();
    let lost = head.after(&ahead);
    assert!(revocation.publish(&[ahead], lost));
    assert!(matches!(revocation.heartbeat().await, Err(Error::Superseded)));
    assert!(matches!(revocation.epoch(), Err(Error::Superseded)));
    // The next start knows that it has to ask.
    let mark = standing_read(&revocation.db).await.unwrap();
    assert_eq!(mark.unwrap().view, RevocationView { epoch: 1, seq: 1 });
    tokio::time::timeout(Duration::from_secs(5), revocation.relearnt())
        .await
        .expect("it makes room for it");
    assert!(!revocation.is_fresh());
}

#[tokio::test(flavor = "multi_thread")]
async fn i3_a_withdrawal_goes_on_when_whoever_asked_has_left() {
    let database = TestDatabase::postgres();
    let proxy = Proxy::new(&database);
    let revocation = open(&proxy.url).await;
    let mut told = revocation.head.subscribe();
    for (seq, fault) in [(1, Fault::Held as fn(Hold) -> Fault), (2, Fault::Unanswered)] {
        let hold = Hold::default();
        proxy.arm([fault(hold.clone())]);
        let n = u8::try_from(seq).unwrap();
        tokio::select! {
            _ = withdraw(&revocation, n) => panic!("the commit is held"),
            // The connection is closed, or the deadline has passed: whoever waited is dropped.
            () = hold.reached.notified() => {}
        }
        hold.go.notify_one();
        let announced = told.wait_for(|head| head.seq == seq);
        tokio::time::timeout(Duration::from_secs(10), announced)
            .await
            .expect("announced in time")
            .unwrap();
        assert_announced(&revocation, seq).await;
        assert!(!withdraw(&revocation, n).await.unwrap(), "it was withdrawn");
    }
    assert!(withdraw(&revocation, 3).await.unwrap());
    assert_announced(&revocation, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i3_a_commit_that_nobody_answered_is_announced_if_it_was_applied() {
    let database = TestDatabase::postgres();
    let proxy = Proxy::new(&database);
    let revocation = open(&proxy.url).await;

    // Not applied: an error, and nothing is withdrawn.
    proxy.arm([Fault::Unsent]);
    assert!(matches!(withdraw(&revocation, 1).await, Err(Error::Store(_))));
    assert_announced(&revocation, 0).await;
    let (row, _) = grant_at_head(&revocation.db, &GRANT).await.unwrap().unwrap();
    assert!(row.elements.iter().all(|element| element.withdrawn.is_none()));

    // Applied: it is a withdrawal like any other.
    proxy.arm([Fault::Unheard]);
    assert!(withdraw(&revocation, 1).await.unwrap());
    assert_announced(&revocation, 1).await;
    assert!(withdraw(&revocation, 2).await.unwrap());
    assert_announced(&revocation, 2).await;
    assert!(revocation.heartbeat().await.unwrap());
}
