//! Both ends of every exchange between two participants, compared (ledger.md, « Both ends »).
//!
//! Each participant's log is read and verified by itself, as an [`End`]; [`reconcile`] pairs the exchanges of two of
//! them by their id, one row an exchange. Hour by hour (of the exchange id's own timestamp, so that both ends put an
//! exchange in the same hour) the two ends give a count and a digest over their sorted rows: equal in one compare.
//! Beside it each pair is judged field by field, which finds what the rows do not hold: the entry that the consumer
//! names is in the producer's log, in the log that it names, about the same request, with the same terms.
//!
//! Nothing here is a server's word: every finding follows from entries that two verified logs hold.

mod end;
mod finding;
mod hour;
mod judge;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use unefois_core::{ExchangeId, Micros, ParticipantId};

pub use end::{End, MAX_COUNTERPARTIES, MAX_EXCHANGES, MAX_TRACES, MAX_TRACES_OF_ONE, Role, Trace};
pub use finding::{Cause, Finding, Weight};
pub use hour::{Hour, Tally};

/// How two ends are judged.
#[derive(Clone, Debug)]
pub struct Rules {
    /// What an entry that was written in this time lacks may still come, while its exchange is young enough: it is no
    /// fault yet.
    pub under_way: Range<Micros>,
    /// How far the clocks of two participants may lie apart, in milliseconds.
    pub clock_ms: i64,
}

/// What the logs of two participants say of the exchanges between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconciliation {
    /// The participants.
    pub ends: [ParticipantId; 2],
    /// How many exchanges either end knows.
    pub exchanges: u64,
    /// Every hour in which there was one that is not under way.
    pub hours: Vec<Hour>,
    /// What does not agree, in the order of the exchange ids.
    pub findings: Vec<Finding>,
    /// How many entries of each end name no exchange, so that they cannot be paired: refusals of malformed calls.
    pub unnumbered: [u64; 2],
}

impl Reconciliation {
    /// Whether both logs agree: nothing is a fault, no release is unconfirmed, and each hour that differs has a finding
    /// that says why. What is explained by the entries themselves, or under way, disagrees with nothing.
    pub fn agrees(&self) -> bool {
        let told: BTreeSet<Micros> = self.findings.iter().map(|f| hour::of(&f.exchange)).collect();
        let mut different = self.hours.iter().filter(|hour| !hour.agrees());
        self.count(Weight::Fault) == 0
            && self.count(Weight::Unconfirmed) == 0
            && different.all(|hour| told.contains(&hour.at))
    }

    /// How many findings are of this weight.
    pub fn count(&self, weight: Weight) -> usize {
        self.findings.iter().filter(|f| f.weight == weight).count()
    }
}

/// Compares what `one` and `other` logged of the exchanges between them.
pub fn reconcile(one: &End, other: &End, rules: &Rules) -> Reconciliation {
    let halves = [one.with(&other.participant), other.with(&one.participant)];
    let ids: BTreeSet<&ExchangeId> = halves.iter().flat_map(|half| half.exchanges.keys()).collect();
    let mut findings = Vec::new();
    let mut hours: BTreeMap<Micros, hour::Rows> = BTreeMap::new();
    for id in &ids {
        let of_each = halves.map(|half| half.exchanges.get(id).map_or(&[][..], Vec::as_slice));
        let judged = judge::judge(id, of_each, [&one.origins, &other.origins], rules);
        if !judged.iter().any(|finding| finding.weight == Weight::UnderWay) {
            hours.entry(hour::of(id)).or_default().add(id, of_each);
        }
        findings.extend(judged);
    }
    Reconciliation {
        ends: [one.participant, other.participant],
        exchanges: ids.len() as u64,
        hours: hours.into_iter().map(|(at, rows)| rows.close(at)).collect(),
        findings,
        unnumbered: halves.map(|half| half.unnumbered),
    }
}
