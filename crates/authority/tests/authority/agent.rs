//! An officer asks in the place of a person who does not log in.

use http::{Method, StatusCode};
use serde_json::json;
use unefois_core::receipt::DecidedBy;
use unefois_core::{Capacity, Event, Reason};

use crate::both_databases;
use crate::browser::{Browser, Page};
use crate::database::TestDatabase;
use crate::kit::{COMMUNE, Kit, form, merge, set, until};
use crate::provider::Says;

both_databases![
    i12_what_an_officer_asked_is_the_person_s_to_see_with_the_motive,
    an_officer_of_another_body_or_a_person_asks_for_nobody,
    an_officer_who_left_mints_nothing,
    an_officer_s_login_mints_for_twelve_hours,
    an_officer_gives_a_motive_and_a_ground_that_allows_it
];

const MOTIVE: &str = "demande faite au guichet";

impl Kit {
    fn by_officer(&self) -> Vec<(&'static str, String)> {
        let mut parameters = self.parameters();
        set(&mut parameters, "subject_check", None);
        let angela = json!({"person": {
            "family_name": "Dubois", "given_names": ["Angela", "Claire", "Louise"], "birthdate": "1962-08-24",
            "gender": "female", "birthplace": "75107", "birthcountry": "99100"
        }});
        parameters.extend([
            ("way", "agent".to_owned()),
            ("motive", "guichet".to_owned()),
            ("subject_jwe", self.sealed(&angela)),
        ]);
        parameters
    }

    /// Opens a request in the browser of an officer who logs in for it.
    async fn open_by_officer(&self, browser: &mut Browser) -> (String, Page) {
        self.open_by_officer_as(browser, &self.by_officer()).await
    }

