//! Erasure before its time, on a decision: the entry that gives its reference and what it destroys are one transaction.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use unefois_core::{Entry, Event, Handle, Micros, Month, Sha256};
use unefois_store::entry::{entry_range, owner};
use unefois_store::erase::{Erased, claims_of, erased_settle, index_places, rows_present, secrets_of};
use unefois_store::head::{head_read, origins};
use unefois_store::index::{Index, StoredMac, index_range};
use unefois_tlog::Hash;

use crate::draft::{Draft, person_keys};
use crate::retention::{Counts, announcement};
use crate::{Error, Ledger};

/// The most rows that one decision destroys: they are one transaction, in front of the sequencer.
const MAX_ROWS: usize = 5_000;

/// A younger claim may still be what keeps a token from a second use (refresh tokens live 75 min); it ends with its day.
const CLAIM_NEEDED_MS: i64 = 2 * 3_600_000;

/// The reference of the decision that orders an erasure: 1 to 64 of `A-Z a-z 0-9 . _ : / -`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionRef(String);

/// The text is no reference of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a decision's reference is 1 to 64 of A-Z a-z 0-9 . _ : / -")]
pub struct InvalidDecisionRef;

impl FromStr for DecisionRef {
    type Err = InvalidDecisionRef;

    fn from_str(text: &str) -> Result<Self, InvalidDecisionRef> {
        let known = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b':' | b'/' | b'-');
        match (1..=64).contains(&text.len()) && text.bytes().all(known) {
            true => Ok(Self(text.to_owned())),
            false => Err(InvalidDecisionRef),
        }
    }
}

impl fmt::Display for DecisionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whose exchanges a decision is about.
#[derive(Clone)]
pub enum Erasing {
    /// Those under a handle.
    Handle(Handle),
    /// Those about a person, as in [`About`](crate::About): every handle under which there was one, whole.
    Person(Vec<u8>),
}

impl fmt::Debug for Erasing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Erasing(…)")
    }
}

/// What a decision destroyed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// How many rows of each kind; empty where nothing was kept, and then nothing is logged.
    pub rows: Counts,
    /// The place of the `erased` entry.
    pub entry: Option<u64>,
    /// Whether no copy is left in SQLite's WAL; `false` while somebody reads.
    pub settled: bool,
}

impl Ledger {
    /// Destroys what opens and what finds the entries about `whom`, in every log of this one's participant that lies in the
    /// database, with the claims and the count of uses of their handles, and logs it with the decision's reference. What is
    /// kept once for all logs, secrets, claims and counts, stays where a log of another participant is about the same
    /// handle. A claim of the last two hours, without which a token might serve twice, is destroyed with its day instead
    /// ([`Ledger::purge`]). What is logged under the handle afterwards is kept again: withdraw the grant first.
    ///
    /// # Errors
    /// [`Error::TooMuch`] beyond 5,000 rows; as [`Ledger::append`]. Then nothing is changed, save after
    /// [`Error::Unavailable`], when it may be done or not.
    pub async fn erase(&self, whom: &Erasing, decision: &DecisionRef) -> Result<Erasure, Error> {
        let db = &self.inner().db;
        let rows = self.rows_about(whom).await?;
        if rows.len() > MAX_ROWS {
            return Err(Error::TooMuch);
        }
        let mut counts = Counts::new();
        for row in &rows {
            if let Some(kind) = row.kind() {
                *counts.entry(kind).or_default() += 1;
            }
        }
        let mut entry = None;
        if !rows.is_empty() {
            let now = self.inner().clock.now();
            let evidence = announcement(&format!("decision {decision}"), &counts, now);
            let draft = Draft::new(Entry::new(Event::Erased, now)).evidence(evidence);
            entry = Some(self.append(draft.erasing(rows)).await?.index());
        }
        Ok(Erasure {
            rows: counts,
            entry,
            settled: erased_settle(db).await?,
        })
    }

