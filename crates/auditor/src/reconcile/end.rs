//! One participant's side: what its logs say of its exchanges, kept in little memory.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use unefois_core::{
    Acr, Capacity, DatatypeRev, DemarcheId, Entry, Event, ExchangeId, HabilitationId, HolderId, LegalBasis,
    Micros, Outcome, ParticipantId, Reason, Sha256,
};
use unefois_tlog::Origin;

use crate::{Error, Visited};

/// The most exchanges that one end holds. More need a shorter period.
pub const MAX_EXCHANGES: usize = 500_000;

/// The most entries about exchanges that one end holds: some 300 bytes each. More need a shorter period.
pub const MAX_TRACES: usize = 1_500_000;

/// The most entries that one end writes of one exchange: far more than any client has the time for. More are a fault in
/// themselves, and none beyond the first one too many is kept.
pub const MAX_TRACES_OF_ONE: usize = 1_000;

/// The most others that one end names. A refused call may name anybody.
pub const MAX_COUNTERPARTIES: usize = 20_000;

/// Which end of an exchange wrote an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// It answers.
    Producer,
    /// It asked.
    Consumer,
}

/// One entry about an exchange, as far as the two ends are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Which end wrote it.
    pub role: Role,
    /// The number of its log among the end's.
    pub(super) log: usize,
    /// Its place in that log.
    pub index: u64,
    /// Its leaf hash.
    pub leaf: Sha256,
    /// What happened.
    pub event: Event,
    /// The attempt.
    pub attempt: u16,
    /// When.
    pub at: Micros,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Why.
    pub reason: Option<Reason>,
    pub(super) terms: Arc<Terms>,
    pub(super) digests: Box<Digests>,
}

/// What entries of many exchanges share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Terms {
    pub(super) requester: Option<ParticipantId>,
    pub(super) provider: Option<ParticipantId>,
    pub(super) holder: Option<HolderId>,
    pub(super) publisher: Option<ParticipantId>,
    pub(super) datatype: Option<DatatypeRev>,
    pub(super) demarche: Option<DemarcheId>,
    pub(super) habilitation: Option<HabilitationId>,
    pub(super) legal_basis: Option<LegalBasis>,
    pub(super) capacity: Option<Capacity>,
    pub(super) acr: Option<Acr>,
    pub(super) units: u64,
}

/// What each exchange has of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Digests {
    pub(super) grant: Option<Sha256>,
    pub(super) content: Option<Sha256>,
    pub(super) dossier: Option<Sha256>,
    pub(super) request: Option<Sha256>,
    pub(super) peer_origin: Option<Sha256>,
    pub(super) peer_entry: Option<Sha256>,
}

/// A log's origin, with the hash by which entries name it.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) origin: Origin,
    pub(super) hash: Sha256,
}

/// What one participant logged of its exchanges with one other.
#[derive(Clone, Debug, Default)]
pub(super) struct Half {
    pub(super) exchanges: BTreeMap<ExchangeId, Vec<Trace>>,
    pub(super) unnumbered: u64,
}

static NOTHING: Half = Half {
    exchanges: BTreeMap::new(),
    unnumbered: 0,
};

/// What the logs of one participant say of its exchanges: filled by visiting each of them ([`End::take`]).
#[derive(Clone, Debug)]
pub struct End {
    pub(super) participant: ParticipantId,
    /// Its logs, by their numbers.
    pub(super) origins: Vec<Named>,
    window: Range<Micros>,
    only: Option<ParticipantId>,
    with: BTreeMap<ParticipantId, Half>,
    terms: BTreeSet<Arc<Terms>>,
    count: usize,
    traces: usize,
}

impl End {
    /// The end of `participant`, of exchanges drawn within `window`, with `only` or with everyone.
    pub const fn new(participant: ParticipantId, window: Range<Micros>, only: Option<ParticipantId>) -> Self {
        Self {
            participant,
            origins: Vec::new(),
            window,
            only,
            with: BTreeMap::new(),
            terms: BTreeSet::new(),
            count: 0,
            traces: 0,
        }
    }

    /// Whose logs it holds.
    pub const fn participant(&self) -> &ParticipantId {
        &self.participant
    }

    /// Adds a log of the participant: the number under which [`End::take`] is told its entries.
    pub fn log(&mut self, origin: &Origin) -> usize {
        self.origins.push(Named {
            origin: origin.clone(),
            hash: Sha256::of(origin.as_str().as_bytes()),
        });
        self.origins.len() - 1
    }

    /// Everyone whom its logs name as the other end of an exchange.
    pub fn counterparties(&self) -> impl Iterator<Item = &ParticipantId> {
        self.with.keys()
    }

    /// How many exchanges its logs have with `other`.
    pub fn exchanges_with(&self, other: &ParticipantId) -> usize {
        self.with(other).exchanges.len()
    }

