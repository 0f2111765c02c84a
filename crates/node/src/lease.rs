//! The withdrawal lease: what this node knows of withdrawals, and until when it may act on it.
//!
//! A release needs a lease that is fresh at that moment: the authority answered a ping that left at most `lease_ms` ago
//! (CLOCK_BOOTTIME), and every record up to the head that it answered is applied (authority.md, « Withdrawal with proof
//! of effect »). Stale means refuse, without grace. A lapse and its end are entries of the node's ledger; between the
//! two nothing is released, whatever the clock says.

mod guard;
mod held;
mod watch;

pub use guard::Guard;
pub use watch::Keeper;

use held::Held;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch as channel};
use unefois_core::revocation::{Head, SignedRecords, Withdrawals};
use unefois_core::{AccessTokenClaims, Boot, Clock, Micros, Reason, RevocationView};
use unefois_jose::{PublicKey, Thumbprint, VerifyingKey, jws};
use unefois_ledger::{Gate, GateState};
use unefois_mesh::Edition;

/// The type of signed records in their header.
const TYP: &str = "unefois-withdrawals+jwt";
/// Largest message of signed records that is read.
const MAX_RECORDS_BYTES: usize = 64 * 1024 * 1024;
/// How long a token may wait for its view.
const CATCH_UP: Duration = Duration::from_millis(200);
/// Pings that may be unanswered at once.
const MAX_PINGS: usize = 64;
/// How much longer than a lease what it allowed may still be on its way out of this process.
const SPARE_PERCENT: i64 = 2;
/// An offset of the two clocks that somebody must be told of.
const OFFSET_ALARM_MS: i64 = 2_000;

/// Why what the authority sent is not applied: the stream is given up and opened again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotApplied {
    /// No withdrawal key of the directory signed it, or it does not read.
    #[error("the records are not signed by a withdrawal key of the directory")]
    Signature,
    /// It does not follow what is applied.
    #[error(transparent)]
    Order(#[from] unefois_core::revocation::CannotApply),
    /// It is behind what this node, or an earlier start of it, has already acted on.
    #[error("the authority is behind what this node already knew")]
    Behind,
    /// It speaks of records that were not sent.
    #[error("the authority answered with a head that it did not send")]
    Gap,
}

/// What one producing process knows of withdrawals.
pub struct Lease {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    view: channel::Sender<RevocationView>,
    /// Wakes whoever writes lapses: one came before its time.
    closed: Notify,
}

struct State {
    withdrawals: Withdrawals,
    /// The signed messages that were applied, for an authority that has lost them.
    held: Held,
    /// What an earlier start has written down: nothing lower is applied.
    floor: RevocationView,
    /// Until when the last counted answer holds.
    fresh_until: Option<Boot>,
    /// When the last byte must have left of what an answer allowed: the authority counts 5 % more than the lease, and
    /// this much less leaves room for two clocks that drift.
    out_by: Boot,
    phase: Phase,
    /// The pings under way: when each left, and for how long an answer holds.
    pings: HashMap<u64, (Boot, i64)>,
    /// The authority's clock, and when it said so.
    server: Option<(Micros, Boot)>,
}

/// Where the lease stands between the ledger and the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No lease has been had yet; `resumes` says that the first one needs an entry `resumed`, since an earlier start may
    /// have left a `lapsed` behind.
    Starting { resumes: bool },
    /// Fresh as long as the clock says so.
    Open,
    /// It lapsed, and the entry `lapsed` is not durable yet: no ping leaves.
    Lapsed,
    /// The entry `lapsed` is durable; a fresh answer leads to `resumed`.
    Recorded,
}

/// What the lease asks its keeper to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Nothing,
    /// Write `lapsed`.
    Lapsed,
}

impl Lease {
    /// A lease that is closed until the authority has answered. `floor` is the view that the ledger's head holds, and
    /// `resumes` says whether the log already has entries.
    pub fn new(clock: Arc<dyn Clock>, floor: RevocationView, resumes: bool) -> Self {
        Self {
            clock,
            state: Mutex::new(State {
                withdrawals: Withdrawals::default(),
                held: Held::default(),
                floor,
                fresh_until: None,
                out_by: Boot::new(i64::MIN),
                phase: Phase::Starting { resumes },
                pings: HashMap::new(),
                server: None,
            }),
            view: channel::Sender::new(RevocationView::NONE),
            closed: Notify::new(),
        }
    }

    /// Whether releases may be decided at this moment.
    ///
    /// # Errors
    /// REVOCATION_STATE_STALE.
    pub fn fresh(&self) -> Result<RevocationView, Reason> {
        let mut state = self.state();
        match state.is_open(self.clock.boottime()) {
            true => Ok(state.withdrawals.head().view()),
            false => Err(Reason::RevocationStateStale),
        }
    }

