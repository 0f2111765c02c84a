//! `audit …`: what an auditor does with a participant's logs, over the mesh.

mod heads;
pub mod period;
pub mod reader;
pub mod reconcile;
pub mod verify;

use clap::Subcommand;

pub use self::heads::Heads;
pub use self::reader::Reader;
pub use self::reconcile::reconcile_participants;
pub use self::verify::verify_participant;
use crate::console::Console;
use crate::failure::Failure;

/// Reads ledgers with an auditor's certificate.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Reads every entry of a participant's logs and verifies them against the signed heads.
    Verify(verify::Verify),
    /// Reads and verifies the logs of both ends, and compares every exchange.
    Reconcile(reconcile::Reconcile),
}

/// Runs `audit …`.
pub fn run(command: AuditCommand, console: Console) -> Result<(), Failure> {
    match command {
        AuditCommand::Verify(verify) => verify::run(&verify, console),
        AuditCommand::Reconcile(reconcile) => reconcile::run(&reconcile, console),
    }
}
