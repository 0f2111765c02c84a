//! `ledger head`, `prove` and `compare` over two databases that one key signed.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail as tests do"
)]

use std::path::Path as FilePath;
use std::process::{Command, Output};
use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use serde_json::Value;
use tokio::net::TcpListener;
use unefois_core::commitment::NodeKey;
use unefois_core::{Entry, Event, Micros};
use unefois_ledger::{Draft, Keys, Ledger, Safeguards, StoredLog};
use unefois_mesh::{SystemClock, SystemRandom};
use unefois_store::{Component, Db};
use unefois_tlog::{Hash, SignerKey, Tile, TileId, Tree};

const ORIGIN: &str = "urn:unefois:participant:18003506500010/1";

fn key() -> SignerKey {
    SignerKey::new(ORIGIN.parse().unwrap(), &[7; 32])
}

/// A database in `folder` with `n` entries, of which the first `same` are those of every other one.
async fn database(folder: &FilePath, name: &str, n: i64, same: i64) -> String {
    let url = format!("sqlite:{}", folder.join(name).display());
    grow(&url, 0..n, same, name).await;
    url
}

async fn grow(url: &str, entries: std::ops::Range<i64>, same: i64, name: &str) {
    let db = Db::open(url, Component::Node).await.unwrap();
    let keys = Keys {
        signer: key(),
        node_key: NodeKey::new(&[9; 32]),
    };
    let clock = Arc::new(Stopped);
    let ledger = Ledger::open(
        db.clone(),
        keys,
        Safeguards::default(),
        clock,
        Arc::new(SystemRandom::new()),
    )
    .await
    .unwrap();
    for n in entries {
        let version = if n < same { 0 } else { name.len() as u64 };
        let entry = Entry {
            directory_version: version,
            attempt: u16::try_from(n).unwrap(),
            ..Entry::new(Event::Admin, Micros::new(0))
        };
        ledger.append(Draft::new(entry)).await.unwrap();
    }
    ledger.close().await;
    db.close().await;
}

/// The same instant for every entry, so that two databases hold the same ones.
#[derive(Debug)]
struct Stopped;

impl unefois_core::Clock for Stopped {
    fn now(&self) -> Micros {
        Micros::from_secs(1_795_000_000)
    }

    fn boottime(&self) -> unefois_core::Boot {
        SystemClock.boottime()
    }
}

fn ledger(args: &[&str]) -> (i32, Option<Value>, String) {
    let output: Output = Command::new(env!("CARGO_BIN_EXE_unefois"))
        .args(["--json", "ledger"])
        .args(args)
        .args(["--vkey", &key().verifier().to_string()])
        .output()
        .expect("the program runs");
    let line = String::from_utf8_lossy(&output.stdout);
    let told = line
        .lines()
        .next()
        .map(|line| serde_json::from_str(line).unwrap());
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().expect("an exit code"), told, why)
}

