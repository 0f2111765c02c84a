//! The history of a person: what the ledgers of both ends say under their handles, and those of producers about their
//! identity, asked live, each entry proved.

mod pair;
mod person;

pub(crate) use pair::{Exchange, pair};

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::{join, join_all};
use tonic::transport::Channel;
use unefois_core::commitment::{Field, GrantSecret};
use unefois_core::{Boot, Entry, Handle, LegalBasis, Micros, ParticipantId};
use unefois_mesh::{status, target};
use unefois_proto::pb::ledger::v1 as pb;
use unefois_proto::pb::ledger::v1::PersonHistoryPart;
use unefois_proto::pb::ledger::v1::ledger_service_client::LedgerServiceClient;
use unefois_store::authority::PersonUid;
use unefois_store::authority::grant::GrantRow;
use unefois_tlog::{Hash, Receipt, VerifierKey};

use self::person::Identities;
use crate::Error;
use crate::published::Edition;
use crate::service::Authority;

/// How long one administration may take to answer a question.
const DEADLINE: Duration = Duration::from_secs(3);
/// How long it may take to answer all of them.
const SHARE_MS: i64 = 5_000;
/// How many bytes of entries and proofs are taken of one administration, after which it is asked no more.
const SHARE_BYTES: usize = 16 * 1024 * 1024;
/// Handles in one question.
const HANDLES: usize = 64;
/// Answers to one question at most, each taken up where the one before was cut off.
const PAGES: usize = 10;
/// Largest answer: 1,000 entries with their proofs.
const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// One entry that its log's key, its place in the tree and its commitment to the handle all vouch for.
#[derive(Clone, Debug)]
pub(crate) struct Proved {
    pub(crate) entry: Entry,
    /// Whose log it stands in.
    pub(crate) keeper: ParticipantId,
    pub(crate) origin: String,
    pub(crate) found: FoundBy,
    /// The leaf.
    pub(crate) bytes: Vec<u8>,
    pub(crate) receipt: Receipt,
    /// Whether the consumer's next call confirmed this release.
    pub(crate) acknowledged: bool,
}

/// By what an entry was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FoundBy {
    /// By a handle of the person's own grants.
    Handle(Handle),
    /// By the person's identity: it is about them, whoever granted.
    Subject,
    /// By the person's identity: it is about somebody else, and names them beside it.
    Beside,
    /// By what namesakes share: an officer or nobody asked about somebody who may be them, otherwise written, or a namesake
    /// of the same year; or anybody did, about an identity that does not tell namesakes apart.
    Near,
}

impl FoundBy {
    /// Whose it is: the person's own, a member of their household's, or perhaps a namesake's.
    const fn whose(self) -> u8 {
        match self {
            Self::Handle(_) | Self::Subject => 0,
            Self::Beside => 1,
            Self::Near => 2,
        }
    }

    /// The less, the more is known of why the entry concerns the person.
    const fn rank(self) -> u8 {
        match self {
            Self::Handle(_) => 0,
            Self::Subject => 1,
            Self::Beside => 2,
            Self::Near => 3,
        }
    }
}

/// What the administrations answered.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    /// How many were asked.
    pub(crate) asked: usize,
    /// Those that did not answer, or not with proofs that hold.
    pub(crate) silent: Vec<ParticipantId>,
    /// Those that hold more, later entries than one reading takes.
    pub(crate) incomplete: Vec<ParticipantId>,
    /// Those of which what may be a namesake's was not read, or not to its end.
    pub(crate) near_incomplete: Vec<ParticipantId>,
    /// Whether namesakes may share one of the person's identities: nothing is known to be theirs by it.
    pub(crate) shared: bool,
    /// How many of the person's identities could not be read: what concerns them under those is missing.
    pub(crate) unread: usize,
    /// How many proved entries nothing attributes to the person any more: what opened them was destroyed.
    pub(crate) erased: usize,
    /// Newest first.
    pub(crate) exchanges: Vec<Exchange>,
}

impl Authority {
    /// Asks every administration that may hold an entry under these grants, all at once, each within its deadline.
    pub(crate) async fn history(&self, grants: &[GrantRow], since: Micros) -> Result<Collected, Error> {
        self.collected(grants, &Identities::default(), since).await
    }

