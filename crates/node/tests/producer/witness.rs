//! Each partner is a witness: the answer proves that the log only grew, and what callers say of theirs is kept.

use unefois_core::directory::LogRow;
use unefois_store::peer::{peer_head, peer_receipt_exists};
use unefois_tlog::{Checkpoint, Hash, KeyName, Receipt, SignerKey, verify_consistency};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::world::{Answer, Running, World, case, consumer_id};

both_databases![i7_growth_is_proved_and_heads_are_kept];

fn head(node: &Running, answer: &Answer) -> (u64, Hash, Hash) {
    let proof: Receipt = answer.receipt.proof.parse().expect("a tlog-proof");
    let leaf = Hash::of_leaf(&answer.receipt.entry);
    let head = proof
        .verify(&leaf, node.foundation.ledger.verifier())
        .expect("the proof holds");
    (head.size, head.root, leaf)
}

async fn i7_growth_is_proved_and_heads_are_kept(database: TestDatabase) {
    let world = World::new(&[("a.yaml", &case("EXEMPLE", 200, r#"{"data":{"montant":900}}"#))]).await;
    let node = world.node(database.url()).await;
    let caller = world.caller(&node, &world.consumer);
    let request = || world.request(&world.grant("EXEMPLE", &["montant"]));
    let name: KeyName = format!("{}/1", consumer_id()).parse().expect("a name");
    let signer = SignerKey::new(name.clone(), &[7; 32]);
    let vkey = signer.verifier().to_string();
    world
        .publish(&node, |d| {
            let row = d
                .participants
                .iter_mut()
                .find(|row| row.id == consumer_id())
                .expect("the consumer");
            row.logs = vec![LogRow {
                origin: name.as_str().to_owned(),
                vkey,
            }];
        })
        .await;
    let signed = |size: u64, root: u8| {
        let origin = name.as_str().parse().expect("an origin");
        let checkpoint = Checkpoint::new(origin, size, Hash::new([root; 32])).expect("a checkpoint");
        checkpoint.sign(&signer).expect("a signature").as_str().to_owned()
    };
    let held = || async {
        peer_head(&node.foundation.db, name.as_str())
            .await
            .expect("the database reads")
    };

    let first = caller.fetch(request()).await.expect("a document");
    assert!(first.receipt.consistency.is_empty());
    let (size, root, leaf) = head(&node, &first);
    let siret = consumer_id().siret().to_string();
    let confirmed = || async {
        peer_receipt_exists(&node.foundation.db, &siret, &leaf)
            .await
            .expect("the database reads")
    };
    assert!(!confirmed().await);

    // A head that another key signed is not kept.
    let mut forged = request();
    let stranger = SignerKey::new(name.clone(), &[8; 32]);
    let origin = name.as_str().parse().expect("an origin");
    let checkpoint = Checkpoint::new(origin, 99, Hash::new([9; 32])).expect("a checkpoint");
    forged.caller_checkpoint = checkpoint
        .sign(&stranger)
        .expect("a signature")
        .as_str()
        .to_owned();
    caller.fetch(forged).await.expect("a document");
    assert_eq!(held().await, None);

    let mut second = request();
    second.known_origin = node.foundation.ledger.origin().as_str().to_owned();
    second.known_size = size;
    second.acknowledged = vec![leaf.as_bytes().to_vec()];
    second.caller_checkpoint = signed(5, 1);
    let second = caller.fetch(second).await.expect("a document");
    let (new_size, new_root, _) = head(&node, &second);
    let proof: Vec<Hash> = second
        .receipt
        .consistency
        .iter()
        .map(|hash| Hash::new(hash.as_slice().try_into().expect("32 bytes")))
        .collect();
    verify_consistency((size, &root), (new_size, &new_root), &proof).expect("the log only grew");
    assert!(confirmed().await);
    assert_eq!(held().await.map(|head| head.size), Some(5));

    // Neither an older head nor another root of the same size takes its place.
    for (size, root) in [(4, 4), (5, 2)] {
        let mut request = request();
        request.caller_checkpoint = signed(size, root);
        caller.fetch(request).await.expect("a document");
        assert_eq!(
            held().await.map(|head| (head.size, head.root)),
            Some((5, Hash::new([1; 32])))
        );
    }
    node.stop().await;
}
