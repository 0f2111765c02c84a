//! The one task that writes a log.
//!
//! It takes what is queued the moment the last commit returned, and writes it in one transaction: in one statement, that
//! writes only if every claim is free; where one is not, claim by claim. When it does not know
//! whether that transaction took effect, it writes nothing more before it has taken a new epoch and read the head:
//! only what is there is acknowledged. It is never cancelled in the middle of a transaction: a write that hangs may
//! still succeed.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use unefois_core::Clock;
use unefois_store::Db;
use unefois_store::batch::batch_try;
use unefois_store::entry::{partition_ensure, partition_is_due};
use unefois_store::head::{self, head_advance, head_replicated, head_retake};
use unefois_store::name::Names;
use unefois_tlog::Tree;
use uuid::Uuid;

use crate::Error;
use crate::attempt::ClaimRequest;
use crate::batch::{Batch, Item, Leaf, State};
use crate::claims::Book;
use crate::guard::{Guard, Standing};
use crate::receipt::Head;

/// The most items that one transaction writes. Every entry is under 1 KiB and most are under half of that.
const MAX_BATCH: usize = 2_048;
/// How long to wait between two attempts at learning the outcome of a transaction.
const SETTLE_EVERY: Duration = Duration::from_millis(100);
/// How long a batch may take before the log counts as not writable: its callers have given up by then.
const LATE: Duration = Duration::from_secs(2);

/// What readers of this process see of the log: only what is committed.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) head: Head,
    pub(crate) tree: Arc<Tree>,
}

pub(crate) struct Sequencer {
    pub(crate) db: Db,
    pub(crate) holder: Uuid,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) state: State,
    pub(crate) queue: mpsc::Receiver<Item>,
    pub(crate) published: watch::Sender<Arc<Published>>,
    pub(crate) guard: Arc<Guard>,
    /// How long an outcome may be unknown before its callers are told so.
    pub(crate) settled: Duration,
    /// Whether what is written must be on a second server.
    pub(crate) synchronous_standby: bool,
    pub(crate) closing: CancellationToken,
}

/// Waits for `batch` however long it takes; once that is too long, probes are told until it ends.
async fn watched<T>(guard: &Guard, batch: impl Future<Output = T>) -> T {
    let mut batch = pin!(batch);
    if let Ok(done) = tokio::time::timeout(LATE, batch.as_mut()).await {
        return done;
    }
    guard.set_late(true);
    tracing::error!("the database has not answered a batch for 2 s: the log is not ready until it does");
    let done = batch.await;
    guard.set_late(false);
    tracing::warn!("the batch that took long has ended");
    done
}

/// What became of a transaction.
enum Outcome {
    Applied,
    NotApplied,
    /// Another process took the log, or it is not what it was: this one never writes again.
    Lost(Standing),
    /// The process ends before the database answered.
    Unknown,
}

/// A batch that is committed, whose callers do not know it yet.
struct Committed {
    batch: Batch,
    head: Head,
    items: Vec<Item>,
}

/// What a batch leaves to do.
#[derive(Default)]
struct Rest {
    /// Items to try again.
    later: Vec<Item>,
    committed: Option<Committed>,
}

impl Sequencer {
    pub(crate) async fn run(mut self) {
        let mut rest = Rest::default();
        loop {
            let Rest { later, mut committed } = rest;
            if later.is_empty()
                && self.queue.is_empty()
                && let Some(Committed { batch, head, items }) = committed.take()
            {
                // Nothing to write meanwhile.
                batch.acknowledge(&head, items);
            }
            let items = self.take(later).await;
            // The database works on the next batch while the callers of the last one get their proofs.
            let acknowledged = async {
                if let Some(Committed { batch, head, items }) = committed {
                    batch.acknowledge(&head, items);
                }
            };
            let Some(items) = items else {
                acknowledged.await;
                break;
            };
            rest = if self.guard.writes().is_ok() {
                let guard = Arc::clone(&self.guard);
                let (rest, ()) = tokio::join!(biased; watched(&guard, self.process(items)), acknowledged);
                rest
            } else {
                acknowledged.await;
                self.refuse(items);
                Rest::default()
            };
        }
    }

    /// Tells the callers of `items` why nothing is written.
    fn refuse(&self, items: Vec<Item>) {
        for item in items {
            item.fail(self.guard.writes().err().unwrap_or(Error::Unavailable));
        }
    }

