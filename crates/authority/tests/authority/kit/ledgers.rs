//! The ledgers of the other participants, served where the directory says.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Status, async_trait};
use unefois_core::commitment::{Field, NodeKey, Salt};
use unefois_core::directory::ParticipantRow;
use unefois_core::{AccessTokenClaims, Boot, Clock, Entry, Event, ExchangeId, Micros, Reason, SealedSubject};
use unefois_jose::jwe;
use unefois_ledger::{About, Draft, Identities, Ledger, LedgerService, Lent};
use unefois_mesh::{Identity, Limits, Listener, PeerGate, SystemClock, SystemRandom, Trust};
use unefois_proto::pb::ledger::v1 as pb;
use unefois_proto::pb::ledger::v1::ledger_service_server::{self, LedgerServiceServer};
use unefois_store::{Component, Db};
use unefois_tlog::SignerKey;

use super::pki::Pem;
use super::{AUTHORITY, Kit};
use crate::answers::Answers;
use crate::database::TestDatabase;

/// One of the two nodes.
#[derive(Clone, Copy)]
pub(crate) enum Which {
    Producer,
    Commune,
}

/// The clock of a node's ledger: the system's, unless it was stopped.
#[derive(Debug, Default)]
pub(crate) struct LedgerClock(AtomicI64);

impl LedgerClock {
    /// Stops it, or lets it go on.
    pub(crate) fn stop_at(&self, at: Option<Micros>) {
        self.0.store(at.map_or(0, Micros::get), Ordering::SeqCst);
    }
}

impl Clock for LedgerClock {
    fn now(&self) -> Micros {
        match self.0.load(Ordering::SeqCst) {
            0 => SystemClock.now(),
            stopped => Micros::new(stopped),
        }
    }

    fn boottime(&self) -> Boot {
        SystemClock.boottime()
    }
}

/// A node's ledger, served where the directory says.
pub(crate) struct Node {
    pub(crate) ledger: Ledger,
    pub(crate) clock: Arc<LedgerClock>,
    served: Served,
    _database: TestDatabase,
}

impl Node {
    pub(super) async fn start(kit: &Kit, pem: &Pem, row: ParticipantRow, seed: u8) -> Self {
        let database = TestDatabase::sqlite();
        let db = Db::open(database.url(), Component::Node).await.unwrap();
        let keys = unefois_ledger::Keys {
            signer: SignerKey::new(row.logs[0].origin.parse().unwrap(), &[seed; 32]),
            node_key: NodeKey::new(&[seed; 32]),
        };
        let clock = Arc::new(LedgerClock::default());
        let ledger = Ledger::open(
            db,
            keys,
            unefois_ledger::Safeguards::default(),
            Arc::<LedgerClock>::clone(&clock),
            Arc::new(SystemRandom::new()),
        )
        .await;
        let ledger = ledger.unwrap();
        let service = LedgerService::new(
            vec![ledger.clone()],
            AUTHORITY.parse().unwrap(),
            Lent {
                directory_version: Arc::new(|| 1),
                auditor: Arc::new(|_| None),
                identities: kit.identities(),
                acts_for: Arc::new(|publisher, tenant| publisher == tenant),
                tasks: TaskTracker::new(),
                shutdown: CancellationToken::new(),
            },
        );
        Self {
            ledger,
            clock,
            served: Served::start(kit, pem, &row, service).await,
            _database: database,
        }
    }

    /// Writes an entry of an exchange under a token; the leaf.
    pub(crate) async fn write(
        &self,
        token: &AccessTokenClaims,
        exchange: ExchangeId,
        write: Write,
    ) -> Vec<u8> {
        self.write_about(token, exchange, write, Default::default()).await
    }

