//! A link that is followed later: it is worth one answer, of the person of the file, within its days.

use http::{Method, StatusCode};
use serde_json::json;
use unefois_core::{Event, Reason};

use crate::both_databases;
use crate::browser::Browser;
use crate::database::TestDatabase;
use crate::kit::{COMMUNE, Kit, form, until};
use crate::provider::{Says, angela};

both_databases![
    a_link_is_for_the_person_of_the_file_and_survives_whoever_is_not,
    a_link_serves_one_answer_whoever_races,
    a_link_ends_with_its_days_and_when_the_consumer_withdraws_it,
    a_link_is_judged_again_by_the_directory_in_use,
];

const DAY_MS: i64 = 86_400_000;

impl Kit {
    /// Pushes a request that is followed later; its parameters, and what the authority answers.
    async fn push_link(&self, days: Option<&str>) -> (Vec<(&'static str, String)>, serde_json::Value) {
        let mut parameters = self.parameters();
        parameters.push(("way", "link".to_owned()));
        parameters.extend(days.map(|days| ("link_days", days.to_owned())));
        let answer = self.call(Method::POST, "/as/par", &form(&parameters)).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json);
        (parameters, answer.json)
    }

    /// The address that a pushed link leads to.
    async fn link(&self, days: Option<&str>) -> String {
        let (_, pushed) = self.push_link(days).await;
        address(&pushed)
    }

    /// Waits until the directory in use refuses the commune's request for this reason.
    async fn refuses(&self, reason: &str) {
        let asked = form(&self.parameters());
        until(async || {
            let answer = self.call(Method::POST, "/as/par", &asked).await;
            (answer.json["unefois_reason"] == reason).then_some(())
        })
        .await;
    }

    async fn last(&self) -> (Event, Option<Reason>) {
        let entries = self.entries().await;
        let last = entries.last().expect("an entry");
        (last.event, last.reason)
    }
}

fn address(pushed: &serde_json::Value) -> String {
    let uri = pushed["request_uri"].as_str().unwrap().to_owned();
    let query = form(&[("client_id", COMMUNE.to_owned()), ("request_uri", uri)]);
    format!("/as/authorize?{query}")
}

