//! When a withdrawal has taken effect: a state machine without I/O, clock or tasks.
//!
//! Three things happen under one lock, which is the caller's: an answer to a ping reads the head and is registered; a
//! record is published; an acknowledgement is taken. So each answer lies before or after each record, and a record's
//! deadlines, frozen when it is published, count every answer whose head is below it.

use std::collections::BTreeMap;

use unefois_core::effect::{LogLine, Standing, deadline_ms};
use unefois_core::{Boot, ParticipantId, RevocationView, Sha256};

/// A producing process that holds a lease.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LeaseKey {
    /// Whose process.
    pub(crate) participant: ParticipantId,
    /// Its log.
    pub(crate) origin: String,
    /// The epoch that its log took at its start: a new start never replaces an older one.
    pub(crate) boot: u64,
}

/// A ping that is to be answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    /// When it was received; it left before.
    pub(crate) received: Boot,
    /// For how long its answer lets the process decide releases, from when it left.
    pub(crate) lease_ms: u32,
    /// The log's size, which it tells.
    pub(crate) size: u64,
    /// The log's root.
    pub(crate) root: Sha256,
}

/// That a process has a record, and all before it, in force.
#[derive(Clone, Debug)]
pub(crate) struct Acknowledged {
    pub(crate) view: RevocationView,
    pub(crate) checkpoint: String,
}

/// What one answer allows.
#[derive(Clone, Copy, Debug)]
struct Answered {
    deadline: Boot,
    /// The size and root that its ping told.
    size: u64,
    root: Sha256,
}

/// One record that has not taken effect yet.
#[derive(Debug)]
struct Pending {
    /// The processes that may decide releases below it, each until its deadline, save those that acknowledged it.
    below: BTreeMap<LeaseKey, Answered>,
    /// The first acknowledgement of each process at the record's place or beyond.
    acknowledged: BTreeMap<LeaseKey, Acknowledged>,
}

/// Whose logs a record concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Concerned {
    /// Those of one handle's operator.
    Operator(ParticipantId),
    /// Every producer's.
    All,
}

impl Concerned {
    pub(crate) fn holds(&self, participant: &ParticipantId) -> bool {
        match self {
            Self::Operator(operator) => operator == participant,
            Self::All => true,
        }
    }
}

/// The leases given under one epoch and the records that wait for them.
#[derive(Debug)]
pub(crate) struct Barrier {
    /// Before that, processes that an older epoch answered may still decide releases.
    opens_at: Boot,
    /// The last answer to each process; `None` for one that said something and was never answered.
    leases: BTreeMap<LeaseKey, Option<Answered>>,
    /// The newest start of each log that any epoch has heard.
    newest: BTreeMap<(ParticipantId, String), u64>,
    pending: BTreeMap<RevocationView, Pending>,
}

impl Barrier {
    /// The barrier of an epoch taken; nothing takes effect before `opens_at`.
    pub(crate) const fn new(opens_at: Boot) -> Self {
        Self {
            opens_at,
            leases: BTreeMap::new(),
            newest: BTreeMap::new(),
            pending: BTreeMap::new(),
        }
    }

    /// An epoch has heard of a start.
    pub(crate) fn heard(&mut self, lease: &LeaseKey) {
        let log = (lease.participant, lease.origin.clone());
        let newest = self.newest.entry(log).or_insert(0);
        *newest = lease.boot.max(*newest);
    }

    /// Whether this start of a log, or a newer one, was heard of.
    pub(crate) fn is_known(&self, lease: &LeaseKey) -> bool {
        let newest = self.newest.get(&(lease.participant, lease.origin.clone()));
        newest.is_some_and(|newest| *newest >= lease.boot)
    }

    /// A process has opened its view: the newest start of its log is known. Starts that are over go, so that whoever opens
    /// again and again as another start keeps no more than those of one lease's time.
    pub(crate) fn opened(&mut self, lease: &LeaseKey, now: Boot) {
        self.heard(lease);
        self.leases.entry(lease.clone()).or_insert(None);
        self.forget_over(now);
    }

