//! What is found about withdrawals.

use unefois_core::{ExchangeId, Micros, ParticipantId, RevocationView};

/// A release in a producer's log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The log's origin.
    pub origin: String,
    /// Its place in that log.
    pub index: u64,
    /// The exchange; one without is no release of anybody, and late all the same between a `lapsed` and its `resumed`.
    pub exchange: Option<ExchangeId>,
    /// When, by the producer's clock; told, and compared with nothing.
    pub at: Micros,
}

/// By which rule a release is late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// Its own view of withdrawals has the record.
    View,
    /// It lies at or beyond the size that the log acknowledged the record with.
    Acknowledged,
    /// It lies after the first `lapsed` at or beyond the size of the last ping answered below the record.
    Lapsed,
    /// It lies between a `lapsed` and its `resumed`, where nothing may be released, whatever the handle.
    Closed,
}

/// A late release.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Late {
    /// Which.
    pub release: Place,
    /// By which rule.
    pub why: Why,
}

/// What makes a proof no proof.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// What was disclosed does not open the entry's commitment.
    Evidence,
    /// What opens it is no proof of effect.
    NotAProof,
    /// The entry and the proof are not about the same.
    OtherTerms,
    /// No disclosed secret opens the entry's own commitment to the handle.
    Secret,
    /// A log that the directory gives the operator has no line.
    NoLine(String),
    /// A line is of a log that the directory does not give the operator, or stands twice or out of its order.
    OtherLine(String),
    /// The checkpoint is not one that the log's key signed.
    Checkpoint(String),
    /// The acknowledgement is of a place before the record.
    BelowRecord(String),
    /// The log does not continue the head that the line names.
    OtherHistory(String),
    /// Another `effective` entry, at this place, has another proof of the same record.
    TwoProofs(u64),
    /// The entry at this place is of a record with a lower number and a later epoch, or with a higher one and an earlier.
    Epochs(u64),
}

/// What is said beside a verdict, and accuses nobody.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remark {
    /// The entry at this place holds the same proof: the authority stopped between writing and noting that it had.
    Duplicate(u64),
    /// The directory at hand is of another version than the proof's and gives the operator this log besides.
    AddedSince(String),
    /// The directory at hand is of another version than the proof's and does not give the operator this log.
    RemovedSince(String),
    /// The log could not be read.
    Unread(String),
}

/// Why releases were not judged, though the proof itself was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NotJudged {
    /// What opened the proof, or linked releases to it, was destroyed after its time.
    Erased,
    /// The proof is none.
    Broken,
    /// The authority did not know the handle, so that no entry leads to its secrets.
    UnknownHandle,
    /// Tokens were minted for the client since, and no entry names its token.
    MintedSince,
    /// By the certificate of tokens, which no entry names.
    Certificate,
    /// By the signing key of tokens, which no entry names.
    SigningKey,
    /// By the age of tokens, which no entry names.
    Age,
}

/// One withdrawal that the authority says is in effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The number of the log of its `effective` entry among the authority's.
    pub log: usize,
    /// The place of that entry.
    pub index: u64,
    /// The record's place in the log of withdrawals, where the proof could be opened.
    pub place: Option<RevocationView>,
    /// The record's kind.
    pub kind: Option<&'static str>,
    /// Whose logs it concerns; `None` for every producer's.
    pub operator: Option<ParticipantId>,
    /// When it took effect, as the authority says.
    pub effective_at: Micros,
    /// Releases that were late.
    pub late: Vec<Late>,
    /// Releases that the proof shows to be neither late nor in time.
    pub unproved: Vec<Place>,
    /// What is wrong with the proof.
    pub faults: Vec<Fault>,
    /// What else is to be said.
    pub remarks: Vec<Remark>,
    /// Why releases were not judged.
    pub not_judged: Option<NotJudged>,
}

/// A withdrawal without a proof of effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The number of the log of its entry, `withdrawn` or `narrowed`, among the authority's.
    pub log: usize,
    /// The place of that entry.
    pub index: u64,
    /// When it was written.
    pub at: Micros,
    /// Whose grant it was.
    pub requester: Option<ParticipantId>,
    /// Who would answer.
    pub provider: Option<ParticipantId>,
}

/// What the ledgers show of withdrawals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Each withdrawal with a proof, in the order of the authority's logs.
    pub withdrawals: Vec<Judged>,
    /// Releases between a `lapsed` and its `resumed` that are of no withdrawal judged above.
    pub closed: Vec<Late>,
    /// Withdrawals without a proof of effect.
    pub pending: Vec<Pending>,
}

impl Fault {
    /// The word for machines.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Evidence => "evidence_does_not_open",
            Self::NotAProof => "not_a_proof",
            Self::OtherTerms => "other_terms",
            Self::Secret => "secret_does_not_open",
            Self::NoLine(_) => "no_line",
            Self::OtherLine(_) => "other_line",
            Self::Checkpoint(_) => "checkpoint",
            Self::BelowRecord(_) => "below_record",
            Self::OtherHistory(_) => "other_history",
            Self::TwoProofs(_) => "two_proofs",
            Self::Epochs(_) => "epochs",
        }
    }
}

impl Fault {
    /// The log, or the place in the authority's, that it is about.
    pub fn of(&self) -> Option<String> {
        match self {
            Self::Evidence | Self::NotAProof | Self::OtherTerms | Self::Secret => None,
            Self::NoLine(log)
            | Self::OtherLine(log)
            | Self::Checkpoint(log)
            | Self::BelowRecord(log)
            | Self::OtherHistory(log) => Some(log.clone()),
            Self::TwoProofs(index) | Self::Epochs(index) => Some(index.to_string()),
        }
    }
}

impl Remark {
    /// The log, or the place in the authority's, that it is about.
    pub fn of(&self) -> String {
        match self {
            Self::Duplicate(index) => index.to_string(),
            Self::AddedSince(log) | Self::RemovedSince(log) | Self::Unread(log) => log.clone(),
        }
    }

    /// The word for machines.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Duplicate(_) => "duplicate",
            Self::AddedSince(_) => "added_since",
            Self::RemovedSince(_) => "removed_since",
            Self::Unread(_) => "unread",
        }
    }
}

impl NotJudged {
    /// The word for machines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Erased => "erased",
            Self::Broken => "broken",
            Self::UnknownHandle => "unknown_handle",
            Self::MintedSince => "minted_since",
            Self::Certificate => "certificate",
            Self::SigningKey => "signing_key",
            Self::Age => "age",
        }
    }
}

impl Why {
    /// The word for machines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Acknowledged => "acknowledged",
            Self::Lapsed => "lapsed",
            Self::Closed => "closed",
        }
    }
}

impl Judged {
    /// Whether the proof holds, covers every log that there is to read, and no release contradicts it or lies where it
    /// proves nothing.
    pub fn is_proved(&self) -> bool {
        let unread = |remark: &Remark| matches!(remark, Remark::Unread(_) | Remark::RemovedSince(_));
        self.late.is_empty()
            && self.unproved.is_empty()
            && self.faults.is_empty()
            && self.not_judged.is_none()
            && !self.remarks.iter().any(unread)
    }
}

impl Report {
    /// Whether no release was late and every proof is whole.
    pub fn holds(&self) -> bool {
        self.closed.is_empty() && self.count(|w| !w.late.is_empty() || !w.faults.is_empty()) == 0
    }

    /// How many withdrawals with a proof are so.
    pub fn count(&self, so: impl Fn(&Judged) -> bool) -> usize {
        self.withdrawals
            .iter()
            .filter(|withdrawal| so(withdrawal))
            .count()
    }
}
