//! The command line: what can be typed, and where it goes.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, Subcommand};

use crate::command::{
    audit, bench, ca, catalogue, db, demo, directory, explain, fetch, habilitation, key, ledger, receipt,
    sandbox, serve, suspend, withdraw,
};
use crate::console::{Console, Lang};
use crate::failure::{Failure, Kind};

/// « Dites-le-nous une fois » : les administrations s'échangent les justificatifs, avec l'accord de la personne et un
/// registre que chacun vérifie.
#[derive(Debug, Parser)]
#[command(name = "unefois", version, max_term_width = 100)]
struct Cli {
    /// One JSON object a line on standard output.
    #[arg(long, global = true)]
    json: bool,
    /// Language of messages.
    #[arg(long, global = true, value_enum, default_value = "fr")]
    lang: Lang,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a certificate authority.
    #[command(subcommand)]
    Ca(ca::CaCommand),
    /// Looks at certificates.
    #[command(subcommand)]
    Cert(ca::CertCommand),
    /// Makes keys.
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Signs and shows directories.
    #[command(subcommand)]
    Directory(directory::DirectoryCommand),
    /// Proposes, signs and tries the right to ask.
    #[command(subcommand)]
    Habilitation(habilitation::HabilitationCommand),
    /// Checks the catalogue.
    #[command(subcommand)]
    Catalogue(catalogue::CatalogueCommand),
    /// Looks after databases.
    #[command(subcommand)]
    Db(db::DbCommand),
    /// Tells the whole story on this machine.
    Demo(demo::Demo),
    /// Runs a role.
    #[command(subcommand)]
    Serve(serve::ServeCommand),
    /// Reads and verifies ledgers over the mesh.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Looks at the logs of a database.
    #[command(subcommand)]
    Ledger(ledger::LedgerCommand),
    /// Measures parts of the program on this machine.
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// Looks at receipts, which prove one entry of a log.
    #[command(subcommand)]
    Receipt(receipt::ReceiptCommand),
    /// Asks a consuming node for a justificatif.
    Fetch(fetch::Fetch),
    /// Verifies a fetched justificatif offline.
    Verify(fetch::Verify),
    /// Tries folders of cases.
    #[command(subcommand)]
    Sandbox(sandbox::SandboxCommand),
    /// Withdraws at once what was minted for a participant, a certificate or a key.
    Withdraw(withdraw::Withdraw),
    /// Stops answering a participant, a datatype or a habilitation, at once and until a date.
    Suspend(suspend::Suspend),
    /// Explains a code such as UF-1012.
    Explain(explain::Explain),
}

/// Runs one command line and says how the process ends.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    run_by(dispatch, args)
}

/// As [`run`], but `serve node` runs [without its guard](unefois_node::Node::without_guard): what a run of faults compares
/// with. The program has no line, variable or key that leads here.
#[doc(hidden)]
pub fn run_without_guard(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let unguarded = |command, console| match command {
        Command::Serve(command) => serve::run(command, console, unefois_node::Node::without_guard),
        other => dispatch(other, console),
    };
    run_by(unguarded, args)
}

fn run_by(
    dispatch: impl FnOnce(Command, Console) -> Result<(), Failure>,
    args: impl IntoIterator<Item = OsString>,
) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    match Cli::try_parse_from(&args) {
        Ok(cli) => {
            let console = Console {
                json: cli.json,
                lang: cli.lang,
            };
            match dispatch(cli.command, console) {
                Ok(()) => ExitCode::SUCCESS,
                Err(failure) => {
                    console.fail(&failure);
                    failure.exit()
                }
            }
        }
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            // Help is an answer; where nobody reads it, nothing is lost.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        Err(error) => {
            let json = args.iter().any(|arg| arg == "--json");
            let console = Console { json, lang: Lang::Fr };
            let text = error.render().to_string();
            let failure = Failure::new(Kind::Usage, text.trim_end().trim_start_matches("error: "))
                .next(format!("tapez : {}", help_of(&args)));
            console.fail(&failure);
            failure.exit()
        }
    }
}

/// What shows the help of the command that `args` name, as far as they name one.
fn help_of(args: &[OsString]) -> String {
    let all = Cli::command();
    let mut command = &all;
    let mut typed = command.get_name().to_owned();
    for arg in args.iter().skip(1) {
        if let Some(named) = command.find_subcommand(arg) {
            command = named;
            typed = format!("{typed} {}", command.get_name());
        }
    }
    typed + " --help"
}

fn dispatch(command: Command, console: Console) -> Result<(), Failure> {
    match command {
        Command::Ca(command) => ca::run(command, console),
        Command::Cert(command) => ca::run_cert(command, console),
        Command::Key(command) => key::run(command, console),
        Command::Directory(command) => directory::run(command, console),
        Command::Habilitation(command) => habilitation::run(command, console),
        Command::Catalogue(command) => catalogue::run(command, console),
        Command::Demo(demo) => demo::run(&demo, console),
        Command::Serve(command) => serve::run(command, console, |node| node),
        Command::Withdraw(command) => withdraw::run(&command, console),
        Command::Suspend(command) => suspend::run(&command, console),
        Command::Audit(command) => audit::run(command, console),
        Command::Db(command) => db::run(command, console),
        Command::Ledger(command) => ledger::run(command, console),
        Command::Bench(command) => bench::run(command, console),
        Command::Receipt(command) => receipt::run(&command, console),
        Command::Fetch(command) => fetch::run(&command, console),
        Command::Verify(command) => fetch::run_verify(&command, console),
        Command::Sandbox(command) => sandbox::run(command, console),
        Command::Explain(explain) => explain::run(&explain, console),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_line_leads_to_the_help_of_what_was_meant() {
        for (line, help) in [
            ("unefois", "unefois --help"),
            ("unefois nothing", "unefois --help"),
            ("unefois --json --lang en audit", "unefois audit --help"),
            ("unefois audit nothing", "unefois audit --help"),
            ("unefois audit show", "unefois audit show --help"),
            ("unefois audit --json show audit", "unefois audit show --help"),
        ] {
            let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            Cli::try_parse_from(&args).expect_err(line);
            assert_eq!(help_of(&args), help, "{line}");
        }
    }

    /// One in 64 begins so, and must not be taken for an option.
    #[test]
    fn each_thumbprint_may_begin_with_a_hyphen() {
        fn walk(command: &clap::Command, found: &mut usize) {
            for arg in command.get_arguments() {
                let pin = arg.get_id().as_str().contains("pin");
                let named = arg.get_value_names().unwrap_or_default();
                if pin || named.iter().any(|name| name == "THUMBPRINT") {
                    let typed = format!("{} {}", command.get_name(), arg.get_id());
                    assert_eq!(named, ["THUMBPRINT"], "{typed}");
                    assert!(arg.is_allow_hyphen_values_set(), "{typed}");
                    *found += 1;
                }
            }
            command.get_subcommands().for_each(|sub| walk(sub, found));
        }
        let mut found = 0;
        walk(&Cli::command(), &mut found);
        assert!(found >= 11, "{found}");
    }
}
