//! A database that was restored, or is found to have gone back. Producers may know withdrawals that it has lost: until each
//! has told, nothing is minted or withdrawn and no ping is answered.
//!
//! Each process that keeps a log says where it stands when it opens its watch. A place that this database holds is all
//! that is asked of it. A later one is to be proved ([`relearn`](super::relearn)); one that nobody can prove keeps this
//! authority where it is, until its operator says so: then the log goes on above every place seen, with the end of every
//! token from before. Whatever ends it ends this process too: a new start takes an epoch above every one seen.

use std::collections::BTreeSet;

use tonic::{Status, Streaming};
use unefois_ledger::{Ledger, Standing};
use unefois_mesh::status::chain;
use unefois_proto::pb::revocation::v1 as pb;
use unefois_store::authority::restored::{self as store, Mark};

use super::effect::logs;
use super::watch::{Reader, internal, invalid, stale};
use super::*;
use crate::published::{Edition, Published};

/// How often it is looked whether everybody has told.
const LOOK: Duration = Duration::from_millis(200);
/// How far beyond this database an unproved place may lie and be counted: numbers do not run out by one that lies.
const PLAUSIBLE: u64 = 1_000_000_000;
/// How far beyond every place seen the log goes on where records are lost for good, so that nobody who was away comes back
/// with a place beyond it.
const BEYOND: u64 = 1_000_000;
/// Participants that a probe is told by name.
const NAMED: usize = 10;

/// A log, by its keeper and its origin; a reader without one has an empty origin.
type LogName = (ParticipantId, String);

/// What a restored database waits for.
pub(crate) struct Restored {
    mark: Mark,
    heard: Mutex<Heard>,
    /// Places are looked up one at a time.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Heard {
    told: BTreeMap<LogName, Told>,
    /// The highest epoch and the highest number seen.
    epoch: u64,
    seq: u64,
    awaited: BTreeMap<ParticipantId, Missing>,
}

/// What a log has told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    /// A place that this database holds.
    Held,
    /// One that it does not hold, and that is not proved.
    Later(RevocationView),
}

/// Why a participant is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// A log of it has not opened its watch.
    Silent,
    /// A log of it names a place that this database does not hold, and cannot show what leads there.
    Unproved,
}

impl Restored {
    pub(super) fn new(mark: Mark) -> Self {
        tracing::error!(
            cause = mark.cause,
            epoch = mark.view.epoch,
            seq = mark.view.seq,
            "the database went back: nothing is minted or withdrawn until every producer has shown what it knows of withdrawals"
        );
        Self {
            heard: Mutex::new(Heard {
                epoch: mark.view.epoch,
                seq: mark.view.seq,
                ..Heard::default()
            }),
            mark,
            reading: tokio::sync::Mutex::new(()),
        }
    }

    /// Takes what a log tells.
    fn note(&self, log: LogName, told: Told, place: RevocationView, ours: RevocationView) {
        let mut heard = self.heard();
        if place.epoch.saturating_sub(ours.epoch) <= PLAUSIBLE
            && place.seq.saturating_sub(ours.seq) <= PLAUSIBLE
        {
            heard.epoch = heard.epoch.max(place.epoch);
            heard.seq = heard.seq.max(place.seq);
        }
        // One each for the participants and logs that the directory lists, so it is bounded. A place that was known once, and
        // lost with the process that knew it, is known to be lost.
        if told != Told::Held || !heard.told.contains_key(&log) {
            heard.told.insert(log, told);
        }
    }

    /// Judges anew who is waited for; whether anybody is.
    fn judge(&self, edition: &Edition) -> bool {
        let mut heard = self.heard();
        let mut awaited = BTreeMap::new();
        for (participant, origin) in logs(edition, &barrier::Concerned::All) {
            if !heard.told.contains_key(&(participant, origin)) {
                awaited.insert(participant, Missing::Silent);
            }
        }
        for ((participant, origin), told) in &heard.told {
            let listed = match origin.is_empty() {
                true => edition.directory.participant(participant).is_some(),
                false => edition.directory.log(origin).is_some(),
            };
            if *told != Told::Held && listed {
                awaited.insert(*participant, Missing::Unproved);
            }
        }
        let waits = !awaited.is_empty();
        if heard.awaited != awaited {
            heard.awaited = awaited;
            tracing::warn!("{}", heard.words());
        }
        waits
    }

