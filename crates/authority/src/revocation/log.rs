use std::collections::{BTreeSet, VecDeque};

use unefois_core::revocation::{Extent, Head, MAX_RECORDS, Record, SignedRecords, Withdrawal};
use unefois_core::{Boot, Micros};

/// How long a record is kept for readers: longer than any token lives (300 s) and any document may be resumed (1 h),
/// and so than anything that it could still kill. The database keeps all.
pub(super) const KEPT_MS: i64 = 2 * 3_600_000;
/// The records that a start keeps however old they look: its wall clock may be wrong, and be set right while tokens live that
/// they kill.
const KEPT_AT_START: usize = 10_000;

/// The records that readers need, and the head that they lead to.
#[derive(Debug)]
pub(super) struct Log {
    /// The head before the oldest record kept.
    from: Head,
    /// Each with the moment at which this process took it up.
    records: VecDeque<(Record, Boot)>,
    /// The signing keys that any record ever taken up is of: it is asked at each mint.
    keys: BTreeSet<String>,
    head: Head,
}

impl Log {
    /// The log before any record that follows `from`.
    pub(super) const fn after(from: Head) -> Self {
        Self {
            from,
            records: VecDeque::new(),
            keys: BTreeSet::new(),
            head: from,
        }
    }

    pub(super) const fn head(&self) -> Head {
        self.head
    }

    /// Takes records up, unless they do not lead from the present head to `head`.
    #[must_use]
    pub(super) fn extend(&mut self, records: &[Record], head: Head, now: Boot) -> bool {
        let reached = records.iter().fold(self.head, |head, record| head.after(record));
        let numbered = (self.head.seq + 1..)
            .zip(records)
            .all(|(seq, record)| record.place.seq == seq);
        if !numbered || (reached.seq, reached.chain) != (head.seq, head.chain) {
            return false;
        }
        self.records
            .extend(records.iter().map(|record| (record.clone(), now)));
        self.keys
            .extend(records.iter().filter_map(|record| match &record.withdrawal {
                Withdrawal::SigningKey(kid) => Some(kid.clone()),
                Withdrawal::Grant(_)
                | Withdrawal::Client(_)
                | Withdrawal::ClientCert(_)
                | Withdrawal::AllBefore => None,
            }));
        self.head = head;
        true
    }

    /// Drops what was taken up more than [`KEPT_MS`] before `now`, up to the first record that may still kill: that of a
    /// signing key which the directory `lists`, or did within that time.
    pub(super) fn prune(&mut self, now: Boot, lists: impl Fn(&str) -> bool) {
        let before = now.plus_ms(-KEPT_MS);
        self.drop_while(|(record, taken)| *taken < before && !holds(record, &lists));
        if let Some((oldest, taken)) = self.records.front_mut()
            && *taken < before
            && holds(oldest, &lists)
        {
            *taken = now;
        }
    }

    /// As [`Self::prune`] at a start, by what the records tell of their age.
    pub(super) fn prune_read(&mut self, now: Micros, lists: impl Fn(&str) -> bool) {
        let before = now.plus_ms(-KEPT_MS);
        let mut spare = self.records.len().saturating_sub(KEPT_AT_START);
        self.drop_while(|(record, _)| {
            let dropped = spare > 0 && record.at < before && !holds(record, &lists);
            spare = spare.saturating_sub(1);
            dropped
        });
    }

    fn drop_while(&mut self, mut dropped: impl FnMut(&(Record, Boot)) -> bool) {
        while let Some((oldest, _)) = self.records.pop_front_if(|kept| dropped(kept)) {
            self.from = self.from.after(&oldest);
        }
    }

    /// Whether a record of this signing key was taken up.
    pub(super) fn is_key_withdrawn(&self, kid: &str) -> bool {
        self.keys.contains(kid)
    }

    /// Whether this log was once at `head`, as far as it is kept.
    pub(super) fn passes(&self, head: &Head) -> bool {
        let mut at = self.from;
        let mut records = self.records.iter();
        while at.seq < head.seq {
            let Some((record, _)) = records.next() else {
                return false;
            };
            at = at.after(record);
        }
        (at.seq, at.chain) == (head.seq, head.chain)
    }

