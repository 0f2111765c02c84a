use std::collections::VecDeque;

use unefois_core::Micros;
use unefois_core::revocation::{Extent, Head, MAX_RECORDS, Record, SignedRecords};

/// How long a record is kept for readers: longer than any token lives (300 s) and any document may be resumed (1 h),
/// and so than anything that it could still kill. The database keeps all.
pub(super) const KEPT_MS: i64 = 2 * 3_600_000;

/// The records that readers need, and the head that they lead to.
#[derive(Debug)]
pub(super) struct Log {
    /// The head before the oldest record kept.
    from: Head,
    records: VecDeque<Record>,
    head: Head,
}

impl Log {
    /// The log before any record.
    pub(super) fn empty() -> Self {
        Self {
            from: Head::empty(),
            records: VecDeque::new(),
            head: Head::empty(),
        }
    }

    pub(super) const fn head(&self) -> Head {
        self.head
    }

    /// Takes records up, unless they do not lead from the present head to `head`.
    #[must_use]
    pub(super) fn extend(&mut self, records: &[Record], head: Head) -> bool {
        let reached = records.iter().fold(self.head, |head, record| head.after(record));
        let numbered = (self.head.seq + 1..)
            .zip(records)
            .all(|(seq, record)| record.place.seq == seq);
        if !numbered || (reached.seq, reached.chain) != (head.seq, head.chain) {
            return false;
        }
        self.records.extend(records.iter().cloned());
        self.head = head;
        true
    }

    /// Drops what was written more than [`KEPT_MS`] before `now`.
    pub(super) fn prune(&mut self, now: Micros) {
        let before = now.plus_ms(-KEPT_MS);
        while let Some(oldest) = self.records.pop_front_if(|record| record.at < before) {
            self.from = self.from.after(&oldest);
        }
    }

    /// Whether these are the last records.
    pub(super) fn ends_with(&self, records: &[Record]) -> bool {
        let skipped = self.records.len().checked_sub(records.len());
        skipped.is_some_and(|n| self.records.range(n..).eq(records))
    }

    /// Everything that is kept.
    pub(super) fn snapshot(&self) -> SignedRecords {
        SignedRecords {
            extent: Extent::Snapshot,
            from: self.from,
            head: self.head,
            records: self.records.iter().cloned().collect(),
        }
    }

    /// The records after `from`; `None` if they are not all kept, or more than one message may carry.
    pub(super) fn batch(&self, from: Head) -> Option<SignedRecords> {
        if from.seq < self.from.seq {
            return None;
        }
        let known = self
            .records
            .partition_point(|record| record.place.seq <= from.seq);
        let records: Vec<Record> = self.records.range(known..).cloned().collect();
        (records.len() <= MAX_RECORDS).then_some(SignedRecords {
            extent: Extent::Batch,
            from,
            head: self.head,
            records,
        })
    }
}

#[cfg(test)]
mod tests {
    use unefois_core::revocation::{RecordPlace, Withdrawal, Withdrawals};
    use unefois_core::{Handle, RevocationView};

    use super::*;

    const NOW: Micros = Micros::new(1_795_512_305_000_000);

    fn record(seq: u64, age_ms: i64) -> Record {
        Record {
            place: RecordPlace { epoch: 1, seq },
            withdrawal: Withdrawal::Grant(Handle::from_bytes([u8::try_from(seq).unwrap(); 16])),
            at: NOW.plus_ms(-age_ms),
        }
    }

    fn log(ages_ms: &[i64]) -> Log {
        let mut log = Log::empty();
        for (seq, age) in (1..).zip(ages_ms) {
            let record = record(seq, *age);
            let head = log.head.after(&record);
            assert!(log.extend(&[record], head));
        }
        log
    }

    #[test]
    fn a_hole_and_another_chain_are_not_taken_up() {
        let mut log = log(&[9]);
        let before = log.head;
        let next = record(2, 8);
        let head = before.after(&next);
        assert!(!log.extend(&[], head));
        let skips = record(3, 7);
        assert!(!log.extend(std::slice::from_ref(&skips), before.after(&skips)));
        assert!(!log.extend(&[record(2, 7)], head), "another record");
        assert_eq!(log.head(), before);
        assert!(log.extend(std::slice::from_ref(&next), head));
        assert!(log.ends_with(&[next]) && log.ends_with(&[]) && !log.ends_with(&[record(1, 9)]));
    }

    #[test]
    fn what_is_too_old_to_matter_is_left_out_and_the_rest_still_reads() {
        let mut log = log(&[KEPT_MS + 2, KEPT_MS + 1, KEPT_MS, 5]);
        let behind = log.batch(Head::empty()).unwrap();
        assert_eq!(behind.records.len(), 4);
        log.prune(NOW);
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
