//! The history: what the ledgers of both ends say, proved.

mod near;

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::{Value, json};
use unefois_core::{
    AccessTokenClaims, Capacity, Clock as _, Event, ExchangeId, Handle, NamedPerson, Pivot, Random, Reason,
};
use unefois_mesh::{SystemClock, SystemRandom};
use unefois_store::erase::Erasable;
use unefois_tlog::{Hash, Receipt, VerifierKey};

use crate::both_databases;
use crate::browser::Browser;
use crate::database::TestDatabase;
use crate::kit::{Kit, Which, Write};

both_databases![
    i12_both_ends_are_paired_and_each_row_is_proved,
    i12_a_spouse_sees_the_household_s_row_without_the_other_s_data,
    i12_an_identity_that_does_not_open_takes_no_more_than_its_own_away,
];

fn exchange() -> ExchangeId {
    let random: &dyn Random = &SystemRandom::new();
    random.exchange_id(SystemClock.now())
}

fn sent(event: Event, content: u8) -> Write {
    Write {
        event,
        reason: None,
        content: Some(content),
        units: 1,
    }
}

fn refused(reason: Reason) -> Write {
    Write {
        event: Event::Refused,
        reason: Some(reason),
        content: None,
        units: 0,
    }
}

/// A person with one grant, and a token under it.
async fn granted(kit: &Kit) -> (Browser, AccessTokenClaims) {
    let mut browser = kit.browser();
    let code = kit.grant(&mut browser, &kit.parameters(), "").await;
    let answer = kit.redeem(&code).await;
    let token = kit.claims(answer.json["access_token"].as_str().unwrap());
    (browser, token)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_is_not_proved_makes_its_keeper_silent() {
    let kit = Kit::new().await;
    let other = kit.other_producer().await;
    let (producer, commune) = (kit.node(Which::Producer).await, kit.node(Which::Commune).await);
    let (mut browser, token) = granted(&kit).await;
    // A commitment to another handle: nobody can tell what that entry is about.
    let mut another = token.clone();
    another.gs = unefois_core::commitment::GrantSecret::from_bytes([1; 32]);
    producer
        .write(&another, exchange(), sent(Event::Released, 1))
        .await;
    let page = browser.get("/historique").await;
    assert_eq!(page.status, StatusCode::OK);
    let json: serde_json::Value = serde_json::from_str(&browser.get("/historique.json").await.body).unwrap();
    assert_eq!(json["silent"], serde_json::json!([kit.cnaf]));
    assert_eq!(json["exchanges"], serde_json::json!([]));
    producer.stop().await;
    commune.stop().await;
    other.stop().await;
    kit.stop().await;
}

/// What the authority has destroyed attributes no entry to anybody: neither a row, nor a reproach to who keeps it.
#[tokio::test(flavor = "multi_thread")]
async fn entries_whose_secrets_are_destroyed_are_nobodys() {
    let kit = Kit::new().await;
    let other = kit.other_producer().await;
    let (producer, commune) = (kit.node(Which::Producer).await, kit.node(Which::Commune).await);
    let (mut browser, token) = granted(&kit).await;
    producer.write(&token, exchange(), sent(Event::Released, 1)).await;
    let shown = async |browser: &mut Browser| -> Value {
        serde_json::from_str(&browser.get("/historique.json").await.body).unwrap()
    };
    let before = shown(&mut browser).await;
    assert_eq!(
        (before["exchanges"].as_array().unwrap().len(), &before["erased"]),
        (1, &json!(0))
    );
    let month = SystemClock.now().month();
    let mut retention = kit.retention();
    let kept = retention.run(month.plus(37).start().plus_ms(-1)).await.unwrap();
    assert!(kept.is_empty(), "{kept:?}");
    let erased = retention.run(month.plus(37).start()).await.unwrap();
    assert!(erased.contains_key(&Erasable::Secret), "{erased:?}");
    let after = shown(&mut browser).await;
    assert_eq!((&after["exchanges"], &after["silent"]), (&json!([]), &json!([])));
    assert_eq!(after["erased"], 1);
    assert_eq!(kit.events().await.last(), Some(&Event::Erased));
    producer.stop().await;
    commune.stop().await;
    other.stop().await;
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_away_is_named_and_the_rest_is_shown() {
    let kit = Kit::new().await;
    let other = kit.other_producer().await;
    let commune = kit.node(Which::Commune).await;
    let (mut browser, token) = granted(&kit).await;
    commune.write(&token, exchange(), sent(Event::Received, 1)).await;
    let json: serde_json::Value = serde_json::from_str(&browser.get("/historique.json").await.body).unwrap();
    assert_eq!((&json["asked"], &json["silent"]), (&json!(3), &json!([kit.cnaf])));
    assert_eq!(json["exchanges"][0]["result"], "transmis");
    let page = browser.get("/historique").await;
    assert!(page.body.contains("Caisse nationale des allocations familiales"));
    commune.stop().await;
    other.stop().await;
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i12_refused_calls_hide_no_exchange_that_follows_them() {
    let kit = Kit::new().await;
    let other = kit.other_producer().await;
    let (producer, commune) = (kit.node(Which::Producer).await, kit.node(Which::Commune).await);
    let (mut browser, token) = granted(&kit).await;
    let flood = async |n: usize| {
        let refused = || refused(Reason::SubjectNotResolved);
        join_all((0..n).map(|_| producer.write(&token, exchange(), refused()))).await
    };
    let follows = async || {
        let real = exchange();
        producer.write(&token, real, sent(Event::Released, 1)).await;
        commune.write(&token, real, sent(Event::Received, 1)).await;
        real
    };
    let shown = async |browser: &mut Browser| -> Value {
        serde_json::from_str(&browser.get("/historique.json").await.body).unwrap()
    };
    // More than a ledger gives in one answer, and no two thirds of it at one instant.
    for n in [350, 350, 350] {
        flood(n).await;
    }
    let real = follows().await;
    let json = shown(&mut browser).await;
    let rows = json["exchanges"].as_array().unwrap();
    assert_eq!(rows.len(), 1_051, "each once");
    assert_eq!(rows[0]["exchange_id"], real.to_string());
    assert_eq!(rows[0]["producer"][0]["event"], "released");
    assert_eq!((&json["silent"], &json["incomplete"]), (&json!([]), &json!([])));

    // An instant that fills an answer alone is not read to its end; what follows it is.
    producer.clock.stop_at(Some(SystemClock.now()));
    flood(1_001).await;
    producer.clock.stop_at(None);
    let real = follows().await;
    let json = shown(&mut browser).await;
    let rows = json["exchanges"].as_array().unwrap();
    assert_eq!(rows[0]["exchange_id"], real.to_string());
    assert_eq!(rows[0]["producer"][0]["event"], "released");
    assert_eq!(json["incomplete"], json!([kit.cnaf]));
    producer.stop().await;
    commune.stop().await;
    other.stop().await;
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i12_whoever_holds_more_than_was_read_does_not_count_as_having_answered() {
    let kit = Kit::new().await;
    let other = kit.other_producer().await;
    let commune = kit.node(Which::Commune).await;
    let producer = kit.endless_history().await;
    let (mut browser, token) = granted(&kit).await;
    commune.write(&token, exchange(), sent(Event::Received, 1)).await;

    let json: Value = serde_json::from_str(&browser.get("/historique.json").await.body).unwrap();
    assert_eq!(
        (&json["silent"], &json["incomplete"]),
        (&json!([]), &json!([kit.cnaf]))
    );
    assert_eq!(json["exchanges"][0]["result"], "transmis", "not « à vérifier »");
    let page = browser
        .get("/historique")
        .await
        .body
        .replace(['\u{a0}', '\u{202f}'], " ");
    assert!(page.contains("2 administrations sur 3 ont répondu"), "{page}");
    assert!(page.contains("Des échanges plus récents existent"), "{page}");
    commune.stop().await;
    producer.stop().await;
    other.stop().await;
    kit.stop().await;
}

async fn i12_both_ends_are_paired_and_each_row_is_proved(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let other = kit.other_producer().await;
    let (producer, commune) = (kit.node(Which::Producer).await, kit.node(Which::Commune).await);
    let (mut browser, token) = granted(&kit).await;
    let answered = exchange();
    let leaf = producer.write(&token, answered, sent(Event::Released, 1)).await;
    commune.write(&token, answered, sent(Event::Received, 1)).await;
    let told_apart = exchange();
    producer.write(&token, told_apart, sent(Event::Released, 1)).await;
    commune.write(&token, told_apart, sent(Event::Received, 2)).await;
    let unconfirmed = exchange();
    producer
        .write(&token, unconfirmed, sent(Event::Released, 1))
        .await;
    let stopped = exchange();
    producer
        .write(&token, stopped, refused(Reason::GrantRevoked))
        .await;

    let json: serde_json::Value = serde_json::from_str(&browser.get("/historique.json").await.body).unwrap();
    assert_eq!(
        (json["asked"].as_u64(), json["silent"].as_array().unwrap().len()),
        (Some(3), 0)
    );
    let result = |id: ExchangeId| {
        let rows = json["exchanges"].as_array().unwrap();
        let row = rows
            .iter()
            .find(|row| row["exchange_id"] == id.to_string())
            .unwrap();
        row["result"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        [answered, told_apart, unconfirmed, stopped].map(result),
        ["transmis", "a-verifier", "non-confirme", "refuse"]
    );
    let page = browser.get("/historique").await;
    for words in [
        "Mairie de Clamart",
        "3 administrations sur 3",
        "réponse transmise",
    ] {
        assert!(
            page.body.replace(['\u{a0}', '\u{202f}'], " ").contains(words),
            "{words}"
        );
    }
    let filtered = browser.get("/historique.json?resultat=refuse").await;
    let filtered: serde_json::Value = serde_json::from_str(&filtered.body).unwrap();
    assert_eq!(filtered["exchanges"].as_array().unwrap().len(), 1);
    let csv = browser.get("/historique.csv").await;
    assert_eq!(csv.body.lines().count(), 5);

    let proof = browser.get(&format!("/preuve/{answered}")).await;
    let receipt: Receipt = proof.body.parse().unwrap();
    let key: VerifierKey = kit.document.participants[3].logs[0].vkey.parse().unwrap();
    receipt.verify(&Hash::of_leaf(&leaf), &key).unwrap();
    assert_eq!(receipt.unauthenticated_extra(), Some(leaf.as_slice()));
    assert_eq!(
        browser.get(&format!("/preuve/{}", exchange())).await.status,
        StatusCode::NOT_FOUND
    );
    let list = browser.get("/autorisations").await;
    assert_eq!(list.status, StatusCode::OK);

    // Somebody else sees none of it.
    kit.provider.says.lock().unwrap().sub = "somebody";
    kit.provider.says.lock().unwrap().identity["family_name"] = "MERCIER".into();
    let mut stranger = kit.browser();
    stranger.follow("/fc/connexion").await;
    let json: serde_json::Value = serde_json::from_str(&stranger.get("/historique.json").await.body).unwrap();
    assert_eq!(json["exchanges"], serde_json::json!([]));
    assert_eq!(
        stranger.get(&format!("/preuve/{answered}")).await.status,
        StatusCode::NOT_FOUND
    );
    producer.stop().await;
    commune.stop().await;
    other.stop().await;
    kit.stop().await;
}

/// Angela grants; the source names her spouse, whom she lives with, in the unit `composition`.
async fn i12_a_spouse_sees_the_household_s_row_without_the_other_s_data(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let other = kit.other_producer().await;
    let (producer, commune) = (kit.node(Which::Producer).await, kit.node(Which::Commune).await);
    let (_, token) = granted(&kit).await;
    let spouse = NamedPerson {
        child: false,
        family_name: "MERCIER".into(),
        given_names: vec!["Joël".into(), "Paul".into()],
        birthdate: "1960-01-00".parse().unwrap(),
        gender: None,
    };
    let household = exchange();
    let about = vec![b"somebody else".to_vec(), spouse.form()];
    producer
        .write_about(&token, household, sent(Event::Released, 1), (about, vec![]))
        .await;
    // What concerns Angela alone, and what concerns the spouse alone: by an officer, and automatically.
    producer.write(&token, exchange(), sent(Event::Released, 1)).await;
    let identity = json!({"family_name": "MERCIER", "given_name": "Joël Paul", "given_name_array": ["Joël", "Paul"], "birthdate": "1960-01-01",
        "gender": "male", "birthplace": "75107", "birthcountry": "99100"});
    let pivot: Pivot =
        serde_json::from_value(json!({"family_name": "MERCIER", "given_names": ["Joël", "Paul"],
        "birthdate": "1960-01-01", "gender": "male", "birthplace": "75107", "birthcountry": "99100"}))
        .unwrap();
    for (capacity, event) in [
        (Capacity::Agent, Event::Refused),
        (Capacity::Automatic, Event::Released),
    ] {
        let of = AccessTokenClaims {
            capacity,
            gh: Handle::draw(SystemClock.now(), &SystemRandom::new()),
            ..token.clone()
        };
        let write = match event {
            Event::Refused => refused(Reason::SubjectNotResolved),
            _ => sent(event, 1),
        };
        producer
            .write_about(&of, exchange(), write, (vec![pivot.canonical()], vec![]))
            .await;
    }

    {
        let mut says = kit.provider.says.lock().unwrap();
        says.sub = "joel";
        for (name, value) in identity.as_object().unwrap() {
            says.identity[name] = value.clone();
        }
    }
    let mut spouse = kit.browser();
    spouse.follow("/fc/connexion").await;
    let json: Value = serde_json::from_str(&spouse.get("/historique.json").await.body).unwrap();
    assert_eq!(
        (&json["asked"], &json["silent"]),
        (&json!(2), &json!([])),
        "{json}"
    );
    let rows = json["exchanges"].as_array().unwrap();
    let told: Vec<[&str; 2]> = rows
        .iter()
        .map(|row| [&row["found_by"], &row["capacity"]].map(|text| text.as_str().unwrap()))
        .collect();
    assert_eq!(told, [["identity", "automatic"], ["identity", "agent"]]);
    assert_eq!(rows[0]["dossier_ref"], Value::Null);
    assert_eq!(rows[0]["producer"][0]["event"], "released");
    // They are proved like any other.
    let name = format!(
        "{}-{}",
        rows[0]["exchange_id"].as_str().unwrap(),
        token.aud.siret()
    );
    let proof = spouse.get(&format!("/preuve/{name}")).await;
    let receipt: Receipt = proof.body.parse().unwrap();
    let key: VerifierKey = kit.document.participants[3].logs[0].vkey.parse().unwrap();
    let leaf = receipt.unauthenticated_extra().unwrap().to_vec();
    receipt.verify(&Hash::of_leaf(&leaf), &key).unwrap();

    // Of the household: when, what and of whom; neither who asked, nor why, nor what came of it.
    let others = json["others"].as_array().unwrap();
    assert_eq!(others.len(), 1, "{json}");
    let members: Vec<&String> = others[0].as_object().unwrap().keys().collect();
    assert_eq!(members, ["datatype", "day", "found_by", "provider"]);
    assert_eq!(
        (
            &others[0]["found_by"],
            &others[0]["provider"],
            &others[0]["datatype"]
        ),
        (
            &json!("household"),
            &json!(kit.cnaf),
            &json!(token.authorization_details[0].datatype().to_string())
        )
    );
    for name in [
        household.to_string(),
        format!("{household}-{}", token.aud.siret()),
    ] {
        for path in [format!("/preuve/{name}"), format!("/preuve/{name}/recu.json")] {
            assert_eq!(spouse.get(&path).await.status, StatusCode::NOT_FOUND, "{path}");
        }
    }

    let page = spouse
        .get("/historique")
        .await
        .body
        .replace(['\u{a0}', '\u{202f}'], " ");
    for words in [
        "une information de votre foyer, pas à votre demande",
        "Vous concerne, demandé par un agent",
        "Vous concerne, automatiquement",
        "numéro non montré",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let receipt = spouse.get(&format!("/preuve/{name}/recu.json")).await.body;
    let csv = spouse.get("/historique.csv").await.body;
    for shown in [&page, &receipt, &csv] {
        for hidden in ["DUBOIS", "Angela", "2026-0412"] {
            assert!(!shown.contains(hidden), "{hidden}: {shown}");
        }
    }
    let section = page.split(r#"id="autour""#).nth(1).unwrap();
    let section = section.split("</section>").next().unwrap();
    assert!(!section.contains("Mairie de Clamart"), "{section}");
    assert_eq!(
        csv.lines().filter(|line| line.contains("Clamart")).count(),
        2,
        "{csv}"
    );
    // Somebody of another first name, or of another day, is not the spouse.
    for (name, value) in [
        ("given_name_array", json!(["Joël"])),
        ("birthdate", json!("1960-01-02")),
    ] {
        {
            let mut says = kit.provider.says.lock().unwrap();
            says.sub = name;
            for (name, value) in identity.as_object().unwrap() {
                says.identity[name] = value.clone();
            }
            says.identity[name] = value;
        }
        let mut stranger = kit.browser();
        stranger.follow("/fc/connexion").await;
        let json: Value = serde_json::from_str(&stranger.get("/historique.json").await.body).unwrap();
        assert_eq!(
            (&json["exchanges"], &json["others"]),
            (&json!([]), &json!([])),
            "{name}"
        );
    }
    producer.stop().await;
    commune.stop().await;
    other.stop().await;
    kit.stop().await;
}

/// Nor is it passed over in silence.
async fn i12_an_identity_that_does_not_open_takes_no_more_than_its_own_away(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let other = kit.other_producer().await;
    let (producer, commune) = (kit.node(Which::Producer).await, kit.node(Which::Commune).await);
    let (mut browser, token) = granted(&kit).await;
    producer.write(&token, exchange(), sent(Event::Released, 1)).await;
    // One that she had before.
    kit.execute(
        "INSERT INTO person_identity (iss, sub, pivot_digest, people, person_uid, created_at) \
         SELECT iss, sub, person_uid, people, person_uid, created_at FROM person_identity; \
         INSERT INTO person_pivot (person_uid, digest, near, sealed, seen_at) \
         SELECT person_uid, person_uid, near, digest, 0 FROM person_pivot",
    )
    .await;
    let json: Value = serde_json::from_str(&browser.get("/historique.json").await.body).unwrap();
    assert_eq!(
        (
            json["exchanges"].as_array().map(Vec::len),
            &json["identities_unread"]
        ),
        (Some(1), &json!(1)),
        "{json}"
    );
    let page = browser.get("/historique").await.body;
    assert!(page.contains("n’a pas pu être lue"), "{page}");
    producer.stop().await;
    commune.stop().await;
    other.stop().await;
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_person_asks_administrations_so_often_and_no_more() {
    let kit = Kit::new().await;
    let mut browser = kit.browser();
    browser.follow("/fc/connexion").await;
    let mut pages = 0;
    let refused = loop {
        let page = browser.get("/historique.json").await;
        if page.status != StatusCode::OK {
            break page.status;
        }
        pages += 1;
        assert!(pages < 200, "nobody counts");
    };
    assert_eq!(refused, StatusCode::TOO_MANY_REQUESTS);
    assert!(pages >= 20, "{pages}");
    assert_eq!(browser.get("/autorisations").await.status, StatusCode::OK);
    kit.provider.says.lock().unwrap().sub = "somebody";
    kit.provider.says.lock().unwrap().identity["family_name"] = "MERCIER".into();
    let mut other = kit.browser();
    other.follow("/fc/connexion").await;
    assert_eq!(
        other.get("/historique").await.status,
        StatusCode::OK,
        "each alone"
    );
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_administration_has_one_time_for_all_its_answers() {
    let kit = Kit::new().await;
    let other = kit.other_producer().await;
    let commune = kit.node(Which::Commune).await;
    let (producer, asked) = kit.slow_history().await;
    let (mut browser, token) = granted(&kit).await;
    commune.write(&token, exchange(), sent(Event::Received, 1)).await;
    let json: Value = serde_json::from_str(&browser.get("/historique.json").await.body).unwrap();
    assert_eq!(json["exchanges"].as_array().map(Vec::len), Some(1), "{json}");
    let told = json["incomplete"] == json!([kit.cnaf]) || json["silent"] == json!([kit.cnaf]);
    assert!(told, "{json}");
    let asked = asked.load(std::sync::atomic::Ordering::SeqCst);
    assert!((1..=7).contains(&asked), "{asked} of the ten that were allowed");
    commune.stop().await;
    producer.stop().await;
    other.stop().await;
    kit.stop().await;
}
