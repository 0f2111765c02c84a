//! I1: no byte of an attestation leaves before its `released` entry is durable.

use unefois_core::commitment::{AnswerForm, Field, Salt, content_digest};
use unefois_core::{Event, Outcome, Reason, UnitName};
use unefois_jose::sd_jwt;
use unefois_tlog::{Hash, Receipt};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::world::{World, case, consumer_id};

both_databases![
    i1_what_leaves_has_its_entry_and_proof,
    i1_without_a_ledger_nothing_leaves,
    i1_a_retry_is_the_same_or_nothing,
];

const DOCUMENT: &str =
    r#"{"data": {"montant": 900, "taux": 12.50, "nir": "x", "membres": [{"nom": "EXEMPLE"}]}}"#;

async fn i1_without_a_ledger_nothing_leaves(database: TestDatabase) {
    let world = World::new(&[("a.yaml", &case("EXEMPLE", 200, DOCUMENT))]).await;
    let node = world.node(database.url()).await;
    let caller = world.caller(&node, &world.consumer);
    let grant = world.grant("EXEMPLE", &["montant"]);
    node.foundation.ledger.close().await;
    let (reason, status) = caller.refused(world.request(&grant)).await;
    assert_eq!(reason, Reason::LedgerUnavailable);
    assert!(status.metadata().get_bin("unefois-entry-bin").is_none());
    assert!(node.entries().await.is_empty());
}

async fn i1_what_leaves_has_its_entry_and_proof(database: TestDatabase) {
    let world = World::new(&[("a.yaml", &case("EXEMPLE", 200, DOCUMENT))]).await;
    let node = world.node(database.url()).await;
    let caller = world.caller(&node, &world.consumer);
    let grant = world.grant("EXEMPLE", &["montant", "foyer"]);
    let request = world.request(&grant);

    // The first message alone: its entry must be there already.
    let mut stream = caller
        .client
        .clone()
        .fetch(request.clone())
        .await
        .expect("as the test arranges it")
        .into_inner();
    let first = stream
        .message()
        .await
        .expect("as the test arranges it")
        .expect("as the test arranges it");
    let entries = node.entries().await;
    assert_eq!(
        entries.iter().map(|e| e.event).collect::<Vec<_>>(),
        [Event::Released]
    );
    let Some(unefois_proto::pb::exchange::v1::fetch_response::Answer::Attestation(attestation)) =
        first.answer
    else {
        unreachable!("an attestation first");
    };
    let second = stream
        .message()
        .await
        .expect("as the test arranges it")
        .expect("as the test arranges it");
    let Some(unefois_proto::pb::exchange::v1::fetch_response::Answer::Receipt(receipt)) = second.answer
    else {
        unreachable!("then a receipt");
    };
    assert!(stream.message().await.expect("as the test arranges it").is_none());

    let proof: Receipt = receipt.proof.parse().expect("a tlog-proof");
    let leaf = Hash::of_leaf(&receipt.entry);
    proof
        .verify(&leaf, node.foundation.ledger.verifier())
        .expect("the proof holds");

    let seal = world.seal_key();
    let verified = sd_jwt::verify(&attestation.sd_jwt, 1 << 20, |kid| {
        (kid == seal.thumbprint()).then_some(&seal)
    });
    let verified = verified.expect("a signed attestation");
    let units: Vec<(UnitName, String)> = verified
        .disclosures()
        .iter()
        .map(|d| {
            (
                d.name.parse().expect("as the test arranges it"),
                d.value.get().to_owned(),
            )
        })
        .collect();
    let salt = Salt::from_bytes(
        attestation
            .content_salt
            .try_into()
            .expect("as the test arranges it"),
    );
    let digest = content_digest(
        AnswerForm::Document,
        units.iter().map(|(name, text)| (name, text.as_str())),
    );
    let entry = &entries[0];
    assert_eq!(
        entry.content_commit,
        Some(salt.commit(Field::Content, digest.as_bytes()))
    );
    let exchange = request.request_id.parse().expect("as the test arranges it");
    assert_eq!(
        entry.grant_commit,
        Some(
            grant
                .claims
                .gs
                .commit(&exchange, Field::Grant, grant.claims.gh.as_bytes())
        )
    );
    assert_eq!(
        entry.dossier_commit,
        Some(grant.claims.gs.commit(&exchange, Field::Dossier, b"2026-0412"))
    );
    assert_eq!(
        (entry.requester, entry.outcome, entry.units, entry.attempt),
        (Some(consumer_id()), Some(Outcome::Answered), 0b11, 1)
    );
    assert_eq!(entry.holder.as_ref().map(|h| h.as_str()), Some("cnaf"));
    node.stop().await;
}

async fn i1_a_retry_is_the_same_or_nothing(database: TestDatabase) {
    let world = World::new(&[("a.yaml", &case("EXEMPLE", 200, DOCUMENT))]).await;
    let node = world.node(database.url()).await;
    let caller = world.caller(&node, &world.consumer);
    let grant = world.grant("EXEMPLE", &["montant"]);
    let request = world.request(&grant);
    caller.fetch(request.clone()).await.expect("the first attempt");
    let again = caller
        .fetch(request.clone())
        .await
        .expect("the same request again");
    assert_eq!(
        (again.entry.event, again.entry.attempt),
        (Event::ReleasedAgain, 2)
    );
    // Another request of the handle comes between: attempts are numbered by request.
    let between = caller.refused(world.request(&grant)).await;
    assert_eq!(between.0, Reason::TokenConsumed);
    let third = caller.fetch(request.clone()).await.expect("and a third time");
    assert_eq!(
        (third.entry.event, third.entry.attempt),
        (Event::ReleasedAgain, 3)
    );
    // The same id for another request.
    let mut other = request.clone();
    other.nonce = vec![1; 32];
    assert_eq!(caller.refused(other).await.0, Reason::RetryMismatch);
    node.stop().await;

    // The source has changed meanwhile.
    std::fs::write(
        world.path("cases/a.yaml"),
        case("EXEMPLE", 200, r#"{"data":{"montant":901}}"#),
    )
    .expect("as the test arranges it");
    let node = world.node(database.url()).await;
    let caller = world.caller(&node, &world.consumer);
    assert_eq!(caller.refused(request).await.0, Reason::RetryMismatch);
    node.stop().await;
}
