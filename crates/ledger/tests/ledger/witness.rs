//! What a witness cosigns, what it refuses, and that it never cosigns two histories (I7).

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use futures_util::future::join_all;
use http::{Method, Request, StatusCode};
use unefois_core::Reason;
use unefois_ledger::{Ledger, LedgerService, Public, PublicError, Seen, WitnessConfig};
use unefois_mesh::PeerId;
use unefois_mesh::status::reason_of;
use unefois_proto::pb::ledger::v1::ListHeldHeadsRequest;
use unefois_proto::pb::ledger::v1::ledger_service_server::LedgerService as _;
use unefois_store::{Component, Db};
use unefois_tlog::{AddCheckpoint, Cosigner, CosignerKey, Hash};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::forge::Forger;
use crate::proxy::{Fault, Proxy};
use crate::raw::Raw;
use crate::registry::{EXPIRES_MS, Lent};
use crate::scene::{Scene, consumer, key_name, producer, stranger, verifier};
use crate::service::{assert_not_entitled, from, lent};
use crate::tiles::{Answer, append, send};

both_databases![
    i7_no_two_histories_are_cosigned,
    i7_a_database_that_went_back_cosigns_nothing,
    i7_of_heads_shown_at_once_one_history_is_cosigned,
    i9_an_expired_directory_names_no_log,
    i9_nothing_is_cosigned_that_is_not_kept,
    each_refusal_has_the_status_of_the_protocol,
    a_head_shown_again_is_cosigned_again_without_a_write,
    a_process_without_a_key_cosigns_nothing,
    i7_a_head_cosigned_is_told_to_its_participant_alone,
    i7_a_head_is_told_to_whom_the_directory_lets_ask_for_its_participant,
];

const ORIGIN: &str = "urn:unefois:participant:18003506500010/9";

struct Stand {
    scene: Scene,
    ledger: Ledger,
    lent: Lent,
    log: Forger,
    folder: tempfile::TempDir,
}

impl Stand {
    async fn new(database: TestDatabase) -> Self {
        let scene = Scene::new(database).await;
        let (log, folder) = (Forger::new(ORIGIN, 9), tempfile::tempdir().unwrap());
        let text = Cosigner::to_text("temoin.example/1".parse().unwrap(), &[3; 32]);
        std::fs::write(folder.path().join("witness.key"), text.as_bytes()).unwrap();
        Self {
            ledger: scene.open(1).await,
            lent: Lent::new(&scene, &[log.verifier(), &verifier(1)]),
            scene,
            log,
            folder,
        }
    }

    /// The witness, started anew.
    async fn witness(&self) -> Router {
        let config = WitnessConfig {
            key: Some(self.folder.path().join("witness.key")),
            ask: Vec::new(),
        };
        let public = Public::open(self.ledger.clone(), None, &config, self.lent.lend()).await;
        public.unwrap().public_router()
    }
}

fn witness_key() -> CosignerKey {
    Cosigner::new("temoin.example/1".parse().unwrap(), &[3; 32])
        .verifier()
        .clone()
}

async fn post(router: &Router, body: impl Into<Body>) -> Answer {
    send(
        router,
        Request::post("/add-checkpoint").body(body.into()).unwrap(),
    )
    .await
}

async fn add(router: &Router, request: &AddCheckpoint) -> Answer {
    post(router, request.to_string()).await
}

/// Asserts that the head of a request was cosigned; when, in seconds.
fn cosigned(answer: &Answer, request: &AddCheckpoint) -> u64 {
    let lines = std::str::from_utf8(&answer.body).unwrap();
    assert_eq!(answer.status, StatusCode::OK, "{lines}");
    let (_, at_s) = request.checkpoint.cosigned_by(lines, &witness_key()).unwrap();
    at_s
}

/// Asserts that another head is held, and says which size it has.
fn conflict(answer: &Answer) -> &str {
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert_eq!(answer.header("content-type"), "text/x.tlog.size");
    std::str::from_utf8(&answer.body).unwrap()
}