    /// An answer with the present head leaves now.
    pub(crate) fn answer(&mut self, lease: &LeaseKey, asked: Asked) {
        if !self.leases.contains_key(lease) {
            self.opened(lease, asked.received);
        }
        let answered = Answered {
            deadline: asked.received.plus_ms(deadline_ms(asked.lease_ms)),
            size: asked.size,
            root: asked.root,
        };
        let last = self.leases.entry(lease.clone()).or_insert(None);
        // The clock never goes back, but a lease may have been made shorter.
        let deadline = last.map_or(answered.deadline, |last| last.deadline.max(answered.deadline));
        // A ping that another has overtaken (a stream that ended and is read late) tells a size of before: what was
        // released after a lapse between the two would seem late.
        let told = last.filter(|last| last.size > answered.size).unwrap_or(answered);
        *last = Some(Answered { deadline, ..told });
    }

    /// A record is announced: from now on answers are at its place or beyond.
    pub(crate) fn publish(&mut self, place: RevocationView) {
        let below = self.leases.iter();
        let below = below.filter_map(|(lease, answered)| Some((lease.clone(), (*answered)?)));
        let pending = Pending {
            below: below.collect(),
            acknowledged: BTreeMap::new(),
        };
        self.pending.insert(place, pending);
    }

    /// A record of an older epoch is taken up: this epoch answers nobody below it.
    pub(crate) fn take_up(&mut self, place: RevocationView) {
        self.pending.entry(place).or_insert(Pending {
            below: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
        });
    }

    /// A process has everything up to a view in force.
    pub(crate) fn acknowledge(&mut self, lease: &LeaseKey, acknowledged: &Acknowledged) {
        for (_, pending) in self.pending.range_mut(..=acknowledged.view) {
            pending.below.remove(lease);
            let first = pending.acknowledged.entry(lease.clone());
            first.or_insert_with(|| acknowledged.clone());
        }
    }

    /// When the record has taken effect, as far as is known now: `Ok` once it has, else the moment at which it will have
    /// if nobody acknowledges meanwhile.
    pub(crate) fn settled(&self, place: RevocationView, whose: &Concerned, now: Boot) -> Result<(), Boot> {
        let open = self.pending.get(&place).into_iter().flat_map(|pending| {
            let below = pending.below.iter();
            below.filter(|(lease, _)| whose.holds(&lease.participant))
        });
        let last = open.map(|(_, answered)| answered.deadline).max();
        let due = last.map_or(self.opens_at, |last| last.max(self.opens_at));
        // At the deadline itself the last release may just be decided.
        match now > due || (last.is_none() && now >= due) {
            true => Ok(()),
            false => Err(due),
        }
    }

    /// The lines of the proof for `logs`: each with its owner, by its origin.
    pub(crate) fn lines(
        &self,
        place: RevocationView,
        logs: impl IntoIterator<Item = (ParticipantId, String)>,
    ) -> Vec<LogLine> {
        let line = |(participant, origin): (ParticipantId, String)| {
            let newest = self.newest(&participant, &origin);
            LogLine {
                boot: newest.as_ref().map(|lease| lease.boot),
                standing: newest.map_or(Standing::Absent, |lease| self.standing(place, &lease)),
                participant,
                origin,
            }
        };
        let mut lines: Vec<LogLine> = logs.into_iter().map(line).collect();
        lines.sort_unstable_by(|a, b| a.origin.cmp(&b.origin));
        lines
    }

    /// The newest start of a log, if this epoch has heard it: an older one speaks for nobody.
    fn newest(&self, participant: &ParticipantId, origin: &str) -> Option<LeaseKey> {
        let log = (*participant, origin.to_owned());
        let boot = *self.newest.get(&log)?;
        let lease = LeaseKey {
            participant: *participant,
            origin: log.1,
            boot,
        };
        self.leases.contains_key(&lease).then_some(lease)
    }

    fn standing(&self, place: RevocationView, lease: &LeaseKey) -> Standing {
        let Some(pending) = self.pending.get(&place) else {
            return Standing::Opened;
        };
        if let Some(Acknowledged { view, checkpoint }) = pending.acknowledged.get(lease) {
            return Standing::Acknowledged {
                view: *view,
                checkpoint: checkpoint.clone(),
            };
        }
        match pending.below.get(lease) {
            Some(answered) => Standing::Lapsed {
                size: answered.size,
                root: answered.root,
            },
            None => Standing::Opened,
        }
    }

    /// Forgets a record that has taken effect.
    pub(crate) fn forget(&mut self, place: RevocationView, now: Boot) {
        self.pending.remove(&place);
        self.forget_over(now);
    }

