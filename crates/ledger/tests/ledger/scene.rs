//! What the tests share: a clock that they set, drafts, and a database that several ledgers open.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use unefois_core::commitment::{Field, GrantSecret, NodeKey};
use unefois_core::{
    Boot, Clock, Entry, Event, ExchangeId, Handle, Micros, ParticipantId, Random, Reason, RevocationView,
    Sha256,
};
use unefois_ledger::{
    About, Attempt, Begin, ClaimMode, ClaimRequest, Draft, DurableReceipt, Gate, GateState, Keys, Ledger,
    Patience, Release, ReleaseDraft, Safeguards,
};
use unefois_store::{Component, Db};
use unefois_tlog::{Hash, KeyName, SignerKey, VerifierKey, verify_inclusion};

use crate::database::TestDatabase;

pub(crate) const VIEW: RevocationView = RevocationView { epoch: 3, seq: 7 };

#[derive(Debug)]
pub(crate) struct TestClock(AtomicI64);

impl TestClock {
    pub(crate) fn forward_ms(&self, ms: i64) {
        self.0.fetch_add(ms * 1_000, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Micros {
        Micros::new(self.0.load(Ordering::SeqCst))
    }

    fn boottime(&self) -> Boot {
        Boot::new(self.0.load(Ordering::SeqCst))
    }
}

/// Draws that differ from each other and are the same in each run.
#[derive(Debug, Default)]
pub(crate) struct Counting(AtomicU64);

impl Random for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            let n = self.0.fetch_add(1, Ordering::SeqCst);
            chunk.copy_from_slice(&Sha256::of(&n.to_be_bytes()).as_bytes()[..chunk.len()]);
        }
    }
}

pub(crate) struct Scene {
    pub(crate) database: TestDatabase,
    pub(crate) db: Db,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) random: Arc<Counting>,
}

impl Scene {
    pub(crate) async fn new(database: TestDatabase) -> Self {
        let db = Db::open(database.url(), Component::Node)
            .await
            .expect("the database opens");
        Self {
            database,
            db,
            clock: Arc::new(TestClock(AtomicI64::new(1_795_512_305_000_000))),
            random: Arc::default(),
        }
    }

    /// The participant's log of this shard, in a new epoch, for patient callers.
    pub(crate) async fn open(&self, shard: u8) -> Ledger {
        self.open_on(self.db.clone(), shard).await.expect("the log opens")
    }

    /// The same over `db`.
    pub(crate) async fn open_on(&self, db: Db, shard: u8) -> Result<Ledger, unefois_ledger::Error> {
        self.open_with(db, shard, patient()).await
    }

    /// The participant's log of this shard, whose callers wait no longer than in service.
    pub(crate) async fn open_in_service(&self, shard: u8) -> Ledger {
        let opened = self
            .open_with(self.db.clone(), shard, Safeguards::default())
            .await;
        opened.expect("the log opens")
    }

    /// The log of another participant in the same database, such as a publisher's node writes.
    pub(crate) async fn open_for(&self, participant: ParticipantId) -> Ledger {
        let name: KeyName = format!("{participant}/1").parse().expect("a key's name");
        let signer = SignerKey::new(name, &[101; 32]);
        let opened = self.open_signed(self.db.clone(), signer, patient()).await;
        opened.expect("the log opens")
    }

    pub(crate) async fn open_with(
        &self,
        db: Db,
        shard: u8,
        safeguards: Safeguards,
    ) -> Result<Ledger, unefois_ledger::Error> {
        let signer = SignerKey::new(key_name(shard), &[shard; 32]);
        self.open_signed(db, signer, safeguards).await
    }

    async fn open_signed(
        &self,
        db: Db,
        signer: SignerKey,
        safeguards: Safeguards,
    ) -> Result<Ledger, unefois_ledger::Error> {
        let keys = Keys {
            signer,
            node_key: NodeKey::new(&[9; 32]),
        };
        let (clock, random) = (Arc::clone(&self.clock), Arc::clone(&self.random));
        Ledger::open(db, keys, safeguards, clock, random).await
    }

    pub(crate) fn handle(&self) -> Handle {
        Handle::draw(self.clock.now(), &*self.random)
    }

    pub(crate) fn exchange(&self) -> ExchangeId {
        let random: &dyn Random = &*self.random;
        random.exchange_id(self.clock.now())
    }

    /// A new request for a one-shot handle.
    pub(crate) fn once(&self, handle: Handle) -> ClaimRequest {
        let request_id = self.exchange();
        ClaimRequest {
            handle,
            mode: ClaimMode::Once,
            client: consumer(),
            request_id,
            request_hash: Sha256::of(request_id.as_bytes()),
        }
    }

    /// A new request for a standing handle.
    pub(crate) fn standing(
        &self,
        handle: Handle,
        max_count: Option<u32>,
        min_interval_s: Option<u32>,
    ) -> ClaimRequest {
        ClaimRequest {
            mode: ClaimMode::Standing {
                max_count,
                min_interval_s,
            },
            ..self.once(handle)
        }
    }
}

