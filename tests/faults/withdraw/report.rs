//! The table of a run.

use std::collections::BTreeMap;
use std::fmt;

use unefois_core::Micros;

use super::audit::Audited;
use super::books::Books;
use super::consumer::Ended;
use super::inject::{Fault, Spell};
use super::trial::Trial;

/// What happened under one kind of fault.
#[derive(Debug, Default)]
struct Row {
    spells: usize,
    trials: usize,
    answered: usize,
    refused: usize,
    reset: usize,
    unanswered: usize,
    /// From the moment at which a withdrawal was asked for until it had taken effect.
    effective_us: Vec<i64>,
    late_bytes: usize,
    late_trials: usize,
    late_us: i64,
    /// Interleavings of which the tap cannot tell.
    unclear: usize,
}

/// How a run on one database went.
#[derive(Debug, Default)]
pub(crate) struct Report {
    database: &'static str,
    guarded: bool,
    seed: u64,
    pub(crate) seconds: i64,
    rows: BTreeMap<Fault, Row>,
    /// From the authority's death to the first token asked for since, and to the first answer to one.
    minted_us: Vec<i64>,
    answered_us: Vec<i64>,
    /// The least time from the last that the authority heard of a producer to an effect that it did not acknowledge.
    apart_us: Vec<i64>,
    refusals: BTreeMap<String, usize>,
    /// What came too late although there is a guard.
    late: Vec<String>,
    /// Effects shown before their instant had come.
    ahead: usize,
    books: Books,
    audited: Audited,
}

impl Report {
    pub(crate) fn new(database: &'static str, guarded: bool, seed: u64) -> Self {
        Self {
            database,
            guarded,
            seed,
            ..Self::default()
        }
    }

    /// Adds what a world of the run has seen.
    pub(crate) fn add(
        &mut self,
        spells: &[Spell],
        trials: &[Trial],
        minted: &[(Micros, Micros)],
        (books, audited): (Books, Audited),
    ) {
        self.books.add(books);
        self.audited.add(audited);
        for spell in spells {
            self.rows.entry(spell.fault).or_default().spells += 1;
        }
        for trial in trials {
            self.trial(spells, trial);
        }
        let answers: Vec<(Micros, Micros)> = (trials.iter())
            .flat_map(|trial| trial.fetches.iter().map(|(_, fetched)| (trial.minted, fetched)))
            .filter(|(_, fetched)| fetched.ended == Ended::Answered)
            .map(|(minted, fetched)| (minted, fetched.at))
            .collect();
        for spell in spells
            .iter()
            .filter(|spell| spell.fault == Fault::AuthorityKilled)
        {
            let first = |row: &[(Micros, Micros)]| {
                let since = row.iter().filter(|(began, _)| *began > spell.from);
                let first = since.map(|(_, at)| at.get() - spell.from.get()).min();
                first.into_iter()
            };
            self.minted_us.extend(first(minted));
            self.answered_us.extend(first(&answers));
        }
    }

    fn trial(&mut self, spells: &[Spell], trial: &Trial) {
        let span = trial.span();
        let met = spells.iter().max_by_key(|spell| spell.overlap(span));
        let met = met.filter(|spell| spell.overlap(span) > 0);
        let fault = met.map_or(Fault::None, |spell| spell.fault);
        let (asked, effective) = (trial.asked, trial.effective.at);
        if met.is_some_and(|spell| fault.keeps_apart() && spell.from <= asked && effective <= spell.to) {
            self.apart_us.push(effective.get() - trial.heard.get());
        }
        if self.guarded && trial.late().0 > 0 {
            let since = |at: Micros| (at.get() - effective.get()) / 1_000;
            let met = met.map(|spell| (since(spell.from), since(spell.to)));
            self.late.push(format!(
                "  late, in ms from the effect: {fault} {met:?}, asked for {}, {}",
                since(asked),
                trial.told(since)
            ));
        }
        self.ahead += usize::from(trial.effective.seen < effective);
        let row = self.rows.entry(fault).or_default();
        row.trials += 1;
        row.effective_us.push(effective.get() - asked.get());
        let (bytes, us) = trial.late();
        row.late_bytes += bytes;
        row.late_trials += usize::from(bytes > 0);
        row.late_us = row.late_us.max(us);
        row.unclear += usize::from(trial.unclear() > 0);
        for (_, fetched) in &trial.fetches {
            match &fetched.ended {
                Ended::Answered => row.answered += 1,
                Ended::Refused(reason) => {
                    row.refused += 1;
                    *self.refusals.entry(reason.clone()).or_default() += 1;
                }
                Ended::Reset => row.reset += 1,
                Ended::Unanswered => row.unanswered += 1,
            }
        }
    }