    /// Whether a token may be acted on at this moment: the lease fresh, the view at least the token's, nothing
    /// withdrawn, and the end that the person chose not reached. The leeway of the token's own time does not extend it.
    ///
    /// # Errors
    /// REVOCATION_STATE_STALE, GRANT_REVOKED.
    pub fn permits(&self, token: &AccessTokenClaims, kid: &Thumbprint) -> Result<RevocationView, Reason> {
        let mut state = self.state();
        state.permits(token, &kid.to_string(), self.clock.boottime())
    }

    /// As [`permits`](Self::permits), but waits up to 200 ms for the view to reach the token's.
    ///
    /// # Errors
    /// As [`permits`](Self::permits).
    pub async fn admits(
        &self,
        token: &AccessTokenClaims,
        kid: &Thumbprint,
    ) -> Result<RevocationView, Reason> {
        let mut views = self.view.subscribe();
        let reached = views.wait_for(|view| *view >= token.rvk);
        // In time or not, the check below decides.
        let _in_time = tokio::time::timeout(CATCH_UP, reached).await.is_ok();
        self.permits(token, kid)
    }

    /// The guard for one release, as the sequencer asks it when it builds the leaf.
    pub fn gate(self: &Arc<Self>, token: AccessTokenClaims, kid: &Thumbprint) -> Gate {
        let (lease, kid) = (Arc::clone(self), kid.to_string());
        Arc::new(move || {
            let mut state = lease.state();
            match state.permits(&token, &kid, lease.clock.boottime()) {
                Ok(view) => GateState::Open(view),
                Err(reason) => GateState::Closed(reason, state.withdrawals.head().view()),
            }
        })
    }

    /// The authority's time: its clock at the last counted answer, and BOOTTIME since; `None` before the first.
    pub fn authority_time(&self) -> Option<Micros> {
        self.state().authority_time(self.clock.boottime())
    }

    /// When the last byte must have left of what the answers counted so far allowed.
    fn out_by(&self) -> Boot {
        self.state().out_by
    }

    /// Applies signed records: a snapshot, or the batch that follows.
    ///
    /// # Errors
    /// [`NotApplied`]; the view stays as it was, and the lease is closed until the stream is in step again: a record may
    /// be missing.
    pub fn apply(&self, text: &str, edition: &Edition) -> Result<Head, NotApplied> {
        let verified = jws::verify(text, TYP, MAX_RECORDS_BYTES, |kid| withdrawal_key(edition, kid));
        let message: Result<SignedRecords, _> = verified.and_then(|verified| verified.claims());
        match message {
            Ok(message) => {
                self.apply_message(&message)?;
                self.state().held.push(&message, text);
            }
            Err(_) => {
                self.close(&mut self.state());
                return Err(NotApplied::Signature);
            }
        }
        Ok(self.head())
    }

    /// The signed messages applied that lead beyond a place, oldest first.
    fn held_beyond(&self, place: RevocationView) -> Vec<Arc<str>> {
        self.state().held.beyond(place)
    }

    /// Applies records whose signature has been checked.
    fn apply_message(&self, message: &SignedRecords) -> Result<(), NotApplied> {
        let mut state = self.state();
        if let Err(error) = state.follow(message) {
            self.close(&mut state);
            return Err(error);
        }
        let view = state.withdrawals.head().view();
        drop(state);
        self.view.send_replace(view);
        Ok(())
    }

    /// Ends the lease before its time.
    fn close(&self, state: &mut State) {
        state.fresh_until = None;
        state.is_open(self.clock.boottime());
        self.closed.notify_one();
    }

    /// The head applied.
    fn head(&self) -> Head {
        self.state().withdrawals.head()
    }

    /// Registers a ping that leaves now; `None` while an entry `lapsed` is not durable.
    fn ping(&self, nonce: u64, lease_ms: u32) -> Option<()> {
        let mut state = self.state();
        let now = self.clock.boottime();
        state.is_open(now);
        if state.phase == Phase::Lapsed {
            return None;
        }
        if state.pings.len() >= MAX_PINGS {
            // Nobody answers: forget those that could no longer help.
            state.pings.retain(|_, (sent, lease)| now < sent.plus_ms(*lease));
        }
        state.pings.insert(nonce, (now, lease_ms.into()));
        Some(())
    }

