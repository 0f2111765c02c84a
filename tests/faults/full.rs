//! `faults full`: the disk of PostgreSQL is full, again and again, while exchanges go on: no file of it grows any more. One
//! in two times it is also told to begin the next segment of its log, without which it stops.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use kit::database::TestDatabase;
use sqlx::{Connection as _, PgConnection};

use crate::crowd::{Crowd, WITHIN};
use crate::shim;
use crate::workload::{Judged, boottime_us, judge, open};

/// Exchanges that must be acknowledged between two faults.
const BETWEEN: usize = 5;
/// The server serves for a time drawn below this before each fault.
const SERVES_BELOW: Duration = Duration::from_millis(300);
/// What a caller waits for at most, and what a busy machine may add.
const ANSWERED_WITHIN_MS: i64 = 2_000 + 1_000;
const LOOK: Duration = Duration::from_millis(100);

const STOP: &str = r#""$1/pg_ctl" -D data -w -s -m fast stop"#;
/// Starts it unless it runs.
const START: &str = r#""$1/pg_ctl" -D data status || FAULT_PATH="$PWD/data/" FAULT_WHILE="$PWD/full" LD_PRELOAD="$PWD/shim.so" "$1/pg_ctl" -D data -w -s -l log start"#;

/// `faults full`.
#[derive(Debug, clap::Args)]
pub(crate) struct Full {
    /// How often the disk is full.
    #[arg(long, default_value_t = 20)]
    rounds: usize,
}

/// How a run went.
#[derive(Debug)]
pub(crate) struct Report {
    rounds: usize,
    /// Faults with exchanges in flight.
    met: usize,
    /// Times that the server stopped, and started again by itself or was started.
    stopped: usize,
    refused: usize,
    waited_ms: i64,
    judged: Judged,
}

impl Report {
    pub(crate) const fn holds(&self, slack_ms: i64) -> bool {
        self.judged.holds() && self.judged.acknowledged > 0 && self.waited_ms <= ANSWERED_WITHIN_MS + slack_ms
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rounds,
            met,
            stopped,
            refused,
            waited_ms,
            judged,
        } = self;
        write!(
            f,
            "postgres: its disk full {rounds} times, {met} with exchanges in flight, the server stopped {stopped} times\n  \
             {judged}, refused {refused}, a caller waits {waited_ms} ms at most"
        )
    }
}

/// Fills the disk often enough, then judges.
pub(crate) async fn run(full: &Full) -> anyhow::Result<Report> {
    let mut database = TestDatabase::postgres_alone();
    let url = database.url().to_owned();
    let (_, folder) = url.split_once("?host=").context("a socket")?;
    let folder = Path::new(folder);
    shim::build(folder)?;
    let bare = life(&url).await?;
    database.server_shell(STOP);
    let mut alive = serves(&mut database, &url, Some(bare)).await?;

    let (db, ledger) = open(&url, 1, None).await?;
    let mut crowd = Crowd::start(&ledger);
    let (mut met, mut stopped) = (0, 0);
    for round in 0..full.rounds {
        let back = crowd.goes_on(BETWEEN).await;
        back.with_context(|| format!("round {round}: {}", ledger.standing()))?;
        crowd.go_on(SERVES_BELOW).await?;
        met += usize::from(crowd.is_in_flight());
        std::fs::write(folder.join("full"), "")?;
        let since = boottime_us();
        if round % 2 == 1 {
            // It may stop before it answers.
            let _switched = switch(&url).await;
        }
        crowd.is_refused(since).await?;
        std::fs::remove_file(folder.join("full"))?;
        let now = serves(&mut database, &url, None).await?;
        stopped += usize::from(now != alive);
        alive = now;
    }
    crowd.goes_on(BETWEEN).await?;
    let waited_ms = crowd.waited_ms();
    let (acks, refused) = crowd.end().await?;
    ledger.close().await;
    db.close().await;
    Ok(Report {
        rounds: full.rounds,
        met,
        stopped,
        refused,
        waited_ms,
        judged: judge(&url, 1, &acks).await?,
    })
}

/// Has the server need the next segment of its log.
async fn switch(url: &str) -> anyhow::Result<()> {
    let mut server = PgConnection::connect(url).await?;
    sqlx::query("SELECT pg_switch_wal()").execute(&mut server).await?;
    Ok(())
}

/// What no two lives of a server share, whether it was started or began again by itself.
async fn life(url: &str) -> anyhow::Result<i32> {
    let mut server = PgConnection::connect(url).await?;
    let sql = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'";
    Ok(sqlx::query_scalar(sql).fetch_one(&mut server).await?)
}

/// Waits until the server serves, in another life than `but`, and starts it where it has ended.
async fn serves(database: &mut TestDatabase, url: &str, but: Option<i32>) -> anyhow::Result<i32> {
    let mut look = tokio::time::interval(LOOK);
    let served = async {
        loop {
            look.tick().await;
            match life(url).await {
                Ok(now) if Some(now) != but => return now,
                Ok(_) => {}
                Err(_) => database.server_shell(START),
            }
        }
    };
    let served = tokio::time::timeout(WITHIN, served).await;
    served.context("the server is not back")
}
