//! A log served on the mesh by its own keeper, with its own certificate and key: what it says may be forged.

use std::net::Ipv4Addr;
use std::sync::Arc;

use axum::Router;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use tonic::{Status, async_trait};
use unefois::demo::world::World;
use unefois_core::{Clock, Entry};
use unefois_mesh::{Identity, Limits, Listener, Peer, SystemClock, Trust};
use unefois_proto::pb::ledger::v1 as pb;
use unefois_proto::pb::ledger::v1::ledger_service_server::LedgerServiceServer;
use unefois_proto::{SearchCall, SearchPage};
use unefois_tlog::{Checkpoint, Hash, SignerKey, Tiles, Tree};

use crate::answers::{Answering, Answers};

const PAGE: usize = 1_000;

/// A participant's log, as whoever holds its keys may serve it.
pub(crate) struct Keeper {
    /// The name of its folder in the world.
    pub(crate) member: &'static str,
    /// Where it listens.
    pub(crate) port: u16,
    /// The entries it serves.
    pub(crate) entries: Vec<Vec<u8>>,
    /// The places of the releases that it says were confirmed.
    pub(crate) confirmed: Vec<u64>,
}

/// Logs being served.
pub(crate) struct Serving {
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

impl Serving {
    /// Serves each of `keepers` until [`Serving::end`].
    pub(crate) async fn begin(world: &World, keepers: Vec<Keeper>) -> Self {
        let (shutdown, tasks) = (CancellationToken::new(), TaskTracker::new());
        for keeper in keepers {
            let (own, ca) = (world.folder(keeper.member), world.folder("ca"));
            let identity = Arc::new(Identity::load(own.join("tls.pem"), own.join("tls.key")).unwrap());
            let trust = Arc::new(Trust::load(ca.join("ca.pem"), ca.join("ca.crl")).unwrap());
            let clock: Arc<dyn Clock> = Arc::new(SystemClock);
            let anyone = Arc::new(|_: &Peer| Ok(()));
            let address = (Ipv4Addr::LOCALHOST, keeper.port).into();
            let listener = Listener::mesh(address, &identity, &trust, anyone, &clock, Limits::default());
            let key = std::fs::read_to_string(own.join("ledger.key")).unwrap();
            let log = Log {
                key: SignerKey::from_text(key.trim()).unwrap(),
                entries: keeper.entries,
                confirmed: keeper.confirmed,
            };
            let router: Router = Routes::new(LedgerServiceServer::new(Answering(log))).into_axum_router();
            tasks.spawn(listener.await.unwrap().serve(router, shutdown.clone()));
        }
        tasks.close();
        Self { shutdown, tasks }
    }

    /// Ends all of them.
    pub(crate) async fn end(self) {
        self.shutdown.cancel();
        self.tasks.wait().await;
    }
}

struct Log {
    key: SignerKey,
    entries: Vec<Vec<u8>>,
    confirmed: Vec<u64>,
}

impl Log {
    fn tree(&self) -> (Tree, String) {
        let mut tree = Tree::new();
        let leaves: Vec<Hash> = self.entries.iter().map(|e| Hash::of_leaf(e)).collect();
        tree.append(&leaves).unwrap();
        let origin = self.key.verifier().name().as_str().parse().unwrap();
        let head = Checkpoint::new(origin, tree.size(), tree.root()).unwrap();
        let head = head.sign(&self.key).unwrap().as_str().to_owned();
        (tree, head)
    }

    /// The rows at `places`, their shared proof and the head that it leads to.
    fn proved(&self, places: &[u64]) -> (Vec<pb::EntryRow>, Vec<Vec<u8>>, String) {
        let (tree, checkpoint) = self.tree();
        let proof = tree.multi_inclusion_proof(places, tree.size(), &Tiles::new());
        let row = |index: &u64| pb::EntryRow {
            index: *index,
            entry: self.entries[usize::try_from(*index).unwrap()].clone(),
            acknowledged: self.confirmed.contains(index),
        };
        let proof = proof.unwrap();
        let proof = proof.iter().map(|hash| hash.as_bytes().to_vec());
        (places.iter().map(row).collect(), proof.collect(), checkpoint)
    }
}

#[async_trait]
impl Answers for Log {
    async fn list_entries(&self, asked: pb::ListEntriesRequest) -> Result<pb::ListEntriesResponse, Status> {
        let start = usize::try_from(asked.start).unwrap();
        Ok(pb::ListEntriesResponse {
            entries: self.entries.iter().skip(start).take(PAGE).cloned().collect(),
            checkpoint: self.tree().1,
            ..Default::default()
        })
    }

    async fn search(&self, asked: pb::SearchRequest) -> Result<pb::SearchResponse, Status> {
        let SearchPage::First { filter, .. } = SearchCall::try_from(asked).unwrap().page else {
            return Err(Status::invalid_argument("there is one page"));
        };
        let entries = (0..).zip(&self.entries);
        let found = entries.filter(|(place, bytes)| filter.matches(*place, &Entry::decode(bytes).unwrap()));
        let places: Vec<u64> = found.map(|(place, _)| place).collect();
        let (rows, proof, checkpoint) = self.proved(&places);
        Ok(pb::SearchResponse {
            rows,
            checkpoint,
            proof,
            looked_end: self.entries.len() as u64,
            ..Default::default()
        })
    }

    async fn get_proof(&self, asked: pb::GetProofRequest) -> Result<pb::GetProofResponse, Status> {
        let (rows, proof, checkpoint) = self.proved(&asked.indexes);
        Ok(pb::GetProofResponse {
            rows,
            checkpoint,
            proof,
            ..Default::default()
        })
    }
}
