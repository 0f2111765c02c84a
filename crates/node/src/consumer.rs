//! Asks for justificatifs: requests grants, keeps them, fetches, verifies, records, and only then hands on.
//!
//! - I5: a token is used with the very credential that it was minted with.
//! - I6: the sealed identity is forwarded as it came; the identity that a file holds leaves only as an HMAC.
//! - I7: an answer of a log that does not continue what was seen of it is refused, and the two heads are the evidence.
//! - I9: an expired directory asks for nothing and believes nothing.
//!
//! A node serves its own participant, and the bodies that it hosts as their publisher: one [`Consumer`] each, which sees
//! its own grants alone. They share the database, the credential and the connections; each has a log of its own.
//!
//! One grant: [`Consumer::request_authorization`] checks and pushes the request; the browser comes back;
//! [`Consumer::complete_authorization`] trades its code for handles. One Fetch: [`Consumer::fetch`] mints a token, calls
//! the producer, turns its `Answer` into a [`VerifiedAnswer`](verify::VerifiedAnswer) and, with the receipt of the entry
//! `received`, into a [`ReceivedAnswer`](verify::ReceivedAnswer): the only thing that a back-office gets.

mod authority;
mod config;
mod endpoints;
mod error;
pub mod evidence;
mod feed;
mod fetch;
mod held;
mod notice;
mod qr;
mod record;
mod request;
mod rest;
mod token;
pub mod verify;
mod witness;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use unefois_core::decision::Requester;
use unefois_core::{Clock, Handle, ParticipantId};
use unefois_ledger::Ledger;
use unefois_mesh::{Connector, DirectoryFollower, Identity, SystemRandom};
use unefois_proto::{AuthorizationCall, CompletionCall, GrantsCall, HandleCall};
use unefois_store::Db;
use unefois_store::node::grant::ElementState;
use unefois_store::node::request::{Before, consumer_sweep};

use crate::metrics::{Direction, Exchanges};
use crate::producer::quota::Quotas;
use authority::AuthorityClient;
use endpoints::{Endpoints, RetryBudget};
use feed::Feed;
use notice::{Ended, WATCHES};
use rest::Purpose;
use token::TokenCache;
use verify::ReceivedAnswer;

pub use config::{ConsumerConfig, FetchConfig};
pub use error::Error;
pub use held::{GrantsPage, HeldElement, HeldGrant};
pub use notice::{GrantChange, GrantChanges};
pub use request::{Asked, Requested};
pub use rest::RestKeys;

/// A request may be sent again as long as a document may be resumed; a day more for clocks and queues.
const REQUESTS_KEPT_MS: i64 = 24 * 3_600_000;
/// A grant that ended is listed for a month.
const GRANTS_KEPT_MS: i64 = 31 * 24 * 3_600_000;

/// What a consumer is made of.
#[derive(Debug)]
pub struct Parts {
    /// The consumer.
    pub participant: ParticipantId,
    /// Who takes part, and the catalogue.
    pub directory: Arc<DirectoryFollower>,
    /// The node's log.
    pub ledger: Ledger,
    /// The database of that log.
    pub db: Db,
    /// Opens connections to producers and to the authority.
    pub connector: Connector,
    /// The process's own credential.
    pub identity: Arc<Identity>,
    /// The keys of what is stored at rest.
    pub rest: RestKeys,
    /// How a Fetch spends its time.
    pub config: FetchConfig,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// The generator.
    pub random: SystemRandom,
}

/// The consumer's part of a node, for one participant. Clones share everything.
#[derive(Clone, Debug)]
pub struct Consumer {
    inner: Arc<Inner>,
}

