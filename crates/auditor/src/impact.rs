//! What an incident concerns: every exchange with one participant, and how many people.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use tonic::transport::Channel;
use unefois_core::{DatatypeRev, Entry, Event, ExchangeId, Micros, ParticipantId};
use unefois_proto::MAX_COUNTED;
use unefois_proto::pb::ledger::v1::ledger_service_client::LedgerServiceClient;
use unefois_proto::pb::ledger::v1::{CountPersonsRequest, Places};
use unefois_tlog::Origin;

use crate::report::Ends;
use crate::{Error, Visited};

/// The most exchanges that are told apart; some 50 bytes each.
const MAX_EXCHANGES: usize = 2_000_000;

/// The exchanges of one participant with another in a period; filled by visiting its logs.
#[derive(Clone, Debug)]
pub struct Impact {
    peer: ParticipantId,
    window: Range<Micros>,
    /// The exchanges.
    pub exchanges: BTreeSet<ExchangeId>,
    /// Those in which data left, by how many entries `released`, `released_again` or `received` say so. A sending of
    /// which its own log says next that it was `withheld` says nothing any more.
    pub sent: BTreeMap<ExchangeId, u32>,
    /// How they ended, entry by entry, by what was asked for.
    pub datatypes: BTreeMap<Option<DatatypeRev>, Ends>,
    /// When the first and the last entry was written.
    pub span: Option<(Micros, Micros)>,
    /// Under how many entries each unit left, by datatype.
    units: BTreeMap<DatatypeRev, [u32; 64]>,
    /// The places of the entries under which data left, by log.
    places: BTreeMap<String, BTreeSet<u64>>,
    /// The log that is being visited, and the places of its sendings by exchange and attempt, until they are withheld.
    open: (Option<Origin>, BTreeMap<(ExchangeId, u16), u64>),
}

/// How many people an incident concerns, and how that was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct People {
    /// Distinct people, by the node's index.
    pub persons: u64,
    /// Entries that the index gives someone of.
    pub entries_with_persons: u64,
    /// Distinct handles: each is one grant of one person at one producer, so that one person may have several.
    pub handles: u64,
    /// Entries that the index gives a handle of.
    pub entries_with_handles: u64,
    /// Entries that were asked about.
    pub entries: u64,
    /// Whether they were counted in several parts, of which a person may be in more than one: the numbers are the most
    /// that there can be.
    pub at_most: bool,
}

impl Impact {
    /// The exchanges with `peer`, which asked, answered or called for another, written within `window`.
    pub const fn new(peer: ParticipantId, window: Range<Micros>) -> Self {
        Self {
            peer,
            window,
            exchanges: BTreeSet::new(),
            sent: BTreeMap::new(),
            datatypes: BTreeMap::new(),
            units: BTreeMap::new(),
            span: None,
            places: BTreeMap::new(),
            open: (None, BTreeMap::new()),
        }
    }

    /// Takes one entry of the log `origin`.
    ///
    /// # Errors
    /// [`Error::TooManyExchanges`].
    pub fn take(&mut self, origin: &Origin, visited: Visited<'_>) -> Result<(), Error> {
        let entry = visited.entry;
        let parties = [entry.requester, entry.provider, entry.publisher];
        if !parties.contains(&Some(self.peer)) || !self.window.contains(&entry.at) {
            return Ok(());
        }
        let Some(outcome) = entry.outcome else {
            return Ok(());
        };
        let (first, last) = self.span.unwrap_or((entry.at, entry.at));
        self.span = Some((first.min(entry.at), last.max(entry.at)));
        self.datatypes
            .entry(entry.datatype.clone())
            .or_default()
            .add(outcome);
        self.exchanges.extend(entry.exchange_id);
        if self.open.0.as_ref() != Some(origin) {
            self.open = (Some(origin.clone()), BTreeMap::new());
        }
        let sending = entry.exchange_id.map(|id| (id, entry.attempt));
        match entry.event {
            Event::Released | Event::ReleasedAgain | Event::Received => {
                self.count(entry, |n| n.saturating_add(1));
                self.places
                    .entry(origin.to_string())
                    .or_default()
                    .insert(visited.index);
                if let Some(sending) = sending.filter(|_| entry.event != Event::Received) {
                    self.open.1.insert(sending, visited.index);
                }
            }
            // Not one byte of this sending left.
            Event::Withheld => {
                if let Some(place) = sending.and_then(|sending| self.open.1.remove(&sending)) {
                    self.count(entry, |n| n.saturating_sub(1));
                    if let Some(places) = self.places.get_mut(origin.as_str()) {
                        places.remove(&place);
                    }
                }
            }
            _ => {}
        }
        match self.exchanges.len() > MAX_EXCHANGES {
            true => Err(Error::TooManyExchanges { most: MAX_EXCHANGES }),
            false => Ok(()),
        }
    }

