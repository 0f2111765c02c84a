//! One hour of two participants: a count and a digest at each end, equal in one compare.

use unefois_core::{Event, ExchangeId, Micros, Outcome, Reason, Sha256};

use super::end::{Role, Trace};

const HOUR_US: i64 = 3_600_000_000;

/// What each end holds of the exchanges drawn in one hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hour {
    /// Its beginning.
    pub at: Micros,
    /// What each end holds.
    pub ends: [Tally; 2],
}

/// What one end holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// How many exchanges.
    pub count: u64,
    /// SHA-256 over their rows, in the order of the exchange ids.
    pub digest: Sha256,
}

impl Hour {
    /// Whether both ends hold the same.
    pub fn agrees(&self) -> bool {
        self.ends[0] == self.ends[1]
    }
}

/// The hour that `id` was drawn in.
pub(super) fn of(id: &ExchangeId) -> Micros {
    let at = id.drawn_at().get();
    Micros::new(at - at.rem_euclid(HOUR_US))
}

/// The rows of one hour while they are added, in the order of the exchange ids.
#[derive(Default)]
pub(super) struct Rows([Vec<u8>; 2]);

/// exchange id, pair, outcome, content commitment.
const ROW: usize = 16 + 1 + 1 + 32;

impl Rows {
    pub(super) fn add(&mut self, id: &ExchangeId, of_each: [&[Trace]; 2]) {
        for (rows, traces) in self.0.iter_mut().zip(of_each) {
            let Some(last) = last_of(traces.iter()) else {
                continue;
            };
            rows.extend_from_slice(id.as_bytes());
            let (pair, outcome, content) = row(last);
            rows.push(pair as u8);
            rows.push(outcome);
            rows.extend_from_slice(content.as_bytes());
        }
    }

    pub(super) fn close(self, at: Micros) -> Hour {
        Hour {
            at,
            ends: self.0.map(|rows| Tally {
                count: (rows.len() / ROW) as u64,
                digest: Sha256::of(&rows),
            }),
        }
    }
}

/// What the row of an exchange holds of the last event of one end.
pub(super) fn row(last: &Trace) -> (Pair, u8, Sha256) {
    let pair = Pair::of(last);
    let content = last.digests.content.filter(|_| pair == Pair::Answered);
    (
        pair,
        last.outcome.map_or(0, Outcome::code),
        content.unwrap_or_default(),
    )
}

/// The last event of one end: its newest, but for refusals that only say that another attempt is under way.
pub(super) fn last_of<'a>(traces: impl DoubleEndedIterator<Item = &'a Trace> + Clone) -> Option<&'a Trace> {
    let ended = |t: &&Trace| t.reason != Some(Reason::InProgress);
    traces.clone().rev().find(ended).or(traces.last())
}

/// Which pair of last events one end's last event belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Pair {
    /// released or released_again ↔ received.
    Answered = 1,
    /// refused or withheld ↔ refused.
    Refused = 2,
    /// deferred: it waits for its end.
    Waiting = 3,
    /// unanswered: no event of the producer makes a pair with it.
    Unanswered = 4,
}

impl Pair {
    pub(super) fn of(last: &Trace) -> Self {
        match (last.role, last.event) {
            (Role::Producer, Event::Released | Event::ReleasedAgain) | (Role::Consumer, Event::Received) => {
                Self::Answered
            }
            (Role::Producer, Event::Deferred) => Self::Waiting,
            (Role::Consumer, Event::Unanswered) => Self::Unanswered,
            // A trace has no other event: `End::take` keeps these alone.
            (Role::Producer | Role::Consumer, _) => Self::Refused,
        }
    }
}
