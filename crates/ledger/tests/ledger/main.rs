//! The ledger on both databases: refusals, races and faults first.

mod claim;
#[path = "../../../../tests/kit/database.rs"]
pub mod database;
mod fault;
mod fence;
mod growth;
mod peer;
mod proxy;
mod raw;
mod scene;
mod service;
mod tally;
mod verify;
