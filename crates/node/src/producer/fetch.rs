//! The service on the wire.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, stream};
use tokio::sync::oneshot;
use tonic::metadata::{BinaryMetadataValue, MetadataMap};
use tonic::{Request, Response, Status};
use tracing::{Instrument as _, Span};
use unefois_core::{Boot, Outcome, ParticipantId, Random, Reason};
use unefois_jose::access_token::VerifiedToken;
use unefois_ledger::DurableReceipt;
use unefois_mesh::status::{self, Refusal};
use unefois_mesh::{Egress, Peer, spans};
use unefois_proto::FetchCall;
use unefois_proto::pb::exchange::v1 as pb;
use unefois_proto::pb::exchange::v1::exchange_service_server::ExchangeService;

use super::authorize::closed_until;
use super::release::{Decision, Released};
use super::resolve::wait_for_next_step;
use super::trail::Trail;
use super::{Inner, Producer, withdrawal};
use crate::Error;
use crate::error::retry_after;

/// Leaf hash of the entry that records a refusal, 32 bytes.
const ENTRY: &str = "unefois-entry-bin";
/// Origin of the log that holds it.
const ORIGIN: &str = "unefois-origin";
/// Calls of the datatype that the caller has left in this minute.
const QUOTA: &str = "unefois-quota-remaining";

/// Longest time for one call, where the caller sets no deadline.
const MOST: Duration = Duration::from_secs(10);
/// What recording a refusal may take: the call is given up this much before its caller stops waiting.
const RECORDING: Duration = Duration::from_millis(100);

/// Refusals a minute of a caller that has no quota at all.
const REFUSALS: u32 = 60;

type AnswerStream = Pin<Box<dyn Stream<Item = Result<pb::FetchResponse, Status>> + Send>>;

#[tonic::async_trait]
impl ExchangeService for Producer {
    async fn describe(
        &self,
        request: Request<pb::DescribeRequest>,
    ) -> Result<Response<pb::DescribeResponse>, Status> {
        let peer = Peer::of(&request)?;
        let caller = participant(&peer).map_err(|error| Status::from(error.to_refusal()))?;
        Ok(Response::new(self.inner.describe(caller)))
    }

    type FetchStream = AnswerStream;

    /// Answers one request. What leaves has a durable `released` entry (I1).
    async fn fetch(&self, request: Request<pb::FetchRequest>) -> Result<Response<AnswerStream>, Status> {
        let arrived = self.inner.clock.boottime();
        let caller = Caller {
            peer: Peer::of(&request)?,
            egress: Egress::of(&request),
        };
        let within = deadline(request.metadata());
        let message = request.into_inner();
        let (tell, told) = oneshot::channel();
        let inner = Arc::clone(&self.inner);
        let call = async move {
            // The caller may have left: what is decided is recorded all the same.
            let _gone = tell.send(inner.answer(message, caller, arrived, within).await);
        };
        self.inner.tasks.spawn(call.in_current_span());
        told.await
            .unwrap_or_else(|_| Err(Status::internal("internal error")))
    }
}

impl Inner {
    fn describe(&self, caller: ParticipantId) -> pb::DescribeResponse {
        let edition = self.directory.edition();
        let (now, boot) = (self.clock.now(), self.clock.boottime());
        let served = |datatype: &unefois_core::catalogue::Datatype| {
            let rev = datatype.rev();
            let per_minute = edition.directory.quota_per_minute(&caller, rev).unwrap_or(0);
            pb::ServedDatatype {
                datatype: rev.to_string(),
                quota_remaining: self
                    .quotas
                    .left(&(caller, rev.clone()), per_minute, boot)
                    .unwrap_or(0),
                closed_until: closed_until(&edition, &self.operator.participant, datatype, now).map(
                    |until| prost_types::Timestamp {
                        seconds: until.secs(),
                        nanos: 0,
                    },
                ),
            }
        };
        let datatypes = edition
            .catalogue
            .datatypes()
            .filter(|d| self.sources.contains_key(d.rev()));
        pb::DescribeResponse {
            datatypes: datatypes.map(served).collect(),
            directory_version: edition.directory.version(),
        }
    }

