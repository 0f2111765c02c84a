//! One process of the run: started, probed, stopped in its tracks, killed.

use std::ffi::OsString;
use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a process may take until it serves, or until it has ended.
const WITHIN: Duration = Duration::from_secs(40);
/// How long one look at it may take.
const LOOK: Duration = Duration::from_secs(1);
/// How often it is looked at.
const EVERY: Duration = Duration::from_millis(10);

/// How a process is started, as often as it is.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    /// The program and what comes before its own arguments.
    pub(crate) command: Vec<OsString>,
    pub(crate) role: &'static str,
    pub(crate) config: PathBuf,
    pub(crate) variables: Vec<(String, String)>,
    /// Where it says whether it is ready.
    pub(crate) probe: SocketAddr,
    pub(crate) log: PathBuf,
}

/// The process; it is killed where it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    recipe: Recipe,
}

impl Server {
    pub(crate) fn start(recipe: &Recipe) -> anyhow::Result<Self> {
        let (program, before) = recipe.command.split_first().context("a program")?;
        let log = File::options().create(true).append(true).open(&recipe.log)?;
        let child = Command::new(program)
            .args(before)
            .args(["serve", recipe.role, "--config"])
            .arg(&recipe.config)
            .envs(recipe.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        Ok(Self {
            child,
            recipe: recipe.clone(),
        })
    }

    /// Waits until it says that it is ready.
    pub(crate) async fn ready(&mut self) -> anyhow::Result<()> {
        self.until(|ready| ready).await
    }

    /// Waits until it says anything: one that waits for its turn is up then.
    pub(crate) async fn up(&mut self) -> anyhow::Result<()> {
        self.until(|_| true).await
    }

    /// Waits until it says that it is not ready.
    pub(crate) async fn unready(&mut self) -> anyhow::Result<()> {
        self.until(|ready| !ready).await
    }

    async fn until(&mut self, wanted: impl Fn(bool) -> bool) -> anyhow::Result<()> {
        let ready = async {
            let mut look = tokio::time::interval(EVERY);
            loop {
                look.tick().await;
                if let Some(status) = self.ended()? {
                    bail!("it ended: {status}");
                }
                if self.says().await.is_some_and(&wanted) {
                    return Ok(());
                }
            }
        };
        let ready = timeout(WITHIN, ready).await;
        let ready = ready.context("it does not say so in time");
        ready.and_then(|ready| ready).with_context(|| self.last_words())
    }

    /// Whether it says that it is ready; `None` where it says nothing.
    pub(crate) async fn says(&self) -> Option<bool> {
        timeout(LOOK, probe(self.recipe.probe)).await.ok()?.ok()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn end(&mut self) -> anyhow::Result<ExitStatus> {
        let ended = async {
            let mut look = tokio::time::interval(EVERY);
            loop {
                look.tick().await;
                if let Some(status) = self.ended()? {
                    return Ok(status);
                }
            }
        };
        let ended = timeout(WITHIN, ended).await.context("it does not end");
        ended.and_then(|ended| ended).with_context(|| self.last_words())
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = Pid::from_raw(self.child.id().cast_signed()).context("it has no process number")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Kills it as a power cut would, and waits until it is gone.
    pub(crate) fn kill(mut self) -> anyhow::Result<()> {
        ensure!(self.child.try_wait()?.is_none(), self.last_words());
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end, and waits until it has.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        ensure!(self.child.try_wait()?.is_none(), self.last_words());
        self.signal(Signal::TERM)?;
        let status = self.end().await?;
        ensure!(status.success(), self.last_words());
        Ok(())
    }

    /// What it last logged.
    pub(crate) fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.recipe.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(8)..].join("\n");
        format!("{} {}:\n{last}", self.recipe.role, self.recipe.config.display())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended cannot be killed, which is as well.
        if self.child.kill().is_ok() {
            let _ = self.child.wait();
        }
    }
}

/// Whether what answers there says that it is ready.
async fn probe(at: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(at).await?;
    stream
        .write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    match answer.is_empty() {
        true => Err(std::io::ErrorKind::UnexpectedEof.into()),
        false => Ok(answer.starts_with(b"HTTP/1.1 200 ")),
    }
}
