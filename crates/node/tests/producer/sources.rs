//! The `http` source against a back end that behaves as back ends do.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use unefois_core::catalogue::Catalogue;
use unefois_core::{Clock, HolderId, SealedSubject};
use unefois_mesh::{Identity, Limits, Listener, SystemClock};
use unefois_node::producer::source::http::{CallMethod, HttpConfig, HttpSource, SecretHeader};
use unefois_node::producer::source::parameters::Parameters;
use unefois_node::producer::source::reply::Layout;
use unefois_node::producer::source::{Answer, Failure, Question, Source as _};

use crate::pki::Ca;
use crate::world::{person, producer_id};

/// What the back end saw last: query or body, and the secret header.
type Seen = Arc<std::sync::Mutex<(String, String)>>;

async fn back_end(
    State(seen): State<Seen>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: String,
) -> Response {
    let query = query.unwrap_or_default();
    let secret = headers
        .get("x-api-key")
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let asked = if body.is_empty() { query } else { body };
    *seen.lock().expect("as the test arranges it") = (asked.clone(), secret.to_owned());
    let has = |name: &str| asked.contains(name);
    let status = |code: u16, text: &str| {
        (
            StatusCode::from_u16(code).expect("as the test arranges it"),
            text.to_owned(),
        )
            .into_response()
    };
    match () {
        () if has("SILENCE") => std::future::pending().await,
        () if has("REDIRIGE") => {
            (StatusCode::FOUND, [("location", "/ailleurs?nom=EXEMPLE")], "").into_response()
        }
        () if has("TROP") => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "7")], "{}").into_response(),
        () if has("FERME") => {
            (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "100000")], "{}").into_response()
        }
        () if has("PANNE") => status(500, "<h1>oops</h1>"),
        () if has("PASSERELLE") => status(502, ""),
        () if has("LENT") => status(504, ""),
        () if has("HTML") => status(200, "<html></html>"),
        () if has("DOUBLE") => status(200, r#"{"data":{"montant":1,"montant":2}}"#),
        () if has("ENORME") => status(200, &format!(r#"{{"data":"{}"}}"#, "x".repeat(2 * 1024 * 1024))),
        () if has("INCONNU") => status(404, r#"{"errors":[{"code":"37001"}]}"#),
        () if has("SANS") => status(404, r#"{"errors":[{"code":"37003"}]}"#),
        () if has("INTERDIT") => status(403, r#"{"errors":[{"code":"37003"}]}"#),
        () => status(200, r#"{"data": {"montant": 123.40, "id": "42"}, "meta": {}}"#),
    }
}

struct Scene {
    seen: Seen,
    url: String,
    catalogue: Catalogue,
    _server: TaskTracker,
}

impl Scene {
    async fn new() -> Self {
        let seen = Seen::default();
        let socket = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("as the test arranges it");
        let url = format!(
            "http://{}/qf",
            socket.local_addr().expect("as the test arranges it")
        );
        let router = Router::new()
            .route("/qf", any(back_end))
            .with_state(Arc::clone(&seen));
        let server = TaskTracker::new();
        server.spawn(async move { axum::serve(socket, router).await });
        let catalogue = Catalogue::load(&[
            (
                "producers/cnaf.yaml",
                include_str!("../support/catalogue/producers/cnaf.yaml"),
            ),
            (
                "types/cnaf.revenu@1.yaml",
                include_str!("../support/catalogue/types/cnaf.revenu@1.yaml"),
            ),
        ]);
        Self {
            seen,
            url,
            catalogue: catalogue.expect("as the test arranges it"),
            _server: server,
        }
    }

    fn source(&self, method: CallMethod, header: Option<SecretHeader>) -> HttpSource {
        self.open(HttpConfig {
            url: self.url.clone(),
            method,
            ca: None,
            header,
            timeout_ms: 400,
        })
    }

    fn open(&self, config: HttpConfig) -> HttpSource {
        let layout =
            serde_json::from_str::<Layout>(r#"{"person":"/data/id"}"#).expect("as the test arranges it");
        HttpSource::open(&config, Parameters::default(), layout).expect("as the test arranges it")
    }

    async fn ask(&self, source: &HttpSource, name: &str) -> Result<Answer, Failure> {
        let subject = SealedSubject::Person(person(name));
        let datatype = self
            .catalogue
            .datatype(&"cnaf/revenu@1".parse().expect("as the test arranges it"))
            .expect("as the test arranges it");
        let operator: HolderId = "cnaf".parse().expect("as the test arranges it");
        let question = Question {
            sheet: datatype.sheet(),
            answers: self
                .catalogue
                .producer(&operator)
                .expect("as the test arranges it")
                .answers
                .as_ref()
                .expect("as the test arranges it"),
            subject: &subject,
            period: Some("2026-05".parse().expect("as the test arranges it")),
            within: Duration::from_secs(5),
        };
        source.ask(&question).await
    }
}

#[tokio::test]
async fn a_back_end_that_fails_is_never_an_absence() {
    let scene = Scene::new().await;
    let source = scene.source(CallMethod::Get, None);
    let seconds = |n| Some(Duration::from_secs(n));
    for (name, failure) in [
        ("SILENCE", Failure::Timeout),
        ("REDIRIGE", Failure::Unexpected),
        (
            "TROP",
            Failure::Quota {
                retry_after: seconds(7),
            },
        ),
        (
            "FERME",
            Failure::Maintenance {
                retry_after: seconds(300),
            },
        ),
        ("PANNE", Failure::Unavailable),
        ("PASSERELLE", Failure::Unavailable),
        ("LENT", Failure::Timeout),
        ("HTML", Failure::Unexpected),
        ("DOUBLE", Failure::Schema),
        ("ENORME", Failure::Unexpected),
        ("INCONNU", Failure::NotResolved),
        // The code certifies with 404 only.
        ("INTERDIT", Failure::Unexpected),
    ] {
        assert_eq!(scene.ask(&source, name).await, Err(failure), "{name}");
    }
    assert!(matches!(scene.ask(&source, "SANS").await, Ok(Answer::Absence)));
    // Nobody listens there any more.
    let gone = HttpConfig {
        url: "http://127.0.0.1:1/".into(),
        method: CallMethod::Get,
        ca: None,
        header: None,
        timeout_ms: 400,
    };
    let gone =
        HttpSource::open(&gone, Parameters::default(), Layout::default()).expect("as the test arranges it");
    assert_eq!(scene.ask(&gone, "EXEMPLE").await, Err(Failure::Unavailable));
}

#[tokio::test]
async fn parameters_are_encoded_values_kept_and_the_secret_sent() {
    let scene = Scene::new().await;
    let file = tempfile::NamedTempFile::new().expect("as the test arranges it");
    std::fs::write(file.path(), "s3cret\n").expect("as the test arranges it");
    let header = || {
        Some(SecretHeader {
            name: "X-Api-Key".into(),
            file: file.path().to_owned(),
        })
    };

    let answer = scene
        .ask(&scene.source(CallMethod::Get, header()), "D'ÉT & Cie=1")
        .await;
    let Ok(Answer::Document(document)) = answer else {
        unreachable!("a document")
    };
    assert_eq!(document.json, r#"{"montant":123.40,"id":"42"}"#);
    assert_eq!(document.ids, [b"42".to_vec()]);
    let (query, secret) = scene.seen.lock().expect("as the test arranges it").clone();
    assert_eq!(secret, "s3cret");
    assert_eq!(
        query,
        "annee=2026&anneeDateNaissance=1980&codeCogInseePaysNaissance=99100&mois=5&moisDateNaissance=4&\
         nomNaissance=D%27%C3%89T+%26+Cie%3D1&prenoms=Camille"
    );

    let answer = scene.ask(&scene.source(CallMethod::Post, None), "D\"}").await;
    assert!(matches!(answer, Ok(Answer::Document(_))));
    let (body, secret) = scene.seen.lock().expect("as the test arranges it").clone();
    let body: serde_json::Value = serde_json::from_str(&body).expect("a JSON body");
    assert_eq!(
        (
            body["nomNaissance"].as_str(),
            body["mois"].as_u64(),
            secret.as_str()
        ),
        (Some("D\"}"), Some(5), "")
    );
    assert_eq!(body["prenoms"], serde_json::json!(["Camille"]));
}

#[tokio::test]
async fn a_back_end_s_certificate_must_come_from_the_authorities_of_its_source() {
    let scene = Scene::new().await;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (ours, other) = (Ca::new(clock.now()), Ca::new(clock.now()));
    let identity = Arc::new(Identity::new(ours.issue(&producer_id()).credential()));
    let at = "127.0.0.1:0".parse().expect("as the test arranges it");
    let listener = Listener::https(at, &identity, &clock, Limits::default());
    let listener = listener.await.expect("a socket");
    let port = listener.local_addr().expect("an address").port();
    let router = Router::new()
        .route("/qf", any(back_end))
        .with_state(Arc::clone(&scene.seen));
    let (shutdown, tasks) = (CancellationToken::new(), TaskTracker::new());
    tasks.spawn(listener.serve(router, shutdown.clone()));
    tasks.close();

    let folder = tempfile::tempdir().expect("a folder");
    let source = |host: &str, name: &str, pem: &str| {
        let ca = folder.path().join(name);
        std::fs::write(&ca, pem).expect("a file");
        scene.open(HttpConfig {
            url: format!("https://{host}:{port}/qf"),
            method: CallMethod::Get,
            ca: Some(ca),
            header: None,
            timeout_ms: 5_000,
        })
    };
    let unavailable = Err(Failure::Unavailable);
    let of_another = source("127.0.0.1", "other.pem", &other.cert);
    assert_eq!(scene.ask(&of_another, "EXEMPLE").await, unavailable);
    // The certificate is for the address, not for this name of it.
    let by_name = source("localhost", "ca.pem", &ours.cert);
    assert_eq!(scene.ask(&by_name, "EXEMPLE").await, unavailable);
    assert_eq!(
        *scene.seen.lock().expect("no panic"),
        Default::default(),
        "nothing was sent"
    );

    let answer = scene
        .ask(&source("127.0.0.1", "ca.pem", &ours.cert), "EXEMPLE")
        .await;
    assert!(matches!(answer, Ok(Answer::Document(_))), "{answer:?}");
    shutdown.cancel();
    tasks.wait().await;
}
