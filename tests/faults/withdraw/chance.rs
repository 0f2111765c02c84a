//! Chance that can be had again: numbers from a seed.

use std::time::Duration;

use unefois_core::{Random, Sha256};
use unefois_mesh::SystemRandom;

/// A row of numbers.
#[derive(Clone, Debug)]
pub(crate) struct Chance {
    seed: u64,
    label: u64,
    drawn: u64,
}

impl Chance {
    /// The row `label` of `seed`.
    pub(crate) const fn new(seed: u64, label: u64) -> Self {
        Self {
            seed,
            label,
            drawn: 0,
        }
    }

    /// A row that nobody has had.
    pub(crate) fn drawn(random: &SystemRandom) -> Self {
        Self::new(u64::from_be_bytes((random as &dyn Random).bytes()), 0)
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.drawn += 1;
        let [seed, label, drawn] = [self.seed, self.label, self.drawn].map(u64::to_be_bytes);
        let digest = Sha256::of_parts(&[&seed, &label, &drawn]);
        digest.as_bytes()[..8]
            .iter()
            .fold(0, |n, byte| n << 8 | u64::from(*byte))
    }

    /// A number below `n`.
    pub(crate) fn pick(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// True once in so many times.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.pick(n) == 0
    }

    /// A time below `most`.
    pub(crate) fn below(&mut self, most: Duration) -> Duration {
        self.between(Duration::ZERO, most)
    }

    /// A time from `least` to below `most`.
    pub(crate) fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let span = u64::try_from((most - least).as_micros()).unwrap_or(u64::MAX);
        least + Duration::from_micros(self.pick(span.max(1)))
    }
}
