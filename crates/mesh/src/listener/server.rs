use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
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
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;
use unefois_core::Reason;

use super::activity::{Activity, UnderWay};
use super::egress::{Egress, Passage};
use super::pace;
use super::socket::Socket;
use super::wire::{Kernel, Watched, Wire};
use crate::acceptor::{Accepted, Acceptor};
use crate::limits::Places;
use crate::{Limits, Peer, PeerId, PeerRefusal, Refusals, status};

/// Streams with a budget of their own: they stay open, and losing one stops releases.
const LONG_STREAMS: [&str; 2] = [
    "/unefois.revocation.v1.RevocationService/",
    "/unefois.directory.v1.DirectoryService/",
];
const KEEP_ALIVE: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Who calls, as requests carry it.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) peer: Option<Peer>,
    pub(super) address: Option<SocketAddr>,
}

/// What every connection of a listener is served with.
pub(super) struct Server {
    pub(super) router: Router,
    pub(super) calls: Arc<Places<PeerId>>,
    pub(super) handshakes: Arc<Semaphore>,
    pub(super) tasks: TaskTracker,
    pub(super) shutdown: CancellationToken,
    pub(super) limits: Limits,
    pub(super) refusals: Arc<Refusals>,
}

impl Server {
    /// Serves a connection that is secured first. It holds a place of the address it came from and one of the listener.
    pub(super) async fn secured(
        self: Arc<Self>,
        acceptor: &Arc<Acceptor>,
        stream: TcpStream,
        number: u64,
        from: Option<Arc<Semaphore>>,
    ) {
        let address = stream.peer_addr().ok();
        let cut = CancellationToken::new();
        let wire = Wire::new(cut.clone());
        let socket = Socket::new(stream, &wire);
        let accepted = tokio::select! {
            () = self.shutdown.cancelled() => return,
            accepted = self.handshake(acceptor, (socket, address), number, from, &cut) => accepted,
        };
        let accepted = match accepted {
            Ok(accepted) => accepted,
            Err(refused) => {
                // No handshake waits for it any more.
                if let Some(socket) = refused {
                    acceptor.linger(socket).await;
                }
                return;
            }
        };
        let caller = Caller {
            peer: accepted.peer,
            address,
        };
        // By ALPN rather than by reading: an HTTP/2 server speaks first, which tells clients that they are accepted.
        let builder = match accepted.stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => self.builder().http2_only(),
            Some(_) | None => self.builder().http1_only(),
        };
        // A browser's connection is nothing that a withdrawal ends.
        let kernel = match caller.peer {
            Some(_) => {
                Kernel(|io: &TokioIo<TlsStream<Socket<TcpStream>>>| Some(io.inner().get_ref().0.get_ref()))
            }
            None => Kernel::UNWATCHED,
        };
        let io = Watched::new(TokioIo::new(accepted.stream), &wire, kernel);
        self.connection(builder, io, caller, wire, cut).await;
        drop(accepted.entry);
    }

    /// A handshake, once one of its address's share of them and one of all is free.
    async fn handshake(
        &self,
        acceptor: &Arc<Acceptor>,
        (socket, address): (Socket<TcpStream>, Option<SocketAddr>),
        number: u64,
        from: Option<Arc<Semaphore>>,
        cut: &CancellationToken,
    ) -> Result<Accepted<Socket<TcpStream>>, Option<Socket<TcpStream>>> {
        let permits = async {
            let of_address = match from {
                Some(share) => Some(share.acquire_owned().await),
                None => None,
            };
            (of_address, Arc::clone(&self.handshakes).acquire_owned().await)
        };
        let longest = Duration::from_millis(self.limits.handshake_ms.into());
        let Ok(_permits) = tokio::time::timeout(longest, permits).await else {
            busy(&self.refusals);
            return Err(None);
        };
        acceptor.accept(socket, address, number, cut).await
    }

    /// Serves a connection that is not secured.
    pub(super) async fn plain<I>(self: Arc<Self>, io: I, caller: Caller)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let cut = CancellationToken::new();
        let wire = Wire::new(cut.clone());
        let io = Watched::new(TokioIo::new(Socket::new(io, &wire)), &wire, Kernel::UNWATCHED);
        self.connection(self.builder(), io, caller, wire, cut).await;
    }

    fn builder(&self) -> Builder<Streams> {
        let mut builder = Builder::new(Streams {
            tasks: self.tasks.clone(),
            stalled: Duration::from_millis(self.limits.write_ms.into()),
        });
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
        builder: Builder<Streams>,
        io: Watched<I>,
        caller: Caller,
        wire: Arc<Wire>,
        cut: CancellationToken,
    ) where
        I: Read + Write + Unpin + Send + 'static,
    {
        let server = Arc::clone(self);
        let activity = Arc::<Activity>::default();
        let idle = Arc::clone(&activity).idle(Duration::from_millis(self.limits.idle_ms.into()));
        let of_calls = Arc::clone(&wire);
        let service = hyper::service::service_fn(move |request| {
            let (server, caller, under_way) = (Arc::clone(&server), caller.clone(), activity.begin());
            let wire = Arc::clone(&of_calls);
            async move {
                let egress = Egress::new(&wire);
                Ok::<_, Infallible>(server.answer(request, caller, egress, under_way).await)
            }
        });
        let connection = builder.serve_connection(io, service);
        let mut connection = std::pin::pin!(connection);
        let age = Duration::from_secs(self.limits.connection_age_s.into());
        let turns = poll_fn(|cx| wire.turn(cx, |cx| connection.as_mut().poll(cx)));
        let ended = tokio::select! {
            biased;
            () = cut.cancelled() => return,
            () = self.shutdown.cancelled() => false,
            // How a connection ended is its peer's business; calls are accounted for by themselves.
            served = tokio::time::timeout(age, turns) => served.is_ok(),
            // Last, so that a request that came in time counts.
            () = idle => false,
        };
        if !ended {
            connection.as_mut().graceful_shutdown();
            let grace = Duration::from_millis(self.limits.deadline_ms.into());
            let turns = poll_fn(|cx| wire.turn(cx, |cx| connection.as_mut().poll(cx)));
            tokio::select! {
                biased;
                () = cut.cancelled() => {}
                _ = tokio::time::timeout(grace, turns) => {}
            }
        }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        caller: Caller,
        egress: Egress,
        under_way: UnderWay,
    ) -> Response<Body> {
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
        request.extensions_mut().insert(egress);
        match tokio::time::timeout(deadline, self.router.clone().oneshot(request)).await {
            // The place is given back when the body ends, and so does the call.
            Ok(Ok(mut response)) => {
                let passage = response.extensions_mut().remove::<Passage>();
                response.map(|body| {
                    let body = Body::new(body.map_err(move |error| {
                        let _held = (&place, &under_way);
                        error
                    }));
                    pace::paced_body(match passage {
                        Some(passage) => passage.around(body),
                        None => body,
                    })
                })
            }
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

/// Runs hyper's tasks, one a stream, among those that the listener waits for.
#[derive(Clone)]
struct Streams {
    tasks: TaskTracker,
    /// How long a stream may wait for its peer to take what it was sent.
    stalled: Duration,
}

impl<F> Executor<F> for Streams
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.tasks.spawn(pace::paced(future, self.stalled));
    }
}

/// Counts a connection for which there is no room.
pub(super) fn busy(refusals: &Refusals) {
    refusals.count(PeerRefusal::Busy);
    tracing::warn!(reason = %PeerRefusal::Busy, "connection refused");
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
}
