//! A login that is refused while a request waits for it: whoever logs in is not known, whose request it is is, and the
//! refusal stands in the ledger under that client's name.

use http::StatusCode;
use serde_json::json;
use unefois_core::{Capacity, Event, Reason};

use crate::both_databases;
use crate::browser::Browser;
use crate::database::TestDatabase;
use crate::kit::{COMMUNE, Kit, until};
use crate::provider::{Says, Sends};

both_databases![
    i8_a_login_refused_for_a_request_stands_under_its_client,
    i8_an_answer_of_another_login_stands_under_the_client_whose_request_waits,
    i8_a_level_that_counts_no_more_is_recorded_when_it_is_used
];

impl Kit {
    /// That exactly this refusal was written since `before`, under the client whose request waits; none if `None`.
    async fn assert_login_recorded(&self, before: usize, reason: Option<Reason>, what: &str) {
        let told: Vec<_> = (self.entries().await.split_off(before).into_iter())
            .map(|entry| {
                assert_eq!(entry.event, Event::Refused, "{what}");
                let demarche = entry.demarche.map(|demarche| demarche.to_string());
                (entry.reason, entry.requester, entry.capacity, demarche)
            })
            .collect();
        let expected = reason.map(|reason| {
            (
                Some(reason),
                Some(COMMUNE.parse().unwrap()),
                Some(Capacity::SelfPerson),
                Some("cantine".to_owned()),
            )
        });
        assert_eq!(told, Vec::from_iter(expected), "{what}");
    }

    /// Opens a request of the commune's and leaves for the provider; the address that it answers at.
    async fn answer_at(&self, browser: &mut Browser, name: &str) -> String {
        let opened = browser.get(&self.push(&self.parameters()).await).await.location;
        let leaves = browser
            .get(&format!(
                "/{name}/connexion?suite={opened}&niveau={}",
                level_of(name)
            ))
            .await;
        browser.get(&leaves.location).await.location
    }
}

fn level_of(name: &str) -> &'static str {
    match name {
        "fcp" => "eidas2",
        "pro" => "identified",
        _ => "eidas1",
    }
}

