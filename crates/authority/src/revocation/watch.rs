use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::Stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};
use unefois_core::revocation::Head;
use unefois_core::{Boot, ParticipantId, Reason, RevocationView, Sha256};
use unefois_mesh::{Peer, status};
use unefois_proto::pb::revocation::v1 as pb;
use unefois_proto::pb::revocation::v1::revocation_service_server::RevocationService;
use unefois_proto::pb::revocation::v1::watch_request::Message as Ask;
use unefois_proto::pb::revocation::v1::watch_response::Message as Tell;
use unefois_tlog::{SignedCheckpoint, VerifierKey};

use super::Revocation;
use super::barrier::{Acknowledged, LeaseKey};
use super::feed::Feed;
use crate::Error;
use crate::limiter::Limiter;
use crate::published::Published;

/// Answers that may wait for a slow reader; one more waits for it.
const QUEUE: usize = 16;
/// Streams that one participant may have open at once: its processes, twice over while they are replaced.
const STREAMS: usize = 16;
/// Watches that one participant may open at once, and a minute: its processes open theirs again each 200 ms while they are
/// refused.
const OPENS: (u32, u32) = (64, 1_200);
/// Largest checkpoint that is kept.
const MAX_CHECKPOINT: usize = 8 * 1024;
/// Heads that a reader may have been told and not have acknowledged; the acknowledgement of a later one serves them all.
const UNACKNOWLEDGED: usize = 1_024;

/// `RevocationService`: a snapshot first, then batches as they are made and an answer to each ping.
#[derive(Clone)]
pub(crate) struct WatchRevocations {
    pub(crate) revocation: Arc<Revocation>,
    pub(crate) published: Arc<Published>,
    pub(crate) tasks: TaskTracker,
    pub(crate) shutdown: CancellationToken,
    pub(crate) readers: Arc<Readers>,
    pub(crate) feed: Arc<Feed>,
}

/// The streams that each participant has open, and how often it opens them.
pub(crate) struct Readers {
    open: Mutex<HashMap<ParticipantId, Arc<Semaphore>>>,
    opens: Limiter<ParticipantId>,
}

impl Default for Readers {
    fn default() -> Self {
        Self {
            open: Mutex::default(),
            opens: Limiter::new(OPENS.0, OPENS.1),
        }
    }
}

impl Readers {
    /// A place for one more stream, given back when it is dropped.
    fn admit(&self, participant: ParticipantId, now: Boot) -> Option<OwnedSemaphorePermit> {
        if !self.opens.admit(participant, now) {
            return None;
        }
        // One place each for those that the directory lists, so it is bounded.
        let mut readers = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let places = readers
            .entry(participant)
            .or_insert_with(|| Arc::new(Semaphore::new(STREAMS)));
        Arc::clone(places).try_acquire_owned().ok()
    }
}

type Out = mpsc::Sender<Result<pb::WatchResponse, Status>>;

#[tonic::async_trait]
impl RevocationService for WatchRevocations {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<pb::WatchResponse, Status>> + Send>>;

