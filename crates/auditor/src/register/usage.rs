//! What the participant's log says was done.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Serialize, Serializer};
use unefois_core::{DatatypeRev, DemarcheId, Event, Micros, Outcome, ParticipantId};

use crate::Visited;
use crate::reconcile::Role;

/// What was done of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Use {
    /// How many answers left, or arrived.
    pub answered: u64,
    /// How many calls were put off or went unanswered.
    pub later: u64,
    /// How many were refused, or held back.
    pub refused: u64,
    /// When an answer left or arrived last.
    #[serde(serialize_with = "instant")]
    pub last: Option<Micros>,
    /// Which units left or arrived.
    pub units: u64,
}

fn instant<S: Serializer>(at: &Option<Micros>, s: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => s.serialize_str(&at.to_rfc3339()),
        None => s.serialize_none(),
    }
}

impl Use {
    fn join(mut self, other: &Self) -> Self {
        self.answered += other.answered;
        self.later += other.later;
        self.refused += other.refused;
        self.last = self.last.max(other.last);
        self.units |= other.units;
        self
    }
}

type Key = (Role, Option<DemarcheId>, Option<DatatypeRev>);

/// What was done within a period; filled by visiting the participant's logs.
#[derive(Clone, Debug)]
pub struct Usage {
    participant: ParticipantId,
    window: Range<Micros>,
    uses: BTreeMap<Key, Use>,
}

impl Usage {
    /// What `participant` did within `window`.
    pub const fn new(participant: ParticipantId, window: Range<Micros>) -> Self {
        Self {
            participant,
            window,
            uses: BTreeMap::new(),
        }
    }

    /// Takes one entry.
    pub fn take(&mut self, visited: &Visited<'_>) {
        let entry = visited.entry;
        let own = |id: Option<ParticipantId>| id == Some(self.participant);
        let role = match entry.event {
            Event::Received | Event::Unanswered => Role::Consumer,
            Event::Released | Event::ReleasedAgain | Event::Withheld => Role::Producer,
            Event::Refused if own(entry.provider) => Role::Producer,
            Event::Refused if own(entry.requester) => Role::Consumer,
            _ => return,
        };
        if !self.window.contains(&entry.at) {
            return;
        }
        let key = (role, entry.demarche.clone(), entry.datatype.clone());
        let used = self.uses.entry(key).or_default();
        match (entry.event, entry.outcome) {
            (Event::Received | Event::Released | Event::ReleasedAgain, _) => {
                used.answered += 1;
                used.last = used.last.max(Some(entry.at));
                used.units |= entry.units;
            }
            (_, Some(Outcome::Later)) => used.later += 1,
            (_, _) => used.refused += 1,
        }
    }

    /// What was done of this kind; of every démarche where none is given.
    pub(super) fn of(&self, role: Role, demarche: Option<&DemarcheId>, datatype: &DatatypeRev) -> Use {
        let of_kind = self.uses.iter().filter(|((r, d, t), _)| {
            *r == role && t.as_ref() == Some(datatype) && (demarche.is_none() || d.as_ref() == demarche)
        });
        of_kind.fold(Use::default(), |sum, (_, used)| sum.join(used))
    }

    /// Everything that was done.
    pub(super) fn all(
        &self,
    ) -> impl Iterator<Item = (Role, &Option<DemarcheId>, &Option<DatatypeRev>, &Use)> {
        self.uses
            .iter()
            .map(|((role, demarche, datatype), used)| (*role, demarche, datatype, used))
    }
}