async fn each_refusal_has_the_status_of_the_protocol(database: TestDatabase) {
    let stand = Stand::new(database).await;
    let (witness, log) = (stand.witness().await, &stand.log);
    let status = async |body: String| post(&witness, body).await.status;

    let first = log.request(0, 0, 5);
    for body in ["", "old 0", "old 0\n\n", "\n\n\n", "old -1\n\nx\n"] {
        assert_eq!(status(body.to_owned()).await, StatusCode::BAD_REQUEST, "{body:?}");
    }
    let hashes = format!("old 0{}\n\n", format!("\n{}", Hash::EMPTY).repeat(64));
    let long = format!("{hashes}{}", first.checkpoint);
    assert_eq!(status(long).await, StatusCode::BAD_REQUEST, "64 hashes");
    assert_eq!(status("x".repeat(1 << 20)).await, StatusCode::PAYLOAD_TOO_LARGE);
    let order = log.request(0, 6, 5);
    assert_eq!(
        status(order.to_string()).await,
        StatusCode::BAD_REQUEST,
        "old size over new"
    );

    for stranger in [
        Forger::new("urn:unefois:participant:18003506500010/8", 9),
        Forger::new("example.com/log", 9),
        // The witness's own log: its word on itself is worth nothing.
        Forger::new("urn:unefois:participant:18003506500010/1", 1),
    ] {
        let request = stranger.request(0, 0, 5);
        assert_eq!(status(request.to_string()).await, StatusCode::NOT_FOUND);
    }
    let other_key = Forger::new(ORIGIN, 8).request(0, 0, 5);
    assert_eq!(status(other_key.to_string()).await, StatusCode::FORBIDDEN);
    let mut forged = first.to_string();
    let at = forged.rfind("— ").unwrap() + "— ".len() + ORIGIN.len() + 20;
    let flipped = if &forged[at..=at] == "A" { "B" } else { "A" };
    forged.replace_range(at..=at, flipped);
    assert_eq!(status(forged).await, StatusCode::FORBIDDEN, "another signature");
    let relabelled = first.to_string().replacen("\n5\n", "\n6\n", 1);
    assert_eq!(status(relabelled).await, StatusCode::FORBIDDEN, "another size");

    let grown = log.request(0, 5, 9);
    assert_eq!(
        conflict(&add(&witness, &grown).await),
        "0\n",
        "nothing is held yet"
    );
    let proof_from_nothing = AddCheckpoint {
        old_size: 0,
        ..grown.clone()
    };
    assert_eq!(
        add(&witness, &proof_from_nothing).await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );

    cosigned(&add(&witness, &first).await, &first);
    assert_eq!(conflict(&add(&witness, &log.request(0, 0, 9)).await), "5\n");
    assert_eq!(conflict(&add(&witness, &log.request(0, 4, 9)).await), "5\n");
    assert_eq!(
        conflict(&add(&witness, &log.request(0, 0, 3)).await),
        "5\n",
        "a head that goes back"
    );
    let unproved = AddCheckpoint {
        proof: Vec::new(),
        ..grown.clone()
    };
    let mut shifted = grown.clone();
    shifted.proof.rotate_left(1);
    let mut longer = grown.clone();
    longer.proof.push(Hash::EMPTY);
    let same_with_a_proof = AddCheckpoint {
        old_size: 5,
        proof: vec![Hash::EMPTY],
        ..first.clone()
    };
    stand.scene.clock.forward_ms(10_000);
    for request in [unproved, shifted, longer, same_with_a_proof] {
        assert_eq!(
            add(&witness, &request).await.status,
            StatusCode::UNPROCESSABLE_ENTITY
        );
    }
    cosigned(&add(&witness, &grown).await, &grown);

    let request = Request::builder().method(Method::GET).uri("/add-checkpoint");
    let answer = send(&witness, request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
}

async fn i7_no_two_histories_are_cosigned(database: TestDatabase) {
    let stand = Stand::new(database).await;
    let (witness, log) = (stand.witness().await, &stand.log);
    let first = log.request(0, 0, 5);
    cosigned(&add(&witness, &first).await, &first);
    // The same key, the same size, another root; then a growth that only the other history has.
    let fork = log.request(1, 5, 5);
    assert_ne!(fork.checkpoint, first.checkpoint);
    for again in [&witness, &stand.witness().await] {
        assert_eq!(conflict(&add(again, &fork).await), "5\n");
        let answer = add(again, &log.request(1, 5, 8)).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(conflict(&add(again, &log.request(1, 0, 8)).await), "5\n");
    }
    let grown = log.request(0, 5, 8);
    cosigned(&add(&witness, &grown).await, &grown);
    // A witness that was stopped holds what it cosigned.
    let restarted = stand.witness().await;
    assert_eq!(conflict(&add(&restarted, &log.request(1, 5, 8)).await), "8\n");
    assert_eq!(conflict(&add(&restarted, &log.request(1, 8, 8)).await), "8\n");

    // Of no entry there is one history too.
    let empty = Forger::new(ORIGIN, 9).request(0, 0, 0);
    assert_eq!(conflict(&add(&restarted, &empty).await), "8\n");
}

async fn i7_a_database_that_went_back_cosigns_nothing(database: TestDatabase) {
    let stand = Stand::new(database).await;
    let (witness, log) = (stand.witness().await, &stand.log);
    let first = log.request(0, 0, 5);
    cosigned(&add(&witness, &first).await, &first);
    // Somebody holds a head of the process's own log that the database lost.
    let lost = Forger::new(key_name(1).as_str(), 1).request(0, 0, 3).checkpoint;
    let seen = stand.ledger.seen(&lost, "a peer").await;
    assert_eq!(seen.unwrap(), Seen::Contradicted);
    for request in [log.request(0, 5, 5), log.request(0, 5, 8)] {
        for door in [&witness, &stand.witness().await] {
            let answer = add(door, &request).await;
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
            let text = String::from_utf8(answer.body).unwrap();
            assert!(!text.contains('—'), "{text}");
        }
    }
}

async fn i7_of_heads_shown_at_once_one_history_is_cosigned(database: TestDatabase) {
    let stand = Stand::new(database).await;
    // Two doors of one process share its state; so do two replicas.
    let doors = [stand.witness().await, stand.witness().await];
    let mut held = 0;
    for round in 0..5_u64 {
        let size = 4 * (round + 1);
        // From the second round on, only the history cosigned in the first has a proof to show.
        let requests: Vec<AddCheckpoint> = (0..16_u8)
            .map(|n| stand.log.request(n % 4, held, size + u64::from(n / 4 % 2)))
            .collect();
        let answers = requests
            .iter()
            .enumerate()
            .map(|(n, request)| add(&doors[n % 2], request));
        let answers = join_all(answers).await;
        let mut roots = BTreeSet::new();
        for (answer, request) in answers.iter().zip(&requests) {
            if answer.status == StatusCode::OK {
                cosigned(answer, request);
                let said = request.checkpoint.verify(stand.log.verifier()).unwrap();
                roots.insert((said.size, *said.root.as_bytes()));
                held = said.size;
            } else {
                assert!(
                    [StatusCode::CONFLICT, StatusCode::UNPROCESSABLE_ENTITY].contains(&answer.status),
                    "{}",
                    answer.status
                );
            }
        }
        assert_eq!(roots.len(), 1, "round {round}: {roots:?}");
    }
}

async fn i9_an_expired_directory_names_no_log(database: TestDatabase) {
    let stand = Stand::new(database).await;
    let witness = stand.witness().await;
    let first = stand.log.request(0, 0, 5);
    stand.scene.clock.forward_ms(EXPIRES_MS);
    let answer = add(&witness, &first).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    stand.scene.clock.forward_ms(-1);
    cosigned(&add(&witness, &first).await, &first);
}

async fn i9_nothing_is_cosigned_that_is_not_kept(database: TestDatabase) {
    let stand = Stand::new(database).await;
    let witness = stand.witness().await;
    let first = stand.log.request(0, 0, 5);
    let mut raw = Raw::open(&stand.scene.database).await;
    raw.execute("ALTER TABLE witness_state RENAME TO elsewhere").await;
    let answer = add(&witness, &first).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    let text = String::from_utf8(answer.body).unwrap();
    assert!(!text.contains('—') && !text.contains("witness_state"), "{text}");
    raw.execute("ALTER TABLE elsewhere RENAME TO witness_state").await;
    cosigned(&add(&witness, &first).await, &first);
}

/// A cosignature leaves only once its head is durable; where that is not known it does not leave, and what was
/// written counts.
#[tokio::test(flavor = "multi_thread")]
async fn i7_a_write_of_unknown_outcome_is_not_cosigned() {
    for (fault, size_after) in [(Fault::Unsent, "0\n"), (Fault::Unheard, "5\n")] {
        let stand = Stand::new(TestDatabase::postgres()).await;
        let proxy = Proxy::new(&stand.scene.database);
        let db = Db::open(&proxy.url, Component::Node).await.unwrap();
        let ledger = stand.scene.open_on(db, 2).await.unwrap();
        let config = WitnessConfig {
            key: Some(stand.folder.path().join("witness.key")),
            ask: Vec::new(),
        };
        let public = Public::open(ledger, None, &config, stand.lent.lend())
            .await
            .unwrap();
        let witness = public.public_router();
        let (first, fork) = (stand.log.request(0, 0, 5), stand.log.request(1, 0, 5));

        proxy.arm([fault]);
        assert_eq!(
            add(&witness, &first).await.status,
            StatusCode::SERVICE_UNAVAILABLE
        );
        let probe = stand.log.request(0, 4, 5);
        assert_eq!(conflict(&add(&witness, &probe).await), size_after);
        if size_after == "5\n" {
            assert_eq!(conflict(&add(&witness, &fork).await), "5\n");
            let again = stand.log.request(0, 5, 5);
            cosigned(&add(&witness, &again).await, &again);
        } else {
            cosigned(&add(&witness, &first).await, &first);
        }
    }
}

async fn a_head_shown_again_is_cosigned_again_without_a_write(database: TestDatabase) {
    let stand = Stand::new(database).await;
    let witness = stand.witness().await;
    let first = stand.log.request(0, 0, 5);
    let given = cosigned(&add(&witness, &first).await, &first);
    let again = stand.log.request(0, 5, 5);
    stand.scene.clock.forward_ms(9_000);
    assert_eq!(cosigned(&add(&witness, &again).await, &again), given);
    stand.scene.clock.forward_ms(1_000);
    assert_eq!(cosigned(&add(&witness, &again).await, &again), given + 10);
    // One who brings the log's first request again is told where the log is.
    assert_eq!(conflict(&add(&witness, &first).await), "5\n");
}

/// What was cosigned is told to a participant that asks what is held of its logs, as after a restore.
async fn i7_a_head_cosigned_is_told_to_its_participant_alone(database: TestDatabase) {
    let stand = Stand::new(database).await;
    let request = stand.log.request(0, 0, 5);
    cosigned(&add(&stand.witness().await, &request).await, &request);
    let service = LedgerService::new(vec![stand.ledger.clone()], stranger(), lent());
    for (participant, told) in [
        (producer(), vec![request.checkpoint.to_string()]),
        (consumer(), Vec::new()),
    ] {
        let asked = from(PeerId::Participant(participant), ListHeldHeadsRequest::default());
        let held = service.list_held_heads(asked).await.unwrap().into_inner();
        assert_eq!(held.checkpoints, told, "{participant}");
    }
}

/// A publisher asks for the bodies that it hosts, and nobody for others; whose logs they are is said.
async fn i7_a_head_is_told_to_whom_the_directory_lets_ask_for_its_participant(database: TestDatabase) {
    let stand = Stand::new(database).await;
    let request = stand.log.request(0, 0, 5);
    cosigned(&add(&stand.witness().await, &request).await, &request);
    let delegated = |yes: bool| unefois_ledger::Lent {
        acts_for: Arc::new(move |by, owner| {
            by == owner || (yes && (*by, *owner) == (consumer(), producer()))
        }),
        ..lent()
    };
    let ask = async |yes, caller, participant: &str| {
        let service = LedgerService::new(vec![stand.ledger.clone()], stranger(), delegated(yes));
        let asked = ListHeldHeadsRequest {
            participant: participant.to_owned(),
        };
        let asked = from(PeerId::Participant(caller), asked);
        service
            .list_held_heads(asked)
            .await
            .map(tonic::Response::into_inner)
    };
    let hosted = producer().to_string();
    assert_not_entitled(ask(false, consumer(), &hosted).await);
    assert_not_entitled(ask(true, stranger(), &hosted).await);
    let malformed = ask(true, consumer(), "13000495500014").await.unwrap_err();
    assert_eq!(reason_of(&malformed), Some(Reason::InvalidRequest));
    let own = ask(true, consumer(), "").await.unwrap();
    assert_eq!(
        (own.checkpoints, own.participant),
        (Vec::new(), consumer().to_string())
    );
    let told = ask(true, consumer(), &hosted).await.unwrap();
    assert_eq!(
        (told.checkpoints, told.participant),
        (vec![request.checkpoint.to_string()], hosted)
    );
}

async fn a_process_without_a_key_cosigns_nothing(database: TestDatabase) {
    let stand = Stand::new(database).await;
    append(&stand.scene, &stand.ledger, 1).await;
    let config = WitnessConfig::default();
    let public = Public::open(stand.ledger.clone(), None, &config, stand.lent.lend())
        .await
        .unwrap();
    let answer = add(&public.public_router(), &stand.log.request(0, 0, 5)).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);

    // A log's key is no witness's, so that neither signs in the other's place.
    let path = stand.folder.path().join("log.key");
    let text = unefois_tlog::SignerKey::to_text("temoin.example/1".parse().unwrap(), &[3; 32]);
    std::fs::write(&path, text.as_bytes()).unwrap();
    for key in [path, stand.folder.path().join("absent.key")] {
        let config = WitnessConfig {
            key: Some(key),
            ask: Vec::new(),
        };
        let opened = Public::open(stand.ledger.clone(), None, &config, stand.lent.lend()).await;
        assert!(matches!(opened, Err(PublicError::Key(_))), "{opened:?}");
    }
}
