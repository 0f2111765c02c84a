//! What a database is refused for.

#[path = "../../../tests/kit/database.rs"]
pub mod database;

use std::path::Path;

use database::TestDatabase;
use sqlx::{Connection as _, PgConnection, SqliteConnection};
use unefois_core::commitment::GrantSecret;
use unefois_core::{Handle, Micros, RevocationView, Sha256};
use unefois_store::batch::{Rows, batch_try};
use unefois_store::claim::{Claim, ClaimKey};
use unefois_store::erase::{Due, Erasable, due_erase};
use unefois_store::head::Head;
use unefois_store::index::{SecretRow, secret_insert};
use unefois_store::{Component, Db, Error, Tx};
use unefois_tlog::Hash;
use uuid::Uuid;

both_databases![
    a_schema_of_a_later_program_is_refused,
    an_edited_migration_is_refused,
    two_components_keep_apart,
    a_reader_writes_nothing,
];

async fn execute(database: &TestDatabase, sql: &'static str) {
    let url = database.url();
    if url.starts_with("sqlite:") {
        let mut conn = SqliteConnection::connect(url).await.expect("SQLite opens");
        sqlx::raw_sql(sql).execute(&mut conn).await.expect("executed");
    } else {
        let mut conn = PgConnection::connect(url).await.expect("PostgreSQL answers");
        sqlx::raw_sql(sql).execute(&mut conn).await.expect("executed");
    }
}

async fn reopen(database: &TestDatabase, component: Component) -> Result<(), Error> {
    Db::open(database.url(), component).await?.close().await;
    Ok(())
}

async fn a_schema_of_a_later_program_is_refused(database: TestDatabase) {
    reopen(&database, Component::Node)
        .await
        .expect("an empty database is migrated");
    reopen(&database, Component::Node)
        .await
        .expect("a migrated one opens");
    execute(
        &database,
        "INSERT INTO migration_ledger (version, description, success, checksum, execution_time) \
         SELECT 9999, description, success, checksum, execution_time FROM migration_ledger WHERE version = 1",
    )
    .await;
    let refused = reopen(&database, Component::Node).await;
    assert!(matches!(refused, Err(Error::UnknownSchema(_))), "{refused:?}");
}

async fn an_edited_migration_is_refused(database: TestDatabase) {
    reopen(&database, Component::Node)
        .await
        .expect("an empty database is migrated");
    execute(
        &database,
        "UPDATE migration_ledger SET checksum = migration_node.checksum FROM migration_node",
    )
    .await;
    let refused = reopen(&database, Component::Node).await;
    assert!(matches!(refused, Err(Error::UnknownSchema(_))), "{refused:?}");
}

async fn two_components_keep_apart(database: TestDatabase) {
    reopen(&database, Component::Node).await.expect("a node's");
    reopen(&database, Component::Authority)
        .await
        .expect("an authority's beside it");
    reopen(&database, Component::Node)
        .await
        .expect("the node's still");
}

async fn a_reader_writes_nothing(database: TestDatabase) {
    let writer = Db::open(database.url(), Component::Node).await.expect("opens");
    let reader = Db::open_for_reading(database.url())
        .await
        .expect("opens beside the writer");
    assert_eq!(
        unefois_store::head::origins(&reader).await.expect("reads"),
        Vec::<String>::new()
    );
    if let Ok(mut tx) = reader.begin().await {
        let holder = uuid::Uuid::from_u128(1);
        let taken = unefois_store::head::head_take(&mut tx, "origin", holder, 0).await;
        taken.expect_err("a reader takes no log");
    }
    writer.close().await;
}

#[tokio::test]
async fn an_unknown_database_is_refused() {
    for url in [
        "",
        "mysql://localhost/unefois",
        "unefois.db",
        "postgres://[",
        "sqlite:/nowhere/unefois.db",
    ] {
        Db::open(url, Component::Node).await.expect_err(url);
    }
}

