//! One state: the database, every process, and what is on the wire.
//!
//! There is no clock in it. Each instant is kept as the ticks left until it no longer matters, so that states that differ
//! in nothing but their date are one, and a run without a horizon ends.

use crate::setup::{DRIFT, Flaw, Kind, Setup};

/// A place in the log of withdrawals, compared as such.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) epoch: u8,
    pub(crate) seq: u8,
}

/// What a process has applied: an epoch, and how many records in the order of their commits. Without a flaw that number is
/// the last record's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct View {
    pub(crate) epoch: u8,
    pub(crate) records: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Record {
    pub(crate) place: Place,
    pub(crate) kind: Kind,
    /// How often `effective` was written.
    pub(crate) effective: u8,
    /// The proof's line of each log, once it is effective.
    pub(crate) lines: Vec<Line>,
}

/// What the proof says of one log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Line {
    /// Opened at S, absent, or not of an operator concerned: no size binds it.
    Free,
    Acknowledged(u8),
    Lapsed(u8),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Database {
    pub(crate) epoch: u8,
    pub(crate) records: Vec<Record>,
    /// Under [`Flaw::SeqFromSequence`]: numbers drawn by transactions that have not committed.
    pub(crate) drawn: Vec<(Kind, u8)>,
    /// Under [`Flaw::MintInTwoStatements`]: a grant that was read, and the records committed by then.
    pub(crate) reading: Option<(u8, u8)>,
    /// The starts of processes that are known, whichever epoch heard them.
    pub(crate) starts: Vec<bool>,
}

/// Where a process stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Life {
    Awaited,
    Running,
    Over,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Authority {
    pub(crate) life: Life,
    pub(crate) epoch: u8,
    /// Records that it found when it took its epoch.
    pub(crate) found: u8,
    /// Records that it has announced.
    pub(crate) announced: u8,
    /// Ticks for which its last heartbeat lets it answer, once it is superseded.
    pub(crate) beat: u8,
    /// Ticks until it may write its first `effective`.
    pub(crate) wait: u8,
    /// For each process: the last answer that was given.
    pub(crate) leases: Vec<Option<Answered>>,
    pub(crate) barrier: Vec<Pending>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Answered {
    /// Ticks until its deadline.
    pub(crate) left: u8,
    /// The log's size that the ping told.
    pub(crate) size: u8,
}

/// A record that waits for its effect.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Pending {
    pub(crate) record: u8,
    /// Ticks since this authority published it or took it up, as far as they matter.
    pub(crate) age: u8,
    pub(crate) of: Vec<Standing>,
}

/// Where a process stands towards a record that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Standing {
    /// This epoch never answered it below the record.
    Unanswered,
    Below(Answered),
    /// With the log's size.
    Acknowledged(u8),
}

