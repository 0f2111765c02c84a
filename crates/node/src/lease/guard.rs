//! The guard: the check and the hand-over of one piece of an answer, and the end of answers that may not go on.
//!
//! Each piece asks the lease at the moment when HTTP/2 takes it; nothing is held across a wait. A withdrawal, or a lapse,
//! ends the answers under way that it forbids before anything is said of it to the authority or to the ledger
//! (authority.md, « Guard »).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use unefois_core::Reason;
use unefois_jose::access_token::VerifiedToken;
use unefois_mesh::{Egress, Passage};

use super::Lease;

/// How long a connection may take to let go of a stream that was reset: to send what TLS and the kernel had of it. The peer
/// of one that takes longer does not read its socket: it is cut, so that it delays nobody.
const LET_GO: Duration = Duration::from_millis(100);
/// The same where it does not wait for its socket: this process is behind, or the peer made its window smaller than what
/// HTTP/2 has taken.
const LET_GO_AT_MOST: Duration = Duration::from_secs(1);
/// Answers that are registered before those that are over are looked for.
const SWEEP: usize = 64;

/// What lets answers out. One a producer.
#[derive(Debug)]
pub struct Guard {
    lease: Arc<Lease>,
    under_way: Mutex<UnderWay>,
    /// Lets everything out: [`remove`](Self::remove).
    removed: AtomicBool,
}

#[derive(Debug, Default)]
struct UnderWay {
    answers: Vec<Answer>,
    /// How many there may be before they are swept: twice those that were left the last time.
    sweep_at: usize,
}

/// An answer of which something may be left.
#[derive(Debug)]
struct Answer {
    token: Arc<VerifiedToken>,
    egress: Egress,
}

impl Guard {
    /// The guard of what may be released under `lease`.
    pub fn new(lease: Arc<Lease>) -> Self {
        Self {
            lease,
            under_way: Mutex::default(),
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

    /// Registers an answer that is about to leave by `egress`; it leaves by the passage returned, each piece as
    /// [`permits`](Self::permits) says.
    pub fn admit(self: &Arc<Self>, token: &Arc<VerifiedToken>, egress: Egress) -> Passage {
        let passage = {
            let (guard, token) = (Arc::clone(self), Arc::clone(token));
            egress.guarded(move || guard.permits(&token).is_ok())
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

    /// Ends every answer under way that may not go on, and returns once no byte of them can be sent any more: their streams
    /// are reset, and a connection that does not let go of them is cut, after 100 ms where it waits for its socket.
    ///
    /// An answer that has not begun is left to its first check, which can still give its claim back.
    pub async fn end_forbidden(&self) {
        let forbidden: Vec<Egress> = {
            let mut under_way = self.under_way();
            under_way.sweep();
            let forbidden = under_way
                .answers
                .iter()
                .filter(|answer| answer.egress.has_begun() && self.permits(&answer.token).is_err());
            forbidden.map(|answer| answer.egress.clone()).collect()
        };
        if forbidden.is_empty() {
            return;
        }
        tracing::warn!(
            answers = forbidden.len(),
            "answers under way may not go on: they are reset"
        );
        forbidden.iter().for_each(Egress::reset);
        join_all(forbidden.iter().map(gone)).await;
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

/// Returns once nothing of an answer that was reset is left.
async fn gone(egress: &Egress) {
    let over = async |within| tokio::time::timeout(within, egress.over()).await.is_ok();
    if over(LET_GO).await || !egress.waits() && over(LET_GO_AT_MOST).await {
        return;
    }
    tracing::warn!(
        "a peer does not take what was sent: its connection is cut, with the answer that may not go on"
    );
    egress.cut();
    egress.over().await;
}
