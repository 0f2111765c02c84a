//! A link that the person follows later, in no session of the back-office's.

use std::sync::Arc;

use unefois_node::consumer::Error;
use unefois_proto::pb::backoffice::v1 as pb;
use unefois_proto::{AuthorizationCall, CompletionCall};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::house::{House, asking, coming_back};
use crate::world::World;

both_databases![
    a_link_comes_back_in_any_session_for_its_own_file,
    a_link_that_was_withdrawn_brings_nothing
];

const DAY_MS: i64 = 86_400_000;

async fn house(database: TestDatabase) -> House {
    let world = Arc::new(World::new(&[]).await);
    House::new(&world, database, vec![], |_| {}).await
}

fn linking(dossier: &str) -> AuthorizationCall {
    let message = pb::RequestAuthorizationRequest {
        way: pb::Way::Link.into(),
        dossier_ref: dossier.to_owned(),
        session: String::new(),
        link_days: 10,
        ..asking()
    };
    AuthorizationCall::try_from(message).expect("a sound message")
}

/// What a browser brings back from a link: the back-office has no session of it, or another one.
fn elsewhere(state: &str, session: &str) -> CompletionCall {
    let message = pb::CompleteAuthorizationRequest {
        session: session.to_owned(),
        ..coming_back(state)
    };
    CompletionCall::try_from(message).expect("a sound message")
}

async fn a_link_comes_back_in_any_session_for_its_own_file(database: TestDatabase) {
    let house = house(database).await;
    let mut states = Vec::new();
    for dossier in ["2026-0412", "2026-0413"] {
        let asked = house.asked(linking(dossier)).await;
        assert_eq!(house.oauth.last()["link_days"], "10");
        assert_eq!(house.oauth.last()["way"], "link");
        let drawn = asked.qr_code.expect("a link is drawn");
        assert!(
            drawn.starts_with("<svg ") && !drawn.contains(&asked.state),
            "{drawn}"
        );
        states.push(asked.state);
    }
    // The chores that forget browsers that never came leave it its days.
    house.clock.pass(9 * DAY_MS);
    house.consumer.sweep().await.expect("swept");
    house.clock.pass(-9 * DAY_MS);
    for (state, session, dossier) in [
        (&states[0], "", "2026-0412"),
        (&states[1], "some-session-of-the-back-office", "2026-0413"),
    ] {
        let call = elsewhere(state, session);
        let granted = house
            .consumer
            .complete_authorization(call.clone())
            .await
            .expect("a grant");
        assert_eq!(granted.dossier.as_str(), dossier);
        let again = house
            .consumer
            .complete_authorization(call)
            .await
            .expect_err("a spent state");
        assert!(matches!(again, Error::State), "{again}");
    }

    // The session that asked is asked for wherever there was one.
    let call = AuthorizationCall::try_from(asking()).expect("a sound message");
    let asked = house.asked(call).await;
    assert_eq!(asked.qr_code, None);
    let call = elsewhere(&asked.state, "");
    let refused = house
        .consumer
        .complete_authorization(call)
        .await
        .expect_err("no session");
    assert!(matches!(refused, Error::Session), "{refused}");
    house.stop().await;
}

async fn a_link_that_was_withdrawn_brings_nothing(database: TestDatabase) {
    let house = house(database).await;
    let asked = house.asked(linking("2026-0412")).await;
    let unknown = house
        .consumer
        .withdraw_link("unknown")
        .await
        .expect_err("no such link");
    assert!(matches!(unknown, Error::State), "{unknown}");

    // While the authority does not answer, the link stands.
    house.oauth.refuse(Some((
        503,
        serde_json::json!({"error": "temporarily_unavailable"}),
    )));
    house
        .consumer
        .withdraw_link(&asked.state)
        .await
        .expect_err("not withdrawn");
    house.oauth.refuse(None);
    house
        .consumer
        .withdraw_link(&asked.state)
        .await
        .expect("withdrawn");
    let token = &house.oauth.last()["token"];
    assert!(token.ends_with(&asked.state), "what the address names: {token}");
    let late = house
        .consumer
        .complete_authorization(elsewhere(&asked.state, ""))
        .await;
    assert!(matches!(late, Err(Error::State)), "{late:?}");

    // What a browser was sent to is no link.
    let call = AuthorizationCall::try_from(asking()).expect("a sound message");
    let present = house.asked(call).await;
    let refused = house
        .consumer
        .withdraw_link(&present.state)
        .await
        .expect_err("no link");
    assert!(matches!(refused, Error::State), "{refused}");
    house.stop().await;
}
