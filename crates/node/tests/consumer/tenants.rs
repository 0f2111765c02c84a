//! A publisher's node that hosts several bodies: what one of them may learn of another, which is nothing, and what each
//! gets in its own name.

use std::sync::Arc;
use std::time::Duration;

use tonic::transport::Channel;
use tonic::{Code, Status};
use unefois_core::commitment::NodeKey;
use unefois_core::directory::DirectoryDocument;
use unefois_core::{Entry, Event, Handle, ParticipantId, Reason, WithdrawnBy};
use unefois_ledger::verify::verify_database;
use unefois_ledger::{DirectoryInUse, Inquiry, Keys, Ledger, Safeguards, Standing};
use unefois_mesh::status::{self, Refusal};
use unefois_node::consumer::{ConsumerConfig, Error, FetchConfig};
use unefois_node::{Config, Node, StartError, Surroundings, TenantConfig};
use unefois_proto::pb::backoffice::v1 as pb;
use unefois_proto::pb::backoffice::v1::backoffice_service_client::BackofficeServiceClient;
use unefois_proto::{AuthorizationCall, HandleCall};
use unefois_store::node::notice::NoticeKind;
use unefois_store::{Component, Db};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::forge::log_key;
use crate::house::{asking, coming_back, page};
use crate::publisher::{Doors, asked, asking_as, granted, hosting, published, tenant};
use crate::world::{WAIT, World, consumer_id, producer_id, stranger_id};

both_databases![
    i6_what_is_a_tenant_s_is_unknown_to_another,
    a_tenant_that_the_directory_does_not_delegate_is_refused_and_the_others_go_on,
    what_ends_or_narrows_is_told_to_its_tenant,
    a_delegation_that_ends_ends_what_is_under_way_and_one_that_comes_is_enough,
    i7_each_tenant_s_log_verifies_alone,
    i7_a_tenant_s_log_that_went_back_is_told_to_its_publisher
];

const UNKNOWN: &str = "nobody-s-state-nor-grant-nor-cursor-of-this-node";

/// All that a caller is told by a refusal, save what names this one refusal.
fn told(refused: &Status) -> (Code, String, Option<Refusal>) {
    let refusal = Refusal::of(refused).map(|refusal| Refusal {
        correlation_id: None,
        ..refusal
    });
    (refused.code(), refused.message().to_owned(), refusal)
}

fn refused<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String, Option<Refusal>) {
    told(&answer.expect_err("refused"))
}

fn fetch(handle: &str, request_id: &str) -> pb::FetchRequest {
    pb::FetchRequest {
        handle: handle.to_owned(),
        request_id: request_id.to_owned(),
        ..Default::default()
    }
}

/// The first change that a watch from `cursor` tells, or how it ends.
async fn first_change(
    client: &mut BackofficeServiceClient<Channel>,
    cursor: &str,
) -> Result<pb::WatchGrantsResponse, Status> {
    let cursor = cursor.to_owned();
    let mut changes = client
        .watch_grants(pb::WatchGrantsRequest { cursor })
        .await?
        .into_inner();
    let change = tokio::time::timeout(WAIT, changes.message())
        .await
        .expect("in time")?;
    Ok(change.expect("a change"))
}

