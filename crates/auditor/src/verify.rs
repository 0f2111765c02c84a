//! Whether a log holds, and how many entries of each event it has.

use std::collections::BTreeMap;

use tonic::transport::Channel;
use unefois_core::{Event, Micros};
use unefois_tlog::{Origin, VerifierKey};

use crate::read::{Asked, read_log};
use crate::{Error, KnownHead};

/// What a verified log holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogReport {
    /// The log.
    pub origin: Origin,
    /// The head that was verified, to be kept for the next time.
    pub head: KnownHead,
    /// How many entries of each event.
    pub events: BTreeMap<Event, u64>,
    /// When the first and the last entry were written.
    pub span: Option<(Micros, Micros)>,
}

/// Reads the whole log `origin` through `channel` as [`read_log`] does, and counts its entries.
///
/// `progress` is called after each page with the entries read and their total.
///
/// # Errors
/// The first thing that does not hold.
pub async fn verify_log(
    channel: Channel,
    origin: &Origin,
    key: &VerifierKey,
    known: Option<KnownHead>,
    progress: impl FnMut(u64, u64),
) -> Result<LogReport, Error> {
    let asked = Asked {
        known,
        ..Asked::all(origin, key)
    };
    let mut events = BTreeMap::new();
    let count = |visited: crate::Visited<'_>| {
        *events.entry(visited.entry.event).or_default() += 1;
        Ok(())
    };
    let read = read_log(channel, &asked, count, progress).await?;
    Ok(LogReport {
        origin: origin.clone(),
        head: read.head,
        events,
        span: read.span,
    })
}
