//! `db …`: the database of a process, as a whole.

mod auditors;
mod copies;

use clap::Subcommand;

use crate::console::Console;
use crate::failure::Failure;

/// Backs databases up, restores them, and lends them to those who read SQL.
#[derive(Debug, Subcommand)]
pub enum DbCommand {
    /// Copies a database to a new folder while its process runs.
    Backup(copies::Backup),
    /// Restores a backup where there is no log. What came after it is lost: a node writes the restored log only once
    /// its anchor and its peers have shown that nothing did.
    Restore(copies::Restore),
    /// Shows the logs of a database.
    Status(copies::Status),
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
        DbCommand::Backup(args) => copies::run_backup(&args, console),
        DbCommand::Restore(args) => copies::run_restore(&args, console),
        DbCommand::Status(args) => copies::run_status(&args, console),
        DbCommand::GrantAuditor(asked) => auditors::grant(&asked, console),
        DbCommand::Snapshot(asked) => auditors::snapshot(&asked, console),
        DbCommand::Dictionary => auditors::explain(console),
    }
}
