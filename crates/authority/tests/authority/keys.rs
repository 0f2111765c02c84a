//! The authority's keys change without a restart and without a refused call, also where one was lost.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Method, StatusCode};
use serde_json::Value;
use unefois_authority::{PublishError, Published};
use unefois_core::directory::Jwk;
use unefois_core::{Event, Reason};
use unefois_jose::directory::DirectoryRefused;
use unefois_jose::{SigningKey, jws};
use unefois_mesh::DirectoryConfig;

use crate::both_databases;
use crate::database::TestDatabase;
use crate::kit::{Answer, Kit, form, ring, until};
use crate::withdrawal::{Tell, Watch, open};

both_databases![
    the_directory_s_first_key_signs_tokens,
    a_signing_key_that_was_withdrawn_signs_nothing_more,
    a_code_that_came_to_no_token_may_come_again,
    whoever_comes_once_a_withdrawal_key_is_dropped_is_told_under_the_next,
    a_directory_key_that_gave_way_signs_nothing_more,
];

fn jwk(key: &SigningKey) -> Jwk {
    Jwk::from_sec1(key.verifying_key().public().point()).unwrap()
}

/// The name of the key that signed a token.
fn signer(answer: &Answer) -> String {
    let token = answer.json["access_token"].as_str().unwrap();
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

/// A grant, and the form that asks for one more token under it.
async fn refreshing(kit: &Kit) -> String {
    let mut browser = kit.browser();
    let code = kit.grant(&mut browser, &kit.parameters(), "").await;
    let answer = kit.redeem(&code).await;
    form(&[
        ("grant_type", "refresh_token".to_owned()),
        (
            "refresh_token",
            answer.json["refresh_token"].as_str().unwrap().to_owned(),
        ),
    ])
}

/// Asks for tokens until this key signs one; all are given meanwhile.
async fn signs(kit: &Kit, refresh: &str, key: &SigningKey) {
    until(async || {
        let answer = kit.call(Method::POST, "/as/token", refresh).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
        (signer(&answer) == key.thumbprint().to_string()).then_some(())
    })
    .await;
}

/// Asks for tokens until the answer has this status.
async fn answered(kit: &Kit, refresh: &str, status: StatusCode) -> Answer {
    until(async || {
        let answer = kit.call(Method::POST, "/as/token", refresh).await;
        (answer.status == status).then_some(answer)
    })
    .await
}

async fn the_directory_s_first_key_signs_tokens(database: TestDatabase) {
    let mut kit = Kit::on(database).await;
    let refresh = refreshing(&kit).await;
    let (present, next) = (jwk(&kit.token_key), jwk(&kit.next_token_key));
    signs(&kit, &refresh, &kit.token_key).await;
    // Announced, then first, then alone.
    for keys in [
        vec![present.clone(), next.clone()],
        vec![next.clone(), present],
        vec![next.clone()],
    ] {
        let first = keys[0] == next;
        kit.publish(|document| document.authority.token_keys = keys);
        let key = match first {
            true => &kit.next_token_key,
            false => &kit.token_key,
        };
        signs(&kit, &refresh, key).await;
    }
    // Neither of its keys is listed: nothing is signed that nobody would believe.
    let other = jwk(&kit.withdrawal_key);
    kit.publish(|document| document.authority.token_keys = vec![other]);
    let refused = answered(&kit, &refresh, StatusCode::SERVICE_UNAVAILABLE).await;
    assert_eq!(refused.json["unefois_reason"], "KEY_UNAVAILABLE");
    let entries = kit.entries().await;
    let last = entries.last().unwrap();
    assert_eq!(
        (last.event, last.reason),
        (Event::Refused, Some(Reason::KeyUnavailable))
    );
    kit.stop().await;
}

/// A snapshot was signed under the key before, and no record has been made since.
async fn whoever_comes_once_a_withdrawal_key_is_dropped_is_told_under_the_next(database: TestDatabase) {
    let mut kit = Kit::on(database).await;
    Watch::open(&kit, open()).await.snapshot(&kit).await;
    let next = jwk(&kit.next_token_key);
    kit.publish(|document| document.authority.withdrawal_keys = vec![next]);
    let key = kit.next_token_key.verifying_key();
    until(async || {
        let mut watch = Watch::open(&kit, open()).await;
        let Tell::Snapshot(snapshot) = watch.next().await.unwrap() else {
            panic!("a snapshot comes first");
        };
        let typ = "unefois-withdrawals+jwt";
        jws::verify(&snapshot.jws, typ, 1 << 20, |_| Some(key.clone())).ok()
    })
    .await;
    kit.stop().await;
}

async fn a_signing_key_that_was_withdrawn_signs_nothing_more(database: TestDatabase) {
    let mut kit = Kit::on(database).await;
    let refresh = refreshing(&kit).await;
    let both = vec![jwk(&kit.next_token_key), jwk(&kit.token_key)];
    kit.publish(|document| document.authority.token_keys = both);
    signs(&kit, &refresh, &kit.next_token_key).await;
    let withdraw = async |kit: &Kit, key: &SigningKey| {
        let order = form(&[
            ("kind", "signing_key".to_owned()),
            ("key", key.thumbprint().to_string()),
            ("reason", "clé perdue".to_owned()),
        ]);
        let answer = kit
            .call_as_operator(Method::POST, "/as/withdrawals", &order)
            .await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json);
    };
    withdraw(&kit, &kit.next_token_key).await;
    let answer = kit.call(Method::POST, "/as/token", &refresh).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
    assert_eq!(signer(&answer), kit.token_key.thumbprint().to_string());
    let published = kit.browser().get("/as/jwks").await.body;
    let shown = |key: &SigningKey| published.contains(&key.thumbprint().to_string());
    assert!(shown(&kit.token_key) && !shown(&kit.next_token_key));

    // After a restart as well, and with no key left, nothing.
    let kit = kit.restart(|_, _| {}).await;
    let answer = kit.call(Method::POST, "/as/token", &refresh).await;
    assert_eq!(signer(&answer), kit.token_key.thumbprint().to_string());
    withdraw(&kit, &kit.token_key).await;
    let refused = kit.call(Method::POST, "/as/token", &refresh).await;
    assert_eq!(refused.json["unefois_reason"], "KEY_UNAVAILABLE");
    kit.stop().await;
}

