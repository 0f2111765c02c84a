//! A database of an earlier schema, with rows, opens under this one and holds the same logs.

use sqlx::migrate::Migrator;
use sqlx::{Connection as _, PgConnection, SqliteConnection};
use unefois_core::commitment::{GrantSecret, NodeKey};
use unefois_core::{
    Acr, Capacity, Entry, Event, ExchangeId, Handle, LegalBasis, Micros, Outcome, ParticipantId, Reason,
    RevocationView,
};
use unefois_ledger::verify::verify_database;
use unefois_ledger::{Draft, Error};
use unefois_store::entry::{Prefilter, entry_at_or_after, entry_search};
use unefois_store::head::head_read;
use unefois_store::index::{Index, index_lookup};
use unefois_store::{Component, Db};
use unefois_tlog::{Checkpoint, Hash, KeyName, SignerKey, Tree};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::raw::Raw;
use crate::scene::{Scene, consumer, producer, stranger};

both_databases![
    i7_a_database_of_the_first_schema_keeps_its_logs,
    a_database_without_a_row_is_migrated,
];

const FIRST_AT: i64 = 1_795_512_305_000_000;

/// The database as the first migration alone leaves it.
async fn first_schema(database: &TestDatabase) {
    let (postgres, sqlite) = (
        sqlx::migrate!("../../migrations/ledger/postgres"),
        sqlx::migrate!("../../migrations/ledger/sqlite"),
    );
    let only_first = |all: &Migrator| {
        let mut first = Migrator::with_migrations(all.iter().take(1).cloned().collect());
        first.dangerous_set_table_name("migration_ledger");
        first
    };
    let url = database.url();
    if url.starts_with("sqlite:") {
        let mut conn = SqliteConnection::connect(&format!("{url}?mode=rwc"))
            .await
            .unwrap();
        only_first(&sqlite)
            .run_direct(None, &mut conn, false)
            .await
            .unwrap();
        conn.close().await.unwrap();
    } else {
        let mut conn = PgConnection::connect(url).await.unwrap();
        only_first(&postgres)
            .run_direct(None, &mut conn, false)
            .await
            .unwrap();
        conn.close().await.unwrap();
    }
}

/// Entries that differ in every field that a column holds.
fn entry(n: u8) -> Entry {
    let some = |bit: u8| n & bit != 0;
    let at = Micros::new(FIRST_AT + i64::from(n));
    Entry {
        exchange_id: some(1).then(|| exchange(n)),
        attempt: 1,
        requester: some(2).then(consumer),
        provider: some(4).then(producer),
        holder: some(8).then(|| "msa".parse().unwrap()),
        publisher: some(16).then(stranger),
        datatype: some(1).then(|| "cnaf/quotient-familial@1".parse().unwrap()),
        demarche: some(2).then(|| "cantine".parse().unwrap()),
        habilitation: some(4).then(|| "DP-2026.17_a".parse().unwrap()),
        legal_basis: some(8).then(|| LegalBasis::Text("LPF-L103".to_owned())),
        capacity: some(16).then_some(Capacity::Helper),
        acr: some(32).then_some(Acr::Eidas3),
        units: if some(64) {
            u64::MAX - u64::from(n)
        } else {
            0x0102_0304_0506_0780
        },
        outcome: some(1).then_some(Outcome::Later),
        reason: some(2).then_some(Reason::SourceTimeout),
        ..Entry::new(Event::Refused, at)
    }
}

fn exchange(n: u8) -> ExchangeId {
    format!("0190163d-8694-739b-aea5-966c26f8ad{n:02x}")
        .parse()
        .unwrap()
}

