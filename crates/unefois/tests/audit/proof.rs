//! `receipt` on the proof of a withdrawal that a person downloads from the portal of an authority that runs.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use unefois::demo::world::{AUTHORITY, CNAF, World};
use unefois_jose::directory;

use crate::mesh::{Mesh, blocking, said, text};

fn receipt(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_unefois"));
    command
        .arg("receipt")
        .args(args)
        .output()
        .expect("the program runs")
}

/// The key of a participant's only log, as the directory publishes it.
fn vkey(world: &World, participant: &str) -> String {
    let signed = std::fs::read_to_string(world.folder("auditor").join("directory.jws")).unwrap();
    let directory = directory::verify(&signed, &world.pin).unwrap();
    let row = directory.participant(&participant.parse().unwrap()).unwrap();
    row.logs[0].vkey.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn i3_the_proof_that_a_person_takes_home_is_verified_without_the_authority() {
    let (mut mesh, proof, grant) = Mesh::with_a_proof().await;
    mesh.stage.stop_cnaf().await.unwrap();
    let world = mesh.world.clone();
    blocking(move || {
        judged(&world, &proof);
        judged_receipt(&world, &grant);
    })
    .await;
}

/// The receipt of the grant: whatever is changed in it, and by whom else it might be judged.
fn judged_receipt(world: &World, grant: &str) {
    let folder = world.folder("auditor");
    let at = |name: &str| folder.join(name).display().to_string();
    let (file, signed, pin) = (
        at("recu-autorisation.json"),
        at("directory.jws"),
        world.pin.to_string(),
    );
    let write = |name: &str, content: &str| std::fs::write(Path::new(&at(name)), content).unwrap();
    write("recu-autorisation.json", grant);
    let trust = ["--directory", &signed, "--pin", &pin];
    let verify = |file: &str, more: &[&str]| receipt(&[&["verify", file][..], &trust, more].concat());

    let of: Value = serde_json::from_str(grant).unwrap();
    for (pointer, value) in [
        ("/receipt/record_id", Value::from("another")),
        ("/receipt/privacy_notice/text", "another".into()),
        ("/receipt/purposes/0/retention_days", 1.into()),
        ("/receipt/events/0/event_time", "2020-01-01T00:00:00Z".into()),
        (
            "/signed",
            of["signed"].as_str().unwrap().replacen("ey", "eX", 1).into(),
        ),
    ] {
        let mut changed = of.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        write("changed.json", &changed.to_string());
        let output = verify(&at("changed.json"), &[]);
        assert_eq!((said(&output).0, text(&output).as_str()), (1, ""), "{pointer}");
    }
    let mut more = of.clone();
    more["receipt"]["more"] = Value::Null;
    write("changed.json", &more.to_string());
    assert_eq!(said(&verify(&at("changed.json"), &[])).0, 65, "another form");
    assert_eq!(
        said(&receipt(&["verify", &file, "--vkey", &vkey(world, AUTHORITY)])).0,
        64,
        "no log signs it"
    );
    assert_eq!(said(&verify(&file, &["--entry", &file])).0, 64);

    let json: Value = serde_json::from_str(&text(&verify(&file, &["--json"]))).unwrap();
    assert_eq!(
        (&json["verified"], &json["receipt"]),
        (&Value::Bool(true), &of["receipt"])
    );
    let words = text(&verify(&file, &[]));
    for told in [
        "demandeur : Mairie de Clamart",
        "retiré par la personne",
        "retrait effectif partout",
        "Récupérer pour moi",
        "vérifié :",
    ] {
        assert!(words.contains(told), "{told}: {words}");
    }
    assert!(text(&receipt(&["show", &file])).contains("non vérifié"));
}

fn judged(world: &World, proof: &str) {
    let folder = world.folder("auditor");
    let at = |name: &str| folder.join(name).display().to_string();
    let (file, signed, pin) = (
        at("preuve-retrait.json"),
        at("directory.jws"),
        world.pin.to_string(),
    );
    let write = |name: &str, content: &str| std::fs::write(Path::new(&at(name)), content).unwrap();
    write("preuve-retrait.json", proof);
    let trust = ["--directory", &signed, "--pin", &pin];
    let verify = |file: &str| receipt(&[&["verify", file, "--json"][..], &trust].concat());

    // What was changed, what is no proof, and what it is judged by.
    let of: Value = serde_json::from_str(proof).unwrap();
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut of = of.clone();
        change(&mut of);
        write("changed.json", &of.to_string());
        let output = verify(&at("changed.json"));
        assert_eq!(text(&output), "", "nothing is said of it");
        said(&output).0
    };
    let (first, second) = (&of["proofs"][0], &of["proofs"][1]);
    for member in ["entry", "salt", "proof"] {
        let other = second["receipt"][member].clone();
        let code = changed(&|of| of["proofs"][0]["receipt"][member] = other.clone());
        assert!([1, 65].contains(&code), "{member}: {code}");
    }
    let salt = second["receipt"]["salt"].clone();
    assert_eq!(
        changed(&|of| of["proofs"][0]["receipt"]["salt"] = salt.clone()),
        1
    );
    let later = first["effect"]
        .as_str()
        .unwrap()
        .replacen("\"seq\":", "\"seq\":1", 1);
    assert_eq!(changed(&|of| of["proofs"][0]["effect"] = later.clone().into()), 1);
    let of_another = |of: &mut Value| {
        of["proofs"][0]["effect"] = second["effect"].clone();
        of["proofs"][0]["effective_at"] = second["effective_at"].clone();
        of["proofs"].as_array_mut().unwrap().truncate(1);
    };
    assert_eq!(changed(&of_another), 1);
    assert_eq!(changed(&|of| of["proofs"] = Value::Null), 65);
    std::fs::File::create(at("large.json"))
        .unwrap()
        .set_len(64 << 20)
        .unwrap();
    assert_eq!(said(&verify(&at("large.json"))).0, 65);
    assert_eq!(said(&verify(&at("nowhere.json"))).0, 66);
    assert_eq!(said(&receipt(&["verify", &file])).0, 64);
    let entry = [&["verify", &file, "--entry", &file][..], &trust].concat();
    assert_eq!(said(&receipt(&entry)).0, 64);
    let by = |participant: &str, more: &[&str]| {
        let key = vkey(world, participant);
        receipt(&[&["verify", &file, "--vkey", &key][..], more].concat())
    };
    let (code, told) = (by(CNAF, &[]).status.code(), by(CNAF, &[]));
    assert_eq!((code, text(&told).as_str()), (Some(1), ""), "another log's key");
    let why = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(
        why.contains("la preuve 1") && why.contains("l'inscription n'est pas dans le registre"),
        "{why}"
    );

    // Just after the withdrawal, the entry may not be there yet.
    let mut early = of.clone();
    early["proofs"][1]["receipt"] = Value::Null;
    write("early.json", &early.to_string());
    let output = verify(&at("early.json"));
    let (code, lines) = said(&output);
    assert_eq!((code, &lines[0]["verified"]), (75, &false.into()));
    assert_eq!(lines[0]["proofs"][0]["verified"], true);
    let told = receipt(&[&["verify", &at("early.json")][..], &trust].concat());
    assert!(text(&told).contains("téléchargez de nouveau"), "{}", text(&told));

    let (code, lines) = said(&verify(&file));
    assert_eq!((code, &lines[0]["verified"]), (0, &true.into()), "{lines:?}");
    let proofs = lines[0]["proofs"].as_array().unwrap();
    assert_eq!(proofs.len(), 2, "one an element");
    for proof in proofs {
        let logs = proof["logs"].as_array().unwrap();
        assert_eq!((&proof["attested"], logs.len()), (&1.into(), 1), "{proof}");
        assert_eq!(proof["operator"], logs[0]["participant"]);
        assert!(
            logs[0]["size"].is_u64() && proof["entry"]["size"].as_u64() > Some(1),
            "{proof}"
        );
    }
    let french = text(&receipt(&[&["verify", &file][..], &trust].concat()));
    assert_eq!(
        french.matches(", attesté par 1 registre sur 1\n").count(),
        2,
        "{french}"
    );
    assert!(
        french.contains("vérifié : ") && french.contains("Ce fichier ne montre pas"),
        "{french}"
    );
    let english = text(&by(AUTHORITY, &["--lang", "en"]));
    assert!(
        english.contains("attested by 0 of 1 ledger, and by 1 whose signature is not verified"),
        "{english}"
    );
    let shown = receipt(&["show", &file]);
    assert_eq!(shown.status.code(), Some(0));
    assert!(text(&shown).contains("non vérifié"), "{}", text(&shown));
}
