//! What is told of what may be a namesake's.

use http::StatusCode;
use serde_json::{Value, json};
use unefois_core::{AccessTokenClaims, Capacity, Clock as _, Event, Handle, Pivot};
use unefois_mesh::{SystemClock, SystemRandom};

use super::{exchange, granted, sent};
use crate::both_databases;
use crate::database::TestDatabase;
use crate::kit::{Kit, Which};

both_databases![
    i12_what_was_asked_under_a_near_name_is_told_without_its_details,
    i12_namesakes_of_a_birth_abroad_see_no_more_than_that_something_was_asked,
];

/// An officer and nobody ask under a part of the person's names, or half a birth date: a namesake may be meant.
async fn i12_what_was_asked_under_a_near_name_is_told_without_its_details(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let other = kit.other_producer().await;
    let (producer, commune) = (kit.node(Which::Producer).await, kit.node(Which::Commune).await);
    let (mut browser, token) = granted(&kit).await;
    let pivot = |given: &[&str], birthdate: &str| -> Pivot {
        serde_json::from_value(
            json!({"family_name": "Dubois", "given_names": given, "birthdate": birthdate,
            "gender": "female"}),
        )
        .unwrap()
    };
    for (capacity, named) in [
        (Capacity::Agent, pivot(&["Angela"], "1962-08-24")),
        (
            Capacity::Automatic,
            pivot(&["Angela", "Claire", "Louise"], "1962-01-01"),
        ),
        (Capacity::Automatic, pivot(&["Angele"], "1962-08-24")),
    ] {
        let of = AccessTokenClaims {
            capacity,
            gh: Handle::draw(SystemClock.now(), &SystemRandom::new()),
            ..token.clone()
        };
        let about = (vec![named.canonical()], vec![named.near_form()]);
        producer
            .write_about(&of, exchange(), sent(Event::Released, 1), about)
            .await;
    }
    let json: Value = serde_json::from_str(&browser.get("/historique.json").await.body).unwrap();
    assert_eq!(json["exchanges"], json!([]), "{json}");
    let others = json["others"].as_array().unwrap();
    assert_eq!(others.len(), 2, "{json}");
    for other in others {
        assert_eq!(
            (&other["found_by"], &other["provider"], &other["datatype"]),
            (&json!("near"), &json!(kit.cnaf), &Value::Null)
        );
        assert_eq!(other.as_object().unwrap().len(), 4, "{other}");
    }
    let page = browser.get("/historique").await.body;
    assert!(page.contains("une demande à un nom proche du vôtre"), "{page}");
    assert!(!page.contains("Clamart"), "{page}");
    // The day, and neither here nor there the instant.
    let (_, around) = page.split_once(r#"id="autour""#).unwrap();
    let (around, _) = around.split_once("</section>").unwrap();
    let (_, time) = around.split_once("<time datetime=\"").unwrap();
    let (day, rest) = time.split_once('"').unwrap();
    let (words, _) = rest.split_once("</time>").unwrap();
    assert_eq!((day.len(), words.contains(" h\u{a0}")), (10, false), "{around}");
    for other in others {
        assert_eq!(other["day"], day, "{other}");
    }
    let csv = browser.get("/historique.csv").await.body;
    let rows: Vec<&str> = csv.lines().skip(1).collect();
    assert_eq!(rows.len(), 2, "{csv}");
    for row in rows {
        assert!(row.starts_with(&format!("\"{day}\";\"\";")), "{row}");
        assert!(
            row.ends_with(";\"\";\"\";\"\";\"\";\"une demande à un nom proche du vôtre\";\"\""),
            "{row}"
        );
    }
    producer.stop().await;
    commune.stop().await;
    other.stop().await;
    kit.stop().await;
}

/// What is known of somebody born abroad is known of their namesake too.
async fn i12_namesakes_of_a_birth_abroad_see_no_more_than_that_something_was_asked(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let other = kit.other_producer().await;
    let (producer, commune) = (kit.node(Which::Producer).await, kit.node(Which::Commune).await);
    {
        let mut says = kit.provider.says.lock().unwrap();
        says.identity["birthplace"] = "".into();
        says.identity["birthcountry"] = "99352".into();
    }
    let (mut browser, token) = granted(&kit).await;
    let pivot: Pivot = serde_json::from_value(json!({"family_name": "DUBOIS",
        "given_names": ["Angela", "Claire", "Louise"], "birthdate": "1962-08-24", "gender": "female",
        "birthcountry": "99352"}))
    .unwrap();
    let by_an_officer = AccessTokenClaims {
        capacity: Capacity::Agent,
        gh: Handle::draw(SystemClock.now(), &SystemRandom::new()),
        ..token.clone()
    };
    let (own, asked) = (exchange(), exchange());
    for (token, exchange, near) in [
        (&token, own, vec![]),
        (&by_an_officer, asked, vec![pivot.near_form()]),
    ] {
        let about = (vec![pivot.canonical()], near);
        producer
            .write_about(token, exchange, sent(Event::Released, 1), about)
            .await;
    }
    let mut namesake = {
        kit.provider.says.lock().unwrap().sub = "namesake";
        kit.browser()
    };
    namesake.follow("/fc/connexion").await;
    for (browser, owns, others) in [(&mut browser, vec![own], 1), (&mut namesake, vec![], 2)] {
        let json: Value = serde_json::from_str(&browser.get("/historique.json").await.body).unwrap();
        let rows = json["exchanges"].as_array().unwrap().iter();
        let rows: Vec<&str> = rows.map(|row| row["exchange_id"].as_str().unwrap()).collect();
        assert_eq!(
            rows,
            owns.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "{json}"
        );
        assert_eq!(json["identity_shared"], true);
        let told = json["others"].as_array().unwrap();
        assert_eq!(told.len(), others, "{json}");
        assert!(told.iter().all(|row| row["found_by"] == "near"), "{json}");
        for name in [asked.to_string(), format!("{asked}-{}", token.aud.siret())] {
            for path in [format!("/preuve/{name}"), format!("/preuve/{name}/recu.json")] {
                assert_eq!(browser.get(&path).await.status, StatusCode::NOT_FOUND, "{path}");
            }
        }
        let page = browser.get("/historique").await.body;
        assert!(
            page.contains("ne suffit pas à vous distinguer d’un homonyme"),
            "{page}"
        );
    }
    let own = namesake
        .get(&format!("/preuve/{own}-{}", token.aud.siret()))
        .await;
    assert_eq!(own.status, StatusCode::NOT_FOUND);
    producer.stop().await;
    commune.stop().await;
    other.stop().await;
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn namesakes_without_end_crowd_out_nothing_that_is_the_person_s_own() {
    let kit = Kit::new().await;
    let other = kit.crowded_producer().await;
    let (producer, commune) = (kit.node(Which::Producer).await, kit.node(Which::Commune).await);
    let (mut browser, token) = granted(&kit).await;
    producer.write(&token, exchange(), sent(Event::Released, 1)).await;
    let json: Value = serde_json::from_str(&browser.get("/historique.json").await.body).unwrap();
    assert_eq!(
        (
            json["exchanges"].as_array().map(Vec::len),
            &json["silent"],
            &json["incomplete"],
            json["others_incomplete"].as_array().map(Vec::len),
        ),
        (Some(1), &json!([]), &json!([]), Some(1)),
        "{json}"
    );
    let page = browser.get("/historique").await.body;
    assert!(page.contains("qui n’ont pas toutes pu être lues"), "{page}");
    producer.stop().await;
    commune.stop().await;
    other.stop().await;
    kit.stop().await;
}
