//! The table of a run.

use std::collections::{BTreeMap, BTreeSet};
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

/// From the authority's end to the first token and withdrawal that were asked for since, and to the first answer to such
/// a token.
#[derive(Debug, Default)]
struct Gaps {
    minted_us: Vec<i64>,
    withdrawn_us: Vec<i64>,
    answered_us: Vec<i64>,
}

/// What happened while the authority went from one process to another.
#[derive(Debug, Default)]
struct Takeovers {
    /// Of one that went on by itself at about that moment.
    early: usize,
    /// While the producer was cut off.
    cut: usize,
    /// Calls that one was asked once it was superseded, and those that it allowed.
    asked: usize,
    allowed: usize,
    /// How long it went on.
    went_on_us: Vec<i64>,
    /// Withdrawals under way: lost, and shown as effective too early.
    withdrawals: usize,
    lost: usize,
    shown_early: usize,
}

/// How a run on one database went.
#[derive(Debug, Default)]
pub(crate) struct Report {
    database: &'static str,
    guarded: bool,
    seed: u64,
    pub(crate) seconds: i64,
    /// What cut the network.
    cut_by: BTreeSet<String>,
    rows: BTreeMap<Fault, Row>,
    /// The authority killed and started again, and a standby that took over from one that was killed or stopped.
    gaps: [Gaps; 3],
    takeovers: Takeovers,
    /// Faults that must come, and meet an interleaving.
    wanted: BTreeSet<Fault>,
    /// From the moment at which a withdrawal was asked for until it had taken effect, where no fault was about and a consumer
    /// took nothing of an answer that was under way.
    shut_us: Vec<i64>,
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

    /// Says what cuts the network.
    pub(crate) fn cut_by(&mut self, what: String) {
        self.cut_by.insert(what);
    }

    /// Has it hold only if each of these came, and met an interleaving.
    pub(crate) fn wants(&mut self, faults: impl Iterator<Item = Fault>) {
        self.wanted.extend(faults);
    }

    /// Adds what a world of the run has seen; of tokens and withdrawals, when each was asked for and there.
    pub(crate) fn add(
        &mut self,
        spells: &[Spell],
        trials: &[Trial],
        [minted, withdrawn]: [Vec<(Micros, Micros)>; 2],
        (books, audited): (Books, Audited),
    ) {
        for spell in spells {
            self.rows.entry(spell.fault).or_default().spells += 1;
        }
        for trial in trials {
            self.trial(spells, trial, books.lost.contains(&trial.handle));
        }
        let answers: Vec<(Micros, Micros)> = (trials.iter())
            .flat_map(|trial| trial.fetches.iter().map(|(_, fetched)| (trial.minted, fetched)))
            .filter(|(_, fetched)| fetched.ended == Ended::Answered)
            .map(|(minted, fetched)| (minted, fetched.at))
            .collect();
        for (n, spell) in spells.iter().enumerate() {
            let next = spells.get(n + 1).map_or(Micros::new(i64::MAX), |next| next.from);
            let (takeovers, taken) = (&mut self.takeovers, spell.takeover);
            takeovers.asked += taken.map_or(0, |taken| taken.asked);
            takeovers.allowed += taken.map_or(0, |taken| taken.allowed);
            takeovers
                .went_on_us
                .extend(taken.and_then(|taken| taken.went_on_us));
            takeovers.cut += usize::from(taken.is_some_and(|taken| taken.cut));
            takeovers.early += usize::from(taken.is_some_and(|taken| !taken.clean));
            let gaps = match taken {
                None if spell.fault == Fault::AuthorityKilled => &mut self.gaps[0],
                Some(taken) if taken.clean && taken.killed => &mut self.gaps[1],
                Some(taken) if taken.clean => &mut self.gaps[2],
                None | Some(_) => continue,
            };
            let first = |row: &[(Micros, Micros)]| {
                let since = row.iter().filter(|(began, at)| *began > spell.from && *at < next);
                since.map(|(_, at)| at.get() - spell.from.get()).min()
            };
            gaps.minted_us.extend(first(&minted));
            gaps.withdrawn_us.extend(first(&withdrawn));
            // A producer that is cut off answers nobody: that is not the authority's doing.
            if taken.is_none_or(|taken| !taken.cut) {
                gaps.answered_us.extend(first(&answers));
            }
        }
        self.books.add(books);
        self.audited.add(audited);
    }

