//! Looking for entries: from a filter to rows with one proof, in bounded steps.

use std::ops::Range;
use std::sync::Arc;

use unefois_core::{Boot, Entry, EntryFilter, Event, ParticipantId, Sha256};
use unefois_store::Db;
use unefois_store::entry::{Prefilter, entry_at_or_after, entry_search, owner};
use unefois_store::search::{entries_at, peer_receipts_of, tiles_of};
use unefois_tlog::{Hash, SignedCheckpoint, TileId, Tiles, Tree};

use crate::{Error, Ledger};

/// The most entries that one page looks at.
const LOOKED_A_PAGE: u64 = 200_000;
/// How long a page may look for rows once it has begun, in milliseconds.
const LOOKING_MS: i64 = 1_000;
/// How many places are looked at first, and at most, by one statement.
const STEPS: (u64, u64) = (1_024, 16_384);
/// The most entries that one statement gives.
const MOST_A_STEP: usize = 2_048;

/// An entry found.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) index: u64,
    pub(crate) entry: Entry,
    pub(crate) bytes: Vec<u8>,
    pub(crate) leaf: Hash,
    /// Whether the counterparty said that it received this release.
    pub(crate) acknowledged: bool,
}

/// What one page found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) rows: Vec<Row>,
    /// The places still to be looked at; empty at the end.
    pub(crate) rest: Range<u64>,
}

/// One committed size of a log of this process, with what its proofs need.
#[derive(Clone, Debug)]
pub(crate) struct At {
    pub(crate) size: u64,
    /// The tree of this size, or of a later one.
    tree: Arc<Tree>,
    pub(crate) checkpoint: Arc<SignedCheckpoint>,
}

impl Ledger {
    /// The log as it was at `size`; the present head where none is named.
    pub(crate) async fn at(&self, size: Option<u64>) -> Result<At, Error> {
        let view = self.view();
        let present = view.tree.size();
        let size = size.unwrap_or(present);
        let checkpoint = match size == present {
            true => view.checkpoint,
            false => self.checkpoint(size).await?,
        };
        Ok(At {
            size,
            tree: view.tree,
            checkpoint,
        })
    }

    /// The places of the log at `at` that entries of `filter` can have, by its period and its places.
    pub(crate) async fn range(&self, filter: &EntryFilter, at: &At) -> Result<Range<u64>, Error> {
        let (db, log) = (&self.inner().db, self.inner().log);
        let mut range = filter.first.unwrap_or(0)..filter.end.unwrap_or(at.size).min(at.size);
        if let Some(from) = filter.from {
            range.start = range.start.max(entry_at_or_after(db, log, from).await?);
        }
        if let Some(to) = filter.to {
            range.end = range.end.min(entry_at_or_after(db, log, to).await?);
        }
        range.end = range.end.max(range.start);
        Ok(range)
    }

    /// Looks for at most `limit` rows in `range`, from its end on where the newest come first. It stops early, with
    /// some of the range left, rather than look for long.
    pub(crate) async fn find(
        &self,
        filter: &EntryFilter,
        mut range: Range<u64>,
        newest_first: bool,
        limit: usize,
    ) -> Result<Found, Error> {
        let inner = self.inner();
        let began: Boot = inner.clock.boottime();
        let prefilter = prefilter(filter, owner(self.origin().as_str()));
        let indexed = prefilter.participant.is_some();
        let (mut rows, mut looked, mut step) = (Vec::new(), 0, STEPS.0);
        let mut most = limit.clamp(1, MOST_A_STEP);
        while !range.is_empty() && rows.len() < limit && looked < LOOKED_A_PAGE {
            if looked > 0 && inner.clock.boottime().micros_since(began) > LOOKING_MS * 1_000 {
                break;
            }
            let part = match (indexed, newest_first) {
                (true, _) => range.clone(),
                (false, true) => range.end.saturating_sub(step).max(range.start)..range.end,
                (false, false) => range.start..range.start.saturating_add(step).min(range.end),
            };
            let (db, log) = (&inner.db, inner.log);
            let cut = u32::try_from(most).unwrap_or(u32::MAX);
            let stored = entry_search(db, log, &prefilter, (part.start, part.end), newest_first, cut).await?;
            // A full answer says nothing of the places behind its last entry.
            let (given, full) = (stored.len() as u64, stored.len() >= most);
            let mut last = stored.last().filter(|_| full).map(|(index, _)| *index);
            let mut found = rows_of(db, filter, stored).await?;
            let wanted = limit - rows.len();
            if found.len() > wanted {
                found.truncate(wanted);
                last = found.last().map(|row| row.index);
            }
            rows.append(&mut found);
            let part = match (last, newest_first) {
                (None, _) => part,
                (Some(last), true) => last..part.end,
                (Some(last), false) => part.start..last + 1,
            };
            // An index leads to its entries alone: those it passes over are not looked at.
            looked += match indexed {
                true => given.max(1),
                false => part.end - part.start,
            };
            match newest_first {
                true => range.end = part.start,
                false => range.start = part.end,
            }
            step = (step * 4).min(STEPS.1);
            most = (most * 4).min(MOST_A_STEP);
        }
        Ok(Found { rows, rest: range })
    }

