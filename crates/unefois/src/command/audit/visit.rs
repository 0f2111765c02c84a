//! Reading every log of a participant for what a command makes of its entries.

use std::path::PathBuf;

use clap::Args;
use unefois_auditor::{Asked, Error, ReadLog, Visited, read_log};
use unefois_core::ParticipantId;

use super::Heads;
use super::reader::{Log, Session};
use crate::console::Console;
use crate::failure::Failure;
use crate::progress::Progress;

/// Where verified heads are kept.
#[derive(Debug, Args)]
pub struct Kept {
    /// Where the heads that were verified are kept: each log must extend the one that was seen last. Made where it
    /// is missing; without it a log that was rolled back passes.
    #[arg(long, value_name = "FILE")]
    heads: Option<PathBuf>,
}

impl Kept {
    /// The heads kept.
    ///
    /// # Errors
    /// They do not read.
    pub fn load(&self) -> Result<Heads, Failure> {
        self.heads
            .as_deref()
            .map_or_else(|| Ok(Heads::default()), Heads::load)
    }

    /// Keeps `heads`.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn save(&self, heads: &Heads) -> Result<(), Failure> {
        self.heads.as_deref().map_or(Ok(()), |file| heads.save(file))
    }
}

/// What `take` made of every entry of every log of `participant`, beginning with `empty`; nothing of it is told before each
/// log was verified. A replica that breaks off is read anew elsewhere, from the state before it.
///
/// # Errors
/// A log cannot be read, does not hold, or is too much for what is made of it.
pub async fn visit<S: Clone>(
    session: &Session,
    participant: &ParticipantId,
    (kept, purpose): (&Kept, &str),
    empty: S,
    take: impl Fn(&mut S, &Log, Visited<'_>) -> Result<(), Error>,
    console: Console,
) -> Result<S, Failure> {
    let mut heads = kept.load()?;
    let (mut state, told) = (empty, Progress::new(console));
    for log in session.logs(participant)? {
        let (read, filled) = read(session, &log, &heads, purpose, &state, &take, &told).await?;
        heads.keep(&log.origin, read.head);
        state = filled;
    }
    kept.save(&heads)?;
    Ok(state)
}

async fn read<S: Clone>(
    session: &Session,
    log: &Log,
    heads: &Heads,
    purpose: &str,
    before: &S,
    take: &impl Fn(&mut S, &Log, Visited<'_>) -> Result<(), Error>,
    told: &Progress,
) -> Result<(ReadLog, S), Failure> {
    let asked = Asked {
        known: heads.known(&log.origin),
        purpose,
        ..Asked::all(&log.origin, &log.key)
    };
    session
        .read(log, async |channel| {
            let mut state = before.clone();
            let visit = |visited: Visited<'_>| take(&mut state, log, visited);
            let read = read_log(channel, &asked, visit, |read, size| {
                told.tell("lecture", read, size)
            })
            .await?;
            Ok((read, state))
        })
        .await
}
