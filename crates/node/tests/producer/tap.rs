//! A tap on the wire between a consumer and the node, and a consumer that takes what it chooses to take.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{BufMut as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use prost::Message as _;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;
use unefois_proto::pb::exchange::v1 as pb;

use crate::world::{Running, WAIT, World};

/// What the kernel may hold for the tap while it reads nothing.
const KERNEL: u32 = 64 * 1024;

/// Forwards one connection, counts what comes from the node, and stops reading it when told to.
pub(crate) struct Tap {
    address: SocketAddr,
    passed: Arc<AtomicUsize>,
    open: watch::Sender<bool>,
    tasks: TaskTracker,
}

impl Tap {
    pub(crate) async fn before(node: &Running) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let address = listener.local_addr().expect("an address");
        let upstream = node.target.authority.as_str().parse().expect("an address");
        let (passed, open, tasks) = (
            Arc::<AtomicUsize>::default(),
            watch::Sender::new(true),
            TaskTracker::new(),
        );
        let (count, mut may_read) = (Arc::clone(&passed), open.subscribe());
        tasks.spawn(async move {
            let (client, _) = listener.accept().await.expect("a connection");
            let socket = TcpSocket::new_v4().expect("a socket");
            socket.set_recv_buffer_size(KERNEL).expect("a small buffer");
            let node = socket.connect(upstream).await.expect("the node listens");
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_node, mut to_node) = node.into_split();
            let there = async {
                // Each end may go at any time.
                let _ = tokio::io::copy(&mut from_client, &mut to_node).await;
            };
            let back = async {
                let mut buffer = vec![0; 16 * 1024];
                while may_read.wait_for(|open| *open).await.is_ok() {
                    match from_node.read(&mut buffer).await {
                        Ok(0) | Err(_) => break,
                        Ok(n) => {
                            count.fetch_add(n, Ordering::SeqCst);
                            if to_client.write_all(&buffer[..n]).await.is_err() {
                                break;
                            }
                        }
                    }
                }
            };
            // The client hears at once that the node has gone.
            tokio::select! {
                () = back => {}
                () = there => {}
            }
        });
        Self {
            address,
            passed,
            open,
            tasks,
        }
    }

    /// Bytes from the node so far.
    pub(crate) fn passed(&self) -> usize {
        self.passed.load(Ordering::SeqCst)
    }

    /// Reads the node's bytes, or leaves them in the kernel.
    pub(crate) fn read(&self, read: bool) {
        self.open.send_replace(read);
    }

    /// A consumer behind the tap that has room for `window` bytes of each answer until it reads it.
    pub(crate) async fn consumer(&self, world: &World, window: u32) -> Consumer {
        let chain = CertificateDer::from_pem_slice(world.consumer.cert.as_bytes()).expect("a certificate");
        let key = PrivateKeyDer::from_pem_slice(world.consumer.key.as_bytes()).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer))
            .with_client_auth_cert(vec![chain], key)
            .expect("a certificate and its key");
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_only()
            .enable_http2()
            .build();
        let uri = format!("https://{}", self.address).parse().expect("an URI");
        let stream = connector.oneshot(uri).await.expect("a connection");
        let client = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(window)
            .initial_connection_window_size(64 * 1024 * 1024)
            .handshake(stream);
        let (sender, connection) = client.await.expect("HTTP/2");
        self.tasks.spawn(async move {
            // Its calls say how it ended.
            let _ = connection.await;
        });
        Consumer {
            sender,
            address: self.address,
        }
    }
}

/// HTTP/2 without anything around it.
#[derive(Clone)]
pub(crate) struct Consumer {
    sender: SendRequest<Full<Bytes>>,
    address: SocketAddr,
}

/// An answer of which a part has come.
pub(crate) struct Begun {
    body: Incoming,
    /// What was read.
    pub(crate) read: usize,
}

impl Consumer {
    /// The answer as soon as its head has come.
    pub(crate) async fn fetch(&mut self, request: &pb::FetchRequest) -> Result<Begun, hyper::Error> {
        let mut body = BytesMut::new();
        body.put_u8(0);
        body.put_u32(request.encoded_len().try_into().expect("a small message"));
        request.encode(&mut body).expect("room");
        let url = format!(
            "https://{}/unefois.exchange.v1.ExchangeService/Fetch",
            self.address
        );
        let request = http::Request::post(url)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(body.freeze()))
            .expect("a request");
        let answer = self.sender.send_request(request).await?;
        Ok(Begun {
            body: answer.into_body(),
            read: 0,
        })
    }

    /// The answer once its first bytes have come.
    pub(crate) async fn begin(&mut self, request: &pb::FetchRequest) -> Begun {
        let mut begun = self.fetch(request).await.expect("an answer");
        assert!(begun.next().await.expect("its first bytes"), "not its end");
        begun
    }
}

impl Begun {
    /// Reads on; whether there was anything.
    pub(crate) async fn next(&mut self) -> Result<bool, hyper::Error> {
        let frame = tokio::time::timeout(WAIT, self.body.frame())
            .await
            .expect("in time");
        match frame {
            Some(frame) => {
                self.read += frame?.data_ref().map_or(0, Bytes::len);
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Takes all there is; how it ended.
    pub(crate) async fn take(&mut self) -> Result<(), hyper::Error> {
        while self.next().await? {}
        Ok(())
    }
}

/// Whoever answers: the tests are about the client's side of the wire.
#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
