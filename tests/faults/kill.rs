//! `faults kill`: the producer is killed at random moments, and starts again on the same database.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::bail;
use kit::database::TestDatabase;
use tokio::task::JoinSet;
use unefois::demo::process::Process;
use unefois::demo::script::Script;
use unefois::demo::stage::Props;
use unefois::demo::world::{Member, Setting, World};
use unefois_core::{Clock as _, Random};
use unefois_mesh::{SystemClock, SystemRandom};

use crate::books::{self, Books};
use crate::load::{Load, Seen};
use crate::{Database, Kill};

/// How long a process may take until it serves.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// How long the commune may take over its first grants.
const GRANTED_WITHIN: Duration = Duration::from_secs(120);
/// The producer serves for a time drawn below this before it is killed.
const SERVES_BELOW: Duration = Duration::from_millis(500);

/// How a run went.
#[derive(Debug)]
pub(crate) struct Report {
    database: &'static str,
    kills: usize,
    met: usize,
    sent_again: usize,
    refused: Vec<String>,
    books: Books,
    seconds: i64,
}

impl Report {
    /// Whether nothing was lost, and enough was tried.
    pub(crate) fn holds(&self, wanted: &Kill) -> bool {
        self.kills >= wanted.kills
            && self.met >= wanted.met
            && self.books.proofs >= wanted.proofs
            && self.refused.is_empty()
            && self.books.hold()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            database,
            kills,
            met,
            sent_again,
            refused,
            books,
            seconds,
        } = self;
        writeln!(
            f,
            "{database}: {kills} kills, {met} with a fetch in flight, {seconds} s"
        )?;
        writeln!(
            f,
            "  requests sent again after a kill, and answered: {sent_again}"
        )?;
        writeln!(f, "  requests refused: {} {}", refused.len(), refused.join(" "))?;
        write!(f, "{books}")
    }
}

/// The databases of the run, gone with it.
struct Databases(Vec<(Member, TestDatabase)>);

impl Databases {
    fn new(kind: Database) -> Self {
        let members = [Member::Authority, Member::Cnaf, Member::Clamart];
        Self(match kind {
            Database::Postgres => members.map(|member| (member, TestDatabase::postgres())).into(),
            Database::Sqlite | Database::Both => {
                members.map(|member| (member, TestDatabase::sqlite())).into()
            }
        })
    }

    fn url(&self, member: Member) -> &str {
        self.0
            .iter()
            .find(|(of, _)| *of == member)
            .map_or("", |(_, database)| database.url())
    }

    fn start(&self, world: &World, member: Member) -> anyhow::Result<Process> {
        let program = std::env::current_exe()?;
        let url = [("UNEFOIS__DATABASE__URL", self.url(member))];
        Process::start(&program, world, member, &url)
    }
}

/// Kills until enough was killed and enough was proved, then reads the books.
pub(crate) async fn run(wanted: &Kill, kind: Database) -> anyhow::Result<Report> {
    let (clock, random) = (SystemClock, SystemRandom::new());
    let began = clock.boottime();
    let folder = tempfile::tempdir()?;
    let world = World::create(folder.path(), Setting::default(), clock.now(), &random)?;
    let props = Props::raise(&world, &Arc::new(Script::default())).await?;
    let databases = Databases::new(kind);
    let mut authority = databases.start(&world, Member::Authority)?;
    authority.ready(READY_WITHIN).await?;
    let mut clamart = databases.start(&world, Member::Clamart)?;
    clamart.ready(READY_WITHIN).await?;

    let load = Arc::new(Load::new(world));
    let mut working = JoinSet::new();
    working.spawn(Arc::clone(&load).work());
    let granting = async {
        let mut look = tokio::time::interval(Duration::from_millis(20));
        while !load.is_full() {
            look.tick().await;
        }
    };
    tokio::select! {
        ended = working.join_next() => bail!("the commune stopped: {ended:?}"),
        granted = tokio::time::timeout(GRANTED_WITHIN, granting) => granted?,
    }

    let (mut kills, mut met) = (0, 0);
    let mut cnaf = databases.start(&load.world, Member::Cnaf)?;
    while kills < wanted.kills || met < wanted.met || load.proofs() < wanted.proofs {
        cnaf.ready(READY_WITHIN).await?;
        load.up.send_replace(true);
        let [a, b] = (&random as &dyn Random).bytes();
        let part = f64::from(u16::from_be_bytes([a, b])) / f64::from(u16::MAX);
        if let Ok(ended) = tokio::time::timeout(SERVES_BELOW.mul_f64(part), working.join_next()).await {
            bail!("the commune stopped: {ended:?}");
        }
        // Asked and killed with nothing between that waits.
        met += usize::from(load.in_flight.load(Ordering::Relaxed) > 0);
        cnaf.kill()?;
        load.up.send_replace(false);
        kills += 1;
        cnaf = databases.start(&load.world, Member::Cnaf)?;
    }
    cnaf.ready(READY_WITHIN).await?;
    load.end();
    load.up.send_replace(true);
    while let Some(ended) = working.join_next().await {
        ended??;
    }
    cnaf.stop().await?;
    clamart.stop().await?;
    authority.stop().await?;
    props.lower().await;

    let Seen {
        answers,
        sent_again,
        refused,
    } = std::mem::take(
        &mut *load
            .seen
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner),
    );
    let books = books::read(
        &load.world,
        databases.url(Member::Cnaf),
        databases.url(Member::Clamart),
        &answers,
    )
    .await?;
    Ok(Report {
        database: if kind == Database::Postgres {
            "postgres"
        } else {
            "sqlite"
        },
        kills,
        met,
        sent_again,
        refused,
        books,
        seconds: clock.boottime().micros_since(began) / 1_000_000,
    })
}
