//! The logs of one process over gRPC, to those who may read them.

mod disclosure;
mod person;
mod persons;
pub(crate) mod reading;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};
use unefois_core::{Entry, Handle, Micros, ParticipantId, Reason, Sha256, SubjectForm};
use unefois_mesh::status::{self, Refusal};
use unefois_mesh::{Peer, PeerId};
use unefois_proto::pb::ledger::v1 as pb;
use unefois_proto::pb::ledger::v1::ledger_service_server;
use unefois_proto::{InvalidMessage, handles};
use unefois_store::entry::{entry_at_or_after, entry_range};
use unefois_store::head::origins;
use unefois_store::index::{Index, Mac, index_lookup};
use unefois_store::peer::peer_heads_of;
use unefois_store::search::peer_receipts_of;
use unefois_store::witness::witness_heads_of;
use unefois_tlog::Hash;

use crate::read::LogView;
use crate::watch::{Told, Watches};
use crate::{Error, Ledger};

/// The most entries of one history.
const MAX_HISTORY: usize = 1_000;
/// The most heads that are told to one participant: its logs.
pub(crate) const MAX_HEADS: u32 = 64;

/// Serves the logs of one process.
///
/// An auditor reads every entry of a log that this process writes; a counterparty those in which it is requester or
/// provider. The authority reads the entries about a handle, or about a person whose identity it seals, in every log of the
/// database: the replicas of a participant share it, and the call reaches one of them. Any admitted peer may have a log's heads proved consistent.
///
/// What an auditor or a counterparty reads is recorded in the log before it leaves ([`Query`](crate::Query)). A log that cannot be
/// written is still read by auditors, who have to find out why; such a reading is counted in the next `tally`.
#[derive(Clone, Debug)]
pub struct LedgerService {
    logs: Vec<Ledger>,
    authority: ParticipantId,
    lent: Lent,
    watches: Watches,
    readings: Arc<person::Readings>,
}

/// The name that the directory in use gives the auditor whose key has this hash.
pub type AuditorNames = Arc<dyn Fn(&Sha256) -> Option<String> + Send + Sync>;

/// Opens what was sealed to the process: whom it names, or `None` for what is not an identity sealed to it.
pub type Identities = Arc<dyn Fn(&str) -> Option<Identity> + Send + Sync>;

/// Under what one identity stands in the index of persons.
#[derive(Clone)]
pub struct Identity {
    /// Where the person is the subject, or somebody who shares all that is known of them.
    pub subject: SubjectForm,
    /// Where the person is named beside another subject.
    pub beside: Vec<Vec<u8>>,
    /// Where somebody is the subject who may be the person, otherwise written.
    pub near: Vec<u8>,
}

/// Personal data never shows in a log.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(…)")
    }
}

/// Whether the directory in use lets the first act for the second: itself, or a body that it hosts.
pub type Delegations = Arc<dyn Fn(&ParticipantId, &ParticipantId) -> bool + Send + Sync>;

/// What the process lends the service.
#[derive(Clone)]
pub struct Lent {
    /// The version of the directory in use.
    pub directory_version: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// The name that the directory in use gives the auditor whose key has this hash.
    pub auditor: AuditorNames,
    /// Opens the identities that the authority asks about.
    pub identities: Identities,
    /// Who may ask for the heads held of another's logs.
    pub acts_for: Delegations,
    /// Holds the watches; its owner joins it after `shutdown`.
    pub tasks: TaskTracker,
    /// Ends the watches.
    pub shutdown: CancellationToken,
}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lent").finish_non_exhaustive()
    }
}

impl LedgerService {
    /// Serves `logs`, which share a database; `authority` is the participant that may read by handle.
    pub fn new(logs: Vec<Ledger>, authority: ParticipantId, lent: Lent) -> Self {
        Self {
            logs,
            authority,
            lent,
            watches: Watches::default(),
            readings: Arc::default(),
        }
    }

