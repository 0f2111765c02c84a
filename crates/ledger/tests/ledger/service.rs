//! Who may read what over gRPC.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Code, Request, Status};
use unefois_core::{Clock as _, Entry, Event, Micros, ParticipantId, Reason, Sha256};
use unefois_ledger::{LedgerService, Lent};
use unefois_mesh::{Peer, PeerId, Serial, status::reason_of};
use unefois_proto::pb::ledger::v1::ledger_service_server::LedgerService as _;
use unefois_proto::pb::ledger::v1::{GetConsistencyRequest, HistoryRequest, ListEntriesRequest};
use unefois_store::peer::peer_receipt_insert;
use unefois_tlog::{Hash, Receipt, SignedCheckpoint, Tree, verify_consistency};

use crate::both_databases;
use crate::database::TestDatabase;
use crate::scene::{Scene, again, claimed, consumer, fetch, payload, refused, stranger, verifier};

both_databases![
    i6_only_an_auditor_lists_and_only_the_authority_reads_a_history,
    i7_pages_verify_against_one_head,
    i12_a_history_holds_every_log_of_the_database,
    malformed_questions_name_their_field,
];

pub(crate) fn authority() -> ParticipantId {
    stranger()
}

pub(crate) fn lent() -> Lent {
    Lent {
        directory_version: Arc::new(|| 7),
        auditor: Arc::new(|_| None),
        identities: Arc::new(|_| None),
        acts_for: Arc::new(|publisher, tenant| publisher == tenant),
        tasks: TaskTracker::new(),
        shutdown: CancellationToken::new(),
    }
}

pub(crate) fn from<T>(id: PeerId, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(Peer {
        id,
        serial: Serial::from_bytes(&[1]),
        spki_sha256: Sha256::of(b"key"),
        cert_sha256: Sha256::of(b"certificate"),
        not_after: Micros::from_secs(2_000_000_000),
    });
    request
}

pub(crate) fn auditor() -> PeerId {
    PeerId::Auditor("cnil-1".to_owned())
}

pub(crate) fn assert_not_entitled<T: std::fmt::Debug>(answer: Result<T, Status>) {
    let refusal = answer.expect_err("not for everybody");
    assert_eq!(reason_of(&refusal), Some(Reason::NotEntitled));
}

async fn i6_only_an_auditor_lists_and_only_the_authority_reads_a_history(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let service = LedgerService::new(vec![scene.open(1).await], authority(), lent());
    let history = || HistoryRequest {
        handles: vec![vec![0; 16]],
        since_us: 0,
    };
    assert_not_entitled(
        service
            .list_entries(Request::new(ListEntriesRequest::default()))
            .await,
    );
    for peer in [consumer(), authority()] {
        let request = from(PeerId::Participant(peer), ListEntriesRequest::default());
        assert_not_entitled(service.list_entries(request).await);
    }
    for peer in [PeerId::Participant(consumer()), auditor()] {
        assert_not_entitled(service.history(from(peer, history())).await);
    }
    assert_not_entitled(service.history(Request::new(history())).await);
    assert_not_entitled(
        service
            .get_consistency(Request::new(GetConsistencyRequest::default()))
            .await,
    );
    let empty = service
        .history(from(PeerId::Participant(authority()), history()))
        .await;
    assert_eq!(empty.unwrap().into_inner().entries, []);
}

async fn i7_pages_verify_against_one_head(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    for _ in 0..7 {
        claimed(
            fetch(&ledger, scene.once(scene.handle()), payload(1))
                .await
                .unwrap(),
        );
    }
    let known = ledger.head();
    let service = LedgerService::new(vec![ledger.clone()], authority(), lent());
    for _ in 0..3 {
        claimed(
            fetch(&ledger, scene.once(scene.handle()), payload(1))
                .await
                .unwrap(),
        );
    }

    let (mut tree, mut size, mut reading) = (Tree::new(), 0, Vec::new());
    for page in 0..5_u64 {
        let question = ListEntriesRequest {
            origin: String::new(),
            start: 2 * page,
            limit: 2,
            size,
            known_size: known.size,
            reading,
            ..ListEntriesRequest::default()
        };
        let answer = service
            .list_entries(from(auditor(), question))
            .await
            .unwrap()
            .into_inner();
        let signed = SignedCheckpoint::parse(answer.checkpoint.as_bytes()).unwrap();
        let head = signed.verify(&verifier(1)).unwrap().clone();
        assert_eq!(head.size, 10);
        (size, reading) = (head.size, answer.reading);
        let proof: Vec<Hash> = answer
            .consistency
            .iter()
            .map(|h| Hash::try_from(h.as_slice()).unwrap())
            .collect();
        verify_consistency((known.size, &known.root), (head.size, &head.root), &proof).unwrap();
        let leaves: Vec<Hash> = answer.entries.iter().map(|entry| Hash::of_leaf(entry)).collect();
        tree.append(&leaves).unwrap();
        // The log grows on meanwhile: the page keeps the size that was asked for.
        claimed(
            fetch(&ledger, scene.once(scene.handle()), payload(1))
                .await
                .unwrap(),
        );
        assert_eq!(leaves.len(), 2);
        if page == 4 {
            assert_eq!(tree.root(), head.root);
        }
    }
    let question = GetConsistencyRequest {
        origin: ledger.origin().to_string(),
        first: 7,
        second: 0,
    };
    let answer = service
        .get_consistency(from(PeerId::Participant(consumer()), question))
        .await
        .unwrap()
        .into_inner();
    let signed = SignedCheckpoint::parse(answer.checkpoint.as_bytes()).unwrap();
    // Ten entries, one beside each page, and the record of the one reading.
    assert_eq!(signed.verify(&verifier(1)).unwrap().size, 16);
}