    /// What is queued now, at least one item; `None` once the queue is closed and empty.
    async fn take(&mut self, mut items: Vec<Item>) -> Option<Vec<Item>> {
        if items.is_empty() {
            let first = tokio::select! {
                biased;
                item = self.queue.recv() => item,
                () = self.closing.cancelled() => {
                    self.queue.close();
                    self.queue.recv().await
                }
            };
            items.push(first?);
        }
        while items.len() < MAX_BATCH
            && let Ok(item) = self.queue.try_recv()
        {
            items.push(item);
        }
        Some(items)
    }

    /// Writes one batch; answers its callers unless it is committed.
    async fn process(&mut self, mut items: Vec<Item>) -> Rest {
        let (mut batch, mut later) = (None, Vec::new());
        let mut written = self.transact(&mut items, &mut batch, &mut later).await;
        if let (Ok(()), Some(batch)) = (&written, &batch) {
            written = self.replicated(self.state.epoch, batch.tree.size()).await;
        }
        let outcome = match written {
            Ok(()) => Outcome::Applied,
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a batch was not acknowledged by the database"
                );
                // Who answers next may be another server, where what this one had named has another number.
                self.state.names = Names::default();
                let settled = self.settled;
                let mut settling = pin!(self.settle(batch.as_ref()));
                match tokio::time::timeout(settled, settling.as_mut()).await {
                    Ok(outcome) => outcome,
                    Err(_) => {
                        for item in std::mem::take(&mut items) {
                            item.fail(Error::Unavailable);
                        }
                        settling.await
                    }
                }
            }
        };
        match (outcome, batch) {
            // What was learnt while it was written forbids to build on it.
            (Outcome::Applied, Some(_)) if self.guard.writes().is_err() => self.refuse(items),
            (Outcome::Applied, Some(batch)) => {
                self.ensure_partition(batch.tree.size()).await;
                self.state.tree = Arc::clone(&batch.tree);
                self.state.at = batch.at;
                self.state.view = batch.view;
                self.state.checkpoint = Arc::clone(&batch.checkpoint);
                let head = self.publish();
                return Rest {
                    later,
                    committed: Some(Committed { batch, head, items }),
                };
            }
            (Outcome::Applied | Outcome::NotApplied | Outcome::Unknown, _) => {
                items.into_iter().for_each(|item| item.fail(Error::Unavailable));
            }
            (Outcome::Lost(standing), _) => {
                self.guard.stop(standing);
                self.guard.lost(&self.state.head()).await;
                self.refuse(items);
            }
        }
        Rest {
            later,
            committed: None,
        }
    }

    /// Writes what is queued durably: at once where nothing stands in its way, else claim by claim.
    ///
    /// `items` becomes those that `batch` decides, in its order, `later` the others.
    async fn transact(
        &mut self,
        items: &mut Vec<Item>,
        batch: &mut Option<Batch>,
        later: &mut Vec<Item>,
    ) -> Result<(), Error> {
        let entries = items.iter().filter_map(Item::leaf).map(|leaf| &leaf.entry);
        self.state.names.learn(&self.db, entries).await?;
        if self.at_once(items, batch).await? {
            return Ok(());
        }
        *batch = None;
        self.by_claims(items, batch, later).await
    }

    /// One statement that writes only if every claim is free and the log is where this process left it; `false` if
    /// something is in the way, and then nothing is written.
    async fn at_once(&self, items: &mut Vec<Item>, batch: &mut Option<Batch>) -> Result<bool, Error> {
        if !items.iter().filter_map(Item::leaf).all(Leaf::is_plain) {
            return Ok(false);
        }
        let Some(mut book) = Book::presumed_free(items.iter()) else {
            return Ok(false);
        };
        let (built, kept, _) = Batch::build(&self.state, std::mem::take(items), &mut book, self.clock.now())?;
        *items = kept;
        // A guard that refuses speaks after the claims, which nobody has read.
        if !built.is_all_won() {
            return Ok(false);
        }
        let built = batch.insert(built);
        if !built.changes(&self.state) {
            return Ok(true);
        }
        let next = built.next(&self.state);
        let mut rows = built.rows(self.state.tree.size(), &next, items);
        rows.claims = book.taken();
        if !batch_try(&self.db, &rows).await? {
            return Ok(false);
        }
        // A commit to a SQLite file that is gone is no commit.
        self.db.check_file()?;
        Ok(true)
    }

    /// One transaction: claims under their locks, leaves, head under its fence, commit.
    async fn by_claims(
        &self,
        items: &mut Vec<Item>,
        batch: &mut Option<Batch>,
        later: &mut Vec<Item>,
    ) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        let claims = items.iter().filter_map(Item::claim);
        let claims: Vec<ClaimRequest> = claims.cloned().collect();
        let mut book = Book::open(&mut tx, claims.iter()).await?;

        let (built, kept, carried) =
            Batch::build(&self.state, std::mem::take(items), &mut book, self.clock.now())?;
        (*items, *later) = (kept, carried);
        let built = batch.insert(built);
        if !built.changes(&self.state) {
            return Ok(());
        }
        if !book.write(&mut tx).await? {
            return Err(Error::Corrupt("a claim changed under its lock"));
        }
        let next = built.next(&self.state);
        let rows = built.rows(self.state.tree.size(), &next, items);
        built.write(&mut tx, &rows, items).await?;
        if !head_advance(&mut tx, self.state.tree.size(), &next).await? {
            return Err(Error::Fenced);
        }
        tx.commit().await?;
        // A commit to a SQLite file that is gone is no commit.
        self.db.check_file()?;
        Ok(())
    }

    /// Waits until a standby has what was written, where one must: a commit says so only if nobody cancelled its wait.
    async fn replicated(&self, epoch: u64, size: u64) -> Result<(), Error> {
        if !self.synchronous_standby {
            return Ok(());
        }
        let there = tokio::select! {
            biased;
            there = head_replicated(&self.db, self.state.log, epoch, size) => there?,
            // No standby may come any more.
            () = self.closing.cancelled() => return Err(Error::Unavailable),
        };
        match there {
            true => Ok(()),
            false => Err(Error::Fenced),
        }
    }

    /// Takes a new epoch and compares the head with what was tried. The row's lock makes this wait for a transaction
    /// that is still open, so what it reads is the outcome.
    async fn settle(&mut self, batch: Option<&Batch>) -> Outcome {
        let mut tick = tokio::time::interval(SETTLE_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let closing = tokio::select! {
                _ = tick.tick() => false,
                () = self.closing.cancelled() => true,
            };
            match self.retake().await {
                Ok(Some(found)) => {
                    self.state.epoch = found.epoch;
                    let is = |tree: &Tree| found.size == tree.size() && found.root == tree.root();
                    return match batch {
                        // An applied batch without leaves has its own view, not its own root.
                        Some(batch) if is(&batch.tree) && found.view == batch.view => Outcome::Applied,
                        Some(_) | None if is(&self.state.tree) => Outcome::NotApplied,
                        Some(_) | None => {
                            tracing::error!(
                                "the log is neither what it was nor what was written: it stays closed"
                            );
                            Outcome::Lost(Standing::Fenced)
                        }
                    };
                }
                Ok(None) => {
                    tracing::error!("another process took this log");
                    return Outcome::Lost(Standing::Fenced);
                }
                Err(Error::Store(unefois_store::Error::Replaced)) => {
                    return Outcome::Lost(Standing::Replaced);
                }
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "the outcome of a batch is unknown"
                    );
                    if closing {
                        return Outcome::Unknown;
                    }
                }
            }
        }
    }

    async fn retake(&self) -> Result<Option<head::Head>, Error> {
        let mut tx = self.db.begin().await?;
        let head = head_retake(&mut tx, self.state.log, self.holder).await?;
        tx.commit().await?;
        if let Some(head) = &head {
            self.replicated(head.epoch, head.size).await?;
        }
        Ok(head)
    }

    /// Makes the partition that the log will need; while it fails, the present one still takes entries.
    async fn ensure_partition(&self, size: u64) {
        if partition_is_due(self.state.tree.size(), size)
            && let Err(error) = partition_ensure(&self.db, size).await
        {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the next partition of the ledger could not be made"
            );
        }
    }

    /// Shows the committed state to readers.
    fn publish(&self) -> Head {
        let head = self.state.head();
        self.guard.published(&head, &self.state.tree);
        self.published.send_replace(Arc::new(Published {
            head: head.clone(),
            tree: Arc::clone(&self.state.tree),
        }));
        head
    }
}
