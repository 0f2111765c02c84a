//! What is done with an opposition before the ledger was told of what was done earlier.

use unefois_core::Micros;
use unefois_store::Db;
use unefois_store::authority::opposition::{
    Opposition, Unlogged, oppose, opposition_lift, opposition_logged, opposition_renew, opposition_sweep,
    opposition_unlogged,
};
use unefois_store::authority::{PersonUid, person};

use crate::database::TestDatabase;
use crate::{at, both_databases, open, take_epoch};

both_databases![
    no_act_takes_the_place_of_one_that_is_not_logged,
    what_others_did_hides_nobody_s_own_acts,
];

async fn objects(db: &Db, epoch: u64, n: u8) -> Opposition {
    let opposition = Opposition {
        id: [n; 16],
        person: PersonUid::from_bytes([n; 16]),
        client: None,
        demarche: None,
        since: at(0),
        ends_at: at(1_000),
    };
    let mut tx = db.begin().await.unwrap();
    person::person_insert(&mut tx, &opposition.person, at(0))
        .await
        .unwrap();
    oppose(&mut tx, epoch, &opposition, at(0)).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    opposition
}

async fn unlogged(db: &Db, of: Option<&PersonUid>) -> Vec<Unlogged> {
    opposition_unlogged(db, at(100), of).await.unwrap()
}

async fn logged(db: &Db, one: &Opposition, act: &str) {
    let mut tx = db.begin().await.unwrap();
    opposition_logged(&mut tx, &one.id, act).await.unwrap();
    tx.commit().await.unwrap();
}

async fn no_act_takes_the_place_of_one_that_is_not_logged(database: TestDatabase) {
    let db = open(&database).await;
    let epoch = take_epoch(&db).await.epoch;
    let one = objects(&db, epoch, 1).await;
    let mut tx = db.begin().await.unwrap();
    for ms in [1, 2] {
        let until = at(2_000 + ms);
        assert!(
            opposition_renew(&mut tx, &one.person, &one.id, until, at(ms))
                .await
                .unwrap()
        );
    }
    assert!(
        opposition_lift(&mut tx, &one.person, &one.id, at(3))
            .await
            .unwrap()
    );
    tx.commit().await.unwrap();

    let expected = |acts: &[&str]| Unlogged {
        opposition: Opposition {
            ends_at: at(2_002),
            ..one.clone()
        },
        lifted_at: Some(at(3)),
        acts: acts.iter().map(|act| (*act).to_owned()).collect(),
    };
    let all = ["opposed", "renewed", "lifted"];
    assert_eq!(unlogged(&db, None).await, [expected(&all)]);
    // What is not the first is not crossed out.
    logged(&db, &one, "lifted").await;
    assert_eq!(unlogged(&db, None).await, [expected(&all)]);
    for (n, act) in all.iter().enumerate() {
        // It stays until all of it is in the ledger.
        let mut tx = db.begin().await.unwrap();
        assert_eq!(opposition_sweep(&mut tx, Micros::new(i64::MAX)).await.unwrap(), 0);
        tx.commit().await.unwrap();
        logged(&db, &one, act).await;
        let rest = unlogged(&db, None).await;
        match all.get(n + 1..).filter(|rest| !rest.is_empty()) {
            Some(acts) => assert_eq!(rest, [expected(acts)]),
            None => assert_eq!(rest, []),
        }
    }
    let mut tx = db.begin().await.unwrap();
    assert_eq!(opposition_sweep(&mut tx, at(4)).await.unwrap(), 1);
    tx.commit().await.unwrap();
}

async fn what_others_did_hides_nobody_s_own_acts(database: TestDatabase) {
    let db = open(&database).await;
    let epoch = take_epoch(&db).await.epoch;
    for n in 1..=101 {
        objects(&db, epoch, n).await;
    }
    assert_eq!(unlogged(&db, None).await.len(), 100, "the bound of one round");
    let last = PersonUid::from_bytes([101; 16]);
    let own = unlogged(&db, Some(&last)).await;
    assert_eq!(
        own.iter().map(|one| one.opposition.id).collect::<Vec<_>>(),
        [[101; 16]]
    );
}
