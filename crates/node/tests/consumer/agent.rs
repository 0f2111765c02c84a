//! Asking by an officer: the file's identity is sealed to the authority, the motive goes along, and the browser that comes
//! back is the officer's.

use std::sync::Arc;

use unefois_core::SealedSubject;
use unefois_core::directory::Jwk;
use unefois_jose::{DecryptionKey, Pkcs8, jwe};
use unefois_node::consumer::Error;
use unefois_proto::pb::backoffice::v1 as pb;
use unefois_proto::{AuthorizationCall, CompletionCall};
use zeroize::Zeroizing;

use crate::both_databases;
use crate::database::TestDatabase;
use crate::house::{House, asking, coming_back};
use crate::world::World;

both_databases![i6_an_officer_s_request_names_nobody_and_comes_back_in_its_own_session];

const MOTIVE: &str = "demande reçue au guichet";

async fn house(database: TestDatabase) -> (Arc<World>, House) {
    let world = Arc::new(World::new(&[]).await);
    let key = Jwk::from_sec1(world.pivot.public().point()).expect("a point");
    let house = House::new(&world, database, vec![], |d| d.authority.subject_keys = vec![key]);
    let house = house.await;
    (world, house)
}

fn identity() -> pb::SubjectIdentity {
    pb::SubjectIdentity {
        family_name: "EXEMPLE".into(),
        given_names: vec!["Camille".into(), "Rosa".into()],
        birthdate: "1980-04-12".into(),
        sex: pb::Sex::Female.into(),
        birthplace: "75107".into(),
        birthcountry: "99100".into(),
    }
}

fn by_officer(identity: pb::SubjectIdentity) -> pb::RequestAuthorizationRequest {
    pb::RequestAuthorizationRequest {
        way: pb::Way::Agent.into(),
        capacity: pb::Capacity::Agent.into(),
        motive: MOTIVE.into(),
        binding: Some(pb::SubjectBinding {
            binding: Some(pb::subject_binding::Binding::Identity(identity)),
        }),
        ..asking()
    }
}

/// Nobody logs in who could show which of two namesakes is meant, so the file says all of it.
#[test]
fn an_officer_s_file_says_the_whole_identity_and_why() {
    let refused = |change: &dyn Fn(&mut pb::RequestAuthorizationRequest, &mut pb::SubjectIdentity)| {
        let (mut message, mut whole) = (by_officer(identity()), identity());
        change(&mut message, &mut whole);
        if let Some(pb::SubjectBinding {
            binding: Some(pb::subject_binding::Binding::Identity(identity)),
        }) = &mut message.binding
        {
            *identity = whole;
        }
        AuthorizationCall::try_from(message).is_err()
    };
    assert!(!refused(&|_, _| {}), "it is sound as it stands");
    assert!(refused(&|_, identity| identity.given_names.clear()));
    assert!(refused(&|_, identity| identity.sex = pb::Sex::Unspecified.into()));
    for partial in ["1980", "1980-04", ""] {
        assert!(
            refused(&|_, identity| identity.birthdate = partial.into()),
            "{partial}"
        );
    }
    assert!(
        refused(&|_, identity| identity.birthplace.clear()),
        "born in France"
    );
    assert!(refused(&|_, identity| identity.birthcountry.clear()));
    assert!(refused(&|message, _| message.motive.clear()));
    assert!(refused(&|message, _| message.session.clear()));
    assert!(refused(&|message, _| message.redirect_uri.clear()));
    assert!(refused(
        &|message, _| message.capacity = pb::Capacity::Self_.into()
    ));
    assert!(
        refused(&|message, _| message.binding = asking().binding),
        "a check is no identity"
    );
}

async fn i6_an_officer_s_request_names_nobody_and_comes_back_in_its_own_session(database: TestDatabase) {
    let (world, house) = house(database).await;
    let call = || AuthorizationCall::try_from(by_officer(identity())).expect("a sound message");
    let asked = house.asked(call()).await;
    assert_eq!(asked.qr_code, None);
    let form = house.oauth.last();
    for (name, value) in [("way", "agent"), ("capacity", "agent"), ("motive", MOTIVE)] {
        assert_eq!(form[name], value);
    }
    for present in ["redirect_uri", "state", "code_challenge"] {
        assert!(form.contains_key(present), "{present}");
    }
    assert!(!form.contains_key("subject_check"));
    let text = format!("{form:?}").to_uppercase();
    assert!(!text.contains("EXEMPLE") && !text.contains("CAMILLE"), "{text}");
    let key = Zeroizing::new(std::fs::read(world.path("pivot.key")).expect("a key"));
    let key = Pkcs8::from_file(key).expect("a key");
    let key = DecryptionKey::from_pkcs8(&key).expect("a key");
    let json = jwe::open_pivot(&[&key], &form["subject_jwe"]).expect("sealed to the authority");
    let subject: SealedSubject = serde_json::from_slice(&json).expect("an identity");
    let SealedSubject::Person(pivot) = subject else {
        unreachable!("a person");
    };
    assert_eq!(pivot.given_names, ["Camille", "Rosa"], "all of them");
    assert!(pivot.is_whole());

    // In another officer's session the code is worth nothing, and the state is spent.
    let elsewhere = pb::CompleteAuthorizationRequest {
        session: "the-session-of-another-officer".into(),
        ..coming_back(&asked.state)
    };
    for (session, refusal) in [("another", true), ("its own", false)] {
        let message = match refusal {
            true => elsewhere.clone(),
            false => coming_back(&asked.state),
        };
        let call = CompletionCall::try_from(message).expect("a sound message");
        let refused = house
            .consumer
            .complete_authorization(call)
            .await
            .expect_err(session);
        match refusal {
            true => assert!(matches!(refused, Error::Session), "{refused}"),
            false => assert!(matches!(refused, Error::State), "{refused}"),
        }
    }

    let asked = house.asked(call()).await;
    let call = CompletionCall::try_from(coming_back(&asked.state)).expect("a sound message");
    let granted = house
        .consumer
        .complete_authorization(call)
        .await
        .expect("a grant");
    assert_eq!(granted.dossier.as_str(), "2026-0412");
    house.stop().await;
}
