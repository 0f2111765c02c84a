//! The operator's check finds what was changed, and says which of log and index it was.

use futures_util::future::join_all;
use unefois_ledger::verify::{IndexFault, LogFault, Report, verify_database};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::raw::Raw;
use crate::scene::{Scene, claimed, fetch, key_name, payload, verifier};

both_databases![
    i7_every_changed_byte_is_found,
    i7_every_changed_column_is_found,
    i7_an_entry_beyond_the_head_is_found,
    i7_a_changed_tile_or_head_is_found,
    i7_another_key_verifies_nothing,
];

/// A log of 300 entries: one full tile and a tail.
async fn log(scene: &Scene) {
    let ledger = scene.open(1).await;
    let fetches = (0..300).map(|_| fetch(&ledger, scene.once(scene.handle()), payload(1)));
    for release in join_all(fetches).await {
        claimed(release.unwrap());
    }
    ledger.close().await;
}

async fn verify(scene: &Scene) -> Report {
    let origin = key_name(1);
    verify_database(&scene.db, origin.as_str(), &verifier(1), |_, _| {})
        .await
        .unwrap()
}

async fn i7_every_changed_byte_is_found(database: TestDatabase) {
    let scene = Scene::new(database).await;
    log(&scene).await;
    let mut raw = Raw::open(&scene.database).await;
    let report = verify(&scene).await;
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(report.read, 300);

    for idx in [3, 299] {
        let entry = raw.entry(idx).await;
        for at in (0..entry.len()).step_by(23) {
            let mut changed = entry.clone();
            changed[at] ^= 1;
            raw.set_entry(idx, &changed).await;
            let report = verify(&scene).await;
            let fault = LogFault::Entry(u64::try_from(idx).unwrap());
            assert!(report.log.contains(&fault), "byte {at} of {idx}: {report:?}");
            assert!(
                report.log.contains(&LogFault::Root),
                "byte {at} of {idx}: {report:?}"
            );
        }
        raw.set_entry(idx, &entry).await;
    }
    assert!(verify(&scene).await.is_sound());

    raw.execute("DELETE FROM ledger_entry WHERE idx = 7").await;
    let report = verify(&scene).await;
    assert!(report.log.contains(&LogFault::Missing(7)), "{report:?}");
    assert_eq!(report.read, 299);
}

async fn i7_every_changed_column_is_found(database: TestDatabase) {
    let scene = Scene::new(database).await;
    log(&scene).await;
    let mut raw = Raw::open(&scene.database).await;
    for (column, change) in [
        ("at", "at + 1"),
        ("leaf", "leaf + 1"),
        ("exchange_id", "NULL"),
        ("event", "event + 1"),
        ("outcome", "NULL"),
        ("reason", "3"),
        ("units", "units + 1"),
        ("peer", "provider"),
        ("other", "provider"),
        ("requester", "provider"),
        ("provider", "NULL"),
        ("holder", "NULL"),
        ("publisher", "holder"),
        ("datatype", "demarche"),
        ("demarche", "0"),
        ("habilitation", "9"),
        ("legal_basis", "9"),
        ("capacity", "1"),
        ("acr", "1"),
    ] {
        raw.execute("CREATE TABLE kept AS SELECT * FROM ledger_entry WHERE idx = 270")
            .await;
        raw.execute(&format!(
            "UPDATE ledger_entry SET {column} = {change} WHERE idx = 270"
        ))
        .await;
        let report = verify(&scene).await;
        assert_eq!(report.index, [IndexFault { index: 270, column }]);
        assert_eq!(report.log, []);
        raw.execute("DELETE FROM ledger_entry WHERE idx = 270; INSERT INTO ledger_entry SELECT * FROM kept; DROP TABLE kept")
            .await;
    }
    assert!(verify(&scene).await.is_sound());

    // A name that stands for another is found in each entry that has it.
    raw.execute("UPDATE ledger_name SET name = 'msa' WHERE name = 'cnaf'")
        .await;
    let report = verify(&scene).await;
    assert_eq!(report.log, []);
    assert!(report.index.iter().all(|fault| fault.column == "holder"));
    assert_eq!(report.index.len(), 100, "as many as are told");
}

/// Rows that no head covers are no part of the log, whatever they say; the writer's next batch is none of them.
async fn i7_an_entry_beyond_the_head_is_found(database: TestDatabase) {
    let scene = Scene::new(database).await;
    log(&scene).await;
    let mut raw = Raw::open(&scene.database).await;
    raw.execute(
        "CREATE TABLE kept AS SELECT * FROM ledger_entry WHERE idx >= 298; \
         UPDATE kept SET idx = idx + 2; INSERT INTO ledger_entry SELECT * FROM kept; DROP TABLE kept",
    )
    .await;
    let report = verify(&scene).await;
    assert_eq!(report.log, [LogFault::Beyond(300), LogFault::Beyond(301)]);
    assert_eq!((report.size, report.read), (300, 300));
    raw.execute("DELETE FROM ledger_entry WHERE idx >= 300").await;
    assert!(verify(&scene).await.is_sound());

    // Beside the writer: entries are committed with their head, so none is ever found beyond it.
    let ledger = scene.open(1).await;
    let origin = key_name(1);
    let key = verifier(1);
    let mut look = std::pin::pin!(async {
        loop {
            let report = verify_database(&scene.db, origin.as_str(), &key, |_, _| {})
                .await
                .unwrap();
            assert!(report.is_sound(), "{report:?}");
        }
    });
    for _ in 0..20 {
        let fetches = (0..16).map(|_| fetch(&ledger, scene.once(scene.handle()), payload(1)));
        tokio::select! {
            () = &mut look => unreachable!("it only looks"),
            releases = join_all(fetches) => assert!(releases.iter().all(Result::is_ok)),
        }
    }
    ledger.close().await;
}

async fn i7_a_changed_tile_or_head_is_found(database: TestDatabase) {
    let scene = Scene::new(database).await;
    log(&scene).await;
    let mut raw = Raw::open(&scene.database).await;

    raw.execute("UPDATE ledger_head SET checkpoint = ''").await;
    assert_eq!(verify(&scene).await.log, [LogFault::Checkpoint]);
    raw.execute("UPDATE ledger_head SET size = size - 1").await;
    let report = verify(&scene).await;
    assert!(report.log.contains(&LogFault::Root), "{report:?}");
    raw.execute("UPDATE ledger_head SET size = size + 1, at = at + 1")
        .await;
    let report = verify(&scene).await;
    assert!(report.log.contains(&LogFault::Head), "{report:?}");

    raw.execute("DELETE FROM ledger_tile").await;
    let report = verify(&scene).await;
    let tile = LogFault::Tile { level: 0, index: 0 };
    assert!(report.log.contains(&tile), "{report:?}");
}

async fn i7_another_key_verifies_nothing(database: TestDatabase) {
    let scene = Scene::new(database).await;
    log(&scene).await;
    let report = verify_database(&scene.db, key_name(1).as_str(), &verifier(2), |_, _| {})
        .await
        .unwrap();
    assert_eq!(report.log, [LogFault::Checkpoint]);
    assert!(
        verify_database(&scene.db, "no such log", &verifier(1), |_, _| {})
            .await
            .is_err()
    );
}
