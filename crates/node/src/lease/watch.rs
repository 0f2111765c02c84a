//! The task that keeps the lease: one stream to the authority, opened again whenever it ends.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use unefois_core::revocation::Head;
use unefois_core::{Entry, Event, Micros, Random, Reason, RevocationView, Sha256};
use unefois_ledger::{Draft, Ledger};
use unefois_mesh::{Connector, DirectoryFollower, metrics, status};
use unefois_proto::pb::revocation::v1 as pb;
use unefois_proto::pb::revocation::v1::revocation_service_client::RevocationServiceClient;
use unefois_proto::pb::revocation::v1::watch_request::Message as Ask;
use unefois_proto::pb::revocation::v1::watch_response::Message as Told;

use super::guard::Forbidden;
use super::{Due, Guard, Lease};

const PING_EVERY: Duration = Duration::from_millis(200);
/// How often a lapse is looked for beside the moment at which it is due: this process may have been stopped meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long to wait before the stream is opened again.
const REOPEN: Duration = Duration::from_millis(200);
const DEADLINE: Duration = Duration::from_secs(5);
/// Largest message of the authority.
const MAX_MESSAGE_BYTES: usize = super::MAX_RECORDS_BYTES + 1024;
const QUEUE: usize = 16;
/// Acknowledgements under way; no more records are read meanwhile.
const MAX_ACKNOWLEDGEMENTS: usize = 64;

/// What keeps a lease: the stream needs a ledger to acknowledge with, and to write lapses to.
#[derive(Debug)]
pub struct Keeper {
    /// The lease that is kept.
    pub lease: Arc<Lease>,
    /// What ends the answers that a withdrawal or a lapse forbids.
    pub guard: Arc<Guard>,
    /// Where `lapsed`, `resumed` and the applied view are written.
    pub ledger: Ledger,
    /// Who the authority is, and which keys sign withdrawals.
    pub directory: Arc<DirectoryFollower>,
    /// How it is reached.
    pub connector: Connector,
    /// Where the nonces of pings come from.
    pub random: Arc<dyn Random>,
}

