//! The log of withdrawals and the one channel that announces it.
//!
//! Epoch and head are one row: this process takes an epoch at its start and writes only while it holds it. A
//! withdrawal's number is given in the transaction that changes the grant. Nodes learn of it over [`watch`]; when it has
//! taken effect, the [`barrier`] tells and [`effect`] writes down.

mod barrier;
mod effect;
mod feed;
mod log;
mod relearn;
mod restored;
mod standby;
mod watch;

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
use unefois_jose::jws;
use unefois_store::authority::GrantId;
use unefois_store::authority::effect::effect_missing;
use unefois_store::authority::narrow::{Narrowing, narrow};
use unefois_store::authority::order::order_record;
use unefois_store::authority::restored::{Mark, beginning, standing};
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

/// What the directory in force says.
pub(crate) trait InForce: Send + Sync {
    /// How long a lease lasts, in milliseconds.
    fn lease_ms(&self) -> u32;
    /// Whether a token signed with this key may be believed.
    fn lists(&self, kid: &str) -> bool;
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
    /// The last batch signed, which all readers that keep up need: its two heads and itself.
    signed: Mutex<Option<(Head, Signed)>>,
    /// The last snapshot signed, for all readers that come before the next record.
    snapshot: tokio::sync::Mutex<Option<Signed>>,
    head: tokio::sync::watch::Sender<Head>,
    /// When the last heartbeat that committed was sent.
    beat: Mutex<Option<Boot>>,
    stopped: CancellationToken,
    /// Why it was stopped.
    why: OnceLock<&'static str>,
    /// What this database had lost is in it again, or will not come back: a new start goes on.
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

/// What is withdrawn in one transaction.
enum Change {
    /// All that stands of this grant, by whom.
    Grant(GrantId, WithdrawnBy),
    /// These elements of one grant, each for the narrower one that follows it.
    Narrow(Vec<Narrowing>),
    /// What is no single grant, and why.
    Order(Withdrawal, String),
}

/// An epoch that was taken, with all that was written before it.
struct Taken {
    log: Log,
    waiting: BTreeMap<RevocationView, Record>,
    starts: Vec<LeaseKey>,
    restored: Option<Mark>,
    mine_ms: u32,
    inherited_ms: u32,
    /// When the statement that took it was sent.
    sent: Boot,
    opens_at: Boot,
}

impl Taken {
    /// Reads what was written before the epoch that `tx` has just taken, and commits.
    async fn up(
        mut tx: Tx,
        (head, inherited_ms): (Head, u32),
        mine_ms: u32,
        sent: Boot,
        (clock, in_force): (&dyn Clock, &dyn InForce),
    ) -> Result<Self, Error> {
        let log = Log::after(beginning(&mut tx).await?);
        let log = read(&mut tx, log, head, (clock, in_force)).await?;
        let restored = standing(&mut tx).await?;
        let waiting = missing(&mut tx).await?;
        let starts = store::starts(&mut tx).await?.into_iter();
        let starts = starts.map(|(participant, origin, boot)| LeaseKey {
            participant,
            origin,
            boot,
        });
        tx.commit().await?;
        let opens_at = clock
            .boottime()
            .plus_ms(deadline_ms(inherited_ms) + SUPERSEDED_MS);
        Ok(Self {
            log,
            waiting,
            starts: starts.collect(),
            restored,
            mine_ms,
            inherited_ms,
            sent,
            opens_at,
        })
    }
}

/// A signed message and the head after it.
type Signed = (Head, Arc<str>);

impl Revocation {
    /// Takes the next epoch. What is written later is written by `tasks`, which are joined before the process ends.
    pub(crate) async fn start(
        db: Db,
        clock: Arc<dyn Clock>,
        keys: Arc<Keys>,
        tasks: TaskTracker,
        in_force: Arc<dyn InForce>,
    ) -> Result<Self, Error> {
        let (sent, mine_ms) = (clock.boottime(), in_force.lease_ms());
        let mut tx = db.begin().await?;
        let epoch = store::epoch_take(&mut tx, mine_ms, clock.now()).await?;
        let taken = Taken::up(tx, epoch, mine_ms, sent, (&*clock, &*in_force)).await?;
        Ok(Self::holding(db, clock, keys, tasks, in_force, taken))
    }

