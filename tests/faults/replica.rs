//! A PostgreSQL server and its synchronous standby, a second server that a fault can strike alone.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use kit::database::TestDatabase;
use rustix::process::{Pid, Signal, kill_process};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::crowd::{WITHIN, until};

const COPY: &str =
    r#""$1/pg_basebackup" -D standby -c fast -R -d "host=$PWD user=postgres application_name=second""#;
const START: &str =
    r#"until "$1/pg_ctl" -D standby -w -s -l standby.log -o "-p 5433" start; do sleep 0.05; done"#;
const LOSE: &str = r#""$1/pg_ctl" -D data -w -s -m immediate stop"#;
const PROMOTE: &str = r#""$1/pg_ctl" -D standby -w -s promote"#;

const LOOK: Duration = Duration::from_millis(20);

/// Both servers.
#[derive(Debug)]
pub(crate) struct Replica {
    database: TestDatabase,
    folder: PathBuf,
}

impl Replica {
    /// Starts both; once this returns, a commit waits for the standby.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let mut database = TestDatabase::postgres_alone();
        let (_, folder) = database.url().split_once("?host=").context("a socket")?;
        let folder = PathBuf::from(folder);
        database.server_shell(COPY);
        database.server_shell(START);
        let replica = Self { database, folder };
        let mut server = replica.operator().await?;
        answers(&replica.standby_url()).await?;
        // Set after the copy: once promoted, the standby waits for nobody.
        for sql in [
            "ALTER SYSTEM SET synchronous_standby_names = 'second'",
            "SELECT pg_reload_conf()",
        ] {
            sqlx::query(sql).execute(&mut server).await?;
        }
        let attached = "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')";
        becomes(&mut server, attached, true).await?;
        Ok(replica)
    }

    /// The database on the first server.
    pub(crate) fn url(&self) -> String {
        self.database.url().to_owned()
    }

    /// The same on the standby.
    pub(crate) fn standby_url(&self) -> String {
        self.database.url().replace("@localhost/", "@localhost:5433/")
    }

    /// A connection of one who administers the first server.
    pub(crate) async fn operator(&self) -> anyhow::Result<PgConnection> {
        Ok(PgConnection::connect(self.database.url()).await?)
    }

    /// Has whatever waits for the standby meet `function`; how many.
    pub(crate) async fn end_waits(server: &mut PgConnection, function: &str) -> anyhow::Result<i64> {
        let sql = format!("SELECT COUNT({function}(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
        let sql = AssertSqlSafe(sql);
        Ok(sqlx::query_scalar(sql).fetch_one(server).await?)
    }

    /// Stops the standby in its tracks: it keeps its connections and says nothing.
    pub(crate) async fn stop(&self) -> anyhow::Result<()> {
        let first = self.postmaster()?;
        kill_process(first, Signal::STOP)?;
        let all = family(first)?;
        for pid in &all {
            signal(*pid, Signal::STOP)?;
        }
        until(|| all.iter().all(|pid| matches!(state(*pid), None | Some('T')))).await
    }

    /// Lets it go on.
    pub(crate) fn go_on(&self) -> anyhow::Result<()> {
        for pid in family(self.postmaster()?)? {
            signal(pid, Signal::CONT)?;
        }
        Ok(())
    }

    /// Kills it.
    pub(crate) async fn kill(&self) -> anyhow::Result<()> {
        let all = family(self.postmaster()?)?;
        for pid in &all {
            signal(*pid, Signal::KILL)?;
        }
        until(|| {
            all.iter()
                .all(|pid| matches!(state(*pid), None | Some('Z' | 'X')))
        })
        .await
    }

    /// Starts it again.
    pub(crate) fn start_again(&mut self) {
        self.database.server_shell(START);
    }

    /// Stops the first server at once, for good.
    pub(crate) async fn lose_primary(&mut self) -> anyhow::Result<()> {
        self.database.server_shell(LOSE);
        let running = self.folder.join("data/postmaster.pid");
        until(|| !running.exists()).await
    }

    /// Makes the standby the first server.
    pub(crate) async fn promote(&mut self) -> anyhow::Result<()> {
        self.go_on()?;
        self.database.server_shell(PROMOTE);
        let mut server = PgConnection::connect(&self.standby_url()).await?;
        becomes(&mut server, "SELECT pg_is_in_recovery()", false).await
    }

    fn postmaster(&self) -> anyhow::Result<Pid> {
        let file = std::fs::read_to_string(self.folder.join("standby/postmaster.pid"))?;
        let first = file.lines().next().context("the standby does not run")?;
        pid(first)
    }
}

/// Waits until the server of `url` serves.
async fn answers(url: &str) -> anyhow::Result<()> {
    let mut look = tokio::time::interval(LOOK);
    let there = async {
        while PgConnection::connect(url).await.is_err() {
            look.tick().await;
        }
    };
    let there = tokio::time::timeout(WITHIN, there).await;
    there.context("the standby does not serve")
}

async fn becomes(server: &mut PgConnection, sql: &'static str, wanted: bool) -> anyhow::Result<()> {
    let mut look = tokio::time::interval(LOOK);
    let there = async {
        while sqlx::query_scalar::<_, bool>(sql).fetch_one(&mut *server).await? != wanted {
            look.tick().await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(WITHIN, there).await.context(sql)?
}

/// A process and its children, the process last: it would start them again.
fn family(first: Pid) -> anyhow::Result<Vec<Pid>> {
    let n = first.as_raw_nonzero();
    let children = std::fs::read_to_string(format!("/proc/{n}/task/{n}/children"))?;
    let mut all: Vec<Pid> = children.split_whitespace().map(pid).collect::<Result<_, _>>()?;
    all.push(first);
    Ok(all)
}

fn pid(text: &str) -> anyhow::Result<Pid> {
    Pid::from_raw(text.trim().parse()?).context("not a process")
}

/// One that has ended needs no signal.
fn signal(pid: Pid, signal: Signal) -> anyhow::Result<()> {
    let sent = kill_process(pid, signal);
    ensure!(matches!(sent, Ok(()) | Err(rustix::io::Errno::SRCH)), "{sent:?}");
    Ok(())
}

/// What it does, by one letter (proc(5), stat); `None` once it is gone.
fn state(pid: Pid) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    let (_, after) = stat.rsplit_once(") ")?;
    after.chars().next()
}
