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
use unefois_mesh::{Connector, Identity, Limits, Listener};
use unefois_tlog::CosignerKey;

use crate::publish::Publisher;
use crate::witness::{Asked, Cosigned, Registry, Witness, WitnessConfig};
use crate::{Error, Ledger, tiles, witness};

/// The shortest period: below it a head would tell too much of when its participant asks.
const SHORTEST_S: u32 = 10;
/// The most witnesses: a note has room for their lines, and a turn for their answers.
const MAX_WITNESSES: usize = 16;

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

    /// Opens the listener, which needs no log: a start that finds its port taken has not taken the log from anybody.
    ///
    /// # Errors
    /// [`PublicError`] says what is wrong.
    pub async fn open(&self, clock: &Arc<dyn Clock>, limits: &Limits) -> Result<PublicDoor, PublicError> {
        if self.every_s < SHORTEST_S {
            return Err(PublicError::Config("public.every_s is at least 10"));
        }
        let identity = match &self.certificate {
            Some(files) => Some(Arc::new(Identity::load(files.chain.clone(), files.key.clone())?)),
            None => None,
        };
        let listener = match &identity {
            Some(identity) => Listener::https(self.listen, identity, clock, limits.clone()).await?,
            None => Listener::loopback(self.listen, limits.clone()).await?,
        };
        Ok(PublicDoor {
            every_s: self.every_s,
            identity,
            listener,
        })
    }
}

/// The listener for anybody, open, with no log behind it yet.
#[derive(Debug)]
pub struct PublicDoor {
    every_s: u32,
    identity: Option<Arc<Identity>>,
    listener: Listener,
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
    /// The key that cosigns cannot be used.
    #[error("{0} is no key of a witness, or cannot be read; unefois key generate witness makes one")]
    Key(PathBuf),
    /// The certificate or the socket.
    #[error("the public listener cannot be opened")]
    Mesh(#[from] unefois_mesh::Error),
    /// The log is not what was published of it, or cannot be read.
    #[error("the published head cannot be taken up")]
    Ledger(#[from] Error),
}

/// What a process lends its log to be shown and witnessed.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// Opens connections to witnesses of the mesh.
    pub connector: &'a Connector,
    /// The logs to be witnessed, and where witnesses listen.
    pub registry: Registry,
}

/// What a log's process shows of it, and cosigns of others.
#[derive(Debug)]
pub struct Public {
    log: Ledger,
    registry: Registry,
    period: Duration,
    publisher: Publisher,
    /// Of other bodies, each with the path that it is shown under.
    hosted: Vec<(String, Ledger, Publisher)>,
    witness: Option<Arc<Witness>>,
    listener: Option<Listener>,
    /// The listener's own.
    identity: Option<Arc<Identity>>,
}

impl Public {
    /// Takes up what was published of `log` before, to be shown at `door` if there is one.
    ///
    /// # Errors
    /// [`PublicError`] says what is wrong.
    pub async fn open(
        log: Ledger,
        door: Option<PublicDoor>,
        witness: &WitnessConfig,
        surroundings: Surroundings<'_>,
    ) -> Result<Self, PublicError> {
        let Surroundings { connector, registry } = surroundings;
        let every_s = door
            .as_ref()
            .map_or_else(PublicConfig::default_every_s, |door| door.every_s);
        let asked = asked(witness, connector, &registry)?;
        let witness = match &witness.key {
            Some(path) => Some(Arc::new(Witness::open(path, &log, registry.clone())?)),
            None => None,
        };
        let (listener, identity) = door.map_or((None, None), |door| (Some(door.listener), door.identity));
        let period = Duration::from_secs(every_s.into());
        Ok(Self {
            publisher: Publisher::open(log.clone(), period, asked).await?,
            period,
            hosted: Vec::new(),
            log,
            registry,
            witness,
            listener,
            identity,
        })
    }

    /// Shows `log` too, which this process writes for another body, under `/NAME`, and asks the same witnesses to cosign
    /// it.
    ///
    /// # Errors
    /// As [`Public::open`].
    pub async fn host(
        &mut self,
        name: &str,
        log: Ledger,
        witness: &WitnessConfig,
        connector: &Connector,
    ) -> Result<(), PublicError> {
        let asked = asked(witness, connector, &self.registry)?;
        let publisher = Publisher::open(log.clone(), self.period, asked).await?;
        self.hosted.push((format!("/{name}"), log, publisher));
        Ok(())
    }

    /// The listener's own certificate, if it has one, to be read again when its file changes.
    pub fn identity(&self) -> Option<Arc<Identity>> {
        self.identity.clone()
    }

    /// Where anybody reaches it, with the port that the system chose.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listener.as_ref().and_then(Listener::local_addr)
    }

    /// What peers reach over mutual TLS, beside the gRPC services.
    pub fn mesh_router(&self) -> Router {
        let own = tiles::audited(self.log.clone(), self.registry.clone()).merge(self.witness_router());
        self.hosted.iter().fold(own, |all, (path, log, _)| {
            all.nest(path, tiles::audited(log.clone(), self.registry.clone()))
        })
    }

    /// What anybody reaches.
    pub fn public_router(&self) -> Router {
        let own = tiles::public(self.log.clone(), self.publisher.published()).merge(self.witness_router());
        self.hosted.iter().fold(own, |all, (path, log, publisher)| {
            all.nest(path, tiles::public(log.clone(), publisher.published()))
        })
    }

    fn witness_router(&self) -> Router {
        let witness = self.witness.as_ref().map(Arc::clone);
        witness.map_or_else(Router::new, witness::router)
    }

    /// The key that cosigns others' heads, if there is one.
    pub fn witness_key(&self) -> Option<&CosignerKey> {
        self.witness.as_deref().map(Witness::verifier)
    }

    /// How old the cosignatures of the log are.
    pub fn cosigned(&self) -> Arc<Cosigned> {
        self.publisher.cosigned()
    }

    /// As [`Public::cosigned`], of each log that is shown for another body, in the order in which they were added.
    pub fn cosigned_of_hosted(&self) -> Vec<Arc<Cosigned>> {
        let hosted = self.hosted.iter();
        hosted.map(|(_, _, publisher)| publisher.cosigned()).collect()
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
        for (_, _, publisher) in self.hosted {
            tasks.spawn(publisher.run(shutdown.clone()));
        }
    }
}

/// The witnesses that are asked to cosign one log.
fn asked(
    witness: &WitnessConfig,
    connector: &Connector,
    registry: &Registry,
) -> Result<Vec<Asked>, PublicError> {
    if witness.ask.len() > MAX_WITNESSES {
        return Err(PublicError::Config("witness.ask names at most 16 witnesses"));
    }
    let asked = witness.ask.iter();
    asked
        .map(|config| Asked::open(config, connector, registry))
        .collect()
}
