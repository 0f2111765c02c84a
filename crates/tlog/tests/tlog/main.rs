//! The log's formats and proofs against vectors and implementations that are not ours.

#![expect(clippy::unwrap_used, reason = "a test fails where it unwraps")]

mod checkpoints;
mod multiproof;
mod notes;
mod proofs;
mod receipts;
mod reference;
mod tiles;
mod tree;
mod vectors;
