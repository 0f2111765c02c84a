//! A consumer with its own ledger and directory, beside a producer's node and an authority.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use unefois_core::commitment::NodeKey;
use unefois_core::directory::{DirectoryDocument, KeyStatus, LogRow, ParticipantRow, TlsKey};
use unefois_core::{Boot, Clock, Entry, Handle, Micros, ParticipantId};
use unefois_ledger::{Keys, Ledger, Safeguards};
use unefois_mesh::{
    Connector, DirectoryConfig, DirectoryFollower, Identity, SystemClock, SystemRandom, Trust,
};
use unefois_node::consumer::verify::ReceivedAnswer;
use unefois_node::consumer::{Asked, Consumer, Error, FetchConfig, HeldGrant, Parts, Requested, RestKeys};
use unefois_proto::pb::backoffice::v1 as pb;
use unefois_proto::{AuthorizationCall, CompletionCall, GrantsCall, HandleCall};
use unefois_store::{Component, Db};

use crate::announcer::Announcer;
use crate::database::TestDatabase;
use crate::forge::log_key;
use crate::oauth::Oauth;
use crate::world::{ISSUER, Running, World, authority_id, consumer_id, producer_id};

pub(crate) const SESSION: &str = "one-session-of-the-back-office";
pub(crate) const REDIRECT: &str = "https://commune.example/retour";

/// The system's clock, put forward by some milliseconds.
#[derive(Debug, Default)]
pub(crate) struct TestClock(AtomicI64);

impl TestClock {
    /// Lets time go by on the wall clock.
    pub(crate) fn pass(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Micros {
        SystemClock.now().plus_ms(self.0.load(Ordering::SeqCst))
    }

    fn boottime(&self) -> Boot {
        SystemClock.boottime()
    }
}

pub(crate) struct House {
    pub(crate) consumer: Consumer,
    /// Of the bodies that it hosts.
    pub(crate) hosted: Vec<Consumer>,
    pub(crate) announcer: Announcer,
    /// The consumer's.
    pub(crate) clock: Arc<TestClock>,
    pub(crate) directory: Arc<DirectoryFollower>,
    pub(crate) connector: Connector,
    random: SystemRandom,
    pub(crate) ledger: Ledger,
    pub(crate) db: Db,
    pub(crate) oauth: Oauth,
    pub(crate) trust: Arc<Trust>,
    pub(crate) identity: Arc<Identity>,
    shutdown: CancellationToken,
    tasks: TaskTracker,
    _database: TestDatabase,
}

fn row(d: &mut DirectoryDocument, id: ParticipantId) -> &mut ParticipantRow {
    d.participants.iter_mut().find(|row| row.id == id).expect("a row")
}

/// What every directory of these tests says beside the world's own.
pub(crate) fn arranged(d: &mut DirectoryDocument) {
    let key = log_key(&format!("{}/1", consumer_id()));
    let consumer = row(d, consumer_id());
    consumer.redirect_uris = vec![REDIRECT.to_owned()];
    consumer.logs = vec![LogRow {
        origin: key.verifier().name().as_str().to_owned(),
        vkey: key.verifier().to_string(),
    }];
}

/// A world, and a producer's node in it that answers from `cases`.
pub(crate) async fn producing(cases: &[(&str, &str)], database: &TestDatabase) -> (Arc<World>, Running) {
    let world = World::new(cases).await;
    let (_, jws) = world.change(arranged);
    std::fs::write(world.path("directory.jws"), jws).expect("a file");
    let node = world.node(database.url()).await;
    (Arc::new(world), node)
}

impl House {
    /// A consumer of `world` about the person `EXEMPLE`, whose directory gives these addresses of the producer and says
    /// `change` beside.
    pub(crate) async fn new(
        world: &Arc<World>,
        database: TestDatabase,
        producer: Vec<String>,
        change: impl FnOnce(&mut DirectoryDocument),
    ) -> Self {
        Self::about("EXEMPLE", world, database, producer, change).await
    }

