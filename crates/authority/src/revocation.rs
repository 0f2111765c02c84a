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
use unefois_core::revocation::{Extent, Head, Record, SignedRecords, Withdrawal};
use unefois_core::{Boot, Clock, Handle, Micros, RevocationView};
use unefois_jose::jws;
use unefois_store::Db;
use unefois_store::authority::revocation as store;

use crate::Error;
use crate::keys::Keys;

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
    log: Mutex<Log>,
    head: tokio::sync::watch::Sender<Head>,
    /// When the last heartbeat that committed was sent.
    beat: Mutex<Option<Boot>>,
    stopped: CancellationToken,
}

struct Log {
    records: Vec<Record>,
    head: Head,
    /// The last batch signed, which all readers that keep up need.
    signed: Option<(Head, Head, Arc<str>)>,
}

impl Revocation {
    /// Takes the next epoch.
    pub(crate) async fn start(db: Db, clock: Arc<dyn Clock>, keys: Arc<Keys>) -> Result<Self, Error> {
        let sent = clock.boottime();
        let mut tx = db.begin().await?;
        store::epoch_take(&mut tx, clock.now()).await?;
        let (head, records) = store::log(&mut tx).await?;
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
            log: Mutex::new(Log {
                records,
                head,
                signed: None,
            }),
            head: tokio::sync::watch::Sender::new(head),
            beat: Mutex::new(Some(sent)),
            stopped: CancellationToken::new(),
        })
    }

    /// The epoch held, which a token's `rvk` carries; an error once this process was superseded or is behind a node.
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
    pub(crate) async fn withdraw(
        &self,
        handles: &[Handle],
        by: &str,
        at: Micros,
    ) -> Result<Vec<Handle>, Error> {
        let epoch = self.epoch()?;
        let _one = self.writer.lock().await;
        let mut tx = self.db.begin().await?;
        let Some((records, head)) = store::withdraw(&mut tx, epoch, handles, by, at).await? else {
            self.stop("another process holds the epoch");
            return Err(Error::Superseded);
        };
        tx.commit().await?;
        let fresh = records.iter().filter_map(|record| match record.withdrawal {
            Withdrawal::Grant(handle) => Some(handle),
            Withdrawal::Client(_)
            | Withdrawal::ClientCert(_)
            | Withdrawal::SigningKey(_)
            | Withdrawal::AllBefore => None,
        });
        let fresh: Vec<Handle> = fresh.collect();
        if !fresh.is_empty() {
            self.publish(records, head);
        }
        Ok(fresh)
    }

    fn publish(&self, records: Vec<Record>, head: Head) {
        let mut log = self.log();
        log.records.extend(records);
        log.head = head;
        drop(log);
        self.head.send_replace(head);
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

    async fn heartbeat(&self) -> Result<bool, unefois_store::Error> {
        let mut tx = self.db.begin().await?;
        let held = store::heartbeat(&mut tx, self.epoch, self.clock.now()).await?;
        tx.commit().await?;
        Ok(held)
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

    fn log(&self) -> std::sync::MutexGuard<'_, Log> {
        // Appending records is the last step of `publish`; a panic leaves the log whole.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
