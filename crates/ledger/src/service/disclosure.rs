//! What opens one exchange, and where one person is found: for auditors, with a motive, recorded or refused.

use std::collections::BTreeSet;

use tonic::Status;
use unefois_core::commitment::{Field, GrantSecret, Salt};
use unefois_core::effect::Effect;
use unefois_core::subject_request::{InvalidSubjectRequest, SubjectRequest, is_motive};
use unefois_core::{Entry, EntryFilter, Event, ExchangeId, Micros, Month, Reason, Sha256};
use unefois_mesh::{Peer, PeerId, status};
use unefois_proto::pb::ledger::v1 as pb;
use unefois_store::entry::{entry_range, owner};
use unefois_store::erase::secret_values;
use unefois_store::evidence::evidence_read;
use unefois_store::head::origins;
use unefois_store::index::{Index, index_lookup, index_range};

use super::{LedgerService, invalid, not_entitled, refusal};
use crate::draft::person_keys;
use crate::query::Query;
use crate::read::LogView;
use crate::search::Row;
use crate::{Error, Ledger};

/// The most entries of one exchange.
const MAX_OF_EXCHANGE: usize = 100;
/// The most entries about one person.
const MAX_OF_PERSON: usize = 1_000;
/// How long after its exchange was named an entry of it may be written, and how far before by another clock.
const LASTS_MS: (i64, i64) = (3_600_000, 3 * 24 * 3_600_000);

impl LedgerService {
    /// Gives the salts of one exchange's commitments, of all its entries or of one.
    pub(super) async fn disclosed(
        &self,
        peer: &Peer,
        message: pb::DiscloseRequest,
    ) -> Result<pb::DiscloseResponse, Status> {
        for_auditors(peer)?;
        let exchange: Option<ExchangeId> = match (message.exchange_id.as_str(), message.index) {
            ("", Some(_)) => None,
            (text, _) => Some(
                text.parse()
                    .map_err(|_| invalid("exchange_id", "a UUID version 7"))?,
            ),
        };
        if !is_motive(&message.motive) {
            return Err(invalid("motive", "one line of 1 to 512 bytes"));
        }
        let log = self.log(&message.origin)?;
        let unread = |e: Error| refusal("exchange_id", &e);
        let view = log.view();
        let rows = match (message.index, exchange) {
            (Some(index), _) => of_place(log, index, exchange).await.map_err(unread)?,
            (None, Some(exchange)) => of_exchange(log, &exchange).await.map_err(unread)?,
            (None, None) => Vec::new(),
        };
        let mut entries = Vec::with_capacity(rows.len());
        for row in rows {
            entries.push(log.opened(&view, row).await.map_err(unread)?);
        }
        let query = Query {
            kind: "disclose",
            reader: peer,
            size: view.tree.size(),
            what: what(exchange, message.index),
            purpose: &message.motive,
            rows: entries.len(),
            cursor: None,
            directory_version: (self.lent.directory_version)(),
        };
        Ok(pb::DiscloseResponse {
            entries,
            queried: recorded(log, &query).await?,
        })
    }

    /// Finds the entries about one person.
    pub(super) async fn subject_searched(
        &self,
        peer: &Peer,
        message: pb::SearchSubjectRequest,
    ) -> Result<pb::SearchSubjectResponse, Status> {
        for_auditors(peer)?;
        let log = self.log(&message.origin)?;
        let asked: SubjectRequest = message.request.parse().map_err(refused)?;
        let own = owner(log.origin().as_str()).ok_or_else(|| invalid("origin", "a participant's log"))?;
        let now = log.inner().clock.now();
        let keys = asked.check(&own, &peer.spki_sha256, now, &*self.lent.auditor);
        let keys = keys.map_err(refused)?;
        let unread = |e: Error| refusal("request", &e);
        let mut found = self.about(log, &asked.question().person).await.map_err(unread)?;
        let truncated = found.len() > MAX_OF_PERSON;
        found.truncate(MAX_OF_PERSON);
        let mut entries = Vec::with_capacity(found.len());
        for (view, index, bytes) in found {
            entries.push(log.shown(&view, index, bytes).await.map_err(unread)?);
        }
        let query = Query {
            kind: "subject",
            reader: peer,
            size: log.head().size,
            // Not the person: the hash of what was signed says which request it was, to who keeps it.
            what: format!(
                "request {} keys {} {}",
                Sha256::of(asked.signed_bytes()),
                keys[0],
                keys[1]
            ),
            purpose: &asked.question().motive,
            rows: entries.len(),
            cursor: None,
            directory_version: (self.lent.directory_version)(),
        };
        Ok(pb::SearchSubjectResponse {
            entries,
            truncated,
            queried: recorded(log, &query).await?,
        })
    }

