//! What a consumer holds, on both databases: what serves once serves once, and pages lose nothing.

#[path = "../../../tests/kit/database.rs"]
pub mod database;

use database::TestDatabase;
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};
use unefois_core::{ExchangeId, Micros, RevocationView, Sha256};
use unefois_store::node::authorization::{Pending, pending_find, pending_insert, pending_take};
use unefois_store::node::feed::{feed_advance, feed_place};
use unefois_store::node::grant::{
    After, ElementRow, ElementState, GrantRow, element_end, element_find, element_used, grant_elements,
    grant_find, grant_insert, grant_lock, grant_page, grant_seal, grant_serves,
};
use unefois_store::node::notice::{
    Given, Notice, NoticeKind, grants_ending, notice_head, notices, notices_insert,
};
use unefois_store::node::request::{
    Before, RequestRow, acknowledgement_insert, acknowledgements, acknowledgements_delete, consumer_sweep,
    request_begin,
};
use unefois_store::{Component, Db};

both_databases![
    a_state_is_taken_once,
    an_element_ends_once_and_stays_ended,
    a_place_never_goes_back,
    notices_are_numbered_in_the_order_of_commits,
    the_end_of_a_grant_is_announced_twice,
    a_request_id_stands_for_its_first_request,
    acknowledgements_are_told_oldest_first_and_forgotten,
    pages_follow_one_another_without_gap,
    a_sweep_takes_what_is_over_and_nothing_else,
    what_was_one_participant_s_is_still_its_own
];

const TENANT: &str = "21920023500014";
const OTHER: &str = "18003506500010";

async fn open(database: &TestDatabase) -> Db {
    Db::open(database.url(), Component::Node)
        .await
        .expect("a database")
}

fn exchange(n: u8) -> ExchangeId {
    format!("0190163d-8694-739b-aea5-966c26f8ad{n:02x}")
        .parse()
        .expect("an id")
}

fn pending(state: u8, expires_at: i64) -> Pending {
    Pending {
        state: [state; 32],
        tenant: TENANT.to_owned(),
        session: [9; 32],
        sealed: vec![1, 2, 3],
        expires_at: Micros::new(expires_at),
    }
}

fn grant(n: u8, at: i64) -> (GrantRow, Vec<ElementRow>) {
    let mac = [n; 32];
    let row = GrantRow {
        mac,
        tenant: TENANT.to_owned(),
        dossier: [n % 2; 32],
        at: Micros::new(at),
        ends_at: Micros::new(at + 100),
        sealed: vec![n],
    };
    let element = |place: u8| ElementRow {
        handle: [n * 16 + place; 32],
        grant: mac,
        place: place.into(),
        state: ElementState::Active,
        request_id: None,
        sealed: vec![place],
    };
    (row, vec![element(0), element(1)])
}

async fn keep(db: &Db, n: u8, at: i64) {
    let (row, elements) = grant(n, at);
    let mut tx = db.begin().await.expect("a transaction");
    grant_insert(&mut tx, &row, &elements).await.expect("kept");
    tx.commit().await.expect("a commit");
}

async fn a_state_is_taken_once(database: TestDatabase) {
    let db = open(&database).await;
    assert_eq!(pending_take(&db, TENANT, &[1; 32]).await.expect("reads"), None);
    let mut tx = db.begin().await.expect("a transaction");
    pending_insert(&mut tx, &pending(1, 5)).await.expect("kept");
    assert!(
        pending_insert(&mut tx, &pending(1, 6)).await.is_err(),
        "the same state again"
    );
    drop(tx);
    let mut tx = db.begin().await.expect("a transaction");
    pending_insert(&mut tx, &pending(1, 5)).await.expect("kept");
    tx.commit().await.expect("a commit");
    assert_eq!(pending_take(&db, OTHER, &[1; 32]).await.expect("reads"), None);
    assert_eq!(pending_find(&db, OTHER, &[1; 32]).await.expect("reads"), None);
    let found = pending_find(&db, TENANT, &[1; 32]).await.expect("reads");
    assert_eq!(found, Some(pending(1, 5)), "another tenant took nothing");
    let (one, two) = tokio::join!(
        pending_take(&db, TENANT, &[1; 32]),
        pending_take(&db, TENANT, &[1; 32])
    );
    let taken: Vec<_> = [one, two]
        .into_iter()
        .filter_map(|taken| taken.expect("reads"))
        .collect();
    assert_eq!(taken, [pending(1, 5)]);
    db.close().await;
}

