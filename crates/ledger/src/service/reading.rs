//! What auditors and counterparties read: each query is recorded before its first row leaves.

use tonic::Status;
use unefois_core::{EntryFilter, Reason, Sha256};
use unefois_mesh::{Peer, PeerId, status};
use unefois_proto::pb::ledger::v1 as pb;
use unefois_proto::{ProofCall, SearchCall, SearchPage, WatchCall, reading_purpose};
use unefois_tlog::{Receipt, SignedCheckpoint};

use super::{LedgerService, at_head, consistency, hashes, invalid, malformed, not_entitled, refusal};
use crate::cursor::{Cursor, Way};
use crate::query::Query;
use crate::search::{At, Row};
use crate::watch::{Told, Watch};
use crate::{Error, Ledger};

/// The most entries of one page read in order.
const MAX_ENTRIES: u32 = 1_000;

impl LedgerService {
    /// Reads a page of entries in the order of the log.
    pub(super) async fn listed(
        &self,
        peer: &Peer,
        page: pb::ListEntriesRequest,
    ) -> Result<pb::ListEntriesResponse, Status> {
        match peer.id {
            PeerId::Auditor(_) => {}
            PeerId::Participant(_) => {
                return Err(not_entitled("a log is read with an auditor's certificate"));
            }
        }
        let purpose = reading_purpose(&page).map_err(malformed)?;
        let log = self.log(&page.origin)?;
        let size = at_head(log, page.size);
        if page.start > size {
            return Err(invalid("start", "at most the log's size"));
        }
        let end = size.min(page.start.saturating_add(u64::from(page.limit.min(MAX_ENTRIES))));
        let checkpoint = log.checkpoint(size).await.map_err(|e| refusal("size", &e))?;
        let consistency = consistency(log, page.known_size, size, "known_size").await?;
        let entries = log
            .entries(page.start, end)
            .await
            .map_err(|e| refusal("start", &e))?;
        let reading = match page.reading.is_empty() {
            false => {
                let (of, reading) = self.resumed(peer, &page.reading, "reading")?;
                let same = of.origin() == log.origin() && reading.size == size && reading.way == Way::InOrder;
                if !same {
                    return Err(invalid("reading", "that of this log and size"));
                }
                if page.start < reading.rest.start {
                    return Err(invalid("start", "where the reading began, or later"));
                }
                page.reading
            }
            true => {
                let reading = Cursor {
                    reader: peer.spki_sha256,
                    since: log.inner().clock.now(),
                    origin: log.origin().to_string(),
                    size,
                    way: Way::InOrder,
                    rest: page.start..size,
                    looked: page.start..page.start,
                    filter: EntryFilter::default(),
                };
                let sealed = reading.seal(log.node_key());
                let query = Query {
                    kind: "read",
                    reader: peer,
                    size,
                    what: format!("in_order from {}", page.start),
                    purpose: &purpose,
                    rows: entries.len(),
                    cursor: (end < size).then(|| Sha256::of(&sealed)),
                    directory_version: (self.lent.directory_version)(),
                };
                self.record(log, &query).await?;
                sealed
            }
        };
        // Nothing is left to read: nothing to go on with, either.
        let reading = if end < size { reading } else { Vec::new() };
        Ok(pb::ListEntriesResponse {
            entries,
            checkpoint: checkpoint.as_str().to_owned(),
            consistency,
            reading,
        })
    }

