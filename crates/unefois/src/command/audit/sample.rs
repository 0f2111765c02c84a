//! `audit sample`: entries of a participant's logs that a seed and a signed head draw, so that anybody draws them again;
//! nobody chooses them where the head is fixed before the seed.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use tonic::transport::Channel;
use unefois_auditor::sample::{MAX_DRAWN, draw};
use unefois_auditor::{Error, KnownHead, Row, Search as Query, entries_at, present_head, search};
use unefois_core::{EntryFilter, Micros, ParticipantId};
use unefois_tlog::SignedCheckpoint;

use super::filters::participant;
use super::period::Period;
use super::reader::Log;
use super::search::tell;
use super::words::Words;
use super::{Heads, Reader};
use crate::command::runtime;
use crate::console::Console;
use crate::failure::{Failure, Kind};

/// `audit sample`.
#[derive(Debug, Args)]
pub struct Sample {
    /// The participant whose logs are drawn from: urn:unefois:participant:SIRET, or the SIRET alone.
    #[arg(value_parser = participant)]
    participant: ParticipantId,
    /// How many entries of each log.
    #[arg(long = "n", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    count: u32,
    /// What fixes the draw, with the head: a text that nobody knows before the head is fixed, such as the result of a
    /// public lottery held later. Whoever writes the log and knows the seed before the head chooses the draw.
    #[arg(long, value_name = "TEXT")]
    seed: String,
    /// The head that is drawn from: a signed checkpoint of the log, as published or cosigned before the seed was chosen.
    /// Once for each log. Without it the present head is drawn from, which a log's owner who knows the seed can choose.
    #[arg(long, value_name = "FILE")]
    head: Vec<PathBuf>,
    #[command(flatten)]
    period: Period,
    /// Why it is asked: each log records it.
    #[arg(long, value_name = "TEXT", default_value = "")]
    motive: String,
    /// Where the heads that were verified are kept, as for `audit verify`.
    #[arg(long, value_name = "FILE")]
    heads: Option<PathBuf>,
    #[command(flatten)]
    reader: Reader,
}

/// What was drawn, and its proof.
struct Drawn {
    /// The head that was drawn from.
    checkpoint: SignedCheckpoint,
    head: KnownHead,
    /// The present one, which continues it.
    present: KnownHead,
    range: Range<u64>,
    rows: Vec<Row>,
}

/// Runs `audit sample`.
pub fn run(asked: &Sample, console: Console) -> Result<(), Failure> {
    let mut heads = match &asked.heads {
        Some(file) => Heads::load(file)?,
        None => Heads::default(),
    };
    let session = asked.reader.open()?;
    let words = Words(session.edition());
    let runtime = runtime()?;
    let logs = session.logs(&asked.participant)?;
    let fixed = fixed(&asked.head, &logs)?;
    for log in logs {
        let known = heads.known(&log.origin);
        let fixed = fixed.get(log.origin.as_str());
        let drawn = runtime.block_on(session.read(&log, async |channel| {
            let drawing = Drawing {
                asked,
                log: &log,
                channel,
            };
            drawing.draw(known, fixed).await
        }))?;
        heads.keep(&log.origin, drawn.present);
        let value = json!({"draw": {
            "origin": log.origin.as_str(), "size": drawn.head.size, "root": drawn.head.root.to_string(),
            "seed": asked.seed, "first": drawn.range.start, "end": drawn.range.end, "n": asked.count,
            "places": drawn.rows.iter().map(|row| row.index).collect::<Vec<_>>(),
            "checkpoint": drawn.checkpoint.as_str(), "head_given": fixed.is_some(),
        }});
        console.data(&value, || {
            format!(
                "{} : {} entrée(s) tirée(s) parmi les entrées {} à {} exclu\ntête de {} entrées, racine {} ({})\n\
                 graine : {} (à choisir après la tête : qui écrit le registre et la connaît avant choisit le tirage)",
                log.origin,
                drawn.rows.len(),
                drawn.range.start,
                drawn.range.end,
                drawn.head.size,
                drawn.head.root,
                if fixed.is_some() { "donnée par --head" } else { "présente : fixée après la graine" },
                asked.seed
            )
        })?;
        for row in &drawn.rows {
            tell(row, &log, words, console)?;
        }
    }
    console.say(
        "Chacun refait ce tirage avec la graine et la tête ; chaque entrée est prouvée sous cette tête. Personne ne l'a choisi \
         si la tête était fixée avant la graine.",
    );
    match &asked.heads {
        Some(file) => heads.save(file),
        None => Ok(()),
    }
}

