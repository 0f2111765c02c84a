//! How many people entries concern, for an auditor who must not learn whom.

use std::collections::BTreeSet;

use tonic::Status;
use unefois_mesh::{Peer, PeerId, status};
use unefois_proto::CountPersonsCall;
use unefois_proto::pb::ledger::v1 as pb;
use unefois_store::Db;
use unefois_store::head::head_read;
use unefois_store::index::{Index, StoredMac, index_bucket_end, index_range};

use super::{LedgerService, invalid, malformed, not_entitled, refusal};
use crate::Error;
use crate::query::Query;

/// What was counted in one index.
#[derive(Default)]
struct Counted {
    keys: BTreeSet<StoredMac>,
    entries: u64,
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
        let own = self.logs.first();
        let own = own.ok_or_else(|| invalid("places", "places of a log of this process"))?;
        let db = &own.inner().db;
        let (mut persons, mut handles) = (Counted::default(), Counted::default());
        for (n, (origin, indexes)) in call.places.iter().enumerate() {
            let head = head_read(db, origin).await;
            let head = head.map_err(|e| refusal("places", &e.into()))?;
            let field = format!("places[{n}]");
            let head = head.ok_or_else(|| invalid(&field, "the origin of a log of this participant"))?;
            if indexes.last().is_some_and(|last| *last >= head.size) {
                return Err(invalid(&field, "places below the log's size"));
            }
            for (index, counted) in [(Index::Person, &mut persons), (Index::Handle, &mut handles)] {
                let added = counted.add(db, index, head.log, indexes).await;
                added.map_err(|e| refusal(&field, &e))?;
            }
        }
        let query = Query {
            kind: "count_persons",
            reader: peer,
            size: own.head().size,
            what: what(&call),
            purpose: &call.purpose,
            rows: 0,
            cursor: None,
            directory_version: (self.lent.directory_version)(),
        };
        // What stands beside the log is told to nobody unrecorded, not even by a log that cannot be written.
        let recorded = own.queried(&query).await;
        recorded.map_err(|e| status::refused(e.reason(), "the query could not be recorded"))?;
        Ok(pb::CountPersonsResponse {
            persons: persons.keys.len() as u64,
            entries_with_persons: persons.entries,
            handles: handles.keys.len() as u64,
            entries_with_handles: handles.entries,
        })
    }
}

/// What was asked, on one line.
fn what(call: &CountPersonsCall) -> String {
    let of_log = |(origin, indexes): &(String, Vec<u64>)| {
        let (first, last) = (indexes.first().copied(), indexes.last().copied());
        format!(
            "{} entries of {origin} from {} to {}",
            indexes.len(),
            first.unwrap_or_default(),
            last.unwrap_or_default()
        )
    };
    call.places.iter().map(of_log).collect::<Vec<_>>().join(", ")
}

impl Counted {
    /// Adds the keys of `indexes`, growing: the index is read once, bucket by bucket.
    async fn add(&mut self, db: &Db, index: Index, log: i32, indexes: &[u64]) -> Result<(), Error> {
        let mut rest = indexes;
        while let Some(first) = rest.first() {
            let end = index_bucket_end(*first);
            let here;
            (here, rest) = rest.split_at(rest.partition_point(|place| *place < end));
            let last = here.last().map_or(end, |last| last + 1);
            let mut found = BTreeSet::new();
            for (place, key) in index_range(db, index, log, *first, last).await? {
                if here.binary_search(&place).is_ok() {
                    found.insert(place);
                    self.keys.insert(key);
                }
            }
            self.entries += found.len() as u64;
        }
        Ok(())
    }
}