/// Its asker is told to try again: that must not look like a stolen code.
async fn a_code_that_came_to_no_token_may_come_again(database: TestDatabase) {
    let mut kit = Kit::on(database).await;
    let refresh = refreshing(&kit).await;
    let mut browser = kit.browser();
    let code = kit.grant(&mut browser, &kit.parameters(), "").await;
    let (other, listed) = (jwk(&kit.withdrawal_key), jwk(&kit.token_key));
    kit.publish(|document| document.authority.token_keys = vec![other]);
    answered(&kit, &refresh, StatusCode::SERVICE_UNAVAILABLE).await;
    for _ in 0..2 {
        let refused = kit.redeem(&code).await;
        assert_eq!(refused.json["unefois_reason"], "KEY_UNAVAILABLE");
    }
    kit.publish(|document| document.authority.token_keys = vec![listed]);
    answered(&kit, &refresh, StatusCode::OK).await;
    let answer = kit.redeem(&code).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
    kit.stop().await;
}

/// Whether the configuration names the second key or not: the first has announced it, and may be lost since.
async fn a_directory_key_that_gave_way_signs_nothing_more(database: TestDatabase) {
    let mut kit = Kit::on(database).await;
    let second = SigningKey::generate(&ring()).unwrap();
    let announced = second.thumbprint().to_string();
    let published = [None, Some(announced.clone())].map(|next_key| {
        let config = DirectoryConfig {
            file: kit.file("directory.jws"),
            catalogue: kit.file("catalogue.json"),
            key: kit.directory_key.thumbprint().to_string(),
            next_key,
        };
        Published::load(config).unwrap()
    });
    let newer = async |kit: &Kit| {
        for published in &published {
            assert!(published.reload().unwrap());
        }
        kit.taken_up().await;
    };
    kit.publish(|document| document.next_directory_key = Some(announced));
    newer(&kit).await;
    // It is announced, and has signed nothing: the first still may.
    kit.publish(|_| {});
    newer(&kit).await;
    let first = std::mem::replace(&mut kit.directory_key, second);
    kit.publish(|document| document.next_directory_key = None);
    newer(&kit).await;

    let held = kit.document.clone();
    let second = std::mem::replace(&mut kit.directory_key, first);
    kit.publish(|_| {});
    for published in &published {
        let refused = published.reload().expect_err("the first key gave way");
        assert!(
            matches!(
                refused,
                PublishError::Refused(DirectoryRefused::Signature(unefois_jose::Error::UnknownKey))
            ),
            "{refused:?}"
        );
    }
    // What the second signs in that one's place is taken up, which it would not be beside it.
    kit.document = held;
    kit.directory_key = second;
    kit.publish(|document| document.lease_ms = 900);
    newer(&kit).await;
    kit.stop().await;
}
