//! The command line: one file a family of commands.

pub mod audit;
pub mod bench;
pub mod ca;
pub mod catalogue;
pub mod db;
pub mod demo;
pub mod directory;
pub mod explain;
pub mod fetch;
pub mod habilitation;
pub mod key;
pub mod ledger;
mod person;
pub mod receipt;
pub mod sandbox;
pub mod serve;
pub mod suspend;
pub mod withdraw;

use std::path::Path;

use crate::failure::{Failure, Kind};

/// Reads a text file, or says which could not be read.
pub(crate) fn read_text(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|e| Failure::new(Kind::NoInput, format!("{} n'est pas lu", path.display())).because(e))
}

/// The runtime of a command that waits.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|e| Failure::new(Kind::Bug, "le programme ne démarre pas").because(e))
}
