//! Asking with nobody present: the file's identity is sealed to the authority, and the grant comes back at once.

use std::sync::Arc;

use unefois_core::directory::Jwk;
use unefois_core::{Habilitation, Pivot, Reason, SealedSubject};
use unefois_jose::{DecryptionKey, Pkcs8, jwe};
use unefois_node::consumer::{Asked, Error, HeldGrant};
use unefois_proto::AuthorizationCall;
use unefois_proto::pb::backoffice::v1 as pb;
use zeroize::Zeroizing;

use crate::both_databases;
use crate::database::TestDatabase;
use crate::house::{House, asking, page};
use crate::signers::unsigned;
use crate::world::World;

both_databases![i6_a_grant_with_nobody_present_is_held_and_its_person_sealed];

/// A house whose directory lists a key for identities, where `lists` says so, and the right to ask unasked.
async fn house(database: TestDatabase, lists: bool) -> (Arc<World>, House) {
    let world = Arc::new(World::new(&[]).await);
    let key = Jwk::from_sec1(world.pivot.public().point()).expect("a point");
    let house = House::new(&world, database, vec![], |d| {
        d.authority.subject_keys = if lists { vec![key] } else { Vec::new() };
        let unasked = Habilitation {
            id: "DP-2".parse().expect("an id"),
            demarche: "verification".parse().expect("an id"),
            ..d.habilitations[0].habilitation.clone()
        };
        d.habilitations.push(unsigned(unasked));
    });
    let house = house.await;
    (world, house)
}

fn unasked() -> pb::RequestAuthorizationRequest {
    let mut message = pb::RequestAuthorizationRequest {
        way: pb::Way::Automatic.into(),
        capacity: pb::Capacity::Automatic.into(),
        demarche: "verification".into(),
        habilitation: String::new(),
        redirect_uri: String::new(),
        session: String::new(),
        binding: Some(pb::SubjectBinding {
            binding: Some(pb::subject_binding::Binding::Identity(pb::SubjectIdentity {
                family_name: "EXEMPLE".into(),
                given_names: vec!["Camille".into(), "Rosa".into()],
                birthdate: "1980-04-12".into(),
                sex: pb::Sex::Female.into(),
                birthplace: "75107".into(),
                birthcountry: "99100".into(),
            })),
        }),
        ..asking()
    };
    message.elements[0].units.truncate(1);
    message
}

async fn granted(house: &House, message: pb::RequestAuthorizationRequest) -> Result<HeldGrant, Error> {
    let call = AuthorizationCall::try_from(message).expect("a sound message");
    match house.consumer.request_authorization(call).await? {
        Asked::Granted(grant) => Ok(grant),
        Asked::Where(_) => unreachable!("nobody is asked"),
    }
}

#[tokio::test]
async fn without_a_key_for_identities_nothing_is_pushed() {
    let (_world, house) = house(TestDatabase::sqlite(), false).await;
    let refused = granted(&house, unasked()).await.expect_err("no key");
    assert_eq!(refused.reason(), Some(Reason::NotImplemented), "{refused}");
    assert!(house.oauth.calls().is_empty());
    house.stop().await;
}

#[tokio::test]
async fn a_demarche_that_wants_somebody_there_is_not_asked_for_without() {
    let (_world, house) = house(TestDatabase::sqlite(), true).await;
    let message = pb::RequestAuthorizationRequest {
        demarche: "cantine".into(),
        ..unasked()
    };
    let refused = granted(&house, message)
        .await
        .expect_err("somebody has to be there");
    assert_eq!(refused.reason(), Some(Reason::LegalBlock), "{refused}");
    assert!(house.oauth.calls().is_empty());

    let opposed = serde_json::json!({"error": "access_denied", "unefois_reason": "OPPOSITION"});
    house.oauth.refuse(Some((403, opposed)));
    let refused = granted(&house, unasked()).await.expect_err("the person objects");
    assert_eq!(refused.reason(), Some(Reason::Opposition), "{refused}");
    house.stop().await;
}

async fn i6_a_grant_with_nobody_present_is_held_and_its_person_sealed(database: TestDatabase) {
    let (world, house) = house(database, true).await;
    let grant = granted(&house, unasked()).await.expect("a grant");
    assert_eq!(house.oauth.calls(), ["par", "token"]);
    let form = house.oauth.pushed();
    for (name, value) in [("way", "automatic"), ("capacity", "automatic")] {
        assert_eq!(form[name], value);
    }
    for absent in ["redirect_uri", "state", "code_challenge", "subject_check"] {
        assert!(!form.contains_key(absent), "{absent}");
    }
    let text = format!("{form:?}").to_uppercase();
    assert!(!text.contains("EXEMPLE") && !text.contains("CAMILLE"), "{text}");
    let key = Pkcs8::from_file(Zeroizing::new(
        std::fs::read(world.path("pivot.key")).expect("a key"),
    ));
    let key = DecryptionKey::from_pkcs8(&key.expect("a key")).expect("a key");
    let json = jwe::open_pivot(&[&key], &form["subject_jwe"]).expect("sealed to the authority");
    let subject: SealedSubject = serde_json::from_slice(&json).expect("an identity");
    let SealedSubject::Person(Pivot { given_names, .. }) = subject else {
        unreachable!("a person");
    };
    assert_eq!(given_names, ["Camille", "Rosa"], "all of them");

    let held = house.consumer.grants(&page()).await.expect("a page").grants;
    assert_eq!(held.len(), 1);
    assert_eq!(held[0].grant_id, grant.grant_id);
    house.stop().await;
}