    /// The log of `origin`; without a name, the only one.
    fn log(&self, origin: &str) -> Result<&Ledger, Status> {
        let named = self.logs.iter().find(|log| log.origin().as_str() == origin);
        let only = match self.logs.as_slice() {
            [log] if origin.is_empty() => Some(log),
            _ => None,
        };
        let found = named.or(only);
        found.ok_or_else(|| invalid("origin", "a log that this process writes"))
    }

    /// Finds the entries under these keys of an index since `since`, each with its view and its key's mark, oldest first.
    /// Of an entry under several keys, the last one's mark is told.
    async fn found<M: Copy>(
        &self,
        index: Index,
        keys: &[(Mac, M)],
        since: Micros,
    ) -> Result<Vec<Found<M>>, Error> {
        let Some(first) = self.logs.first() else {
            return Ok(Vec::new());
        };
        let db = &first.inner().db;
        let mut found = Vec::new();
        for origin in origins(db).await? {
            let own = self.logs.iter().find(|log| log.origin().as_str() == origin);
            let view = match own {
                Some(log) => Some(log.view()),
                None => LogView::stored(db, &origin).await?,
            };
            let Some(view) = view else { continue };
            let mut places = BTreeMap::new();
            for (key, mark) in keys {
                let under = index_lookup(db, index, view.log, key, view.tree.size()).await?;
                places.extend(under.into_iter().map(|place| (place, *mark)));
            }
            // Instants never decrease in a log: what is told is the first of what comes then.
            let begin = entry_at_or_after(db, view.log, since).await?;
            let places: Vec<(u64, M)> = places
                .split_off(&begin)
                .into_iter()
                .take(MAX_HISTORY + 1)
                .collect();
            // Refused calls follow each other: one reading for as many as stand together.
            for run in places.chunk_by(|(left, _), (right, _)| left + 1 == *right) {
                let [(start, _), ..] = run else { continue };
                let rows = entry_range(db, view.log, *start, start + run.len() as u64).await?;
                if rows.len() != run.len() {
                    return Err(Error::Corrupt("an entry is missing"));
                }
                for ((index, bytes), (_, mark)) in rows.into_iter().zip(run) {
                    let entry =
                        Entry::decode(&bytes).map_err(|_| Error::Corrupt("an entry does not decode"))?;
                    found.push(Found {
                        view: view.clone(),
                        index,
                        mark: *mark,
                        entry,
                        bytes,
                    });
                }
            }
        }
        found.sort_by(|a, b| {
            (a.entry.at, &a.view.origin, a.index).cmp(&(b.entry.at, &b.view.origin, b.index))
        });
        Ok(found)
    }

    /// Proves entries found; the handles stay empty.
    async fn proved<M>(&self, found: Vec<Found<M>>) -> Result<Vec<(pb::ProvedEntry, M)>, Error> {
        let db = match self.logs.first() {
            Some(log) => &log.inner().db,
            None => return Ok(Vec::new()),
        };
        let releases: Vec<(Sha256, String)> = found.iter().filter_map(Found::release).collect();
        let received = peer_receipts_of(db, &releases).await?;
        let mut entries = Vec::with_capacity(found.len());
        for one in found {
            let proved = pb::ProvedEntry {
                origin: one.view.origin.to_string(),
                proof: one.view.proof(db, one.index).await?.to_string(),
                acknowledged: one.release().is_some_and(|release| received.contains(&release)),
                entry: one.bytes,
                handle: Vec::new(),
            };
            entries.push((proved, one.mark));
        }
        Ok(entries)
    }
}

/// An entry found under a key, with the key's mark.
struct Found<M> {
    view: LogView,
    index: u64,
    mark: M,
    entry: Entry,
    bytes: Vec<u8>,
}

impl<M> Found<M> {
    /// What its consumer may have confirmed: the leaf, and the consumer's SIRET.
    fn release(&self) -> Option<(Sha256, String)> {
        let requester = self.entry.requester?;
        let leaf = Sha256::from_bytes(*Hash::of_leaf(&self.bytes).as_bytes());
        Some((leaf, requester.siret().to_string()))
    }
}

