//! A producing process: its lease, its log, its guard.
//!
//! An entry of the log is one step unless something decides it before: a release is judged when its leaf is built and
//! durable when its batch is committed. The sequencer has one batch in flight, so nothing else is written meanwhile.

use super::Step;
use crate::setup::{Flaw, Setup};
use crate::state::{
    Acknowledgement, Attempt, Entry, Flight, Life, Node, Phase, Ping, State, Token, View, count,
};

pub(super) fn steps(setup: &Setup, state: &State, process: usize, steps: &mut Vec<Step>) {
    let node = &state.nodes[process];
    steps_of_lease(setup, state, process, steps);
    if node.shut < node.view.records {
        steps.push(Step::Shut { process });
    }
    let writes = writes(setup, state, process);
    let builds = matches!(node.attempt, Attempt::Building { .. });
    let waits = builds && !setup.has(Flaw::AcknowledgedBeforeBatch);
    if !node.told && holds(setup, state, process) && !waits {
        steps.push(Step::Acknowledge { process });
    }
    let permits = |token: u8| permits(state, node, state.tokens[usize::from(token)]);
    match node.attempt {
        Attempt::None if state.releases > 0 && writes => {
            let own = |token: &u8| {
                let handle = state.tokens[usize::from(*token)].handle;
                setup.handles[usize::from(handle)] == setup.operator(process)
            };
            // A view behind the log's does not know what the log knew.
            let current = node.view >= log(setup, state, process).view;
            let tokens = (0..count(&state.tokens))
                .filter(own)
                .filter(|token| current && permits(*token));
            steps.extend(tokens.map(|token| Step::BuildRelease { process, token }));
        }
        Attempt::None => {}
        Attempt::Building { .. } => steps.push(Step::CommitRelease { process }),
        Attempt::Released { token, .. } => {
            match permits(token) {
                true => steps.push(Step::HandOver { process }),
                false if writes => steps.push(Step::Withhold { process }),
                false => {}
            }
            end(state, process, steps);
        }
        Attempt::Buffered { .. } => {
            // A timer of the stream's own ends it with the lease: nothing is asked when the window opens.
            if (node.phase == Phase::Open && node.fresh > 0) || setup.has(Flaw::StreamsOutliveLease) {
                steps.push(Step::Drain { process });
            }
            end(state, process, steps);
        }
        Attempt::Sending { token, .. } => {
            if permits(token) {
                steps.push(Step::HandOver { process });
            }
            end(state, process, steps);
        }
    }
}

/// The caller has left. Where nothing more is released, that is a stream that does not go on.
fn end(state: &State, process: usize, steps: &mut Vec<Step>) {
    if state.releases > 0 {
        steps.push(Step::End { process });
    }
}

fn steps_of_lease(setup: &Setup, state: &State, process: usize, steps: &mut Vec<Step>) {
    let node = &state.nodes[process];
    for (authority, this) in state.authorities.iter().enumerate() {
        if this.life == Life::Awaited {
            continue;
        }
        // What it has sent, to any point: a snapshot at the start of a stream, a batch that comes late.
        for records in this.found..=this.announced {
            let view = View {
                epoch: this.epoch,
                records,
            };
            let follows = view > node.view && records >= node.view.records;
            let floor = if holds(setup, state, process) {
                log(setup, state, process).view
            } else {
                node.view
            };
            if follows && view >= floor {
                steps.push(Step::Apply {
                    process,
                    authority,
                    records,
                });
            }
        }
    }
    let pings = node.view.epoch > 0 && (node.phase != Phase::Lapsed || setup.has(Flaw::PingBeforeLapsed));
    for (ping, sent) in node.pings.iter().enumerate() {
        if pings && *sent != new_ping(setup, node) {
            steps.push(Step::Ping { process, ping });
        }
        if let Flight::Down(head) = sent.at {
            let in_order = head.epoch >= node.view.epoch;
            let applied = head <= node.view || setup.has(Flaw::AnswerBeforeHead);
            // Whoever counts an answer looks first whether the lease is over.
            let noticed = node.phase != Phase::Open || node.fresh > 0;
            if in_order && applied && noticed {
                steps.push(Step::Count { process, ping });
            }
        }
    }
    if node.may_lapse() {
        steps.push(Step::Lapse { process });
    }
    match node.phase {
        Phase::Lapsed if writes(setup, state, process) => steps.push(Step::RecordLapse { process }),
        Phase::Starting | Phase::Recorded if node.fresh > 0 && writes(setup, state, process) => {
            steps.push(Step::Resume { process });
        }
        Phase::Starting | Phase::Open | Phase::Lapsed | Phase::Recorded => {}
    }
}