async fn i6_what_is_a_tenant_s_is_unknown_to_another(database: TestDatabase) {
    let producers = TestDatabase::sqlite();
    let (world, node, house) = hosting(database, &producers).await;
    let doors = Doors::open(&world, &house).await;
    let (own, ended) = (granted(&house, 0).await, granted(&house, 0).await);
    house.announcer.end(ended.elements[0].handle, WithdrawnBy::Person);
    let mut one = doors.client(tenant(0));
    let cursor = first_change(&mut one, "").await.expect("a change").cursor;
    let pending = one
        .request_authorization(asking_as(0))
        .await
        .expect("pushed")
        .into_inner();
    let handle = own.elements[0].handle.to_string();
    let request_id = "0190163d-8694-739b-aea5-966c26f8ad01";
    one.fetch(fetch(&handle, request_id)).await.expect("a document");

    // A certificate of nobody that is served reaches nothing.
    let mut nobody = doors.client(stranger_id());
    nobody
        .list_grants(pb::ListGrantsRequest::default())
        .await
        .expect_err("another participant");

    let nothing = Handle::from_bytes([7; 16]).to_string();
    for other in [tenant(1), consumer_id()] {
        let mut other = doors.client(other);
        let list = other
            .list_grants(pb::ListGrantsRequest::default())
            .await
            .expect("a page")
            .into_inner();
        assert_eq!(list, pb::ListGrantsResponse::default());
        let dossier_ref = asking().dossier_ref;
        let of_dossier = pb::ListGrantsRequest {
            dossier_ref,
            ..Default::default()
        };
        let list = other.list_grants(of_dossier).await.expect("a page").into_inner();
        assert_eq!(list, pb::ListGrantsResponse::default());
        assert_eq!(
            refused(other.fetch(fetch(&handle, "")).await),
            refused(other.fetch(fetch(&nothing, "")).await)
        );
        assert_eq!(
            refused(other.fetch(fetch(&handle, request_id)).await),
            refused(other.fetch(fetch(&nothing, request_id)).await)
        );
        let back = |grant_id: &str| pb::GiveBackRequest {
            grant_id: grant_id.to_owned(),
        };
        assert_eq!(
            refused(other.give_back(back(&own.grant_id)).await),
            refused(other.give_back(back(UNKNOWN)).await)
        );
        let link = |state: &str| pb::WithdrawLinkRequest {
            state: state.to_owned(),
        };
        assert_eq!(
            refused(other.withdraw_link(link(&pending.state)).await),
            refused(other.withdraw_link(link(UNKNOWN)).await)
        );
        assert_eq!(
            refused(other.complete_authorization(coming_back(&pending.state)).await),
            refused(other.complete_authorization(coming_back(UNKNOWN)).await)
        );
        assert_eq!(
            refused(first_change(&mut other, &cursor).await),
            refused(first_change(&mut other, "1.0123456789abcdef").await)
        );
    }
    // None of that took anything away.
    one.complete_authorization(coming_back(&pending.state))
        .await
        .expect("a grant");
    assert_eq!(house.oauth.given_back(), [""; 0]);
    // Another's request id is no request of this one's.
    let theirs = granted(&house, 1).await.elements[0].handle.to_string();
    let mut other = doors.client(tenant(1));
    let answer = other
        .fetch(fetch(&theirs, request_id))
        .await
        .expect("a document")
        .into_inner();
    assert_eq!(answer.request_id, request_id);
    drop((one, other));
    doors.close().await;
    house.stop().await;
    node.stop().await;
}

