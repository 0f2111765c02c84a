//! The ledger on both databases: refusals, races and faults first.

mod claim;
#[path = "../../../../tests/kit/database.rs"]
pub mod database;
mod fence;
mod scene;
