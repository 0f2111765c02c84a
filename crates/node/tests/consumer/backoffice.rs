//! The service that the house's own systems call: who gets in, and what they get.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::{Channel, Endpoint};
use unefois_core::Reason;
use unefois_mesh::{Connector, Identity, Limits, Listener, Peer, Target, status};
use unefois_node::backoffice::{self, Backoffice, Door};
use unefois_proto::pb::backoffice::v1 as pb;
use unefois_proto::pb::backoffice::v1::backoffice_service_client::BackofficeServiceClient;

use crate::database::TestDatabase;
use crate::house::{House, asking, coming_back, producing};
use crate::pki::Pem;
use crate::world::{World, case, consumer_id};

async fn over_socket(path: std::path::PathBuf) -> BackofficeServiceClient<Channel> {
    let connect = tower::service_fn(move |_: http::Uri| {
        let path = path.clone();
        async move { tokio::net::UnixStream::connect(path).await.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from_static("http://backoffice.invalid");
    BackofficeServiceClient::new(
        endpoint
            .connect_with_connector(connect)
            .await
            .expect("the socket"),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_serves_a_whole_exchange() {
    let database = TestDatabase::sqlite();
    let document = r#"{"data":{"montant":900}}"#;
    let (world, node) = producing(&[("a.yaml", &case("EXEMPLE", 200, document))], &database).await;
    let address = vec![node.target.authority.to_string()];
    let house = House::new(&world, TestDatabase::sqlite(), address, |_| {}).await;
    let path = world.path("backoffice.sock");
    let listener = Listener::unix(&path, Limits::default()).expect("a socket");
    let mode = std::fs::metadata(&path).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let (shutdown, tasks) = (CancellationToken::new(), TaskTracker::new());
    let door = Door::Socket(house.consumer.clone());
    let router = Backoffice::new(door, Arc::clone(&world.clock)).router();
    tasks.spawn(listener.serve(router, shutdown.clone()));
    let mut client = over_socket(path).await;

    let malformed = client
        .fetch(pb::FetchRequest::default())
        .await
        .expect_err("no handle");
    assert_eq!(status::reason_of(&malformed), Some(Reason::InvalidRequest));
    let unknown = client
        .give_back(pb::GiveBackRequest { grant_id: "x".into() })
        .await
        .expect_err("no grant");
    assert_eq!(status::reason_of(&unknown), Some(Reason::InvalidRequest));

    let mut message = asking();
    message.elements[0].units.truncate(1);
    let requested = client
        .request_authorization(message)
        .await
        .expect("pushed")
        .into_inner();
    let completed = client.complete_authorization(coming_back(&requested.state)).await;
    let grant = completed.expect("a grant").into_inner().grant.expect("a grant");
    assert_eq!(grant.elements[0].state(), pb::GrantState::Active);
    let fetch = pb::FetchRequest {
        handle: grant.elements[0].handle.clone(),
        ..Default::default()
    };
    let answer = client.fetch(fetch).await.expect("a document").into_inner();
    assert_eq!(answer.units["montant"], r#"{"montant":900}"#);
    assert!(!answer.absence && answer.content_salt.len() == 32);
    assert!(answer.consumer_proof.starts_with("c2sp.org/tlog-proof@v1\n"));

    client
        .give_back(pb::GiveBackRequest {
            grant_id: grant.grant_id.clone(),
        })
        .await
        .expect("given back");
    assert_eq!(house.oauth.given_back(), [grant.grant_id]);
    let list = client
        .list_grants(pb::ListGrantsRequest::default())
        .await
        .expect("a page")
        .into_inner();
    assert_eq!(list.grants[0].elements[0].state(), pb::GrantState::GivenBack);
    drop(client);
    shutdown.cancel();
    tasks.close();
    tasks.wait().await;
    house.stop().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_house_s_door_opens_to_the_participant_itself_alone() {
    let world = Arc::new(World::new(&[]).await);
    let house = House::new(&world, TestDatabase::sqlite(), vec![], |_| {}).await;
    let at = "127.0.0.1:0".parse().expect("an address");
    let listener = backoffice::house(
        at,
        BTreeSet::from([consumer_id()]),
        &house.identity,
        &house.trust,
        &world.clock,
        Limits::default(),
    );
    let listener = listener.await.expect("a socket");
    let target = Target {
        peer: consumer_id(),
        authority: listener
            .local_addr()
            .expect("an address")
            .to_string()
            .parse()
            .expect("an address"),
    };
    let (shutdown, tasks) = (CancellationToken::new(), TaskTracker::new());
    let served = BTreeMap::from([(consumer_id(), house.consumer.clone())]);
    let door = Door::Certificates(Arc::new(served));
    let router = Backoffice::new(door, Arc::clone(&world.clock)).router();
    tasks.spawn(listener.serve(router, shutdown.clone()));
    let listed = |pem: &Pem| {
        let gate = Arc::new(|_: &Peer| Ok(()));
        let identity = Arc::new(Identity::new(pem.credential()));
        let connector = Connector::new(Arc::clone(&house.trust), gate, identity, Arc::clone(&world.clock));
        let channel = connector.channel(&target, Duration::from_secs(5));
        async move {
            let request = pb::ListGrantsRequest::default();
            BackofficeServiceClient::new(channel).list_grants(request).await
        }
    };
    listed(&world.stranger).await.expect_err("another participant");
    // A certificate of the participant whose key no directory lists: a back-office system's own.
    listed(&world.ca.issue(&consumer_id())).await.expect("its own");
    shutdown.cancel();
    tasks.close();
    tasks.wait().await;
    house.stop().await;
}
