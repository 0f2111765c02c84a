//! What anybody may check of a log, and where: the published head, its tiles, and the listener that shows them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use unefois_core::Clock;
use unefois_mesh::{Identity, Limits, Listener};

use crate::publish::Publisher;
use crate::{Error, Ledger, tiles};

/// The shortest period: below it a head would tell too much of when its participant asks.
const SHORTEST_S: u32 = 10;

/// `[public]`: the read-only listener for anybody.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicConfig {
    /// Where it listens: HTTPS, or plain HTTP on loopback.
    pub listen: SocketAddr,
    /// Its own certificate, chain and key in PEM; plain HTTP without one.
    #[serde(default)]
    pub certificate: Option<PublicCertificate>,
    /// How often a new head is published, in seconds, at least 10.
    #[serde(default = "PublicConfig::default_every_s")]
    pub every_s: u32,
}

impl PublicConfig {
    const fn default_every_s() -> u32 {
        600
    }
}

/// A certificate and its key.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicCertificate {
    /// The chain, leaf first, PEM.
    pub chain: PathBuf,
    /// The key, PEM.
    pub key: PathBuf,
}

/// Why a log is not shown.
#[derive(Debug, thiserror::Error)]
pub enum PublicError {
    /// The configuration asks for what is not done.
    #[error("configuration: {0}")]
    Config(&'static str),
    /// The certificate or the socket.
    #[error("the public listener cannot be opened")]
    Mesh(#[from] unefois_mesh::Error),
    /// The log is not what was published of it, or cannot be read.
    #[error("the published head cannot be taken up")]
    Ledger(#[from] Error),
}

/// What a log's process shows of it.
#[derive(Debug)]
pub struct Public {
    log: Ledger,
    publisher: Publisher,
    listener: Option<Listener>,
}

impl Public {
    /// Takes up what was published of `log` before, and opens the listener if there is to be one.
    ///
    /// # Errors
    /// [`PublicError`] says what is wrong.
    pub async fn open(
        log: Ledger,
        config: Option<&PublicConfig>,
        clock: &Arc<dyn Clock>,
        limits: &Limits,
    ) -> Result<Self, PublicError> {
        let every_s = config.map_or_else(PublicConfig::default_every_s, |config| config.every_s);
        if every_s < SHORTEST_S {
            return Err(PublicError::Config("public.every_s is at least 10"));
        }
        let listener = match config {
            Some(config) => Some(listener(config, clock, limits).await?),
            None => None,
        };
        let publisher = Publisher::open(log.clone(), Duration::from_secs(every_s.into())).await?;
        Ok(Self {
            log,
            publisher,
            listener,
        })
    }

    /// Where anybody reaches it, with the port that the system chose.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listener.as_ref().and_then(Listener::local_addr)
    }

    /// What peers reach over mutual TLS, beside the gRPC services.
    pub fn mesh_router(&self) -> Router {
        tiles::audited(self.log.clone())
    }

    /// What anybody reaches.
    pub fn public_router(&self) -> Router {
        tiles::public(self.log.clone(), self.publisher.published())
    }

    /// What publishes, where no task of [`Public::spawn`] does.
    pub const fn publisher(&mut self) -> &mut Publisher {
        &mut self.publisher
    }

    /// Publishes and serves, as tasks of `tasks`, until `shutdown`.
    pub fn spawn(self, tasks: &TaskTracker, shutdown: &CancellationToken) {
        let router = self.public_router();
        if let Some(listener) = self.listener {
            tasks.spawn(listener.serve(router, shutdown.clone()));
        }
        tasks.spawn(self.publisher.run(shutdown.clone()));
    }
}

async fn listener(
    config: &PublicConfig,
    clock: &Arc<dyn Clock>,
    limits: &Limits,
) -> Result<Listener, unefois_mesh::Error> {
    match &config.certificate {
        Some(files) => {
            let identity = Arc::new(Identity::load(files.chain.clone(), files.key.clone())?);
            Listener::https(config.listen, &identity, clock, limits.clone()).await
        }
        None => Listener::loopback(config.listen, limits.clone()).await,
    }
}
