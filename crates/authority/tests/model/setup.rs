//! What one run explores: who takes part, how much of it, and which clause is left out.

/// Ticks by which a clock may lag behind another while a lease lasts: 5 % of it, rounded up to a whole tick.
///
/// Only « the margin is at least the drift » matters to the protocol, so that a drift as large as a tick loses nothing.
pub(crate) const DRIFT: u8 = 1;
/// Ticks from the sending of a heartbeat within which pings are answered (500 ms).
pub(crate) const BEAT: u8 = 1;

/// What a record withdraws.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// One handle: the leases of its operator are concerned.
    Grant(u8),
    /// Everything of the one consumer there is: all leases are concerned. CLIENT_CERT, SIGNING_KEY and ALL_BEFORE do the
    /// same to these tokens.
    Client,
}

impl Kind {
    pub(crate) fn kills(self, handle: u8) -> bool {
        match self {
            Self::Grant(one) => one == handle,
            Self::Client => true,
        }
    }
}

/// A clause that a run leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Numbers come from a sequence, so that commits are out of their order.
    SeqFromSequence,
    /// A mint reads the grant, then the head.
    MintInTwoStatements,
    /// Pings are answered without a heartbeat that committed.
    OldAuthorityAnswers,
    /// A withdrawal is written without `WHERE epoch = $mine`.
    SupersededWithdraws,
    /// `effective` is written without `WHERE epoch = $mine`.
    SupersededConcludes,
    /// A new epoch writes `effective` without a wait.
    NoWaitAfterStart,
    /// That wait holds nothing for clocks that drift.
    WaitWithoutDrift,
    /// Deadlines hold nothing for clocks that drift.
    DeadlineWithoutDrift,
    /// Each answer moves the deadlines of what was published before it.
    DeadlineNotFrozen,
    /// A new start of a process makes the authority forget the older one's deadline.
    NewStartReplacesOlder,
    /// A new epoch knows only the starts that it heard itself.
    StartsForgotten,
    /// The size of the last ping to arrive counts, even of one sent before another.
    SizeOfLastArrival,
    /// A record is acknowledged before the guard knows it.
    AcknowledgedBeforeGuard,
    /// A record is acknowledged while a batch is in flight.
    AcknowledgedBeforeBatch,
    /// Streams under way are reset before the acknowledgement, but not before the next answer counts.
    StreamsOutliveRecord,
    /// Streams under way go on after the acknowledgement.
    StreamsOutliveAcknowledgement,
    /// Streams under way go on after the lease.
    StreamsOutliveLease,
    /// The lease counts from the receipt of the answer.
    LeaseFromReceipt,
    /// An answer counts before its head is applied.
    AnswerBeforeHead,
    /// A lapse leaves the pings under way in force.
    PingsOutliveLapse,
    /// A ping leaves before the entry `lapsed` is durable.
    PingBeforeLapsed,
}

/// What one run explores.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// How it is told.
    pub(crate) name: &'static str,
    /// The log that each process writes. Those of one log are its successive starts: the first runs at the beginning,
    /// the others may come at any time, while the older one goes on or not.
    pub(crate) processes: &'static [u8],
    /// The operator of each log.
    pub(crate) operators: &'static [u8],
    /// The operator of each handle: the `aud` of its tokens.
    pub(crate) handles: &'static [u8],
    /// What may be withdrawn, each once (again is no record), in any order, at any time.
    pub(crate) withdrawals: &'static [Kind],
    /// Starts of an authority: the first runs at the beginning. A restart and a standby that takes over are the same, since
    /// neither knows anything but the database.
    pub(crate) authorities: u8,
    /// Pings that a process may have under way.
    pub(crate) nonces: u8,
    /// Ticks of a lease.
    pub(crate) lease: u8,
    /// Releases that are tried, over all processes.
    pub(crate) releases: u8,
    /// Tokens that are minted beside the one held at the beginning.
    pub(crate) mints: u8,
    /// Entries that a log takes; a full one is a ledger that cannot be written.
    pub(crate) entries: usize,
    /// For a run to its end: ticks until then. Others have no end, only ages.
    pub(crate) horizon: Option<u8>,
    /// The clause left out.
    pub(crate) flaw: Option<Flaw>,
    /// What must be seen to happen, by parts of the names in `properties`.
    pub(crate) reaches: &'static [&'static str],
}

impl Setup {
    pub(crate) fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    /// The longest that a process may decide releases from when its ping left, by any other clock.
    pub(crate) fn held(&self) -> u8 {
        self.lease + DRIFT
    }

    /// What the authority adds to the receipt of a ping.
    pub(crate) fn deadline(&self) -> u8 {
        match self.has(Flaw::DeadlineWithoutDrift) {
            true => self.lease,
            false => self.held(),
        }
    }

    /// How long a new epoch waits before its first `effective`: lease + 600 ms.
    pub(crate) fn start_wait(&self) -> u8 {
        match self.flaw {
            Some(Flaw::NoWaitAfterStart) => 0,
            Some(Flaw::WaitWithoutDrift) => BEAT + self.lease,
            _ => BEAT + self.held(),
        }
    }

    /// Ticks at the end of a run with a horizon in which nothing new goes wrong, so that everything can be settled.
    pub(crate) fn calm(&self) -> u8 {
        self.start_wait() + self.held() + 1
    }

    pub(crate) fn operator(&self, process: usize) -> u8 {
        self.operators[usize::from(self.processes[process])]
    }

    /// Whether a record's barrier waits for this process.
    pub(crate) fn concerns(&self, kind: Kind, process: usize) -> bool {
        match kind {
            Kind::Grant(handle) => self.handles[usize::from(handle)] == self.operator(process),
            Kind::Client => true,
        }
    }
}
