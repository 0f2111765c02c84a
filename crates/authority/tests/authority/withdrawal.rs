//! Stopping a grant, and how nodes learn of it.

use std::time::Duration;

use http::{Method, StatusCode};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use unefois_core::revocation::{SignedRecords, Withdrawals};
use unefois_core::{Event, Reason};
use unefois_jose::jws;
use unefois_mesh::status;
use unefois_proto::pb::directory::v1 as directory;
use unefois_proto::pb::directory::v1::directory_service_client::DirectoryServiceClient;
use unefois_proto::pb::revocation::v1::revocation_service_client::RevocationServiceClient;
use unefois_proto::pb::revocation::v1::watch_request::Message as Ask;
use unefois_proto::pb::revocation::v1::watch_response::Message as Tell;
use unefois_proto::pb::revocation::v1::{Acknowledgement, Open, Ping, Position, WatchRequest, WatchResponse};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::kit::{Kit, form};

both_databases![
    a_person_stops_a_grant_and_the_node_is_told,
    a_reader_that_claims_a_later_place_stops_nobody_else
];

const WAIT: Duration = Duration::from_secs(10);

struct Watch {
    ask: mpsc::Sender<WatchRequest>,
    answers: tonic::Streaming<WatchResponse>,
}

impl Watch {
    async fn open(kit: &Kit, open: Open) -> Self {
        let (ask, asked) = mpsc::channel(8);
        ask.send(message(Ask::Open(open))).await.unwrap();
        let mut client = RevocationServiceClient::new(kit.producer_channel());
        let answers = client
            .watch(ReceiverStream::new(asked))
            .await
            .unwrap()
            .into_inner();
        Self { ask, answers }
    }

    async fn next(&mut self) -> Result<Tell, tonic::Status> {
        let answer = tokio::time::timeout(WAIT, self.answers.message())
            .await
            .expect("in time")?;
        Ok(answer.expect("an open stream").message.unwrap())
    }

    async fn ping(&mut self, nonce: u64) {
        let ping = Ping {
            nonce,
            log_size: 0,
            log_root: vec![0; 32],
        };
        self.ask.send(message(Ask::Ping(ping))).await.unwrap();
    }
}

fn message(ask: Ask) -> WatchRequest {
    WatchRequest { message: Some(ask) }
}

fn open() -> Open {
    Open {
        origin: "cnaf.example/1".to_owned(),
        boot: 1,
        position: Some(Position::default()),
    }
}

