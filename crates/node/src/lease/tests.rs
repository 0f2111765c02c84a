use std::sync::atomic::{AtomicI64, Ordering};

use futures_util::FutureExt as _;
use unefois_core::revocation::{Extent, Record, RecordPlace, Withdrawal, chain};
use unefois_core::{Handle, Sha256};
use unefois_jose::SigningKey;

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
        let message = self.message(extent, withdrawn);
        self.lease.apply_message(&message)
    }

    /// What the authority says next.
    fn message(&mut self, extent: Extent, withdrawn: Vec<Withdrawal>) -> SignedRecords {
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
        SignedRecords {
            extent,
            from,
            head: self.head,
            records,
        }
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

/// A record may be missing: what is not applied closes the lease at once, whatever the clock says.
#[test]
fn a_gap_closes_the_lease_until_it_is_resynced() {
    let mut scene = Scene::new(NONE, false);
    scene.open();
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
    assert_eq!(scene.lease.fresh(), Err(Reason::RevocationStateStale));
    assert_eq!(scene.lease.due(), Due::Lapsed);
    assert_eq!(
        scene.lease.ping(2, LEASE_MS),
        None,
        "not before `lapsed` is durable"
    );

    scene.head = before;
    scene.lease.lapse_recorded();
    scene.apply(Extent::Snapshot, vec![]).expect("the same history");
    assert_eq!(scene.renew(3), Ok(true));
    scene.lease.resumed();
    assert!(scene.lease.fresh().is_ok());
}

#[test]
fn an_authority_of_an_older_epoch_is_refused() {
    let mut scene = Scene::new(NONE, false);
    scene.head.epoch = 2;
    scene.apply(Extent::Batch, vec![]).expect("the next epoch");
    scene.open();
    let older = Head {
        epoch: 1,
        ..scene.head
    };
    scene.lease.ping(2, LEASE_MS).expect("a ping leaves");
    let answered = scene.lease.pong(2, older, scene.time.now(), LEASE_MS);
    assert_eq!(answered, Err(NotApplied::Behind));
    assert_eq!(scene.lease.fresh(), Err(Reason::RevocationStateStale));
    scene.head = older;
    for extent in [Extent::Snapshot, Extent::Batch] {
        let refused = scene.apply(extent, vec![]);
        assert_eq!(
            refused,
            Err(NotApplied::Order(
                unefois_core::revocation::CannotApply::OlderEpoch
            ))
        );
    }
}

#[test]
fn a_later_start_refuses_an_answer_below_what_an_earlier_one_knew() {
    let floor = RevocationView { epoch: 1, seq: 1 };
    let time = Arc::new(Time(AtomicI64::new(0)));
    let mut scene = Scene {
        lease: Lease::new(Arc::clone(&time) as Arc<dyn Clock>, floor, true),
        time,
        head: Head {
            epoch: 1,
            ..Head::empty()
        },
    };
    let below = scene.head;
    let withdrawn = vec![Withdrawal::Grant(Handle::from_bytes([1; 16]))];
    scene
        .apply(Extent::Snapshot, withdrawn)
        .expect("all that was known");
    scene.lease.ping(1, LEASE_MS).expect("a ping leaves");
    let answered = scene.lease.pong(1, below, scene.time.now(), LEASE_MS);
    assert_eq!(answered, Err(NotApplied::Behind));
    assert_eq!(scene.lease.fresh(), Err(Reason::RevocationStateStale));
}

/// A token minted under `rvk`.
fn token(rvk: RevocationView) -> AccessTokenClaims {
    let (id, digest) = ("urn:unefois:participant:18003506500010", "A".repeat(43));
    let claims = serde_json::json!({
        "iss": "https://autorite.example", "aud": id, "sub": "pairwise", "client_id": id, "iat": 0, "nbf": 0, "exp": 60,
        "jti": "j", "acr": "eidas1", "auth_time": 0, "idp_iss": "https://fc.example", "cnf": {"x5t#S256": digest},
        "gh": "A".repeat(22), "authorization_details": [{
            "type": "urn:unefois:justificatif:1", "datatypes": ["cnaf/quotient-familial@1"],
            "units": [{"unit": "valeur", "need": "required"}], "locations": [id], "actions": ["fetch"],
            "demarche": "cantine", "habilitation": "DP-1", "dossier_ref": "2026-0412", "legal_basis": "CRPA-L114-8-I",
            "mode": {"kind": "once"}, "use": "store", "data_life_days": 365, "subject": {"kind": "self"}
        }],
        "capacity": "self", "pivot_hash": digest, "gs": digest, "rvk": {"e": rvk.epoch, "s": rvk.seq}
    });
    serde_json::from_value(claims).expect("claims")
}

fn kid() -> Thumbprint {
    let key = SigningKey::generate(unefois_mesh::SystemRandom::new().ring()).expect("a key");
    *key.thumbprint()
}

/// What the sequencer asks for each release: the third leaf is written wherever this is not open.
#[test]
fn i3_no_release_between_a_lapse_and_its_resumption() {
    let scene = Scene::new(NONE, false);
    scene.open();
    let (lease, time, head) = (Arc::new(scene.lease), scene.time, scene.head);
    let gate = lease.gate(token(NONE), &kid());
    let closed = GateState::Closed(Reason::RevocationStateStale, head.view());
    assert_eq!(gate(), GateState::Open(head.view()));
    // Nobody has looked at the clock yet.
    time.forward_ms(LEASE_MS.into());
    assert_eq!(gate(), closed);
    lease.lapse_recorded();
    assert_eq!(gate(), closed, "`lapsed` is durable");
    lease.ping(2, LEASE_MS).expect("a ping leaves");
    assert_eq!(lease.pong(2, head, time.now(), LEASE_MS), Ok(true));
    assert_eq!(gate(), closed, "fresh, and `resumed` is not durable");
    lease.resumed();
    assert_eq!(gate(), GateState::Open(head.view()));
}

/// The token itself holds a little longer: its time is in whole seconds, and read with a leeway.
#[test]
fn no_release_from_the_end_that_the_person_chose_by_the_authoritys_clock() {
    let scene = Scene::new(NONE, false);
    // The node's own clock does not matter.
    let server = Micros::new(1_900_000_000_000_000);
    scene.lease.ping(1, LEASE_MS).expect("a ping leaves");
    let opened = scene.lease.pong(1, scene.head, server, LEASE_MS);
    assert_eq!(opened, Ok(true));
    scene.lease.resumed();
    let (lease, view) = (Arc::new(scene.lease), scene.head.view());
    let mut token = token(NONE);
    token.authorization_details[0].mode.until = Some(server.plus_ms(10));
    let gate = lease.gate(token, &kid());
    scene.time.forward_ms(9);
    assert_eq!(gate(), GateState::Open(view));
    scene.time.forward_ms(1);
    assert_eq!(gate(), GateState::Closed(Reason::GrantRevoked, view));
}

/// Whoever stole a key writes the `rvk` of what it signs.
#[test]
fn i3_no_token_of_a_withdrawn_key_whatever_it_says_of_its_minting() {
    let mut scene = Scene::new(NONE, false);
    let (stolen, other) = (kid(), kid());
    let withdrawn = vec![Withdrawal::SigningKey(stolen.to_string())];
    scene.apply(Extent::Batch, withdrawn).expect("a batch");
    scene.open();
    let (lease, view) = (Arc::new(scene.lease), scene.head.view());
    let said = |kid| lease.gate(token(view), kid)();
    assert_eq!(said(&stolen), GateState::Closed(Reason::GrantRevoked, view));
    assert_eq!(said(&other), GateState::Open(view));
}

#[tokio::test]
async fn a_token_ahead_of_the_view_waits_for_it_and_is_refused_as_stale() {
    let mut scene = Scene::new(NONE, false);
    scene.open();
    let (kid, token) = (kid(), token(RevocationView { epoch: 1, seq: 1 }));
    let before = tokio::time::Instant::now();
    let refused = scene.lease.admits(&token, &kid).await;
    assert_eq!(refused, Err(Reason::RevocationStateStale));
    assert!(before.elapsed() >= CATCH_UP);

    let withdrawn = vec![Withdrawal::Grant(Handle::from_bytes([1; 16]))];
    let message = scene.message(Extent::Batch, withdrawn);
    let record = async { scene.lease.apply_message(&message) };
    let (admitted, applied) = tokio::join!(biased; scene.lease.admits(&token, &kid), record);
    assert_eq!((admitted, applied), (Ok(message.head.view()), Ok(())));
}

/// Whoever writes lapses is told when one is due, and at once where the lease is closed before its time.
#[tokio::test]
async fn a_lapse_is_looked_for_when_it_is_due() {
    const AT_MOST: Duration = Duration::from_secs(60);
    let scene = Scene::new(NONE, false);
    scene.open();
    let told = async |what| {
        let told = scene.lease.may_have_lapsed(AT_MOST);
        tokio::time::timeout(AT_MOST / 6, told).await.expect(what);
    };
    scene.time.forward_ms(950);
    let before = tokio::time::Instant::now();
    told("it is due in 50 ms").await;
    assert!(before.elapsed() >= Duration::from_millis(50));

    let gap = async {
        let ahead = Head { seq: 1, ..scene.head };
        assert_eq!(
            scene.lease.pong(9, ahead, scene.time.now(), LEASE_MS),
            Err(NotApplied::Gap)
        );
    };
    scene.time.forward_ms(-900);
    tokio::join!(biased; told("it was closed"), gap);
    assert_eq!(scene.lease.due(), Due::Lapsed);
    told("it is not recorded yet").await;
    scene.lease.lapse_recorded();
    assert!(scene.lease.may_have_lapsed(AT_MOST).now_or_never().is_none());
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
