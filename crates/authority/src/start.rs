mod prepared;

pub use prepared::Prepared;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::path::PathBuf;
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
    Cosigned, DirectoryInUse, Inquiry, Ledger, LedgerService, Lent, Public, PublicDoor, PublicError, Registry,
};
use unefois_mesh::metrics::{self, ExchangeInstruments};
use unefois_mesh::{Connector, Identity, Listener, PeerGate, Trust, with_reflection};
use unefois_proto::pb::directory::v1::directory_service_server::{self, DirectoryServiceServer};
use unefois_proto::pb::ledger::v1::ledger_service_server::{self, LedgerServiceServer};
use unefois_proto::pb::revocation::v1::revocation_service_server::{self, RevocationServiceServer};
use unefois_store::Db;
use unefois_tlog::SignerKey;

use crate::chores::chores;
use crate::config::Config;
use crate::directory::{WatchDirectory, follow_files};
use crate::journal::Journal;
use crate::keys::{KeyFileError, Keys};
use crate::limiter::Limiter;
use crate::login::HttpError;
use crate::portal::{Site, ThemeError};
use crate::published::PublishError;
use crate::revocation::{Effects, InForce, Recovery, Revocation, WatchRevocations};
use crate::service::Authority;
use crate::{Error, router};
use prepared::{origin, text};