async fn a_tenant_that_the_directory_does_not_delegate_is_refused_and_the_others_go_on(
    database: TestDatabase,
) {
    let producers = TestDatabase::sqlite();
    let (world, node, house) = hosting(database, &producers).await;
    let doors = Doors::open(&world, &house).await;
    let mut client = doors.client(tenant(2));
    let refusals = [
        client.request_authorization(asking_as(2)).await.map(drop),
        client
            .complete_authorization(coming_back(UNKNOWN))
            .await
            .map(drop),
        client
            .fetch(fetch(&Handle::from_bytes([7; 16]).to_string(), ""))
            .await
            .map(drop),
        client
            .list_grants(pb::ListGrantsRequest::default())
            .await
            .map(drop),
        client.give_back(pb::GiveBackRequest::default()).await.map(drop),
        client
            .watch_grants(pb::WatchGrantsRequest::default())
            .await
            .map(drop),
        client
            .withdraw_link(pb::WithdrawLinkRequest::default())
            .await
            .map(drop),
    ];
    for refusal in refusals {
        let refusal = refusal.expect_err("not delegated");
        assert_eq!(status::reason_of(&refusal), Some(Reason::NotEntitled));
        assert!(
            refusal.message().contains("as its publisher"),
            "{}",
            refusal.message()
        );
    }
    assert!(house.oauth.calls().is_empty(), "nobody was asked");
    assert_eq!(house.hosted[2].ledger().head().size, 0, "and nothing written");
    // Whoever gets past the door is stopped again, before anybody is called.
    let call = AuthorizationCall::try_from(asking_as(2)).expect("a sound message");
    let error = house.hosted[2]
        .request_authorization(call)
        .await
        .expect_err("not delegated");
    assert_eq!(error.reason(), Some(Reason::NotEntitled));
    assert!(house.oauth.calls().is_empty(), "nobody was asked");
    // A log that the tenant's row does not list proves nothing to anybody.
    let elsewhere = house.hosted[2].hosting(tenant(0), house.hosted[2].ledger().clone());
    let error = elsewhere.admitted().expect_err("another publisher, another log");
    assert!(matches!(error, Error::NotHosted(_)), "{error}");
    let unlisted = house
        .consumer
        .hosting(tenant(0), house.hosted[2].ledger().clone());
    let error = unlisted.admitted().expect_err("another's log");
    assert!(error.to_string().contains("does not list the log"), "{error}");

    let mut changes = house.hosted[2].watch_grants(None).await.expect("a watch");
    let ended = tokio::time::timeout(WAIT, changes.recv()).await.expect("in time");
    assert!(matches!(ended, Some(Err(Error::NotHosted(_)))), "{ended:?}");

    // A token in another publisher's name, or in none's, is not this node's.
    for publisher in [None, Some(stranger_id())] {
        house.oauth.mint_for(Some(publisher));
        let error = asked(&house, 0).await.expect_err("another's token");
        assert!(error.to_string().contains("the token's publisher"), "{error}");
    }
    house.oauth.mint_for(None);
    granted(&house, 0).await;
    granted(&house, 1).await;
    doors.close().await;
    house.stop().await;
    node.stop().await;
}

async fn what_ends_or_narrows_is_told_to_its_tenant(database: TestDatabase) {
    let producers = TestDatabase::sqlite();
    let (_world, node, house) = hosting(database, &producers).await;
    let mut watches = Vec::new();
    for tenant in [&house.hosted[0], &house.hosted[1], &house.consumer] {
        watches.push(tenant.watch_grants(None).await.expect("a watch"));
    }
    let (gone, narrowed) = (granted(&house, 1).await, granted(&house, 1).await);
    let (gone, narrowed) = (gone.elements[0].handle, narrowed.elements[0].handle);
    house.announcer.end(gone, WithdrawnBy::Person);
    let follower = house.oauth.narrow(narrowed);
    house.announcer.end(narrowed, WithdrawnBy::Narrowed);
    let kept = granted(&house, 0).await.elements[0].handle;
    house.announcer.end(kept, WithdrawnBy::Person);
    let mut next = async |n: usize| {
        let change = tokio::time::timeout(WAIT, watches[n].recv())
            .await
            .expect("in time");
        let change = change.expect("an open watch").expect("a change");
        (change.element.handle, change.kind)
    };
    for expected in [
        (gone, NoticeKind::Withdrawn),
        (narrowed, NoticeKind::Narrowed),
        (follower, NoticeKind::Follows),
    ] {
        assert_eq!(next(1).await, expected);
    }
    // The authority's word of it came last of all: whatever was to be told before was told.
    assert_eq!(next(0).await, (kept, NoticeKind::Withdrawn));
    for watch in &mut watches {
        assert!(watch.try_recv().is_err(), "nothing of another's");
    }
    assert_eq!(
        house.consumer.grants(&page()).await.expect("a page").grants.len(),
        0
    );
    house.stop().await;
    node.stop().await;
}

/// Every entry of a log.
async fn entries(log: &Ledger) -> Vec<Entry> {
    let leaves = log.entries(0, u64::MAX).await.expect("the log reads");
    leaves
        .iter()
        .map(|leaf| Entry::decode(leaf).expect("an entry"))
        .collect()
}