    fn holding(
        db: Db,
        clock: Arc<dyn Clock>,
        keys: Arc<Keys>,
        tasks: TaskTracker,
        in_force: Arc<dyn InForce>,
        taken: Taken,
    ) -> Self {
        let Taken {
            log,
            waiting,
            starts,
            restored,
            mine_ms,
            inherited_ms,
            sent,
            opens_at,
        } = taken;
        let head = log.head();
        let mut barrier = Barrier::new(opens_at);
        waiting.keys().for_each(|place| barrier.take_up(*place));
        for start in &starts {
            barrier.heard(start);
        }
        tracing::info!(
            epoch = head.epoch,
            seq = head.seq,
            "epoch of the withdrawal log taken"
        );
        Self {
            db,
            clock,
            keys,
            epoch: head.epoch,
            writer: tokio::sync::Mutex::new(()),
            tasks,
            state: Mutex::new(State {
                log,
                barrier,
                waiting,
            }),
            moved: Notify::new(),
            proved: tokio::sync::watch::Sender::new(()),
            in_force,
            inherited_ms,
            longest_ms: AtomicU32::new(mine_ms),
            opens_at,
            signed: Mutex::new(None),
            snapshot: tokio::sync::Mutex::new(None),
            head: tokio::sync::watch::Sender::new(head),
            beat: Mutex::new(Some(sent)),
            stopped: CancellationToken::new(),
            why: OnceLock::new(),
            relearnt: CancellationToken::new(),
            restored: restored.map(Restored::new),
            doubts: Limiter::new(1, 1),
        }
    }

    /// Returns once this process does not hold the epoch any more, or has found that the database lost records.
    pub(crate) async fn superseded(&self) {
        self.stopped.cancelled().await;
    }

    /// Returns once what nodes have proved that this database had lost is in it again.
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

    /// Withdraws all that stands of a grant and announces it; when it returns, that is durable. The handles that this call
    /// has withdrawn: others had been before. What takes an element's place at the same moment is withdrawn as well, or
    /// finds that element withdrawn.
    ///
    /// Whoever asks may leave at any moment (a closed connection, a deadline): what has begun goes on without it, since
    /// a record that is committed and not announced would hold for tokens and be unknown to producers.
    pub(crate) async fn withdraw(
        self: &Arc<Self>,
        grant: GrantId,
        by: WithdrawnBy,
        at: Micros,
    ) -> Result<Vec<Handle>, Error> {
        Ok(handles(self.change(Change::Grant(grant, by), at).await?))
    }

    /// Puts narrower elements in the places of others, all at once; as [`Self::withdraw`]. One that had been withdrawn before
    /// stays as it is.
    pub(crate) async fn narrow(
        self: &Arc<Self>,
        narrowings: Vec<Narrowing>,
        at: Micros,
    ) -> Result<Vec<Handle>, Error> {
        Ok(handles(self.change(Change::Narrow(narrowings), at).await?))
    }

    /// Withdraws what is no single grant, for a reason, and announces it; when it returns, both are durable. As
    /// [`Self::withdraw`], it goes on though nobody waits.
    pub(crate) async fn order(
        self: &Arc<Self>,
        withdrawal: Withdrawal,
        reason: String,
        at: Micros,
    ) -> Result<Record, Error> {
        let records = self.change(Change::Order(withdrawal, reason), at).await?;
        records.into_iter().next().ok_or(Error::Stored)
    }

    /// The record of a number, however old; `None` where there is none.
    pub(crate) async fn kept(&self, seq: u64) -> Result<Option<Record>, Error> {
        let Some(before) = seq.checked_sub(1) else {
            return Ok(None);
        };
        let mut tx = self.db.begin().await?;
        let (_, records) = store::log(&mut tx, before, seq).await?;
        Ok(records.into_iter().next())
    }

