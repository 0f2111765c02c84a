//! Personal data ends when the law says: what opens the commitments of a month is destroyed in the month after the last
//! one in which it may be kept, with what finds them by handle or person. The entries stay, and so does every proof.
//!
//! The `erased` entry is written first and says what was found; only then is anything destroyed, in steps that each are
//! one short transaction, until nothing is left. A crash between the two leaves an announced erasure, which the next run
//! goes on with and announces again, with what was left: nothing is ever destroyed without an entry, and what an entry
//! announces gets destroyed.

use std::collections::{BTreeMap, BTreeSet};

use unefois_core::{Entry, Event, LegalBasis, Micros, Month, Sha256};
use unefois_store::Db;
use unefois_store::entry::entry_at_or_after;
use unefois_store::erase::{
    Due, Erasable, Erased, due_count, due_erase, entry_proactive, erased_settle, log_sizes, proactive_erased,
    proactive_erased_set, rows_erase, rows_present, secrets_of,
};
use unefois_store::index::{Index, index_range};
use unefois_tlog::Hash;

use crate::draft::Draft;
use crate::{Error, Ledger};

/// Rows destroyed in one transaction: the sequencer waits for it on SQLite.
const STEP: u32 = 500;
/// Entries read at once; buckets of the indexes are a multiple of it.
const PAGE: u64 = 4_096;
/// How long after the end of a month a token of that month may still be answered under.
const TOKEN_LIVES_MS: i64 = 24 * 3_600_000;

/// Rows of each kind.
pub type Counts = BTreeMap<Erasable, u64>;

/// The job that destroys what is past its time; one a process, each minute, does what the month asks for.
#[derive(Debug)]
pub struct Retention {
    ledger: Ledger,
    done: Option<Month>,
}

impl Retention {
    /// The job for the database of `ledger`, in which it announces what it destroys.
    pub const fn new(ledger: Ledger) -> Self {
        Self { ledger, done: None }
    }

    /// Destroys everything that is past its time at `now`, in every log of the database; what was found. Nothing is
    /// looked for twice in a month, save after a start.
    ///
    /// The clock is believed: the caller asks only while a signed directory is in force, so that a clock that runs
    /// years ahead destroys nothing.
    ///
    /// # Errors
    /// As [`Ledger::append`], [`Error::Store`]; the next call goes on where this one stopped.
    pub async fn run(&mut self, now: Micros) -> Result<Counts, Error> {
        let month = now.month();
        if self.done == Some(month) {
            return Ok(Counts::new());
        }
        let mut found = self.all(month, now).await?;
        for (kind, n) in self.proactive(month, now).await? {
            *found.entry(kind).or_default() += n;
        }
        // After a crash there may be nothing left to erase, and still pages of it in SQLite's WAL.
        if erased_settle(&self.ledger.inner().db).await? {
            self.done = Some(month);
        }
        Ok(found)
    }