fn records(kit: &Kit, jwt: &str) -> SignedRecords {
    let key = kit.withdrawal_key.verifying_key().clone();
    let verified = jws::verify(jwt, "unefois-withdrawals+jwt", 1 << 20, |_| Some(key)).unwrap();
    verified.claims().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_keeper_of_a_log_holds_its_lease() {
    let kit = Kit::new().await;
    let mut watch = Watch::open(
        &kit,
        Open {
            origin: "autorite.example/1".to_owned(),
            ..open()
        },
    )
    .await;
    let refused = watch.next().await.expect_err("another participant's log");
    assert_eq!(status::reason_of(&refused), Some(Reason::NotEntitled));

    let mut watch = Watch::open(&kit, open()).await;
    assert!(matches!(watch.next().await, Ok(Tell::Snapshot(_))));
    let position = Position {
        epoch: 1,
        seq: 9,
        chain: vec![0; 32],
    };
    let ack = Acknowledgement {
        position: Some(position),
        checkpoint: String::new(),
    };
    watch.ask.send(message(Ask::Acknowledgement(ack))).await.unwrap();
    let refused = watch.next().await.expect_err("a place that was never announced");
    assert_eq!(status::reason_of(&refused), Some(Reason::InvalidRequest));
    kit.stop().await;
}

async fn a_reader_that_claims_a_later_place_stops_nobody_else(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let mut browser = kit.browser();
    let code = kit.grant(&mut browser, &kit.parameters(), "").await;
    for (epoch, seq) in [(u64::MAX, 0), (7, 0), (1, 1)] {
        let position = Position {
            epoch,
            seq,
            chain: vec![0; 32],
        };
        let claim = Open {
            position: Some(position),
            ..open()
        };
        let refused = Watch::open(&kit, claim).await.next().await;
        let refused = refused.expect_err("nothing proves that claim");
        assert_eq!(status::reason_of(&refused), Some(Reason::RevocationStateStale));
    }

    let answer = kit.redeem(&code).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
    let mut watch = Watch::open(&kit, open()).await;
    assert!(matches!(watch.next().await, Ok(Tell::Snapshot(_))));
    watch.ping(1).await;
    assert!(matches!(watch.next().await, Ok(Tell::Pong(pong)) if pong.nonce == 1));
    kit.stop().await;
}

async fn a_person_stops_a_grant_and_the_node_is_told(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let mut watch = Watch::open(&kit, open()).await;
    let mut view = Withdrawals::default();
    let Tell::Snapshot(snapshot) = watch.next().await.unwrap() else {
        panic!("a snapshot comes first");
    };
    view.apply(&records(&kit, &snapshot.jws)).unwrap();
    watch.ping(42).await;
    let Tell::Pong(pong) = watch.next().await.unwrap() else {
        panic!("a pong");
    };
    assert_eq!((pong.nonce, pong.head.unwrap().epoch), (42, 1));

    let mut browser = kit.browser();
    let code = kit.grant(&mut browser, &kit.parameters(), "").await;
    let answer = kit.redeem(&code).await;
    let token = kit.claims(answer.json["access_token"].as_str().unwrap());
    assert!(!view.kills(&token, "kid"));

    let list = browser.get("/autorisations").await;
    assert_eq!(list.status, StatusCode::OK, "{}", list.body);
    let id = answer.json["grant_id"].as_str().unwrap();
    assert!(list.body.contains(&format!("/autorisations/{id}")));
    assert_eq!(
        browser.get(&format!("/autorisations/{id}")).await.status,
        StatusCode::OK
    );
    let mut stranger = kit.browser();
    kit.provider.says.lock().unwrap().sub = "somebody";
    kit.provider.says.lock().unwrap().identity["family_name"] = "MERCIER".into();
    stranger.follow("/fc/connexion").await;
    assert_eq!(
        stranger.get(&format!("/autorisations/{id}")).await.status,
        StatusCode::NOT_FOUND
    );

    let stop = format!("/autorisations/{id}/arreter");
    let question = browser.get(&stop).await;
    let foreign = stranger.post(&stop, &format!("csrf={}", question.csrf())).await;
    assert_eq!(foreign.status, StatusCode::FORBIDDEN);
    let done = browser.post(&stop, &format!("csrf={}", question.csrf())).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.body);
    let told = browser.get(&done.location).await;
    assert!(
        told.body.contains("une seconde"),
        "the bound is said: {}",
        told.body
    );
    assert!(
        !told.body.contains("ffectif partout"),
        "what is not proved is not said"
    );

    let Tell::Batch(batch) = watch.next().await.unwrap() else {
        panic!("a batch");
    };
    view.apply(&records(&kit, &batch.jws)).unwrap();
    assert!(view.kills(&token, "kid"));
    let head = view.head();
    let ack = Acknowledgement {
        position: Some(Position {
            epoch: head.epoch,
            seq: head.seq,
            chain: head.chain.as_bytes().to_vec(),
        }),
        checkpoint: "checkpoint".to_owned(),
    };
    watch.ask.send(message(Ask::Acknowledgement(ack))).await.unwrap();
    watch.ping(43).await;
    assert!(matches!(watch.next().await, Ok(Tell::Pong(pong)) if pong.nonce == 43));

    let refresh = form(&[
        ("grant_type", "refresh_token".to_owned()),
        (
            "refresh_token",
            answer.json["refresh_token"].as_str().unwrap().to_owned(),
        ),
    ]);
    let refused = kit.call(Method::POST, "/as/token", &refresh).await;
    assert_eq!(refused.json["unefois_reason"], "GRANT_REVOKED");
    let events = kit.events().await;
    assert_eq!(
        events,
        [Event::Granted, Event::Minted, Event::Withdrawn, Event::Refused]
    );
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_directory_reaches_those_who_watch() {
    let mut kit = Kit::new().await;
    let mut client = DirectoryServiceClient::new(kit.producer_channel());
    let known = directory::WatchRequest { known_version: 1 };
    let mut versions = client.watch(known).await.unwrap().into_inner();
    kit.publish(|_| {});
    let next = tokio::time::timeout(WAIT, versions.message())
        .await
        .expect("in time");
    let next = next.unwrap().expect("a version");
    let pin = kit.directory_key.thumbprint();
    let directory = unefois_jose::directory::verify(&next.directory_jws, pin).unwrap();
    assert_eq!(directory.version(), 2);
    let fetched = kit.call(Method::GET, "/directory", "").await;
    assert!(fetched.json["payload"].is_string());
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_participant_keeps_no_more_watches_open_than_its_processes_need() {
    let kit = Kit::new().await;
    let mut watches = Vec::new();
    for _ in 0..16 {
        let mut watch = Watch::open(&kit, open()).await;
        assert!(matches!(watch.next().await, Ok(Tell::Snapshot(_))));
        watches.push(watch);
    }
    let one_more = async || {
        let (ask, asked) = mpsc::channel(8);
        ask.send(message(Ask::Open(open()))).await.unwrap();
        let mut client = RevocationServiceClient::new(kit.producer_channel());
        client.watch(ReceiverStream::new(asked)).await
    };
    let refused = one_more().await.expect_err("one too many");
    assert_eq!(status::reason_of(&refused), Some(Reason::Overloaded));

    drop(watches.pop());
    let admitted = async { while one_more().await.is_err() {} };
    tokio::time::timeout(WAIT, admitted)
        .await
        .expect("a place is given back");
    kit.stop().await;
}
