//! A database that has gone back: nodes hold the signed records that it has lost, and show them.
//!
//! A claim alone stops nobody. A message that a withdrawal key of the directory has signed, and that leads beyond this
//! database, proves that it has lost something: from then on this process mints and announces nothing more. What follows the
//! database's own head without a hole is written to it, each record under its own place, and a new start takes an epoch above
//! every one seen and waits, as every start does, until older leases are over.

use tonic::{Status, Streaming};
use unefois_core::revocation::{SignedRecords, beyond};
use unefois_jose::{PublicKey, VerifyingKey};
use unefois_proto::pb::revocation::v1 as pb;
use unefois_proto::pb::revocation::v1::watch_request::Message as Ask;
use unefois_proto::pb::revocation::v1::watch_response::Message as Tell;

use super::watch::{Reader, invalid, position, stale};
use super::*;
use crate::published::Edition;

/// How long a node may take to show what it holds.
const SHOWS_WITHIN: Duration = Duration::from_secs(10);
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
    /// A message leads beyond this database and does not follow what is known: older ones are held by nobody here.
    hole: bool,
}

impl Lost {
    const fn nothing(from: Head) -> Self {
        Self {
            from,
            reached: from,
            records: Vec::new(),
            epoch: from.epoch,
            hole: false,
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
            Err(_) => self.hole |= message.head.seq > self.from.seq,
        }
        self.epoch = self.epoch.max(message.head.epoch);
        true
    }

    const fn is_proved(&self) -> bool {
        self.epoch > self.from.epoch || !self.records.is_empty() || self.hole
    }

    /// Whether there is anything to write.
    pub(super) const fn teaches(&self) -> bool {
        !self.records.is_empty()
    }

    /// What follows without a hole: what is behind one is to be shown by others.
    pub(super) fn up_to_hole(self) -> Self {
        Self { hole: false, ..self }
    }
}

impl Reader {
    /// Asks a node that claims a later place to prove it, and takes up what it proves.
    pub(super) async fn relearn(&self, asked: &mut Streaming<pb::WatchRequest>) -> Result<(), Status> {
        let lost = self.lost(asked).await?;
        if lost.is_proved() {
            self.service.revocation.take_up(lost).await;
        }
        Err(stale())
    }

    /// What a node proves that this database has lost.
    pub(super) async fn lost(&self, asked: &mut Streaming<pb::WatchRequest>) -> Result<Lost, Status> {
        let from = *self.service.revocation.head.borrow();
        let wanted = pb::Wanted {
            after: Some(position(&from)),
        };
        self.tell(Tell::Wanted(wanted)).await?;
        let shown = tokio::time::timeout(SHOWS_WITHIN, self.shown(asked, from)).await;
        shown.map_err(|_| stale())?
    }

    async fn shown(&self, asked: &mut Streaming<pb::WatchRequest>, from: Head) -> Result<Lost, Status> {
        let mut lost = Lost::nothing(from);
        for _ in 0..MAX_MESSAGES {
            let Some(message) = asked.message().await? else {
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
        Ok(lost)
    }
}

fn key(edition: &Edition, kid: &str) -> Option<VerifyingKey> {
    let keys = &edition.directory.authority().withdrawal_keys;
    let jwk = keys.iter().find(|jwk| jwk.kid() == kid)?;
    PublicKey::from_point(&jwk.sec1()).ok().map(VerifyingKey::new)
}

impl Revocation {
    /// Stops, and writes what was lost; the write goes on though the node has left.
    pub(super) async fn take_up(self: &Arc<Self>, lost: Lost) {
        match lost.hole {
            true => self.stop(
                "nodes hold signed withdrawals that this database has lost, and not all that came before them: \
                 a newer backup is needed",
            ),
            false => self.stop("nodes hold signed withdrawals that this database had lost: it is started again"),
        }
        let revocation = Arc::clone(self);
        let written = self.tasks.spawn(async move { revocation.append(&lost).await });
        match written.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(
                error = unefois_mesh::status::chain(&error),
                "the withdrawals that this database has lost are not written yet"
            ),
            Err(_) => tracing::error!("writing the withdrawals that this database has lost was cut off"),
        }
    }

    async fn append(&self, lost: &Lost) -> Result<(), Error> {
        let _one = self.writer.lock().await;
        let mut tx = self.db.begin().await?;
        if !store::relearn(&mut tx, self.epoch, &lost.from, &lost.records, lost.epoch).await? {
            return Err(Error::Superseded);
        }
        tx.commit().await?;
        tracing::warn!(
            records = lost.records.len(),
            seq = lost.reached.seq,
            epoch = lost.epoch,
            "withdrawals that this database had lost are in it again"
        );
        if !lost.hole {
            self.relearnt.cancel();
        }
        Ok(())
    }
}
