//! An authority that publishes a directory and a withdrawal log, and does what a test tells it to.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use futures_util::{Stream, StreamExt as _};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};
use unefois_core::revocation::{Extent, Head, Record, RecordPlace, SignedRecords, Withdrawal, chain};
use unefois_core::{Clock, RevocationView};
use unefois_jose::{PublicKey, SigningKey, jws};
use unefois_mesh::SystemClock;
use unefois_proto::pb::directory::v1 as directory;
use unefois_proto::pb::directory::v1::directory_service_server::DirectoryService;
use unefois_proto::pb::revocation::v1 as pb;
use unefois_proto::pb::revocation::v1::revocation_service_server::RevocationService;
use unefois_proto::pb::revocation::v1::watch_request::Message as Ask;
use unefois_proto::pb::revocation::v1::watch_response::Message as Tell;

pub(crate) struct FakeAuthority {
    key: SigningKey,
    log: Mutex<(Head, Vec<Record>)>,
    news: watch::Sender<u64>,
    mute: watch::Sender<bool>,
    /// What signs in the place of `key`, where a test says so.
    impostor: Mutex<Option<SigningKey>>,
    /// After which place a node that opens is asked for what it holds, in the place of a snapshot.
    lost: watch::Sender<Option<pb::Position>>,
    /// What nodes have shown.
    shown: watch::Sender<Vec<String>>,
    /// The places that nodes acknowledged, in order.
    acknowledged: watch::Sender<Vec<RevocationView>>,
    /// How many pings were answered.
    answered: watch::Sender<u64>,
    published: watch::Sender<(u64, String, Vec<u8>)>,
    /// The version that each stream of directories was opened with.
    known: watch::Sender<Vec<u64>>,
    tasks: TaskTracker,
}

/// Clones share it.
#[derive(Clone)]
pub(crate) struct Handle(pub(crate) Arc<FakeAuthority>);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl FakeAuthority {
    pub(crate) fn start(key: SigningKey) -> Handle {
        let head = Head {
            epoch: 1,
            ..Head::empty()
        };
        Handle(Arc::new(Self {
            key,
            log: Mutex::new((head, Vec::new())),
            news: watch::Sender::new(0),
            mute: watch::Sender::new(false),
            impostor: Mutex::default(),
            lost: watch::Sender::new(None),
            shown: watch::Sender::new(Vec::new()),
            acknowledged: watch::Sender::new(Vec::new()),
            answered: watch::Sender::new(0),
            published: watch::Sender::new((0, String::new(), Vec::new())),
            known: watch::Sender::new(Vec::new()),
            tasks: TaskTracker::new(),
        }))
    }

    /// The key that signs withdrawals.
    pub(crate) fn public(&self) -> PublicKey {
        self.key.verifying_key().public().clone()
    }

    /// The head of the withdrawal log.
    pub(crate) fn view(&self) -> RevocationView {
        self.log.lock().expect("as the test arranges it").0.view()
    }

    /// Withdraws, and tells every node.
    pub(crate) fn withdraw(&self, withdrawal: Withdrawal) -> RevocationView {
        let mut log = self.log.lock().expect("as the test arranges it");
        let (head, records) = &mut *log;
        let place = RecordPlace {
            epoch: head.epoch,
            seq: head.seq + 1,
        };
        let record = Record {
            place,
            withdrawal,
            at: SystemClock.now(),
        };
        *head = Head {
            epoch: head.epoch,
            seq: place.seq,
            chain: chain(&head.chain, &record),
        };
        records.push(record);
        let view = head.view();
        drop(log);
        self.news.send_modify(|n| *n += 1);
        view
    }

    /// Withdraws, and waits until a node has acknowledged it.
    pub(crate) async fn withdraw_everywhere(&self, withdrawal: Withdrawal) -> RevocationView {
        let mut acknowledged = self.acknowledged.subscribe();
        let place = self.withdraw(withdrawal);
        acknowledged
            .wait_for(|views| views.last() >= Some(&place))
            .await
            .expect("the authority lives");
        place
    }

    /// The places that nodes have acknowledged so far, in order.
    pub(crate) fn acknowledged(&self) -> Vec<RevocationView> {
        self.acknowledged.borrow().clone()
    }

    /// How many pings have been answered so far.
    pub(crate) fn answered(&self) -> u64 {
        *self.answered.borrow()
    }

    /// Loses what came after `after`; what a node shows of it, once that is all.
    pub(crate) async fn lose(&self, after: RevocationView) -> Vec<String> {
        let mut shown = self.shown.subscribe();
        self.lost.send_replace(Some(pb::Position {
            epoch: after.epoch,
            seq: after.seq,
            chain: Vec::new(),
        }));
        let all = shown.wait_for(|shown| shown.last().is_some_and(String::is_empty));
        let mut shown = all.await.expect("the authority lives").clone();
        shown.pop();
        shown
    }