    /// Who is waited for.
    fn awaited(&self) -> BTreeSet<ParticipantId> {
        self.heard().awaited.keys().copied().collect()
    }

    /// What a probe is told.
    pub(super) fn words(&self) -> String {
        self.heard().words()
    }

    fn heard(&self) -> std::sync::MutexGuard<'_, Heard> {
        // Each change is one assignment.
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heard {
    fn words(&self) -> String {
        let of = |why: Missing| {
            let those: Vec<_> = self.awaited.iter().filter(|(_, w)| **w == why).collect();
            let named = those.iter().take(NAMED).map(|(id, _)| id.to_string());
            let named = named.collect::<Vec<_>>().join(", ");
            match those.len().saturating_sub(NAMED) {
                0 => named,
                more => format!("{named} and {more} more"),
            }
        };
        let (silent, unproved) = (of(Missing::Silent), of(Missing::Unproved));
        let mut words =
            "the database went back, so withdrawals may be lost: nothing is minted or withdrawn".to_owned();
        if !silent.is_empty() {
            words = format!("{words}; it waits for the watch of {silent}");
        }
        if !unproved.is_empty() {
            words = format!("{words}; later withdrawals that cannot be shown are known to {unproved}");
        }
        words
    }
}

/// What looks, at a restored database, whether everybody has told, and at any other, whether the ledger says that it is one.
pub(crate) struct Recovery {
    pub(crate) revocation: Arc<Revocation>,
    pub(crate) published: Arc<Published>,
    pub(crate) ledger: Ledger,
}

impl Recovery {
    /// Looks until `shutdown`, or until a new start has to go on.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let mut every = tokio::time::interval(LOOK);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut judged, mut failing) = (false, false);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.revocation.stopped.cancelled() => return,
                _ = every.tick() => {}
            }
            let done = match &self.revocation.restored {
                Some(restored) if restored.judge(&self.published.edition()) => Ok(()),
                Some(restored) => self.revocation.lift(restored).await,
                None if !judged && self.ledger.standing() == Standing::RolledBack => {
                    let gone = self.went_back().await;
                    judged = gone.is_ok();
                    gone
                }
                None => Ok(()),
            };
            match done {
                Ok(()) => failing = false,
                Err(_) if failing => {}
                Err(error) => {
                    failing = true;
                    tracing::warn!(
                        error = chain(&error),
                        "the recovery of withdrawals does not go on yet"
                    );
                }
            }
        }
    }

    /// The ledger's evidence is of the database, and so of withdrawals: once for each head that was contradicted.
    async fn went_back(&self) -> Result<(), Error> {
        let cause = format!("ledger {} at {}", self.ledger.origin(), self.ledger.head().size);
        let revocation = &self.revocation;
        let _one = revocation.writer.lock().await;
        let mut tx = revocation.db.begin().await?;
        let longest = revocation
            .longest_ms
            .load(Ordering::Acquire)
            .max(revocation.inherited_ms);
        let now = revocation.clock.now();
        let held = super::store::heartbeat(&mut tx, revocation.epoch, longest, now).await?;
        if held.is_none() {
            return Err(Error::Superseded);
        }
        let fresh = store::mark(&mut tx, &cause, now).await?;
        tx.commit().await?;
        if fresh {
            revocation.start_again("the ledger shows that this database went back: it is started again");
        }
        Ok(())
    }
}

impl Revocation {
    /// Whether tokens, withdrawals and grants can be taken up: this database is not one that went back.
    ///
    /// # Errors
    /// [`Error::Recovering`].
    pub(crate) fn recovered(&self) -> Result<(), Error> {
        match &self.restored {
            None => Ok(()),
            Some(_) => Err(Error::Recovering),
        }
    }

    /// The mark of a restored database, and those who are waited for; `None` for any other.
    pub(crate) fn awaited(&self) -> Option<(Mark, BTreeSet<ParticipantId>)> {
        let restored = self.restored.as_ref()?;
        Some((restored.mark.clone(), restored.awaited()))
    }

    /// Where the log would go on if nothing more can be learnt.
    pub(crate) fn beyond(&self) -> RevocationView {
        let ours = self.view();
        let heard = self.restored.as_ref().map(Restored::heard);
        let (epoch, seq) = heard.map_or((0, 0), |heard| (heard.epoch, heard.seq));
        RevocationView {
            epoch: ours.epoch.max(epoch) + BEYOND,
            seq: ours.seq.max(seq) + BEYOND,
        }
    }

