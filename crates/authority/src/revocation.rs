//! The log of withdrawals and the one channel that announces it.
//!
//! Epoch and head are one row: this process takes an epoch at its start and writes only while it holds it. A
//! withdrawal's number is given in the transaction that changes the grant. Nodes learn of it over [`watch`]; whether
//! it has taken effect everywhere is not proved here.

mod watch;

pub(crate) use watch::WatchRevocations;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use unefois_core::revocation::{Extent, Head, Record, SignedRecords, Withdrawal, chain};
use unefois_core::{Boot, Clock, Handle, Micros, ParticipantId, RevocationView};
use unefois_jose::jws;
use unefois_store::Db;
use unefois_store::authority::revocation as store;

use crate::Error;
use crate::keys::Keys;
use crate::limiter::Limiter;

/// The type of signed records in their header.
const TYP: &str = "unefois-withdrawals+jwt";
/// How often this process shows that it still holds the epoch.
const HEARTBEAT: Duration = Duration::from_millis(150);
/// How long after its heartbeat was sent a ping may be answered (BOOTTIME).
const FRESH_MS: i64 = 500;

/// The log as this process, the holder of one epoch, writes it.
pub(crate) struct Revocation {
    db: Db,
    clock: Arc<dyn Clock>,
    keys: Arc<Keys>,
    epoch: u64,
    /// One withdrawal at a time, so that records are announced in the order of their commits.
    writer: tokio::sync::Mutex<()>,
    /// Writes under way: they end even where nobody waits for them any more.
    tasks: TaskTracker,
    log: Mutex<Log>,
    head: tokio::sync::watch::Sender<Head>,
    /// When the last heartbeat that committed was sent.
    beat: Mutex<Option<Boot>>,
    stopped: CancellationToken,
    /// Readers whose doubt was told not long ago.
    doubts: Limiter<ParticipantId>,
}

struct Log {
    records: Vec<Record>,
    head: Head,
    /// The last batch signed, which all readers that keep up need.
    signed: Option<(Head, Head, Arc<str>)>,
}

impl Revocation {
    /// Takes the next epoch. What is written later is written by `tasks`, which are joined before the process ends.
    pub(crate) async fn start(
        db: Db,
        clock: Arc<dyn Clock>,
        keys: Arc<Keys>,
        tasks: TaskTracker,
    ) -> Result<Self, Error> {
        let sent = clock.boottime();
        let mut tx = db.begin().await?;
        store::epoch_take(&mut tx, clock.now()).await?;
        let (head, records) = store::log(&mut tx, 0).await?;
        tx.commit().await?;
        tracing::info!(
            epoch = head.epoch,
            seq = head.seq,
            "epoch of the withdrawal log taken"
        );
        Ok(Self {
            db,
            clock,
            keys,
            epoch: head.epoch,
            writer: tokio::sync::Mutex::new(()),
            tasks,
            log: Mutex::new(Log {
                records,
                head,
                signed: None,
            }),
            head: tokio::sync::watch::Sender::new(head),
            beat: Mutex::new(Some(sent)),
            stopped: CancellationToken::new(),
            doubts: Limiter::new(1, 1),
        })
    }

    /// The epoch held, which a token's `rvk` carries; an error once this process was superseded or has lost records.
    pub(crate) fn epoch(&self) -> Result<u64, Error> {
        match self.stopped.is_cancelled() {
            true => Err(Error::Superseded),
            false => Ok(self.epoch),
        }
    }

    /// The head announced.
    pub(crate) fn view(&self) -> RevocationView {
        self.head.borrow().view()
    }

    /// Withdraws handles and announces it; when it returns, that is durable. Those that this call has withdrawn:
    /// others had been before.
    ///
    /// Whoever asks may leave at any moment (a closed connection, a deadline): what has begun goes on without it, since
    /// a record that is committed and not announced would hold for tokens and be unknown to producers.
    pub(crate) async fn withdraw(
        self: &Arc<Self>,
        handles: &[Handle],
        by: &'static str,
        at: Micros,
    ) -> Result<Vec<Handle>, Error> {
        self.epoch()?;
        let (revocation, handles) = (Arc::clone(self), handles.to_vec());
        let written = self
            .tasks
            .spawn(async move { revocation.write(&handles, by, at).await });
        match written.await {
            Ok(done) => done,
            Err(_) => {
                self.stop("a withdrawal was cut off");
                Err(Error::Superseded)
            }
        }
    }

    async fn write(&self, handles: &[Handle], by: &str, at: Micros) -> Result<Vec<Handle>, Error> {
        let _one = self.writer.lock().await;
        let mut tx = self.db.begin().await?;
        let Some((records, head)) = store::withdraw(&mut tx, self.epoch, handles, by, at).await? else {
            self.stop("another process holds the epoch");
            return Err(Error::Superseded);
        };
        let committed = tx.commit().await;
        if committed.is_err() || !self.publish(&records, head) {
            // The outcome is unknown, or that of an earlier write was: the database tells.
            self.catch_up().await?;
        }
        if let Err(error) = committed
            && !self.log().records.ends_with(&records)
        {
            return Err(error.into());
        }
        let fresh = records.iter().filter_map(|record| match record.withdrawal {
            Withdrawal::Grant(handle) => Some(handle),
            Withdrawal::Client(_)
            | Withdrawal::ClientCert(_)
            | Withdrawal::SigningKey(_)
            | Withdrawal::AllBefore => None,
        });
        Ok(fresh.collect())
    }

