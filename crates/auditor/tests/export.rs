//! Bundles written and verified: what is changed, taken away or added is refused, then what holds.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use unefois_auditor::export::{
    BundleWriter, Checked, Dialect, ENTRY_SCHEMA, Fault, Kind, Manifest, Provenance, Table, json_line,
    verify_export,
};
use unefois_auditor::{Error, KnownHead, ReadLog, Visited};
use unefois_core::catalogue::Catalogue;
use unefois_core::{Entry, EntryFilter, Event, Micros, Outcome, ParticipantId, Reason, Sha256};
use unefois_tlog::{Checkpoint, Hash, KeyName, Origin, SignerKey, Tree};

const ORIGIN: &str = "urn:unefois:participant:18003506500010/1";
const OWNER: &str = "urn:unefois:participant:18003506500010";
const CONSUMER: &str = "urn:unefois:participant:21920023500014";

fn origin() -> Origin {
    ORIGIN.parse().unwrap()
}

fn key() -> SignerKey {
    SignerKey::new(ORIGIN.parse::<KeyName>().unwrap(), &[7; 32])
}

fn entry(n: u64) -> Entry {
    let at = i64::try_from(n).unwrap() * 1_000_000;
    let refused = n.is_multiple_of(7);
    Entry {
        attempt: 1,
        requester: Some(CONSUMER.parse().unwrap()),
        provider: Some(OWNER.parse().unwrap()),
        datatype: Some("cnaf/quotient-familial@1".parse().unwrap()),
        units: 0b101,
        exchange_id: Some("0190163d-8694-739b-aea5-966c26f8ad91".parse().unwrap()),
        outcome: Some(if refused {
            Outcome::Refused
        } else {
            Outcome::Answered
        }),
        reason: refused.then_some(Reason::TokenConsumed),
        request_hash: Some(Sha256::of(&n.to_be_bytes())),
        directory_version: 1 + n / 1_000,
        ..Entry::new(
            if refused { Event::Refused } else { Event::Released },
            Micros::new(at),
        )
    }
}

/// Writes a bundle of a log of `size` entries.
fn export(size: u64, filter: &str) -> Result<(TempDir, Manifest), Error> {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = BundleWriter::new(folder.path(), filter.parse().unwrap());
    let mut tree = Tree::new();
    for index in 0..size {
        let entry = entry(index);
        let bytes = entry.encode();
        let leaf = Hash::of_leaf(&bytes);
        tree.append(&[leaf]).unwrap();
        writer.take(Visited {
            index,
            leaf: &leaf,
            entry: &entry,
            bytes: &bytes,
        })?;
    }
    let head = Checkpoint::new(origin(), size, tree.root()).unwrap();
    let log = ReadLog {
        head: KnownHead {
            size,
            root: tree.root(),
        },
        checkpoint: head.sign(&key()).unwrap(),
        span: None,
    };
    let (owner, signer): (ParticipantId, _) = (OWNER.parse().unwrap(), key());
    let provenance = Provenance {
        participant: &owner,
        key: signer.verifier(),
        directory: "{}",
        directory_version: 1,
        catalogue: b"{}",
        exported_by: "urn:unefois:auditor:test",
        exported_at: Micros::new(0),
        tool: "unefois test",
    };
    let manifest = writer.finish(&log, &provenance)?;
    Ok((folder, manifest))
}

fn verify(folder: &Path) -> Result<Checked, Fault> {
    verify_export(folder, None, |_, _| {})
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found
}

fn refused_once_changed(folder: &Path) {
    assert!(verify(folder).is_ok());
    for path in files(folder) {
        let bytes = std::fs::read(&path).unwrap();
        for at in [0, bytes.len() / 3, bytes.len() / 2, bytes.len() - 1] {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            std::fs::write(&path, &changed).unwrap();
            assert!(verify(folder).is_err(), "{} at {at}", path.display());
        }
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert!(verify(folder).is_err(), "{} cut", path.display());
        std::fs::remove_file(&path).unwrap();
        assert!(verify(folder).is_err(), "{} removed", path.display());
        std::fs::write(&path, &bytes).unwrap();
    }
    for name in [
        "more",
        "entries/more",
        "tile/0/x001/000",
        "proofs/more.tlog-proof",
    ] {
        let path = folder.join(name);
        let parent = path.parent().unwrap();
        let new = !parent.exists();
        std::fs::create_dir_all(parent).unwrap();
        std::fs::write(&path, "more").unwrap();
        assert!(matches!(verify(folder), Err(Fault::Stranger(_))), "{name}");
        std::fs::remove_file(&path).unwrap();
        if new {
            assert!(verify(folder).is_err(), "an empty folder is of no export");
            let mut empty = parent.to_owned();
            while std::fs::remove_dir(&empty).is_ok() {
                empty.pop();
            }
        }
    }
    std::os::unix::fs::symlink("checkpoint", folder.join("link")).unwrap();
    assert!(matches!(verify(folder), Err(Fault::Stranger(_))));
    std::fs::remove_file(folder.join("link")).unwrap();
    assert!(verify(folder).is_ok());
}

