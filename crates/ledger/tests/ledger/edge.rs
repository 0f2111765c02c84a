//! A log starts from its right edge alone, however many levels its tiles have.

use unefois_core::{Entry, Event, Micros, RevocationView};
use unefois_ledger::{Draft, Error, Seen};
use unefois_store::entry::{Columns, EntryRow, entry_insert, partition_ensure};
use unefois_store::head::{Head, head_advance, head_take};
use unefois_store::name::Names;
use unefois_store::tile::tile_insert;
use unefois_tlog::{Checkpoint, Hash, SignerKey, Tree, verify_consistency};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::raw::Raw;
use crate::scene::{Scene, assert_proved, key_name, verifier};

both_databases![
    i7_a_log_of_three_levels_opens_from_its_edge,
    a_past_size_is_read_from_a_tile_a_level,
];

/// Two full tiles of level 1, three more of level 0, five leaves.
const SIZE: u64 = 2 * 65_536 + 3 * 256 + 5;

fn entry(idx: u64) -> Entry {
    Entry::new(Event::Admin, Micros::new(i64::try_from(idx).unwrap()))
}

/// A log of [`SIZE`] entries of which the last five alone are there; its leaves.
async fn long(scene: &Scene) -> Vec<Hash> {
    let leaves: Vec<Hash> = (0..SIZE).map(|idx| Hash::of_leaf(&entry(idx).encode())).collect();
    let mut tree = Tree::new();
    let tiles = tree.append(&leaves).unwrap();
    let rows: Vec<EntryRow> = (SIZE - 5..SIZE)
        .zip(&leaves[leaves.len() - 5..])
        .map(|(idx, leaf)| EntryRow {
            idx,
            columns: Columns::of(&entry(idx), leaf, None, &Names::default()),
            entry: entry(idx).encode(),
        })
        .collect();
    let signer = SignerKey::new(key_name(1), &[1; 32]);
    let origin = signer.verifier().name().as_str().to_owned();
    let checkpoint = Checkpoint::new(origin.parse().unwrap(), SIZE, tree.root()).unwrap();
    partition_ensure(&scene.db, 0).await.unwrap();
    let mut tx = scene.db.begin().await.unwrap();
    let head = head_take(&mut tx, &origin, uuid::Uuid::nil(), 0).await.unwrap();
    entry_insert(&mut tx, head.log, &rows.iter().collect::<Vec<_>>())
        .await
        .unwrap();
    tile_insert(&mut tx, head.log, &tiles).await.unwrap();
    let next = Head {
        size: SIZE,
        root: tree.root(),
        at: entry(SIZE - 1).at,
        view: RevocationView::NONE,
        checkpoint: checkpoint.sign(&signer).unwrap().as_str().to_owned(),
        ..head
    };
    assert!(head_advance(&mut tx, 0, &next).await.unwrap());
    tx.commit().await.unwrap();
    leaves
}

fn root(leaves: &[Hash]) -> Hash {
    let mut tree = Tree::new();
    tree.append(leaves).unwrap();
    tree.root()
}

/// Neither entries nor tiles are there from which a partial tile could be made again.
async fn a_past_size_is_read_from_a_tile_a_level(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let leaves = long(&scene).await;
    let ledger = scene.open(1).await;
    let mut raw = Raw::open(&scene.database).await;
    let signer = SignerKey::new(key_name(1), &[1; 32]);
    let origin = signer.verifier().name().as_str();
    let sizes = [1, 255, 256, 257, 65_535, 65_536, 65_537, 70_003, 131_071, 131_072];
    let late = [SIZE - 7 * 37, SIZE - 256, SIZE - 6, SIZE - 5, SIZE - 1, SIZE];
    for size in sizes.into_iter().chain(late) {
        let root = root(&leaves[..usize::try_from(size).unwrap()]);
        let checkpoint = ledger.checkpoint(size).await.unwrap();
        let said = checkpoint.verify(&verifier(1)).unwrap();
        assert_eq!((said.size, said.root), (size, root), "{size}");
        assert_eq!(ledger.seen(&checkpoint, "a peer").await.unwrap(), Seen::Continued);
        let proof = ledger.consistency(size, SIZE).await.unwrap();
        verify_consistency((size, &root), (SIZE, &ledger.head().root), &proof).unwrap();
    }
    // A full tile of level 1 stands for those below it, and memory for the right edge.
    raw.execute("DELETE FROM ledger_tile WHERE level = 0 AND idx > 273")
        .await;
    for size in [70_003, SIZE - 2] {
        let root = root(&leaves[..usize::try_from(size).unwrap()]);
        let said = ledger.checkpoint(size).await.unwrap();
        assert_eq!(said.verify(&verifier(1)).unwrap().root, root, "{size}");
    }
    let other = Checkpoint::new(origin.parse().unwrap(), 70_003, leaves[0]).unwrap();
    let other = other.sign(&signer).unwrap();
    assert_eq!(ledger.seen(&other, "a peer").await.unwrap(), Seen::Contradicted);
}

async fn i7_a_log_of_three_levels_opens_from_its_edge(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let leaves = long(&scene).await;
    let ledger = scene.open(1).await;
    assert_eq!((ledger.head().size, ledger.head().root), (SIZE, root(&leaves)));
    for index in [0, 255, 65_535, 65_536, 2 * 65_536, SIZE - 6, SIZE - 1] {
        let proof = ledger.proof(index).await.unwrap();
        let leaf = &leaves[usize::try_from(index).unwrap()];
        proof.verify(leaf, &verifier(1)).unwrap();
    }
    let receipt = ledger.append(Draft::new(entry(SIZE))).await.unwrap();
    assert_proved(&receipt, &verifier(1));
    assert_eq!(receipt.index(), SIZE);
    ledger.close().await;

    // What lies under a full tile of level 1 is not read.
    let mut raw = Raw::open(&scene.database).await;
    raw.execute("DELETE FROM ledger_tile WHERE level = 0 AND idx < 512")
        .await;
    scene.open(1).await.close().await;
    for missing in ["level = 0 AND idx = 513", "level = 1 AND idx = 1"] {
        raw.execute(&format!(
            "CREATE TABLE kept AS SELECT * FROM ledger_tile WHERE {missing}"
        ))
        .await;
        assert_eq!(
            raw.execute(&format!("DELETE FROM ledger_tile WHERE {missing}"))
                .await,
            1
        );
        let refused = scene
            .open_on(scene.db.clone(), 1)
            .await
            .expect_err("the edge is not whole");
        assert!(matches!(refused, Error::Corrupt(_)), "{refused}");
        raw.execute("INSERT INTO ledger_tile SELECT * FROM kept; DROP TABLE kept")
            .await;
    }
    scene.open(1).await;
}
