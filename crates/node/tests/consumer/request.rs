//! Asking for a grant: what is refused before anybody is called, what is pushed, and what a browser may bring back.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Value, json};
use unefois_core::{BirthDate, Reason, check_form};
use unefois_node::consumer::{Asked, Error, Requested};
use unefois_proto::pb::backoffice::v1 as pb;
use unefois_proto::{AuthorizationCall, CompletionCall, GrantsCall};
use unefois_store::node::grant::{ElementState, grant_page};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::house::{House, asking, coming_back};
use crate::world::{ISSUER, World, consumer_id};

both_databases![
    a_state_serves_once_in_the_session_that_asked_from_the_issuer_that_was_asked,
    grants_are_held_sealed_and_listed_by_page,
    a_grant_is_given_back_once_the_authority_itself_says_so
];

async fn house(database: TestDatabase) -> House {
    let world = Arc::new(World::new(&[]).await);
    House::new(&world, database, vec![], |_| {}).await
}

async fn asked(house: &House, message: pb::RequestAuthorizationRequest) -> Result<Requested, Error> {
    let call = AuthorizationCall::try_from(message).expect("a sound message");
    match house.consumer.request_authorization(call).await? {
        Asked::Where(requested) => Ok(requested),
        Asked::Granted(_) => unreachable!("somebody is asked"),
    }
}

async fn completed(house: &House, message: pb::CompleteAuthorizationRequest) -> Result<(), Error> {
    let call = CompletionCall::try_from(message).expect("a sound message");
    house.consumer.complete_authorization(call).await.map(drop)
}

fn field(error: &Error) -> (Option<Reason>, String) {
    let fields = error
        .to_refusal()
        .map(|refusal| refusal.fields)
        .unwrap_or_default();
    (error.reason(), fields.into_iter().map(|f| f.field).collect())
}

#[tokio::test]
async fn what_is_not_allowed_is_refused_before_the_authority_is_called() {
    type Change = fn(&mut pb::RequestAuthorizationRequest);
    let house = house(TestDatabase::sqlite()).await;
    let changes: [(Change, Reason, &str); 10] = [
        (|m| m.demarche = "autre".into(), Reason::NotEntitled, "demarche"),
        (
            |m| m.habilitation = "DP-2".into(),
            Reason::NotEntitled,
            "elements[0].habilitation",
        ),
        (
            |m| m.redirect_uri = "https://ailleurs.example".into(),
            Reason::InvalidRequest,
            "redirect_uri",
        ),
        (
            |m| m.elements[0].datatype = "cnaf/revenu@2".into(),
            Reason::UnsupportedRevision,
            "elements[0].datatype",
        ),
        (
            |m| m.elements[0].units[0].unit = "autre".into(),
            Reason::InvalidRequest,
            "elements[0].units[0].unit",
        ),
        (
            |m| m.elements[0].units[0].need = pb::Need::Optional.into(),
            Reason::InvalidRequest,
            "elements[0].units[0].need",
        ),
        (
            |m| m.elements[0].period = "1999-01".into(),
            Reason::InvalidRequest,
            "elements[0].period",
        ),
        (
            |m| {
                m.subject = pb::SubjectKind::Entity.into();
                let siren = pb::subject_binding::Binding::Siren("130025265".into());
                m.binding = Some(pb::SubjectBinding { binding: Some(siren) });
            },
            Reason::NotEntitled,
            "elements[0].subject.kind",
        ),
        (
            |m| {
                m.standing = Some(pb::Standing {
                    max_count: 99,
                    min_interval_s: 60,
                })
            },
            Reason::InvalidRequest,
            "elements[0].mode.max_count",
        ),
        (
            |m| {
                let reason = pb::subject_binding::Binding::UnboundReason("le dossier est vide".into());
                m.binding = Some(pb::SubjectBinding {
                    binding: Some(reason),
                });
            },
            Reason::InvalidRequest,
            "binding.unbound_reason",
        ),
    ];
    for (change, reason, path) in changes {
        let mut message = asking();
        change(&mut message);
        let error = asked(&house, message).await.expect_err(path);
        assert_eq!(field(&error), (Some(reason), path.to_owned()), "{error}");
    }
    assert!(house.oauth.calls().is_empty(), "nobody was called");
    house.stop().await;
}

#[tokio::test]
async fn i9_an_expired_directory_asks_for_nothing() {
    let world = Arc::new(World::new(&[]).await);
    let house = House::new(&world, TestDatabase::sqlite(), vec![], |d| {
        d.issued_at = d.issued_at.plus_ms(-3_000);
        d.next_update = d.issued_at.plus_ms(1_000);
        d.expires = d.issued_at.plus_ms(2_000);
    })
    .await;
    let error = asked(&house, asking()).await.expect_err("a stale directory");
    assert_eq!(error.reason(), Some(Reason::DirectoryStale));
    assert!(house.oauth.calls().is_empty());
    house.stop().await;
}

