use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use unefois_core::commitment::{GrantSecret, NodeKey, Salt};
use unefois_core::{Clock, Handle, Micros, Month, ParticipantId, Random, Reason, RevocationView};
use unefois_store::Db;
use unefois_store::claim::{claim_peek, claim_purge, uses_peek};
use unefois_store::entry::entry_range;
use unefois_store::evidence::{EvidenceRow, evidence_read};
use unefois_store::index::{Index, Mac, SecretRow, alias, index_lookup, secret_read};
use unefois_tlog::{Checkpoint, Hash, Origin, Receipt, SignedCheckpoint, SignerKey, VerifierKey};

use crate::Error;
use crate::attempt::{Attempt, ClaimRequest, Registry};
use crate::batch::{Item, Leaf, commit_evidence, released};
use crate::claims::{Verdict, judge, wait};
use crate::draft::{Draft, ReleaseDraft, person_keys, withheld};
use crate::guard::{Guard, Patience, Seen, Standing};
use crate::read::{LogView, Shelf, tree_at};
use crate::receipt::{DurableReceipt, Head, Release};
use crate::sequencer::Published;
use crate::tally::Tally;

const MAX_PERSONS: usize = 256;
pub(crate) const MAX_EVIDENCE_BYTES: usize = 1 << 20;
/// A claim outlives every token of a one-shot handle (refresh tokens: 75 min; tokens: 60 s; resumption: 1 h).
const CLAIM_KEPT_MS: i64 = 24 * 3_600_000;
/// A payload may be sent again for 120 s, a document resumed for 1 h.
const MAC_KEPT_MS: i64 = 3_600_000;
/// No grant lives longer than 12 months; whatever the months, this is within 13.
const USES_KEPT_MS: i64 = 392 * 24 * 3_600_000;

/// The keys of one log.
#[derive(Debug)]
pub struct Keys {
    /// Signs the log's heads; its name is the log's origin, `<participant>/<shard>`.
    pub signer: SignerKey,
    /// Keys the erasable indexes and the payload MACs; shared by the participant's replicas.
    pub node_key: NodeKey,
}

/// One log of this process: the only way to write it. Clones share it.
#[derive(Clone, Debug)]
pub struct Ledger {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) db: Db,
    pub(crate) log: i32,
    pub(crate) origin: Origin,
    pub(crate) signer: Arc<SignerKey>,
    pub(crate) node_key: NodeKey,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) queue: mpsc::Sender<Item>,
    pub(crate) published: watch::Receiver<Arc<Published>>,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) guard: Arc<Guard>,
    pub(crate) patience: Patience,
    pub(crate) attempts: Registry,
    pub(crate) tally: Tally,
    pub(crate) closing: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

/// How a request stands before its source is asked.
#[derive(Debug)]
pub enum Begin {
    /// Nobody holds the handle.
    First(Attempt),
    /// The same request holds it and may be answered again, with the same payload.
    Again(Attempt),
    /// It cannot be answered; nothing is written yet.
    Refused(Reason),
    /// The standing handle was used too short a time ago; how long it has to wait. Nothing is written yet.
    TooSoon(Duration),
}

impl Ledger {
    /// Compares a head of this very log that `by` holds with the log. One that the log does not hold makes it read-only
    /// at once and for good: `by` is for the operator's log. A head that this log's key did not sign counts for nothing.
    ///
    /// # Errors
    /// [`Error::Proof`] if it is not signed by this log's key; [`Error::Store`].
    pub async fn seen(&self, signed: &SignedCheckpoint, by: &str) -> Result<Seen, Error> {
        self.inner.guard.seen(signed, by).await
    }

    /// As [`Ledger::seen`], of another log of the same participant, whose key is `key`: where the database does not hold
    /// it, this log lost its claims with it.
    ///
    /// # Errors
    /// As [`Ledger::seen`].
    pub async fn seen_beside(
        &self,
        key: &VerifierKey,
        signed: &SignedCheckpoint,
        by: &str,
    ) -> Result<Seen, Error> {
        self.inner.guard.seen_beside(key, signed, by).await
    }

    /// What the log may do at this moment.
    pub fn standing(&self) -> Standing {
        self.inner.guard.standing()
    }

    /// Whether a new exchange may begin: what it needs can be written to its end.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], [`Error::Fenced`].
    pub fn may_exchange(&self) -> Result<(), Error> {
        self.inner.guard.exchanges()
    }

