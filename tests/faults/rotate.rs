//! `faults rotate`: every key of a mesh is followed by its next one while a commune fetches without pause, and none of its
//! requests may be refused or put off; then the key that signs tokens is lost.

mod emergency;
mod publisher;
mod thief;

use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use kit::database::TestDatabase;
use tokio::task::JoinSet;
use unefois::demo::process::Process;
use unefois::demo::script::Script;
use unefois::demo::stage::Props;
use unefois::demo::world::{Member, Setting, World};
use unefois_core::Clock as _;
use unefois_mesh::{SystemClock, SystemRandom};

use self::emergency::Emergency;
use self::publisher::{Publisher, Which};
use crate::Database;
use crate::books::{self, Books};
use crate::load::Load;

/// How long a process may take until it serves.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// How long so many answers may take.
const ANSWERED_WITHIN: Duration = Duration::from_secs(240);
/// Those whose keys are rotated.
const MEMBERS: [Member; 3] = [Member::Authority, Member::Cnaf, Member::Clamart];

/// `faults rotate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Rotate {
    /// The database of every process.
    #[arg(long, value_enum, default_value = "both")]
    pub(crate) database: Database,
    /// Answers under each step, at least: more than the grants that wait, so that no token from before is left.
    #[arg(long, default_value_t = 150)]
    answers: usize,
}

/// How a run went.
#[derive(Debug)]
pub(crate) struct Report {
    database: &'static str,
    steps: Vec<Step>,
    emergency: Emergency,
    books: Books,
    seconds: i64,
}

/// One step of the rotation.
#[derive(Debug)]
struct Step {
    name: &'static str,
    answers: usize,
    /// Requests that ended in a refusal, or had to be sent again.
    spoiled: Vec<String>,
}

impl Report {
    /// Whether no request was refused or put off by a rotation, and the lost key opens nothing any more.
    pub(crate) fn holds(&self) -> bool {
        self.steps
            .iter()
            .all(|step| step.spoiled.is_empty() && step.answers > 0)
            && self.emergency.holds()
            && self.books.hold()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} s", self.database, self.seconds)?;
        for Step {
            name,
            answers,
            spoiled,
        } in &self.steps
        {
            let what = spoiled.join(" ");
            writeln!(
                f,
                "  {name:<42} {answers:>5} answers, {} refused or put off {what}",
                spoiled.len()
            )?;
        }
        write!(f, "{}", self.emergency)?;
        write!(f, "{}", self.books)
    }
}

/// Rotates everything once, then loses a key.
pub(crate) async fn run(wanted: &Rotate, kind: Database) -> anyhow::Result<Report> {
    let (clock, random) = (SystemClock, SystemRandom::new());
    let began = clock.boottime();
    let folder = tempfile::tempdir()?;
    let setting = Setting {
        spares: true,
        ..Setting::default()
    };
    let world = World::create(folder.path(), setting, clock.now(), &random)?;
    let props = Props::raise(&world, &Arc::new(Script::default())).await?;
    let mut publisher = Publisher::of(&world)?;
    let databases = MEMBERS.map(|_| match kind {
        Database::Postgres => TestDatabase::postgres(),
        Database::Sqlite | Database::Both => TestDatabase::sqlite(),
    });
    let mut processes = Vec::new();
    for (member, database) in MEMBERS.into_iter().zip(&databases) {
        let mut process = start(&world, member, database, &publisher)?;
        process.ready(READY_WITHIN).await?;
        processes.push(process);
    }

    let mut running = Running {
        load: Arc::new(Load::new(world)),
        working: JoinSet::new(),
        answers: wanted.answers,
        steps: Vec::new(),
    };
    running.load.up.send_replace(true);
    running.working.spawn(Arc::clone(&running.load).work());
    running.step("before").await?;

    publisher.change(Which::announced()).await?;
    running.step("every next key announced").await?;
    for (member, process) in MEMBERS.into_iter().zip(&mut processes) {
        publisher.replace_certificate(member)?;
        process.reload()?;
        running
            .step(match member {
                Member::Authority => "certificate and TLS key of the authority",
                Member::Cnaf => "certificate and TLS key of the producer",
                Member::Clamart | Member::Mesr | Member::Dgfip => "certificate and TLS key of the consumer",
            })
            .await?;
    }
    publisher.change(Which::seals_next()).await?;
    running.step("seal key").await?;
    publisher.change(Which::pivots_next()).await?;
    running.step("pivot key").await?;
    publisher.change(Which::tokens_next()).await?;
    running.step("token key").await?;
    publisher.change(Which::withdrawals_next()).await?;
    running.step("withdrawal key").await?;
    publisher.change(Which::habilitations_next()).await?;
    running.step("habilitation keys, all signed again").await?;
    publisher.sign_with_next()?;
    publisher.change(Which::nothing_announced()).await?;
    running.step("directory key").await?;
    publisher.change(Which::old_dropped()).await?;
    running.step("every old key but that of tokens dropped").await?;

    let emergency = running.lose(&publisher, databases[0].url()).await?;
    let Running {
        load,
        mut working,
        steps,
        ..
    } = running;
    load.end();
    while let Some(ended) = working.join_next().await {
        ended??;
    }
    for process in processes.into_iter().rev() {
        process.stop().await?;
    }
    props.lower().await;
    let answers = {
        let mut seen = load.seen.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut seen.answers)
    };
    let books = books::read(&load.world, databases[1].url(), databases[2].url(), &answers).await?;
    Ok(Report {
        database: if kind == Database::Postgres {
            "postgres"
        } else {
            "sqlite"
        },
        steps,
        emergency,
        books,
        seconds: clock.boottime().micros_since(began) / 1_000_000,
    })
}

