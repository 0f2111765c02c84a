//! What a person objects to being fetched without their asking.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use unefois_core::{Event, Reason};

use crate::automatic::angela;
use crate::both_databases;
use crate::browser::{Browser, Page};
use crate::database::TestDatabase;
use crate::kit::{Answer, COMMUNE, Kit, form, merge, set, until};

both_databases![
    whoever_objects_is_fetched_for_no_more_unasked,
    an_opposition_and_a_grant_at_once_leave_nothing_to_use,
    an_opposition_is_the_person_s_own_ends_and_is_prolonged_or_lifted,
    an_opposition_holds_under_another_spelling_of_its_person,
    an_opposition_holds_for_everybody_until_its_identity_was_tried_and_then_for_its_own
];

impl Kit {
    async fn logged_in(&self) -> Browser {
        let mut browser = self.browser();
        browser.follow("/fc/connexion").await;
        browser
    }

    async fn granted_unasked(&self, habilitation: &str) -> Answer {
        let request_uri = self.push_unasked(&self.unasked(habilitation)).await;
        self.present(&request_uri).await
    }

    async fn granted_to(&self, change: Value) -> Answer {
        let mut subject = angela();
        merge(&mut subject["person"], change);
        let mut parameters = self.unasked("UN-2");
        set(&mut parameters, "subject_jwe", Some(self.sealed(&subject)));
        let request_uri = self.push_unasked(&parameters).await;
        self.present(&request_uri).await
    }

    async fn refresh(&self, granted: &Answer) -> Answer {
        let refresh = form(&[
            ("grant_type", "refresh_token".to_owned()),
            (
                "refresh_token",
                granted.json["refresh_token"].as_str().unwrap().to_owned(),
            ),
        ]);
        self.call(Method::POST, "/as/token", &refresh).await
    }
}

async fn object(browser: &mut Browser, scope: &str) -> Page {
    let page = browser.get("/oppositions").await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.body);
    let posted = format!("csrf={}&portee={scope}", page.csrf());
    browser.post("/oppositions", &posted).await
}

/// The person says all first names, and half a birth date; files write less of the one and more of the other.
async fn an_opposition_holds_under_another_spelling_of_its_person(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let spellings = [
        json!({"given_names": ["Angela"]}),
        json!({"given_names": ["ANGELA-CLAIRE"], "gender": "male", "birthplace": "75056"}),
        json!({"given_names": ["Angela", "Louise"], "birthdate": "1962-01-01"}),
    ];
    let others = [
        json!({"given_names": ["Claire", "Angela"]}),
        json!({"family_name": "Duboix"}),
        json!({"birthdate": "1963-08-24"}),
    ];
    let before = kit.granted_to(spellings[0].clone()).await;
    assert_eq!(before.status, StatusCode::OK, "{}", before.json);
    kit.provider.says.lock().unwrap().identity["birthdate"] = "1962-00-00".into();
    let mut browser = kit.logged_in().await;
    let done = object(&mut browser, "tout").await;
    let page = browser.get(&done.location).await.body;
    // What the page says of a name near to hers: no access that was given outlives its minutes, and none is given again.
    let (said, _) = page
        .split_once(" minutes après votre opposition")
        .expect("the words");
    let minutes: i64 = said
        .rsplit(['\u{a0}', '\u{202f}', ' '])
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let token = kit.claims(before.json["access_token"].as_str().unwrap());
    let lapsed = unefois_core::Clock::now(&unefois_mesh::SystemClock).secs() + minutes * 60;
    assert!(
        token.exp <= lapsed && unefois_jose::access_token::USABLE_S <= minutes * 60,
        "{minutes} minutes"
    );
    for spelling in &spellings {
        let refused = kit.granted_to(spelling.clone()).await;
        assert_eq!(refused.json["unefois_reason"], "OPPOSITION", "{spelling}");
    }
    assert_eq!(
        kit.refresh(&before).await.json["unefois_reason"],
        "OPPOSITION",
        "what stood under another spelling comes to no token"
    );
    for other in others {
        let granted = kit.granted_to(other.clone()).await;
        assert_eq!(granted.status, StatusCode::OK, "{other}: {}", granted.json);
    }
    let page = browser.get("/oppositions").await;
    let lift = button(&page, "lever").expect("a button");
    browser.post(&lift, &format!("csrf={}", page.csrf())).await;
    assert_eq!(
        kit.refresh(&before).await.status,
        StatusCode::OK,
        "it was not hers to stop"
    );
    kit.stop().await;
}

