mod means;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use unefois_core::{Clock, DatatypeRev, Directory, ParticipantId};
use unefois_jose::SigningKey;
use unefois_ledger::{
    Cosigned, DirectoryInUse, Inquiry, Keys, Ledger, LedgerService, Lent, Public, PublicError, Registry,
};
use unefois_mesh::{
    Connector, DirectoryFollower, Identity, Listener, SystemRandom, Trust, status, with_reflection,
};
use unefois_proto::pb::exchange::v1::exchange_service_server::{self, ExchangeServiceServer};
use unefois_proto::pb::ledger::v1::ledger_service_server::{self, LedgerServiceServer};
use unefois_store::{Component, Db};

use crate::backoffice::House;
use crate::chores::chores;
use crate::config::{self, Config, KeyFileError, ProducerConfig};
use crate::consumer::{self, Consumer, ConsumerConfig, RestKeys};
use crate::lease::Keeper;
use crate::producer::source::http::HttpConfigError;
use crate::producer::source::sandbox::FolderError;
use crate::producer::{self, Producer};
use crate::tenant;
use means::{Means, producer, seals};

/// How often the health services look at whether the node may answer.
const LOOK: Duration = Duration::from_millis(250);

/// What a process lends its node.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// The generator.
    pub random: SystemRandom,
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// Certificates, trust or a socket.
    #[error("the mesh cannot be joined")]
    Mesh(#[from] unefois_mesh::Error),
    /// The directory or the catalogue.
    #[error("the directory cannot be used")]
    Directory(#[from] unefois_mesh::FollowError),
    /// The database.
    #[error("the database cannot be used")]
    Store(#[from] unefois_store::Error),
    /// The ledger.
    #[error("the ledger cannot be opened")]
    Ledger(#[from] unefois_ledger::Error),
    /// What anybody may check of the ledger.
    #[error("the ledger cannot be published")]
    Public(#[from] PublicError),
    /// A source.
    #[error("the source of {datatype} cannot be used")]
    Sandbox {
        /// Of which datatype.
        datatype: DatatypeRev,
        /// Why.
        #[source]
        source: FolderError,
    },
    /// A source.
    #[error("the source of {datatype} cannot be used")]
    Http {
        /// Of which datatype.
        datatype: DatatypeRev,
        /// Why.
        #[source]
        source: HttpConfigError,
    },
    /// A tenant cannot be told from another.
    #[error("the configuration of the tenant {tenant} is wrong: {what}")]
    Tenant {
        /// Which.
        tenant: ParticipantId,
        /// What is wrong.
        what: &'static str,
    },
    /// A tenant's log.
    #[error("the ledger of the tenant {tenant} cannot be opened")]
    TenantLog {
        /// Which.
        tenant: ParticipantId,
        /// Why.
        #[source]
        source: Box<StartError>,
    },
    /// The configuration contradicts itself or the catalogue.
    #[error("the configuration of {datatype} is wrong: {what}")]
    Produce {
        /// Of which datatype.
        datatype: DatatypeRev,
        /// What is wrong.
        what: &'static str,
    },
}

/// What every role of a node stands on.
#[derive(Clone, Debug)]
pub struct Foundation {
    /// The directory in use.
    pub directory: Arc<DirectoryFollower>,
    /// The node's log.
    pub ledger: Ledger,
    /// Its database.
    pub db: Db,
    /// Opens connections to peers.
    pub connector: Connector,
    /// The process's own credential.
    pub identity: Arc<Identity>,
    /// The authorities and CRLs of the mesh.
    pub trust: Arc<Trust>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// The generator.
    pub random: SystemRandom,
}

/// A node that is built and listens, but does not serve yet.
#[derive(Debug)]
pub struct Node {
    foundation: Foundation,
    /// One for each log.
    inquiries: Vec<Inquiry>,
    public: Public,
    listener: Listener,
    producer: Option<(Producer, Keeper)>,
    consumer: Option<Consumer>,
    /// Those of the bodies that it hosts.
    hosted: Vec<Consumer>,
    house: House,
}

/// Opens the ledger of a node to write to it: whoever wrote it before writes nothing more. `db` is the open `database`.
///
/// # Errors
/// [`StartError`] names what is wrong.
pub async fn ledger(
    config: &config::LedgerKeys,
    database: &config::Database,
    db: &Db,
    clock: &Arc<dyn Clock>,
    random: &SystemRandom,
) -> Result<Ledger, StartError> {
    let keys = Keys {
        signer: config::signer(&config.signer)?,
        node_key: config::node_key(&config.node_key)?,
    };
    let safeguards = config.safeguards(database);
    let (clock, random) = (Arc::clone(clock), Arc::new(random.clone()));
    Ok(Ledger::open(db.clone(), keys, safeguards, clock, random).await?)
}

impl Node {
    /// Reads keys, directory and catalogue, opens the database and the ledger, and binds the socket.
    ///
    /// # Errors
    /// [`StartError`] names what is wrong.
    pub async fn build(config: Config, surroundings: Surroundings) -> Result<Self, StartError> {
        let Surroundings { clock, random } = surroundings;
        tenant::check(&config)?;
        let identity = Arc::new(Identity::load(config.tls.chain, config.tls.key)?);
        let trust = Arc::new(Trust::load(config.tls.authorities, config.tls.crls)?);
        let directory = Arc::new(DirectoryFollower::load(config.directory)?);
        listed(
            &config.ledger,
            config.producer.as_ref(),
            config.node.participant,
            &directory.edition().directory,
            &random,
        )?;
        let gate = directory.gate(Arc::clone(&clock));
        let connector = Connector::new(
            Arc::clone(&trust),
            Arc::clone(&gate),
            Arc::clone(&identity),
            Arc::clone(&clock),
        );

        // A start that fails on any of these has not taken the log from the process that writes it.
        let listener = Listener::mesh(
            config.listen.mesh,
            &identity,
            &trust,
            gate,
            &clock,
            config.limits.clone(),
        )
        .await?;
        let door = match &config.public {
            Some(public) => Some(public.open(&clock, &config.limits).await?),
            None => None,
        };
        let means = match config.producer {
            Some(produce) => Some(Means::open(
                produce,
                config.node.participant,
                &directory,
                &random,
            )?),
            None => None,
        };
        let (rest, house) = match &config.consumer {
            Some(consume) => {
                let hosted = config.tenants.iter().map(|tenant| tenant.participant);
                let served = std::iter::once(config.node.participant).chain(hosted).collect();
                let mesh = (&identity, &trust);
                (
                    Some(RestKeys::load(&consume.rest_key)?),
                    House::open(consume, served, mesh, &clock, &config.limits).await?,
                )
            }
            None => (None, House::default()),
        };

        let db = Db::open(&config.database.url, Component::Node).await?;
        let ledger = ledger(&config.ledger, &config.database, &db, &clock, &random).await?;
        let whose = (&clock, &random);
        let logs = tenant::logs(&config.tenants, &config.ledger, &config.database, &db, whose).await?;
        let followed = Arc::clone(&directory);
        let in_use: DirectoryInUse = Arc::new(move || followed.edition().directory.clone());
        let own = config.node.participant;
        let asking = std::iter::once((own, None, &ledger));
        let asking = asking.chain(logs.iter().map(|(tenant, log)| (*tenant, Some(own), log)));
        let inquiries = join_all(asking.map(|(owner, publisher, log)| {
            let in_use = Arc::clone(&in_use);
            Inquiry::begin(log.clone(), connector.clone(), owner, publisher, in_use)
        }))
        .await;
        let editions = Arc::clone(&directory);
        let surroundings = unefois_ledger::Surroundings {
            connector: &connector,
            registry: Registry::new(move || editions.edition(), |edition| &edition.directory),
        };
        let mut public = Public::open(ledger.clone(), door, &config.witness, surroundings).await?;
        for (tenant, log) in &logs {
            let name = tenant.siret().to_string();
            public
                .host(&name, log.clone(), &config.witness, &connector)
                .await?;
        }
        let foundation = Foundation {
            directory,
            ledger,
            db,
            connector,
            identity,
            trust,
            clock,
            random,
        };
        let producer = means.map(|means| producer(means, &foundation));
        let consumer = config.consumer.zip(rest);
        let consumer =
            consumer.map(|(consume, rest)| consumer_of(&consume, rest, config.node.participant, &foundation));
        let hosted = consumer.iter().flat_map(|consumer| {
            let hosting = |(tenant, log): &(_, Ledger)| consumer.hosting(*tenant, log.clone());
            logs.iter().map(hosting)
        });
        let hosted: Vec<Consumer> = hosted.collect();
        for tenant in &hosted {
            if let Err(error) = tenant.admitted() {
                tracing::warn!(tenant = %tenant.participant(), error = status::chain(&error), "a tenant is not served");
            }
        }
        Ok(Self {
            foundation,
            inquiries,
            public,
            listener,
            producer,
            consumer,
            hosted,
            house,
        })
    }

    /// Where it listens, with the port that the system chose.
    pub fn mesh_address(&self) -> Option<SocketAddr> {
        self.listener.local_addr()
    }

    /// Where anybody may check its ledger, with the port that the system chose.
    pub fn public_address(&self) -> Option<SocketAddr> {
        self.public.address()
    }

    /// How old the cosignatures of its ledger are.
    pub fn cosigned(&self) -> Arc<Cosigned> {
        self.public.cosigned()
    }

    /// The same of the ledgers of the bodies that it hosts, in the order of [`Node::hosted`].
    pub fn cosigned_of_hosted(&self) -> Vec<Arc<Cosigned>> {
        self.public.cosigned_of_hosted()
    }

    /// What reads the node's certificates and CRLs again; on an error, what was in use stays.
    pub fn reloading(&self) -> impl Fn() -> Result<(), unefois_mesh::Error> + Send + Sync + 'static {
        let Foundation { identity, trust, .. } = self.foundation.clone();
        let public = self.public.identity();
        move || {
            identity.reload()?;
            if let Some(identity) = &public {
                identity.reload()?;
            }
            trust.reload()
        }
    }

    /// What its roles stand on.
    pub const fn foundation(&self) -> &Foundation {
        &self.foundation
    }

    /// The producer, if it is one.
    pub fn producer(&self) -> Option<&Producer> {
        self.producer.as_ref().map(|(producer, _)| producer)
    }

    /// The consumer, if it is one.
    pub const fn consumer(&self) -> Option<&Consumer> {
        self.consumer.as_ref()
    }

    /// The consumers of the bodies that it hosts.
    pub fn hosted(&self) -> &[Consumer] {
        &self.hosted
    }

    /// Where the back-office service listens over mutual TLS, with the port that the system chose.
    pub fn house_address(&self) -> Option<SocketAddr> {
        self.house.address()
    }

    /// The same node, with [its guard removed](crate::lease::Guard::remove): for runs of faults, which no configuration can ask for.
    #[doc(hidden)]
    pub fn without_guard(self) -> Self {
        if let Some((_, keeper)) = &self.producer {
            keeper.guard.remove();
        }
        self
    }

    /// Serves until `shutdown`: then takes no new call, ends and records those under way, and closes the ledger.
    pub async fn serve(self, shutdown: CancellationToken) {
        self.serve_with(Router::new(), shutdown).await;
    }

    /// As [`serve`](Self::serve), with `more` on the mesh listener beside the node's own services.
    pub async fn serve_with(self, more: Router, shutdown: CancellationToken) {
        let Self {
            foundation,
            inquiries,
            public,
            listener,
            producer,
            consumer,
            hosted,
            house,
        } = self;
        let mut logs = vec![foundation.ledger.clone()];
        logs.extend(hosted.iter().map(|tenant| tenant.ledger().clone()));
        let (tasks, background) = (TaskTracker::new(), CancellationToken::new());
        let follower = Arc::clone(&foundation.directory);
        tasks.spawn(follower.follow(
            foundation.connector.clone(),
            Arc::clone(&foundation.trust),
            background.clone(),
        ));
        for inquiry in inquiries {
            tasks.spawn(inquiry.run(background.clone()));
        }
        let (health, health_service) = tonic_health::server::health_reporter();
        let mut names = vec![ledger_service_server::SERVICE_NAME];
        names.extend(
            producer
                .is_some()
                .then_some(exchange_service_server::SERVICE_NAME),
        );
        let mut routes = with_reflection(Routes::new(health_service), &names);
        let authority = foundation.directory.edition().directory.authority().participant;
        let directory = Arc::clone(&foundation.directory);
        let auditors = Arc::clone(&foundation.directory);
        let delegations = Arc::clone(&foundation.directory);
        let lent = Lent {
            directory_version: Arc::new(move || directory.edition().directory.version()),
            auditor: Arc::new(move |key| {
                let edition = auditors.edition();
                edition.directory.auditor(key).map(|auditor| auditor.name.clone())
            }),
            identities: match &producer {
                Some((producer, _)) => {
                    let producer = producer.clone();
                    Arc::new(move |sealed| producer.identity(sealed))
                }
                None => Arc::new(|_| None),
            },
            acts_for: Arc::new(move |publisher, tenant| {
                delegations.edition().directory.acts_for(publisher, tenant)
            }),
            tasks: tasks.clone(),
            shutdown: shutdown.clone(),
        };
        let service = LedgerService::new(logs.clone(), authority, lent);
        routes = routes.add_service(LedgerServiceServer::new(service));
        tasks.spawn(chores(
            foundation.clone(),
            logs.clone(),
            consumer.clone(),
            background.clone(),
        ));
        let more = more.merge(public.mesh_router());
        public.spawn(&tasks, &background);
        if let Some(consumer) = &consumer {
            tasks.spawn(consumer.clone().follow(hosted.clone(), background.clone()));
            house.spawn(consumer, &hosted, &foundation.clock, &tasks, &shutdown);
        }
        let mut serving = None;
        if let Some((producer, keeper)) = producer {
            routes = routes.add_service(ExchangeServiceServer::new(producer.clone()));
            tasks.spawn(keeper.run(background.clone()));
            tasks.spawn(producer::suspension::record(
                foundation.db.clone(),
                foundation.ledger.clone(),
                producer.participant(),
                background.clone(),
            ));
            tasks.spawn(report(health, producer.clone(), background.clone()));
            serving = Some(producer);
        }
        listener
            .serve(more.merge(routes.into_axum_router()), shutdown)
            .await;
        if let Some(producer) = serving {
            producer.drained().await;
        }
        if let Some(consumer) = consumer {
            consumer.drained().await;
        }
        background.cancel();
        tasks.close();
        tasks.wait().await;
        for log in logs {
            log.close().await;
        }
        foundation.db.close().await;
    }
}

/// Whether the directory lists the keys that this node signs with, in its own row; whichever place they have there, at
/// present or to come. With another key everything that it signs would be refused, after it was written.
fn listed(
    ledger: &config::LedgerKeys,
    producer: Option<&ProducerConfig>,
    participant: ParticipantId,
    directory: &Directory,
    random: &SystemRandom,
) -> Result<(), StartError> {
    const LOG: &str = "the directory does not list this log and this key for the participant: check [ledger] signer and \
         [node] participant, or have the directory list it";
    const SEAL: &str = "the directory does not list it among the participant's seal_keys: check the file, or have the \
         directory list it";
    let key = config::signer(&ledger.signer)?;
    let vkey = key.verifier().to_string();
    let row = directory.participant(&participant);
    if !row.is_some_and(|row| row.logs.iter().any(|log| log.vkey == vkey)) {
        return Err(config::broken(&ledger.signer, LOG).into());
    }
    if let Some(producer) = producer {
        let seals = seals(producer, random)?;
        // The one that is to follow may be listed later, and the present one be gone by now.
        let listed = |key: &SigningKey| {
            let kid = key.thumbprint().to_string();
            row.is_some_and(|row| row.seal_keys.iter().any(|key| key.kid() == kid))
        };
        if !seals.iter().any(listed) {
            return Err(config::broken(&producer.seal, SEAL).into());
        }
    }
    Ok(())
}

fn consumer_of(
    config: &ConsumerConfig,
    rest: RestKeys,
    participant: ParticipantId,
    foundation: &Foundation,
) -> Consumer {
    Consumer::new(consumer::Parts {
        participant,
        directory: Arc::clone(&foundation.directory),
        ledger: foundation.ledger.clone(),
        db: foundation.db.clone(),
        connector: foundation.connector.clone(),
        identity: Arc::clone(&foundation.identity),
        rest,
        config: config.fetch.clone(),
        clock: Arc::clone(&foundation.clock),
        random: foundation.random.clone(),
    })
}

/// Tells the health service, for the whole and for each datatype, whether an answer can be given at this moment.
async fn report(health: HealthReporter, producer: Producer, shutdown: CancellationToken) {
    let mut look = tokio::time::interval(LOOK);
    let mut names: Vec<String> = producer.datatypes().map(ToString::to_string).collect();
    names.extend([String::new(), exchange_service_server::SERVICE_NAME.to_owned()]);
    let mut told = None;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = look.tick() => {}
        }
        let ready = producer.ready();
        if told.replace(ready) != Some(ready) {
            let status = if ready {
                ServingStatus::Serving
            } else {
                ServingStatus::NotServing
            };
            for name in &names {
                health.set_service_status(name, status).await;
            }
        }
    }
}