    fn trial(&mut self, spells: &[Spell], trial: &Trial, lost: bool) {
        let span = trial.span();
        let met = spells.iter().max_by_key(|spell| spell.overlap(span));
        let met = met.filter(|spell| spell.overlap(span) > 0);
        let fault = met.map_or(Fault::None, |spell| spell.fault);
        let (asked, effective) = (trial.asked, trial.effective.at);
        if met.is_some_and(|spell| fault.keeps_apart() && spell.from <= asked && effective <= spell.to) {
            self.apart_us.push(effective.get() - trial.heard.get());
        }
        if met.is_none() && trial.is_shut() {
            self.shut_us.push(effective.get() - asked.get());
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
        let ahead = trial.effective.seen < effective;
        self.ahead += usize::from(ahead);
        if fault.is_takeover() {
            self.takeovers.withdrawals += 1;
            self.takeovers.lost += usize::from(lost);
            self.takeovers.shown_early += usize::from(ahead || trial.late().0 > 0);
        }
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
            && self.takeovers.allowed == 0
            && (self.wanted.iter()).all(|fault| {
                self.rows
                    .get(fault)
                    .is_some_and(|row| row.spells > 0 && row.trials > 0)
            })
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
        for what in &self.cut_by {
            writeln!(f, "  cuts: {what}")?;
        }
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
        let ends = ["killed and restarted", "killed, standby", "stopped, standby"];
        for (end, gaps) in ends.iter().zip(&self.gaps) {
            let [minted, withdrawn, answered] =
                [&gaps.minted_us, &gaps.withdrawn_us, &gaps.answered_us].map(|us| middle_and_most(us));
            if !gaps.minted_us.is_empty() {
                writeln!(
                    f,
                    "  authority {end} {} times; p50/max until a token: {}/{} ms, until one is answered: {}/{} ms, until a \
                     withdrawal is recorded: {}/{} ms",
                    gaps.minted_us.len(),
                    minted.0,
                    minted.1,
                    answered.0,
                    answered.1,
                    withdrawn.0,
                    withdrawn.1
                )?;
            }
        }
        match &self.takeovers {
            _ if *database == "sqlite" => {
                writeln!(f, "  no standby: one process alone has a SQLite file")?;
            }
            over => {
                let (p50, max) = middle_and_most(&over.went_on_us);
                writeln!(
                    f,
                    "  withdrawals during takeovers: {}, lost {}, shown effective early {}; {} takeovers from one that went on \
                     just then, {} while the producer was cut off",
                    over.withdrawals, over.lost, over.shown_early, over.early, over.cut
                )?;
                writeln!(
                    f,
                    "  superseded {} times, going on for p50 {p50} ms, max {max} ms: allowed {} of {} calls; withdrawn by it: {}",
                    over.went_on_us.len(),
                    over.allowed,
                    over.asked,
                    self.books.strange
                )?;
            }
        }
        let least = self.apart_us.iter().min().map_or(0, |us| us / 1_000);
        writeln!(
            f,
            "  effective without an acknowledgement {} times, {least} ms at least after the authority had heard of the \
             producer; shown before its instant: {}",
            self.apart_us.len(),
            self.ahead
        )?;
        let (p50, max) = middle_and_most(&self.shut_us);
        writeln!(
            f,
            "  no fault, and a consumer that takes nothing of an answer under way, {} times: effective p50/max {p50}/{max} ms",
            self.shut_us.len()
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