/// An identity kept by an older program is found by its exact form alone until the authority has read it.
async fn an_opposition_holds_for_everybody_until_its_identity_was_tried_and_then_for_its_own(
    database: TestDatabase,
) {
    let kit = Kit::on(database).await;
    let stranger = json!({"family_name": "Mercier", "given_names": ["Marc"]});
    assert_eq!(kit.granted_to(stranger.clone()).await.status, StatusCode::OK);
    object(&mut kit.logged_in().await, "tout").await;
    assert_eq!(kit.granted_to(stranger.clone()).await.status, StatusCode::OK);
    kit.execute("UPDATE person_pivot SET near = NULL").await;
    let refused = kit.granted_to(stranger.clone()).await;
    assert_eq!(refused.json["unefois_reason"], "OPPOSITION", "{}", refused.json);

    // A start reads what can be read.
    let kit = kit.restart(|_, _| {}).await;
    until(async || {
        let answer = kit.granted_to(stranger.clone()).await;
        (answer.status == StatusCode::OK).then_some(())
    })
    .await;
    let hers = kit.granted_to(json!({"given_names": ["Angela"]})).await;
    assert_eq!(hers.json["unefois_reason"], "OPPOSITION", "{}", hers.json);

    // What cannot be read stops nobody else, and holds under the exact identity.
    let stood = kit.granted_to(stranger.clone()).await;
    assert_eq!(stood.status, StatusCode::OK, "{}", stood.json);
    kit.execute("UPDATE person_pivot SET near = NULL, sealed = digest")
        .await;
    let kit = kit.restart(|_, _| {}).await;
    until(async || {
        let answer = kit.granted_to(stranger.clone()).await;
        (answer.status == StatusCode::OK).then_some(())
    })
    .await;
    let hers = kit.granted_unasked("UN-2").await;
    assert_eq!(hers.json["unefois_reason"], "OPPOSITION", "{}", hers.json);
    assert_eq!(kit.refresh(&stood).await.status, StatusCode::OK);

    // It is kept anew at the next login of whoever it is.
    kit.logged_in().await;
    let hers = kit.granted_to(json!({"given_names": ["Angela"]})).await;
    assert_eq!(hers.json["unefois_reason"], "OPPOSITION", "{}", hers.json);
    assert_eq!(kit.granted_to(stranger).await.status, StatusCode::OK);
    kit.stop().await;
}

/// Where a button of the only opposition posts.
fn button(page: &Page, act: &str) -> Option<String> {
    let (before, _) = page.body.split_once(&format!("/{act}\""))?;
    let (_, path) = before.rsplit_once("action=\"")?;
    Some(format!("{path}/{act}"))
}

async fn whoever_objects_is_fetched_for_no_more_unasked(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let informed = kit.granted_unasked("UN-2").await;
    let checked = kit.granted_unasked("UN-1").await;
    assert_eq!(
        (informed.status, checked.status),
        (StatusCode::OK, StatusCode::OK),
        "{}",
        informed.json
    );
    assert_eq!(kit.refresh(&informed).await.status, StatusCode::OK);

    let mut browser = kit.logged_in().await;
    let nothing = object(&mut browser, "").await;
    assert_eq!(nothing.status, StatusCode::BAD_REQUEST);
    assert!(
        nothing.body.contains("Choisissez à quoi vous vous opposez"),
        "{}",
        nothing.body
    );
    let strange = object(&mut browser, "urn:unefois:participant:13002526500013").await;
    assert_eq!(
        strange.status,
        StatusCode::BAD_REQUEST,
        "nobody there fetches unasked"
    );
    let done = object(&mut browser, "tout").await;
    assert_eq!(
        (done.status, done.location.as_str()),
        (StatusCode::SEE_OTHER, "/oppositions?fait=enregistree")
    );

    // What stood is withdrawn, and what is new is refused; what a request needs goes on.
    let late = kit.refresh(&informed).await;
    assert!(
        ["GRANT_REVOKED", "OPPOSITION"].contains(&late.json["unefois_reason"].as_str().unwrap()),
        "{}",
        late.json
    );
    let new = kit.granted_unasked("UN-2").await;
    assert_eq!(
        (new.status, new.json["error"].as_str()),
        (StatusCode::FORBIDDEN, Some("access_denied"))
    );
    assert_eq!(new.json["unefois_reason"], "OPPOSITION");
    let last = kit.entries().await.pop().expect("an entry");
    assert_eq!(
        (last.event, last.reason, last.requester),
        (
            Event::Refused,
            Some(Reason::Opposition),
            Some(COMMUNE.parse().unwrap())
        )
    );
    assert_eq!(kit.refresh(&checked).await.status, StatusCode::OK);
    assert_eq!(kit.granted_unasked("UN-1").await.status, StatusCode::OK);

    let entries = kit.entries().await;
    let opposed: Vec<_> = entries
        .iter()
        .filter(|entry| entry.event == Event::Opposed)
        .collect();
    assert_eq!(opposed.len(), 1);
    assert_eq!(
        (opposed[0].requester, opposed[0].grant_commit),
        (None, None),
        "nothing leads to the person"
    );
    assert!(opposed[0].evidence_commit.is_some());
    let withdrawn = entries.iter().filter(|entry| entry.event == Event::Withdrawn);
    assert_eq!(withdrawn.count(), 1, "the information alone");

    let page = browser.get("/oppositions").await;
    assert!(
        page.body.contains("Lever l’opposition") && !page.body.contains("M’opposer"),
        "{}",
        page.body
    );
    let lift = button(&page, "lever").expect("a button");
    let lifted = browser.post(&lift, &format!("csrf={}", page.csrf())).await;
    assert_eq!(lifted.location, "/oppositions?fait=levee");
    assert_eq!(kit.granted_unasked("UN-2").await.status, StatusCode::OK);
    assert_eq!(
        kit.refresh(&informed).await.json["unefois_reason"],
        "GRANT_REVOKED",
        "what was stopped stays so"
    );
    kit.stop().await;
}