#[derive(Clone, Debug)]
struct Inner {
    participant: ParticipantId,
    /// Whose credential is shown for it, where it is a body that this node hosts.
    publisher: Option<ParticipantId>,
    ledger: Ledger,
    watches: Arc<Semaphore>,
    // What follows is shared by all that the node serves.
    directory: Arc<DirectoryFollower>,
    db: Db,
    rest: Arc<RestKeys>,
    config: FetchConfig,
    clock: Arc<dyn Clock>,
    random: SystemRandom,
    authority: Arc<AuthorityClient>,
    connector: Connector,
    feed: Arc<Feed>,
    /// A notice was given to a back-office.
    noted: tokio::sync::watch::Sender<()>,
    endpoints: Arc<Endpoints>,
    budget: Arc<RetryBudget>,
    tokens: Arc<TokenCache>,
    quotas: Arc<Quotas>,
    exchanges: Exchanges,
    closing: CancellationToken,
    /// Exchanges go on, and are recorded, when their callers have left.
    tasks: TaskTracker,
}

impl Inner {
    /// Whose grants these are.
    fn tenant(&self) -> String {
        self.participant.siret().to_string()
    }

    /// Who asks, as the authority and producers are told.
    const fn requester(&self) -> Requester {
        Requester {
            consumer: self.participant,
            publisher: self.publisher,
        }
    }

    /// Whether the directory in use lets this node serve the participant, and lists the log that is written for it.
    fn admitted(&self) -> Result<(), Error> {
        let Some(publisher) = &self.publisher else {
            return Ok(());
        };
        let edition = self.directory.edition();
        if !edition.directory.acts_for(publisher, &self.participant) {
            return Err(Error::NotHosted(
                "it does not name this node's participant as its publisher",
            ));
        }
        let log = edition.directory.log(self.ledger.origin().as_str());
        let listed = log.is_some_and(|(row, log)| {
            row.id == self.participant && log.vkey == self.ledger.verifier().to_string()
        });
        match listed {
            true => Ok(()),
            false => Err(Error::NotHosted(
                "it does not list the log that this node writes for it",
            )),
        }
    }
}

impl Consumer {
    /// A consumer of these parts.
    pub fn new(parts: Parts) -> Self {
        let authority = AuthorityClient::new(
            parts.connector.clone(),
            parts.identity,
            Arc::clone(&parts.directory),
        );
        Self {
            inner: Arc::new(Inner {
                participant: parts.participant,
                publisher: None,
                ledger: parts.ledger,
                watches: Arc::new(Semaphore::new(WATCHES)),
                directory: parts.directory,
                db: parts.db,
                rest: Arc::new(parts.rest),
                budget: Arc::new(RetryBudget::new(parts.config.retry_budget)),
                config: parts.config,
                clock: parts.clock,
                random: parts.random,
                authority: Arc::new(authority),
                connector: parts.connector.clone(),
                feed: Arc::default(),
                noted: tokio::sync::watch::Sender::new(()),
                endpoints: Arc::new(Endpoints::new(parts.connector)),
                tokens: Arc::default(),
                quotas: Arc::default(),
                exchanges: Exchanges::new(Direction::In),
                closing: CancellationToken::new(),
                tasks: TaskTracker::new(),
            }),
        }
    }

    /// The consumer of `tenant`, a body that this consumer's participant hosts as its publisher: it writes `ledger`, and
    /// shows this one's credential.
    #[must_use]
    pub fn hosting(&self, tenant: ParticipantId, ledger: Ledger) -> Self {
        Self {
            inner: Arc::new(Inner {
                participant: tenant,
                publisher: Some(self.inner.participant),
                ledger,
                watches: Arc::new(Semaphore::new(WATCHES)),
                budget: Arc::new(self.inner.budget.fresh()),
                ..Inner::clone(&self.inner)
            }),
        }
    }

    /// Whom it serves.
    pub fn participant(&self) -> ParticipantId {
        self.inner.participant
    }

    /// The log that it writes.
    pub fn ledger(&self) -> &Ledger {
        &self.inner.ledger
    }

