//! What a world leaves behind: the entries of every log, and every byte of every file.

use std::path::Path;

use kit::canary::{Canaries, Hit, Signal};
use unefois::demo::world::{AUTHORITY, CLAMART, CNAF, MESR};
use unefois_core::Entry;
use unefois_store::Db;
use unefois_store::entry::entry_range;
use unefois_store::head::head_read;
use unefois_store::tile::tile_range;

/// Each participant that keeps a log: its folder, its database.
const LOGS: [(&str, &str, &str); 4] = [
    (AUTHORITY, "authority", "authority.db"),
    (CNAF, "cnaf", "node.db"),
    (MESR, "mesr", "node.db"),
    (CLAMART, "clamart", "node.db"),
];

/// The logs of the world in `root`, as stored: entries, tiles and the head's note. Nothing runs any more.
pub(crate) async fn ledgers(root: &Path) -> Vec<Signal> {
    let mut signals = Vec::new();
    for (participant, folder, file) in LOGS {
        let url = format!("sqlite:{}", root.join(folder).join(file).display());
        let db = Db::open_for_reading(&url).await.unwrap();
        let head = head_read(&db, &format!("{participant}/1"))
            .await
            .unwrap()
            .unwrap();
        let entries = entry_range(&db, head.log, 0, head.size).await.unwrap();
        assert_eq!(u64::try_from(entries.len()).unwrap(), head.size, "{folder}");
        let mut bytes = head.checkpoint.into_bytes();
        for (_, entry) in entries {
            // As stored, and as it reads.
            bytes.extend_from_slice(&entry);
            if let Ok(entry) = Entry::decode(&entry) {
                bytes.extend_from_slice(format!("{entry:?}").as_bytes());
            }
        }
        for tile in tile_range(&db, head.log, 0, 0, head.size).await.unwrap() {
            for hash in tile.hashes() {
                bytes.extend_from_slice(hash.as_bytes());
            }
        }
        signals.push(Signal::new(format!("{folder}'s ledger"), bytes));
        db.close().await;
    }
    signals
}

/// Every file of the world but `but`, a path below `root` each, and what begins with it.
pub(crate) fn files(root: &Path, but: &[&str]) -> Vec<Signal> {
    let (mut folders, mut signals) = (vec![root.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for file in std::fs::read_dir(folder).unwrap() {
            let (path, kind) = file.map(|file| (file.path(), file.file_type().unwrap())).unwrap();
            let name = name(root, &path);
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() && !but.iter().any(|but| name.starts_with(but)) {
                let bytes = std::fs::read(&path).unwrap();
                if !bytes.is_empty() {
                    // What SQLite has not put into its file yet is of that file.
                    signals.push(Signal::new(name.trim_end_matches("-wal"), bytes));
                }
            }
        }
    }
    assert!(signals.len() > LOGS.len(), "the world is empty");
    signals
}

fn name(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap().display().to_string()
}

/// The hits of `canaries` that neither `kept` nor `passing` lists, pairs of a signal and a field each.
///
/// # Panics
/// A kept one is not there: the list would hide it once it is where it should not be.
pub(crate) fn unexpected(
    canaries: &Canaries,
    signals: &[Signal],
    kept: &[(&str, &str)],
    passing: &[(&str, &str)],
) -> Vec<Hit> {
    let is = |hit: &Hit, (signal, field): &(&str, &str)| hit.signal == *signal && hit.field == *field;
    let mut hits = canaries.hits(signals);
    for pair in kept {
        assert!(hits.iter().any(|hit| is(hit, pair)), "nothing needs {pair:?}");
    }
    hits.retain(|hit| !kept.iter().chain(passing).any(|pair| is(hit, pair)));
    hits
}