    /// Finds entries, a page at a time.
    pub(super) async fn searched(
        &self,
        peer: &Peer,
        message: pb::SearchRequest,
    ) -> Result<pb::SearchResponse, Status> {
        let call = SearchCall::try_from(message).map_err(malformed)?;
        let (mut filter, newest_first, size, known_size, purpose) = match call.page {
            SearchPage::First {
                filter,
                newest_first,
                size,
                known_size,
                purpose,
            } => (filter, newest_first, size, known_size, purpose),
            SearchPage::Next(sealed) => {
                let (log, cursor) = self.resumed(peer, &sealed, "cursor")?;
                if cursor.way == Way::InOrder {
                    return Err(invalid("cursor", "that of a search"));
                }
                let at = log.at(Some(cursor.size)).await;
                let at = at.map_err(|e| refusal("cursor", &e))?;
                let (page, _) = self.page(log, &at, cursor, call.limit).await?;
                return Ok(page);
            }
        };
        self.admitted(peer, &mut filter)?;
        let log = self.log(&call.origin)?;
        // The head before the query's own entry: a search does not find itself.
        let at = log.at(size).await.map_err(|e| refusal("size", &e))?;
        let consistency = consistency(log, known_size, at.size, "known_size").await?;
        let range = log.range(&filter, &at).await.map_err(|e| refusal("filter", &e))?;
        let way = match newest_first {
            true => Way::NewestFirst,
            false => Way::OldestFirst,
        };
        let looked = match newest_first {
            true => range.end..range.end,
            false => range.start..range.start,
        };
        let cursor = Cursor {
            reader: peer.spki_sha256,
            since: log.inner().clock.now(),
            origin: log.origin().to_string(),
            size: at.size,
            way,
            rest: range,
            looked,
            filter: *filter.clone(),
        };
        let (page, rows) = self.page(log, &at, cursor, call.limit).await?;
        let query = Query {
            kind: "search",
            reader: peer,
            size: at.size,
            what: format!("{} {filter}", way.as_str()),
            purpose: &purpose,
            rows,
            cursor: (!page.cursor.is_empty()).then(|| Sha256::of(&page.cursor)),
            directory_version: (self.lent.directory_version)(),
        };
        self.record(log, &query).await?;
        Ok(pb::SearchResponse { consistency, ..page })
    }

    /// Proves entries by their places.
    pub(super) async fn proofs(
        &self,
        peer: &Peer,
        message: pb::GetProofRequest,
    ) -> Result<pb::GetProofResponse, Status> {
        let call = ProofCall::try_from(message).map_err(malformed)?;
        let mut filter = EntryFilter::default();
        self.admitted(peer, &mut filter)?;
        let log = self.log(&call.origin)?;
        let at = log.at(call.size).await.map_err(|e| refusal("size", &e))?;
        if call.indexes.last().is_some_and(|last| *last >= at.size) {
            return Err(invalid("indexes", "below the log's size"));
        }
        let consistency = consistency(log, call.known_size, at.size, "known_size").await?;
        let rows = log
            .rows_at(&call.indexes)
            .await
            .map_err(|e| refusal("indexes", &e))?;
        if !rows.iter().all(|row| filter.matches(row.index, &row.entry)) {
            return Err(not_entitled("a participant reads the entries it is named in"));
        }
        let receipt = match call.indexes.as_slice() {
            [only] => receipt(log, *only, &at)
                .await
                .map_err(|e| refusal("indexes", &e))?,
            _ => String::new(),
        };
        let (rows, proof) = proved(log, &at, rows).await.map_err(|e| refusal("size", &e))?;
        let places: Vec<String> = call.indexes.iter().map(u64::to_string).collect();
        let query = Query {
            kind: "proof",
            reader: peer,
            size: at.size,
            what: format!("places {}", places.join(",")),
            purpose: &call.purpose,
            rows: rows.len(),
            cursor: None,
            directory_version: (self.lent.directory_version)(),
        };
        self.record(log, &query).await?;
        Ok(pb::GetProofResponse {
            rows,
            checkpoint: at.checkpoint.as_str().to_owned(),
            proof,
            receipt,
            consistency,
        })
    }

    /// Tells entries as they are committed.
    pub(super) async fn watched(&self, peer: &Peer, message: pb::WatchRequest) -> Result<Told, Status> {
        let mut call = WatchCall::try_from(message).map_err(malformed)?;
        self.admitted(peer, &mut call.filter)?;
        if call.filter.peer.is_some() {
            return Err(invalid(
                "filter.peer",
                "absent: a receipt is known after its entry",
            ));
        }
        let log = self.log(&call.origin)?;
        let at = log.at(None).await.map_err(|e| refusal("origin", &e))?;
        let next = call.from.unwrap_or(at.size);
        if next > at.size || call.known_size > at.size {
            return Err(invalid("from", "at most the log's size, as known_size"));
        }
        let held = self.watches.take(peer);
        let held = held.ok_or_else(|| status::refused(Reason::Overloaded, "too many watches are open"))?;
        let query = Query {
            kind: "watch",
            reader: peer,
            size: at.size,
            what: format!("from {next} {}", call.filter),
            purpose: &call.purpose,
            rows: 0,
            cursor: None,
            directory_version: (self.lent.directory_version)(),
        };
        self.record(log, &query).await?;
        let watch = Watch {
            log: log.clone(),
            filter: call.filter,
            next,
            known: call.known_size,
        };
        Ok(watch.begin(held, &self.lent.tasks, self.lent.shutdown.clone()))
    }

