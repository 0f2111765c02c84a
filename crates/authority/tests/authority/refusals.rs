//! What consumers may not ask, and how they are told.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use unefois_core::{Event, Reason};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::kit::{COMMUNE, CROUS, Kit, Publisher, form, merge, redeem, set, until};

both_databases![
    i4_no_more_than_may_be_asked,
    i8_each_refusal_of_a_known_client_is_in_the_ledger,
    a_code_that_comes_twice_ends_its_grant,
    a_publisher_uses_nothing_that_another_obtained,
    a_publisher_that_a_tenant_does_not_list_is_refused_and_recorded,
    a_request_uri_serves_once_one_client_and_nothing_beside_it
];

/// The error and the reason of a refused PAR.
async fn refused(kit: &Kit, name: &'static str, value: Option<String>) -> (String, String, String) {
    let mut parameters = kit.parameters();
    set(&mut parameters, name, value);
    let answer = kit.call(Method::POST, "/as/par", &form(&parameters)).await;
    assert!(
        answer.status.is_client_error(),
        "{name} was taken: {}",
        answer.json
    );
    assert_eq!(answer.headers["cache-control"], "no-store");
    let text = |member: &str| answer.json[member].as_str().unwrap_or_default().to_owned();
    (text("error"), text("error_description"), text("unefois_reason"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pushed_request_names_what_is_wrong() {
    let kit = Kit::new().await;
    for (name, value) in [
        ("response_type", Some("token")),
        ("response_type", None),
        ("redirect_uri", Some("https://commune.example/retour")),
        ("redirect_uri", Some("https://evil.example/")),
        ("redirect_uri", None),
        ("state", None),
        ("state", Some("a\r\nb")),
        ("code_challenge", Some("short")),
        ("code_challenge", None),
        ("code_challenge_method", Some("plain")),
        ("request_uri", Some("urn:x")),
        ("request", Some("e30.e30.")),
        ("subject_check", None),
        ("subject_check", Some("{}")),
        ("subject_unbound", Some("parce que")),
        ("authorization_details", None),
    ] {
        let (error, text, reason) = refused(&kit, name, value.map(str::to_owned)).await;
        assert_eq!(
            (error.as_str(), reason.as_str()),
            ("invalid_request", "INVALID_REQUEST"),
            "{name}"
        );
        assert!(
            text.contains(name) || text.contains("subject_check"),
            "{name}: {text}"
        );
    }
    let mut twice = kit.parameters();
    twice.push(("state", "again".to_owned()));
    let answer = kit.call(Method::POST, "/as/par", &form(&twice)).await;
    assert_eq!(answer.json["error"], "invalid_request");
    kit.stop().await;
}

async fn i4_no_more_than_may_be_asked(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let spoil = |more: Value| {
        let mut element = kit.element();
        merge(&mut element, more);
        json!([element]).to_string()
    };
    let unit = |name: &str, need: &str| json!({"units": [{"unit": "valeur", "need": "required"}, {"unit": name, "need": need}]});
    let nine = json!(vec![kit.element(); 9]).to_string();
    for (details, path, reason) in [
        (
            spoil(json!({"extra": 1})),
            "authorization_details[0].extra",
            "INVALID_REQUEST",
        ),
        (nine, "authorization_details", "INVALID_REQUEST"),
        ("[]".to_owned(), "authorization_details", "INVALID_REQUEST"),
        (
            spoil(unit("adresse", "optional")),
            "authorization_details[0].units[1].unit",
            "NOT_ENTITLED",
        ),
        (
            spoil(unit("composition", "required")),
            "authorization_details[0].units[1].need",
            "INVALID_REQUEST",
        ),
        (
            spoil(json!({"habilitation": "DP-9"})),
            "authorization_details[0].habilitation",
            "NOT_ENTITLED",
        ),
        (
            spoil(json!({"demarche": "bourse"})),
            "authorization_details[0].demarche",
            "NOT_ENTITLED",
        ),
        (
            spoil(json!({"legal_basis": "RGPD-6-1-a"})),
            "authorization_details[0].legal_basis",
            "LEGAL_BLOCK",
        ),
        (
            spoil(json!({"data_life_days": 9999})),
            "authorization_details[0].data_life_days",
            "INVALID_REQUEST",
        ),
    ] {
        let (error, text, told) = refused(&kit, "authorization_details", Some(details)).await;
        assert_eq!(
            (error.as_str(), told.as_str()),
            ("invalid_authorization_details", reason),
            "{path}"
        );
        assert!(text.starts_with(path), "{text}");
    }
    for (name, value) in [
        ("way", "telepathy"),
        ("capacity", "agent"),
        ("capacity", "automatic"),
    ] {
        let (_, _, reason) = refused(&kit, name, Some(value.to_owned())).await;
        assert_eq!(reason, "INVALID_REQUEST", "{name}={value}");
    }
    kit.stop().await;
}

async fn i8_each_refusal_of_a_known_client_is_in_the_ledger(database: TestDatabase) {
    let kit = Kit::on(database).await;
    refused(&kit, "redirect_uri", Some("https://evil.example/".to_owned())).await;
    let entries = kit.entries().await;
    let last = entries.last().expect("an entry");
    assert_eq!(
        (last.event, last.reason),
        (Event::Refused, Some(Reason::InvalidRequest))
    );
    assert_eq!(last.requester, Some(COMMUNE.parse().unwrap()));
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_speaks_for_another_client() {
    let kit = Kit::new().await;
    let answer = kit.call_as_crous("/as/par", &form(&kit.parameters())).await;
    assert_eq!(
        (answer.status, answer.json["error"].as_str()),
        (StatusCode::BAD_REQUEST, Some("invalid_client"))
    );

    let mut browser = kit.browser();
    let code = kit.grant(&mut browser, &kit.parameters(), "").await;
    let stolen = kit.call_as_crous("/as/token", &redeem(&code)).await;
    assert_eq!(stolen.json["error"], "invalid_grant");
    let asked = format!("{}&client_id={CROUS}", redeem(&code));
    let stolen = kit.call(Method::POST, "/as/token", &asked).await;
    assert_eq!(stolen.json["error"], "invalid_client");
    // The right client still gets it: nobody else can use a code up.
    assert_eq!(kit.redeem(&code).await.status, StatusCode::OK);
    kit.stop().await;
}

async fn a_publisher_uses_nothing_that_another_obtained(database: TestDatabase) {
    let kit = Kit::with(database, |directory, _| {
        let cnaf = directory["participants"][3]["id"].clone();
        directory["participants"][1]["publishers"] = json!([CROUS, cnaf]);
    })
    .await;
    let call = |which, method, path: &str, more: &[(&str, String)]| {
        let form = form(&[&[("client_id", COMMUNE.to_owned())], more].concat());
        let path = path.to_owned();
        let kit = &kit;
        async move { kit.call_as_publisher(which, method, &path, &form).await }
    };
    let code = kit.grant_through(Publisher::Crous, &mut kit.browser()).await;
    let code: Vec<_> = code.into_iter().filter(|p| p.0 != "client_id").collect();

    let (first, second) = (Publisher::Crous, Publisher::Cnaf);
    let invalid = ("invalid_grant", Reason::TokenInvalid);
    let before = kit.entries().await.len();
    let stolen = call(second, Method::POST, "/as/token", &code).await;
    kit.assert_refused(before, &stolen, invalid, "another publisher")
        .await;
    let own = kit.call(Method::POST, "/as/token", &form(&code)).await;
    kit.assert_refused(before + 1, &own, invalid, "the client itself did not ask")
        .await;
    let given = call(first, Method::POST, "/as/token", &code).await;
    assert_eq!(given.status, StatusCode::OK, "{}", given.json);

    let text = |member: &str| given.json[member].as_str().unwrap().to_owned();
    let refresh = [
        ("grant_type", "refresh_token".to_owned()),
        ("refresh_token", text("refresh_token")),
    ];
    let before = kit.entries().await.len();
    let stolen = call(second, Method::POST, "/as/token", &refresh).await;
    kit.assert_refused(before, &stolen, invalid, "another publisher")
        .await;
    let path = format!("/as/grants/{}", text("grant_id"));
    for method in [Method::GET, Method::DELETE] {
        let before = kit.entries().await.len();
        let answer = call(second, method, &path, &[]).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        kit.assert_recorded(before, &kit.cnaf, Reason::TokenInvalid, &path)
            .await;
    }
    let token = [("token", text("refresh_token"))];
    assert_eq!(
        call(second, Method::POST, "/as/revoke", &token).await.status,
        StatusCode::OK,
        "as for any unknown token"
    );
    let again = call(first, Method::POST, "/as/token", &refresh).await;
    assert_eq!(
        again.status,
        StatusCode::OK,
        "nothing was withdrawn: {}",
        again.json
    );
    assert_eq!(
        call(first, Method::GET, &path, &[]).await.json["authorization_details"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    kit.stop().await;
}

async fn a_publisher_that_a_tenant_does_not_list_is_refused_and_recorded(database: TestDatabase) {
    let mut kit = Kit::with(database, |directory, _| {
        directory["participants"][1]["publishers"] = json!([CROUS]);
    })
    .await;
    let refused = async |kit: &Kit, path: &str, form: &str| {
        let answer = kit
            .call_as_publisher(Publisher::Crous, Method::POST, path, form)
            .await;
        assert_eq!(
            (answer.status, answer.json["error"].as_str()),
            (StatusCode::BAD_REQUEST, Some("invalid_client")),
            "{path}"
        );
        let entries = kit.entries().await;
        let last = entries.last().unwrap();
        assert_eq!(
            (last.event, last.reason, last.requester, last.publisher),
            (
                Event::Refused,
                Some(Reason::NotEntitled),
                Some(CROUS.parse().unwrap()),
                None
            ),
            "{path}"
        );
    };
    // Delegated when it asked and was given a refresh token, and not any more.
    let code = kit.grant_through(Publisher::Crous, &mut kit.browser()).await;
    let given = kit
        .call_as_publisher(Publisher::Crous, Method::POST, "/as/token", &form(&code))
        .await;
    assert_eq!(given.status, StatusCode::OK, "{}", given.json);
    assert_eq!(
        kit.entries().await.last().unwrap().publisher,
        Some(CROUS.parse().unwrap())
    );
    let claims = kit.claims(given.json["access_token"].as_str().unwrap());
    assert_eq!(claims.act_client, Some(CROUS.parse().unwrap()));
    kit.publish(|document| document.participants[1].publishers.clear());
    let asked = form(&kit.parameters());
    until(async || {
        let answer = kit.call_as_publisher(Publisher::Crous, Method::POST, "/as/par", &asked);
        (answer.await.status != StatusCode::CREATED).then_some(())
    })
    .await;

    refused(&kit, "/as/par", &form(&kit.parameters())).await;
    let refresh = [
        ("grant_type", "refresh_token".to_owned()),
        (
            "refresh_token",
            given.json["refresh_token"].as_str().unwrap().to_owned(),
        ),
        ("client_id", COMMUNE.to_owned()),
    ];
    refused(&kit, "/as/token", &form(&refresh)).await;
    refused(&kit, "/as/revoke", &form(&refresh)).await;
    refused(&kit, "/as/par", "client_id=nobody").await;
    kit.stop().await;
}

async fn a_request_uri_serves_once_one_client_and_nothing_beside_it(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let address = kit.push(&kit.parameters()).await;
    let mut browser = kit.browser();
    let more = browser.get(&format!("{address}&scope=openid")).await;
    assert_eq!(more.status, StatusCode::BAD_REQUEST);
    let other = browser
        .get(&address.replace("21920023500014", "13000495500014"))
        .await;
    assert_eq!(other.status, StatusCode::BAD_REQUEST);
    let unknown = browser
        .get(&format!("/as/authorize?client_id={COMMUNE}&request_uri=urn:x"))
        .await;
    assert_eq!(unknown.status, StatusCode::BAD_REQUEST);

    let first = browser.get(&address).await;
    assert_eq!(first.status, StatusCode::SEE_OTHER);
    assert_eq!(browser.get(&address).await.status, StatusCode::BAD_REQUEST);
    // The opened request belongs to the browser that opened it.
    let mut other = browser.without_cookies();
    let page = other.follow(&first.location).await;
    assert!(!page.body.contains("Clamart"), "{}", page.body);
    kit.stop().await;
}

async fn a_code_that_comes_twice_ends_its_grant(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let mut browser = kit.browser();
    let code = kit.grant(&mut browser, &kit.parameters(), "").await;
    let first = kit.redeem(&code).await;
    let again = kit.redeem(&code).await;
    assert_eq!(
        (again.status, again.json["error"].as_str()),
        (StatusCode::BAD_REQUEST, Some("invalid_grant"))
    );
    let refresh = form(&[
        ("grant_type", "refresh_token".to_owned()),
        (
            "refresh_token",
            first.json["refresh_token"].as_str().unwrap().to_owned(),
        ),
    ]);
    let refused = kit.call(Method::POST, "/as/token", &refresh).await;
    assert_eq!(refused.json["unefois_reason"], "GRANT_REVOKED");
    assert!(kit.events().await.contains(&Event::Withdrawn));
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_needs_its_verifier_and_its_address() {
    let kit = Kit::new().await;
    let mut browser = kit.browser();
    for (name, value) in [
        ("code_verifier", "another-verifier-of-forty-three-characters-x"),
        ("redirect_uri", "https://commune.example/retour"),
        ("code", "unknown"),
    ] {
        let code = kit.grant(&mut browser, &kit.parameters(), "").await;
        let spoiled = redeem(&code);
        let spoiled: String = url::form_urlencoded::parse(spoiled.as_bytes())
            .map(|(k, v)| {
                (
                    k.clone().into_owned(),
                    if k == name {
                        value.to_owned()
                    } else {
                        v.into_owned()
                    },
                )
            })
            .fold(
                url::form_urlencoded::Serializer::new(String::new()),
                |mut form, (k, v)| {
                    form.append_pair(&k, &v);
                    form
                },
            )
            .finish();
        let before = kit.entries().await.len();
        let answer = kit.call(Method::POST, "/as/token", &spoiled).await;
        let expected = ("invalid_grant", Reason::TokenInvalid);
        // A code in other hands ends its grant.
        let withdrawn = usize::from(name != "code");
        kit.assert_refused(before + withdrawn, &answer, expected, name)
            .await;
    }
    let code = kit.grant(&mut browser, &kit.parameters(), "").await;
    let elsewhere = format!("{}&resource={COMMUNE}", redeem(&code));
    let answer = kit.call(Method::POST, "/as/token", &elsewhere).await;
    assert_eq!(answer.json["error"], "invalid_target");
    // No token came of it, and what was wrong can be put right.
    assert_eq!(kit.redeem(&code).await.status, StatusCode::OK);
    let before = kit.entries().await.len();
    let other = kit
        .call(Method::POST, "/as/token", "grant_type=password&username=a")
        .await;
    let expected = ("unsupported_grant_type", Reason::InvalidRequest);
    kit.assert_refused(before, &other, expected, "another grant type")
        .await;
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_is_turned_away() {
    let kit = Kit::new().await;
    let huge = format!("client_id={COMMUNE}&state={}", "x".repeat(70_000));
    let answer = kit.call(Method::POST, "/as/par", &huge).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    let mut browser = kit.browser();
    assert_eq!(browser.get("/nulle-part").await.status, StatusCode::NOT_FOUND);
    kit.stop().await;
}