/// Where a lease stands between ledger and clock, as `node::lease` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Phase {
    Starting,
    Open,
    Lapsed,
    Recorded,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Node {
    pub(crate) life: Life,
    pub(crate) view: View,
    /// Records that the guard knows: those of the view, but for [`Flaw::AcknowledgedBeforeGuard`].
    pub(crate) shut: u8,
    pub(crate) phase: Phase,
    /// Ticks for which the lease is fresh by the slowest clock; by others it may lapse [`DRIFT`] earlier.
    pub(crate) fresh: u8,
    /// The log's size as it knows it: another start may have written more.
    pub(crate) size: u8,
    pub(crate) pings: Vec<Ping>,
    /// Whether it has acknowledged its view.
    pub(crate) told: bool,
    /// The acknowledgement under way. A later one takes its place, which says more.
    pub(crate) acknowledgement: Option<Acknowledgement>,
    pub(crate) attempt: Attempt,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Acknowledgement {
    pub(crate) view: View,
    pub(crate) size: u8,
}

/// One nonce: what its sender makes of it, and where the message is. A nonce is used again once its message is lost, which
/// may be at any time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ping {
    /// Ticks for which an answer would hold; 0 once it is void.
    pub(crate) left: u8,
    pub(crate) at: Flight,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Flight {
    #[default]
    Nowhere,
    /// On its way to the authority of that epoch, with the log's size.
    Up { epoch: u8, size: u8 },
    /// An answer on its way, with the head that it tells.
    Down(View),
}

/// One release. A process has one under way: others would share nothing but the log and the guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Attempt {
    None,
    /// The gate let it through, the batch is in flight.
    Building {
        token: u8,
        view: View,
    },
    /// Its entry is durable.
    Released {
        token: u8,
        entry: u8,
    },
    /// The guard let a chunk through, and the consumer's window is closed.
    Buffered {
        token: u8,
        entry: u8,
    },
    /// A chunk has left; another may follow, through the guard.
    Sending {
        token: u8,
        entry: u8,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Entry {
    /// `released` or `released_again`.
    Released {
        handle: u8,
        view: View,
    },
    /// Closes the release at that place.
    Withheld(u8),
    Lapsed,
    Resumed,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Log {
    /// The process that holds its epoch.
    pub(crate) holder: u8,
    /// The view of its `ledger_head` row.
    pub(crate) view: View,
    pub(crate) entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Token {
    pub(crate) handle: u8,
    pub(crate) rvk: Place,
    /// Records committed when its grant was read: those after must kill it.
    pub(crate) before: u8,
}

/// What must not happen and is no property of a single state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Harm {
    /// A byte left under a handle after a record that withdraws it was effective.
    pub(crate) byte_after_effect: bool,
    /// A token was let through by a process that had applied a record made after it.
    pub(crate) killed_token: bool,
    /// A record was committed at a place that does not follow the head.
    pub(crate) out_of_order: bool,
    /// A token of a withdrawn grant carries an `rvk` at the record's place or beyond.
    pub(crate) minted_after: bool,
    /// A log's view went back.
    pub(crate) view_fell: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct State {
    pub(crate) database: Database,
    pub(crate) authorities: Vec<Authority>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) logs: Vec<Log>,
    pub(crate) tokens: Vec<Token>,
    pub(crate) mints: u8,
    pub(crate) releases: u8,
    /// Ticks left of a run with a horizon.
    pub(crate) clock: u8,
    pub(crate) harm: Harm,
}

/// Lengths here are a handful.
pub(crate) fn count<T>(items: &[T]) -> u8 {
    u8::try_from(items.len()).expect("a handful")
}

impl State {
    /// The first processes have just had their first answer; later ones start from nothing.
    pub(crate) fn first(setup: &Setup) -> Self {
        let view = View { epoch: 1, records: 0 };
        let first_of = |process: usize| !setup.processes[..process].contains(&setup.processes[process]);
        let firsts: Vec<bool> = (0..setup.processes.len()).map(first_of).collect();
        let nodes = firsts.iter().map(|first| match first {
            true => Node::warm(setup, view),
            false => Node::cold(setup, Life::Awaited),
        });
        let nodes = nodes.collect();
        let answered = Answered {
            left: setup.deadline(),
            size: 0,
        };
        let mut first = Authority::started(setup, 1, &[]);
        first.leases = firsts.iter().map(|first| first.then_some(answered)).collect();
        first.wait = 0;
        let mut authorities = vec![first];
        authorities.resize(usize::from(setup.authorities), Authority::none(Life::Awaited));
        let log = |log: usize| Log {
            holder: small(setup.processes.iter().position(|of| usize::from(*of) == log)),
            view,
            entries: Vec::new(),
        };
        Self {
            database: Database {
                epoch: 1,
                starts: firsts,
                ..Database::default()
            },
            authorities,
            nodes,
            logs: (0..setup.operators.len()).map(log).collect(),
            tokens: (0..count(setup.handles)).map(Token::first).collect(),
            mints: setup.mints,
            releases: setup.releases,
            clock: setup.horizon.unwrap_or(0),
            harm: Harm::default(),
        }
    }

    /// The place of a view, as tokens are compared with it.
    pub(crate) fn place(&self, view: View) -> Place {
        let applied = &self.database.records[..usize::from(view.records)];
        Place {
            epoch: view.epoch,
            seq: applied.iter().map(|record| record.place.seq).max().unwrap_or(0),
        }
    }

    /// The head as the database has it.
    pub(crate) fn head(&self) -> Place {
        self.place(View {
            epoch: self.database.epoch,
            records: count(&self.database.records),
        })
    }

    /// The authority that holds the epoch, if it runs.
    pub(crate) fn current(&self) -> Option<usize> {
        let holds = |a: &Authority| a.life == Life::Running && a.epoch == self.database.epoch;
        self.authorities.iter().position(holds)
    }

    /// Whether one of the first `records` records kills a token, as the guard compares.
    pub(crate) fn kills(&self, records: u8, token: Token) -> bool {
        self.database.records[..usize::from(records)]
            .iter()
            .any(|record| record.kind.kills(token.handle) && record.place > token.rvk)
    }

    pub(crate) fn is_withdrawn(&self, handle: u8) -> bool {
        self.database
            .records
            .iter()
            .any(|record| record.kind.kills(handle))
    }

    /// Whether a record has taken effect: every process concerned has it in force or cannot release any more.
    pub(crate) fn is_settled(&self, setup: &Setup, pending: &Pending) -> bool {
        let kind = self.database.records[usize::from(pending.record)].kind;
        let holds = |(process, standing): (usize, &Standing)| {
            let below = matches!(standing, Standing::Below(answered) if answered.left > 0);
            below && setup.concerns(kind, process)
        };
        !pending.of.iter().enumerate().any(holds)
    }

    /// A tick: every instant is one nearer.
    pub(crate) fn tick(&mut self, setup: &Setup) {
        self.clock = self.clock.saturating_sub(1);
        for authority in &mut self.authorities {
            authority.tick(setup);
        }
        for node in &mut self.nodes {
            node.fresh = node.fresh.saturating_sub(1);
            for ping in &mut node.pings {
                ping.left = ping.left.saturating_sub(1);
                ping.forget_if_void();
            }
        }
    }
}

fn small(n: Option<usize>) -> u8 {
    u8::try_from(n.expect("each log has a process")).expect("a handful")
}

impl Authority {
    pub(crate) fn none(life: Life) -> Self {
        Self {
            life,
            epoch: 0,
            found: 0,
            announced: 0,
            beat: 0,
            wait: 0,
            leases: Vec::new(),
            barrier: Vec::new(),
        }
    }

    /// One that has taken `epoch` and takes up every record that is not effective.
    pub(crate) fn started(setup: &Setup, epoch: u8, records: &[Record]) -> Self {
        let barrier = records
            .iter()
            .enumerate()
            .filter(|(_, record)| record.effective == 0);
        let unanswered = |(record, _): (usize, &Record)| Pending {
            record: small(Some(record)),
            age: 0,
            of: vec![Standing::Unanswered; setup.processes.len()],
        };
        Self {
            life: Life::Running,
            epoch,
            found: count(records),
            announced: count(records),
            beat: 0,
            wait: setup.start_wait(),
            leases: vec![None; setup.processes.len()],
            barrier: barrier.map(unanswered).collect(),
        }
    }

    fn tick(&mut self, setup: &Setup) {
        self.beat = self.beat.saturating_sub(1);
        self.wait = self.wait.saturating_sub(1);
        for answered in self.leases.iter_mut().flatten() {
            answered.left = answered.left.saturating_sub(1);
        }
        for pending in &mut self.barrier {
            pending.age = (pending.age + 1).min(setup.held());
            for standing in &mut pending.of {
                if let Standing::Below(answered) = standing {
                    answered.left = answered.left.saturating_sub(1);
                }
            }
        }
    }
}

impl Node {
    pub(crate) fn cold(setup: &Setup, life: Life) -> Self {
        Self {
            life,
            view: View::default(),
            shut: 0,
            phase: Phase::Starting,
            fresh: 0,
            size: 0,
            pings: vec![Ping::default(); usize::from(setup.nonces)],
            told: true,
            acknowledgement: None,
            attempt: Attempt::None,
        }
    }

    fn warm(setup: &Setup, view: View) -> Self {
        Self {
            view,
            phase: Phase::Open,
            fresh: setup.held(),
            ..Self::cold(setup, Life::Running)
        }
    }

    /// Whether its clock may say that the lease is over.
    pub(crate) fn may_lapse(&self) -> bool {
        self.phase == Phase::Open && self.fresh <= DRIFT
    }

    /// Notices that the lease is over.
    pub(crate) fn lapse(&mut self, setup: &Setup) {
        self.phase = Phase::Lapsed;
        self.fresh = 0;
        if !setup.has(Flaw::PingsOutliveLapse) {
            for ping in &mut self.pings {
                ping.left = 0;
                ping.forget_if_void();
            }
        }
        if !setup.has(Flaw::StreamsOutliveLease) {
            self.reset();
        }
    }

    /// Resets its stream, if one is under way: what the consumer's window holds back never leaves.
    pub(crate) fn reset(&mut self) {
        if let Attempt::Buffered { .. } | Attempt::Sending { .. } = self.attempt {
            self.attempt = Attempt::None;
        }
    }
}

impl Ping {
    /// An answer that its sender would ignore is nowhere; a ping that it would ignore is still answered.
    pub(crate) fn forget_if_void(&mut self) {
        if let (0, Flight::Down(_)) = (self.left, self.at) {
            self.at = Flight::Nowhere;
        }
        if let Flight::Nowhere = self.at {
            self.left = 0;
        }
    }
}

impl Token {
    fn first(handle: u8) -> Self {
        Self {
            handle,
            rvk: Place { epoch: 1, seq: 0 },
            before: 0,
        }
    }
}
