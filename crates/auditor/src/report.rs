//! Counts of what a log says: who asked whom for what, and how it ended.

use std::collections::BTreeMap;
use std::ops::Range;

use unefois_core::{DatatypeRev, Event, Micros, Outcome, ParticipantId, Reason};

use crate::{Error, Visited};

/// The most lines of a report: more come of a log that names more participants than a directory has.
const MAX_LINES: usize = 200_000;

/// How finely a report counts over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// By the hour, UTC.
    Hour,
    /// By the day, UTC.
    Day,
}

impl Step {
    const fn micros(self) -> i64 {
        match self {
            Self::Hour => 3_600_000_000,
            Self::Day => 86_400_000_000,
        }
    }
}

/// What the entries of one line have in common. Refusals sort first, then what was put off, then what was answered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    /// How it ended.
    pub outcome: std::cmp::Reverse<Outcome>,
    /// Why it was refused or put off.
    pub reason: Option<Reason>,
    /// Who asked.
    pub requester: Option<ParticipantId>,
    /// Who answers.
    pub provider: Option<ParticipantId>,
    /// What was asked for.
    pub datatype: Option<DatatypeRev>,
}

/// How many entries ended in each way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// Answered.
    pub answered: u64,
    /// Put off.
    pub later: u64,
    /// Refused.
    pub refused: u64,
}

impl Ends {
    /// Counts one more.
    pub const fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Answered => self.answered += 1,
            Outcome::Later => self.later += 1,
            Outcome::Refused => self.refused += 1,
        }
    }

    /// All of them.
    pub const fn total(&self) -> u64 {
        self.answered + self.later + self.refused
    }
}

/// When a version of the directory founded decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionUse {
    /// How many.
    pub entries: u64,
    /// The first of them.
    pub first: Micros,
    /// The last.
    pub last: Micros,
}

/// What the entries of one participant say over a period; filled by visiting its logs.
#[derive(Clone, Debug)]
pub struct Report {
    window: Range<Micros>,
    step: Step,
    /// Entries that end an attempt of an exchange, or a person's decision.
    pub lines: BTreeMap<Line, u64>,
    /// The same over time: each hour or day by its beginning.
    pub steps: BTreeMap<Micros, Ends>,
    /// Every entry, by its event.
    pub events: BTreeMap<Event, u64>,
    /// The versions of the directory.
    pub directories: BTreeMap<u64, VersionUse>,
    /// All of the lines.
    pub total: Ends,
}

impl Report {
    /// A report of the entries written within `window`.
    pub const fn new(window: Range<Micros>, step: Step) -> Self {
        Self {
            window,
            step,
            lines: BTreeMap::new(),
            steps: BTreeMap::new(),
            events: BTreeMap::new(),
            directories: BTreeMap::new(),
            total: Ends {
                answered: 0,
                later: 0,
                refused: 0,
            },
        }
    }

    /// Takes one entry.
    ///
    /// # Errors
    /// [`Error::TooManyLines`].
    pub fn take(&mut self, visited: Visited<'_>) -> Result<(), Error> {
        let entry = visited.entry;
        if !self.window.contains(&entry.at) {
            return Ok(());
        }
        *self.events.entry(entry.event).or_default() += 1;
        if entry.directory_version > 0 {
            let used = self
                .directories
                .entry(entry.directory_version)
                .or_insert(VersionUse {
                    entries: 0,
                    first: entry.at,
                    last: entry.at,
                });
            used.entries += 1;
            // Several logs are visited one after the other.
            (used.first, used.last) = (used.first.min(entry.at), used.last.max(entry.at));
        }
        let Some(outcome) = entry.outcome else {
            return Ok(());
        };
        let line = Line {
            outcome: std::cmp::Reverse(outcome),
            reason: entry.reason,
            requester: entry.requester,
            provider: entry.provider,
            datatype: entry.datatype.clone(),
        };
        *self.lines.entry(line).or_default() += 1;
        let at = entry.at.get();
        let step = Micros::new(at - at.rem_euclid(self.step.micros()));
        self.steps.entry(step).or_default().add(outcome);
        self.total.add(outcome);
        match self.lines.len() + self.steps.len() > MAX_LINES {
            true => Err(Error::TooManyLines { most: MAX_LINES }),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use unefois_core::Entry;
    use unefois_tlog::Hash;

    use super::*;

    const ONE: &str = "urn:unefois:participant:18003506500010";
    const OTHER: &str = "urn:unefois:participant:21920023500014";

    fn take(report: &mut Report, entry: &Entry) {
        let bytes = entry.encode();
        let visited = Visited {
            index: 0,
            leaf: &Hash::of_leaf(&bytes),
            entry,
            bytes: &bytes,
        };
        report.take(visited).unwrap();
    }

    fn ended(at: i64, outcome: Outcome, reason: Option<Reason>) -> Entry {
        Entry {
            requester: Some(OTHER.parse().unwrap()),
            provider: Some(ONE.parse().unwrap()),
            datatype: Some("cnaf/quotient-familial@1".parse().unwrap()),
            outcome: Some(outcome),
            reason,
            directory_version: 3,
            ..Entry::new(Event::Released, Micros::new(at))
        }
    }

    #[test]
    fn refusals_come_first_and_everything_adds_up() {
        let hour = 3_600_000_000;
        let mut report = Report::new(Micros::new(0)..Micros::new(10 * hour), Step::Hour);
        let refused = ended(hour, Outcome::Refused, Some(Reason::TokenConsumed));
        for entry in [
            ended(0, Outcome::Answered, None),
            ended(hour - 1, Outcome::Answered, None),
            refused,
            ended(2 * hour, Outcome::Later, Some(Reason::SourceTimeout)),
            Entry::new(Event::Tally, Micros::new(3 * hour)),
            // Out of the period, at both ends.
            ended(-1, Outcome::Answered, None),
            ended(10 * hour, Outcome::Answered, None),
        ] {
            take(&mut report, &entry);
        }
        let outcomes: Vec<_> = report
            .lines
            .iter()
            .map(|(line, n)| (line.outcome.0, *n))
            .collect();
        assert_eq!(
            outcomes,
            [(Outcome::Refused, 1), (Outcome::Later, 1), (Outcome::Answered, 2)]
        );
        assert_eq!(report.total.total(), 4);
        assert_eq!(report.steps.len(), 3);
        assert_eq!(report.steps[&Micros::new(0)].answered, 2);
        assert_eq!(report.events[&Event::Tally], 1);
        let used = report.directories[&3];
        assert_eq!(
            (used.entries, used.first, used.last),
            (4, Micros::new(0), Micros::new(2 * hour))
        );
    }
}
