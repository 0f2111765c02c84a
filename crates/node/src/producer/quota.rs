//! How often something may happen in a minute: the directory's rates as token buckets.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use unefois_core::{Boot, DatatypeRev, ParticipantId};

const MINUTE_US: i64 = 60_000_000;

/// How often each consumer may fetch each datatype.
pub(crate) type Quotas = Buckets<(ParticipantId, DatatypeRev)>;

/// A bucket for each key that was let in; keys are rows of the directory, which so bounds the map.
#[derive(Debug)]
pub(crate) struct Buckets<K>(Mutex<HashMap<K, Bucket>>);

impl<K> Default for Buckets<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// Holds the rate of one minute, full at first; `debt_us` is the time until it is full again.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    debt_us: i64,
    at: Boot,
}

impl<K: Eq + Hash> Buckets<K> {
    /// Takes one of a rate of `per_minute`; how many are left, or how long until there is one (`None`: never).
    pub(crate) fn take(&self, key: K, per_minute: u32, now: Boot) -> Result<u32, Option<Duration>> {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.entry(key).or_insert(Bucket { debt_us: 0, at: now });
        let debt_us = bucket.with_one_more(per_minute, now)?;
        *bucket = Bucket { debt_us, at: now };
        Ok(left(debt_us, per_minute))
    }

    /// How many are left, without taking one, or how long until there is one (`None`: never).
    pub(crate) fn left(&self, key: &K, per_minute: u32, now: Boot) -> Result<u32, Option<Duration>> {
        let buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.get(key).copied();
        let bucket = bucket.unwrap_or(Bucket { debt_us: 0, at: now });
        bucket.with_one_more(per_minute, now)?;
        Ok(left(bucket.debt(now), per_minute))
    }
}

impl Bucket {
    fn debt(&self, now: Boot) -> i64 {
        (self.debt_us - now.micros_since(self.at).max(0)).max(0)
    }

    /// The debt once one more is taken, or how long until that is possible.
    fn with_one_more(&self, per_minute: u32, now: Boot) -> Result<i64, Option<Duration>> {
        if per_minute == 0 {
            return Err(None);
        }
        let debt = self.debt(now) + MINUTE_US / i64::from(per_minute);
        match debt - MINUTE_US {
            over if over > 0 => Err(Some(Duration::from_micros(over.unsigned_abs()))),
            _ => Ok(debt),
        }
    }
}

fn left(debt_us: i64, per_minute: u32) -> u32 {
    let each_us = (MINUTE_US / i64::from(per_minute.max(1))).max(1);
    u32::try_from((MINUTE_US - debt_us) / each_us).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_empties_and_fills_again() {
        let quotas = Quotas::default();
        let consumer: ParticipantId = "urn:unefois:participant:21920023500014".parse().unwrap();
        let datatype: DatatypeRev = "cnaf/revenu@1".parse().unwrap();
        let key = (consumer, datatype);
        let start = Boot::new(0);
        assert_eq!(quotas.take(key.clone(), 0, start), Err(None));
        for left in [2, 1, 0] {
            assert_eq!(quotas.take(key.clone(), 3, start), Ok(left));
        }
        assert_eq!(
            quotas.take(key.clone(), 3, start),
            Err(Some(Duration::from_secs(20)))
        );
        assert_eq!(
            quotas.take(key.clone(), 3, start.plus_ms(19_999)),
            Err(Some(Duration::from_millis(1)))
        );
        assert_eq!(quotas.take(key.clone(), 3, start.plus_ms(20_000)), Ok(0));
        assert_eq!(quotas.left(&key, 3, start.plus_ms(90_000)), Ok(3));
        assert_eq!(
            quotas.left(&key, 3, start.plus_ms(20_000)),
            Err(Some(Duration::from_secs(20)))
        );
    }
}