    /// Whether what was recorded may leave: the log is, for all that is known, the one that it was recorded in.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], [`Error::Fenced`].
    pub fn may_leave(&self) -> Result<(), Error> {
        self.inner.guard.writes()
    }

    /// Whether the anchor remembers this log.
    ///
    /// # Errors
    /// What is wrong with it, in words for a probe.
    pub fn anchored(&self) -> Result<(), &'static str> {
        self.inner.guard.anchor()
    }

    /// The peers that a log restored from a backup waits for, in order: it has seen their logs, the directory gives them an
    /// address, and they have not said what they hold of it. None where nothing waits for a peer, or nobody asks them
    /// ([`Inquiry`](crate::Inquiry)).
    pub fn awaited(&self) -> Vec<ParticipantId> {
        self.inner.guard.awaited()
    }

    pub(crate) fn set_awaited(&self, peers: Vec<ParticipantId>) {
        self.inner.guard.set_awaited(peers);
    }

    pub(crate) fn anchor_is_head(&self) -> bool {
        self.inner.guard.anchor_is_head
    }

    pub(crate) async fn proved_last(&self) -> Result<(), Error> {
        self.inner.guard.proved_last().await
    }

    pub(crate) fn db(&self) -> &Db {
        &self.inner.db
    }

    /// Appends an entry; it survives a crash once this returns.
    ///
    /// # Errors
    /// [`Error::Overloaded`], [`Error::TooMuch`], [`Error::ReadOnly`], [`Error::Fenced`]; after [`Error::Unavailable`] the entry may be
    /// there or come later.
    pub async fn append(&self, draft: Draft) -> Result<DurableReceipt, Error> {
        self.inner.guard.takes(draft.entry.event)?;
        let leaf = Box::new(self.leaf(draft)?);
        self.queued(|reply| Item::Append { leaf, reply }).await
    }

    /// Registers an attempt and says how its request stands, so that a source is not asked in vain. It decides
    /// nothing: [`Ledger::release`] does.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], [`Error::Fenced`], [`Error::Store`].
    pub async fn begin(&self, request: ClaimRequest) -> Result<Begin, Error> {
        self.may_exchange()?;
        let attempt = self.attempt(request.clone());
        let claim = claim_peek(&self.inner.db, &request.key()).await?;
        let uses = uses_peek(&self.inner.db, &request.handle).await?;
        let now = self.inner.clock.now();
        // What is refused is refused whoever else is under way: only what could be answered has to wait.
        Ok(
            match (judge(&request, claim.as_ref(), uses.as_ref(), None, now), attempt) {
                (Verdict::Refused(Reason::QuotaConsumer), _) => Begin::TooSoon(wait(request.mode, uses, now)),
                (Verdict::Refused(reason), _) => Begin::Refused(reason),
                (Verdict::First | Verdict::Again, None) => Begin::Refused(Reason::InProgress),
                (Verdict::First, Some(attempt)) => Begin::First(attempt),
                (Verdict::Again, Some(attempt)) => Begin::Again(attempt),
            },
        )
    }

    /// Registers an attempt without asking how its request stands; `None` while another one of the same request, or
    /// of the same one-shot handle, runs in this process.
    pub fn attempt(&self, request: ClaimRequest) -> Option<Attempt> {
        self.inner.attempts.begin(request)
    }

    /// Claims the handle and writes the entry that says how that ended, in one durable write (I1, I2).
    ///
    /// The attempt stays registered until it is dropped: keep it as long as the answer is on its way.
    ///
    /// # Errors
    /// As [`Ledger::append`]; on any of them nothing may leave, and a claim that was made stays made.
    pub async fn release(&self, attempt: &Attempt, release: ReleaseDraft) -> Result<Release, Error> {
        let ReleaseDraft {
            mut draft,
            payload,
            gate,
        } = release;
        self.may_exchange()?;
        let request = attempt.request().clone();
        draft.entry = released(draft.entry);
        let payload_mac = self.inner.node_key.payload_mac(&request.request_id, &payload);
        let leaf = Box::new(self.leaf(draft)?);
        self.queued(|reply| Item::Release {
            leaf,
            request,
            payload_mac,
            gate,
            reply,
        })
        .await
    }

    /// Records that not one byte of this release left, and gives back what it held: its own attempt, no other.
    ///
    /// # Errors
    /// As [`Ledger::append`]; [`Error::OutOfRange`] for the receipt of an entry that is no release. The claim then
    /// stays as it was.
    pub async fn withhold(&self, release: DurableReceipt, reason: Reason) -> Result<DurableReceipt, Error> {
        let held = release.held.ok_or(Error::OutOfRange)?;
        let leaf = Box::new(Leaf {
            entry: withheld(&release.entry, reason),
            handle_key: held.handle_key,
            secret: None,
            person_keys: held.person_keys,
            evidence: None,
            erasing: Vec::new(),
        });
        let request = held.request;
        self.queued(|reply| Item::Withhold { leaf, request, reply }).await
    }

    /// Writes down the view of the withdrawal log that the process has applied, once every item queued before is
    /// committed; the head that holds it.
    ///
    /// After this no release is decided under a lower view, in this process or a later one (authority.md, « Guard »).
    ///
    /// # Errors
    /// As [`Ledger::append`].
    pub async fn observe(&self, view: RevocationView) -> Result<Head, Error> {
        self.queued(|reply| Item::Observe { view, reply }).await
    }

    /// Stops taking items, writes those queued and joins the sequencer.
    pub async fn close(&self) {
        self.inner.closing.cancel();
        self.inner.tasks.wait().await;
    }

    /// The committed head.
    pub fn head(&self) -> Head {
        self.inner.published.borrow().head.clone()
    }

    /// Tells each new head.
    pub async fn changed(&self, since: u64) -> Head {
        let mut published = self.inner.published.clone();
        let newer = published.wait_for(|p| p.head.size > since).await;
        // The sequencer outlives its readers' interest only at shutdown; the last head is then the answer.
        newer.map_or_else(|_| self.head(), |p| p.head.clone())
    }

    /// Whether exchanges may be written at this moment: not where [`Ledger::standing`] forbids it, not while the outcome
    /// of a batch has been unknown for 2 s, not once the log closes.
    ///
    /// # Errors
    /// What is in the way, in words for a probe.
    pub fn writable(&self) -> Result<(), &'static str> {
        match self.standing() {
            Standing::Open if self.inner.closing.is_cancelled() => Err("the log is closing"),
            Standing::Open if self.inner.guard.is_late() => {
                Err("the database has not answered for 2 s: nothing is written")
            }
            Standing::Open => Ok(()),
            standing => Err(standing.as_str()),
        }
    }

    /// Whether [`Ledger::writable`] finds nothing in the way.
    pub fn is_writable(&self) -> bool {
        self.writable().is_ok()
    }

    /// The log's origin.
    pub fn origin(&self) -> &Origin {
        &self.inner.origin
    }

    /// The key that verifies the log's heads.
    pub fn verifier(&self) -> &VerifierKey {
        self.inner.signer.verifier()
    }

    /// The key of the erasable indexes and the payload MACs.
    pub fn node_key(&self) -> &NodeKey {
        &self.inner.node_key
    }

    /// The signed checkpoint of `size`, at most the head's.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], [`Error::Store`], [`Error::Corrupt`].
    pub async fn checkpoint(&self, size: u64) -> Result<Arc<SignedCheckpoint>, Error> {
        let view = self.view();
        if size == view.tree.size() {
            return Ok(view.checkpoint);
        }
        if size > view.tree.size() {
            return Err(Error::OutOfRange);
        }
        // One size has one root, so the signature is the one made then (Ed25519 is deterministic).
        let tree = tree_at(&self.inner.db, self.inner.log, size, Some(&view.tree)).await?;
        let checkpoint = Checkpoint::new(self.inner.origin.clone(), size, tree.root())?;
        Ok(Arc::new(checkpoint.sign(&self.inner.signer)?))
    }

    /// The proof that the log of size `new` starts with that of size `old`.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], [`Error::Store`], [`Error::Proof`].
    pub async fn consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, Error> {
        self.view().consistency(&self.inner.db, old, new).await
    }

    /// The proof of entry `index` under the present head.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], [`Error::Store`], [`Error::Proof`].
    pub async fn proof(&self, index: u64) -> Result<Receipt, Error> {
        self.view().proof(&self.inner.db, index).await
    }

    /// The leaves from `start` up to but not including `end`, cut at the committed size.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Corrupt`].
    pub async fn entries(&self, start: u64, end: u64) -> Result<Vec<Vec<u8>>, Error> {
        let end = end.min(self.head().size);
        let rows = entry_range(&self.inner.db, self.inner.log, start, end.max(start)).await?;
        let expected = start..;
        if !rows.iter().map(|(idx, _)| *idx).eq(expected.take(rows.len()))
            || rows.len() as u64 != end.saturating_sub(start)
        {
            return Err(Error::Corrupt("an entry is missing"));
        }
        Ok(rows.into_iter().map(|(_, entry)| entry).collect())
    }

    /// What the `evidence_commit` of entry `index` commits to, with its salt, as long as it is kept.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn evidence(&self, index: u64) -> Result<Option<EvidenceRow>, Error> {
        Ok(evidence_read(&self.inner.db, self.inner.log, index).await?)
    }

    /// The places of the entries about a handle, in order.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn by_handle(&self, handle: &Handle) -> Result<Vec<u64>, Error> {
        self.lookup(Index::Handle, &self.inner.node_key.handle_key(handle))
            .await
    }

    /// The places of the entries about a person, in order; `person` as in [`About`](crate::About).
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn by_person(&self, person: &[u8]) -> Result<Vec<u64>, Error> {
        let mut places = Vec::new();
        for key in person_keys(&self.inner.node_key, person) {
            places.extend(self.lookup(Index::Person, &key).await?);
        }
        places.sort_unstable();
        places.dedup();
        Ok(places)
    }

    async fn lookup(&self, index: Index, key: &Mac) -> Result<Vec<u64>, Error> {
        let size = self.head().size;
        Ok(index_lookup(&self.inner.db, index, self.inner.log, key, size).await?)
    }

    /// The secrets of a handle that are kept for the months from `first` to `last`.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn secrets(
        &self,
        handle: &Handle,
        first: Month,
        last: Month,
    ) -> Result<Vec<GrantSecret>, Error> {
        let key = self.inner.node_key.handle_key(handle);
        Ok(secret_read(&self.inner.db, (handle.unit(), &key), (first, last)).await?)
    }

    /// Deletes claims that no token can meet any more and blanks the payload MACs of those too old to be answered
    /// again; how many rows.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn purge(&self, now: Micros) -> Result<u64, Error> {
        let before = |ms: i64| now.plus_ms(-ms);
        let mut tx = self.inner.db.begin().await?;
        let rows = claim_purge(
            &mut tx,
            before(CLAIM_KEPT_MS),
            before(MAC_KEPT_MS),
            before(USES_KEPT_MS),
        )
        .await?;
        tx.commit().await?;
        Ok(rows)
    }

    /// The committed head with what proofs under it need.
    pub(crate) fn view(&self) -> LogView {
        let published = self.inner.published.borrow();
        LogView {
            log: self.inner.log,
            origin: self.inner.origin.clone(),
            tree: Arc::clone(&published.tree),
            checkpoint: Arc::clone(&published.head.checkpoint),
            shelf: Arc::clone(&self.inner.shelf),
        }
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    fn leaf(&self, draft: Draft) -> Result<Leaf, Error> {
        let Draft {
            mut entry,
            about,
            evidence,
            erasing,
        } = draft;
        let bytes = evidence.as_ref().map_or(0, Vec::len);
        if about.persons.len() + about.aliases.len() > MAX_PERSONS || bytes > MAX_EVIDENCE_BYTES {
            return Err(Error::TooMuch);
        }
        let node_key = &self.inner.node_key;
        let evidence = evidence.map(|body| (Salt::draw(&*self.inner.random), body));
        commit_evidence(&mut entry, evidence.as_ref());
        let mut person_keys: Vec<Mac> = about.persons.iter().map(|p| node_key.person_key(p)).collect();
        person_keys.extend(about.aliases.iter().map(|a| alias(node_key.person_key(a))));
        person_keys.sort_unstable();
        person_keys.dedup();
        Ok(Leaf {
            entry,
            handle_key: about.handle.as_ref().map(|handle| node_key.handle_key(handle)),
            secret: about
                .handle
                .zip(about.secret)
                .map(|(handle, (month, secret))| SecretRow {
                    month,
                    unit: handle.unit(),
                    mac: node_key.handle_key(&handle),
                    secret,
                }),
            person_keys,
            evidence,
            erasing,
        })
    }

    async fn queued<T>(
        &self,
        item: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Item,
    ) -> Result<T, Error> {
        self.inner.guard.writes()?;
        let (reply, answer) = oneshot::channel();
        self.inner.queue.try_send(item(reply)).map_err(|e| match e {
            TrySendError::Full(_) => Error::Overloaded,
            TrySendError::Closed(_) => Error::Unavailable,
        })?;
        match tokio::time::timeout(self.inner.patience.written, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(Error::Unavailable),
        }
    }
}
