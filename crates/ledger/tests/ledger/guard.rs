//! A database that went back: whoever holds what it lost stops the log.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::FutureExt as _;
use unefois_core::commitment::NodeKey;
use unefois_core::{Clock as _, Entry, Event, Micros};
use unefois_ledger::{Draft, Error, Head, Keys, Ledger, Safeguards, Seen, Standing};
use unefois_store::head::head_close;
use unefois_store::{Component, Db};
use unefois_tlog::{Checkpoint, Hash, SignedCheckpoint, SignerKey};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::scene::{Scene, claimed, events, fetch, key_name, open_gate, payload, release};

both_databases![
    i7_an_old_copy_is_read_only_by_its_anchor,
    i7_an_equal_size_with_another_root_is_read_only,
    i7_a_peer_that_holds_a_later_head_stops_the_log,
    i7_what_our_key_did_not_sign_stops_nothing,
    i7_what_one_log_of_a_database_lost_stops_the_others,
    i7_a_head_that_another_process_wrote_is_no_rollback,
    i7_a_database_that_goes_back_under_its_writer_stops_it,
    i7_a_wrong_anchor_refuses_the_start,
    i7_the_anchor_follows_the_head_and_no_epoch_is_taken_twice,
    i7_a_closed_log_is_not_opened_again,
    i7_evidence_is_kept_though_its_caller_left,
    i7_an_anchor_whose_disk_hangs_is_told,
    i7_a_start_that_fails_leaves_the_writer_writing,
];

fn admin() -> Draft {
    Draft::new(Entry::new(Event::Admin, Micros::new(0)))
}

async fn grow(ledger: &Ledger, entries: usize) {
    for _ in 0..entries {
        ledger.append(admin()).await.unwrap();
    }
}

/// A log of the database, guarded by the anchor of `folder`.
struct Guarded {
    scene: Scene,
    folder: tempfile::TempDir,
}

impl Guarded {
    async fn new(database: TestDatabase) -> Self {
        Self {
            scene: Scene::new(database).await,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("anchor")
    }

    fn safeguards(&self) -> Safeguards {
        Safeguards {
            anchor: Some(self.path()),
            ..Safeguards::default()
        }
    }

    async fn open(&self) -> Opened {
        self.open_in(&self.scene.database, self.safeguards()).await
    }

    /// Why the log does not open.
    async fn refused(&self, safeguards: Safeguards) -> Error {
        let db = Db::open(self.scene.database.url(), Component::Node)
            .await
            .unwrap();
        let refused = self.scene.open_with(db.clone(), 1, safeguards).await;
        db.close().await;
        refused.expect_err("the log does not open")
    }

    /// The log in `database`, under the same key.
    async fn open_in(&self, database: &TestDatabase, safeguards: Safeguards) -> Opened {
        let db = Db::open(database.url(), Component::Node).await.unwrap();
        let ledger = self.scene.open_with(db.clone(), 1, safeguards).await;
        Opened {
            ledger: ledger.expect("the log opens"),
            db,
        }
    }

    /// Three entries, a copy of the database, two more; the copy, and the last head.
    async fn went_back(&self) -> (TestDatabase, Head) {
        self.scene.db.close().await;
        let ledger = self.open().await;
        grow(&ledger, 3).await;
        shut(ledger).await;
        let copy = self.scene.database.copy();
        let ledger = self.open().await;
        grow(&ledger, 2).await;
        let head = ledger.head();
        shut(ledger).await;
        (copy, head)
    }
}

/// A log and the database that was opened for it.
struct Opened {
    ledger: Ledger,
    db: Db,
}

impl std::ops::Deref for Opened {
    type Target = Ledger;

