//! A database that hangs, fills or goes away: who asked hears of it in time, and what became of the write is learnt later.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use unefois_core::{Clock as _, Entry, Event, Micros};
use unefois_ledger::{ClaimRequest, Draft, Error, Ledger, Safeguards, Standing};
use unefois_mesh::SystemClock;
use unefois_store::{Component, Db};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::scene::{Scene, again, claimed, events, fetch, open_gate, payload, release};

both_databases![i9_a_lock_that_is_held_holds_no_caller];

/// What a caller waits for at most, and what the machine may add.
const CALLER_WITHIN_MS: i64 = 2_000 + 8_000;
const LOOKED: Duration = Duration::from_secs(60);

fn entry(event: Event) -> Draft {
    Draft::new(Entry::new(event, Micros::new(0)))
}

pub(crate) async fn until(mut holds: impl FnMut() -> bool) {
    let mut look = tokio::time::interval(Duration::from_millis(10));
    let held = async {
        while !holds() {
            look.tick().await;
        }
    };
    tokio::time::timeout(LOOKED, held).await.expect("in time");
}

/// Releases while nothing can be written: the caller hears of it in time.
async fn unheard(ledger: &Ledger, request: ClaimRequest) {
    let began = SystemClock.boottime();
    let attempt = ledger.attempt(request).unwrap();
    let late = release(ledger, &attempt, payload(1), open_gate()).await;
    assert!(matches!(late, Err(Error::Unavailable)), "{late:?}");
    let waited = SystemClock.boottime().micros_since(began) / 1_000;
    assert!((2_000..CALLER_WITHIN_MS).contains(&waited), "{waited} ms");
}

async fn i9_a_lock_that_is_held_holds_no_caller(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open_in_service(1).await;
    let request = scene.once(scene.handle());
    let mut raw = crate::raw::Raw::open(&scene.database).await;
    raw.execute("BEGIN; UPDATE ledger_head SET at = at").await;
    unheard(&ledger, request.clone()).await;
    assert_eq!(ledger.head().size, 0);
    raw.execute("ROLLBACK").await;
    let retried = fetch(&ledger, request, payload(1)).await.unwrap();
    // On SQLite the writer gave up before anything was written; on PostgreSQL it waited, and the claim was made.
    let expected = match scene.db {
        Db::Sqlite(_) => {
            claimed(retried);
            vec![Event::Released]
        }
        Db::Postgres(_) => {
            again(retried);
            vec![Event::Released, Event::ReleasedAgain]
        }
    };
    assert_eq!(events(&ledger).await, expected);
}

/// A server of its own, and a connection that waits for no standby.
async fn alone() -> (Scene, PgConnection) {
    let database = TestDatabase::postgres_alone();
    let mut server = PgConnection::connect(database.url()).await.unwrap();
    sqlx::query("SET synchronous_commit = local")
        .execute(&mut server)
        .await
        .unwrap();
    (Scene::new(database).await, server)
}

async fn set(server: &mut PgConnection, names: &str) {
    let sql = format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'");
    sqlx::query(AssertSqlSafe(sql))
        .execute(&mut *server)
        .await
        .unwrap();
    sqlx::query("SELECT pg_reload_conf()")
        .execute(&mut *server)
        .await
        .unwrap();
    let mut look = tokio::time::interval(Duration::from_millis(10));
    while sqlx::query_scalar::<_, String>("SHOW synchronous_standby_names")
        .fetch_one(&mut *server)
        .await
        .unwrap()
        != names
    {
        look.tick().await;
    }
}

/// Waits until commits wait for a standby that is not there: the server takes the setting up in its own time, whatever it
/// shows.
async fn commits_wait(database: &TestDatabase, server: &mut PgConnection) {
    const COMMIT: &str = "SELECT pg_logical_emit_message(true, 'probe', '')";
    const FREE: &str =
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND pid = $1";
    let mut probe = PgConnection::connect(database.url()).await.unwrap();
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(&mut probe)
        .await
        .unwrap();
    let mut look = tokio::time::interval(Duration::from_millis(10));
    let held = async {
        loop {
            let commit = sqlx::query(COMMIT).execute(&mut probe);
            tokio::pin!(commit);
            loop {
                tokio::select! {
                    done = &mut commit => {
                        done.unwrap();
                        break;
                    }
                    _ = look.tick() => {
                        let freed: Option<bool> =
                            sqlx::query_scalar(FREE).bind(pid).fetch_optional(&mut *server).await.unwrap();
                        if freed.is_some() {
                            return commit.await.map(drop);
                        }
                    }
                }
            }
        }
    };
    let held = tokio::time::timeout(LOOKED, held).await.expect("in time");
    held.unwrap();
}

