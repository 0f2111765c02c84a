//! Why this node refuses a call.

use std::time::Duration;

use unefois_core::{Reason, decision};
use unefois_mesh::status::Refusal;
use unefois_proto::InvalidMessage;

use crate::producer::source::Failure;

/// How long to wait before a call whose refusal passes by itself, where nothing better is known.
const SOON: Duration = Duration::from_secs(1);
/// How long to wait for what another attempt of the same request is about to end.
const IN_PROGRESS: Duration = Duration::from_millis(200);
/// How long to wait for what an operator has to mend.
const MENDED: Duration = Duration::from_secs(60);
/// How long to wait before a source that failed is asked again.
const SOURCE: Duration = Duration::from_secs(5);

/// Why this node refuses a call. The text goes to the peer; the source stays here.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The message is not what its schema and types allow.
    #[error("{0}")]
    Malformed(InvalidMessage),
    /// The caller is an auditor, who fetches nothing.
    #[error("the caller is no participant")]
    NotParticipant,
    /// The token does not verify, or is not for here and now.
    #[error("the access token is not valid")]
    Token(#[source] unefois_jose::Error),
    /// The token is of another pivot than the one sent, or its parts contradict one another.
    #[error("the access token does not belong to this request")]
    OtherToken,
    /// The token is bound to another certificate than the session's.
    #[error("the access token is bound to another certificate")]
    TokenBinding,
    /// The session's certificate is not of the token's client, nor of a publisher that acts for it.
    #[error("the caller is not the client that the access token names")]
    OtherClient,
    /// The head that the caller shows of its log contradicts one that it showed before.
    #[error("the caller's log contradicts the head that it showed before")]
    CallerForked {
        /// The signed checkpoint held.
        held: String,
        /// The signed checkpoint shown.
        shown: String,
    },
    /// The withdrawal lease is not fresh, or behind the token.
    #[error("the state of withdrawals is not known at this moment")]
    Stale,
    /// The grant was withdrawn, or has reached the end that the person chose.
    #[error("the grant was withdrawn or has ended")]
    Revoked,
    /// Directory, catalogue, habilitation or grant do not cover the call.
    #[error("the call is not covered: {0}")]
    Decision(#[source] decision::Refusal),
    /// The sheet that the answer was cut by has given way to another meanwhile.
    #[error("what the three signed of this datatype changed while the source answered: ask again")]
    SheetChanged,
    /// The operator has suspended the caller, the datatype or the habilitation.
    #[error("the operator has suspended this exchange")]
    Suspended,
    /// This node has no source for the datatype.
    #[error("this node does not answer for the datatype")]
    NotServed,
    /// The handle is held by another request, or this one cannot be answered again.
    #[error("the request cannot be answered: {0}")]
    Claim(Reason),
    /// A standing handle was used too short a time ago.
    #[error("the grant allows no use yet: its last one is too recent")]
    TooSoon {
        /// Until it allows the next.
        wait: Duration,
    },
    /// The consumer's quota is used up.
    #[error("the quota of calls is used up")]
    Quota {
        /// When one more call is allowed; `None` where none ever is.
        wait: Option<Duration>,
    },
    /// The caller was refused too often of late.
    #[error("too many calls were refused: mend what they are refused for")]
    Refused {
        /// When one more call is admitted.
        wait: Option<Duration>,
    },
    /// A closed window.
    #[error("the source is closed at this hour")]
    Closed {
        /// Until it opens again.
        wait: Duration,
    },
    /// No key of this node opens the sealed identity.
    #[error("the sealed identity cannot be opened")]
    PivotKey(#[source] unefois_jose::Error),
    /// The sealed identity is malformed or not of the kind that was granted.
    #[error("the sealed identity is not one that the access token covers")]
    Pivot,
    /// The source gave no answer.
    #[error("{0}")]
    Source(Failure),
    /// The attestation cannot be signed.
    #[error("the attestation cannot be signed")]
    Seal(#[source] unefois_jose::Error),
    /// The ledger was not written.
    #[error("the ledger could not be written: nothing was sent")]
    Ledger(#[from] unefois_ledger::Error),
    /// The caller's deadline passed.
    #[error("the deadline passed")]
    Deadline,
}

impl Error {
    /// The reason on the wire, in the ledger and in metrics.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Malformed(_) | Self::CallerForked { .. } => Reason::InvalidRequest,
            Self::NotParticipant | Self::OtherClient => Reason::NotEntitled,
            Self::Token(_) | Self::OtherToken => Reason::TokenInvalid,
            Self::TokenBinding => Reason::TokenBinding,
            Self::Stale => Reason::RevocationStateStale,
            Self::Revoked => Reason::GrantRevoked,
            Self::Decision(refusal) => refusal.reason,
            Self::SheetChanged => Reason::DirectoryStale,
            Self::Suspended => Reason::Suspended,
            Self::NotServed => Reason::UnsupportedRevision,
            Self::Claim(reason) => *reason,
            Self::TooSoon { .. } | Self::Quota { .. } | Self::Refused { .. } => Reason::QuotaConsumer,
            Self::Closed { .. } => Reason::Maintenance,
            Self::PivotKey(_) | Self::Seal(_) => Reason::KeyUnavailable,
            Self::Pivot => Reason::InvalidRequest,
            Self::Source(failure) => match failure {
                Failure::NotResolved => Reason::SubjectNotResolved,
                Failure::Timeout => Reason::SourceTimeout,
                Failure::Quota { .. } => Reason::QuotaProducer,
                Failure::Unavailable | Failure::Unexpected => Reason::SourceError,
                Failure::Maintenance { .. } => Reason::Maintenance,
                Failure::Schema => Reason::SourceSchema,
            },
            Self::Ledger(error) => error.reason(),
            Self::Deadline => Reason::Deadline,
        }
    }

    /// How long to wait before the same request may succeed; `None` where waiting does not help. It is what makes an
    /// outcome `later`.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Quota { wait } | Self::Refused { wait } => *wait,
            Self::TooSoon { wait } | Self::Closed { wait } => Some(*wait),
            Self::SheetChanged => Some(SOON),
            Self::Source(failure) => match failure {
                Failure::Quota { retry_after } | Failure::Maintenance { retry_after } => {
                    Some(retry_after.unwrap_or(SOURCE))
                }
                Failure::Timeout | Failure::Unavailable => Some(SOURCE),
                Failure::NotResolved | Failure::Unexpected | Failure::Schema => None,
            },
            Self::Malformed(_)
            | Self::NotParticipant
            | Self::Token(_)
            | Self::OtherToken
            | Self::TokenBinding
            | Self::OtherClient
            | Self::CallerForked { .. }
            | Self::Stale
            | Self::Revoked
            | Self::Decision(_)
            | Self::Suspended
            | Self::NotServed
            | Self::Claim(_)
            | Self::PivotKey(_)
            | Self::Pivot
            | Self::Seal(_)
            | Self::Ledger(_)
            | Self::Deadline => retry_after(self.reason()),
        }
    }

    /// The refusal as it travels.
    pub fn to_refusal(&self) -> Refusal {
        let mut refusal = Refusal::new(self.reason(), self.to_string());
        refusal.retry_after = self.retry_after();
        if let Self::Malformed(invalid) = self {
            for violation in &invalid.violations {
                refusal = refusal.field(&*violation.field, &*violation.description);
            }
        }
        if let Self::Decision(decision) = self {
            refusal = refusal.field(&*decision.field, "not covered");
        }
        if let Self::Pivot = self {
            refusal = refusal.field("pivot_jwe", "an identity of the kind that was granted");
        }
        if let Self::CallerForked { .. } = self {
            refusal = refusal.field("caller_checkpoint", "a head that continues the one shown before");
        }
        refusal
    }

    /// What the entry of the refusal is to commit to: two signed heads that contradict one another.
    pub(crate) fn evidence(&self) -> Option<Vec<u8>> {
        match self {
            Self::CallerForked { held, shown } => Some(format!("{self}\n\n{held}\n{shown}").into_bytes()),
            _ => None,
        }
    }
}

/// How long to wait before a call refused for `reason` may succeed; `None` where waiting does not help.
pub(crate) fn retry_after(reason: Reason) -> Option<Duration> {
    let wait = if reason == Reason::InProgress {
        IN_PROGRESS
    } else if reason == Reason::DirectoryStale || reason == Reason::KeyUnavailable {
        MENDED
    } else {
        SOON
    };
    reason.retryable().then_some(wait)
}

impl From<decision::Refusal> for Error {
    fn from(refusal: decision::Refusal) -> Self {
        Self::Decision(refusal)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::Source(failure)
    }
}
