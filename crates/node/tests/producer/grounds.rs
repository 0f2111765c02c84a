//! On which ground an answer is given, whatever the habilitation and the token say.

use unefois_core::directory::{DirectoryDocument, ParticipantKind};
use unefois_core::{Capacity, Event, LegalBasis, Reason};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::i12::on_file;
use crate::world::{World, case, consumer_id};

both_databases![
    a_demarche_that_looks_for_fraud_is_never_answered_on_proactive_information,
    what_nobody_present_or_an_officer_may_not_rest_on_is_never_answered,
    an_association_is_answered_on_consent_alone,
];

const DOCUMENT: &str = r#"{"data":{"montant":900}}"#;

/// A grant for this démarche, on this ground; with nobody present where it is proactive.
fn grant(world: &World, demarche: &str, basis: LegalBasis) -> crate::world::Grant {
    let mut grant = world.grant("EXEMPLE", &["montant"]);
    if basis == LegalBasis::Proactive {
        grant.claims.capacity = Capacity::Automatic;
    }
    let details = grant.details();
    details.demarche = demarche.parse().expect("a démarche");
    details.legal_basis = basis;
    world.about(grant, on_file("EXEMPLE"))
}

/// Makes the habilitation one for this démarche, on these grounds, signed by all three.
fn habilitate(document: &mut DirectoryDocument, demarche: &str, bases: &[LegalBasis]) {
    let row = &mut document.habilitations[0].habilitation;
    row.demarche = demarche.parse().expect("a démarche");
    row.legal_bases = bases.to_vec();
    let row = (document.participants.iter_mut()).find(|row| row.id == consumer_id());
    row.expect("the consumer").kind = ParticipantKind::Collectivite;
}

/// The same, where the one that asks is a private body.
fn private(document: &mut DirectoryDocument, demarche: &str, bases: &[LegalBasis]) {
    habilitate(document, demarche, bases);
    let row = (document.participants.iter_mut()).find(|row| row.id == consumer_id());
    row.expect("the consumer").kind = ParticipantKind::Prive;
}

/// CRPA, L. 114-8, II. The datatype and the habilitation allow the ground: the démarche alone forbids it.
async fn a_demarche_that_looks_for_fraud_is_never_answered_on_proactive_information(database: TestDatabase) {
    let world = World::new(&[("a.yaml", &case("EXEMPLE", 200, DOCUMENT))]).await;
    let node = world.node(database.url()).await;
    let caller = world.caller(&node, &world.consumer);
    let bases = [LegalBasis::Request, LegalBasis::Proactive];
    world.publish(&node, |d| habilitate(d, "fraude", &bases)).await;
    let refused = caller
        .refused(world.request(&grant(&world, "fraude", LegalBasis::Proactive)))
        .await;
    assert_eq!(refused.0, Reason::LegalBlock);
    let entry = node.entries().await.pop().expect("an entry");
    assert_eq!(
        (entry.event, entry.reason, entry.requester),
        (Event::Refused, Some(Reason::LegalBlock), Some(consumer_id()))
    );

    // On the ground of a request, and on the same ground for a démarche that informs, it is answered.
    let asked = world.request(&grant(&world, "fraude", LegalBasis::Request));
    caller.fetch(asked).await.expect("a document");
    world
        .publish(&node, |d| habilitate(d, "information", &bases))
        .await;
    let informed = world.request(&grant(&world, "information", LegalBasis::Proactive));
    caller.fetch(informed).await.expect("a document");
    node.stop().await;
}

