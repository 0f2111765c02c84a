//! `bench withdraw`: how long a withdrawal takes until it holds everywhere.

use std::path::PathBuf;

use clap::{Args, value_parser};
use unefois_bench::{Judged, Row, Withdrawals};

use super::{StoreName, runtime};
use crate::bench::producers::{self, Producers};
use crate::bench::withdraw::{Outcome, Plan, withdraw};
use crate::console::Console;
use crate::failure::{Failure, Kind};
use crate::progress::Progress;

/// How many contradictions are told.
const TOLD: usize = 5;

/// `bench withdraw`.
#[derive(Debug, Args)]
pub struct Withdraw {
    /// Producers that hold a lease, each with its own certificate and log.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = value_parser!(u16).range(2..=1_000))]
    nodes: u16,
    /// How many of them are cut off in the second part; fewer than --nodes.
    #[arg(long, value_name = "N", default_value_t = 20)]
    partitioned: u16,
    /// Withdrawals of each kind with all connected; a fifth of that, 4 at least, with some cut off.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = value_parser!(u16).range(1..=10_000))]
    rounds: u16,
    /// The authority's database; each producer has a SQLite file.
    #[arg(long, value_enum, default_value = "sqlite")]
    store: StoreName,
    /// Folder on the disk to measure; the system's temporary one where absent.
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

/// Runs `bench withdraw`: fails where a withdrawal did not hold when it was said to, not where it took long.
pub(super) fn run(asked: Withdraw, console: Console) -> Result<(), Failure> {
    if asked.partitioned >= asked.nodes {
        let failure = Failure::new(Kind::Usage, "--partitioned n'est pas inférieur à --nodes");
        return Err(failure.next("laissez au moins un producteur joignable"));
    }
    let plan = Plan {
        nodes: asked.nodes.into(),
        partitioned: asked.partitioned.into(),
        rounds: asked.rounds.into(),
        store: asked.store.into(),
        folder: asked.dir.unwrap_or_else(std::env::temp_dir),
    };
    let progress = Progress::new(console);
    let measured = runtime()?.block_on(withdraw(&plan, &|step, done, all| progress.tell(step, done, all)));
    progress.end();
    let Outcome { report, wrong } = measured.map_err(|error| failed(&error))?;
    console.data(&report, || table(&report))?;
    if wrong.is_empty() {
        return Ok(());
    }
    let told: Vec<&str> = wrong.iter().take(TOLD).map(String::as_str).collect();
    let what = format!("{} contradictions entre preuves et producteurs", wrong.len());
    Err(Failure::new(Kind::No, what)
        .because(told.join(" ; "))
        .next("aucun de ces chiffres ne vaut tant que ce n'est pas expliqué"))
}

/// Runs the producers of one process.
pub(super) fn run_producers(asked: &Producers) -> Result<(), Failure> {
    runtime()?
        .block_on(producers::run(asked))
        .map_err(|error| failed(&error))
}

fn failed(error: &anyhow::Error) -> Failure {
    Failure::new(Kind::TryAgain, "la mesure n'a pas abouti")
        .because(format!("{error:#}"))
        .next("relancez-la sur une machine au repos")
}

fn table(report: &Withdrawals) -> String {
    let bare = report.ping_ms + report.observe_ms;
    let mut lines = vec![
        format!(
            "{} producteurs dans {} processus, un fichier SQLite chacun, {} coupés dans la seconde partie",
            report.nodes, report.processes, report.partitioned
        ),
        format!(
            "autorité sur {}, bail {} ms, {}",
            report.store, report.lease_ms, report.machine
        ),
        format!(
            "fdatasync {:.3} ms ; aller-retour nu {bare:.2} ms (ping {:.2}, vue écrite {:.2})",
            report.fdatasync_ms, report.ping_ms, report.observe_ms
        ),
    ];
    let width = report.rows.iter().map(|row| row.label.chars().count()).max();
    let width = width.unwrap_or(0);
    lines.push(format!(
        "{:width$}  {:>5}  {:>8}  {:>8}  {:>8}  {:>8}  {:>6}  {:>6}",
        "de la demande à l'effet, ms", "n", "p50", "p99", "max", "vu p50", "× nu", "échus"
    ));
    lines.extend(report.rows.iter().map(|row| line(row, width)));
    if cfg!(debug_assertions) {
        lines.push("Programme compilé sans optimisation : ces chiffres ne jugent rien.".to_owned());
    }
    lines.join("\n")
}

fn line(row: &Row, width: usize) -> String {
    let judged = match row.judged {
        Judged::P99(most) => format!("p99 ≤ {most}"),
        Judged::Max(most) => format!("max ≤ {most}"),
    };
    let met = if row.met { "tenu" } else { "MANQUÉ" };
    format!(
        "{:width$}  {:>5}  {:>8.1}  {:>8.1}  {:>8.1}  {:>8.1}  {:>6.1}  {:>6}  {judged}  {met}",
        row.label, row.count, row.p50_ms, row.p99_ms, row.max_ms, row.seen_p50_ms, row.of_bare, row.ran_out
    )
}