fn signer(owner: &ParticipantId) -> SignerKey {
    let name: KeyName = format!("{owner}/1").parse().unwrap();
    SignerKey::new(name, &[1; 32])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a log of 260 entries as the first schema held it.
async fn write(raw: &mut Raw, log: i32, owner: &ParticipantId) {
    let blob = |bytes: &[u8]| match raw {
        Raw::Postgres(_) => format!("'\\x{}'", hex(bytes)),
        Raw::Sqlite(_) => format!("X'{}'", hex(bytes)),
    };
    let uuid = |id: &ExchangeId| match raw {
        Raw::Postgres(_) => format!("'{}'", id.as_uuid()),
        Raw::Sqlite(_) => format!("X'{}'", hex(id.as_bytes())),
    };
    let text = |value: Option<String>| value.map_or("NULL".to_owned(), |value| format!("'{value}'"));
    let number = |value: Option<u8>| value.map_or("NULL".to_owned(), |value| value.to_string());
    let siret = |id: Option<ParticipantId>| text(id.map(|id| id.siret().to_string()));
    let (mut rows, mut leaves) = (Vec::new(), Vec::new());
    for idx in 0..260_u16 {
        let entry = entry(u8::try_from(idx).unwrap_or(u8::MAX));
        let bytes = entry.encode();
        let leaf = Hash::of_leaf(&bytes);
        let noted = i64::from_be_bytes(leaf.as_bytes()[..8].try_into().unwrap());
        rows.push(format!(
            "({log}, {idx}, {}, {noted}, {}, {}, {}, {}, {}, {}, {}, {}, {})",
            entry.at.get(),
            entry.exchange_id.as_ref().map_or("NULL".to_owned(), uuid),
            entry.event.code(),
            number(entry.outcome.map(Outcome::code)),
            number(entry.reason.map(Reason::code)),
            siret(entry.requester),
            siret(entry.provider),
            text(entry.datatype.map(|datatype| datatype.to_string())),
            text(entry.demarche.map(|demarche| demarche.to_string())),
            blob(&bytes),
        ));
        leaves.push(leaf);
    }
    let mut tree = Tree::new();
    let tiles = tree.append(&leaves).unwrap();
    let signer = signer(owner);
    let origin = signer.verifier().name().as_str().to_owned();
    let checkpoint = Checkpoint::new(origin.parse().unwrap(), tree.size(), tree.root()).unwrap();
    let checkpoint = checkpoint.sign(&signer).unwrap();
    let sql = [
        format!(
            "INSERT INTO ledger_entry (log, idx, at, leaf, exchange_id, event, outcome, reason, requester, provider, \
             datatype, demarche, entry) VALUES {}",
            rows.join(", ")
        ),
        format!(
            "INSERT INTO ledger_tile (log, level, idx, hashes) VALUES ({log}, 0, 0, {})",
            blob(&tiles[0].to_bytes())
        ),
        format!(
            "INSERT INTO ledger_head (log, origin, epoch, holder, size, root, at, view_epoch, view_seq, checkpoint) \
             VALUES ({log}, '{origin}', 3, {}, 260, {}, {}, 0, 0, '{}')",
            uuid(&exchange(0)),
            blob(tree.root().as_bytes()),
            FIRST_AT + 255,
            checkpoint.as_str()
        ),
    ];
    for sql in sql {
        raw.execute(&sql).await;
    }
}

async fn i7_a_database_of_the_first_schema_keeps_its_logs(database: TestDatabase) {
    first_schema(&database).await;
    let mut raw = Raw::open(&database).await;
    // A producer, a consumer, and an authority that is neither.
    let owners = [producer(), consumer(), stranger()];
    for (log, owner) in (1..).zip(&owners) {
        write(&mut raw, log, owner).await;
    }
    let (key, handle) = (NodeKey::new(&[9; 32]), Handle::from_bytes([7; 16]));
    let month = Micros::new(FIRST_AT).month();
    let blob = |bytes: &[u8]| match raw {
        Raw::Postgres(_) => format!("'\\x{}'", hex(bytes)),
        Raw::Sqlite(_) => format!("X'{}'", hex(bytes)),
    };
    let mac = blob(&key.handle_key(&handle));
    let (person, secret) = (blob(&key.person_key(b"someone")), blob(&[5; 32]));
    raw.execute(&format!(
        "INSERT INTO handle_index (log, bucket, mac, idx) VALUES (1, 0, {mac}, 3), (1, 0, {mac}, 9), (1, 0, {mac}, 20000); \
         INSERT INTO person_index (log, bucket, mac, idx) VALUES (1, 0, {person}, 4); \
         INSERT INTO grant_secret (month, mac, log, secret) VALUES ({}, {mac}, 1, {secret})",
        month.ordinal()
    ))
    .await;

    let scene = Scene::new(database).await;
    for owner in &owners {
        let signer = signer(owner);
        let origin = signer.verifier().name().as_str();
        let report = verify_database(&scene.db, origin, signer.verifier(), |_, _| {})
            .await
            .unwrap();
        assert!(report.is_sound(), "{report:?}");
        assert_eq!(report.read, 260);
    }
    // What was found by the old columns is found by the new ones.
    for (log, owner) in (1..).zip(&owners) {
        for participant in &owners {
            let filter = Prefilter {
                owner: Some(*owner),
                participant: Some(*participant),
                ..Prefilter::default()
            };
            let found = entry_search(&scene.db, log, &filter, (0, 300), false, 1_000)
                .await
                .unwrap();
            let found: Vec<u64> = found.into_iter().map(|(idx, _)| idx).collect();
            let names = |e: &Entry| e.requester == Some(*participant) || e.provider == Some(*participant);
            let wanted: Vec<u64> = (0..260_u16)
                .filter(|idx| participant == owner || names(&entry(u8::try_from(*idx).unwrap_or(u8::MAX))))
                .map(u64::from)
                .collect();
            assert_eq!(found, wanted, "{participant} in the log of {owner}");
        }
    }
    let ledger = scene.open(1).await;
    assert_eq!(ledger.head().size, 260);
    assert_eq!(ledger.by_handle(&handle).await.unwrap(), [3, 9]);
    assert_eq!(ledger.by_person(b"someone").await.unwrap(), [4]);
    // Buckets were wider: what lay in the first of them lies in the third.
    let all = index_lookup(&scene.db, Index::Handle, 1, &key.handle_key(&handle), 1 << 16).await;
    assert_eq!(all.unwrap(), [3, 9, 20_000]);
    let secrets = ledger.secrets(&handle, month, month).await.unwrap();
    assert_eq!(secrets, [GrantSecret::from_bytes([5; 32])]);

    let view = head_read(&scene.db, ledger.origin().as_str())
        .await
        .unwrap()
        .unwrap()
        .view;
    assert_eq!(view, RevocationView::NONE);
    assert_eq!(
        entry_at_or_after(&scene.db, 1, Micros::new(FIRST_AT + 7))
            .await
            .unwrap(),
        7
    );
    assert_eq!(entry_at_or_after(&scene.db, 1, Micros::new(0)).await.unwrap(), 0);
    assert_eq!(
        entry_at_or_after(&scene.db, 1, Micros::new(i64::MAX))
            .await
            .unwrap(),
        260
    );
}

async fn a_database_without_a_row_is_migrated(database: TestDatabase) {
    first_schema(&database).await;
    let scene = Scene::new(database).await;
    assert_eq!(scene.open(1).await.head().size, 0);
    assert_eq!(entry_at_or_after(&scene.db, 1, Micros::new(0)).await.unwrap(), 0);
    entry_at_or_after(&scene.db, 9, Micros::new(0))
        .await
        .expect_err("there is no such log");
}

/// On SQLite the file's lock does it.
#[tokio::test(flavor = "multi_thread")]
async fn i7_an_upgrade_that_moves_the_indexes_stops_whoever_writes() {
    let lapsed = || Draft::new(Entry::new(Event::Lapsed, Micros::new(0)));
    let scene = Scene::new(TestDatabase::postgres()).await;
    let old = scene.open(1).await;
    old.append(lapsed()).await.unwrap();
    // As a database is that the program before wrote: what the migration makes, it makes of such tables as well.
    let mut raw = Raw::open(&scene.database).await;
    raw.execute("DELETE FROM migration_ledger WHERE version = 5")
        .await;
    let upgraded = Db::open(scene.database.url(), Component::Node).await.unwrap();

    let refused = old.append(lapsed()).await;
    assert!(matches!(refused, Err(Error::Fenced)), "{refused:?}");
    assert!(!old.is_writable());
    let new = scene.open_on(upgraded, 1).await.unwrap();
    assert_eq!(new.head().size, 1, "the old process wrote nothing more");
    new.append(lapsed()).await.unwrap();
}
