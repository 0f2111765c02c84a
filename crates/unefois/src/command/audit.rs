//! `audit …`: what an auditor does with a participant's logs, over the mesh.

pub mod acknowledged;
pub mod check_withdrawals;
pub mod disclose;
pub mod export;
pub mod filters;
mod heads;
pub mod impact;
pub mod period;
pub mod reader;
pub mod reconcile;
pub mod register;
pub mod report;
pub mod sample;
pub mod search;
pub mod show;
pub mod subject;
pub mod table;
pub mod verify;
pub mod visit;
pub mod watch;
pub mod words;

use clap::Subcommand;

pub use self::check_withdrawals::check_withdrawals;
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
    /// Tests that nothing was released after a withdrawal had taken effect, from ledgers alone.
    CheckWithdrawals(check_withdrawals::CheckWithdrawals),
    /// Counts who asked whom for what, and how it ended.
    Report(report::Report),
    /// Computes a participant's record of processing activities (GDPR, article 30).
    Register(register::Register),
    /// Tells what an incident at a participant concerns: exchanges, data, how many people.
    Impact(impact::Impact),
    /// Takes entries out of verified logs: CSV, JSON Lines, or a folder that verifies alone.
    Export(Box<export::Export>),
    /// Verifies such a folder, offline.
    VerifyExport(export::VerifyExport),
    /// Finds entries, and shows each once it is proved.
    Search(Box<search::Search>),
    /// Shows one entry, or those of one exchange, in words, beside what the other end wrote.
    Show(show::Show),
    /// Draws entries that anybody can draw again.
    Sample(sample::Sample),
    /// Shows entries as they are committed.
    Watch(Box<watch::Watch>),
    /// Opens one exchange, and no other, with a motive that its ledger records.
    Disclose(disclose::Disclose),
    /// Asks for one person's exchanges, signed by the first of two auditors; prints the request.
    SubjectRequest(subject::Ask),
    /// Signs another auditor's request as the second of two; prints it.
    Countersign(subject::Countersign),
    /// Finds one person's exchanges, by a request that two auditors signed.
    SearchSubject(subject::SearchSubject),
}

/// Runs `audit …`.
pub fn run(command: AuditCommand, console: Console) -> Result<(), Failure> {
    match command {
        AuditCommand::Verify(verify) => verify::run(&verify, console),
        AuditCommand::Reconcile(reconcile) => reconcile::run(&reconcile, console),
        AuditCommand::CheckWithdrawals(asked) => check_withdrawals::run(&asked, console),
        AuditCommand::Report(report) => report::run(&report, console),
        AuditCommand::Register(register) => register::run(&register, console),
        AuditCommand::Impact(impact) => impact::run(&impact, console),
        AuditCommand::Export(export) => export::run(&export, console),
        AuditCommand::VerifyExport(verify) => export::run_verify(&verify, console),
        AuditCommand::Search(search) => search::run(&search, console),
        AuditCommand::Show(show) => show::run(&show, console),
        AuditCommand::Sample(sample) => sample::run(&sample, console),
        AuditCommand::Watch(watch) => watch::run(&watch, console),
        AuditCommand::Disclose(disclose) => disclose::run(&disclose, console),
        AuditCommand::SubjectRequest(asked) => subject::ask(&asked, console),
        AuditCommand::Countersign(asked) => subject::countersign(&asked, console),
        AuditCommand::SearchSubject(asked) => subject::search(&asked, console),
    }
}
