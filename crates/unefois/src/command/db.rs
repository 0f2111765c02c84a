//! `db …`: the database of a process, as a whole.

mod auditors;

use clap::Subcommand;

use crate::console::Console;
use crate::failure::Failure;

/// Lends databases to those who read SQL.
#[derive(Debug, Subcommand)]
pub enum DbCommand {
    /// Lets a role of PostgreSQL read the logs as views, and nothing else.
    GrantAuditor(auditors::GrantAuditor),
    /// Copies the same views to a SQLite file, read-only.
    Snapshot(auditors::Snapshot),
    /// Prints the dictionary of the views.
    Dictionary,
}

/// Runs `db …`.
pub fn run(command: DbCommand, console: Console) -> Result<(), Failure> {
    match command {
        DbCommand::GrantAuditor(asked) => auditors::grant(&asked, console),
        DbCommand::Snapshot(asked) => auditors::snapshot(&asked, console),
        DbCommand::Dictionary => auditors::explain(console),
    }
}