async fn i12_a_history_holds_every_log_of_the_database(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let (one, two) = (scene.open(1).await, scene.open(2).await);
    let handle = scene.handle();
    let request = scene.once(handle);
    claimed(fetch(&one, scene.once(scene.handle()), payload(1)).await.unwrap());

    let released = claimed(fetch(&one, request.clone(), payload(1)).await.unwrap());
    scene.clock.forward_ms(1_000);
    let repeated = again(fetch(&two, request.clone(), payload(1)).await.unwrap());
    scene.clock.forward_ms(1_000);
    let since = scene.clock.now();
    refused(fetch(&one, request, payload(2)).await.unwrap());
    let mut tx = scene.db.begin().await.unwrap();
    let leaf = Sha256::from_bytes(*repeated.leaf_hash().as_bytes());
    let siret = consumer().siret().to_string();
    peer_receipt_insert(&mut tx, &siret, &[leaf], since)
        .await
        .unwrap();
    // Another peer's word confirms nothing.
    let leaf = Sha256::from_bytes(*released.leaf_hash().as_bytes());
    peer_receipt_insert(&mut tx, &stranger().siret().to_string(), &[leaf], since)
        .await
        .unwrap();
    tx.commit().await.unwrap();

    // The call reaches one replica, which answers for both.
    let service = LedgerService::new(vec![one], authority(), lent());
    let ask = |since_us| HistoryRequest {
        handles: vec![handle.as_bytes().to_vec()],
        since_us,
    };
    let answer = service
        .history(from(PeerId::Participant(authority()), ask(0)))
        .await
        .unwrap()
        .into_inner();
    assert!(!answer.truncated);
    let mut seen = Vec::new();
    for found in &answer.entries {
        let shard = if found.origin.ends_with("/1") { 1 } else { 2 };
        let receipt: Receipt = found.proof.parse().unwrap();
        receipt
            .verify(&Hash::of_leaf(&found.entry), &verifier(shard))
            .unwrap();
        assert_eq!(found.handle, handle.as_bytes());
        seen.push((
            Entry::decode(&found.entry).unwrap().event,
            shard,
            found.acknowledged,
        ));
    }
    assert_eq!(
        seen,
        [
            (Event::Released, 1, false),
            (Event::ReleasedAgain, 2, true),
            (Event::Refused, 1, false)
        ]
    );
    let late = service
        .history(from(PeerId::Participant(authority()), ask(since.get())))
        .await
        .unwrap();
    assert_eq!(late.into_inner().entries, answer.entries[2..]);
}

async fn malformed_questions_name_their_field(database: TestDatabase) {
    let scene = Scene::new(database).await;
    let ledger = scene.open(1).await;
    let service = LedgerService::new(vec![ledger.clone(), scene.open(2).await], authority(), lent());
    let origin = ledger.origin().to_string();
    let good = ListEntriesRequest {
        origin: origin.clone(),
        ..ListEntriesRequest::default()
    };
    service
        .list_entries(from(auditor(), good.clone()))
        .await
        .expect("an empty log has a head");
    for question in [
        // Two logs: one must be named.
        ListEntriesRequest::default(),
        ListEntriesRequest {
            origin: "elsewhere".to_owned(),
            ..good.clone()
        },
        ListEntriesRequest {
            start: 9,
            ..good.clone()
        },
        ListEntriesRequest {
            size: 9,
            ..good.clone()
        },
        ListEntriesRequest {
            reading: vec![1; 40],
            ..good.clone()
        },
        ListEntriesRequest {
            known_size: u64::MAX,
            ..good.clone()
        },
        ListEntriesRequest {
            size: u64::MAX,
            start: u64::MAX,
            limit: 2,
            ..good
        },
    ] {
        let refusal = service
            .list_entries(from(auditor(), question))
            .await
            .expect_err("malformed");
        assert_eq!(refusal.code(), Code::InvalidArgument);
        assert_eq!(reason_of(&refusal), Some(Reason::InvalidRequest));
    }
    let short = HistoryRequest {
        handles: vec![vec![0; 15]],
        since_us: 0,
    };
    let refusal = service
        .history(from(PeerId::Participant(authority()), short))
        .await
        .expect_err("malformed");
    assert_eq!(reason_of(&refusal), Some(Reason::InvalidRequest));
}
