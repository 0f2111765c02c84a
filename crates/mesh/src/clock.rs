use rustix::time::{ClockId, Timespec, clock_gettime};
use unefois_core::{Boot, Clock, Micros};

/// The clocks of the machine: CLOCK_REALTIME and CLOCK_BOOTTIME.
///
/// Neither reading can fail: the kernel has had both since 2.6.39.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Micros {
        Micros::new(micros(clock_gettime(ClockId::Realtime)))
    }

    fn boottime(&self) -> Boot {
        Boot::new(micros(clock_gettime(ClockId::Boottime)))
    }
}

fn micros(t: Timespec) -> i64 {
    t.tv_sec
        .saturating_mul(1_000_000)
        .saturating_add(t.tv_nsec / 1_000)
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
