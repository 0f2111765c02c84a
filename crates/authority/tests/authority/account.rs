//! One person, one account, whatever provider names them.

use http::StatusCode;
use serde_json::{Value, json};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::kit::{Kit, merge, set, subject_check};
use crate::provider::{Says, angela};

both_databases![
    one_person_has_one_account_whatever_the_subject,
    an_identity_joins_the_one_account_that_has_it,
    a_subject_with_another_identity_is_another_account_until_a_desk_joins_them,
    first_logins_at_one_moment_make_one_account,
    namesakes_of_a_birth_abroad_share_no_account,
];

/// A world where personas log in without a browser.
async fn with_personas(database: TestDatabase) -> Kit {
    Kit::with(database, |_, config| {
        config["demo"] = json!({"personas": true});
    })
    .await
}

/// Logs a persona in and grants; the person's name for the consumer.
async fn subject_of(kit: &Kit, provider: &str, sub: &str, given_name: &str) -> String {
    let acr = if provider == "fcp" { "eidas2" } else { "eidas1" };
    let persona = json!({"provider": provider, "sub": sub, "acr": acr, "pivot": {
        "family_name": "DUBOIS", "given_names": [given_name], "birthdate": "1962-08-24", "gender": "female",
        "birthplace": "75107", "birthcountry": "99100"}});
    subject_with(kit, &persona, given_name).await
}

async fn subject_with(kit: &Kit, persona: &Value, given_name: &str) -> String {
    let mut browser = kit.browser();
    let entered = browser.post_json("/demo/persona", persona).await;
    assert_eq!(entered.status, StatusCode::NO_CONTENT, "{}", entered.body);
    let mut parameters = kit.parameters();
    set(
        &mut parameters,
        "subject_check",
        Some(subject_check("DUBOIS", given_name, "1962-08-24")),
    );
    let code = kit.grant(&mut browser, &parameters, "").await;
    let answer = kit.redeem(&code).await;
    kit.claims(answer.json["access_token"].as_str().unwrap()).sub
}

async fn one_person_has_one_account_whatever_the_subject(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let mut browser = kit.browser();
    let code = kit.grant(&mut browser, &kit.parameters(), "").await;
    let first = kit.claims(kit.redeem(&code).await.json["access_token"].as_str().unwrap());

    kit.provider.says.lock().unwrap().sub = "angela-under-another-name";
    let mut second = kit.browser();
    let code = kit.grant(&mut second, &kit.parameters(), "").await;
    let joined = kit.claims(kit.redeem(&code).await.json["access_token"].as_str().unwrap());
    assert_eq!(first.sub, joined.sub);

    let mut twin = angela();
    merge(&mut twin, json!({"given_name_array": ["Angele"]}));
    *kit.provider.says.lock().unwrap() = Says {
        sub: "angele",
        identity: twin,
        ..Says::default()
    };
    let mut parameters = kit.parameters();
    set(
        &mut parameters,
        "subject_check",
        Some(subject_check("DUBOIS", "Angele", "1962-08-24")),
    );
    let code = kit.grant(&mut kit.browser(), &parameters, "").await;
    let other = kit.claims(kit.redeem(&code).await.json["access_token"].as_str().unwrap());
    assert_ne!(first.sub, other.sub);
    kit.stop().await;
}

/// FranceConnect and FranceConnect+ name one person: the account is one. Two accounts of one identity stay two, and
/// whoever comes third joins neither.
async fn an_identity_joins_the_one_account_that_has_it(database: TestDatabase) {
    let kit = with_personas(database).await;
    let low = subject_of(&kit, "fc", "angela", "Angela").await;
    assert_eq!(subject_of(&kit, "fcp", "angela-plus", "Angela").await, low);
    // Two accounts come to have one identity: the first changes its own.
    let changed = subject_of(&kit, "fc", "angela", "Angele").await;
    let other = subject_of(&kit, "fcp", "angela-plus", "Angele").await;
    assert_ne!(changed, other, "a known subject joins nobody");
    let third = subject_of(&kit, "fc", "third", "Angele").await;
    assert!(
        third != changed && third != other,
        "a conflict is settled at a desk"
    );
    kit.stop().await;
}

