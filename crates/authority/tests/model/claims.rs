//! Claims, retries and standing counters, over any number of replicas.
//!
//! The guard is a choice here: it may refuse at each hand-over. So everything that leases and withdrawals can make it do
//! happens, and both models together hold for the whole. A transaction on a key is one step, since it holds the key's
//! lock from its first look to its commit.

use stateright::{Model, Property};

use crate::run::Broken;

pub(crate) const AS_GRANTED: &str = "i2: bytes leave under no more requests than granted";
pub(crate) const COUNTED: &str = "a claim counts the releases that are not withheld";

/// A rule that a run breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// `withheld` frees the request's claim, whatever else was released under it.
    FreedByRequest,
    /// `withheld` frees the claim if the release that it closes was the first, and else leaves it alone.
    FreedByFirst,
    /// What the claim was when the request came decides, not what the write finds.
    DecidedByLookUp,
    /// A standing handle's count is not given back.
    CountKept,
}

#[derive(Debug)]
pub(crate) struct Claims {
    /// For a standing handle, the requests that it is granted for; `None` for a one-shot one.
    pub(crate) standing: Option<u8>,
    pub(crate) requests: u8,
    /// Attempts, each of any request, at any replica: they are alike, so a state keeps them in order.
    pub(crate) attempts: usize,
    pub(crate) flaw: Option<Flaw>,
    pub(crate) broken: Broken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Claim {
    request: u8,
    live: i8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Verdict {
    First,
    Again,
    Refused,
}

/// One attempt of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Attempt {
    Awaited,
    /// Looked up, and its source is asked.
    Asked {
        request: u8,
        seen: Verdict,
    },
    /// Its entry is durable: `released`, or `released_again`.
    Released {
        request: u8,
        first: bool,
    },
    /// A byte left.
    Sent {
        request: u8,
    },
    /// Nobody will send it and nobody said so: a crash, an unknown outcome, a caller that gave up.
    Lost {
        request: u8,
    },
    /// Refused, or withheld.
    Over,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ledger {
    /// A one-shot handle has one key, a standing one a key for each request.
    claims: Vec<Option<Claim>>,
    uses: u8,
    attempts: Vec<Attempt>,
    /// Whether a request's claim was once freed.
    freed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Ask { request: u8 },
    Write(Attempt),
    Send(Attempt),
    Withhold(Attempt),
    Lose(Attempt),
}

impl Claims {
    pub(crate) fn new(standing: Option<u8>, requests: u8, attempts: usize, flaw: Option<Flaw>) -> Self {
        Self {
            standing,
            requests,
            attempts,
            flaw,
            broken: Broken::default(),
        }
    }

    fn key(&self, request: u8) -> usize {
        match self.standing {
            Some(_) => request.into(),
            None => 0,
        }
    }

    /// As `ledger::claims::judge`; a retry that comes too late is one that does not come.
    fn judge(&self, ledger: &Ledger, request: u8) -> Verdict {
        match ledger.claims[self.key(request)] {
            Some(claim) if claim.request == request => Verdict::Again,
            Some(_) => Verdict::Refused,
            None if self.standing.is_some_and(|most| ledger.uses >= most) => Verdict::Refused,
            None => Verdict::First,
        }
    }

    fn write(&self, ledger: &mut Ledger, request: u8, seen: Verdict) -> Attempt {
        let verdict = match self.flaw {
            Some(Flaw::DecidedByLookUp) => seen,
            _ => self.judge(ledger, request),
        };
        let slot = &mut ledger.claims[self.key(request)];
        match verdict {
            Verdict::First if slot.is_none() => {
                *slot = Some(Claim { request, live: 1 });
                ledger.uses += u8::from(self.standing.is_some());
            }
            // The insertion finds the key taken.
            Verdict::First | Verdict::Refused => return Attempt::Over,
            Verdict::Again => {
                if let Some(claim) = slot.as_mut().filter(|claim| claim.request == request) {
                    claim.live += 1;
                }
            }
        }
        Attempt::Released {
            request,
            first: verdict == Verdict::First,
        }
    }

    fn withhold(&self, ledger: &mut Ledger, request: u8, first: bool) {
        let slot = &mut ledger.claims[self.key(request)];
        let Some(claim) = slot.as_mut().filter(|claim| claim.request == request) else {
            return;
        };
        let frees = match self.flaw {
            Some(Flaw::FreedByRequest) => true,
            Some(Flaw::FreedByFirst) => first,
            Some(Flaw::DecidedByLookUp | Flaw::CountKept) | None => {
                claim.live -= 1;
                claim.live == 0
            }
        };
        if frees {
            *slot = None;
            ledger.freed = true;
            if self.flaw != Some(Flaw::CountKept) {
                ledger.uses = ledger.uses.saturating_sub(1);
            }
        }
    }

    /// Releases of a request that are not withheld, and those of which a byte left.
    fn under(ledger: &Ledger, request: u8) -> (usize, usize) {
        let is = |attempt: &&Attempt| match attempt {
            Attempt::Released { request: of, .. }
            | Attempt::Sent { request: of }
            | Attempt::Lost { request: of } => *of == request,
            Attempt::Awaited | Attempt::Asked { .. } | Attempt::Over => false,
        };
        let released: Vec<_> = ledger.attempts.iter().filter(is).collect();
        let sent = released
            .iter()
            .filter(|attempt| matches!(attempt, Attempt::Sent { .. }));
        (released.len(), sent.count())
    }

    fn is_as_granted(&self, ledger: &Ledger) -> bool {
        let sent = (0..self.requests).filter(|request| Self::under(ledger, *request).1 > 0);
        sent.count() <= usize::from(self.standing.unwrap_or(1))
    }

    fn is_counted(&self, ledger: &Ledger) -> bool {
        let mut held = 0;
        let counted = (0..self.requests).all(|request| {
            let claim = ledger.claims[self.key(request)].filter(|claim| claim.request == request);
            held += u8::from(claim.is_some());
            usize::try_from(claim.map_or(0, |claim| claim.live)) == Ok(Self::under(ledger, request).0)
        });
        counted && (self.standing.is_none() || ledger.uses == held)
    }
}

impl Model for Claims {
    type State = Ledger;
    type Action = Step;

    fn init_states(&self) -> Vec<Ledger> {
        let keys = self.standing.map_or(1, |_| self.requests);
        vec![Ledger {
            claims: vec![None; keys.into()],
            uses: 0,
            attempts: vec![Attempt::Awaited; self.attempts],
            freed: false,
        }]
    }

    fn actions(&self, ledger: &Ledger, steps: &mut Vec<Step>) {
        let mut attempts = ledger.attempts.clone();
        attempts.dedup();
        for attempt in attempts {
            match attempt {
                Attempt::Awaited => steps.extend((0..self.requests).map(|request| Step::Ask { request })),
                Attempt::Asked { .. } => steps.push(Step::Write(attempt)),
                Attempt::Released { .. } => {
                    steps.extend([Step::Send(attempt), Step::Withhold(attempt), Step::Lose(attempt)]);
                }
                Attempt::Sent { .. } | Attempt::Lost { .. } | Attempt::Over => {}
            }
        }
    }

    fn next_state(&self, last: &Ledger, step: Step) -> Option<Ledger> {
        let mut ledger = last.clone();
        let (from, to) = match step {
            Step::Ask { request } => {
                let seen = self.judge(&ledger, request);
                (Attempt::Awaited, Attempt::Asked { request, seen })
            }
            Step::Write(from @ Attempt::Asked { request, seen }) => {
                (from, self.write(&mut ledger, request, seen))
            }
            Step::Send(from @ Attempt::Released { request, .. }) => (from, Attempt::Sent { request }),
            Step::Withhold(from @ Attempt::Released { request, first }) => {
                self.withhold(&mut ledger, request, first);
                (from, Attempt::Over)
            }
            Step::Lose(from @ Attempt::Released { request, .. }) => (from, Attempt::Lost { request }),
            Step::Write(_) | Step::Send(_) | Step::Withhold(_) | Step::Lose(_) => return None,
        };
        let at = ledger.attempts.iter().position(|attempt| *attempt == from)?;
        ledger.attempts[at] = to;
        ledger.attempts.sort_unstable();
        Some(ledger)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(AS_GRANTED, |m, l| m.broken.first(AS_GRANTED, m.is_as_granted(l))),
            Property::always(COUNTED, |m, l| m.broken.first(COUNTED, m.is_counted(l))),
            Property::sometimes("reached: sent twice under one request", |m: &Self, l: &Ledger| {
                (0..m.requests).any(|request| Self::under(l, request).1 > 1)
            }),
            Property::sometimes(
                "reached: sent after another was withheld",
                |m: &Self, l: &Ledger| {
                    l.freed && (0..m.requests).any(|request| Self::under(l, request).1 > 0)
                },
            ),
        ]
    }
}
