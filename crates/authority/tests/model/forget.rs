//! States that differ in nothing that a later step or property looks at are one.

use crate::setup::{Flaw, Setup};
use crate::state::{Attempt, Authority, Flight, Life, Node, Phase, State, View};

impl State {
    /// Whether nothing is released any more. What a process still does then shows nowhere: its next entries and pings are
    /// beyond every release. What it has sent may still arrive. (A run to its end looks at effects alone and has no
    /// releases from the first.)
    pub(crate) fn is_quiet(&self, setup: &Setup) -> bool {
        let idle = |node: &Node| node.attempt == Attempt::None;
        setup.horizon.is_none() && self.releases == 0 && self.nodes.iter().all(idle)
    }

    /// Forgets what no step looks at any more, so that states that differ in nothing else are one.
    pub(crate) fn forget(&mut self, setup: &Setup) {
        self.forget_leases(setup);
        let quiet = self.is_quiet(setup);
        for process in 0..self.nodes.len() {
            let node = &self.nodes[process];
            let holder = usize::from(self.logs[usize::from(setup.processes[process])].holder);
            let decides = matches!(node.attempt, Attempt::None | Attempt::Building { .. });
            if holder > process && decides && !setup.has(Flaw::StartsForgotten) {
                // A start that a newer one fenced, with nothing to send: its messages could only delay an effect.
                self.nodes[process] = Node::cold(setup, Life::Over);
            }
            self.forget_messages(setup, process);
            if quiet {
                self.nodes[process].fall_silent();
            }
        }
        for authority in 0..self.authorities.len() {
            for pending in 0..self.authorities[authority].barrier.len() {
                if self.is_settled(setup, &self.authorities[authority].barrier[pending]) {
                    // It stays so.
                    self.authorities[authority].barrier[pending].age = 0;
                }
            }
        }
    }

    fn forget_leases(&mut self, setup: &Setup) {
        let records = self.database.records.len();
        let last = records == setup.withdrawals.len();
        for authority in &mut self.authorities {
            let superseded = authority.epoch < self.database.epoch;
            let concludes = setup.has(Flaw::SupersededConcludes) || setup.has(Flaw::SupersededWithdraws);
            if superseded && !concludes {
                authority.barrier.clear();
                authority.wait = 0;
            }
            // Leases matter to the next record that it publishes.
            let published = last && usize::from(authority.announced) == records;
            if ((superseded && !concludes) || published) && !setup.has(Flaw::StartsForgotten) {
                authority.leases.fill(None);
            }
        }
    }

    fn forget_messages(&mut self, setup: &Setup, process: usize) {
        let (current, records) = (self.database.epoch, self.database.records.len());
        let authorities = &self.authorities;
        let running = |epoch: u8| {
            let of = |a: &&Authority| a.life == Life::Running && a.epoch == epoch;
            authorities.iter().find(of)
        };
        let node = &mut self.nodes[process];
        for ping in &mut node.pings {
            ping.at = match ping.at {
                // Whatever it tells, it is applied.
                Flight::Down(head) if head.epoch == node.view.epoch && head <= node.view => {
                    Flight::Down(View { records: 0, ..head })
                }
                Flight::Down(head) if head.epoch < node.view.epoch => Flight::Nowhere,
                Flight::Up { epoch, size } => match running(epoch) {
                    Some(a) if a.beat == 0 && epoch < current && !setup.has(Flaw::OldAuthorityAnswers) => {
                        Flight::Nowhere
                    }
                    None => Flight::Nowhere,
                    // No record comes that would keep the size.
                    Some(a) if records == setup.withdrawals.len() && usize::from(a.announced) == records => {
                        Flight::Up { epoch, size: 0 }
                    }
                    Some(_) => Flight::Up { epoch, size },
                },
                at @ (Flight::Down(_) | Flight::Nowhere) => at,
            };
            ping.forget_if_void();
        }
        if let Some(sent) = node.acknowledgement
            && running(sent.view.epoch).is_none_or(|a| a.barrier.is_empty())
        {
            node.acknowledgement = None;
        }
    }
}

impl Node {
    /// Keeps what it has sent and nothing else.
    fn fall_silent(&mut self) {
        self.view = View::default();
        self.shut = 0;
        self.phase = Phase::Starting;
        self.fresh = 0;
        self.size = 0;
        self.told = true;
        for ping in &mut self.pings {
            ping.left = 0;
            ping.forget_if_void();
        }
    }
}
