//! One process that writes a log, one exchange after the other, and says what became of each.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::Context as _;

use crate::workload::{Line, boottime_us, exchange, open};

/// `faults worker`: what the other commands run.
#[derive(Debug, clap::Args)]
pub(crate) struct Worker {
    /// The database.
    #[arg(long)]
    database: String,
    /// The log's shard.
    #[arg(long, default_value_t = 1)]
    shard: u8,
    /// The anchor.
    #[arg(long)]
    anchor: Option<PathBuf>,
    /// Exchanges.
    #[arg(long)]
    count: usize,
    /// Refusals after which it ends.
    #[arg(long, default_value_t = 1)]
    refusals: usize,
}

/// Works, and says each line once it is so.
pub(crate) async fn run(worker: &Worker) -> anyhow::Result<bool> {
    let say = |line: Line| writeln!(std::io::stdout(), "{line}");
    let (db, ledger) = open(&worker.database, worker.shard, worker.anchor.as_deref()).await?;
    say(Line::Open)?;
    let mut refusals = 0;
    for _ in 0..worker.count {
        let began = boottime_us();
        match exchange(&ledger).await {
            Ok(ack) => say(Line::Ack {
                began,
                at: boottime_us(),
                ack,
            })?,
            Err(_) => {
                say(Line::No(boottime_us()))?;
                refusals += 1;
                if refusals == worker.refusals {
                    break;
                }
            }
        }
    }
    ledger.close().await;
    db.close().await;
    Ok(true)
}

/// A worker in a process of its own; it is killed where it is dropped.
pub(crate) struct Running {
    pub(crate) child: Child,
    lines: BufReader<ChildStdout>,
}

impl Running {
    /// Starts one.
    pub(crate) fn start(
        database: &str,
        anchor: Option<&Path>,
        more: &[&str],
        variables: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["worker", "--database", database]).args(more);
        if let Some(anchor) = anchor {
            command.arg("--anchor").arg(anchor);
        }
        let mut child = command
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let out = child.stdout.take().context("standard output is a pipe")?;
        Ok(Self {
            child,
            lines: BufReader::new(out),
        })
    }

    /// The next line; `None` once it has ended.
    pub(crate) fn next(&mut self) -> anyhow::Result<Option<Line>> {
        let mut line = String::new();
        match self.lines.read_line(&mut line)? {
            0 => Ok(None),
            _ => Ok(Some(Line::parse(line.trim_end())?)),
        }
    }

    /// Every line until it ends.
    pub(crate) fn all(mut self) -> anyhow::Result<Vec<Line>> {
        let mut lines = Vec::new();
        while let Some(line) = self.next()? {
            lines.push(line);
        }
        self.child.wait()?;
        Ok(lines)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended cannot be killed, which is as well.
        if self.child.kill().is_ok() {
            let _ = self.child.wait();
        }
    }
}
