//! What was measured, beside what it must reach.

use serde::Serialize;

/// What a figure must reach.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bar {
    /// This much or more.
    AtLeast(f64),
    /// This much or less.
    AtMost(f64),
}

/// One figure.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// Its stable name.
    pub name: String,
    /// What it is, in French.
    pub label: String,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: &'static str,
    /// What it must reach, where something is asked of it.
    pub bar: Option<Bar>,
    /// Whether it does.
    pub met: Option<bool>,
}

/// All that one run measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The database: `sqlite` or `postgres`.
    pub store: &'static str,
    /// Its version.
    pub version: String,
    /// Processor, cores and memory.
    pub machine: String,
    /// Entries loaded before the appends.
    pub loaded: u64,
    /// Whether the disk is fast enough for the ratios to mean something (`fdatasync` p50 of 0.2 ms or less).
    pub judged: bool,
    /// The figures, in the order in which they were taken.
    pub figures: Vec<Figure>,
}

impl Report {
    pub(crate) fn add(&mut self, name: &str, label: &str, value: f64, unit: &'static str, bar: Option<Bar>) {
        let met = bar.map(|bar| match bar {
            Bar::AtLeast(least) => value >= least,
            Bar::AtMost(most) => value <= most,
        });
        self.figures.push(Figure {
            name: name.to_owned(),
            label: label.to_owned(),
            value,
            unit,
            bar,
            met,
        });
    }

    /// The figure of this name.
    pub fn figure(&self, name: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.name == name)
    }
}

/// The value below which `part` of `values` lie.
pub(crate) fn quantile(values: &mut [i64], part: f64) -> f64 {
    values.sort_unstable();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a place among at most millions of values"
    )]
    let place = ((values.len() as f64 * part) as usize).min(values.len().saturating_sub(1));
    values.get(place).map_or(f64::NAN, |value| float(*value))
}

/// A count as a number to divide.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts and microseconds stay far below 2^53"
)]
pub(crate) const fn float(n: i64) -> f64 {
    n as f64
}

/// A count as a number to divide.
pub(crate) fn of_u64(n: u64) -> f64 {
    float(i64::try_from(n).unwrap_or(i64::MAX))
}

/// A length as a number to divide.
pub(crate) fn of_len(n: usize) -> f64 {
    float(i64::try_from(n).unwrap_or(i64::MAX))
}
