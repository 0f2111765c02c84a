//! Stopping a grant, and how nodes learn of it.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use unefois_core::revocation::{Head, SignedRecords, Withdrawals};
use unefois_core::{Clock as _, Event, Reason};
use unefois_jose::jws;
use unefois_mesh::status;
use unefois_proto::pb::directory::v1 as directory;
use unefois_proto::pb::directory::v1::directory_service_client::DirectoryServiceClient;
use unefois_proto::pb::revocation::v1::revocation_service_client::RevocationServiceClient;
use unefois_proto::pb::revocation::v1::watch_request::Message as Ask;
pub(crate) use unefois_proto::pb::revocation::v1::watch_response::Message as Tell;
use unefois_proto::pb::revocation::v1::{
    Acknowledgement, Open, Ping, Pong, Position, WatchRequest, WatchResponse,
};
use unefois_tlog::{Checkpoint, SignerKey, Tree};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::kit::{Kit, form, until};

both_databases![
    a_person_stops_a_grant_and_the_node_is_told,
    a_reader_that_claims_a_later_place_stops_nobody_else,
    i3_a_silent_producer_delays_the_effect_until_its_lease_has_run_out
];

pub(crate) const WAIT: Duration = Duration::from_secs(60);

pub(crate) struct Watch {
    pub(crate) ask: mpsc::Sender<WatchRequest>,
    answers: tonic::Streaming<WatchResponse>,
    /// Of the last ping of [`Watch::pong`].
    nonce: u64,
}

/// The first nonce of [`Watch::pong`]: above those that tests choose.
const OWN_NONCES: u64 = 1_000;

impl Watch {
    pub(crate) async fn open(kit: &Kit, open: Open) -> Self {
        let (ask, asked) = mpsc::channel(8);
        ask.send(message(Ask::Open(open))).await.unwrap();
        let mut client = RevocationServiceClient::new(kit.producer_channel());
        let answers = client
            .watch(ReceiverStream::new(asked))
            .await
            .unwrap()
            .into_inner();
        Self {
            ask,
            answers,
            nonce: OWN_NONCES,
        }
    }

    pub(crate) async fn next(&mut self) -> Result<Tell, tonic::Status> {
        let answer = tokio::time::timeout(WAIT, self.answers.message())
            .await
            .expect("in time")?;
        Ok(answer.expect("an open stream").message.unwrap())
    }

    /// Reads the snapshot that comes first.
    pub(crate) async fn snapshot(&mut self, kit: &Kit) -> Withdrawals {
        let Tell::Snapshot(snapshot) = self.next().await.unwrap() else {
            panic!("a snapshot comes first");
        };
        let mut view = Withdrawals::default();
        view.apply(&records(kit, &snapshot.jws)).unwrap();
        view
    }

    /// Reads it, and takes a lease.
    pub(crate) async fn lease(&mut self, kit: &Kit) -> Withdrawals {
        let view = self.snapshot(kit).await;
        let pong = self.pong().await;
        assert_eq!((pong.head.unwrap().epoch, pong.lease_ms), (1, 1_000));
        view
    }

    /// Pings until it is answered, and returns the answer to that ping: an authority whose heartbeat is late leaves a ping
    /// unanswered, and a busy one answers it after the next was sent.
    pub(crate) async fn pong(&mut self) -> Pong {
        let answered = async {
            loop {
                self.nonce += 1;
                self.ping(self.nonce).await;
                let (answers, nonce) = (&mut self.answers, self.nonce);
                let answer = async {
                    loop {
                        match answers.message().await.unwrap().unwrap().message.unwrap() {
                            Tell::Pong(pong) if pong.nonce == nonce => return pong,
                            Tell::Pong(earlier) if earlier.nonce > OWN_NONCES => {}
                            other => panic!("an answer, not {other:?}"),
                        }
                    }
                };
                if let Ok(pong) = tokio::time::timeout(Duration::from_millis(500), answer).await {
                    return pong;
                }
            }
        };
        tokio::time::timeout(WAIT, answered).await.expect("in time")
    }

    /// What the stream ends with, after late answers to [`Watch::pong`] at most.
    pub(crate) async fn refused(&mut self) -> tonic::Status {
        loop {
            match self.next().await {
                Ok(Tell::Pong(late)) if late.nonce > OWN_NONCES => {}
                Ok(other) => panic!("a refusal, not {other:?}"),
                Err(refused) => return refused,
            }
        }
    }

    /// Reads the next batch.
    pub(crate) async fn batch(&mut self, kit: &Kit, view: &mut Withdrawals) {
        let batch = loop {
            match self.next().await.unwrap() {
                Tell::Batch(batch) => break batch,
                Tell::Pong(_) => {}
                Tell::Snapshot(_) | Tell::ConsumerRecords(_) | Tell::Wanted(_) => panic!("a batch"),
            }
        };
        view.apply(&records(kit, &batch.jws)).unwrap();
    }

    pub(crate) async fn acknowledge(&mut self, head: Head, checkpoint: String) {
        let position = Some(Position {
            epoch: head.epoch,
            seq: head.seq,
            chain: head.chain.as_bytes().to_vec(),
        });
        let ack = Acknowledgement { position, checkpoint };
        self.ask.send(message(Ask::Acknowledgement(ack))).await.unwrap();
    }

    pub(crate) async fn ping(&mut self, nonce: u64) {
        let ping = Ping {
            nonce,
            log_size: 0,
            log_root: vec![0; 32],
        };
        self.ask.send(message(Ask::Ping(ping))).await.unwrap();
    }
}

pub(crate) fn message(ask: Ask) -> WatchRequest {
    WatchRequest { message: Some(ask) }
}

pub(crate) fn open() -> Open {
    Open {
        origin: "cnaf.example/1".to_owned(),
        boot: 1,
        position: Some(Position::default()),
        takes_ahead: false,
    }
}

