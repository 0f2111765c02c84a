//! `bench mint`: how many access tokens an authority mints.
//!
//! Figures are taken with nothing else running, for `sqlite` and for `postgres`:
//!
//! ```sh
//! cargo build --release && (cd tests/foreign && npm ci)
//! target/release/unefois --json bench mint --store sqlite --in-flight 64 --tokens 4000 --rounds 5 --beside tests/foreign/mint.mjs
//! ```

use std::path::PathBuf;

use clap::{Args, value_parser};
use unefois_bench::Mints;

use super::{StoreName, runtime};
use crate::bench::mint::{Plan, mint};
use crate::console::Console;
use crate::failure::{Failure, Kind};
use crate::progress::Progress;

/// `bench mint`.
#[derive(Debug, Args)]
pub struct Mint {
    /// The authority's database.
    #[arg(long, value_enum, default_value = "sqlite")]
    store: StoreName,
    /// Requests under way at once.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = value_parser!(u16).range(1..=200))]
    in_flight: u16,
    /// Tokens of one turn.
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = value_parser!(u32).range(64..=20_000))]
    tokens: u32,
    /// Turns, after one that warms up.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// A program for Node that serves as another authorization server, in turns with the authority: tests/foreign/mint.mjs.
    #[arg(long, value_name = "FILE")]
    beside: Option<PathBuf>,
    /// Folder on the disk to measure; the system's temporary one where absent.
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

/// Runs `bench mint`: fails where a token was refused or has no entry, not where it took long.
pub(super) fn run(asked: Mint, console: Console) -> Result<(), Failure> {
    let plan = Plan {
        store: asked.store.into(),
        in_flight: asked.in_flight.into(),
        tokens: usize::try_from(asked.tokens).unwrap_or(usize::MAX),
        rounds: usize::try_from(asked.rounds).unwrap_or(usize::MAX),
        beside: asked.beside,
        folder: asked.dir.unwrap_or_else(std::env::temp_dir),
    };
    let progress = Progress::new(console);
    let measured = runtime()?.block_on(mint(&plan, &|step, done, all| progress.tell(step, done, all)));
    progress.end();
    let report = measured.map_err(|error| {
        Failure::new(Kind::TryAgain, "la mesure n'a pas abouti")
            .because(format!("{error:#}"))
            .next("relancez-la sur une machine au repos ; --beside demande Node et les paquets de tests/foreign")
    })?;
    console.data(&report, || table(&report))
}

fn table(report: &Mints) -> String {
    let mut lines = vec![
        format!(
            "autorité sur {}, {} demandes à la fois en TLS mutuel, {}",
            report.store, report.in_flight, report.machine
        ),
        format!(
            "fdatasync {:.3} ms ; {} entrées écrites au registre",
            report.fdatasync_ms, report.entries
        ),
    ];
    let width = report
        .servers
        .iter()
        .map(|server| server.label.chars().count())
        .max();
    let width = width.unwrap_or(0);
    lines.push(format!(
        "{:width$}  {:>8}  {:>9}  {:>8}  {:>8}  {:>8}",
        "", "jetons", "par s", "p50 ms", "p99 ms", "max ms"
    ));
    lines.extend(report.servers.iter().map(|server| {
        format!(
            "{:width$}  {:>8}  {:>9.0}  {:>8.1}  {:>8.1}  {:>8.1}",
            server.label, server.tokens, server.per_s, server.p50_ms, server.p99_ms, server.max_ms
        )
    }));
    if let Some(ratio) = report.ratio {
        lines.push(format!("{ratio:.2} fois l'autre serveur"));
    }
    if cfg!(debug_assertions) {
        lines.push("Programme compilé sans optimisation : ces chiffres ne jugent rien.".to_owned());
    }
    lines.join("\n")
}
