//! The guard: the check and the hand-over of one piece of an answer, and the end of answers that may not go on.
//!
//! Each piece asks the lease at the moment when HTTP/2 takes it; nothing is held across a wait. A withdrawal, or a lapse,
//! ends the answers under way that it forbids before anything is said of it to the authority or to the ledger
//! (authority.md, « Guard »).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Notify;
use unefois_core::{Boot, Reason};
use unefois_jose::access_token::VerifiedToken;
use unefois_mesh::{Egress, Passage};

use super::Lease;

/// How long a connection may take to let go of a stream that was reset, in milliseconds: to send what TLS and the kernel had
/// of it. The peer of one that takes longer does not read its socket: it is cut, so that it delays nobody.
const LET_GO_MS: i64 = 100;
/// The same where it does not wait for its socket: this process is behind, or the peer made its window smaller than what
/// HTTP/2 has taken.
const LET_GO_AT_MOST_MS: i64 = 1_000;
/// How often a connection is looked at that has not let go for [`LET_GO_MS`].
const LOOK_MS: i64 = 10;
/// Answers that are registered before those that are over are looked for.
const SWEEP: usize = 64;

/// What lets answers out. One a producer.
#[derive(Debug)]
pub struct Guard {
    lease: Arc<Lease>,
    under_way: Mutex<UnderWay>,
    /// Answers were reset whose connections may have to be cut.
    ending: Notify,
    /// Lets everything out: [`remove`](Self::remove).
    removed: AtomicBool,
}

#[derive(Debug, Default)]
struct UnderWay {
    answers: Vec<Answer>,
    /// How many there may be before they are swept: twice those that were left the last time.
    sweep_at: usize,
    ending: Vec<Ending>,
}

/// An answer of which something may be left.
#[derive(Debug)]
struct Answer {
    token: Arc<VerifiedToken>,
    egress: Egress,
}

/// An answer that was reset, of which something may be left.
#[derive(Debug)]
struct Ending {
    egress: Egress,
    /// From when on its connection is cut if it waits for its socket.
    soon: Boot,
    /// From when on in any case: before the authority may count it as over.
    late: Boot,
}

impl Ending {
    fn cut_at(&self) -> Boot {
        match self.egress.waits() {
            true => self.soon.min(self.late),
            false => self.late,
        }
    }
}

impl Guard {
    /// The guard of what may be released under `lease`.
    pub fn new(lease: Arc<Lease>) -> Self {
        Self {
            lease,
            under_way: Mutex::default(),
            ending: Notify::new(),
            removed: AtomicBool::new(false),
        }
    }

    /// Whether a piece of the answer to this token may be handed over at this moment.
    ///
    /// # Errors
    /// As [`Lease::permits`].
    pub fn permits(&self, token: &VerifiedToken) -> Result<(), Reason> {
        if self.removed.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.lease.permits(token.claims(), token.kid()).map(drop)
    }

    /// Whether what was let out may still be sent: the authority may not count it as over yet.
    fn may_send(&self) -> bool {
        self.removed.load(Ordering::Relaxed) || self.lease.clock.boottime() < self.lease.out_by()
    }

    /// Registers an answer that is about to leave by `egress`; it leaves by the passage returned, each piece as
    /// [`permits`](Self::permits) says.
    pub fn admit(self: &Arc<Self>, token: &Arc<VerifiedToken>, egress: Egress) -> Passage {
        let passage = {
            let (guard, token) = (Arc::clone(self), Arc::clone(token));
            let lasting = Arc::clone(&guard);
            egress.guarded(move || guard.permits(&token).is_ok(), move || lasting.may_send())
        };
        let mut under_way = self.under_way();
        if under_way.answers.len() >= under_way.sweep_at.max(SWEEP) {
            under_way.sweep();
        }
        under_way.answers.push(Answer {
            token: Arc::clone(token),
            egress,
        });
        passage
    }

    /// Resets every answer under way that may not go on: those that the lease does not permit at this moment. Whatever
    /// becomes of the one that asks, [`run`](Self::run) cuts the connections that do not let go of them in time.
    ///
    /// An answer that has not begun is left to its first check, which can still give its claim back.
    pub fn reset_forbidden(&self) -> Forbidden {
        let now = self.lease.clock.boottime();
        let late = now.plus_ms(LET_GO_AT_MOST_MS).min(self.lease.out_by().max(now));
        let mut under_way = self.under_way();
        under_way.sweep();
        let forbidden = under_way
            .answers
            .iter()
            .filter(|answer| answer.egress.has_begun() && self.permits(&answer.token).is_err());
        let forbidden: Vec<Egress> = forbidden.map(|answer| answer.egress.clone()).collect();
        for egress in &forbidden {
            egress.reset();
            under_way.ending.push(Ending {
                egress: egress.clone(),
                soon: now.plus_ms(LET_GO_MS),
                late,
            });
        }
        drop(under_way);
        if !forbidden.is_empty() {
            tracing::warn!(
                answers = forbidden.len(),
                "answers under way may not go on: they are reset"
            );
            self.ending.notify_one();
        }
        Forbidden(forbidden)
    }

    /// Cuts the connections that do not let go of what was reset; never returns.
    pub async fn run(&self) {
        loop {
            let now = self.lease.clock.boottime();
            let next = {
                let mut under_way = self.under_way();
                under_way.ending.retain(|ending| !ending.egress.is_over());
                for ending in under_way.ending.iter().filter(|ending| now >= ending.cut_at()) {
                    tracing::warn!(
                        "a peer does not take what was sent: its connection is cut, with the answer that may not go on"
                    );
                    ending.egress.cut();
                }
                // One that does not wait at this moment may at the next.
                let ending = under_way.ending.iter();
                let look = ending.map(|ending| match now < ending.soon {
                    true => ending.soon.min(ending.late),
                    false => ending.late.min(now.plus_ms(LOOK_MS)),
                });
                look.min()
            };
            let woken = self.ending.notified();
            match next {
                None => woken.await,
                Some(at) => {
                    let micros = at.micros_since(now).max(1_000).unsigned_abs();
                    // In time or not, it is looked at again.
                    let _woken = tokio::time::timeout(Duration::from_micros(micros), woken).await;
                }
            }
        }
    }

    /// Lets everything out from now on, and ends nothing: what a run of faults compares with, since ledgers alone cannot
    /// show that the guard matters. No configuration leads here.
    #[doc(hidden)]
    pub fn remove(&self) {
        tracing::error!("the guard is removed: withdrawals stop nothing that is under way");
        self.removed.store(true, Ordering::Relaxed);
    }

    fn under_way(&self) -> MutexGuard<'_, UnderWay> {
        // Each change is one call on a list.
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnderWay {
    fn sweep(&mut self) {
        self.answers.retain(|answer| !answer.egress.is_over());
        self.sweep_at = self.answers.len() * 2;
    }
}

/// The answers that one call has reset.
#[derive(Debug)]
#[must_use]
pub struct Forbidden(Vec<Egress>);

impl Forbidden {
    /// Returns once no byte of them can be sent any more.
    pub async fn over(&self) {
        join_all(self.0.iter().map(Egress::over)).await;
    }
}
