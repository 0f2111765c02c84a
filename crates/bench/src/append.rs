//! Appends in flight, in turns with what is bare and what is raw.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;
use unefois_core::{Clock, RevocationView, Sha256};
use unefois_ledger::{ClaimRequest, Draft, GateState, Ledger, Release, ReleaseDraft};

use crate::Error;
use crate::bare::Bare;
use crate::cpu::Cpu;
use crate::raw::Raw;
use crate::report::{Bar, Report, float, of_len, of_u64, quantile};
use crate::sample::Sample;
use crate::sql::Sql;

/// What is measured beside each other.
pub(crate) struct Bench<'a> {
    pub(crate) ledger: &'a Ledger,
    pub(crate) sql: &'a mut Sql,
    pub(crate) bare: &'a mut Bare,
    pub(crate) raw: &'a mut Raw,
    pub(crate) sample: &'a Sample,
    pub(crate) clock: &'a Arc<dyn Clock>,
    pub(crate) server: Option<u32>,
}

/// The bars of one number of appends in flight.
pub(crate) struct Bars {
    pub(crate) bare: Option<f64>,
    pub(crate) raw: Option<f64>,
    pub(crate) latency: Option<f64>,
    pub(crate) cpu_us: f64,
}

type Work = Arc<Mutex<VecDeque<(ClaimRequest, Draft)>>>;

struct Turn {
    micros: i64,
    latencies: Vec<i64>,
    batches: usize,
    cpu: Cpu,
    cpu_us: u64,
}