/// Two people born abroad on one day under one name: a provider that names both tells them apart, and nothing else does.
async fn namesakes_of_a_birth_abroad_share_no_account(database: TestDatabase) {
    let kit = with_personas(database).await;
    let born_abroad = async |provider: &str, sub: &str| {
        let acr = if provider == "fcp" { "eidas2" } else { "eidas1" };
        let persona = json!({"provider": provider, "sub": sub, "acr": acr, "pivot": {
            "family_name": "DUBOIS", "given_names": ["Angela"], "birthdate": "1962-08-24", "gender": "female",
            "birthcountry": "99352"}});
        subject_with(&kit, &persona, "Angela").await
    };
    let one = born_abroad("fc", "one").await;
    assert_eq!(
        born_abroad("fcp", "one-plus").await,
        one,
        "one person, one account"
    );
    let two = born_abroad("fc", "two").await;
    assert_ne!(two, one);
    let plus = born_abroad("fcp", "two-plus").await;
    assert!(plus != one && plus != two, "nothing tells whose it is");
    assert_eq!(born_abroad("fc", "one").await, one);
    kit.stop().await;
}

/// A person at several providers, or in several windows, before there was an account.
async fn first_logins_at_one_moment_make_one_account(database: TestDatabase) {
    let kit = with_personas(database).await;
    for given_name in ["Angela", "Angele", "Ange"] {
        let logins = (0..8).map(|n| {
            let kit = &kit;
            async move { subject_of(kit, "fc", &format!("{given_name}-{n}"), given_name).await }
        });
        let accounts = futures_util::future::join_all(logins).await;
        assert!(accounts.iter().all(|one| *one == accounts[0]), "{accounts:?}");
    }
    kit.stop().await;
}

async fn a_subject_with_another_identity_is_another_account_until_a_desk_joins_them(database: TestDatabase) {
    let kit = with_personas(database).await;
    let first = subject_of(&kit, "fc", "s", "Angela").await;
    let twin = subject_of(&kit, "fc", "t", "Angele").await;
    // Rectified, or given out again by the provider: nobody here can tell.
    let changed = subject_of(&kit, "fc", "s", "Angele").await;
    assert_ne!(changed, first);
    assert_ne!(changed, twin, "it joins nobody either");
    assert_eq!(subject_of(&kit, "fc", "s", "Angele").await, changed);
    assert_eq!(subject_of(&kit, "fc", "s", "Angela").await, first);
    assert_eq!(subject_of(&kit, "fc", "t", "Angele").await, twin);
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persona_is_a_person_or_an_officer() {
    let kit = with_personas(TestDatabase::sqlite()).await;
    let pivot = json!({"family_name": "DUBOIS", "given_names": ["Angela"], "birthdate": "1962-08-24",
        "gender": "female"});
    let officer = json!({"assurance": "identified", "siret": "21920023500014", "given_name": "Camille",
        "usual_name": "EXEMPLE"});
    let mut browser = kit.browser();
    for (persona, status) in [
        (
            json!({"provider": "pro", "sub": "s", "acr": "eidas1", "pivot": pivot}),
            StatusCode::FORBIDDEN,
        ),
        (
            json!({"provider": "fc", "sub": "s", "officer": officer}),
            StatusCode::FORBIDDEN,
        ),
        (
            json!({"provider": "fc", "sub": "s", "acr": "eidas1", "pivot": pivot, "officer": officer}),
            StatusCode::BAD_REQUEST,
        ),
        (json!({"provider": "pro", "sub": "s"}), StatusCode::BAD_REQUEST),
        (
            json!({"provider": "pro", "sub": "s", "officer": officer}),
            StatusCode::NO_CONTENT,
        ),
    ] {
        let entered = browser.post_json("/demo/persona", &persona).await;
        assert_eq!(entered.status, status, "{persona}");
    }
    assert!(browser.get("/").await.body.contains("Camille EXEMPLE"));
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn personas_are_for_demonstrations() {
    let kit = Kit::new().await;
    let mut browser = kit.browser();
    assert_eq!(
        browser.post("/demo/persona", "{}").await.status,
        StatusCode::NOT_FOUND
    );
    kit.stop().await;
}
