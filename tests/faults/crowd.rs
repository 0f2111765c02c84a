//! Many exchanges at once on one log, and how each ended.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::task::JoinSet;
use unefois_core::Random;
use unefois_ledger::Ledger;
use unefois_mesh::SystemRandom;

use crate::workload::{Ack, boottime_us, exchange};

/// Exchanges at once.
pub(crate) const EXCHANGING: usize = 16;
/// How long it may take until exchanges end as they must.
pub(crate) const WITHIN: Duration = Duration::from_secs(120);
/// How long who was refused waits before the next exchange.
const PAUSE: Duration = Duration::from_millis(10);
const LOOK: Duration = Duration::from_millis(5);

/// Exchanges that go on until [`Crowd::end`].
#[derive(Debug)]
pub(crate) struct Crowd {
    shared: Arc<Shared>,
    working: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Shared {
    answers: Mutex<Answers>,
    in_flight: AtomicUsize,
    waited_us: AtomicI64,
    over: AtomicBool,
}

/// What was answered, beside when it was asked.
#[derive(Debug, Default)]
struct Answers {
    acks: Vec<(i64, Ack)>,
    refusals: Vec<i64>,
}

impl Shared {
    async fn work(self: Arc<Self>, ledger: Ledger) {
        let mut pace = tokio::time::interval(PAUSE);
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !self.over.load(Ordering::Relaxed) {
            let began = boottime_us();
            self.in_flight.fetch_add(1, Ordering::Relaxed);
            let done = exchange(&ledger).await;
            self.in_flight.fetch_sub(1, Ordering::Relaxed);
            self.waited_us.fetch_max(boottime_us() - began, Ordering::Relaxed);
            match done {
                Ok(ack) => self.answers().acks.push((began, ack)),
                Err(_) => {
                    self.answers().refusals.push(began);
                    pace.tick().await;
                }
            }
        }
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Crowd {
    pub(crate) fn start(ledger: &Ledger) -> Self {
        let shared: Arc<Shared> = Arc::default();
        let mut working = JoinSet::new();
        for _ in 0..EXCHANGING {
            working.spawn(Arc::clone(&shared).work(ledger.clone()));
        }
        Self { shared, working }
    }

    /// Lets it go on for a time drawn below `below`.
    pub(crate) async fn go_on(&mut self, below: Duration) -> anyhow::Result<()> {
        let random = SystemRandom::new();
        let [a, b] = (&random as &dyn Random).bytes();
        let part = f64::from(u16::from_be_bytes([a, b])) / f64::from(u16::MAX);
        if let Ok(ended) = tokio::time::timeout(below.mul_f64(part), self.working.join_next()).await {
            bail!("an exchange stopped: {ended:?}");
        }
        Ok(())
    }

    /// Whether an exchange is under way.
    pub(crate) fn is_in_flight(&self) -> bool {
        self.shared.in_flight.load(Ordering::Relaxed) > 0
    }

    /// Exchanges that began after `since` and were acknowledged.
    pub(crate) fn acknowledged(&self, since: i64) -> usize {
        let answers = self.shared.answers();
        answers.acks.iter().filter(|(began, _)| *began > since).count()
    }

    /// Waits until `n` more exchanges are acknowledged.
    pub(crate) async fn goes_on(&self, n: usize) -> anyhow::Result<()> {
        let from = self.shared.answers().acks.len() + n;
        let there = || self.shared.answers().acks.len() >= from;
        until(there).await.context("exchanges do not go on")
    }

    /// Waits until as many exchanges as there are at once began after `since` and were refused.
    pub(crate) async fn is_refused(&self, since: i64) -> anyhow::Result<()> {
        let after = |began: &&i64| **began > since;
        let there = || self.shared.answers().refusals.iter().filter(after).count() >= EXCHANGING;
        until(there).await.context("exchanges are not refused")
    }

    /// The longest that a caller waited so far, in milliseconds.
    pub(crate) fn waited_ms(&self) -> i64 {
        self.shared.waited_us.load(Ordering::Relaxed) / 1_000
    }

    /// Ends it: what was acknowledged, and how many were refused.
    pub(crate) async fn end(mut self) -> anyhow::Result<(Vec<Ack>, usize)> {
        self.shared.over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.working.join_next().await {
            ended?;
        }
        let Answers { acks, refusals } = std::mem::take(&mut *self.shared.answers());
        Ok((acks.into_iter().map(|(_, ack)| ack).collect(), refusals.len()))
    }
}

/// Waits until `holds`.
pub(crate) async fn until(mut holds: impl FnMut() -> bool) -> anyhow::Result<()> {
    let mut look = tokio::time::interval(LOOK);
    let held = async {
        while !holds() {
            look.tick().await;
        }
    };
    Ok(tokio::time::timeout(WITHIN, held).await?)
}
