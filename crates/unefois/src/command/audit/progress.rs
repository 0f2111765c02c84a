//! How far a long reading is, told now and then.

use unefois_core::{Boot, Clock as _};
use unefois_mesh::SystemClock;

use crate::console::Console;

/// How often it is told at a terminal and elsewhere, in seconds.
const EVERY_S: (i64, i64) = (1, 30);

/// Tells how many entries were read of how many, how fast, and how long it takes still.
#[derive(Debug)]
pub struct Progress {
    console: Console,
    began: Boot,
    told: Boot,
    /// How many entries had been read when the reading of this log began.
    size: u64,
}

impl Progress {
    /// A reading that begins now.
    pub fn new(console: Console) -> Self {
        let now = SystemClock.boottime();
        Self {
            console,
            began: now,
            told: now,
            size: 0,
        }
    }

    /// `read` entries of `size` are read. A log of another size is another reading.
    pub fn at(&mut self, read: u64, size: u64) {
        let now = SystemClock.boottime();
        if size != self.size {
            (self.size, self.began, self.told) = (size, now, now);
        }
        let every = if self.console.interactive() {
            EVERY_S.0
        } else {
            EVERY_S.1
        };
        if read < size && now.micros_since(self.told) >= every * 1_000_000 {
            self.told = now;
            self.console.say(&line(read, size, now.micros_since(self.began)));
        }
    }
}

fn line(read: u64, size: u64, micros: i64) -> String {
    let micros = u128::from(micros.unsigned_abs().max(1));
    let rate = (u128::from(read) * 1_000_000 / micros).max(1);
    let left = u128::from(size.saturating_sub(read)) / rate;
    format!(
        "{read} / {size} entrées ({} %), {rate} par seconde, reste {}",
        u128::from(read) * 100 / u128::from(size.max(1)),
        duration(left)
    )
}

fn duration(seconds: u128) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3_600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_rate_and_remaining_time() {
        assert_eq!(
            line(500_000, 10_000_000, 2_000_000),
            "500000 / 10000000 entrées (5 %), 250000 par seconde, reste 38 s"
        );
        assert_eq!(line(0, 10, 0), "0 / 10 entrées (0 %), 1 par seconde, reste 10 s");
        assert_eq!(duration(3_725), "1 h 02 min");
        assert_eq!(duration(125), "2 min 05 s");
    }
}
