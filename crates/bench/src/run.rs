//! One run: what is measured, in which order.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use unefois_core::commitment::NodeKey;
use unefois_core::{Clock, Random};
use unefois_ledger::{Keys, Ledger, Safeguards};
use unefois_mesh::{SystemClock, SystemRandom};
use unefois_store::head::origins;
use unefois_store::{Component, Db};
use unefois_tlog::SignerKey;

use crate::append::{Bars, Bench};
use crate::bare::Bare;
use crate::load::{Log, load};
use crate::place::{Place, Store};
use crate::raw::Raw;
use crate::report::{Bar, Report, quantile};
use crate::sample::Sample;
use crate::sql::Sql;
use crate::{Error, read, size};

/// What to measure, and on what.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which database.
    pub store: Store,
    /// An empty database to use; `None`: a throw-away one in `folder`.
    pub url: Option<String>,
    /// On whose disk a throw-away database lies.
    pub folder: PathBuf,
    /// Entries loaded before anything is measured.
    pub load: u64,
    /// Appends of one turn with 512 in flight; fewer with less.
    pub appends: usize,
    /// Turns of each kind.
    pub rounds: usize,
}

/// Measures the ledger; `progress` hears the step, and how much of how much of it is done.
///
/// # Errors
/// [`Error`]: nothing is reported that does not rest on a log that verifies.
pub async fn ledger(plan: &Plan, progress: &(dyn Fn(&str, u64, u64) + Sync)) -> Result<Report, Error> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let random: Arc<dyn Random> = Arc::new(SystemRandom::new());
    let sample = Sample::new();
    let mut place = Place::new(plan.store, plan.url.as_deref(), &plan.folder)?;
    let mut report = Report {
        store: plan.store.as_str(),
        version: String::new(),
        machine: machine(),
        loaded: plan.load,
        judged: true,
        figures: Vec::new(),
    };
    disk(
        place.folder.as_deref().unwrap_or(&plan.folder),
        &*clock,
        &mut report,
    )?;

    let db = Db::open(&place.url, Component::Node).await?;
    if !origins(&db).await?.is_empty() {
        return Err(Error::NotEmpty);
    }
    let log = keys(&sample)?;
    let origin = log.signer.verifier().name().as_str().to_owned();
    progress("charge", 0, plan.load);
    let told = |done, all| progress("charge", done, all);
    load(&db, &log, &sample, plan.load, (&*clock, &*random), &told).await?;
    let mut sql = Sql::open(&place.url).await?;
    report.version = sql.version().await?;
    match sql {
        Sql::Postgres(_) => {
            sql.execute("VACUUM ANALYZE").await?;
            sql.execute("CHECKPOINT").await?;
        }
        Sql::Sqlite(_) => sql.execute("PRAGMA wal_checkpoint(TRUNCATE)").await?,
    }
    if plan.load > 0 {
        size::size(&mut sql, plan.load, &mut report).await?;
        progress("vérification", 0, plan.load);
        let told = |done, all| progress("vérification", done, all);
        let key = log.signer.verifier();
        read::verification(&db, key, place.server(), &*clock, &told, &mut report).await?;
        progress("recherches", 0, 1);
        read::searches(&db, &origin, &sample, 600, &*clock, &mut report).await?;
        read::bisection(&db, &origin, &*clock, &mut report).await?;
    }

    progress("preuves", 0, 1);
    sql.close().await?;
    db.close().await;
    let cold = plan.load > 0 && place.evict()?;
    let db = Db::open(&place.url, Component::Node).await?;
    let safeguards = Safeguards {
        anchor: place.folder.as_ref().map(|folder| folder.join("anchor")),
        ..Safeguards::default()
    };
    let ledger = open(&db, log, safeguards, &clock, &random).await?;
    if plan.load > 0 {
        if cold {
            read::proofs(&ledger, false, (100, 3), &*clock, &mut report).await?;
        }
        read::proofs(&ledger, true, (500, 5), &*clock, &mut report).await?;
    }

    let mut sql = Sql::open(&place.url).await?;
    let entry = sample.exchange(0, clock.now()).entry.encode();
    let mut bare = Bare::new(&mut sql, entry.len()).await?;
    let mut raw = Raw::new(&mut sql, clock.now()).await?;
    let mut bench = Bench {
        ledger: &ledger,
        sql: &mut sql,
        bare: &mut bare,
        raw: &mut raw,
        sample: &sample,
        clock: &clock,
        server: place.server(),
    };
    for (in_flight, share) in [(1, 16), (64, 2), (512, 1)] {
        progress(&format!("écritures, {in_flight} en vol"), 0, 1);
        let turns = (plan.rounds, (plan.appends / share).max(1));
        bench
            .run(in_flight, turns, &bars(plan.store, in_flight), &mut report)
            .await?;
    }
    if plan.store == Store::Postgres {
        bench.wal(plan.appends, &mut report).await?;
    }
    sql.close().await?;
    ledger.close().await;
    db.close().await;
    Ok(report)
}

