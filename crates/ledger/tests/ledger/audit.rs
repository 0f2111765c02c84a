//! The logs as SQL auditors read them: in words, in full, and nothing else.

use std::os::unix::fs::PermissionsExt as _;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _, SqliteConnection};
use unefois_core::{Clock as _, Entry, Event, LegalBasis, Reason};
use unefois_ledger::{Draft, Ledger};
use unefois_store::audit::{GrantError, RoleName, SnapshotError, audit_grant, audit_snapshot};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::retention::Exchange;
use crate::scene::{Scene, claimed, fetch, payload};

both_databases![
    a_snapshot_has_the_views_and_nobody,
    a_snapshot_takes_no_others_place
];

const VIEWS: [&str; 5] = ["entry", "exchange", "tally", "erasure", "head"];

/// Two logs with exchanges of two kinds, a tally and an erasure.
async fn logs(scene: &Scene) -> (Ledger, Ledger, Vec<Exchange>) {
    let (one, two) = (scene.open(1).await, scene.open(2).await);
    let mut exchanges = Vec::new();
    for basis in [LegalBasis::Request, LegalBasis::Proactive] {
        exchanges.push(Exchange::now(scene, &one, basis).await);
        scene.clock.forward_ms(1);
    }
    claimed(fetch(&two, scene.once(scene.handle()), payload(1)).await.unwrap());
    one.tally(scene.clock.now()).await.unwrap();
    let full = Entry {
        reason: Some(Reason::TokenConsumed),
        outcome: Some(unefois_core::Outcome::Refused),
        capacity: Some(unefois_core::Capacity::Child),
        acr: Some(unefois_core::Acr::Eidas2),
        publisher: Some(crate::scene::stranger()),
        habilitation: Some("DP-2026.17_a".parse().unwrap()),
        ..exchanges[0].receipt.entry().clone()
    };
    one.append(Draft::new(full)).await.unwrap();
    one.append(
        Draft::new(Entry::new(Event::Erased, scene.clock.now())).evidence(b"unefois/erased/v1 test".to_vec()),
    )
    .await
    .unwrap();
    (one, two, exchanges)
}

/// The example queries of the documentation.
fn examples() -> Vec<&'static str> {
    let page = include_str!("../../../../migrations/README.md");
    let blocks = page.split("```sql\n").skip(1);
    let queries: Vec<&str> = blocks.map(|block| block.split("```").next().unwrap()).collect();
    assert!(queries.len() >= 5);
    queries
}

/// What a row of `entry` must say, by the bytes beside it.
fn words(entry: &Entry) -> Vec<Option<String>> {
    let text = |value: Option<String>| value;
    vec![
        Some(entry.at.get().to_string()),
        Some(entry.at.to_rfc3339()),
        Some(entry.event.to_string()),
        text(entry.exchange_id.map(|id| id.to_string())),
        text(entry.requester.map(|id| id.siret().to_string())),
        text(entry.provider.map(|id| id.siret().to_string())),
        text(entry.holder.as_ref().map(ToString::to_string)),
        text(entry.publisher.map(|id| id.siret().to_string())),
        text(entry.datatype.as_ref().map(ToString::to_string)),
        text(entry.demarche.as_ref().map(ToString::to_string)),
        text(entry.habilitation.as_ref().map(ToString::to_string)),
        text(entry.legal_basis.as_ref().map(ToString::to_string)),
        text(entry.capacity.map(|word| word.to_string())),
        text(entry.acr.map(|word| word.to_string())),
        text(entry.outcome.map(|word| word.to_string())),
        text(entry.reason.map(|word| word.to_string())),
    ]
}

const WORDS: &str = "CAST(at_us AS TEXT), at, event, exchange_id, requester, provider, holder, publisher, datatype, \
     demarche, habilitation, legal_basis, capacity, acr, outcome, reason";