    /// Counts an answer, which holds for `told_ms` at most. `Ok(true)`: the lease is fresh again, and opens once `resumed` is durable.
    ///
    /// # Errors
    /// [`NotApplied`] if its head is not what is applied.
    fn pong(&self, nonce: u64, head: Head, server: Micros, told_ms: u32) -> Result<bool, NotApplied> {
        let mut state = self.state();
        let now = self.clock.boottime();
        state.is_open(now);
        let applied = state.withdrawals.head();
        if head.view() > applied.view() || (head.seq == applied.seq && head.chain != applied.chain) {
            self.close(&mut state);
            return Err(NotApplied::Gap);
        }
        if head.epoch < applied.epoch || head.view() < state.floor {
            self.close(&mut state);
            return Err(NotApplied::Behind);
        }
        let Some((sent, lease_ms)) = state.pings.remove(&nonce) else {
            // Voided by a lapse, or never sent.
            return Ok(false);
        };
        let until = sent.plus_ms(lease_ms.min(told_ms.into()));
        if now >= until {
            return Ok(false);
        }
        state.server = Some((server, now));
        state.fresh_until = Some(state.fresh_until.map_or(until, |held| held.max(until)));
        let spare_ms = until.micros_since(sent) / 1_000 * SPARE_PERCENT / 100;
        state.out_by = state.out_by.max(until.plus_ms(spare_ms));
        drop(state);
        let offset = self.clock.now().ms_since(server);
        if offset.abs() > OFFSET_ALARM_MS {
            tracing::warn!(offset_ms = offset, "the authority's clock and ours differ");
        }
        Ok(self.state().phase != Phase::Open)
    }

    /// Forgets the pings of a stream that ended.
    fn stream_ended(&self) {
        self.state().pings.clear();
    }

    /// Whether an entry is due.
    fn due(&self) -> Due {
        let mut state = self.state();
        state.is_open(self.clock.boottime());
        match state.phase {
            Phase::Lapsed => Due::Lapsed,
            Phase::Starting { .. } | Phase::Open | Phase::Recorded => Due::Nothing,
        }
    }

    /// Returns when a lapse may have come: once the last counted answer holds no more, or the lease was closed before,
    /// and after `at_most` in any case.
    async fn may_have_lapsed(&self, at_most: Duration) {
        let left = {
            let state = self.state();
            match state.phase {
                Phase::Open => state.fresh_until.map_or(0, |until| {
                    until.micros_since(self.clock.boottime()).max(0).unsigned_abs()
                }),
                Phase::Lapsed => 0,
                Phase::Starting { .. } | Phase::Recorded => u64::MAX,
            }
        };
        let wait = Duration::from_micros(left).min(at_most);
        // Either way it is time to look.
        let _closed = tokio::time::timeout(wait, self.closed.notified()).await.is_ok();
    }

    /// The entry `lapsed` is durable.
    fn lapse_recorded(&self) {
        let mut state = self.state();
        if state.phase == Phase::Lapsed {
            state.phase = Phase::Recorded;
        }
    }

    /// Whether opening needs an entry `resumed` first.
    fn resumption_needed(&self) -> bool {
        matches!(
            self.state().phase,
            Phase::Starting { resumes: true } | Phase::Recorded
        )
    }

    /// The entry `resumed`, where needed, is durable: opens, as long as the clock agrees.
    fn resumed(&self) {
        let mut state = self.state();
        if state.phase != Phase::Lapsed {
            state.phase = Phase::Open;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is one assignment or a whole message of records; a panic leaves the state sound.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn follow(&mut self, message: &SignedRecords) -> Result<(), NotApplied> {
        if message.head.view() < self.floor {
            return Err(NotApplied::Behind);
        }
        Ok(self.withdrawals.apply(message)?)
    }

    /// Whether releases may be decided now. Noticing a lapse closes the lease and voids every ping under way.
    fn is_open(&mut self, now: Boot) -> bool {
        if self.phase != Phase::Open {
            return false;
        }
        let fresh = self.fresh_until.is_some_and(|until| now < until);
        if !fresh {
            self.phase = Phase::Lapsed;
            self.fresh_until = None;
            self.pings.clear();
        }
        fresh
    }

    fn permits(&mut self, token: &AccessTokenClaims, kid: &str, now: Boot) -> Result<RevocationView, Reason> {
        let view = self.withdrawals.head().view();
        if !self.is_open(now) || view < token.rvk {
            return Err(Reason::RevocationStateStale);
        }
        let time = self.authority_time(now).ok_or(Reason::RevocationStateStale)?;
        let [element] = &token.authorization_details;
        let ended = element.mode.until.is_some_and(|until| until <= time);
        match ended || self.withdrawals.kills(token, kid) {
            true => Err(Reason::GrantRevoked),
            false => Ok(view),
        }
    }

    fn authority_time(&self, now: Boot) -> Option<Micros> {
        let (server, at) = self.server?;
        Some(Micros::new(server.get().saturating_add(now.micros_since(at))))
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        let view = state.withdrawals.head().view();
        f.debug_struct("Lease")
            .field("phase", &state.phase)
            .field("view", &view)
            .finish_non_exhaustive()
    }
}

fn withdrawal_key(edition: &Edition, kid: &Thumbprint) -> Option<VerifyingKey> {
    let keys = &edition.directory.authority().withdrawal_keys;
    let mut keys = keys
        .iter()
        .filter_map(|jwk| PublicKey::from_point(&jwk.sec1()).ok().map(VerifyingKey::new));
    keys.find(|key| key.thumbprint() == kid)
}

#[cfg(test)]
mod tests;
