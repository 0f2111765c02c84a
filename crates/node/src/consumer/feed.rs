//! What the authority says of this node's own grants, and of those of the bodies that it hosts: one stream, opened again
//! whenever it ends, from the place where it ended.
//!
//! Without it nothing is released that should not be: producers refuse. It lets a back-office know at once, drops what
//! the node holds in vain, and drops an answer that is on its way.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use unefois_core::revocation::{Record, Withdrawal};
use unefois_core::{AccessTokenClaims, Boot, Handle, ParticipantId, Random, RevocationView, WithdrawnBy};
use unefois_mesh::status;
use unefois_proto::OwnRecords;
use unefois_proto::pb::revocation::v1 as pb;
use unefois_proto::pb::revocation::v1::revocation_service_client::RevocationServiceClient;
use unefois_proto::pb::revocation::v1::watch_request::Message as Ask;
use unefois_proto::pb::revocation::v1::watch_response::Message as Told;
use unefois_store::node::feed::{feed_advance, feed_place};
use unefois_store::node::grant::{ElementState, element_find, grant_find};

use super::notice::Ended;
use super::rest::Purpose;
use super::{Consumer, Error, Inner};

/// How long to wait before the stream is opened again.
const REOPEN: Duration = Duration::from_millis(500);
/// How often the place reached is asked for.
const PING_EVERY: Duration = Duration::from_secs(10);
/// Unanswered pings after which the stream is given up.
const MAX_SILENT: u32 = 3;
const DEADLINE: Duration = Duration::from_secs(5);
const QUEUE: usize = 4;
/// How long a record that names no handle is remembered: a token lives 300 s, a Fetch under it a little longer.
const REMEMBERED_MS: i64 = 15 * 60_000;

/// What this process was told.
#[derive(Debug, Default)]
pub(super) struct Feed {
    /// Up to where, and by which authority.
    place: Mutex<Option<(ParticipantId, RevocationView)>>,
    /// Records that name no handle, and when they came.
    wide: Mutex<Vec<(Record, Boot)>>,
}

impl Feed {
    /// Whether the authority ended this token by a record that names no handle.
    pub(super) fn kills(&self, token: &AccessTokenClaims, kid: &str) -> bool {
        self.wide().iter().any(|(record, _)| record.kills(token, kid))
    }

    fn remember(&self, record: &Record, now: Boot) {
        let mut wide = self.wide();
        wide.retain(|(_, heard)| now <= heard.plus_ms(REMEMBERED_MS));
        wide.push((record.clone(), now));
    }

    fn wide(&self) -> MutexGuard<'_, Vec<(Record, Boot)>> {
        self.wide.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The place, as far as this process knows it.
    fn place(&self, authority: &ParticipantId) -> Option<RevocationView> {
        let place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        place.filter(|(of, _)| of == authority).map(|(_, place)| place)
    }

    fn reached(&self, authority: ParticipantId, place: RevocationView) {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = Some((authority, place));
    }
}

impl Consumer {
    /// Keeps the stream of withdrawals, and gives the notices that fall due by the clock, for this participant and for
    /// those `hosted`, until `shutdown`.
    pub async fn follow(self, hosted: Vec<Self>, shutdown: CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.inner.keep_feed(&hosted) => {}
            () = self.inner.give_notices() => {}
        }
    }
}

impl Inner {
    async fn keep_feed(&self, hosted: &[Consumer]) {
        let mut reopen = tokio::time::interval(REOPEN);
        reopen.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = false;
        loop {
            reopen.tick().await;
            // Once for each time that it worked, so that an authority that is away fills no log.
            if let Err(error) = self.stream(hosted, &mut told).await
                && !std::mem::replace(&mut told, true)
            {
                tracing::warn!(
                    error = status::chain(&error),
                    "the stream of own withdrawals ended"
                );
            }
        }
    }

