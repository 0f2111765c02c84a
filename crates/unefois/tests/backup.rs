//! Backups as they are typed: taken while a process writes, restored where nothing is, and never a fork.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../../tests/kit/database.rs"]
pub mod database;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use database::TestDatabase;
use sqlx::{Connection as _, PgConnection, SqliteConnection};
use tempfile::TempDir;
use unefois_core::commitment::NodeKey;
use unefois_core::{Entry, Event, Micros};
use unefois_ledger::{Draft, Error, Keys, Ledger, Safeguards, Standing};
use unefois_mesh::{SystemClock, SystemRandom};
use unefois_store::authority::restored::standing_read;
use unefois_store::{Component, Db};
use unefois_tlog::{KeyName, SignerKey};

both_databases![
    i7_a_restored_backup_is_read_only_until_it_is_shown_to_be_the_last,
    i7_what_is_not_a_sound_backup_is_not_restored,
    i7_a_log_is_closed_for_ever,
    i3_a_restored_authority_is_marked_until_its_withdrawals_are_known,
    a_backup_is_its_owners_alone,
];

const ORIGIN: &str = "urn:unefois:participant:18003506500010/1";

fn unefois(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_unefois"))
        .args(args)
        .output()
        .expect("the program runs")
}

fn assert_ends(output: &Output, code: i32) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
}

fn name() -> KeyName {
    ORIGIN.parse().unwrap()
}

async fn open(url: &str) -> Result<(Db, Ledger), Error> {
    opened(url, Component::Node).await
}

async fn opened(url: &str, component: Component) -> Result<(Db, Ledger), Error> {
    let db = Db::open(url, component).await?;
    let keys = Keys {
        signer: SignerKey::new(name(), &[1; 32]),
        node_key: NodeKey::new(&[2; 32]),
    };
    let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom::new()));
    let ledger = Ledger::open(db.clone(), keys, Safeguards::default(), clock, random).await;
    match ledger {
        Ok(ledger) => Ok((db, ledger)),
        Err(error) => {
            db.close().await;
            Err(error)
        }
    }
}

async fn grow(ledger: &Ledger, entries: usize) {
    for _ in 0..entries {
        let draft = Draft::new(Entry::new(Event::Admin, Micros::new(0)));
        ledger.append(draft).await.unwrap();
    }
}

/// A log of 300 entries, open, and a backup of it.
struct BackedUp {
    db: Db,
    ledger: Ledger,
    from: PathBuf,
    _folder: TempDir,
}

impl BackedUp {
    async fn new(database: &TestDatabase) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("backup");
        let (db, ledger) = open(database.url()).await.unwrap();
        grow(&ledger, 300).await;
        let backup = unefois(&["db", "backup", "--database", database.url(), "--to", text(&from)]);
        assert_ends(&backup, 0);
        Self {
            db,
            ledger,
            from,
            _folder: folder,
        }
    }

    async fn close(&self) {
        self.ledger.close().await;
        self.db.close().await;
    }

    /// Asserts that `target` holds the log as it was backed up, and marked so.
    async fn assert_restored(&self, target: &TestDatabase) {
        let (db, ledger) = open(target.url()).await.unwrap();
        assert_eq!((ledger.head().size, ledger.standing()), (300, Standing::Unproved));
        ledger.close().await;
        db.close().await;
    }
}

