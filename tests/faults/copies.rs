//! `faults copies`: an old copy of the database is put back, two processes write one log, and a replica is stopped with
//! a claim in its hands.

use std::fmt;
use std::path::Path;

use anyhow::{Context as _, ensure};
use kit::database::TestDatabase;
use rustix::process::{Pid, Signal, kill_process};
use unefois_ledger::{Seen, Standing};
use unefois_store::{Component, Db};

use crate::Database;
use crate::worker::Running;
use crate::workload::{Ack, Judged, Line, boottime_us, exchange, judge, open};

/// How long a process that lost its log may go on.
const STOPS_WITHIN_MS: i64 = 1_000;

/// `faults copies`.
#[derive(Debug, clap::Args)]
pub(crate) struct Copies {
    /// Which databases.
    #[arg(long, value_enum, default_value = "both")]
    pub(crate) database: Database,
    /// How often each is tried.
    #[arg(long, default_value_t = 20)]
    rounds: usize,
}

/// How a run went.
#[derive(Debug, Default)]
pub(crate) struct Report {
    database: &'static str,
    rounds: usize,
    /// Old copies noticed by the anchor, and by what a peer holds.
    by_anchor: usize,
    by_peer: usize,
    /// What was written to an old copy once it was noticed.
    written: usize,
    /// Second processes that were refused, or took the log alone.
    alone: usize,
    /// How long a process went on at most after another took its log.
    stopped_ms: i64,
    /// Exchanges of the second replica while the first was stopped, at least.
    meanwhile: usize,
    judged: Judged,
}

impl Report {
    pub(crate) const fn holds(&self, slack_ms: i64) -> bool {
        self.rounds > 0
            && self.by_anchor == self.rounds
            && self.by_peer == self.rounds
            && self.written == 0
            && self.alone == self.rounds
            && self.stopped_ms <= STOPS_WITHIN_MS + slack_ms
            && self.meanwhile > 0
            && self.judged.holds()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            database,
            rounds,
            by_anchor,
            by_peer,
            written,
            alone,
            stopped_ms,
            meanwhile,
            judged,
        } = self;
        writeln!(f, "{database}: {judged}")?;
        writeln!(
            f,
            "  old copy put back: {rounds} times, noticed by the anchor {by_anchor}, by a peer {by_peer}, written to {written}"
        )?;
        write!(
            f,
            "  two processes on one log: {alone}/{rounds} end with one, the other stops in {stopped_ms} ms at most"
        )?;
        match *database {
            "postgres" => write!(
                f,
                "\n  a replica stopped in its tracks: the other goes on, {meanwhile} exchanges a round at least"
            ),
            _ => Ok(()),
        }
    }
}

fn fresh(kind: Database) -> TestDatabase {
    match kind {
        Database::Postgres => TestDatabase::postgres(),
        Database::Sqlite | Database::Both => TestDatabase::sqlite(),
    }
}

/// Tries each fault as often as wanted.
pub(crate) async fn run(copies: &Copies, kind: Database) -> anyhow::Result<Report> {
    let postgres = kind == Database::Postgres;
    let mut report = Report {
        database: if postgres { "postgres" } else { "sqlite" },
        rounds: copies.rounds,
        meanwhile: usize::MAX,
        ..Report::default()
    };
    for round in 0..copies.rounds {
        put_back(&mut report, kind, round).await?;
        match postgres {
            true => {
                second_process(&mut report).await?;
                stopped_replica(&mut report).await?;
            }
            false => locked_out(&mut report).await?,
        }
    }
    Ok(report)
}

async fn exchanges(
    url: &str,
    anchor: &Path,
    n: usize,
    acks: &mut Vec<Ack>,
) -> anyhow::Result<unefois_ledger::Head> {
    let (db, ledger) = open(url, 1, Some(anchor)).await?;
    for _ in 0..n {
        acks.push(exchange(&ledger).await?);
    }
    let head = ledger.head();
    ledger.close().await;
    db.close().await;
    Ok(head)
}