    /// As [`history`](Self::history), and asks every producer for what concerns the person under anybody's grant (I12).
    pub(crate) async fn whole_history(
        &self,
        person: &PersonUid,
        grants: &[GrantRow],
        since: Micros,
    ) -> Result<Collected, Error> {
        if !self.histories.admit(*person, self.clock.boottime()) {
            return Err(Error::TooManyRequests);
        }
        let edition = self.published.edition();
        let identities = self.sealed_identities(&edition, person).await?;
        if identities.unread > 0 {
            tracing::error!(
                identities = identities.unread,
                "a person's identities do not open: a history lacks what is theirs"
            );
        }
        self.collected(grants, &identities, since).await
    }

    async fn collected(
        &self,
        grants: &[GrantRow],
        identities: &Identities,
        since: Micros,
    ) -> Result<Collected, Error> {
        let edition = self.published.edition();
        let mut asked: BTreeMap<ParticipantId, Vec<Handle>> = identities
            .sealed
            .keys()
            .map(|keeper| (*keeper, Vec::new()))
            .collect();
        for row in grants {
            // A publisher keeps the logs of the bodies that it hosts.
            let consumer = row.grant.act_client.unwrap_or(row.grant.client);
            for element in &row.elements {
                let details = crate::oauth::details_of(element)?;
                for keeper in [*details.operator(), consumer] {
                    let handles = asked.entry(keeper).or_default();
                    if !handles.contains(&element.handle) {
                        handles.push(element.handle);
                    }
                }
            }
        }
        let held = self.held(grants, since).await?;
        let answers = asked.iter().map(|(keeper, handles)| {
            let sealed = identities.sealed.get(keeper).map_or(&[][..], Vec::as_slice);
            let (edition, held) = (&edition, &held);
            async move {
                let share = Share::new(self.clock.boottime());
                let about = |part| self.ask_about(edition, *keeper, (sealed, part), since, &share);
                let by_handle = self.ask(edition, *keeper, (handles, held), since, &share);
                let (by_handle, theirs) = join(by_handle, about(PersonHistoryPart::Theirs)).await;
                // Of what is left: namesakes crowd out nothing that is the person's own.
                (by_handle, theirs, about(PersonHistoryPart::Near).await)
            }
        });
        let answers = join_all(answers).await;
        let mut collected = Collected {
            asked: asked.len(),
            unread: identities.unread,
            shared: identities.shared,
            ..Collected::default()
        };
        let mut entries = Vec::new();
        for (keeper, (by_handle, theirs, near)) in asked.keys().zip(answers) {
            let (mut complete, mut silent) = (true, false);
            for answer in [by_handle, theirs] {
                match answer {
                    Ok(answer) => {
                        entries.extend(answer.found);
                        collected.erased += answer.erased;
                        complete &= answer.complete;
                    }
                    Err(error) => {
                        tracing::warn!(peer = %keeper, error = error.to_string(), "no history from this participant");
                        silent = true;
                    }
                }
            }
            if silent {
                collected.silent.push(*keeper);
            } else if !complete {
                tracing::warn!(peer = %keeper, "a history too long to be read to its end");
                collected.incomplete.push(*keeper);
            }
            match near {
                Ok(answer) => {
                    entries.extend(answer.found);
                    if !answer.complete {
                        collected.near_incomplete.push(*keeper);
                    }
                }
                Err(error) => {
                    tracing::warn!(peer = %keeper, error = error.to_string(), "nothing of namesakes from this participant");
                    collected.near_incomplete.push(*keeper);
                }
            }
        }
        collected
            .near_incomplete
            .retain(|keeper| !collected.silent.contains(keeper));
        let unheard = [collected.silent.as_slice(), &collected.incomplete].concat();
        collected.exchanges = pair(entries, &unheard);
        Ok(collected)
    }

    /// What is known of each handle.
    async fn held(&self, grants: &[GrantRow], since: Micros) -> Result<BTreeMap<Handle, Held>, Error> {
        let now = self.clock.now();
        let mut held = BTreeMap::new();
        for element in grants.iter().flat_map(|row| &row.elements) {
            let found = self
                .journal
                .ledger
                .secrets(&element.handle, since.month(), now.month());
            let one = Held {
                operator: *crate::oauth::details_of(element)?.operator(),
                secrets: found.await.map_err(Error::Ledger)?,
            };
            held.insert(element.handle, one);
        }
        Ok(held)
    }

