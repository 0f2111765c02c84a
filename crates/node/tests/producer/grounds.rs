//! On which ground an answer is given, whatever the habilitation and the token say.

use unefois_core::directory::{DirectoryDocument, ParticipantKind};
use unefois_core::{Event, LegalBasis, Reason};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::world::{World, case, consumer_id};

both_databases![
    a_demarche_that_looks_for_fraud_is_never_answered_on_proactive_information,
    an_association_is_answered_on_consent_alone,
];

const DOCUMENT: &str = r#"{"data":{"montant":900}}"#;

/// A grant for this démarche, on this ground.
fn grant(world: &World, demarche: &str, basis: LegalBasis) -> crate::world::Grant {
    let mut grant = world.grant("EXEMPLE", &["montant"]);
    let details = grant.details();
    details.demarche = demarche.parse().expect("a démarche");
    details.legal_basis = basis;
    grant
}

/// Makes the habilitation one for this démarche, on these grounds, signed by all three.
fn habilitate(document: &mut DirectoryDocument, demarche: &str, bases: &[LegalBasis]) {
    let row = &mut document.habilitations[0].habilitation;
    row.demarche = demarche.parse().expect("a démarche");
    row.legal_bases = bases.to_vec();
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

/// The same of a body that became private after its habilitation for a démarche of communes was signed.
async fn an_association_is_answered_on_consent_alone(database: TestDatabase) {
    let world = World::new(&[("a.yaml", &case("EXEMPLE", 200, DOCUMENT))]).await;
    let node = world.node(database.url()).await;
    let caller = world.caller(&node, &world.consumer);
    let bases = [LegalBasis::Request, LegalBasis::Proactive, LegalBasis::Consent];
    let private = |d: &mut DirectoryDocument, demarche: &str| {
        habilitate(d, demarche, &bases);
        let row = d.participants.iter_mut().find(|row| row.id == consumer_id());
        row.expect("the consumer").kind = ParticipantKind::Prive;
    };
    world.publish(&node, |d| private(d, "loisirs")).await;
    for (demarche, basis, reason) in [
        ("loisirs", LegalBasis::Request, Reason::LegalBlock),
        ("loisirs", LegalBasis::Proactive, Reason::LegalBlock),
        ("cantine", LegalBasis::Request, Reason::NotEntitled),
    ] {
        if demarche == "cantine" {
            world.publish(&node, |d| private(d, demarche)).await;
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
    world.publish(&node, |d| private(d, "loisirs")).await;
    let consented = world.request(&grant(&world, "loisirs", LegalBasis::Consent));
    caller.fetch(consented).await.expect("a document");
    node.stop().await;
}
