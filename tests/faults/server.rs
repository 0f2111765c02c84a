//! `faults server`: PostgreSQL itself stops at once, or is killed, again and again, while exchanges go on.

use std::fmt;
use std::time::Duration;

use anyhow::Context as _;
use kit::database::TestDatabase;
use sqlx::{Connection as _, PgConnection};

use crate::crowd::{Crowd, WITHIN};
use crate::workload::{Judged, judge, open};

/// Exchanges that must be acknowledged between two kills.
const BETWEEN: usize = 5;
/// The server serves for a time drawn below this after it is back.
const SERVES_BELOW: Duration = Duration::from_millis(200);

const STOP: &str = r#""$1/pg_ctl" -D data -w -s -m immediate stop"#;
const KILL: &str = "kill -9 $(head -1 data/postmaster.pid)";
const START: &str = r#"until "$1/pg_ctl" -D data -w -s -l log start; do sleep 0.05; done"#;

/// `faults server`.
#[derive(Debug, clap::Args)]
pub(crate) struct Server {
    /// Kills: one in two `pg_ctl stop -m immediate`, the other SIGKILL of the postmaster.
    #[arg(long, default_value_t = 200)]
    kills: usize,
}

/// How a run went.
#[derive(Debug)]
pub(crate) struct Report {
    kills: usize,
    met: usize,
    refused: usize,
    judged: Judged,
}

impl Report {
    pub(crate) const fn holds(&self) -> bool {
        self.judged.holds() && self.judged.acknowledged > 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kills,
            met,
            refused,
            judged,
        } = self;
        write!(
            f,
            "postgres: the server killed {kills} times, {met} with exchanges in flight\n  {judged}, refused {refused}"
        )
    }
}

/// Kills until it was killed often enough, then judges.
pub(crate) async fn run(server: &Server) -> anyhow::Result<Report> {
    let mut database = TestDatabase::postgres_alone();
    let url = database.url().to_owned();
    let (db, ledger) = open(&url, 1, None).await?;
    let mut crowd = Crowd::start(&ledger);
    let mut look = tokio::time::interval(Duration::from_millis(5));
    let mut met = 0;
    for kill in 0..server.kills {
        let back = crowd.goes_on(BETWEEN).await;
        back.with_context(|| format!("after kill {kill}: {}", ledger.standing()))?;
        crowd.go_on(SERVES_BELOW).await?;
        let born = started_at(&url).await?;
        met += usize::from(crowd.is_in_flight());
        database.server_shell(if kill % 2 == 0 { STOP } else { KILL });
        database.server_shell(START);
        let reborn = async {
            // Another server than the one that was killed.
            while !matches!(started_at(&url).await, Ok(now) if now != born) {
                look.tick().await;
            }
        };
        let reborn = tokio::time::timeout(WITHIN, reborn).await;
        reborn.with_context(|| format!("the server is not back after kill {kill}"))?;
    }
    let (acks, refused) = crowd.end().await?;
    ledger.close().await;
    db.close().await;
    Ok(Report {
        kills: server.kills,
        met,
        refused,
        judged: judge(&url, 1, &acks).await?,
    })
}

async fn started_at(url: &str) -> anyhow::Result<String> {
    let mut connection = PgConnection::connect(url).await?;
    let sql = "SELECT pg_postmaster_start_time()::text";
    Ok(sqlx::query_scalar(sql).fetch_one(&mut connection).await?)
}