/// Follows a link as far as the page on which the person decides; its address, and the form's token where there is a form.
async fn follow(browser: &mut Browser, link: &str) -> (String, Option<String>) {
    let opened = browser.get(link).await;
    assert_eq!(opened.status, StatusCode::SEE_OTHER, "{}", opened.body);
    let page = browser.follow(&opened.location).await;
    let decides = page.body.contains(r#"name="choix""#);
    (opened.location, decides.then(|| page.csrf()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_has_its_days_and_no_other_way_has_any() {
    let kit = Kit::new().await;
    for (way, days) in [
        ("link", "0"),
        ("link", "31"),
        ("link", "-1"),
        ("link", "x"),
        ("present", "3"),
    ] {
        let mut parameters = kit.parameters();
        parameters.extend([("way", way.to_owned()), ("link_days", days.to_owned())]);
        let refused = kit.call(Method::POST, "/as/par", &form(&parameters)).await;
        assert_eq!(refused.json["unefois_reason"], "INVALID_REQUEST", "{way} {days}");
        assert_eq!(
            kit.last().await,
            (Event::Refused, Some(Reason::InvalidRequest)),
            "{way} {days}"
        );
    }
    for (days, life) in [(None, 30), (Some("1"), 1), (Some("30"), 30)] {
        let (_, pushed) = kit.push_link(days).await;
        assert_eq!(pushed["expires_in"], json!(life * DAY_MS / 1_000), "{days:?}");
    }
    kit.stop().await;
}

async fn a_link_is_for_the_person_of_the_file_and_survives_whoever_is_not(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let link = kit.link(None).await;
    *kit.provider.says.lock().unwrap() = Says {
        identity: json!({"family_name": "DURAND", "given_name": "Marc", "birthdate": "1970-02-03", "gender": "male"}),
        ..Says::default()
    };
    let mut friend = kit.browser();
    // Whoever opens a page finds the choice no sooner than whoever posts it without a page.
    let (opened, form) = follow(&mut friend, &link).await;
    assert_eq!(form, None, "a friend decides nothing");
    assert_eq!(kit.last().await, (Event::Refused, Some(Reason::SubjectMismatch)));
    let gone = friend.get(&opened).await;
    assert!(
        gone.body.contains("Cette demande n’est plus ouverte"),
        "{}",
        gone.body
    );

    *kit.provider.says.lock().unwrap() = Says {
        identity: angela(),
        ..Says::default()
    };
    let mut browser = kit.browser();
    // A look at it uses nothing up.
    follow(&mut kit.browser(), &link).await;
    let (opened, csrf) = follow(&mut browser, &link).await;
    let posted = format!("csrf={}&choix=recuperer", csrf.expect("the choice"));
    let back = browser.post(&opened, &posted).await;
    assert_eq!(
        back.parameter("state").as_deref(),
        Some("state-of-the-back-office")
    );
    let granted = kit.redeem(&back.parameter("code").unwrap()).await;
    assert_eq!(granted.status, StatusCode::OK, "{}", granted.json);

    let used = kit.browser().get(&link).await;
    assert_eq!(used.status, StatusCode::BAD_REQUEST);
    assert!(
        used.body.contains("Cette demande n’est plus ouverte"),
        "{}",
        used.body
    );
    kit.stop().await;
}

async fn a_link_serves_one_answer_whoever_races(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let link = kit.link(None).await;
    let mut tabs = Vec::new();
    for _ in 0..3 {
        let mut browser = kit.browser();
        let (opened, csrf) = follow(&mut browser, &link).await;
        let posted = format!("csrf={}&choix=recuperer", csrf.expect("the choice"));
        tabs.push((browser, opened, posted));
    }
    let answers = tabs
        .iter_mut()
        .map(async |(browser, opened, posted)| browser.post(opened, posted).await);
    let answers = futures_util::future::join_all(answers).await;
    let codes: Vec<_> = answers.iter().filter_map(|page| page.parameter("code")).collect();
    assert_eq!(codes.len(), 1, "one answer counts");
    for (browser, opened, posted) in &mut tabs {
        let late = browser.post(opened, posted).await;
        assert_eq!(late.parameter("code"), None);
    }
    let granted = kit
        .events()
        .await
        .into_iter()
        .filter(|event| *event == Event::Granted);
    assert_eq!(granted.count(), 1);

    // What somebody declined is answered too.
    let link = kit.link(None).await;
    let mut browser = kit.browser();
    let (opened, csrf) = follow(&mut browser, &link).await;
    let posted = format!("csrf={}&choix=fournir", csrf.expect("the choice"));
    let back = browser.post(&opened, &posted).await;
    assert_eq!(back.parameter("error").as_deref(), Some("access_denied"));
    assert_eq!(kit.browser().get(&link).await.status, StatusCode::BAD_REQUEST);
    kit.stop().await;
}

async fn a_link_ends_with_its_days_and_when_the_consumer_withdraws_it(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let (_, pushed) = kit.push_link(Some("30")).await;
    let mut browser = kit.browser();
    let (opened, csrf) = follow(&mut browser, &address(&pushed)).await;
    let posted = format!("csrf={}&choix=recuperer", csrf.expect("the choice"));
    let token = form(&[("token", pushed["request_uri"].as_str().unwrap().to_owned())]);
    // Another participant's word ends nothing.
    let other = kit.call_as_crous("/as/revoke", &token).await;
    assert_eq!(other.status, StatusCode::OK, "as for any unknown token");
    let asked = browser.get(&opened).await;
    assert!(asked.body.contains(r#"name="choix""#), "{}", asked.body);
    let given_back = kit.call(Method::POST, "/as/revoke", &token).await;
    assert_eq!(given_back.status, StatusCode::OK);
    let late = browser.post(&opened, &posted).await;
    assert_eq!(late.parameter("code"), None, "{}", late.location);
    assert_eq!(
        kit.browser().get(&address(&pushed)).await.status,
        StatusCode::BAD_REQUEST
    );

    // Made a day ago, but for a minute: who logs in does so now.
    kit.clock.pass(60_000 - DAY_MS);
    let link = kit.link(Some("1")).await;
    kit.clock.pass(DAY_MS - 60_000);
    let mut browser = kit.browser();
    let (opened, csrf) = follow(&mut browser, &link).await;
    let posted = format!("csrf={}&choix=recuperer", csrf.expect("the choice"));
    kit.clock.pass(61_000);
    let late = browser.post(&opened, &posted).await;
    assert_eq!(
        late.parameter("code"),
        None,
        "its days are over, on an open page too"
    );
    assert_eq!(kit.browser().get(&link).await.status, StatusCode::BAD_REQUEST);
    assert!(!kit.events().await.contains(&Event::Granted));
    kit.stop().await;
}

async fn a_link_is_judged_again_by_the_directory_in_use(database: TestDatabase) {
    let mut kit = Kit::on(database).await;
    let link = kit.link(None).await;
    let mut browser = kit.browser();
    let (opened, csrf) = follow(&mut browser, &link).await;
    let posted = format!("csrf={}&choix=recuperer", csrf.expect("the choice"));
    kit.publish(|d| {
        d.habilitations
            .retain(|h| h.habilitation.id.to_string() != "DP-1")
    });
    kit.refuses("NOT_ENTITLED").await;
    let late = browser.post(&opened, &posted).await;
    assert_eq!(
        (late.status, late.parameter("code")),
        (StatusCode::BAD_REQUEST, None)
    );
    assert_eq!(kit.last().await, (Event::Refused, Some(Reason::NotEntitled)));
    let mut another = kit.browser();
    let (_, form) = follow(&mut another, &link).await;
    assert_eq!(form, None);
    assert_eq!(kit.last().await, (Event::Refused, Some(Reason::NotEntitled)));

    // A site that the directory no longer lists gets no code.
    kit.publish(|d| d.participants[1].redirect_uris = vec!["https://commune.example/ailleurs".to_owned()]);
    kit.refuses("INVALID_REQUEST").await;
    let mut another = kit.browser();
    let (_, form) = follow(&mut another, &link).await;
    assert_eq!(form, None);
    assert_eq!(kit.last().await, (Event::Refused, Some(Reason::InvalidRequest)));
    kit.stop().await;
}