async fn i7_each_tenant_s_log_verifies_alone(database: TestDatabase) {
    let producers = TestDatabase::sqlite();
    let (_world, node, house) = hosting(database, &producers).await;
    for n in [0, 1, 0] {
        let handle = granted(&house, n).await.elements[0].handle;
        let call = HandleCall::try_from(fetch(&handle.to_string(), "")).expect("a sound message");
        let answer = house.hosted[n]
            .fetch(call, Duration::from_secs(5))
            .await
            .expect("a document");
        let released = Entry::decode(&answer.producer().bytes).expect("an entry");
        assert_eq!(
            (
                released.event,
                released.requester,
                released.publisher,
                released.provider
            ),
            (
                Event::Released,
                Some(tenant(n)),
                Some(consumer_id()),
                Some(producer_id())
            )
        );
    }
    for (n, size) in [(0, 2), (1, 1), (2, 0)] {
        let log = house.hosted[n].ledger();
        for entry in entries(log).await {
            assert_eq!(
                (entry.event, entry.requester, entry.publisher),
                (Event::Received, Some(tenant(n)), Some(consumer_id()))
            );
        }
        let (origin, key) = (log.origin().to_string(), log.verifier().clone());
        let report = verify_database(&house.db, &origin, &key, |_, _| {})
            .await
            .expect("a report");
        assert_eq!((report.size, report.is_sound()), (size, true), "{report:?}");
    }
    assert_eq!(
        house.entries().await,
        [],
        "the publisher's own log says nothing of them"
    );
    house.stop().await;
    node.stop().await;
}

fn publishers(d: &mut DirectoryDocument, n: usize, publishers: Vec<ParticipantId>) {
    let row = d.participants.iter_mut().find(|row| row.id == tenant(n));
    row.expect("a row").publishers = publishers;
}

async fn a_delegation_that_ends_ends_what_is_under_way_and_one_that_comes_is_enough(database: TestDatabase) {
    let producers = TestDatabase::sqlite();
    let (world, node, house) = hosting(database, &producers).await;
    let doors = Doors::open(&world, &house).await;
    let mut watch = house.hosted[0].watch_grants(None).await.expect("a watch");
    let handles = [
        granted(&house, 0).await.elements[0].handle.to_string(),
        granted(&house, 1).await.elements[0].handle.to_string(),
    ];
    published(&world, &house, |d| {
        publishers(d, 0, Vec::new());
        publishers(d, 2, vec![consumer_id()]);
    });
    let ended = tokio::time::timeout(WAIT, watch.recv()).await.expect("in time");
    assert!(matches!(ended, Some(Err(Error::NotHosted(_)))), "{ended:?}");
    let mut clients = [0, 1, 2].map(|n| doors.client(tenant(n)));
    let refusal = clients[0]
        .fetch(fetch(&handles[0], ""))
        .await
        .expect_err("no longer delegated");
    assert_eq!(status::reason_of(&refusal), Some(Reason::NotEntitled));
    clients[1]
        .fetch(fetch(&handles[1], ""))
        .await
        .expect("the others go on");
    let list = clients[2].list_grants(pb::ListGrantsRequest::default()).await;
    list.expect("served from now on");
    // What the authority says meanwhile is kept for whoever is named again.
    house
        .announcer
        .end(handles[0].parse().expect("a handle"), WithdrawnBy::Person);
    published(&world, &house, |d| publishers(d, 0, vec![consumer_id()]));
    let change = first_change(&mut clients[0], "").await.expect("a change");
    assert_eq!(change.change(), pb::GrantChange::Withdrawn);
    drop(clients);
    doors.close().await;
    house.stop().await;
    node.stop().await;
}

