use std::sync::atomic::{AtomicI64, Ordering};

use unefois_core::revocation::{Extent, Record, RecordPlace, Withdrawal, chain};
use unefois_core::{Handle, Sha256};

use super::*;

const LEASE_MS: u32 = 1_000;

#[derive(Debug)]
struct Time(AtomicI64);

impl Time {
    fn forward_ms(&self, ms: i64) {
        self.0.fetch_add(ms * 1_000, Ordering::SeqCst);
    }
}

impl Clock for Time {
    fn now(&self) -> Micros {
        Micros::new(self.0.load(Ordering::SeqCst))
    }

    fn boottime(&self) -> Boot {
        Boot::new(self.0.load(Ordering::SeqCst))
    }
}

struct Scene {
    time: Arc<Time>,
    lease: Lease,
    head: Head,
}

impl Scene {
    /// A lease on which the authority's first snapshot, without a record, is applied.
    fn new(floor: RevocationView, resumes: bool) -> Self {
        let time = Arc::new(Time(AtomicI64::new(1_795_512_305_000_000)));
        let lease = Lease::new(Arc::clone(&time) as Arc<dyn Clock>, floor, resumes);
        let mut scene = Self {
            time,
            lease,
            head: Head {
                epoch: 1,
                ..Head::empty()
            },
        };
        scene.apply(Extent::Snapshot, vec![]).expect("the first snapshot");
        scene
    }

    fn apply(&mut self, extent: Extent, withdrawn: Vec<Withdrawal>) -> Result<(), NotApplied> {
        let from = self.head;
        let mut records = Vec::new();
        for withdrawal in withdrawn {
            let place = RecordPlace {
                epoch: self.head.epoch,
                seq: self.head.seq + 1,
            };
            let record = Record {
                place,
                withdrawal,
                at: Micros::new(0),
            };
            self.head = Head {
                chain: chain(&self.head.chain, &record),
                seq: place.seq,
                ..self.head
            };
            records.push(record);
        }
        let from = if extent == Extent::Snapshot {
            Head::empty()
        } else {
            from
        };
        self.lease.apply_message(&SignedRecords {
            extent,
            from,
            head: self.head,
            records,
        })
    }

    fn renew(&self, nonce: u64) -> Result<bool, NotApplied> {
        self.lease.ping(nonce, LEASE_MS).expect("a ping leaves");
        self.lease.pong(nonce, self.head, self.time.now(), LEASE_MS)
    }

    fn open(&self) {
        assert_eq!(self.renew(1), Ok(true));
        self.lease.resumed();
        assert!(self.lease.fresh().is_ok());
    }
}

const NONE: RevocationView = RevocationView::NONE;

#[test]
fn a_start_refuses_an_authority_that_is_behind_an_earlier_start() {
    let time = Arc::new(Time(AtomicI64::new(0)));
    let lease = Lease::new(time, RevocationView { epoch: 2, seq: 7 }, true);
    for head in [
        Head {
            epoch: 1,
            seq: 0,
            ..Head::empty()
        },
        Head {
            epoch: 2,
            ..Head::empty()
        },
    ] {
        let message = SignedRecords {
            extent: Extent::Snapshot,
            from: Head::empty(),
            head,
            records: vec![],
        };
        assert_eq!(lease.apply_message(&message), Err(NotApplied::Behind));
    }
}

#[test]
fn an_answer_ahead_of_what_is_applied_closes_the_lease() {
    let scene = Scene::new(NONE, false);
    scene.open();
    let ahead = Head {
        seq: 1,
        chain: Sha256::of(b"other"),
        ..scene.head
    };
    scene.lease.ping(2, LEASE_MS).expect("a ping leaves");
    assert_eq!(
        scene.lease.pong(2, ahead, scene.time.now(), LEASE_MS),
        Err(NotApplied::Gap)
    );
    assert_eq!(scene.lease.fresh(), Err(Reason::RevocationStateStale));
    // Another history of the same length.
    let forked = Head {
        chain: Sha256::of(b"other"),
        ..scene.head
    };
    assert_eq!(
        scene.lease.pong(3, forked, scene.time.now(), LEASE_MS),
        Err(NotApplied::Gap)
    );
}

