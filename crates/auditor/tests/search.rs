//! Searches and watches of a log served by one who may lie: what the reader refuses, then what it accepts.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../../tests/kit/answers.rs"]
pub mod answers;

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Status, async_trait};
use unefois_auditor::{Error, KnownHead, Row, Search, Searched, entries_at, search, watch};
use unefois_core::{Entry, EntryFilter, Event, Micros};
use unefois_proto::pb::ledger::v1 as pb;
use unefois_proto::pb::ledger::v1::ledger_service_server::LedgerServiceServer;
use unefois_tlog::{Checkpoint, Hash, KeyName, Origin, SignerKey, Tiles, Tree};

use answers::{Answering, Answers};

const ORIGIN: &str = "urn:unefois:participant:18003506500010/1";

/// What the server answers, one after the other.
#[derive(Clone, Default)]
struct Served {
    pages: Arc<Mutex<Vec<pb::SearchResponse>>>,
    proof: Option<pb::GetProofResponse>,
    told: Vec<pb::WatchResponse>,
}

#[async_trait]
impl Answers for Served {
    async fn search(&self, _: pb::SearchRequest) -> Result<pb::SearchResponse, Status> {
        let mut pages = self.pages.lock().unwrap();
        match pages.is_empty() {
            true => Err(Status::unavailable("no further page")),
            false => Ok(pages.remove(0)),
        }
    }

    async fn get_proof(&self, _: pb::GetProofRequest) -> Result<pb::GetProofResponse, Status> {
        Ok(self.proof.clone().unwrap())
    }

    async fn watch(&self, _: pb::WatchRequest) -> Result<Vec<pb::WatchResponse>, Status> {
        Ok(self.told.clone())
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
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    endpoint.connect().await.unwrap()
}

fn key() -> SignerKey {
    SignerKey::new(ORIGIN.parse::<KeyName>().unwrap(), &[7; 32])
}

/// Entries `released` and `refused` in turn.
fn entry(n: u64) -> Vec<u8> {
    let event = if n.is_multiple_of(2) {
        Event::Released
    } else {
        Event::Refused
    };
    Entry::new(event, Micros::new(i64::try_from(n).unwrap())).encode()
}

fn tree(size: u64) -> Tree {
    let leaves: Vec<Hash> = (0..size).map(|n| Hash::of_leaf(&entry(n))).collect();
    let mut tree = Tree::new();
    tree.append(&leaves).unwrap();
    tree
}

fn signed(tree: &Tree) -> String {
    let origin: Origin = ORIGIN.parse().unwrap();
    let checkpoint = Checkpoint::new(origin, tree.size(), tree.root()).unwrap();
    checkpoint.sign(&key()).unwrap().as_str().to_owned()
}

fn rows(places: &[u64]) -> Vec<pb::EntryRow> {
    let row = |index: &u64| pb::EntryRow {
        index: *index,
        entry: entry(*index),
        acknowledged: false,
    };
    places.iter().map(row).collect()
}

fn proof(size: u64, places: &[u64]) -> Vec<Vec<u8>> {
    let mut sorted = places.to_vec();
    sorted.sort_unstable();
    let proof = tree(size)
        .multi_inclusion_proof(&sorted, size, &Tiles::new())
        .unwrap();
    proof.iter().map(|hash| hash.as_bytes().to_vec()).collect()
}

/// A page of the log of `size`, which looked at `looked` places in all.
fn page(size: u64, places: &[u64], looked: u64, more: bool) -> pb::SearchResponse {
    pb::SearchResponse {
        rows: rows(places),
        checkpoint: signed(&tree(size)),
        proof: proof(size, places),
        cursor: if more { vec![1] } else { Vec::new() },
        looked_first: 0,
        looked_end: looked,
        consistency: Vec::new(),
    }
}

/// What a search for releases, oldest first, shows of these pages, and how it ends.
async fn searched(
    pages: Vec<pb::SearchResponse>,
    known: Option<KnownHead>,
) -> (Vec<u64>, Result<Searched, Error>) {
    let served = Served {
        pages: Arc::new(Mutex::new(pages)),
        ..Served::default()
    };
    let filter: EntryFilter = "events=released".parse().unwrap();
    let (origin, key) = (ORIGIN.parse().unwrap(), key());
    let asked = query(&origin, &key, &filter, known);
    let mut shown = Vec::new();
    let show = |row: Row| {
        shown.push(row.index);
        ControlFlow::Continue(())
    };
    let ended = search(channel(served).await, &asked, show, |_| {}).await;
    (shown, ended)
}

fn query<'a>(
    origin: &'a Origin,
    key: &'a SignerKey,
    filter: &'a EntryFilter,
    known: Option<KnownHead>,
) -> Search<'a> {
    Search {
        origin,
        key: key.verifier(),
        known,
        filter,
        newest_first: false,
        limit: 1_000,
        size: None,
        purpose: "",
    }
}