    /// One call, to its end.
    async fn answer(
        self: &Arc<Self>,
        message: pb::FetchRequest,
        Caller { peer, egress }: Caller,
        arrived: Boot,
        within: Duration,
    ) -> Result<Response<AnswerStream>, Status> {
        let caller = match participant(&peer) {
            Ok(caller) => caller,
            Err(error) => {
                // An auditor has no place in an entry of an exchange.
                self.ledger
                    .turned_away(Some(&peer.id.to_string()), error.reason());
                return Err(error.to_refusal().into());
            }
        };
        let mut trail = Trail::new(self.operator.participant, caller);
        if let Err(wait) = self
            .refused
            .left(&caller, self.refusals_a_minute(&caller), arrived)
        {
            let error = Error::Refused { wait };
            self.ledger.turned_away(Some(&caller.to_string()), error.reason());
            return Err(self.refusal(error.to_refusal(), &trail, None));
        }
        match self.decide(message, &peer, within, &mut trail).await {
            Ok(Ended::Answered(sending)) => {
                self.exchanges.ended(
                    trail.peer(),
                    trail.entry().datatype.as_ref(),
                    Outcome::Answered,
                    None,
                );
                Ok(sending.response(egress))
            }
            Ok(Ended::Refused(reason, receipt)) => {
                self.count_refusal(&caller);
                let mut refusal = Refusal::new(reason, "the release was not granted");
                refusal.retry_after = retry_after(reason);
                Err(self.refusal(refusal, &trail, Some(&receipt)))
            }
            Err(error) => {
                self.count_refusal(&caller);
                let status = self.refuse(&error, trail).await;
                if error.reason() == Reason::SubjectNotResolved {
                    wait_for_next_step(arrived, &*self.clock).await;
                }
                Err(status)
            }
        }
    }

    /// How often a caller may be refused in a minute: as often as it may be answered, and somewhat more.
    fn refusals_a_minute(&self, caller: &ParticipantId) -> u32 {
        let directory = &self.directory.edition().directory;
        let quotas = directory.document().quotas.iter().filter(|quota| {
            self.sources.contains_key(&quota.datatype) && directory.acts_for(caller, &quota.consumer)
        });
        quotas.fold(REFUSALS, |sum, quota| sum.saturating_add(quota.per_minute))
    }

    /// One refusal more. Calls under way may be refused beyond the rate; their number has a bound of its own.
    fn count_refusal(&self, caller: &ParticipantId) {
        let now = self.clock.boottime();
        let _over = self.refused.take(*caller, self.refusals_a_minute(caller), now);
    }

    async fn decide(
        self: &Arc<Self>,
        message: pb::FetchRequest,
        peer: &Peer,
        within: Duration,
        trail: &mut Trail,
    ) -> Result<Ended, Error> {
        let began = self.clock.boottime();
        let edition = self.directory.edition();
        trail.edition(&edition);
        let call = FetchCall::try_from(message).map_err(Error::Malformed)?;
        trail.call(&call, &edition);
        let now = self.clock.now();
        edition.ground(now)?;

        let verified = self.verify(call, peer, &edition, trail)?;
        self.exchanges.stage(spans::TOKEN_VERIFY, began, &*self.clock);
        // Nothing of this is decided yet, so it may be given up at any point.
        let prepared = async {
            let authorized = self.authorize(&verified, &edition, now, trail).await?;
            let held = self.witness(&verified, &edition, now).await?;
            let signed = self.prepare(&verified, authorized, &edition, within).await?;
            // The source may have taken seconds, in which the right to ask ended.
            let (claims, now) = (verified.token.claims(), self.clock.now());
            self.suspended(claims, now).await?;
            let current = self.directory.edition();
            let entitlement = self.entitle(claims, &current, now)?;
            if *entitlement.datatype().sheet_sha256() != signed.sheet {
                return Err(Error::SheetChanged);
            }
            entitlement.release(&verified.core, claims.acr, &claims.idp_iss)?;
            Ok((signed, held))
        };
        let (signed, held) = tokio::time::timeout(within, prepared)
            .await
            .unwrap_or(Err(Error::Deadline))?;

        let decision = self.release(&verified, signed, trail.clone()).await?;
        self.acknowledged(&verified, now).await;
        match decision {
            Decision::Refused(reason, receipt) => Ok(Ended::Refused(reason, receipt)),
            Decision::Released(released) => {
                self.credits.earn(verified.token.claims().client_id);
                let consistency = self.consistency(&verified.call, &released.receipt).await;
                let passing = Passing {
                    consistency,
                    caller_checkpoint: held.unwrap_or_default(),
                };
                Ok(Ended::Answered(Box::new(Sending {
                    inner: Arc::clone(self),
                    token: Arc::new(verified.token),
                    released: *released,
                    passing,
                })))
            }
        }
    }

