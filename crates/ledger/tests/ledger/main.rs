//! The ledger on both databases: refusals, races and faults first.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod claim;
#[path = "../../../../tests/kit/database.rs"]
pub mod database;
mod erasure;
mod fault;
mod fence;
mod growth;
mod guard;
mod migration;
mod outage;
mod peer;
mod persons;
#[path = "../../../../tests/kit/proxy.rs"]
mod proxy;
mod raw;
mod retention;
mod scene;
mod search;
mod service;
mod tally;
mod tiles;
mod verify;
