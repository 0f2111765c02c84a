//! The hourly `tally`: a salted commitment to how many exchanges of each kind were logged, and to what was turned
//! away before it could be.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use unefois_core::{Entry, Event, Micros, Outcome, Reason};
use unefois_store::entry::{entry_counts, entry_last};

use crate::draft::Draft;
use crate::receipt::DurableReceipt;
use crate::{Error, Ledger};

/// What a peer did that has no entry of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Unwritten {
    /// It was turned away.
    TurnedAway(Reason),
    /// It read the log while that could not be written.
    Read,
}

/// The most peers and reasons that are told apart between two tallies; what is over counts under no peer.
const MAX_KINDS: usize = 10_000;

/// What was turned away, or read, without an entry since the last tally. It dies with the process: what must survive is an entry.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<BTreeMap<(String, Unwritten), u64>>);

impl Tally {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<(String, Unwritten), u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, peer: &str, what: Unwritten, n: u64) {
        let mut counts = self.lock();
        let known = counts.contains_key(&(peer.to_owned(), what)) || counts.len() < MAX_KINDS;
        let peer = if known { peer } else { "" };
        *counts.entry((peer.to_owned(), what)).or_default() += n;
    }
}

impl Ledger {
    /// Counts a call that was turned away before it could have an entry of its own: before admission, or because the
    /// ledger could not be written (I8). `peer` is its name in its certificate; `None` where it showed none.
    pub fn turned_away(&self, peer: Option<&str>, reason: Reason) {
        let what = Unwritten::TurnedAway(reason);
        self.inner().tally.add(peer.unwrap_or_default(), what, 1);
    }

    /// Counts a query that was answered although the ledger could not be written; `peer` is the reader's name.
    pub(crate) fn read_unrecorded(&self, peer: &str) {
        self.inner().tally.add(peer, Unwritten::Read, 1);
    }

    /// Appends a `tally` of everything since the last one; for the owner of the clock to call at the turn of the hour.
    ///
    /// The counts are kept beside the log as the entry's evidence, as lines of text: the range of
    /// entries counted, then `exchange` lines, and those of each peer, sorted: `turned_away`, and `read` for queries without
    /// an entry of their own.
    ///
    /// # Errors
    /// As [`Ledger::append`]; what was turned away is then counted in the next one.
    pub async fn tally(&self, now: Micros) -> Result<DurableReceipt, Error> {
        let (db, log) = (&self.inner().db, self.inner().log);
        let start = entry_last(db, log, Event::Tally).await?.map_or(0, |idx| idx + 1);
        let end = self.head().size;
        let unwritten = std::mem::take(&mut *self.inner().tally.lock());
        let appended = async {
            let counts = entry_counts(db, log, start, end).await?;
            let mut text = format!("unefois/tally/v1 {start} {end} {}\n", now.get());
            for count in &counts {
                let outcome = count.outcome.and_then(|code| u8::try_from(code).ok());
                text += &format!(
                    "exchange {} {} {} {} {}\n",
                    count.requester.as_deref().unwrap_or("-"),
                    count.provider.as_deref().unwrap_or("-"),
                    count.datatype.as_deref().unwrap_or("-"),
                    outcome.and_then(Outcome::from_code).map_or("-", Outcome::as_str),
                    count.count
                );
            }
            for ((peer, what), n) in &unwritten {
                let peer = if peer.is_empty() { "-" } else { peer };
                text += &match what {
                    Unwritten::TurnedAway(reason) => format!("turned_away {peer} {reason} {n}\n"),
                    Unwritten::Read => format!("read {peer} {n}\n"),
                };
            }
            let draft = Draft::new(Entry::new(Event::Tally, now)).evidence(text.into_bytes());
            self.append(draft).await
        }
        .await;
        if appended.is_err() {
            for ((peer, what), n) in unwritten {
                self.inner().tally.add(&peer, what, n);
            }
        }
        appended
    }
}
