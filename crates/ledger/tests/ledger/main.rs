//! The ledger on both databases: refusals, races and faults first.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod audit;
mod claim;
#[path = "../../../../tests/kit/database.rs"]
pub mod database;
mod disclosure;
mod edge;
mod erasure;
mod fault;
mod fence;
mod forge;
mod growth;
mod guard;
mod migration;
mod outage;
mod own_history;
mod peer;
mod persons;
#[path = "../../../node/tests/support/pki.rs"]
mod pki;
#[path = "../../../../tests/kit/proxy.rs"]
mod proxy;
mod raw;
mod registry;
mod retention;
mod scene;
mod search;
mod service;
mod tally;
mod tiles;
mod verify;
mod witness;
mod witness_asked;
