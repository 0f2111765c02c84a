//! What minting access tokens costs, beside another authorization server in the same run.

use serde::Serialize;

use crate::report::{float, of_len, quantile};

/// What one server gave.
#[derive(Clone, Debug, Serialize)]
pub struct Mint {
    /// Its stable name.
    pub name: &'static str,
    /// What it is, in French.
    pub label: &'static str,
    /// Tokens given.
    pub tokens: usize,
    /// Tokens a second.
    pub per_s: f64,
    /// From the request to the whole answer, in milliseconds.
    pub p50_ms: f64,
    /// All but one in a hundred.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

/// All that one run measured.
#[derive(Clone, Debug, Serialize)]
pub struct Mints {
    /// The authority's database: `sqlite` or `postgres`.
    pub store: &'static str,
    /// Processor, cores and memory.
    pub machine: String,
    /// How long the disk takes to keep a page (p50).
    pub fdatasync_ms: f64,
    /// Requests under way at once.
    pub in_flight: usize,
    /// Entries of its ledger that the authority wrote meanwhile.
    pub entries: u64,
    /// The servers, ours first.
    pub servers: Vec<Mint>,
    /// Our tokens a second, of those of the other server.
    pub ratio: Option<f64>,
}

impl Mint {
    /// A server that gave one token in each of these times, `elapsed_us` in all; microseconds.
    pub fn new(name: &'static str, label: &'static str, mut took_us: Vec<i64>, elapsed_us: i64) -> Self {
        let ms = |took: &mut [i64], part| quantile(took, part) / 1e3;
        Self {
            name,
            label,
            tokens: took_us.len(),
            per_s: of_len(took_us.len()) * 1e6 / float(elapsed_us.max(1)),
            p50_ms: ms(&mut took_us, 0.5),
            p99_ms: ms(&mut took_us, 0.99),
            max_ms: ms(&mut took_us, 1.0),
        }
    }
}

impl Mints {
    /// Sets the ratio, where there is another server.
    #[must_use]
    pub fn compared(mut self) -> Self {
        self.ratio = match &self.servers[..] {
            [ours, other, ..] => Some(ours.per_s / other.per_s),
            _ => None,
        };
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_told_by_its_times() {
        let ours = Mint::new("ours", "", (1..=100).map(|ms| ms * 1_000).collect(), 2_000_000);
        assert_eq!(
            (ours.tokens, ours.per_s, ours.p50_ms, ours.max_ms),
            (100, 50.0, 51.0, 100.0)
        );
        let other = Mint::new("other", "", vec![1_000; 10], 1_000_000);
        let report = Mints {
            store: "sqlite",
            machine: String::new(),
            fdatasync_ms: 0.1,
            in_flight: 64,
            entries: 100,
            servers: vec![ours.clone()],
            ratio: None,
        };
        assert_eq!(report.clone().compared().ratio, None, "nothing to compare with");
        let both = Mints {
            servers: vec![ours, other],
            ..report
        };
        assert_eq!(both.compared().ratio, Some(5.0));
    }
}
