use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::rt::{Executor, Read, Write};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;
use unefois_core::{Clock, Reason};

use crate::acceptor::Acceptor;
use crate::limits::PerPeer;
use crate::trust::{Admission, End};
use crate::{
    Error, Identity, Limits, Peer, PeerGate, PeerRefusal, Refusals, SystemClock, Trust, measured, status, tls,
};

/// Streams with a budget of their own: they stay open, and losing one stops releases.
const LONG_STREAMS: [&str; 2] = [
    "/unefois.revocation.v1.RevocationService/",
    "/unefois.directory.v1.DirectoryService/",
];
const KEEP_ALIVE: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// A socket that answers gRPC and HTTP from one router.
///
/// On the mesh, every request carries its [`Peer`] in its extensions. The limits of [`Limits`] hold on each kind of
/// socket; those that count by peer hold where peers are known.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    guard: Guard,
    limits: Limits,
    refusals: Arc<Refusals>,
    /// Whether calls become spans and are measured.
    measured: bool,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

enum Guard {
    Plain,
    Tls(Arc<Acceptor>),
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain => "Plain",
            Self::Tls(_) => "Tls",
        })
    }
}

impl Listener {
    /// Mutual TLS: whoever has a certificate of the mesh that `gate` lets in.
    pub async fn mesh(
        address: SocketAddr,
        identity: &Arc<Identity>,
        trust: &Arc<Trust>,
        gate: PeerGate,
        clock: &Arc<dyn Clock>,
        limits: Limits,
    ) -> Result<Self, Error> {
        let admission = Admission {
            trust: Arc::clone(trust),
            gate,
            end: End::Client,
            expected: None,
        };
        Self::tls(address, identity, Some(admission), clock, limits).await
    }

    /// HTTPS without client certificates, for browsers and for readers of public tiles.
    pub async fn https(
        address: SocketAddr,
        identity: &Arc<Identity>,
        clock: &Arc<dyn Clock>,
        limits: Limits,
    ) -> Result<Self, Error> {
        Self::tls(address, identity, None, clock, limits).await
    }

    async fn tls(
        address: SocketAddr,
        identity: &Arc<Identity>,
        admission: Option<Admission>,
        clock: &Arc<dyn Clock>,
        limits: Limits,
    ) -> Result<Self, Error> {
        let refusals = Arc::<Refusals>::default();
        let config = tls::server(identity, admission.clone(), clock);
        let acceptor = Acceptor::new(
            config,
            admission,
            Arc::clone(clock),
            &limits,
            Arc::clone(&refusals),
        );
        Ok(Self {
            socket: tcp(address).await?,
            guard: Guard::Tls(acceptor),
            limits,
            refusals,
            measured: true,
        })
    }

    /// Plain HTTP on loopback.
    ///
    /// # Errors
    /// `address` is not a loopback address: passwords and sessions would be readable on the way.
    pub async fn loopback(address: SocketAddr, limits: Limits) -> Result<Self, Error> {
        if !address.ip().is_loopback() {
            return Err(Error::NotLoopback(address));
        }
        Ok(Self {
            measured: true,
            ..Self::probes(address, limits).await?
        })
    }

    /// Plain HTTP on any address, for probes and scrapes only: nothing personal may be served on it.
    pub async fn probes(address: SocketAddr, limits: Limits) -> Result<Self, Error> {
        Ok(Self {
            socket: tcp(address).await?,
            guard: Guard::Plain,
            limits,
            refusals: Arc::default(),
            measured: false,
        })
    }

