//! `audit sample`: entries of a participant's logs that a seed and the signed head draw, so that nobody chooses them and
//! anybody draws them again.

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
use crate::failure::Failure;

/// `audit sample`.
#[derive(Debug, Args)]
pub struct Sample {
    /// The participant whose logs are drawn from: urn:unefois:participant:SIRET, or the SIRET alone.
    #[arg(value_parser = participant)]
    participant: ParticipantId,
    /// How many entries of each log.
    #[arg(long = "n", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    count: u32,
    /// What fixes the draw, with the head: a text agreed on before.
    #[arg(long, value_name = "TEXT")]
    seed: String,
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
    checkpoint: SignedCheckpoint,
    head: KnownHead,
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
    for log in session.logs(&asked.participant)? {
        let known = heads.known(&log.origin);
        let drawn = runtime.block_on(session.read(&log, async |channel| {
            let drawing = Drawing {
                asked,
                log: &log,
                channel,
            };
            drawing.draw(known).await
        }))?;
        heads.keep(&log.origin, drawn.head);
        let value = json!({"draw": {
            "origin": log.origin.as_str(), "size": drawn.head.size, "root": drawn.head.root.to_string(),
            "seed": asked.seed, "first": drawn.range.start, "end": drawn.range.end, "n": asked.count,
            "places": drawn.rows.iter().map(|row| row.index).collect::<Vec<_>>(),
            "checkpoint": drawn.checkpoint.as_str(),
        }});
        console.data(&value, || {
            format!(
                "{} : {} entrée(s) tirée(s) parmi les entrées {} à {} exclu\ntête de {} entrées, racine {}\ngraine : {}",
                log.origin,
                drawn.rows.len(),
                drawn.range.start,
                drawn.range.end,
                drawn.head.size,
                drawn.head.root,
                asked.seed
            )
        })?;
        for row in &drawn.rows {
            tell(row, &log, words, console)?;
        }
    }
    console.say(
        "Chacun refait ce tirage avec la graine et la tête ; chaque entrée est prouvée sous cette tête.",
    );
    match &asked.heads {
        Some(file) => heads.save(file),
        None => Ok(()),
    }
}

/// One log that is drawn from.
struct Drawing<'a> {
    asked: &'a Sample,
    log: &'a Log,
    channel: Channel,
}

impl Drawing<'_> {
    async fn draw(&self, known: Option<KnownHead>) -> Result<Drawn, Error> {
        let Self { asked, log, .. } = self;
        let (checkpoint, head) = present_head(self.channel.clone(), &log.origin, &log.key, known).await?;
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