    /// As [`House::new`], which hosts these bodies besides.
    pub(crate) async fn hosting(
        tenants: &[ParticipantId],
        world: &Arc<World>,
        database: TestDatabase,
        producer: Vec<String>,
    ) -> Self {
        Self::open(("EXEMPLE", tenants), world, database, producer, |_| {}).await
    }

    /// As [`House::new`], about another person.
    pub(crate) async fn about(
        person: &'static str,
        world: &Arc<World>,
        database: TestDatabase,
        producer: Vec<String>,
        change: impl FnOnce(&mut DirectoryDocument),
    ) -> Self {
        Self::open((person, &[]), world, database, producer, change).await
    }

    async fn open(
        (person, tenants): (&'static str, &[ParticipantId]),
        world: &Arc<World>,
        database: TestDatabase,
        producer: Vec<String>,
        change: impl FnOnce(&mut DirectoryDocument),
    ) -> Self {
        let (shutdown, tasks) = (CancellationToken::new(), TaskTracker::new());
        let authority = world.ca.issue(&authority_id());
        let announcer = Announcer::default();
        let started = Oauth::start(world, &authority, person, &tasks, &shutdown, announcer.clone());
        let (oauth, address) = started.await;
        let (_, jws) = world.change(|d| {
            arranged(d);
            let authority_row = row(d, authority_id());
            authority_row.mesh = vec![address];
            authority_row.tls.push(TlsKey {
                spki_sha256: authority.credential().spki_sha256,
                status: KeyStatus::Next,
            });
            row(d, producer_id()).mesh = producer;
            change(d);
        });
        let config = DirectoryConfig {
            file: world.path("consumer.jws"),
            ..world.directory_config()
        };
        std::fs::write(&config.file, jws).expect("a file");
        let follower = Arc::new(DirectoryFollower::load(config).expect("a directory"));
        let trust = Arc::new(Trust::from_pem(&world.ca.cert, &world.ca.crl).expect("trust"));
        let identity = Arc::new(Identity::new(world.consumer.credential()));
        let gate = follower.gate(Arc::clone(&world.clock));
        let connector = Connector::new(
            Arc::clone(&trust),
            gate,
            Arc::clone(&identity),
            Arc::clone(&world.clock),
        );
        let db = Db::open(database.url(), Component::Node)
            .await
            .expect("a database");
        let log = async |owner: ParticipantId| {
            let keys = Keys {
                signer: log_key(&format!("{owner}/1")),
                node_key: NodeKey::new(&[3; 32]),
            };
            let (clock, random) = (Arc::clone(&world.clock), Arc::new(world.random.clone()));
            let ledger = Ledger::open(db.clone(), keys, Safeguards::default(), clock, random);
            ledger.await.expect("a ledger")
        };
        let ledger = log(consumer_id()).await;
        let clock = Arc::new(TestClock::default());
        let parts = Parts {
            participant: consumer_id(),
            directory: Arc::clone(&follower),
            ledger: ledger.clone(),
            db: db.clone(),
            connector: connector.clone(),
            identity: Arc::clone(&identity),
            rest: RestKeys::new(&[5; 32]),
            config: FetchConfig::default(),
            clock: Arc::<TestClock>::clone(&clock),
            random: world.random.clone(),
        };
        let consumer = Consumer::new(parts);
        let mut hosted = Vec::new();
        for tenant in tenants {
            hosted.push(consumer.hosting(*tenant, log(*tenant).await));
        }
        tasks.spawn(consumer.clone().follow(hosted.clone(), shutdown.clone()));
        Self {
            consumer,
            hosted,
            announcer,
            clock,
            directory: follower,
            connector,
            random: world.random.clone(),
            ledger,
            db,
            oauth,
            trust,
            identity,
            shutdown,
            tasks,
            _database: database,
        }
    }

    /// Another replica: it shares the database, and was told nothing yet.
    pub(crate) fn replica(&self) -> Consumer {
        self.replica_with(FetchConfig::default())
    }

    /// As [`House::replica`], which spends its time so.
    pub(crate) fn replica_with(&self, config: FetchConfig) -> Consumer {
        let consumer = Consumer::new(Parts {
            participant: consumer_id(),
            directory: Arc::clone(&self.directory),
            ledger: self.ledger.clone(),
            db: self.db.clone(),
            connector: self.connector.clone(),
            identity: Arc::clone(&self.identity),
            rest: RestKeys::new(&[5; 32]),
            config,
            clock: Arc::<TestClock>::clone(&self.clock),
            random: self.random.clone(),
        });
        let following = consumer.clone();
        self.tasks
            .spawn(following.follow(Vec::new(), self.shutdown.clone()));
        consumer
    }

    /// Asks, and comes back at once: the state is the code.
    pub(crate) async fn granted(&self) -> HeldGrant {
        self.granted_as(asking()).await
    }

    /// As [`House::granted`], of another request.
    pub(crate) async fn granted_as(&self, asking: pb::RequestAuthorizationRequest) -> HeldGrant {
        let call = AuthorizationCall::try_from(asking).expect("a sound message");
        let requested = self.asked(call).await;
        let call = CompletionCall::try_from(coming_back(&requested.state)).expect("a sound message");
        self.consumer.complete_authorization(call).await.expect("a grant")
    }

    /// Where a request sends a browser.
    pub(crate) async fn asked(&self, call: AuthorizationCall) -> Requested {
        match self.consumer.request_authorization(call).await.expect("pushed") {
            Asked::Where(requested) => requested,
            Asked::Granted(_) => unreachable!("somebody is asked"),
        }
    }

    pub(crate) async fn fetch(&self, handle: &Handle, request_id: &str) -> Result<ReceivedAnswer, Error> {
        let message = pb::FetchRequest {
            handle: handle.to_string(),
            request_id: request_id.to_owned(),
            units: vec![],
            link_attestation: String::new(),
        };
        let call = HandleCall::try_from(message).expect("a sound message");
        self.consumer.fetch(call, Duration::from_secs(5)).await
    }

    /// Every entry of the consumer's log.
    pub(crate) async fn entries(&self) -> Vec<Entry> {
        let leaves = self.ledger.entries(0, u64::MAX).await.expect("the log reads");
        leaves
            .iter()
            .map(|leaf| Entry::decode(leaf).expect("an entry"))
            .collect()
    }

    pub(crate) async fn stop(self) {
        self.consumer.drained().await;
        self.shutdown.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.ledger.close().await;
        for tenant in &self.hosted {
            tenant.ledger().close().await;
        }
        self.db.close().await;
    }
}

/// The first page of the grants held.
pub(crate) fn page() -> GrantsCall {
    GrantsCall::try_from(pb::ListGrantsRequest::default()).expect("a sound message")
}

/// A request for the two units of the one datatype.
pub(crate) fn asking() -> pb::RequestAuthorizationRequest {
    let unit = |unit: &str, need: pb::Need| pb::UnitRequest {
        unit: unit.to_owned(),
        need: need.into(),
    };
    pb::RequestAuthorizationRequest {
        way: pb::Way::Present.into(),
        demarche: "cantine".into(),
        habilitation: "DP-1".into(),
        dossier_ref: "2026-0412".into(),
        elements: vec![pb::ElementRequest {
            datatype: "cnaf/revenu@1".into(),
            units: vec![
                unit("montant", pb::Need::Required),
                unit("foyer", pb::Need::Optional),
            ],
            period: String::new(),
        }],
        subject: pb::SubjectKind::Self_.into(),
        capacity: pb::Capacity::Self_.into(),
        binding: Some(pb::SubjectBinding {
            binding: Some(pb::subject_binding::Binding::Form(pb::SubjectForm {
                family_name: "EXEMPLE".into(),
                first_given_name: "Camille".into(),
                birthdate: "1980-04".into(),
            })),
        }),
        redirect_uri: REDIRECT.into(),
        standing: None,
        session: SESSION.into(),
        child: None,
        link_days: 0,
        motive: String::new(),
    }
}

/// What the browser brings back.
pub(crate) fn coming_back(state: &str) -> pb::CompleteAuthorizationRequest {
    pb::CompleteAuthorizationRequest {
        code: state.to_owned(),
        state: state.to_owned(),
        iss: ISSUER.to_owned(),
        error: String::new(),
        session: SESSION.to_owned(),
    }
}
