//! A database that has gone back: nodes hold the signed records that it has lost, and show them.
//!
//! A claim alone stops nobody. A message that a withdrawal key of the directory has signed, and that leads beyond this
//! database, proves that it has lost something: from then on this process mints and announces nothing more. What follows the
//! database's own head without a hole is written to it, each record under its own place, and the database is marked as one
//! that went back: a new start takes an epoch above every one seen, and waits for what all others know
//! ([`restored`](super::restored)).

use tonic::{Status, Streaming};
use unefois_core::revocation::{SignedRecords, beyond};
use unefois_jose::{PublicKey, VerifyingKey};
use unefois_proto::pb::revocation::v1 as pb;
use unefois_proto::pb::revocation::v1::watch_request::Message as Ask;
use unefois_proto::pb::revocation::v1::watch_response::Message as Tell;
use unefois_store::authority::restored::mark;

use super::watch::{Reader, invalid, position, stale};
use super::*;
use crate::published::Edition;

/// How long a node may take for its next message, and for all of them.
const NEXT_WITHIN: Duration = Duration::from_secs(10);
const SHOWS_WITHIN: Duration = Duration::from_secs(120);
/// How long to wait after a failure of the database.
const AGAIN: Duration = Duration::from_millis(500);
/// Messages that are read of one node.
const MAX_MESSAGES: usize = 10_000;
/// Largest message that is read, as gRPC bounds it here.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// What signed messages prove that this database has lost.
#[derive(Debug)]
pub(super) struct Lost {
    /// The head of this database.
    from: Head,
    /// The head after `records`.
    reached: Head,
    /// The records after `from`, without a hole.
    records: Vec<Record>,
    /// The highest epoch that was seen.
    epoch: u64,
    /// Where a message leads that goes beyond this database and does not follow what is known, the furthest: older ones are
    /// held by nobody here.
    hole: Option<Head>,
}

impl Lost {
    const fn nothing(from: Head) -> Self {
        Self {
            from,
            reached: from,
            records: Vec::new(),
            epoch: from.epoch,
            hole: None,
        }
    }

    /// Takes a message whose signature has been checked; whether it reads.
    fn take(&mut self, message: &SignedRecords) -> bool {
        if beyond(message, &message.from).is_err() || self.records.len() + message.records.len() > MAX_RECORDS
        {
            return false;
        }
        match beyond(message, &self.reached) {
            Ok(records) => {
                self.reached = records
                    .iter()
                    .fold(self.reached, |head, record| head.after(record));
                self.records.extend(records);
            }
            Err(_) if message.head.seq > self.hole.map_or(self.from.seq, |hole| hole.seq) => {
                self.hole = Some(message.head);
            }
            Err(_) => {}
        }
        self.epoch = self.epoch.max(message.head.epoch);
        true
    }

    const fn is_proved(&self) -> bool {
        self.epoch > self.from.epoch || !self.records.is_empty() || self.hole.is_some()
    }

    /// Whether it is proved still where the log has gone on since it was asked.
    fn is_beyond(&self, log: &Log) -> bool {
        let known = |head: &Head| log.passes(head);
        self.epoch > self.from.epoch || !known(&self.reached) || self.hole.is_some_and(|hole| !known(&hole))
    }

    /// Whether there is anything to write.
    pub(super) const fn teaches(&self) -> bool {
        !self.records.is_empty()
    }
}

impl Reader {
    /// Asks a node that claims a later place to prove it, and takes up what it proves.
    pub(super) async fn relearn(&self, asked: &mut Streaming<pb::WatchRequest>) -> Result<(), Status> {
        let lost = self.lost(asked).await?;
        let service = &self.service;
        service.revocation.take_up(lost, &service.shutdown).await;
        Err(stale())
    }