async fn i8_a_login_refused_for_a_request_stands_under_its_client(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let level = |acr| Says {
        acr,
        ..Says::default()
    };
    let ours = kit.pivot_key.encryption_key().clone();
    let cases = [
        ("no level", level(None), Some(Reason::AcrTooLow)),
        ("an empty level", level(Some("")), Some(Reason::AcrTooLow)),
        (
            "a level of nobody's",
            level(Some("unknown")),
            Some(Reason::AcrTooLow),
        ),
        (
            "a level of another provider's",
            level(Some("eidas2")),
            Some(Reason::AcrTooLow),
        ),
        (
            "another nonce",
            Says {
                nonce: Some("another"),
                ..Says::default()
            },
            Some(Reason::TokenInvalid),
        ),
        (
            "no nonce",
            Says {
                nonce: Some(""),
                ..Says::default()
            },
            Some(Reason::TokenInvalid),
        ),
        (
            "the identity of somebody else",
            Says {
                userinfo_sub: Some("another"),
                ..Says::default()
            },
            Some(Reason::TokenInvalid),
        ),
        (
            "another envelope",
            Says {
                sends: Some(Sends::Encrypted(ours)),
                ..Says::default()
            },
            Some(Reason::TokenInvalid),
        ),
        (
            "half an identity",
            Says {
                identity: json!({"family_name": "DUBOIS"}),
                ..Says::default()
            },
            Some(Reason::InvalidRequest),
        ),
        // Nothing leads from such a state to a login, nor to a request.
        (
            "a state of nobody's",
            Says {
                state: Some("another"),
                ..Says::default()
            },
            None,
        ),
    ];
    for (what, says, reason) in cases {
        *kit.provider.says.lock().unwrap() = says;
        let mut browser = kit.browser();
        let opened = browser.get(&kit.push(&kit.parameters()).await).await.location;
        let before = kit.entries().await.len();
        let page = browser.follow(&opened).await;
        assert!(
            !page.body.contains(r#"name="choix""#),
            "{what}: nothing to decide"
        );
        kit.assert_login_recorded(before, reason, what).await;
        // The same without a request is nobody's.
        let before = kit.entries().await.len();
        kit.browser().follow("/fc/connexion").await;
        kit.assert_login_recorded(before, None, what).await;
    }
    *kit.provider.says.lock().unwrap() = Says::default();
    let before = kit.entries().await.len();
    kit.open(&mut kit.browser(), &kit.parameters()).await;
    kit.assert_login_recorded(before, None, "as it should be").await;
    kit.stop().await;
}

async fn i8_an_answer_of_another_login_stands_under_the_client_whose_request_waits(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let wrong = Some(Reason::InvalidRequest);
    for (from, to) in [("fc", "fcp"), ("fcp", "fc"), ("fc", "pro")] {
        let mut browser = kit.browser();
        let answer = kit.answer_at(&mut browser, from).await;
        let crossed = answer.replace(&format!("/{from}/retour"), &format!("/{to}/retour"));
        let before = kit.entries().await.len();
        assert_eq!(browser.get(&crossed).await.status, StatusCode::BAD_REQUEST);
        kit.assert_login_recorded(before, wrong, "crossed between providers")
            .await;
        // The state counted once: nobody fills the log with it.
        let before = kit.entries().await.len();
        assert_eq!(browser.get(&answer).await.status, StatusCode::BAD_REQUEST);
        kit.assert_login_recorded(before, None, "a state used up").await;
    }
    for iss in [kit.plus.issuer.clone(), String::new()] {
        kit.provider.says.lock().unwrap().iss = Some(iss.leak());
        let mut browser = kit.browser();
        let answer = kit.answer_at(&mut browser, "fc").await;
        let before = kit.entries().await.len();
        assert_eq!(browser.get(&answer).await.status, StatusCode::BAD_REQUEST);
        kit.assert_login_recorded(before, wrong, "an answer in another's name")
            .await;
    }
    *kit.provider.says.lock().unwrap() = Says::default();

    // A link that brings the answer of somebody else's login: the request is theirs.
    let mut victim = kit.browser();
    victim.get("/fc/connexion").await;
    let answer = kit.answer_at(&mut kit.browser(), "fc").await;
    let before = kit.entries().await.len();
    assert_eq!(victim.get(&answer).await.status, StatusCode::BAD_REQUEST);
    kit.assert_login_recorded(before, wrong, "another session").await;

    // A code that another browser got: the nonce, or at ProConnect the verifier, is another.
    for name in ["fc", "fcp", "pro"] {
        let (mut victim, mut thief) = (kit.browser(), kit.browser());
        let stolen = kit.answer_at(&mut victim, name).await;
        let own = kit.answer_at(&mut thief, name).await;
        let code = |address: &str| {
            let (_, rest) = address.split_once("code=").expect("a code");
            rest.split('&').next().unwrap().to_owned()
        };
        let injected = own.replace(&code(&own), &code(&stolen));
        assert_ne!(injected, own);
        let before = kit.entries().await.len();
        thief.follow(&injected).await;
        kit.assert_login_recorded(before, Some(Reason::TokenInvalid), name)
            .await;
    }
    kit.stop().await;
}

/// The directory drops the provider between the login and the choice.
async fn i8_a_level_that_counts_no_more_is_recorded_when_it_is_used(database: TestDatabase) {
    let mut kit = Kit::on(database).await;
    let mut browser = kit.browser();
    let demande = kit.open(&mut browser, &kit.parameters()).await;
    let posted = format!("csrf={}&choix=recuperer", demande.page.csrf());
    let issuer = kit.provider.issuer.clone();
    kit.publish(|d| {
        let rows = &mut d.authority.identity_providers;
        rows.retain(|row| row.issuer != issuer);
    });
    until(async || {
        let shown = browser.get(&demande.address).await;
        (shown.status == StatusCode::FORBIDDEN).then_some(())
    })
    .await;
    let before = kit.entries().await.len();
    let shown = browser.get(&demande.address).await;
    assert_eq!(shown.status, StatusCode::FORBIDDEN, "{}", shown.body);
    kit.assert_login_recorded(before, Some(Reason::AcrTooLow), "looked at")
        .await;
    let before = kit.entries().await.len();
    let answered = browser.post(&demande.address, &posted).await;
    assert_eq!(answered.status, StatusCode::FORBIDDEN, "{}", answered.body);
    kit.assert_login_recorded(before, Some(Reason::AcrTooLow), "answered")
        .await;
    kit.stop().await;
}