/// Requests that one browser address may send at once, and a minute.
const BROWSER_RATE: (u32, u32) = (120, 600);
/// Requests that one participant may send to the back channel at once, and a minute.
const PEER_RATE: (u32, u32) = (2_000, 60_000);
/// Pages that ask every administration about one person, at once and a minute: each costs every producer a question.
const HISTORY_RATE: (u32, u32) = (40, 20);
/// Pages that may wait at once for withdrawals to take effect.
const MAX_WAITS: usize = 256;
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
    /// Tells, whenever it is asked, whether withdrawals can be announced at that moment, or why not.
    pub fn readiness(&self) -> impl Fn() -> Result<(), Cow<'static, str>> + Send + Sync + 'static {
        let revocation = Arc::clone(&self.revocation);
        move || revocation.serves()
    }

    /// Returns once nothing more is minted or announced and no other process goes on: only a new start does. What nodes
    /// have proved that the database had lost is in it again by then.
    pub async fn relearnt(&self) {
        self.revocation.relearnt().await;
    }

    /// Returns once another process holds the epoch, or the database has lost records: nothing more is minted or announced,
    /// and only a new start goes on.
    pub async fn superseded(&self) {
        self.revocation.superseded().await;
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

/// Opens the database, takes the next epoch of withdrawal log and ledger, and serves. A standby waits for its turn first.
///
/// # Errors
/// [`StartError`]: nothing is served.
pub async fn start(
    config: Config,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    rng: SystemRandom,
) -> Result<Running, StartError> {
    Box::pin(Prepared::new(config, clock, random, rng).await?.serve()).await
}

impl Prepared {
    /// Takes the next epoch of withdrawal log and ledger, and serves. A standby first waits until it is its turn, and
    /// listens nowhere meanwhile, so that whoever knows several addresses goes on to one that answers.
    ///
    /// # Errors
    /// [`StartError`]: nothing is served.
    pub async fn serve(self) -> Result<Running, StartError> {
        let Self {
            config,
            clock,
            random,
            rng,
            keys,
            published,
            signer,
            providers,
            theme,
            identity,
            trust,
            db,
        } = self;
        let (shutdown, tasks) = (CancellationToken::new(), TaskTracker::new());
        let ends = shutdown.clone().drop_guard();
        let judged = Arc::clone(&trust);
        tasks.spawn(follow_files(
            Arc::clone(&published),
            move || judged.touch(),
            shutdown.clone(),
        ));
        let gate = published.gate(Arc::clone(&clock));
        let connector = Connector::new(
            Arc::clone(&trust),
            Arc::clone(&gate),
            Arc::clone(&identity),
            Arc::clone(&clock),
        );

        let doors = Doors::open(&config, (&identity, &trust), gate, &clock);
        let logged = async {
            let keys = unefois_ledger::Keys {
                signer,
                node_key: keys.node.clone(),
            };
            let safeguards = config.ledger.safeguards(&config.database);
            let (clock, random) = (Arc::clone(&clock), Arc::clone(&random));
            let ledger = Ledger::open(db.clone(), keys, safeguards, clock, random).await?;
            let followed = Arc::clone(&published);
            let in_use: DirectoryInUse = Arc::new(move || followed.edition().directory.clone());
            let participant = config.authority.participant;
            let inquiry = Inquiry::begin(ledger.clone(), connector.clone(), participant, None, in_use).await;
            Ok::<_, StartError>((ledger, inquiry))
        };
        let epoch = async {
            let followed = Arc::clone(&published);
            let in_force: Arc<dyn InForce> = followed;
            let (db, clock, keys, tasks) = (db.clone(), Arc::clone(&clock), Arc::clone(&keys), tasks.clone());
            let held = match config.authority.standby {
                true => Revocation::take_over(db, clock, keys, tasks.clone(), in_force).await,
                false => Revocation::start(db, clock, keys, tasks.clone(), in_force)
                    .await
                    .map_err(StartError::Revocation)?,
            };
            let held = Arc::new(held);
            // From now on it shows that it holds the epoch: what is left to do may take longer than others wait.
            tasks.spawn(Arc::clone(&held).heartbeats(shutdown.clone()));
            Ok::<_, StartError>(held)
        };
        let (doors, (ledger, inquiry), revocation) = match config.authority.standby {
            // Of several that wait, the one that has the epoch takes the ledger.
            true => {
                let revocation = epoch.await?;
                (doors.await?, logged.await?, revocation)
            }
            // What would stop this start is found before anything is taken from whoever serves.
            false => (doors.await?, logged.await?, epoch.await?),
        };
        tasks.spawn(inquiry.run(shutdown.clone()));
        let editions = Arc::clone(&published);
        let surroundings = unefois_ledger::Surroundings {
            connector: &connector,
            registry: Registry::new(move || editions.edition(), |edition| &edition.directory),
        };
        let public = Public::open(ledger.clone(), doors.public, &config.witness, surroundings).await?;
        let (public_address, cosigned, public_identity) =
            (public.address(), public.cosigned(), public.identity());
        let mesh_address = doors.mesh.local_addr().ok_or(StartError::Config("listen.mesh"))?;
        let portal_address = doors
            .portal
            .local_addr()
            .ok_or(StartError::Config("listen.portal"))?;
        let closed_last = db.clone();
        let authority = Arc::new(Authority {
            origin: origin(&config.authority.issuer)?,
            issuer: config.authority.issuer,
            mesh_url: config.authority.mesh_url,
            participant: config.authority.participant,
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
            perimeters: config.perimeters,
            site: Site::new(config.portal.name, theme),
            connector,
            tasks: tasks.clone(),
            demonstration: config.demo.personas,
            waits: tokio::sync::Semaphore::new(MAX_WAITS),
            browsers: Limiter::new(BROWSER_RATE.0, BROWSER_RATE.1),
            peers: Limiter::new(PEER_RATE.0, PEER_RATE.1),
            histories: Limiter::new(HISTORY_RATE.0, HISTORY_RATE.1),
            instruments: ExchangeInstruments::new(),
            identities_unread: metrics::meter().u64_gauge(metrics::IDENTITIES_UNREAD).build(),
        });

        let effects = Effects {
            revocation: Arc::clone(&revocation),
            published: Arc::clone(&published),
            journal: authority.journal.clone(),
            tasks: tasks.clone(),
            took: metrics::duration(metrics::REVOCATION_EFFECT_DURATION),
        };
        // What a database that went back would prove, another may have proved otherwise.
        if revocation.recovered().is_ok() {
            tasks.spawn(effects.run(shutdown.clone()));
        }
        let recovery = Recovery {
            revocation: Arc::clone(&revocation),
            published: Arc::clone(&published),
            ledger: ledger.clone(),
        };
        tasks.spawn(recovery.run(shutdown.clone()));
        tasks.spawn(chores(Arc::clone(&authority), shutdown.clone()));
        let (edition, auditors) = (Arc::clone(&published), Arc::clone(&published));
        let delegations = Arc::clone(&published);
        let lent = Lent {
            directory_version: Arc::new(move || edition.edition().directory.version()),
            auditor: Arc::new(move |key| {
                let edition = auditors.edition();
                edition.directory.auditor(key).map(|auditor| auditor.name.clone())
            }),
            identities: Arc::new(|_| None),
            acts_for: Arc::new(move |publisher, tenant| {
                delegations.edition().directory.acts_for(publisher, tenant)
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
        tasks.spawn(doors.mesh.serve(back_channel, shutdown.clone()));
        tasks.spawn(doors.portal.serve(router::portal(authority), shutdown.clone()));
        tasks.close();
        ends.disarm();
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
}

/// The sockets that it answers on.
struct Doors {
    mesh: Listener,
    portal: Listener,
    public: Option<PublicDoor>,
}

impl Doors {
    async fn open(
        config: &Config,
        (identity, trust): (&Arc<Identity>, &Arc<Trust>),
        gate: PeerGate,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let (listen, limits) = (&config.listen, || config.limits.clone());
        let mesh = Listener::mesh(listen.mesh, identity, trust, gate, clock, limits()).await?;
        let portal = match &listen.portal_certificate {
            Some(files) => {
                let identity = Arc::new(Identity::load(files.chain.clone(), files.key.clone())?);
                Listener::https(listen.portal, &identity, clock, limits()).await?
            }
            None => Listener::loopback(listen.portal, limits()).await?,
        };
        let public = match &config.public {
            Some(public) => Some(public.open(clock, &config.limits).await?),
            None => None,
        };
        Ok(Self { mesh, portal, public })
    }
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