#[tokio::test]
async fn the_authority_s_refusal_and_silence_are_told_apart() {
    let house = house(TestDatabase::sqlite()).await;
    for (status, body, reason) in [
        (
            400,
            json!({ "error": "x", "unefois_reason": "LEGAL_BLOCK" }),
            Reason::LegalBlock,
        ),
        (401, json!({ "error": "invalid_client" }), Reason::NotEntitled),
        (
            503,
            json!({ "error": "temporarily_unavailable" }),
            Reason::Deadline,
        ),
        (502, Value::Null, Reason::Deadline),
    ] {
        house.oauth.refuse(Some((status, body)));
        let error = asked(&house, asking()).await.expect_err("a refusal");
        assert_eq!(error.reason(), Some(reason), "{status}");
    }
    house.stop().await;
}

#[tokio::test]
async fn i6_what_is_pushed_tells_nothing_of_the_person() {
    let house = house(TestDatabase::sqlite()).await;
    let requested = asked(&house, asking()).await.expect("pushed");
    let form = house.oauth.last();
    for (name, value) in [
        ("client_id", consumer_id().to_string()),
        ("response_type", "code".into()),
        ("code_challenge_method", "S256".into()),
        ("way", "present".into()),
        ("capacity", "self".into()),
        ("state", requested.state.clone()),
    ] {
        assert_eq!(form[name], value, "{name}");
    }
    let text = format!("{form:?}").to_uppercase();
    assert!(
        !text.contains("EXEMPLE") && !text.contains("CAMILLE") && !text.contains("1980"),
        "{text}"
    );

    let check: Value = serde_json::from_str(&form["subject_check"]).expect("JSON");
    let bytes = |member: &str| {
        URL_SAFE_NO_PAD
            .decode(check[member].as_str().expect("text"))
            .expect("base64url")
    };
    let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes("salt"));
    let date: BirthDate = "1980-04".parse().expect("a date");
    hmac::verify(&key, &check_form("Exemple", "camille", &date), &bytes("hmac"))
        .expect("the file's identity");
    let details: Value = serde_json::from_str(&form["authorization_details"]).expect("JSON");
    assert_eq!(details[0]["legal_basis"], "CRPA-L114-8-I");
    assert_eq!(details[0]["gh"], Value::Null);
    let url = url::Url::parse(&requested.url).expect("a URL");
    assert!(requested.url.starts_with(&format!("{ISSUER}/as/authorize?")));
    let names: Vec<_> = url.query_pairs().map(|(name, _)| name.into_owned()).collect();
    assert_eq!(names, ["client_id", "request_uri"]);
    house.stop().await;
}

async fn a_state_serves_once_in_the_session_that_asked_from_the_issuer_that_was_asked(
    database: TestDatabase,
) {
    let house = house(database).await;
    let state = || async { asked(&house, asking()).await.expect("pushed").state };

    let error = completed(&house, coming_back("unknown"))
        .await
        .expect_err("an unknown state");
    assert!(matches!(error, Error::State), "{error}");

    let first = state().await;
    let mut message = coming_back(&first);
    message.session = "another-session-of-the-house".into();
    let error = completed(&house, message).await.expect_err("another session");
    assert!(matches!(error, Error::Session), "{error}");
    let error = completed(&house, coming_back(&first))
        .await
        .expect_err("a spent state");
    assert!(matches!(error, Error::State), "{error}");

    let second = state().await;
    let mut message = coming_back(&second);
    message.iss = format!("{ISSUER}/");
    let error = completed(&house, message).await.expect_err("another issuer");
    assert!(matches!(error, Error::Issuer), "{error}");

    let third = state().await;
    let mut message = coming_back(&third);
    (message.code, message.error) = (String::new(), "access_denied".into());
    let error = completed(&house, message).await.expect_err("no grant");
    assert!(matches!(error, Error::Declined), "{error}");
    assert_eq!(error.reason(), Some(Reason::UnitNotGranted));
    assert!(!house.oauth.calls().contains(&"token"), "no code was sent");

    let fourth = state().await;
    let both = tokio::join!(
        completed(&house, coming_back(&fourth)),
        completed(&house, coming_back(&fourth))
    );
    let results = [both.0, both.1];
    assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1);
    assert_eq!(
        results.iter().filter(|r| matches!(r, Err(Error::State))).count(),
        1
    );
    // The authority says that the same call may come again: then it may.
    let fifth = state().await;
    let unwritten = json!({ "error": "temporarily_unavailable", "unefois_reason": "LEDGER_UNAVAILABLE" });
    house.oauth.refuse(Some((503, unwritten)));
    for _ in 0..2 {
        let error = completed(&house, coming_back(&fifth))
            .await
            .expect_err("a refusal");
        assert_eq!(error.reason(), Some(Reason::LedgerUnavailable), "{error}");
    }
    house.oauth.refuse(None);
    completed(&house, coming_back(&fifth)).await.expect("a grant");
    let error = completed(&house, coming_back(&fifth)).await.expect_err("spent");
    assert!(matches!(error, Error::State), "{error}");
    house.stop().await;
}

