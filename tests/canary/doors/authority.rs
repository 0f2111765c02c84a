//! The authority's back channel, and the browser's way to a grant.

use http::{Method, StatusCode};
use kit::canary::Canaries;
use serde_json::{Value, json};
use unefois::demo::browser::Browser;
use unefois::demo::persona::Persona;
use unefois::demo::world::{AUTHORITY, CNAF, LYON, LYON_BACK};
use unefois_proto::pb::ledger::v1::ledger_service_client::LedgerServiceClient;
use unefois_proto::pb::ledger::v1::{GetConsistencyRequest, ListEntriesRequest};
use unefois_proto::pb::revocation::v1::revocation_service_client::RevocationServiceClient;
use unefois_proto::pb::revocation::v1::watch_request::Message;
use unefois_proto::pb::revocation::v1::{Open, WatchRequest};

use super::{Places, Told};
use crate::participant::{Element, Participant, VERIFIER, pairs, pushed};

/// A grant of `person`'s, logged in in `browser`, for both producers: the element at `producer`.
pub(crate) async fn grant(
    lyon: &Participant,
    browser: &mut Browser,
    places: &Places,
    person: &Persona,
    dossier: &str,
    canaries: &mut Canaries,
) -> (Element, String) {
    let page = browser
        .open(&push(lyon, places, &pushed(person, dossier)).await, LYON_BACK)
        .await
        .unwrap();
    let csrf = page.hidden("csrf").unwrap();
    canaries.watch("a CSRF token", &csrf);
    let fields = [("csrf", csrf.as_str()), ("choix", "recuperer")];
    let action = page.url.path().to_owned();
    let back = browser.submit(&page, &action, &fields, LYON_BACK).await.unwrap();
    let code = back.parameter("code").unwrap();
    canaries.watch("a code", &code);
    let form = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", LYON_BACK),
        ("code_verifier", VERIFIER),
        ("resource", CNAF),
        ("client_id", LYON),
    ];
    let element = lyon.token(&form).await;
    element.watch(canaries);
    (element, code)
}