    /// The entries about a person in every log of the database, oldest first.
    async fn about(&self, log: &Ledger, person: &[u8]) -> Result<Vec<(LogView, u64, Vec<u8>)>, Error> {
        let db = &log.inner().db;
        let keys = person_keys(log.node_key(), person);
        let mut found: Vec<(Micros, LogView, u64, Vec<u8>)> = Vec::new();
        for origin in origins(db).await? {
            let own = self.logs.iter().find(|log| log.origin().as_str() == origin);
            let view = match own {
                Some(log) => Some(log.view()),
                None => LogView::stored(db, &origin).await?,
            };
            let Some(view) = view else { continue };
            let mut places = BTreeSet::new();
            for key in &keys {
                places.extend(index_lookup(db, Index::Person, view.log, key, view.tree.size()).await?);
            }
            for index in places {
                let rows = entry_range(db, view.log, index, index + 1).await?;
                let bytes = rows.into_iter().next().map(|(_, bytes)| bytes);
                let bytes = bytes.ok_or(Error::Corrupt("an entry is missing"))?;
                let entry = Entry::decode(&bytes).map_err(|_| Error::Corrupt("an entry does not decode"))?;
                found.push((entry.at, view.clone(), index, bytes));
            }
        }
        found.sort_by(|a, b| (a.0, &a.1.origin, a.2).cmp(&(b.0, &b.1.origin, b.2)));
        Ok(found
            .into_iter()
            .map(|(_, view, index, bytes)| (view, index, bytes))
            .collect())
    }
}

impl Ledger {
    /// An entry with its proof.
    async fn shown(&self, view: &LogView, index: u64, entry: Vec<u8>) -> Result<pb::ProvedEntry, Error> {
        Ok(pb::ProvedEntry {
            origin: view.origin.to_string(),
            proof: view.proof(&self.inner().db, index).await?.to_string(),
            entry,
            handle: Vec::new(),
            acknowledged: false,
        })
    }

    /// An entry with what opens it, where that is still kept.
    async fn opened(&self, view: &LogView, row: Row) -> Result<pb::DisclosedEntry, Error> {
        let (db, log) = (&self.inner().db, self.inner().log);
        let month = row.entry.at.month();
        let secrets = self.secrets_at(row.index, (month.plus(-1), month)).await?;
        let salted = [
            (Field::Grant, pb::CommittedField::Grant, row.entry.grant_commit),
            (
                Field::Dossier,
                pb::CommittedField::Dossier,
                row.entry.dossier_commit,
            ),
            (Field::Actor, pb::CommittedField::Actor, row.entry.actor_commit),
        ];
        let mut salts = Vec::new();
        let committed = salted.iter().filter(|(.., commit)| commit.is_some());
        for ((field, name, _), exchange) in
            committed.filter_map(|salted| Some((salted, row.entry.exchange_id?)))
        {
            salts.extend(secrets.iter().map(|(_, secret)| pb::DisclosedSalt {
                field: (*name).into(),
                salt: secret.salt(&exchange, *field).as_bytes().to_vec(),
                value: Vec::new(),
            }));
        }
        let mut of_handle = Vec::new();
        let mut erased = row.entry.grant_commit.is_some() && secrets.is_empty();
        if row.entry.evidence_commit.is_some() {
            let evidence = evidence_read(db, log, row.index).await?;
            erased |= evidence.is_none();
            let proof = evidence.as_ref().filter(|_| row.entry.event == Event::Effective);
            if let Some(effect) = proof.and_then(|evidence| Effect::from_bytes(&evidence.body))
                && effect.is_of_grant()
            {
                let month = effect.effective_at.month();
                of_handle = self
                    .secrets_at(row.index, (month.plus(-1), month.plus(1)))
                    .await?;
            }
            salts.extend(evidence.map(|evidence| pb::DisclosedSalt {
                field: pb::CommittedField::Evidence.into(),
                salt: Salt::from_bytes(evidence.salt).as_bytes().to_vec(),
                value: evidence.body,
            }));
        }
        Ok(pb::DisclosedEntry {
            proved: Some(self.shown(view, row.index, row.bytes).await?),
            salts,
            erased,
            secrets: (of_handle.into_iter())
                .map(|(month, secret)| pb::DisclosedSecret {
                    month: month.ordinal(),
                    secret: secret.as_bytes().to_vec(),
                })
                .collect(),
        })
    }