#[tonic::async_trait]
impl ledger_service_server::LedgerService for LedgerService {
    async fn list_entries(
        &self,
        request: Request<pb::ListEntriesRequest>,
    ) -> Result<Response<pb::ListEntriesResponse>, Status> {
        let peer = Peer::of(&request)?;
        let page = self.listed(&peer, request.into_inner()).await?;
        Ok(Response::new(page))
    }

    async fn get_consistency(
        &self,
        request: Request<pb::GetConsistencyRequest>,
    ) -> Result<Response<pb::GetConsistencyResponse>, Status> {
        Peer::of(&request)?;
        let asked = request.into_inner();
        let log = self.log(&asked.origin)?;
        let second = at_head(log, asked.second);
        let checkpoint = log.checkpoint(second).await.map_err(|e| refusal("second", &e))?;
        Ok(Response::new(pb::GetConsistencyResponse {
            checkpoint: checkpoint.as_str().to_owned(),
            consistency: consistency(log, asked.first, second, "first").await?,
        }))
    }

    async fn search(
        &self,
        request: Request<pb::SearchRequest>,
    ) -> Result<Response<pb::SearchResponse>, Status> {
        let peer = Peer::of(&request)?;
        let found = self.searched(&peer, request.into_inner()).await?;
        Ok(Response::new(found))
    }

    async fn get_proof(
        &self,
        request: Request<pb::GetProofRequest>,
    ) -> Result<Response<pb::GetProofResponse>, Status> {
        let peer = Peer::of(&request)?;
        let proved = self.proofs(&peer, request.into_inner()).await?;
        Ok(Response::new(proved))
    }

    type WatchStream = Told;

    async fn watch(&self, request: Request<pb::WatchRequest>) -> Result<Response<Told>, Status> {
        let peer = Peer::of(&request)?;
        let told = self.watched(&peer, request.into_inner()).await?;
        Ok(Response::new(told))
    }

    async fn list_held_heads(
        &self,
        request: Request<pb::ListHeldHeadsRequest>,
    ) -> Result<Response<pb::ListHeldHeadsResponse>, Status> {
        let PeerId::Participant(caller) = Peer::of(&request)?.id else {
            return Err(not_entitled("heads are held of participants' logs"));
        };
        let named = request.into_inner().participant;
        let owner = match named.is_empty() {
            true => caller,
            false => {
                (named.parse()).map_err(|_| invalid("participant", "urn:unefois:participant: and a SIRET"))?
            }
        };
        if !(self.lent.acts_for)(&caller, &owner) {
            return Err(not_entitled(
                "the directory does not let the caller act for this participant",
            ));
        }
        let participant = owner.to_string();
        let Some(first) = self.logs.first() else {
            return Ok(Response::new(pb::ListHeldHeadsResponse {
                checkpoints: Vec::new(),
                participant,
            }));
        };
        let db = &first.inner().db;
        // What was seen at an exchange, and what was cosigned: either may be the later.
        let held = async {
            let mut held = peer_heads_of(db, &participant, MAX_HEADS / 2).await?;
            held.extend(witness_heads_of(db, &participant, MAX_HEADS / 2).await?);
            Ok::<_, unefois_store::Error>(held)
        };
        let checkpoints = held.await.map_err(|e| refusal("", &e.into()))?;
        Ok(Response::new(pb::ListHeldHeadsResponse {
            checkpoints,
            participant,
        }))
    }

    async fn count_persons(
        &self,
        request: Request<pb::CountPersonsRequest>,
    ) -> Result<Response<pb::CountPersonsResponse>, Status> {
        let peer = Peer::of(&request)?;
        let counted = self.persons_counted(&peer, request.into_inner()).await?;
        Ok(Response::new(counted))
    }