    /// Opens one reader's view. The reader is told of each record before any answer whose head covers it.
    async fn watch(
        &self,
        request: Request<Streaming<pb::WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let peer = Peer::of(&request)?;
        let participant = peer
            .id
            .participant()
            .ok_or_else(|| status::refused(Reason::NotEntitled, "withdrawals are for participants"))?;
        let now = self.revocation.clock.boottime();
        let place = self.readers.admit(participant, now).ok_or_else(|| {
            status::refused(
                Reason::Overloaded,
                "this participant has too many watches open, or opens them too often",
            )
        })?;
        let (out, answers) = mpsc::channel(QUEUE);
        let reader = Reader {
            service: self.clone(),
            participant,
            out,
        };
        let mut asked = request.into_inner();
        let shutdown = self.shutdown.clone();
        self.tasks.spawn(async move {
            let _held = place;
            let out = reader.out.clone();
            let refused = tokio::select! {
                () = shutdown.cancelled() => Some(status::refused(Reason::RevocationStateStale, "the authority stops")),
                () = out.closed() => None,
                ended = reader.run(&mut asked) => ended.err(),
            };
            if let Some(status) = refused {
                // The reader may be gone, and then nobody has to know.
                let _gone = out.send(Err(status)).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }
}

pub(super) struct Reader {
    pub(super) service: WatchRevocations,
    pub(super) participant: ParticipantId,
    out: Out,
}

/// The lease that a reader holds.
pub(super) struct Lease {
    pub(super) key: LeaseKey,
    /// What its log's heads are signed with.
    log: VerifierKey,
    /// The heads told and not acknowledged, oldest first.
    told: VecDeque<Head>,
}

impl Lease {
    fn told(&mut self, head: Head) {
        if self.told.back() == Some(&head) {
            return;
        }
        if self.told.len() == UNACKNOWLEDGED {
            self.told.pop_front();
        }
        self.told.push_back(head);
    }

    /// The head told at this place.
    fn take(&mut self, view: RevocationView) -> Option<Head> {
        let at = self.told.iter().position(|head| head.view() == view)?;
        self.told.drain(..=at).next_back()
    }
}

impl Reader {
    async fn run(self, asked: &mut Streaming<pb::WatchRequest>) -> Result<(), Status> {
        let (lease, from) = match asked.next().await.transpose()?.and_then(|first| first.message) {
            // Who is stopped has nothing to learn: what goes on after it asks.
            Some(Ask::Open(_)) if self.service.revocation.stopped.is_cancelled() => return Err(stale()),
            Some(Ask::Open(open)) => {
                if let Some(restored) = &self.service.revocation.restored {
                    return self.tells(restored, open, asked).await;
                }
                if self.is_later(&open) {
                    return match self.open(open)? {
                        None => Err(stale()),
                        Some(_) => self.relearn(asked).await,
                    };
                }
                let after = open.position.as_ref().map_or(0, |position| position.seq);
                let from = (after, open.takes_ahead);
                (self.open(open)?, from)
            }
            Some(Ask::Ping(_) | Ask::Acknowledgement(_) | Ask::Held(_)) | None => {
                return Err(invalid("message", "the first message opens the watch"));
            }
        };
        let Some(mut lease) = lease else {
            return self.feed(asked, from).await;
        };
        let revocation = &self.service.revocation;
        revocation.opened(&lease.key).await.map_err(internal)?;
        let mut news = revocation.head.subscribe();
        let (mut told, text) = revocation.snapshot().await.map_err(internal)?;
        self.tell(Tell::Snapshot(pb::SignedRecords {
            jws: text.to_string(),
        }))
        .await?;
        lease.told(told);
        loop {
            let message = tokio::select! {
                () = revocation.stopped.cancelled() => return Err(stale()),
                changed = news.changed() => {
                    changed.map_err(|_| stale())?;
                    None
                }
                message = asked.next() => match message.transpose()? {
                    Some(message) => Some(message.message.ok_or_else(|| invalid("message", "one of the messages"))?),
                    None => return Ok(()),
                },
            };
            let received = revocation.clock.boottime();
            told = self.catch_up(told).await?;
            lease.told(told);
            match message {
                None => {}
                Some(Ask::Open(_)) => return Err(invalid("open", "a watch is opened once")),
                Some(Ask::Held(_)) => return Err(invalid("held", "what was wanted")),
                Some(Ask::Ping(ping)) => {
                    told = self.pong(&lease.key, &ping, told, received).await?;
                    lease.told(told);
                }
                Some(Ask::Acknowledgement(ack)) => self.acknowledged(&mut lease, ack)?,
            }
        }
    }

    /// Whether the reader claims a later place than this authority holds.
    fn is_later(&self, open: &pb::Open) -> bool {
        let position = open.position.clone().unwrap_or_default();
        let theirs = RevocationView {
            epoch: position.epoch,
            seq: position.seq,
        };
        let revocation = &self.service.revocation;
        let ours = revocation.view();
        let later = theirs.epoch > ours.epoch || theirs.seq > ours.seq;
        if later {
            revocation.doubted(self.participant, theirs);
        }
        later
    }

    /// Judges the log that the reader says it keeps.
    pub(super) fn open(&self, open: pb::Open) -> Result<Option<Lease>, Status> {
        if open.origin.is_empty() {
            return Ok(None);
        }
        let edition = self.service.published.edition();
        let listed = edition.directory.log(&open.origin);
        let own = listed.filter(|(row, _)| row.id == self.participant);
        let log = own.and_then(|(_, log)| log.vkey.parse().ok()).ok_or_else(|| {
            status::refused(
                Reason::NotEntitled,
                "the directory lists no such log of this participant",
            )
        })?;
        Ok(Some(Lease {
            key: LeaseKey {
                participant: self.participant,
                origin: open.origin,
                boot: open.boot,
            },
            log,
            told: VecDeque::new(),
        }))
    }

    async fn catch_up(&self, told: Head) -> Result<Head, Status> {
        match self.service.revocation.batch(told).map_err(internal)? {
            Some((head, text)) => {
                self.tell(Tell::Batch(pb::SignedRecords {
                    jws: text.to_string(),
                }))
                .await?;
                Ok(head)
            }
            None => Ok(told),
        }
    }

    /// Answers a ping, unless this process may have lost its epoch meanwhile: silence lets the lease lapse. The head
    /// that the answer names, which the reader was told first.
    async fn pong(
        &self,
        lease: &LeaseKey,
        ping: &pb::Ping,
        mut told: Head,
        received: Boot,
    ) -> Result<Head, Status> {
        let root = <[u8; 32]>::try_from(ping.log_root.as_slice())
            .map_err(|_| invalid("ping.log_root", "32 bytes"))?;
        let log = (ping.log_size, Sha256::from_bytes(root));
        let revocation = &self.service.revocation;
        let lease_ms = loop {
            if !revocation.is_fresh() {
                return Ok(told);
            }
            match revocation.answer(lease, told, received, log) {
                Some(lease_ms) => break lease_ms,
                None => told = self.catch_up(told).await?,
            }
        };
        self.tell(Tell::Pong(pb::Pong {
            nonce: ping.nonce,
            head: Some(position(&told)),
            server_time_us: revocation.clock.now().get(),
            lease_ms,
        }))
        .await?;
        Ok(told)
    }

    /// Takes an acknowledgement of a head that this reader was told, with a checkpoint of its log.
    fn acknowledged(&self, lease: &mut Lease, ack: pb::Acknowledgement) -> Result<(), Status> {
        let position = ack.position.unwrap_or_default();
        let view = RevocationView {
            epoch: position.epoch,
            seq: position.seq,
        };
        let head = lease
            .take(view)
            .ok_or_else(|| invalid("acknowledgement.position", "a place that was announced here"))?;
        if head.chain.as_bytes()[..] != position.chain {
            return Err(invalid("acknowledgement.position.chain", "that of the place"));
        }
        if ack.checkpoint.len() > MAX_CHECKPOINT {
            return Err(invalid("acknowledgement.checkpoint", "up to 8 KiB"));
        }
        SignedCheckpoint::parse(ack.checkpoint.as_bytes())
            .and_then(|signed| signed.verify(&lease.log).map(drop))
            .map_err(|_| invalid("acknowledgement.checkpoint", "signed with the log's key"))?;
        let acknowledged = Acknowledged {
            view,
            checkpoint: ack.checkpoint,
        };
        self.service.revocation.acknowledged(&lease.key, &acknowledged);
        Ok(())
    }

    pub(super) async fn tell(&self, message: Tell) -> Result<(), Status> {
        let answer = pb::WatchResponse {
            message: Some(message),
        };
        // Fails only once the reader is gone.
        self.out
            .send(Ok(answer))
            .await
            .map_err(|_| Status::cancelled("the reader is gone"))
    }
}

pub(super) fn position(head: &Head) -> pb::Position {
    pb::Position {
        epoch: head.epoch,
        seq: head.seq,
        chain: head.chain.as_bytes().to_vec(),
    }
}

pub(super) fn invalid(field: &str, what: &str) -> Status {
    status::Refusal::new(Reason::InvalidRequest, "the message is invalid")
        .field(field, what)
        .into()
}

pub(super) fn stale() -> Status {
    status::refused(
        Reason::RevocationStateStale,
        "this authority does not hold the present state of withdrawals",
    )
}

pub(super) fn internal(error: Error) -> Status {
    match error {
        Error::Superseded | Error::Recovering => stale(),
        error => status::internal(&error),
    }
}
