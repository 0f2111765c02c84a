//! What a caller hands to the sequencer.

use std::sync::Arc;

use unefois_core::commitment::{GrantSecret, NodeKey};
use unefois_core::{Entry, Event, Handle, Month, Outcome, Reason, RevocationView, Sha256};
use unefois_store::erase::Erased;
use unefois_store::index::{Mac, alias};

/// An entry to append. The sequencer sets its `at`, its `view` and, where there is evidence, its `evidence_commit`.
#[derive(Clone)]
pub struct Draft {
    /// The entry.
    pub entry: Entry,
    /// Whom it is about.
    pub about: About,
    /// What `evidence_commit` shall commit to: kept beside the log, at most 1 MiB.
    pub evidence: Option<Vec<u8>>,
    /// What is destroyed in the transaction that writes the entry.
    pub(crate) erasing: Vec<Erased>,
}

/// Whom an entry is about: what the erasable indexes keep beside the log, as HMACs under the node's key.
#[derive(Clone, Default)]
pub struct About {
    /// The handle, for the history by handle.
    pub handle: Option<Handle>,
    /// The handle's secret of the month of the token's `iat`, which opens the commitments until it is erased.
    pub secret: Option<(Month, GrantSecret)>,
    /// Every person the answer concerned, each once: the canonical pivot, or as the answer names them.
    pub persons: Vec<Vec<u8>>,
    /// What finds some of them a second time, such as the source's own stable ids; at most 256 with the persons.
    pub aliases: Vec<Vec<u8>>,
}

/// Under what a person may stand in the index: as one, or as what finds one a second time. What was written before there
/// were such stands as a person.
pub(crate) fn person_keys(node_key: &NodeKey, person: &[u8]) -> [Mac; 2] {
    let key = node_key.person_key(person);
    [key, alias(key)]
}

impl Draft {
    /// A draft of an entry that is about nobody.
    pub fn new(entry: Entry) -> Self {
        Self {
            entry,
            about: About::default(),
            evidence: None,
            erasing: Vec::new(),
        }
    }

    /// The same, about `about`.
    pub fn about(self, about: About) -> Self {
        Self { about, ..self }
    }

    /// The same, committing to `evidence`.
    pub fn evidence(self, evidence: Vec<u8>) -> Self {
        Self {
            evidence: Some(evidence),
            ..self
        }
    }

    /// The same, destroying `rows` with its entry.
    pub(crate) fn erasing(self, rows: Vec<Erased>) -> Self {
        Self {
            erasing: rows,
            ..self
        }
    }
}

/// What a release brings beside its [`Attempt`](crate::Attempt): the leaf if it goes well, from which the sequencer
/// makes those of the other ends.
#[derive(Clone)]
pub struct ReleaseDraft {
    /// The entry `released`; its event, outcome and reason are set by how the claim ends.
    pub draft: Draft,
    /// Digest of what would leave: a retry sends the same or nothing.
    pub payload: Sha256,
    /// Asked at the moment the leaf is built.
    pub gate: Gate,
}

/// The producer's guard as the sequencer asks it: is the lease fresh, is no lapse without its resumption, is the
/// handle not killed (authority.md, « Guard »). Called on the sequencer's task: it must neither block nor wait.
pub type Gate = Arc<dyn Fn() -> GateState + Send + Sync>;

/// What the guard says at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateState {
    /// The release may be decided under this view of the withdrawal log.
    Open(RevocationView),
    /// Nothing may be released, for this reason; the view is what the process has applied.
    Closed(Reason, RevocationView),
}

/// The leaf of the same answer leaving again.
pub(crate) fn released_again(released: &Entry) -> Entry {
    Entry {
        event: Event::ReleasedAgain,
        ..released.clone()
    }
}

/// The leaf of an answer that does not leave.
pub(crate) fn refused(released: &Entry, reason: Reason) -> Entry {
    Entry {
        event: Event::Refused,
        content_commit: None,
        ..ended(released, reason)
    }
}

/// The leaf that closes a release of which not one byte left.
pub(crate) fn withheld(released: &Entry, reason: Reason) -> Entry {
    Entry {
        event: Event::Withheld,
        ..ended(released, reason)
    }
}

fn ended(entry: &Entry, reason: Reason) -> Entry {
    let outcome = if reason.retryable() {
        Outcome::Later
    } else {
        Outcome::Refused
    };
    Entry {
        outcome: Some(outcome),
        reason: Some(reason),
        ..entry.clone()
    }
}
