//! How often each consumer may fetch each datatype: the directory's rates as token buckets.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use unefois_core::{Boot, DatatypeRev, ParticipantId};

const MINUTE_US: i64 = 60_000_000;

/// One bucket for each consumer and datatype that was let in; only rows of the directory get that far, so the map is
/// bounded by it.
#[derive(Debug, Default)]
pub(crate) struct Quotas(Mutex<HashMap<(ParticipantId, DatatypeRev), Bucket>>);

/// Holds the rate of one minute, full at first; `debt_us` is the time until it is full again.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    debt_us: i64,
    at: Boot,
}

impl Quotas {
    /// Takes one call of a rate of `per_minute`; how many are left, or how long until there is one (`None`: never).
    pub(crate) fn take(
        &self,
        consumer: ParticipantId,
        datatype: &DatatypeRev,
        per_minute: u32,
        now: Boot,
    ) -> Result<u32, Option<Duration>> {
        if per_minute == 0 {
            return Err(None);
        }
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets
            .entry((consumer, datatype.clone()))
            .or_insert(Bucket { debt_us: 0, at: now });
        let debt = bucket.debt(now);
        let each = MINUTE_US / i64::from(per_minute);
        let over = debt + each - MINUTE_US;
        if over > 0 {
            return Err(Some(Duration::from_micros(over.unsigned_abs())));
        }
        *bucket = Bucket {
            debt_us: debt + each,
            at: now,
        };
        Ok(left(debt + each, each))
    }

    /// How many calls are left, without taking one.
    pub(crate) fn left(
        &self,
        consumer: ParticipantId,
        datatype: &DatatypeRev,
        per_minute: u32,
        now: Boot,
    ) -> u32 {
        let buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match buckets.get(&(consumer, datatype.clone())) {
            Some(bucket) if per_minute > 0 => left(bucket.debt(now), MINUTE_US / i64::from(per_minute)),
            Some(_) | None => per_minute,
        }
    }
}

impl Bucket {
    fn debt(&self, now: Boot) -> i64 {
        (self.debt_us - now.micros_since(self.at).max(0)).max(0)
    }
}

fn left(debt_us: i64, each_us: i64) -> u32 {
    u32::try_from((MINUTE_US - debt_us) / each_us.max(1)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_empties_and_fills_again() {
        let quotas = Quotas::default();
        let consumer: ParticipantId = "urn:unefois:participant:21920023500014".parse().unwrap();
        let datatype: DatatypeRev = "cnaf/revenu@1".parse().unwrap();
        let start = Boot::new(0);
        assert_eq!(quotas.take(consumer, &datatype, 0, start), Err(None));
        for left in [2, 1, 0] {
            assert_eq!(quotas.take(consumer, &datatype, 3, start), Ok(left));
        }
        assert_eq!(
            quotas.take(consumer, &datatype, 3, start),
            Err(Some(Duration::from_secs(20)))
        );
        assert_eq!(
            quotas.take(consumer, &datatype, 3, start.plus_ms(19_999)),
            Err(Some(Duration::from_millis(1)))
        );
        assert_eq!(quotas.take(consumer, &datatype, 3, start.plus_ms(20_000)), Ok(0));
        assert_eq!(quotas.left(consumer, &datatype, 3, start.plus_ms(90_000)), 3);
    }
}