async fn an_element_ends_once_and_stays_ended(database: TestDatabase) {
    let db = open(&database).await;
    keep(&db, 1, 10).await;
    let (row, elements) = grant(1, 10);
    let mut tx = db.begin().await.expect("a transaction");
    assert!(
        grant_insert(&mut tx, &row, &elements).await.is_err(),
        "held already"
    );
    drop(tx);
    let mut tx = db.begin().await.expect("a transaction");
    let (id, again) = (exchange(1), exchange(2));
    let (one, other) = ([16; 32], [17; 32]);
    assert!(element_used(&mut tx, &one, &id).await.expect("used"));
    assert!(!element_used(&mut tx, &one, &again).await.expect("used before"));
    for (handle, state, ended) in [
        ([99; 32], ElementState::Withdrawn, None),
        (one, ElementState::Withdrawn, Some([1; 32])),
        (one, ElementState::GivenBack, None),
        (other, ElementState::GivenBack, Some([1; 32])),
        (other, ElementState::Withdrawn, None),
    ] {
        assert!(grant_serves(&mut tx, &[1; 32]).await.expect("counts") || ended.is_none());
        assert_eq!(element_end(&mut tx, &handle, state).await.expect("ends"), ended);
    }
    assert!(!grant_serves(&mut tx, &[1; 32]).await.expect("counts"));
    assert!(!element_used(&mut tx, &other, &id).await.expect("ended"));
    assert_eq!(grant_lock(&mut tx, &[2; 32]).await.expect("reads"), None);
    let locked = grant_lock(&mut tx, &[1; 32]).await.expect("reads");
    assert_eq!(locked.as_ref(), Some(&row));
    grant_seal(&mut tx, &[1; 32], b"other").await.expect("sealed");
    tx.commit().await.expect("a commit");
    let elements = grant_elements(&db, &[1; 32]).await.expect("reads");
    let states: Vec<_> = elements.iter().map(|e| (e.state, e.request_id)).collect();
    assert_eq!(
        states,
        [
            (ElementState::Withdrawn, Some(id)),
            (ElementState::GivenBack, None)
        ]
    );
    let row = GrantRow {
        sealed: b"other".to_vec(),
        ..row
    };
    assert_eq!(grant_find(&db, &[1; 32]).await.expect("reads"), Some(row));
    assert_eq!(grant_find(&db, &[2; 32]).await.expect("reads"), None);
    db.close().await;
}

async fn a_place_never_goes_back(database: TestDatabase) {
    let db = open(&database).await;
    let [one, other] = ["13002526500013", "18003506500010"]
        .map(|siret| format!("urn:unefois:participant:{siret}").parse().expect("an id"));
    assert_eq!(feed_place(&db, &one).await.expect("reads"), None);
    let at = |epoch, seq| RevocationView { epoch, seq };
    for (told, place) in [
        (at(1, 0), at(1, 0)),
        (at(1, 5), at(1, 5)),
        (at(1, 4), at(1, 5)),
        (at(2, 5), at(2, 5)),
        (at(1, 5), at(2, 5)),
    ] {
        let mut tx = db.begin().await.expect("a transaction");
        feed_advance(&mut tx, &one, told).await.expect("noted");
        tx.commit().await.expect("a commit");
        assert_eq!(feed_place(&db, &one).await.expect("reads"), Some(place));
    }
    assert_eq!(feed_place(&db, &other).await.expect("reads"), None);
    db.close().await;
}

fn notice(tenant: &str, handle: u8, at: i64) -> Notice {
    Notice {
        tenant: tenant.to_owned(),
        handle: [handle; 32],
        kind: NoticeKind::Withdrawn,
        at: Micros::new(at),
    }
}

