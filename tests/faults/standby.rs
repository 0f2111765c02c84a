//! `faults standby`: the second server, without which nothing counts as written, hangs or dies, and an operator ends the
//! waits for it; at last the first server is lost.

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use unefois_ledger::{Ledger, Safeguards};

use crate::crowd::{Crowd, until};
use crate::replica::Replica;
use crate::workload::{Judged, boottime_us, judge, open_with};

/// Both servers serve for a time drawn below this before each fault.
const SERVES_BELOW: Duration = Duration::from_millis(300);
/// Exchanges that must be acknowledged between two faults.
const BETWEEN: usize = 5;
/// What a caller waits for at most, and what a busy machine may add.
const ANSWERED_WITHIN_MS: i64 = 2_000 + 1_000;
/// How often an operator ends the waits.
const ENDS_EVERY: Duration = Duration::from_millis(20);

/// `faults standby`.
#[derive(Debug, clap::Args)]
pub(crate) struct Standby {
    /// Faults, of four kinds in turn.
    #[arg(long, default_value_t = 20)]
    rounds: usize,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Hung,
    Cancelled,
    Killed,
    Terminated,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Hung, Self::Cancelled, Self::Killed, Self::Terminated];

    const fn title(self) -> &'static str {
        match self {
            Self::Hung => "the standby stopped in its tracks",
            Self::Cancelled => "the same, and each wait for it cancelled",
            Self::Killed => "the standby killed",
            Self::Terminated => "the standby stopped in its tracks, and who waits for it terminated",
        }
    }

    /// The function by which an operator ends what waits for the standby.
    const fn ends(self) -> Option<&'static str> {
        match self {
            Self::Hung | Self::Killed => None,
            Self::Cancelled => Some("pg_cancel_backend"),
            Self::Terminated => Some("pg_terminate_backend"),
        }
    }
}

/// One line of the table.
#[derive(Debug)]
struct Row {
    kind: Kind,
    rounds: usize,
    /// Faults with exchanges in flight.
    met: usize,
    /// Acknowledged without the standby.
    late: usize,
    /// Waits that an operator ended.
    ended: i64,
}

/// How a run went.
#[derive(Debug)]
pub(crate) struct Report {
    rows: Vec<Row>,
    refused: usize,
    waited_ms: i64,
    primary: Judged,
    standby: Judged,
}

impl Report {
    pub(crate) fn holds(&self, slack_ms: i64) -> bool {
        let ended = |row: &Row| row.ended > 0 || row.kind.ends().is_none();
        self.rows.iter().all(|row| row.late == 0 && ended(row))
            && self.waited_ms <= ANSWERED_WITHIN_MS + slack_ms
            && self.primary.holds()
            && self.primary.acknowledged > 0
            && self.standby.holds()
            && self.standby.acknowledged > self.primary.acknowledged
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rows,
            refused,
            waited_ms,
            primary,
            standby,
        } = self;
        write!(
            f,
            "postgres, a synchronous standby: refused {refused}, a caller waits {waited_ms} ms at most\n  {primary}"
        )?;
        for row in rows {
            let Row {
                kind,
                rounds,
                met,
                late,
                ended,
            } = row;
            write!(
                f,
                "\n  {}: {rounds} times, {met} with exchanges in flight, acknowledged meanwhile {late}",
                kind.title()
            )?;
            if *ended > 0 {
                write!(f, ", waits ended {ended}")?;
            }
        }
        write!(f, "\n  on the standby, once the first server is lost: {standby}")
    }
}

/// Tries each kind in turn, then loses the first server.
pub(crate) async fn run(standby: &Standby) -> anyhow::Result<Report> {
    let mut replica = Replica::start().await?;
    let url = replica.url();
    let required = Safeguards {
        synchronous_standby: true,
        ..Safeguards::default()
    };
    let (db, ledger) = open_with(&url, 1, required.clone()).await?;
    let mut crowd = Crowd::start(&ledger);
    let mut rows = Kind::ALL.map(|kind| Row {
        kind,
        rounds: 0,
        met: 0,
        late: 0,
        ended: 0,
    });
    for (round, place) in (0..standby.rounds).zip((0..rows.len()).cycle()) {
        crowd.goes_on(BETWEEN).await?;
        crowd.go_on(SERVES_BELOW).await?;
        let row = &mut rows[place];
        row.rounds += 1;
        row.met += usize::from(crowd.is_in_flight());
        let done = fault(&mut replica, &ledger, &crowd, row).await;
        done.with_context(|| format!("round {round}, {}", row.kind.title()))?;
    }
    crowd.goes_on(BETWEEN).await?;
    let mut waited_ms = crowd.waited_ms();
    let (mut acks, mut refused) = crowd.end().await?;
    ledger.close().await;
    db.close().await;
    let primary = judge(&url, 1, &acks).await?;

    let (db, ledger) = open_with(&url, 1, required).await?;
    let mut crowd = Crowd::start(&ledger);
    crowd.goes_on(BETWEEN).await?;
    crowd.go_on(SERVES_BELOW).await?;
    replica.stop().await?;
    let since = boottime_us();
    // What it holds alone goes with it.
    end_waits(&replica, &crowd, since, "pg_cancel_backend").await?;
    replica.lose_primary().await?;
    waited_ms = waited_ms.max(crowd.waited_ms());
    let (more, no) = crowd.end().await?;
    ledger.close().await;
    db.close().await;
    replica.promote().await?;
    acks.extend(more);
    refused += no;
    Ok(Report {
        rows: rows.into_iter().filter(|row| row.rounds > 0).collect(),
        refused,
        waited_ms,
        primary,
        standby: judge(&replica.standby_url(), 1, &acks).await?,
    })
}

/// One fault, until both servers are there again.
async fn fault(replica: &mut Replica, ledger: &Ledger, crowd: &Crowd, row: &mut Row) -> anyhow::Result<()> {
    match row.kind {
        Kind::Hung | Kind::Cancelled | Kind::Terminated => replica.stop().await?,
        Kind::Killed => replica.kill().await?,
    }
    let since = boottime_us();
    match row.kind.ends() {
        Some(function) => row.ended += end_waits(replica, crowd, since, function).await?,
        None => crowd.is_refused(since).await?,
    }
    until(|| !ledger.is_writable())
        .await
        .context("probes are not told")?;
    row.late += crowd.acknowledged(since);
    match row.kind {
        Kind::Hung | Kind::Cancelled | Kind::Terminated => replica.go_on()?,
        Kind::Killed => replica.start_again(),
    }
    until(|| ledger.is_writable())
        .await
        .context("the log is not ready again")
}

/// Ends each wait for the standby as an operator may, until everybody was refused; how many.
async fn end_waits(replica: &Replica, crowd: &Crowd, since: i64, function: &str) -> anyhow::Result<i64> {
    let mut server = replica.operator().await?;
    let mut every = tokio::time::interval(ENDS_EVERY);
    let mut ended = 0;
    let mut refused = std::pin::pin!(crowd.is_refused(since));
    loop {
        tokio::select! {
            done = refused.as_mut() => {
                ensure!(ended > 0, "nobody waited for the standby");
                return done.map(|()| ended);
            }
            _ = every.tick() => ended += Replica::end_waits(&mut server, function).await?,
        }
    }
}
