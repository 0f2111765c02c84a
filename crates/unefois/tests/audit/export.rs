//! `audit export` and `audit verify-export` over the logs of real exchanges.

use std::path::{Path, PathBuf};

use serde_json::Value;
use unefois::demo::world::{CNAF, World};
use unefois_core::{Entry, Event};

use crate::mesh::{Mesh, audit, blocking, said};

fn export(world: &World, format: &str, out: &Path, more: &[&str]) -> (i32, Vec<Value>) {
    let out = out.display().to_string();
    let args = [&["export", CNAF, "--format", format, "--out", &out], more].concat();
    said(&audit(world, &args))
}

/// `audit verify-export`, which needs neither certificate nor network.
fn verify(folder: &Path, pin: Option<&str>) -> (i32, Vec<Value>) {
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_unefois"));
    program.args(["--json", "audit", "verify-export"]).arg(folder);
    if let Some(pin) = pin {
        program.args(["--pin", pin]);
    }
    said(&program.output().unwrap())
}

fn left_over(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).unwrap();
    files.map(|file| file.unwrap().path()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_whole_or_not_there_and_verifies_alone() {
    let mesh = Mesh::with_a_refusal(3).await;
    let entries = mesh.entries(CNAF).await;
    let decoded: Vec<Entry> = entries
        .iter()
        .map(|bytes| Entry::decode(bytes).unwrap())
        .collect();
    let world = mesh.world.clone();
    let found = blocking(move || tables_and_bundles(&world, &decoded)).await;
    let (bundle, folder, pin) = found;
    mesh.stage.lower().await.unwrap();
    // Every node is gone: the folder is enough.
    let (code, lines) = verify(&bundle, Some(&pin));
    assert_eq!((code, &lines[0]["anchored"]), (0, &true.into()));
    let (code, lines) = verify(&bundle, None);
    assert_eq!((code, &lines[0]["anchored"]), (0, &false.into()));
    let other = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    assert_eq!(verify(&bundle, Some(other)).0, 1, "another directory's key");
    let readme = std::fs::read_to_string(bundle.join("LISEZMOI.txt")).unwrap();
    assert!(readme.contains("verify-export") && readme.contains("urn:unefois:auditor:demonstration"));
    assert!(readme.contains("période demandée, le programme seul"));
    let path = bundle.join("directory.json");
    let directory = std::fs::read(&path).unwrap();
    std::fs::write(&path, directory.to_ascii_uppercase()).unwrap();
    assert_eq!(verify(&bundle, Some(&pin)).0, 1);
    assert_eq!(verify(folder.path(), None).0, 1, "a folder that is no export");
}

fn tables_and_bundles(world: &World, decoded: &[Entry]) -> (PathBuf, tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let pin = world.pin.to_string();

    std::fs::write(at("there"), "before").unwrap();
    for format in ["csv", "bundle"] {
        assert_eq!(
            export(world, format, &at("there"), &[]).0,
            73,
            "nothing is overwritten"
        );
    }
    assert_eq!(std::fs::read(at("there")).unwrap(), b"before");
    let nobody = ["--requester", "11004401300016"];
    assert_eq!(
        export(world, "bundle", &at("empty"), &nobody).0,
        1,
        "an honest no"
    );
    assert_eq!(export(world, "csv", &at("peer"), &["--peer", "confirmed"]).0, 64);
    assert_eq!(export(world, "csv", &at("none/csv"), &[]).0, 74);
    assert_eq!(
        left_over(folder.path()),
        [at("there")],
        "what failed leaves nothing"
    );

    let released = decoded
        .iter()
        .filter(|entry| entry.event == Event::Released)
        .count();
    let (code, lines) = export(world, "csv", &at("csv"), &["--event", "released"]);
    assert_eq!((code, &lines[0]["entries"]), (0, &released.into()));
    let csv = std::fs::read_to_string(at("csv")).unwrap();
    assert_eq!(csv.matches("\r\n").count(), 1 + released);
    assert!(csv.starts_with("origin,index,leaf,event,") && csv.contains(",valeur,answered,"));

    assert_eq!(export(world, "csv-excel", &at("excel"), &[]).0, 0);
    let excel = std::fs::read_to_string(at("excel")).unwrap();
    assert!(excel.starts_with('\u{feff}'));
    assert!(excel.contains(r#""=""urn:unefois:participant:21920023500014""""#));

    let (code, lines) = export(world, "jsonl", &at("jsonl"), &[]);
    assert_eq!(code, 0);
    let jsonl = std::fs::read_to_string(at("jsonl")).unwrap();
    let rows: Vec<Value> = jsonl
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        rows.len(),
        usize::try_from(lines[0]["entries"].as_u64().unwrap()).unwrap()
    );
    for (row, entry) in rows.iter().zip(decoded) {
        assert_eq!(row["event"], entry.event.as_str());
        assert_eq!(row["at_us"], entry.at.get());
    }
    // Each export is an entry of the log that was exported.
    assert!(rows.len() > decoded.len());
    assert_eq!(rows.last().unwrap()["event"], "queried");

    let (code, lines) = export(world, "bundle", &at("some"), &["--event", "refused"]);
    assert_eq!((code, &lines[0]["kind"]), (0, &"filtered".into()));
    assert_eq!(verify(&at("some"), Some(&pin)).0, 0);
    let (code, lines) = export(world, "bundle", &at("range"), &["--first", "1", "--end", "3"]);
    assert_eq!(
        (code, &lines[0]["kind"], &lines[0]["entries"]),
        (0, &"range".into(), &2.into())
    );
    assert_eq!(verify(&at("range"), Some(&pin)).0, 0);

    let (code, lines) = export(world, "bundle", &at("bundle"), &[]);
    assert_eq!((code, &lines[0]["kind"]), (0, &"whole".into()));
    // Kept where the nodes' own folders are, which outlive this one.
    let kept = world.root.join("bundle");
    std::fs::rename(at("bundle"), &kept).unwrap();
    (kept, folder, pin)
}
