//! What happens to an exchange when a process dies, a disk fails, a server or its standby stops, a connection breaks or a
//! database goes back: runs by command, not by `cargo test`. Each ends with 0 only if nothing that was acknowledged is lost.
//!
//! ```sh
//! cargo run -p unefois-tests --bin faults -- kill --database both
//! cargo run -p unefois-tests --bin faults -- disk
//! cargo run -p unefois-tests --bin faults -- server
//! cargo run -p unefois-tests --bin faults -- full
//! cargo run -p unefois-tests --bin faults -- standby
//! cargo run -p unefois-tests --bin faults -- wire
//! cargo run -p unefois-tests --bin faults -- copies
//! cargo run -p unefois-tests --bin faults -- withdraw
//! cargo run -p unefois-tests --bin faults -- rotate
//! ```

mod books;
mod copies;
mod crowd;
mod cut;
mod disk;
mod full;
mod kill;
mod load;
mod replica;
mod rotate;
mod server;
mod shim;
mod standby;
mod wire;
mod withdraw;
mod worker;
mod workload;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

/// The name by which this program is called where nodes are to run without their guard.
const UNGUARDED: &str = "unguarded";

/// Faults, and the count of what they broke.
#[derive(Debug, Parser)]
#[command(name = "faults")]
struct Cli {
    /// What a busy machine may add to the time within which an answer comes, in milliseconds.
    #[arg(long, global = true, default_value_t = 0)]
    slack_ms: i64,
    #[command(subcommand)]
    fault: Fault,
}

#[derive(Debug, Subcommand)]
enum Fault {
    /// Kills the producer's process (SIGKILL) at random moments while a commune fetches, then reads every book.
    Kill(Kill),
    /// Fails every n-th write or flush of a SQLite database, fills its disk, deletes and replaces its file.
    Disk(disk::Disk),
    /// Stops PostgreSQL at once, or kills it, while exchanges go on.
    Server(server::Server),
    /// Fills the disk of PostgreSQL.
    Full(full::Full),
    /// Stops PostgreSQL's synchronous standby in its tracks, or kills it, and ends the waits for it; then loses the first
    /// server.
    Standby(standby::Standby),
    /// Breaks the connection to PostgreSQL at each message in turn, before it is sent or once its answer is lost.
    Wire(wire::Wire),
    /// Puts old copies back, starts a second process on a log, stops a replica in its tracks.
    Copies(copies::Copies),
    /// Withdraws grants while they are fetched, with processes stopped and killed, a network cut and late, clocks wrong.
    Withdraw(withdraw::Withdraw),
    /// Has every key followed by its next one while a commune fetches, then loses the key that signs tokens.
    Rotate(rotate::Rotate),
    #[command(hide = true)]
    Worker(worker::Worker),
    #[command(hide = true)]
    Source(withdraw::source::Serve),
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

impl Database {
    fn each(self) -> Vec<Self> {
        match self {
            Self::Both => vec![Self::Sqlite, Self::Postgres],
            one => vec![one],
        }
    }
}

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    // The roles run in processes of this same program.
    if args.get(1).is_some_and(|arg| arg == "serve") {
        let name = args.first().and_then(|program| Path::new(program).file_name());
        return match name.is_some_and(|name| name == UNGUARDED) {
            true => unefois::run_without_guard(args),
            false => unefois::run(args),
        };
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
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match &cli.fault {
            Fault::Worker(worker) => worker::run(worker).await,
            Fault::Source(serve) => withdraw::source::serve(serve).await,
            Fault::Disk(disk) => {
                let report = disk::run(disk).await?;
                writeln!(std::io::stdout(), "{report}")?;
                Ok(report.holds(cli.slack_ms))
            }
            Fault::Server(server) => {
                let report = server::run(server).await?;
                writeln!(std::io::stdout(), "{report}")?;
                Ok(report.holds())
            }
            Fault::Full(full) => {
                let report = full::run(full).await?;
                writeln!(std::io::stdout(), "{report}")?;
                Ok(report.holds(cli.slack_ms))
            }
            Fault::Standby(standby) => {
                let report = standby::run(standby).await?;
                writeln!(std::io::stdout(), "{report}")?;
                Ok(report.holds(cli.slack_ms))
            }
            Fault::Wire(wire) => {
                let report = wire::run(wire).await?;
                writeln!(std::io::stdout(), "{report}")?;
                Ok(report.holds(cli.slack_ms))
            }
            Fault::Kill(kill) => {
                let mut held = true;
                for database in kill.database.each() {
                    let report = kill::run(kill, database).await?;
                    writeln!(std::io::stdout(), "{report}")?;
                    held &= report.holds(kill);
                }
                Ok(held)
            }
            Fault::Withdraw(withdraw) => {
                let mut held = true;
                for database in withdraw.database.each() {
                    for (report, holds) in withdraw::run(withdraw, database).await? {
                        writeln!(std::io::stdout(), "{report}")?;
                        held &= holds;
                    }
                }
                Ok(held)
            }
            Fault::Rotate(rotate) => {
                let mut held = true;
                for database in rotate.database.each() {
                    let report = rotate::run(rotate, database).await?;
                    writeln!(std::io::stdout(), "{report}")?;
                    held &= report.holds();
                }
                Ok(held)
            }
            Fault::Copies(copies) => {
                let mut held = true;
                for database in copies.database.each() {
                    let report = copies::run(copies, database).await?;
                    writeln!(std::io::stdout(), "{report}")?;
                    held &= report.holds(cli.slack_ms);
                }
                Ok(held)
            }
        }
    })
}