/// The authority signed each of these tokens; the producer judges on what ground somebody, an officer or nobody may ask.
async fn what_nobody_present_or_an_officer_may_not_rest_on_is_never_answered(database: TestDatabase) {
    let world = World::new(&[("a.yaml", &case("EXEMPLE", 200, DOCUMENT))]).await;
    let node = world.node(database.url()).await;
    let caller = world.caller(&node, &world.consumer);
    let bases = [LegalBasis::Request, LegalBasis::Proactive, LegalBasis::Consent];
    let in_capacity = |demarche: &str, basis: &LegalBasis, capacity| {
        let mut grant = grant(&world, demarche, basis.clone());
        grant.claims.capacity = capacity;
        world.request(&grant)
    };
    let refused = [
        (
            "loisirs",
            LegalBasis::Consent,
            Capacity::Agent,
            Reason::LegalBlock,
        ),
        (
            "loisirs",
            LegalBasis::Consent,
            Capacity::Automatic,
            Reason::LegalBlock,
        ),
        (
            "cantine",
            LegalBasis::Request,
            Capacity::Automatic,
            Reason::LegalBlock,
        ),
        (
            "information",
            LegalBasis::Proactive,
            Capacity::SelfPerson,
            Reason::LegalBlock,
        ),
        (
            "information",
            LegalBasis::Proactive,
            Capacity::Agent,
            Reason::LegalBlock,
        ),
        (
            "verification",
            LegalBasis::Request,
            Capacity::Entity,
            Reason::TokenInvalid,
        ),
    ];
    for (demarche, basis, capacity, reason) in refused {
        let change = |d: &mut DirectoryDocument| match demarche {
            "loisirs" => private(d, demarche, &bases),
            _ => habilitate(d, demarche, &bases),
        };
        world.publish(&node, change).await;
        let request = in_capacity(demarche, &basis, capacity);
        assert_eq!(
            caller.refused(request).await.0,
            reason,
            "{demarche} {basis} {capacity}"
        );
        let entry = node.entries().await.pop().expect("an entry");
        assert_eq!(
            (entry.event, entry.reason, entry.requester),
            (Event::Refused, Some(reason), Some(consumer_id())),
            "{demarche} {basis} {capacity}"
        );
    }
    for (demarche, basis, capacity) in [
        ("cantine", LegalBasis::Request, Capacity::Agent),
        ("verification", LegalBasis::Request, Capacity::Automatic),
        ("information", LegalBasis::Proactive, Capacity::Automatic),
    ] {
        world.publish(&node, |d| habilitate(d, demarche, &bases)).await;
        let answer = caller.fetch(in_capacity(demarche, &basis, capacity)).await;
        assert_eq!(
            answer.expect("a document").entry.capacity,
            Some(capacity),
            "{demarche}"
        );
    }
    node.stop().await;
}

/// The same of a body that became private after its habilitation for a démarche of communes was signed.
async fn an_association_is_answered_on_consent_alone(database: TestDatabase) {
    let world = World::new(&[("a.yaml", &case("EXEMPLE", 200, DOCUMENT))]).await;
    let node = world.node(database.url()).await;
    let caller = world.caller(&node, &world.consumer);
    let bases = [LegalBasis::Request, LegalBasis::Proactive, LegalBasis::Consent];
    world.publish(&node, |d| private(d, "loisirs", &bases)).await;
    for (demarche, basis, reason) in [
        ("loisirs", LegalBasis::Request, Reason::LegalBlock),
        ("loisirs", LegalBasis::Proactive, Reason::LegalBlock),
        ("cantine", LegalBasis::Request, Reason::NotEntitled),
    ] {
        if demarche == "cantine" {
            world.publish(&node, |d| private(d, demarche, &bases)).await;
        }
        let request = world.request(&grant(&world, demarche, basis.clone()));
        assert_eq!(caller.refused(request).await.0, reason, "{demarche} {basis:?}");
        let entry = node.entries().await.pop().expect("an entry");
        assert_eq!(
            (entry.event, entry.reason, entry.requester),
            (Event::Refused, Some(reason), Some(consumer_id())),
            "{demarche} {basis:?}"
        );
    }
    world.publish(&node, |d| private(d, "loisirs", &bases)).await;
    let consented = world.request(&grant(&world, "loisirs", LegalBasis::Consent));
    caller.fetch(consented).await.expect("a document");
    node.stop().await;
}