#[test]
fn a_batch_that_does_not_follow_changes_nothing() {
    let mut scene = Scene::new(NONE, false);
    let before = scene.head;
    scene.head = Head {
        chain: Sha256::of(b"a record that was not sent"),
        seq: 1,
        ..scene.head
    };
    let withdrawn = vec![Withdrawal::Grant(Handle::from_bytes([1; 16]))];
    assert!(matches!(
        scene.apply(Extent::Batch, withdrawn),
        Err(NotApplied::Order(_))
    ));
    assert_eq!(scene.lease.head(), before);
}

#[test]
fn freshness_counts_from_the_ping_and_ends_without_grace() {
    let scene = Scene::new(NONE, false);
    scene.lease.ping(1, LEASE_MS).expect("a ping leaves");
    scene.time.forward_ms(900);
    assert_eq!(
        scene.lease.pong(1, scene.head, scene.time.now(), LEASE_MS),
        Ok(true)
    );
    scene.lease.resumed();
    assert!(scene.lease.fresh().is_ok());
    scene.time.forward_ms(99);
    assert!(scene.lease.fresh().is_ok());
    scene.time.forward_ms(1);
    assert_eq!(scene.lease.fresh(), Err(Reason::RevocationStateStale));
    // An answer to a ping that left too long ago does not count.
    scene.lease.lapse_recorded();
    scene.lease.ping(2, LEASE_MS).expect("a ping leaves");
    scene.time.forward_ms(1_000);
    assert_eq!(
        scene.lease.pong(2, scene.head, scene.time.now(), LEASE_MS),
        Ok(false)
    );
    assert_eq!(scene.lease.fresh(), Err(Reason::RevocationStateStale));
}

#[test]
fn a_lapse_voids_the_pings_under_way_and_holds_others_until_it_is_recorded() {
    let scene = Scene::new(NONE, false);
    scene.open();
    scene.time.forward_ms(900);
    scene.lease.ping(2, LEASE_MS).expect("a ping leaves");
    scene.time.forward_ms(200);
    assert_eq!(scene.lease.due(), Due::Lapsed);
    // It left while the lease was fresh, and would hold; but the lapse was noticed first.
    assert_eq!(
        scene.lease.pong(2, scene.head, scene.time.now(), LEASE_MS),
        Ok(false)
    );
    assert_eq!(scene.lease.ping(3, LEASE_MS), None);
    scene.lease.resumed();
    assert_eq!(scene.lease.fresh(), Err(Reason::RevocationStateStale));

    scene.lease.lapse_recorded();
    assert_eq!(scene.renew(4), Ok(true));
    assert_eq!(
        scene.lease.fresh(),
        Err(Reason::RevocationStateStale),
        "not before `resumed` is durable"
    );
    assert!(scene.lease.resumption_needed());
    scene.lease.resumed();
    assert!(scene.lease.fresh().is_ok());
}

#[test]
fn a_first_lease_needs_resumed_only_where_the_log_has_entries() {
    assert!(!Scene::new(NONE, false).lease.resumption_needed());
    assert!(Scene::new(NONE, true).lease.resumption_needed());
}

#[test]
fn the_authority_s_time_goes_on_with_ours() {
    let scene = Scene::new(NONE, false);
    assert_eq!(scene.lease.authority_time(), None);
    scene.lease.ping(1, LEASE_MS).expect("a ping leaves");
    let theirs = Micros::from_secs(1_000);
    assert_eq!(scene.lease.pong(1, scene.head, theirs, LEASE_MS), Ok(true));
    scene.time.forward_ms(250);
    assert_eq!(scene.lease.authority_time(), Some(theirs.plus_ms(250)));
}
