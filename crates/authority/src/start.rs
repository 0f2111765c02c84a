use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use unefois_core::{Clock, Random};
use unefois_jose::SystemRandom;
use unefois_ledger::{
    Cosigned, DirectoryInUse, Inquiry, Ledger, LedgerService, Lent, Public, PublicError, Registry,
};
use unefois_mesh::metrics::{self, ExchangeInstruments};
use unefois_mesh::web::CsrfKey;
use unefois_mesh::{Connector, Identity, Listener, Trust, with_reflection};
use unefois_proto::pb::directory::v1::directory_service_server::{self, DirectoryServiceServer};
use unefois_proto::pb::ledger::v1::ledger_service_server::{self, LedgerServiceServer};
use unefois_proto::pb::revocation::v1::revocation_service_server::{self, RevocationServiceServer};
use unefois_store::{Component, Db};
use unefois_tlog::SignerKey;
use zeroize::Zeroizing;

use crate::chores::chores;
use crate::config::Config;
use crate::directory::{WatchDirectory, follow_files};
use crate::journal::Journal;
use crate::keys::{KeyFileError, Keys};
use crate::limiter::Limiter;
use crate::login::{HttpError, Provider, ProviderConfig};
use crate::portal::{Site, Theme, ThemeError};
use crate::published::{PublishError, Published};
use crate::revocation::{Effects, Revocation, WatchRevocations};
use crate::service::Authority;
use crate::{Error, router};

/// Requests that one browser address may send at once, and a minute.
const BROWSER_RATE: (u32, u32) = (120, 600);
/// Requests that one participant may send to the back channel at once, and a minute.
const PEER_RATE: (u32, u32) = (2_000, 60_000);
/// How often the health service looks.
const LOOK: Duration = Duration::from_millis(200);