    async fn change(self: &Arc<Self>, change: Change, at: Micros) -> Result<Vec<Record>, Error> {
        self.epoch()?;
        let revocation = Arc::clone(self);
        let written = self
            .tasks
            .spawn(async move { revocation.write(&change, at).await });
        match written.await {
            Ok(done) => done,
            Err(_) => {
                self.stop("a withdrawal was cut off");
                Err(Error::Superseded)
            }
        }
    }

    async fn write(&self, change: &Change, at: Micros) -> Result<Vec<Record>, Error> {
        let _one = self.writer.lock().await;
        let mut tx = self.db.begin().await?;
        let written = match change {
            Change::Grant(id, by) => store::withdraw_grant(&mut tx, self.epoch, id, *by, at).await?,
            Change::Narrow(narrowings) => narrow(&mut tx, self.epoch, narrowings, at).await?,
            Change::Order(withdrawal, reason) => {
                order_record(&mut tx, self.epoch, withdrawal.clone(), reason, at).await?
            }
        };
        let Some((records, head)) = written else {
            self.stop("another process holds the epoch");
            return Err(Error::Superseded);
        };
        let committed = tx.commit().await;
        if committed.is_err() || !self.publish(&records, head) {
            // The outcome is unknown, or that of an earlier write was: the database tells.
            self.catch_up().await?;
        }
        if let Err(error) = committed
            && !self.state().log.ends_with(&records)
        {
            return Err(error.into());
        }
        Ok(records)
    }

    /// Announces the records that the database holds beyond those announced. The caller holds `writer`.
    async fn catch_up(&self) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        let (head, records) = store::log(&mut tx, self.view().seq, u64::MAX).await?;
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
        let mut state = self.state();
        if !state.log.extend(records, head, self.clock.boottime()) {
            return false;
        }
        for record in records {
            let place = record.place.into();
            state.barrier.publish(place);
            state.waiting.insert(place, record.clone());
        }
        state
            .log
            .prune(self.clock.boottime(), |kid| self.in_force.lists(kid));
        drop(state);
        self.moved.notify_one();
        self.head.send_if_modified(|told| {
            let news = *told != head;
            *told = head;
            news
        });
        true
    }

    /// Everything that is kept, signed: what a reader starts from. It is signed once for each head, however many come.
    async fn snapshot(&self) -> Result<Signed, Error> {
        let mut signed = self.snapshot.lock().await;
        let message = {
            let mut state = self.state();
            if let Some((head, text)) = &*signed
                && *head == state.log.head()
            {
                return Ok((*head, Arc::clone(text)));
            }
            state
                .log
                .prune(self.clock.boottime(), |kid| self.in_force.lists(kid));
            state.log.snapshot()
        };
        if message.records.len() > MAX_RECORDS {
            tracing::error!(
                records = message.records.len(),
                "more withdrawals within two hours than readers take at once"
            );
        }
        let text = self.sign(&message)?;
        *signed = Some((message.head, Arc::clone(&text)));
        Ok((message.head, text))
    }

    /// The records after `from`, signed; `None` where there are none.
    ///
    /// # Errors
    /// [`Error::Superseded`] for a reader so far behind that it needs a snapshot.
    fn batch(&self, from: Head) -> Result<Option<Signed>, Error> {
        let message = {
            let state = self.state();
            if state.log.head() == from {
                return Ok(None);
            }
            let signed = self.signed.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((first, (last, text))) = &*signed
                && (*first, *last) == (from, state.log.head())
            {
                return Ok(Some((*last, Arc::clone(text))));
            }
            state.log.batch(from).ok_or(Error::Superseded)?
        };
        let signed = (message.head, self.sign(&message)?);
        let kept = Some((from, (signed.0, Arc::clone(&signed.1))));
        *self.signed.lock().unwrap_or_else(PoisonError::into_inner) = kept;
        Ok(Some(signed))
    }

