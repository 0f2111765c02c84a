//! Random worlds, honest and not, against the rules of the specification applied by somebody who knows every handle; and
//! each lie by itself.

mod world;

use std::collections::BTreeSet;

use proptest::prelude::*;
use unefois_core::commitment::GrantSecret;
use unefois_core::effect::{Effect, Standing};
use unefois_core::{Event, Sha256};

use self::world::{HANDLES, ORIGINS, World, key, operator_of_handle, operator_of_log};
use super::{Fault, Judged, NotJudged, Remark, Report, Why};

/// One step of a world.
#[derive(Clone, Debug)]
enum Step {
    Fetch(usize, usize, bool, bool),
    Withdraw(usize, bool),
    Hear(usize),
    Ping(usize),
    Lapse(usize),
    Resume(usize),
    Crash(usize),
    Restart,
    Settle,
    /// A release that no honest node writes, under the view that it has shown last.
    Lie(usize, usize),
}

fn step(lies: bool) -> impl Strategy<Value = Step> {
    let (handle, log) = (0..HANDLES, 0..ORIGINS.len());
    prop_oneof![
        8 => (handle.clone(), log.clone(), prop::bool::weighted(0.2), any::<bool>())
            .prop_map(|(handle, log, withhold, again)| Step::Fetch(handle, log, withhold, again)),
        2 => (handle.clone(), any::<bool>()).prop_map(|(handle, narrow)| Step::Withdraw(handle, narrow)),
        4 => log.clone().prop_map(Step::Hear),
        4 => log.clone().prop_map(Step::Ping),
        1 => log.clone().prop_map(Step::Lapse),
        4 => log.clone().prop_map(Step::Resume),
        1 => log.clone().prop_map(Step::Crash),
        1 => Just(Step::Restart),
        2 => Just(Step::Settle),
        u32::from(lies) * 3 => (handle, log).prop_map(|(handle, log)| Step::Lie(handle, log)),
    ]
}

fn lived(steps: &[(Step, u8)]) -> World {
    let mut world = World::default();
    (0..ORIGINS.len()).for_each(|log| world.resume(log));
    for (step, seconds) in steps {
        world.pass(*seconds);
        match *step {
            Step::Fetch(handle, log, withhold, again) => world.fetch(handle, log, withhold, again),
            Step::Withdraw(handle, true) => world.withdraw(handle, Event::Narrowed),
            Step::Withdraw(handle, false) => world.withdraw(handle, Event::Withdrawn),
            Step::Hear(log) => world.hear(log),
            Step::Ping(log) => world.ping(log),
            Step::Lapse(log) => world.lapse(log),
            Step::Resume(log) => world.resume(log),
            Step::Crash(log) => world.crash(log),
            Step::Restart => world.restart(),
            Step::Settle => world.settle(),
            Step::Lie(handle, log) if operator_of_handle(handle) == operator_of_log(log) => {
                // It hides what it knows: its entries show the last view written.
                let known = world.nodes[log].view;
                let shown = world.nodes[log].entries.last().map_or(known, |entry| entry.view);
                world.nodes[log].view = shown;
                world.release(handle, log, false, false);
                world.nodes[log].view = known;
            }
            Step::Lie(..) => {}
        }
    }
    world
}

type Found = BTreeSet<(String, u64)>;