fn log<'a>(setup: &Setup, state: &'a State, process: usize) -> &'a crate::state::Log {
    &state.logs[usize::from(setup.processes[process])]
}

/// Whether the process holds its log's epoch: otherwise what it writes is fenced.
fn holds(setup: &Setup, state: &State, process: usize) -> bool {
    usize::from(log(setup, state, process).holder) == process
}

/// Whether an entry that nothing decides can be written now.
fn writes(setup: &Setup, state: &State, process: usize) -> bool {
    let builds = matches!(state.nodes[process].attempt, Attempt::Building { .. });
    let room = log(setup, state, process).entries.len() < setup.entries;
    holds(setup, state, process) && !builds && room
}

/// The guard, as the gate and each hand-over ask it.
fn permits(state: &State, node: &Node, token: Token) -> bool {
    node.phase == Phase::Open
        && node.fresh > 0
        && state.place(node.view) >= token.rvk
        && !state.kills(node.shut, token)
}

fn new_ping(setup: &Setup, node: &Node) -> Ping {
    Ping {
        left: setup.held(),
        at: Flight::Up {
            epoch: node.view.epoch,
            size: node.size,
        },
    }
}

pub(super) fn take(setup: &Setup, state: &mut State, process: usize, step: Step) {
    let log = usize::from(setup.processes[process]);
    match step {
        Step::StartNode { .. } => {
            state.logs[log].holder = u8::try_from(process).expect("a handful");
            let size = count(&state.logs[log].entries);
            state.nodes[process] = Node {
                size,
                ..Node::cold(setup, Life::Running)
            };
        }
        Step::Apply {
            authority, records, ..
        } => {
            let node = &mut state.nodes[process];
            node.view = View {
                epoch: state.authorities[authority].epoch,
                records,
            };
            if !setup.has(Flaw::AcknowledgedBeforeGuard) {
                node.shut = records;
            }
            node.told = false;
            // Before an answer that tells the record counts, and so before the lease can outlive its deadline.
            if !setup.has(Flaw::StreamsOutliveRecord) {
                reset_killed(setup, state, process);
            }
        }
        Step::Shut { .. } => state.nodes[process].shut = state.nodes[process].view.records,
        Step::Acknowledge { .. } => acknowledge(setup, state, process),
        Step::Ping { ping, .. } => {
            let node = &mut state.nodes[process];
            node.pings[ping] = new_ping(setup, node);
        }
        Step::Count { ping, .. } => {
            let node = &mut state.nodes[process];
            let left = match setup.has(Flaw::LeaseFromReceipt) {
                true => setup.held(),
                false => node.pings[ping].left,
            };
            node.fresh = node.fresh.max(left);
            node.pings[ping] = Ping::default();
        }
        Step::Lapse { .. } => state.nodes[process].lapse(setup),
        Step::RecordLapse { .. } => {
            append(state, process, log, Entry::Lapsed);
            state.nodes[process].phase = Phase::Recorded;
        }
        Step::Resume { .. } => {
            // An earlier start may have left a `lapsed` behind; an empty log has none.
            if !state.logs[log].entries.is_empty() {
                append(state, process, log, Entry::Resumed);
            }
            state.nodes[process].phase = Phase::Open;
        }
        Step::BuildRelease { token, .. } => {
            judge_token(state, process, token);
            state.releases -= 1;
            let node = &mut state.nodes[process];
            node.attempt = Attempt::Building {
                token,
                view: node.view,
            };
        }
        Step::CommitRelease { .. } => commit_release(setup, state, process, log),
        Step::HandOver { .. } => {
            let (Attempt::Released { token, entry } | Attempt::Sending { token, entry }) =
                state.nodes[process].attempt
            else {
                unreachable!("a release is under way")
            };
            judge_token(state, process, token);
            state.nodes[process].attempt = Attempt::Buffered { token, entry };
        }
        Step::Drain { .. } => {
            let Attempt::Buffered { token, entry } = state.nodes[process].attempt else {
                unreachable!("a chunk waits")
            };
            let Token { handle, before, .. } = state.tokens[usize::from(token)];
            let since = &state.database.records[usize::from(before)..];
            let gone = since
                .iter()
                .any(|record| record.kind.kills(handle) && record.effective > 0);
            state.harm.byte_after_effect |= gone;
            state.nodes[process].attempt = Attempt::Sending { token, entry };
        }
        Step::Withhold { .. } => {
            let Attempt::Released { entry, .. } = state.nodes[process].attempt else {
                unreachable!("nothing has left")
            };
            append(state, process, log, Entry::Withheld(entry));
            state.nodes[process].attempt = Attempt::None;
        }
        Step::End { .. } => state.nodes[process].attempt = Attempt::None,
        _ => unreachable!("a step of a process"),
    }
}

