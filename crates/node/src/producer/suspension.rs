//! What the operator has suspended: read from the database that its replicas share, so that it needs no authority, holds
//! over restarts and is followed by each replica within half a second.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use unefois_core::{
    Boot, Clock, DatatypeFilter, DatatypeRev, Entry, Event, HabilitationId, Micros, ParticipantId,
};
use unefois_ledger::{Draft, Ledger};
use unefois_mesh::status;
use unefois_store::Db;
use unefois_store::node::suspension::{
    Said, SuspensionKind, SuspensionRow, suspension_said, suspensions, suspensions_unsaid,
};

/// How long what was read is relied on; a call that comes later reads again.
const RELIED_ON_US: i64 = 500_000;
/// How often it is looked for what the log has not said yet.
const LOOK: Duration = Duration::from_millis(250);

/// When it is tried again after a failure.
const RETRY: Duration = Duration::from_secs(5);

/// What a call is judged by.
pub(super) struct Asked<'a> {
    /// The consumer.
    pub(super) consumer: &'a ParticipantId,
    /// The publisher that acts for it.
    pub(super) publisher: Option<&'a ParticipantId>,
    /// What is asked for.
    pub(super) datatype: &'a DatatypeRev,
    /// By which right.
    pub(super) habilitation: &'a HabilitationId,
}

/// What is suspended at present.
#[derive(Debug)]
pub(crate) struct Suspensions {
    db: Db,
    clock: Arc<dyn Clock>,
    read: ArcSwapOption<Read>,
    reading: Mutex<()>,
}

#[derive(Debug)]
struct Read {
    at: Boot,
    rows: Vec<SuspensionRow>,
}

impl Suspensions {
    /// Those of the node whose database this is.
    pub(crate) fn new(db: Db, clock: Arc<dyn Clock>) -> Self {
        Self {
            db,
            clock,
            read: ArcSwapOption::empty(),
            reading: Mutex::new(()),
        }
    }

    /// Whether anything suspended covers the call.
    ///
    /// # Errors
    /// What is suspended cannot be read: nothing may be answered then.
    pub(super) async fn covers(&self, asked: &Asked<'_>, now: Micros) -> Result<bool, unefois_store::Error> {
        let read = self.current().await?;
        Ok(read.rows.iter().any(|row| row.holds(now) && covers(row, asked)))
    }

    async fn current(&self) -> Result<Arc<Read>, unefois_store::Error> {
        if let Some(read) = self.recent() {
            return Ok(read);
        }
        let _one = self.reading.lock().await;
        if let Some(read) = self.recent() {
            return Ok(read);
        }
        // The instant before the reading: a row written meanwhile may be missing.
        let at = self.clock.boottime();
        let rows = suspensions(&self.db, self.clock.now()).await?;
        let read = Arc::new(Read { at, rows });
        self.read.store(Some(Arc::clone(&read)));
        Ok(read)
    }

    fn recent(&self) -> Option<Arc<Read>> {
        let read = self.read.load_full()?;
        (self.clock.boottime().micros_since(read.at) < RELIED_ON_US).then_some(read)
    }
}

fn covers(row: &SuspensionRow, asked: &Asked<'_>) -> bool {
    match row.kind {
        SuspensionKind::Peer => [Some(asked.consumer), asked.publisher]
            .into_iter()
            .flatten()
            .any(|id| id.to_string() == row.key),
        // What does not read covers everything: it was written to stop something.
        SuspensionKind::Datatype => (row.key.parse()).map_or(true, |filter: DatatypeFilter| match filter {
            DatatypeFilter::Any(id) => id == *asked.datatype.id(),
            DatatypeFilter::Revision(rev) => rev == *asked.datatype,
        }),
        SuspensionKind::Habilitation => asked.habilitation.as_str() == row.key,
    }
}

/// Writes into the log what it has not said yet of suspensions, until `shutdown`: an entry `admin` each for a beginning and
/// for an end before its time. A stop between the entry and its note writes it twice.
pub(crate) async fn record(db: Db, ledger: Ledger, participant: ParticipantId, shutdown: CancellationToken) {
    let origin = ledger.origin().to_string();
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = look.tick() => {}
        }
        if let Err(error) = record_unsaid(&db, &ledger, participant, &origin).await {
            tracing::error!(error, "a suspension is not recorded yet");
            look.reset_after(RETRY);
        }
    }
}

async fn record_unsaid(
    db: &Db,
    ledger: &Ledger,
    participant: ParticipantId,
    origin: &str,
) -> Result<(), String> {
    let failed = |error: unefois_store::Error| status::chain(&error);
    for (row, said) in suspensions_unsaid(db, origin).await.map_err(failed)? {
        let draft = draft(&row, said, participant);
        ledger
            .append(draft)
            .await
            .map_err(|error| status::chain(&error))?;
        let mut tx = db.begin().await.map_err(failed)?;
        suspension_said(&mut tx, &row.id, origin, said)
            .await
            .map_err(failed)?;
        tx.commit().await.map_err(failed)?;
        tracing::warn!(kind = ?row.kind, key = row.key, ?said, "suspension recorded");
    }
    Ok(())
}

fn draft(row: &SuspensionRow, said: Said, participant: ParticipantId) -> Draft {
    // The sequencer sets the instant.
    let mut entry = Entry::new(Event::Admin, Micros::new(0));
    entry.provider = Some(participant);
    match row.kind {
        SuspensionKind::Peer => entry.requester = row.key.parse().ok(),
        SuspensionKind::Datatype => entry.datatype = row.key.parse().ok(),
        SuspensionKind::Habilitation => entry.habilitation = row.key.parse().ok(),
    }
    let evidence = serde_json::json!({
        "what": match said { Said::Began => "suspended", Said::Ended => "suspension ended" },
        "kind": match row.kind {
            SuspensionKind::Peer => "peer",
            SuspensionKind::Datatype => "datatype",
            SuspensionKind::Habilitation => "habilitation",
        },
        "key": row.key,
        "reason": match (&said, &row.ended) { (Said::Ended, Some((_, why))) => why, _ => &row.reason },
        "began_at": row.began_at.to_rfc3339(),
        "until": row.ends_at.to_rfc3339(),
        "ended_at": row.ended.as_ref().map(|(at, _)| at.to_rfc3339()),
    });
    Draft::new(entry).evidence(evidence.to_string().into_bytes())
}