    /// Narrows `filter` to what `peer` may see.
    fn admitted(&self, peer: &Peer, filter: &mut EntryFilter) -> Result<(), Status> {
        match peer.id {
            PeerId::Auditor(_) => Ok(()),
            PeerId::Participant(id) if id == self.authority => {
                Err(not_entitled("the authority reads by handle"))
            }
            PeerId::Participant(id) if filter.party.is_none_or(|party| party == id) => {
                filter.party = Some(id);
                Ok(())
            }
            PeerId::Participant(_) => Err(not_entitled("a participant reads the entries it is named in")),
        }
    }

    /// Records a query before its first row leaves.
    async fn record(&self, log: &Ledger, query: &Query<'_>) -> Result<(), Status> {
        let Err(error) = log.queried(query).await else {
            return Ok(());
        };
        match &query.reader.id {
            PeerId::Auditor(_) if !matches!(error, Error::Overloaded) => {
                tracing::warn!(
                    error = status::chain(&error),
                    "an auditor reads a log that cannot record it"
                );
                log.read_unrecorded(&query.reader.id.to_string());
                Ok(())
            }
            PeerId::Auditor(_) | PeerId::Participant(_) => {
                Err(status::refused(error.reason(), "the query could not be recorded"))
            }
        }
    }

    /// The query of a cursor that this reader was given.
    fn resumed(&self, peer: &Peer, sealed: &[u8], field: &str) -> Result<(&Ledger, Cursor), Status> {
        let resumed = self.logs.first().and_then(|log| {
            let now = log.inner().clock.now();
            let cursor = Cursor::open(sealed, log.node_key(), &peer.spki_sha256, now)?;
            let log = self
                .logs
                .iter()
                .find(|log| log.origin().as_str() == cursor.origin)?;
            Some((log, cursor))
        });
        resumed.ok_or_else(|| invalid(field, "one that this log gave this reader within a day"))
    }

    /// One page of a search from where `cursor` stands.
    async fn page(
        &self,
        log: &Ledger,
        at: &At,
        mut cursor: Cursor,
        limit: u32,
    ) -> Result<(pb::SearchResponse, usize), Status> {
        let newest_first = cursor.way == Way::NewestFirst;
        let found = log
            .find(
                &cursor.filter,
                cursor.rest.clone(),
                newest_first,
                usize::try_from(limit).unwrap_or(usize::MAX),
            )
            .await
            .map_err(|e| refusal("filter", &e))?;
        match newest_first {
            true => cursor.looked.start = found.rest.end,
            false => cursor.looked.end = found.rest.start,
        }
        cursor.rest = found.rest;
        let rows = found.rows.len();
        let (rows_told, proof) = proved(log, at, found.rows)
            .await
            .map_err(|e| refusal("size", &e))?;
        let sealed = match cursor.rest.is_empty() {
            true => Vec::new(),
            false => cursor.seal(log.node_key()),
        };
        let page = pb::SearchResponse {
            rows: rows_told,
            checkpoint: at.checkpoint.as_str().to_owned(),
            proof,
            cursor: sealed,
            looked_first: cursor.looked.start,
            looked_end: cursor.looked.end,
            consistency: Vec::new(),
        };
        Ok((page, rows))
    }
}

/// Rows as they travel, in their order, with the proof that they share.
pub(crate) async fn proved(
    log: &Ledger,
    at: &At,
    rows: Vec<Row>,
) -> Result<(Vec<pb::EntryRow>, Vec<Vec<u8>>), Error> {
    let mut places: Vec<u64> = rows.iter().map(|row| row.index).collect();
    places.sort_unstable();
    let proof = log.prove(&places, at).await?;
    let told = rows.into_iter().map(|row| pb::EntryRow {
        index: row.index,
        entry: row.bytes,
        acknowledged: row.acknowledged,
    });
    Ok((told.collect(), hashes(&proof)))
}

/// The file that proves entry `index` alone.
async fn receipt(log: &Ledger, index: u64, at: &At) -> Result<String, Error> {
    let proof = log.prove_one(index, at).await?;
    let receipt = Receipt::new(index, proof, SignedCheckpoint::clone(&at.checkpoint))?;
    Ok(receipt.to_string())
}