    /// The entries at `places`, which grow.
    pub(crate) async fn rows_at(&self, places: &[u64]) -> Result<Vec<Row>, Error> {
        let inner = self.inner();
        let stored = entries_at(&inner.db, inner.log, places).await?;
        if stored.len() != places.len() {
            return Err(Error::Corrupt("an entry is missing"));
        }
        rows_of(&inner.db, &EntryFilter::default(), stored).await
    }

    /// The proof of the leaf at `index` alone, in the log as it was at `at`.
    pub(crate) async fn prove_one(&self, index: u64, at: &At) -> Result<Vec<Hash>, Error> {
        let needed = at.tree.inclusion_tiles(index, at.size)?;
        let tiles = self.tiles(&needed).await?;
        Ok(at.tree.inclusion_proof(index, at.size, &tiles)?)
    }

    /// One proof that the leaves at `places`, which grow, are in the log as it was at `at`.
    pub(crate) async fn prove(&self, places: &[u64], at: &At) -> Result<Vec<Hash>, Error> {
        let needed = at.tree.multi_inclusion_tiles(places, at.size)?;
        let tiles = self.tiles(&needed).await?;
        Ok(at.tree.multi_inclusion_proof(places, at.size, &tiles)?)
    }

    async fn tiles(&self, needed: &[TileId]) -> Result<Tiles, Error> {
        let stored = tiles_of(&self.inner().db, self.inner().log, needed).await?;
        Ok(stored.into_iter().collect())
    }
}

/// What of `filter` the database sorts out in the log that `owner` writes: the entries of one participant, by their
/// index; else those of one event or exchange, within the places that one statement looks at.
pub(crate) fn prefilter(filter: &EntryFilter, owner: Option<ParticipantId>) -> Prefilter {
    let named = [filter.party, filter.requester, filter.provider];
    let participant = named.into_iter().flatten().find(|id| Some(*id) != owner);
    let mut events = filter.events.iter().copied();
    let event = match (events.next(), events.next()) {
        (Some(only), None) => Some(only),
        (Some(_), Some(_)) | (None, _) => None,
    };
    Prefilter {
        owner,
        participant,
        event: event.filter(|_| participant.is_none()),
        exchange_id: filter.exchange_id.filter(|_| participant.is_none()),
    }
}

/// The entries of `stored` that `filter` lets through.
async fn rows_of(db: &Db, filter: &EntryFilter, stored: Vec<(u64, Vec<u8>)>) -> Result<Vec<Row>, Error> {
    let mut rows = Vec::with_capacity(stored.len());
    for (index, bytes) in stored {
        let entry = Entry::decode(&bytes).map_err(|_| Error::Corrupt("an entry does not decode"))?;
        if filter.matches(index, &entry) {
            let leaf = Hash::of_leaf(&bytes);
            rows.push(Row {
                index,
                entry,
                bytes,
                leaf,
                acknowledged: false,
            });
        }
    }
    let releases: Vec<(Sha256, String)> = rows.iter().filter_map(Row::release).collect();
    if !releases.is_empty() {
        let received = peer_receipts_of(db, &releases).await?;
        for row in &mut rows {
            row.acknowledged = row.release().is_some_and(|release| received.contains(&release));
        }
    }
    if let Some(peer) = filter.peer {
        rows.retain(|row| peer.matches(row.entry.event, row.acknowledged));
    }
    Ok(rows)
}

impl Row {
    /// The leaf and the SIRET of who may have received it, for an entry by which something left.
    fn release(&self) -> Option<(Sha256, String)> {
        let left = matches!(self.entry.event, Event::Released | Event::ReleasedAgain);
        let requester = self.entry.requester.filter(|_| left)?;
        Some((
            Sha256::from_bytes(*self.leaf.as_bytes()),
            requester.siret().to_string(),
        ))
    }
}
