//! The log of withdrawals and the one channel that announces it.
//!
//! Epoch and head are one row: this process takes an epoch at its start and writes only while it holds it. A
//! withdrawal's number is given in the transaction that changes the grant. Nodes learn of it over [`watch`]; when it has
//! taken effect, the [`barrier`] tells and [`effect`] writes down.

mod barrier;
mod effect;
mod feed;
mod log;
mod readers;
mod relearn;
mod restored;
mod standby;
mod start;
mod watch;
mod write;

pub(crate) use effect::Effects;
pub(crate) use restored::Recovery;
pub(crate) use watch::WatchRevocations;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use unefois_core::effect::deadline_ms;
use unefois_core::revocation::{Head, MAX_RECORDS, Record, SignedRecords, Withdrawal};
use unefois_core::{Boot, Clock, Handle, Micros, ParticipantId, RevocationView, Sha256, WithdrawnBy};
use unefois_jose::{SigningKey, Thumbprint, jws};
use unefois_store::authority::restored::mark;
use unefois_store::authority::revocation as store;
use unefois_store::{Db, Tx};

use self::barrier::{Acknowledged, Asked, Barrier, LeaseKey};
use self::log::Log;
use self::restored::Restored;
use crate::Error;
use crate::keys::Keys;
use crate::limiter::Limiter;

/// The type of signed records in their header.
const TYP: &str = "unefois-withdrawals+jwt";
/// How often this process shows that it still holds the epoch.
const HEARTBEAT: Duration = Duration::from_millis(150);
/// How long after its heartbeat was sent a ping may be answered (BOOTTIME).
const FRESH_MS: i64 = 500;
/// How much longer than a lease a new epoch waits before a withdrawal may have taken effect: whoever held the one before
/// answers until [`FRESH_MS`] after its last heartbeat.
const SUPERSEDED_MS: i64 = FRESH_MS + 100;

/// Why it was stopped, where another process goes on.
const SUPERSEDED: &str = "another process holds the epoch";
/// Why it was stopped, where what was lost is being written.
const LOST: &str = "nodes hold signed withdrawals that this database has lost: it is started again";

/// What the directory in force says.
pub(crate) trait InForce: Send + Sync {
    /// How long a lease lasts, in milliseconds.
    fn lease_ms(&self) -> u32;
    /// Whether a token signed with this key may be believed.
    fn lists(&self, kid: &str) -> bool;
    /// The keys that may sign withdrawals, the one to be used first.
    fn withdrawal_kids(&self) -> Vec<String>;
}

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
    state: Mutex<State>,
    /// Something happened that may let a withdrawal take effect.
    moved: Notify,
    /// Some proof of effect was written.
    proved: tokio::sync::watch::Sender<()>,
    in_force: Arc<dyn InForce>,
    /// The longest lease that an older epoch may have given.
    inherited_ms: u32,
    /// The longest lease that this one may give: the database knows of it.
    longest_ms: AtomicU32,
    /// From when on nothing is left of what older epochs have answered.
    opens_at: Boot,
    /// The last batch signed, which all readers that keep up need: by which key, its two heads and itself.
    signed: Mutex<Option<(Thumbprint, Head, Signed)>>,
    /// The last snapshot signed, for all readers that come before the next record; by which key.
    snapshot: tokio::sync::Mutex<Option<(Thumbprint, Signed)>>,
    head: tokio::sync::watch::Sender<Head>,
    /// When the last heartbeat that committed was sent.
    beat: Mutex<Option<Boot>>,
    stopped: CancellationToken,
    /// Why it was stopped.
    why: OnceLock<&'static str>,
    /// This process does nothing more and no other goes on: a new start does.
    relearnt: CancellationToken,
    /// Where the database went back: what is waited for, until a new start.
    restored: Option<Restored>,
    /// Readers whose doubt was told not long ago.
    doubts: Limiter<ParticipantId>,
}

/// What answers, records and acknowledgements have to agree on.
struct State {
    log: Log,
    barrier: Barrier,
    /// The records that have not taken effect, by their places.
    waiting: BTreeMap<RevocationView, Record>,
}

/// A signed message and the head after it.
type Signed = (Head, Arc<str>);

impl Revocation {
    /// Returns once this process does not hold the epoch any more, or has found that the database lost records, and has
    /// written what it can of that.
    pub(crate) async fn superseded(&self) {
        self.stopped.cancelled().await;
        if self.why.get() == Some(&LOST) {
            self.relearnt.cancelled().await;
        }
    }

