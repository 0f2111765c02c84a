//! A consumer that asks with tokens of its own, and takes of each answer what it chooses to, when it chooses to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use prost::Message as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Code, Status};
use unefois::demo::world::World;
use unefois_core::{AuthorizationDetails, Clock as _, Handle, Micros, Random};
use unefois_mesh::status::Refusal;
use unefois_mesh::{SystemClock, SystemRandom};
use unefois_proto::pb::exchange::v1 as pb;

use super::tap::{Arrival, Frames, Socket, Tap, Watcher};

/// How long the authority may take to answer before it is asked again.
const ASKED: Duration = Duration::from_secs(3);
/// How long a producer's answer may take: longer than a producer is ever stopped, and than a call may last.
const ANSWERED: Duration = Duration::from_secs(20);
/// What a socket that is not read takes: less than an answer.
const LITTLE: u32 = 1_024;

/// How a consumer takes an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Manner {
    /// At once.
    Prompt,
    /// It has room for so many bytes until it is told to read.
    Window(u32),
    /// It does not read its socket until it is told to.
    Unread,
}

/// The commune as a consumer, with the certificate of its node.
#[derive(Clone)]
pub(crate) struct Consumer {
    tls: Arc<ClientConfig>,
    authority: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    authority_url: String,
    producer: SocketAddr,
    watcher: Arc<Watcher>,
    tasks: TaskTracker,
}

/// What the authority gave for one handle.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    access_token: String,
    pivot_jwe: String,
    details: AuthorizationDetails,
}

/// How a fetch ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The whole answer came.
    Answered,
    /// The producer said why not.
    Refused(String),
    /// The answer, or its connection, was cut off.
    Reset,
    /// There was no connection, or no answer in time.
    Unanswered,
}

/// One fetch, as it ended and as the tap saw it.
#[derive(Clone, Debug)]
pub(crate) struct Fetched {
    pub(crate) began: Micros,
    pub(crate) at: Micros,
    pub(crate) ended: Ended,
    pub(crate) arrivals: Vec<Arrival>,
}

