//! What an incident concerns: every exchange with one participant, and how many people.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use tonic::transport::Channel;
use unefois_core::{DatatypeRev, Entry, EntryFilter, Event, ExchangeId, Micros, ParticipantId};
use unefois_proto::pb::ledger::v1::CountPersonsRequest;
use unefois_proto::pb::ledger::v1::ledger_service_client::LedgerServiceClient;
use unefois_tlog::Origin;

use crate::report::Ends;
use crate::{Error, Visited};

/// The most exchanges that are told apart; some 50 bytes each.
const MAX_EXCHANGES: usize = 2_000_000;
/// A day, in microseconds.
const DAY: i64 = 24 * 3_600 * 1_000_000;

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
    /// Entries by which data left in exchanges that the participant asked for or answered.
    as_party: u64,
    /// The same in others, that it called for as a publisher.
    as_publisher: u64,
    /// The log that is being visited, and its sendings by exchange and attempt, until they are withheld.
    open: (Option<Origin>, BTreeSet<(ExchangeId, u16)>),
}

/// How many people an incident concerns, by the node's indexes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct People {
    /// Distinct people.
    pub persons: Count,
    /// Distinct handles: each is one grant of one person at one producer, so that one person may have several.
    pub handles: Count,
    /// Entries that were counted in, by which data left or arrived on the days of the period.
    pub entries: u64,
    /// Whether they were counted in two parts, of which a person may be in both.
    pub in_parts: bool,
}

/// How many of something there are in entries, as a node tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// How many at most.
    pub at_most: u64,
    /// Entries that the index gives one of; 0 where there are few.
    pub entries: u64,
    /// Whether there are fewer, in a part, than the node tells apart: [`FEWEST`] less one are counted in for it.
    pub few: bool,
}

/// The smallest number that a node tells; others are rounded up to its multiples.
pub const FEWEST: u64 = 5;