    /// Announces the records that the database holds beyond those announced. The caller holds `writer`.
    async fn catch_up(&self) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        let (head, records) = store::log(&mut tx, self.view().seq).await?;
        drop(tx);
        if head.epoch != self.epoch {
            self.stop("another process holds the epoch");
            return Err(Error::Superseded);
        }
        match self.publish(&records, head) {
            true => Ok(()),
            false => {
                self.stop("the database does not hold the records that were announced");
                Err(Error::Superseded)
            }
        }
    }

    /// Announces these records, unless they do not lead from the head announced to `head`.
    #[must_use]
    fn publish(&self, records: &[Record], head: Head) -> bool {
        let mut log = self.log();
        let chained = records
            .iter()
            .fold(log.head.chain, |before, record| chain(&before, record));
        if log.head.seq + records.len() as u64 != head.seq || chained != head.chain {
            return false;
        }
        log.records.extend_from_slice(records);
        log.head = head;
        drop(log);
        self.head.send_if_modified(|told| {
            let news = *told != head;
            *told = head;
            news
        });
        true
    }

    /// Everything, signed: what a reader starts from.
    fn snapshot(&self) -> Result<(Head, Arc<str>), Error> {
        let (head, records) = {
            let log = self.log();
            (log.head, log.records.clone())
        };
        let message = SignedRecords {
            extent: Extent::Snapshot,
            from: Head::empty(),
            head,
            records,
        };
        Ok((head, self.sign(&message)?))
    }

    /// The records after `from`, signed; `None` where there are none.
    fn batch(&self, from: Head) -> Result<Option<(Head, Arc<str>)>, Error> {
        let (head, records) = {
            let log = self.log();
            if log.head == from {
                return Ok(None);
            }
            if let Some((first, last, text)) = &log.signed
                && (*first, *last) == (from, log.head)
            {
                return Ok(Some((log.head, Arc::clone(text))));
            }
            let after = log.records.partition_point(|record| record.place.seq <= from.seq);
            (log.head, log.records[after..].to_vec())
        };
        let message = SignedRecords {
            extent: Extent::Batch,
            from,
            head,
            records,
        };
        let text = self.sign(&message)?;
        self.log().signed = Some((from, head, Arc::clone(&text)));
        Ok(Some((head, text)))
    }

    fn sign(&self, message: &SignedRecords) -> Result<Arc<str>, Error> {
        let text = jws::sign_claims(&self.keys.withdrawal, TYP, message).map_err(Error::Key)?;
        Ok(text.into())
    }

    /// Whether a ping may be answered: this process held the epoch not long ago.
    pub(crate) fn is_fresh(&self) -> bool {
        let beat = *self.beat.lock().unwrap_or_else(PoisonError::into_inner);
        !self.stopped.is_cancelled()
            && beat.is_some_and(|sent| self.clock.boottime() <= sent.plus_ms(FRESH_MS))
    }

    /// Shows again and again that this process holds the epoch, until `shutdown` or until it does not.
    pub(crate) async fn heartbeats(self: Arc<Self>, shutdown: CancellationToken) {
        let mut every = tokio::time::interval(HEARTBEAT);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.stopped.cancelled() => return,
                _ = every.tick() => {}
            }
            let sent = self.clock.boottime();
            match self.heartbeat().await {
                Ok(true) => *self.beat.lock().unwrap_or_else(PoisonError::into_inner) = Some(sent),
                Ok(false) => self.stop("another process holds the epoch"),
                Err(error) => {
                    tracing::warn!(
                        error = unefois_mesh::status::chain(&error),
                        "heartbeat of the withdrawal log failed"
                    );
                }
            }
        }
    }

    /// Shows that this process holds the epoch; `false` if it does not. It counts only once every record in the
    /// database is announced: the outcome of a COMMIT may have been unknown when it was asked.
    async fn heartbeat(&self) -> Result<bool, Error> {
        let told = self.view().seq;
        let mut tx = self.db.begin().await?;
        let held = store::heartbeat(&mut tx, self.epoch, self.clock.now()).await?;
        tx.commit().await?;
        let Some(seq) = held else {
            return Ok(false);
        };
        if seq < told {
            self.stop("the database has lost records that were announced");
            return Err(Error::Superseded);
        }
        if seq > self.view().seq {
            // Whoever wrote them announces them before it lets go, or could not.
            let _one = self.writer.lock().await;
            if seq > self.view().seq {
                self.catch_up().await?;
            }
        }
        Ok(true)
    }

    /// Stops minting and answering for good: only a new start, with a new epoch, goes on.
    fn stop(&self, why: &'static str) {
        if !self.stopped.is_cancelled() {
            tracing::error!(
                epoch = self.epoch,
                why,
                "this process mints and announces nothing more"
            );
            self.stopped.cancel();
        }
    }

    /// Tells whoever watches that a reader names a later place than this database holds: a restored backup, or a reader
    /// that is wrong or lies. Nothing proves its word, so it stops nobody but itself; told once a minute and reader.
    fn doubted(&self, reader: ParticipantId, theirs: RevocationView) {
        if self.doubts.admit(reader, self.clock.boottime()) {
            let ours = self.view();
            tracing::error!(
                peer = %reader,
                claimed_epoch = theirs.epoch,
                claimed_seq = theirs.seq,
                epoch = ours.epoch,
                seq = ours.seq,
                "a reader claims withdrawals that this database does not hold: was it restored from a backup?"
            );
        }
    }

    fn log(&self) -> std::sync::MutexGuard<'_, Log> {
        // A change is the last step of its method; a panic leaves the log whole.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
