//! An authority's word on withdrawals to a process that only consumes, as a test arranges it.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use futures_util::{Stream, StreamExt as _};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};
use unefois_core::revocation::{Record, RecordPlace, Withdrawal};
use unefois_core::{Clock as _, Handle, Reason, RevocationView, WithdrawnBy};
use unefois_mesh::{SystemClock, status};
use unefois_proto::pb::revocation::v1 as pb;
use unefois_proto::pb::revocation::v1::revocation_service_server::RevocationService;
use unefois_proto::pb::revocation::v1::watch_request::Message as Ask;
use unefois_proto::pb::revocation::v1::watch_response::Message as Tell;
use unefois_proto::{OwnRecord, OwnRecords};

type Change = fn(&mut pb::ConsumerRecords);

/// Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Announcer(Arc<Inner>);

#[derive(Default)]
struct Inner {
    records: Mutex<Vec<OwnRecord>>,
    /// What a message says instead.
    change: Mutex<Option<Change>>,
    news: watch::Sender<u64>,
    /// From where each stream was opened.
    opened: watch::Sender<Vec<u64>>,
    /// How often all streams were cut.
    cuts: watch::Sender<u64>,
    tasks: TaskTracker,
}

impl Announcer {
    /// Withdraws a handle, and tells every stream.
    pub(crate) fn end(&self, handle: Handle, by: WithdrawnBy) {
        self.tell(Withdrawal::Grant(handle), Some(by));
    }

    /// Withdraws something else.
    pub(crate) fn withdraw(&self, withdrawal: Withdrawal) {
        self.tell(withdrawal, None);
    }

    fn tell(&self, withdrawal: Withdrawal, by: Option<WithdrawnBy>) {
        let mut records = self.0.records.lock().expect("a lock");
        let record = Record {
            place: RecordPlace {
                epoch: 1,
                seq: records.len() as u64 + 1,
            },
            withdrawal,
            at: SystemClock.now(),
        };
        records.push(OwnRecord { record, by });
        drop(records);
        self.0.news.send_modify(|n| *n += 1);
    }

    /// Forgets every record from number `len + 1` on, as a restored backup would.
    pub(crate) fn forget_after(&self, len: usize) {
        self.0.records.lock().expect("a lock").truncate(len);
    }

    /// Says something else from now on, or the truth again.
    pub(crate) fn change(&self, change: Option<Change>) {
        *self.0.change.lock().expect("a lock") = change;
    }

    /// Ends every stream.
    pub(crate) fn cut(&self) {
        self.0.cuts.send_modify(|n| *n += 1);
    }

    /// Waits for `count` streams beyond the first `known`; from where they were opened.
    pub(crate) async fn opened(&self, known: usize, count: usize) -> Vec<u64> {
        let mut opened = self.0.opened.subscribe();
        let later = opened.wait_for(|opened| opened.len() >= known + count);
        let later = tokio::time::timeout(crate::world::WAIT, later)
            .await
            .expect("in time");
        later.expect("it lives")[known..known + count].to_vec()
    }

    /// How many streams were opened.
    pub(crate) fn streams(&self) -> usize {
        self.0.opened.borrow().len()
    }

    fn after(&self, seq: u64) -> (OwnRecords, pb::ConsumerRecords) {
        let all = self.0.records.lock().expect("a lock").clone();
        let own = OwnRecords {
            after: seq,
            reached: RevocationView {
                epoch: 1,
                seq: (all.len() as u64).max(seq),
            },
            records: all.into_iter().filter(|own| own.record.place.seq > seq).collect(),
            ahead: Vec::new(),
        };
        let mut message = (&own).into();
        if let Some(change) = *self.0.change.lock().expect("a lock") {
            change(&mut message);
        }
        (own, message)
    }
}

#[tonic::async_trait]
impl RevocationService for Announcer {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<pb::WatchResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<Streaming<pb::WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let mut asked = request.into_inner();
        let first = asked
            .next()
            .await
            .and_then(Result::ok)
            .and_then(|first| first.message);
        let Some(Ask::Open(open)) = first else {
            return Err(Status::invalid_argument("open first"));
        };
        assert!(open.origin.is_empty() && open.takes_ahead, "it holds no lease");
        let mut seq = open.position.unwrap_or_default().seq;
        self.0.opened.send_modify(|opened| opened.push(seq));
        if seq > self.0.records.lock().expect("a lock").len() as u64 {
            return Err(status::refused(
                Reason::RevocationStateStale,
                "a place beyond the head",
            ));
        }
        let (out, answers) = mpsc::channel(4);
        let (mut news, mut cuts) = (self.0.news.subscribe(), self.0.cuts.subscribe());
        let announcer = self.clone();
        self.0.tasks.spawn(async move {
            let tell = |message| pb::WatchResponse {
                message: Some(message),
            };
            let (own, message) = announcer.after(seq);
            seq = own.reached.seq;
            let mut next = Tell::ConsumerRecords(message);
            while out.send(Ok(tell(next))).await.is_ok() {
                next = tokio::select! {
                    _ = cuts.changed() => return,
                    changed = news.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        let (own, message) = announcer.after(seq);
                        seq = own.reached.seq;
                        Tell::ConsumerRecords(message)
                    }
                    message = asked.next() => match message.and_then(Result::ok).and_then(|m| m.message) {
                        Some(Ask::Ping(ping)) => Tell::Pong(pb::Pong {
                            nonce: ping.nonce,
                            head: Some(pb::Position { epoch: 1, seq, chain: vec![] }),
                            server_time_us: SystemClock.now().get(),
                            lease_ms: 1_000,
                        }),
                        Some(Ask::Open(_) | Ask::Acknowledgement(_) | Ask::Held(_)) | None => return,
                    },
                };
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }
}
