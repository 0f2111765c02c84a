//! `audit disclose`, and the request that two auditors sign, over real exchanges.

use std::process::{Command, Output};

use serde_json::Value;
use unefois::demo::world::{CLAMART, CNAF, World};
use unefois_core::{Entry, Event, ExchangeId};

use crate::mesh::{Mesh, audit, said};

/// Runs the program, with `--json`.
fn unefois(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_unefois"))
        .arg("--json")
        .args(args)
        .output()
        .expect("the program runs")
}

#[tokio::test(flavor = "multi_thread")]
async fn one_exchange_is_opened_at_both_ends_and_one_person_by_nobody_alone() {
    let mesh = Mesh::with_exchanges(1).await;
    let entries = mesh.entries(CNAF).await;
    let released = entries.iter().map(|bytes| Entry::decode(bytes).unwrap());
    let mut released = released.filter(|entry| entry.event == Event::Released);
    let exchange = released.next_back().unwrap().exchange_id.unwrap();
    let world = mesh.world.clone();
    tokio::task::spawn_blocking(move || {
        opened(&world, exchange);
        searched(&world);
    })
    .await
    .unwrap();
    let recorded = mesh.entries(CNAF).await;
    let queried = recorded
        .iter()
        .filter(|bytes| Entry::decode(bytes).unwrap().event == Event::Queried);
    assert!(queried.count() >= 3, "each disclosure is recorded");
    mesh.stage.lower().await.unwrap();
}

fn opened(world: &World, exchange: ExchangeId) {
    let id = exchange.to_string();
    let disclose = |participant: &str, exchange: &str, more: &[&str]| {
        let args = ["disclose", participant, exchange];
        said(&audit(world, &[&args, more].concat()))
    };
    let motive = ["--motive", "réclamation 2026-0412"];
    assert_eq!(disclose(CNAF, &id, &[]).0, 64, "no motive");
    assert_eq!(disclose(CNAF, &id, &["--motive", " "]).0, 77, "a blank motive");
    let unknown = "0190163d-8694-739b-aea5-966c26f8ad91";
    assert_eq!(disclose(CNAF, unknown, &motive).0, 1, "no such exchange");
    let (code, lines) = disclose(CNAF, &id, &[&motive[..], &["--dossier", "2026-9999"]].concat());
    assert_eq!(
        (code, &lines[0]["commitments"]["dossier"]),
        (1, &Value::from("does_not_open"))
    );

    let right = [&motive[..], &["--dossier", "2026-0500"]].concat();
    for (participant, event) in [(CNAF, "released"), (CLAMART, "received")] {
        let (code, lines) = disclose(participant, &id, &right);
        assert_eq!(code, 0, "{lines:?}");
        assert_eq!((lines.len(), &lines[0]["event"]), (1, &Value::from(event)));
        let commitments = &lines[0]["commitments"];
        assert_eq!(commitments["dossier"], "opens");
        assert_eq!(commitments["grant"], "no_value");
        assert_eq!(commitments["content"], "elsewhere");
    }
}

fn searched(world: &World) {
    let file = |name: &str, text: &str| {
        let file = world.root.join(name);
        std::fs::write(&file, text).unwrap();
        file.display().to_string()
    };
    let key = |member: &str| world.folder(member).join("tls.key").display().to_string();
    let signed = |output: &Output| {
        let (code, lines) = said(output);
        let text = lines
            .first()
            .map(|line| line["request"].as_str().unwrap().to_owned());
        (code, text.unwrap_or_default())
    };
    let person = file("person", "1234");
    let ask = |motive: &str| {
        let args = [
            "audit",
            "subject-request",
            CNAF,
            "--person",
            &person,
            "--motive",
            motive,
        ];
        signed(&unefois(&[&args[..], &["--by", &key("auditor")]].concat()))
    };
    assert_eq!(ask("").0, 65, "no motive");
    let (code, once) = ask("réclamation 2026-0412");
    assert_eq!(code, 0);
    let once = file("once", &once);
    let search = |file: &str| said(&audit(world, &["search-subject", file])).0;
    assert_eq!(search(&once), 77, "one signature");
    let twice = |by: &str| {
        let output = unefois(&["audit", "countersign", &once, "--by", &key(by)]);
        let shown = String::from_utf8_lossy(&output.stderr).into_owned();
        let shown: Value = serde_json::from_str(shown.lines().next().unwrap()).unwrap();
        assert_eq!(
            shown["signing"]["person"], "1234",
            "the person is shown to whoever signs"
        );
        assert_eq!(shown["signing"]["participant"], CNAF);
        signed(&output)
    };
    assert_eq!(twice("auditor").0, 77, "the same person twice");
    let (code, text) = twice("clamart");
    assert_eq!(code, 0);
    assert_eq!(search(&file("stranger", &text)), 77, "a key that is no auditor's");
    let altered = text.replace("2026-0412", "2026-0413");
    assert_eq!(search(&file("altered", &altered)), 77, "another motive");
    assert_eq!(search(&file("cut", &text[..40])), 65, "no request");
}