    async fn history(
        &self,
        request: Request<pb::HistoryRequest>,
    ) -> Result<Response<pb::HistoryResponse>, Status> {
        match Peer::of(&request)?.id {
            PeerId::Participant(peer) if peer == self.authority => {}
            PeerId::Participant(_) | PeerId::Auditor(_) => {
                return Err(not_entitled("a history is read with the authority's certificate"));
            }
        }
        let asked = request.into_inner();
        let handles = handles(&asked).map_err(malformed)?;
        let keys = self
            .logs
            .first()
            .map(Ledger::node_key)
            .map_or_else(Vec::new, |node_key| {
                let key = |handle: &Handle| (node_key.handle_key(handle), *handle);
                handles.iter().map(key).collect()
            });
        let found = self
            .found(Index::Handle, &keys, Micros::new(asked.since_us))
            .await;
        let mut found = found.map_err(|e| refusal("handles", &e))?;
        let truncated = found.len() > MAX_HISTORY;
        found.truncate(MAX_HISTORY);
        let proved = self.proved(found).await.map_err(|e| refusal("handles", &e))?;
        let entries = proved.into_iter().map(|(entry, handle)| pb::ProvedEntry {
            handle: handle.as_bytes().to_vec(),
            ..entry
        });
        let entries = entries.collect();
        Ok(Response::new(pb::HistoryResponse { entries, truncated }))
    }

    async fn person_history(
        &self,
        request: Request<pb::PersonHistoryRequest>,
    ) -> Result<Response<pb::PersonHistoryResponse>, Status> {
        let peer = Peer::of(&request)?;
        let found = self.person_read(&peer, request.into_inner()).await?;
        Ok(Response::new(found))
    }

    async fn disclose(
        &self,
        request: Request<pb::DiscloseRequest>,
    ) -> Result<Response<pb::DiscloseResponse>, Status> {
        let peer = Peer::of(&request)?;
        let disclosed = self.disclosed(&peer, request.into_inner()).await?;
        Ok(Response::new(disclosed))
    }

    async fn search_subject(
        &self,
        request: Request<pb::SearchSubjectRequest>,
    ) -> Result<Response<pb::SearchSubjectResponse>, Status> {
        let peer = Peer::of(&request)?;
        let found = self.subject_searched(&peer, request.into_inner()).await?;
        Ok(Response::new(found))
    }
}

/// The size asked for; 0 is the present one.
fn at_head(log: &Ledger, size: u64) -> u64 {
    match size {
        0 => log.head().size,
        size => size,
    }
}

async fn consistency(log: &Ledger, old: u64, new: u64, field: &str) -> Result<Vec<Vec<u8>>, Status> {
    let proof = log.consistency(old, new).await.map_err(|e| refusal(field, &e))?;
    Ok(hashes(&proof))
}

pub(crate) fn hashes(proof: &[Hash]) -> Vec<Vec<u8>> {
    proof.iter().map(|hash| hash.as_bytes().to_vec()).collect()
}

fn not_entitled(why: &str) -> Status {
    status::refused(Reason::NotEntitled, why)
}

fn invalid(field: &str, form: &str) -> Status {
    Refusal::new(Reason::InvalidRequest, "the message is malformed")
        .field(field, form)
        .into()
}

fn malformed(message: InvalidMessage) -> Status {
    let refusal = Refusal::new(Reason::InvalidRequest, message.to_string());
    let fields = message.violations.into_iter();
    fields
        .fold(refusal, |refusal, v| refusal.field(v.field, v.description))
        .into()
}

/// What a failure to read is told as; only a size or an index out of range is the caller's fault.
pub(crate) fn refusal(field: &str, error: &Error) -> Status {
    match error {
        Error::OutOfRange => invalid(field, "at most the log's size"),
        Error::Overloaded
        | Error::Unavailable
        | Error::Fenced
        | Error::ReadOnly(_)
        | Error::Closed
        | Error::Anchor(_)
        | Error::Corrupt(_)
        | Error::TooMuch
        | Error::Proof(_)
        | Error::Store(_) => {
            tracing::error!(error = status::chain(error), "the log could not be read");
            status::refused(Reason::LedgerUnavailable, "the log could not be read")
        }
    }
}