    /// The secrets, of these months, of the handle that the entry at `index` is about.
    async fn secrets_at(
        &self,
        index: u64,
        months: (Month, Month),
    ) -> Result<Vec<(Month, GrantSecret)>, Error> {
        let (db, log) = (&self.inner().db, self.inner().log);
        let mut secrets = Vec::new();
        for (handle, _) in index_range(db, Index::Handle, log, (index, index + 1)).await? {
            secrets.extend(secret_values(db, &handle, months).await?);
        }
        Ok(secrets)
    }
}

/// What was opened, as the record of the disclosure says it.
fn what(exchange: Option<ExchangeId>, index: Option<u64>) -> String {
    match (exchange, index) {
        (Some(exchange), None) => exchange.to_string(),
        (Some(exchange), Some(index)) => format!("{exchange} place {index}"),
        (None, index) => format!("place {}", index.unwrap_or_default()),
    }
}

/// The entry at a place, if it is of that exchange; one of no exchange is opened only if it is the proof of a withdrawal.
async fn of_place(log: &Ledger, index: u64, exchange: Option<ExchangeId>) -> Result<Vec<Row>, Error> {
    let at = log.at(None).await?;
    if index >= at.size {
        return Ok(Vec::new());
    }
    let filter = EntryFilter {
        exchange_id: exchange,
        ..EntryFilter::default()
    };
    let found = log.find(&filter, index..index + 1, false, 1).await?;
    let opens = |row: &Row| {
        row.entry.exchange_id == exchange && (exchange.is_some() || row.entry.event == Event::Effective)
    };
    Ok(found.rows.into_iter().filter(opens).collect())
}

/// The entries of an exchange: around the time that its name holds.
async fn of_exchange(log: &Ledger, exchange: &ExchangeId) -> Result<Vec<Row>, Error> {
    let named = exchange.drawn_at();
    let filter = EntryFilter {
        exchange_id: Some(*exchange),
        from: Some(named.plus_ms(-LASTS_MS.0)),
        to: Some(named.plus_ms(LASTS_MS.1)),
        ..EntryFilter::default()
    };
    let at = log.at(None).await?;
    let mut range = log.range(&filter, &at).await?;
    let mut rows = Vec::new();
    while !range.is_empty() && rows.len() < MAX_OF_EXCHANGE {
        let found = log
            .find(&filter, range, false, MAX_OF_EXCHANGE - rows.len())
            .await?;
        rows.extend(found.rows);
        range = found.rest;
    }
    Ok(rows)
}

fn for_auditors(peer: &Peer) -> Result<(), Status> {
    match peer.id {
        PeerId::Auditor(_) => Ok(()),
        PeerId::Participant(_) => Err(not_entitled("this is asked with an auditor's certificate")),
    }
}

/// Records a query, without which nothing leaves; the place of its entry.
async fn recorded(log: &Ledger, query: &Query<'_>) -> Result<u64, Status> {
    let recorded = log.queried(query).await;
    let recorded = recorded.map_err(|e| status::refused(e.reason(), "the query could not be recorded"))?;
    Ok(recorded.index())
}

/// A request that is not one is the caller's mistake; one that two auditors did not make is not to be answered.
fn refused(why: InvalidSubjectRequest) -> Status {
    match why {
        InvalidSubjectRequest::Malformed(_) => invalid("request", &why.to_string()),
        InvalidSubjectRequest::OnePerson
        | InvalidSubjectRequest::SamePerson
        | InvalidSubjectRequest::UnknownKey
        | InvalidSubjectRequest::Signature
        | InvalidSubjectRequest::Expired
        | InvalidSubjectRequest::OtherParticipant
        | InvalidSubjectRequest::Sender => status::refused(Reason::NotEntitled, why.to_string()),
    }
}
