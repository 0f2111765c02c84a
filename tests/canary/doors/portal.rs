//! What browsers may not ask of the portal, and what a provider may not answer.

use http::{Method, StatusCode};
use kit::canary::Canaries;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use unefois::demo::browser::{Browser, Page};
use unefois::demo::persona::Persona;
use unefois::demo::world::{CNAF, LYON, LYON_BACK};

use super::{Places, Told, push};
use crate::participant::{Element, Participant, VERIFIER, pushed};
use crate::person::Person;

/// Logs `persona` in; where the browser ends.
pub(crate) async fn log_in(browser: &mut Browser, places: &Places, persona: &Persona) -> Page {
    let start = format!("{}/fc/connexion?suite=/autorisations", places.portal);
    let provider = browser.open(&start, "").await.unwrap();
    let query = provider.hidden("query").unwrap();
    let fields = [("query", query.as_str()), ("persona", persona.key)];
    browser.submit(&provider, "/login", &fields, "").await.unwrap()
}

/// Every page that is refused to somebody who is logged in.
pub(crate) async fn pages(browser: &mut Browser, places: &Places, canaries: &mut Canaries, told: &mut Told) {
    let portal = &places.portal;
    for path in [
        "/{c}?{c}={c}",
        "/{c}/{c}",
        "/{c}/connexion?suite=/{c}",
        "/{c}/retour?code={c}&state={c}&iss={c}",
        "/autorisations/{c}?{c}",
        "/autorisations/{c}/arreter?{c}",
        "/autorisations/{c}/arretee?{c}",
        "/preuve/{c}?{c}",
        "/preuve/{c}/recu.json?{c}",
        "/static/{c}?{c}",
        "/fc/connexion?suite=https://{c}.example/",
        "/fc/connexion?niveau={c}",
        "/connexion?suite=/&suite={c}",
        "/fc/retour?error={c}&error_description={c}&state={c}",
        "/fc/retour?code={c}&state={c}&iss={c}",
        "/as/authorize?client_id={c}&request_uri={c}",
        "/as/authorize?client_id={LYON}&request_uri=urn:ietf:params:oauth:request_uri:{c}",
        "/historique?du={c}&du={c}",
        "/historique.csv?au={c}&au={c}",
        "/demo/{c}",
    ] {
        let place = path.replace("{LYON}", LYON).replace("{c}", &canaries.plant(path));
        let page = browser.open(&format!("{portal}{place}"), "").await.unwrap();
        told.answer(path, page.status, &page.body);
    }
    // Ended requests have a page of their own.
    let ended = canaries.plant("a request's name");
    let page = browser
        .open(&format!("{portal}/demande/{ended}"), "")
        .await
        .unwrap();
    told.page(&page.body);

    let home = browser
        .open(&format!("{portal}/autorisations"), "")
        .await
        .unwrap();
    for path in [
        "/deconnexion",
        "/demande/{c}",
        "/demande/{c}/autre",
        "/autorisations/{c}/arreter",
    ] {
        let value = canaries.plant(path);
        let fields = [("csrf", value.as_str()), ("choix", &value), (&value, "x")];
        let page = browser
            .submit(&home, &path.replace("{c}", &value), &fields, "")
            .await
            .unwrap();
        told.answer(path, page.status, &page.body);
    }

    let mut canary = |field: &str| canaries.plant(field);
    for body in [
        canary("a persona that is no JSON"),
        json!({"provider": canary("provider"), "sub": canary("a persona's sub"), "acr": "eidas1", "pivot": pivot()}).to_string(),
        json!({"provider": "fc", "sub": "s", "acr": canary("acr"), "pivot": pivot()}).to_string(),
        json!({"provider": "fc", "sub": "s", "acr": "eidas1", canary("a member of a persona"): 1}).to_string(),
        json!({"provider": "fc", "sub": "s", "acr": "eidas1", "pivot": {"family_name": [canary("a list of names")]}}).to_string(),
        json!({"provider": "fc", "sub": "s", "acr": "eidas1", "pivot": {"birthdate": canary("a persona's birthdate")}}).to_string(),
        json!({"provider": "fc", "sub": "s", "acr": "eidas1", "pivot": {"gender": canary("a persona's gender")}}).to_string(),
        json!({"provider": "fc", "sub": "s", "acr": "eidas1", "pivot": {canary("a member of a pivot"): 1}}).to_string(),
    ] {
        let answer = post_json(places.port, "/demo/persona", &body).await;
        told.answer("/demo/persona", answer.0, &answer.1);
    }
    let (status, body) = post_json(
        places.port,
        &format!("/{}?{}", canary("a path"), canary("a query")),
        "{}",
    )
    .await;
    told.answer("a POST to nothing", status, &body);
}