fn append(state: &mut State, process: usize, log: usize, entry: Entry) {
    let log = &mut state.logs[log];
    log.entries.push(entry);
    state.nodes[process].size = count(&log.entries);
}

/// Notes a token that is let through although a record that was made after it is applied.
fn judge_token(state: &mut State, process: usize, token: u8) {
    let Token { handle, before, .. } = state.tokens[usize::from(token)];
    let applied = &state.database.records[..usize::from(state.nodes[process].view.records)];
    let killed = applied
        .iter()
        .skip(before.into())
        .any(|record| record.kind.kills(handle));
    state.harm.killed_token |= killed;
}

/// Resets the stream under way if a record that the guard knows kills it.
fn reset_killed(setup: &Setup, state: &mut State, process: usize) {
    let node = &state.nodes[process];
    if let Attempt::Buffered { token, .. } | Attempt::Sending { token, .. } = node.attempt
        && state.kills(node.shut, state.tokens[usize::from(token)])
        && !setup.has(Flaw::StreamsOutliveAcknowledgement)
    {
        state.nodes[process].reset();
    }
}

/// Writes the view down and acknowledges it with the log's size.
fn acknowledge(setup: &Setup, state: &mut State, process: usize) {
    let log = usize::from(setup.processes[process]);
    reset_killed(setup, state, process);
    let node = &mut state.nodes[process];
    node.told = true;
    // Of a view without records nobody waits for it.
    node.acknowledgement = (node.view.records > 0).then(|| Acknowledgement {
        view: node.view,
        size: count(&state.logs[log].entries),
    });
    state.logs[log].view = state.logs[log].view.max(node.view);
}

/// The batch is committed, or fenced and then nothing is written.
fn commit_release(setup: &Setup, state: &mut State, process: usize, log: usize) {
    let Attempt::Building { token, view } = state.nodes[process].attempt else {
        unreachable!("a batch is in flight")
    };
    if !holds(setup, state, process) {
        state.nodes[process].attempt = Attempt::None;
        return;
    }
    let handle = state.tokens[usize::from(token)].handle;
    let entry = count(&state.logs[log].entries);
    append(state, process, log, Entry::Released { handle, view });
    state.harm.view_fell |= view < state.logs[log].view;
    state.logs[log].view = view.max(state.logs[log].view);
    state.nodes[process].attempt = Attempt::Released { token, entry };
}
