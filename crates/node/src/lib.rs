//! A participant's node: it answers from its own sources, and fetches for its own systems.
//!
//! - I1, I4, I8: see [`producer`].
//! - I3: nothing is released without a fresh withdrawal [`lease`]: asked when the release is recorded, and again when
//!   the attestation is handed over to HTTP/2. A later withdrawal does not stop what was handed over: it leaves as its
//!   peer's flow-control window takes it, within twice `limits.write_ms`, or its stream is reset.
//! - I9: an expired directory, a lapsed lease or a ledger that cannot be written refuse everything.

pub mod backoffice;
mod build;
mod chores;
/// The sections of a node's TOML file, and the key files that they name.
pub mod config;
pub mod consumer;
mod error;
pub mod lease;
pub mod metrics;
pub mod producer;

pub use build::{Foundation, Node, StartError, Surroundings, ledger};
pub use config::Config;
pub use error::Error;