/// Puts the manifest right again after `change`, as whoever forges an export would.
fn with_manifest(folder: &Path, change: impl FnOnce(&mut Manifest)) {
    let path = folder.join("manifest.json");
    let mut manifest: Manifest = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for (path, digest) in &mut manifest.files {
        if let Ok(bytes) = std::fs::read(folder.join(path)) {
            *digest = Sha256::of(&bytes).to_string();
        }
    }
    change(&mut manifest);
    let text = serde_json::to_string_pretty(&manifest).unwrap();
    std::fs::write(
        folder.join("manifest.sha256"),
        format!("{}  manifest.json\n", Sha256::of(text.as_bytes())),
    )
    .unwrap();
    std::fs::write(path, text).unwrap();
}

#[test]
fn every_byte_file_and_folder_counts() {
    for filter in [
        "all",
        "first=600 end=700",
        "reason=TOKEN_CONSUMED first=300 end=310",
    ] {
        let (folder, _) = export(1_100, filter).unwrap();
        refused_once_changed(folder.path());
    }
}

#[test]
fn i7_a_forger_who_mends_the_digests_is_refused_by_the_signed_root() {
    let (folder, _) = export(1_100, "first=600 end=700").unwrap();
    for name in ["entries/002", "tile/1/000.p/4", "tile/0/004.p/76"] {
        let path = folder.path().join(name);
        let bytes = std::fs::read(&path).unwrap();
        let mut changed = bytes.clone();
        // The last byte of an entry is of no digest; of a tile, it is of a hash that the root needs.
        let at = if name.starts_with("tile/1") {
            0
        } else {
            bytes.len() - 1
        };
        changed[at] ^= 1;
        std::fs::write(&path, changed).unwrap();
        with_manifest(folder.path(), |_| {});
        let refused = verify(folder.path());
        assert!(
            matches!(refused, Err(Fault::Root | Fault::Entry(_))),
            "{name}: {refused:?}"
        );
        std::fs::write(&path, bytes).unwrap();
    }
    with_manifest(folder.path(), |_| {});
    assert!(verify(folder.path()).is_ok());

    let claims: [fn(&mut Manifest); 9] = [
        |m| m.entries += 1,
        |m| m.selected.first -= 1,
        |m| m.selected.end += 1,
        |m| m.range.end += 256,
        |m| m.kind = Kind::Whole,
        |m| m.filter = "all".to_owned(),
        |m| m.size += 1,
        |m| m.directories_named.clear(),
        |m| m.origin = format!("{OWNER}/2"),
    ];
    for (n, claim) in claims.into_iter().enumerate() {
        let (folder, _) = export(1_100, "first=600 end=700").unwrap();
        with_manifest(folder.path(), claim);
        assert!(verify(folder.path()).is_err(), "claim {n}");
    }
}

#[test]
fn i7_a_period_that_hides_its_first_or_last_entries_is_refused() {
    // From second 512 to second 767: bundles 1 to 3, since the entries beside the period are there too.
    let filter = "from=1970-01-01T00:08:32.000000Z to=1970-01-01T00:12:48.000000Z";
    let (folder, manifest) = export(1_100, filter).unwrap();
    assert_eq!((manifest.selected.first, manifest.selected.end), (512, 768));
    assert_eq!((manifest.range.first, manifest.range.end), (256, 1_024));
    assert!(verify(folder.path()).is_ok());
    // An honest bundle of the middle alone, said to be of that period.
    let (narrow, _) = export(1_100, "first=520 end=760").unwrap();
    with_manifest(narrow.path(), |m| {
        m.filter = filter.to_owned();
        m.selected = manifest.selected;
        m.entries = manifest.entries;
        m.events.clone_from(&manifest.events);
        m.written_us = manifest.written_us;
    });
    assert!(matches!(verify(narrow.path()), Err(Fault::Manifest("range"))));
}

