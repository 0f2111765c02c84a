//! What the books say once all is over: the commune's proofs against the producer's log and claims.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Context as _;
use sqlx::{Connection as _, PgConnection, SqliteConnection};
use unefois::command::ledger::check;
use unefois::demo::world::{CLAMART, CNAF, World};
use unefois_core::{Entry, Event};
use unefois_proto::pb::backoffice::v1::FetchResponse;
use unefois_tlog::{Hash, Receipt, VerifierKey};

/// The counts.
#[derive(Debug, Default)]
pub(crate) struct Books {
    /// Proofs that the commune received and that verify.
    pub(crate) proofs: usize,
    /// Of those, of an answer that was given again.
    again: usize,
    /// Proofs that do not verify, or whose entry is not in the log at its place.
    lost: usize,
    /// Entries `released` in the log.
    released: usize,
    /// Exchanges with more than one of them.
    twice: usize,
    /// The most attempts that one exchange took.
    attempts: u16,
    /// Claims.
    claims: i64,
    /// Claims whose exchange has no entry `released`.
    claims_without_entry: i64,
    /// Entries `released` whose exchange has no claim, though no entry `withheld` gave it back.
    entries_without_claim: i64,
    /// Faults that `ledger verify` finds, in the producer's database and in the commune's.
    faults: usize,
}

impl Books {
    pub(crate) const fn hold(&self) -> bool {
        self.lost == 0
            && self.twice == 0
            && self.claims > 0
            && self.claims_without_entry == 0
            && self.entries_without_claim == 0
            && self.faults == 0
    }
}

impl fmt::Display for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  proofs received: {} ({} of an answer given again); without their entry: {}",
            self.proofs, self.again, self.lost
        )?;
        writeln!(
            f,
            "  entries released: {}; exchanges released twice: {}; without a claim: {}; most attempts of one: {}",
            self.released, self.twice, self.entries_without_claim, self.attempts
        )?;
        writeln!(
            f,
            "  claims: {}; without an entry: {}",
            self.claims, self.claims_without_entry
        )?;
        write!(f, "  ledger verify, both logs: {} faults", self.faults)
    }
}

/// Reads the producer's database and the commune's.
pub(crate) async fn read(
    world: &World,
    producer: &str,
    consumer: &str,
    answers: &[FetchResponse],
) -> anyhow::Result<Books> {
    let mut books = Books::default();
    let key = key(world, CNAF)?;
    for (url, key) in [(producer, &key), (consumer, &self::key(world, CLAMART)?)] {
        let report = check(url, key, |_, _| {}).await?;
        books.faults += report.log.len() + report.index.len();
    }
    let mut database = Database::open(producer).await?;
    let log = database.entries().await?;
    let mut released = BTreeMap::new();
    for bytes in &log {
        let entry = Entry::decode(bytes)?;
        books.attempts = books.attempts.max(entry.attempt);
        if entry.event == Event::Released {
            *released
                .entry(entry.exchange_id.map(|id| id.as_uuid()))
                .or_insert(0) += 1;
        }
    }
    books.released = released.values().sum();
    books.twice = released.values().filter(|n| **n > 1).count();
    for answer in answers {
        let receipt: Receipt = answer.producer_proof.parse()?;
        let leaf = Hash::of_leaf(&answer.producer_entry);
        let index = usize::try_from(receipt.index())?;
        let proved = receipt.verify(&leaf, &key).is_ok();
        let entry = Entry::decode(&answer.producer_entry)?;
        let released = released.contains_key(&entry.exchange_id.map(|id| id.as_uuid()));
        if proved && released && log.get(index) == Some(&answer.producer_entry) {
            books.proofs += 1;
            books.again += usize::from(entry.event == Event::ReleasedAgain);
        } else {
            books.lost += 1;
        }
    }
    let (released, withheld) = (Event::Released.code(), Event::Withheld.code());
    let n = "SELECT count(*) FROM ";
    books.claims = database.count(&format!("{n} claim")).await?;
    books.claims_without_entry = database
        .count(&format!(
            "{n} claim c WHERE NOT EXISTS (SELECT 1 FROM ledger_entry e \
             WHERE e.exchange_id = c.request_id AND e.event = {released})"
        ))
        .await?;
    books.entries_without_claim = database
        .count(&format!(
            "{n} ledger_entry e WHERE e.event = {released} \
             AND NOT EXISTS (SELECT 1 FROM claim c WHERE c.request_id = e.exchange_id) \
             AND NOT EXISTS (SELECT 1 FROM ledger_entry w \
                 WHERE w.exchange_id = e.exchange_id AND w.event = {withheld})"
        ))
        .await?;
    Ok(books)
}

fn key(world: &World, participant: &str) -> anyhow::Result<VerifierKey> {
    let text = std::fs::read_to_string(world.folder("auditor").join("directory.jws"))?;
    let directory = unefois_jose::directory::verify(&text, &world.pin)?;
    let (_, log) = directory
        .log(&format!("{participant}/1"))
        .context("the log is not in the directory")?;
    Ok(log.vkey.parse()?)
}

/// A database read after its process has ended.
pub(crate) enum Database {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

impl Database {
    pub(crate) async fn open(url: &str) -> anyhow::Result<Self> {
        Ok(match url.starts_with("sqlite:") {
            true => Self::Sqlite(SqliteConnection::connect(url).await?),
            false => Self::Postgres(PgConnection::connect(url).await?),
        })
    }

    pub(crate) async fn entries(&mut self) -> anyhow::Result<Vec<Vec<u8>>> {
        const SQL: &str = "SELECT entry FROM ledger_entry ORDER BY idx";
        Ok(match self {
            Self::Postgres(c) => sqlx::query_scalar(SQL).fetch_all(c).await?,
            Self::Sqlite(c) => sqlx::query_scalar(SQL).fetch_all(c).await?,
        })
    }

    async fn count(&mut self, sql: &str) -> anyhow::Result<i64> {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        Ok(match self {
            Self::Postgres(c) => sqlx::query_scalar(sql).fetch_one(c).await?,
            Self::Sqlite(c) => sqlx::query_scalar(sql).fetch_one(c).await?,
        })
    }
}