    /// Answers pings no more, or again.
    pub(crate) fn mute(&self, mute: bool) {
        self.mute.send_replace(mute);
    }

    /// Signs with another key than the directory's, or with the directory's again.
    pub(crate) fn sign_with(&self, impostor: Option<SigningKey>) {
        *self.impostor.lock().expect("as the test arranges it") = impostor;
    }

    /// Publishes a directory and its catalogue.
    pub(crate) fn publish(&self, version: u64, jws: String, catalogue: Vec<u8>) {
        self.published.send_replace((version, jws, catalogue));
    }

    /// The version that each stream of directories was opened with so far, in order.
    pub(crate) fn known(&self) -> Vec<u64> {
        self.known.borrow().clone()
    }

    fn signed(&self, extent: Extent, from: Head) -> (Head, pb::SignedRecords) {
        let log = self.log.lock().expect("as the test arranges it");
        let (head, records) = &*log;
        let records = records
            .iter()
            .filter(|r| r.place.seq > from.seq)
            .cloned()
            .collect();
        let message = SignedRecords {
            extent,
            from,
            head: *head,
            records,
        };
        let impostor = self.impostor.lock().expect("as the test arranges it");
        let key = impostor.as_ref().unwrap_or(&self.key);
        let jws =
            jws::sign_claims(key, "unefois-withdrawals+jwt", &message).expect("as the test arranges it");
        (*head, pb::SignedRecords { jws })
    }
}

fn tell(message: Tell) -> Result<pb::WatchResponse, Status> {
    Ok(pb::WatchResponse {
        message: Some(message),
    })
}

#[tonic::async_trait]
impl RevocationService for Handle {
    type WatchStream = Answers<pb::WatchResponse>;

    async fn watch(
        &self,
        request: Request<Streaming<pb::WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let authority = Arc::clone(&self.0);
        let mut asked = request.into_inner();
        let (out, answers) = mpsc::channel(16);
        let mut news = authority.news.subscribe();
        self.0.tasks.spawn(async move {
            let (mut told, snapshot) = authority.signed(Extent::Snapshot, Head::empty());
            let mut lost = authority.lost.subscribe();
            let after = lost.borrow_and_update().clone();
            let mut next = tell(match after {
                Some(after) => Tell::Wanted(pb::Wanted { after: Some(after) }),
                None => Tell::Snapshot(snapshot),
            });
            while out.send(next).await.is_ok() {
                next = loop {
                    tokio::select! {
                        biased;
                        // Its database is another: whoever watches opens again.
                        _ = lost.changed() => return,
                        changed = news.changed() => {
                            if changed.is_err() {
                                return;
                            }
                            let (head, batch) = authority.signed(Extent::Batch, told);
                            told = head;
                            break tell(Tell::Batch(batch));
                        }
                        message = asked.next() => match message.and_then(Result::ok).and_then(|m| m.message) {
                            Some(Ask::Ping(ping)) if !*authority.mute.borrow() => {
                                authority.answered.send_modify(|n| *n += 1);
                                let head = pb::Position {
                                    epoch: told.epoch,
                                    seq: told.seq,
                                    chain: told.chain.as_bytes().to_vec(),
                                };
                                break tell(Tell::Pong(pb::Pong {
                                    nonce: ping.nonce,
                                    head: Some(head),
                                    server_time_us: SystemClock.now().get(),
                                    lease_ms: u32::MAX,
                                }));
                            }
                            Some(Ask::Acknowledgement(ack)) => {
                                let place = ack.position.unwrap_or_default();
                                let view = RevocationView { epoch: place.epoch, seq: place.seq };
                                authority.acknowledged.send_modify(|views| views.push(view));
                            }
                            Some(Ask::Held(held)) => authority.shown.send_modify(|shown| shown.push(held.jws)),
                            Some(Ask::Ping(_) | Ask::Open(_)) => {}
                            None => return,
                        },
                    }
                };
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }
}

#[tonic::async_trait]
impl DirectoryService for Handle {
    type WatchStream = Answers<directory::WatchResponse>;

    async fn watch(
        &self,
        request: Request<directory::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let mut known = request.get_ref().known_version;
        self.0.known.send_modify(|all| all.push(known));
        let mut published = self.0.published.subscribe();
        let (out, answers) = mpsc::channel(1);
        self.0.tasks.spawn(async move {
            loop {
                let (version, directory_jws, catalogue) = published.borrow_and_update().clone();
                if version > known {
                    known = version;
                    let answer = directory::WatchResponse {
                        directory_jws,
                        catalogue,
                    };
                    if out.send(Ok(answer)).await.is_err() {
                        return;
                    }
                }
                tokio::select! {
                    () = out.closed() => return,
                    changed = published.changed() => if changed.is_err() { return },
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }
}
