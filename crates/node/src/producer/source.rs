//! Where a producing administration's answers come from: the node's only plug-in point.

pub mod http;
pub mod parameters;
pub mod reply;
pub mod sandbox;

use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;
use unefois_core::catalogue::{Answers, DatatypeSheet};
use unefois_core::{Period, SealedSubject};

/// What is asked of a source: one datatype about one subject, whose identity the producer alone has opened.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// The datatype, as the catalogue in force has it: it alone says which answers certify an absence.
    pub sheet: &'a DatatypeSheet,
    /// How the operator's source lays out its answers, as the catalogue in force has it.
    pub answers: &'a Answers,
    /// Who it is about.
    pub subject: &'a SealedSubject,
    /// About which period; `None` for the source's own default.
    pub period: Option<Period>,
    /// How long the source may take: the datatype's allowance or what the caller has left, whichever is shorter.
    pub within: Duration,
}

/// What a source answers once it has matched exactly one person.
#[derive(Clone, PartialEq, Eq)]
pub enum Answer {
    /// It holds data.
    Document(Document),
    /// Every holder that could hold data certifies that it has none.
    Absence,
}

/// A source's data about one person.
#[derive(Clone, PartialEq, Eq)]
pub struct Document {
    /// The payload under the datatype's schema, as JSON text whose values are the source's bytes.
    pub json: String,
    /// The source's own stable ids of the person, where it gives any, for the erasable index.
    pub ids: Vec<Vec<u8>>,
}

/// Why a source gives no answer. None of these is ever an absence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Nobody matched, or more than one person did, or the source does not tell the two from « no file ».
    #[error("the person could not be resolved")]
    NotResolved,
    /// It did not answer in the time allowed.
    #[error("the source did not answer in time")]
    Timeout,
    /// It asks to be called less.
    #[error("the source asks to be called less")]
    Quota {
        /// After how long it may be called again, where it says so.
        retry_after: Option<Duration>,
    },
    /// It could not be reached or failed; a later call may succeed.
    #[error("the source is unavailable")]
    Unavailable,
    /// It is closed for now.
    #[error("the source is closed for maintenance")]
    Maintenance {
        /// After how long it opens again, where it says so.
        retry_after: Option<Duration>,
    },
    /// It refused the question or answered what its contract does not know; calling again would not help.
    #[error("the source answered what its contract does not know")]
    Unexpected,
    /// Its data are not of the datatype's schema.
    #[error("the source broke the schema of its data")]
    Schema,
}

/// One source of one datatype.
///
/// `ask` is read-only and may be repeated and run concurrently; dropping its future abandons the question. It keeps
/// within [`Question::within`], never answers an absence unless its contract certifies it, and answers at all only
/// where exactly one person matched (for a child: exactly one child, one asker, and their link).
pub trait Source: Send + Sync + fmt::Debug {
    /// Asks the question.
    ///
    /// # Errors
    /// [`Failure`]; nothing of the question or the answer is in it.
    fn ask<'a>(&'a self, question: &'a Question<'a>) -> BoxFuture<'a, Result<Answer, Failure>>;
}

macro_rules! hidden_in_debug {
    ($($type:ty = $name:literal),*) => { $(
        /// Personal data never shows in a log.
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!($name, "(…)"))
            }
        }
    )* };
}
hidden_in_debug!(Question<'_> = "Question", Answer = "Answer", Document = "Document");

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::OnceLock;

    use unefois_core::catalogue::Catalogue;

    use super::*;

    /// A catalogue of one datatype, `cnaf/revenu@1` with the units `montant` and `foyer`, for which code 37003 with 404
    /// certifies an absence; its source may take two seconds.
    pub(crate) fn catalogue() -> &'static Catalogue {
        static CATALOGUE: OnceLock<Catalogue> = OnceLock::new();
        CATALOGUE.get_or_init(|| {
            let files = [
                (
                    "producers/cnaf.yaml",
                    include_str!("../../tests/support/catalogue/producers/cnaf.yaml"),
                ),
                (
                    "types/cnaf.revenu@1.yaml",
                    include_str!("../../tests/support/catalogue/types/cnaf.revenu@1.yaml"),
                ),
            ];
            Catalogue::load(&files).expect("a sound catalogue")
        })
    }

    /// A question about `subject` within two seconds.
    pub(crate) fn question<'a>(subject: &'a SealedSubject, period: Option<&str>) -> Question<'a> {
        let datatype = catalogue().datatype(&"cnaf/revenu@1".parse().unwrap()).unwrap();
        Question {
            sheet: datatype.sheet(),
            answers: catalogue()
                .producer(&datatype.sheet().operator)
                .unwrap()
                .answers
                .as_ref()
                .unwrap(),
            subject,
            period: period.map(|p| p.parse().unwrap()),
            within: Duration::from_secs(2),
        }
    }
}
