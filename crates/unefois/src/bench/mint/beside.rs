//! Another authorization server, whose program is given, in a process of its own.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use axum::body::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;

use super::person::form;
use crate::demo::world::{CLAMART, World};

const READY_WITHIN: Duration = Duration::from_secs(120);

/// The process, and a client of it; it is killed where it is dropped.
#[derive(Debug)]
pub(super) struct Beside {
    child: Child,
    _input: ChildStdin,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    endpoint: Uri,
    form: Bytes,
}

/// What it says once it serves.
#[derive(Deserialize)]
struct Serves {
    token_endpoint: String,
}

#[derive(Deserialize)]
struct Given {
    access_token: String,
}

impl Beside {
    /// Starts `script` by Node, with the authority's certificate.
    pub(super) async fn start(script: &Path, world: &World) -> anyhow::Result<Self> {
        let own = world.folder("authority");
        let mut child = Command::new("node")
            .arg(script)
            .args([
                world.folder("ca").join("ca.pem"),
                own.join("tls.pem"),
                own.join("tls.key"),
            ])
            .arg(CLAMART)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("node cannot be run")?;
        let input = child.stdin.take().context("standard input is a pipe")?;
        let output = child.stdout.take().context("standard output is a pipe")?;
        let mut beside = Self {
            child,
            _input: input,
            client: client(world)?,
            endpoint: Uri::default(),
            form: form(&[("grant_type", "client_credentials"), ("client_id", CLAMART)]).into(),
        };
        let read = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            BufReader::new(output).read_line(&mut line).map(|_| line)
        });
        let line = tokio::time::timeout(READY_WITHIN, read).await;
        let line = line.context("the other server does not start")???;
        let serves: Serves = serde_json::from_str(&line).context("the other server does not start")?;
        beside.endpoint = serves.token_endpoint.parse()?;
        Ok(beside)
    }

    /// Asks for one token.
    pub(super) async fn token(&self) -> anyhow::Result<()> {
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.endpoint.clone())
            .header(CONTENT_TYPE, kind)
            .body(Full::new(self.form.clone()))?;
        let (head, body) = self.client.request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        ensure!(
            head.status == StatusCode::OK,
            "the other server answers {}: {}",
            head.status,
            String::from_utf8_lossy(&body)
        );
        let given: Given = serde_json::from_slice(&body)?;
        ensure!(
            given.access_token.matches('.').count() == 2,
            "the other server answers no token"
        );
        Ok(())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // One that has ended cannot be killed, which is as well.
        if self.child.kill().is_ok() {
            let _ = self.child.wait();
        }
    }
}

/// HTTP/1.1 over TLS with the certificate of a consumer: a connection for each request under way.
fn client(world: &World) -> anyhow::Result<Client<HttpsConnector<HttpConnector>, Full<Bytes>>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(world.folder("ca").join("ca.pem"))?)?;
    let own = world.folder("clamart");
    let chain = CertificateDer::pem_file_iter(own.join("tls.pem"))?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(own.join("tls.key"))?;
    let provider = rustls::crypto::ring::default_provider();
    let config = rustls::ClientConfig::builder_with_provider(provider.into())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_only()
        .enable_http1()
        .build();
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}
