//! The record of who read a log: one entry `queried` for each search, watch, proof or reading in order.

use std::fmt::Write as _;

use unefois_core::commitment::{Field, Salt};
use unefois_core::{Entry, Event, Sha256};
use unefois_mesh::{Peer, PeerId, status};

use crate::draft::Draft;
use crate::receipt::DurableReceipt;
use crate::{Error, Ledger};

/// One reading of entries, as it is recorded: before the first row leaves, and once, however many pages it has.
#[derive(Clone, Debug)]
pub struct Query<'a> {
    /// In what way: one word.
    pub kind: &'static str,
    /// Who reads.
    pub reader: &'a Peer,
    /// The size of the log that is read.
    pub size: u64,
    /// What is read, on one line: a filter's text form, or places.
    pub what: String,
    /// Why, as the reader says it; may be empty. On one line.
    pub purpose: &'a str,
    /// How many rows the first page has.
    pub rows: usize,
    /// SHA-256 of the cursor of the next page, if there is one.
    pub cursor: Option<Sha256>,
    /// The version of the directory that let the reader in.
    pub directory_version: u64,
}

impl Ledger {
    /// Records a query; it is durable once this returns.
    ///
    /// The entry commits to the reader's key; the evidence beside it says what was read and why, and holds the salt
    /// that opens that commitment.
    ///
    /// # Errors
    /// As [`Ledger::append`].
    pub async fn queried(&self, query: &Query<'_>) -> Result<DurableReceipt, Error> {
        let inner = self.inner();
        let salt = Salt::draw(&*inner.random);
        let key = query.reader.spki_sha256;
        let entry = Entry {
            directory_version: query.directory_version,
            actor_commit: Some(salt.commit(Field::Actor, key.as_bytes())),
            ..Entry::new(Event::Queried, inner.clock.now())
        };
        let evidence = query.text(&salt).into_bytes();
        self.append(Draft::new(entry).evidence(evidence)).await
    }

    /// As [`Ledger::queried`]; but an auditor, who has to find out why a log cannot be written, reads it all the same, and
    /// the next `tally` counts it. Whether it was recorded.
    ///
    /// # Errors
    /// As [`Ledger::append`]: of an auditor's query [`Error::Overloaded`] alone.
    pub(crate) async fn queried_or_counted(&self, query: &Query<'_>) -> Result<bool, Error> {
        let Err(error) = self.queried(query).await else {
            return Ok(true);
        };
        match &query.reader.id {
            PeerId::Auditor(_) if !matches!(error, Error::Overloaded) => {
                tracing::warn!(
                    error = status::chain(&error),
                    "an auditor reads a log that cannot record it"
                );
                self.read_unrecorded(&query.reader.id.to_string());
                Ok(false)
            }
            PeerId::Auditor(_) | PeerId::Participant(_) => Err(error),
        }
    }
}

impl Query<'_> {
    /// The evidence: lines of a name and a value, in a fixed order.
    fn text(&self, salt: &Salt) -> String {
        let mut hex = String::new();
        for byte in salt.as_bytes() {
            // Writing to a string does not fail.
            let _ = write!(hex, "{byte:02x}");
        }
        let cursor = self
            .cursor
            .map_or_else(|| "-".to_owned(), |cursor| cursor.to_string());
        format!(
            "unefois/query/v1\nkind {}\nreader {}\nkey {}\nactor_salt {hex}\nsize {}\nwhat {}\npurpose {}\nrows {}\ncursor {cursor}\n",
            self.kind, self.reader.id, self.reader.spki_sha256, self.size, self.what, self.purpose, self.rows
        )
    }
}
