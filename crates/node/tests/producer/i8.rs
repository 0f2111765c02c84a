//! I8: every refusal of a known peer is recorded with its reason, and nobody can tell an unknown person from an
//! ambiguous one.

use unefois_core::{Event, Outcome, Reason};
use unefois_mesh::status::Refusal;
use unefois_store::evidence::evidence_read;
use unefois_store::head::head_read;
use unefois_tlog::Hash;

use crate::both_databases;
use crate::database::TestDatabase;
use crate::world::{World, case, consumer_id, stranger_id, x5t};

both_databases![
    i8_every_refusal_is_recorded,
    i8_who_shows_another_s_token_is_named,
    i8_refusals_without_end_are_counted_not_written,
    i8_nobody_and_several_look_the_same
];

const DOCUMENT: &str = r#"{"data":{"montant":900}}"#;

async fn i8_every_refusal_is_recorded(database: TestDatabase) {
    let world = World::new(&[
        ("a.yaml", &case("EXEMPLE", 200, DOCUMENT)),
        ("b.yaml", &case("LENT", 504, "{}")),
        ("c.yaml", &case("FAUX", 200, r#"{"data":{"montant":"beaucoup"}}"#)),
        ("d.yaml", &case("PANNE", 502, "{}")),
        ("e.yaml", &case("TROP", 429, "{}")),
        ("f.yaml", &case("ETRANGE", 302, "{}")),
    ])
    .await;
    let node = world.node(database.url()).await;
    let caller = world.caller(&node, &world.consumer);
    let later = Outcome::Later;
    let refused = Outcome::Refused;
    // The handle of a refusal is in the person's history once the token is authentic and the client known.
    for (name, expected, outcome, in_history) in [
        ("LENT", Reason::SourceTimeout, later, 1),
        ("FAUX", Reason::SourceSchema, refused, 1),
        ("PANNE", Reason::SourceError, later, 1),
        ("TROP", Reason::QuotaProducer, later, 1),
        ("ETRANGE", Reason::SourceError, refused, 1),
        ("INCONNU", Reason::SubjectNotResolved, refused, 1),
        ("expiré", Reason::TokenInvalid, refused, 0),
        ("malformé", Reason::InvalidRequest, refused, 0),
    ] {
        let mut grant = world.grant(name, &["montant"]);
        if name == "expiré" {
            grant.claims.exp = grant.claims.iat - 10;
            grant.claims.iat -= 100;
            grant.claims.nbf -= 100;
        }
        let mut request = world.request(&grant);
        if name == "malformé" {
            request.nonce.clear();
        }
        let (reason, status) = caller.refused(request.clone()).await;
        assert_eq!(reason, expected, "{name}");
        assert_eq!(
            Refusal::of(&status)
                .expect("as the test arranges it")
                .retry_after
                .is_some(),
            outcome == later,
            "{name}"
        );

        let entry = node.entries().await.pop().expect("an entry");
        assert_eq!(
            (entry.event, entry.reason, entry.outcome),
            (Event::Refused, Some(expected), Some(outcome)),
            "{name}"
        );
        assert_eq!(entry.requester, Some(consumer_id()), "{name}");
        assert_eq!(entry.exchange_id.is_some(), name != "malformé", "{name}");
        assert_eq!(entry.grant_commit.is_some(), in_history == 1, "{name}");
        assert_eq!(node.of_handle(&grant.claims.gh).await, in_history, "{name}");
        let told = status
            .metadata()
            .get_bin("unefois-entry-bin")
            .expect("the entry's hash")
            .to_bytes()
            .expect("as the test arranges it");
        assert_eq!(&told[..], Hash::of_leaf(&entry.encode()).as_bytes(), "{name}");
        let origin = status.metadata().get("unefois-origin").expect("the log's origin");
        assert_eq!(origin, node.foundation.ledger.origin().as_str(), "{name}");
        // A refusal takes no claim: the same handle may still serve.
        assert!(
            node.foundation
                .ledger
                .by_handle(&grant.claims.gh)
                .await
                .expect("as the test arranges it")
                .len()
                <= 1
        );
    }
    node.stop().await;
}

/// The person's history shows the theft, and the thief; the one who was robbed is in no entry.
async fn i8_who_shows_another_s_token_is_named(database: TestDatabase) {
    let world = World::new(&[("a.yaml", &case("EXEMPLE", 200, DOCUMENT))]).await;
    let node = world.node(database.url()).await;
    let thief = world.caller(&node, &world.stranger);
    let bound_to_the_thief = x5t(&thief.cert);
    for (cnf, expected) in [
        (None, Reason::TokenBinding),
        (Some(bound_to_the_thief), Reason::NotEntitled),
    ] {
        let mut grant = world.grant("EXEMPLE", &["montant"]);
        if let Some(cnf) = cnf {
            grant.claims.cnf.x5t_s256 = cnf;
        }
        let (reason, _) = thief.refused(world.request(&grant)).await;
        assert_eq!(reason, expected);
        let entry = node.entries().await.pop().expect("an entry");
        assert_eq!((entry.event, entry.reason), (Event::Refused, Some(expected)));
        assert_eq!((entry.requester, entry.publisher), (Some(stranger_id()), None));
        assert!(entry.grant_commit.is_some());
        assert_eq!(node.of_handle(&grant.claims.gh).await, 1);
    }
    node.stop().await;
}

/// Each refusal is a durable write: who only makes refusals is turned away for a while, and counted in the tally.
async fn i8_refusals_without_end_are_counted_not_written(database: TestDatabase) {
    let world = World::new(&[("a.yaml", &case("EXEMPLE", 200, DOCUMENT))]).await;
    let node = world.node(database.url()).await;
    // No quota: sixty refusals a minute.
    let stranger = world.caller(&node, &world.stranger);
    let mut malformed = world.request(&world.grant("EXEMPLE", &["montant"]));
    malformed.nonce.clear();
    let mut recorded = 0;
    let refusal = loop {
        let (reason, status) = stranger.refused(malformed.clone()).await;
        if reason == Reason::QuotaConsumer {
            break Refusal::of(&status).expect("a refusal");
        }
        assert_eq!(reason, Reason::InvalidRequest);
        recorded += 1;
        assert!(recorded < 600, "never turned away");
    };
    assert!(recorded >= 60, "{recorded}");
    assert!(refusal.retry_after.is_some());
    assert_eq!(node.entries().await.len(), recorded);
    // Whoever is in order is answered, and has refusals of its own recorded.
    let caller = world.caller(&node, &world.consumer);
    caller
        .fetch(world.request(&world.grant("EXEMPLE", &["montant"])))
        .await
        .expect("a document");
    assert_eq!(caller.refused(malformed).await.0, Reason::InvalidRequest);
    assert_eq!(node.entries().await.len(), recorded + 2);

    let ledger = &node.foundation.ledger;
    let tally = ledger.tally(world.clock.now()).await.expect("a tally");
    let log = head_read(&node.foundation.db, ledger.origin().as_str())
        .await
        .expect("reads")
        .expect("a log")
        .log;
    let evidence = evidence_read(&node.foundation.db, log, tally.index())
        .await
        .expect("reads")
        .expect("evidence");
    let text = String::from_utf8(evidence.body).expect("text");
    let counted = format!("turned_away {} QUOTA_CONSUMER 1\n", stranger_id());
    assert!(text.contains(&counted), "{text}");
    node.stop().await;
}

async fn i8_nobody_and_several_look_the_same(database: TestDatabase) {
    // 404 of two kinds, a file that is not there, and a certified absence, which is an answer.
    let world = World::new(&[
        (
            "a.yaml",
            &case("INCONNU", 404, r#"{"errors":[{"code":"37001"}]}"#),
        ),
        ("b.yaml", &case("MUET", 404, "")),
        ("c.yaml", &case("SANS", 404, r#"{"errors":[{"code":"37003"}]}"#)),
    ])
    .await;
    let node = world.node(database.url()).await;
    let caller = world.caller(&node, &world.consumer);
    let mut texts = Vec::new();
    for name in ["INCONNU", "MUET", "PERSONNE"] {
        let began = world.clock.boottime();
        let (reason, status) = caller
            .refused(world.request(&world.grant(name, &["montant"])))
            .await;
        let took_ms = world.clock.boottime().micros_since(began) / 1_000;
        assert_eq!(reason, Reason::SubjectNotResolved, "{name}");
        assert!(took_ms >= 250, "{name} left after {took_ms} ms");
        texts.push((status.message().to_owned(), status.details().len(), status.code()));
    }
    assert!(texts.windows(2).all(|pair| pair[0] == pair[1]));

    let answer = caller
        .fetch(world.request(&world.grant("SANS", &["montant"])))
        .await
        .expect("a certified absence");
    assert_eq!(
        answer.attestation.form,
        i32::from(unefois_proto::pb::exchange::v1::AnswerForm::Absence)
    );
    // Which of the two it was stands only under the commitment.
    assert_eq!(
        (answer.entry.event, answer.entry.outcome),
        (Event::Released, Some(Outcome::Answered))
    );
    node.stop().await;
}