    async fn ask(
        &self,
        edition: &Arc<Edition>,
        keeper: ParticipantId,
        (handles, held): (&[Handle], &BTreeMap<Handle, Held>),
        since: Micros,
        share: &Share,
    ) -> Result<Answer, NoAnswer> {
        let mut client = self.ledger_of(edition, &keeper)?;
        let mut answer = Answer::default();
        for some in handles.chunks(HANDLES) {
            let mut next = Some(since);
            for _ in 0..PAGES {
                let Some(from) = next else { break };
                let question = pb::HistoryRequest {
                    handles: some.iter().map(|handle| handle.as_bytes().to_vec()).collect(),
                    since_us: from.get(),
                };
                let Some(within) = share.left(self.clock.boottime()) else {
                    break;
                };
                let page = match answered(within, client.history(question)).await {
                    Err(NoAnswer::Late) if answer.began => break,
                    page => page?,
                };
                share.spend(page.entries.iter().map(size).sum());
                let judge = |entry| verify(edition, keeper, some, entry, (held, self.clock.now()));
                next = answer.take(from, page.truncated, page.entries.into_iter().map(judge))?;
            }
            answer.complete &= next.is_none();
        }
        Ok(answer)
    }

    fn ledger_of(
        &self,
        edition: &Edition,
        keeper: &ParticipantId,
    ) -> Result<LedgerServiceClient<Channel>, NoAnswer> {
        let target = target(&edition.directory, keeper).ok_or(NoAnswer::NoAddress)?;
        let channel = self.connector.channel(&target, DEADLINE);
        Ok(LedgerServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES))
    }
}

/// What one administration may take of a page's time and memory, for all that it is asked.
struct Share {
    until: Boot,
    bytes: AtomicUsize,
}

impl Share {
    fn new(now: Boot) -> Self {
        Self {
            until: now.plus_ms(SHARE_MS),
            bytes: AtomicUsize::new(0),
        }
    }

    /// How long the next question may take; `None` where nothing is left.
    fn left(&self, now: Boot) -> Option<Duration> {
        let left = u64::try_from(self.until.micros_since(now))
            .ok()
            .filter(|left| *left > 0)?;
        let room = self.bytes.load(Ordering::Relaxed) < SHARE_BYTES;
        room.then(|| Duration::from_micros(left).min(DEADLINE))
    }

