use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http::uri::Authority;
use hyper_util::rt::TokioIo;
use rustls::AlertDescription;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::AsyncBufReadExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use unefois_core::{Clock, ParticipantId};

use crate::link::Link;
use crate::trust::{Admission, End, from_tls};
use crate::{Credential, HttpsClient, Identity, PeerGate, PeerRefusal, Trust, tls};

const CONNECT: Duration = Duration::from_secs(5);
/// How long a server may take to speak first: longer than a refusal takes to arrive.
const FIRST_WORD: Duration = Duration::from_secs(1);
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
const HEADER_BYTES: u32 = 16 * 1024;

/// A participant and where it answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Who must answer.
    pub peer: ParticipantId,
    /// Host and port.
    pub authority: Authority,
}

/// Why no connection to a participant was made. Its text names the peer, says what is wrong and what to check.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody answers there.
    #[error("{peer} is not reachable at {authority}: check the address, the network and that it is running")]
    Unreachable {
        /// Who was called.
        peer: ParticipantId,
        /// Where.
        authority: Authority,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// Its certificate is not accepted here.
    #[error("the certificate of {peer} at {authority} is refused: {refusal}; {}", .refusal.advice())]
    PeerRefused {
        /// Who was called.
        peer: ParticipantId,
        /// Where.
        authority: Authority,
        /// Why.
        refusal: PeerRefusal,
    },
    /// This process's certificate is not accepted there.
    #[error("{peer} at {authority} refuses our certificate: {}", advice(*.alert))]
    RefusedByPeer {
        /// Who was called.
        peer: ParticipantId,
        /// Where.
        authority: Authority,
        /// What it said.
        alert: AlertDescription,
    },
    /// The connection or its handshake took too long.
    #[error("{peer} at {authority} did not answer in time: check the network and its load")]
    Timeout {
        /// Who was called.
        peer: ParticipantId,
        /// Where.
        authority: Authority,
    },
}

impl ConnectError {
    /// The reason why a call had no connection, where that is what its status is about.
    pub fn of(status: &Status) -> Option<&Self> {
        Self::in_chain(status)
    }

    pub(crate) fn in_chain<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref() {
                return Some(found);
            }
            next = error.source();
        }
        None
    }
}

/// What an alert means for the operator of the certificate that it answers (RFC 8446, 6.2).
fn advice(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::CertificateRevoked => "it is revoked; ask for a new one with a new key",
        AlertDescription::CertificateExpired => {
            "it is expired or not yet valid; check its dates and both clocks"
        }
        AlertDescription::UnknownCA => {
            "its issuer is not trusted there, or the CRL held there is missing or stale; compare the authorities, \
             renew the CRL"
        }
        AlertDescription::UnsupportedCertificate => {
            "it lacks clientAuth; issue it again with another profile"
        }
        AlertDescription::CertificateUnknown => {
            "it names no participant, or its name and key are not in the directory there; check its SAN and the \
             directory's version"
        }
        AlertDescription::CertificateRequired => "none was shown; configure one",
        AlertDescription::BadCertificate => "it is malformed; issue it again",
        _ => "the handshake failed; look for this address in the peer's log",
    }
}

/// Opens connections to participants, showing this process's certificate.
#[derive(Clone)]
pub struct Connector {
    trust: Arc<Trust>,
    gate: PeerGate,
    credential: Arc<dyn ResolvesClientCert>,
    clock: Arc<dyn Clock>,
    /// How far a peer's answer may be ahead of what was read; the library's own bound where absent.
    window: Option<u32>,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}

impl Connector {
    /// A connector whose next connections show whatever `identity` holds then.
    pub fn new(trust: Arc<Trust>, gate: PeerGate, identity: Arc<Identity>, clock: Arc<dyn Clock>) -> Self {
        Self {
            trust,
            gate,
            credential: identity,
            clock,
            window: None,
        }
    }

    /// The same, for answers over gRPC of which a peer may send `bytes` and no more before they are read.
    pub fn with_window(&self, bytes: u32) -> Self {
        Self {
            window: Some(bytes),
            ..self.clone()
        }
    }

    /// The same, showing this credential whatever comes after: a token can be used only with the credential that it
    /// was minted with (I5).
    pub fn with_credential(&self, credential: Arc<Credential>) -> Self {
        Self {
            credential,
            ..self.clone()
        }
    }