/// The signed head of a log without entries.
fn checkpoint(origin: &str, seed: u8) -> String {
    let key = SignerKey::new(origin.parse().unwrap(), &[seed; 32]);
    let empty = Checkpoint::new(origin.parse().unwrap(), 0, Tree::default().root()).unwrap();
    empty.sign(&key).unwrap().as_str().to_owned()
}

pub(crate) fn producer_checkpoint() -> String {
    checkpoint("cnaf.example/1", 4)
}

/// Waits for an entry of the authority's ledger.
pub(crate) async fn logged(kit: &Kit, event: Event) {
    until(async || kit.events().await.contains(&event).then_some(())).await;
}

pub(crate) fn records(kit: &Kit, jwt: &str) -> SignedRecords {
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
        let mut watch = Watch::open(&kit, claim).await;
        assert!(matches!(watch.next().await, Ok(Tell::Wanted(_))));
        let nothing = Ask::Held(Default::default());
        watch.ask.send(message(nothing)).await.unwrap();
        let refused = watch.next().await.expect_err("nothing proves that claim");
        assert_eq!(status::reason_of(&refused), Some(Reason::RevocationStateStale));
    }

    let answer = kit.redeem(&code).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
    let mut watch = Watch::open(&kit, open()).await;
    assert!(matches!(watch.next().await, Ok(Tell::Snapshot(_))));
    watch.pong().await;
    kit.stop().await;
}

async fn a_person_stops_a_grant_and_the_node_is_told(database: TestDatabase) {
    // Long enough that it does not run out, on a busy machine, before the page says what is under way.
    let kit = Kit::with(database, |document, _| document["lease_ms"] = json!(4_000)).await;
    let mut watch = Watch::open(&kit, open()).await;
    let mut view = watch.snapshot(&kit).await;
    assert_eq!(watch.pong().await.lease_ms, 4_000);

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
    assert!(told.body.contains("en cours"), "{}", told.body);
    assert!(!told.body.contains("ffectif"), "what is not proved is not said");

    watch.batch(&kit, &mut view).await;
    assert!(view.kills(&token, "kid"));
    assert!(
        !kit.events().await.contains(&Event::Effective),
        "the producer has not said so"
    );
    watch.acknowledge(view.head(), producer_checkpoint()).await;
    watch.pong().await;

    let refresh = form(&[
        ("grant_type", "refresh_token".to_owned()),
        (
            "refresh_token",
            answer.json["refresh_token"].as_str().unwrap().to_owned(),
        ),
    ]);
    let refused = kit.call(Method::POST, "/as/token", &refresh).await;
    assert_eq!(refused.json["unefois_reason"], "GRANT_REVOKED");
    logged(&kit, Event::Effective).await;
    let mut events = kit.events().await;
    let effective = events.iter().position(|event| *event == Event::Effective);
    events.remove(effective.unwrap());
    assert_eq!(
        events,
        [Event::Granted, Event::Minted, Event::Withdrawn, Event::Refused]
    );
    kit.stop().await;
}

/// A grant of the browser's that it stops at once; returns when that is recorded.
async fn stopped(kit: &Kit) {
    let mut browser = kit.browser();
    let code = kit.grant(&mut browser, &kit.parameters(), "").await;
    let answer = kit.redeem(&code).await;
    let stop = format!(
        "/autorisations/{}/arreter",
        answer.json["grant_id"].as_str().unwrap()
    );
    let question = browser.get(&stop).await;
    let done = browser.post(&stop, &format!("csrf={}", question.csrf())).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.body);
}

async fn i3_a_silent_producer_delays_the_effect_until_its_lease_has_run_out(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let mut watch = Watch::open(&kit, open()).await;
    let mut view = watch.lease(&kit).await;
    // What another epoch answered is over by then, so that only this lease counts.
    let open = kit.clock.boottime().plus_ms(2_000);
    while kit.clock.boottime() < open {
        watch.pong().await;
    }
    let pinged = kit.clock.boottime();
    watch.pong().await;
    stopped(&kit).await;
    watch.batch(&kit, &mut view).await;
    // Answers to later pings do not put it off.
    let there = async {
        while !kit.events().await.contains(&Event::Effective) {
            watch.pong().await;
        }
    };
    tokio::time::timeout(WAIT, there).await.expect("in time");
    let took = kit.clock.boottime().micros_since(pinged) / 1_000;
    assert!(took >= 1_050, "{took} ms after the last answer below the record");
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i3_an_acknowledgement_that_proves_nothing_is_refused() {
    let kit = Kit::new().await;
    let head = |view: &Withdrawals| view.head();
    let other_chain = |view: &Withdrawals| Head {
        chain: unefois_core::Sha256::of(b"another"),
        ..view.head()
    };
    let checkpoints = [
        producer_checkpoint(),
        checkpoint("cnaf.example/1", 5),
        checkpoint("autorite.example/1", 4),
        "checkpoint".to_owned(),
        "x".repeat(9 * 1024),
    ];
    let cases = checkpoints
        .into_iter()
        .enumerate()
        .map(|(n, checkpoint)| match n {
            0 => (other_chain as fn(&Withdrawals) -> Head, checkpoint),
            _ => (head as fn(&Withdrawals) -> Head, checkpoint),
        });
    for (head, checkpoint) in cases {
        let mut watch = Watch::open(&kit, open()).await;
        let view = watch.lease(&kit).await;
        watch.acknowledge(head(&view), checkpoint).await;
        let refused = watch.refused().await;
        assert_eq!(status::reason_of(&refused), Some(Reason::InvalidRequest));
    }
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
    let _admitted = until(async || one_more().await.ok()).await;
    kit.stop().await;
}