/// Starts a role that holds its present and its next keys.
fn start(
    world: &World,
    member: Member,
    database: &TestDatabase,
    publisher: &Publisher,
) -> anyhow::Result<Process> {
    let next = |name: &str| {
        world
            .folder(member.name())
            .join(format!("{name}.next.key"))
            .display()
            .to_string()
    };
    let pivots = format!("[\"./pivot.key\", \"{}\"]", next("pivot"));
    let pins = publisher.pins(member);
    let (token, withdrawal, seal) = (next("token"), next("withdrawal"), next("seal"));
    let mut variables = vec![("UNEFOIS__DATABASE__URL", database.url())];
    match member {
        Member::Authority => variables.extend([
            ("UNEFOIS__KEYS__TOKEN_NEXT", token.as_str()),
            ("UNEFOIS__KEYS__WITHDRAWAL_NEXT", withdrawal.as_str()),
        ]),
        Member::Cnaf => variables.extend([
            ("UNEFOIS__PRODUCER__SEAL_NEXT", seal.as_str()),
            ("UNEFOIS__PRODUCER__PIVOT", pivots.as_str()),
            ("UNEFOIS__PRODUCER__HABILITATION_KEYS", pins.as_str()),
        ]),
        Member::Clamart | Member::Mesr | Member::Dgfip => {}
    }
    Process::start(&std::env::current_exe()?, world, member, &variables)
}

/// The commune at work, and what came of it so far.
struct Running {
    load: Arc<Load>,
    working: JoinSet<anyhow::Result<()>>,
    answers: usize,
    steps: Vec<Step>,
}

impl Running {
    /// Waits for so many answers under what was just changed.
    async fn step(&mut self, name: &'static str) -> anyhow::Result<()> {
        let (answers, spoiled) = self
            .answered()
            .await
            .with_context(|| format!("under « {name} »"))?;
        self.steps.push(Step {
            name,
            answers,
            spoiled,
        });
        Ok(())
    }

    async fn answered(&mut self) -> anyhow::Result<(usize, Vec<String>)> {
        let before = self.load.proofs();
        let enough = async {
            let mut look = tokio::time::interval(Duration::from_millis(20));
            while self.load.proofs() < before + self.answers {
                look.tick().await;
            }
        };
        tokio::select! {
            ended = self.working.join_next() => bail!("the commune stopped: {ended:?}"),
            enough = tokio::time::timeout(ANSWERED_WITHIN, enough) => enough.context("too few answers")?,
        }
        Ok((self.load.proofs() - before, self.spoiled()))
    }

    /// What was refused, or had to be sent again, since it was last asked.
    fn spoiled(&self) -> Vec<String> {
        let mut seen = self.load.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let again = std::mem::take(&mut seen.sent_again);
        let mut spoiled = std::mem::take(&mut seen.refused);
        spoiled.extend((0..again).map(|_| "sent again".to_owned()));
        spoiled
    }
}
