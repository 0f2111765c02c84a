//! How many entries a peer may acknowledge: no more than it was answered. An acknowledgement names its entry by a hash,
//! which no index finds; what bounds the rows that a peer makes is what it received.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use unefois_core::ParticipantId;

/// For answers that other replicas gave, or this one before it started.
const AT_FIRST: u64 = 1_024;

/// What each peer may still acknowledge; only clients of verified tokens get that far, so the directory bounds the map.
#[derive(Debug, Default)]
pub(super) struct Credits(Mutex<HashMap<ParticipantId, u64>>);

impl Credits {
    /// The peer was answered.
    pub(super) fn earn(&self, peer: ParticipantId) {
        let mut credits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *credits.entry(peer).or_insert(AT_FIRST) += 1;
    }

    /// How many the peer may acknowledge.
    pub(super) fn of(&self, peer: &ParticipantId) -> u64 {
        let credits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        credits.get(peer).copied().unwrap_or(AT_FIRST)
    }

    /// The peer acknowledged so many.
    pub(super) fn spend(&self, peer: ParticipantId, acknowledged: u64) {
        let mut credits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let credit = credits.entry(peer).or_insert(AT_FIRST);
        *credit = credit.saturating_sub(acknowledged);
    }
}