    /// A Unix socket that only this process's user may open, for its own systems. A socket left by a process that
    /// is gone is replaced.
    pub fn unix(path: &Path, limits: Limits) -> Result<Self, Error> {
        let failed = |source| Error::Listen {
            address: path.display().to_string(),
            source,
        };
        if std::os::unix::net::UnixStream::connect(path)
            .is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionRefused)
        {
            std::fs::remove_file(path).map_err(failed)?;
        }
        let socket = UnixListener::bind(path).map_err(failed)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(Self {
            socket: Socket::Unix(socket),
            guard: Guard::Plain,
            limits,
            refusals: Arc::default(),
            measured: true,
        })
    }

    /// The address it listens on, with the port that the system chose; `None` for a Unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Tcp(socket) => socket.local_addr().ok(),
            Socket::Unix(_) => None,
        }
    }

    /// How many handshakes it refused and connections it cut, by reason.
    pub fn refusals(&self) -> Arc<Refusals> {
        Arc::clone(&self.refusals)
    }

    /// Serves `router` until `shutdown`; then refuses new connections, lets calls under way end within the longest
    /// deadline, and returns once every task has ended.
    ///
    /// Its calls are [`measured`], but on a listener for probes. gRPC services join the router by `tonic::service::Routes::into_axum_router`.
    pub async fn serve(self, router: Router, shutdown: CancellationToken) {
        let tasks = TaskTracker::new();
        let handshakes = Arc::new(Semaphore::new(self.limits.handshakes.into()));
        let connections = Arc::new(Semaphore::new(self.limits.connections.into()));
        let router = match self.measured {
            true => measured(router, Arc::new(SystemClock)),
            false => router,
        };
        let server = Arc::new(Server {
            router,
            calls: Arc::default(),
            tasks: tasks.clone(),
            shutdown: shutdown.clone(),
            limits: self.limits,
        });
        if let Guard::Tls(acceptor) = &self.guard {
            tasks.spawn(Arc::clone(acceptor).watch(shutdown.clone()));
        }
        let mut number = 0;
        loop {
            let next = async {
                // The permit comes first, so that what cannot be handled waits in the kernel.
                let permit = Arc::clone(&handshakes).acquire_owned().await;
                (
                    permit.expect("the semaphore is never closed"),
                    self.socket.accept().await,
                )
            };
            let (permit, stream) = tokio::select! {
                () = shutdown.cancelled() => break,
                next = next => next,
            };
            let stream = match stream {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    // Out of file descriptors, say: give connections the time to end.
                    let _ = tokio::time::timeout(Duration::from_millis(100), shutdown.cancelled()).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&connections).try_acquire_owned() else {
                self.refusals.count(PeerRefusal::Busy);
                tracing::warn!(reason = %PeerRefusal::Busy, "connection refused");
                continue;
            };
            number += 1;
            let server = Arc::clone(&server);
            match (stream, &self.guard) {
                (Stream::Tcp(stream), Guard::Tls(acceptor)) => {
                    let acceptor = Arc::clone(acceptor);
                    tasks
                        .spawn(async move { server.secured(&acceptor, stream, number, permit, place).await });
                }
                (Stream::Tcp(stream), Guard::Plain) => {
                    let caller = Caller {
                        peer: None,
                        address: stream.peer_addr().ok(),
                    };
                    tasks.spawn(async move { server.plain(TokioIo::new(stream), caller, place).await });
                }
                (Stream::Unix(stream), Guard::Plain | Guard::Tls(_)) => {
                    let caller = Caller {
                        peer: None,
                        address: None,
                    };
                    tasks.spawn(async move { server.plain(TokioIo::new(stream), caller, place).await });
                }
            }
        }
        drop(self.socket);
        tasks.close();
        tasks.wait().await;
    }
}

