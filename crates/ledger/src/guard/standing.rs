//! What a log may do at a moment.

use std::fmt;

use crate::Error;

/// What a log may do at this moment. Reads go on whatever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Everything.
    Open,
    /// Too little disk is left: no exchange, but refusals, withdrawals and the operator's acts are still written.
    DiskFloor,
    /// No synchronous standby is attached where one is required: no exchange.
    Unreplicated,
    /// A backup was restored, and nobody has shown that nothing came after it: nothing is written.
    Unproved,
    /// Somebody holds a later or another head of this log, or of another log of its database: nothing is written.
    RolledBack,
    /// The database's file was deleted or replaced: nothing is written.
    Replaced,
    /// Another process writes the log: this one writes nothing more.
    Fenced,
}

impl Standing {
    pub(super) const WORST_FIRST: [Self; 6] = [
        Self::Fenced,
        Self::Replaced,
        Self::RolledBack,
        Self::Unproved,
        Self::Unreplicated,
        Self::DiskFloor,
    ];

    pub(super) const fn bit(self) -> u8 {
        match self {
            Self::Open => 0,
            Self::DiskFloor => 1,
            Self::Unreplicated => 2,
            Self::Unproved => 4,
            Self::RolledBack => 8,
            Self::Replaced => 16,
            Self::Fenced => 32,
        }
    }

    /// In words that a probe and a peer may read.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "the log takes entries",
            Self::DiskFloor => "too little disk is left for exchanges",
            Self::Unreplicated => "PostgreSQL has no synchronous standby: no exchange",
            Self::Unproved => {
                "the log was restored from a backup, and it is not shown that nothing came after it: it is read-only"
            }
            Self::RolledBack => {
                "a later or another head of this database's logs is known: the log is read-only"
            }
            Self::Replaced => "the database's file was deleted or replaced",
            Self::Fenced => "another process writes this log now",
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

pub(super) fn refusal(standing: Standing) -> Error {
    match standing {
        Standing::Fenced => Error::Fenced,
        standing => Error::ReadOnly(standing),
    }
}