async fn notices_are_numbered_in_the_order_of_commits(database: TestDatabase) {
    let db = open(&database).await;
    keep(&db, 1, 10).await;
    keep(&db, 2, 20).await;
    let mut tx = db.begin().await.expect("a transaction");
    notices_insert(&mut tx, &[notice(TENANT, 16, 1)])
        .await
        .expect("given");
    // Rolled back: its number is nobody's, and the next one gets it.
    drop(tx);
    let give = async |first: u8| {
        let mut tx = db.begin().await.expect("a transaction");
        let two = [
            notice(TENANT, first, 1),
            notice(OTHER, first, 2),
            notice(TENANT, first + 1, 3),
        ];
        notices_insert(&mut tx, &two).await.expect("given");
        tx.commit().await.expect("a commit");
    };
    tokio::join!(give(16), give(32));
    let all = notices(&db, TENANT, 0, 9).await.expect("reads");
    assert_eq!(all.iter().map(|n| n.seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let pair = |n: &[Given]| [n[0].handle[0], n[1].handle[0]];
    let mut pairs = [pair(&all[..2]), pair(&all[2..])];
    pairs.sort_unstable();
    assert_eq!(pairs, [[16, 17], [32, 33]]);
    assert_eq!(notices(&db, TENANT, 1, 2).await.expect("reads"), all[1..3]);
    assert_eq!(notices(&db, TENANT, 4, 9).await.expect("reads"), []);
    assert_eq!(notice_head(&db, TENANT).await.expect("reads"), 4);
    assert_eq!(notice_head(&db, OTHER).await.expect("reads"), 2);
    assert_eq!(notice_head(&db, "nobody").await.expect("reads"), 0);

    // What is said of a grant goes with it, and the numbers go on.
    let mut tx = db.begin().await.expect("a transaction");
    let before = Before {
        now: Micros::new(0),
        requests: Micros::new(0),
        grants: Micros::new(115),
    };
    consumer_sweep(&mut tx, before).await.expect("swept");
    notices_insert(&mut tx, &[notice(TENANT, 32, 5)])
        .await
        .expect("given");
    tx.commit().await.expect("a commit");
    let left = notices(&db, TENANT, 0, 9).await.expect("reads");
    assert!(left.iter().all(|n| n.handle[0] >= 32));
    assert_eq!(left.last().map(|n| n.seq), Some(5));
    db.close().await;
}

async fn the_end_of_a_grant_is_announced_twice(database: TestDatabase) {
    let db = open(&database).await;
    keep(&db, 1, 10).await;
    keep(&db, 2, 1_000).await;
    // It lives from 10 to 110: a tenth of that is left at 100.
    for (now, due) in [
        (99, vec![]),
        (100, vec![1]),
        (105, vec![]),
        (110, vec![1]),
        (200, vec![]),
    ] {
        let mut tx = db.begin().await.expect("a transaction");
        let rows = grants_ending(&mut tx, Micros::new(now)).await.expect("reads");
        tx.commit().await.expect("a commit");
        assert_eq!(
            rows.iter().map(|row| row.mac[0]).collect::<Vec<_>>(),
            due,
            "at {now}"
        );
    }
    // Whoever looked too late for the first hears the second alone; of two that look at once, one.
    let look = async || {
        let mut tx = db.begin().await.expect("a transaction");
        let rows = grants_ending(&mut tx, Micros::new(2_000)).await.expect("reads");
        tx.commit().await.expect("a commit");
        rows.len()
    };
    let (one, two) = tokio::join!(look(), look());
    assert_eq!(one + two, 1);
    assert_eq!(look().await, 0);
    db.close().await;
}

async fn a_request_id_stands_for_its_first_request(database: TestDatabase) {
    let db = open(&database).await;
    let row = |sealed: u8, at: i64| RequestRow {
        tenant: TENANT.to_owned(),
        request_id: exchange(1),
        handle: [sealed; 32],
        attempts: 1,
        at: Micros::new(at),
        sealed: vec![sealed],
    };
    for (given, attempts) in [(row(1, 10), 1), (row(1, 20), 2), (row(2, 30), 3)] {
        let mut tx = db.begin().await.expect("a transaction");
        let stands = request_begin(&mut tx, &given).await.expect("begun");
        tx.commit().await.expect("a commit");
        assert_eq!(
            stands,
            RequestRow {
                attempts,
                ..row(1, 10)
            }
        );
    }
    // Another tenant's request of the same id is a first one: it does not show that there is another.
    let other = RequestRow {
        tenant: OTHER.to_owned(),
        ..row(2, 40)
    };
    let mut tx = db.begin().await.expect("a transaction");
    assert_eq!(request_begin(&mut tx, &other).await.expect("begun"), other);
    tx.commit().await.expect("a commit");
    db.close().await;
}

async fn acknowledgements_are_told_oldest_first_and_forgotten(database: TestDatabase) {
    let db = open(&database).await;
    let leaf = |n: u8| Sha256::from_bytes([n; 32]);
    let mut tx = db.begin().await.expect("a transaction");
    for (provider, n, at) in [
        (TENANT, 3, 1),
        (TENANT, 1, 2),
        (TENANT, 2, 3),
        (OTHER, 9, 0),
        (TENANT, 3, 9),
    ] {
        acknowledgement_insert(&mut tx, TENANT, provider, &leaf(n), Micros::new(at))
            .await
            .expect("noted");
    }
    tx.commit().await.expect("a commit");
    assert_eq!(
        acknowledgements(&db, TENANT, TENANT, 2).await.expect("reads"),
        [leaf(3), leaf(1)]
    );
    let mut tx = db.begin().await.expect("a transaction");
    // Another tenant's of the same entry is its own.
    acknowledgement_insert(&mut tx, OTHER, TENANT, &leaf(3), Micros::new(1))
        .await
        .expect("noted");
    acknowledgements_delete(&mut tx, TENANT, TENANT, &[leaf(3), leaf(9)])
        .await
        .expect("forgotten");
    tx.commit().await.expect("a commit");
    assert_eq!(
        acknowledgements(&db, TENANT, TENANT, 9).await.expect("reads"),
        [leaf(1), leaf(2)]
    );
    assert_eq!(
        acknowledgements(&db, TENANT, OTHER, 9).await.expect("reads"),
        [leaf(9)]
    );
    assert_eq!(
        acknowledgements(&db, OTHER, TENANT, 9).await.expect("reads"),
        [leaf(3)]
    );
    db.close().await;
}

async fn pages_follow_one_another_without_gap(database: TestDatabase) {
    let db = open(&database).await;
    // Three of the same instant: the name alone orders them.
    for (n, at) in [(1, 10), (2, 20), (3, 20), (4, 20), (5, 30)] {
        keep(&db, n, at).await;
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = grant_page(&db, TENANT, None, after.as_ref(), 2)
            .await
            .expect("a page");
        let Some(last) = page.last() else { break };
        after = Some(After {
            at: last.at,
            mac: last.mac,
        });
        seen.extend(page.iter().map(|row| row.mac[0]));
    }
    assert_eq!(seen, [5, 4, 3, 2, 1]);
    let odd = grant_page(&db, TENANT, Some(&[1; 32]), None, 9)
        .await
        .expect("a page");
    assert_eq!(odd.iter().map(|row| row.mac[0]).collect::<Vec<_>>(), [5, 3, 1]);
    assert!(
        grant_page(&db, OTHER, None, None, 9)
            .await
            .expect("a page")
            .is_empty()
    );
    db.close().await;
}

async fn a_sweep_takes_what_is_over_and_nothing_else(database: TestDatabase) {
    let db = open(&database).await;
    keep(&db, 1, 10).await;
    keep(&db, 2, 20).await;
    let mut tx = db.begin().await.expect("a transaction");
    pending_insert(&mut tx, &pending(1, 50)).await.expect("kept");
    pending_insert(&mut tx, &pending(2, 51)).await.expect("kept");
    for n in [1, 2] {
        let row = RequestRow {
            tenant: TENANT.to_owned(),
            request_id: exchange(n),
            handle: [n; 32],
            attempts: 1,
            at: Micros::new(i64::from(n) * 10),
            sealed: vec![],
        };
        request_begin(&mut tx, &row).await.expect("begun");
    }
    let before = Before {
        now: Micros::new(50),
        requests: Micros::new(20),
        grants: Micros::new(120),
    };
    assert_eq!(consumer_sweep(&mut tx, before).await.expect("swept"), 3);
    tx.commit().await.expect("a commit");
    assert!(
        pending_take(&db, TENANT, &[1; 32])
            .await
            .expect("reads")
            .is_none()
    );
    assert!(
        pending_take(&db, TENANT, &[2; 32])
            .await
            .expect("reads")
            .is_some()
    );
    assert!(
        element_find(&db, &[16; 32]).await.expect("reads").is_none(),
        "its elements go with a grant"
    );
    assert!(element_find(&db, &[32; 32]).await.expect("reads").is_some());
    db.close().await;
}

/// Opens `database` as a node left it that could serve one participant alone, with what `sql` puts there: `X` stands
/// before each text of 32 hexadecimal digits that are bytes, `U` before each that is an id.
async fn of_one_participant(database: &TestDatabase, sql: &str) {
    let first = |all: &Migrator| {
        let mut first = Migrator::with_migrations(all.iter().take(4).cloned().collect());
        first.dangerous_set_table_name("migration_node");
        first
    };
    let url = database.url();
    if url.starts_with("sqlite:") {
        let mut conn = SqliteConnection::connect(&format!("{url}?mode=rwc"))
            .await
            .expect("opens");
        let all = first(&sqlx::migrate!("../../migrations/node/sqlite"));
        all.run_direct(None, &mut conn, false).await.expect("migrated");
        let sql = AssertSqlSafe(sql.replace("U'", "X'"));
        sqlx::raw_sql(sql).execute(&mut conn).await.expect("written");
        conn.close().await.expect("closed");
    } else {
        let mut conn = PgConnection::connect(url).await.expect("opens");
        let all = first(&sqlx::migrate!("../../migrations/node/postgres"));
        all.run_direct(None, &mut conn, false).await.expect("migrated");
        let sql = AssertSqlSafe(sql.replace("U'", "'").replace("X'", "'\\x"));
        sqlx::raw_sql(sql).execute(&mut conn).await.expect("written");
        conn.close().await.expect("closed");
    }
}

async fn what_was_one_participant_s_is_still_its_own(database: TestDatabase) {
    let bytes = |n: u8| format!("{n:02x}").repeat(32);
    let id = exchange(1).to_string().replace('-', "");
    let sql = format!(
        "INSERT INTO consumer_grant (mac, tenant, dossier, at, ends_at, sealed) \
         VALUES (X'{one}', '{TENANT}', X'{one}', 10, 110, X'{one}'); \
         INSERT INTO consumer_request (request_id, handle, attempts, at, sealed) \
         VALUES (U'{id}', X'{one}', 2, 10, X'{one}'); \
         INSERT INTO consumer_acknowledgement (provider, leaf, at) VALUES ('{OTHER}', X'{two}', 5);",
        one = bytes(1),
        two = bytes(2)
    );
    of_one_participant(&database, &sql).await;
    let db = open(&database).await;
    let again = RequestRow {
        tenant: TENANT.to_owned(),
        request_id: exchange(1),
        handle: [1; 32],
        attempts: 1,
        at: Micros::new(20),
        sealed: vec![9],
    };
    let mut tx = db.begin().await.expect("a transaction");
    let stands = request_begin(&mut tx, &again).await.expect("begun");
    tx.commit().await.expect("a commit");
    let as_it_was = RequestRow {
        attempts: 3,
        at: Micros::new(10),
        sealed: vec![1; 32],
        ..again
    };
    assert_eq!(stands, as_it_was);
    let told = acknowledgements(&db, TENANT, OTHER, 9).await.expect("reads");
    assert_eq!(told, [Sha256::from_bytes([2; 32])]);
    db.close().await;
}