async fn tcp(address: SocketAddr) -> Result<Socket, Error> {
    let bound = TcpListener::bind(address).await;
    bound.map(Socket::Tcp).map_err(|source| Error::Listen {
        address: address.to_string(),
        source,
    })
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    async fn accept(&self) -> std::io::Result<Stream> {
        match self {
            Self::Tcp(socket) => {
                let (stream, _) = socket.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
            Self::Unix(socket) => socket.accept().await.map(|(stream, _)| Stream::Unix(stream)),
        }
    }
}

/// Who calls, as requests carry it.
#[derive(Clone)]
struct Caller {
    peer: Option<Peer>,
    address: Option<SocketAddr>,
}

struct Server {
    router: Router,
    calls: Arc<PerPeer>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
    limits: Limits,
}

impl Server {
    async fn secured(
        self: Arc<Self>,
        acceptor: &Arc<Acceptor>,
        stream: TcpStream,
        number: u64,
        handshake: OwnedSemaphorePermit,
        place: OwnedSemaphorePermit,
    ) {
        let address = stream.peer_addr().ok();
        let accepted = tokio::select! {
            () = self.shutdown.cancelled() => return,
            accepted = acceptor.accept(stream, number) => accepted,
        };
        drop(handshake);
        let Some(accepted) = accepted else { return };
        let caller = Caller {
            peer: accepted.peer,
            address,
        };
        // By ALPN rather than by reading: an HTTP/2 server speaks first, which tells clients that they are accepted.
        let builder = match accepted.stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => self.builder().http2_only(),
            Some(_) | None => self.builder().http1_only(),
        };
        self.connection(builder, TokioIo::new(accepted.stream), caller, accepted.cut)
            .await;
        drop((accepted.entry, place));
    }

    async fn plain<I>(self: Arc<Self>, io: I, caller: Caller, place: OwnedSemaphorePermit)
    where
        I: Read + Write + Unpin + Send + 'static,
    {
        self.connection(self.builder(), io, caller, CancellationToken::new())
            .await;
        drop(place);
    }

    fn builder(&self) -> Builder<Tracked> {
        let mut builder = Builder::new(Tracked(self.tasks.clone()));
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(KEEP_ALIVE_TIMEOUT)
            .max_buf_size(
                usize::try_from(self.limits.header_bytes)
                    .unwrap_or(usize::MAX)
                    .max(8 * 1024),
            );
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(u32::from(self.limits.streams))
            .max_header_list_size(self.limits.header_bytes)
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
        builder
    }

    async fn connection<I>(
        self: &Arc<Self>,
        builder: Builder<Tracked>,
        io: I,
        caller: Caller,
        cut: CancellationToken,
    ) where
        I: Read + Write + Unpin + Send + 'static,
    {
        let server = Arc::clone(self);
        let service = hyper::service::service_fn(move |request| {
            let (server, caller) = (Arc::clone(&server), caller.clone());
            async move { Ok::<_, Infallible>(server.answer(request, caller).await) }
        });
        let connection = builder.serve_connection(io, service);
        let mut connection = std::pin::pin!(connection);
        let age = Duration::from_secs(self.limits.connection_age_s.into());
        let ended = tokio::select! {
            biased;
            () = cut.cancelled() => return,
            () = self.shutdown.cancelled() => false,
            // How a connection ended is its peer's business; calls are accounted for by themselves.
            served = tokio::time::timeout(age, connection.as_mut()) => served.is_ok(),
        };
        if !ended {
            connection.as_mut().graceful_shutdown();
            let grace = Duration::from_millis(self.limits.deadline_ms.into());
            tokio::select! {
                biased;
                () = cut.cancelled() => {}
                _ = tokio::time::timeout(grace, connection) => {}
            }
        }
    }

    async fn answer(&self, request: Request<Incoming>, caller: Caller) -> Response<Body> {
        let grpc = is_grpc(request.headers());
        let long = LONG_STREAMS
            .iter()
            .any(|service| request.uri().path().starts_with(service));
        let place = match &caller.peer {
            Some(peer) if !long => match self.calls.take(&peer.id, self.limits.concurrent_calls) {
                Some(place) => Some(place),
                None => {
                    return turned_away(
                        grpc,
                        Reason::Overloaded,
                        "too many calls under way from this peer",
                    );
                }
            },
            Some(_) | None => None,
        };
        let deadline = self.deadline(request.headers());
        let mut request = request.map(|body| match grpc {
            // A stream of messages has no bound of its own; each message has, in its service.
            true => Body::new(body),
            false => Body::new(Limited::new(
                body,
                self.limits.request_bytes.try_into().unwrap_or(usize::MAX),
            )),
        });
        if let Some(peer) = caller.peer {
            request.extensions_mut().insert(peer);
        }
        if let Some(address) = caller.address {
            request.extensions_mut().insert(ConnectInfo(address));
        }
        match tokio::time::timeout(deadline, self.router.clone().oneshot(request)).await {
            // The place is given back when the body ends.
            Ok(Ok(response)) => response.map(|body| {
                Body::new(body.map_err(move |error| {
                    let _held = &place;
                    error
                }))
            }),
            Err(_) => turned_away(
                grpc,
                Reason::Deadline,
                "the deadline passed before an answer began",
            ),
        }
    }

    /// How long the caller waits for the answer to begin (`grpc-timeout`), at most what the limits allow.
    fn deadline(&self, headers: &HeaderMap) -> Duration {
        let most = Duration::from_millis(self.limits.deadline_ms.into());
        let asked = headers
            .get("grpc-timeout")
            .and_then(|value| grpc_timeout(value.to_str().ok()?));
        asked.map_or(most, |asked| asked.min(most))
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .map_or(&[][..], http::HeaderValue::as_bytes);
    kind.starts_with(b"application/grpc")
}

fn turned_away(grpc: bool, reason: Reason, message: &'static str) -> Response<Body> {
    if grpc {
        return status::refused(reason, message).into_http();
    }
    let mut response = Response::new(Body::from(message));
    *response.status_mut() = match status::code_of(reason) {
        tonic::Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::GATEWAY_TIMEOUT,
    };
    response
}

/// The value of `grpc-timeout`: 1 to 8 digits and a unit (gRPC over HTTP/2, « Timeout »).
fn grpc_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let n: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(n * 3600)),
        "M" => Some(Duration::from_secs(n * 60)),
        "S" => Some(Duration::from_secs(n)),
        "m" => Some(Duration::from_millis(n)),
        "u" => Some(Duration::from_micros(n)),
        "n" => Some(Duration::from_nanos(n)),
        _ => None,
    }
}

/// Runs hyper's tasks among those that the listener waits for.
#[derive(Clone)]
struct Tracked(TaskTracker);

impl<F> Executor<F> for Tracked
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn(future);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_has_digits_and_one_unit() {
        for text in ["", "S", "1", "-1S", "1s", "123456789S", "1 S", "é"] {
            assert_eq!(grpc_timeout(text), None, "{text}");
        }
        assert_eq!(grpc_timeout("250m"), Some(Duration::from_millis(250)));
        assert_eq!(
            grpc_timeout("99999999H"),
            Some(Duration::from_secs(99_999_999 * 3600))
        );
    }

    #[tokio::test]
    async fn plain_http_stays_on_loopback() {
        let refused = Listener::loopback(([0, 0, 0, 0], 0).into(), Limits::default()).await;
        assert!(matches!(refused, Err(Error::NotLoopback(_))));
    }
}