    /// The number and the size of each log of the database: those of this one's participant, and those of others.
    async fn logs_by_owner(&self) -> Result<(Vec<(i32, u64)>, Vec<(i32, u64)>), Error> {
        let db = &self.inner().db;
        let own = owner(self.origin().as_str());
        let (mut theirs, mut others) = (Vec::new(), Vec::new());
        for origin in origins(db).await? {
            if let Some(head) = head_read(db, &origin).await? {
                let logs = if owner(&origin) == own {
                    &mut theirs
                } else {
                    &mut others
                };
                logs.push((head.log, head.size));
            }
        }
        Ok((theirs, others))
    }

    /// Everything that this one's participant keeps about somebody.
    async fn rows_about(&self, whom: &Erasing) -> Result<Vec<Erased>, Error> {
        let db = &self.inner().db;
        let (node_key, (sizes, others)) = (self.node_key(), self.logs_by_owner().await?);
        let mut rows = BTreeSet::new();
        let mut handles: BTreeSet<StoredMac> = BTreeSet::new();
        match whom {
            Erasing::Handle(handle) => {
                handles.insert(stored(&node_key.handle_key(handle)));
            }
            Erasing::Person(person) => {
                let keys = person_keys(node_key, person).map(|key| stored(&key));
                let each = keys
                    .iter()
                    .flat_map(|key| sizes.iter().map(move |(log, size)| (*key, log, size)));
                for (person, log, size) in each {
                    for idx in index_places(db, Index::Person, *log, &person, *size).await? {
                        rows.insert(Erased::Person(*log, person, idx));
                        let about = index_range(db, Index::Handle, *log, (idx, idx + 1)).await?;
                        handles.extend(about.into_iter().map(|(handle, _)| handle));
                    }
                }
            }
        }
        let mut shared: BTreeSet<StoredMac> = BTreeSet::new();
        for handle in &handles {
            for (log, size) in &others {
                if !index_places(db, Index::Handle, *log, handle, *size)
                    .await?
                    .is_empty()
                {
                    shared.insert(*handle);
                }
            }
        }
        // Which handle a person's exchanges were under is only known by its MAC.
        let named = |handle: &Handle| {
            let handle = stored(&node_key.handle_key(handle));
            handles.contains(&handle) && !shared.contains(&handle)
        };
        let before = self.inner().clock.now().plus_ms(-CLAIM_NEEDED_MS);
        rows.extend(claims_of(db, named, before).await?);
        for handle in handles {
            let all = (
                Micros::new(i64::MIN).month(),
                Month {
                    year: 9_999,
                    month: 12,
                },
            );
            if !shared.contains(&handle) {
                rows.extend(secrets_of(db, &handle, all).await?);
            }
            for (log, size) in &sizes {
                for idx in index_places(db, Index::Handle, *log, &handle, *size).await? {
                    rows.insert(Erased::Handle(*log, handle, idx));
                    let persons = index_range(db, Index::Person, *log, (idx, idx + 1)).await?;
                    rows.extend(
                        persons
                            .into_iter()
                            .map(|(person, idx)| Erased::Person(*log, person, idx)),
                    );
                    rows.insert(Erased::Evidence(*log, idx));
                    let entries = entry_range(db, *log, idx, idx + 1).await?;
                    rows.extend(entries.iter().map(|(_, bytes)| {
                        Erased::Receipt(Sha256::from_bytes(*Hash::of_leaf(bytes).as_bytes()))
                    }));
                }
                if rows.len() > 2 * MAX_ROWS {
                    return Err(Error::TooMuch);
                }
            }
        }
        Ok(rows_present(db, rows).await?)
    }
}

fn stored(mac: &[u8; 32]) -> StoredMac {
    let (stored, _) = mac.split_at(size_of::<StoredMac>());
    stored.try_into().expect("the array is as long as what was cut")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_bounded_and_of_one_line() {
        for text in ["", " ", "a b", "a\nb", "é", &"a".repeat(65)] {
            assert_eq!(text.parse::<DecisionRef>(), Err(InvalidDecisionRef), "{text:?}");
        }
        for text in ["CNIL/2026-0412", "TA-Paris:26.1234_5"] {
            assert_eq!(text.parse::<DecisionRef>().unwrap().to_string(), text);
        }
    }
}