fn known(size: u64) -> KnownHead {
    KnownHead {
        size,
        root: tree(size).root(),
    }
}

#[tokio::test]
async fn i7_a_row_that_is_not_in_the_log_is_never_shown() {
    let mut altered = page(8, &[0, 2], 8, false);
    altered.rows[1].entry = Entry::new(Event::Released, Micros::new(3)).encode();
    let mut moved = page(8, &[0, 2], 8, false);
    moved.rows[1].index = 4;
    let mut bare = page(8, &[0, 2], 8, false);
    bare.proof.clear();
    let mut padded = page(8, &[0, 2], 8, false);
    padded.proof.push(vec![0; 32]);
    let mut short = page(8, &[0, 2], 8, false);
    short.proof[0].pop();
    for forged in [altered, moved, bare, padded, short] {
        let (shown, ended) = searched(vec![forged], None).await;
        assert!(matches!(ended, Err(Error::Rows(_))), "{ended:?}");
        assert_eq!(shown, [0; 0]);
    }
    let mut much = page(8, &[0], 8, false);
    much.proof = vec![vec![0; 32]; 65];
    let mut many = page(8, &[0], 8, false);
    many.rows = rows(&vec![0; 1_001]);
    for forged in [much, many] {
        assert!(matches!(
            searched(vec![forged], None).await.1,
            Err(Error::TooMuch)
        ));
    }
}

#[tokio::test]
async fn a_row_that_was_not_asked_for_or_comes_twice_is_refused() {
    let (shown, ended) = searched(vec![page(8, &[0, 1, 2], 8, false)], None).await;
    assert!(matches!(ended, Err(Error::NotAskedFor { index: 1 })), "{ended:?}");
    assert_eq!(shown, [0]);
    let (_, ended) = searched(vec![page(8, &[2, 0], 8, false)], None).await;
    assert!(matches!(ended, Err(Error::OutOfOrder { index: 0 })), "{ended:?}");
    let again = vec![page(8, &[0, 2], 4, true), page(8, &[2, 4], 8, false)];
    let (_, ended) = searched(again, None).await;
    assert!(matches!(ended, Err(Error::OutOfOrder { index: 2 })), "{ended:?}");
}

#[tokio::test]
async fn i7_pages_of_two_heads_or_of_another_history_are_refused() {
    let moving = vec![page(8, &[0], 4, true), page(9, &[4], 9, false)];
    let (_, ended) = searched(moving, None).await;
    assert!(
        matches!(ended, Err(Error::MovingHead { wanted: 8, got: 9 })),
        "{ended:?}"
    );
    // The log does not prove that it continues the head seen before.
    let (shown, ended) = searched(vec![page(8, &[0], 8, false)], Some(known(5))).await;
    assert!(
        matches!(ended, Err(Error::Forked { old: 5, new: 8, .. })),
        "{ended:?}"
    );
    assert_eq!(shown, [0; 0]);
    let mut unsigned = page(8, &[0], 8, false);
    unsigned.checkpoint = unsigned.checkpoint.replace("\n8\n", "\n9\n");
    assert!(matches!(
        searched(vec![unsigned], None).await.1,
        Err(Error::Head(_))
    ));
}