    /// Goes on though withdrawals may be lost for good: every token and refresh token from before ends. A new start does
    /// the rest.
    pub(crate) async fn begin_anew(&self, cause: &str, next: RevocationView) -> Result<Record, Error> {
        let _one = self.writer.lock().await;
        let mut tx = self.db.begin().await?;
        let begun = store::begin_anew(&mut tx, self.epoch, cause, next, self.clock.now()).await?;
        let Some(record) = begun else {
            return Err(Error::Superseded);
        };
        tx.commit().await?;
        self.start_again(
            "its operator has ended the recovery of withdrawals, and every token from before: it is started again",
        );
        Ok(record)
    }

    /// Everybody has told, and nothing later is known.
    async fn lift(&self, restored: &Restored) -> Result<(), Error> {
        let seen = restored.heard().epoch;
        let _one = self.writer.lock().await;
        let mut tx = self.db.begin().await?;
        let held = store::lift(&mut tx, self.epoch, seen, self.clock.now()).await?;
        // An attempt whose commit nobody confirmed may have raised the epoch.
        if !held && store::standing(&mut tx).await?.is_some() {
            drop(tx);
            self.not_held().await;
            return Err(Error::Superseded);
        }
        if held {
            tx.commit().await?;
        }
        self.start_again("every producer has shown what it knows of withdrawals: it is started again");
        Ok(())
    }

    /// Ends this process, so that a new start goes on.
    pub(super) fn start_again(&self, why: &'static str) {
        self.stop(why);
        self.relearnt.cancel();
    }

    /// Whether this database holds a place that a reader names, as far as it goes back.
    async fn holds(&self, restored: &Restored, view: RevocationView, chain: &[u8]) -> Result<bool, Error> {
        const PAGE: u64 = 10_000;
        if chain.is_empty() {
            return Ok(true);
        }
        let _one = restored.reading.lock().await;
        let mut tx = self.db.begin().await?;
        let mut at = store::beginning(&mut tx).await?;
        while at.seq < view.seq {
            let last = view.seq.min(at.seq + PAGE);
            let (_, records) = super::store::log(&mut tx, at.seq, last).await?;
            if records.is_empty() {
                return Ok(false);
            }
            at = records.iter().fold(at, |at, record| at.after(record));
        }
        Ok(at.seq != view.seq || at.chain.as_bytes()[..] == *chain)
    }
}

impl Reader {
    /// Takes what a reader of a restored database knows. Nothing is announced to it: once all have told, a new start is
    /// there for it.
    pub(super) async fn tells(
        &self,
        restored: &Restored,
        open: pb::Open,
        asked: &mut Streaming<pb::WatchRequest>,
    ) -> Result<(), Status> {
        let position = open.position.clone().unwrap_or_default();
        let theirs = RevocationView {
            epoch: position.epoch,
            seq: position.seq,
        };
        let lease = self.open(open)?;
        let revocation = &self.service.revocation;
        let ours = revocation.view();
        let later = theirs.seq > ours.seq || theirs.epoch.saturating_sub(ours.epoch) > PLAUSIBLE;
        let Some(log) = lease.map(|lease| (lease.key.participant, lease.key.origin)) else {
            // A consumer was told of its own alone, unsigned: it can show nothing, and is not waited for.
            if later {
                let reader = (self.participant, String::new());
                restored.note(reader, Told::Later(theirs), theirs, ours);
                revocation.doubted(self.participant, theirs);
            }
            return Err(stale());
        };
        let held = !later
            && revocation
                .holds(restored, theirs, &position.chain)
                .await
                .map_err(internal)?;
        let told = match held {
            true => Told::Held,
            false => Told::Later(theirs),
        };
        restored.note(log, told, theirs, ours);
        if !held {
            revocation.doubted(self.participant, theirs);
        }
        // Each watch once: one that broke off before it had shown anything is opened again.
        if later {
            let lost = self.lost(asked).await?;
            if lost.teaches() {
                revocation.take_up(lost, &self.service.shutdown).await;
            }
        }
        tokio::select! {
            () = revocation.stopped.cancelled() => Err(stale()),
            message = asked.message() => match message? {
                None => Ok(()),
                Some(_) => Err(invalid("message", "nothing before the snapshot")),
            },
        }
    }
}