    /// Forgets the starts that are over: replaced by a newer one and past their deadline.
    fn forget_over(&mut self, now: Boot) {
        let leases = std::mem::take(&mut self.leases);
        let mut kept = leases.into_iter().peekable();
        while let Some((lease, answered)) = kept.next() {
            let replaced = kept.peek().is_some_and(|(next, _)| {
                (next.participant, next.origin.as_str()) == (lease.participant, lease.origin.as_str())
            });
            let over = answered.is_none_or(|answered| now > answered.deadline);
            if !(replaced && over) {
                self.leases.insert(lease, answered);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Boot = Boot::new(0);

    fn producer(n: u8) -> ParticipantId {
        let sirets = ["21920023500014", "13002526500013"];
        format!("urn:unefois:participant:{}", sirets[usize::from(n)])
            .parse()
            .unwrap()
    }

    fn lease(n: u8, boot: u64) -> LeaseKey {
        LeaseKey {
            participant: producer(n),
            origin: format!("{n}.example/1"),
            boot,
        }
    }

    fn at(ms: i64) -> Boot {
        OPEN.plus_ms(ms)
    }

    fn place(seq: u64) -> RevocationView {
        RevocationView { epoch: 1, seq }
    }

    fn asked(ms: i64, size: u64) -> Asked {
        Asked {
            received: at(ms),
            lease_ms: 1_000,
            size,
            root: Sha256::of(&size.to_be_bytes()),
        }
    }

    fn acknowledged(seq: u64) -> Acknowledged {
        Acknowledged {
            view: place(seq),
            checkpoint: format!("checkpoint {seq}"),
        }
    }

    fn standing(barrier: &Barrier, seq: u64, n: u8) -> Standing {
        let mut lines = barrier.lines(place(seq), [(producer(n), lease(n, 1).origin)]);
        assert_eq!(lines.len(), 1);
        lines.remove(0).standing
    }

    #[test]
    fn i3_a_deadline_is_frozen_and_later_answers_do_not_move_it() {
        let mut barrier = Barrier::new(OPEN);
        barrier.answer(&lease(0, 1), asked(100, 7));
        barrier.publish(place(1));
        barrier.answer(&lease(0, 1), asked(1_000, 9));
        assert_eq!(
            barrier.settled(place(1), &Concerned::All, at(1_000)),
            Err(at(1_150))
        );
        assert_eq!(
            barrier.settled(place(1), &Concerned::All, at(1_150)),
            Err(at(1_150))
        );
        assert_eq!(barrier.settled(place(1), &Concerned::All, at(1_151)), Ok(()));
        let root = Sha256::of(&7_u64.to_be_bytes());
        assert_eq!(standing(&barrier, 1, 0), Standing::Lapsed { size: 7, root });
    }

    #[test]
    fn i3_nothing_takes_effect_while_an_older_epoch_may_have_answered() {
        let mut barrier = Barrier::new(at(1_600));
        barrier.take_up(place(1));
        barrier.publish(place(2));
        barrier.opened(&lease(0, 1), OPEN);
        barrier.acknowledge(&lease(0, 1), &acknowledged(2));
        for seq in [1, 2] {
            assert_eq!(
                barrier.settled(place(seq), &Concerned::All, at(1_599)),
                Err(at(1_600))
            );
            assert_eq!(barrier.settled(place(seq), &Concerned::All, at(1_600)), Ok(()));
        }
    }

    #[test]
    fn i3_an_older_start_counts_until_its_own_deadline() {
        let mut barrier = Barrier::new(OPEN);
        barrier.answer(&lease(0, 1), asked(0, 4));
        barrier.opened(&lease(0, 2), OPEN);
        barrier.publish(place(1));
        barrier.acknowledge(&lease(0, 2), &acknowledged(1));
        assert_eq!(
            barrier.settled(place(1), &Concerned::All, at(1_050)),
            Err(at(1_050))
        );
        assert!(
            matches!(standing(&barrier, 1, 0), Standing::Acknowledged { .. }),
            "its newest start's line"
        );
        barrier.acknowledge(&lease(0, 1), &acknowledged(1));
        assert_eq!(barrier.settled(place(1), &Concerned::All, at(1)), Ok(()));
    }

    #[test]
    fn i3_an_older_start_that_comes_first_to_a_new_epoch_speaks_for_nobody() {
        let mut barrier = Barrier::new(OPEN);
        barrier.heard(&lease(0, 2));
        assert!(barrier.is_known(&lease(0, 1)) && !barrier.is_known(&lease(0, 3)));
        barrier.take_up(place(1));
        barrier.opened(&lease(0, 1), OPEN);
        barrier.acknowledge(&lease(0, 1), &acknowledged(1));
        assert_eq!(standing(&barrier, 1, 0), Standing::Absent);
        barrier.opened(&lease(0, 2), OPEN);
        assert_eq!(standing(&barrier, 1, 0), Standing::Opened);
        barrier.acknowledge(&lease(0, 2), &acknowledged(1));
        assert!(matches!(standing(&barrier, 1, 0), Standing::Acknowledged { .. }));
    }

    #[test]
    fn i3_an_acknowledgement_below_the_record_says_nothing() {
        let mut barrier = Barrier::new(OPEN);
        barrier.answer(&lease(0, 1), asked(0, 4));
        barrier.publish(place(1));
        barrier.publish(place(2));
        barrier.acknowledge(&lease(0, 1), &acknowledged(1));
        assert_eq!(barrier.settled(place(1), &Concerned::All, at(1)), Ok(()));
        assert_eq!(barrier.settled(place(2), &Concerned::All, at(1)), Err(at(1_050)));
        // One of more than both serves the second, and does not replace what the first rests on.
        barrier.acknowledge(&lease(0, 1), &acknowledged(3));
        assert_eq!(barrier.settled(place(2), &Concerned::All, at(1)), Ok(()));
        let of = |seq| match standing(&barrier, seq, 0) {
            Standing::Acknowledged { view, .. } => view.seq,
            other => panic!("{other:?}"),
        };
        assert_eq!((of(1), of(2)), (1, 3));
    }

    #[test]
    fn a_grants_record_waits_for_its_operator_alone() {
        let mut barrier = Barrier::new(OPEN);
        barrier.answer(&lease(0, 1), asked(0, 4));
        barrier.answer(&lease(1, 1), asked(500, 4));
        barrier.publish(place(1));
        barrier.acknowledge(&lease(0, 1), &acknowledged(1));
        let operator = Concerned::Operator(producer(0));
        assert_eq!(barrier.settled(place(1), &operator, at(600)), Ok(()));
        assert_eq!(
            barrier.settled(place(1), &Concerned::All, at(600)),
            Err(at(1_550))
        );
    }

    #[test]
    fn who_comes_after_the_record_delays_nobody() {
        let mut barrier = Barrier::new(OPEN);
        barrier.publish(place(1));
        barrier.answer(&lease(0, 1), asked(10, 4));
        assert_eq!(barrier.settled(place(1), &Concerned::All, at(10)), Ok(()));
        assert_eq!(standing(&barrier, 1, 0), Standing::Opened);
        assert_eq!(standing(&barrier, 1, 1), Standing::Absent);
    }

    #[test]
    fn a_shorter_lease_does_not_shorten_what_was_given() {
        let mut barrier = Barrier::new(OPEN);
        let long = Asked {
            lease_ms: 10_000,
            ..asked(0, 1)
        };
        barrier.answer(&lease(0, 1), long);
        barrier.answer(&lease(0, 1), asked(100, 2));
        barrier.publish(place(1));
        assert_eq!(
            barrier.settled(place(1), &Concerned::All, at(2_000)),
            Err(at(10_500))
        );
    }

    #[test]
    fn a_ping_that_was_overtaken_moves_the_deadline_and_not_the_size() {
        let mut barrier = Barrier::new(OPEN);
        barrier.answer(&lease(0, 1), asked(100, 9));
        barrier.answer(&lease(0, 1), asked(200, 7));
        barrier.publish(place(1));
        let root = Sha256::of(&9_u64.to_be_bytes());
        assert_eq!(standing(&barrier, 1, 0), Standing::Lapsed { size: 9, root });
        let due = barrier.settled(place(1), &Concerned::All, at(300));
        assert_eq!(due, Err(at(1_250)));
    }

    #[test]
    fn what_is_over_is_forgotten_and_the_newest_start_is_not() {
        let mut barrier = Barrier::new(OPEN);
        for boot in 1..=3 {
            barrier.answer(&lease(0, boot), asked(i64::try_from(boot).unwrap() * 1_000, 1));
        }
        barrier.publish(place(1));
        barrier.forget(place(1), at(2_500));
        let boots: Vec<u64> = barrier.leases.keys().map(|lease| lease.boot).collect();
        assert_eq!(boots, [2, 3], "the second may still decide");
        assert!(barrier.pending.is_empty());
        barrier.forget(place(1), at(90_000));
        assert_eq!(barrier.leases.len(), 1);
    }
}
