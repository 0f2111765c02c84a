//! What is kept about one person, whoever granted: for the authority, on behalf of that person (I12).
//!
//! The identity comes sealed to the participant and is looked for in its erasable index, never in an entry. A person who
//! opens a page is no event of the log: such readings are recorded once an hour, and counted in the next `tally`.

use std::sync::{Mutex, PoisonError};

use tonic::Status;
use unefois_core::{Boot, Micros, Reason, SubjectForm};
use unefois_mesh::{Peer, PeerId, status};
use unefois_proto::pb::ledger::v1 as pb;
use unefois_proto::{PersonPart, identities, person_part};
use unefois_store::index::{Index, Mac, alias};

use super::{LedgerService, MAX_HISTORY, invalid, malformed, not_entitled, refusal};
use crate::query::Query;

/// How many such questions are answered in a minute: a history asks two.
const A_MINUTE: u32 = 2_400;
const MINUTE_US: i64 = 60_000_000;
/// For how long one entry stands for the questions that follow it.
const RECORDED_EVERY_MS: i64 = 3_600_000;

/// As what a person is found in an entry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    /// Somebody who may be the person, otherwise written, is its subject.
    Near,
    /// It names the person beside its subject.
    Beside,
    /// The person is its subject.
    Subject,
}

/// How often was asked.
#[derive(Debug, Default)]
pub(super) struct Readings {
    /// The minute that is counted, and the questions in it.
    minute: Mutex<Option<(Boot, u32)>>,
    /// When the last one was recorded.
    recorded: tokio::sync::Mutex<Option<Micros>>,
}

impl Readings {
    /// Counts one more; whether the minute still has room for it.
    fn take(&self, now: Boot) -> bool {
        let mut minute = self.minute.lock().unwrap_or_else(PoisonError::into_inner);
        let (began, asked) = minute
            .filter(|(began, _)| now.micros_since(*began) < MINUTE_US)
            .unwrap_or((now, 0));
        *minute = Some((began, asked.saturating_add(1)));
        asked < A_MINUTE
    }
}

impl LedgerService {
    /// Finds the entries about the person of some sealed identities.
    pub(super) async fn person_read(
        &self,
        peer: &Peer,
        message: pb::PersonHistoryRequest,
    ) -> Result<pb::PersonHistoryResponse, Status> {
        match peer.id {
            PeerId::Participant(id) if id == self.authority => {}
            PeerId::Participant(_) | PeerId::Auditor(_) => {
                return Err(not_entitled("a history is read with the authority's certificate"));
            }
        }
        let Some(log) = self.logs.first() else {
            return Ok(pb::PersonHistoryResponse::default());
        };
        let sealed = identities(&message).map_err(malformed)?;
        if !self.readings.take(log.inner().clock.boottime()) {
            log.turned_away(Some(&peer.id.to_string()), Reason::Overloaded);
            return Err(status::refused(
                Reason::Overloaded,
                "too many histories are asked for",
            ));
        }
        let part = person_part(&message).map_err(malformed)?;
        let (mut keys, mut beside, mut subjects) = (Vec::<(Mac, Found)>::new(), Vec::new(), Vec::new());
        for (n, sealed) in sealed.iter().enumerate() {
            let Some(identity) = (self.lent.identities)(sealed) else {
                return Err(invalid(
                    &format!("identities[{n}]"),
                    "an identity sealed to this participant",
                ));
            };
            let key = |person: &Vec<u8>| log.node_key().person_key(person);
            keys.push((alias(key(&identity.near)), Found::Near));
            beside.extend(identity.beside.iter().map(|person| (key(person), Found::Beside)));
            match &identity.subject {
                SubjectForm::Exact(person) => subjects.push((key(person), Found::Subject)),
                SubjectForm::Shared(person) => keys.push((key(person), Found::Near)),
            }
        }
        // Of an entry that is found in several ways, the one that says most is told: the last.
        let theirs = beside.into_iter().chain(subjects);
        match part {
            PersonPart::All => keys.extend(theirs),
            PersonPart::Theirs => keys = theirs.collect(),
            PersonPart::Near => {}
        }
        self.person_recorded(peer).await?;
        let unread = |e| refusal("identities", &e);
        let found = self
            .found(Index::Person, &keys, Micros::new(message.since_us))
            .await;
        let mut found = found.map_err(unread)?;
        let truncated = found.len() > MAX_HISTORY;
        found.truncate(MAX_HISTORY);
        let proved = self.proved(found).await.map_err(unread)?;
        let entry = |(proved, found)| pb::PersonEntry {
            proved: Some(proved),
            beside: found == Found::Beside,
            near: found == Found::Near,
        };
        Ok(pb::PersonHistoryResponse {
            entries: proved.into_iter().map(entry).collect(),
            truncated,
        })
    }

    /// Records that the authority reads about people, unless an entry of the last hour says so; then it is counted.
    async fn person_recorded(&self, peer: &Peer) -> Result<(), Status> {
        let Some(log) = self.logs.first() else {
            return Ok(());
        };
        let now = log.inner().clock.now();
        let mut recorded = self.readings.recorded.lock().await;
        if recorded.is_some_and(|at| (0..RECORDED_EVERY_MS).contains(&now.ms_since(at))) {
            log.read_unrecorded(&peer.id.to_string());
            return Ok(());
        }
        let query = Query {
            kind: "person",
            reader: peer,
            size: log.head().size,
            // Neither whom nor how many: one entry would else tell of one person.
            what: "by identity, for the person; the rest of the hour is counted in the tally".to_owned(),
            purpose: "",
            rows: 0,
            cursor: None,
            directory_version: (self.lent.directory_version)(),
        };
        let written = log.queried(&query).await;
        written.map_err(|e| status::refused(e.reason(), "the reading could not be recorded"))?;
        *recorded = Some(now);
        Ok(())
    }
}