    fn spend(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// The bytes of an entry and of its proof.
fn size(sent: &pb::ProvedEntry) -> usize {
    sent.entry.len() + sent.proof.len()
}

/// The answer to one question, within its time.
async fn answered<T>(
    within: Duration,
    question: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T, NoAnswer> {
    let answer = tokio::time::timeout(within, question).await;
    let answer = answer.map_err(|_| NoAnswer::Late)?;
    let answer = answer.map_err(|refused| NoAnswer::Refused(status::chain(&refused)))?;
    Ok(answer.into_inner())
}

/// What the authority knows of a handle.
struct Held {
    /// Who alone answers under it.
    operator: ParticipantId,
    /// Those of each month, which open the commitments of its entries.
    secrets: Vec<GrantSecret>,
}

/// What one participant answered.
struct Answer {
    found: Vec<Proved>,
    /// Entries that nothing attributes to the person any more.
    erased: usize,
    /// Whether it answered anything at all.
    began: bool,
    /// Whether that is all it holds.
    complete: bool,
}

impl Default for Answer {
    fn default() -> Self {
        Self {
            found: Vec::new(),
            erased: 0,
            began: false,
            complete: true,
        }
    }
}

impl Answer {
    /// Takes a page in that was asked for from `from` on; where the next one begins, if there is more. Entries come oldest
    /// first: a flood of refused calls must not hide those that follow it.
    fn take(
        &mut self,
        from: Micros,
        truncated: bool,
        page: impl Iterator<Item = Result<Judged, NoAnswer>>,
    ) -> Result<Option<Micros>, NoAnswer> {
        self.began = true;
        let mut last = from;
        for judged in page {
            match judged? {
                Judged::Proved(proved) => {
                    last = last.max(proved.entry.at);
                    self.found.push(*proved);
                }
                Judged::Erased(at) => {
                    last = last.max(at);
                    self.erased += 1;
                }
            }
        }
        if !truncated {
            return Ok(None);
        }
        // Entries of the last instant come again, and `pair` takes each once; those of an instant that fills an answer
        // alone are given up, for what follows it.
        self.complete &= last != from;
        Ok(Some(match last == from {
            true => Micros::new(from.get().saturating_add(1)),
            false => last,
        }))
    }
}

/// Why a participant counts as silent.
#[derive(Debug, thiserror::Error)]
enum NoAnswer {
    #[error("the directory names no address")]
    NoAddress,
    #[error("no answer in time")]
    Late,
    #[error("refused: {0}")]
    Refused(String),
    #[error("an entry is not proved: {0}")]
    Unproved(&'static str),
}

/// One entry, judged.
enum Judged {
    Proved(Box<Proved>),
    /// The authority has destroyed what would open it: in the log, and about nobody.
    Erased(Micros),
}

/// Judges one entry found by a handle: one that was asked for, in a log of this participant's, of the operator whose the
/// handle is, with a commitment that this handle's secret opens, unless that is destroyed.
fn verify(
    edition: &Edition,
    keeper: ParticipantId,
    handles: &[Handle],
    sent: pb::ProvedEntry,
    (held, now): (&BTreeMap<Handle, Held>, Micros),
) -> Result<Judged, NoAnswer> {
    let handle = sent.handle.as_slice().try_into().map(Handle::from_bytes);
    let handle = handle
        .ok()
        .filter(|handle| handles.contains(handle))
        .ok_or(NoAnswer::Unproved("another handle"))?;
    let proved = prove(edition, keeper, sent, FoundBy::Handle(handle))?;
    let entry = &proved.entry;
    let exchange = entry.exchange_id.ok_or(NoAnswer::Unproved("no exchange"))?;
    let Held { operator, secrets } = held.get(&handle).ok_or(NoAnswer::Unproved("another handle"))?;
    if entry.provider != Some(*operator) {
        return Err(NoAnswer::Unproved("another provider than the handle's"));
    }
    let commits = |secret: &GrantSecret| Some(secret.commit(&exchange, Field::Grant, handle.as_bytes()));
    if !secrets.iter().any(|secret| commits(secret) == entry.grant_commit) {
        // Every handle has a secret from its grant on: none is left only where they were destroyed, all of them on a
        // decision, or those of a month that is over.
        let over = |basis: &LegalBasis| entry.at.month() < now.month().plus(-basis.kept_months());
        return match secrets.is_empty() || entry.legal_basis.as_ref().is_some_and(over) {
            true => Ok(Judged::Erased(entry.at)),
            false => Err(NoAnswer::Unproved("the commitment to the handle")),
        };
    }
    Ok(Judged::Proved(Box::new(proved)))
}

/// An entry of a log of this participant's, or of a body that it hosts, as a leaf under its signed head.
fn prove(
    edition: &Edition,
    keeper: ParticipantId,
    sent: pb::ProvedEntry,
    found: FoundBy,
) -> Result<Proved, NoAnswer> {
    let (row, log) = edition
        .directory
        .log(&sent.origin)
        .ok_or(NoAnswer::Unproved("an unknown log"))?;
    if row.id != keeper && !edition.directory.acts_for(&keeper, &row.id) {
        return Err(NoAnswer::Unproved("another participant's log"));
    }
    let key: VerifierKey = log
        .vkey
        .parse()
        .map_err(|_| NoAnswer::Unproved("the log's key"))?;
    let receipt: Receipt = sent
        .proof
        .parse()
        .map_err(|_| NoAnswer::Unproved("the proof's form"))?;
    receipt
        .verify(&Hash::of_leaf(&sent.entry), &key)
        .map_err(|_| NoAnswer::Unproved("the proof"))?;
    let entry = Entry::decode(&sent.entry).map_err(|_| NoAnswer::Unproved("the entry's form"))?;
    Ok(Proved {
        keeper: row.id,
        origin: sent.origin,
        found,
        bytes: sent.entry,
        receipt,
        acknowledged: sent.acknowledged,
        entry,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_administration_has_one_share_of_time_and_bytes() {
        let at = |ms: i64| Boot::new(ms * 1_000);
        let share = Share::new(at(0));
        assert_eq!(share.left(at(0)), Some(DEADLINE));
        assert_eq!(share.left(at(4_000)), Some(Duration::from_secs(1)));
        assert_eq!(share.left(at(5_000)), None);
        assert_eq!(share.left(at(6_000)), None);
        share.spend(SHARE_BYTES - 1);
        assert_eq!(share.left(at(0)), Some(DEADLINE));
        share.spend(1);
        assert_eq!(share.left(at(0)), None);
    }
}
