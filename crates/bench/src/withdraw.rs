//! What withdrawals took, from the request to the moment at which they hold everywhere.

use serde::Serialize;

use crate::report::{float, quantile};

/// Which of a row's figures is asked for something, and how much it may be, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "figure", content = "at_most_ms")]
pub enum Judged {
    /// All but one in a hundred.
    P99(f64),
    /// Every one.
    Max(f64),
}

/// How long one withdrawal took, in microseconds from when it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Took {
    /// Until it held everywhere, as the authority's proof says.
    pub effective: i64,
    /// Until a reader of the authority's database saw that.
    pub seen: i64,
    /// Leases that it had to wait out, since their producers did not acknowledge it.
    pub ran_out: usize,
}

/// Withdrawals of one kind, under the same conditions.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its stable name.
    pub name: &'static str,
    /// What it is, in French.
    pub label: &'static str,
    /// How many.
    pub count: usize,
    /// Until they held everywhere, in milliseconds.
    pub p50_ms: f64,
    /// All but one in a hundred.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
    /// Until a reader of the authority's database saw it.
    pub seen_p50_ms: f64,
    /// Leases that had to be waited out, in all.
    pub ran_out: usize,
    /// The p50 in bare round trips.
    pub of_bare: f64,
    /// What it must reach.
    pub judged: Judged,
    /// Whether it does.
    pub met: bool,
}

/// All that one run measured.
#[derive(Clone, Debug, Serialize)]
pub struct Withdrawals {
    /// Producers that hold a lease.
    pub nodes: usize,
    /// How many of them are cut off where a row says so.
    pub partitioned: usize,
    /// Processes that they run in.
    pub processes: usize,
    /// For how long an answer of the authority holds.
    pub lease_ms: u32,
    /// The authority's database: `sqlite` or `postgres`; each producer has a SQLite file.
    pub store: &'static str,
    /// Processor, cores and memory.
    pub machine: String,
    /// How long the disk takes to keep a page (p50).
    pub fdatasync_ms: f64,
    /// A ping of one reader and its answer (p50).
    pub ping_ms: f64,
    /// A view written down in one log (p50).
    pub observe_ms: f64,
    /// The rows, in the order in which they were measured.
    pub rows: Vec<Row>,
}

impl Withdrawals {
    /// Adds a row; nothing where nothing was measured.
    pub fn add(&mut self, name: &'static str, label: &'static str, took: &[Took], judged: Judged) {
        if took.is_empty() {
            return;
        }
        let mut effective: Vec<i64> = took.iter().map(|took| took.effective).collect();
        let mut seen: Vec<i64> = took.iter().map(|took| took.seen).collect();
        let p50_ms = quantile(&mut effective, 0.5) / 1e3;
        let p99_ms = quantile(&mut effective, 0.99) / 1e3;
        let max_ms = effective.last().map_or(f64::NAN, |max| float(*max) / 1e3);
        self.rows.push(Row {
            name,
            label,
            count: took.len(),
            p50_ms,
            p99_ms,
            max_ms,
            seen_p50_ms: quantile(&mut seen, 0.5) / 1e3,
            ran_out: took.iter().map(|took| took.ran_out).sum(),
            of_bare: p50_ms / (self.ping_ms + self.observe_ms),
            judged,
            met: match judged {
                Judged::P99(most) => p99_ms <= most,
                Judged::Max(most) => max_ms <= most,
            },
        });
    }
}

/// The p50 of these microseconds, in milliseconds.
pub fn p50_ms(mut micros: Vec<i64>) -> f64 {
    quantile(&mut micros, 0.5) / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_judged_by_its_own_figure() {
        let mut report = Withdrawals {
            nodes: 2,
            partitioned: 0,
            processes: 1,
            lease_ms: 1_000,
            store: "sqlite",
            machine: String::new(),
            fdatasync_ms: 0.1,
            ping_ms: 1.0,
            observe_ms: 1.0,
            rows: Vec::new(),
        };
        let took: Vec<Took> = (1..=200)
            .map(|ms| Took {
                effective: ms * 1_000,
                seen: ms * 1_000 + 500,
                ran_out: usize::from(ms == 200),
            })
            .collect();
        report.add("none", "", &[], Judged::P99(1.0));
        assert!(report.rows.is_empty(), "nothing measured is no figure");
        report.add("p99", "", &took, Judged::P99(199.0));
        report.add("max", "", &took, Judged::Max(199.0));
        let [p99, max] = &report.rows[..] else {
            panic!("two rows")
        };
        assert_eq!(
            (p99.count, p99.p50_ms, p99.p99_ms, p99.max_ms),
            (200, 101.0, 199.0, 200.0)
        );
        assert_eq!((p99.seen_p50_ms, p99.of_bare, p99.ran_out), (101.5, 50.5, 1));
        assert!(p99.met && !max.met);
    }
}
