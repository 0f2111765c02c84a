//! The authority and its database.
//!
//! A transaction that changes `revocation_head` is one step: the row is locked from its `UPDATE` to the commit, so that
//! nothing that another process sees lies between the two. A crash after a commit is the crash before it is announced.

use super::{Step, may_disturb};
use crate::setup::{BEAT, Flaw, Kind, Setup};
use crate::state::{
    Answered, Authority, Flight, Life, Line, Pending, Ping, Place, Record, Standing, State, Token, View,
    count,
};

pub(super) fn steps(setup: &Setup, state: &State, steps: &mut Vec<Step>) {
    let database = &state.database;
    for (authority, this) in state.authorities.iter().enumerate() {
        match this.life {
            // One after the other: they are alike.
            Life::Awaited if authority == 0 || state.authorities[authority - 1].life != Life::Awaited => {
                let replaces = state.current().is_none();
                if replaces || may_disturb(setup, state) {
                    steps.push(Step::Start { authority });
                }
            }
            Life::Running => steps_of_one(setup, state, authority, steps),
            Life::Awaited | Life::Over => {}
        }
    }
    if state.current().is_none() {
        return;
    }
    let handles = 0..count(setup.handles);
    for handle in handles.filter(|handle| state.mints > 0 && !state.is_withdrawn(*handle)) {
        match setup.has(Flaw::MintInTwoStatements) {
            true if database.reading.is_none() => steps.push(Step::ReadGrant { handle }),
            true => {}
            false => steps.push(Step::Mint { handle }),
        }
    }
    if database.reading.is_some() {
        steps.push(Step::ReadHead);
    }
    if setup.has(Flaw::SeqFromSequence) {
        let open = |kind: &Kind| {
            let drawn = database.drawn.iter().any(|(other, _)| other == kind);
            !drawn && database.records.iter().all(|record| record.kind != *kind)
        };
        let kinds = setup.withdrawals.iter().copied().filter(open);
        steps.extend(kinds.map(|kind| Step::Draw { kind }));
        steps.extend((0..database.drawn.len()).map(|drawn| Step::Commit { drawn }));
    }
}

fn steps_of_one(setup: &Setup, state: &State, authority: usize, steps: &mut Vec<Step>) {
    let (this, database) = (&state.authorities[authority], &state.database);
    let holds = this.epoch == database.epoch;
    let replaced = !holds
        || state.authorities[authority + 1..]
            .iter()
            .any(|a| a.life == Life::Awaited);
    // In a run to its end something must be left that goes on.
    if setup.horizon.is_some() && replaced && may_disturb(setup, state) {
        steps.push(Step::Stop { authority });
    }
    if (holds || setup.has(Flaw::SupersededWithdraws)) && may_disturb(setup, state) {
        let open = |kind: &Kind| database.records.iter().all(|record| record.kind != *kind);
        let kinds = setup.withdrawals.iter().copied().filter(open);
        if !setup.has(Flaw::SeqFromSequence) {
            steps.extend(kinds.map(|kind| Step::Withdraw { authority, kind }));
        }
    }
    if let Some(record) = database.records.get(usize::from(this.announced))
        && (holds || record.place.epoch == this.epoch)
    {
        steps.push(Step::Publish { authority });
    }
    if this.wait == 0 && (holds || setup.has(Flaw::SupersededConcludes)) {
        let settled = this
            .barrier
            .iter()
            .filter(|pending| state.is_settled(setup, pending));
        steps.extend(settled.map(|pending| Step::Conclude {
            authority,
            record: pending.record,
        }));
    }
}

/// What a process has sent and may arrive now.
pub(super) fn steps_of_messages(setup: &Setup, state: &State, process: usize, steps: &mut Vec<Step>) {
    let node = &state.nodes[process];
    for (ping, sent) in node.pings.iter().enumerate() {
        if let Flight::Up { epoch, .. } = sent.at
            && let Some(authority) = running(state, epoch)
            && (epoch == state.database.epoch
                || state.authorities[authority].beat > 0
                || setup.has(Flaw::OldAuthorityAnswers))
        {
            steps.push(Step::Answer { process, ping });
        }
    }
    if let Some(acknowledgement) = node.acknowledgement
        && running(state, acknowledgement.view.epoch).is_some()
    {
        steps.push(Step::TakeAcknowledgement { process });
    }
}

fn running(state: &State, epoch: u8) -> Option<usize> {
    let is = |a: &Authority| a.life == Life::Running && a.epoch == epoch;
    state.authorities.iter().position(is)
}

