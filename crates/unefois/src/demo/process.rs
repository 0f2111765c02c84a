//! A role of the demonstration in a process of its own.

use std::fs::File;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::world::{Member, World};

/// How long a process may take to end.
const ENDS_WITHIN: Duration = Duration::from_secs(40);
/// How often a process is looked at while it starts or ends.
const LOOK: Duration = Duration::from_millis(10);

/// The process; it is killed where it is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    member: Member,
    admin: u16,
    log: PathBuf,
}

impl Process {
    /// Starts `program serve` on the member's configuration file, with `variables` over it. It logs to a file in its
    /// folder, which goes on from one start to the next.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(
        program: &Path,
        world: &World,
        member: Member,
        variables: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let log = world.folder(member.name()).join("log");
        let file = File::options().create(true).append(true).open(&log)?;
        let child = Command::new(program)
            .args(["serve", member.role(), "--config"])
            .arg(world.file(member))
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .with_context(|| format!("{} cannot be run", program.display()))?;
        Ok(Self {
            child,
            member,
            admin: world.ports.admin(member),
            log,
        })
    }

    /// Waits until it says that it is ready.
    ///
    /// # Errors
    /// It ended, or is not ready `within` this time.
    pub async fn ready(&mut self, within: Duration) -> anyhow::Result<()> {
        let ready = async {
            let mut look = tokio::time::interval(LOOK);
            loop {
                look.tick().await;
                if let Some(status) = self.child.try_wait()? {
                    return Err(self.ended(status));
                }
                if self.is_ready().await {
                    return Ok(());
                }
            }
        };
        let Ok(ready) = tokio::time::timeout(within, ready).await else {
            bail!("{} is not ready after {} s", self.member.name(), within.as_secs());
        };
        ready
    }

    /// Asks its admin listener.
    async fn is_ready(&self) -> bool {
        let ask = async {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.admin)).await?;
            let request = b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
            stream.write_all(request).await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            std::io::Result::Ok(answer)
        };
        ask.await.is_ok_and(|answer| answer.starts_with(b"HTTP/1.1 200 "))
    }

    /// Kills it as a power cut would (SIGKILL), and waits until it is gone.
    ///
    /// # Errors
    /// It had ended by itself.
    pub fn kill(mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            return Err(self.ended(status));
        }
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Has it read its certificate, CRLs and log filter again (SIGHUP).
    ///
    /// # Errors
    /// It had ended by itself.
    pub fn reload(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            return Err(self.ended(status));
        }
        let pid = Pid::from_raw(self.child.id().cast_signed()).context("it has no process number")?;
        kill_process(pid, Signal::HUP)?;
        Ok(())
    }

    /// Asks it to end (SIGTERM), and waits until it has.
    ///
    /// # Errors
    /// It had ended by itself, does not end in time, or ends with another status than 0.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            return Err(self.ended(status));
        }
        let pid = Pid::from_raw(self.child.id().cast_signed()).context("it has no process number")?;
        kill_process(pid, Signal::TERM)?;
        let ended = async {
            let mut look = tokio::time::interval(LOOK);
            loop {
                look.tick().await;
                if let Some(status) = self.child.try_wait()? {
                    return std::io::Result::Ok(status);
                }
            }
        };
        let ended = tokio::time::timeout(ENDS_WITHIN, ended).await;
        let status = ended.with_context(|| format!("{} does not end", self.member.name()))??;
        ensure!(status.success(), self.ended(status));
        Ok(())
    }

    /// That it ended, with the last of its log.
    fn ended(&self, status: ExitStatus) -> anyhow::Error {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().take(5).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        anyhow::anyhow!("{} ended: {status}\n{}", self.member.name(), last.join("\n"))
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
