//! How many people exchanges concern, for an auditor who must not learn whom.
//!
//! Exact numbers over entries of the asker's choice would tell it in which of them one person is. So the node evaluates
//! the question, which names a participant and whole days; tells no small number; rounds the others; and records each
//! question with its motive, so that whoever asks about one period after the other is seen.

use std::collections::{BTreeMap, BTreeSet};

use tonic::Status;
use unefois_core::{Entry, EntryFilter, Event, ParticipantId, Reason};
use unefois_mesh::status::Refusal;
use unefois_mesh::{Peer, PeerId, status};
use unefois_proto::CountPersonsCall;
use unefois_proto::pb::ledger::v1 as pb;
use unefois_store::Db;
use unefois_store::entry::{entry_at_or_after, entry_search, owner};
use unefois_store::head::{Head, head_read, origins};
use unefois_store::index::{Index, StoredMac, index_bucket_end, index_range, is_alias};

use super::{LedgerService, invalid, malformed, not_entitled, refusal};
use crate::query::Query;
use crate::search::prefilter;
use crate::{Error, Ledger};

/// The smallest number of people, of handles and of entries that is told: of fewer, an auditor who knows four of them
/// would know the fifth. Above, numbers are rounded up to its multiples.
const FEWEST: u64 = 5;
/// The most entries that one question looks at: some seconds of the node's time.
const MOST_LOOKED: u64 = 200_000;
/// How many participants a refusal names.
const MOST_NAMED: usize = 32;
/// How many places are looked at by one statement.
const STEP: u32 = 2_048;

/// What was counted in one index.
#[derive(Default)]
struct Counted {
    keys: BTreeSet<StoredMac>,
    entries: u64,
}

/// Why places are not found.
enum Unfound {
    Failed(Error),
    TooMany,
}

impl<E: Into<Error>> From<E> for Unfound {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl LedgerService {
    /// Counts the people and the handles of some entries. The question is recorded before it is answered.
    pub(super) async fn persons_counted(
        &self,
        peer: &Peer,
        message: pb::CountPersonsRequest,
    ) -> Result<pb::CountPersonsResponse, Status> {
        if matches!(peer.id, PeerId::Participant(_)) {
            return Err(not_entitled("people are counted with an auditor's certificate"));
        }
        let call = CountPersonsCall::try_from(message).map_err(malformed)?;
        let filter = EntryFilter {
            events: [
                Event::Released,
                Event::ReleasedAgain,
                Event::Received,
                Event::Withheld,
            ]
            .into(),
            ..call.filter
        };
        let (participant, own) = self.written_for(call.participant)?;
        let size = own.head().size;
        let counted = counted(&own.inner().db, &participant, &filter).await;
        let (persons, handles, entries) = counted.map_err(|unfound| match unfound {
            Unfound::Failed(e) => refusal("filter", &e),
            Unfound::TooMany => {
                Refusal::new(Reason::InvalidRequest, "too many entries: ask about fewer days")
                    .field(
                        "filter",
                        format!("a question that looks at {MOST_LOOKED} entries at most"),
                    )
                    .into()
            }
        })?;
        let query = Query {
            kind: "count_persons",
            reader: peer,
            size,
            what: filter.to_string(),
            purpose: &call.purpose,
            rows: usize::try_from(entries).unwrap_or(usize::MAX),
            cursor: None,
            directory_version: (self.lent.directory_version)(),
        };
        // What stands beside the log is told to nobody unrecorded, not even by a log that cannot be written.
        let recorded = own.queried(&query).await;
        recorded.map_err(|e| status::refused(e.reason(), "the query could not be recorded"))?;
        let (persons, handles) = (persons.told(entries), handles.told(entries));
        Ok(pb::CountPersonsResponse {
            persons: persons.map_or(0, |(people, _)| people),
            entries_with_persons: persons.map_or(0, |(_, of)| of),
            handles: handles.map_or(0, |(handles, _)| handles),
            entries_with_handles: handles.map_or(0, |(_, of)| of),
            entries,
            few_persons: persons.is_none(),
            few_handles: handles.is_none(),
            participant: participant.to_string(),
        })
    }

