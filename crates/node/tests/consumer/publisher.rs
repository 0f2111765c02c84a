//! A publisher that hosts three bodies, as its tests arrange it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Channel;
use unefois_core::ParticipantId;
use unefois_core::directory::{DirectoryDocument, KeyStatus, LogRow, Quota, TlsKey};
use unefois_mesh::{Connector, Identity, Limits, Peer, Target};
use unefois_node::backoffice::{self, Backoffice, Door};
use unefois_node::consumer::{Asked, Consumer, Error, HeldGrant};
use unefois_proto::pb::backoffice::v1 as pb;
use unefois_proto::pb::backoffice::v1::backoffice_service_client::BackofficeServiceClient;
use unefois_proto::{AuthorizationCall, CompletionCall};

use crate::database::TestDatabase;
use crate::forge::log_key;
use crate::house::{House, arranged, asking, coming_back};
use crate::signers::unsigned;
use crate::world::{Running, World, case, consumer_id};

const DOCUMENT: &str = r#"{"data":{"montant":900,"taux":12.50,"membres":[{"nom":"EXEMPLE"}]}}"#;

pub(crate) fn tenant(n: usize) -> ParticipantId {
    let ids = ["21690123100011", "11004401300016", "13000495500014"];
    format!("urn:unefois:participant:{}", ids[n])
        .parse()
        .expect("a participant")
}

pub(crate) fn right(n: usize) -> String {
    format!("DP-T{n}")
}

/// Three bodies that may ask what the commune may; the commune is the publisher of the first two.
pub(crate) fn hosted(d: &mut DirectoryDocument) {
    arranged(d);
    let row = |d: &DirectoryDocument, id| {
        d.participants
            .iter()
            .find(|row| row.id == id)
            .expect("a row")
            .clone()
    };
    let (commune, habilitation) = (row(d, consumer_id()), d.habilitations[0].habilitation.clone());
    for n in 0..3 {
        let key = log_key(&format!("{}/1", tenant(n)));
        let mut body = commune.clone();
        body.id = tenant(n);
        body.tls = vec![TlsKey {
            spki_sha256: unefois_core::Sha256::of(tenant(n).to_string().as_bytes()),
            status: KeyStatus::Current,
        }];
        body.habilitation_keys = Vec::new();
        body.logs = vec![LogRow {
            origin: key.verifier().name().as_str().to_owned(),
            vkey: key.verifier().to_string(),
        }];
        body.publishers = if n < 2 { vec![consumer_id()] } else { Vec::new() };
        d.participants.push(body);
        let mut right_of = habilitation.clone();
        right_of.id = right(n).parse().expect("a number");
        right_of.consumer = tenant(n);
        d.habilitations.push(unsigned(right_of));
        d.quotas.push(Quota {
            consumer: tenant(n),
            datatype: "cnaf/revenu@1".parse().expect("a datatype"),
            per_minute: 10_000,
        });
    }
}

/// The producer's node, and the publisher's that hosts all three.
pub(crate) async fn hosting(
    database: TestDatabase,
    producers: &TestDatabase,
) -> (Arc<World>, Running, House) {
    let world = World::new(&[("a.yaml", &case("EXEMPLE", 200, DOCUMENT))]).await;
    let (_, jws) = world.change(hosted);
    std::fs::write(world.path("directory.jws"), jws).expect("a file");
    let node = world.node(producers.url()).await;
    let world = Arc::new(world);
    let address = vec![node.target.authority.to_string()];
    let tenants = [tenant(0), tenant(1), tenant(2)];
    let house = House::hosting(&tenants, &world, database, address).await;
    (world, node, house)
}

pub(crate) fn asking_as(n: usize) -> pb::RequestAuthorizationRequest {
    pb::RequestAuthorizationRequest {
        habilitation: right(n),
        ..asking()
    }
}

/// Asks as this tenant, and comes back at once.
pub(crate) async fn granted(house: &House, n: usize) -> HeldGrant {
    asked(house, n).await.expect("a grant")
}

pub(crate) async fn asked(house: &House, n: usize) -> Result<HeldGrant, Error> {
    let call = AuthorizationCall::try_from(asking_as(n)).expect("a sound message");
    let asked = house.hosted[n].request_authorization(call).await.expect("pushed");
    let Asked::Where(requested) = asked else {
        unreachable!("somebody is asked")
    };
    let call = CompletionCall::try_from(coming_back(&requested.state)).expect("a sound message");
    house.hosted[n].complete_authorization(call).await
}

/// The publisher's door, and clients of it with certificates.
pub(crate) struct Doors {
    world: Arc<World>,
    target: Target,
    trust: Arc<unefois_mesh::Trust>,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

impl Doors {
    pub(crate) async fn open(world: &Arc<World>, house: &House) -> Self {
        let all = house.hosted.iter().chain([&house.consumer]);
        let served: BTreeMap<ParticipantId, Consumer> =
            all.map(|one| (one.participant(), one.clone())).collect();
        let listener = backoffice::house(
            "127.0.0.1:0".parse().expect("an address"),
            BTreeSet::from_iter(served.keys().copied()),
            &house.identity,
            &house.trust,
            &world.clock,
            Limits::default(),
        );
        let listener = listener.await.expect("a socket");
        let address = listener.local_addr().expect("an address").to_string();
        let (shutdown, tasks) = (CancellationToken::new(), TaskTracker::new());
        let door = Door::Certificates(Arc::new(served));
        let router = Backoffice::new(door, Arc::clone(&world.clock)).router();
        tasks.spawn(listener.serve(router, shutdown.clone()));
        Self {
            world: Arc::clone(world),
            target: Target {
                peer: consumer_id(),
                authority: address.parse().expect("an address"),
            },
            trust: Arc::clone(&house.trust),
            shutdown,
            tasks,
        }
    }

    /// A back-office with a certificate of this participant, whose key no directory lists.
    pub(crate) fn client(&self, participant: ParticipantId) -> BackofficeServiceClient<Channel> {
        let identity = Arc::new(Identity::new(self.world.ca.issue(&participant).credential()));
        let gate = Arc::new(|_: &Peer| Ok(()));
        let connector = Connector::new(
            Arc::clone(&self.trust),
            gate,
            identity,
            Arc::clone(&self.world.clock),
        );
        BackofficeServiceClient::new(connector.channel(&self.target, Duration::from_secs(5)))
    }

    pub(crate) async fn close(self) {
        self.shutdown.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Has the publisher's node take up the directory as `change` makes it.
pub(crate) fn published(world: &World, house: &House, change: impl FnOnce(&mut DirectoryDocument)) {
    let (_, jws) = world.change(change);
    let catalogue = std::fs::read(world.path("catalogue.json")).expect("a catalogue");
    assert!(house.directory.offer(&jws, &catalogue).expect("taken"));
}
