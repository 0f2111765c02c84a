//! What a process that only consumes is told of withdrawals, and what it is not.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use unefois_core::revocation::Withdrawal;
use unefois_core::{Event, Reason, WithdrawnBy};
use unefois_mesh::status;
use unefois_proto::OwnRecords;
use unefois_proto::pb::revocation::v1::revocation_service_client::RevocationServiceClient;
use unefois_proto::pb::revocation::v1::watch_request::Message as Ask;
use unefois_proto::pb::revocation::v1::watch_response::Message as Tell;
use unefois_proto::pb::revocation::v1::{Acknowledgement, Open, Ping, Position, WatchRequest, WatchResponse};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::kit::{Answer, COMMUNE, CROUS, Kit, Publisher, form, until};
use crate::withdrawal::WAIT;

both_databases![
    a_consumer_is_told_of_its_own_handles_alone,
    a_tenant_s_handles_are_told_to_whoever_obtained_them,
    a_publisher_that_is_named_again_is_told_of_what_it_missed,
    a_consumer_goes_on_from_where_it_stopped
];

struct Feed {
    ask: mpsc::Sender<WatchRequest>,
    answers: tonic::Streaming<WatchResponse>,
}

impl Feed {
    async fn open(channel: Channel, epoch: u64, seq: u64) -> Self {
        Self::open_as(channel, (epoch, seq), false).await
    }

    /// One that is told of records ahead of its place.
    async fn open_ahead(channel: Channel, epoch: u64, seq: u64) -> Self {
        Self::open_as(channel, (epoch, seq), true).await
    }