/// An empty place of the same kind.
fn elsewhere(database: &TestDatabase) -> TestDatabase {
    match database.url().starts_with("sqlite:") {
        true => TestDatabase::sqlite(),
        false => TestDatabase::postgres(),
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

async fn i7_a_restored_backup_is_read_only_until_it_is_shown_to_be_the_last(database: TestDatabase) {
    let folder = tempfile::tempdir().unwrap();
    let (db, ledger) = open(database.url()).await.unwrap();
    grow(&ledger, 300).await;
    let to = folder.path().join("backup");
    let backup = ["db", "backup", "--database", database.url(), "--to", text(&to)];
    // The process goes on meanwhile.
    let (taken, ()) = tokio::join!(
        tokio::task::spawn_blocking({
            let args = backup.map(str::to_owned);
            move || unefois(&args.iter().map(String::as_str).collect::<Vec<_>>())
        }),
        grow(&ledger, 40)
    );
    assert_ends(&taken.unwrap(), 0);
    assert_ends(&unefois(&backup), 73);
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(to.join("manifest.json")).unwrap()).unwrap();
    let size = manifest["logs"][0]["size"].as_u64().unwrap();
    assert!((300..=340).contains(&size), "{size}");

    // Never over a log.
    let restore = |to: &str| {
        unefois(&[
            "db",
            "restore",
            "--from",
            text(&folder.path().join("backup")),
            "--database",
            to,
        ])
    };
    assert_ends(&restore(database.url()), 73);
    let restored = elsewhere(&database);
    assert_ends(&restore(restored.url()), 0);
    assert_ends(&restore(restored.url()), 73);
    ledger.close().await;
    db.close().await;

    for _ in 0..2 {
        let (db, ledger) = open(restored.url()).await.unwrap();
        assert_eq!(
            (ledger.head().size, ledger.standing()),
            (size, Standing::Unproved)
        );
        let refused = ledger
            .append(Draft::new(Entry::new(Event::Admin, Micros::new(0))))
            .await;
        assert!(
            matches!(refused, Err(Error::ReadOnly(Standing::Unproved))),
            "{refused:?}"
        );
        assert_eq!(ledger.entries(0, size).await.unwrap().len() as u64, size);
        ledger.close().await;
        db.close().await;
    }
    let status = unefois(&["--json", "db", "status", "--database", restored.url()]);
    assert_ends(&status, 0);
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert!(status["logs"][0]["restored_at_us"].is_i64(), "{status}");
}

async fn i7_what_is_not_a_sound_backup_is_not_restored(database: TestDatabase) {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("backup");
    let nothing = ["db", "backup", "--database", database.url(), "--to", text(&to)];
    assert_ends(&unefois(&nothing), 66);
    let (db, ledger) = open(database.url()).await.unwrap();
    grow(&ledger, 3).await;
    assert_ends(&unefois(&nothing), 0);
    ledger.close().await;
    db.close().await;
    let target = elsewhere(&database);
    let restore = || unefois(&["db", "restore", "--from", text(&to), "--database", target.url()]);

    let manifest = to.join("manifest.json");
    let whole = std::fs::read_to_string(&manifest).unwrap();
    let parsed: serde_json::Value = serde_json::from_str(&whole).unwrap();
    let file = to.join(parsed["file"].as_str().unwrap());
    let bytes = std::fs::read(&file).unwrap();
    let mut changed = bytes.clone();
    changed[bytes.len() / 2] ^= 1;
    std::fs::write(&file, changed).unwrap();
    assert_ends(&restore(), 65);
    std::fs::write(&file, bytes).unwrap();
    for (from, to) in [
        ("unefois/backup/v1", "unefois/backup/v2"),
        ("\"size\": 3", "\"size\": 4"),
        ("\"file\": \"", "\"file\": \"../"),
        ("{", "["),
    ] {
        std::fs::write(&manifest, whole.replacen(from, to, 1)).unwrap();
        // What does not hold is found before anything is in its place, or said after: on PostgreSQL the whole is there
        // then, and marked.
        assert_ends(&restore(), 65);
        if database.url().starts_with("postgres") && from.contains("size") {
            assert_ends(&restore(), 73);
            return;
        }
    }
    std::fs::remove_file(&manifest).unwrap();
    assert_ends(&restore(), 66);
    let path = target.url().strip_prefix("sqlite:").unwrap();
    assert!(!Path::new(path).exists());
}

async fn i7_a_log_is_closed_for_ever(database: TestDatabase) {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("ledger.key");
    let close = || {
        unefois(&[
            "ledger",
            "close",
            "--database",
            database.url(),
            "--signer",
            text(&key),
        ])
    };
    assert_ends(&close(), 66);
    std::fs::write(&key, "no key").unwrap();
    assert_ends(&close(), 65);
    std::fs::write(&key, SignerKey::to_text(name(), &[1; 32]).as_bytes()).unwrap();
    assert_ends(&close(), 66);
    let (db, ledger) = open(database.url()).await.unwrap();
    grow(&ledger, 2).await;
    if database.url().starts_with("sqlite:") {
        assert_ends(&close(), 75);
    }
    ledger.close().await;
    db.close().await;
    assert_ends(&close(), 0);
    assert_ends(&close(), 1);
    let refused = open(database.url()).await;
    assert!(matches!(refused, Err(Error::Closed)), "{:?}", refused.err());
}

/// Why an authority's database is marked, once it is opened.
async fn to_recover(url: &str) -> Vec<String> {
    let db = Db::open(url, Component::Authority).await.unwrap();
    let mark = standing_read(&db).await.unwrap();
    db.close().await;
    mark.into_iter().map(|mark| mark.cause).collect()
}

async fn i3_a_restored_authority_is_marked_until_its_withdrawals_are_known(database: TestDatabase) {
    let folder = tempfile::tempdir().unwrap();
    assert!(to_recover(database.url()).await.is_empty());
    let (db, ledger) = opened(database.url(), Component::Authority).await.unwrap();
    grow(&ledger, 1).await;
    ledger.close().await;
    db.close().await;
    let backed_up = |name: &str| {
        let from = folder.path().join(name);
        let backup = unefois(&["db", "backup", "--database", database.url(), "--to", text(&from)]);
        assert_ends(&backup, 0);
        from
    };
    let now = backed_up("now");
    // As a version from before the mark left it.
    before_the_mark(database.url()).await;
    let older = backed_up("older");
    for from in [now, older] {
        let target = elsewhere(&database);
        let restore = unefois(&["db", "restore", "--from", text(&from), "--database", target.url()]);
        assert_ends(&restore, 0);
        let said = String::from_utf8_lossy(&restore.stderr);
        assert!(said.contains("withdraw --config FILE"), "{said}");
        for _ in 0..2 {
            let marks = to_recover(target.url()).await;
            assert!(
                matches!(&marks[..], [cause] if cause.starts_with("restored ")),
                "{marks:?}"
            );
        }
        let status = unefois(&["--json", "db", "status", "--database", target.url()]);
        assert_ends(&status, 0);
        let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
        assert!(status["withdrawals_to_recover"]["at_us"].is_i64(), "{status}");
    }
}

/// Takes away what migration 6 of the authority has brought.
async fn before_the_mark(url: &str) {
    const BACK: [&str; 3] = [
        "DROP TABLE revocation_restored",
        "DROP TABLE revocation_gap",
        "DELETE FROM migration_authority WHERE version = 6",
    ];
    for sql in BACK {
        match url.starts_with("sqlite:") {
            true => {
                let mut file = SqliteConnection::connect(url).await.unwrap();
                sqlx::query(sql).execute(&mut file).await.unwrap();
                file.close().await.unwrap();
            }
            false => {
                let mut server = PgConnection::connect(url).await.unwrap();
                sqlx::query(sql).execute(&mut server).await.unwrap();
                server.close().await.unwrap();
            }
        }
    }
}

/// Restores with a `pg_restore` of ours, which does `how` to the script that the real one writes.
fn restore_by(how: &str, from: &Path, to: &str) -> Output {
    let programs = tempfile::tempdir().unwrap();
    let program = programs.path().join("pg_restore");
    let script = format!("#!/bin/sh\nPATH=${{PATH#*:}}\npg_restore \"$@\" | {how}\n");
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
    Command::new("sh")
        .args(["-c", "PATH=\"$0:$PATH\" && exec \"$@\"", text(programs.path())])
        .args([env!("CARGO_BIN_EXE_unefois"), "db", "restore"])
        .args(["--from", text(from), "--database", to])
        .output()
        .expect("the program runs")
}

/// Whether any table is in the database once psql has gone.
async fn holds_a_table(url: &str) -> bool {
    const PSQL: &str = "SELECT COUNT(*) FROM pg_stat_activity \
         WHERE datname = current_database() AND application_name = 'psql'";
    const TABLES: &str = "SELECT COUNT(*) FROM pg_tables WHERE schemaname = 'public'";
    let mut server = PgConnection::connect(url).await.unwrap();
    let mut look = tokio::time::interval(Duration::from_millis(10));
    while sqlx::query_scalar::<_, i64>(PSQL)
        .fetch_one(&mut server)
        .await
        .unwrap()
        > 0
    {
        look.tick().await;
    }
    let tables: i64 = sqlx::query_scalar(TABLES).fetch_one(&mut server).await.unwrap();
    tables > 0
}

/// A copy that is whole but not marked could be written, a part of one looks sound: neither is ever committed.
#[tokio::test(flavor = "multi_thread")]
async fn i7_a_restoration_that_is_cut_leaves_nothing() {
    // In the middle of the entries, after more of them than a pipe holds, so that psql has been given some.
    const IN_A_COPY: &str = "awk '/^COPY .*ledger_entry_p0 / {n = 1; print; next} !n {print} \
         n {for (i = 0; i < 20; i++) print; if (n++ > 250) exit}'";
    // More than a pipe holds, so that psql has been given the whole script before the end.
    const WHOLE: &str = "(cat; head -c 300000 /dev/zero | tr '\\0' '\\n')";
    let database = TestDatabase::postgres();
    let backup = BackedUp::new(&database).await;
    backup.close().await;

    let target = elsewhere(&database);
    for (cut, code) in [
        (format!("{IN_A_COPY}; exit 1"), Some(74)),
        (format!("{IN_A_COPY}; kill -KILL $PPID"), None),
        (format!("{WHOLE}; exit 1"), Some(74)),
        (format!("{WHOLE}; kill -KILL $PPID"), None),
    ] {
        let output = restore_by(&cut, &backup.from, target.url());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), code, "{cut}: {said}");
        assert!(!holds_a_table(target.url()).await, "{cut}");
    }
    assert_ends(&restore_by(WHOLE, &backup.from, target.url()), 0);
    assert!(holds_a_table(target.url()).await);
    backup.assert_restored(&target).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i7_what_a_killed_restoration_left_is_not_replayed_over_the_next() {
    let database = TestDatabase::sqlite();
    let backup = BackedUp::new(&database).await;
    let target = elsewhere(&database);
    let path = |of: &TestDatabase, suffix: &str| format!("{}{suffix}", &of.url()["sqlite:".len()..]);
    // Later writes, which SQLite would take for the copy's own.
    grow(&backup.ledger, 10).await;
    std::fs::copy(path(&database, "-wal"), path(&target, ".restoring-wal")).unwrap();
    for suffix in [".restoring", ".restoring-shm", ".restoring.lock"] {
        std::fs::write(path(&target, suffix), "left").unwrap();
    }
    backup.close().await;
    let from = text(&backup.from);
    let restored = unefois(&["db", "restore", "--from", from, "--database", target.url()]);
    assert_ends(&restored, 0);
    let left = Path::new(&path(&target, ""))
        .parent()
        .unwrap()
        .read_dir()
        .unwrap();
    let left: Vec<_> = left.map(|file| file.unwrap().file_name()).collect();
    assert_eq!(left, ["unefois.db"]);
    backup.assert_restored(&target).await;
}

async fn a_backup_is_its_owners_alone(database: TestDatabase) {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("backup");
    let (db, ledger) = open(database.url()).await.unwrap();
    grow(&ledger, 3).await;
    ledger.close().await;
    db.close().await;
    // As whoever has not thought of it.
    let careless = |args: &[&str]| {
        Command::new("sh")
            .args([
                "-c",
                "umask 022 && exec \"$0\" \"$@\"",
                env!("CARGO_BIN_EXE_unefois"),
            ])
            .args(args)
            .output()
            .expect("the program runs")
    };
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_ends(
        &careless(&["db", "backup", "--database", database.url(), "--to", text(&to)]),
        0,
    );
    assert_eq!(mode(&to), 0o700);
    let files: Vec<_> = to.read_dir().unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 2, "{files:?}");
    for file in &files {
        assert_eq!(mode(file), 0o600, "{}", file.display());
        // However the copy was kept, what is restored is not for everybody.
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o644)).unwrap();
    }
    let target = elsewhere(&database);
    assert_ends(
        &careless(&["db", "restore", "--from", text(&to), "--database", target.url()]),
        0,
    );
    if let Some(path) = target.url().strip_prefix("sqlite:") {
        assert_eq!(mode(Path::new(path)), 0o600);
    }
}
