//! A producer's keys change without a restart and without a refused call: the directory says which one is in use.

use unefois_core::directory::{DirectoryDocument, Jwk};
use unefois_core::{Event, Reason};
use unefois_jose::{Pkcs8, PublicKey, SigningKey, VerifyingKey, sd_jwt};

use crate::database::TestDatabase;
use crate::world::{Caller, World, case, producer_id};

const DOCUMENT: &str = r#"{"data":{"montant":900,"taux":12.50,"membres":[{"nom":"EXEMPLE"}]}}"#;

fn verifying(jwk: &Jwk) -> VerifyingKey {
    VerifyingKey::new(PublicKey::from_point(&jwk.sec1()).expect("a key"))
}

/// Whether the answer to one more call is sealed by this key.
async fn sealed_by(world: &World, caller: &Caller, key: &Jwk) -> bool {
    let request = world.request(&world.grant("EXEMPLE", &["montant"]));
    let answer = caller.fetch(request).await.expect("a document");
    sd_jwt::verify(&answer.attestation.sd_jwt, 1 << 20, |kid| {
        let key = verifying(key);
        (key.thumbprint() == kid).then_some(key)
    })
    .is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_directory_s_first_key_seals() {
    let world = World::new(&[("exemple.yaml", &case("EXEMPLE", 200, DOCUMENT))]).await;
    let database = TestDatabase::sqlite();
    let next = Pkcs8::generate(world.random.ring()).expect("a key");
    std::fs::write(world.path("seal.next.key"), next.to_pem().as_bytes()).expect("a file");
    let next = SigningKey::from_pkcs8(&next, world.random.ring()).expect("a key");
    let next = Jwk::from_sec1(next.verifying_key().public().point()).expect("a point");
    let mut config = world.config(database.url());
    config.producer.as_mut().expect("a producer").seal_next = Some(world.path("seal.next.key"));
    let node = world.node_with(config).await;
    let caller = world.caller(&node, &world.consumer);

    let mut present = None;
    let seals = |d: &mut DirectoryDocument, keys: Vec<Jwk>| {
        let row = d.participants.iter_mut().find(|row| row.id == producer_id());
        std::mem::replace(&mut row.expect("the producer").seal_keys, keys)
    };
    world
        .publish(&node, |d| {
            present = seals(d, vec![]).pop().inspect(|key| {
                seals(d, vec![key.clone(), next.clone()]);
            })
        })
        .await;
    let present = present.expect("a key");
    assert!(sealed_by(&world, &caller, &present).await);
    world
        .publish(&node, |d| drop(seals(d, vec![next.clone(), present.clone()])))
        .await;
    assert!(sealed_by(&world, &caller, &next).await);
    world.publish(&node, |d| drop(seals(d, vec![next.clone()]))).await;
    assert!(sealed_by(&world, &caller, &next).await);

    // What no consumer would believe is not signed.
    world.publish(&node, |d| drop(seals(d, vec![]))).await;
    let request = world.request(&world.grant("EXEMPLE", &["montant"]));
    assert_eq!(caller.refused(request).await.0, Reason::KeyUnavailable);
    let entries = node.entries().await;
    let last = entries.last().expect("an entry");
    assert_eq!(
        (last.event, last.reason),
        (Event::Refused, Some(Reason::KeyUnavailable))
    );
    node.stop().await;
}