    /// Returns once this process does nothing more and no other goes on: a new start does.
    pub(crate) async fn relearnt(&self) {
        self.relearnt.cancelled().await;
    }

    /// Whether tokens can be minted and pings answered at this moment.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn serves(&self) -> Result<(), Cow<'static, str>> {
        match (self.why.get(), &self.restored, self.is_fresh()) {
            (Some(why), ..) => Err((*why).into()),
            (None, Some(restored), _) => Err(restored.words().into()),
            (None, None, true) => Ok(()),
            (None, None, false) => {
                Err("the database does not confirm that this process holds the epoch".into())
            }
        }
    }

    /// The epoch held, which a token's `rvk` carries; an error once this process was superseded or has lost records, and
    /// while it may have lost some.
    pub(crate) fn epoch(&self) -> Result<u64, Error> {
        self.recovered()?;
        match self.stopped.is_cancelled() {
            true => Err(Error::Superseded),
            false => Ok(self.epoch),
        }
    }

    /// The head announced.
    pub(crate) fn view(&self) -> RevocationView {
        self.head.borrow().view()
    }

    /// Changes whenever this process has written the proof that some withdrawal has taken effect.
    pub(crate) fn proved(&self) -> tokio::sync::watch::Receiver<()> {
        self.proved.subscribe()
    }

    /// How long a withdrawal recorded now takes at most to take effect, in milliseconds, while the database answers.
    pub(crate) fn bound_ms(&self) -> i64 {
        let lease_ms = self
            .in_force
            .lease_ms()
            .max(self.longest_ms.load(Ordering::Acquire));
        let opens_in_ms = self.opens_at.micros_since(self.clock.boottime()) / 1_000 + 1;
        deadline_ms(lease_ms).max(opens_in_ms)
    }

    /// Whether a ping may be answered: this process held the epoch not long ago, and knows every withdrawal.
    pub(crate) fn is_fresh(&self) -> bool {
        let beat = *self.beat.lock().unwrap_or_else(PoisonError::into_inner);
        !self.stopped.is_cancelled()
            && self.restored.is_none()
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
                Ok(false) => self.not_held().await,
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
        let longest = self
            .in_force
            .lease_ms()
            .max(self.longest_ms.load(Ordering::Acquire));
        let in_force = match self.clock.boottime() > self.opens_at {
            true => longest,
            false => longest.max(self.inherited_ms),
        };
        let mut tx = self.db.begin().await?;
        let held = store::heartbeat(&mut tx, self.epoch, in_force, self.clock.now()).await?;
        tx.commit().await?;
        let Some(seq) = held else {
            return Ok(false);
        };
        self.longest_ms.store(longest, Ordering::Release);
        self.state()
            .log
            .prune(self.clock.boottime(), |kid| self.in_force.lists(kid));
        if seq < told {
            self.went_back().await;
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

    /// Stops since the database says that this process does not hold the epoch: another does, or the database is one of
    /// before.
    async fn not_held(&self) {
        let pulse = store::pulse(&self.db).await;
        let epoch = pulse.ok().flatten().map(|pulse| pulse.epoch());
        match epoch {
            Some(Ok(epoch)) if epoch < self.epoch => self.went_back().await,
            _ => self.stop(SUPERSEDED),
        }
    }

    /// Stops since the database does not hold what was announced, and marks it: a new start waits for what nodes know.
    async fn went_back(&self) {
        self.stop("the database has lost records that were announced: it is started again");
        let now = self.clock.now();
        let cause = format!("behind {}/{} at {}", self.epoch, self.view().seq, now.get());
        let marked = async {
            let mut tx = self.db.begin().await?;
            mark(&mut tx, &cause, now).await?;
            tx.commit().await
        };
        if let Err(error) = marked.await {
            tracing::error!(
                error = unefois_mesh::status::chain(&error),
                "that the database went back is not written in it: nodes will say so"
            );
        }
        self.relearnt.cancel();
    }

    /// Stops minting and answering for good: only a new start, with a new epoch, goes on.
    fn stop(&self, why: &'static str) {
        if self.why.set(why).is_ok() {
            tracing::error!(
                epoch = self.epoch,
                why,
                "this process mints and announces nothing more"
            );
            self.stopped.cancel();
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Nothing in a change may panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
