use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use unefois_core::Clock;

use crate::limits::{Place, Places};
use crate::metrics::Handshakes;
use crate::trust::{Admission, from_tls};
use crate::{Peer, PeerId, PeerRefusal, Refusals, tls};

/// How often live connections are judged again where nothing changed: a CRL or a certificate may have ended.
const JUDGE_EVERY: Duration = Duration::from_secs(30);

/// Bytes of a refused client that are read and dropped, so that it can read its alert.
const LINGER_BYTES: u64 = 16 * 1024;

/// What turns sockets into connections with a known peer, and goes on watching them.
pub(crate) struct Acceptor {
    tls: TlsAcceptor,
    /// `None`: no client certificate is asked for.
    admission: Option<Admission>,
    clock: Arc<dyn Clock>,
    handshake: Duration,
    connections_per_peer: u16,
    per_peer: Arc<Places<PeerId>>,
    open: Mutex<HashMap<u64, Open>>,
    refusals: Arc<Refusals>,
    handshakes: Handshakes,
}

struct Open {
    chain: Vec<CertificateDer<'static>>,
    cut: CancellationToken,
}

/// One accepted connection.
pub(crate) struct Accepted<S> {
    pub(crate) stream: TlsStream<S>,
    /// Who is at the other end; `None` where no client certificate is asked for.
    pub(crate) peer: Option<Peer>,
    pub(crate) entry: Option<Entry>,
}

/// A connection's place in the register; leaves it when dropped.
pub(crate) struct Entry {
    acceptor: Arc<Acceptor>,
    number: u64,
    _place: Place<PeerId>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.acceptor.lock().remove(&self.number);
    }
}

impl Acceptor {
    pub(crate) fn new(
        config: Arc<ServerConfig>,
        admission: Option<Admission>,
        clock: Arc<dyn Clock>,
        limits: &crate::Limits,
        refusals: Arc<Refusals>,
    ) -> Arc<Self> {
        Arc::new(Self {
            tls: TlsAcceptor::from(config),
            admission,
            clock,
            handshake: Duration::from_millis(limits.handshake_ms.into()),
            connections_per_peer: limits.connections_per_peer,
            per_peer: Arc::default(),
            open: Mutex::default(),
            refusals,
            handshakes: Handshakes::new(),
        })
    }

    /// Completes the handshake of connection `number`, which comes from `address`; a refusal is counted and logged here,
    /// and gives back the stream where its client may read an alert: [`linger`](Self::linger) lets it. `cut` is cancelled
    /// as soon as the peer may no longer be connected.
    pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        self: &Arc<Self>,
        stream: S,
        address: Option<SocketAddr>,
        number: u64,
        cut: &CancellationToken,
    ) -> Result<Accepted<S>, Option<S>> {
        let handshake = self.tls.accept(stream).into_fallible();
        let (refusal, refused) = match tokio::time::timeout(self.handshake, handshake).await {
            Ok(Ok(stream)) => match self.enter(stream, number, cut) {
                Ok(accepted) => {
                    self.handshakes.accepted();
                    return Ok(accepted);
                }
                Err(refusal) => (refusal, None),
            },
            Ok(Err((error, stream))) => {
                let cause = error.get_ref().and_then(|e| e.downcast_ref());
                (cause.map_or(PeerRefusal::Protocol, from_tls), Some(stream))
            }
            Err(_) => (PeerRefusal::Timeout, None),
        };
        self.refuse(refusal);
        // Without client certificates the other end is a person's browser: its address is not logged.
        if self.admission.is_some() {
            let address = address.map_or_else(|| "unknown".to_owned(), |a| a.to_string());
            tracing::warn!(%address, reason = %refusal, "handshake refused");
        }
        Err(refused)
    }

    fn enter<S>(
        self: &Arc<Self>,
        stream: TlsStream<S>,
        number: u64,
        cut: &CancellationToken,
    ) -> Result<Accepted<S>, PeerRefusal> {
        let Some(admission) = &self.admission else {
            return Ok(Accepted {
                stream,
                peer: None,
                entry: None,
            });
        };
        let chain = stream.get_ref().1.peer_certificates();
        let chain: Vec<_> = chain
            .ok_or(PeerRefusal::NoCertificate)?
            .iter()
            .cloned()
            .map(CertificateDer::into_owned)
            .collect();
        let (leaf, _) = chain.split_first().ok_or(PeerRefusal::NoCertificate)?;
        let peer = Peer::from_der(leaf)?;
        let place = self
            .per_peer
            .take(&peer.id, self.connections_per_peer)
            .ok_or(PeerRefusal::Busy)?;
        self.lock().insert(
            number,
            Open {
                chain: chain.clone(),
                cut: cut.clone(),
            },
        );
        let entry = Entry {
            acceptor: Arc::clone(self),
            number,
            _place: place,
        };
        // Again, now that the connection is in the register: trust may have changed since the handshake judged.
        self.judge(admission, &chain)?;
        Ok(Accepted {
            stream,
            peer: Some(peer),
            entry: Some(entry),
        })
    }

    /// Lets a refused client read its alert: closing a socket that holds unread bytes would reset it.
    pub(crate) async fn linger<S: AsyncRead + AsyncWrite + Unpin>(&self, mut stream: S) {
        let drained = async {
            stream.shutdown().await?;
            tokio::io::copy(&mut (&mut stream).take(LINGER_BYTES), &mut tokio::io::sink()).await
        };
        // Whatever happens to a refused connection, it ends here.
        let _ = tokio::time::timeout(self.handshake, drained).await;
    }

    fn judge(&self, admission: &Admission, chain: &[CertificateDer<'_>]) -> Result<Peer, PeerRefusal> {
        let (leaf, intermediates) = chain.split_first().ok_or(PeerRefusal::NoCertificate)?;
        admission.admit(leaf, intermediates, tls::unix_time(&*self.clock))
    }

    /// Judges live connections again whenever trust or the directory changes, and every 30 s; cuts those that would
    /// no longer be accepted.
    pub(crate) async fn watch(self: Arc<Self>, shutdown: CancellationToken) {
        let Some(admission) = self.admission.clone() else {
            return;
        };
        let mut changes = admission.trust.changes();
        let mut ticks = tokio::time::interval(JUDGE_EVERY);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                // `admission` holds the sender, so that a change is all there can be.
                _ = changes.changed() => {}
                _ = ticks.tick() => {}
            }
            let open: Vec<u64> = self.lock().keys().copied().collect();
            for number in open {
                let entry = self
                    .lock()
                    .get(&number)
                    .map(|open| (open.chain.clone(), open.cut.clone()));
                let Some((chain, cut)) = entry else { continue };
                if let Err(refusal) = self.judge(&admission, &chain) {
                    let peer = chain.first().and_then(|leaf| Peer::from_der(leaf).ok());
                    let peer = peer.map_or_else(String::new, |peer| peer.id.to_string());
                    tracing::warn!(peer, reason = %refusal, "connection cut");
                    self.refuse(refusal);
                    cut.cancel();
                }
                // A judgement is some 60 µs of signatures: others may run between two.
                tokio::task::yield_now().await;
            }
        }
    }

    fn refuse(&self, refusal: PeerRefusal) {
        self.refusals.count(refusal);
        self.handshakes.refused(refusal);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