    /// As [`write`](Self::write), found by `persons` too, and by what finds them a second time.
    pub(crate) async fn write_about(
        &self,
        token: &AccessTokenClaims,
        exchange: ExchangeId,
        write: Write,
        (persons, aliases): (Vec<Vec<u8>>, Vec<Vec<u8>>),
    ) -> Vec<u8> {
        let details = &token.authorization_details[0];
        let salt = Salt::from_bytes([7; 32]);
        let entry = Entry {
            exchange_id: Some(exchange),
            attempt: 1,
            requester: Some(token.client_id),
            provider: Some(token.aud),
            datatype: Some(details.datatype().clone()),
            demarche: Some(details.demarche.clone()),
            legal_basis: Some(details.legal_basis.clone()),
            capacity: Some(token.capacity),
            units: write.units,
            reason: write.reason,
            grant_commit: Some(token.gs.commit(&exchange, Field::Grant, token.gh.as_bytes())),
            content_commit: write
                .content
                .map(|content| salt.commit(Field::Content, &[content])),
            ..Entry::new(write.event, SystemClock.now())
        };
        let about = About {
            handle: Some(token.gh),
            persons,
            aliases,
            ..About::default()
        };
        let receipt = self.ledger.append(Draft::new(entry).about(about)).await.unwrap();
        receipt.entry_bytes().to_vec()
    }

    pub(crate) async fn stop(self) {
        self.served.stop().await;
        self.ledger.close().await;
    }
}

/// A ledger service where the directory says that a participant is.
pub(crate) struct Served {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Served {
    pub(super) async fn start(
        kit: &Kit,
        pem: &Pem,
        row: &ParticipantRow,
        service: impl ledger_service_server::LedgerService,
    ) -> Self {
        let trust = Arc::new(Trust::from_pem(&kit.ca.cert, &kit.ca.crl()).unwrap());
        let identity = Arc::new(Identity::new(pem.credential()));
        let address = row.mesh[0].parse().unwrap();
        let gate: PeerGate = Arc::new(|_: &unefois_mesh::Peer| Ok(()));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let listener = Listener::mesh(address, &identity, &trust, gate, &clock, Limits::default()).await;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let router = tonic::service::Routes::new(LedgerServiceServer::new(service)).into_axum_router();
        tasks.spawn(listener.unwrap().serve(router, stop.clone()));
        tasks.close();
        Self { stop, tasks }
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

impl Kit {
    /// What a producer opens of the identities that the authority seals to it.
    fn identities(&self) -> Identities {
        let key = Arc::clone(&self.pivot_key);
        Arc::new(move |sealed| {
            let json = jwe::open_pivot(&[&key], sealed).ok()?;
            match serde_json::from_slice(&json).ok()? {
                SealedSubject::Person(person) => Some(unefois_ledger::Identity {
                    subject: person.subject_form(),
                    beside: person.named_forms(),
                    near: person.near_form(),
                }),
                SealedSubject::Child { .. } | SealedSubject::Entity(_) => None,
            }
        })
    }
}

/// A ledger that holds nothing about anybody.
pub(super) struct Nobody;

#[async_trait]
impl Answers for Nobody {}

/// A ledger whose history never comes to its end.
pub(super) struct Endless;

#[async_trait]
impl Answers for Endless {
    async fn history(&self, _: pb::HistoryRequest) -> Result<pb::HistoryResponse, Status> {
        Ok(pb::HistoryResponse {
            entries: Vec::new(),
            truncated: true,
        })
    }
}

/// A ledger that holds nothing about anybody, and of namesakes more than can be read.
pub(super) struct Crowded;

#[async_trait]
impl Answers for Crowded {
    async fn person_history(
        &self,
        asked: pb::PersonHistoryRequest,
    ) -> Result<pb::PersonHistoryResponse, Status> {
        Ok(pb::PersonHistoryResponse {
            entries: Vec::new(),
            truncated: asked.part() != pb::PersonHistoryPart::Theirs,
        })
    }
}

/// A ledger whose history never comes to its end, and comes slowly; how many questions it was asked.
pub(super) struct Slow(pub(super) Arc<AtomicU32>);

#[async_trait]
impl Answers for Slow {
    async fn history(&self, _: pb::HistoryRequest) -> Result<pb::HistoryResponse, Status> {
        self.0.fetch_add(1, Ordering::SeqCst);
        let never = std::future::pending::<()>();
        let _late = tokio::time::timeout(std::time::Duration::from_millis(900), never).await;
        Ok(pb::HistoryResponse {
            entries: Vec::new(),
            truncated: true,
        })
    }
}

/// What an entry says.
pub(crate) struct Write {
    pub(crate) event: Event,
    pub(crate) reason: Option<Reason>,
    pub(crate) content: Option<u8>,
    pub(crate) units: u64,
}
