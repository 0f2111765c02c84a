//! What is kept of mandates that are over, and for how long.

use unefois_core::{Micros, Sha256};
use unefois_store::Db;
use unefois_store::authority::mandate::{
    MandateRow, UnloggedPlace, mandate_accept, mandate_ask, mandate_end, mandate_find, mandate_insert,
    mandate_logged, mandate_sweep, mandate_unlogged, mandates_given,
};
use unefois_store::authority::{PersonUid, person};

use crate::database::TestDatabase;
use crate::{at, both_databases, open, take_epoch};

both_databases![
    what_is_over_goes_after_its_time_and_what_may_hold_stays,
    what_is_not_logged_is_not_swept,
    what_is_over_hides_nothing_that_may_hold,
    what_cannot_be_logged_hides_nothing_that_can,
];

const GIVER: PersonUid = PersonUid::from_bytes([1; 16]);
const HOLDER: PersonUid = PersonUid::from_bytes([2; 16]);

async fn people(db: &Db) {
    let mut tx = db.begin().await.unwrap();
    for uid in [GIVER, HOLDER] {
        person::person_insert(&mut tx, &uid, at(0)).await.unwrap();
    }
    tx.commit().await.unwrap();
}

/// A mandate that is good for an invitation until 10 ms and in force until 100 ms.
async fn given(db: &Db, n: u8) -> [u8; 16] {
    let row = MandateRow {
        id: [n; 16],
        mandator: *GIVER.as_bytes(),
        principal: Some(GIVER),
        holder: None,
        sealed: vec![n],
        issued_at: at(0),
        invited_until: at(10),
        asked_at: None,
        accepted_at: None,
        accepted_logged_at: None,
        expires_at: at(100),
        ended_at: None,
    };
    let mut tx = db.begin().await.unwrap();
    mandate_insert(&mut tx, &row, &Sha256::of(&[n])).await.unwrap();
    tx.commit().await.unwrap();
    row.id
}

async fn asked(db: &Db, n: u8) -> [u8; 16] {
    let id = given(db, n).await;
    let mut tx = db.begin().await.unwrap();
    let hash = Sha256::of(&[n]);
    assert!(
        mandate_ask(&mut tx, &hash, &HOLDER, &[n, n], (at(5), at(15)))
            .await
            .unwrap()
    );
    let again = mandate_ask(&mut tx, &hash, &GIVER, &[n], (at(6), at(16))).await;
    assert!(!again.unwrap(), "an invitation serves once");
    tx.commit().await.unwrap();
    id
}

async fn accepted(db: &Db, n: u8) -> [u8; 16] {
    let id = asked(db, n).await;
    let mut tx = db.begin().await.unwrap();
    for (by, now, may) in [
        (&HOLDER, at(6), false),
        (&GIVER, at(15), false),
        (&GIVER, at(14), true),
        (&GIVER, at(14), false),
    ] {
        assert_eq!(mandate_accept(&mut tx, &id, by, now).await.unwrap(), may);
    }
    tx.commit().await.unwrap();
    id
}

async fn logged(db: &Db, id: &[u8; 16], is_end: bool) {
    let mut tx = db.begin().await.unwrap();
    mandate_logged(&mut tx, id, is_end, at(20)).await.unwrap();
    tx.commit().await.unwrap();
}

async fn ended(db: &Db, epoch: u64, id: &[u8; 16], now: Micros) {
    let mut tx = db.begin().await.unwrap();
    mandate_end(&mut tx, epoch, id, now).await.unwrap().unwrap();
    tx.commit().await.unwrap();
}

async fn swept(db: &Db, before: Micros, unused_before: Micros) -> u64 {
    let mut tx = db.begin().await.unwrap();
    let swept = mandate_sweep(&mut tx, before, unused_before).await.unwrap();
    tx.commit().await.unwrap();
    swept
}

