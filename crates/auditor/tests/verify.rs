//! A log served over gRPC by one who may lie: what the reader refuses, then what it accepts.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../../tests/kit/answers.rs"]
pub mod answers;

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Status, async_trait};
use unefois_auditor::{Asked, Error, KnownHead, LogReport, read_log, verify_log};
use unefois_core::{Entry, Event, Micros, RevocationView};
use unefois_proto::pb::ledger::v1::ledger_service_server::LedgerServiceServer;
use unefois_proto::pb::ledger::v1::{ListEntriesRequest, ListEntriesResponse};
use unefois_tlog::{Checkpoint, Hash, KeyName, Origin, SignerKey, Tiles, Tree};

use answers::{Answering, Answers};

const ORIGIN: &str = "urn:unefois:participant:18003506500010/1";
/// Largest page that the server gives, so that a log of a few entries takes several.
const PAGE: usize = 3;

/// What one server answers: some entries, under a head that may be about others.
#[derive(Clone)]
struct Served {
    entries: Vec<Vec<u8>>,
    /// The entries that the signed head is about.
    signed: Vec<Vec<u8>>,
    /// The entries that the heads of later pages are about, where they are about others.
    later: Option<Vec<Vec<u8>>>,
    key: Arc<SignerKey>,
    origin: Origin,
}

fn key(name: &str) -> Arc<SignerKey> {
    Arc::new(SignerKey::new(name.parse::<KeyName>().unwrap(), &[7; 32]))
}

fn entry(at: i64, seq: u64) -> Vec<u8> {
    let view = RevocationView { epoch: 1, seq };
    Entry {
        view,
        ..Entry::new(Event::Released, Micros::new(at))
    }
    .encode()
}

fn tree(entries: &[Vec<u8>]) -> Tree {
    let leaves: Vec<Hash> = entries.iter().map(|e| Hash::of_leaf(e)).collect();
    let mut tree = Tree::new();
    tree.append(&leaves).unwrap();
    tree
}

impl Served {
    fn honest(entries: Vec<Vec<u8>>) -> Self {
        Self {
            signed: entries.clone(),
            later: None,
            entries,
            key: key(ORIGIN),
            origin: ORIGIN.parse().unwrap(),
        }
    }

    fn head(&self, size: u64) -> String {
        let signed = match size {
            0 => &self.signed[..],
            size => {
                let signed = self.later.as_ref().unwrap_or(&self.signed);
                &signed[..usize::try_from(size).unwrap().min(signed.len())]
            }
        };
        let tree = tree(signed);
        let checkpoint = Checkpoint::new(self.origin.clone(), tree.size(), tree.root()).unwrap();
        checkpoint.sign(&self.key).unwrap().as_str().to_owned()
    }
}

#[async_trait]
impl Answers for Served {
    async fn list_entries(&self, asked: ListEntriesRequest) -> Result<ListEntriesResponse, Status> {
        let start = usize::try_from(asked.start).unwrap().min(self.entries.len());
        let end = (start + PAGE).min(self.entries.len());
        let consistency = match asked.known_size {
            0 => Vec::new(),
            known => {
                let tree = tree(&self.signed);
                let proof = tree
                    .consistency_proof(known, tree.size(), &Tiles::new())
                    .map_err(|e| Status::invalid_argument(e.to_string()))?;
                proof.iter().map(|hash| hash.as_bytes().to_vec()).collect()
            }
        };
        let checkpoint = self.head(asked.size);
        Ok(ListEntriesResponse {
            entries: self.entries[start..end].to_vec(),
            checkpoint,
            consistency,
            reading: Vec::new(),
        })
    }
}

async fn channel(served: Served) -> Channel {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder().add_service(LedgerServiceServer::new(Answering(served)));
    #[expect(
        clippy::disallowed_methods,
        reason = "the server ends with the test's runtime"
    )]
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    Endpoint::from_shared(format!("http://{address}"))
        .unwrap()
        .connect()
        .await
        .unwrap()
}

async fn verify(served: Served, known: Option<KnownHead>) -> Result<LogReport, Error> {
    let origin: Origin = ORIGIN.parse().unwrap();
    verify_log(
        channel(served).await,
        &origin,
        key(ORIGIN).verifier(),
        known,
        |_, _| {},
    )
    .await
}

fn log(n: i64) -> Vec<Vec<u8>> {
    (0..n).map(|i| entry(i, 1)).collect()
}

fn head(entries: &[Vec<u8>]) -> KnownHead {
    let tree = tree(entries);
    KnownHead {
        size: tree.size(),
        root: tree.root(),
    }
}

