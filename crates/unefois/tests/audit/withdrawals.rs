//! `audit check-withdrawals` over the logs of a withdrawal that took effect, and over one that its keeper forged.

use unefois::demo::world::{AUTHORITY, CNAF, World};
use unefois_core::{Entry, Event};

use crate::mesh::{Mesh, audit, audit_text, blocking, said};
use crate::served::{Keeper, Serving};

const MOTIVE: [&str; 3] = ["check-withdrawals", "--motive", "contrôle 2026-11"];

/// The exit code, and what is said to machines.
async fn checked(world: &World) -> (i32, serde_json::Value) {
    let world = world.clone();
    let output = blocking(move || audit(&world, &MOTIVE)).await;
    let (code, mut lines) = said(&output);
    assert_eq!(lines.len(), 1, "{}", String::from_utf8_lossy(&output.stderr));
    (code, lines.remove(0))
}

/// What is served of the fund's log in place of its own.
async fn forged(world: &World, entries: Vec<Vec<u8>>) -> (i32, serde_json::Value, [String; 2]) {
    let keeper = Keeper {
        member: "cnaf",
        port: world.ports.cnaf,
        entries,
        confirmed: Vec::new(),
    };
    let serving = Serving::begin(world, vec![keeper]).await;
    let (code, value) = checked(world).await;
    let told = world.clone();
    let in_english = [&MOTIVE[..], &["--lang", "en"]].concat();
    let texts = blocking(move || [&MOTIVE[..], &in_english].map(|args| audit_text(&told, args))).await;
    serving.end().await;
    (code, value, texts)
}

#[tokio::test(flavor = "multi_thread")]
async fn i3_a_late_release_is_found_from_ledgers_alone() {
    let mut mesh = Mesh::with_a_withdrawal().await;
    let world = mesh.world.clone();
    let (code, honest) = checked(&world).await;
    assert_eq!((code, &honest["holds"]), (0, &true.into()), "{honest}");
    let count = |value: &serde_json::Value, name: &str| value[name].as_u64().unwrap();
    assert_eq!(
        (count(&honest, "withdrawals"), count(&honest, "proved")),
        (2, 2),
        "one a producer of the grant: {honest}"
    );
    assert_eq!(
        (&honest["pending"], &honest["closed"]),
        (&serde_json::json!([]), &serde_json::json!([]))
    );

    // Each proof was opened for a motive, and the authority's ledger says so.
    let entries = mesh.entries(AUTHORITY).await;
    let decoded = entries.iter().map(|bytes| Entry::decode(bytes).unwrap().event);
    let (mut effective, mut queried) = (0, 0);
    for event in decoded {
        effective += usize::from(event == Event::Effective);
        queried += usize::from(event == Event::Queried);
    }
    assert_eq!(effective, 2);
    assert!(queried >= 2, "{queried}");

    let cnaf = mesh.entries(CNAF).await;
    mesh.stage.stop_cnaf().await.unwrap();
    let last = cnaf
        .iter()
        .rposition(|bytes| Entry::decode(bytes).unwrap().event == Event::Released);
    let released = Entry::decode(&cnaf[last.unwrap()]).unwrap();
    let again = |like: &Entry| Entry {
        event: Event::ReleasedAgain,
        attempt: 2,
        at: like.at,
        view: like.view,
        ..released.clone()
    };
    let found = |value: &serde_json::Value| -> Vec<(String, u64, String)> {
        let findings = value["findings"].as_array().unwrap().iter();
        let late = findings.flat_map(|finding| finding["late"].as_array().unwrap());
        late.map(|late| {
            let word = |name: &str| late[name].as_str().unwrap().to_owned();
            (word("exchange_id"), late["index"].as_u64().unwrap(), word("why"))
        })
        .collect()
    };
    let exchange = released.exchange_id.unwrap().to_string();

    // The node had the record when it let the answer out once more.
    let end = cnaf.len() as u64;
    let newest = Entry::decode(cnaf.last().unwrap()).unwrap();
    let mut forged_log = cnaf.clone();
    forged_log.push(again(&newest).encode());
    let (code, value, texts) = forged(&world, forged_log).await;
    assert_eq!((code, &value["holds"]), (1, &false.into()), "{value}");
    assert_eq!(found(&value), [(exchange.clone(), end, "view".to_owned())]);
    assert_eq!((count(&value, "late"), count(&value, "proved")), (1, 1));
    for (text, found, verdict) in [
        (
            &texts[0],
            "    tardif : ",
            "Des communications sont tardives, ou des preuves rompues.\n",
        ),
        (&texts[1], "    late: ", "Releases are late, or proofs broken.\n"),
    ] {
        assert!(text.contains(&format!("{found}{exchange} (")), "{text}");
        assert!(text.ends_with(verdict), "{text}");
    }

    // It hides that it had: the size that it acknowledged with tells.
    let size = acknowledged(&cnaf, released.view);
    let before = Entry::decode(&cnaf[size - 1]).unwrap();
    let mut forged_log = cnaf[..size].to_vec();
    forged_log.push(again(&before).encode());
    let (code, value, _) = forged(&world, forged_log).await;
    assert_eq!(code, 1, "{value}");
    assert_eq!(
        found(&value),
        [(exchange, size as u64, "acknowledged".to_owned())]
    );

    // A history in which the release never was is not the one that the proof names.
    let mut forged_log = cnaf.clone();
    forged_log.remove(last.unwrap());
    let (code, value, texts) = forged(&world, forged_log).await;
    assert_eq!((code, count(&value, "broken")), (1, 1), "{value}");
    assert!(texts[0].contains("ne prolonge pas la tête"), "{}", texts[0]);
    assert!(texts[1].contains("does not continue the head"), "{}", texts[1]);
    let finding = &value["findings"][0];
    assert_eq!(finding["faults"][0]["fault"], "other_history", "{finding}");
}

/// The size of the log before its first entry under a later view than `view`.
fn acknowledged(entries: &[Vec<u8>], view: unefois_core::RevocationView) -> usize {
    let later = |bytes: &Vec<u8>| Entry::decode(bytes).unwrap().view > view;
    entries.iter().position(later).unwrap_or(entries.len())
}