    pub(super) fn with(&self, other: &ParticipantId) -> &Half {
        self.with.get(other).unwrap_or(&NOTHING)
    }

    /// Takes one entry of log number `log`, if it ends an attempt of an exchange.
    ///
    /// # Errors
    /// [`Error::TooManyExchanges`], [`Error::TooManyTraces`], [`Error::TooManyCounterparties`].
    pub fn take(&mut self, log: usize, visited: Visited<'_>) -> Result<(), Error> {
        let entry = visited.entry;
        let Some((role, peer)) = self.place(entry) else {
            return Ok(());
        };
        if self.only.is_some_and(|only| only != peer) {
            return Ok(());
        }
        let Some(id) = entry.exchange_id else {
            if self.window.contains(&entry.at) {
                self.half(peer)?.unnumbered += 1;
            }
            return Ok(());
        };
        if !self.window.contains(&id.drawn_at()) {
            return Ok(());
        }
        let held = self.half(peer)?.exchanges.get(&id).map_or(0, Vec::len);
        if held > MAX_TRACES_OF_ONE {
            return Ok(());
        }
        self.count += usize::from(held == 0);
        self.traces += 1;
        if self.count > MAX_EXCHANGES {
            return Err(Error::TooManyExchanges { most: MAX_EXCHANGES });
        }
        if self.traces > MAX_TRACES {
            return Err(Error::TooManyTraces { most: MAX_TRACES });
        }
        let trace = Trace {
            role,
            log,
            index: visited.index,
            leaf: Sha256::from_bytes(*visited.leaf.as_bytes()),
            event: entry.event,
            attempt: entry.attempt,
            at: entry.at,
            outcome: entry.outcome,
            reason: entry.reason,
            terms: self.shared(entry),
            digests: Box::new(Digests {
                grant: entry.grant_commit,
                content: entry.content_commit,
                dossier: entry.dossier_commit,
                request: entry.request_hash,
                peer_origin: entry.peer_origin_hash,
                peer_entry: entry.peer_entry_hash,
            }),
        };
        let traces = self.half(peer)?.exchanges.entry(id).or_default();
        // Several logs are read one after the other; the order is that of their clocks.
        let place = traces.partition_point(|held| held.order() <= trace.order());
        traces.insert(place, trace);
        Ok(())
    }

    /// What it has with `peer`.
    fn half(&mut self, peer: ParticipantId) -> Result<&mut Half, Error> {
        if self.with.len() >= MAX_COUNTERPARTIES && !self.with.contains_key(&peer) {
            return Err(Error::TooManyCounterparties {
                most: MAX_COUNTERPARTIES,
            });
        }
        Ok(self.with.entry(peer).or_default())
    }

    /// Which end this participant was in the exchange of `entry`, and who the other was.
    fn place(&self, entry: &Entry) -> Option<(Role, ParticipantId)> {
        let (asked, answers) = (entry.requester?, entry.provider?);
        let own = |id: ParticipantId| id == self.participant;
        let role = match entry.event {
            Event::Released | Event::ReleasedAgain | Event::Withheld | Event::Deferred => Role::Producer,
            Event::Received | Event::Unanswered => Role::Consumer,
            Event::Refused if own(answers) => Role::Producer,
            Event::Refused => Role::Consumer,
            Event::Granted
            | Event::Declined
            | Event::Mandated
            | Event::Opposed
            | Event::Narrowed
            | Event::Minted
            | Event::Withdrawn
            | Event::Effective
            | Event::Lapsed
            | Event::Resumed
            | Event::Admin
            | Event::Queried
            | Event::Reported
            | Event::Erased
            | Event::Tally
            | Event::Closed => return None,
        };
        match role {
            Role::Producer if own(answers) => Some((role, asked)),
            Role::Consumer if own(asked) => Some((role, answers)),
            Role::Producer | Role::Consumer => None,
        }
    }

    fn shared(&mut self, entry: &Entry) -> Arc<Terms> {
        let terms = Terms {
            requester: entry.requester,
            provider: entry.provider,
            holder: entry.holder.clone(),
            publisher: entry.publisher,
            datatype: entry.datatype.clone(),
            demarche: entry.demarche.clone(),
            habilitation: entry.habilitation.clone(),
            legal_basis: entry.legal_basis.clone(),
            capacity: entry.capacity,
            acr: entry.acr,
            units: entry.units,
        };
        match self.terms.get(&terms) {
            Some(held) => Arc::clone(held),
            None => {
                let terms = Arc::new(terms);
                self.terms.insert(Arc::clone(&terms));
                terms
            }
        }
    }
}

impl Trace {
    fn order(&self) -> (Micros, u16, usize, u64) {
        (self.at, self.attempt, self.log, self.index)
    }

    /// Whether it lets an answer leave.
    pub(super) const fn lets_out(&self) -> bool {
        matches!(self.event, Event::Released | Event::ReleasedAgain)
    }
}
