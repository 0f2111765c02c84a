//! `faults wire`: the connection to PostgreSQL breaks at each message of the process in turn, before the server has it,
//! or once its answer is lost.

use std::fmt;

use anyhow::{Context as _, ensure};
use kit::database::TestDatabase;
use unefois_ledger::Ledger;
use unefois_store::Db;

use crate::cut::{Cut, Proxy};
use crate::workload::{Ack, Judged, boottime_us, exchange, judge, open};

/// Exchanges of one run.
const EXCHANGES: usize = 12;
/// Exchanges before the faults, after which every name is known.
const BEFORE: usize = 6;
/// How long a caller may be without an answer after one.
const ANSWERS_WITHIN_MS: i64 = 1_000;

/// `faults wire`.
#[derive(Debug, clap::Args)]
pub(crate) struct Wire {
    /// Points of each kind, spread over all; 0 for every one.
    #[arg(long, default_value_t = 0)]
    points: usize,
}

/// One line of the table.
#[derive(Debug, Default)]
struct Row {
    title: &'static str,
    points: usize,
    /// Points where the server had answered.
    unheard: usize,
    refused: usize,
    /// Starts that failed, and were tried once more.
    restarts: usize,
    /// Runs that did not go on after one fault.
    stuck: usize,
    /// The longest time from the fault to the next answer.
    answered_ms: i64,
    judged: Judged,
}

/// How a run went.
#[derive(Debug)]
pub(crate) struct Report {
    messages: usize,
    rows: [Row; 2],
}

impl Report {
    pub(crate) fn holds(&self, slack_ms: i64) -> bool {
        let [unsent, unheard] = &self.rows;
        unsent.unheard == 0
            && unheard.unheard > 0
            && self.rows.iter().all(|row| {
                row.points > 0
                    && row.stuck == 0
                    && row.answered_ms <= ANSWERS_WITHIN_MS + slack_ms
                    && row.judged.holds()
                    && row.judged.acknowledged > 0
            })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "postgres, {} messages in a start and {EXCHANGES} exchanges",
            self.messages
        )?;
        for row in &self.rows {
            let Row {
                title,
                points,
                unheard,
                refused,
                restarts,
                stuck,
                answered_ms,
                judged,
            } = row;
            write!(
                f,
                "\n  {title}: {points} points, answers lost {unheard}, {judged}, refused {refused}, started again {restarts}, \
                 runs that did not go on {stuck}, next answer in {answered_ms} ms at most"
            )?;
        }
        Ok(())
    }
}

/// Tries every point, each kind in a database of its own.
pub(crate) async fn run(wire: &Wire) -> anyhow::Result<Report> {
    let mut report = Report {
        messages: 0,
        rows: [
            Row {
                title: "broken before the message is sent",
                ..Row::default()
            },
            Row {
                title: "broken once its answer is lost",
                ..Row::default()
            },
        ],
    };
    for (row, cut) in report.rows.iter_mut().zip([Cut::Unsent, Cut::Unheard]) {
        let database = TestDatabase::postgres();
        let (db, ledger) = open(database.url(), 1, None).await?;
        let mut acks = Vec::new();
        for _ in 0..BEFORE {
            acks.push(exchange(&ledger).await?);
        }
        end(db, ledger).await;
        let proxy = Proxy::new(database.url())?;
        point(&proxy, row, &mut acks).await?;
        ensure!(row.refused == 0, "a run without faults failed");
        report.messages = proxy.sent();
        let points = match wire.points {
            0 => report.messages,
            points => points.min(report.messages),
        };
        for place in 0..points {
            let at = 1 + place * report.messages / points;
            proxy.arm(at, cut);
            let done = point(&proxy, row, &mut acks).await;
            done.with_context(|| format!("{} at message {at}", row.title))?;
        }
        row.unheard = proxy.unheard();
        row.judged = judge(database.url(), 1, &acks).await?;
    }
    Ok(report)
}

/// A start, exchanges and an end.
async fn point(proxy: &Proxy, row: &mut Row, acks: &mut Vec<Ack>) -> anyhow::Result<()> {
    let (db, ledger) = match open(proxy.url(), 1, None).await {
        Ok(opened) => opened,
        // As whoever watches over the process does.
        Err(_) => {
            row.restarts += 1;
            open(proxy.url(), 1, None).await?
        }
    };
    let (mut answers, mut refused) = (Vec::new(), 0);
    for _ in 0..EXCHANGES {
        match exchange(&ledger).await {
            Ok(ack) => acks.push(ack),
            Err(_) => refused += 1,
        }
        answers.push(boottime_us());
    }
    end(db, ledger).await;
    row.refused += refused;
    row.stuck += usize::from(refused > 1);
    if let Some(since) = proxy.struck() {
        row.points += 1;
        // A fault at the very end leaves nobody without an answer.
        let next = answers.into_iter().find(|at| *at > since);
        row.answered_ms = row.answered_ms.max(next.map_or(0, |at| (at - since) / 1_000));
    }
    Ok(())
}

async fn end(db: Db, ledger: Ledger) {
    ledger.close().await;
    db.close().await;
}