    /// The participant that is `named`, or the only one, with a log that this process writes for it.
    fn written_for(&self, named: Option<ParticipantId>) -> Result<(ParticipantId, &Ledger), Status> {
        let logs = self.logs.iter();
        let logs = logs.filter_map(|log| Some((owner(log.origin().as_str())?, log)));
        let written: BTreeMap<ParticipantId, &Ledger> = logs.rev().collect();
        let found = match (named, written.len()) {
            (Some(named), _) => written.get_key_value(&named),
            (None, 1) => written.first_key_value(),
            (None, _) => None,
        };
        found
            .map(|(participant, log)| (*participant, *log))
            .ok_or_else(|| {
                let mut known: Vec<String> =
                    written.keys().take(MOST_NAMED).map(ToString::to_string).collect();
                known.extend(
                    (written.len() > MOST_NAMED).then(|| format!("{} more", written.len() - MOST_NAMED)),
                );
                let form = format!("one whose logs this process writes: {}", known.join(", "));
                invalid("participant", &form)
            })
    }
}

/// The people, the handles and the number of the entries of `filter` in every log of `participant`.
async fn counted(
    db: &Db,
    participant: &ParticipantId,
    filter: &EntryFilter,
) -> Result<(Counted, Counted, u64), Unfound> {
    let (mut persons, mut handles) = (Counted::default(), Counted::default());
    let (mut entries, mut left) = (0, MOST_LOOKED);
    let origins = origins(db).await?.into_iter();
    for origin in origins.filter(|origin| owner(origin).as_ref() == Some(participant)) {
        let Some(head) = head_read(db, &origin).await? else {
            continue;
        };
        let places = places(db, &origin, &head, filter, &mut left).await?;
        entries += places.len() as u64;
        persons.add(db, Index::Person, head.log, &places).await?;
        handles.add(db, Index::Handle, head.log, &places).await?;
    }
    Ok((persons, handles, entries))
}

/// The places of the entries of `filter` in one log, growing; looking at an entry takes one of `left`.
async fn places(
    db: &Db,
    origin: &str,
    head: &Head,
    filter: &EntryFilter,
    left: &mut u64,
) -> Result<Vec<u64>, Unfound> {
    let (log, mut range) = (head.log, 0..head.size);
    if let Some(from) = filter.from {
        range.start = entry_at_or_after(db, log, from).await?;
    }
    if let Some(to) = filter.to {
        range.end = range.end.min(entry_at_or_after(db, log, to).await?);
    }
    let prefilter = prefilter(filter, owner(origin));
    let (mut places, mut open) = (BTreeSet::new(), BTreeMap::new());
    while !range.is_empty() {
        // An index leads to its entries alone; any other look is at every place.
        let end = match prefilter.participant {
            Some(_) => range.end,
            None => range.end.min(range.start.saturating_add(STEP.into())),
        };
        let stored = entry_search(db, log, &prefilter, (range.start, end), false, STEP).await?;
        let looked = match prefilter.participant {
            Some(_) => stored.len() as u64,
            None => end - range.start,
        };
        *left = left.checked_sub(looked).ok_or(Unfound::TooMany)?;
        range.start = match stored.last() {
            Some((last, _)) if stored.len() >= STEP as usize => last + 1,
            Some(_) | None => end,
        };
        for (index, bytes) in stored {
            let entry = Entry::decode(&bytes).map_err(|_| Error::Corrupt("an entry does not decode"))?;
            if !filter.matches(index, &entry) {
                continue;
            }
            let sending = entry.exchange_id.map(|id| (id, entry.attempt));
            match (entry.event, sending) {
                // Not one byte of this sending left.
                (Event::Withheld, sending) => {
                    if let Some(place) = sending.and_then(|sending| open.remove(&sending)) {
                        places.remove(&place);
                    }
                    continue;
                }
                (Event::Released | Event::ReleasedAgain, Some(sending)) => {
                    open.insert(sending, index);
                }
                _ => {}
            }
            places.insert(index);
        }
    }
    Ok(places.into_iter().collect())
}

impl Counted {
    /// How many keys at most, and in how many entries, of `entries`; `None` where that would be few.
    fn told(&self, entries: u64) -> Option<(u64, u64)> {
        let keys = self.keys.len() as u64;
        (keys >= FEWEST && entries >= FEWEST).then(|| (keys.next_multiple_of(FEWEST), self.entries))
    }

    /// Adds the keys of `indexes`, growing: the index is read once, bucket by bucket.
    async fn add(&mut self, db: &Db, index: Index, log: i32, indexes: &[u64]) -> Result<(), Error> {
        let mut rest = indexes;
        while let Some(first) = rest.first() {
            let end = index_bucket_end(*first);
            let here;
            (here, rest) = rest.split_at(rest.partition_point(|place| *place < end));
            let last = here.last().map_or(end, |last| last + 1);
            let mut found = BTreeSet::new();
            for (key, place) in index_range(db, index, log, (*first, last)).await? {
                if here.binary_search(&place).is_ok() {
                    found.insert(place);
                    if !is_alias(&key) {
                        self.keys.insert(key);
                    }
                }
            }
            self.entries += found.len() as u64;
        }
        Ok(())
    }
}