    /// Whether these are the last records.
    pub(super) fn ends_with(&self, records: &[Record]) -> bool {
        let skipped = self.records.len().checked_sub(records.len());
        skipped.is_some_and(|n| self.records.range(n..).map(|(record, _)| record).eq(records))
    }

    /// Everything that is kept.
    pub(super) fn snapshot(&self) -> SignedRecords {
        SignedRecords {
            extent: Extent::Snapshot,
            from: self.from,
            head: self.head,
            records: self.records.iter().map(|(record, _)| record.clone()).collect(),
        }
    }

    /// The records after `from`; `None` if they are not all kept, or more than one message may carry.
    pub(super) fn batch(&self, from: Head) -> Option<SignedRecords> {
        if from.seq < self.from.seq {
            return None;
        }
        let known = self
            .records
            .partition_point(|(record, _)| record.place.seq <= from.seq);
        let records = self.records.range(known..);
        let records: Vec<Record> = records.map(|(record, _)| record.clone()).collect();
        (records.len() <= MAX_RECORDS).then_some(SignedRecords {
            extent: Extent::Batch,
            from,
            head: self.head,
            records,
        })
    }
}

/// Whether a record may kill tokens however old it is.
fn holds(record: &Record, lists: impl Fn(&str) -> bool) -> bool {
    matches!(&record.withdrawal, Withdrawal::SigningKey(kid) if lists(kid))
}

#[cfg(test)]
mod tests {
    use unefois_core::revocation::{RecordPlace, Withdrawals};
    use unefois_core::{Handle, RevocationView};

    use super::*;

    const NOW: Micros = Micros::new(1_795_512_305_000_000);
    const OPEN: Boot = Boot::new(7);

    fn record(seq: u64, age_ms: i64) -> Record {
        Record {
            place: RecordPlace { epoch: 1, seq },
            withdrawal: Withdrawal::Grant(Handle::from_bytes([u8::try_from(seq).unwrap(); 16])),
            at: NOW.plus_ms(-age_ms),
        }
    }

    fn log(ages_ms: &[i64]) -> Log {
        let mut log = Log::after(Head::empty());
        for (seq, age) in (1..).zip(ages_ms) {
            let record = record(seq, *age);
            let head = log.head.after(&record);
            assert!(log.extend(&[record], head, OPEN));
        }
        log
    }

    fn numbers(log: &Log) -> Vec<u64> {
        log.snapshot()
            .records
            .iter()
            .map(|record| record.place.seq)
            .collect()
    }

    #[test]
    fn a_hole_and_another_chain_are_not_taken_up() {
        let mut log = log(&[9]);
        let before = log.head;
        let next = record(2, 8);
        let head = before.after(&next);
        assert!(!log.extend(&[], head, OPEN));
        let skips = record(3, 7);
        assert!(!log.extend(std::slice::from_ref(&skips), before.after(&skips), OPEN));
        assert!(!log.extend(&[record(2, 7)], head, OPEN), "another record");
        assert_eq!(log.head(), before);
        assert!(log.extend(std::slice::from_ref(&next), head, OPEN));
        assert!(log.ends_with(&[next]) && log.ends_with(&[]) && !log.ends_with(&[record(1, 9)]));
    }

