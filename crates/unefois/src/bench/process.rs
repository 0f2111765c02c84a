//! A process of producers, from outside.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use super::producers::{Answer, Order, Producers};

/// How long an order may take.
const OBEYS_WITHIN: Duration = Duration::from_secs(120);

/// The process; it is killed where it is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) asked: Producers,
    child: Child,
    orders: ChildStdin,
    answers: Option<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts `program` on these producers.
    pub(crate) fn start(program: &Path, asked: Producers) -> anyhow::Result<Self> {
        // Producers have machines of their own: here they take from the authority only what it leaves.
        let mut child = Command::new("nice")
            .args(["-n", "10"])
            .arg(program)
            .args(["bench", "producers", "--root"])
            .arg(&asked.root)
            .args(["--first", &asked.first.to_string()])
            .args(["--count", &asked.count.to_string()])
            .args(["--port", &asked.port.to_string()])
            .args(["--pin", &asked.pin])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} cannot be run", program.display()))?;
        let orders = child.stdin.take().context("standard input is a pipe")?;
        let answers = child.stdout.take().context("standard output is a pipe")?;
        Ok(Self {
            asked,
            child,
            orders,
            answers: Some(BufReader::new(answers)),
        })
    }

    /// Gives an order and waits until it is done.
    pub(crate) async fn order(&mut self, order: Order) -> anyhow::Result<Answer> {
        writeln!(self.orders, "{}", serde_json::to_string(&order)?)?;
        let mut answers = self.answers.take().context("an order is under way")?;
        let read = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            answers.read_line(&mut line).map(|_| (answers, line))
        });
        let read = tokio::time::timeout(OBEYS_WITHIN, read).await;
        let (answers, line) = read.with_context(|| format!("{order:?} takes too long"))???;
        self.answers = Some(answers);
        if line.is_empty() {
            bail!("a process of producers ended: {}", self.child.wait()?);
        }
        match serde_json::from_str(&line)? {
            Answer::Failed(why) => bail!("{order:?}: {why}"),
            answer => Ok(answer),
        }
    }

    /// Stops it in its tracks: once this returns, none of its threads runs. A signal alone is only on its way, and threads
    /// of a process at a low priority go on until each has its turn.
    pub(crate) fn freeze(&self) -> anyhow::Result<()> {
        let pid = self.pid()?;
        kill_process(pid, Signal::STOP)?;
        let (_, status) = waitpid(Some(pid), WaitOptions::UNTRACED)?.context("it neither stops nor ends")?;
        ensure!(status.stopped(), "a process of producers ended: {status:?}");
        Ok(())
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) -> anyhow::Result<()> {
        Ok(kill_process(self.pid()?, Signal::CONT)?)
    }

    fn pid(&self) -> anyhow::Result<Pid> {
        Pid::from_raw(self.child.id().cast_signed()).context("it has no process number")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended cannot be killed, which is as well.
        if self.child.kill().is_ok() {
            let _ = self.child.wait();
        }
    }
}