    /// One stream, until it ends.
    async fn stream(&self, hosted: &[Consumer], told: &mut bool) -> Result<(), Status> {
        let target = self.directory.authority();
        let target =
            target.ok_or_else(|| Status::unavailable("the directory names no address of the authority"))?;
        let authority = target.peer;
        let mut place = match self.feed.place(&authority) {
            Some(place) => place,
            None => feed_place(&self.db, &authority)
                .await
                .map_err(|error| status::internal(&error))?
                .unwrap_or(RevocationView::NONE),
        };
        let mut client = RevocationServiceClient::new(self.connector.channel(&target, DEADLINE));
        let (ask, asked) = mpsc::channel(QUEUE);
        let open = pb::Open {
            origin: String::new(),
            boot: 0,
            position: Some(pb::Position {
                epoch: place.epoch,
                seq: place.seq,
                chain: Vec::new(),
            }),
            takes_ahead: true,
        };
        send(&ask, Ask::Open(open)).await?;
        let mut answers = client.watch(ReceiverStream::new(asked)).await?.into_inner();
        let mut ping = tokio::time::interval(PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut silent = 0;
        loop {
            let answer = tokio::select! {
                _ = ping.tick() => {
                    silent += 1;
                    if silent > MAX_SILENT {
                        return Err(Status::unavailable("the authority is silent"));
                    }
                    send(&ask, Ask::Ping(self.ping())).await?;
                    continue;
                }
                answer = answers.message() => answer?,
            };
            silent = 0;
            let reached = match answer.and_then(|answer| answer.message) {
                Some(Told::ConsumerRecords(records)) => {
                    let records = OwnRecords::try_from(records)
                        .map_err(|error| Status::invalid_argument(error.to_string()))?;
                    follows(place, records.after, records.reached)?;
                    self.apply(hosted, &authority, &records)
                        .await
                        .map_err(|error| Status::internal(status::chain(&error)))?;
                    *told = false;
                    records.reached
                }
                Some(Told::Pong(pong)) => {
                    let head = pong.head.unwrap_or_default();
                    let reached = RevocationView {
                        epoch: head.epoch,
                        seq: head.seq,
                    };
                    follows(place, place.seq, reached)?;
                    if reached != place {
                        self.advance(&authority, reached)
                            .await
                            .map_err(|error| status::internal(&error))?;
                    }
                    reached
                }
                Some(Told::Snapshot(_) | Told::Batch(_) | Told::Wanted(_)) => {
                    return Err(Status::invalid_argument(
                        "a consumer is told of its own records alone",
                    ));
                }
                None => return Err(Status::unavailable("the authority ended the stream")),
            };
            place = reached;
            self.feed.reached(authority, place);
        }
    }

    fn ping(&self) -> pb::Ping {
        pb::Ping {
            nonce: u64::from_be_bytes((&self.random as &dyn Random).bytes()),
            log_size: 0,
            log_root: Vec::new(),
        }
    }

    /// Ends what the records withdraw, with the place that they lead to: both or neither. What is ahead of that place comes
    /// again: whatever ended before stays as it is.
    async fn apply(
        &self,
        hosted: &[Consumer],
        authority: &ParticipantId,
        records: &OwnRecords,
    ) -> Result<(), Error> {
        let now = self.clock.boottime();
        let mut ended = Vec::new();
        let told = || records.records.iter().chain(&records.ahead);
        for own in told() {
            self.tokens.forget_killed(&own.record);
            let Withdrawal::Grant(handle) = &own.record.withdrawal else {
                tracing::warn!(withdrawal = ?own.record.withdrawal, "tokens of this node were withdrawn");
                self.feed.remember(&own.record, now);
                continue;
            };
            ended.push(Ended {
                handle: self.rest.name(Purpose::Handle, handle.as_bytes()),
                state: match own.by {
                    Some(WithdrawnBy::Consumer) => ElementState::GivenBack,
                    Some(WithdrawnBy::Narrowed) => ElementState::Narrowed,
                    Some(
                        WithdrawnBy::Person
                        | WithdrawnBy::CodeReuse
                        | WithdrawnBy::Unrecorded
                        | WithdrawnBy::Opposition
                        | WithdrawnBy::Mandate
                        | WithdrawnBy::Mandator,
                    )
                    | None => ElementState::Withdrawn,
                },
                at: own.record.at,
            });
        }
        self.end(ended, Some((authority, records.reached))).await?;
        for own in told() {
            if let (Withdrawal::Grant(handle), Some(WithdrawnBy::Narrowed)) = (&own.record.withdrawal, own.by)
                && let Err(error) = self.learn_follower_of(hosted, handle).await
            {
                // The next call under the old handle asks again.
                tracing::warn!(
                    error = status::chain(&error),
                    "what follows a narrowed grant is not known yet"
                );
            }
        }
        Ok(())
    }

    /// Learns what follows a narrowed element, in the name of whoever holds it; nothing where nobody does.
    async fn learn_follower_of(&self, hosted: &[Consumer], handle: &Handle) -> Result<(), Error> {
        let name = self.rest.name(Purpose::Handle, handle.as_bytes());
        let Some(element) = element_find(&self.db, &name).await? else {
            return Ok(());
        };
        let Some(grant) = grant_find(&self.db, &element.grant).await? else {
            return Ok(());
        };
        let all = std::iter::once(self).chain(hosted.iter().map(|consumer| &*consumer.inner));
        match all.into_iter().find(|one| one.tenant() == grant.tenant) {
            Some(holder) => {
                holder.admitted()?;
                holder.learn_follower(handle).await
            }
            None => Ok(()),
        }
    }

    async fn advance(
        &self,
        authority: &ParticipantId,
        place: RevocationView,
    ) -> Result<(), unefois_store::Error> {
        let mut tx = self.db.begin().await?;
        feed_advance(&mut tx, authority, place).await?;
        tx.commit().await
    }
}

/// Whether what begins after number `after` and leads to `reached` follows `place`. Where it does not, something is
/// missing or comes twice: the stream is opened again at `place`.
fn follows(place: RevocationView, after: u64, reached: RevocationView) -> Result<(), Status> {
    if after != place.seq {
        return Err(Status::invalid_argument(
            "the records do not follow the ones already known",
        ));
    }
    match reached.epoch >= place.epoch && reached.seq >= place.seq {
        true => Ok(()),
        false => Err(Status::invalid_argument(
            "the authority is behind what this node already knew",
        )),
    }
}

async fn send(ask: &mpsc::Sender<pb::WatchRequest>, message: Ask) -> Result<(), Status> {
    let message = pb::WatchRequest {
        message: Some(message),
    };
    ask.send(message)
        .await
        .map_err(|_| Status::unavailable("the stream of own withdrawals is closed"))
}
