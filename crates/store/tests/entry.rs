//! The leaves over several partitions, and the searches over them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../../tests/kit/database.rs"]
pub mod database;

use database::TestDatabase;
use unefois_core::{Entry, Event, Micros, ParticipantId};
use unefois_store::entry::{
    Columns, EntryRow, Prefilter, entry_insert, entry_range, entry_search, partition_ensure, partition_is_due,
};
use unefois_store::name::Names;
use unefois_store::{Component, Db, Error};
use unefois_tlog::Hash;

both_databases![
    an_entry_whose_names_were_not_learned_is_refused,
    a_search_crosses_partitions_in_order,
    the_next_partition_waits_for_nobody,
];

const PARTITION: u64 = 1 << 24;

fn participant(siret: &str) -> ParticipantId {
    format!("urn:unefois:participant:{siret}").parse().unwrap()
}

fn owner() -> ParticipantId {
    participant("18003506500010")
}

fn asker() -> ParticipantId {
    participant("21920023500014")
}

fn entry(idx: u64) -> Entry {
    let requester = if idx.is_multiple_of(2) {
        asker()
    } else {
        participant("13000495500014")
    };
    Entry {
        requester: Some(requester),
        provider: Some(owner()),
        ..Entry::new(Event::Refused, Micros::new(i64::try_from(idx).unwrap()))
    }
}

fn row(idx: u64, names: &Names) -> EntryRow {
    let (entry, bytes) = (entry(idx), entry(idx).encode());
    let leaf = Hash::of_leaf(&bytes);
    EntryRow {
        idx,
        columns: Columns::of(&entry, &leaf, Some(&owner()), names),
        entry: bytes,
    }
}

async fn open(database: &TestDatabase) -> (Db, Names) {
    let db = Db::open(database.url(), Component::Node).await.unwrap();
    let mut names = Names::default();
    names.learn(&db, [&entry(0), &entry(1)]).await.unwrap();
    partition_ensure(&db, 0).await.unwrap();
    (db, names)
}

async fn an_entry_whose_names_were_not_learned_is_refused(database: TestDatabase) {
    let (db, _) = open(&database).await;
    let mut tx = db.begin().await.unwrap();
    let refused = entry_insert(&mut tx, 1, &[&row(0, &Names::default())]).await;
    assert!(matches!(refused, Err(Error::Unnamed)), "{refused:?}");
}

async fn a_search_crosses_partitions_in_order(database: TestDatabase) {
    let (db, names) = open(&database).await;
    let first = PARTITION - 3;
    let rows: Vec<EntryRow> = (first..PARTITION + 3).map(|idx| row(idx, &names)).collect();
    let mut tx = db.begin().await.unwrap();
    entry_insert(&mut tx, 1, &rows.iter().collect::<Vec<_>>())
        .await
        .unwrap();
    tx.commit().await.unwrap();

    let found = entry_range(&db, 1, first, u64::try_from(i64::MAX).unwrap())
        .await
        .unwrap();
    assert!(found.iter().map(|(idx, _)| *idx).eq(first..PARTITION + 3));
    let filter = |participant| Prefilter {
        owner: Some(owner()),
        participant: Some(participant),
        ..Prefilter::default()
    };
    let search = async |participant, range, descending, limit| -> Vec<u64> {
        let filter = filter(participant);
        let found = entry_search(&db, 1, &filter, range, descending, limit)
            .await
            .unwrap();
        found.into_iter().map(|(idx, _)| idx).collect()
    };
    let whole = (0, PARTITION * 2);
    let p = PARTITION;
    assert_eq!(search(asker(), whole, false, 9).await, [p - 2, p, p + 2]);
    assert_eq!(search(asker(), whole, true, 2).await, [p + 2, p]);
    assert_eq!(search(asker(), (p - 1, p + 2), true, 9).await, [p]);
    assert_eq!(
        search(owner(), whole, true, 2).await,
        [p + 2, p + 1],
        "the owner sorts nothing out"
    );
    assert_eq!(
        search(participant("55208131766522"), whole, true, 9).await,
        [0; 0]
    );
    db.close().await;
}

/// Readers and writers go on while a partition is made, and it is made while they go on.
async fn the_next_partition_waits_for_nobody(database: TestDatabase) {
    let (db, names) = open(&database).await;
    let mut tx = db.begin().await.unwrap();
    entry_insert(&mut tx, 1, &[&row(0, &names)]).await.unwrap();
    partition_ensure(&db, PARTITION).await.unwrap();
    partition_ensure(&db, PARTITION)
        .await
        .expect("what is there stays");
    tx.commit().await.unwrap();
    let mut tx = db.begin().await.unwrap();
    entry_insert(&mut tx, 1, &[&row(2 * PARTITION, &names)])
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let found = entry_range(&db, 1, 0, 3 * PARTITION).await.unwrap();
    assert_eq!(
        found.iter().map(|(idx, _)| *idx).collect::<Vec<_>>(),
        [0, 2 * PARTITION]
    );
    db.close().await;
}

#[test]
fn a_partition_is_due_from_the_middle_of_the_one_before() {
    assert!(!partition_is_due(0, PARTITION / 2 - 1));
    assert!(partition_is_due(PARTITION / 2 - 1, PARTITION / 2));
    assert!(
        !partition_is_due(PARTITION / 2, PARTITION / 2 + 1),
        "now and then"
    );
    assert!(
        partition_is_due(PARTITION / 2, PARTITION - 1),
        "again, should it have failed"
    );
    assert!(!partition_is_due(PARTITION, PARTITION + 1));
}