macro_rules! assert_words {
    ($conn:expr, $entry:expr, $count:expr) => {
        let sql = format!("SELECT entry, {WORDS} FROM {} ORDER BY origin, place", $entry);
        let rows = sqlx::query(AssertSqlSafe(sql))
            .fetch_all(&mut $conn)
            .await
            .unwrap();
        assert_eq!(rows.len() as u64, $count);
        for row in rows {
            let entry = Entry::decode(&row.get::<Vec<u8>, _>(0)).unwrap();
            let said: Vec<Option<String>> = (1..=16).map(|column| row.get(column)).collect();
            assert_eq!(said, words(&entry));
        }
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auditors_role_reads_the_views_and_nothing_else() {
    let scene = Scene::new(TestDatabase::postgres()).await;
    let (one, two, _) = logs(&scene).await;
    let url = scene.database.url();
    let role: RoleName = "auditeur".parse().unwrap();
    audit_grant(url, &role).await.expect("granted");
    // Again, as after an update of the program, and for another: the first keeps its right.
    audit_grant(url, &"auditeur_2".parse().unwrap())
        .await
        .expect("granted");
    audit_grant(url, &role).await.expect("granted again");

    for role in ["auditeur", "auditeur_2"] {
        let url = url.replace("postgres@", &format!("{role}@"));
        let mut reader = PgConnection::connect(&url).await.expect("it connects");
        assert_words!(reader, "audit.entry", one.head().size + two.head().size);
        for query in examples() {
            sqlx::raw_sql(query)
                .execute(&mut reader)
                .await
                .unwrap_or_else(|e| panic!("{query}: {e}"));
        }
        let tables: Vec<String> = sqlx::query_scalar(
            "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p')",
        )
        .fetch_all(&mut reader)
        .await
        .unwrap();
        for named in [
            "grant_secret",
            "handle_index",
            "person_index",
            "claim",
            "ledger_evidence",
            "consumer_grant",
        ] {
            assert!(tables.iter().any(|table| table == named), "{named}");
        }
        sqlx::raw_sql("SET default_transaction_read_only = off")
            .execute(&mut reader)
            .await
            .unwrap();
        let mut forbidden: Vec<String> = tables
            .iter()
            .map(|table| format!("SELECT * FROM {table}"))
            .collect();
        forbidden.extend(VIEWS.map(|view| format!("DELETE FROM audit.{view}")));
        forbidden.extend(
            [
                "UPDATE audit.head SET size = 0",
                "INSERT INTO ledger_name (name) VALUES ('x')",
                "CREATE TABLE public.x (x INTEGER)",
                "CREATE VIEW audit.x AS SELECT 1",
                "DROP VIEW audit.entry",
            ]
            .map(str::to_owned),
        );
        for sql in forbidden {
            let done = sqlx::raw_sql(AssertSqlSafe(sql.clone()))
                .execute(&mut reader)
                .await;
            let refused = done
                .expect_err(&sql)
                .into_database_error()
                .expect("the server's word");
            // Insufficient privilege.
            assert!(
                matches!(refused.code().as_deref(), Some("42501" | "55000")),
                "{sql}: {refused}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_view_and_column_is_explained_in_the_database() {
    let scene = Scene::new(TestDatabase::postgres()).await;
    audit_grant(scene.database.url(), &"auditeur_3".parse().unwrap())
        .await
        .expect("granted");
    let mut conn = PgConnection::connect(scene.database.url()).await.unwrap();
    let explained: Vec<(String, String, Option<String>, Option<String>)> = sqlx::query_as(
        "SELECT c.relname::text, a.attname::text, obj_description(c.oid, 'pg_class'), col_description(c.oid, a.attnum) \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid \
         WHERE n.nspname = 'audit' AND a.attnum > 0 ORDER BY c.relname, a.attnum",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    let dictionary = unefois_store::audit::dictionary();
    assert!(explained.len() > 40);
    for (view, column, of_view, of_column) in explained {
        assert!(VIEWS.contains(&view.as_str()), "{view}");
        let (of_view, of_column) = (of_view.expect(&view), of_column.expect(&column));
        assert!(
            dictionary.contains(&of_view) && dictionary.contains(&of_column),
            "{view}.{column}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_do_more_is_not_an_auditors() {
    let scene = Scene::new(TestDatabase::postgres()).await;
    let url = scene.database.url();
    let mut conn = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(
        "CREATE ROLE puissant CREATEDB; CREATE ROLE membre IN ROLE puissant; CREATE ROLE lecteur; \
         GRANT SELECT ON ledger_entry TO lecteur",
    )
    .execute(&mut conn)
    .await
    .unwrap();
    for role in ["postgres", "puissant", "membre", "lecteur"] {
        let refused = audit_grant(url, &role.parse().unwrap()).await;
        assert!(matches!(refused, Err(GrantError::Mighty)), "{role}: {refused:?}");
    }
    let made: bool = sqlx::query_scalar("SELECT to_regnamespace('audit') IS NOT NULL")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert!(!made, "nothing is changed");
    let sqlite = TestDatabase::sqlite();
    let refused = audit_grant(sqlite.url(), &"auditeur".parse().unwrap()).await;
    assert!(matches!(refused, Err(GrantError::NotPostgres)), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_of_columns_of_public_or_by_default_is_found_too() {
    let scene = Scene::new(TestDatabase::postgres()).await;
    let url = scene.database.url();
    let mut conn = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql("CREATE ROLE lecteur_2")
        .execute(&mut conn)
        .await
        .unwrap();
    for (given, role) in [
        ("GRANT {} (secret) ON grant_secret {} lecteur_2", "lecteur_2"),
        ("GRANT {} ON grant_secret {} PUBLIC", "lecteur_2"),
        ("GRANT {} ON grant_secret {} PUBLIC", "auditeur_nouveau"),
        ("GRANT {} (mac) ON person_index {} PUBLIC", "auditeur_nouveau"),
        (
            "ALTER DEFAULT PRIVILEGES GRANT {} ON TABLES {} lecteur_2",
            "lecteur_2",
        ),
        (
            "ALTER DEFAULT PRIVILEGES GRANT {} ON TABLES {} PUBLIC",
            "auditeur_nouveau",
        ),
    ] {
        let sql = |given: &str, to: &str| given.replacen("{}", "SELECT", 1).replacen("{}", to, 1);
        let done = sqlx::raw_sql(AssertSqlSafe(sql(given, "TO")))
            .execute(&mut conn)
            .await;
        done.unwrap_or_else(|e| panic!("{given}: {e}"));
        let refused = audit_grant(url, &role.parse().unwrap()).await;
        assert!(matches!(refused, Err(GrantError::Mighty)), "{given}: {refused:?}");
        let taken = sql(&given.replace("GRANT", "REVOKE"), "FROM");
        sqlx::raw_sql(AssertSqlSafe(taken))
            .execute(&mut conn)
            .await
            .unwrap();
    }
    let made: bool = sqlx::query_scalar(
        "SELECT to_regnamespace('audit') IS NOT NULL OR EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'auditeur_nouveau')",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap();
    assert!(!made, "nothing is changed");
    audit_grant(url, &"lecteur_2".parse().unwrap())
        .await
        .expect("granted, once it has no other right");
}

async fn a_snapshot_has_the_views_and_nobody(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let (one, two, exchanges) = logs(&scene).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("registre.sqlite");
    let mut told = (0, 0);
    audit_snapshot(&scene.db, &file, |done, total| told = (done, total))
        .await
        .expect("copied");
    let size = one.head().size + two.head().size;
    assert_eq!(told, (size, size));
    assert_eq!(
        std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o400,
        "its owner's to read, and nobody else's"
    );
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        1,
        "one file, whole"
    );

    let url = format!("sqlite:{}?mode=ro", file.display());
    let mut reader = SqliteConnection::connect(&url).await.unwrap();
    assert_words!(reader, "audit_entry", size);
    for query in examples() {
        let query = query.replace("audit.", "audit_");
        sqlx::raw_sql(AssertSqlSafe(query.clone()))
            .execute(&mut reader)
            .await
            .unwrap_or_else(|e| panic!("{query}: {e}"));
    }
    for (view, expected) in VIEWS.iter().zip([size, 3, 1, 1, 2]) {
        let sql = AssertSqlSafe(format!("SELECT COUNT(*) FROM audit_{view}"));
        let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut reader).await.unwrap();
        assert_eq!(count.cast_unsigned(), expected, "{view}");
    }
    let ended: (i64, String, Option<String>) =
        sqlx::query_as("SELECT entries, event, reason FROM audit_exchange WHERE exchange_id = $1")
            .bind(exchanges[0].id.to_string())
            .fetch_one(&mut reader)
            .await
            .unwrap();
    assert_eq!(
        ended,
        (2, "refused".to_owned(), Some("TOKEN_CONSUMED".to_owned()))
    );
    let write = sqlx::raw_sql("DELETE FROM ledger_entry")
        .execute(&mut reader)
        .await;
    write.expect_err("nothing is written to it");
    // What opens, what finds, and evidence about exchanges are not in the file.
    let bytes = std::fs::read(&file).unwrap();
    for trace in exchanges.iter().flat_map(|exchange| exchange.traces(&one)) {
        assert!(
            !bytes
                .windows(trace.len())
                .any(|window| window == trace.as_slice())
        );
    }
}

async fn a_snapshot_takes_no_others_place(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("registre.sqlite");
    std::fs::write(&file, "something else").unwrap();
    let refused = audit_snapshot(&scene.db, &file, |_, _| {}).await;
    assert!(matches!(refused, Err(SnapshotError::Exists)), "{refused:?}");
    assert_eq!(std::fs::read(&file).unwrap(), b"something else");
    let nowhere = audit_snapshot(&scene.db, &folder.path().join("no/folder"), |_, _| {}).await;
    assert!(matches!(nowhere, Err(SnapshotError::File(_))), "{nowhere:?}");
    // What an attempt left that was cut short is no obstacle, and an empty log has a head.
    std::fs::write(folder.path().join("empty.sqlite.partial"), "half").unwrap();
    scene.open(1).await;
    audit_snapshot(&scene.db, &folder.path().join("empty.sqlite"), |_, _| {})
        .await
        .expect("copied");
    let url = format!("sqlite:{}?mode=ro", folder.path().join("empty.sqlite").display());
    let mut reader = SqliteConnection::connect(&url).await.unwrap();
    let head: (i64, Option<String>) = sqlx::query_as("SELECT size, at FROM audit_head")
        .fetch_one(&mut reader)
        .await
        .unwrap();
    assert_eq!(head, (0, None));
}