    fn sign(&self, message: &SignedRecords) -> Result<Arc<str>, Error> {
        let text = jws::sign_claims(&self.keys.withdrawal, TYP, message).map_err(Error::Key)?;
        Ok(text.into())
    }

    /// A process that holds a lease has opened its view. That is durable before any of its pings is answered: an older
    /// start, which goes on without knowing that it was replaced, may be the first to come to the next epoch.
    async fn opened(&self, lease: &LeaseKey) -> Result<(), Error> {
        // Written again where it did not succeed: it is known only once it is durable.
        if !self.state().barrier.is_known(lease) {
            let mut tx = self.db.begin().await?;
            store::start_keep(&mut tx, &lease.participant, &lease.origin, lease.boot).await?;
            tx.commit().await?;
        }
        self.state().barrier.opened(lease, self.clock.boottime());
        Ok(())
    }

    /// Registers that a ping is answered with the head `told`; for how long the answer holds, or `None` where the head
    /// has moved on: the reader is told of the rest first.
    fn answer(&self, lease: &LeaseKey, told: Head, received: Boot, log: (u64, Sha256)) -> Option<u32> {
        let lease_ms = self
            .in_force
            .lease_ms()
            .min(self.longest_ms.load(Ordering::Acquire));
        let (size, root) = log;
        let asked = Asked {
            received,
            lease_ms,
            size,
            root,
        };
        let mut state = self.state();
        if state.log.head() != told {
            return None;
        }
        state.barrier.answer(lease, asked);
        Some(lease_ms)
    }

    /// A process says that everything up to a view is in force there.
    fn acknowledged(&self, lease: &LeaseKey, acknowledged: &Acknowledged) {
        self.state().barrier.acknowledge(lease, acknowledged);
        self.moved.notify_one();
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
        if self.why.set(why).is_ok() {
            tracing::error!(
                epoch = self.epoch,
                why,
                "this process mints and announces nothing more"
            );
            self.stopped.cancel();
        }
    }

    /// Tells whoever watches that a reader names a later place than this database holds: a restored backup, or a reader
    /// that is wrong or lies. Unless it proves its word ([`relearn`]) it stops nobody but itself; told once a minute and reader.
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

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Nothing in a change may panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The handles that records withdraw.
fn handles(records: Vec<Record>) -> Vec<Handle> {
    let handle = |record: Record| match record.withdrawal {
        Withdrawal::Grant(handle) => Some(handle),
        Withdrawal::Client(_)
        | Withdrawal::ClientCert(_)
        | Withdrawal::SigningKey(_)
        | Withdrawal::AllBefore => None,
    };
    records.into_iter().filter_map(handle).collect()
}

/// Reads the records from the log's head on to `head`, which `tx` has locked, leaving out what is too old to matter.
async fn read(
    tx: &mut Tx,
    mut log: Log,
    head: Head,
    (clock, in_force): (&dyn Clock, &dyn InForce),
) -> Result<Log, Error> {
    const PAGE: u64 = 10_000;
    loop {
        let (_, records) = store::log(tx, log.head().seq, log.head().seq + PAGE).await?;
        let reached = match records.len() as u64 {
            PAGE => records.iter().fold(log.head(), |head, record| head.after(record)),
            _ => head,
        };
        if !log.extend(&records, reached, clock.boottime()) {
            return Err(Error::Stored);
        }
        log.prune_read(clock.now(), |kid| in_force.lists(kid));
        if reached == head {
            return Ok(log);
        }
    }
}

/// The records that have not taken effect yet.
async fn missing(tx: &mut Tx) -> Result<BTreeMap<RevocationView, Record>, Error> {
    let mut waiting = BTreeMap::new();
    let mut after = 0;
    loop {
        let records = effect_missing(tx, after).await?;
        let Some(last) = records.last() else {
            return Ok(waiting);
        };
        after = last.place.seq;
        waiting.extend(records.into_iter().map(|record| (record.place.into(), record)));
    }
}

#[cfg(test)]
mod tests;