/// Why the authority does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration contradicts itself, or the directory.
    #[error("configuration: {0}")]
    Config(&'static str),
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A key file cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyFileError),
    /// The ledger's key is no signing key.
    #[error("the ledger's key cannot be used")]
    Signer(#[source] unefois_tlog::Error),
    /// Directory or catalogue are refused.
    #[error("the directory cannot be published")]
    Publish(#[from] PublishError),
    /// An identity provider's client cannot be made.
    #[error("an identity provider's configuration cannot be used")]
    Provider(#[from] HttpError),
    /// The theme folder cannot be read.
    #[error("the theme cannot be used")]
    Theme(#[from] ThemeError),
    /// Certificates or listeners.
    #[error("the listeners cannot be opened")]
    Mesh(#[from] unefois_mesh::Error),
    /// The database cannot be used.
    #[error("the database cannot be used")]
    Store(#[from] unefois_store::Error),
    /// The ledger cannot be opened.
    #[error("the ledger cannot be opened")]
    Ledger(#[from] unefois_ledger::Error),
    /// What anybody may check of the ledger.
    #[error("the ledger cannot be published")]
    Public(#[from] PublicError),
    /// The epoch of the withdrawal log cannot be taken.
    #[error("the withdrawal log cannot be taken up")]
    Revocation(#[source] Error),
}

/// An authority that serves.
pub struct Running {
    /// Where participants reach it.
    pub mesh: SocketAddr,
    /// Where browsers reach it.
    pub portal: SocketAddr,
    /// Where anybody may check its ledger, if anywhere.
    pub public: Option<SocketAddr>,
    cosigned: Arc<Cosigned>,
    public_identity: Option<Arc<Identity>>,
    identity: Arc<Identity>,
    trust: Arc<Trust>,
    db: Db,
    ledger: Ledger,
    revocation: Arc<Revocation>,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running")
            .field("mesh", &self.mesh)
            .field("portal", &self.portal)
            .finish_non_exhaustive()
    }
}

impl Running {
    /// Tells, whenever it is asked, whether withdrawals can be announced at that moment.
    pub fn readiness(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let revocation = Arc::clone(&self.revocation);
        move || revocation.is_fresh()
    }

    /// Reads certificates and CRLs again; the directory is followed by itself.
    ///
    /// # Errors
    /// What was in use stays.
    pub fn reload(&self) -> Result<(), unefois_mesh::Error> {
        self.identity.reload()?;
        if let Some(identity) = &self.public_identity {
            identity.reload()?;
        }
        self.trust.reload()
    }

    /// How old the cosignatures of its ledger are.
    pub fn cosigned(&self) -> Arc<Cosigned> {
        Arc::clone(&self.cosigned)
    }

    /// The authority's own ledger.
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Stops taking requests, ends those under way, writes what is queued, and joins every task.
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.tasks.wait().await;
        self.ledger.close().await;
        self.db.close().await;
    }
}

/// Opens the ledger of an authority that does not run, to write to it: whoever wrote it before writes nothing more. `db`
/// is the open database of `config`.
///
/// # Errors
/// [`StartError`] names what is wrong.
pub async fn ledger(
    config: &Config,
    db: &Db,
    clock: &Arc<dyn Clock>,
    random: &Arc<dyn Random>,
    rng: &SystemRandom,
) -> Result<Ledger, StartError> {
    let keys = Keys::load(&config.keys, rng)?;
    let signer = SignerKey::from_text(text(&config.ledger.signer)?.trim()).map_err(StartError::Signer)?;
    let keys = unefois_ledger::Keys {
        signer,
        node_key: keys.node,
    };
    let safeguards = config.ledger.safeguards(&config.database);
    let (clock, random) = (Arc::clone(clock), Arc::clone(random));
    Ok(Ledger::open(db.clone(), keys, safeguards, clock, random).await?)
}

/// Opens the database, takes the next epoch of ledger and withdrawal log, and serves.
///
/// # Errors
/// [`StartError`]: nothing is served.
pub async fn start(
    config: Config,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    rng: SystemRandom,
) -> Result<Running, StartError> {
    check(&config)?;
    let keys = Arc::new(Keys::load(&config.keys, &rng)?);
    let published = Arc::new(Published::load(config.directory.clone())?);
    agree(&config, &published)?;
    let signer = SignerKey::from_text(text(&config.ledger.signer)?.trim()).map_err(StartError::Signer)?;
    listed(&config, &keys, &signer, &published)?;
    let providers = config
        .login
        .iter()
        .map(|provider| provider_of(provider, &clock))
        .collect::<Result<_, _>>()?;
    let theme = match &config.portal.theme {
        Some(folder) => Theme::load(folder)?,
        None => Theme::default(),
    };
    let identity = Arc::new(Identity::load(config.tls.chain.clone(), config.tls.key.clone())?);
    let trust = Arc::new(Trust::load(
        config.tls.authorities.clone(),
        config.tls.crls.clone(),
    )?);
    let gate = published.gate(Arc::clone(&clock));
    let mesh = Listener::mesh(
        config.listen.mesh,
        &identity,
        &trust,
        Arc::clone(&gate),
        &clock,
        config.limits.clone(),
    )
    .await?;
    let portal = portal_listener(&config, &clock).await?;
    let door = match &config.public {
        Some(public) => Some(public.open(&clock, &config.limits).await?),
        None => None,
    };
    let mesh_address = mesh.local_addr().ok_or(StartError::Config("listen.mesh"))?;
    let portal_address = portal.local_addr().ok_or(StartError::Config("listen.portal"))?;

    let db = Db::open(&config.database.url, Component::Authority).await?;
    let ledger_keys = unefois_ledger::Keys {
        signer,
        node_key: keys.node.clone(),
    };
    let safeguards = config.ledger.safeguards(&config.database);
    let ledger = Ledger::open(
        db.clone(),
        ledger_keys,
        safeguards,
        Arc::clone(&clock),
        Arc::clone(&random),
    )
    .await?;
    let connector = Connector::new(
        Arc::clone(&trust),
        gate,
        Arc::clone(&identity),
        Arc::clone(&clock),
    );
    let followed = Arc::clone(&published);
    let in_use: DirectoryInUse = Arc::new(move || followed.edition().directory.clone());
    let participant = config.authority.participant;
    let inquiry = Inquiry::begin(ledger.clone(), connector.clone(), participant, in_use).await;
    let (shutdown, tasks) = (CancellationToken::new(), TaskTracker::new());
    tasks.spawn(inquiry.run(shutdown.clone()));
    let leases = Arc::clone(&published);
    let revocation = Revocation::start(
        db.clone(),
        Arc::clone(&clock),
        Arc::clone(&keys),
        tasks.clone(),
        Arc::new(move || leases.edition().directory.lease_ms()),
    )
    .await
    .map_err(StartError::Revocation)?;
    let revocation = Arc::new(revocation);
    let editions = Arc::clone(&published);
    let surroundings = unefois_ledger::Surroundings {
        connector: &connector,
        registry: Registry::new(move || editions.edition(), |edition| &edition.directory),
    };
    let public = Public::open(ledger.clone(), door, &config.witness, surroundings).await?;
    let (public_address, cosigned, public_identity) =
        (public.address(), public.cosigned(), public.identity());
    let closed_last = db.clone();
    let authority = Arc::new(Authority {
        origin: origin(&config.authority.issuer)?,
        issuer: config.authority.issuer,
        mesh_url: config.authority.mesh_url,
        participant: config.authority.participant,
        csrf: CsrfKey::draw(&*random),
        journal: Journal {
            ledger: ledger.clone(),
            db: db.clone(),
            clock: Arc::clone(&clock),
            random: Arc::clone(&random),
        },
        clock,
        random,
        rng,
        db,
        keys,
        published: Arc::clone(&published),
        revocation: Arc::clone(&revocation),
        providers,
        site: Site::new(config.portal.name, theme),
        connector,
        demonstration: config.demo.personas,
        browsers: Limiter::new(BROWSER_RATE.0, BROWSER_RATE.1),
        peers: Limiter::new(PEER_RATE.0, PEER_RATE.1),
        instruments: ExchangeInstruments::new(),
    });

    tasks.spawn(Arc::clone(&revocation).heartbeats(shutdown.clone()));
    let effects = Effects {
        revocation: Arc::clone(&revocation),
        published: Arc::clone(&published),
        journal: authority.journal.clone(),
        took: metrics::duration(metrics::REVOCATION_EFFECT_DURATION),
    };
    tasks.spawn(effects.run(shutdown.clone()));
    let judged = Arc::clone(&trust);
    tasks.spawn(follow_files(
        Arc::clone(&published),
        move || judged.touch(),
        shutdown.clone(),
    ));
    tasks.spawn(chores(Arc::clone(&authority), shutdown.clone()));
    let (edition, auditors) = (Arc::clone(&published), Arc::clone(&published));
    let lent = Lent {
        directory_version: Arc::new(move || edition.edition().directory.version()),
        auditor: Arc::new(move |key| {
            let edition = auditors.edition();
            edition.directory.auditor(key).map(|auditor| auditor.name.clone())
        }),
        tasks: tasks.clone(),
        shutdown: shutdown.clone(),
    };
    let logs = LedgerService::new(vec![ledger.clone()], authority.participant, lent);
    let (health, health_service) = tonic_health::server::health_reporter();
    tasks.spawn(report(
        health,
        Arc::clone(&revocation),
        ledger.clone(),
        shutdown.clone(),
    ));
    let names = [
        revocation_service_server::SERVICE_NAME,
        directory_service_server::SERVICE_NAME,
        ledger_service_server::SERVICE_NAME,
    ];
    let services = with_reflection(Routes::new(health_service), &names);
    let services = services
        .add_service(RevocationServiceServer::new(WatchRevocations {
            revocation: Arc::clone(&revocation),
            published: Arc::clone(&published),
            tasks: tasks.clone(),
            shutdown: shutdown.clone(),
            readers: Arc::default(),
            feed: Arc::default(),
        }))
        .add_service(DirectoryServiceServer::new(WatchDirectory {
            published,
            tasks: tasks.clone(),
            shutdown: shutdown.clone(),
        }))
        .add_service(LedgerServiceServer::new(logs));
    let back_channel = services
        .into_axum_router()
        .reset_fallback()
        .merge(public.mesh_router())
        .merge(router::mesh(Arc::clone(&authority)));
    public.spawn(&tasks, &shutdown);
    tasks.spawn(mesh.serve(back_channel, shutdown.clone()));
    tasks.spawn(portal.serve(router::portal(authority), shutdown.clone()));
    tasks.close();
    Ok(Running {
        mesh: mesh_address,
        portal: portal_address,
        public: public_address,
        cosigned,
        public_identity,
        identity,
        trust,
        db: closed_last,
        ledger,
        revocation,
        shutdown,
        tasks,
    })
}

/// What the configuration must say for itself.
fn check(config: &Config) -> Result<(), StartError> {
    if config.login.is_empty() {
        return Err(StartError::Config("there is no [[login]]"));
    }
    let mut names: Vec<&str> = config.login.iter().map(|p| p.name.as_str()).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(StartError::Config("two [[login]] have one name"));
    }
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !names
        .iter()
        .all(|name| (1..=16).contains(&name.len()) && name.bytes().all(plain))
    {
        return Err(StartError::Config(
            "login.name is up to 16 lower-case letters and digits",
        ));
    }
    if config.login.iter().any(|provider| provider.levels.is_empty()) {
        return Err(StartError::Config("login.levels names no level"));
    }
    if config.authority.issuer.ends_with('/') {
        return Err(StartError::Config("authority.issuer ends with a slash"));
    }
    let loopback = config.listen.mesh.ip().is_loopback() && config.listen.portal.ip().is_loopback();
    if config.demo.personas && !loopback {
        return Err(StartError::Config(
            "demo.personas is for listeners on loopback only",
        ));
    }
    Ok(())
}

/// What the configuration and the directory must agree on.
fn agree(config: &Config, published: &Published) -> Result<(), StartError> {
    let edition = published.edition();
    let row = edition.directory.authority();
    if row.participant != config.authority.participant {
        return Err(StartError::Config(
            "the directory names another participant as the authority",
        ));
    }
    if row.issuer != config.authority.issuer {
        return Err(StartError::Config("the directory names another issuer URL"));
    }
    Ok(())
}

/// Whether the directory lists the keys that this authority signs with, at present or to come. With another key every
/// token, withdrawal and head would be refused.
fn listed(config: &Config, keys: &Keys, signer: &SignerKey, published: &Published) -> Result<(), StartError> {
    let edition = published.edition();
    let row = edition.directory.authority();
    for (key, listed, path, what) in [
        (
            &keys.token,
            &row.token_keys,
            &config.keys.token,
            "the directory does not list it among the token_keys",
        ),
        (
            &keys.withdrawal,
            &row.withdrawal_keys,
            &config.keys.withdrawal,
            "the directory does not list it among the withdrawal_keys",
        ),
    ] {
        let kid = key.thumbprint().to_string();
        if !listed.iter().any(|key| key.kid() == kid) {
            let path = path.clone();
            return Err(KeyFileError { path, what }.into());
        }
    }
    let vkey = signer.verifier().to_string();
    let own = edition.directory.participant(&row.participant);
    match own.is_some_and(|own| own.logs.iter().any(|log| log.vkey == vkey)) {
        true => Ok(()),
        false => Err(KeyFileError {
            path: config.ledger.signer.clone(),
            what: "the directory does not list this log and this key for the authority",
        }
        .into()),
    }
}

fn origin(issuer: &str) -> Result<String, StartError> {
    let url = url::Url::parse(issuer).map_err(|_| StartError::Config("authority.issuer is not a URL"))?;
    Ok(url.origin().ascii_serialization())
}

fn provider_of(config: &ProviderConfig, clock: &Arc<dyn Clock>) -> Result<Provider, StartError> {
    let secret = Zeroizing::new(text(&config.client_secret)?.trim().to_owned());
    let authorities = match &config.authorities {
        Some(path) => Some(bytes(path)?),
        None => None,
    };
    Ok(Provider::new(
        config.clone(),
        secret,
        authorities.as_deref(),
        Arc::clone(clock),
    )?)
}

async fn portal_listener(config: &Config, clock: &Arc<dyn Clock>) -> Result<Listener, StartError> {
    let (address, limits) = (config.listen.portal, config.limits.clone());
    Ok(match &config.listen.portal_certificate {
        Some(files) => {
            let identity = Arc::new(Identity::load(files.chain.clone(), files.key.clone())?);
            Listener::https(address, &identity, clock, limits).await?
        }
        None => Listener::loopback(address, limits).await?,
    })
}

fn bytes(path: &Path) -> Result<Vec<u8>, StartError> {
    std::fs::read(path).map_err(|source| StartError::Read {
        path: path.to_owned(),
        source,
    })
}

fn text(path: &Path) -> Result<Zeroizing<String>, StartError> {
    let text = std::fs::read_to_string(path).map_err(|source| StartError::Read {
        path: path.to_owned(),
        source,
    })?;
    Ok(Zeroizing::new(text))
}

/// Tells the health service whether tokens can be minted and withdrawals announced at this moment.
async fn report(
    health: HealthReporter,
    revocation: Arc<Revocation>,
    ledger: Ledger,
    shutdown: CancellationToken,
) {
    let mut every = tokio::time::interval(LOOK);
    let mut told = None;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = every.tick() => {}
        }
        let ready = revocation.is_fresh() && ledger.is_writable();
        if told.replace(ready) == Some(ready) {
            continue;
        }
        let status = match ready {
            true => ServingStatus::Serving,
            false => ServingStatus::NotServing,
        };
        health.set_service_status("", status).await;
    }
}