    /// The proof that the log only grew since the caller saw it; none where it named another log or no size.
    async fn consistency(&self, call: &FetchCall, receipt: &DurableReceipt) -> Vec<Vec<u8>> {
        let Some((origin, size)) = &call.known else {
            return Vec::new();
        };
        if origin.as_str() != receipt.origin().as_str() || *size == 0 {
            return Vec::new();
        }
        match self.ledger.consistency(*size, receipt.size()).await {
            Ok(hashes) => hashes.iter().map(|hash| hash.as_bytes().to_vec()).collect(),
            Err(error) => {
                // A size that this log has not reached: the caller saw another one, and will say so louder than we can.
                tracing::error!(
                    error = status::chain(&error),
                    "no proof to the size that a peer says it saw"
                );
                Vec::new()
            }
        }
    }

    /// Records a refusal, or counts it where the ledger cannot be written (I8); the status that tells it.
    async fn refuse(&self, error: &Error, trail: Trail) -> Status {
        let (reason, refusal) = (error.reason(), error.to_refusal());
        let outcome = outcome(&refusal);
        if let Error::Token(cause) | Error::PivotKey(cause) | Error::Seal(cause) = error {
            tracing::warn!(peer = %trail.peer(), %reason, cause = status::chain(cause), "call refused");
        } else {
            tracing::info!(peer = %trail.peer(), %reason, "call refused");
        }
        let receipt = match error {
            // The very thing that fails.
            Error::Ledger(cause) => {
                tracing::error!(cause = status::chain(cause), "the ledger was not written");
                None
            }
            _ => {
                let mut draft = trail.clone().refused(reason, outcome);
                draft.evidence = error.evidence();
                self.ledger.append(draft).await.ok()
            }
        };
        if receipt.is_none() {
            self.ledger.turned_away(Some(&trail.peer().to_string()), reason);
        }
        self.refusal(refusal, &trail, receipt.as_ref())
    }

    /// The status of a refusal, with the entry that holds it.
    fn refusal(&self, refusal: Refusal, trail: &Trail, receipt: Option<&DurableReceipt>) -> Status {
        let datatype = trail.entry().datatype.as_ref();
        self.exchanges
            .ended(trail.peer(), datatype, outcome(&refusal), Some(refusal.reason));
        let id: [u8; 6] = (&self.random as &dyn Random).bytes();
        let id: String = id.iter().map(|b| format!("{b:02x}")).collect();
        tracing::info!(correlation_id = id, reason = %refusal.reason, "refusal told");
        let mut status = Status::from(refusal.correlation(id));
        if let Some(receipt) = receipt {
            let leaf = BinaryMetadataValue::from_bytes(receipt.leaf_hash().as_bytes());
            status.metadata_mut().insert_bin(ENTRY, leaf);
            if let Ok(origin) = receipt.origin().as_str().parse() {
                status.metadata_mut().insert(ORIGIN, origin);
            }
        }
        status
    }
}

/// Who asks, and the way out of the answer: none for a caller in this process.
struct Caller {
    peer: Peer,
    egress: Option<Egress>,
}

enum Ended {
    Answered(Box<Sending>),
    Refused(Reason, Box<DurableReceipt>),
}

/// What the receipt says in passing, for each end to witness the other's log.
struct Passing {
    /// That our log only grew since the caller saw it.
    consistency: Vec<Vec<u8>>,
    /// The head of its own log that we hold.
    caller_checkpoint: String,
}

/// What is about to be sent: the attestation, let out by the guard as it is handed over, then the receipt.
struct Sending {
    inner: Arc<Inner>,
    token: Arc<VerifiedToken>,
    released: Released,
    passing: Passing,
}

/// What a stream sends next.
enum State {
    Attestation(Box<Sending>, Span),
    Receipt(Box<pb::Receipt>, unefois_ledger::Attempt),
    End,
}

impl State {
    async fn next(self) -> Option<(Result<pb::FetchResponse, Status>, Self)> {
        use pb::fetch_response::Answer;
        match self {
            Self::Attestation(sending, span) => Some(sending.hand_over().instrument(span).await),
            Self::Receipt(receipt, attempt) => {
                drop(attempt);
                Some((message(Answer::Receipt(*receipt)), Self::End))
            }
            Self::End => None,
        }
    }
}

