use std::time::SystemTime;

use rustix::time::{ClockId, clock_gettime};
use unefois_core::{Boot, Clock, Micros};

/// The clocks of the machine: CLOCK_REALTIME and CLOCK_BOOTTIME.
///
/// Neither reading can fail: the kernel has had both since 2.6.39.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    /// Read through libc, as everything else in the process reads it: a run of faults sets this clock wrong from outside,
    /// and that one not.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock that is an argument elsewhere"
    )]
    fn now(&self) -> Micros {
        let (since, sign) = match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => (since, 1),
            Err(before) => (before.duration(), -1),
        };
        Micros::new(sign * i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    fn boottime(&self) -> Boot {
        let t = clock_gettime(ClockId::Boottime);
        let micros = t.tv_sec.saturating_mul(1_000_000);
        Boot::new(micros.saturating_add(t.tv_nsec / 1_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boottime_never_goes_back_and_now_is_after_this_was_written() {
        let first = SystemClock.boottime();
        assert!(SystemClock.boottime() >= first);
        assert!(SystemClock.now() > Micros::from_secs(1_700_000_000));
    }
}
