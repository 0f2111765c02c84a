//! What a producer says of the releases that its counterparty's log does not show: its word, which nothing proves.

use std::collections::{BTreeMap, BTreeSet};

use unefois_auditor::reconcile::{Cause, Reconciliation};
use unefois_auditor::{Search, entries_at};
use unefois_core::EntryFilter;

use super::Heads;
use super::reader::{Log, Session};
use crate::console::Console;

/// The most places that one question names.
const AT_ONCE: usize = 1_000;

/// By log and place, whether the producer says that the consumer confirmed the release.
#[derive(Debug, Default)]
pub struct Acknowledged(BTreeMap<(String, u64), bool>);

impl Acknowledged {
    /// Asks each producer about its unconfirmed releases in `found`, up to 1,000 a log. What a producer does not answer stays
    /// unknown: it is no part of the proof.
    pub async fn ask(session: &Session, found: &Reconciliation, heads: &Heads, console: Console) -> Self {
        let mut places: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
        for finding in found.findings.iter().filter(|f| f.cause == Cause::Unconfirmed) {
            if let (Some(log), Some(producer)) = (&finding.producer_log, &finding.producer) {
                places.entry(log.to_string()).or_default().insert(producer.index);
            }
        }
        let mut told = Self::default();
        let logs = found
            .ends
            .iter()
            .flat_map(|end| session.logs(end).unwrap_or_default());
        for log in logs {
            let Some(places) = places.get(log.origin.as_str()) else {
                continue;
            };
            let places: Vec<u64> = places.iter().copied().take(AT_ONCE).collect();
            if let Err(failure) = told.take(session, &log, &places, heads).await {
                console.say(&format!("{} : {failure}", log.origin));
            }
        }
        told
    }

    async fn take(
        &mut self,
        session: &Session,
        log: &Log,
        places: &[u64],
        heads: &Heads,
    ) -> Result<(), crate::failure::Failure> {
        let filter = EntryFilter::default();
        let question = Search {
            origin: &log.origin,
            key: &log.key,
            known: heads.known(&log.origin),
            filter: &filter,
            newest_first: false,
            limit: places.len() as u64,
            size: None,
            purpose: "réceptions non confirmées",
        };
        let asked = session.read(log, async |channel| entries_at(channel, &question, places).await);
        let (rows, ..) = asked.await?;
        for row in rows {
            if let Some(confirmed) = row.acknowledged {
                self.0.insert((log.origin.to_string(), row.index), confirmed);
            }
        }
        Ok(())
    }

    /// What the producer says of the release at this place.
    pub fn of(&self, origin: &str, index: u64) -> Option<bool> {
        self.0.get(&(origin.to_owned(), index)).copied()
    }
}
