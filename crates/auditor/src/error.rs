use unefois_core::ParticipantId;
use unefois_core::entry::InvalidEntry;

/// Why a log is not verified.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The process that serves the log did not answer, or refused.
    #[error("the log cannot be read: {}", unefois_core::in_line(.0.message()))]
    Call(#[source] Box<tonic::Status>),
    /// What was sent proves nothing of what was asked.
    #[error("what was sent is not proved: {0}")]
    Unproved(&'static str),
    /// The head is malformed, or not signed by the log's key.
    #[error("the head of the log is not valid")]
    Head(#[source] unefois_tlog::Error),
    /// The head is that of another log.
    #[error("the head is that of {got}, not of {wanted}")]
    OtherLog {
        /// The log asked for.
        wanted: String,
        /// The log that the head names.
        got: String,
    },
    /// The head changed its size between two pages of one reading.
    #[error("a page came with a head of size {got}, the reading began with {wanted}")]
    MovingHead {
        /// The size that the reading is bound to.
        wanted: u64,
        /// The size that came.
        got: u64,
    },
    /// The log signed two heads of one size.
    #[error("the log signed two heads of size {size} with different roots: keep both, they prove it")]
    TwoHeads {
        /// The size of both.
        size: u64,
    },
    /// Fewer entries came than the head counts, or more.
    #[error("the log was served with {got} entries, its head counts {wanted}")]
    Count {
        /// What the head counts.
        wanted: u64,
        /// What came.
        got: u64,
    },
    /// The entries do not hash to the signed root.
    #[error("the entries served do not hash to the signed root of size {size}")]
    Root {
        /// The size of the head.
        size: u64,
    },
    /// The log does not extend the head known before.
    #[error("the log of size {new} does not extend the head of size {old} seen before")]
    Forked {
        /// The size seen before.
        old: u64,
        /// The size now.
        new: u64,
        /// What the proof lacks.
        #[source]
        source: unefois_tlog::Error,
    },
    /// An entry is not one.
    #[error("entry {index} is not a ledger entry")]
    Entry {
        /// Its index.
        index: u64,
        /// What is wrong.
        #[source]
        source: InvalidEntry,
    },
    /// One reading holds more exchanges than are compared at once.
    #[error("more than {most} exchanges are in the period: compare a shorter one")]
    TooManyExchanges {
        /// How many are compared at once.
        most: usize,
    },
    /// One reading holds more entries about exchanges than are compared at once.
    #[error("more than {most} entries about exchanges are in the period: compare a shorter one")]
    TooManyTraces {
        /// How many are compared at once.
        most: usize,
    },
    /// One log names more others than are compared at once.
    #[error(
        "the log names more than {most} other participants: compare with one of them, or a shorter period"
    )]
    TooManyCounterparties {
        /// How many are told apart.
        most: usize,
    },
    /// A report has more different lines than it shows.
    #[error("more than {most} different lines: ask for a shorter period")]
    TooManyLines {
        /// How many it may have.
        most: usize,
    },
    /// An export cannot be written.
    #[error("the export cannot be written")]
    Write(#[source] std::io::Error),
    /// A filtered export holds more entries than it has files for.
    #[error(
        "more than {most} entries meet the conditions: export a period or a range instead, or add conditions"
    )]
    TooManyEntries {
        /// How many it may hold.
        most: u64,
    },
    /// No entry meets the conditions.
    #[error("no entry meets the conditions")]
    NoEntry,
    /// The rows shown are not all in the log, or their proof is no proof.
    #[error("the rows shown are not proved to be in the log")]
    Rows(#[source] unefois_tlog::Error),
    /// A row is not what was asked for.
    #[error("entry {index} was shown and is not what was asked for")]
    NotAskedFor {
        /// Its index.
        index: u64,
    },
    /// A row came twice, or out of its order.
    #[error("entry {index} was shown twice, or out of its order")]
    OutOfOrder {
        /// Its index.
        index: u64,
    },
    /// People were counted in the logs of nobody that was named, or of others too.
    #[error("the node did not count in the logs of {wanted} alone: it is of an older version, or wrong")]
    NotCountedAlone {
        /// In whose logs they were to be counted.
        wanted: ParticipantId,
    },
    /// An answer holds more rows or hashes than any may.
    #[error("an answer holds more than it may")]
    TooMuch,
    /// The log leads to a next page for ever, or ended without a reason.
    #[error("the log answered without coming further")]
    NoProgress,
    /// An entry is dated before the one that precedes it.
    #[error("entry {index} is dated before the entry that precedes it")]
    TimeWentBack {
        /// Its index.
        index: u64,
    },
    /// The view of withdrawals of an entry lies before the one of the entry that precedes it.
    #[error("entry {index} was written under an older view of withdrawals than the entry that precedes it")]
    ViewWentBack {
        /// Its index.
        index: u64,
    },
}

impl From<tonic::Status> for Error {
    fn from(status: tonic::Status) -> Self {
        Self::Call(Box::new(status))
    }
}

impl Error {
    /// Whether the log could not be read at all, so that nothing is said about it.
    pub const fn unread(&self) -> bool {
        matches!(self, Self::Call(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_log_answers_commands_no_terminal() {
        let error = Error::from(tonic::Status::internal("x\u{9b}2J\nUF-0000\u{202e}"));
        assert_eq!(
            error.to_string(),
            "the log cannot be read: x\\u{9b}2J\\u{a}UF-0000\\u{202e}"
        );
    }
}
