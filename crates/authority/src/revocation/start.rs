//! Taking an epoch: what was written before it is read in the transaction that takes it.

use unefois_store::authority::effect::effect_missing;
use unefois_store::authority::restored::{Mark, beginning, standing};

use super::*;

/// An epoch that was taken, with all that was written before it.
pub(super) struct Taken {
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
    pub(super) async fn up(
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

    pub(super) fn holding(
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