    fn deref(&self) -> &Ledger {
        &self.ledger
    }
}

async fn shut(opened: Opened) {
    opened.ledger.close().await;
    opened.db.close().await;
}

async fn assert_read_only(scene: &Scene, ledger: &Ledger) {
    assert_eq!(ledger.standing(), Standing::RolledBack);
    assert!(!ledger.is_writable());
    let size = ledger.head().size;
    let read_only = |error: &Error| matches!(error, Error::ReadOnly(Standing::RolledBack));
    let request = scene.once(scene.handle());
    let refused = [
        ledger.append(admin()).await.expect_err("no entry"),
        ledger.observe(crate::scene::VIEW).await.expect_err("no view"),
        ledger.begin(request.clone()).await.expect_err("no attempt"),
    ];
    assert!(refused.iter().all(read_only), "{refused:?}");
    let attempt = ledger.attempt(request).unwrap();
    let refused = release(ledger, &attempt, payload(1), open_gate()).await;
    let refused = refused.expect_err("no release");
    assert!(read_only(&refused), "{refused}");
    assert_eq!(refused.reason(), unefois_core::Reason::LedgerUnavailable);
    // Reads go on.
    assert_eq!(events(ledger).await.len() as u64, size);
    ledger
        .proof(0)
        .await
        .expect("a proof")
        .verify(
            &Hash::of_leaf(&ledger.entries(0, 1).await.unwrap()[0]),
            ledger.verifier(),
        )
        .expect("it proves");
}

async fn i7_an_old_copy_is_read_only_by_its_anchor(database: TestDatabase) {
    let guarded = Guarded::new(database).await;
    let (copy, lost) = guarded.went_back().await;
    for _ in 0..2 {
        let ledger = guarded.open_in(&copy, guarded.safeguards()).await;
        assert_eq!(ledger.head().size, 3);
        assert!(ledger.head().epoch > lost.epoch);
        assert_read_only(&guarded.scene, &ledger).await;
        shut(ledger).await;
    }
    // The copy itself remembers it too.
    let ledger = guarded.open_in(&copy, Safeguards::default()).await;
    assert_read_only(&guarded.scene, &ledger).await;
    shut(ledger).await;
    // Where the right database comes back, the log goes on.
    let ledger = guarded.open().await;
    assert_eq!(
        (ledger.standing(), ledger.head().root),
        (Standing::Open, lost.root)
    );
    grow(&ledger, 1).await;
}

async fn i7_an_equal_size_with_another_root_is_read_only(database: TestDatabase) {
    let guarded = Guarded::new(database).await;
    let (copy, _) = guarded.went_back().await;
    let forked = guarded.open_in(&copy, Safeguards::default()).await;
    guarded.scene.clock.forward_ms(1_000);
    grow(&forked, 2).await;
    shut(forked).await;
    let forked = guarded.open_in(&copy, guarded.safeguards()).await;
    assert_eq!(forked.head().size, 5);
    assert_read_only(&guarded.scene, &forked).await;
    shut(forked).await;
    // A longer one hides nothing.
    let forked = guarded.open_in(&copy, Safeguards::default()).await;
    assert_read_only(&guarded.scene, &forked).await;
}

async fn i7_a_peer_that_holds_a_later_head_stops_the_log(database: TestDatabase) {
    let guarded = Guarded::new(database).await;
    let (copy, lost) = guarded.went_back().await;
    std::fs::remove_file(guarded.path()).unwrap();
    let ledger = guarded.open_in(&copy, guarded.safeguards()).await;
    assert_eq!(ledger.standing(), Standing::Open);
    let earlier = ledger.checkpoint(2).await.unwrap();
    for known in [&earlier, &ledger.head().checkpoint] {
        assert_eq!(ledger.seen(known, "a peer").await.unwrap(), Seen::Continued);
    }
    let handle = guarded.scene.handle();
    let begun = ledger.attempt(guarded.scene.once(handle)).unwrap();
    assert_eq!(
        ledger.seen(&lost.checkpoint, "a peer").await.unwrap(),
        Seen::Contradicted
    );
    let refused = release(&ledger, &begun, payload(1), open_gate()).await;
    assert!(matches!(refused, Err(Error::ReadOnly(_))), "{refused:?}");
    drop(begun);
    assert_read_only(&guarded.scene, &ledger).await;
    shut(ledger).await;

    // Both the database and the anchor remember it.
    let ledger = guarded.open_in(&copy, Safeguards::default()).await;
    assert_read_only(&guarded.scene, &ledger).await;
    shut(ledger).await;
    let text = std::fs::read_to_string(guarded.path()).unwrap();
    assert!(text.ends_with(lost.checkpoint.as_str()), "{text}");
}

async fn i7_what_our_key_did_not_sign_stops_nothing(database: TestDatabase) {
    let guarded = Guarded::new(database).await;
    let ledger = guarded.scene.open(1).await;
    grow(&ledger, 1).await;
    let forged = |name: &str, seed: u8| -> SignedCheckpoint {
        let signer = SignerKey::new(name.parse().unwrap(), &[seed; 32]);
        let checkpoint = Checkpoint::new(name.parse().unwrap(), 99, Hash::of_leaf(b"x"));
        checkpoint.unwrap().sign(&signer).unwrap()
    };
    for lie in [forged(key_name(1).as_str(), 8), forged(key_name(2).as_str(), 1)] {
        let refused = ledger.seen(&lie, "a liar").await;
        assert!(matches!(refused, Err(Error::Proof(_))), "{refused:?}");
    }
    assert_eq!(ledger.standing(), Standing::Open);
    grow(&ledger, 1).await;
}

async fn i7_what_one_log_of_a_database_lost_stops_the_others(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let (one, two) = (scene.open(1).await, scene.open(2).await);
    grow(&one, 2).await;
    grow(&two, 2).await;
    one.close().await;
    two.close().await;
    scene.db.close().await;
    let copy = scene.database.copy();
    let scene = Scene {
        db: Db::open(scene.database.url(), Component::Node).await.unwrap(),
        ..scene
    };
    let one = scene.open(1).await;
    grow(&one, 1).await;
    let (lost, known) = (one.head().checkpoint, one.checkpoint(2).await.unwrap());

    let back = Db::open(copy.url(), Component::Node).await.unwrap();
    let two = scene.open_on(back.clone(), 2).await.unwrap();
    let key = one.verifier();
    assert_eq!(
        two.seen_beside(key, &known, "a peer").await.unwrap(),
        Seen::Continued
    );
    let elsewhere = SignerKey::new(key_name(3), &[3; 32]);
    let foreign = Checkpoint::new(key_name(3).as_str().parse().unwrap(), 9, Hash::of_leaf(b"x"));
    let foreign = foreign.unwrap().sign(&elsewhere).unwrap();
    let seen = two.seen_beside(elsewhere.verifier(), &foreign, "a peer").await;
    assert_eq!(seen.unwrap(), Seen::Continued, "a log that is kept elsewhere");
    assert_eq!(two.standing(), Standing::Open);
    assert_eq!(
        two.seen_beside(key, &lost, "a peer").await.unwrap(),
        Seen::Contradicted
    );
    assert_read_only(&scene, &two).await;
    two.close().await;
    let two = scene.open_on(back.clone(), 2).await.unwrap();
    assert_read_only(&scene, &two).await;
    two.close().await;

    // Once the log that lost is closed, the others go on.
    let mut tx = back.begin().await.unwrap();
    let closed = head_close(&mut tx, one.origin().as_str(), scene.clock.now()).await;
    assert!(closed.unwrap());
    tx.commit().await.unwrap();
    let two = scene.open_on(back, 2).await.unwrap();
    assert_eq!(two.standing(), Standing::Open);
    grow(&two, 1).await;
}

async fn i7_a_head_that_another_process_wrote_is_no_rollback(database: TestDatabase) {
    let guarded = Guarded::new(database).await;
    let old = guarded.scene.open(1).await;
    grow(&old, 1).await;
    let new = guarded.scene.open(1).await;
    grow(&new, 3).await;
    let seen = old.seen(&new.head().checkpoint, "a peer").await;
    assert_eq!(seen.unwrap(), Seen::Continued);
    assert!(matches!(old.append(admin()).await, Err(Error::Fenced)));
    assert_eq!(old.standing(), Standing::Fenced);
    grow(&new, 1).await;
    new.close().await;
    assert_eq!(guarded.scene.open(1).await.standing(), Standing::Open);
}

async fn i7_a_database_that_goes_back_under_its_writer_stops_it(database: TestDatabase) {
    let guarded = Guarded::new(database).await;
    let ledger = guarded.scene.open(1).await;
    grow(&ledger, 1).await;
    let mut raw = crate::raw::Raw::open(&guarded.scene.database).await;
    let earlier = ledger.head();
    grow(&ledger, 1).await;
    // What a failover leaves that lost the last commit.
    raw.execute("DELETE FROM ledger_entry WHERE idx = 1").await;
    raw.set_head(&earlier).await;
    ledger
        .append(admin())
        .await
        .expect_err("it is not what was written");
    assert_ne!(ledger.standing(), Standing::Open);
    ledger.close().await;
    let ledger = guarded.scene.open(1).await;
    assert_eq!(ledger.head().size, 1);
    assert_read_only(&guarded.scene, &ledger).await;
}

async fn i7_a_wrong_anchor_refuses_the_start(database: TestDatabase) {
    let guarded = Guarded::new(database).await;
    guarded.scene.db.close().await;
    let ledger = guarded.open().await;
    grow(&ledger, 1).await;
    shut(ledger).await;
    let right = std::fs::read(guarded.path()).unwrap();
    let refused = async |safeguards: Safeguards| {
        let error = guarded.refused(safeguards).await;
        assert!(matches!(error, Error::Anchor(_)), "{error}");
        error.to_string()
    };
    for garbage in [&right[..right.len() / 2], b"garbage"] {
        std::fs::write(guarded.path(), garbage).unwrap();
        assert!(refused(guarded.safeguards()).await.contains("it is no anchor"));
    }
    std::fs::remove_file(guarded.path()).unwrap();
    let other = Scene::new(TestDatabase::sqlite()).await;
    let foreign = other.open_with(other.db.clone(), 2, guarded.safeguards()).await;
    foreign.unwrap().close().await;
    assert!(
        refused(guarded.safeguards())
            .await
            .contains("it is of another log")
    );

    std::fs::remove_file(guarded.path()).unwrap();
    std::fs::create_dir(guarded.path()).unwrap();
    refused(guarded.safeguards()).await;
    std::fs::remove_dir(guarded.path()).unwrap();
    let nowhere = Safeguards {
        anchor: Some(Path::new("/nowhere/anchor").to_owned()),
        ..Safeguards::default()
    };
    assert!(refused(nowhere).await.contains("it cannot be written"));

    std::fs::write(guarded.path(), right).unwrap();
    assert_eq!(guarded.open().await.standing(), Standing::Open);
}

async fn i7_the_anchor_follows_the_head_and_no_epoch_is_taken_twice(database: TestDatabase) {
    let guarded = Guarded::new(database).await;
    guarded.scene.db.close().await;
    let ledger = guarded.open().await;
    let copied_at = ledger.head().epoch;
    claimed(
        fetch(&ledger, guarded.scene.once(guarded.scene.handle()), payload(1))
            .await
            .unwrap(),
    );
    let text = || std::fs::read_to_string(guarded.path()).unwrap();
    let mut look = tokio::time::interval(std::time::Duration::from_millis(20));
    let followed = async {
        while !text().ends_with(ledger.head().checkpoint.as_str()) {
            look.tick().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), followed)
        .await
        .expect("within a second or so");
    assert!(ledger.anchored().is_ok());
    shut(ledger).await;
    let copy = guarded.scene.database.copy();
    for _ in 0..3 {
        shut(guarded.open().await).await;
    }
    // No entry is lost in the copy, but three epochs are.
    let ledger = guarded.open_in(&copy, guarded.safeguards()).await;
    assert_eq!(ledger.standing(), Standing::Open);
    assert_eq!(ledger.head().epoch, copied_at + 4);
}

async fn i7_evidence_is_kept_though_its_caller_left(database: TestDatabase) {
    let guarded = Guarded::new(database).await;
    guarded.scene.db.close().await;
    let ledger = guarded.open().await;
    grow(&ledger, 1).await;
    let signer = SignerKey::new(key_name(1), &[1; 32]);
    let other = Checkpoint::new(ledger.origin().clone(), 1, Hash::of_leaf(b"x")).unwrap();
    let other = other.sign(&signer).unwrap();
    // Of a recent size, so that the first poll compares; the call is dropped after it.
    let seen = ledger.seen(&other, "a peer").now_or_never();
    assert!(seen.is_none(), "it is still being kept");
    assert_eq!(ledger.standing(), Standing::RolledBack);
    // Closing waits for what is under way.
    shut(ledger).await;
    let text = std::fs::read_to_string(guarded.path()).unwrap();
    assert!(text.ends_with(other.as_str()), "{text}");
    let ledger = guarded
        .open_in(&guarded.scene.database, Safeguards::default())
        .await;
    assert_read_only(&guarded.scene, &ledger).await;
    shut(ledger).await;
}

/// A pipe in the place of the file that is written: opening it hangs, as a disk does that does not answer.
struct Hung(PathBuf);

impl Hung {
    fn new(path: PathBuf) -> Self {
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        Self(path)
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        let opened = std::fs::File::options().read(true).write(true).open(&self.0);
        let _gone = std::fs::remove_file(&self.0);
        drop(opened);
    }
}

async fn i7_an_anchor_whose_disk_hangs_is_told(database: TestDatabase) {
    let guarded = Guarded::new(database).await;
    guarded.scene.db.close().await;
    let ledger = guarded.open().await;
    let hung = Hung::new(guarded.folder.path().join("anchor.next"));
    grow(&ledger, 1).await;
    let mut look = tokio::time::interval(std::time::Duration::from_millis(20));
    let told = async {
        while ledger.anchored().is_ok() {
            guarded.scene.clock.forward_ms(1_000);
            look.tick().await;
        }
        ledger.anchored().unwrap_err()
    };
    let told = tokio::time::timeout(std::time::Duration::from_secs(10), told).await;
    assert!(told.expect("it is told").contains("does not end"));
    // Entries do not wait for it, and neither does the end.
    grow(&ledger, 1).await;
    tokio::time::timeout(std::time::Duration::from_secs(30), shut(ledger))
        .await
        .expect("it closes");
    drop(hung);
}

async fn i7_a_start_that_fails_leaves_the_writer_writing(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    grow(&ledger, 1).await;
    let nowhere = Safeguards {
        anchor: Some(Path::new("/nowhere/anchor").to_owned()),
        ..Safeguards::default()
    };
    let refused = scene.open_with(scene.db.clone(), 1, nowhere).await;
    assert!(matches!(refused, Err(Error::Anchor(_))), "{refused:?}");
    grow(&ledger, 1).await;
    // So does one with another key of the same name.
    let keys = Keys {
        signer: SignerKey::new(key_name(1), &[8; 32]),
        node_key: NodeKey::new(&[9; 32]),
    };
    let (clock, random) = (Arc::clone(&scene.clock), Arc::clone(&scene.random));
    let refused = Ledger::open(scene.db.clone(), keys, Safeguards::default(), clock, random).await;
    assert!(matches!(refused, Err(Error::Corrupt(_))), "{refused:?}");
    grow(&ledger, 1).await;
}

async fn i7_a_closed_log_is_not_opened_again(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    grow(&ledger, 1).await;
    let mut tx = scene.db.begin().await.unwrap();
    let origin = ledger.origin().as_str();
    assert!(!head_close(&mut tx, "nobody's", scene.clock.now()).await.unwrap());
    assert!(head_close(&mut tx, origin, scene.clock.now()).await.unwrap());
    assert!(!head_close(&mut tx, origin, scene.clock.now()).await.unwrap());
    tx.commit().await.unwrap();
    ledger
        .append(admin())
        .await
        .expect_err("its writer is fenced off");
    let before = unefois_store::head::head_read(&scene.db, origin).await.unwrap();
    let refused = scene.open_on(scene.db.clone(), 1).await;
    assert!(matches!(refused, Err(Error::Closed)), "{refused:?}");
    assert_eq!(
        unefois_store::head::head_read(&scene.db, origin).await.unwrap(),
        before
    );
    // Another log of the same database begins.
    grow(&scene.open(2).await, 1).await;
}