impl Keeper {
    /// Keeps the lease until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.watch_lapses() => {}
            () = self.guard.run() => {}
            () = self.keep_streams() => {}
        }
    }

    /// Ends what is under way and writes `lapsed` as soon as a lapse is due; pings stay away until it is durable.
    async fn watch_lapses(&self) {
        let mut retry = tokio::time::interval(LOOK_EVERY);
        retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stale = metrics::meter()
            .f64_counter(metrics::REVOCATION_STALE_TIME)
            .with_unit("s")
            .build();
        let (mut looked, mut was_stale) = (self.lease.clock.boottime(), true);
        loop {
            self.lease.may_have_lapsed(LOOK_EVERY).await;
            let now = self.lease.clock.boottime();
            if was_stale {
                let micros = u32::try_from(now.micros_since(looked)).unwrap_or(u32::MAX);
                stale.add(f64::from(micros) / 1e6, &[]);
            }
            (looked, was_stale) = (now, self.lease.fresh().is_err());
            if self.lease.due() == Due::Lapsed {
                tracing::warn!("the withdrawal lease lapsed: nothing is released until it is fresh again");
                self.guard.reset_forbidden().over().await;
                if self.write(Event::Lapsed).await {
                    self.lease.lapse_recorded();
                } else {
                    retry.tick().await;
                }
            }
        }
    }

    async fn keep_streams(&self) {
        let mut reopen = tokio::time::interval(REOPEN);
        reopen.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = false;
        loop {
            reopen.tick().await;
            let ended = self.stream(&mut told).await;
            self.lease.stream_ended();
            // Once for each time that it worked, so that an authority that is away fills no log.
            if let Err(error) = ended
                && !std::mem::replace(&mut told, true)
            {
                tracing::warn!(error = status::chain(&error), "the stream of withdrawals ended");
            }
        }
    }

    /// One stream, until it ends.
    async fn stream(&self, told: &mut bool) -> Result<(), Status> {
        let authority = self.directory.authority();
        let authority = authority
            .ok_or_else(|| Status::unavailable("the directory names no address of the authority"))?;
        let mut client = RevocationServiceClient::new(self.connector.channel(&authority, DEADLINE))
            .max_decoding_message_size(MAX_MESSAGE_BYTES);
        let (ask, asked) = mpsc::channel(QUEUE);
        let head = self.ledger.head();
        let open = pb::Open {
            origin: self.ledger.origin().as_str().to_owned(),
            boot: head.epoch,
            position: Some(self.position(head.view)),
            takes_ahead: false,
        };
        send(&ask, Ask::Open(open)).await?;
        let mut answers = client.watch(ReceiverStream::new(asked)).await?.into_inner();

        let mut ping = tokio::time::interval(PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut snapshot = false;
        // Beside the pings: a consumer that holds one up ends no lease. In the order of the records: the authority takes an
        // acknowledgement for all before it.
        let mut acknowledgements = FuturesOrdered::new();
        loop {
            let answer = tokio::select! {
                _ = ping.tick(), if snapshot => {
                    self.ping(&ask).await?;
                    continue;
                }
                Some(written) = acknowledgements.next() => {
                    if let Some(acknowledgement) = written {
                        send(&ask, Ask::Acknowledgement(acknowledgement)).await?;
                    }
                    continue;
                }
                answer = answers.message(), if acknowledgements.len() < MAX_ACKNOWLEDGEMENTS => answer?,
            };
            let Some(answer) = answer else {
                return Err(Status::unavailable("the authority ended the stream"));
            };
            match answer.message {
                Some(Told::Snapshot(records)) => {
                    let (applied, ended) = self.apply(&records.jws)?;
                    acknowledgements.push_back(self.acknowledgement(applied, ended));
                    snapshot = true;
                    *told = false;
                    // The first lease need not wait for the next tick.
                    ping.reset_immediately();
                }
                Some(Told::Batch(records)) if snapshot => {
                    let (applied, ended) = self.apply(&records.jws)?;
                    acknowledgements.push_back(self.acknowledgement(applied, ended));
                }
                Some(Told::Pong(pong)) if snapshot => self.pong(&pong).await?,
                Some(Told::Batch(_) | Told::Pong(_)) | None => {
                    return Err(Status::invalid_argument("a snapshot comes first"));
                }
                Some(Told::Wanted(wanted)) if !snapshot => self.show(&wanted, &ask).await?,
                Some(Told::Wanted(_)) => {
                    return Err(Status::invalid_argument(
                        "what is wanted comes before the snapshot",
                    ));
                }
                Some(Told::ConsumerRecords(_)) => {
                    return Err(Status::invalid_argument("a lease rests on signed records"));
                }
            }
        }
    }

    /// Applies records: the guard is shut for what they withdraw, and the answers under way that they forbid are reset at
    /// once. An answer to a ping that names them may make the lease longer from now on, so it must not be before.
    fn apply(&self, jws: &str) -> Result<(Head, Forbidden), Status> {
        let applied = self
            .lease
            .apply(jws, &self.directory.edition())
            .map_err(refused)?;
        Ok((applied, self.guard.reset_forbidden()))
    }

    /// Writes the view down and waits for the answers that were reset: after that no release under an older view is in this
    /// log at or beyond the size told, and no byte of such a release can be sent. `None` where the outcome of the writing is
    /// unknown: then the authority's deadline counts.
    async fn acknowledgement(&self, applied: Head, ended: Forbidden) -> Option<pb::Acknowledgement> {
        let (written, ()) = tokio::join!(self.ledger.observe(applied.view()), ended.over());
        match written {
            Ok(head) => Some(pb::Acknowledgement {
                position: Some(position(&applied)),
                checkpoint: head.checkpoint.as_str().to_owned(),
            }),
            Err(error) => {
                tracing::error!(
                    error = status::chain(&error),
                    "the view of withdrawals was not written down"
                );
                None
            }
        }
    }

    /// Shows an authority that has gone back what it has lost.
    async fn show(&self, wanted: &pb::Wanted, ask: &mpsc::Sender<pb::WatchRequest>) -> Result<(), Status> {
        let after = wanted.after.clone().unwrap_or_default();
        let held = self.lease.held_beyond(RevocationView {
            epoch: after.epoch,
            seq: after.seq,
        });
        tracing::warn!(
            messages = held.len(),
            "the authority has lost withdrawals; it is shown those that this node has applied"
        );
        let texts = held.iter().map(ToString::to_string);
        for jws in texts.chain([String::new()]) {
            send(ask, Ask::Held(pb::SignedRecords { jws })).await?;
        }
        Ok(())
    }

    async fn ping(&self, ask: &mpsc::Sender<pb::WatchRequest>) -> Result<(), Status> {
        let nonce = u64::from_be_bytes(self.random.bytes());
        let lease_ms = self.directory.edition().directory.lease_ms();
        if self.lease.ping(nonce, lease_ms).is_none() {
            return Ok(());
        }
        let head = self.ledger.head();
        let ping = pb::Ping {
            nonce,
            log_size: head.size,
            log_root: head.root.as_bytes().to_vec(),
        };
        send(ask, Ask::Ping(ping)).await
    }

    async fn pong(&self, pong: &pb::Pong) -> Result<(), Status> {
        let said = pong.head.clone().unwrap_or_default();
        // No record yet: an empty chain is that of the empty log.
        let chain = match <[u8; 32]>::try_from(said.chain.as_slice()) {
            Ok(chain) => Sha256::from_bytes(chain),
            Err(_) if said.chain.is_empty() => Sha256::default(),
            Err(_) => return Err(Status::invalid_argument("a chain is 32 bytes")),
        };
        let head = Head {
            epoch: said.epoch,
            seq: said.seq,
            chain,
        };
        let fresh = self
            .lease
            .pong(pong.nonce, head, Micros::new(pong.server_time_us), pong.lease_ms)
            .map_err(refused)?;
        if fresh && (!self.lease.resumption_needed() || self.write(Event::Resumed).await) {
            self.lease.resumed();
        }
        Ok(())
    }

    /// Appends an entry of the lease; whether it is durable.
    async fn write(&self, event: Event) -> bool {
        // The sequencer sets the instant and the view.
        let mut entry = Entry::new(event, Micros::new(0));
        entry.directory_version = self.directory.edition().directory.version();
        if event == Event::Lapsed {
            entry.reason = Some(Reason::RevocationStateStale);
        }
        match self.ledger.append(Draft::new(entry)).await {
            Ok(_) => true,
            Err(error) => {
                tracing::error!(error = status::chain(&error), %event, "the lease's entry is not durable");
                false
            }
        }
    }

    fn position(&self, floor: RevocationView) -> pb::Position {
        let head = self.lease.head();
        match head.view() < floor {
            // An earlier start knew more than this one has applied.
            true => pb::Position {
                epoch: floor.epoch,
                seq: floor.seq,
                chain: Vec::new(),
            },
            false => position(&head),
        }
    }
}

fn position(head: &Head) -> pb::Position {
    pb::Position {
        epoch: head.epoch,
        seq: head.seq,
        chain: head.chain.as_bytes().to_vec(),
    }
}

async fn send(ask: &mpsc::Sender<pb::WatchRequest>, message: Ask) -> Result<(), Status> {
    let message = pb::WatchRequest {
        message: Some(message),
    };
    ask.send(message)
        .await
        .map_err(|_| Status::unavailable("the stream of withdrawals is closed"))
}

fn refused(error: super::NotApplied) -> Status {
    Status::failed_precondition(error.to_string())
}
