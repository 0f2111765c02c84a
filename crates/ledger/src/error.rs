use unefois_core::Reason;

use crate::anchor::AnchorError;
use crate::guard::Standing;

/// Why the ledger did not do what was asked. Nothing may leave on any of them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The queue is full.
    #[error("the ledger's queue is full")]
    Overloaded,
    /// The write failed, or its outcome was not known in time. The entry may be there or come later.
    #[error("the ledger could not be written in time")]
    Unavailable,
    /// Another process took this log; this one will write nothing more.
    #[error("another process writes this log now")]
    Fenced,
    /// The log is kept from being written, or from new exchanges.
    #[error("{0}")]
    ReadOnly(Standing),
    /// The log was closed for ever.
    #[error(
        "this log was closed for ever: draw a new log key with the next shard (unefois key generate ledger), and have the \
         directory list it"
    )]
    Closed,
    /// The anchor cannot be used.
    #[error(transparent)]
    Anchor(#[from] AnchorError),
    /// The stored log is not what its signed head says.
    #[error("the stored log contradicts its signed head: {0}")]
    Corrupt(&'static str),
    /// A size or an index that the log does not have.
    #[error("the log has no such size or index")]
    OutOfRange,
    /// An entry concerns more persons, or commits to more evidence, than the ledger takes.
    #[error("the entry carries too much beside it")]
    TooMuch,
    /// A hash, a proof or a signature does not verify.
    #[error("a proof of the log does not verify")]
    Proof(#[from] unefois_tlog::Error),
    /// The database failed.
    #[error("the ledger's database failed")]
    Store(#[from] unefois_store::Error),
}

impl Error {
    /// What to tell the caller whose exchange stops here.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Overloaded => Reason::Overloaded,
            Self::OutOfRange => Reason::InvalidRequest,
            Self::Unavailable
            | Self::Fenced
            | Self::ReadOnly(_)
            | Self::Closed
            | Self::Anchor(_)
            | Self::Corrupt(_)
            | Self::TooMuch
            | Self::Proof(_)
            | Self::Store(_) => Reason::LedgerUnavailable,
        }
    }
}