async fn i7_a_tenant_s_log_that_went_back_is_told_to_its_publisher(database: TestDatabase) {
    let producers = TestDatabase::sqlite();
    let (world, node, house) = hosting(database, &producers).await;
    // The second call shows the producer the head after the first.
    for _ in 0..2 {
        let handle = granted(&house, 0).await.elements[0].handle.to_string();
        let call = HandleCall::try_from(fetch(&handle, "")).expect("a sound message");
        house.hosted[0]
            .fetch(call, Duration::from_secs(5))
            .await
            .expect("a document");
    }
    let lost = TestDatabase::sqlite();
    let db = Db::open(lost.url(), Component::Node).await.expect("a database");
    let keys = Keys {
        signer: log_key(&format!("{}/1", tenant(0))),
        node_key: NodeKey::new(&[3; 32]),
    };
    let (clock, random) = (Arc::clone(&world.clock), Arc::new(world.random.clone()));
    let log = Ledger::open(db.clone(), keys, Safeguards::default(), clock, random)
        .await
        .expect("a log");
    let follower = Arc::clone(&house.directory);
    let in_use: DirectoryInUse = Arc::new(move || follower.edition().directory.clone());
    let ask = async |owner, publisher| {
        let connector = house.connector.clone();
        Inquiry::begin(log.clone(), connector, owner, publisher, Arc::clone(&in_use)).await;
        log.standing()
    };
    // Of the publisher's own logs peers hold nothing, and of one that has not named it they tell nothing.
    assert_eq!(ask(consumer_id(), None).await, Standing::Open);
    assert_eq!(ask(tenant(2), Some(consumer_id())).await, Standing::Open);
    assert_eq!(ask(tenant(0), Some(consumer_id())).await, Standing::RolledBack);
    log.close().await;
    db.close().await;
    house.stop().await;
    node.stop().await;
}

/// Why a node of this configuration does not start.
async fn not_started(world: &World, change: impl FnOnce(&mut Config)) -> StartError {
    let database = TestDatabase::sqlite();
    let mut config = world.config(database.url());
    let tenant = |n: usize| {
        let path = world.path(&format!("tenant-{n}.key"));
        let text = unefois_tlog::SignerKey::to_text(
            format!("{}/1", tenant(n)).parse().expect("a name"),
            &[u8::try_from(n).expect("small") + 40; 32],
        );
        std::fs::write(&path, text.as_bytes()).expect("a file");
        TenantConfig {
            participant: tenant(n),
            signer: path,
            anchor: Some(world.path(&format!("tenant-{n}.anchor"))),
        }
    };
    config.tenants = vec![tenant(0), tenant(1)];
    std::fs::write(world.path("storage.key"), [5; 32]).expect("a file");
    config.consumer = Some(ConsumerConfig {
        rest_key: world.path("storage.key"),
        socket: None,
        listen: Some("127.0.0.1:0".parse().expect("an address")),
        fetch: FetchConfig::default(),
    });
    change(&mut config);
    let surroundings = Surroundings {
        clock: Arc::clone(&world.clock),
        random: world.random.clone(),
    };
    Node::build(config, surroundings).await.expect_err("refused")
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_that_cannot_be_told_apart_do_not_start() {
    let world = World::new(&[]).await;
    type Change<'a> = Box<dyn FnOnce(&mut Config) + 'a>;
    let other_name = || {
        let text = unefois_tlog::SignerKey::to_text("another/1".parse().expect("a name"), &[40; 32]);
        std::fs::write(world.path("same.key"), text.as_bytes()).expect("a file");
        world.path("same.key")
    };
    let cases: [(Change<'_>, &str); 7] = [
        (Box::new(|c| c.consumer = None), "[consumer] listen"),
        (
            Box::new(|c| c.consumer.as_mut().expect("one").listen = None),
            "[consumer] listen",
        ),
        (
            Box::new(|c| c.tenants[1].participant = tenant(0)),
            "one certificate",
        ),
        (
            Box::new(|c| c.tenants[1].participant = c.node.participant),
            "one certificate",
        ),
        (
            Box::new(|c| c.tenants[1].signer.clone_from(&c.ledger.signer)),
            "the origin of another",
        ),
        (
            Box::new(|c| c.tenants[1].signer = other_name()),
            "under another name",
        ),
        (
            Box::new(|c| c.tenants[1].anchor = c.tenants[0].anchor.clone()),
            "another ledger's",
        ),
    ];
    for (change, expected) in cases {
        let error = not_started(&world, change).await;
        assert!(matches!(error, StartError::Tenant { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{expected}: {error}");
    }
    let error = not_started(&world, |c| c.tenants[0].signer = world.path("absent.key")).await;
    assert!(matches!(error, StartError::Key(_)), "{error}");
}