/// Callers who wait for as long as a busy machine may take.
pub(crate) fn patient() -> Safeguards {
    Safeguards {
        patience: Patience {
            written: Duration::from_secs(30),
            settled: Duration::from_secs(20),
        },
        ..Safeguards::default()
    }
}

pub(crate) fn key_name(shard: u8) -> KeyName {
    format!("{}/{shard}", producer()).parse().expect("a key's name")
}

pub(crate) fn verifier(shard: u8) -> VerifierKey {
    SignerKey::new(key_name(shard), &[shard; 32]).verifier().clone()
}

pub(crate) fn producer() -> ParticipantId {
    "urn:unefois:participant:18003506500010"
        .parse()
        .expect("a participant")
}

pub(crate) fn consumer() -> ParticipantId {
    "urn:unefois:participant:21920023500014"
        .parse()
        .expect("a participant")
}

pub(crate) fn stranger() -> ParticipantId {
    "urn:unefois:participant:13000495500014"
        .parse()
        .expect("a participant")
}

pub(crate) fn payload(n: u8) -> Sha256 {
    Sha256::of(&[n])
}

pub(crate) fn open_gate() -> Gate {
    Arc::new(|| GateState::Open(VIEW))
}

/// A draft of an exchange as a producer writes it.
pub(crate) fn draft(request: &ClaimRequest) -> Draft {
    let secret = GrantSecret::from_bytes([5; 32]);
    let entry = Entry {
        exchange_id: Some(request.request_id),
        attempt: 1,
        requester: Some(request.client),
        provider: Some(producer()),
        holder: Some("cnaf".parse().expect("a holder")),
        datatype: Some("cnaf/quotient-familial@1".parse().expect("a datatype")),
        demarche: Some("cantine".parse().expect("a démarche")),
        units: 3,
        grant_commit: Some(secret.commit(&request.request_id, Field::Grant, request.handle.as_bytes())),
        content_commit: Some(Sha256::of(b"content")),
        request_hash: Some(request.request_hash),
        ..Entry::new(Event::Refused, Micros::new(0))
    };
    let month = Micros::new(1_795_512_305_000_000).month();
    Draft::new(entry).about(About {
        handle: Some(request.handle),
        secret: Some((month, secret)),
        persons: vec![b"source-id-1".to_vec()],
        ..About::default()
    })
}

/// Releases whatever `begin` says, as a replica does that saw nothing.
pub(crate) async fn release(
    ledger: &Ledger,
    attempt: &Attempt,
    payload: Sha256,
    gate: Gate,
) -> Result<Release, unefois_ledger::Error> {
    let draft = draft(attempt.request());
    ledger
        .release(attempt, ReleaseDraft { draft, payload, gate })
        .await
}

/// Begins and releases, or says why not.
pub(crate) async fn fetch(
    ledger: &Ledger,
    request: ClaimRequest,
    payload: Sha256,
) -> Result<Release, Reason> {
    match ledger.begin(request).await.expect("the store answers") {
        Begin::First(attempt) | Begin::Again(attempt) => Ok(release(ledger, &attempt, payload, open_gate())
            .await
            .expect("the ledger writes")),
        Begin::Refused(reason) => Err(reason),
        Begin::TooSoon(_) => Err(Reason::QuotaConsumer),
    }
}

pub(crate) fn claimed(release: Release) -> DurableReceipt {
    match release {
        Release::Claimed(receipt) => receipt,
        other => panic!("not claimed: {other:?}"),
    }
}

pub(crate) fn again(release: Release) -> DurableReceipt {
    match release {
        Release::Again(receipt) => receipt,
        other => panic!("not claimed again: {other:?}"),
    }
}

pub(crate) fn refused(release: Release) -> (Reason, DurableReceipt) {
    match release {
        Release::Refused(reason, receipt) => (reason, receipt),
        other => panic!("not refused: {other:?}"),
    }
}

/// The proof verifies with the log's key alone, over the bytes that the receipt carries.
pub(crate) fn assert_proved(receipt: &DurableReceipt, key: &VerifierKey) {
    let head = receipt
        .checkpoint()
        .verify(key)
        .expect("the checkpoint is signed");
    let leaf = Hash::of_leaf(receipt.entry_bytes());
    verify_inclusion(
        receipt.index(),
        head.size,
        &leaf,
        receipt.inclusion_proof(),
        &head.root,
    )
    .expect("the entry is under the checkpoint");
    assert_eq!(Entry::decode(receipt.entry_bytes()).as_ref(), Ok(receipt.entry()));
}

pub(crate) async fn events(ledger: &Ledger) -> Vec<Event> {
    let entries = ledger.entries(0, u64::MAX).await.expect("the entries are there");
    entries
        .iter()
        .map(|e| Entry::decode(e).expect("an entry").event)
        .collect()
}