#[tokio::test]
async fn a_log_that_leads_nowhere_is_left() {
    let endless = vec![
        page(8, &[0], 4, true),
        page(8, &[], 4, true),
        page(8, &[], 4, true),
    ];
    let (_, ended) = searched(endless, None).await;
    assert!(matches!(ended, Err(Error::NoProgress)), "{ended:?}");
}

#[tokio::test]
async fn an_honest_search_shows_each_row_once_under_one_head() {
    let mut first = page(8, &[0, 2], 3, true);
    let growth = tree(8).consistency_proof(5, 8, &Tiles::new()).unwrap();
    first.consistency = growth.iter().map(|hash| hash.as_bytes().to_vec()).collect();
    let pages = vec![first, page(8, &[], 5, true), page(8, &[6], 8, false)];
    let (shown, ended) = searched(pages, Some(known(5))).await;
    let done = ended.unwrap();
    assert_eq!(shown, [0, 2, 6]);
    assert_eq!(
        (done.head, done.rows, done.looked, done.ended),
        (known(8), 3, 0..8, true)
    );
}

#[tokio::test]
async fn other_places_than_those_asked_for_are_refused() {
    let filter = EntryFilter::default();
    let (origin, key) = (ORIGIN.parse().unwrap(), key());
    let asked = query(&origin, &key, &filter, None);
    let answer = pb::GetProofResponse {
        rows: rows(&[1, 3]),
        checkpoint: signed(&tree(8)),
        proof: proof(8, &[1, 3]),
        ..pb::GetProofResponse::default()
    };
    let served = Served {
        proof: Some(answer),
        ..Served::default()
    };
    let channel = channel(served).await;
    for others in [&[1, 4][..], &[1], &[1, 3, 5]] {
        let refused = entries_at(channel.clone(), &asked, others).await;
        assert!(matches!(refused, Err(Error::Count { .. })), "{others:?}");
    }
    let (rows, ..) = entries_at(channel, &asked, &[1, 3]).await.unwrap();
    assert_eq!(rows.len(), 2);
}

fn told(size: u64, from: u64, places: &[u64]) -> pb::WatchResponse {
    let growth = match from {
        0 => Vec::new(),
        from => tree(size).consistency_proof(from, size, &Tiles::new()).unwrap(),
    };
    pb::WatchResponse {
        rows: rows(places),
        checkpoint: signed(&tree(size)),
        proof: proof(size, places),
        consistency: growth.iter().map(|hash| hash.as_bytes().to_vec()).collect(),
        looked_end: size,
    }
}

#[tokio::test]
async fn i7_a_watch_follows_one_history_and_shows_it_in_order() {
    let filter: EntryFilter = "events=released".parse().unwrap();
    let (origin, key) = (ORIGIN.parse().unwrap(), key());
    let watched = async |told: Vec<pb::WatchResponse>| {
        let served = Served {
            told,
            ..Served::default()
        };
        let asked = query(&origin, &key, &filter, None);
        let mut shown = Vec::new();
        let show = |row: Row| {
            shown.push(row.index);
            ControlFlow::Continue(())
        };
        let ended = watch(channel(served).await, &asked, Some(2), show, |_, _| {}).await;
        (shown, ended.unwrap_err())
    };
    let (_, ended) = watched(vec![told(4, 0, &[2]), told(6, 0, &[4])]).await;
    assert!(matches!(ended, Error::Forked { old: 4, new: 6, .. }), "{ended:?}");
    let (_, ended) = watched(vec![told(4, 0, &[2]), told(6, 4, &[2])]).await;
    assert!(matches!(ended, Error::OutOfOrder { index: 2 }), "{ended:?}");
    let (_, ended) = watched(vec![told(4, 0, &[0])]).await;
    assert!(matches!(ended, Error::NotAskedFor { index: 0 }), "{ended:?}");
    let (_, ended) = watched(vec![told(4, 0, &[3])]).await;
    assert!(matches!(ended, Error::NotAskedFor { index: 3 }), "{ended:?}");
    // An honest one that ends without a word is no end either.
    let (shown, ended) = watched(vec![told(4, 0, &[2]), told(6, 4, &[4])]).await;
    assert!(matches!(ended, Error::NoProgress), "{ended:?}");
    assert_eq!(shown, [2, 4]);
}