/// The heads of `files`, by the origin of their log, each signed by its key; of all of `logs`, or none.
fn fixed(
    files: &[PathBuf],
    logs: &[Log],
) -> Result<BTreeMap<String, (SignedCheckpoint, KnownHead)>, Failure> {
    let mut heads = BTreeMap::new();
    for file in files {
        let wrong = |what: &str| Failure::new(Kind::Data, format!("{} : {what}", file.display()));
        let bytes = std::fs::read(file).map_err(|e| {
            Failure::new(Kind::NoInput, format!("{} n'est pas lu", file.display())).because(e)
        })?;
        let malformed = |e| wrong("ce n'est pas une tête signée de ce registre").because(e);
        let signed = SignedCheckpoint::parse(&bytes).map_err(malformed)?;
        let log = logs.iter().find(|log| log.origin == *signed.claimed_origin());
        let log = log.ok_or_else(|| wrong("cette tête n'est d'aucun registre de ce participant"))?;
        let head = KnownHead::from(signed.verify(&log.key).map_err(malformed)?);
        if heads.insert(log.origin.to_string(), (signed, head)).is_some() {
            return Err(wrong("ce registre a déjà une tête par --head"));
        }
    }
    let missing = logs.iter().find(|log| !heads.contains_key(log.origin.as_str()));
    match missing {
        Some(log) if !heads.is_empty() => Err(Failure::new(
            Kind::Usage,
            format!("--head manque pour le registre {}", log.origin),
        )),
        Some(_) | None => Ok(heads),
    }
}

/// One log that is drawn from.
struct Drawing<'a> {
    asked: &'a Sample,
    log: &'a Log,
    channel: Channel,
}

impl Drawing<'_> {
    async fn draw(
        &self,
        known: Option<KnownHead>,
        fixed: Option<&(SignedCheckpoint, KnownHead)>,
    ) -> Result<Drawn, Error> {
        let Self { asked, log, .. } = self;
        let continued = async |head| present_head(self.channel.clone(), &log.origin, &log.key, head).await;
        let (checkpoint, present) = continued(known).await?;
        let (checkpoint, head) = match fixed {
            Some((checkpoint, head)) => {
                continued(Some(*head)).await?;
                (checkpoint.clone(), *head)
            }
            None => (checkpoint, present),
        };
        let start = match asked.period.from {
            Some(from) => self.boundary(from, head).await?,
            None => 0,
        };
        let end = match asked.period.to {
            Some(to) => self.boundary(to, head).await?,
            None => head.size,
        };
        let range = start..end.max(start);
        let count = usize::try_from(asked.count).unwrap_or(MAX_DRAWN);
        let places = draw(&asked.seed, &log.origin, head, range.clone(), count);
        let rows = match places.is_empty() {
            true => Vec::new(),
            false => self.entries(&places, head).await?,
        };
        Ok(Drawn {
            checkpoint,
            head,
            present,
            range,
            rows,
        })
    }

    /// The place of the first entry that is not before `at`, seen from the entries on both sides of it: in a log that
    /// verifies, instants never decrease.
    async fn boundary(&self, at: Micros, head: KnownHead) -> Result<u64, Error> {
        let filter = EntryFilter {
            from: Some(at),
            ..EntryFilter::default()
        };
        let mut found = None;
        let first = |row: Row| {
            found = Some(row.index);
            ControlFlow::Break(())
        };
        let query = Query {
            limit: 1,
            ..self.query(&filter, head)
        };
        search(self.channel.clone(), &query, first, |_| {}).await?;
        let place = found.unwrap_or(head.size);
        if let Some(before) = place.checked_sub(1) {
            let rows = self.entries(&[before], head).await?;
            if rows.iter().any(|row| row.entry.at >= at) {
                return Err(Error::OutOfOrder { index: before });
            }
        }
        Ok(place)
    }

    async fn entries(&self, places: &[u64], head: KnownHead) -> Result<Vec<Row>, Error> {
        let any = EntryFilter::default();
        let query = self.query(&any, head);
        let (rows, ..) = entries_at(self.channel.clone(), &query, places).await?;
        Ok(rows)
    }

    fn query<'q>(&'q self, filter: &'q EntryFilter, head: KnownHead) -> Query<'q> {
        Query {
            origin: &self.log.origin,
            key: &self.log.key,
            known: Some(head),
            filter,
            newest_first: false,
            limit: u64::MAX,
            size: Some(head.size),
            purpose: &self.asked.motive,
        }
    }
}