    /// What may be kept on no legal basis any more.
    async fn all(&self, month: Month, now: Micros) -> Result<Counts, Error> {
        let db = &self.ledger.inner().db;
        let due = due(db, &log_sizes(db).await?, last_kept(month, &LegalBasis::Request)).await?;
        let mut found = Counts::new();
        for kind in Erasable::ALL {
            let count = due_count(db, kind, &due).await?;
            if count > 0 {
                found.insert(kind, count);
            }
        }
        if found.is_empty() {
            return Ok(found);
        }
        self.announce(&format!("retention {}", due.month), &found, now)
            .await?;
        for kind in Erasable::ALL {
            loop {
                let mut tx = db.begin().await?;
                let rows = due_erase(&mut tx, kind, &due, STEP).await?;
                tx.commit().await?;
                if rows == 0 {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// What was kept on the basis of proactive information alone, which ends earlier. A handle has one legal basis, and
    /// the entries say which.
    async fn proactive(&self, month: Month, now: Micros) -> Result<Counts, Error> {
        let db = &self.ledger.inner().db;
        let logs = log_sizes(db).await?;
        let over = due(db, &logs, last_kept(month, &LegalBasis::Request)).await?;
        let due = due(db, &logs, last_kept(month, &LegalBasis::Proactive)).await?;
        // A token of the month's last hours has its entry in the next one: its secret goes with its own month.
        let late = due.month.plus(1).start().plus_ms(TOKEN_LIVES_MS);
        let mut windows = Vec::with_capacity(logs.len());
        let mut found = Counts::new();
        for (place, (log, _)) in logs.into_iter().enumerate() {
            let window = Window {
                log,
                start: proactive_erased(db, log).await?.max(over.logs[place].1),
                below: due.logs[place].1,
                end: entry_at_or_after(db, log, late).await?,
                month: due.month,
            };
            for range in window.pages() {
                for row in belongings(db, &window, range).await? {
                    if let Some(kind) = row.kind() {
                        *found.entry(kind).or_default() += 1;
                    }
                }
            }
            windows.push(window);
        }
        if !found.is_empty() {
            self.announce(&format!("proactive {}", due.month), &found, now)
                .await?;
        }
        for window in windows {
            // What was not announced waits for the next run.
            let ranges = window.pages().filter(|_| !found.is_empty());
            for range in ranges {
                for step in belongings(db, &window, range).await?.chunks(STEP as usize) {
                    let mut tx = db.begin().await?;
                    rows_erase(&mut tx, step).await?;
                    tx.commit().await?;
                }
            }
            let mut tx = db.begin().await?;
            proactive_erased_set(&mut tx, window.log, window.below).await?;
            tx.commit().await?;
        }
        Ok(found)
    }

    async fn announce(&self, what: &str, found: &Counts, now: Micros) -> Result<(), Error> {
        let draft = Draft::new(Entry::new(Event::Erased, now)).evidence(announcement(what, found, now));
        self.ledger.append(draft).await.map(drop)
    }
}

/// The evidence of an `erased` entry, as lines of text: why and when, then how many rows of each kind.
pub(crate) fn announcement(what: &str, found: &Counts, now: Micros) -> Vec<u8> {
    let mut text = format!("unefois/erased/v1 {what} {}\n", now.get());
    for (kind, n) in found {
        text += &format!("{} {n}\n", kind.as_str());
    }
    text.into_bytes()
}

/// The last month whose time is over in `month`, on this legal basis.
fn last_kept(month: Month, basis: &LegalBasis) -> Month {
    month.plus(-basis.kept_months() - 1)
}

/// Everything of `month` and before, in each of these logs.
async fn due(db: &Db, logs: &[(i32, u64)], month: Month) -> Result<Due, Error> {
    let mut due = Due {
        month,
        logs: Vec::with_capacity(logs.len()),
    };
    for (log, _) in logs {
        let below = entry_at_or_after(db, *log, month.plus(1).start()).await?;
        due.logs.push((*log, below));
    }
    Ok(due)
}

/// Where a log may still hold what proactive exchanges of `month` and before left.
struct Window {
    log: i32,
    start: u64,
    /// The first entry of a later month: from here on, only secrets of `month` and before are over.
    below: u64,
    end: u64,
    month: Month,
}

impl Window {
    /// The window in pieces that end where a page ends.
    fn pages(&self) -> impl Iterator<Item = (u64, u64)> + use<> {
        let (mut next, end) = (self.start, self.end);
        std::iter::from_fn(move || {
            let first = next;
            next = (first - first % PAGE + PAGE).min(end);
            (first < end).then_some((first, next))
        })
    }
}

/// What is kept about the proactive exchanges of a range of entries. Secrets come first: until they are destroyed the
/// index finds them, after a crash too.
async fn belongings(db: &Db, window: &Window, (start, end): (u64, u64)) -> Result<Vec<Erased>, Error> {
    let (log, below) = (window.log, window.below);
    let mut entries = BTreeMap::new();
    for (idx, bytes) in entry_proactive(db, log, (start, end)).await? {
        let entry = Entry::decode(&bytes).map_err(|_| Error::Corrupt("an entry does not decode"))?;
        if entry.legal_basis == Some(LegalBasis::Proactive) {
            entries.insert(idx, (entry.at.month(), Hash::of_leaf(&bytes)));
        }
    }
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    let mut rows = BTreeSet::new();
    for (mac, idx) in index_range(db, Index::Handle, log, (start, end)).await? {
        let Some((at, _)) = entries.get(&idx) else {
            continue;
        };
        rows.extend(secrets_of(db, &mac, (at.plus(-1), window.month.min(*at))).await?);
        rows.extend((idx < below).then_some(Erased::Handle(log, mac, idx)));
    }
    for (mac, idx) in index_range(db, Index::Person, log, (start, end.min(below))).await? {
        rows.extend(
            entries
                .contains_key(&idx)
                .then_some(Erased::Person(log, mac, idx)),
        );
    }
    for (idx, (_, leaf)) in entries.range(..below) {
        rows.insert(Erased::Evidence(log, *idx));
        rows.insert(Erased::Receipt(Sha256::from_bytes(*leaf.as_bytes())));
    }
    Ok(rows_present(db, rows).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_cover_the_range_and_no_bucket_twice() {
        let window = |start, end| Window {
            log: 1,
            start,
            below: end,
            end,
            month: Micros::new(0).month(),
        };
        assert_eq!(window(5, 5).pages().count(), 0);
        assert_eq!(window(7, 5).pages().count(), 0);
        let cut: Vec<_> = window(4_000, 9_000).pages().collect();
        assert_eq!(cut, [(4_000, 4_096), (4_096, 8_192), (8_192, 9_000)]);
    }

    #[test]
    fn a_month_is_over_37_months_later_and_13_for_proactive_information() {
        let month = |text: &str| format!("{text}-15T00:00:00Z").parse::<Micros>().unwrap().month();
        assert_eq!(
            last_kept(month("2029-12"), &LegalBasis::Request),
            month("2026-11")
        );
        assert_eq!(
            last_kept(month("2027-12"), &LegalBasis::Proactive),
            month("2026-11")
        );
    }
}
