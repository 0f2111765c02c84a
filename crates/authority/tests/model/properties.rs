//! What must hold in every state, what must come, and what must be reachable for the rest to mean anything.

use stateright::Property;

use crate::run::Withdrawals;
use crate::setup::Setup;
use crate::state::{Attempt, Entry, Life, Line, Log, Node, Phase, Place, Record, State};

pub(crate) const NO_BYTE_AFTER_EFFECT: &str = "i3: no byte leaves after `effective`";
pub(crate) const NO_KILLED_TOKEN: &str = "a token is refused where a later record of it is applied";
pub(crate) const NO_FALSE_ALARM: &str = "no release of an honest process is judged late";
pub(crate) const PLACES_IN_ORDER: &str = "places are unique and in the order of commits";
pub(crate) const NO_MINT_AFTER: &str = "no token of a withdrawn grant outranks its record";
pub(crate) const EFFECTIVE_ONCE: &str = "`effective` is written once";
pub(crate) const VIEWS_RISE: &str = "views of a log never decrease";
pub(crate) const IN_TIME: &str = "the barrier opens within the lease and its margin";
pub(crate) const COMES: &str = "every withdrawal takes effect";

type Holds = fn(&Withdrawals, &State) -> bool;

/// The properties of a run.
pub(crate) fn properties(setup: &Setup) -> Vec<Property<Withdrawals>> {
    let always: [(&'static str, Holds); 8] = [
        (NO_BYTE_AFTER_EFFECT, |m, s| {
            m.broken.first(NO_BYTE_AFTER_EFFECT, !s.harm.byte_after_effect)
        }),
        (NO_KILLED_TOKEN, |m, s| {
            m.broken.first(NO_KILLED_TOKEN, !s.harm.killed_token)
        }),
        (NO_FALSE_ALARM, |m, s| {
            m.broken.first(NO_FALSE_ALARM, !has_late(s))
        }),
        (PLACES_IN_ORDER, |m, s| {
            m.broken.first(PLACES_IN_ORDER, !s.harm.out_of_order)
        }),
        (NO_MINT_AFTER, |m, s| {
            m.broken.first(NO_MINT_AFTER, !s.harm.minted_after)
        }),
        (EFFECTIVE_ONCE, |m, s| {
            let once = s.database.records.iter().all(|record| record.effective <= 1);
            m.broken.first(EFFECTIVE_ONCE, once)
        }),
        (VIEWS_RISE, |m, s| m.broken.first(VIEWS_RISE, !s.harm.view_fell)),
        (IN_TIME, |m, s| m.broken.first(IN_TIME, is_in_time(&m.setup, s))),
    ];
    let mut properties: Vec<_> = always
        .into_iter()
        .map(|(name, holds)| Property::always(name, holds))
        .collect();
    if setup.horizon.is_some() {
        // True at the end alone, so that the first path to a state speaks for every other.
        properties.push(Property::eventually(COMES, |_, s: &State| {
            s.clock == 0 && s.database.records.iter().all(|record| record.effective > 0)
        }));
    }
    let reached: [(&'static str, Holds); 10] = [
        ("reached: effective by acknowledgement", |_, s| {
            has_line(s, |line| matches!(line, Line::Acknowledged(_)))
        }),
        ("reached: effective by lapse", |_, s| {
            has_line(s, |line| matches!(line, Line::Lapsed(_)))
        }),
        (
            "reached: effective under another epoch than the record's",
            |_, s| {
                let taken_up =
                    |record: &Record| record.effective > 0 && record.place.epoch < s.database.epoch;
                s.database.records.iter().any(taken_up)
            },
        ),
        ("reached: a release after a lapse", |_, s| {
            entries(s)
                .any(|entries| resumes(entries) && matches!(entries.last(), Some(Entry::Released { .. })))
        }),
        ("reached: a release withheld after a withdrawal", |_, s| {
            entries(s).any(|entries| entries.iter().any(|entry| matches!(entry, Entry::Withheld(_))))
        }),
        (
            "reached: an older token let through under a newer epoch",
            |_, s| {
                let older = |token: u8| s.tokens[usize::from(token)].rvk.epoch;
                let by = |attempt| match attempt {
                    Attempt::Building { token, view } => older(token) < view.epoch,
                    _ => false,
                };
                s.nodes.iter().any(|node| by(node.attempt))
            },
        ),
        ("reached: a token waits for its view", |_, s| {
            let waits = |place: Place| s.tokens.iter().any(|token| token.rvk > place);
            let open = |node: &&Node| node.phase == Phase::Open;
            s.nodes.iter().filter(open).any(|node| waits(s.place(node.view)))
        }),
        (
            "reached: an older start releases while a newer one runs",
            |model, s| {
                let newer = |process: usize| {
                    let same = |other: usize| model.setup.processes[other] == model.setup.processes[process];
                    (process + 1..s.nodes.len())
                        .any(|other| same(other) && s.nodes[other].life == Life::Running)
                };
                let sends = |attempt| matches!(attempt, Attempt::Sending { .. });
                (0..s.nodes.len()).any(|process| sends(s.nodes[process].attempt) && newer(process))
            },
        ),
        ("reached: one record effective while another waits", |_, s| {
            let records = &s.database.records;
            records.iter().any(|r| r.effective > 0) && records.iter().any(|r| r.effective == 0)
        }),
        (
            "reached: effective before another operator has heard of it",
            |model, s| {
                let effective = |(_, record): &(usize, &Record)| record.effective > 0;
                let mut records = s.database.records.iter().enumerate().filter(effective);
                records.any(|(at, record)| {
                    let other = |process: usize| !model.setup.concerns(record.kind, process);
                    let below = |node: &Node| node.fresh > 0 && usize::from(node.view.records) <= at;
                    (0..s.nodes.len()).any(|process| other(process) && below(&s.nodes[process]))
                })
            },
        ),
    ];
    let wanted = |(name, _): &(&'static str, Holds)| setup.reaches.iter().any(|part| name.contains(part));
    let reached = reached.into_iter().filter(wanted);
    properties.extend(reached.map(|(name, holds)| Property::sometimes(name, holds)));
    properties
}

fn entries(state: &State) -> impl Iterator<Item = &[Entry]> {
    state.logs.iter().map(|log| &log.entries[..])
}

fn resumes(entries: &[Entry]) -> bool {
    let lapse = entries.iter().position(|entry| *entry == Entry::Lapsed);
    lapse.is_some_and(|at| entries[at..].contains(&Entry::Resumed))
}

fn has_line(state: &State, is: fn(Line) -> bool) -> bool {
    let mut lines = state.database.records.iter().flat_map(|record| &record.lines);
    lines.any(|line| is(*line))
}

/// Whether a check of all ledgers against all lists would find a late release.
pub(crate) fn has_late(state: &State) -> bool {
    let effective = state
        .database
        .records
        .iter()
        .filter(|record| record.effective > 0);
    let mut pairs = effective.flat_map(|record| {
        record
            .lines
            .iter()
            .zip(&state.logs)
            .map(move |(l, log)| (record, l, log))
    });
    pairs.any(|(record, line, log)| is_late(record, *line, log))
}

/// The definition of the proof list, from ledgers alone.
fn is_late(record: &Record, line: Line, log: &Log) -> bool {
    let mut lapsed = false;
    let mut lapsed_since = false;
    for (at, entry) in log.entries.iter().enumerate() {
        match entry {
            Entry::Lapsed => {
                lapsed = true;
                lapsed_since |= matches!(line, Line::Lapsed(size) if at >= usize::from(size));
            }
            Entry::Resumed => lapsed = false,
            Entry::Withheld(_) => {}
            Entry::Released { handle, view } => {
                let beyond = matches!(line, Line::Acknowledged(size) if at >= usize::from(size));
                let view = Place {
                    epoch: view.epoch,
                    seq: view.records,
                };
                let closed = log
                    .entries
                    .iter()
                    .any(|entry| matches!(entry, Entry::Withheld(of) if usize::from(*of) == at));
                let late = beyond || lapsed || lapsed_since || view >= record.place;
                if record.kind.kills(*handle) && !closed && late {
                    return true;
                }
            }
        }
    }
    false
}

/// While one authority stays up: from a publication, or the end of its first wait, the lease and its margin.
fn is_in_time(setup: &Setup, state: &State) -> bool {
    let Some(current) = state.current() else {
        return true;
    };
    let authority = &state.authorities[current];
    let late = |pending| !state.is_settled(setup, pending);
    authority.wait > 0
        || !authority
            .barrier
            .iter()
            .any(|pending| pending.age >= setup.held() && late(pending))
}