fn pivot() -> serde_json::Value {
    json!({"family_name": "X", "given_names": ["X"], "birthdate": "1980-01-01", "gender": "male"})
}

/// What the provider may not say at the callback of a login that was begun, and whom it may not assert.
pub(crate) async fn callback(places: &Places, spoilt: &[Persona], canaries: &mut Canaries, told: &mut Told) {
    let portal = &places.portal;
    for answer in [
        "error=access_denied&error_description={c}",
        "error={c}&error_description={c}",
        "code={c}",
        "code={c}&iss=https://{c}.example",
        "{c}={c}",
    ] {
        let mut browser = Browser::default();
        let start = format!("{portal}/fc/connexion?suite=/autorisations");
        let provider = browser.open(&start, &places.provider).await.unwrap();
        let state = provider.parameter("state").unwrap();
        canaries.watch("the state of a login", &state);
        let answer = answer.replace("{c}", &canaries.plant(answer));
        let page = browser
            .open(&format!("{portal}/fc/retour?{answer}&state={state}"), "")
            .await
            .unwrap();
        told.page(&page.body);
    }
    for persona in spoilt {
        let page = log_in(&mut Browser::default(), places, persona).await;
        assert_eq!(page.url.path(), "/connexion", "{} is logged in", persona.key);
        told.page(&page.body);
    }
}

/// Somebody else, before what is not theirs.
pub(crate) async fn others(
    lyon: &Participant,
    places: &Places,
    person: &Person,
    other: &Person,
    element: &Element,
    canaries: &mut Canaries,
    told: &mut Told,
) {
    let mut browser = Browser::default();
    log_in(&mut browser, places, &other.persona).await;
    for page in ["", "/arreter", "/arretee"] {
        let url = format!("{}/autorisations/{}{page}", places.portal, element.grant_id);
        let page = browser.open(&url, "").await.unwrap();
        told.answer("another's grant", page.status, &page.body);
    }
    let dossier = canaries.plant("a dossier");
    let url = push(lyon, places, &pushed(&person.persona, &dossier)).await;
    let page = browser.open(&url, LYON_BACK).await.unwrap();
    assert!(!page.body.contains("name=\"choix\""), "another person may grant");
    told.page(&page.body);
}

/// The person stops a grant; what was given under it opens nothing any more.
pub(crate) async fn withdrawn(
    lyon: &Participant,
    browser: &mut Browser,
    places: &Places,
    element: &Element,
    code: &str,
    told: &mut Told,
) {
    let url = format!("{}/autorisations/{}/arreter", places.portal, element.grant_id);
    let ask = browser.open(&url, "").await.unwrap();
    let csrf = ask.hidden("csrf").unwrap();
    let done = browser
        .submit(&ask, ask.url.path(), &[("csrf", &csrf)], "")
        .await
        .unwrap();
    assert!(done.status.is_success(), "{}", done.body);
    told.status("a withdrawn handle", lyon.fetch(CNAF, element.request()).await);
    let refresh = [
        ("client_id", LYON),
        ("grant_type", "refresh_token"),
        ("refresh_token", element.refresh_token.as_str()),
    ];
    let (status, body) = lyon.call(Method::POST, "/as/token", &refresh).await;
    told.answer("a withdrawn grant", status, &body);
    let again = [
        ("client_id", LYON),
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", LYON_BACK),
        ("code_verifier", VERIFIER),
    ];
    let (status, body) = lyon.call(Method::POST, "/as/token", &again).await;
    told.answer("a code that served", status, &body);
}

/// Posts what browsers never send; the status and the whole answer.
async fn post_json(port: u16, path: &str, body: &str) -> (StatusCode, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost:{port}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer)
}
