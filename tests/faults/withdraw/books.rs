//! What the databases say once a run is over: every withdrawal that was acknowledged, and both ledgers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::Context as _;
use unefois::command::ledger::check;
use unefois::demo::world::{AUTHORITY, MESR, World};
use unefois_core::effect::{Effect, Standing};
use unefois_core::{Entry, Event, Handle};
use unefois_store::Db;
use unefois_store::authority::effect::effect_read;
use unefois_store::authority::grant::grant_of_handle;
use unefois_tlog::VerifierKey;

use super::stage::{Role, Stage};
use super::trial::Trial;
use crate::books::Database;

/// The counts.
#[derive(Debug, Default)]
pub(crate) struct Books {
    /// Handles whose withdrawal was acknowledged and is not in the log, or has no effect there.
    pub(crate) lost: BTreeSet<String>,
    /// Withdrawals that only an authority that was superseded was asked for, and are in the log.
    pub(crate) strange: usize,
    /// Those of which the log says another instant than people were shown.
    pub(crate) told_otherwise: usize,
    /// What `ledger verify` finds in both ledgers.
    pub(crate) faults: usize,
    /// How the producer's log stood in the proofs.
    pub(crate) standings: BTreeMap<&'static str, usize>,
    /// The producer's entries.
    pub(crate) events: BTreeMap<String, usize>,
}

impl Books {
    pub(crate) fn hold(&self) -> bool {
        self.lost.is_empty() && self.strange == 0 && self.told_otherwise == 0 && self.faults == 0
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.lost.extend(other.lost);
        self.strange += other.strange;
        self.told_otherwise += other.told_otherwise;
        self.faults += other.faults;
        for (standing, count) in other.standings {
            *self.standings.entry(standing).or_default() += count;
        }
        for (event, count) in other.events {
            *self.events.entry(event).or_default() += count;
        }
    }
}

impl fmt::Display for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let events = |names: &[&str]| -> Vec<String> {
            let count = |name: &str| self.events.get(name).copied().unwrap_or(0);
            names
                .iter()
                .map(|name| format!("{name} {}", count(name)))
                .collect()
        };
        let names = [
            "released",
            "released_again",
            "withheld",
            "refused",
            "lapsed",
            "resumed",
        ];
        writeln!(f, "  producer's entries: {}", events(&names).join(", "))?;
        let standings = self
            .standings
            .iter()
            .map(|(standing, n)| format!("{standing} {n}"));
        let standings: Vec<String> = standings.collect();
        writeln!(f, "  its log in the proofs: {}", standings.join(", "))?;
        write!(
            f,
            "  acknowledged withdrawals lost: {}, with another instant: {}; ledger verify, both ledgers: {} faults",
            self.lost.len(),
            self.told_otherwise,
            self.faults
        )
    }
}

/// Reads both databases; nobody writes to them any more. No authority was asked to withdraw `kept`, or one alone that was
/// superseded.
pub(crate) async fn read(stage: &Stage, trials: &[Trial], kept: &Handle) -> anyhow::Result<Books> {
    let mut books = Books::default();
    let db = Db::open_for_reading(stage.database(Role::Authority)).await?;
    for trial in trials {
        let handle: Handle = trial.handle.parse()?;
        let row = grant_of_handle(&db, &handle).await?;
        let withdrawn = row.and_then(|row| row.elements.into_iter().next()?.withdrawn);
        let effect = match &withdrawn {
            Some(withdrawn) => effect_read(&db, withdrawn.place.seq).await?,
            None => None,
        };
        let Some((at, effect)) = effect else {
            books.lost.insert(trial.handle.clone());
            continue;
        };
        // By whole hours it may differ: the authority's clock was wrong.
        let other = (at.get() - trial.effective.at.get()) % 3_600_000_000 != 0;
        let shown = withdrawn.and_then(|withdrawn| withdrawn.effective_at) == Some(at);
        books.told_otherwise += usize::from(other || !shown);
        let effect = Effect::from_bytes(&effect).context("a proof does not read")?;
        for line in &effect.logs {
            let standing = match &line.standing {
                Standing::Acknowledged { .. } => "acknowledged",
                Standing::Lapsed { .. } => "lapsed",
                Standing::Opened => "opened",
                Standing::Absent => "absent",
            };
            *books.standings.entry(standing).or_default() += 1;
        }
    }
    let row = grant_of_handle(&db, kept).await?.context("a grant is gone")?;
    books.strange += row.elements.iter().filter(|e| e.withdrawn.is_some()).count();
    db.close().await;
    for (role, participant) in [(Role::Authority, AUTHORITY), (Role::Producer, MESR)] {
        let key = key(&stage.world, participant)?;
        let report = check(stage.database(role), &key, |_, _| {}).await?;
        books.faults += report.log.len() + report.index.len();
    }
    let mut database = Database::open(stage.database(Role::Producer)).await?;
    for bytes in database.entries().await? {
        let event: Event = Entry::decode(&bytes)?.event;
        *books.events.entry(event.to_string()).or_default() += 1;
    }
    Ok(books)
}

fn key(world: &World, participant: &str) -> anyhow::Result<VerifierKey> {
    let text = std::fs::read_to_string(world.folder("auditor").join("directory.jws"))?;
    let directory = unefois_jose::directory::verify(&text, &world.pin)?;
    let log = directory.log(&format!("{participant}/1"));
    let (_, log) = log.context("the log is not in the directory")?;
    Ok(log.vkey.parse()?)
}
