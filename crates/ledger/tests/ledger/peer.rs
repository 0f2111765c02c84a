//! Each partner is a witness of the other's log.

use unefois_core::{Clock as _, Entry, Event, Micros};
use unefois_ledger::{Draft, Error, Ledger, peer_head_check};
use unefois_store::peer::peer_head;
use unefois_tlog::{Checkpoint, Hash, SignedCheckpoint, SignerKey};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::scene::{Scene, key_name, verifier};

both_databases![i7_a_peer_that_shows_two_logs_is_found];

async fn grow(ledger: &Ledger, entries: usize) {
    for _ in 0..entries {
        ledger
            .append(Draft::new(Entry::new(Event::Admin, Micros::new(0))))
            .await
            .unwrap();
    }
}

async fn i7_a_peer_that_shows_two_logs_is_found(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    let (db, key, now) = (&scene.db, verifier(1), scene.clock.now());
    let origin = ledger.origin().clone();
    let forged = |size: u64, signer: SignerKey| -> SignedCheckpoint {
        let root = Hash::of_leaf(b"another history");
        Checkpoint::new(signer.verifier().name().as_str().parse().unwrap(), size, root)
            .unwrap()
            .sign(&signer)
            .unwrap()
    };
    let own_key = || SignerKey::new(key_name(1), &[1; 32]);

    // Signed by nobody we know.
    let stranger = forged(9, SignerKey::new(key_name(1), &[8; 32]));
    let refused = peer_head_check(db, &key, None, &stranger, &[], now).await;
    assert!(matches!(refused, Err(Error::Proof(_))), "{refused:?}");
    assert_eq!(peer_head(db, origin.as_str()).await.unwrap(), None);

    grow(&ledger, 3).await;
    let first = ledger.head();
    peer_head_check(db, &key, None, &first.checkpoint, &[], now)
        .await
        .unwrap();
    let known = peer_head(db, origin.as_str()).await.unwrap().expect("kept");
    assert_eq!((known.size, known.root), (3, first.root));

    // Another root of the same size, another history, and a step back.
    for size in [3, 5] {
        let fork = peer_head_check(db, &key, Some(&known), &forged(size, own_key()), &[], now).await;
        assert!(matches!(fork, Err(Error::Forked)), "{fork:?}");
    }
    let fork = peer_head_check(db, &key, None, &forged(3, own_key()), &[], now).await;
    assert!(matches!(fork, Err(Error::Forked)), "{fork:?}");
    let earlier = ledger.checkpoint(2).await.unwrap();
    let back = peer_head_check(db, &key, Some(&known), &earlier, &[], now).await;
    assert!(matches!(back, Err(Error::Forked)), "{back:?}");

    grow(&ledger, 4).await;
    let second = ledger.head();
    let unproved = peer_head_check(db, &key, Some(&known), &second.checkpoint, &[], now).await;
    assert!(matches!(unproved, Err(Error::Forked)), "{unproved:?}");
    let proof = ledger.consistency(3, 7).await.unwrap();
    peer_head_check(db, &key, Some(&known), &second.checkpoint, &proof, now)
        .await
        .unwrap();
    let kept = peer_head(db, origin.as_str()).await.unwrap().expect("kept");
    assert_eq!(
        (kept.size, kept.checkpoint.as_str()),
        (7, second.checkpoint.as_str())
    );
}
