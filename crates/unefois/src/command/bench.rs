//! `bench`: what parts of the program cost on this machine, each figure beside a bare limit of the same run.

mod mint;
mod withdraw;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use unefois_bench::{Bar, Error, Figure, Plan, Report, Store, ledger};

use super::runtime;
use crate::bench::producers::Producers;
use crate::console::Console;
use crate::failure::{Failure, Kind};
use crate::progress::Progress;

/// Measures parts of the program.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Measures the ledger: appends, bytes, verification, proofs, searches. Run it alone on the machine, as a release build.
    Ledger(Ledger),
    /// Measures access tokens: how many a second, with pivot and ledger entry. Run it alone on the machine, as a release build.
    Mint(mint::Mint),
    /// Measures withdrawals: how long until they hold at every producer. Run it alone on the machine, as a release build.
    Withdraw(withdraw::Withdraw),
    /// Runs producers that keep a lease and answer nobody.
    #[command(hide = true)]
    Producers(Producers),
}

/// `bench ledger`.
#[derive(Debug, Args)]
pub struct Ledger {
    /// The database to measure.
    #[arg(long, value_enum)]
    store: StoreName,
    /// An empty database of a server that runs; a throw-away one where absent.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Entries to load first.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    load: u64,
    /// Appends of one turn with 512 in flight.
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(16..=1_000_000))]
    appends: u32,
    /// Turns of each kind.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Folder on the disk to measure; the system's temporary one where absent.
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum StoreName {
    Sqlite,
    Postgres,
}

impl From<StoreName> for Store {
    fn from(name: StoreName) -> Self {
        match name {
            StoreName::Sqlite => Self::Sqlite,
            StoreName::Postgres => Self::Postgres,
        }
    }
}

/// Runs `bench …`.
pub fn run(command: BenchCommand, console: Console) -> Result<(), Failure> {
    match command {
        BenchCommand::Ledger(asked) => run_ledger(asked, console),
        BenchCommand::Mint(asked) => mint::run(asked, console),
        BenchCommand::Withdraw(asked) => withdraw::run(asked, console),
        BenchCommand::Producers(asked) => withdraw::run_producers(&asked),
    }
}

fn run_ledger(asked: Ledger, console: Console) -> Result<(), Failure> {
    let plan = Plan {
        store: asked.store.into(),
        url: asked.url,
        folder: asked.dir.unwrap_or_else(std::env::temp_dir),
        load: asked.load,
        appends: usize::try_from(asked.appends).unwrap_or(usize::MAX),
        rounds: usize::try_from(asked.rounds).unwrap_or(usize::MAX),
    };
    let progress = Progress::new(console);
    let measured = runtime()?.block_on(ledger(&plan, &|step, done, all| progress.tell(step, done, all)));
    progress.end();
    let report = measured.map_err(|error| failure(&error))?;
    console.data(&report, || table(&report))
}

fn failure(error: &Error) -> Failure {
    let (kind, what, next) = match error {
        Error::Server(_) => (
            Kind::Unreachable,
            "aucun serveur PostgreSQL ne démarre",
            "installez-en un sous /usr/lib/postgresql, ou donnez --url",
        ),
        Error::NotEmpty => (
            Kind::Exists,
            "la base contient déjà des registres",
            "donnez une base vide : la mesure y laisse ses données",
        ),
        Error::Io(_) => (
            Kind::CannotWrite,
            "le dossier de mesure ne s'écrit pas",
            "donnez un autre dossier avec --dir",
        ),
        Error::Unsound
        | Error::Refused
        | Error::Ledger(_)
        | Error::Store(_)
        | Error::Tree(_)
        | Error::Database(_) => (
            Kind::TryAgain,
            "la mesure n'a pas abouti",
            "relancez-la sur une machine au repos et une base vide",
        ),
    };
    Failure::new(kind, what).because(error).next(next)
}

fn table(report: &Report) -> String {
    let mut lines = vec![
        format!("{} {}, {}", report.store, report.version, report.machine),
        format!("{} entrées chargées", report.loaded),
    ];
    let width = report
        .figures
        .iter()
        .map(|figure| figure.label.chars().count())
        .max()
        .unwrap_or(0);
    lines.extend(report.figures.iter().map(|figure| line(figure, width)));
    if cfg!(debug_assertions) {
        lines.push("Programme compilé sans optimisation : ces chiffres ne jugent rien.".to_owned());
    }
    if !report.judged {
        lines.push(
            "Le disque est trop lent pour juger des parts : sur un tel disque tout paraît rapide.".to_owned(),
        );
    }
    lines.join("\n")
}

fn line(figure: &Figure, width: usize) -> String {
    let value = match figure.value {
        value if value.abs() >= 1_000.0 => format!("{value:.0}"),
        value if value.abs() >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.3}"),
    };
    let bar = match figure.bar {
        Some(Bar::AtLeast(bar)) => format!("≥ {bar}"),
        Some(Bar::AtMost(bar)) => format!("≤ {bar}"),
        None => String::new(),
    };
    let met = match figure.met {
        Some(true) => "tenu",
        Some(false) => "MANQUÉ",
        None => "",
    };
    format!(
        "{:width$}  {value:>12} {:2}  {bar:>10}  {met}",
        figure.label, figure.unit
    )
    .trim_end()
    .to_owned()
}
