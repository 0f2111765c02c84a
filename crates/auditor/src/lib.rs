//! Reads a participant's ledger and verifies it without trusting who serves it.
//!
//! There is no store here: this crate sees what any reader with an auditor's certificate can see. [`read_log`] reads
//! every entry, rebuilds the tree, and compares its root with the signed head; a later head must extend an earlier one.
//! Whatever else is computed from a log is a visitor of that reading, and is shown only once the root was confirmed.

mod error;
pub mod export;
mod read;
pub mod reconcile;
mod verify;

pub use error::Error;
pub use read::{Asked, KnownHead, ReadLog, Visited, read_log};
pub use verify::{LogReport, verify_log};
