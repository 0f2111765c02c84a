//! The command line: one file a family of commands.

pub mod ca;
pub mod catalogue;
pub mod directory;
pub mod explain;
pub mod key;

use std::path::Path;

use crate::failure::{Failure, Kind};

/// Reads a text file, or says which could not be read.
pub(crate) fn read_text(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|e| Failure::new(Kind::NoInput, format!("{} n'est pas lu", path.display())).because(e))
}
