//! What happens to an exchange when a process dies: runs by command, not by `cargo test`.
//!
//! ```sh
//! cargo run -p unefois-tests --bin faults -- kill --database both
//! ```

mod books;
mod kill;
mod load;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

/// Faults, and the count of what they broke.
#[derive(Debug, Parser)]
#[command(name = "faults")]
struct Cli {
    #[command(subcommand)]
    fault: Fault,
}

#[derive(Debug, Subcommand)]
enum Fault {
    /// Kills the producer's process (SIGKILL) at random moments while a commune fetches, then reads every book.
    Kill(Kill),
}

/// `faults kill`.
#[derive(Debug, clap::Args)]
struct Kill {
    /// The database of every process.
    #[arg(long, value_enum, default_value = "both")]
    database: Database,
    /// Kills, at least.
    #[arg(long, default_value_t = 50)]
    kills: usize,
    /// Kills that must meet a fetch in flight, at least.
    #[arg(long, default_value_t = 40)]
    met: usize,
    /// Proofs that the commune must have received, at least.
    #[arg(long, default_value_t = 1_000)]
    proofs: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Database {
    Sqlite,
    Postgres,
    Both,
}

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    // The roles run in processes of this same program.
    if args.get(1).is_some_and(|arg| arg == "serve") {
        return unefois::run(args);
    }
    match run(&Cli::parse_from(args)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Where nobody reads it, nothing is lost.
            let _ = writeln!(std::io::stderr(), "faults: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<bool> {
    let Fault::Kill(kill) = &cli.fault;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut held = true;
    for database in [Database::Sqlite, Database::Postgres] {
        if kill.database != Database::Both && kill.database != database {
            continue;
        }
        let report = runtime.block_on(kill::run(kill, database))?;
        writeln!(std::io::stdout(), "{report}")?;
        held &= report.holds(kill);
    }
    Ok(held)
}
