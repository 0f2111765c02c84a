//! Telemetry of a running process: spans reach a collector, metrics are served, and nothing of what callers send does.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use kit::canary::{Canaries, Signal};
use kit::capture::Captured;
use kit::collector::attribute;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower::ServiceExt as _;
use tracing::Instrument as _;
use unefois::admin::{self, Check, Checks};
use unefois::telemetry::MOST_SERIES;
use unefois_core::{Micros, Sha256};
use unefois_mesh::{Limits, Listener, Peer, Serial, SystemClock, measured, metrics, spans};

const PEER: &str = "urn:unefois:auditor:cour-des-comptes";
const HEALTH: &str = "grpc.health.v1.Health/Check";

/// Telemetry is one a process, so that these tests share it and the runtime that exports.
static PROCESS: LazyLock<(Runtime, Captured)> = LazyLock::new(|| {
    let runtime = Runtime::new().unwrap();
    let captured = runtime.block_on(Captured::start()).unwrap();
    (runtime, captured)
});

fn run<F: Future>(test: impl FnOnce(&'static Captured) -> F) -> F::Output {
    let (runtime, captured) = &*PROCESS;
    runtime.block_on(test(captured))
}

/// The same, as a listener serves it.
async fn router() -> Router {
    measured(plain().await, Arc::new(SystemClock))
}

/// A health service, a page with a parameter and one that never answers.
async fn plain() -> Router {
    let (_, health) = tonic_health::server::health_reporter();
    tonic::service::Routes::new(health)
        .into_axum_router()
        .route("/dossier/{id}", get(async || "found"))
        .route("/never", get(std::future::pending::<&str>))
}

fn peer() -> Peer {
    Peer {
        id: PEER.parse().unwrap(),
        serial: Serial::from_bytes(&[1]),
        spki_sha256: Sha256::of(b"key"),
        cert_sha256: Sha256::of(b"certificate"),
        not_after: Micros::new(0),
    }
}

async fn ask(router: &Router, request: Request<Body>) -> (StatusCode, String) {
    let answer = router.clone().oneshot(request).await.unwrap();
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn read(router: &Router, path: &str) -> (StatusCode, String) {
    ask(router, Request::get(path).body(Body::empty()).unwrap()).await
}

#[test]
fn hostile_callers_neither_speak_through_signals_nor_make_series() {
    run(async |captured| {
        let mut canaries = Canaries::default();
        let query = canaries.plant("query");
        let path = canaries.plant("path");
        let token = canaries.plant("token");
        let cookie = canaries.plant("cookie");
        let state = canaries.plant("tracestate");
        let verb = canaries.plant("HTTP method").to_uppercase();
        let method = canaries.plant("RPC method");
        let router = router().await;
        for n in 0..1_000 {
            let (kind, uri) = match n % 4 {
                0 => ("application/grpc", format!("/{method}.Service{n}/Call?{query}")),
                1 => ("application/grpc", format!("/grpc.health.v1.Health/{method}{n}")),
                2 => ("text/html", format!("/dossier/{path}{n}?nom={query}")),
                _ => ("text/html", format!("/{path}{n}?nom={query}")),
            };
            let verb = if n % 3 == 0 { &format!("{verb}{n}") } else { "POST" };
            let request = Request::builder()
                .method(verb)
                .uri(uri)
                .header("content-type", kind)
                .header("authorization", format!("DPoP {token}"))
                .header("cookie", &cookie)
                .header("traceparent", format!("00-{n:032x}-{n:016x}-01-{state}"))
                .header("tracestate", format!("a={state}"))
                .header("baggage", format!("a={state}"))
                .body(Body::from(token.clone()))
                .unwrap();
            ask(&router, request).await;
        }
        tracing::debug!(target: "h2::frame", token, "headers");
        tracing::info!(target: "sqlx::query", token, "statement");
        let shown = captured.telemetry.metrics().text().unwrap();
        let series = shown.lines().filter(|line| !line.starts_with('#')).count();
        assert!(
            series <= 200,
            "{series} series of {MOST_SERIES} at most:\n{shown}"
        );
        assert!(shown.contains(r#"rpc_method="_OTHER""#), "{shown}");
        tracing::info!(target: "unefois_tests", "a line, so that the search has something to read");
        let signals = captured.signals().await.unwrap();
        assert_eq!(canaries.hits(&signals), []);
        // The search would have found it.
        assert_eq!(canaries.hits(&[Signal::new("answer", token)]).len(), 1);
    });
}

#[test]
fn the_context_of_a_peer_becomes_a_link_and_never_a_parent() {
    run(async |captured| {
        let socket = Listener::loopback(([127, 0, 0, 1], 0).into(), Limits::default())
            .await
            .unwrap();
        let address = socket.local_addr().unwrap();
        let stop = CancellationToken::new();
        let served = tokio_util::task::TaskTracker::new().spawn(socket.serve(plain().await, stop.clone()));
        let channel = Endpoint::from_shared(format!("http://{address}"))
            .unwrap()
            .connect()
            .await
            .unwrap();
        let mut client = HealthClient::with_interceptor(channel, spans::traced);
        let span = tracing::info_span!(target: "unefois_tests", "caller");
        async { client.check(HealthCheckRequest::default()).await.unwrap() }
            .instrument(span)
            .await;
        drop(client);
        stop.cancel();
        served.await.unwrap();

        captured.telemetry.flush().await.unwrap();
        let all = captured.collector.spans();
        let caller = all
            .iter()
            .find(|span| span.name == "caller")
            .expect("the client's span");
        let linked = |span: &&opentelemetry_proto::tonic::trace::v1::Span| {
            span.links
                .iter()
                .any(|link| link.trace_id == caller.trace_id && link.span_id == caller.span_id)
        };
        let server = all
            .iter()
            .find(linked)
            .expect("a span that links to the caller's");
        assert_eq!(server.name, HEALTH);
        assert!(server.parent_span_id.is_empty());
        assert_ne!(server.trace_id, caller.trace_id);
        assert_eq!(server.links[0].trace_state, "");
        assert_eq!(attribute(server, spans::RPC_SYSTEM), Some("grpc"));
        assert_eq!(attribute(server, spans::RPC_METHOD), Some(HEALTH));
        assert_eq!(attribute(server, spans::RPC_STATUS), Some("OK"));
        assert_eq!(attribute(server, spans::ERROR_TYPE), None);
    });
}

#[test]
fn a_failed_call_says_so_and_names_its_peer() {
    run(async |captured| {
        let request = Request::post("/unefois.exchange.v1.ExchangeService/Fetch")
            .header("content-type", "application/grpc")
            .extension(peer())
            .body(Body::empty())
            .unwrap();
        let router = router().await;
        let around = tracing::info_span!(target: "unefois_tests", "around");
        ask(&router, request).instrument(around).await;
        captured.telemetry.flush().await.unwrap();
        let all = captured.collector.spans();
        let span = all
            .iter()
            .find(|span| span.name == "unefois.exchange.v1.ExchangeService/Fetch");
        let span = span.expect("the span of a method that is not served here");
        assert!(span.parent_span_id.is_empty());
        assert_eq!(attribute(span, metrics::PEER), Some(PEER));
        assert_eq!(attribute(span, spans::RPC_STATUS), Some("UNIMPLEMENTED"));
        assert_eq!(attribute(span, spans::ERROR_TYPE), Some("UNIMPLEMENTED"));
        assert_eq!(span.status.as_ref().map(|status| status.code), Some(2));
    });
}

#[test]
fn a_call_that_is_given_up_is_counted_too() {
    run(async |captured| {
        let request = Request::get("/never").body(Body::empty()).unwrap();
        let mut call = Box::pin(router().await.oneshot(request));
        assert!(futures_util::poll!(&mut call).is_pending());
        drop(call);
        let shown = captured.telemetry.metrics().text().unwrap();
        let counted = shown.lines().find(|line| {
            line.starts_with("http_server_request_duration_seconds_count")
                && line.contains(r#"http_route="/never""#)
        });
        assert!(
            counted.is_some_and(|line| line.contains(r#"status_code="0""#)),
            "{shown}"
        );
    });
}

#[test]
fn the_admin_listener_says_what_is_missing_and_serves_metrics() {
    run(async |captured| {
        let lease = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&lease);
        let checks = vec![
            Check::new("ledger", || Ok(())),
            Check::new("lease", move || {
                seen.load(Ordering::Relaxed)
                    .then_some(())
                    .ok_or("no fresh lease".into())
            }),
            Check::advice("cosignatures", || Err("no witness".into())),
        ];
        let admin = admin::router("node", Checks::new(checks), captured.telemetry.metrics());
        assert_eq!(read(&admin, "/livez").await, (StatusCode::OK, "ok\n".to_owned()));
        let unready = StatusCode::SERVICE_UNAVAILABLE;
        assert_eq!(read(&admin, "/readyz").await, (unready, "not ready\n".to_owned()));
        let (_, listed) = read(&admin, "/readyz?verbose").await;
        assert_eq!(
            listed,
            "[+] ledger\n[-] lease: no fresh lease\n[!] cosignatures: no witness\nnot ready\n"
        );
        let (_, shown) = read(&admin, "/metrics").await;
        assert!(
            shown.contains("unefois_ready{unefois_role=\"node\"} 0"),
            "{shown}"
        );

        lease.store(true, Ordering::Relaxed);
        assert_eq!(
            read(&admin, "/readyz").await,
            (StatusCode::OK, "ready\n".to_owned())
        );
        let (_, shown) = read(&admin, "/metrics").await;
        assert!(
            shown.contains("unefois_ready{unefois_role=\"node\"} 1"),
            "{shown}"
        );
        let (_, version) = read(&admin, "/version").await;
        assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
    });
}
