//! What may happen next.
//!
//! Loss, delay, partition and the pause of a process are steps that do not come. So is its crash, which as a step of its own
//! would add states and nothing that can happen: what a process that is gone has sent may still arrive, its batch in flight
//! is committed before or never, and a later start waits for nobody. Only a run to its end, where somebody must go on,
//! has the crash of an authority.

mod authority;
mod node;

use crate::setup::{Flaw, Kind, Setup};
use crate::state::{Life, State, count};

/// One step. Numbers are those of authorities, processes, pings, tokens and records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Tick,
    Start {
        authority: usize,
    },
    Stop {
        authority: usize,
    },
    Mint {
        handle: u8,
    },
    ReadGrant {
        handle: u8,
    },
    ReadHead,
    Withdraw {
        authority: usize,
        kind: Kind,
    },
    Draw {
        kind: Kind,
    },
    Commit {
        drawn: usize,
    },
    Publish {
        authority: usize,
    },
    Answer {
        process: usize,
        ping: usize,
    },
    TakeAcknowledgement {
        process: usize,
    },
    Conclude {
        authority: usize,
        record: u8,
    },
    StartNode {
        process: usize,
    },
    Apply {
        process: usize,
        authority: usize,
        records: u8,
    },
    Shut {
        process: usize,
    },
    Acknowledge {
        process: usize,
    },
    Ping {
        process: usize,
        ping: usize,
    },
    Count {
        process: usize,
        ping: usize,
    },
    Lapse {
        process: usize,
    },
    RecordLapse {
        process: usize,
    },
    Resume {
        process: usize,
    },
    BuildRelease {
        process: usize,
        token: u8,
    },
    CommitRelease {
        process: usize,
    },
    HandOver {
        process: usize,
    },
    Drain {
        process: usize,
    },
    Withhold {
        process: usize,
    },
    End {
        process: usize,
    },
}

/// Whether something new may still go wrong: always, but at the end of a run with a horizon.
fn may_disturb(setup: &Setup, state: &State) -> bool {
    setup.horizon.is_none() || state.clock > setup.calm()
}

/// Whether time stands still: only in a run with a horizon, where what can be done at once is done before the next tick.
/// Without one, whoever is scheduled late is late by any number of ticks.
fn is_urgent(setup: &Setup, state: &State) -> bool {
    if setup.horizon.is_none() {
        return false;
    }
    let Some(current) = state.current() else {
        return true;
    };
    let authority = &state.authorities[current];
    let unpublished = authority.announced < count(&state.database.records);
    let ready = |pending| authority.wait == 0 && state.is_settled(setup, pending);
    unpublished || authority.barrier.iter().any(ready)
}

/// Whether nothing that a property looks at can happen any more: everything is withdrawn and effective, and nobody releases.
fn is_over(setup: &Setup, state: &State) -> bool {
    let effective = state
        .database
        .records
        .iter()
        .filter(|record| record.effective > 0);
    state.is_quiet(setup)
        && !setup.has(Flaw::SupersededConcludes)
        && effective.count() == setup.withdrawals.len()
}

/// The steps that a state has.
pub(crate) fn steps(setup: &Setup, state: &State, steps: &mut Vec<Step>) {
    if (setup.horizon.is_some() && state.clock == 0) || is_over(setup, state) {
        return;
    }
    if !is_urgent(setup, state) {
        steps.push(Step::Tick);
    }
    authority::steps(setup, state, steps);
    let quiet = state.is_quiet(setup);
    for (process, node) in state.nodes.iter().enumerate() {
        authority::steps_of_messages(setup, state, process, steps);
        if quiet {
            continue;
        }
        match node.life {
            Life::Awaited if may_disturb(setup, state) => steps.push(Step::StartNode { process }),
            Life::Running => node::steps(setup, state, process, steps),
            Life::Awaited | Life::Over => {}
        }
    }
}

/// The state after one of its steps.
pub(crate) fn after(setup: &Setup, last: &State, step: Step) -> State {
    let mut state = last.clone();
    match step {
        Step::Tick => state.tick(setup),
        Step::Start { .. }
        | Step::Stop { .. }
        | Step::Mint { .. }
        | Step::ReadGrant { .. }
        | Step::ReadHead
        | Step::Withdraw { .. }
        | Step::Draw { .. }
        | Step::Commit { .. }
        | Step::Publish { .. }
        | Step::Answer { .. }
        | Step::TakeAcknowledgement { .. }
        | Step::Conclude { .. } => authority::take(setup, &mut state, step),
        Step::StartNode { process }
        | Step::Apply { process, .. }
        | Step::Shut { process }
        | Step::Acknowledge { process }
        | Step::Ping { process, .. }
        | Step::Count { process, .. }
        | Step::Lapse { process }
        | Step::RecordLapse { process }
        | Step::Resume { process }
        | Step::BuildRelease { process, .. }
        | Step::CommitRelease { process }
        | Step::HandOver { process }
        | Step::Drain { process }
        | Step::Withhold { process }
        | Step::End { process } => node::take(setup, &mut state, process, step),
    }
    state.forget(setup);
    state
}
