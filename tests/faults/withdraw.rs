//! `faults withdraw`: people withdraw while a commune fetches, and everything around both goes wrong.
//!
//! Real processes: an authority and a producer with a lease of a second, a link between them that the run holds back or
//! delays, on PostgreSQL a second authority that takes over, and a consumer that takes its answers when it likes. Each interleaving has a grant of its own. The consumer's
//! end of the wire is a [tap](tap): no byte of an answer may have arrived there after the instant at which the withdrawal
//! had taken effect, as the authority shows it. The run's processes and the tap read one machine's clock; where a fault
//! sets the wall clock of a process wrong, it does so by a whole hour, which is taken off again.

mod audit;
mod books;
mod chance;
pub(crate) mod consumer;
mod effects;
mod grants;
mod inject;
mod link;
mod net;
mod place;
mod report;
mod server;
pub(crate) mod source;
mod stage;
mod takeover;
mod tap;
mod trial;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use unefois_core::{Clock as _, Random};
use unefois_mesh::{SystemClock, SystemRandom};

use self::chance::Chance;
use self::consumer::Consumer;
use self::effects::Effects;
use self::grants::Given;
use self::inject::Fault;
pub(crate) use self::report::Report;
use self::stage::{Role, Stage};
use self::takeover::Outsider;
use self::trial::{Plan, Scene, Trial, play};
use crate::Database;

/// How long a process may take until it serves.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// Interleavings under way at once.
const TOGETHER: usize = 12;
/// Interleavings of one world: their grants last an hour, on clocks that are wrong by one.
const A_WORLD: usize = 2_000;

/// `faults withdraw`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Withdraw {
    /// The database of both processes.
    #[arg(long, value_enum, default_value = "both")]
    pub(crate) database: Database,
    /// Interleavings, on each database.
    #[arg(long, default_value_t = 500)]
    interleavings: usize,
    /// Interleavings with a producer whose guard is removed: the tap must find some that it lets out. None where 0.
    #[arg(long, default_value_t = 20)]
    unguarded: usize,
    /// The faults, each of which must come; all that can be had where absent.
    #[arg(long, value_enum)]
    fault: Vec<Fault>,
    /// What cuts the network.
    #[arg(long, value_enum, default_value = "any")]
    network: Network,
    /// What chance begins with; drawn where absent.
    #[arg(long)]
    seed: Option<u64>,
}

/// What cuts the network between the producer and the authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Network {
    /// The kernel where that is permitted, the run itself elsewhere.
    Any,
    /// The kernel: the producer is in a network namespace of its own, behind a router.
    Namespaces,
    /// The run itself, which forwards every byte and holds it back.
    Link,
}

/// Plays on one database, with the guard and, unless none are wanted, without it.
pub(crate) async fn run(wanted: &Withdraw, kind: Database) -> anyhow::Result<Vec<(Report, bool)>> {
    let drawn = || u64::from(u32::from_be_bytes((&SystemRandom::new() as &dyn Random).bytes()));
    let seed = wanted.seed.unwrap_or_else(drawn);
    let mut reports = Vec::new();
    for (count, guarded) in [(wanted.interleavings, true), (wanted.unguarded, false)] {
        if count > 0 {
            let report = several(wanted, (kind, seed), count, guarded).await?;
            let holds = report.holds(count);
            reports.push((report, holds));
        }
    }
    Ok(reports)
}

async fn several(
    wanted: &Withdraw,
    (kind, seed): (Database, u64),
    count: usize,
    guarded: bool,
) -> anyhow::Result<Report> {
    let began = SystemClock.boottime();
    let database = match kind {
        Database::Postgres => "postgres",
        Database::Sqlite | Database::Both => "sqlite",
    };
    let mut report = Report::new(database, guarded, seed);
    while report.trials() < count {
        let here = A_WORLD.min(count - report.trials());
        let place = report.trials() as u64;
        one_world(&mut report, wanted, (kind, seed, place), here, guarded).await?;
    }
    report.seconds = SystemClock.boottime().micros_since(began) / 1_000_000;
    Ok(report)
}

async fn one_world(
    report: &mut Report,
    wanted: &Withdraw,
    (kind, seed, place): (Database, u64, u64),
    count: usize,
    guarded: bool,
) -> anyhow::Result<()> {
    let (mut stage, mut given) = Stage::raise((kind, wanted.network), count + 1, guarded).await?;
    report.cut_by(stage.cut_by());
    let grant = given.pop().context("a grant more than is played")?;
    let (over, enough, tasks) = (
        CancellationToken::new(),
        CancellationToken::new(),
        TaskTracker::new(),
    );
    let effects = Arc::new(Effects::default());
    let (follow, url, ended) = (
        Arc::clone(&effects),
        stage.database(Role::Authority).to_owned(),
        over.clone(),
    );
    tasks.spawn(async move { follow.follow(&url, &ended).await });
    let scene = Arc::new(Scene {
        consumer: Consumer::new(
            &stage.world,
            "clamart",
            stage.authority_at,
            stage.producer_at(),
            tasks.clone(),
        )?,
        effects,
        link: stage.link.clone(),
        over: over.clone(),
        minted: Mutex::default(),
        withdrawn: Mutex::default(),
    });
    let outsider = Outsider {
        scene: Arc::clone(&scene),
        grant,
    };
    let wanted = &wanted.fault;
    report.wants(stage.possible().filter(|fault| guarded && wanted.contains(fault)));
    let plan = |n: u64| match guarded {
        true => Plan::draw(&mut Chance::new(seed, place + n)),
        false => Plan::under_way(&mut Chance::new(seed, place + n)),
    };
    let plays: Vec<(Given, Plan)> = given.into_iter().zip((0..).map(plan)).collect();
    let mut faults = Chance::new(seed, u64::MAX - place);
    let injecting = async {
        match guarded {
            true => inject::inject(&mut stage, &mut faults, (wanted, &outsider), &enough).await,
            false => Ok(Vec::new()),
        }
    };
    let playing = async {
        let trials = all(&scene, plays).await;
        enough.cancel();
        trials
    };
    let (spells, trials) = tokio::try_join!(injecting, playing)?;
    over.cancel();
    let audited = audit::audit(&stage.world, trials.len()).await?;
    stage.lower().await?;
    tasks.close();
    tasks.wait().await;
    let books = books::read(&stage, &trials, &outsider.grant.handle).await?;
    let done = [&scene.minted, &scene.withdrawn]
        .map(|done| done.lock().unwrap_or_else(PoisonError::into_inner).clone());
    report.add(&spells, &trials, done, (books, audited));
    Ok(())
}

/// Plays all of them, some at once.
async fn all(scene: &Arc<Scene>, plays: Vec<(Given, Plan)>) -> anyhow::Result<Vec<Trial>> {
    let (mut plays, mut playing, mut trials) = (plays.into_iter(), JoinSet::new(), Vec::new());
    loop {
        while playing.len() < TOGETHER
            && let Some((given, plan)) = plays.next()
        {
            let scene = Arc::clone(scene);
            playing.spawn(async move { play(&scene, &given, plan).await });
        }
        match playing.join_next().await {
            Some(trial) => trials.push(trial.context("an interleaving")??),
            None => return Ok(trials),
        }
    }
}