#[test]
fn a_proof_of_another_entry_or_of_another_head_is_refused() {
    let (folder, manifest) = export(700, "reason=TOKEN_CONSUMED").unwrap();
    assert_eq!((manifest.kind, manifest.entries), (Kind::Filtered, 100));
    let of = |n: u64| folder.path().join(format!("proofs/{n:03}.tlog-proof"));
    let (seven, fourteen) = (std::fs::read(of(7)).unwrap(), std::fs::read(of(14)).unwrap());
    std::fs::write(of(7), &fourteen).unwrap();
    with_manifest(folder.path(), |_| {});
    assert!(matches!(verify(folder.path()), Err(Fault::Malformed(_))));
    std::fs::write(of(7), &seven).unwrap();

    let (other, _) = export(701, "reason=TOKEN_CONSUMED").unwrap();
    std::fs::copy(other.path().join("proofs/007.tlog-proof"), of(7)).unwrap();
    with_manifest(folder.path(), |_| {});
    assert!(matches!(verify(folder.path()), Err(Fault::Malformed(_))));
    std::fs::write(of(7), &seven).unwrap();

    // An entry that does not meet the conditions is not of this export, even with its own proof.
    with_manifest(folder.path(), |m| m.filter = "reason=DEADLINE".to_owned());
    assert!(verify(folder.path()).is_err());
}

#[test]
fn nothing_to_export_and_too_much_are_said() {
    assert!(matches!(export(0, "all"), Err(Error::NoEntry)));
    assert!(matches!(export(300, "reason=DEADLINE"), Err(Error::NoEntry)));
    assert!(matches!(
        export(12_000, "datatype=cnaf/quotient-familial"),
        Err(Error::TooManyEntries { .. })
    ));
}

#[test]
fn a_bundle_of_any_size_and_range_verifies_and_holds_no_more_than_it_needs() {
    for size in [1, 255, 256, 257, 511, 512, 1_100, 66_000] {
        let (folder, manifest) = export(size, "all").unwrap();
        assert_eq!(manifest.kind, Kind::Whole);
        assert_eq!(verify(folder.path()).unwrap().manifest, manifest);
        assert!(!folder.path().join("tile").exists(), "a whole log needs no tile");
    }
    for (first, end) in [
        (0, 1),
        (0, 256),
        (255, 257),
        (256, 512),
        (1_000, 1_100),
        (1_099, 5_000),
    ] {
        let (folder, manifest) = export(1_100, &format!("first={first} end={end}")).unwrap();
        let checked = verify(folder.path()).unwrap();
        assert_eq!(checked.manifest, manifest);
        assert!(!checked.anchored);
        assert_eq!(
            (manifest.selected.first, manifest.selected.end),
            (first, end.min(1_100))
        );
        assert!(
            manifest
                .files
                .keys()
                .filter(|path| path.starts_with("tile/"))
                .count()
                <= 2
        );
    }
    let (folder, manifest) = export(70_000, "first=66000 end=66010").unwrap();
    assert!(verify(folder.path()).is_ok());
    let tiles: BTreeSet<&str> = manifest
        .files
        .keys()
        .map(String::as_str)
        .filter(|p| p.starts_with("tile/"))
        .collect();
    assert_eq!(
        tiles,
        BTreeSet::from(["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"])
    );
}

#[test]
fn tables_and_lines_say_what_the_entry_says() {
    let schema = serde_json::from_str(ENTRY_SCHEMA).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    let catalogue = Catalogue::load(&[]).unwrap();
    let table = Table::new(Dialect::Rfc4180);
    let columns = table.head().split(',').count();
    let bare = Entry::new(Event::Lapsed, Micros::new(5));
    for (index, entry) in [(0, bare), (7, entry(7)), (8, entry(8))] {
        let bytes = entry.encode();
        let leaf = Hash::of_leaf(&bytes);
        let visited = Visited {
            index,
            leaf: &leaf,
            entry: &entry,
            bytes: &bytes,
        };
        let line = json_line(&origin(), &visited, &catalogue);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        let wrong: Vec<String> = schema.iter_errors(&value).map(|e| e.to_string()).collect();
        assert!(wrong.is_empty(), "{line}\n{wrong:?}");
        assert_eq!(value["at_us"], entry.at.get());
        assert_eq!(value["reason"].as_str(), entry.reason.map(Reason::as_str));
        assert_eq!(
            table.entry(&origin(), &visited, &catalogue).split(',').count(),
            columns
        );
    }
    let unknown: serde_json::Value = serde_json::json!({"origin": ORIGIN});
    assert!(!schema.is_valid(&unknown));
}

#[test]
fn a_filter_of_places_and_times_alone_makes_a_range() {
    for (filter, kind) in [
        ("all", Kind::Whole),
        ("first=3", Kind::Range),
        ("to=1970-01-01T00:08:32.000000Z", Kind::Range),
        ("events=refused", Kind::Filtered),
        ("demarche=cantine first=3", Kind::Filtered),
    ] {
        let filter: EntryFilter = filter.parse().unwrap();
        assert_eq!(BundleWriter::new(Path::new("."), filter).kind(), kind);
    }
}
