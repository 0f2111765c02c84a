//! `faults server`: PostgreSQL itself stops at once, or is killed, again and again, while exchanges go on.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use kit::database::TestDatabase;
use sqlx::{Connection as _, PgConnection};
use tokio::task::JoinSet;
use unefois_core::Random;
use unefois_ledger::Ledger;
use unefois_mesh::SystemRandom;

use crate::workload::{Ack, Judged, exchange, judge, open};

/// Exchanges at once.
const EXCHANGING: usize = 16;
/// Exchanges that must be acknowledged between two kills.
const BETWEEN: usize = 5;
/// How long the server and the ledger may take until exchanges go on.
const BACK_WITHIN: Duration = Duration::from_secs(120);
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

#[derive(Debug, Default)]
struct Load {
    acks: Mutex<Vec<Ack>>,
    in_flight: AtomicUsize,
    refused: AtomicUsize,
    over: AtomicBool,
}

impl Load {
    async fn work(self: Arc<Self>, ledger: Ledger) {
        while !self.over.load(Ordering::Relaxed) {
            self.in_flight.fetch_add(1, Ordering::Relaxed);
            let done = exchange(&ledger).await;
            self.in_flight.fetch_sub(1, Ordering::Relaxed);
            match done {
                Ok(ack) => self.lock().push(ack),
                Err(_) => {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Ack>> {
        self.acks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Kills until it was killed often enough, then judges.
pub(crate) async fn run(server: &Server) -> anyhow::Result<Report> {
    let mut database = TestDatabase::postgres_alone();
    let url = database.url().to_owned();
    let (db, ledger) = open(&url, 1, None).await?;
    let load = Arc::new(Load::default());
    let mut working = JoinSet::new();
    for _ in 0..EXCHANGING {
        working.spawn(Arc::clone(&load).work(ledger.clone()));
    }
    let random = SystemRandom::new();
    let mut look = tokio::time::interval(Duration::from_millis(5));
    let mut met = 0;
    for kill in 0..server.kills {
        let from = load.lock().len() + BETWEEN;
        let back = async {
            while load.lock().len() < from {
                look.tick().await;
            }
        };
        let back = tokio::time::timeout(BACK_WITHIN, back).await;
        back.with_context(|| format!("no exchange after kill {kill}: {}", ledger.standing()))?;
        let [a, b] = (&random as &dyn Random).bytes();
        let part = f64::from(u16::from_be_bytes([a, b])) / f64::from(u16::MAX);
        if let Ok(ended) = tokio::time::timeout(SERVES_BELOW.mul_f64(part), working.join_next()).await {
            bail!("an exchange stopped: {ended:?}");
        }
        let born = started_at(&url).await?;
        met += usize::from(load.in_flight.load(Ordering::Relaxed) > 0);
        database.server_shell(if kill % 2 == 0 { STOP } else { KILL });
        database.server_shell(START);
        let reborn = async {
            // Another server than the one that was killed.
            while !matches!(started_at(&url).await, Ok(now) if now != born) {
                look.tick().await;
            }
        };
        let reborn = tokio::time::timeout(BACK_WITHIN, reborn).await;
        reborn.with_context(|| format!("the server is not back after kill {kill}"))?;
    }
    load.over.store(true, Ordering::Relaxed);
    while let Some(ended) = working.join_next().await {
        ended?;
    }
    ledger.close().await;
    db.close().await;
    let acks = load.lock().clone();
    Ok(Report {
        kills: server.kills,
        met,
        refused: load.refused.load(Ordering::Relaxed),
        judged: judge(&url, 1, &acks).await?,
    })
}

async fn started_at(url: &str) -> anyhow::Result<String> {
    let mut connection = PgConnection::connect(url).await?;
    let sql = "SELECT pg_postmaster_start_time()::text";
    Ok(sqlx::query_scalar(sql).fetch_one(&mut connection).await?)
}
