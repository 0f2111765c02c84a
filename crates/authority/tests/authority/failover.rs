//! A second process of the authority on the same database.

use http::{Method, StatusCode};
use unefois_authority::StartError;
use unefois_core::{Event, Reason};
use unefois_mesh::status;

use crate::browser::Browser;
use crate::database::TestDatabase;
use crate::kit::{Kit, form};
use crate::proxy::{Fault, Hold, Proxy};
use crate::withdrawal::{WAIT, Watch, logged, open};

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_needs_a_database_that_two_can_open() {
    let kit = Kit::new().await;
    let refused = kit
        .beside(|config| config["authority"]["standby"] = true.into())
        .await;
    let Err(StartError::Config(why)) = refused else {
        panic!("a standby on SQLite");
    };
    assert!(why.contains("PostgreSQL"), "{why}");
    kit.stop().await;
}

/// The holder stands still in the middle of a heartbeat and goes on once another has taken over.
#[tokio::test(flavor = "multi_thread")]
async fn i3_a_holder_that_wakes_up_after_a_takeover_does_nothing_more() {
    let database = TestDatabase::postgres();
    let (url, proxy) = (database.url().to_owned(), Proxy::new(&database));
    let mut kit = Kit::with(database, |_, config| {
        config["database"]["url"] = proxy.url.clone().into();
    })
    .await;
    let mut browser = kit.browser();
    let code = kit.grant(&mut browser, &kit.parameters(), "").await;
    let granted = kit.redeem(&code).await;
    let refresh_token = granted.json["refresh_token"].as_str().unwrap().to_owned();
    let refresh = form(&[
        ("grant_type", "refresh_token".to_owned()),
        ("refresh_token", refresh_token),
    ]);
    let stop = format!(
        "/autorisations/{}/arreter",
        granted.json["grant_id"].as_str().unwrap()
    );
    let question = browser.get(&stop).await;
    let withdrawn = format!("csrf={}", question.csrf());
    let demande = kit.open(&mut browser, &kit.parameters()).await;
    let mut watch = Watch::open(&kit, open()).await;
    watch.lease(&kit).await;
    let before = kit.events().await;

    let hold = Hold::default();
    proxy.arm([Fault::Held(hold.clone())]);
    hold.reached.notified().await;
    let next = kit
        .beside(|config| {
            config["authority"]["standby"] = true.into();
            config["database"]["url"] = url.into();
            config["listen"]["mesh"] = "127.0.0.1:0".into();
            config["listen"]["portal"] = "127.0.0.1:0".into();
        })
        .await
        .unwrap();
    // It does not know yet that it was superseded: it answers no ping, mints nothing and withdraws nothing.
    watch.ping(7).await;
    let mint = kit.call(Method::POST, "/as/token", &refresh).await;
    assert_eq!(mint.status, StatusCode::SERVICE_UNAVAILABLE, "{}", mint.json);
    // Its log is another's already: the refusal itself cannot be written.
    assert_eq!(mint.json["unefois_reason"], Reason::LedgerUnavailable.as_str());
    let done = browser.post(&stop, &withdrawn).await;
    assert_eq!(done.status, StatusCode::SERVICE_UNAVAILABLE, "{}", done.body);
    hold.go.notify_one();
    tokio::time::timeout(WAIT, kit.running.superseded())
        .await
        .expect("it learns of it");
    // The ping was not answered.
    let ended = watch.refused().await;
    assert_eq!(status::reason_of(&ended), Some(Reason::RevocationStateStale));
    assert!(kit.running.ledger().writable().is_err(), "its log is another's");
    assert!(kit.running.readiness()().is_err());

    // The person goes on with the pages that the one before has shown.
    let old = std::mem::replace(&mut kit.running, next);
    assert_eq!(kit.events().await, before, "nothing was written meanwhile");
    let mut tab = Browser::new(&format!("http://{}", kit.running.portal));
    tab.cookies = browser.cookies.clone();
    let decided = format!("csrf={}&choix=recuperer", demande.page.csrf());
    let back = tab.post_from(&kit.issuer, &demande.address, &decided).await;
    assert_eq!(back.status, StatusCode::SEE_OTHER, "{}", back.body);
    let other = kit.redeem(&back.parameter("code").unwrap()).await;
    assert_eq!(other.status, StatusCode::OK, "{}", other.json);
    let minted = kit.claims(other.json["access_token"].as_str().unwrap());
    assert_eq!((minted.rvk.epoch, minted.rvk.seq), (2, 0));

    let done = tab.post_from(&kit.issuer, &stop, &withdrawn).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.body);
    let refused = kit.call(Method::POST, "/as/token", &refresh).await;
    assert_eq!(refused.json["unefois_reason"], Reason::GrantRevoked.as_str());
    logged(&kit, Event::Effective).await;
    let withdrawals = kit
        .events()
        .await
        .into_iter()
        .filter(|event| *event == Event::Withdrawn);
    assert_eq!(withdrawals.count(), 1);
    old.stop().await;
    kit.stop().await;
}