/// Pushes a request; where the browser goes.
pub(crate) async fn push(
    lyon: &Participant,
    places: &Places,
    parameters: &[(&'static str, String)],
) -> String {
    let (status, body) = lyon.call(Method::POST, "/as/par", &pairs(parameters)).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("client_id", LYON)
        .append_pair("request_uri", answer["request_uri"].as_str().unwrap())
        .finish();
    format!("{}/as/authorize?{query}", places.portal)
}

/// Everything that the back channel refuses.
pub(crate) async fn back_channel(
    lyon: &Participant,
    person: &Persona,
    canaries: &mut Canaries,
    told: &mut Told,
) {
    let good = pushed(person, &canaries.plant("a refused dossier"));
    for (spoilt, value) in spoilt(&good, canaries) {
        let mut parameters = good.clone();
        parameters.retain(|(name, _)| *name != spoilt);
        parameters.push((spoilt, value));
        let (status, body) = lyon.call(Method::POST, "/as/par", &pairs(&parameters)).await;
        told.answer(spoilt, status, &body);
    }
    let mut twice = good.clone();
    twice.push(("state", canaries.plant("a second state")));
    let (status, body) = lyon.call(Method::POST, "/as/par", &pairs(&twice)).await;
    told.answer("a parameter twice", status, &body);

    let mut canary = |field: &str| canaries.plant(field);
    for (name, value) in [
        ("grant_type", canary("grant_type")),
        ("code", canary("a wrong code")),
        ("redirect_uri", canary("a wrong redirect_uri")),
        ("code_verifier", canary("a wrong verifier")),
        ("resource", canary("resource")),
        ("gh", canary("gh")),
        ("client_id", canary("client_id")),
    ] {
        let mut form = vec![
            ("client_id", LYON),
            ("grant_type", "authorization_code"),
            ("code", "unknown"),
            ("redirect_uri", LYON_BACK),
            ("code_verifier", VERIFIER),
        ];
        form.retain(|(known, _)| *known != name);
        form.push((name, &value));
        let (status, body) = lyon.call(Method::POST, "/as/token", &form).await;
        told.answer(name, status, &body);
    }
    let refresh = canary("a wrong refresh token");
    let form = [
        ("client_id", LYON),
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh.as_str()),
    ];
    let (status, body) = lyon.call(Method::POST, "/as/token", &form).await;
    told.answer("refresh_token", status, &body);
    for method in [Method::GET, Method::DELETE] {
        let path = format!(
            "/as/grants/{}?client_id={}",
            canary("a wrong grant"),
            canary("a query")
        );
        let (status, body) = lyon.call(method, &path, &[]).await;
        told.answer("/as/grants", status, &body);
    }
    for path in ["/as/par", "/as/token", "/as/revoke", "/directory"] {
        let path = format!("{path}/{}?{}", canary("a path"), canary("a query"));
        let (status, body) = lyon
            .call(Method::POST, &path, &[(&canary("a member"), "x")])
            .await;
        told.answer("a path that is none", status, &body);
    }

    let mut ledger = LedgerServiceClient::new(lyon.channel(AUTHORITY));
    let origin = canary("an origin");
    let request = ListEntriesRequest {
        origin: origin.clone(),
        ..Default::default()
    };
    told.status("ListEntries", ledger.list_entries(request).await);
    let request = GetConsistencyRequest {
        origin,
        ..Default::default()
    };
    told.status("GetConsistency", ledger.get_consistency(request).await);
    let open = WatchRequest {
        message: Some(Message::Open(Open {
            origin: canary("an origin of a lease"),
            ..Default::default()
        })),
    };
    let mut revocation = RevocationServiceClient::new(lyon.channel(AUTHORITY));
    let watched = async {
        let mut stream = revocation.watch(tokio_stream::iter([open])).await?.into_inner();
        while stream.message().await?.is_some() {}
        Ok(())
    };
    told.status("Watch", watched.await);
}

/// Each parameter of a good request with what it may not be.
fn spoilt(good: &[(&'static str, String)], canaries: &mut Canaries) -> Vec<(&'static str, String)> {
    let mut spoilt: Vec<(&str, String)> = Vec::new();
    for (name, _) in good {
        // The state is the client's own.
        if *name != "state" {
            spoilt.push((name, canaries.plant(name)));
        }
    }
    spoilt.push(("state", format!("{}\u{e9}", canaries.plant("state"))));
    for name in ["request", "request_uri", "subject_unbound"] {
        spoilt.push((name, canaries.plant(name)));
    }
    let check = json!({ "salt": canaries.plant("salt"), "hmac": canaries.plant("hmac") });
    spoilt.push(("subject_check", check.to_string()));
    let elements = &good
        .iter()
        .find(|(name, _)| *name == "authorization_details")
        .unwrap()
        .1;
    let elements: Value = serde_json::from_str(elements).unwrap();
    let members: Vec<String> = elements[0].as_object().unwrap().keys().cloned().collect();
    for member in members.iter().filter(|member| *member != "dossier_ref") {
        let mut wrong = elements.clone();
        wrong[0][member] = canaries.plant(&format!("authorization_details.{member}")).into();
        spoilt.push(("authorization_details", wrong.to_string()));
        wrong[0][member] = json!([canaries.plant(&format!("authorization_details.{member}[]"))]);
        spoilt.push(("authorization_details", wrong.to_string()));
    }
    let mut long = elements;
    let dossier = canaries.plant("a long dossier");
    long[0]["dossier_ref"] = dossier.repeat(8).into();
    spoilt.push(("authorization_details", long.to_string()));
    spoilt.push((
        "authorization_details",
        format!("[{{\"units\": {}", canaries.plant("broken JSON")),
    ));
    spoilt
}