impl Consumer {
    /// `member`'s node, as it would speak to the authority and the producer at these addresses.
    pub(crate) fn new(
        world: &World,
        member: &str,
        authority: SocketAddr,
        producer: SocketAddr,
        tasks: TaskTracker,
    ) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(world.folder("ca").join("ca.pem"))?)?;
        let chain = CertificateDer::from_pem_file(world.folder(member).join("tls.pem"))?;
        let key = PrivateKeyDer::from_pem_file(world.folder(member).join("tls.key"))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![chain], key)?;
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config.clone())
            .https_only()
            .with_server_name_resolver(FixedServerNameResolver::new(name()?))
            .enable_http1()
            .build();
        let mut tls = config;
        tls.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self {
            tls: Arc::new(tls),
            authority: Client::builder(TokioExecutor::new()).build(connector),
            authority_url: format!("https://{authority}"),
            producer,
            watcher: Arc::new(Watcher::start()?),
            tasks,
        })
    }

    /// The same, as it would speak to an authority at this address.
    pub(crate) fn at(&self, authority: SocketAddr) -> Self {
        Self {
            authority_url: format!("https://{authority}"),
            ..self.clone()
        }
    }

    /// One token for `handle`.
    pub(crate) async fn mint(&self, refresh_token: &str, handle: &Handle) -> anyhow::Result<Token> {
        #[derive(serde::Deserialize)]
        struct Minted {
            access_token: String,
            pivot_jwe: String,
            authorization_details: [AuthorizationDetails; 1],
        }
        let form = format!("grant_type=refresh_token&refresh_token={refresh_token}&gh={handle}");
        let (status, body) = self.ask(Method::POST, "/as/token", form).await?;
        if status != StatusCode::OK {
            bail!("{status}: {}", String::from_utf8_lossy(&body));
        }
        let minted: Minted = serde_json::from_slice(&body)?;
        let [details] = minted.authorization_details;
        Ok(Token {
            access_token: minted.access_token,
            pivot_jwe: minted.pivot_jwe,
            details,
        })
    }

    /// Gives a grant back: all of its handles are withdrawn.
    pub(crate) async fn withdraw(&self, grant: &[u8; 16]) -> anyhow::Result<()> {
        let path = format!("/as/grants/{}", URL_SAFE_NO_PAD.encode(grant));
        let (status, body) = self.ask(Method::DELETE, &path, String::new()).await?;
        match status {
            StatusCode::NO_CONTENT => Ok(()),
            _ => bail!("{status}: {}", String::from_utf8_lossy(&body)),
        }
    }

    async fn ask(&self, method: Method, path: &str, form: String) -> anyhow::Result<(StatusCode, Bytes)> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.authority_url))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(form)))?;
        let asked = async {
            let answer = self.authority.request(request).await?;
            let status = answer.status();
            anyhow::Ok((status, answer.into_body().collect().await?.to_bytes()))
        };
        tokio::time::timeout(ASKED, asked).await?
    }

    /// One request, over a connection of its own. What waits to be read is read once `opened`; `answering` is cancelled
    /// when the answer begins, or will not.
    pub(crate) async fn fetch(
        &self,
        request: &pb::FetchRequest,
        manner: Manner,
        opened: &CancellationToken,
        answering: &CancellationToken,
    ) -> Fetched {
        let _ended = answering.clone().drop_guard();
        let began = SystemClock.now();
        let mut taps = None;
        let fetching = async {
            let tap = taps.insert(self.tap(manner).await?);
            let sender = self.connect(tap, manner).await?;
            let ended = self
                .fetch_by(tap, sender, request, manner, (opened, answering))
                .await;
            anyhow::Ok(ended.unwrap_or(Ended::Reset))
        };
        let ended = match tokio::time::timeout(ANSWERED, fetching).await {
            Ok(Ok(ended)) => ended,
            Ok(Err(_)) | Err(_) => Ended::Unanswered,
        };
        Fetched {
            began,
            at: SystemClock.now(),
            ended,
            arrivals: taps.map(|tap| tap.arrivals()).unwrap_or_default(),
        }
    }

    async fn tap(&self, manner: Manner) -> anyhow::Result<Arc<Tap>> {
        let socket = TcpSocket::new_v4()?;
        if matches!(manner, Manner::Unread) {
            socket.set_recv_buffer_size(LITTLE)?;
        }
        let stream = socket.connect(self.producer).await?;
        stream.set_nodelay(true)?;
        Ok(self.watcher.tap(stream))
    }

    async fn fetch_by(
        &self,
        tap: &Arc<Tap>,
        mut sender: SendRequest<Full<Bytes>>,
        request: &pb::FetchRequest,
        manner: Manner,
        (opened, answering): (&CancellationToken, &CancellationToken),
    ) -> anyhow::Result<Ended> {
        let url = "https://localhost/unefois.exchange.v1.ExchangeService/Fetch";
        let mut message = BytesMut::new();
        message.put_u8(0);
        message.put_u32(request.encoded_len().try_into()?);
        request.encode(&mut message)?;
        let request = Request::post(url)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(message.freeze()))?;
        if matches!(manner, Manner::Unread) {
            tap.shut();
            let (tap, opened) = (Arc::clone(tap), opened.clone());
            self.tasks.spawn(async move {
                opened.cancelled().await;
                tap.open();
            });
        }
        let answer = sender.send_request(request).await?;
        answering.cancel();
        if let Some(refused) = refused(answer.headers()) {
            return Ok(refused);
        }
        if matches!(manner, Manner::Window(_)) {
            opened.cancelled().await;
        }
        let mut body = answer.into_body();
        while let Some(frame) = body.frame().await {
            if let Ok(trailers) = frame?.into_trailers() {
                return Ok(refused(&trailers).unwrap_or(Ended::Answered));
            }
        }
        Ok(Ended::Reset)
    }

    async fn connect(&self, tap: &Arc<Tap>, manner: Manner) -> anyhow::Result<SendRequest<Full<Bytes>>> {
        let tls = TlsConnector::from(Arc::clone(&self.tls));
        let tls = tls.connect(name()?, Socket::new(tap)).await?;
        let mut builder = Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new());
        if let Manner::Window(bytes) = manner {
            builder.initial_stream_window_size(bytes);
        }
        let frames = TokioIo::new(Frames::new(tls, Arc::clone(tap)));
        let (sender, connection) = builder.handshake(frames).await?;
        self.tasks.spawn(async move {
            // Its one call says how it ended.
            let _ = connection.await;
        });
        Ok(sender)
    }
}

impl Token {
    /// A request under this token, under an id of its own: it may be sent again.
    pub(crate) fn request(&self, random: &SystemRandom) -> pb::FetchRequest {
        let (details, drawn) = (&self.details, random as &dyn Random);
        pb::FetchRequest {
            request_id: drawn.exchange_id(SystemClock.now()).to_string(),
            access_token: self.access_token.clone(),
            pivot_jwe: self.pivot_jwe.clone(),
            datatype: details.datatype().to_string(),
            units: details.units.iter().map(|unit| unit.unit.to_string()).collect(),
            demarche: details.demarche.to_string(),
            dossier_ref: details.dossier_ref.to_string(),
            nonce: drawn.bytes::<32>().to_vec(),
            ..Default::default()
        }
    }
}

fn name() -> anyhow::Result<ServerName<'static>> {
    ServerName::try_from("localhost").context("a name")
}

/// What a status in headers or trailers says; `None` where it is none, or success.
fn refused(headers: &HeaderMap) -> Option<Ended> {
    let status = Status::from_header_map(headers)?;
    if status.code() == Code::Ok {
        return None;
    }
    let reason = Refusal::of(&status).map(|refusal| refusal.reason.to_string());
    Some(Ended::Refused(
        reason.unwrap_or_else(|| format!("{:?}", status.code())),
    ))
}