    pub(crate) fn trials(&self) -> usize {
        self.rows.values().map(|row| row.trials).sum()
    }

    fn late_bytes(&self) -> usize {
        self.rows.values().map(|row| row.late_bytes).sum()
    }

    /// Whether nothing came too late, was shown too early or is lost; without the guard, whether the tap shows it.
    pub(crate) fn holds(&self, wanted: usize) -> bool {
        let late = self.late_bytes() > 0;
        self.trials() >= wanted
            && self.books.hold()
            && self.audited.hold()
            && self.audited.is_of(self.trials())
            && self.ahead == 0
            && late != self.guarded
            && self.rows.values().any(|row| row.answered > 0)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            database,
            seed,
            seconds,
            ..
        } = self;
        let guard = if self.guarded {
            ""
        } else {
            ", producer without its guard"
        };
        writeln!(
            f,
            "{database}{guard}: {} interleavings of fetch and withdraw, seed {seed}, {seconds} s",
            self.trials()
        )?;
        writeln!(
            f,
            "  {:25} {:>6} {:>7} {:>8} {:>7} {:>6} {:>10} {:>17} {:>20}",
            "fault",
            "times",
            "trials",
            "answered",
            "refused",
            "reset",
            "unanswered",
            "effective p50/max",
            "bytes after effective"
        )?;
        for (fault, row) in &self.rows {
            let (p50, max) = middle_and_most(&row.effective_us);
            write!(
                f,
                "  {fault:25} {:>6} {:>7} {:>8} {:>7} {:>6} {:>10} {:>10}/{max} ms {:>14}",
                row.spells,
                row.trials,
                row.answered,
                row.refused,
                row.reset,
                row.unanswered,
                p50,
                row.late_bytes
            )?;
            match row.late_trials {
                0 => {}
                n => write!(f, " in {n}, up to {} ms later", row.late_us / 1_000)?,
            }
            match row.unclear {
                0 => writeln!(f)?,
                n => writeln!(f, " (unclear in {n})")?,
            }
        }
        let refusals: Vec<String> = self.refusals.iter().map(|(r, n)| format!("{r} {n}")).collect();
        writeln!(f, "  refusals: {}", refusals.join(", "))?;
        let (minted, answered) = (
            middle_and_most(&self.minted_us),
            middle_and_most(&self.answered_us),
        );
        writeln!(
            f,
            "  authority killed {} times; until a token: p50 {} ms, max {} ms; until it is answered: p50 {} ms, max {} ms",
            self.minted_us.len(),
            minted.0,
            minted.1,
            answered.0,
            answered.1
        )?;
        let least = self.apart_us.iter().min().map_or(0, |us| us / 1_000);
        writeln!(
            f,
            "  effective without an acknowledgement {} times, {least} ms at least after the authority had heard of the \
             producer; shown before its instant: {}",
            self.apart_us.len(),
            self.ahead
        )?;
        for late in &self.late {
            writeln!(f, "{late}")?;
        }
        writeln!(f, "{}", self.books)?;
        write!(f, "{}", self.audited)
    }
}

/// The median and the maximum, in milliseconds.
fn middle_and_most(us: &[i64]) -> (i64, i64) {
    let mut sorted = us.to_vec();
    sorted.sort_unstable();
    let middle = sorted.get(sorted.len() / 2).copied().unwrap_or(0);
    (middle / 1_000, sorted.last().copied().unwrap_or(0) / 1_000)
}