#[tokio::test]
async fn a_server_that_could_lose_a_commit_is_refused() {
    let database = TestDatabase::postgres();
    execute(
        &database,
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$",
    )
    .await;
    let refused = reopen(&database, Component::Node).await;
    assert!(
        matches!(refused, Err(Error::NotDurable("synchronous_commit"))),
        "{refused:?}"
    );
}

/// Erased secrets open no commitment any more, whoever reads the file.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_erased_leaves_the_file() {
    let database = TestDatabase::sqlite();
    let path = database.url().trim_start_matches("sqlite:").to_owned();
    let secret = [0xa7; 32];
    let in_file = || {
        let bytes = std::fs::read(&path).expect("the file");
        bytes.windows(secret.len()).any(|window| window == secret)
    };
    let month = Micros::new(0).month();
    let db = Db::open(database.url(), Component::Node).await.expect("it opens");
    let mut tx = db.begin().await.expect("begun");
    let secrets = [SecretRow {
        month,
        unit: 7,
        mac: [1; 32],
        secret: GrantSecret::from_bytes(secret),
    }];
    secret_insert(&mut tx, &secrets).await.expect("inserted");
    tx.commit().await.expect("committed");
    db.close().await;
    assert!(in_file());

    let db = Db::open(database.url(), Component::Node).await.expect("it opens");
    let mut tx = db.begin().await.expect("begun");
    let due = Due {
        month,
        logs: Vec::new(),
    };
    let erased = due_erase(&mut tx, Erasable::Secret, &due, 10).await;
    assert_eq!(erased.expect("erased"), 1);
    tx.commit().await.expect("committed");
    db.close().await;
    assert!(!in_file());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_fails_leaves_no_value_in_the_server_s_log() {
    let database = TestDatabase::postgres();
    execute(
        &database,
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET log_parameter_max_length_on_error = -1', \
         current_database()); END $$",
    )
    .await;
    let db = Db::open(database.url(), Component::Node).await.expect("opens");
    let mut other = PgConnection::connect(database.url())
        .await
        .expect("PostgreSQL answers");
    let data = sqlx::query_scalar::<_, String>("SHOW data_directory");
    let data = data.fetch_one(&mut other).await.expect("a folder");
    let logged = |bytes: [u8; 16]| {
        let log = std::fs::read_to_string(Path::new(&data).with_file_name("log")).expect("a log");
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        log.contains(&hex)
    };
    // Any other connection, any connection of ours, and the one that batches go through.
    let (seen, asked, claimed) = ([0xc7; 16], [0xc8; 16], [0xc9; 16]);
    const FAILS: &str = "SELECT 1 / length(substr($1, 1, 0))";
    let failed = sqlx::query(FAILS).bind(&seen[..]).execute(&mut other).await;
    failed.expect_err("division by zero");
    assert!(logged(seen));
    let Ok(Tx::Postgres(mut tx)) = db.begin().await else {
        panic!("PostgreSQL was opened")
    };
    let failed = sqlx::query(FAILS).bind(&asked[..]).execute(&mut *tx).await;
    failed.expect_err("division by zero");
    assert!(!logged(asked));

    let key = ClaimKey::once(&Handle::from_bytes(claimed));
    let claim = Claim {
        client: "90000000100017".to_owned(),
        request_id: Uuid::nil(),
        request_hash: Sha256::default(),
        payload_mac: None,
        live: 1,
        at: Micros::new(1),
    };
    // There is no such log.
    let next = Head {
        log: 7,
        epoch: 1,
        size: 0,
        root: Hash::EMPTY,
        at: Micros::new(1),
        view: RevocationView::NONE,
        checkpoint: String::new(),
    };
    let rows = Rows {
        claims: vec![(&key, &claim)],
        entries: Vec::new(),
        tiles: &[],
        handles: Vec::new(),
        persons: Vec::new(),
        secrets: Vec::new(),
        size: 0,
        next: &next,
    };
    assert!(!batch_try(&db, &rows).await.expect("nothing is written"));
    assert!(!logged(claimed));
}
