//! The task that notices when a withdrawal has taken effect, and writes the proof down.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Histogram;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use unefois_core::effect::Effect;
use unefois_core::revocation::{Record, Withdrawal};
use unefois_core::{Boot, Event, ParticipantId, RevocationView};
use unefois_mesh::metrics::KIND;
use unefois_mesh::status::chain;
use unefois_store::authority::effect::{Written, effect_insert, effect_logged, effect_unlogged};
use unefois_store::authority::grant::grant_of_handle;

use super::Revocation;
use super::barrier::Concerned;
use crate::Error;
use crate::journal::{Fact, Journal};
use crate::oauth::details_of;
use crate::published::{Edition, Published};

/// How long to wait after a failure of the database.
const AGAIN: Duration = Duration::from_millis(200);
/// How long whoever writes a proof has to log it; later, somebody else does. A ledger's write ends in 2 s.
const UNLOGGED_MS: i64 = 10_000;

/// Entries of proofs written at once.
const TOGETHER: usize = 16;

/// Writes the proofs of one epoch.
pub(crate) struct Effects {
    pub(crate) revocation: Arc<Revocation>,
    pub(crate) published: Arc<Published>,
    pub(crate) journal: Journal,
    /// Entries being written: they end before the process does.
    pub(crate) tasks: TaskTracker,
    /// Seconds from a withdrawal to its effect, by the kind of record.
    pub(crate) took: Histogram<f64>,
}

impl Effects {
    /// Proves withdrawals until `shutdown`, or until the epoch is not held any more.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let mut concerned = BTreeMap::new();
        loop {
            let pause = match self.settle(&mut concerned).await {
                Ok(Some(due)) => self.until(due),
                // Whoever publishes or acknowledges says so.
                Ok(None) => Duration::from_secs(60),
                Err(Error::Superseded) => return,
                Err(error) => {
                    tracing::warn!(
                        error = chain(&error),
                        "the proof of a withdrawal is not written yet"
                    );
                    AGAIN
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.revocation.stopped.cancelled() => return,
                // In time or not, the next round looks.
                _ = tokio::time::timeout(pause, self.revocation.moved.notified()) => {}
            }
        }
    }

    fn until(&self, due: Boot) -> Duration {
        let micros = due.micros_since(self.revocation.clock.boottime()) + 1;
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }

    /// Writes every proof that is due; when the next may be.
    async fn settle(
        &self,
        concerned: &mut BTreeMap<RevocationView, Concerned>,
    ) -> Result<Option<Boot>, Error> {
        for record in self.revocation.waiting_beyond(concerned) {
            let whose = self.concerned(&record).await?;
            concerned.insert(record.place.into(), whose);
        }
        let edition = self.published.edition();
        let logs_of = |whose: &Concerned| logs(&edition, whose);
        let (mut ready, next) = self.revocation.ready(concerned, logs_of);
        if !ready.is_empty() {
            let before = self.write(&ready).await?;
            self.revocation.proved.send_replace(());
            for effect in &ready {
                concerned.remove(&effect.place());
                self.revocation.forget(effect.place());
                self.measure(effect);
            }
            ready.retain(|effect| !before.contains(&effect.place()));
            // The next proof does not wait for the ledger.
            self.tasks.spawn(log_each(self.journal.clone(), edition, ready));
        }
        Ok(next)
    }

    fn measure(&self, effect: &Effect) {
        let kind = match effect.record.withdrawal {
            Withdrawal::Grant(_) => "grant",
            Withdrawal::Client(_) => "client",
            Withdrawal::ClientCert(_) => "client_cert",
            Withdrawal::SigningKey(_) => "signing_key",
            Withdrawal::AllBefore => "all_before",
        };
        let millis = u32::try_from(effect.effective_at.ms_since(effect.record.at)).unwrap_or_default();
        self.took
            .record(f64::from(millis) / 1e3, &[KeyValue::new(KIND, kind)]);
    }

    /// Whose logs a record concerns; everybody's where its handle is not known here, or what is kept of it does not read: to
    /// wait for more is safe, and one that does not read holds up no other.
    async fn concerned(&self, record: &Record) -> Result<Concerned, Error> {
        let Withdrawal::Grant(handle) = &record.withdrawal else {
            return Ok(Concerned::All);
        };
        let read = match grant_of_handle(&self.journal.db, handle).await {
            Ok(row) => match row.as_ref().and_then(|row| row.elements.first()) {
                Some(element) => details_of(element),
                None => return Ok(Concerned::All),
            },
            Err(unread @ unefois_store::Error::Corrupt(_)) => Err(unread.into()),
            Err(failed) => return Err(failed.into()),
        };
        match read {
            Ok(details) => Ok(Concerned::Operator(*details.operator())),
            Err(error) => {
                tracing::error!(
                    seq = record.place.seq,
                    error = chain(&error),
                    "a withdrawn element does not read: its withdrawal waits for every producer"
                );
                Ok(Concerned::All)
            }
        }
    }

    /// One transaction under the epoch: from its commit on people may be told. The places of those that stood before: an
    /// attempt whose commit nobody confirmed may have left others, which are logged by [`Effects::log_missing`].
    async fn write(&self, effects: &[Effect]) -> Result<BTreeSet<RevocationView>, Error> {
        let mut tx = self.journal.db.begin().await?;
        let mut before = BTreeSet::new();
        for effect in effects {
            let (seq, at) = (effect.record.place.seq, effect.effective_at);
            match effect_insert(&mut tx, self.revocation.epoch, seq, at, &effect.to_bytes()).await? {
                Written::First => {}
                Written::Before => {
                    before.insert(effect.place());
                }
                Written::Superseded => {
                    drop(tx);
                    self.revocation.not_held().await;
                    return Err(Error::Superseded);
                }
            }
        }
        tx.commit().await?;
        Ok(before)
    }

