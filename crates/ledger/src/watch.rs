//! Entries told as they are committed, to a reader that keeps up.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, Stream, StreamExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;
use unefois_core::{EntryFilter, Reason, Sha256};
use unefois_mesh::{Peer, PeerId, status};
use unefois_proto::pb::ledger::v1 as pb;

use crate::search::{At, Found};
use crate::service::reading::proved;
use crate::service::{hashes, refusal};
use crate::{Error, Ledger};

/// Watches of all readers at once.
const WATCHES: usize = 32;
/// Those that participants may hold: the others are left for auditors.
const OF_PARTICIPANTS: usize = WATCHES / 2;
/// Those of one key: one that is read, and one that begins before the server has seen that another ended.
const OF_ONE: usize = 2;
/// Messages that wait for a slow reader.
const QUEUE: usize = 4;
/// Rows of one message.
const ROWS: usize = 1_000;
/// How long a reader may leave its queue full.
const SLOW_AFTER: Duration = Duration::from_secs(10);
/// The log is looked at no more often than this, however often it grows.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A reader is told how far the log was looked at after this many entries without a row.
const TOLD_EVERY: u64 = 100_000;

/// What a reader receives.
pub(crate) type Told = Pin<Box<dyn Stream<Item = Result<pb::WatchResponse, Status>> + Send>>;

/// Who watches: the keys of those who hold a place, once for each, and whether it is an auditor's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watches(Arc<Mutex<Vec<(Sha256, bool)>>>);

/// A place among the watches, given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    watches: Watches,
    held: (Sha256, bool),
}

impl Watches {
    /// A place for `peer`; `None` where it holds enough, or too few are left.
    pub(crate) fn take(&self, peer: &Peer) -> Option<Place> {
        let held = (peer.spki_sha256, matches!(peer.id, PeerId::Auditor(_)));
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_one = all.iter().filter(|(key, _)| *key == held.0).count();
        let of_participants = all.iter().filter(|(_, auditor)| !auditor).count();
        let free = of_one < OF_ONE && all.len() < WATCHES && (held.1 || of_participants < OF_PARTICIPANTS);
        free.then(|| {
            all.push(held);
            Place {
                watches: self.clone(),
                held,
            }
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.watches.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = all.iter().position(|held| *held == self.held) {
            all.swap_remove(at);
        }
    }
}

/// One watch, before it begins.
pub(crate) struct Watch {
    pub(crate) log: Ledger,
    pub(crate) filter: EntryFilter,
    /// The next place to look at.
    pub(crate) next: u64,
    /// The size that the next message proves the growth from; 0 for none.
    pub(crate) known: u64,
}

impl Watch {
    /// Begins to tell; the watch ends with its reader, at shutdown, or with a status that says why.
    ///
    /// `place` is its place among the watches, which it holds until then.
    pub(crate) fn begin(self, place: Place, tasks: &TaskTracker, shutdown: CancellationToken) -> Told {
        let (out, told) = mpsc::channel(QUEUE);
        let (end, ended) = oneshot::channel();
        tasks.spawn(async move {
            let _held = place;
            let reason = tokio::select! {
                () = shutdown.cancelled() => Some(status::refused(Reason::Maintenance, "this server stops: watch again")),
                () = out.closed() => None,
                reason = self.run(&out) => Some(reason),
            };
            if let Some(reason) = reason {
                // The reader may be gone, and then nobody has to know.
                let _gone = end.send(Err(reason));
            }
        });
        // The reason comes after all that was queued, also where the queue is full.
        let last = stream::once(ended).filter_map(async |reason| reason.ok());
        Box::pin(ReceiverStream::new(told).chain(last))
    }

    /// Tells until it cannot; the status says why.
    async fn run(mut self, out: &mpsc::Sender<Result<pb::WatchResponse, Status>>) -> Status {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut told, mut first) = (self.next, true);
        loop {
            look.tick().await;
            let looked = async {
                let at = self.log.at(None).await?;
                let range = self.next..at.size;
                let found = self.log.find(&self.filter, range, false, ROWS).await?;
                Ok::<_, Error>((at, found))
            };
            let (at, found) = match looked.await {
                Ok(looked) => looked,
                Err(error) => return refusal("filter", &error),
            };
            self.next = found.rest.start;
            let end = found.rest.is_empty();
            let far = self.next.saturating_sub(told) >= TOLD_EVERY;
            if std::mem::replace(&mut first, false) || far || !found.rows.is_empty() {
                told = self.next;
                let message = match self.message(&at, found).await {
                    Ok(message) => message,
                    Err(error) => return refusal("known_size", &error),
                };
                self.known = at.size;
                if out.send_timeout(Ok(message), SLOW_AFTER).await.is_err() {
                    return status::refused(
                        Reason::Overloaded,
                        "the reader is too slow: watch again from the last looked_end",
                    );
                }
            }
            if end {
                self.log.changed(at.size).await;
            }
        }
    }

    async fn message(&self, at: &At, found: Found) -> Result<pb::WatchResponse, Error> {
        let (rows, proof) = proved(&self.log, at, found.rows).await?;
        let consistency = match self.known {
            0 => Vec::new(),
            known => self.log.consistency(known, at.size).await?,
        };
        Ok(pb::WatchResponse {
            rows,
            checkpoint: at.checkpoint.as_str().to_owned(),
            proof,
            consistency: hashes(&consistency),
            looked_end: self.next,
        })
    }
}