/// What the specification says of each release, by who knows its handle: late, and not proved.
fn expected(world: &World) -> (Found, Found) {
    let (mut late, mut unproved) = (Found::new(), Found::new());
    for sent in world.sent.iter().filter(|sent| !sent.withheld) {
        let name = (ORIGINS[sent.log].to_owned(), sent.index);
        if sent.closed {
            late.insert(name.clone());
        }
        let entries = &world.nodes[sent.log].entries;
        let release = &entries[usize::try_from(sent.index).unwrap()];
        for (_, effect, _) in &world.effects {
            if effect.record.withdrawal
                != unefois_core::revocation::Withdrawal::Grant(world::handle(sent.handle))
            {
                continue;
            }
            let line = effect
                .logs
                .iter()
                .find(|line| line.origin == ORIGINS[sent.log])
                .unwrap();
            let lapsed = |size: u64| {
                let places = (0..)
                    .zip(entries)
                    .filter(|(place, entry)| *place >= size && entry.event == Event::Lapsed);
                places.map(|(place, _)| place).min()
            };
            let size_of = |checkpoint: &str| checkpoint.lines().nth(1).unwrap().parse::<u64>().unwrap();
            let (is_late, is_unproved) = match &line.standing {
                _ if release.view >= effect.place() => (true, false),
                Standing::Acknowledged { checkpoint, .. } => (sent.index >= size_of(checkpoint), false),
                Standing::Lapsed { size, .. } => match lapsed(*size) {
                    Some(lapsed) if sent.index > lapsed => (true, false),
                    _ => (false, sent.index >= *size),
                },
                Standing::Opened => (false, false),
                Standing::Absent => (false, true),
            };
            if is_late {
                late.insert(name.clone());
            } else if is_unproved && !sent.closed {
                unproved.insert(name.clone());
            }
        }
    }
    (late, unproved)
}

fn found(report: &Report) -> (Found, Found) {
    let of_handles = report.withdrawals.iter().flat_map(|judged| &judged.late);
    let late = of_handles.chain(&report.closed);
    let unproved = report.withdrawals.iter().flat_map(|judged| &judged.unproved);
    (
        late.map(|late| (late.release.origin.clone(), late.release.index))
            .collect(),
        unproved
            .map(|place| (place.origin.clone(), place.index))
            .collect(),
    )
}