    /// Writes the entries of proofs that stand but could not be logged in their time. One that cannot be logged stands in
    /// no other's way.
    pub(crate) async fn log_missing(journal: &Journal, edition: &Edition) -> Result<(), Error> {
        let before = journal.clock.now().plus_ms(-UNLOGGED_MS);
        let mut after = 0;
        loop {
            let proofs = effect_unlogged(&journal.db, before, after).await?;
            let Some((last, _)) = proofs.last() else {
                return Ok(());
            };
            after = *last;
            let logged = proofs.iter().map(async |(_, bytes)| {
                let effect = Effect::from_bytes(bytes).ok_or(Error::Stored)?;
                log(journal, edition, &effect).await
            });
            for ((seq, _), logged) in proofs.iter().zip(join_all(logged).await) {
                if let Err(error) = logged {
                    unlogged(*seq, &error);
                }
            }
        }
    }
}

/// Writes the entries of proofs that stand; those that fail are written later, see [`Effects::log_missing`].
async fn log_each(journal: Journal, edition: Arc<Edition>, effects: Vec<Effect>) {
    for some in effects.chunks(TOGETHER) {
        let logged = some.iter().map(|effect| log(&journal, &edition, effect));
        for (effect, logged) in some.iter().zip(join_all(logged).await) {
            if let Err(error) = logged {
                unlogged(effect.record.place.seq, &error);
            }
        }
    }
}

fn unlogged(seq: u64, error: &Error) {
    tracing::warn!(
        seq,
        error = chain(error),
        "the entry of an effective withdrawal is not written yet"
    );
}

/// Writes the entry `effective` of a proof that stands in the database.
async fn log(journal: &Journal, edition: &Edition, effect: &Effect) -> Result<(), Error> {
    let grant = match &effect.record.withdrawal {
        Withdrawal::Grant(handle) => grant_of_handle(&journal.db, handle).await?,
        Withdrawal::Client(_)
        | Withdrawal::ClientCert(_)
        | Withdrawal::SigningKey(_)
        | Withdrawal::AllBefore => None,
    };
    let element = grant
        .as_ref()
        .and_then(|row| Some((&row.grant, row.elements.first()?)));
    let details = element.map(|(_, element)| details_of(element)).transpose()?;
    let client = match (&effect.record.withdrawal, element) {
        (Withdrawal::Client(client), _) => Some(*client),
        (_, Some((grant, _))) => Some(grant.client),
        (_, None) => None,
    };
    let fact = Fact {
        edition,
        client,
        publisher: element.and_then(|(grant, _)| grant.act_client),
        details: details.as_ref(),
        handle: element.map(|(_, element)| element.handle),
        capacity: element.map(|(grant, _)| grant.capacity),
        acr: element.map(|(grant, _)| grant.acr),
    };
    journal
        .evidenced(Event::Effective, fact, effect.to_bytes())
        .await?;
    let mut tx = journal.db.begin().await?;
    effect_logged(&mut tx, effect.record.place.seq, journal.clock.now()).await?;
    tx.commit().await?;
    Ok(())
}

/// The logs that the directory gives those whom a withdrawal concerns: a producer has a key that pivots are sealed to.
pub(super) fn logs(edition: &Edition, whose: &Concerned) -> Vec<(ParticipantId, String)> {
    let rows = edition.directory.document().participants.iter();
    let producers = rows.filter(|row| !row.pivot_keys.is_empty() && whose.holds(&row.id));
    producers
        .flat_map(|row| row.logs.iter().map(|log| (row.id, log.origin.clone())))
        .collect()
}

impl Revocation {
    /// The records that have not taken effect and that `known` does not hold.
    fn waiting_beyond(&self, known: &BTreeMap<RevocationView, Concerned>) -> Vec<Record> {
        let state = self.state();
        let waiting = state
            .waiting
            .iter()
            .filter(|(place, _)| !known.contains_key(*place));
        waiting.map(|(_, record)| record.clone()).collect()
    }

    /// The proofs of those records of `concerned` that have taken effect now; when the next will have, at the latest.
    fn ready(
        &self,
        concerned: &BTreeMap<RevocationView, Concerned>,
        logs_of: impl Fn(&Concerned) -> Vec<(ParticipantId, String)>,
    ) -> (Vec<Effect>, Option<Boot>) {
        let (mut ready, mut next) = (Vec::new(), None::<Boot>);
        let state = self.state();
        // Read under the lock, so that no acknowledgement lies between an instant and what it is told of.
        let (now, effective_at) = (self.clock.boottime(), self.clock.now());
        for (place, record) in &state.waiting {
            let Some(whose) = concerned.get(place) else {
                continue;
            };
            match state.barrier.settled(*place, whose, now) {
                Ok(()) => ready.push(Effect {
                    record: record.clone(),
                    operator: match whose {
                        Concerned::Operator(operator) => Some(*operator),
                        Concerned::All => None,
                    },
                    effective_at,
                    logs: state.barrier.lines(*place, logs_of(whose)),
                }),
                Err(due) => next = Some(next.map_or(due, |next| next.min(due))),
            }
        }
        (ready, next)
    }

    fn forget(&self, place: RevocationView) {
        let now = self.clock.boottime();
        let mut state = self.state();
        state.waiting.remove(&place);
        state.barrier.forget(place, now);
    }
}
