//! The messages of the mesh: generated code, the descriptor set, and the only parser of what peers send.
//!
//! A message becomes a value of `unefois-core` through `TryFrom`, or an [`InvalidMessage`] that names each field at
//! fault; nothing behind this crate sees an unchecked string. Attestations, entries and proofs travel as bytes, for
//! their own codecs to judge.

mod backoffice;
mod exchange;
mod invalid;
mod ledger;
mod revocation;

pub use backoffice::{
    AuthorizationCall, BrowserAnswer, CompletionCall, ElementCall, GrantsCall, HandleCall, SessionToken,
    StandingCall, SubjectBinding,
};
pub use exchange::{FetchCall, LinkAttestation};
pub use invalid::{InvalidMessage, Violation};
pub use ledger::{
    CountPersonsCall, MAX_ROWS, PersonPart, ProofCall, SearchCall, SearchPage, WatchCall, handles,
    identities, person_part, reading_purpose,
};
pub use revocation::{MAX_CONSUMER_RECORDS, OwnRecord, OwnRecords};

/// The descriptor set of every service, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

macro_rules! package {
    ($name:ident) => {
        /// Generated from `proto/`; the comments there are the documentation.
        #[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
        pub mod $name {
            #[allow(missing_docs, clippy::all)]
            pub mod v1 {
                include!(concat!(
                    env!("OUT_DIR"),
                    "/unefois.",
                    stringify!($name),
                    ".v1.rs"
                ));
            }
        }
    };
}

/// Generated packages, by their proto names.
pub mod pb {
    package!(exchange);
    package!(backoffice);
    package!(revocation);
    package!(directory);
    package!(ledger);
}
