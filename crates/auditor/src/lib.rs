//! Reads a participant's ledger and verifies it without trusting who serves it.
//!
//! There is no store here: this crate sees what any reader with an auditor's certificate can see. [`read_log`] reads
//! every entry, rebuilds the tree, and compares its root with the signed head; a later head must extend an earlier one.
//! Whatever else is computed from a log is a visitor of that reading, and is shown only once the root was confirmed.
//!
//! [`search`], [`entries_at`] and [`watch`] show some entries, each proved to be under a signed head: that what is shown
//! is in the log, not that nothing was left out.

pub mod disclose;
mod error;
pub mod export;
mod head;
pub mod impact;
mod read;
pub mod reconcile;
pub mod register;
pub mod report;
mod rows;
pub mod sample;
mod search;
mod verify;
mod watch;
pub mod withdrawals;

pub use error::Error;
pub use head::{KnownHead, present_head};
pub use read::{Asked, ReadLog, Visited, read_log};
pub use rows::Row;
pub use search::{Search, Searched, entries_at, search};
pub use verify::{LogReport, verify_log};
pub use watch::watch;
