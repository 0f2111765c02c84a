//! What the authority's log says of withdrawals.

use std::collections::BTreeMap;

use unefois_core::{Entry, Event, Micros, ParticipantId};

use crate::{Error, Visited};

/// The most entries about withdrawals that one reading holds. More need a shorter period.
pub const MAX_WITHDRAWALS: usize = 500_000;

/// An entry about a withdrawal, and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    /// The number of its log among the authority's.
    pub log: usize,
    /// Its place in that log.
    pub index: u64,
    /// The entry.
    pub entry: Entry,
}

impl Noted {
    /// Its log and its place there.
    pub(super) const fn place(&self) -> (usize, u64) {
        (self.log, self.index)
    }
}

/// The entries about withdrawals of the authority's logs, one after the other: filled by visiting the whole of each.
#[derive(Clone, Debug, Default)]
pub struct Announced {
    /// The withdrawals of handles: of a grant that ended, and of an element that another has taken the place of.
    pub withdrawn: Vec<Noted>,
    /// The proofs of effect.
    pub effective: Vec<Noted>,
    /// When a token was last minted for each participant, as its client or as the publisher acting for it.
    minted: BTreeMap<ParticipantId, Micros>,
}

impl Announced {
    /// Takes one entry of the log number `log`.
    ///
    /// # Errors
    /// [`Error::TooManyTraces`].
    pub fn take(&mut self, log: usize, visited: Visited<'_>) -> Result<(), Error> {
        let entry = visited.entry;
        let kept = match entry.event {
            Event::Withdrawn | Event::Narrowed => &mut self.withdrawn,
            Event::Effective => &mut self.effective,
            Event::Minted => {
                for participant in [entry.requester, entry.publisher].into_iter().flatten() {
                    let last = self.minted.entry(participant).or_insert(entry.at);
                    *last = entry.at.max(*last);
                }
                return Ok(());
            }
            _ => return Ok(()),
        };
        if kept.len() >= MAX_WITHDRAWALS {
            return Err(Error::TooManyTraces {
                most: MAX_WITHDRAWALS,
            });
        }
        kept.push(Noted {
            log,
            index: visited.index,
            entry: entry.clone(),
        });
        Ok(())
    }

    /// Whether the authority minted a token for `participant` at `since` or later, by its own clock, which each of
    /// its logs shows never to go back.
    pub(super) fn minted_since(&self, participant: &ParticipantId, since: Micros) -> bool {
        self.minted.get(participant).is_some_and(|at| *at >= since)
    }
}
