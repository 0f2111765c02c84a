use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use unefois_core::Boot;

/// Most callers remembered at once; beyond, those whose bucket is full again are forgotten.
const MAX_CALLERS: usize = 16_384;

/// A token bucket for each caller.
pub(crate) struct Limiter<K> {
    burst: i64,
    per_micro: i64,
    /// When each caller's bucket will be full again.
    full_at: Mutex<HashMap<K, i64>>,
}

impl<K: Eq + Hash> Limiter<K> {
    /// Lets `burst` requests through at once and `per_minute` in the long run.
    pub(crate) fn new(burst: u32, per_minute: u32) -> Self {
        let per_micro = 60_000_000 / i64::from(per_minute.max(1));
        Self {
            burst: i64::from(burst) * per_micro,
            per_micro,
            full_at: Mutex::default(),
        }
    }

    /// Whether `caller` may go on at `now`.
    pub(crate) fn admit(&self, caller: K, now: Boot) -> bool {
        let now = now.get();
        let mut callers = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if callers.len() >= MAX_CALLERS {
            callers.retain(|_, full_at| *full_at > now);
        }
        let full_at = callers.entry(caller).or_insert(now);
        let next = (*full_at).max(now) + self.per_micro;
        if next - now > self.burst {
            return false;
        }
        *full_at = next;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate_and_each_caller_alone() {
        let limiter = Limiter::new(3, 60);
        let at = |ms: i64| Boot::new(ms * 1_000);
        assert!((0..3).all(|_| limiter.admit("a", at(0))));
        assert!(!limiter.admit("a", at(0)));
        assert!(!limiter.admit("a", at(999)));
        assert!(limiter.admit("a", at(1_000)));
        assert!(!limiter.admit("a", at(1_000)));
        assert!(limiter.admit("b", at(1_000)));
    }
}
