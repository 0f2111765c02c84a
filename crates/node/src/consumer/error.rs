use std::time::Duration;

use unefois_core::{Reason, decision};
use unefois_mesh::HttpsError;
use unefois_mesh::status::Refusal;
use unefois_proto::InvalidMessage;
use unefois_store::node::grant::ElementState;

use super::evidence::Fault;
use crate::error::retry_after;

/// Why a back-office does not get what it asked its node for. The text goes to the back-office; the source stays here.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The message is not what its schema and types allow.
    #[error("{0}")]
    Malformed(InvalidMessage),
    /// A field is well-formed and still not acceptable.
    #[error("{field}: {what}")]
    Field {
        /// Path of the field.
        field: String,
        /// What it should be.
        what: &'static str,
    },
    /// The directory does not let this node serve the participant, which it is to host.
    #[error("the directory does not let this node serve this participant: {0}")]
    NotHosted(&'static str),
    /// Directory, catalogue, habilitation or démarche do not allow the request; found before anybody was asked.
    #[error("the request is not allowed: {0}")]
    Decision(#[source] decision::Refusal),
    /// Known, and not served.
    #[error("{0} is not served")]
    NotServed(&'static str),
    /// The state is unknown, was used before, or has expired.
    #[error("the state is unknown, used or expired: ask for the authorization again")]
    State,
    /// The browser came back in another session than the one that asked.
    #[error("the authorization was asked for in another session")]
    Session,
    /// Another issuer answered than the one that was asked (RFC 9207).
    #[error("the answer is not from the authority that was asked")]
    Issuer,
    /// The person declined.
    #[error("the person declined: nothing is granted")]
    Declined,
    /// The authority sent the browser back with an error.
    #[error("the authority ended the authorization with the error {0}")]
    Ended(String),
    /// No such handle, or grant, is held.
    #[error("{field}: no such grant is held")]
    Unknown {
        /// The field that names it.
        field: &'static str,
    },
    /// The element may not serve any more.
    #[error("{}", over(.0))]
    Over(ElementState),
    /// The authority ended this node's tokens while the answer was on its way.
    #[error("the authority withdrew the access token while the answer was on its way: ask again")]
    TokenWithdrawn,
    /// Too many watches are open.
    #[error("too many watches of grants are open")]
    Watches,
    /// The grant's time is over.
    #[error("the grant's time is over")]
    Expired,
    /// The same request id with other contents.
    #[error("the request id was used for another request")]
    RetryMismatch,
    /// The producer is closed at this hour.
    #[error("the producer is closed at this hour")]
    Closed {
        /// Until it opens again.
        wait: Duration,
    },
    /// The quota of calls is used up.
    #[error("the quota of calls is used up")]
    Quota {
        /// When one more is allowed; `None` where none ever is.
        wait: Option<Duration>,
    },
    /// The authority refused.
    #[error("the authority refuses: {0}")]
    AuthorityRefused(Reason),
    /// The authority cannot be reached, or does not answer.
    #[error("the authority does not answer")]
    AuthorityUnreachable(#[source] Option<HttpsError>),
    /// The authority's answer is not one that its interface allows.
    #[error("the authority's answer is not acceptable: {0}")]
    AuthorityAnswer(&'static str),
    /// The access token is not one that serves this request.
    #[error(
        "the access token that the authority minted is not valid here: check the clocks and the directory"
    )]
    Token(#[source] unefois_jose::Error),
    /// The producer refused.
    #[error("the producer refuses: {}", .0.message)]
    ProducerRefused(Refusal),
    /// No answer came, or not whole.
    #[error("the producer did not answer: the same request id may be sent again")]
    Unanswered,
    /// The answer did not verify; nothing of it is handed on.
    #[error("the producer's answer is not believed: {0}")]
    Unverified(#[source] Fault),
    /// The ledger was not written.
    #[error("the ledger could not be written: nothing is handed on")]
    Ledger(#[from] unefois_ledger::Error),
    /// The database failed.
    #[error("the node's database failed")]
    Store(#[from] unefois_store::Error),
    /// What is stored does not open: another key, or edited rows.
    #[error("what the node stored cannot be opened")]
    Sealed,
    /// The node stops.
    #[error("the node is stopping")]
    Stopping,
}

const fn over(state: &ElementState) -> &'static str {
    match state {
        ElementState::Active => "the grant may serve",
        ElementState::Used => "the grant served another request and may not serve again",
        ElementState::Withdrawn => "the grant was withdrawn",
        ElementState::GivenBack => "the grant was given back",
        ElementState::Narrowed => "the person narrowed the grant: another handle of it follows",
    }
}

impl Error {
    /// The reason on the wire; `None` for what is our own fault.
    pub fn reason(&self) -> Option<Reason> {
        Some(match self {
            Self::Malformed(_) | Self::Field { .. } | Self::State | Self::Session | Self::Issuer => {
                Reason::InvalidRequest
            }
            Self::Unknown { .. } => Reason::InvalidRequest,
            Self::NotHosted(_) => Reason::NotEntitled,
            Self::Decision(refusal) => refusal.reason,
            Self::NotServed(_) => Reason::NotImplemented,
            Self::Declined => Reason::UnitNotGranted,
            Self::Ended(error) => match error.as_str() {
                "server_error" | "temporarily_unavailable" => Reason::Overloaded,
                _ => Reason::InvalidRequest,
            },
            Self::Over(state) => match state {
                ElementState::Active => return None,
                ElementState::Used => Reason::TokenConsumed,
                ElementState::Withdrawn | ElementState::GivenBack | ElementState::Narrowed => {
                    Reason::GrantRevoked
                }
            },
            Self::TokenWithdrawn => Reason::GrantRevoked,
            Self::Watches => Reason::Overloaded,
            Self::Expired => Reason::TokenInvalid,
            Self::RetryMismatch => Reason::RetryMismatch,
            Self::Closed { .. } => Reason::Maintenance,
            Self::Quota { .. } => Reason::QuotaConsumer,
            Self::AuthorityRefused(reason) => *reason,
            Self::AuthorityUnreachable(_) => Reason::Deadline,
            Self::AuthorityAnswer(_) | Self::Token(_) => Reason::TokenInvalid,
            Self::ProducerRefused(refusal) => refusal.reason,
            Self::Unanswered => Reason::Deadline,
            Self::Unverified(_) => Reason::SourceSchema,
            Self::Ledger(error) => error.reason(),
            Self::Stopping => Reason::Overloaded,
            Self::Store(_) | Self::Sealed => return None,
        })
    }

    /// The refusal as the back-office gets it; `None` for what is our own fault.
    pub fn to_refusal(&self) -> Option<Refusal> {
        let reason = self.reason()?;
        let mut refusal = Refusal::new(reason, self.to_string());
        refusal.retry_after = match self {
            Self::Closed { wait } => Some(*wait),
            Self::Quota { wait } => *wait,
            Self::ProducerRefused(theirs) => theirs.retry_after,
            Self::Malformed(_)
            | Self::Field { .. }
            | Self::NotHosted(_)
            | Self::Decision(_)
            | Self::NotServed(_)
            | Self::State
            | Self::Session
            | Self::Issuer
            | Self::Declined
            | Self::Ended(_)
            | Self::Unknown { .. }
            | Self::Over(_)
            | Self::TokenWithdrawn
            | Self::Watches
            | Self::Expired
            | Self::RetryMismatch
            | Self::AuthorityRefused(_)
            | Self::AuthorityUnreachable(_)
            | Self::AuthorityAnswer(_)
            | Self::Token(_)
            | Self::Unanswered
            | Self::Unverified(_)
            | Self::Ledger(_)
            | Self::Store(_)
            | Self::Sealed
            | Self::Stopping => retry_after(reason),
        };
        match self {
            Self::Malformed(invalid) => {
                for violation in &invalid.violations {
                    refusal = refusal.field(&*violation.field, &*violation.description);
                }
            }
            Self::Field { field, what } => refusal = refusal.field(field, *what),
            Self::Decision(decision) => refusal = refusal.field(&*decision.field, "not allowed"),
            Self::State => refusal = refusal.field("state", "a state that waits for its browser"),
            Self::Session => refusal = refusal.field("session", "the session that asked"),
            Self::Issuer => refusal = refusal.field("iss", "the authority of the directory"),
            Self::Unknown { field } => refusal = refusal.field(*field, "a grant that is held"),
            Self::ProducerRefused(theirs) => {
                refusal.correlation_id.clone_from(&theirs.correlation_id);
                refusal.fields.clone_from(&theirs.fields);
            }
            Self::NotHosted(_)
            | Self::NotServed(_)
            | Self::Declined
            | Self::Ended(_)
            | Self::Over(_)
            | Self::TokenWithdrawn
            | Self::Watches
            | Self::Expired
            | Self::RetryMismatch
            | Self::Closed { .. }
            | Self::Quota { .. }
            | Self::AuthorityRefused(_)
            | Self::AuthorityUnreachable(_)
            | Self::AuthorityAnswer(_)
            | Self::Token(_)
            | Self::Unanswered
            | Self::Unverified(_)
            | Self::Ledger(_)
            | Self::Store(_)
            | Self::Sealed
            | Self::Stopping => {}
        }
        Some(refusal)
    }
}