    async fn open_as(channel: Channel, (epoch, seq): (u64, u64), takes_ahead: bool) -> Self {
        let (ask, asked) = mpsc::channel(8);
        let position = Position {
            epoch,
            seq,
            chain: vec![],
        };
        let open = Open {
            origin: String::new(),
            boot: 0,
            position: Some(position),
            takes_ahead,
        };
        ask.send(message(Ask::Open(open))).await.unwrap();
        let mut client = RevocationServiceClient::new(channel);
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

    async fn records(&mut self) -> OwnRecords {
        match self.next().await.unwrap() {
            Tell::ConsumerRecords(records) => OwnRecords::try_from(records).unwrap(),
            other => panic!("records: {other:?}"),
        }
    }

    /// The place of the answer to a ping: nothing else came before it.
    async fn reached(&mut self) -> u64 {
        let answered = async {
            loop {
                let ping = Ping {
                    nonce: 7,
                    log_size: 0,
                    log_root: vec![],
                };
                self.ask.send(message(Ask::Ping(ping))).await.unwrap();
                // An authority whose heartbeat is late leaves a ping unanswered.
                let answer = tokio::time::timeout(Duration::from_millis(500), self.answers.message()).await;
                match answer.map(|answer| answer.unwrap().unwrap().message.unwrap()) {
                    Ok(Tell::Pong(pong)) if pong.nonce == 7 => return pong.head.unwrap().seq,
                    Ok(other) => panic!("a pong: {other:?}"),
                    Err(_) => {}
                }
            }
        };
        tokio::time::timeout(WAIT, answered).await.expect("in time")
    }
}

fn message(ask: Ask) -> WatchRequest {
    WatchRequest { message: Some(ask) }
}

/// Handle and cause of each record.
fn told(records: &OwnRecords) -> Vec<(String, WithdrawnBy)> {
    let one = |own: &unefois_proto::OwnRecord| match &own.record.withdrawal {
        Withdrawal::Grant(handle) => (handle.to_string(), own.by.unwrap()),
        other => panic!("a handle: {other:?}"),
    };
    records.records.iter().map(one).collect()
}

fn handle(answer: &Answer) -> String {
    answer.json["authorization_details"][0]["gh"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn address(answer: &Answer) -> String {
    format!("/as/grants/{}", answer.json["grant_id"].as_str().unwrap())
}

async fn granted(kit: &Kit) -> Answer {
    let code = kit.grant(&mut kit.browser(), &kit.parameters(), "").await;
    kit.redeem(&code).await
}

async fn give_back(kit: &Kit, grant: &Answer) {
    let answer = kit.call(Method::DELETE, &address(grant), "").await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.json);
}

async fn a_consumer_is_told_of_its_own_handles_alone(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let mut commune = Feed::open(kit.commune_channel(), 0, 0).await;
    let first = commune.records().await;
    assert_eq!((first.after, first.reached.seq, first.records.len()), (0, 0, 0));
    let mut others = [
        Feed::open(kit.crous_channel(), 0, 0).await,
        Feed::open(kit.producer_channel(), 0, 0).await,
    ];
    for other in &mut others {
        assert_eq!(other.records().await.records, []);
    }

    let mut browser = kit.browser();
    let code = kit.grant(&mut browser, &kit.parameters(), "").await;
    let (one, two) = (kit.redeem(&code).await, granted(&kit).await);
    let stop = format!(
        "/autorisations/{}/arreter",
        one.json["grant_id"].as_str().unwrap()
    );
    let question = browser.get(&stop).await;
    let posted = format!("csrf={}", question.csrf());
    assert_eq!(browser.post(&stop, &posted).await.status, StatusCode::SEE_OTHER);
    // The same again, as from another tab: nothing more is withdrawn.
    assert_eq!(browser.post(&stop, &posted).await.status, StatusCode::SEE_OTHER);
    let records = commune.records().await;
    assert_eq!(told(&records), [(handle(&one), WithdrawnBy::Person)]);
    assert_eq!((records.after, records.reached.seq), (0, 1));

    give_back(&kit, &two).await;
    give_back(&kit, &two).await;
    let records = commune.records().await;
    assert_eq!(told(&records), [(handle(&two), WithdrawnBy::Consumer)]);
    assert_eq!((records.after, records.reached.seq), (1, 2));
    assert_eq!(commune.reached().await, 2);
    // What was given back is shown so, and is nobody's to stop any more.
    let id = two.json["grant_id"].as_str().unwrap();
    let mut own = kit.browser();
    own.follow("/fc/connexion").await;
    let detail = own.get(&format!("/autorisations/{id}")).await;
    assert!(
        detail.body.contains("Rendue") && !detail.body.contains("Arrêtée"),
        "{}",
        detail.body
    );
    assert!(!detail.body.contains("/arreter"), "{}", detail.body);
    let list = own.get("/autorisations").await;
    assert!(
        list.body.contains("Rendue par l’administration. Retrait "),
        "{}",
        list.body
    );
    let refresh = form(&[
        ("grant_type", "refresh_token".to_owned()),
        (
            "refresh_token",
            two.json["refresh_token"].as_str().unwrap().to_owned(),
        ),
    ]);
    let refused = kit.call(Method::POST, "/as/token", &refresh).await;
    assert_eq!(refused.json["unefois_reason"], "GRANT_REVOKED");
    // Of another's grant nothing is known.
    let answer = kit.call_as_crous(&format!("/as/grants/{id}"), "").await;
    assert!(answer.status.is_client_error());
    let entries = kit.entries().await;
    assert_eq!(entries.iter().filter(|e| e.event == Event::Withdrawn).count(), 2);
    // The others may go on from there; they heard of nothing.
    for other in &mut others {
        assert_eq!(other.reached().await, 2);
    }
    kit.stop().await;
}

async fn a_tenant_s_handles_are_told_to_whoever_obtained_them(database: TestDatabase) {
    let kit = Kit::with(database, |directory, _| {
        let cnaf = directory["participants"][3]["id"].clone();
        directory["participants"][1]["publishers"] = json!([CROUS, cnaf]);
    })
    .await;
    let code = kit.grant_through(Publisher::Crous, &mut kit.browser()).await;
    let through = kit
        .call_as_publisher(Publisher::Crous, Method::POST, "/as/token", &form(&code))
        .await;
    assert_eq!(through.status, StatusCode::OK, "{}", through.json);
    let own = granted(&kit).await;
    give_back(&kit, &own).await;
    let answer = kit
        .call_as_publisher(Publisher::Crous, Method::DELETE, &address(&through), "")
        .await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.json);

    for (channel, expected) in [
        (
            kit.crous_channel(),
            vec![(handle(&through), WithdrawnBy::Consumer)],
        ),
        (kit.commune_channel(), vec![(handle(&own), WithdrawnBy::Consumer)]),
        // It may act for the commune, and obtained neither.
        (kit.producer_channel(), vec![]),
    ] {
        let records = Feed::open(channel, 0, 0).await.records().await;
        assert_eq!(told(&records), expected);
        assert_eq!(records.reached.seq, 2);
    }
    kit.stop().await;
}

/// The numbers of the records of a message, and of those ahead of its place.
fn numbers(records: &OwnRecords) -> (Vec<u64>, Vec<u64>) {
    let of = |own: &[unefois_proto::OwnRecord]| own.iter().map(|own| own.record.place.seq).collect();
    (of(&records.records), of(&records.ahead))
}

/// Neither told in the time between, nor passed over: what it may not be told keeps its place back, in whatever streams.
async fn a_publisher_that_is_named_again_is_told_of_what_it_missed(database: TestDatabase) {
    let mut kit = Kit::with(database, |directory, _| {
        directory["participants"][1]["publishers"] = json!([CROUS]);
    })
    .await;
    let named = |kit: &mut Kit, publishers: &[&str]| {
        let publishers = publishers.iter().map(|id| id.parse().unwrap()).collect();
        kit.publish(|document| {
            let commune = document
                .participants
                .iter_mut()
                .find(|row| row.id.to_string() == COMMUNE);
            commune.unwrap().publishers = publishers;
        });
    };
    let asks = async |kit: &Kit, status: StatusCode| {
        let asked = form(&kit.parameters());
        until(async || {
            let answer = kit
                .call_as_publisher(Publisher::Crous, Method::POST, "/as/par", &asked)
                .await;
            (answer.status == status).then_some(())
        })
        .await;
    };
    let code = kit.grant_through(Publisher::Crous, &mut kit.browser()).await;
    let through = kit
        .call_as_publisher(Publisher::Crous, Method::POST, "/as/token", &form(&code))
        .await;
    assert_eq!(through.status, StatusCode::OK, "{}", through.json);
    let mut feed = Feed::open_ahead(kit.crous_channel(), 0, 0).await;
    let mut older = Feed::open(kit.crous_channel(), 0, 0).await;
    for feed in [&mut feed, &mut older] {
        assert_eq!(feed.records().await.reached.seq, 0);
    }

    named(&mut kit, &[]);
    asks(&kit, StatusCode::BAD_REQUEST).await;
    let mut person = kit.browser();
    person.follow("/fc/connexion").await;
    let stop = format!(
        "/autorisations/{}/arreter",
        through.json["grant_id"].as_str().unwrap()
    );
    let question = person.get(&stop).await;
    let posted = person.post(&stop, &format!("csrf={}", question.csrf())).await;
    assert_eq!(posted.status, StatusCode::SEE_OTHER, "{}", posted.body);
    let order = form(&[
        ("kind", "client".to_owned()),
        ("key", CROUS.to_owned()),
        ("reason", "clé perdue".to_owned()),
    ]);
    let answer = kit
        .call_as_operator(Method::POST, "/as/withdrawals", &order)
        .await;
    assert_eq!(answer.json["seq"], 2, "{}", answer.json);
    // What is its own comes at once, the commune's grant not at all, and its place stays before that.
    let epoch = answer.json["epoch"].as_u64().unwrap();
    let mut another = Feed::open_ahead(kit.crous_channel(), epoch, 0).await;
    for feed in [&mut feed, &mut another] {
        let records = feed.records().await;
        assert_eq!(numbers(&records), (vec![], vec![2]));
        assert_eq!((records.after, records.reached.seq), (0, 0));
        assert_eq!(feed.reached().await, 0);
    }
    let records = older.records().await;
    assert_eq!((numbers(&records), records.reached.seq), ((vec![2], vec![]), 2));

    named(&mut kit, &[CROUS]);
    for feed in [&mut feed, &mut another] {
        let records = feed.records().await;
        assert_eq!(numbers(&records), (vec![1, 2], vec![]));
        assert_eq!((records.after, records.reached.seq), (0, 2));
        let own = &records.records[0];
        assert_eq!(own.by, Some(WithdrawnBy::Person));
        assert!(
            matches!(&own.record.withdrawal, Withdrawal::Grant(gh) if gh.to_string() == handle(&through))
        );
        assert_eq!(feed.reached().await, 2);
    }
    assert_eq!(older.reached().await, 2, "it was told all that it takes");
    kit.stop().await;
}

async fn a_consumer_goes_on_from_where_it_stopped(database: TestDatabase) {
    let kit = Kit::on(database).await;
    let grants = [granted(&kit).await, granted(&kit).await, granted(&kit).await];
    for grant in &grants {
        give_back(&kit, grant).await;
    }
    let all = grants
        .each_ref()
        .map(|grant| (handle(grant), WithdrawnBy::Consumer));
    for seen in 0..=3 {
        let mut feed = Feed::open(kit.commune_channel(), 1, seen).await;
        let records = feed.records().await;
        assert_eq!(told(&records), all[usize::try_from(seen).unwrap()..]);
        assert_eq!((records.after, records.reached.seq), (seen, 3));
    }
    // Nobody knows what lies beyond the head, or of a later epoch.
    for (epoch, seq) in [(1, 4), (9, 0), (u64::MAX, u64::MAX)] {
        let refused = Feed::open(kit.commune_channel(), epoch, seq).await.next().await;
        let refused = refused.expect_err("nothing is known of that place");
        assert_eq!(status::reason_of(&refused), Some(Reason::RevocationStateStale));
    }
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_acknowledges_nothing_and_opens_once() {
    let kit = Kit::new().await;
    for ask in [
        Ask::Acknowledgement(Acknowledgement::default()),
        Ask::Open(Open::default()),
    ] {
        let mut feed = Feed::open(kit.commune_channel(), 0, 0).await;
        feed.records().await;
        feed.ask.send(message(ask)).await.unwrap();
        let refused = feed.next().await.expect_err("no such message here");
        assert_eq!(status::reason_of(&refused), Some(Reason::InvalidRequest));
    }
    kit.stop().await;
}
