//! What one peer may ask of a listener.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic_health::pb::HealthCheckRequest;
use unefois_core::Reason;
use unefois_mesh::{HttpsClient, Limits, Listener, PeerRefusal, status};

use crate::world::{WAIT, World, world_with};

async fn status_of(client: &HttpsClient, world: &World, path: &str, body: Bytes) -> StatusCode {
    let url = format!("https://{}{path}", world.address).parse().unwrap();
    client
        .request(Method::POST, &url, HeaderMap::new(), body, WAIT, 1024)
        .await
        .unwrap()
        .status
}

/// `/hold` answers once released; `entered` says that it was reached.
fn hold(entered: &Arc<Notify>, release: &Arc<Notify>) -> Router {
    let (entered, release) = (Arc::clone(entered), Arc::clone(release));
    let handler = move || async move {
        entered.notify_one();
        release.notified().await;
    };
    Router::new().route("/hold", get(handler.clone()).post(handler))
}

#[tokio::test]
async fn one_call_too_many_is_turned_away_and_the_place_comes_back() {
    let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let limits = Limits {
        concurrent_calls: 1,
        ..Limits::default()
    };
    let world = world_with(limits, hold(&entered, &release)).await;
    let pem = world.member(1);
    let client = world.connector(&pem).https(&world.target());
    let held = status_of(&client, &world, "/hold", Bytes::new());
    let meanwhile = async {
        entered.notified().await;
        let turned_away = world
            .health_client(&pem)
            .check(HealthCheckRequest::default())
            .await
            .expect_err("one too many");
        assert_eq!(status::reason_of(&turned_away), Some(Reason::Overloaded));
        assert_eq!(turned_away.code(), tonic::Code::ResourceExhausted);
        world
            .health_client(&world.member(2))
            .check(HealthCheckRequest::default())
            .await
            .expect("another peer");
        release.notify_one();
    };
    assert_eq!(tokio::join!(held, meanwhile).0, StatusCode::OK);
    world
        .health_client(&pem)
        .check(HealthCheckRequest::default())
        .await
        .expect("the place is free again");
}

#[tokio::test]
async fn an_answer_that_does_not_begin_in_time_ends() {
    let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let limits = Limits {
        deadline_ms: 30,
        ..Limits::default()
    };
    let world = world_with(limits, hold(&entered, &release)).await;
    let client = world.connector(&world.member(1)).https(&world.target());
    assert_eq!(
        status_of(&client, &world, "/hold", Bytes::new()).await,
        StatusCode::GATEWAY_TIMEOUT
    );
}

#[tokio::test]
async fn a_body_is_bounded() {
    let limits = Limits {
        request_bytes: 1024,
        ..Limits::default()
    };
    let echo = Router::new().route("/echo", axum::routing::post(|body: Bytes| async { body }));
    let world = world_with(limits, echo).await;
    let client = world.connector(&world.member(1)).https(&world.target());
    let large = status_of(&client, &world, "/echo", Bytes::from(vec![0; 1025])).await;
    assert_eq!(large, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(
        status_of(&client, &world, "/echo", Bytes::from(vec![0; 1024])).await,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_peer_has_so_many_connections() {
    let limits = Limits {
        connections_per_peer: 1,
        ..Limits::default()
    };
    let world = world_with(limits, Router::new()).await;
    let pem = world.member(1);
    let mut first = world.health_client(&pem);
    first
        .check(HealthCheckRequest::default())
        .await
        .expect("the first");
    world
        .health_client(&pem)
        .check(HealthCheckRequest::default())
        .await
        .expect_err("the second");
    first
        .check(HealthCheckRequest::default())
        .await
        .expect("the first goes on");
    assert!(world.refusals.of(PeerRefusal::Busy) >= 1);
}

#[tokio::test]
async fn a_handshake_that_does_not_come_ends() {
    let limits = Limits {
        handshake_ms: 30,
        ..Limits::default()
    };
    let world = world_with(limits, Router::new()).await;
    let mut silent = TcpStream::connect(world.address).await.unwrap();
    assert_eq!(silent.read(&mut [0; 1]).await.unwrap(), 0, "closed");
    world.stop().await;
    assert_eq!(world.refusals.of(PeerRefusal::Timeout), 1);
}

#[tokio::test]
async fn what_is_no_tls_is_refused() {
    let world = world_with(Limits::default(), Router::new()).await;
    let mut plain = TcpStream::connect(world.address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    plain.read_to_end(&mut rest).await.unwrap();
    assert!(rest.len() < 16, "an alert at most");
    drop(plain);
    world.stop().await;
    assert_eq!(world.refusals.of(PeerRefusal::Protocol), 1);
}

#[tokio::test]
async fn a_call_under_way_at_shutdown_is_answered() {
    let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let world = world_with(Limits::default(), hold(&entered, &release)).await;
    let client = world.connector(&world.member(1)).https(&world.target());
    let held = status_of(&client, &world, "/hold", Bytes::new());
    let stop = async {
        entered.notified().await;
        let release_later = async { release.notify_one() };
        tokio::join!(world.stop(), release_later);
    };
    assert_eq!(tokio::join!(held, stop).0, StatusCode::OK);
}

#[tokio::test]
async fn a_unix_socket_serves_and_replaces_a_dead_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("backoffice.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let listener = Listener::unix(&path, Limits::default()).unwrap();
    assert!(
        Listener::unix(&path, Limits::default()).is_err(),
        "a live one stays"
    );

    let (shutdown, tasks) = (CancellationToken::new(), TaskTracker::new());
    let router = Router::new().route("/", get(|| async { "ici" }));
    tasks.spawn(listener.serve(router, shutdown.clone()));
    let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("ici"), "{answer}");
    shutdown.cancel();
    tasks.close();
    tokio::time::timeout(Duration::from_secs(10), tasks.wait())
        .await
        .unwrap();
}
