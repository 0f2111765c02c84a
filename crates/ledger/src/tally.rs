//! The hourly `tally`: a salted commitment to how many exchanges of each kind were logged, and to what was turned
//! away before it could be.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use unefois_core::{Entry, Event, Micros, Outcome, Reason};
use unefois_store::entry::{entry_counts, entry_last};
use unefois_store::evidence::evidence_read;

use crate::draft::Draft;
use crate::log::MAX_EVIDENCE_BYTES;
use crate::receipt::DurableReceipt;
use crate::{Error, Ledger};

/// What a peer did that has no entry of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Unwritten {
    /// It was turned away.
    TurnedAway(Reason),
    /// It read the log: while that could not be written, or after an entry that stands for more than one reading.
    Read,
}

/// The most peers and reasons that are told apart between two tallies; what is over counts under no peer.
const MAX_KINDS: usize = 10_000;

type Counts = BTreeMap<(String, Unwritten), u64>;

/// What was turned away, or read, without an entry since the last tally. It dies with the process: what must survive is an entry.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<Counts>);

impl Tally {
    fn lock(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, peer: &str, what: Unwritten, n: u64) {
        let mut counts = self.lock();
        let known = counts.contains_key(&(peer.to_owned(), what)) || counts.len() < MAX_KINDS;
        let peer = if known { peer } else { "" };
        *counts.entry((peer.to_owned(), what)).or_default() += n;
    }

    /// Takes the counts whose lines fit in `most` bytes, and their lines; whether those are all.
    fn take(&self, most: usize) -> (Counts, String, bool) {
        let mut counts = self.lock();
        let (mut taken, mut lines) = (Counts::new(), String::new());
        while let Some(entry) = counts.first_entry() {
            let line = line(entry.key(), *entry.get());
            if lines.len() + line.len() > most {
                return (taken, lines, false);
            }
            lines += &line;
            taken.extend([entry.remove_entry()]);
        }
        (taken, lines, true)
    }
}

fn line((peer, what): &(String, Unwritten), n: u64) -> String {
    let peer = if peer.is_empty() { "-" } else { peer };
    match what {
        Unwritten::TurnedAway(reason) => format!("turned_away {peer} {reason} {n}\n"),
        Unwritten::Read => format!("read {peer} {n}\n"),
    }
}

/// Up to where a tally with this evidence counted.
fn end_of(evidence: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(evidence).ok()?;
    text.split(' ').nth(2)?.parse().ok()
}

impl Ledger {
    /// Counts a call that was turned away before it could have an entry of its own: before admission, or because the
    /// ledger could not be written (I8). `peer` is its name in its certificate; `None` where it showed none.
    pub fn turned_away(&self, peer: Option<&str>, reason: Reason) {
        let what = Unwritten::TurnedAway(reason);
        self.inner().tally.add(peer.unwrap_or_default(), what, 1);
    }

    /// Counts a query that was answered without an entry of its own; `peer` is the reader's name.
    pub(crate) fn read_unrecorded(&self, peer: &str) {
        self.inner().tally.add(peer, Unwritten::Read, 1);
    }

    /// Appends a `tally` of everything since the last one; for the owner of the clock to call at the turn of the hour.
    ///
    /// The counts are kept beside the log as the entry's evidence, as lines of text: the range of
    /// entries counted, then `exchange` lines, and those of each peer, sorted: `turned_away`, and `read` for queries without
    /// an entry of their own. Where the lines are more than one entry takes, several follow each other, each with the next
    /// part of the range; the last one is returned.
    ///
    /// # Errors
    /// As [`Ledger::append`]; what was turned away is then counted in the next one.
    pub async fn tally(&self, now: Micros) -> Result<DurableReceipt, Error> {
        let size = self.head().size;
        let mut start = self.tallied().await?;
        loop {
            let (unwritten, lines, all) = self.inner().tally.take(MAX_EVIDENCE_BYTES / 2);
            match self.tally_part(start, size, &lines, now).await {
                Ok((end, receipt)) if all && end == size => return Ok(receipt),
                Ok((end, _)) => start = end,
                Err(error) => {
                    for ((peer, what), n) in unwritten {
                        self.inner().tally.add(&peer, what, n);
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Up to where the last tally counted. One whose evidence is erased counted what was before it.
    async fn tallied(&self) -> Result<u64, Error> {
        let (db, log) = (&self.inner().db, self.inner().log);
        let Some(last) = entry_last(db, log, Event::Tally).await? else {
            return Ok(0);
        };
        let evidence = evidence_read(db, log, last).await?;
        let end = evidence.and_then(|evidence| end_of(&evidence.body));
        Ok(end.filter(|end| *end <= last).unwrap_or(last + 1))
    }

    /// Appends a tally of the entries from `start` on, at most up to `end`, with `lines`; up to where it counts.
    async fn tally_part(
        &self,
        start: u64,
        mut end: u64,
        lines: &str,
        now: Micros,
    ) -> Result<(u64, DurableReceipt), Error> {
        let (db, log) = (&self.inner().db, self.inner().log);
        loop {
            let mut text = format!("unefois/tally/v1 {start} {end} {}\n", now.get());
            for count in entry_counts(db, log, start, end).await? {
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
            text += lines;
            if text.len() > MAX_EVIDENCE_BYTES && end - start > 1 {
                end = start + (end - start) / 2;
                continue;
            }
            let draft = Draft::new(Entry::new(Event::Tally, now)).evidence(text.into_bytes());
            return Ok((end, self.append(draft).await?));
        }
    }
}