/// What ledger figures must reach (design, « What it must reach »).
const fn bars(store: Store, in_flight: usize) -> Bars {
    let (of_bare, raw, latency, cpu) = match store {
        Store::Postgres => ([None, Some(35.0), Some(30.0)], 90.0, 1.6, [300.0, 45.0, 35.0]),
        Store::Sqlite => ([None, Some(27.0), Some(27.0)], 85.0, 1.5, [270.0, 55.0, 40.0]),
    };
    let place = match in_flight {
        1 => 0,
        64 => 1,
        _ => 2,
    };
    Bars {
        bare: of_bare[place],
        raw: if in_flight == 1 { None } else { Some(raw) },
        latency: Some(latency),
        cpu_us: cpu[place],
    }
}

fn keys(sample: &Sample) -> Result<Log, Error> {
    Ok(Log {
        signer: SignerKey::new(format!("{}/1", sample.owner).parse()?, &[1; 32]),
        node_key: NodeKey::new(&[9; 32]),
    })
}

async fn open(
    db: &Db,
    log: Log,
    safeguards: Safeguards,
    clock: &Arc<dyn Clock>,
    random: &Arc<dyn Random>,
) -> Result<Ledger, Error> {
    let keys = Keys {
        signer: log.signer,
        node_key: log.node_key,
    };
    Ok(Ledger::open(
        db.clone(),
        keys,
        safeguards,
        Arc::clone(clock),
        Arc::clone(random),
    )
    .await?)
}

fn disk(folder: &Path, clock: &dyn Clock, report: &mut Report) -> Result<(), Error> {
    let p50 = fdatasync_ms(folder, clock)?;
    report.judged = p50 <= 0.2;
    report.add(
        "fdatasync_p50",
        "fdatasync du disque, p50",
        p50,
        "ms",
        Some(Bar::AtMost(0.2)),
    );
    Ok(())
}

/// How long the disk that `folder` lies on takes to keep a page, in milliseconds (p50).
///
/// # Errors
/// [`Error::Io`].
pub fn fdatasync_ms(folder: &Path, clock: &dyn Clock) -> Result<f64, Error> {
    let mut file = tempfile::tempfile_in(folder)?;
    let mut micros = Vec::new();
    for n in 0..300_u64 {
        file.seek(SeekFrom::Start(n % 64 * 4_096))?;
        file.write_all(&[1; 4_096])?;
        let start = clock.boottime();
        file.sync_data()?;
        micros.push(clock.boottime().micros_since(start));
    }
    Ok(quantile(&mut micros, 0.5) / 1e3)
}

/// Processor, cores and memory of this machine.
pub fn machine() -> String {
    let field = |file: &str, name: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let line = text
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or_default();
        line.split_once(':')
            .map(|(_, value)| value.trim().to_owned())
            .unwrap_or_default()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = field("/proc/meminfo", "MemTotal");
    format!(
        "{}, {cores} cœurs, {memory}",
        field("/proc/cpuinfo", "model name")
    )
}