async fn what_is_over_goes_after_its_time_and_what_may_hold_stays(database: TestDatabase) {
    let db = open(&database).await;
    let epoch = take_epoch(&db).await.epoch;
    people(&db).await;
    let (waits, asks, holds) = (given(&db, 1).await, asked(&db, 2).await, accepted(&db, 3).await);
    let over = accepted(&db, 4).await;
    for id in [&holds, &over] {
        logged(&db, id, false).await;
    }
    ended(&db, epoch, &over, at(30)).await;
    logged(&db, &over, true).await;

    assert_eq!(swept(&db, at(30), at(10)).await, 0, "each on its last instant");
    assert_eq!(swept(&db, at(30), at(11)).await, 1);
    assert!(mandate_find(&db, &waits).await.unwrap().is_none());
    assert_eq!(swept(&db, at(31), at(15)).await, 1);
    assert!(mandate_find(&db, &over).await.unwrap().is_none());
    assert_eq!(swept(&db, at(100), at(16)).await, 1);
    assert!(mandate_find(&db, &asks).await.unwrap().is_none());
    assert!(mandate_find(&db, &holds).await.unwrap().is_some());
    assert_eq!(swept(&db, at(101), at(16)).await, 1, "expired");
}

async fn what_is_not_logged_is_not_swept(database: TestDatabase) {
    let db = open(&database).await;
    let epoch = take_epoch(&db).await.epoch;
    people(&db).await;
    let one = accepted(&db, 1).await;
    let unlogged = async || {
        let page = mandate_unlogged(&db, at(1_000), None, &UnloggedPlace::START).await;
        page.unwrap().len()
    };
    assert_eq!((unlogged().await, swept(&db, at(1_000), at(1_000)).await), (1, 0));
    logged(&db, &one, false).await;
    assert_eq!(unlogged().await, 0);
    ended(&db, epoch, &one, at(30)).await;
    assert_eq!((unlogged().await, swept(&db, at(1_000), at(1_000)).await), (1, 0));
    let before = mandate_unlogged(&db, at(30), None, &UnloggedPlace::START)
        .await
        .unwrap();
    assert!(before.is_empty(), "whoever ended it has its time to log that");
    logged(&db, &one, true).await;
    assert_eq!((unlogged().await, swept(&db, at(1_000), at(1_000)).await), (0, 1));
}

async fn what_is_over_hides_nothing_that_may_hold(database: TestDatabase) {
    let db = open(&database).await;
    let epoch = take_epoch(&db).await.epoch;
    people(&db).await;
    for n in 1..=201 {
        let id = given(&db, n).await;
        ended(&db, epoch, &id, at(1)).await;
    }
    let living = given(&db, 255).await;
    let listed = mandates_given(&db, &GIVER, at(9)).await.unwrap();
    assert_eq!((listed.len(), listed[0].id), (200, living));
    let listed = mandates_given(&db, &GIVER, at(10)).await.unwrap();
    assert!(
        listed.iter().all(|row| row.id != living),
        "its invitation is over"
    );
}

async fn what_cannot_be_logged_hides_nothing_that_can(database: TestDatabase) {
    let db = open(&database).await;
    people(&db).await;
    // All begin at one instant, so that their names alone put them in order.
    for n in 1..=101 {
        accepted(&db, n).await;
    }
    let page = async |after: &UnloggedPlace| {
        let page = mandate_unlogged(&db, at(1_000), None, after).await.unwrap();
        let last = page.last().map(|(place, _)| place.clone());
        let names: Vec<u8> = page.into_iter().map(|(_, row)| row.unwrap().id[0]).collect();
        (names, last)
    };
    let (first, last) = page(&UnloggedPlace::START).await;
    assert_eq!(first, (1..=100).collect::<Vec<u8>>());
    let (second, last) = page(&last.unwrap()).await;
    assert_eq!(second, [101]);
    assert_eq!(page(&last.unwrap()).await, (vec![], None));
    let only = mandate_unlogged(&db, at(1_000), Some(&[101; 16]), &UnloggedPlace::START).await;
    assert_eq!(only.unwrap().len(), 1);
}
