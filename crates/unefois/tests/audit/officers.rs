//! What data protection officers ask: `audit report`, `audit register`, `audit impact`, over real exchanges.

use serde_json::Value;
use unefois::demo::world::{CLAMART, CNAF, MESR, World};

use crate::mesh::{Mesh, audit, blocking, said, text};

fn one(world: &World, args: &[&str]) -> Value {
    let output = audit(world, args);
    let (code, mut lines) = said(&output);
    assert_eq!(code, 0, "{}", String::from_utf8_lossy(&output.stderr));
    lines.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn officers_are_told_what_the_logs_hold_and_how_it_was_counted() {
    let mesh = Mesh::with_a_refusal(3).await;
    let world = mesh.world.clone();
    blocking(move || {
        reports(&world);
        registers(&world);
        impacts(&world);
    })
    .await;
    mesh.stage.lower().await.unwrap();
}

fn reports(world: &World) {
    let report = one(world, &["report", CNAF]);
    assert_eq!(
        report["total"],
        serde_json::json!({"refused": 1, "later": 0, "answered": 3})
    );
    let lines = report["lines"].as_array().unwrap();
    let outcomes: Vec<(&str, u64)> = (lines.iter())
        .map(|line| {
            (
                line["outcome"].as_str().unwrap(),
                line["entries"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(outcomes, [("refused", 1), ("answered", 3)], "refusals first");
    assert_eq!(lines[0]["reason"], "SUBJECT_NOT_RESOLVED");
    assert_eq!(report["directories"][0]["version"], 1);
    let before = one(world, &["report", CNAF, "--to", "2026-01-01"]);
    assert_eq!(before["lines"], serde_json::json!([]));

    let csv = text(&audit(world, &["report", CNAF, "--format", "csv"]));
    assert!(
        csv.starts_with("issue,motif,") && csv.contains("refused,SUBJECT_NOT_RESOLVED,"),
        "{csv}"
    );
    let wrong = audit(world, &["report", "urn:unefois:participant:11111111111111"]);
    assert_eq!(said(&wrong).0, 64);
}

fn registers(world: &World) {
    let consumer = one(world, &["register", CLAMART]);
    let activities = consumer["activities"].as_array().unwrap();
    assert!(activities.iter().all(|activity| activity["role"] == "consumer"));
    let of = |activities: &[Value], datatype: &str| -> Value {
        let found = activities
            .iter()
            .find(|activity| activity["datatype"] == datatype);
        found.unwrap().clone()
    };
    let used = of(activities, "cnaf/quotient-familial@1");
    assert_eq!(used["used"]["answered"], 3);
    assert_eq!(used["used"]["refused"], 1);
    let units: Vec<bool> = (used["data"].as_array().unwrap().iter())
        .map(|data| data["used"].as_bool().unwrap())
        .collect();
    assert!(
        units.contains(&true) && units.contains(&false),
        "one unit was fetched of several"
    );
    let unused = of(activities, "mesr/statut-etudiant@1");
    assert_eq!(
        (&unused["used"]["answered"], &unused["used"]["last"]),
        (&0.into(), &Value::Null)
    );
    assert!(!used["durations"].as_array().unwrap().is_empty());
    assert!(!consumer["controller"]["dpo"].as_str().unwrap().is_empty());

    let producer = one(world, &["register", CNAF]);
    let served = of(
        producer["activities"].as_array().unwrap(),
        "cnaf/quotient-familial@1",
    );
    assert_eq!(
        (&served["role"], &served["used"]["answered"]),
        (&"producer".into(), &3.into())
    );
    let recipients = served["recipients"].to_string();
    assert!(recipients.contains("Mairie de Clamart"), "{recipients}");
    assert_eq!(producer["uncovered"], serde_json::json!([]));

    let csv = text(&audit(world, &["register", CLAMART, "--format", "csv-excel"]));
    assert!(csv.starts_with("\u{feff}role;activite;"), "{csv}");
    // Text, as it is printed without --json.
    let told = crate::mesh::audit_text(world, &["register", CLAMART]);
    for heading in [
        "article 30",
        "Finalités",
        "Destinataires",
        "Durées",
        "Transferts",
        "Mesures de sécurité",
        "jamais utilisé",
    ] {
        assert!(told.contains(heading), "{heading} is missing from\n{told}");
    }
}

/// What an incident with a peer concerned at `participant`, and why that is asked.
fn impact<'a>(participant: &'a str, of: &[&'a str]) -> Vec<&'a str> {
    let asked = ["impact", "--participant", participant, "--purpose", "incident 7"];
    [&asked, of].concat()
}

fn impacts(world: &World) {
    let producer = one(world, &impact(CNAF, &["--peer", CLAMART]));
    assert_eq!(
        (&producer["exchanges"], &producer["sent"]),
        (&4.into(), &3.into())
    );
    let people = &producer["people"];
    // Three grants of one person: fewer than five is all that the node says.
    assert_eq!(
        (&people["few_persons"], &people["few_handles"]),
        (&true.into(), &true.into())
    );
    assert_eq!((&people["persons"], &people["handles"]), (&4.into(), &4.into()));
    assert_eq!(
        (&people["complete"], &people["entries"]),
        (&false.into(), &3.into())
    );
    let told = crate::mesh::audit_text(world, &impact(CNAF, &["--peer", CLAMART]));
    assert!(told.contains("moins de 5 personne(s)"), "{told}");
    for unexplained in [&[][..], &["--purpose", ""]] {
        let asked = [
            &["impact", "--participant", CNAF, "--peer", CLAMART][..],
            unexplained,
        ]
        .concat();
        assert_eq!(said(&audit(world, &asked)).0, 64, "a reason is needed");
    }

    let consumer = one(world, &impact(CLAMART, &["--peer", CNAF]));
    let people = &consumer["people"];
    assert_eq!(
        (&people["few_persons"], &people["entries"]),
        (&true.into(), &3.into())
    );

    let none = one(world, &impact(MESR, &["--peer", CLAMART]));
    assert_eq!(
        (&none["exchanges"], &none["people"]["persons"]),
        (&0.into(), &0.into())
    );

    let key = spki(world);
    let by_key = one(
        world,
        &impact(CNAF, &["--peer-key", &key, "--from", "2026-01-01"]),
    );
    assert_eq!((&by_key["peer"], &by_key["sent"]), (&CLAMART.into(), &3.into()));
    let undated = audit(world, &impact(CNAF, &["--peer-key", &key]));
    assert_eq!(said(&undated).0, 64, "a key without a beginning");
    let unknown = "0".repeat(64);
    let unknown = audit(
        world,
        &impact(CNAF, &["--peer-key", &unknown, "--from", "2026-01-01"]),
    );
    assert_eq!(said(&unknown).0, 65);
}

/// The key of the commune's certificate, as the directory lists it.
fn spki(world: &World) -> String {
    let jws = std::fs::read_to_string(world.folder("auditor").join("directory.jws")).unwrap();
    let directory = unefois_jose::directory::verify(&jws, &world.pin).unwrap();
    let row = directory.participant(&CLAMART.parse().unwrap()).unwrap();
    row.tls[0].spki_sha256.to_string()
}
