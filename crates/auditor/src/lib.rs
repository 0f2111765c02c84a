//! Reads a participant's ledger and verifies it without trusting who serves it.
//!
//! There is no store here: this crate sees what any reader with an auditor's certificate can see. [`verify_log`] reads
//! every entry, rebuilds the tree, and compares its root with the signed head; a later head must extend an earlier one.

mod error;
mod verify;

pub use error::Error;
pub use verify::{KnownHead, LogReport, verify_log};
