//! `audit search`, `show`, `sample` and `watch` over real exchanges, and `receipt` on what they keep.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use unefois::demo::world::{CLAMART, CNAF, World};
use unefois_core::{Event, ExchangeId};
use unefois_tlog::Receipt;

use crate::mesh::{Mesh, arguments, audit, said};

/// The rows, and the head they are under.
fn found(output: &Output) -> (Vec<Value>, Value) {
    let (code, mut lines) = said(output);
    assert_eq!(code, 0, "{}", String::from_utf8_lossy(&output.stderr));
    let head = lines.pop().unwrap()["head"].clone();
    (lines, head)
}

fn events(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(|row| row["event"].as_str().unwrap()).collect()
}

fn places(rows: &[Value]) -> Vec<u64> {
    rows.iter().map(|row| row["index"].as_u64().unwrap()).collect()
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("an exit code")
}

/// Runs the program without an auditor's files.
fn unefois(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_unefois"))
        .args(args)
        .output()
        .expect("the program runs")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auditor_asks_and_is_told_only_what_is_proved() {
    let mesh = Mesh::with_exchanges(3).await;
    let world = mesh.world.clone();
    tokio::task::spawn_blocking(move || {
        searches(&world);
        shows(&world);
        samples(&world);
        watches(&world);
    })
    .await
    .unwrap();
    mesh.stage.lower().await.unwrap();
}

fn searches(world: &World) {
    let wrong = audit(world, &["search", CNAF, "--datatype", "nonsense"]);
    assert_eq!(code(&wrong), 64);
    let wrong = audit(
        world,
        &[
            "search",
            CNAF,
            "--unit",
            "valeur",
            "--datatype",
            "cnaf/quotient-familial",
        ],
    );
    assert_eq!(code(&wrong), 64, "units are those of a revision");
    let wrong = audit(world, &["search", CNAF, "--complete", "--peer", "confirmed"]);
    assert_eq!(code(&wrong), 64);
    let nobody = audit(world, &["search", "urn:unefois:participant:13000495500014"]);
    assert_eq!(code(&nobody), 65, "the directory does not list it");

    let motive = ["--motive", "contrôle annuel"];
    let (rows, head) = found(&audit(
        world,
        &[&["search", CNAF, "--event", "released", "--oldest"][..], &motive].concat(),
    ));
    assert_eq!(events(&rows), ["released"; 3]);
    assert!(places(&rows).is_sorted());
    assert_eq!(
        (head["rows"].as_u64(), head["ended"].as_bool()),
        (Some(3), Some(true))
    );
    // Each search is an entry of its own, which the next one finds.
    let (queries, _) = found(&audit(world, &["search", CNAF, "--event", "queried"]));
    assert_eq!(queries.len(), 1);
    // Its next calls confirmed the first two; that is said, not proved.
    for (which, count) in [("confirmed", 2), ("unconfirmed", 1)] {
        let asked = ["search", CNAF, "--requester", "21920023500014", "--peer", which];
        let (rows, _) = found(&audit(world, &asked));
        assert_eq!(events(&rows), vec!["released"; count], "{which}");
        assert!(
            rows.iter()
                .all(|row| row["unproved"]["acknowledged"] == (which == "confirmed"))
        );
    }
    let unit = [
        "search",
        CNAF,
        "--datatype",
        "cnaf/quotient-familial@1",
        "--unit",
        "valeur",
    ];
    let (with_unit, _) = found(&audit(world, &unit));
    assert_eq!(places(&with_unit), [2, 1, 0]);
    let (latest, head) = found(&audit(
        world,
        &["search", CNAF, "--event", "released", "--limit", "1"],
    ));
    assert_eq!(latest, rows[2..]);
    assert_eq!(head["ended"], false);
    // All of it read, the reader itself finds the same.
    let (complete, head) = found(&audit(
        world,
        &["search", CNAF, "--event", "released", "--oldest", "--complete"],
    ));
    let proved = |rows: &[Value]| -> Vec<Value> {
        let mut rows = rows.to_vec();
        for row in &mut rows {
            row.as_object_mut().unwrap().remove("unproved");
        }
        rows
    };
    // What nothing proves, a reading of the entries does not tell.
    assert_eq!(
        (complete, head["complete"].as_bool()),
        (proved(&rows), Some(true))
    );
    // In words, one row is one line.
    let text = audit_in_words(world, &["search", CNAF, "--event", "released"]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert_eq!(text.lines().count(), 3);
    assert!(
        text.lines()
            .all(|line| line.contains("transmis") && line.contains("Clamart")),
        "{text}"
    );
}

/// As [`audit`], without `--json`.
fn audit_in_words(world: &World, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_unefois"))
        .arg("audit")
        .args(args)
        .args(arguments(world))
        .output()
        .expect("the program runs")
}

fn shows(world: &World) {
    let (rows, _) = found(&audit(
        world,
        &["search", CNAF, "--event", "released", "--oldest"],
    ));
    let place = rows[0]["index"].to_string();
    let exchange: ExchangeId = rows[0]["exchange_id"].as_str().unwrap().parse().unwrap();
    let file = world
        .folder("auditor")
        .join("entry.tlog-proof")
        .display()
        .to_string();
    for what in [place.as_str(), &exchange.to_string()] {
        let (status, lines) = said(&audit(world, &["show", CNAF, what]));
        assert_eq!(status, 0);
        let facts = lines[0]["comparison"].as_array().unwrap();
        assert!(
            facts.len() >= 7 && facts.iter().all(|fact| fact["holds"] == true),
            "{facts:?}"
        );
        let others = lines[0]["other"]["entries"].as_array().unwrap();
        assert_eq!(others[0]["event"], Event::Received.as_str());
        assert_eq!(lines[0]["other"]["participant"], CLAMART);
    }
    let beyond = audit(world, &["show", CNAF, "100000"]);
    assert_eq!(code(&beyond), 1, "no such place");
    let told = String::from_utf8_lossy(&beyond.stderr);
    assert!(told.contains("ce registre n'a pas d'entrée 100000"), "{told}");
    assert_eq!(
        code(&audit(
            world,
            &["show", CNAF, "0190163d-8694-739b-aea5-966c26f8ad91"]
        )),
        1
    );
    assert_eq!(code(&audit(world, &["show", CNAF, "x"])), 64);

    let kept = audit(world, &["show", CNAF, &place, "--receipt", &file]);
    assert_eq!(code(&kept), 0, "{}", String::from_utf8_lossy(&kept.stderr));
    assert_eq!(
        code(&audit(world, &["show", CNAF, &place, "--receipt", &file])),
        73
    );
    receipts(world, &file);
}

fn receipts(world: &World, file: &str) {
    let directory = world
        .folder("auditor")
        .join("directory.jws")
        .display()
        .to_string();
    let pin = world.pin.to_string();
    let trust = ["--directory", directory.as_str(), "--pin", pin.as_str()];
    let verify = |file: &str| unefois(&[&["--json", "receipt", "verify", file][..], &trust].concat());
    let sound = verify(file);
    let (status, lines) = said(&sound);
    assert_eq!(status, 0, "{}", String::from_utf8_lossy(&sound.stderr));
    assert_eq!(lines[0]["event"], "released");
    let shown = unefois(&["receipt", "show", file]);
    assert_eq!(code(&shown), 0);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("non vérifié"));

    // Another entry, another place, another log.
    let text = std::fs::read_to_string(file).unwrap();
    let index = text.lines().find(|line| line.starts_with("index ")).unwrap();
    let receipt: Receipt = text.parse().unwrap();
    // The last byte of the request's hash, which three empty fields follow.
    let mut entry = receipt.unauthenticated_extra().unwrap().to_vec();
    let place = entry.len() - 4;
    entry[place] ^= 1;
    let other_entry = receipt.with_extra(entry).unwrap().to_string();
    let forged = format!("{file}.forged");
    let elsewhere = if index == "index 0" { "index 1" } else { "index 0" };
    for (text, expected) in [
        (text.replacen(index, elsewhere, 1), 1),
        (other_entry, 1),
        (text.replacen("\n— urn", "\n— Urn", 1), 1),
        (text.replacen(CNAF, CLAMART, 1), 1),
        ("nonsense".to_owned(), 65),
    ] {
        std::fs::write(&forged, text).unwrap();
        let refused = verify(&forged);
        let why = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(code(&refused), expected, "{why}");
    }
    assert_eq!(code(&verify("/nowhere")), 66);
    let other = unefois(&[
        "receipt",
        "verify",
        file,
        "--entry",
        file,
        "--directory",
        &directory,
        "--pin",
        &pin,
    ]);
    assert_eq!(code(&other), 65, "an entry that is none");
}

fn samples(world: &World) {
    let heads = world
        .folder("auditor")
        .join("sample-heads.json")
        .display()
        .to_string();
    let draw = |args: &[&str]| {
        let common = ["sample", CNAF, "--heads", &heads];
        let (status, mut lines) = said(&audit(world, &[&common[..], args].concat()));
        assert_eq!(status, 0);
        (lines.remove(0)["draw"].clone(), lines)
    };
    let (first, rows) = draw(&["--n", "3", "--seed", "tirage du 29"]);
    assert_eq!(rows.len(), 3);
    let drawn: Vec<u64> = first["places"]
        .as_array()
        .unwrap()
        .iter()
        .map(|place| place.as_u64().unwrap())
        .collect();
    assert_eq!(places(&rows), drawn);
    // Whoever has seed and head draws the same.
    let head = unefois_auditor::KnownHead {
        size: first["size"].as_u64().unwrap(),
        root: first["root"].as_str().unwrap().parse().unwrap(),
    };
    let origin = format!("{CNAF}/1").parse().unwrap();
    let again = unefois_auditor::sample::draw("tirage du 29", &origin, head, 0..head.size, 3);
    assert_eq!(again, drawn);
    assert_eq!(first["head_given"], false);
    // The log has grown since, by the records of the draw: an earlier head still draws what it drew.
    let file = world.folder("auditor").join("head.txt").display().to_string();
    std::fs::write(&file, first["checkpoint"].as_str().unwrap()).unwrap();
    let (fixed, rows) = draw(&["--n", "3", "--seed", "tirage du 29", "--head", &file]);
    assert_eq!(
        (&fixed["size"], &fixed["head_given"]),
        (&first["size"], &true.into())
    );
    assert_eq!(places(&rows), drawn);
    let other = ["sample", CLAMART, "--n", "1", "--seed", "x", "--head", &file];
    assert_eq!(code(&audit(world, &other)), 65, "the head of another log");
    let forged = first["checkpoint"]
        .as_str()
        .unwrap()
        .replacen("\n— urn", "\n— Urn", 1);
    std::fs::write(&file, forged).unwrap();
    let forged = ["sample", CNAF, "--n", "1", "--seed", "x", "--head", &file];
    assert_eq!(code(&audit(world, &forged)), 65);
    let (all, rows) = draw(&["--n", "1000", "--seed", "x", "--to", "2000-01-01"]);
    assert_eq!(
        (all["end"].as_u64(), rows.len()),
        (Some(0), 0),
        "nothing was written then"
    );
    let (_, rows) = draw(&["--n", "1000", "--seed", "x", "--from", "2000-01-01"]);
    assert!(rows.len() > 5);
    assert_eq!(
        code(&audit(world, &["sample", CNAF, "--n", "0", "--seed", "x"])),
        64
    );
}

fn watches(world: &World) {
    let mut watching = watch(world, &["--since", "0", "--event", "released"]);
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    for _ in 0..3 {
        let row: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(row["event"], "released");
    }
    // Interrupted, it ends well.
    let pid = rustix::process::Pid::from_child(&watching);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(watching.wait().unwrap().code(), Some(0));

    // What comes is shown as it comes: here the record of a search.
    let mut watching = watch(world, &["--event", "queried", "--limit", "2"]);
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    // The watch itself is recorded after the place it begins at.
    let own: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(code(&audit(world, &["search", CNAF, "--limit", "1"])), 0);
    let next: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(
        next["index"].as_u64(),
        own["index"].as_u64().map(|place| place + 1)
    );
    assert_eq!(watching.wait().unwrap().code(), Some(0));
    assert_eq!(code(&audit(world, &["watch", CNAF, "--peer", "confirmed"])), 64);
}

fn watch(world: &World, args: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_unefois"))
        .args(["--json", "audit", "watch", CNAF])
        .args(args)
        .args(arguments(world))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program runs")
}