pub(super) fn take(setup: &Setup, state: &mut State, step: Step) {
    match step {
        Step::Start { authority } => {
            if let Some(superseded) = state.current() {
                // At worst its last heartbeat has just committed; while it holds the epoch, one may at any time. One tick
                // more, since ticks are whole and its last answer may come at the very end.
                state.authorities[superseded].beat = BEAT + 1;
            }
            state.database.epoch += 1;
            let (epoch, records) = (state.database.epoch, &state.database.records);
            state.authorities[authority] = Authority::started(setup, epoch, records);
        }
        Step::Stop { authority } => {
            let this = &mut state.authorities[authority];
            // The records that it has sent are still on their way.
            *this = Authority {
                epoch: this.epoch,
                found: this.found,
                announced: this.announced,
                ..Authority::none(Life::Over)
            };
        }
        Step::Mint { handle } => mint(state, handle, count(&state.database.records)),
        Step::ReadGrant { handle } => state.database.reading = Some((handle, count(&state.database.records))),
        Step::ReadHead => {
            let (handle, before) = state.database.reading.take().expect("a grant was read");
            mint(state, handle, before);
        }
        Step::Withdraw { authority, kind } => {
            let place = Place {
                epoch: state.authorities[authority].epoch,
                seq: state.head().seq + 1,
            };
            commit(state, place, kind);
        }
        Step::Draw { kind } => {
            let number = count(&state.database.records) + count(&state.database.drawn) + 1;
            state.database.drawn.push((kind, number));
        }
        Step::Commit { drawn } => {
            let (kind, seq) = state.database.drawn.remove(drawn);
            let epoch = state.database.epoch;
            commit(state, Place { epoch, seq }, kind);
        }
        Step::Publish { authority } => publish(setup, &mut state.authorities[authority]),
        Step::Answer { process, ping } => answer(setup, state, process, ping),
        Step::TakeAcknowledgement { process } => {
            let taken = state.nodes[process].acknowledgement.take();
            let taken = taken.expect("one is on its way");
            state.database.starts[process] = true;
            let authority = running(state, taken.view.epoch).expect("somebody takes it");
            for pending in &mut state.authorities[authority].barrier {
                let standing = &mut pending.of[process];
                if pending.record < taken.view.records && !matches!(standing, Standing::Acknowledged(_)) {
                    *standing = Standing::Acknowledged(taken.size);
                }
            }
        }
        Step::Conclude { authority, record } => conclude(setup, state, authority, record),
        _ => unreachable!("a step of the authority"),
    }
}

/// Writes a token with the head that the database has.
fn mint(state: &mut State, handle: u8, before: u8) {
    let token = Token {
        handle,
        rvk: state.head(),
        before,
    };
    let records = &state.database.records[usize::from(before)..];
    let after = |record: &Record| record.kind.kills(handle) && record.place <= token.rvk;
    state.harm.minted_after |= records.iter().any(after);
    state.mints -= 1;
    if !state.tokens.contains(&token) {
        state.tokens.push(token);
    }
}

fn commit(state: &mut State, place: Place, kind: Kind) {
    let head = state.head();
    state.harm.out_of_order |= place.epoch < state.database.epoch || place.seq != head.seq + 1;
    state.database.records.push(Record {
        place,
        kind,
        effective: 0,
        lines: Vec::new(),
    });
}

/// Announces the next record. Under the same lock as answers are registered, so each answer is before or after it.
fn publish(setup: &Setup, authority: &mut Authority) {
    let standing = |answered: &Option<Answered>| answered.map_or(Standing::Unanswered, Standing::Below);
    let mut of: Vec<Standing> = authority.leases.iter().map(standing).collect();
    if setup.has(Flaw::NewStartReplacesOlder) {
        for older in 0..of.len() {
            let newer = older + 1..of.len();
            let same_log = |newer: usize| setup.processes[newer] == setup.processes[older];
            if newer.filter(|n| authority.leases[*n].is_some()).any(same_log) {
                of[older] = Standing::Unanswered;
            }
        }
    }
    authority.barrier.push(Pending {
        record: authority.announced,
        age: 0,
        of,
    });
    authority.announced += 1;
}

/// Reads the head and registers the ping, under one lock.
fn answer(setup: &Setup, state: &mut State, process: usize, ping: usize) {
    let sent = &mut state.nodes[process].pings[ping];
    let Flight::Up { epoch, size } = sent.at else {
        unreachable!("the ping is on its way")
    };
    let left = sent.left;
    let authority = (state.authorities.iter_mut())
        .find(|a| a.life == Life::Running && a.epoch == epoch)
        .expect("somebody takes it");
    *sent = Ping {
        left,
        at: Flight::Down(View {
            epoch,
            records: authority.announced,
        }),
    };
    sent.forget_if_void();
    let last = &mut authority.leases[process];
    let told = match *last {
        // A ping that was overtaken tells a size of before.
        Some(last) if !setup.has(Flaw::SizeOfLastArrival) => last.size.max(size),
        Some(_) | None => size,
    };
    let answered = Answered {
        left: setup.deadline(),
        size: told,
    };
    *last = Some(answered);
    state.database.starts[process] = true;
    if setup.has(Flaw::DeadlineNotFrozen) {
        for pending in &mut authority.barrier {
            if let Standing::Below(below) = &mut pending.of[process] {
                below.left = answered.left;
            }
        }
    }
}

/// Writes `effective` with its list, once.
fn conclude(setup: &Setup, state: &mut State, authority: usize, record: u8) {
    let barrier = &mut state.authorities[authority].barrier;
    let at = barrier.iter().position(|pending| pending.record == record);
    let pending = barrier.remove(at.expect("it waits"));
    let leases = &state.authorities[authority].leases;
    let kind = state.database.records[usize::from(record)].kind;
    let is_known = |process: &usize| match setup.has(Flaw::StartsForgotten) {
        true => leases[*process].is_some() || matches!(pending.of[*process], Standing::Acknowledged(_)),
        false => state.database.starts[*process],
    };
    let line = |log: usize| {
        let of_log = |process: &usize| usize::from(setup.processes[*process]) == log;
        let newest = (0..setup.processes.len()).filter(of_log).rfind(is_known);
        match newest.filter(|process| setup.concerns(kind, *process)) {
            None => Line::Free,
            Some(process) => match pending.of[process] {
                Standing::Unanswered => Line::Free,
                Standing::Below(answered) => Line::Lapsed(answered.size),
                Standing::Acknowledged(size) => Line::Acknowledged(size),
            },
        }
    };
    let lines = (0..setup.operators.len()).map(line).collect();
    let record = &mut state.database.records[usize::from(record)];
    record.effective += 1;
    record.lines = lines;
}
