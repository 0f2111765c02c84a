//! Any sequence of batches makes the tree that RFC 6962 defines.

use futures_util::future::join_all;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use unefois_core::{Entry, Event, Micros};
use unefois_ledger::Draft;
use unefois_ledger::verify::verify_database;
use unefois_tlog::{Hash, verify_consistency};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::scene::{Scene, assert_proved, verifier};

both_databases![i7_any_batches_make_the_tree_of_rfc_6962];

/// The root as RFC 6962, 2.1 writes it.
fn naive(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::EMPTY,
        [leaf] => *leaf,
        leaves => {
            let split = leaves.len().next_power_of_two() / 2;
            let (left, right) = leaves.split_at(split);
            Hash::of_node(&naive(left), &naive(right))
        }
    }
}

async fn i7_any_batches_make_the_tree_of_rfc_6962(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let mut shard = 0;
    let batches = prop::collection::vec((0_usize..180, any::<bool>()), 1..6);
    let mut runner = TestRunner::new(Config {
        cases: 8,
        failure_persistence: None,
        ..Config::default()
    });
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        let shard = std::cell::RefCell::new(&mut shard);
        let checked = runner.run(&batches, |batches| {
            **shard.borrow_mut() += 1;
            let shard = **shard.borrow();
            runtime.block_on(grow(&scene, shard, &batches));
            Ok(())
        });
        checked.expect("every sequence holds");
    });
}

async fn grow(scene: &Scene, shard: u8, batches: &[(usize, bool)]) {
    let mut ledger = scene.open(shard).await;
    let (mut leaves, mut heads) = (Vec::new(), vec![(0, Hash::EMPTY)]);
    for (count, restart) in batches {
        let append = |_| ledger.append(Draft::new(Entry::new(Event::Admin, Micros::new(0))));
        let mut receipts: Vec<_> = join_all((0..*count).map(append)).await;
        receipts.sort_by_key(|receipt| receipt.as_ref().map_or(u64::MAX, |r| r.index()));
        for receipt in receipts {
            let receipt = receipt.expect("durable");
            assert_eq!(receipt.index(), leaves.len() as u64);
            assert_proved(&receipt, &verifier(shard));
            leaves.push(*receipt.leaf_hash());
        }
        let head = ledger.head();
        assert_eq!((head.size, head.root), (leaves.len() as u64, naive(&leaves)));
        heads.push((head.size, head.root));
        if *restart {
            ledger.close().await;
            ledger = scene.open(shard).await;
            assert_eq!(ledger.head().root, head.root);
        }
    }
    let head = ledger.head();
    for (size, root) in &heads {
        let proof = ledger.consistency(*size, head.size).await.expect("a proof");
        verify_consistency((*size, root), (head.size, &head.root), &proof).expect("the log only grew");
        if *size > 0 {
            let checkpoint = ledger.checkpoint(*size).await.expect("a checkpoint");
            assert_eq!(checkpoint.verify(&verifier(shard)).expect("signed").root, *root);
        }
    }
    for (index, leaf) in leaves.iter().enumerate().step_by(37) {
        let receipt = ledger.proof(index as u64).await.expect("a proof");
        receipt
            .verify(leaf, &verifier(shard))
            .expect("the entry is there");
    }
    let report = verify_database(&scene.db, head.origin.as_str(), &verifier(shard), |_, _| {}).await;
    let report = report.expect("the database answers");
    assert!(report.is_sound(), "{report:?}");
    assert_eq!((report.read, report.root), (head.size, head.root));
    ledger.close().await;
}
