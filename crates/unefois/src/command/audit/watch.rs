//! `audit watch`: the entries of a participant's logs as they are committed, until it is interrupted.

use std::ops::ControlFlow;
use std::pin::pin;

use clap::Args;
use futures_util::future::try_join_all;
use tokio::signal::unix::{SignalKind, signal};
use unefois_auditor::{Row, Search as Query, watch};
use unefois_core::{EntryFilter, ParticipantId};

use super::Reader;
use super::filters::{Filters, participant};
use super::reader::{Log, Session};
use super::search::tell;
use super::words::Words;
use crate::command::runtime;
use crate::console::Console;
use crate::failure::{Failure, Kind};

/// `audit watch`.
#[derive(Debug, Args)]
pub struct Watch {
    /// The participant whose logs are watched: urn:unefois:participant:SIRET, or the SIRET alone.
    #[arg(value_parser = participant)]
    participant: ParticipantId,
    #[command(flatten)]
    filters: Filters,
    /// Begins at this place of the log; without it, with what comes from now on.
    #[arg(long, value_name = "INDEX")]
    since: Option<u64>,
    /// Ends after so many entries of each log.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Why it is asked: each log records it.
    #[arg(long, value_name = "TEXT", default_value = "")]
    motive: String,
    #[command(flatten)]
    reader: Reader,
}

/// Runs `audit watch`. Interrupted, it ends well.
pub fn run(asked: &Watch, console: Console) -> Result<(), Failure> {
    let session = asked.reader.open()?;
    let filter = asked.filters.filter(session.edition())?;
    if filter.peer.is_some() {
        let why = "une réception n'est connue qu'après son entrée";
        return Err(Failure::new(Kind::Usage, "--peer ne va pas avec watch").because(why));
    }
    let logs = session.logs(&asked.participant)?;
    runtime()?.block_on(async {
        let stopped = |kind| {
            signal(kind)
                .map_err(|e| Failure::new(Kind::Bug, "le programme ne peut pas être arrêté").because(e))
        };
        let (mut interrupt, mut terminate) = (
            stopped(SignalKind::interrupt())?,
            stopped(SignalKind::terminate())?,
        );
        let watches = logs.iter().map(|log| one(asked, &session, log, &filter, console));
        let mut all = pin!(try_join_all(watches));
        tokio::select! {
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
            ended = &mut all => ended.map(drop),
        }
    })
}

async fn one(
    asked: &Watch,
    session: &Session,
    log: &Log,
    filter: &EntryFilter,
    console: Console,
) -> Result<(), Failure> {
    let words = Words(session.edition());
    let (mut written, mut rows) = (Ok(()), 0);
    session
        .read(log, async |channel| {
            let query = Query {
                origin: &log.origin,
                key: &log.key,
                known: None,
                filter,
                newest_first: false,
                limit: u64::MAX,
                size: None,
                purpose: &asked.motive,
            };
            let show = |row: Row| {
                written = tell(&row, log, words, console);
                rows += 1;
                match written.is_err() || Some(rows) == asked.limit {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            };
            let mut first = true;
            let seen = |head: unefois_auditor::KnownHead, _| {
                if std::mem::replace(&mut first, false) {
                    console.say(&format!(
                        "{} : {} entrées ; en attente (Ctrl-C pour finir)",
                        log.origin, head.size
                    ));
                }
            };
            watch(channel, &query, asked.since, show, seen).await
        })
        .await?;
    written
}
