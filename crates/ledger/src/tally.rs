//! The hourly `tally`: a salted commitment to how many exchanges of each kind were logged, and to what was turned
//! away before it could be.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use unefois_core::{Entry, Event, Micros, Outcome, Reason};
use unefois_store::entry::{entry_counts, entry_last};

use crate::draft::Draft;
use crate::receipt::DurableReceipt;
use crate::{Error, Ledger};

/// The most peers and reasons that are told apart between two tallies; what is over counts under no peer.
const MAX_KINDS: usize = 10_000;

/// What was turned away since the last tally. It dies with the process: what must survive is an entry.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<BTreeMap<(String, Reason), u64>>);

impl Tally {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<(String, Reason), u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, peer: &str, reason: Reason, n: u64) {
        let mut counts = self.lock();
        let known = counts.contains_key(&(peer.to_owned(), reason)) || counts.len() < MAX_KINDS;
        let peer = if known { peer } else { "" };
        *counts.entry((peer.to_owned(), reason)).or_default() += n;
    }
}

impl Ledger {
    /// Counts a call that was turned away before it could have an entry of its own: before admission, or because the
    /// ledger could not be written (I8). `peer` is its name in its certificate; `None` where it showed none.
    pub fn turned_away(&self, peer: Option<&str>, reason: Reason) {
        self.inner().tally.add(peer.unwrap_or_default(), reason, 1);
    }

    /// Appends a `tally` of everything since the last one; for the owner of the clock to call at the turn of the hour.
    ///
    /// The counts are kept beside the log as the entry's evidence, as lines of text: the range of
    /// entries counted, then `exchange` and `turned_away` lines, sorted.
    ///
    /// # Errors
    /// As [`Ledger::append`]; what was turned away is then counted in the next one.
    pub async fn tally(&self, now: Micros) -> Result<DurableReceipt, Error> {
        let (db, log) = (&self.inner().db, self.inner().log);
        let start = entry_last(db, log, Event::Tally).await?.map_or(0, |idx| idx + 1);
        let end = self.head().size;
        let turned_away = std::mem::take(&mut *self.inner().tally.lock());
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
            for ((peer, reason), n) in &turned_away {
                let peer = if peer.is_empty() { "-" } else { peer };
                text += &format!("turned_away {peer} {reason} {n}\n");
            }
            let draft = Draft::new(Entry::new(Event::Tally, now)).evidence(text.into_bytes());
            self.append(draft).await
        }
        .await;
        if appended.is_err() {
            for ((peer, reason), n) in turned_away {
                self.inner().tally.add(&peer, reason, n);
            }
        }
        appended
    }
}