    /// Whether the directory in use lets this node serve the participant: always itself; a body that it hosts where that
    /// body's row names it as a publisher and lists the log that it writes for it.
    ///
    /// # Errors
    /// [`Error::NotHosted`]; then nothing is to be asked or told in the participant's name.
    pub fn admitted(&self) -> Result<(), Error> {
        self.inner.admitted()
    }

    /// Asks the authority for a grant; a browser is sent to the address that this returns, or nobody is asked and this is
    /// the grant.
    ///
    /// # Errors
    /// What the directory, the catalogue or the authority do not allow, by field.
    pub async fn request_authorization(&self, call: AuthorizationCall) -> Result<Asked, Error> {
        self.inner.request(call).await
    }

    /// Withdraws a link that nobody has answered yet.
    ///
    /// # Errors
    /// [`Error::State`] where there is none, or it was answered; the authority does not answer.
    pub async fn withdraw_link(&self, state: &str) -> Result<(), Error> {
        self.inner.withdraw_link(state).await
    }

    /// Trades what the browser brought back for the grant. Its state serves once, whatever the result.
    ///
    /// # Errors
    /// [`Error::State`], [`Error::Session`], [`Error::Issuer`]; [`Error::Declined`] where the person said no.
    pub async fn complete_authorization(&self, call: CompletionCall) -> Result<HeldGrant, Error> {
        self.inner.complete(call).await
    }

    /// Fetches one attestation. The same request id gives the same answer for 120 s, and no other ever.
    ///
    /// It runs to its end, entry included, whether or not the caller still waits.
    ///
    /// # Errors
    /// [`Error`]; nothing of an answer is handed on with any of them.
    pub async fn fetch(&self, call: HandleCall, within: Duration) -> Result<ReceivedAnswer, Error> {
        if self.inner.closing.is_cancelled() {
            return Err(Error::Stopping);
        }
        let task = self
            .inner
            .tasks
            .spawn(Arc::clone(&self.inner).fetch(call, within));
        // A task that panicked recorded nothing, and handed nothing on.
        task.await.unwrap_or(Err(Error::Unanswered))
    }

    /// The grants held, a page at a time.
    ///
    /// # Errors
    /// A page token that is none; the database.
    pub async fn grants(&self, call: &GrantsCall) -> Result<GrantsPage, Error> {
        self.inner.page(call).await
    }

    /// Gives a grant back to the person: the authority ends it, and this node forgets its tokens.
    ///
    /// # Errors
    /// No such grant is held, or the authority does not answer.
    pub async fn give_back(&self, grant_id: &str) -> Result<(), Error> {
        let inner = &self.inner;
        let grant = inner.grant(grant_id).await?;
        inner.authority.delete_grant(grant_id).await?;
        let handles: Vec<Handle> = inner
            .held(&grant)
            .await?
            .elements
            .iter()
            .map(|e| e.handle)
            .collect();
        handles.iter().for_each(|handle| inner.tokens.forget(handle));
        let at = inner.clock.now();
        let ended = handles.iter().map(|handle| Ended {
            handle: inner.rest.name(Purpose::Handle, handle.as_bytes()),
            state: ElementState::GivenBack,
            at,
        });
        inner.end(ended.collect(), None).await
    }

    /// Deletes what counts no more: states whose browser never came, old requests, grants that ended long ago.
    ///
    /// # Errors
    /// The database.
    pub async fn sweep(&self) -> Result<u64, Error> {
        let now = self.inner.clock.now();
        let before = Before {
            now,
            requests: now.plus_ms(-REQUESTS_KEPT_MS),
            grants: now.plus_ms(-GRANTS_KEPT_MS),
        };
        let mut tx = self.inner.db.begin().await?;
        let rows = consumer_sweep(&mut tx, before).await?;
        tx.commit().await?;
        Ok(rows)
    }

    /// Takes no new fetch, and waits until those under way have ended and are recorded.
    pub async fn drained(&self) {
        self.inner.closing.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }
}