impl Count {
    fn add(&mut self, told: u64, entries: u64, few: bool) {
        self.at_most = self.at_most.saturating_add(if few { FEWEST - 1 } else { told });
        self.entries = self.entries.saturating_add(entries);
        self.few |= few;
    }
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
            as_party: 0,
            as_publisher: 0,
            open: (None, BTreeSet::new()),
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
            self.open = (Some(origin.clone()), BTreeSet::new());
        }
        let sending = entry.exchange_id.map(|id| (id, entry.attempt));
        match entry.event {
            Event::Released | Event::ReleasedAgain | Event::Received => {
                self.count(entry, |n| n.saturating_add(1));
                match self.is_party(entry) {
                    true => self.as_party += 1,
                    false => self.as_publisher += 1,
                }
                if let Some(sending) = sending.filter(|_| entry.event != Event::Received) {
                    self.open.1.insert(sending);
                }
            }
            // Not one byte of this sending left.
            Event::Withheld if sending.is_some_and(|sending| self.open.1.remove(&sending)) => {
                self.count(entry, |n| n.saturating_sub(1));
                let left = match self.is_party(entry) {
                    true => &mut self.as_party,
                    false => &mut self.as_publisher,
                };
                *left = left.saturating_sub(1);
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

    fn is_party(&self, entry: &Entry) -> bool {
        [entry.requester, entry.provider].contains(&Some(self.peer))
    }

    /// Asks the node at `channel`, which keeps the index, how many people the exchanges of `participant` concern in which data
    /// left. It is asked about whole days.
    ///
    /// # Errors
    /// [`Error::Call`], [`Error::NotCountedAlone`].
    pub async fn people(
        &self,
        channel: Channel,
        participant: &ParticipantId,
        purpose: &str,
    ) -> Result<People, Error> {
        let mut client = LedgerServiceClient::new(channel);
        let mut people = People::default();
        let questions = self.questions();
        people.in_parts = questions.len() > 1;
        for filter in questions {
            let asked = CountPersonsRequest {
                purpose: purpose.to_owned(),
                filter: Some((&filter).into()),
                participant: participant.to_string(),
                ..CountPersonsRequest::default()
            };
            let told = client.count_persons(asked).await?.into_inner();
            if told.participant != participant.to_string() {
                return Err(Error::NotCountedAlone { wanted: *participant });
            }
            people.entries = people.entries.saturating_add(told.entries);
            people
                .persons
                .add(told.persons, told.entries_with_persons, told.few_persons);
            people
                .handles
                .add(told.handles, told.entries_with_handles, told.few_handles);
        }
        Ok(people)
    }

    /// What the node is asked, by what the entries say that there is to count.
    fn questions(&self) -> Vec<EntryFilter> {
        let (from, to) = (self.window.start.get(), self.window.end.get());
        let midnight = |at: i64| Micros::new(at.saturating_mul(DAY));
        let days = EntryFilter {
            from: (from > i64::MIN).then(|| midnight(from.div_euclid(DAY))),
            to: (to < i64::MAX).then(|| midnight(to.div_euclid(DAY) + i64::from(to.rem_euclid(DAY) > 0))),
            ..EntryFilter::default()
        };
        let party = EntryFilter {
            party: Some(self.peer),
            ..days.clone()
        };
        let publisher = EntryFilter {
            publisher: Some(self.peer),
            ..days
        };
        let asked = [(self.as_party > 0, party), (self.as_publisher > 0, publisher)];
        asked
            .into_iter()
            .filter_map(|(is, question)| is.then_some(question))
            .collect()
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

    fn visit(impact: &mut Impact, entries: &[Entry]) {
        let log = format!("{ONE}/1").parse().unwrap();
        for (index, entry) in (0..).zip(entries) {
            let bytes = entry.encode();
            let visited = Visited {
                index,
                leaf: &Hash::of_leaf(&bytes),
                entry,
                bytes: &bytes,
            };
            impact.take(&log, visited).unwrap();
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
        visit(&mut impact, &entries);
        assert_eq!((impact.exchanges.len(), impact.sent.len()), (3, 2));
        let rev = "cnaf/quotient-familial@1".parse().unwrap();
        assert_eq!(impact.units(&rev), 0b10_0001);
        assert_eq!(impact.span, Some((Micros::new(0), Micros::new(6))));
        let ends = impact.datatypes.values().next().unwrap();
        assert_eq!((ends.answered, ends.refused), (2, 1));
        let asked: Vec<String> = impact.questions().iter().map(ToString::to_string).collect();
        let (from, to) = ("1970-01-01T00:00:00.000000Z", "1970-01-02T00:00:00.000000Z");
        assert_eq!(
            asked,
            [
                format!("from={from} to={to} party={OTHER}"),
                format!("from={from} to={to} publisher={OTHER}"),
            ]
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
        visit(&mut impact, &entries);
        let sent: Vec<_> = impact.sent.keys().copied().collect();
        assert_eq!(sent, [entries[2].exchange_id.unwrap()]);
        let rev = "cnaf/quotient-familial@1".parse().unwrap();
        assert_eq!(impact.units(&rev), 0b10);
        assert_eq!((impact.as_party, impact.as_publisher), (1, 0));
    }

    #[test]
    fn whole_days_are_asked_about_and_what_is_not_there_is_not() {
        let questions = |window: Range<i64>| {
            let window = Micros::new(window.start)..Micros::new(window.end);
            let mut impact = Impact::new(OTHER.parse().unwrap(), window);
            assert_eq!(impact.questions(), []);
            impact.as_party = 1;
            let [only] = &impact.questions()[..] else {
                panic!("one question");
            };
            (only.from.map(Micros::get), only.to.map(Micros::get))
        };
        assert_eq!(questions(i64::MIN..i64::MAX), (None, None));
        assert_eq!(questions(DAY..2 * DAY), (Some(DAY), Some(2 * DAY)));
        assert_eq!(questions(2 * DAY - 1..2 * DAY + 1), (Some(DAY), Some(3 * DAY)));
    }

    #[test]
    fn few_are_counted_as_the_most_that_they_can_be() {
        let mut count = Count::default();
        count.add(10, 12, false);
        count.add(0, 0, true);
        assert_eq!((count.at_most, count.entries, count.few), (14, 12, true));
    }
}