#[tokio::test]
async fn i7_an_entry_changed_dropped_or_added_is_refused() {
    let mut changed = Served::honest(log(8));
    changed.entries[5] = entry(5, 2);
    changed.entries[6] = entry(6, 2);
    changed.entries[7] = entry(7, 2);
    assert!(matches!(
        verify(changed, None).await,
        Err(Error::Root { size: 8 })
    ));

    let mut dropped = Served::honest(log(8));
    dropped.entries.pop();
    assert!(matches!(
        verify(dropped, None).await,
        Err(Error::Count { wanted: 8, got: 7 })
    ));

    let mut added = Served::honest(log(8));
    added.signed.pop();
    assert!(matches!(
        verify(added, None).await,
        Err(Error::Count { wanted: 7, .. })
    ));
}

#[tokio::test]
async fn i7_a_log_rewritten_or_rolled_back_since_the_known_head_is_refused() {
    let known = head(&log(6));
    let mut rewritten = log(8);
    rewritten[2] = entry(2, 0);
    rewritten[1] = entry(1, 0);
    rewritten[0] = entry(0, 0);
    let outcome = verify(Served::honest(rewritten), Some(known)).await;
    assert!(
        matches!(outcome, Err(Error::Forked { old: 6, new: 8, .. })),
        "{outcome:?}"
    );
    let outcome = verify(Served::honest(log(5)), Some(known)).await;
    assert!(
        matches!(outcome, Err(Error::Forked { old: 6, new: 5, .. })),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn i7_a_second_head_of_the_same_size_and_another_root_is_refused_as_such() {
    let mut other = log(8);
    other[7] = entry(7, 2);
    let two = Served {
        later: Some(other),
        ..Served::honest(log(8))
    };
    let outcome = verify(two, None).await;
    assert!(matches!(outcome, Err(Error::TwoHeads { size: 8 })), "{outcome:?}");
}

#[tokio::test]
async fn another_key_another_log_and_another_form_are_refused() {
    let other_key = SignerKey::new(ORIGIN.parse().unwrap(), &[8; 32]);
    let forged = Served {
        key: Arc::new(other_key),
        ..Served::honest(log(2))
    };
    assert!(matches!(verify(forged, None).await, Err(Error::Head(_))));

    let mut garbage = log(2);
    garbage[1] = b"not an entry".to_vec();
    assert!(matches!(
        verify(Served::honest(garbage), None).await,
        Err(Error::Entry { index: 1, .. })
    ));
}

#[tokio::test]
async fn time_and_view_never_go_back() {
    let late = vec![entry(5, 1), entry(4, 1)];
    assert!(matches!(
        verify(Served::honest(late), None).await,
        Err(Error::TimeWentBack { index: 1 })
    ));
    let stale = vec![entry(5, 2), entry(6, 1)];
    assert!(matches!(
        verify(Served::honest(stale), None).await,
        Err(Error::ViewWentBack { index: 1 })
    ));
}

#[tokio::test]
async fn an_honest_log_verifies_over_several_pages_and_as_it_grows() {
    let report = verify(Served::honest(log(8)), None).await.unwrap();
    assert_eq!(report.head, head(&log(8)));
    assert_eq!(report.events[&Event::Released], 8);
    let grown = verify(Served::honest(log(20)), Some(report.head)).await.unwrap();
    assert_eq!(grown.head.size, 20);
    let empty = verify(Served::honest(vec![]), None).await.unwrap();
    assert_eq!((empty.head.size, empty.span), (0, None));
}

#[tokio::test]
async fn a_visitor_sees_each_entry_of_its_range_once_and_may_stop_the_reading() {
    let (origin, entries): (Origin, _) = (ORIGIN.parse().unwrap(), log(8));
    let signer = key(ORIGIN);
    let asked = Asked {
        range: 2..7,
        ..Asked::all(&origin, signer.verifier())
    };
    let mut seen = Vec::new();
    let served = channel(Served::honest(entries.clone())).await;
    let read = read_log(
        served.clone(),
        &asked,
        |visited| {
            assert_eq!(visited.leaf, &Hash::of_leaf(visited.bytes));
            assert_eq!(visited.entry.encode(), visited.bytes);
            seen.push((visited.index, visited.bytes.to_vec()));
            Ok(())
        },
        |_, _| {},
    )
    .await
    .unwrap();
    assert_eq!(read.head, head(&entries));
    let expected: Vec<_> = (2..7).map(|i| (i as u64, entries[i].clone())).collect();
    assert_eq!(seen, expected);

    let stop = |_: unefois_auditor::Visited<'_>| Err(Error::Root { size: 0 });
    let stopped = read_log(served, &asked, stop, |_, _| {}).await;
    assert!(matches!(stopped, Err(Error::Root { size: 0 })));
}