    /// What a node proves that this database has lost.
    pub(super) async fn lost(&self, asked: &mut Streaming<pb::WatchRequest>) -> Result<Lost, Status> {
        let from = *self.service.revocation.head.borrow();
        let wanted = pb::Wanted {
            after: Some(position(&from)),
        };
        self.tell(Tell::Wanted(wanted)).await?;
        let mut lost = Lost::nothing(from);
        let shown = tokio::time::timeout(SHOWS_WITHIN, self.shown(asked, &mut lost)).await;
        match shown.unwrap_or_else(|_| Err(stale())) {
            // What was proved stays so, however the rest went.
            Err(_) if lost.is_proved() => Ok(lost),
            shown => shown.map(|()| lost),
        }
    }

    async fn shown(&self, asked: &mut Streaming<pb::WatchRequest>, lost: &mut Lost) -> Result<(), Status> {
        for _ in 0..MAX_MESSAGES {
            let next = tokio::time::timeout(NEXT_WITHIN, asked.message()).await;
            let Some(message) = next.map_err(|_| stale())?? else {
                break;
            };
            let Some(Ask::Held(held)) = message.message else {
                return Err(invalid("message", "what was wanted"));
            };
            if held.jws.is_empty() {
                break;
            }
            let edition = self.service.published.edition();
            let verified = jws::verify(&held.jws, TYP, MAX_BYTES, |kid| key(&edition, &kid.to_string()));
            let message: SignedRecords = verified
                .and_then(|verified| verified.claims())
                .map_err(|_| invalid("held.jws", "signed with a withdrawal key of the directory"))?;
            if !lost.take(&message) {
                return Err(invalid("held.jws", "records that chain to their head"));
            }
        }
        Ok(())
    }
}

fn key(edition: &Edition, kid: &str) -> Option<VerifyingKey> {
    let keys = &edition.directory.authority().withdrawal_keys;
    let jwk = keys.iter().find(|jwk| jwk.kid() == kid)?;
    PublicKey::from_point(&jwk.sec1()).ok().map(VerifyingKey::new)
}

impl Revocation {
    /// Stops, and writes what was lost, where that is proved; the write goes on though the node has left, until it is done or
    /// `shutdown`.
    pub(super) async fn take_up(self: &Arc<Self>, lost: Lost, shutdown: &CancellationToken) {
        {
            // What was announced meanwhile, and shown back, is not lost.
            let state = self.state();
            if !lost.is_proved() || !lost.is_beyond(&state.log) {
                return;
            }
            self.stop(LOST);
        }
        let (revocation, shutdown) = (Arc::clone(self), shutdown.clone());
        let written = self.tasks.spawn(async move {
            let mut every = tokio::time::interval(AGAIN);
            loop {
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    _ = every.tick() => {}
                }
                match revocation.append(&lost).await {
                    // Where another process holds the epoch, a new start finds out what that one has learnt.
                    Ok(()) | Err(Error::Superseded) => return revocation.relearnt.cancel(),
                    Err(error) => tracing::error!(
                        error = unefois_mesh::status::chain(&error),
                        "the withdrawals that this database has lost are not written yet"
                    ),
                }
            }
        });
        if written.await.is_err() {
            tracing::error!("writing the withdrawals that this database has lost was cut off");
        }
    }

    async fn append(&self, lost: &Lost) -> Result<(), Error> {
        let _one = self.writer.lock().await;
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let (head, _) = store::log(&mut tx, lost.from.seq, lost.from.seq).await?;
        // A record that was written meanwhile is another history: what was shown cannot follow it.
        let records = match head == lost.from {
            true => &lost.records[..],
            false => &[],
        };
        if !store::relearn(&mut tx, self.epoch, &head, records, lost.epoch).await? {
            return Err(Error::Superseded);
        }
        if self.restored.is_none() {
            let cause = format!("shown beyond {}/{} at {}", head.epoch, head.seq, now.get());
            mark(&mut tx, &cause, now).await?;
        }
        tx.commit().await?;
        tracing::warn!(
            records = records.len(),
            shown = lost.records.len(),
            seq = lost.reached.seq,
            epoch = lost.epoch,
            "withdrawals that this database had lost are in it again"
        );
        Ok(())
    }
}