fn steps(lies: bool) -> impl Strategy<Value = Vec<(Step, u8)>> {
    prop::collection::vec((step(lies), 0..60_u8), 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn i3_honest_ledgers_accuse_nobody(steps in steps(false)) {
        let world = lived(&steps);
        let report = world.judged();
        prop_assert!(report.holds(), "{:?}", report);
        let (late, unproved) = found(&report);
        prop_assert_eq!((late, unproved), (Found::new(), expected(&world).1));
        for judged in &report.withdrawals {
            prop_assert!(judged.remarks.is_empty() && judged.not_judged.is_none(), "{:?}", judged);
        }
        prop_assert_eq!(report.pending.len(), world.withdrawn.len() - world.effects.len());
    }

    #[test]
    fn i3_every_late_release_is_found_and_no_other(steps in steps(true)) {
        let world = lived(&steps);
        let report = world.judged();
        prop_assert_eq!(found(&report), expected(&world));
        prop_assert!(report.withdrawals.iter().all(|judged| judged.faults.is_empty()), "{:?}", report);
    }

    #[test]
    fn i3_each_broken_proof_is_found_and_no_other(steps in steps(false), which in any::<prop::sample::Index>(), lie in 0..7_usize) {
        let mut world = lived(&steps);
        world.withdraw(0, Event::Withdrawn);
        world.settle();
        let which = which.index(world.effects.len());
        let honest = world.effects[which].1.clone();
        let fault = broken(&mut world, which, lie);
        let report = world.judged();
        for (number, judged) in report.withdrawals.iter().enumerate() {
            let last = lie == 5 && number == report.withdrawals.len() - 1;
            let faults = match fault.clone() {
                Some(fault) if last || (lie != 5 && number == which) => vec![fault],
                _ => Vec::new(),
            };
            prop_assert_eq!(&judged.faults, &faults, "{} {:?}", lie, honest);
        }
        prop_assert_eq!(report.holds(), fault.is_none());
    }
}

/// Breaks one proof; what is to be found, unless it has no line to break in this way.
fn broken(world: &mut World, which: usize, lie: usize) -> Option<Fault> {
    let index = world.effects[which].0;
    let (_, effect, secrets) = &mut world.effects[which];
    let acknowledged = |effect: &mut Effect, change: &dyn Fn(&mut String)| {
        effect.logs.iter_mut().find_map(|line| match &mut line.standing {
            Standing::Acknowledged { checkpoint, .. } => {
                change(checkpoint);
                Some(line.origin.clone())
            }
            Standing::Lapsed { .. } | Standing::Opened | Standing::Absent => None,
        })
    };
    match lie {
        0 => Some(Fault::NoLine(effect.logs.pop().unwrap().origin)),
        1 => {
            let again = effect.logs[0].clone();
            effect.logs.insert(0, again);
            Some(Fault::OtherLine(effect.logs[0].origin.clone()))
        }
        // Signed by nobody.
        2 => acknowledged(effect, &|checkpoint| {
            *checkpoint = checkpoint.replacen('\n', "\n1", 1)
        })
        .map(Fault::Checkpoint),
        // Signed by its log, and of a history that the log does not have.
        3 => {
            let forged = |checkpoint: &mut String| {
                let log = ORIGINS
                    .iter()
                    .position(|origin| checkpoint.starts_with(origin))
                    .unwrap();
                let size = checkpoint.lines().nth(1).unwrap().parse().unwrap();
                let root = unefois_tlog::Hash::of_leaf(b"another");
                let head = unefois_tlog::Checkpoint::new(ORIGINS[log].parse().unwrap(), size, root).unwrap();
                *checkpoint = head.sign(&key(log)).unwrap().as_str().to_owned();
            };
            acknowledged(effect, &forged).map(Fault::OtherHistory)
        }
        4 => {
            for (_, secret) in secrets {
                *secret = GrantSecret::from_bytes([0xee; 32]);
            }
            Some(Fault::Secret)
        }
        // Another proof of the same record.
        5 => {
            let (handle, mut other) = (handle_of(effect), effect.clone());
            other.effective_at = other.effective_at.plus_ms(1);
            world.effective(handle, other);
            Some(Fault::TwoProofs(index))
        }
        _ => effect.logs.iter_mut().find_map(|line| match &mut line.standing {
            Standing::Lapsed { root, .. } => {
                *root = Sha256::of(b"another");
                Some(Fault::OtherHistory(line.origin.clone()))
            }
            Standing::Acknowledged { .. } | Standing::Opened | Standing::Absent => None,
        }),
    }
}

fn handle_of(effect: &Effect) -> usize {
    let is = |n: &usize| {
        effect.record.withdrawal == unefois_core::revocation::Withdrawal::Grant(world::handle(*n))
    };
    (0..HANDLES).find(is).unwrap()
}

/// A world in which every log was open and answered, and a handle that is withdrawn.
fn begun() -> World {
    let mut world = World::default();
    (0..ORIGINS.len()).for_each(|log| world.resume(log));
    world.fetch(0, 0, false, false);
    world.fetch(1, 0, false, false);
    (0..ORIGINS.len()).for_each(|log| world.ping(log));
    world.withdraw(0, Event::Withdrawn);
    world
}

fn only(report: &Report) -> &Judged {
    assert_eq!(report.withdrawals.len(), 1);
    &report.withdrawals[0]
}

fn why(report: &Report) -> Vec<(Why, u64)> {
    let late = only(report).late.iter().chain(&report.closed);
    late.map(|late| (late.why, late.release.index)).collect()
}

#[test]
fn i3_each_rule_by_itself() {
    // At the acknowledged size, under the view before.
    let mut world = begun();
    let before = world.nodes[0].view;
    (0..2).for_each(|log| world.hear(log));
    world.settle();
    world.nodes[0].view = before;
    let size = world.nodes[0].entries.len() as u64;
    world.release(0, 0, false, false);
    assert_eq!(why(&world.judged()), [(Why::Acknowledged, size)]);
    // Not one byte of it left.
    let mut world = begun();
    (0..2).for_each(|log| world.hear(log));
    world.settle();
    world.release(0, 0, true, false);
    assert_eq!(why(&world.judged()), []);
    assert!(only(&world.judged()).is_proved());

    // Under a view that has the record.
    world.release(0, 0, false, true);
    let size = world.nodes[0].entries.len() as u64;
    assert_eq!(why(&world.judged()), [(Why::View, size - 1)]);

    // In time or not, nobody can tell; and after the lapse.
    let mut world = begun();
    let size = world.nodes[0].entries.len() as u64;
    world.fetch(0, 0, false, false);
    world.hear(1);
    world.settle();
    world.fetch(1, 0, false, false);
    let report = world.judged();
    assert_eq!(
        only(&report)
            .unproved
            .iter()
            .map(|place| place.index)
            .collect::<Vec<_>>(),
        [size]
    );
    assert!(report.holds() && !only(&report).is_proved());
    world.nodes[0].entries.push(unefois_core::Entry {
        view: before,
        ..unefois_core::Entry::new(Event::Resumed, unefois_core::Micros::new(0))
    });
    let last = world.nodes[0].entries.len() as u64;
    world.release(0, 0, false, false);
    assert_eq!(why(&world.judged()), [(Why::Lapsed, last)]);

    // Between a lapse and its end, of a handle that nobody withdrew.
    let mut world = begun();
    (0..2).for_each(|log| world.hear(log));
    world.settle();
    world.lapse(1);
    world.ping(1);
    let place = world.nodes[1].entries.len() as u64;
    world.release(1, 1, false, false);
    assert_eq!(why(&world.judged()), [(Why::Closed, place)]);
    assert!(!world.judged().holds());
}

#[test]
fn a_proof_that_stands_twice_is_told_and_accuses_nobody() {
    let mut world = begun();
    world.settle();
    let (index, effect, _) = world.effects[0].clone();
    world.effective(0, effect);
    let report = world.judged();
    assert!(report.holds());
    assert_eq!(report.withdrawals[1].remarks, [Remark::Duplicate(index)]);
    assert_eq!(report.pending, []);
}

/// The authority died before it noted that the entry is written.
#[test]
fn a_withdrawal_that_is_announced_twice_waits_for_one_proof() {
    let mut world = begun();
    world.announce(0, Event::Withdrawn);
    assert_eq!(world.judged().pending.len(), 2);
    world.settle();
    world.announce(0, Event::Withdrawn);
    assert_eq!(world.judged().pending, []);
}

/// The authority narrows an element and never proves that its handle has ended, though nobody has stopped the grant.
#[test]
fn a_handle_that_was_narrowed_waits_for_its_proof_like_one_that_was_stopped() {
    let mut world = begun();
    world.settle();
    let place = world.authority.len() as u64;
    world.withdraw(1, Event::Narrowed);
    let pending = world.judged().pending;
    assert_eq!(
        pending.iter().map(|pending| pending.index).collect::<Vec<_>>(),
        [place]
    );
    world.settle();
    assert_eq!(world.judged().pending, []);
}

#[test]
fn what_another_directory_explains_is_not_accused() {
    let mut world = begun();
    world.settle();
    let mut listed = world.listed();
    listed.version = 2;
    let one = listed.logs.remove(ORIGINS[0]).unwrap();
    listed.logs.insert("a.example/3".to_owned(), one);
    let report = world.judged_by(&listed);
    assert!(report.holds(), "{report:?}");
    let remarks = &only(&report).remarks;
    assert!(
        remarks.contains(&Remark::RemovedSince(ORIGINS[0].to_owned())),
        "{remarks:?}"
    );
    assert!(
        remarks.contains(&Remark::AddedSince("a.example/3".to_owned())),
        "{remarks:?}"
    );
    // The same version, but not that which the proof rests on: it was issued since.
    listed.version = 1;
    listed.issued_at = world.effects[0].1.effective_at.plus_ms(1);
    assert!(world.judged_by(&listed).holds());
    listed.issued_at = unefois_core::Micros::new(0);
    let faults = &only(&world.judged_by(&listed)).faults.clone();
    assert_eq!(
        *faults,
        [
            Fault::OtherLine(ORIGINS[0].to_owned()),
            Fault::NoLine("a.example/3".to_owned())
        ]
    );
}

#[test]
fn without_its_secrets_a_withdrawal_is_not_judged() {
    let mut world = begun();
    world.settle();
    world.release(0, 0, false, false);
    world.effects[0].2.clear();
    let report = world.judged();
    assert_eq!(only(&report).not_judged, Some(NotJudged::Erased));
    assert!(report.holds() && !only(&report).is_proved());
    assert_eq!(report.pending, []);
}