async fn put_back(report: &mut Report, kind: Database, round: usize) -> anyhow::Result<()> {
    let (database, folder) = (fresh(kind), tempfile::tempdir()?);
    let (anchor, mut acks) = (folder.path().join("anchor"), Vec::new());
    exchanges(database.url(), &anchor, 3 + round % 5, &mut acks).await?;
    let [by_anchor, by_peer] = [database.copy(), database.copy()];
    let lost = exchanges(database.url(), &anchor, 1 + round % 3, &mut acks).await?;
    for (copy, anchored) in [(by_anchor, true), (by_peer, false)] {
        for restart in [false, true] {
            let (db, ledger) = open(copy.url(), 1, anchored.then_some(anchor.as_path())).await?;
            if !anchored && !restart {
                ensure!(ledger.seen(&lost.checkpoint, "a peer").await? == Seen::Contradicted);
            }
            let size = ledger.head().size;
            let noticed = ledger.standing() == Standing::RolledBack && exchange(&ledger).await.is_err();
            report.written += usize::from(ledger.head().size != size);
            match (restart, anchored) {
                (false, _) => ensure!(noticed, "an old copy was not noticed"),
                (true, true) => report.by_anchor += usize::from(noticed),
                (true, false) => report.by_peer += usize::from(noticed),
            }
            ledger.close().await;
            db.close().await;
        }
    }
    report.judged.add(&judge(database.url(), 1, &acks).await?);
    Ok(())
}

/// What a worker says it was acknowledged first, once there are five.
fn first_acks(worker: &mut Running) -> anyhow::Result<Vec<Ack>> {
    let mut acks = Vec::new();
    while acks.len() < 5 {
        if let Line::Ack { ack, .. } = worker.next()?.context("the worker ended")? {
            acks.push(ack);
        }
    }
    Ok(acks)
}

/// On SQLite the second process does not get the file.
async fn locked_out(report: &mut Report) -> anyhow::Result<()> {
    let database = TestDatabase::sqlite();
    let mut worker = Running::start(database.url(), None, &["--count", "1000000"], &[])?;
    let mut acks = first_acks(&mut worker)?;
    let second = Db::open(database.url(), Component::Node).await;
    report.alone += usize::from(matches!(second, Err(unefois_store::Error::Locked)));
    worker.child.kill()?;
    while let Some(line) = worker.next()? {
        if let Line::Ack { ack, .. } = line {
            acks.push(ack);
        }
    }
    worker.child.wait()?;
    report.meanwhile = report.meanwhile.min(acks.len());
    report.judged.add(&judge(database.url(), 1, &acks).await?);
    Ok(())
}

/// On PostgreSQL the second process takes the log, and the first stops at its next write.
async fn second_process(report: &mut Report) -> anyhow::Result<()> {
    let database = TestDatabase::postgres();
    let mut first = Running::start(database.url(), None, &["--count", "1000000"], &[])?;
    let mut acks = first_acks(&mut first)?;
    let (db, ledger) = open(database.url(), 1, None).await?;
    let taken = boottime_us();
    for _ in 0..5 {
        acks.push(exchange(&ledger).await?);
    }
    let mut stopped = None;
    while let Some(line) = first.next()? {
        match line {
            Line::Ack { ack, .. } => acks.push(ack),
            Line::No(at) => stopped = Some((at - taken) / 1_000),
            Line::Open => {}
        }
    }
    report.stopped_ms = report
        .stopped_ms
        .max(stopped.context("the first process went on")?);
    report.alone += usize::from(ledger.standing() == Standing::Open);
    ledger.close().await;
    db.close().await;
    report.judged.add(&judge(database.url(), 1, &acks).await?);
    Ok(())
}

/// A replica that is stopped, wherever it is, holds up none but itself.
async fn stopped_replica(report: &mut Report) -> anyhow::Result<()> {
    let database = TestDatabase::postgres();
    let mut first = Running::start(database.url(), None, &["--count", "1000000"], &[])?;
    let mut acks = first_acks(&mut first)?;
    let pid = Pid::from_raw(first.child.id().cast_signed()).context("it has a number")?;
    kill_process(pid, Signal::STOP)?;
    let (db, ledger) = open(database.url(), 2, None).await?;
    let (mut others, until) = (Vec::new(), boottime_us() + 500_000);
    while boottime_us() < until {
        others.push(exchange(&ledger).await?);
    }
    report.meanwhile = report.meanwhile.min(others.len());
    ledger.close().await;
    db.close().await;
    kill_process(pid, Signal::CONT)?;
    for _ in 0..5 {
        if let Some(Line::Ack { ack, .. }) = first.next()? {
            acks.push(ack);
        }
    }
    first.child.kill()?;
    while let Some(line) = first.next()? {
        if let Line::Ack { ack, .. } = line {
            acks.push(ack);
        }
    }
    first.child.wait()?;
    report.judged.add(&judge(database.url(), 1, &acks).await?);
    report.judged.add(&judge(database.url(), 2, &others).await?);
    Ok(())
}
