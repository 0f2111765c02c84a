//! `faults disk`: every n-th write or flush of a SQLite database fails, before or after it took effect, or for good; and
//! its file is deleted or replaced under the process.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use tokio::task::JoinSet;

use crate::shim;
use crate::worker::Running;
use crate::workload::{Ack, Judged, Line, boottime_us, exchange, judge, open};

/// Entries before the faults: the next ones complete a tile.
const BEFORE: usize = 250;
/// Exchanges of one run.
const EXCHANGES: &str = "12";
/// Runs at once.
const AT_ONCE: usize = 4;
/// Exchanges before the file goes.
const ALIVE: usize = 100;
/// How long the process may go on without its disk or its file, and leave a caller without an answer.
const ANSWERS_WITHIN_MS: i64 = 1_000;

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
    /// The longest time from the fault to the next answer; where the fault is for good, to the first refusal.
    answered_ms: i64,
    /// Whether the fault is for good.
    for_good: bool,
    /// Acknowledged though it began after a fault that is for good.
    late: usize,
    /// Old files that were noticed at the next start, of how many.
    noticed: Option<(usize, usize)>,
}

/// What came of one fault.
struct Point {
    judged: Judged,
    refused: usize,
    /// `None` where the run ended before the fault.
    answered_ms: Option<i64>,
    /// Acknowledged though it began after the fault.
    late: usize,
}

impl Row {
    fn add(&mut self, point: &Point) {
        self.judged.add(&point.judged);
        self.refused += point.refused;
        if let Some(ms) = point.answered_ms {
            self.points += 1;
            self.answered_ms = self.answered_ms.max(ms);
        }
        match self.for_good {
            true => self.late += point.late,
            false => self.stuck += usize::from(point.refused > 1),
        }
    }
}

/// How a run went.
#[derive(Debug)]
pub(crate) struct Report {
    calls: usize,
    rows: Vec<Row>,
}

impl Report {
    pub(crate) fn holds(&self, slack_ms: i64) -> bool {
        self.rows.iter().all(|row| {
            row.points > 0
                && row.judged.holds()
                && row.late == 0
                && row.stuck == 0
                && row.answered_ms <= ANSWERS_WITHIN_MS + slack_ms
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
            match row.for_good {
                true => write!(
                    f,
                    ", acknowledged afterwards {}, stopped in {} ms at most",
                    row.late, row.answered_ms
                )?,
                false => write!(f, ", next answer in {} ms at most", row.answered_ms)?,
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
        let shim = shim::build(folder.path())?;
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
        let path = |name: &str| self.path(name).display().to_string();
        let (path, count, since) = (path(name), path("count"), path(&since(name)));
        let at = fault.map_or(String::new(), |(_, at)| at.to_string());
        let mut variables = vec![("LD_PRELOAD", self.shim.as_str()), ("FAULT_PATH", &path)];
        match fault {
            Some((kind, _)) => variables.extend([
                ("FAULT_AT", at.as_str()),
                ("FAULT_KIND", kind.name()),
                ("FAULT_SINCE", &since),
            ]),
            None => variables.push(("FAULT_COUNT", &count)),
        }
        let refusals = match fault {
            // One more after the first, which must be refused too.
            Some((Kind::Full, _)) => "2",
            Some((Kind::Before | Kind::After, _)) | None => EXCHANGES,
        };
        let more = ["--count", EXCHANGES, "--refusals", refusals];
        Running::start(&self.url(name), None, &more, &variables)?.all()
    }
}

/// Tries every point, then the file.
pub(crate) async fn run(disk: &Disk) -> anyhow::Result<Report> {
    let stage = Arc::new(Stage::new().await?);
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
            for_good: matches!(kind, Kind::Full),
            ..Row::default()
        };
        let mut waiting: Vec<usize> = (0..points).map(|point| 1 + point * calls / points).collect();
        let mut runs = JoinSet::new();
        loop {
            while runs.len() < AT_ONCE
                && let Some(at) = waiting.pop()
            {
                runs.spawn(point(Arc::clone(&stage), kind, at));
            }
            let Some(ended) = runs.join_next().await else {
                break;
            };
            row.add(&ended??);
        }
        rows.push(row);
    }
    for replace in [false, true] {
        rows.push(file(&stage, replace).await?);
    }
    Ok(Report { calls, rows })
}

/// One run with one fault.
async fn point(stage: Arc<Stage>, kind: Kind, at: usize) -> anyhow::Result<Point> {
    let name = format!("{}-{at}", kind.name());
    let (runner, run) = (Arc::clone(&stage), name.clone());
    let lines = tokio::task::spawn_blocking(move || runner.run(&run, Some((kind, at)))).await??;
    let ended = boottime_us();
    let mut acks = stage.acks.clone();
    acks.extend(lines.iter().filter_map(acknowledged));
    let judged = judge(&stage.url(&name), 1, &acks).await;
    let judged = judged.with_context(|| format!("after {name}"))?;
    let since: Option<i64> = match std::fs::read_to_string(stage.path(&since(&name))) {
        Ok(text) => Some(text.trim().parse()?),
        // The run ended before this call.
        Err(_) => None,
    };
    for suffix in ["", ".lock", "-wal", "-shm"] {
        // What is not there need not go.
        let _gone = std::fs::remove_file(stage.path(&format!("{name}{suffix}")));
    }
    let after = |at: &i64| since.is_some_and(|since| *at > since);
    let answered = lines.iter().filter_map(|line| match line {
        Line::No(at) => Some(*at),
        Line::Ack { at, .. } if !matches!(kind, Kind::Full) => Some(*at),
        Line::Ack { .. } | Line::Open => None,
    });
    // Who is not answered is told by the end of the process.
    let answered = answered.filter(after).min().unwrap_or(ended);
    Ok(Point {
        judged,
        refused: lines.iter().filter(|line| matches!(line, Line::No(_))).count(),
        answered_ms: since.map(|since| (answered - since) / 1_000),
        late: lines
            .iter()
            .filter(|line| matches!(line, Line::Ack { began, .. } if after(began)))
            .count(),
    })
}

/// The file that says when the fault struck.
fn since(name: &str) -> String {
    format!("since-{name}")
}

const fn acknowledged(line: &Line) -> Option<Ack> {
    match line {
        Line::Ack { ack, .. } => Some(*ack),
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
            Line::Ack { began, .. } if began > gone => late += 1,
            Line::No(at) => stopped = stopped.or(Some((at - gone) / 1_000)),
            Line::Ack { .. } | Line::Open => {}
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
        answered_ms: stopped.context("the worker went on")?,
        for_good: true,
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
