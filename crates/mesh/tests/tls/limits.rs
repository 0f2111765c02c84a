//! What one peer may ask of a listener.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio_stream::wrappers::IntervalStream;
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

/// A connection from another address of this machine.
async fn from_elsewhere(world: &World) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 2], 0).into()).unwrap();
    socket.connect(world.address).await.unwrap()
}

#[tokio::test]
async fn one_address_s_silence_keeps_no_other_out() {
    let limits = Limits {
        handshakes: 2,
        handshake_ms: 60_000,
        ..Limits::default()
    };
    let world = world_with(limits, Router::new()).await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(from_elsewhere(&world).await);
    }
    world
        .health_client(&world.member(1))
        .check(HealthCheckRequest::default())
        .await
        .expect("another address has its share");
}

#[tokio::test]
async fn a_refused_client_that_lingers_keeps_nobody_out() {
    let limits = Limits {
        handshakes: 1,
        handshake_ms: 60_000,
        ..Limits::default()
    };
    let world = world_with(limits, Router::new()).await;
    let mut plain = TcpStream::connect(world.address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(plain.read(&mut [0; 16]).await.unwrap() > 0, "an alert");
    world
        .health_client(&world.member(1))
        .check(HealthCheckRequest::default())
        .await
        .expect("the handshake is free");
}

#[tokio::test]
async fn an_address_has_so_many_connections() {
    let limits = Limits {
        connections_per_address: 1,
        ..Limits::default()
    };
    let world = world_with(limits, Router::new()).await;
    let _first = from_elsewhere(&world).await;
    let mut second = from_elsewhere(&world).await;
    assert_eq!(second.read(&mut [0; 1]).await.unwrap(), 0, "closed");
    assert_eq!(world.refusals.of(PeerRefusal::Busy), 1);
    world
        .health_client(&world.member(1))
        .check(HealthCheckRequest::default())
        .await
        .expect("another address");
}

#[tokio::test]
async fn a_connection_without_a_call_ends() {
    let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let limits = Limits {
        idle_ms: 500,
        ..Limits::default()
    };
    let loopback = Loopback::serve(limits, hold(&entered, &release)).await;
    // Before its first request, and after its last; not while one is under way.
    let mut silent = TcpStream::connect(loopback.address).await.unwrap();
    let mut busy = TcpStream::connect(loopback.address).await.unwrap();
    busy.write_all(b"GET /hold HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    entered.notified().await;
    let ended = tokio::time::timeout(WAIT, silent.read(&mut [0; 1])).await;
    assert_eq!(ended.expect("it ends").unwrap(), 0);
    release.notify_one();
    let mut answer = String::new();
    let ended = tokio::time::timeout(WAIT, busy.read_to_string(&mut answer)).await;
    ended.expect("it ends").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    loopback.stop().await;
}

/// Plain HTTP for a client whose HTTP/2 window the test sets.
struct Loopback {
    address: SocketAddr,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

impl Loopback {
    async fn serve(limits: Limits, router: Router) -> Self {
        let listener = Listener::loopback(([127, 0, 0, 1], 0).into(), limits)
            .await
            .unwrap();
        let address = listener.local_addr().unwrap();
        let (shutdown, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(listener.serve(router, shutdown.clone()));
        tasks.close();
        Self {
            address,
            shutdown,
            tasks,
        }
    }

    /// The answer to `GET /`, of which the peer takes `window` bytes before it is read.
    async fn get(&self, window: u32) -> http::Response<hyper::body::Incoming> {
        let stream = TokioIo::new(TcpStream::connect(self.address).await.unwrap());
        let client = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(window)
            .handshake(stream);
        let (mut sender, connection) = client.await.unwrap();
        self.tasks.spawn(async move {
            // It ends with its server.
            let _ = connection.await;
        });
        let url = format!("http://{}/", self.address);
        let request = http::Request::get(url).body(String::new()).unwrap();
        sender.send_request(request).await.unwrap()
    }

    async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(WAIT, self.tasks.wait()).await.unwrap();
    }
}

/// A body that says when it is dropped.
fn told(chunks: impl Stream<Item = Bytes> + Send + 'static, dropped: &Arc<Notify>) -> Body {
    struct Tell(Arc<Notify>);
    impl Drop for Tell {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    let tell = Tell(Arc::clone(dropped));
    Body::from_stream(chunks.map(move |chunk| {
        let _held = &tell;
        Ok::<_, std::convert::Infallible>(chunk)
    }))
}

#[tokio::test]
async fn an_answer_that_its_peer_does_not_take_is_cut() {
    let limits = Limits {
        write_ms: 50,
        ..Limits::default()
    };
    // No window at all, a part of what there is, all but a byte.
    for window in [0, 10, 999] {
        let dropped = Arc::new(Notify::new());
        let tell = Arc::clone(&dropped);
        let body = move || async move {
            let chunks = futures_util::stream::iter([Bytes::from(vec![7; 1_000])]);
            told(chunks, &tell)
        };
        let loopback = Loopback::serve(limits.clone(), Router::new().route("/", get(body))).await;
        let answer = loopback.get(window).await;
        tokio::time::timeout(WAIT, dropped.notified())
            .await
            .expect("the stream is reset");
        let read = answer.into_body().collect().await;
        let error = read.expect_err("the rest does not come any more");
        assert!(format!("{error:?}").contains("CANCEL"), "{error:?}");
        loopback.stop().await;
    }
}

#[tokio::test]
async fn an_answer_that_takes_its_time_is_not_cut() {
    let limits = Limits {
        write_ms: 500,
        ..Limits::default()
    };
    let dropped = Arc::new(Notify::new());
    let body = move || async move {
        let ticks = IntervalStream::new(tokio::time::interval(Duration::from_millis(1_200)));
        told(ticks.take(3).map(|_| Bytes::from(vec![7; 1_000])), &dropped)
    };
    let loopback = Loopback::serve(limits, Router::new().route("/", get(body))).await;
    let answer = loopback.get(1_000).await.into_body().collect().await;
    assert_eq!(answer.expect("the whole answer").to_bytes().len(), 3_000);
    loopback.stop().await;
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

    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660, "user and group");

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
