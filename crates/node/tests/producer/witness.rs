//! Each partner is a witness: the answer proves that the log only grew, and what callers say of theirs is kept.

use unefois_core::directory::LogRow;
use unefois_core::{Event, Random, Reason};
use unefois_mesh::status::Refusal;
use unefois_store::peer::{peer_head, peer_receipt_exists};
use unefois_tlog::{Checkpoint, Hash, KeyName, Receipt, SignerKey, Tiles, Tree, verify_consistency};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::world::{Answer, Running, World, case, consumer_id};

both_databases![
    i7_growth_is_proved_and_a_fork_is_refused,
    a_peer_acknowledges_no_more_than_it_was_answered
];

fn head(node: &Running, answer: &Answer) -> (u64, Hash, Hash) {
    let proof: Receipt = answer.receipt.proof.parse().expect("a tlog-proof");
    let leaf = Hash::of_leaf(&answer.receipt.entry);
    let head = proof
        .verify(&leaf, node.foundation.ledger.verifier())
        .expect("the proof holds");
    (head.size, head.root, leaf)
}

async fn i7_growth_is_proved_and_a_fork_is_refused(database: TestDatabase) {
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
    // The caller's log: each entry is its index.
    let tree = |size: u8| {
        let mut tree = Tree::new();
        let leaves: Vec<Hash> = (0..size).map(|i| Hash::of_leaf(&[i])).collect();
        tree.append(&leaves).expect("a small tree");
        tree
    };
    let checkpoint = |size: u64, root: Hash| {
        let origin = name.as_str().parse().expect("an origin");
        let checkpoint = Checkpoint::new(origin, size, root).expect("a checkpoint");
        checkpoint.sign(&signer).expect("a signature").as_str().to_owned()
    };
    let signed = |size: u8| checkpoint(size.into(), tree(size).root());
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
    let made_up = Checkpoint::new(origin, 99, Hash::new([9; 32])).expect("a checkpoint");
    forged.caller_checkpoint = made_up.sign(&stranger).expect("a signature").as_str().to_owned();
    caller.fetch(forged).await.expect("a document");
    assert_eq!(held().await, None);

    let mut second = request();
    second.known_origin = node.foundation.ledger.origin().as_str().to_owned();
    second.known_size = size;
    second.acknowledged = vec![leaf.as_bytes().to_vec()];
    second.caller_checkpoint = signed(5);
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
    assert_eq!(second.receipt.caller_checkpoint, signed(5));

    // Another root of the same size is a fork: nothing leaves, and the entry commits to both heads. So is growth that
    // its proof does not prove.
    let other = Hash::new([2; 32]);
    for size in [5, 9] {
        let mut forked = request();
        forked.caller_checkpoint = checkpoint(size, other);
        if size > 5 {
            forked.caller_size = 5;
        }
        let (reason, status) = caller.refused(forked).await;
        assert_eq!(reason, Reason::InvalidRequest, "{size}");
        let fields = Refusal::of(&status).expect("a refusal").fields;
        assert_eq!(fields[0].field, "caller_checkpoint", "{size}");
        let entry = node.entries().await.pop().expect("an entry");
        assert_eq!(
            (entry.event, entry.reason, entry.evidence_commit.is_some()),
            (Event::Refused, Some(Reason::InvalidRequest), true),
            "{size}"
        );
        assert_eq!(held().await.map(|head| head.root), Some(tree(5).root()), "{size}");
    }

    // An earlier head, or a later one without its proof, takes no place; nor is it a fault: calls overtake one another.
    for shown in [signed(4), signed(9)] {
        let mut request = request();
        request.caller_checkpoint = shown;
        let answer = caller.fetch(request).await.expect("a document");
        assert_eq!(answer.receipt.caller_checkpoint, signed(5));
        assert_eq!(held().await.map(|head| head.size), Some(5));
    }
    let mut proved = request();
    proved.caller_checkpoint = signed(9);
    proved.caller_size = 5;
    let proof = tree(9).consistency_proof(5, 9, &Tiles::new()).expect("a proof");
    proved.caller_consistency = proof.iter().map(|hash| hash.as_bytes().to_vec()).collect();
    let answer = caller.fetch(proved).await.expect("a document");
    assert_eq!(answer.receipt.caller_checkpoint, signed(9));
    assert_eq!(held().await.map(|head| head.size), Some(9));
    node.stop().await;
}

/// Hashes that a peer makes up are rows of ours: they have a bound, and a true one comes after them still.
async fn a_peer_acknowledges_no_more_than_it_was_answered(database: TestDatabase) {
    let world = World::new(&[("a.yaml", &case("EXEMPLE", 200, r#"{"data":{"montant":900}}"#))]).await;
    let node = world.node(database.url()).await;
    let caller = world.caller(&node, &world.consumer);
    let random: &dyn Random = &world.random;
    let siret = consumer_id().siret().to_string();
    let exists = async |leaf: &Hash| {
        peer_receipt_exists(&node.foundation.db, &siret, leaf)
            .await
            .expect("the database reads")
    };
    let (mut answered, mut made_up, mut leaf) = (0, Vec::new(), None);
    while made_up.len() <= 1_024 + 64 {
        let batch: Vec<[u8; 32]> = (0..64).map(|_| random.bytes()).collect();
        let mut request = world.request(&world.grant("EXEMPLE", &["montant"]));
        request.acknowledged = batch.iter().map(|hash| hash.to_vec()).collect();
        let answer = caller.fetch(request).await.expect("a document");
        leaf = Some(head(&node, &answer).2);
        answered += 1;
        made_up.extend(batch);
    }
    let mut accepted = 0;
    for hash in &made_up {
        accepted += usize::from(exists(&Hash::new(*hash)).await);
    }
    assert!((1_024..1_024 + answered).contains(&accepted), "{accepted}");
    assert!(accepted < made_up.len());

    let leaf = leaf.expect("an answer");
    let mut request = world.request(&world.grant("EXEMPLE", &["montant"]));
    request.acknowledged = vec![leaf.as_bytes().to_vec()];
    caller.fetch(request).await.expect("a document");
    assert!(exists(&leaf).await);
    node.stop().await;
}
