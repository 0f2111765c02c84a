//! Waiting for the epoch of a holder that has stopped.
//!
//! No two clocks are compared: that the holder is silent is judged by what it writes, which stays as it was, and by this
//! process's own CLOCK_BOOTTIME. A wrong judgement costs a wait, never a withdrawal: whoever takes the epoch supersedes the
//! holder in the same statement, and counts the leases that it may have given.

use std::time::Duration;

use tokio::time::MissedTickBehavior;
use unefois_mesh::status::chain;

use super::start::Taken;
use super::*;

/// How often the holder's sign of life is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// For how long the holder writes nothing until it is taken to have stopped: by then it answers nobody
/// ([`FRESH_MS`] after the last thing that it wrote).
const SILENT_MS: i64 = 1_000;
/// How far two looks may lie apart to tell of what was between them: this process may have been stopped or cut off itself,
/// and the database may have been away for everybody.
const BLIND_MS: i64 = 500;
/// How long the database may take to answer: a server that has vanished would else be waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// For how long the same sign of life has been seen.
#[derive(Debug, Default)]
struct Silence {
    /// The sign, when it was first known and when it was last.
    seen: Option<(Option<store::Pulse>, Boot, Boot)>,
}

impl Silence {
    /// Takes a look that was sent and answered then; whether the holder has stopped.
    fn look(&mut self, pulse: Option<store::Pulse>, sent: Boot, answered: Boot) -> bool {
        match &mut self.seen {
            // Nobody has ever held the epoch of a new database.
            _ if pulse.is_none() => true,
            Some((same, since, last)) if *same == pulse && sent <= last.plus_ms(BLIND_MS) => {
                *last = answered;
                sent >= since.plus_ms(SILENT_MS)
            }
            _ => {
                self.seen = Some((pulse, answered, answered));
                false
            }
        }
    }
}

impl Revocation {
    /// As [`Revocation::start`], once whoever holds the epoch has been silent for a second. Of several that wait, one
    /// returns and the others go on waiting. It waits for a database that cannot be reached, too.
    pub(crate) async fn take_over(
        db: Db,
        clock: Arc<dyn Clock>,
        keys: Arc<Keys>,
        tasks: TaskTracker,
        in_force: Arc<dyn InForce>,
    ) -> Self {
        let mut silence = Silence::default();
        let mut failing = false;
        let mut every = tokio::time::interval(LOOK);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tracing::info!("this process waits until whoever holds the epoch of the withdrawal log is silent");
        loop {
            every.tick().await;
            let error = match turn(&db, &*clock, &mut silence, &*in_force).await {
                Ok(Some(taken)) => return Self::holding(db, clock, keys, tasks, in_force, taken),
                Ok(None) => {
                    failing = false;
                    continue;
                }
                Err(error) => error,
            };
            if !std::mem::replace(&mut failing, true) {
                tracing::warn!(
                    error = chain(&error),
                    "the holder of the epoch cannot be looked at"
                );
            }
        }
    }
}

/// One look, and the epoch if the holder has stopped.
async fn turn(
    db: &Db,
    clock: &dyn Clock,
    silence: &mut Silence,
    in_force: &dyn InForce,
) -> Result<Option<Taken>, Error> {
    let sent = clock.boottime();
    let Some(pulse) = patient(store::pulse(db)).await? else {
        return Ok(None);
    };
    if !silence.look(pulse, sent, clock.boottime()) {
        return Ok(None);
    }
    let (sent, mine_ms) = (clock.boottime(), in_force.lease_ms());
    let taking = async {
        let mut tx = db.begin().await?;
        let epoch = store::epoch_take_over(&mut tx, pulse, mine_ms, clock.now()).await?;
        Ok((tx, epoch))
    };
    match patient(taking).await? {
        Some((tx, Some(epoch))) => Ok(Some(
            Taken::up(tx, epoch, mine_ms, sent, (clock, in_force)).await?,
        )),
        Some((_, None)) | None => Ok(None),
    }
}

/// What the database answers; `None` where it does not in time.
async fn patient<T>(
    answer: impl Future<Output = Result<T, unefois_store::Error>>,
) -> Result<Option<T>, Error> {
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(answer) => Ok(Some(answer?)),
        Err(_) => {
            tracing::warn!("the database does not answer: the holder of the epoch cannot be looked at");
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::TestDatabase;

    fn at(ms: i64) -> Boot {
        Boot::new(0).plus_ms(ms)
    }

    /// Two signs of life, as a database has them.
    async fn pulses() -> [Option<store::Pulse>; 2] {
        let database = TestDatabase::sqlite();
        let db = Db::open(database.url(), unefois_store::Component::Authority)
            .await
            .unwrap();
        assert_eq!(store::pulse(&db).await.unwrap(), None);
        let mut pulses = [None; 2];
        for (at, pulse) in (1..).zip(&mut pulses) {
            let mut tx = db.begin().await.unwrap();
            store::epoch_take(&mut tx, 1_000, Micros::new(at)).await.unwrap();
            tx.commit().await.unwrap();
            *pulse = store::pulse(&db).await.unwrap();
        }
        pulses
    }

    #[tokio::test]
    async fn i3_a_holder_is_silent_only_after_a_second_without_a_change() {
        let [first, second] = pulses().await;
        assert_ne!(first, second);
        let mut silence = Silence::default();
        for ms in (0..1_000).step_by(100) {
            assert!(!silence.look(first, at(ms), at(ms + 10)), "{ms}");
        }
        // The first look was answered at 10 ms: the sign may have been written just before.
        assert!(!silence.look(first, at(1_009), at(1_010)));
        assert!(!silence.look(second, at(1_010), at(1_020)), "it goes on");
        for ms in (1_100..2_020).step_by(100) {
            assert!(!silence.look(second, at(ms), at(ms + 10)), "{ms}");
        }
        assert!(silence.look(second, at(2_020), at(2_030)));
    }

    #[tokio::test]
    async fn i3_a_standby_that_was_stopped_or_cut_off_does_not_judge_what_it_missed() {
        let [first, _] = pulses().await;
        let mut silence = Silence::default();
        for ms in [0, 500, 900] {
            assert!(!silence.look(first, at(ms), at(ms)));
        }
        assert!(!silence.look(first, at(1_401), at(1_401)), "it begins again");
        assert!(!silence.look(first, at(1_901), at(1_901)));
        assert!(!silence.look(first, at(2_400), at(2_400)));
        assert!(silence.look(first, at(2_401), at(2_401)));
    }
}
