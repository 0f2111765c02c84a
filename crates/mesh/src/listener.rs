mod activity;
mod egress;
mod pace;
mod server;
mod socket;
mod wire;

pub use egress::{Egress, Passage};

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use unefois_core::Clock;

use crate::acceptor::Acceptor;
use crate::limits::Places;
use crate::trust::{Admission, End};
use crate::{Error, Identity, Limits, PeerGate, Refusals, SystemClock, Trust, measured, tls};
use server::{Caller, Server, busy};

/// One address may have this part of all handshakes under way.
const SHARE: u16 = 8;

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

    /// A Unix socket that this process's user and group may open (mode 0660), for the process's own systems. A socket
    /// left by a process that is gone is replaced.
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
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(failed)?;
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
        let connections = Arc::new(Semaphore::new(self.limits.connections.into()));
        let addresses = Arc::<Places<IpAddr>>::default();
        let share = usize::from(self.limits.handshakes.div_ceil(SHARE));
        let router = match self.measured {
            true => measured(router, Arc::new(SystemClock)),
            false => router,
        };
        let server = Arc::new(Server {
            router,
            calls: Arc::default(),
            handshakes: Arc::new(Semaphore::new(self.limits.handshakes.into())),
            tasks: tasks.clone(),
            shutdown: shutdown.clone(),
            refusals: Arc::clone(&self.refusals),
            limits: self.limits,
        });
        if let Guard::Tls(acceptor) = &self.guard {
            tasks.spawn(Arc::clone(acceptor).watch(shutdown.clone()));
        }
        let mut number = 0;
        loop {
            let stream = tokio::select! {
                () = shutdown.cancelled() => break,
                stream = self.socket.accept() => stream,
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
                busy(&self.refusals);
                continue;
            };
            number += 1;
            let server = Arc::clone(&server);
            match (stream, &self.guard) {
                (Stream::Tcp(stream), Guard::Tls(acceptor)) => {
                    let most = server.limits.connections_per_address;
                    let of_address = match stream.peer_addr() {
                        Ok(address) => addresses.take(&network(address.ip()), most),
                        Err(_) => continue,
                    };
                    let Some(of_address) = of_address else {
                        busy(&self.refusals);
                        continue;
                    };
                    let handshakes = of_address.share(share);
                    let acceptor = Arc::clone(acceptor);
                    tasks.spawn(async move {
                        server.secured(&acceptor, stream, number, handshakes).await;
                        drop((of_address, place));
                    });
                }
                // Plain sockets are for this machine, whose proxies and systems share an address.
                (Stream::Tcp(stream), Guard::Plain) => {
                    let caller = Caller {
                        peer: None,
                        address: stream.peer_addr().ok(),
                    };
                    tasks.spawn(async move {
                        server.plain(stream, caller).await;
                        drop(place);
                    });
                }
                (Stream::Unix(stream), Guard::Plain | Guard::Tls(_)) => {
                    let caller = Caller {
                        peer: None,
                        address: None,
                    };
                    tasks.spawn(async move {
                        server.plain(stream, caller).await;
                        drop(place);
                    });
                }
            }
        }
        drop(self.socket);
        tasks.close();
        tasks.wait().await;
    }
}

/// What counts as one address: a host of IPv6 has a network of 64 bits to itself.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 @ IpAddr::V4(_) => v4,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn plain_http_stays_on_loopback() {
        let refused = Listener::loopback(([0, 0, 0, 0], 0).into(), Limits::default()).await;
        assert!(matches!(refused, Err(Error::NotLoopback(_))));
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2::1"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
