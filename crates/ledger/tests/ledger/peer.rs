//! Each partner is a witness of the other's log.

use unefois_core::{Clock as _, Entry, Event, Micros};
use unefois_ledger::{Draft, Error, Growth, Ledger, Witnessed, peer_head_witness};
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

    let witness = async |signed: &SignedCheckpoint, growth: Option<Growth<'_>>| {
        peer_head_witness(db, &key, signed, growth, now).await
    };
    let held = async || peer_head(db, origin.as_str()).await.unwrap();

    // Signed by nobody we know.
    let stranger = forged(9, SignerKey::new(key_name(1), &[8; 32]));
    let refused = witness(&stranger, None).await;
    assert!(matches!(refused, Err(Error::Proof(_))), "{refused:?}");
    assert_eq!(held().await, None);

    grow(&ledger, 3).await;
    let first = ledger.head();
    assert_eq!(witness(&first.checkpoint, None).await.unwrap(), Witnessed::Kept);
    let known = held().await.expect("kept");
    assert_eq!((known.size, known.root), (3, first.root));

    // Another root of the same size; another history, whatever is said to prove it.
    let fork = witness(&forged(3, own_key()), None).await.unwrap();
    assert_eq!(fork, Witnessed::Forked(known.clone()));
    let nothing = Growth {
        from: 3,
        to: 5,
        hashes: &[],
    };
    let fork = witness(&forged(5, own_key()), Some(nothing)).await.unwrap();
    assert_eq!(fork, Witnessed::Forked(known.clone()));
    let nothing = Growth {
        from: 2,
        to: 3,
        hashes: &[],
    };
    let fork = witness(&forged(2, own_key()), Some(nothing)).await.unwrap();
    assert_eq!(fork, Witnessed::Forked(known.clone()));

    // A head that nothing proves takes no place: later, earlier, or with a proof between other sizes.
    grow(&ledger, 4).await;
    let second = ledger.head();
    let earlier = ledger.checkpoint(2).await.unwrap();
    let proof = ledger.consistency(3, 7).await.unwrap();
    let growth = Growth {
        from: 3,
        to: 7,
        hashes: &proof,
    };
    let elsewhere = Some(Growth { from: 2, ..growth });
    for (signed, growth) in [
        (&*second.checkpoint, None),
        (&*second.checkpoint, elsewhere),
        (&earlier, None),
        (&forged(9, own_key()), None),
    ] {
        let unproved = witness(signed, growth).await.unwrap();
        assert_eq!(unproved, Witnessed::Unproved(known.clone()));
        assert_eq!(held().await.as_ref(), Some(&known));
    }

    assert_eq!(
        witness(&second.checkpoint, Some(growth)).await.unwrap(),
        Witnessed::Kept
    );
    let kept = held().await.expect("kept");
    assert_eq!(
        (kept.size, kept.checkpoint.as_str()),
        (7, second.checkpoint.as_str())
    );
    // An earlier head of the same history is no fork, and takes no place.
    let proof = ledger.consistency(2, 7).await.unwrap();
    let growth = Growth {
        from: 2,
        to: 7,
        hashes: &proof,
    };
    assert_eq!(witness(&earlier, Some(growth)).await.unwrap(), Witnessed::Kept);
    assert_eq!(held().await, Some(kept));
}