async fn waiting(server: &mut PgConnection) -> i64 {
    const SQL: &str =
        "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND datname = current_database()";
    sqlx::query_scalar(SQL).fetch_one(server).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn i9_a_hung_standby_holds_the_commit_and_no_caller() {
    let (scene, mut server) = alone().await;
    let ledger = scene.open_in_service(1).await;
    // Names that entries repeat are written once, before the first entry that needs them.
    claimed(
        fetch(&ledger, scene.once(scene.handle()), payload(1))
            .await
            .unwrap(),
    );
    let (first, second) = (scene.once(scene.handle()), scene.once(scene.handle()));
    set(&mut server, "absent").await;
    commits_wait(&scene.database, &mut server).await;
    unheard(&ledger, first.clone()).await;
    unheard(&ledger, second.clone()).await;
    // A commit that is cancelled would succeed unreplicated: nobody cancels it.
    assert_eq!(waiting(&mut server).await, 1);
    assert_eq!(ledger.head().size, 1, "nothing is shown before it is on both");
    set(&mut server, "").await;
    until(|| ledger.head().size == 2).await;
    assert_eq!(waiting(&mut server).await, 0);
    // The one was written, and is told once; the other's caller had gone before anything was decided.
    again(fetch(&ledger, first, payload(1)).await.unwrap());
    claimed(fetch(&ledger, second, payload(1)).await.unwrap());
    let written = [Event::Released, Event::ReleasedAgain, Event::Released];
    assert_eq!(events(&ledger).await[1..], written);
}

/// A reader of the server's log that says what it has on disk, as a standby does.
struct Standby(Child, #[expect(dead_code, reason = "held")] tempfile::TempDir);

impl Standby {
    fn attach(database: &TestDatabase) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (_, host) = database.url().split_once("?host=").unwrap();
        let programs = std::fs::read_dir("/usr/lib/postgresql").unwrap();
        let programs: Vec<PathBuf> = programs
            .map(|version| version.unwrap().path().join("bin"))
            .collect();
        let receiver = programs.iter().max().unwrap().join("pg_receivewal");
        let child = Command::new(receiver)
            .args(["--synchronous", "--no-loop", "-D"])
            .arg(folder.path())
            .args([
                "-d",
                &format!("host={host} user=postgres application_name=second"),
            ])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child, folder)
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i9_without_the_standby_that_must_be_there_no_exchange_begins() {
    let (scene, mut server) = alone().await;
    let required = Safeguards {
        synchronous_standby: true,
        ..Safeguards::default()
    };
    let open = async || scene.open_with(scene.db.clone(), 1, required.clone()).await;
    let refused = async |what: &str| {
        let error = open().await.expect_err(what);
        let Error::Store(error @ unefois_store::Error::Standby(_)) = error else {
            panic!("{error}")
        };
        assert!(error.to_string().contains(what), "{error}");
    };
    refused("synchronous_standby_names is empty").await;
    let standby = Standby::attach(&scene.database);
    set(&mut server, "second").await;
    let mut look = tokio::time::interval(Duration::from_millis(50));
    while scene.db.check_standby().await.is_err() {
        look.tick().await;
    }
    let ledger = open().await.unwrap();
    claimed(
        fetch(&ledger, scene.once(scene.handle()), payload(1))
            .await
            .unwrap(),
    );
    drop(standby);
    until(|| ledger.standing() == Standing::Unreplicated).await;
    assert!(matches!(
        ledger.may_exchange(),
        Err(Error::ReadOnly(Standing::Unreplicated))
    ));
    let standby = Standby::attach(&scene.database);
    until(|| ledger.standing() == Standing::Open).await;
    claimed(
        fetch(&ledger, scene.once(scene.handle()), payload(1))
            .await
            .unwrap(),
    );
    ledger.close().await;
    drop(standby);
    while scene.db.check_standby().await.is_ok() {
        look.tick().await;
    }
    refused("none is attached").await;
}

/// A log of one entry whose second is committed and on no standby: the last one left, and an operator cancelled the wait
/// for it. The commit succeeds then, with a warning that the driver keeps to itself.
async fn cancelled_without_a_standby() -> (Scene, PgConnection, Ledger) {
    const CANCEL: &str = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    let (scene, mut server) = alone().await;
    let required = Safeguards {
        synchronous_standby: true,
        ..Safeguards::default()
    };
    let standby = Standby::attach(&scene.database);
    set(&mut server, "second").await;
    let mut look = tokio::time::interval(Duration::from_millis(10));
    while scene.db.check_standby().await.is_err() {
        look.tick().await;
    }
    let ledger = scene.open_with(scene.db.clone(), 1, required).await.unwrap();
    ledger.append(entry(Event::Admin)).await.unwrap();
    drop(standby);
    while scene.db.check_standby().await.is_ok() {
        look.tick().await;
    }
    let cancelled = async {
        while waiting(&mut server).await == 0 {
            look.tick().await;
        }
        sqlx::query(CANCEL).execute(&mut server).await.unwrap();
    };
    let (unheard, ()) = tokio::join!(ledger.append(entry(Event::Admin)), cancelled);
    assert!(matches!(unheard, Err(Error::Unavailable)), "{unheard:?}");
    assert_eq!(waiting(&mut server).await, 0);
    let size = sqlx::query_scalar::<_, i64>("SELECT size FROM ledger_head");
    assert_eq!(size.fetch_one(&mut server).await.unwrap(), 2, "it is committed");
    (scene, server, ledger)
}

#[tokio::test(flavor = "multi_thread")]
async fn i9_a_cancelled_wait_for_the_standby_acknowledges_nothing() {
    let (scene, _, ledger) = cancelled_without_a_standby().await;
    assert_eq!(ledger.head().size, 1, "nothing is shown before it is on both");
    let _standby = Standby::attach(&scene.database);
    until(|| ledger.head().size == 2).await;
    ledger.append(entry(Event::Admin)).await.unwrap();
}

/// Where the server asks for no standby any more, nothing but the process waits for one.
#[tokio::test(flavor = "multi_thread")]
async fn i9_a_process_that_waits_for_a_standby_can_be_stopped() {
    let (_scene, mut server, ledger) = cancelled_without_a_standby().await;
    set(&mut server, "").await;
    let closed = tokio::time::timeout(LOOKED, ledger.close()).await;
    closed.expect("the wait ends with the process");
    assert_eq!(ledger.head().size, 1, "nothing is shown before it is on both");
}

#[tokio::test(flavor = "multi_thread")]
async fn i9_a_standby_decides_nothing() {
    let mut database = TestDatabase::postgres_alone();
    let db = Db::open(database.url(), Component::Node).await.unwrap();
    db.close().await;
    database.server_shell("touch data/standby.signal && $1/pg_ctl -D data -w -s -l log restart -m fast");
    let mut look = tokio::time::interval(Duration::from_millis(50));
    let refused = async {
        loop {
            look.tick().await;
            match Db::open(database.url(), Component::Node).await {
                Err(unefois_store::Error::Recovery) => return,
                Ok(db) => db.close().await,
                Err(_) => {}
            }
        }
    };
    tokio::time::timeout(LOOKED, refused)
        .await
        .expect("a standby is refused");
    Db::open_for_reading(database.url())
        .await
        .expect("an audit may read it");
}

/// Deleted or replaced, the file is nobody's any more, and that is known while nobody writes.
#[tokio::test(flavor = "multi_thread")]
async fn i9_a_sqlite_file_that_goes_while_idle_stops_the_log() {
    for replace in [false, true] {
        let scene = Scene::new(TestDatabase::sqlite()).await;
        let ledger = scene.open(1).await;
        ledger.append(entry(Event::Admin)).await.unwrap();
        let path = scene.database.url().strip_prefix("sqlite:").unwrap();
        match replace {
            true => {
                let other = format!("{path}.other");
                std::fs::copy(path, &other).unwrap();
                std::fs::rename(&other, path).unwrap();
            }
            false => std::fs::remove_file(path).unwrap(),
        }
        until(|| ledger.standing() == Standing::Replaced).await;
        let refused = ledger.append(entry(Event::Admin)).await;
        assert!(
            matches!(refused, Err(Error::ReadOnly(Standing::Replaced))),
            "{refused:?}"
        );
    }
}

/// Below the floor no exchange begins, and what has to be said is still written.
#[tokio::test(flavor = "multi_thread")]
async fn i9_too_little_disk_stops_exchanges_alone() {
    // A file system that nothing else fills meanwhile.
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let url = format!("sqlite:{}", folder.path().join("unefois.db").display());
    let scene = Scene::new(TestDatabase::sqlite()).await;
    let db = Db::open(&url, Component::Node).await.unwrap();
    let free = db.free_bytes().unwrap().expect("SQLite has a disk");
    let spared = (64 << 20).min(free / 4);
    let safeguards = Safeguards {
        disk_floor_bytes: free - spared,
        ..Safeguards::default()
    };
    let ledger = scene.open_with(db, 1, safeguards).await.unwrap();
    let request = scene.once(scene.handle());
    claimed(fetch(&ledger, request.clone(), payload(1)).await.unwrap());
    let begun = ledger.attempt(scene.once(scene.handle())).unwrap();

    let filler = folder.path().join("filler");
    std::fs::write(&filler, vec![1; 2 * usize::try_from(spared).unwrap()]).unwrap();
    until(|| ledger.standing() == Standing::DiskFloor).await;
    assert!(!ledger.is_writable());
    let low = |error: Error| assert!(matches!(error, Error::ReadOnly(Standing::DiskFloor)), "{error}");
    low(ledger.begin(request).await.expect_err("no exchange begins"));
    low(release(&ledger, &begun, payload(1), open_gate())
        .await
        .expect_err("nothing is released"));
    low(ledger.append(entry(Event::Minted)).await.expect_err("no token"));
    drop(begun);
    for event in [Event::Refused, Event::Admin, Event::Received, Event::Withdrawn] {
        ledger.append(entry(event)).await.expect("it is written");
    }
    ledger.tally(scene.clock.now()).await.expect("it is written");

    std::fs::remove_file(filler).unwrap();
    until(|| ledger.standing() == Standing::Open).await;
    claimed(
        fetch(&ledger, scene.once(scene.handle()), payload(1))
            .await
            .unwrap(),
    );
}