    /// Counts `entry`, which says that its data left or that they did not.
    fn count(&mut self, entry: &Entry, step: impl Fn(u32) -> u32) {
        if let Some(id) = entry.exchange_id {
            let said = self.sent.entry(id).or_default();
            *said = step(*said);
            if *said == 0 {
                self.sent.remove(&id);
            }
        }
        if let Some(datatype) = &entry.datatype {
            let counts = self.units.entry(datatype.clone()).or_insert([0; 64]);
            for unit in (0..64).filter(|unit| entry.units >> unit & 1 == 1) {
                counts[unit] = step(counts[unit]);
            }
        }
    }

    /// Which units of `datatype` left: bit n is the n-th unit.
    pub fn units(&self, datatype: &DatatypeRev) -> u64 {
        let counts = self.units.get(datatype).into_iter().flatten();
        let left = counts.enumerate().filter(|(_, n)| **n > 0);
        left.fold(0, |bits, (unit, _)| bits | 1 << unit)
    }

    /// Asks the node at `channel`, which keeps the index, how many people the exchanges concern in which data left.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub async fn people(&self, channel: Channel, purpose: &str) -> Result<People, Error> {
        let mut client = LedgerServiceClient::new(channel);
        let mut people = People::default();
        let parts = self.parts(MAX_COUNTED);
        people.at_most = parts.len() > 1;
        for places in parts {
            people.entries += places
                .iter()
                .map(|of_log| of_log.indexes.len() as u64)
                .sum::<u64>();
            let asked = CountPersonsRequest {
                places,
                purpose: purpose.to_owned(),
            };
            let counted = client.count_persons(asked).await?.into_inner();
            people.persons += counted.persons;
            people.entries_with_persons += counted.entries_with_persons;
            people.handles += counted.handles;
            people.entries_with_handles += counted.entries_with_handles;
        }
        Ok(people)
    }

    /// The places, in parts of at most `most`.
    fn parts(&self, most: usize) -> Vec<Vec<Places>> {
        let mut parts: Vec<Vec<Places>> = Vec::new();
        let mut room = 0;
        for (origin, places) in &self.places {
            let places: Vec<u64> = places.iter().copied().collect();
            let mut rest = places.as_slice();
            while !rest.is_empty() {
                if room == 0 {
                    parts.push(Vec::new());
                    room = most;
                }
                let here;
                (here, rest) = rest.split_at(rest.len().min(room));
                room -= here.len();
                if let Some(part) = parts.last_mut() {
                    part.push(Places {
                        origin: origin.clone(),
                        indexes: here.to_vec(),
                    });
                }
            }
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use unefois_core::Outcome;
    use unefois_tlog::Hash;

    use super::*;

    const ONE: &str = "urn:unefois:participant:18003506500010";
    const OTHER: &str = "urn:unefois:participant:21920023500014";
    const THIRD: &str = "urn:unefois:participant:11004401300016";

    fn entry(event: Event, at: i64, n: u8) -> Entry {
        let id = format!("0190163d-8694-739b-aea5-966c26f8ad{n:02x}");
        Entry {
            exchange_id: Some(id.parse().unwrap()),
            requester: Some(OTHER.parse().unwrap()),
            provider: Some(ONE.parse().unwrap()),
            datatype: Some("cnaf/quotient-familial@1".parse().unwrap()),
            units: 1 << n,
            outcome: Some(match event {
                Event::Released => Outcome::Answered,
                _ => Outcome::Refused,
            }),
            ..Entry::new(event, Micros::new(at))
        }
    }

    #[test]
    fn what_left_is_told_apart_and_others_and_other_times_stay_out() {
        let mut impact = Impact::new(OTHER.parse().unwrap(), Micros::new(0)..Micros::new(100));
        let mut third = entry(Event::Released, 5, 4);
        third.requester = Some(THIRD.parse().unwrap());
        let mut hosted = entry(Event::Released, 6, 5);
        hosted.requester = Some(THIRD.parse().unwrap());
        hosted.publisher = Some(OTHER.parse().unwrap());
        let entries = [
            entry(Event::Released, 0, 0),
            entry(Event::Refused, 1, 1),
            entry(Event::Released, 100, 2),
            third,
            hosted,
            Entry::new(Event::Tally, Micros::new(7)),
        ];
        for (index, entry) in (0..).zip(&entries) {
            let bytes = entry.encode();
            let visited = Visited {
                index,
                leaf: &Hash::of_leaf(&bytes),
                entry,
                bytes: &bytes,
            };
            impact
                .take(&format!("{ONE}/1").parse().unwrap(), visited)
                .unwrap();
        }
        assert_eq!((impact.exchanges.len(), impact.sent.len()), (3, 2));
        let rev = "cnaf/quotient-familial@1".parse().unwrap();
        assert_eq!(impact.units(&rev), 0b10_0001);
        assert_eq!(impact.span, Some((Micros::new(0), Micros::new(6))));
        let ends = impact.datatypes.values().next().unwrap();
        assert_eq!((ends.answered, ends.refused), (2, 1));
        assert_eq!(
            impact.parts(10),
            [[Places {
                origin: format!("{ONE}/1"),
                indexes: vec![0, 4]
            }]]
        );
    }

    #[test]
    fn what_was_withheld_did_not_leave_and_concerns_nobody() {
        let mut impact = Impact::new(OTHER.parse().unwrap(), Micros::new(0)..Micros::new(100));
        let entries = [
            entry(Event::Released, 0, 0),
            entry(Event::Withheld, 1, 0),
            // Sent twice, held back once.
            entry(Event::Released, 2, 1),
            Entry {
                attempt: 2,
                ..entry(Event::ReleasedAgain, 3, 1)
            },
            entry(Event::Withheld, 4, 1),
            // What nothing was sent under closes nothing.
            entry(Event::Withheld, 5, 1),
        ];
        for (index, entry) in (0..).zip(&entries) {
            let bytes = entry.encode();
            let visited = Visited {
                index,
                leaf: &Hash::of_leaf(&bytes),
                entry,
                bytes: &bytes,
            };
            impact
                .take(&format!("{ONE}/1").parse().unwrap(), visited)
                .unwrap();
        }
        let sent: Vec<_> = impact.sent.keys().copied().collect();
        assert_eq!(sent, [entries[2].exchange_id.unwrap()]);
        let rev = "cnaf/quotient-familial@1".parse().unwrap();
        assert_eq!(impact.units(&rev), 0b10);
        let [parts] = &impact.parts(10)[..] else {
            unreachable!("one part")
        };
        assert_eq!(parts[0].indexes, [3]);
    }

    #[test]
    fn places_are_asked_about_in_parts_that_lose_none() {
        let mut impact = Impact::new(OTHER.parse().unwrap(), Micros::new(0)..Micros::new(1));
        impact.places.insert("a".to_owned(), (0..5).collect());
        impact.places.insert("b".to_owned(), (0..4).collect());
        let parts = impact.parts(3);
        let sizes: Vec<usize> = parts
            .iter()
            .map(|part| part.iter().map(|p| p.indexes.len()).sum())
            .collect();
        assert_eq!(sizes, [3, 3, 3]);
        let told: Vec<(&str, u64)> = parts
            .iter()
            .flatten()
            .flat_map(|places| places.indexes.iter().map(|n| (places.origin.as_str(), *n)))
            .collect();
        let all: Vec<(&str, u64)> = (0..5).map(|n| ("a", n)).chain((0..4).map(|n| ("b", n))).collect();
        assert_eq!(told, all);
        assert!(
            Impact::new(OTHER.parse().unwrap(), Micros::new(0)..Micros::new(1))
                .parts(3)
                .is_empty()
        );
    }
}