#[tokio::test]
async fn a_token_answer_that_is_not_ours_or_gives_too_much_is_refused() {
    let house = house(TestDatabase::sqlite()).await;
    let changes: [fn(&mut Value); 8] = [
        |a| a["authorization_details"] = json!([]),
        |a| a["authorization_details"][0]["gh"] = Value::Null,
        |a| a["authorization_details"][0]["dossier_ref"] = json!("autre"),
        |a| a["authorization_details"][0]["units"][0]["unit"] = json!("autre"),
        |a| a["token_type"] = json!("DPoP"),
        |a| a["access_token"] = json!("a.b.c"),
        |a| a["pivot_jwe"] = json!("a..b.c.d"),
        |a| a["refresh_token"] = Value::Null,
    ];
    for (n, change) in changes.into_iter().enumerate() {
        house.oauth.change(change);
        let state = asked(&house, asking()).await.expect("pushed").state;
        let error = completed(&house, coming_back(&state)).await.expect_err("refused");
        assert!(
            matches!(error, Error::AuthorityAnswer(_) | Error::Token(_)),
            "{n}: {error}"
        );
    }
    let call = GrantsCall::try_from(pb::ListGrantsRequest::default()).expect("a sound message");
    assert!(
        house
            .consumer
            .grants(&call)
            .await
            .expect("a page")
            .grants
            .is_empty()
    );
    house.stop().await;
}

async fn grants_are_held_sealed_and_listed_by_page(database: TestDatabase) {
    let house = house(database).await;
    for _ in 0..3 {
        house.granted().await;
    }
    let page = |size: u32, dossier: &str, token: String| {
        let message = pb::ListGrantsRequest {
            dossier_ref: dossier.to_owned(),
            page_size: size,
            page_token: token,
        };
        let call = GrantsCall::try_from(message).expect("a sound message");
        let consumer = house.consumer.clone();
        async move { consumer.grants(&call).await }
    };
    assert!(page(1, "", "x".into()).await.is_err());
    assert!(
        page(9, "2026-0413", String::new())
            .await
            .expect("a page")
            .grants
            .is_empty()
    );
    let first = page(2, "2026-0412", String::new()).await.expect("a page");
    let second = page(2, "2026-0412", first.next.clone().expect("more"))
        .await
        .expect("a page");
    assert_eq!(
        (first.grants.len(), second.grants.len(), second.next),
        (2, 1, None)
    );
    let mut ids: Vec<_> = first
        .grants
        .iter()
        .chain(&second.grants)
        .map(|g| g.grant_id.clone())
        .collect();
    ids.dedup();
    assert_eq!(ids.len(), 3);
    let held = &first.grants[0];
    assert_eq!(held.elements[0].details.dossier_ref.as_str(), "2026-0412");

    // No row shows the file, the handle, the grant's name or the refresh token.
    let tenant = consumer_id().siret().to_string();
    let rows = grant_page(&house.db, &tenant, None, None, 10)
        .await
        .expect("rows");
    assert_eq!(rows.len(), 3);
    for row in rows {
        for secret in ["2026-0412", "a-refresh-token-nobody-should-find", &held.grant_id] {
            assert!(!row.sealed.windows(secret.len()).any(|w| w == secret.as_bytes()));
        }
    }
    house.stop().await;
}

async fn a_grant_is_given_back_once_the_authority_itself_says_so(database: TestDatabase) {
    let house = house(database).await;
    let grant = house.granted().await;
    let state = async || {
        let call = GrantsCall::try_from(pb::ListGrantsRequest::default()).expect("a sound message");
        house.consumer.grants(&call).await.expect("a page").grants[0].elements[0].state
    };
    // What stands before it, another program at its address, and a delegation that it does not know any more.
    for (status, body) in [
        (404, json!("not found")),
        (404, json!({"error": "access_denied"})),
        (
            403,
            json!({"error": "access_denied", "unefois_reason": "NOT_ENTITLED"}),
        ),
        (
            400,
            json!({"error": "access_denied", "unefois_reason": "TOKEN_INVALID"}),
        ),
    ] {
        house.oauth.refuse(Some((status, body.clone())));
        let given_back = house.consumer.give_back(&grant.grant_id).await;
        given_back.expect_err("it still stands");
        assert_eq!(state().await, ElementState::Active, "{status} {body}");
    }
    let unknown = json!({"error": "access_denied", "unefois_reason": "TOKEN_INVALID"});
    house.oauth.refuse(Some((404, unknown)));
    let given_back = house.consumer.give_back(&grant.grant_id).await;
    given_back.expect("it stands no more");
    assert_eq!(state().await, ElementState::GivenBack);
    house.stop().await;
}
