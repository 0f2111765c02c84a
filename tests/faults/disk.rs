//! `faults disk`: every n-th write or flush of a SQLite database fails, before or after it took effect, or for good; and
//! its file is deleted or replaced under the process.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use tokio::task::JoinSet;

use crate::worker::Running;
use crate::workload::{Ack, Judged, Line, boottime_us, exchange, judge, open};

const SHIM: &str = include_str!("shim.c");
/// Entries before the faults: the next ones complete a tile.
const BEFORE: usize = 250;
/// Exchanges of one run.
const EXCHANGES: &str = "12";
/// Runs at once.
const AT_ONCE: usize = 4;
/// Exchanges before the file goes.
const ALIVE: usize = 100;
/// How long the process may go on without its file.
const STOPS_WITHIN_MS: i64 = 1_000;

/// `faults disk`.
#[derive(Debug, clap::Args)]
pub(crate) struct Disk {
    /// Points of each kind, spread over all; 0 for every one.
    #[arg(long, default_value_t = 0)]
    points: usize,
}

/// How a call fails.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Before,
    After,
    Full,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Before, Self::After, Self::Full];

    const fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
            Self::Full => "full",
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Before => "EIO, not applied",
            Self::After => "EIO, applied",
            Self::Full => "ENOSPC from there on",
        }
    }
}

/// One line of the table.
#[derive(Debug, Default)]
struct Row {
    title: &'static str,
    points: usize,
    judged: Judged,
    /// Exchanges refused.
    refused: usize,
    /// Runs that did not go on after one fault.
    stuck: usize,
    /// The longest time from the fault to the first refusal, where it is measured.
    stopped_ms: Option<i64>,
    /// Acknowledged though it began after the file was gone.
    late: usize,
    /// Old files that were noticed at the next start, of how many.
    noticed: Option<(usize, usize)>,
}

/// How a run went.
#[derive(Debug)]
pub(crate) struct Report {
    calls: usize,
    rows: Vec<Row>,
}

impl Report {
    pub(crate) fn holds(&self) -> bool {
        self.rows.iter().all(|row| {
            row.points > 0
                && row.judged.holds()
                && row.late == 0
                && row.stuck == 0
                && row.stopped_ms.is_none_or(|ms| ms <= STOPS_WITHIN_MS)
                && row.noticed.is_none_or(|(noticed, of)| noticed == of)
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "sqlite, {} writes and flushes in {EXCHANGES} exchanges",
            self.calls
        )?;
        for row in &self.rows {
            write!(
                f,
                "\n  {}: {} points, {}, refused {}, runs that did not go on {}",
                row.title, row.points, row.judged, row.refused, row.stuck
            )?;
            if let Some(ms) = row.stopped_ms {
                write!(
                    f,
                    ", acknowledged afterwards {}, stopped in {ms} ms at most",
                    row.late
                )?;
            }
            if let Some((noticed, of)) = row.noticed {
                write!(f, ", old file noticed {noticed}/{of}")?;
            }
        }
        Ok(())
    }
}

/// What every run starts from.
struct Stage {
    folder: tempfile::TempDir,
    shim: String,
    acks: Vec<Ack>,
}

impl Stage {
    async fn new() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let (source, shim) = (folder.path().join("shim.c"), folder.path().join("shim.so"));
        std::fs::write(&source, SHIM)?;
        let built = Command::new("gcc")
            .args(["-shared", "-fPIC", "-O2", "-o"])
            .args([&shim, &source])
            .arg("-ldl")
            .status()
            .context("gcc is needed")?;
        ensure!(built.success(), "the shim does not build");
        let mut stage = Self {
            shim: shim.display().to_string(),
            folder,
            acks: Vec::new(),
        };
        let (db, ledger) = open(&stage.url("base"), 1, Some(&stage.path("base.anchor"))).await?;
        for _ in 0..BEFORE {
            stage.acks.push(exchange(&ledger).await?);
        }
        ledger.close().await;
        db.close().await;
        Ok(stage)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn url(&self, name: &str) -> String {
        format!("sqlite:{}", self.path(name).display())
    }