impl Sending {
    /// The answer, registered with the guard before any of it can leave.
    fn response(self: Box<Self>, egress: Option<Egress>) -> Response<AnswerStream> {
        let quota_left = self.released.quota_left;
        let passage = egress.map(|egress| self.inner.guard.admit(&self.token, egress));
        // Made here, within the call's own span: a body is asked for its messages outside of it.
        let first = State::Attestation(self, tracing::info_span!(spans::RELEASE));
        let mut response = Response::new(Box::pin(stream::unfold(first, State::next)) as AnswerStream);
        if let Some(passage) = passage {
            response.extensions_mut().insert(passage);
        }
        response.metadata_mut().insert(QUOTA, quota_left.into());
        response
    }

    /// Asks the guard and hands the attestation over, without a wait between the two; the passage asks again for each
    /// piece as HTTP/2 takes it.
    ///
    /// Only here, before the first byte, does a refusal give the claim back. Later the stream is reset, and the entry
    /// stays `released`, which says that bytes may have left.
    async fn hand_over(self: Box<Self>) -> (Result<pb::FetchResponse, Status>, State) {
        use pb::fetch_response::Answer;
        let Self {
            inner,
            token,
            released,
            passing,
        } = *self;
        if let Err(error) = inner.suspended(token.claims(), inner.clock.now()).await {
            return (Err(inner.withhold(released, error).await), State::End);
        }
        if let Err(reason) = inner.guard.permits(&token) {
            return (
                Err(inner.withhold(released, withdrawal(reason)).await),
                State::End,
            );
        }
        // A database that went back may have lost this very claim, and what it cannot hold cannot be given back either:
        // nothing leaves, and the claim stays (I7).
        if let Err(error) = inner.ledger.may_leave() {
            tracing::error!(
                error = status::chain(&error),
                "an answer that was recorded does not leave"
            );
            return (Err(Error::from(error).to_refusal().into()), State::End);
        }
        let Released {
            sd_jwt,
            form,
            content_salt,
            receipt,
            attempt,
            ..
        } = released;
        let attestation = pb::Attestation {
            sd_jwt,
            content_salt: content_salt.as_bytes().to_vec(),
            form: pb::AnswerForm::from(form).into(),
        };
        let receipt = pb::Receipt {
            entry: receipt.entry_bytes().to_vec(),
            proof: receipt.to_proof_file(),
            consistency: passing.consistency,
            caller_checkpoint: passing.caller_checkpoint,
        };
        (
            message(Answer::Attestation(attestation)),
            State::Receipt(Box::new(receipt), attempt),
        )
    }
}

impl Inner {
    /// Not one byte left: gives the claim back, and says so.
    async fn withhold(&self, released: Released, error: Error) -> Status {
        match self.ledger.withhold(released.receipt, error.reason()).await {
            Ok(receipt) => {
                let mut status = Status::from(error.to_refusal());
                let leaf = BinaryMetadataValue::from_bytes(receipt.leaf_hash().as_bytes());
                status.metadata_mut().insert_bin(ENTRY, leaf);
                status
            }
            Err(failed) => {
                // The claim stays: nothing left, and nothing may under another request.
                tracing::error!(
                    error = status::chain(&failed),
                    "a withheld answer is not recorded"
                );
                Status::from(error.to_refusal())
            }
        }
    }
}

const fn message(answer: pb::fetch_response::Answer) -> Result<pb::FetchResponse, Status> {
    Ok(pb::FetchResponse { answer: Some(answer) })
}

fn participant(peer: &Peer) -> Result<ParticipantId, Error> {
    peer.id.participant().ok_or(Error::NotParticipant)
}

/// How a refusal counts: later where waiting helps, as the caller is told.
fn outcome(refusal: &Refusal) -> Outcome {
    match refusal.retry_after {
        Some(_) => Outcome::Later,
        None => Outcome::Refused,
    }
}

/// How long the decision may take: what the caller waits (`grpc-timeout`), less what recording takes.
pub(crate) fn deadline(metadata: &MetadataMap) -> Duration {
    let asked = metadata.get("grpc-timeout").and_then(|value| {
        let text = value.to_str().ok()?;
        let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let count: u64 = digits.parse().ok()?;
        Some(match unit {
            "H" => Duration::from_secs(count.saturating_mul(3_600)),
            "M" => Duration::from_secs(count.saturating_mul(60)),
            "S" => Duration::from_secs(count),
            "m" => Duration::from_millis(count),
            "u" => Duration::from_micros(count),
            "n" => Duration::from_nanos(count),
            _ => return None,
        })
    });
    asked.unwrap_or(MOST).min(MOST).saturating_sub(RECORDING)
}