    async fn open_by_officer_as(
        &self,
        browser: &mut Browser,
        parameters: &[(&'static str, String)],
    ) -> (String, Page) {
        let address = self.push(parameters).await;
        let opened = browser.get(&address).await;
        let choice = browser.follow(&opened.location).await;
        let page = match choice.body.contains("/pro/connexion") {
            true => {
                let suite = form(&[
                    ("suite", opened.location.clone()),
                    ("niveau", "identified".to_owned()),
                ]);
                browser.follow(&format!("/pro/connexion?{suite}")).await
            }
            false => choice,
        };
        (opened.location, page)
    }

    async fn last_refusal(&self) -> Option<Reason> {
        let last = self.entries().await.pop().expect("an entry");
        assert_eq!(
            (last.event, last.requester),
            (Event::Refused, Some(COMMUNE.parse().unwrap()))
        );
        last.reason
    }
}

async fn an_officer_gives_a_motive_and_a_ground_that_allows_it(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let refused = async |parameters: &[(&'static str, String)]| {
        let answer = kit.call(Method::POST, "/as/par", &form(parameters)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.json);
        let reason = answer.json["unefois_reason"].as_str().unwrap().to_owned();
        assert_eq!(
            kit.last_refusal().await.map(Reason::as_str),
            Some(reason.as_str())
        );
        reason
    };
    for motive in [
        None,
        Some(" "),
        Some("a\nb"),
        Some("\u{202e}x"),
        Some(&*"x".repeat(201)),
    ] {
        let mut parameters = kit.by_officer();
        set(&mut parameters, "motive", motive.map(str::to_owned));
        assert_eq!(refused(&parameters).await, "INVALID_REQUEST", "{motive:?}");
    }
    for basis in ["RGPD-6-1-a", "CRPA-L114-8-II"] {
        let mut parameters = kit.by_officer();
        let mut element = kit.element();
        merge(&mut element, json!({"legal_basis": basis}));
        set(
            &mut parameters,
            "authorization_details",
            Some(json!([element]).to_string()),
        );
        assert_eq!(refused(&parameters).await, "LEGAL_BLOCK", "{basis}");
    }
    for (name, value) in [
        ("subject_jwe", None),
        ("capacity", Some("self")),
        ("redirect_uri", None),
    ] {
        let mut parameters = kit.by_officer();
        set(&mut parameters, name, value.map(str::to_owned));
        assert_eq!(refused(&parameters).await, "INVALID_REQUEST", "{name}");
    }
    // Nobody logs in who could show which of two namesakes is meant.
    let whole = json!({
        "family_name": "Dubois", "given_names": ["Angela", "Claire", "Louise"], "birthdate": "1962-08-24",
        "gender": "female", "birthplace": "75107", "birthcountry": "99100"
    });
    for (name, value) in [
        ("birthdate", json!("1962-08-00")),
        ("birthdate", json!("1962-00-00")),
        ("gender", json!("unspecified")),
        ("given_names", json!([])),
        ("birthplace", json!("")),
    ] {
        let mut subject = json!({ "person": whole.clone() });
        subject["person"][name] = value.clone();
        let mut parameters = kit.by_officer();
        set(&mut parameters, "subject_jwe", Some(kit.sealed(&subject)));
        assert_eq!(refused(&parameters).await, "INVALID_REQUEST", "{name} {value}");
    }
    let mut parameters = kit.parameters();
    parameters.push(("motive", "guichet".to_owned()));
    assert_eq!(
        refused(&parameters).await,
        "INVALID_REQUEST",
        "a person needs none"
    );
    kit.stop().await;
}

async fn an_officer_of_another_body_or_a_person_asks_for_nobody(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let mut person = kit.browser();
    person.follow("/fc/connexion").await;
    let address = kit.push(&kit.by_officer()).await;
    let opened = person.get(&address).await;
    let page = person.follow(&opened.location).await;
    assert!(!page.body.contains(r#"name="choix""#), "{}", page.body);
    // The token of this session's forms, from a page that has one.
    let csrf = person.get("/autorisations").await.csrf();
    let posted = format!("csrf={csrf}&choix=recuperer");
    let refused = person.post(&opened.location, &posted).await;
    assert_eq!(refused.parameter("code"), None, "{}", refused.location);
    let as_a_person = opened.location.replace("/agent/", "/demande/");
    let refused = person.post(&as_a_person, &posted).await;
    assert_eq!(refused.parameter("code"), None, "{}", refused.location);

    // Of the authority's own body.
    kit.pro.says.lock().unwrap().identity["siret"] = json!("13002526500013");
    let (_, page) = kit.open_by_officer(&mut kit.browser()).await;
    assert_eq!(page.status, StatusCode::FORBIDDEN, "{}", page.body);
    assert_eq!(kit.last_refusal().await, Some(Reason::NotEntitled));
    assert!(!kit.events().await.contains(&Event::Granted));
    kit.stop().await;
}

async fn an_officer_who_left_mints_nothing(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let mut browser = kit.browser();
    let (address, page) = kit.open_by_officer(&mut browser).await;
    let back = browser
        .post(&address, &format!("csrf={}&choix=recuperer", page.csrf()))
        .await;
    let granted = kit.redeem(&back.parameter("code").expect("a code")).await;
    assert_eq!(granted.status, StatusCode::OK, "{}", granted.json);
    let refresh = form(&[
        ("grant_type", "refresh_token".to_owned()),
        (
            "refresh_token",
            granted.json["refresh_token"].as_str().unwrap().to_owned(),
        ),
    ]);
    assert_eq!(
        kit.call(Method::POST, "/as/token", &refresh).await.status,
        StatusCode::OK
    );

    // Whoever named the officer is no longer the directory's.
    let mut kit = kit;
    kit.publish(|d| {
        let rows = &mut d.authority.identity_providers;
        rows.retain(|row| row.officers.is_empty());
    });
    let refused = until(async || {
        let answer = kit.call(Method::POST, "/as/token", &refresh).await;
        (answer.status != StatusCode::OK).then_some(answer)
    })
    .await;
    assert_eq!(refused.json["unefois_reason"], "NOT_ENTITLED", "{}", refused.json);
    assert_eq!(kit.last_refusal().await, Some(Reason::NotEntitled));
    kit.stop().await;
}

/// Nobody tells that an officer was dismissed: who logged in that long ago is asked for again.
async fn an_officer_s_login_mints_for_twelve_hours(database: TestDatabase) {
    const LIMIT_MS: i64 = 12 * 3_600_000;
    const MINUTE_MS: i64 = 60_000;
    let kit = Kit::on(database).await;
    let mut parameters = kit.by_officer();
    let mut element = kit.element();
    let mode = json!({"kind": "standing", "max_count": 2, "min_interval_s": 2_419_200});
    merge(&mut element, json!({"mode": mode}));
    set(
        &mut parameters,
        "authorization_details",
        Some(json!([element]).to_string()),
    );
    let mut browser = kit.browser();
    let (address, page) = kit.open_by_officer_as(&mut browser, &parameters).await;
    let back = browser
        .post(&address, &format!("csrf={}&choix=recuperer", page.csrf()))
        .await;
    let granted = kit.redeem(&back.parameter("code").expect("a code")).await;
    assert_eq!(granted.status, StatusCode::OK, "{}", granted.json);
    let refresh = form(&[
        ("grant_type", "refresh_token".to_owned()),
        (
            "refresh_token",
            granted.json["refresh_token"].as_str().unwrap().to_owned(),
        ),
    ]);
    let refreshed = async || kit.call(Method::POST, "/as/token", &refresh).await;

    kit.clock.pass(LIMIT_MS - MINUTE_MS);
    let minted = refreshed().await;
    assert_eq!(minted.status, StatusCode::OK, "{}", minted.json);
    kit.clock.pass(2 * MINUTE_MS);
    let before = kit.entries().await.len();
    let refused = refreshed().await;
    assert_eq!(refused.json["unefois_reason"], "NOT_ENTITLED", "{}", refused.json);
    let entries = kit.entries().await.split_off(before);
    let told: Vec<_> = entries.iter().map(|e| (e.event, e.reason, e.requester)).collect();
    let commune = Some(COMMUNE.parse().unwrap());
    assert_eq!(told, [(Event::Refused, Some(Reason::NotEntitled), commune)]);
    kit.stop().await;
}

async fn i12_what_an_officer_asked_is_the_person_s_to_see_with_the_motive(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let mut officer = kit.browser();
    let (address, page) = kit.open_by_officer(&mut officer).await;
    for words in [
        "Angela Claire Louise Dubois",
        MOTIVE,
        "verra cet échange dans son historique",
        "21",
    ] {
        assert!(page.body.contains(words), "{words}: {}", page.body);
    }
    let back = officer
        .post(&address, &format!("csrf={}&choix=recuperer", page.csrf()))
        .await;
    assert_eq!(
        back.parameter("state").as_deref(),
        Some("state-of-the-back-office")
    );
    let again = officer
        .post(&address, &format!("csrf={}&choix=recuperer", page.csrf()))
        .await;
    assert_eq!(again.parameter("code"), None, "once");
    let granted = kit.redeem(&back.parameter("code").expect("a code")).await;
    assert_eq!(granted.status, StatusCode::OK, "{}", granted.json);
    let claims = kit.claims(granted.json["access_token"].as_str().unwrap());
    assert_eq!(
        (claims.capacity, claims.motive.as_deref()),
        (Capacity::Agent, Some(MOTIVE))
    );
    assert_eq!(claims.client_id, COMMUNE.parse().unwrap());
    let text = serde_json::to_string(&claims).unwrap();
    assert!(
        !text.contains("EXEMPLE") && !text.to_uppercase().contains("DUBOIS"),
        "I6: {text}"
    );
    let entries = kit.entries().await;
    let entry = entries
        .iter()
        .find(|entry| entry.event == Event::Granted)
        .expect("an entry");
    assert_eq!(entry.capacity, Some(Capacity::Agent));
    assert!(entry.evidence_commit.is_some(), "it commits to the motive");

    // The person comes for the first time.
    *kit.provider.says.lock().unwrap() = Says::default();
    let mut person = kit.browser();
    person.follow("/fc/connexion").await;
    let list = person.get("/autorisations").await;
    assert!(
        list.body.contains("par un agent") && list.body.contains(MOTIVE),
        "{}",
        list.body
    );
    let id = granted.json["grant_id"].as_str().unwrap();
    let detail = person.get(&format!("/autorisations/{id}")).await;
    assert!(detail.body.contains(MOTIVE), "{}", detail.body);

    // The receipt says that they were not asked, by whom it was, why, and what that officer read.
    let (receipt, file) = kit.receipt(&mut person, id).await;
    assert_eq!(
        (receipt.privacy_notice, receipt.privacy_notice_unknown),
        (None, false)
    );
    let asked = receipt.asked_without_person.expect("they were not asked");
    assert_eq!(
        (asked.decided_by, asked.party_id, asked.motive.as_deref()),
        (DecidedBy::Officer, COMMUNE.parse().unwrap(), Some(MOTIVE))
    );
    let shown = asked.shown_to_officer.expect("the officer's page").text;
    for words in [
        "verra cet échange dans son historique",
        MOTIVE,
        "2026-0412",
        "Récupérer ces informations",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let file = file.to_string();
    for name in ["Dubois", "DUBOIS", "1962", "EXEMPLE", "csrf"] {
        assert!(!file.contains(name), "{name}: {file}");
    }
    kit.stop().await;
}