#[tokio::test(flavor = "multi_thread")]
async fn i7_two_heads_are_of_one_history_or_of_two() {
    let folder = tempfile::tempdir().unwrap();
    let early = database(folder.path(), "a", 3, 300).await;
    let file = folder.path().join("head").display().to_string();
    let (code, told, why) = ledger(&["head", "--database", &early]);
    let told = told.unwrap();
    assert_eq!((code, told["size"].as_u64()), (0, Some(3)), "{why}");
    std::fs::write(&file, told["checkpoint"].as_str().unwrap()).unwrap();
    // The log grows on, past a full tile; another database has its first entries alone.
    grow(&early, 3..300, 300, "a").await;
    let late = early;
    let fork = database(folder.path(), "fork", 280, 260).await;
    let other = folder.path().join("late").display().to_string();
    let (_, told, _) = ledger(&["head", "--database", &late]);
    std::fs::write(&other, told.unwrap()["checkpoint"].as_str().unwrap()).unwrap();

    for (one, two, expected) in [
        (&file, &late, 0),
        (&late, &file, 0),
        (&late, &late, 0),
        (&file, &fork, 0),
        (&fork, &late, 1),
        (&fork, &other, 66),
        (&other, &fork, 66),
        (&file, &other, 66),
        (&file, &folder.path().join("none").display().to_string(), 66),
        (&file, &"http://example.org".to_owned(), 64),
        (&file, &"http://127.0.0.1:1".to_owned(), 69),
    ] {
        let (code, told, why) = ledger(&["compare", one, two]);
        assert_eq!(code, expected, "{one} {two}: {why}");
        let verdict = told.and_then(|told| told["one_history"].as_bool());
        let said = match expected {
            0 => Some(true),
            1 => Some(false),
            _ => None,
        };
        assert_eq!(verdict, said, "{one} {two}");
    }
    // A public address proves with its tiles.
    let tiles = public(&late, None).await;
    let forged = public(&late, Some(299)).await;
    let (inner, older) = (public(&late, Some(5)).await, public(&late, Some(1)).await);
    for (one, two, expected) in [
        (&tiles, &file, 0),
        (&tiles, &other, 0),
        (&file, &tiles, 0),
        (&tiles, &late, 0),
        (&fork, &tiles, 1),
        // Tiles that do not make the head they are shown with prove nothing, not even a second history.
        (&forged, &fork, 76),
        (&forged, &file, 76),
        (&inner, &file, 76),
        (&older, &file, 76),
    ] {
        let (one, two) = (one.clone(), two.clone());
        let (code, _, why) = tokio::task::spawn_blocking(move || ledger(&["compare", &one, &two]))
            .await
            .unwrap();
        assert_eq!(code, expected, "{why}");
    }
    std::fs::write(&other, "nonsense").unwrap();
    assert_eq!(ledger(&["compare", &file, &other]).0, 65);

    proves(&late, folder.path());
}

/// The address where the log of `database` shows its head and its tiles, the leaf `forged` as another one under a tile
/// above that is honest.
async fn public(database: &str, forged: Option<usize>) -> String {
    let db = Db::open_for_reading(database).await.unwrap();
    let log = StoredLog::open(db, key().verifier()).await.unwrap().unwrap();
    let mut leaves = Vec::new();
    for index in 0..log.head().size {
        let receipt = log.receipt(index).await.unwrap();
        leaves.push(Hash::of_leaf(receipt.unauthenticated_extra().unwrap()));
    }
    let above: Vec<Hash> = Tree::new()
        .append(&leaves)
        .unwrap()
        .iter()
        .filter_map(Tile::root)
        .collect();
    if let Some(forged) = forged {
        leaves[forged] = Hash::EMPTY;
    }
    let checkpoint = log.checkpoint().as_str().to_owned();
    let tile = move |Path(path): Path<String>| async move {
        let id: TileId = format!("tile/{path}").parse().unwrap();
        let hashes = if id.level() == 0 { &leaves } else { &above };
        let first = usize::try_from(id.first()).unwrap();
        Tile::new(id, hashes[first..first + usize::from(id.width())].to_vec())
            .unwrap()
            .to_bytes()
    };
    let router = Router::new()
        .route("/checkpoint", get(|| async { checkpoint }))
        .route("/tile/{*path}", get(tile));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    #[expect(
        clippy::disallowed_methods,
        reason = "the server ends with the test's runtime"
    )]
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

fn proves(database: &str, folder: &FilePath) {
    let file = folder.join("entry.tlog-proof").display().to_string();
    let (code, _, why) = ledger(&["prove", "299", "--database", database, "--out", &file]);
    assert_eq!(code, 0, "{why}");
    let verify = Command::new(env!("CARGO_BIN_EXE_unefois"))
        .args([
            "receipt",
            "verify",
            &file,
            "--vkey",
            &key().verifier().to_string(),
        ])
        .output()
        .expect("the program runs");
    assert_eq!(
        verify.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&verify.stderr)
    );
    assert_eq!(
        ledger(&["prove", "300", "--database", database]).0,
        1,
        "no such entry"
    );
    assert_eq!(ledger(&["head", "--database", "sqlite:/nowhere/x.db"]).0, 66);
}
