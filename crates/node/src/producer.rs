//! Answers calls for justificatifs: authorises, asks the source, minimises, signs, records, and only then sends.
//!
//! - I1: an attestation is handed to the network only with the [`DurableReceipt`](unefois_ledger::DurableReceipt) of its
//!   entry.
//! - I4: what is signed was cut by [`minimise`](minimise::minimise) to a permit's units.
//! - I8: each refusal of a call that came through admission is an entry, or is counted where the ledger cannot be
//!   written. A caller that was refused more often than it may be answered is not admitted for a while, so that its
//!   refusals, each a durable write, have a bound; those turned away are counted.
//!
//! One call, in the types of this module: a message becomes a `FetchCall`; its token makes it a `VerifiedCall`; the
//! order of checks an `Authorized` call with a permit and an opened identity; the source's answer is `Minimised`, then
//! signed; the sequencer's receipt makes it `Released`, which is the only thing that a stream is made of.

pub mod attest;
mod authorize;
mod concerned;
mod credit;
mod fetch;
mod link;
pub mod minimise;
pub(crate) mod quota;
mod release;
mod resolve;
pub mod source;
pub(crate) mod suspension;
mod trail;
mod witness;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio_util::task::TaskTracker;
use unefois_core::decision::Operator;
use unefois_core::{Clock, DatatypeRev, ParticipantId, Reason};
use unefois_jose::{DecryptionKey, SigningKey};
use unefois_ledger::Ledger;
use unefois_mesh::{DirectoryFollower, SystemRandom};
use unefois_store::Db;

use crate::Error;
use crate::lease::{Guard, Lease};
use crate::metrics::{Direction, Exchanges};
use credit::Credits;
use quota::{Buckets, Quotas};
use source::Source;
use suspension::Suspensions;

pub(crate) use fetch::deadline;

/// What a producer is made of.
#[derive(Debug)]
pub struct Parts {
    /// The operator, with the keys that sign its habilitations.
    pub operator: Operator,
    /// Who takes part, and the catalogue.
    pub directory: Arc<DirectoryFollower>,
    /// The node's log.
    pub ledger: Ledger,
    /// The database of that log, for what peers say of theirs.
    pub db: Db,
    /// The withdrawal lease.
    pub lease: Arc<Lease>,
    /// What lets answers out under it.
    pub guard: Arc<Guard>,
    /// The source of each datatype that this node answers for.
    pub sources: BTreeMap<DatatypeRev, Arc<dyn Source>>,
    /// Sign attestations: the present key and, at a change, the next one. The directory's first of them signs.
    pub seals: Vec<SigningKey>,
    /// Open sealed identities: the present key and, at a change, the next one.
    pub pivot_keys: Vec<DecryptionKey>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// The generator.
    pub random: SystemRandom,
}

/// `ExchangeService`. Clones share everything.
#[derive(Clone, Debug)]
pub struct Producer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    operator: Operator,
    directory: Arc<DirectoryFollower>,
    ledger: Ledger,
    db: Db,
    lease: Arc<Lease>,
    guard: Arc<Guard>,
    sources: BTreeMap<DatatypeRev, Arc<dyn Source>>,
    seals: Vec<SigningKey>,
    pivot_keys: Vec<DecryptionKey>,
    clock: Arc<dyn Clock>,
    random: SystemRandom,
    quotas: Quotas,
    suspensions: Suspensions,
    /// How often each caller was refused.
    refused: Buckets<ParticipantId>,
    /// How many entries each caller may acknowledge.
    credits: Credits,
    exchanges: Exchanges,
    /// Calls go on, and are recorded, when their callers have left.
    tasks: TaskTracker,
}

impl Producer {
    /// A producer of these parts.
    pub fn new(parts: Parts) -> Self {
        Self {
            inner: Arc::new(Inner {
                operator: parts.operator,
                directory: parts.directory,
                ledger: parts.ledger,
                suspensions: Suspensions::new(parts.db.clone(), Arc::clone(&parts.clock)),
                db: parts.db,
                lease: parts.lease,
                guard: parts.guard,
                sources: parts.sources,
                seals: parts.seals,
                pivot_keys: parts.pivot_keys,
                clock: parts.clock,
                random: parts.random,
                quotas: Quotas::default(),
                refused: Buckets::default(),
                credits: Credits::default(),
                exchanges: Exchanges::new(Direction::Out),
                tasks: TaskTracker::new(),
            }),
        }
    }

    /// Whether it may release at this moment: the lease fresh, the directory in force, the ledger writable.
    pub fn ready(&self) -> bool {
        let Inner {
            lease,
            directory,
            ledger,
            clock,
            ..
        } = &*self.inner;
        lease.fresh().is_ok() && directory.edition().ground(clock.now()).is_ok() && ledger.is_writable()
    }

    /// Whose answers these are.
    pub fn participant(&self) -> ParticipantId {
        self.inner.operator.participant
    }

    /// The datatypes that it has a source for.
    pub fn datatypes(&self) -> impl Iterator<Item = &DatatypeRev> {
        self.inner.sources.keys()
    }

    /// Waits until every call that came in has ended and is recorded; no call may come in any more.
    pub async fn drained(&self) {
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }
}

/// What the lease refuses, as an error of the call.
fn withdrawal(reason: Reason) -> Error {
    match reason {
        Reason::GrantRevoked => Error::Revoked,
        _ => Error::Stale,
    }
}
