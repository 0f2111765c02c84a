//! A participant's node: it answers from its own sources, and fetches for its own systems and, where it is a publisher,
//! for those of the bodies that it hosts.
//!
//! - I1, I4, I8: see [`producer`].
//! - I3: nothing is released without a fresh withdrawal [`lease`]: asked when the release is recorded, and again by the
//!   [guard](lease::Guard) for each piece of the attestation that HTTP/2 takes. A withdrawal, or a lapse, resets the
//!   streams under way that it forbids and waits until nothing of them can be sent; only then does it say so.
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
mod tenant;

pub use build::{Foundation, Node, StartError, Surroundings, ledger};
pub use config::Config;
pub use error::Error;
pub use tenant::TenantConfig;