    /// A gRPC channel to `target`; it connects when first used and again after each loss. `deadline` bounds the time
    /// until an answer begins, where a call does not set less.
    pub fn channel(&self, target: &Target, deadline: Duration) -> Channel {
        let uri = Uri::builder()
            .scheme("http")
            .authority(target.authority.clone())
            .path_and_query("/")
            .build()
            .expect("a scheme, an authority and a path make a URI");
        let origin = origin(&target.authority);
        // The address has scheme http so that tonic leaves TLS to this connector.
        Endpoint::from(uri)
            .origin(origin)
            .connect_timeout(CONNECT + FIRST_WORD)
            .timeout(deadline)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .http2_max_header_list_size(HEADER_BYTES)
            .initial_stream_window_size(self.window)
            .connect_with_connector_lazy(self.to(target))
    }

    /// A client for HTTPS requests to `target`, over the same certificates.
    pub fn https(&self, target: &Target) -> HttpsClient {
        HttpsClient::new(self.to(target), target.clone())
    }

    fn to(&self, target: &Target) -> Dial {
        let admission = Admission {
            trust: Arc::clone(&self.trust),
            gate: Arc::clone(&self.gate),
            end: End::Server,
            expected: Some(target.peer),
        };
        Dial {
            tls: TlsConnector::from(tls::client(
                Arc::clone(&self.credential),
                admission.clone(),
                &self.clock,
            )),
            admission,
            clock: Arc::clone(&self.clock),
            target: target.clone(),
        }
    }
}

pub(crate) fn origin(authority: &Authority) -> Uri {
    Uri::builder()
        .scheme("https")
        .authority(authority.clone())
        .path_and_query("/")
        .build()
        .expect("a scheme, an authority and a path make a URI")
}

/// Opens one connection to one target: hyper's and tonic's connector.
#[derive(Clone)]
pub(crate) struct Dial {
    tls: TlsConnector,
    admission: Admission,
    clock: Arc<dyn Clock>,
    target: Target,
}

impl tower::Service<Uri> for Dial {
    type Response = Link;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Link, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let dial = self.clone();
        Box::pin(async move {
            match tokio::time::timeout(CONNECT, dial.connect()).await {
                Ok(connected) => connected,
                Err(_) => Err(ConnectError::Timeout {
                    peer: dial.target.peer,
                    authority: dial.target.authority,
                }),
            }
        })
    }
}

impl Dial {
    async fn connect(&self) -> Result<Link, ConnectError> {
        let authority = &self.target.authority;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let failed = |source| self.failed(source);
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|e| failed(std::io::Error::new(std::io::ErrorKind::InvalidInput, e)))?;
        let tcp = TcpStream::connect((host, authority.port_u16().unwrap_or(443)))
            .await
            .map_err(failed)?;
        tcp.set_nodelay(true).map_err(failed)?;
        let mut stream = self
            .tls
            .connect(name, TokioIo::new(TokioIo::new(tcp)))
            .await
            .map_err(failed)?;
        // In TLS 1.3 the client is done before the server has judged its certificate: a refusal arrives instead of
        // the server's first word, and would otherwise show as a broken call. A server that waits for us is let be.
        match tokio::time::timeout(FIRST_WORD, stream.fill_buf()).await {
            Ok(Ok([])) => Err(failed(std::io::ErrorKind::UnexpectedEof.into())),
            Ok(Err(error)) => Err(failed(error)),
            Ok(Ok(_)) | Err(_) => {
                let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
                let chain = chain.iter().cloned().map(CertificateDer::into_owned).collect();
                Ok(Link::new(
                    stream.into(),
                    chain,
                    self.admission.clone(),
                    Arc::clone(&self.clock),
                ))
            }
        }
    }

    fn failed(&self, source: std::io::Error) -> ConnectError {
        let (peer, authority) = (self.target.peer, self.target.authority.clone());
        match source.get_ref().and_then(|e| e.downcast_ref()) {
            Some(rustls::Error::AlertReceived(alert)) => ConnectError::RefusedByPeer {
                peer,
                authority,
                alert: *alert,
            },
            Some(error) => ConnectError::PeerRefused {
                peer,
                authority,
                refusal: from_tls(error),
            },
            None => ConnectError::Unreachable {
                peer,
                authority,
                source,
            },
        }
    }
}