    #[test]
    fn what_is_too_old_to_matter_is_left_out_and_the_rest_still_reads() {
        let mut log = log(&[4, 3]);
        for age in [2, 1] {
            let record = record(log.head.seq + 1, age);
            let head = log.head.after(&record);
            assert!(log.extend(&[record], head, OPEN.plus_ms(1)));
        }
        let behind = log.batch(Head::empty()).unwrap();
        assert_eq!(behind.records.len(), 4);
        log.prune(OPEN.plus_ms(KEPT_MS + 1), |_| false);
        assert_eq!(
            log.batch(Head::empty()),
            None,
            "such a reader starts from a snapshot"
        );

        let snapshot = log.snapshot();
        assert_eq!((snapshot.from.seq, snapshot.records.len()), (2, 2));
        // A reader that knows nothing, one that lacks what was left out, and one that knows all.
        let mut known = Withdrawals::default();
        known.apply(&behind_at(&behind, 1)).unwrap();
        let mut all = Withdrawals::default();
        all.apply(&behind).unwrap();
        for mut view in [Withdrawals::default(), known, all] {
            view.apply(&snapshot).unwrap();
            assert_eq!(view.head(), log.head());
            let withdrew = |n| view.withdrew(&Handle::from_bytes([n; 16]), RevocationView::NONE);
            assert!(withdrew(3) && withdrew(4));
        }
        let rest = log.batch(snapshot.from).unwrap();
        assert_eq!(rest.records, snapshot.records);
    }

    #[test]
    fn a_log_knows_where_it_was() {
        let log = log(&[9, 8]);
        let first = Head::empty().after(&record(1, 9));
        assert!(log.passes(&Head::empty()) && log.passes(&first) && log.passes(&log.head));
        let other = Head::empty().after(&record(1, 8));
        let later = log.head.after(&record(3, 7));
        assert!(!log.passes(&other) && !log.passes(&later));
    }

    #[test]
    fn i3_a_wall_clock_that_jumps_ahead_drops_nothing_that_may_still_kill() {
        let mut log = log(&[60_000, 30_000]);
        // A start whose clock is a day ahead.
        log.prune_read(NOW.plus_ms(86_400_000), |_| false);
        assert_eq!(numbers(&log), [1, 2]);
        log.prune(OPEN.plus_ms(KEPT_MS), |_| false);
        assert_eq!(numbers(&log), [1, 2]);
    }

    #[test]
    fn a_start_leaves_out_what_is_old_beyond_those_that_it_always_keeps() {
        let mut all = Log::after(Head::empty());
        let kept = u64::try_from(KEPT_AT_START).unwrap();
        for seq in 1..=kept + 3 {
            let record = Record {
                at: NOW.plus_ms(if seq <= 2 { -KEPT_MS - 1 } else { -KEPT_MS }),
                withdrawal: Withdrawal::AllBefore,
                ..record(1, 0)
            };
            let record = Record {
                place: RecordPlace { epoch: 1, seq },
                ..record
            };
            let head = all.head.after(&record);
            assert!(all.extend(&[record], head, OPEN));
        }
        all.prune_read(NOW, |_| false);
        assert_eq!(numbers(&all).first(), Some(&3), "the third is young enough");
        all.prune_read(NOW.plus_ms(1), |_| false);
        assert_eq!(numbers(&all).len(), KEPT_AT_START);
    }

    #[test]
    fn i3_the_record_of_a_signing_key_stays_until_no_directory_lists_the_key() {
        let mut log = log(&[9]);
        for (seq, kid) in [(2, "stolen"), (3, "other")] {
            let record = Record {
                withdrawal: Withdrawal::SigningKey(kid.to_owned()),
                ..record(seq, 8)
            };
            let head = log.head.after(&record);
            assert!(log.extend(&[record], head, OPEN));
        }
        let late = OPEN.plus_ms(100 * KEPT_MS);
        log.prune(late, |kid| kid == "stolen");
        assert_eq!(numbers(&log), [2, 3]);
        log.prune(late.plus_ms(KEPT_MS), |_| false);
        assert_eq!(numbers(&log), [2, 3], "a reader may have the directory of before");
        log.prune(late.plus_ms(KEPT_MS + 1), |_| false);
        assert!(numbers(&log).is_empty());
    }

    /// The first records of a batch from the beginning.
    fn behind_at(batch: &SignedRecords, n: usize) -> SignedRecords {
        let records = batch.records[..n].to_vec();
        SignedRecords {
            head: records.iter().fold(batch.from, |head, record| head.after(record)),
            records,
            ..batch.clone()
        }
    }
}