    /// One run in a copy of the database; what it said.
    fn run(&self, name: &str, fault: Option<(Kind, usize)>) -> anyhow::Result<Vec<Line>> {
        std::fs::copy(self.path("base"), self.path(name))?;
        let (path, count) = (
            self.path(name).display().to_string(),
            self.path("count").display().to_string(),
        );
        let at = fault.map_or(String::new(), |(_, at)| at.to_string());
        let mut variables = vec![("LD_PRELOAD", self.shim.as_str()), ("FAULT_PATH", &path)];
        match fault {
            Some((kind, _)) => variables.extend([("FAULT_AT", at.as_str()), ("FAULT_KIND", kind.name())]),
            None => variables.push(("FAULT_COUNT", &count)),
        }
        let refusals = match fault {
            Some((Kind::Full, _)) => "1",
            Some((Kind::Before | Kind::After, _)) | None => EXCHANGES,
        };
        let more = ["--count", EXCHANGES, "--refusals", refusals];
        Running::start(&self.url(name), None, &more, &variables)?.all()
    }
}

/// Tries every point, then the file.
pub(crate) async fn run(disk: &Disk) -> anyhow::Result<Report> {
    let stage = std::sync::Arc::new(Stage::new().await?);
    let lines = stage.run("dry", None)?;
    ensure!(
        lines.iter().all(|line| !matches!(line, Line::No(_))),
        "a run without faults failed"
    );
    let calls: usize = std::fs::read_to_string(stage.path("count"))?.trim().parse()?;
    let mut rows = Vec::new();
    for kind in Kind::ALL {
        let points = match disk.points {
            0 => calls,
            points => points.min(calls),
        };
        let mut row = Row {
            title: kind.title(),
            points,
            ..Row::default()
        };
        let mut waiting: Vec<usize> = (0..points).map(|point| 1 + point * calls / points).collect();
        let mut runs = JoinSet::new();
        loop {
            while runs.len() < AT_ONCE
                && let Some(at) = waiting.pop()
            {
                runs.spawn(point(std::sync::Arc::clone(&stage), kind, at));
            }
            let Some(ended) = runs.join_next().await else {
                break;
            };
            let (judged, refused) = ended??;
            row.judged.add(&judged);
            row.refused += refused;
            row.stuck += usize::from(refused > 1 && !matches!(kind, Kind::Full));
        }
        rows.push(row);
    }
    for replace in [false, true] {
        rows.push(file(&stage, replace).await?);
    }
    Ok(Report { calls, rows })
}

async fn point(stage: std::sync::Arc<Stage>, kind: Kind, at: usize) -> anyhow::Result<(Judged, usize)> {
    let name = format!("{}-{at}", kind.name());
    let (runner, run) = (std::sync::Arc::clone(&stage), name.clone());
    let lines = tokio::task::spawn_blocking(move || runner.run(&run, Some((kind, at)))).await??;
    let mut acks = stage.acks.clone();
    acks.extend(lines.iter().filter_map(acknowledged));
    let judged = judge(&stage.url(&name), 1, &acks).await;
    let judged = judged.with_context(|| format!("after {name}"))?;
    let refused = lines.iter().filter(|line| matches!(line, Line::No(_))).count();
    for suffix in ["", ".lock", "-wal", "-shm"] {
        // What is not there need not go.
        let _gone = std::fs::remove_file(stage.path(&format!("{name}{suffix}")));
    }
    Ok((judged, refused))
}

const fn acknowledged(line: &Line) -> Option<Ack> {
    match line {
        Line::Ack(_, ack) => Some(*ack),
        Line::Open | Line::No(_) => None,
    }
}

/// The file is deleted, or an old copy is put in its place, while exchanges go on.
async fn file(stage: &Stage, replace: bool) -> anyhow::Result<Row> {
    let name = if replace { "replaced" } else { "deleted" };
    let (path, anchor) = (stage.path(name), stage.path(&format!("{name}.anchor")));
    std::fs::copy(stage.path("base"), &path)?;
    std::fs::copy(stage.path("base.anchor"), &anchor)?;
    let more = ["--count", "1000000"];
    let mut worker = Running::start(&stage.url(name), Some(&anchor), &more, &[])?;
    let mut acks = Vec::new();
    while acks.len() < ALIVE {
        let line = worker.next()?.context("the worker ended")?;
        acks.extend(acknowledged(&line));
    }
    take_away(stage, &path, replace)?;
    let gone = boottime_us();
    let (mut late, mut stopped) = (0, None);
    while let Some(line) = worker.next()? {
        match line {
            Line::Ack(began, _) if began > gone => late += 1,
            Line::No(at) => stopped = stopped.or(Some((at - gone) / 1_000)),
            Line::Ack(..) | Line::Open => {}
        }
    }
    worker.child.wait()?;
    let mut noticed = 0;
    if replace {
        for suffix in ["-wal", "-shm"] {
            let _gone = std::fs::remove_file(stage.path(&format!("{name}{suffix}")));
        }
        let (db, ledger) = open(&stage.url(name), 1, Some(&anchor)).await?;
        noticed = usize::from(!ledger.is_writable() && exchange(&ledger).await.is_err());
        ledger.close().await;
        db.close().await;
    }
    Ok(Row {
        title: if replace {
            "file replaced by an old copy"
        } else {
            "file deleted"
        },
        points: 1,
        judged: Judged {
            acknowledged: acks.len(),
            ..Judged::default()
        },
        refused: 1,
        stopped_ms: Some(stopped.context("the worker went on")?),
        late,
        stuck: 0,
        noticed: replace.then_some((noticed, 1)),
    })
}

fn take_away(stage: &Stage, path: &Path, replace: bool) -> anyhow::Result<()> {
    match replace {
        true => {
            let copy = stage.path("copy");
            std::fs::copy(stage.path("base"), &copy)?;
            std::fs::rename(copy, path)?;
        }
        false => std::fs::remove_file(path)?,
    }
    Ok(())
}