impl Bench<'_> {
    /// `rounds` turns of `count` appends, `in_flight` at once, each followed by as many bare and raw rows in batches of
    /// the size that the ledger's had.
    pub(crate) async fn run(
        &mut self,
        in_flight: usize,
        (rounds, count): (usize, usize),
        bars: &Bars,
        report: &mut Report,
    ) -> Result<(), Error> {
        // One turn that is not counted warms caches, statements and connections.
        let warm = self.ledger_turn(in_flight, count / 4 + 1).await?;
        let batch = (count / 4 + 1).div_ceil(warm.batches.max(1));
        self.bare_turn(count / 4 + 1, batch).await?;
        self.raw_turn(count / 4 + 1, batch).await?;

        let (mut ledger_us, mut bare_us, mut raw_us) = (0, 0, 0);
        let (mut latencies, mut bare_latencies) = (Vec::new(), Vec::new());
        let (mut batches, mut cpu_us, mut own_us) = (0, 0, 0);
        for _ in 0..rounds {
            let turn = self.ledger_turn(in_flight, count).await?;
            let batch = count.div_ceil(turn.batches.max(1));
            ledger_us += turn.micros;
            latencies.extend(turn.latencies);
            batches += turn.batches;
            cpu_us += turn.cpu_us;
            own_us += turn.cpu.own;
            let bare = self.bare_turn(count, batch).await?;
            bare_us += bare.iter().sum::<i64>();
            bare_latencies.extend(bare);
            raw_us += self.raw_turn(count, batch).await?;
        }
        let appends = of_len(rounds * count);
        let name = |what: &str| format!("{what}_{in_flight}");
        let label = |what: &str| format!("{what}, {in_flight} en vol");
        let rate = appends * 1e6 / float(ledger_us.max(1));
        report.add(&name("appends_per_s"), &label("écritures"), rate, "/s", None);
        report.add(
            &name("batch"),
            &label("taille moyenne d'un lot"),
            appends / of_len(batches.max(1)),
            "",
            None,
        );
        let p50 = quantile(&mut latencies, 0.5);
        report.add(&name("p50"), &label("latence p50"), p50 / 1e3, "ms", None);
        let p99 = quantile(&mut latencies, 0.99);
        report.add(&name("p99"), &label("latence p99"), p99 / 1e3, "ms", None);
        let bare_rate = appends * 1e6 / float(bare_us.max(1));
        report.add(
            &name("bare_per_s"),
            &label("insertion nue"),
            bare_rate,
            "/s",
            None,
        );
        let at_least = |bar: Option<f64>| bar.map(Bar::AtLeast);
        let of_bare = 100.0 * rate / bare_rate;
        report.add(
            &name("of_bare"),
            &label("part de l'insertion nue"),
            of_bare,
            "%",
            at_least(bars.bare),
        );
        let raw_rate = appends * 1e6 / float(raw_us.max(1));
        report.add(
            &name("of_raw"),
            &label("part des mêmes lignes sans contrôle"),
            100.0 * rate / raw_rate,
            "%",
            at_least(bars.raw),
        );
        if in_flight == 1 {
            let bare = quantile(&mut bare_latencies, 0.5);
            report.add("bare_p50", "insertion nue p50", bare / 1e3, "ms", None);
            report.add(
                "p50_of_bare",
                "latence p50 rapportée à l'insertion nue",
                p50 / bare,
                "×",
                bars.latency.map(Bar::AtMost),
            );
        }
        let cpu = of_u64(cpu_us) / appends;
        report.add(
            &name("cpu_us"),
            &label("processeur par écriture, tous processus"),
            cpu,
            "µs",
            Some(Bar::AtMost(bars.cpu_us)),
        );
        let own = of_u64(own_us) / appends;
        report.add(&name("own_cpu_us"), &label("dont ce processus"), own, "µs", None);
        Ok(())
    }

    /// `count` releases, `in_flight` at once.
    async fn ledger_turn(&self, in_flight: usize, count: usize) -> Result<Turn, Error> {
        let now = self.clock.now();
        let exchange = |n: usize| {
            let exchange = self.sample.exchange(u64::try_from(n).unwrap_or(0), now);
            exchange.request().map(|request| (request, exchange.draft()))
        };
        let work: VecDeque<_> = (0..count).filter_map(exchange).collect();
        let work: Work = Arc::new(Mutex::new(work));
        let mut workers = JoinSet::new();
        let (cpu, start) = (Cpu::now(self.server), self.clock.boottime());
        for _ in 0..in_flight {
            workers.spawn(worker(
                self.ledger.clone(),
                Arc::clone(&work),
                Arc::clone(self.clock),
            ));
        }
        let (mut latencies, mut heads) = (Vec::with_capacity(count), BTreeSet::new());
        while let Some(done) = workers.join_next().await {
            let (micros, sizes) = done.map_err(|_| Error::Refused)??;
            latencies.extend(micros);
            heads.extend(sizes);
        }
        let spent = Cpu::now(self.server);
        Ok(Turn {
            micros: self.clock.boottime().micros_since(start),
            latencies,
            batches: heads.len(),
            cpu: Cpu {
                own: spent.own_since(cpu),
                server: None,
            },
            cpu_us: spent.since(cpu),
        })
    }

    /// How long each durable insert of `batch` rows took.
    async fn bare_turn(&mut self, count: usize, batch: usize) -> Result<Vec<i64>, Error> {
        let mut micros = Vec::new();
        for first in (0..count).step_by(batch) {
            let start = self.clock.boottime();
            self.bare.insert(self.sql, batch.min(count - first)).await?;
            micros.push(self.clock.boottime().micros_since(start));
        }
        Ok(micros)
    }

    async fn raw_turn(&mut self, count: usize, batch: usize) -> Result<i64, Error> {
        let mut micros = 0;
        for first in (0..count).step_by(batch) {
            let rows = self.raw.prepare(batch.min(count - first));
            let start = self.clock.boottime();
            self.raw.insert(self.sql, &rows).await?;
            micros += self.clock.boottime().micros_since(start);
        }
        Ok(micros)
    }

    /// What an append adds to the write-ahead log of PostgreSQL after a checkpoint.
    pub(crate) async fn wal(&mut self, count: usize, report: &mut Report) -> Result<(), Error> {
        const PLACE: &str = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint";
        self.sql.execute("CHECKPOINT").await?;
        let before = self.sql.number(PLACE).await?;
        self.ledger_turn(64, count).await?;
        let written = self.sql.number(PLACE).await? - before;
        report.add(
            "wal_bytes",
            &format!("journal (WAL) par écriture, {count} après un point de reprise"),
            float(written) / of_len(count),
            "o",
            Some(Bar::AtMost(3_000.0)),
        );
        Ok(())
    }
}

/// Releases what is left to do; how long each took, and the sizes of the heads that acknowledged them.
async fn worker(
    ledger: Ledger,
    work: Work,
    clock: Arc<dyn Clock>,
) -> Result<(Vec<i64>, BTreeSet<u64>), Error> {
    let (mut latencies, mut heads) = (Vec::new(), BTreeSet::new());
    loop {
        let next = work.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some((request, draft)) = next else {
            return Ok((latencies, heads));
        };
        let start = clock.boottime();
        let payload = Sha256::of(request.request_id.as_bytes());
        let attempt = ledger.attempt(request).ok_or(Error::Refused)?;
        let release = ReleaseDraft {
            draft,
            payload,
            gate: Arc::new(|| GateState::Open(RevocationView::NONE)),
        };
        let Release::Claimed(receipt) = ledger.release(&attempt, release).await? else {
            return Err(Error::Refused);
        };
        latencies.push(clock.boottime().micros_since(start));
        heads.insert(receipt.size());
    }
}