async fn an_opposition_and_a_grant_at_once_leave_nothing_to_use(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let mut browser = kit.logged_in().await;
    let page = browser.get("/oppositions").await;
    let posted = format!("csrf={}&portee={COMMUNE}", page.csrf());
    let mut requests = Vec::new();
    for _ in 0..4 {
        requests.push(kit.push_unasked(&kit.unasked("UN-2")).await);
    }
    let granting = futures_util::future::join_all(requests.iter().map(|uri| kit.present(uri)));
    let (granted, done) = tokio::join!(granting, browser.post("/oppositions", &posted));
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.body);
    let mut tokens = 0;
    for answer in &granted {
        match answer.status {
            StatusCode::OK => {
                tokens += 1;
                let late = kit.refresh(answer).await;
                assert_ne!(late.status, StatusCode::OK, "{}", late.json);
            }
            _ => assert!(
                ["OPPOSITION", "GRANT_REVOKED"].contains(&answer.json["unefois_reason"].as_str().unwrap()),
                "{}",
                answer.json
            ),
        }
    }
    // Whatever was minted before has a record that kills it.
    let withdrawn = kit
        .events()
        .await
        .into_iter()
        .filter(|event| *event == Event::Withdrawn)
        .count();
    assert!(withdrawn >= tokens, "{withdrawn} of {tokens}");
    kit.stop().await;
}

async fn an_opposition_is_the_person_s_own_ends_and_is_prolonged_or_lifted(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let mut browser = kit.browser();
    assert!(
        browser
            .get("/oppositions")
            .await
            .location
            .starts_with("/connexion")
    );
    let mut browser = kit.logged_in().await;
    let forged = browser.post("/oppositions", "csrf=x&portee=tout").await;
    assert_eq!(forged.status, StatusCode::FORBIDDEN);

    let scope = form(&[("", format!("{COMMUNE} transports-information"))]);
    object(&mut browser, scope.trim_start_matches('=')).await;
    assert_eq!(
        kit.granted_unasked("UN-2").await.json["unefois_reason"],
        "OPPOSITION"
    );
    let page = browser.get("/oppositions?lang=en").await;
    assert!(
        page.body.contains("reduced public transport fare"),
        "{}",
        page.body
    );
    let lift = button(&page, "lever").expect("a button");
    assert_eq!(button(&page, "prolonger"), None, "its end is far");

    // Somebody else's does not answer.
    kit.provider.says.lock().unwrap().identity = serde_json::json!({"family_name": "DURAND", "given_name": "Marc", "birthdate": "1970-02-03", "gender": "male"});
    let mut other = kit.logged_in().await;
    let own = other.get("/oppositions").await;
    assert!(
        own.body.contains("Aucune opposition") || own.body.contains("No objection"),
        "{}",
        own.body
    );
    let refused = other.post(&lift, &format!("csrf={}", own.csrf())).await;
    assert_eq!(refused.status, StatusCode::NOT_FOUND);
    assert_eq!(
        kit.granted_unasked("UN-2").await.json["unefois_reason"],
        "OPPOSITION"
    );
    kit.stop().await;
}
