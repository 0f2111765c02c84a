//! What a consuming node offers to the information systems of its own house.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use futures_util::{Stream, StreamExt as _};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};
use unefois_core::commitment::AnswerForm;
use unefois_core::{Clock, Micros, ParticipantId, Reason};
use unefois_mesh::{Identity, Limits, Listener, Peer, PeerGate, PeerRefusal, Trust, status};
use unefois_proto::pb::backoffice::v1 as pb;
use unefois_proto::pb::backoffice::v1::backoffice_service_server::{
    BackofficeService, BackofficeServiceServer,
};
use unefois_proto::{AuthorizationCall, CompletionCall, GrantsCall, HandleCall};
use unefois_store::node::grant::ElementState;
use unefois_store::node::notice::NoticeKind;

use crate::consumer::verify::ReceivedAnswer;
use crate::consumer::{Asked, Consumer, ConsumerConfig, Error, GrantChange, HeldElement, HeldGrant};
use crate::producer::deadline;

/// A door of the service, and in whose name whoever comes in asks: the credential alone says it, and nothing in a message.
#[derive(Clone, Debug)]
pub enum Door {
    /// A Unix socket is one participant's: its mode has let the caller in.
    Socket(Consumer),
    /// Mutual TLS: each participant's certificates are its own.
    Certificates(Arc<BTreeMap<ParticipantId, Consumer>>),
}

impl Door {
    /// The consumer of the caller: what a call does, it does to this one.
    fn consumer_of<T>(&self, request: &Request<T>) -> Result<&Consumer, Status> {
        let consumer = match self {
            Self::Socket(consumer) => consumer,
            Self::Certificates(consumers) => {
                let participant = Peer::of(request)?.id.participant();
                let own = participant.and_then(|participant| consumers.get(&participant));
                own.ok_or_else(|| {
                    status::refused(
                        Reason::NotEntitled,
                        "this node does not serve the certificate's participant",
                    )
                })?
            }
        };
        consumer.admitted().map_err(|e| told(&e))?;
        Ok(consumer)
    }
}

/// `BackofficeService`. Whoever reaches it is the house of a participant that the node serves: the mode of that one's Unix
/// socket, or a certificate of that participant itself, has let it in.
#[derive(Clone, Debug)]
pub struct Backoffice {
    door: Door,
    clock: Arc<dyn Clock>,
}

impl Backoffice {
    /// The service behind a door.
    pub const fn new(door: Door, clock: Arc<dyn Clock>) -> Self {
        Self { door, clock }
    }

    /// The router to serve on [`Listener::unix`] and [`house`].
    pub fn router(self) -> Router {
        tonic::service::Routes::new(BackofficeServiceServer::new(self)).into_axum_router()
    }
}

/// Mutual TLS inside the house: certificates that name one of these very participants, which the directory need not list.
///
/// # Errors
/// The address cannot be bound.
pub async fn house(
    address: SocketAddr,
    participants: BTreeSet<ParticipantId>,
    identity: &Arc<Identity>,
    trust: &Arc<Trust>,
    clock: &Arc<dyn Clock>,
    limits: Limits,
) -> Result<Listener, unefois_mesh::Error> {
    let gate: PeerGate =
        Arc::new(
            move |peer: &Peer| match peer.id.participant().filter(|id| participants.contains(id)) {
                Some(_) => Ok(()),
                None => Err(PeerRefusal::OtherParticipant),
            },
        );
    Listener::mesh(address, identity, trust, gate, clock, limits).await
}

/// The doors of the service, open, with nobody behind them yet.
#[derive(Debug, Default)]
pub(crate) struct House {
    socket: Option<Listener>,
    mesh: Option<Listener>,
}

impl House {
    /// Opens the doors that are configured, the second to those `served`.
    pub(crate) async fn open(
        config: &ConsumerConfig,
        served: BTreeSet<ParticipantId>,
        (identity, trust): (&Arc<Identity>, &Arc<Trust>),
        clock: &Arc<dyn Clock>,
        limits: &Limits,
    ) -> Result<Self, unefois_mesh::Error> {
        let socket = (config.socket.as_ref()).map(|path| Listener::unix(path, limits.clone()));
        let mesh = match config.listen {
            Some(address) => Some(house(address, served, identity, trust, clock, limits.clone()).await?),
            None => None,
        };
        Ok(Self {
            socket: socket.transpose()?,
            mesh,
        })
    }

    /// Where the service listens over mutual TLS.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.mesh.as_ref().and_then(Listener::local_addr)
    }

    /// Serves until `shutdown`: the socket for the node's own participant, certificates for each that it serves.
    pub(crate) fn spawn(
        self,
        own: &Consumer,
        hosted: &[Consumer],
        clock: &Arc<dyn Clock>,
        tasks: &TaskTracker,
        shutdown: &CancellationToken,
    ) {
        let all = std::iter::once(own).chain(hosted);
        let all = all.map(|consumer| (consumer.participant(), consumer.clone()));
        let doors = [
            (self.socket, Door::Socket(own.clone())),
            (self.mesh, Door::Certificates(Arc::new(all.collect()))),
        ];
        for (listener, door) in doors {
            let router = Backoffice::new(door, Arc::clone(clock)).router();
            if let Some(listener) = listener {
                tasks.spawn(listener.serve(router, shutdown.clone()));
            }
        }
    }
}

#[tonic::async_trait]
impl BackofficeService for Backoffice {
    async fn request_authorization(
        &self,
        request: Request<pb::RequestAuthorizationRequest>,
    ) -> Result<Response<pb::RequestAuthorizationResponse>, Status> {
        let consumer = self.door.consumer_of(&request)?;
        let call = AuthorizationCall::try_from(request.into_inner()).map_err(Error::Malformed);
        let call = call.map_err(|e| told(&e))?;
        let requested = consumer.request_authorization(call).await.map_err(|e| told(&e))?;
        Ok(Response::new(match requested {
            Asked::Where(requested) => pb::RequestAuthorizationResponse {
                url: requested.url,
                state: requested.state,
                expires_at: Some(timestamp(requested.expires_at)),
                qr_code: requested.qr_code.unwrap_or_default(),
                grant: None,
            },
            Asked::Granted(grant) => pb::RequestAuthorizationResponse {
                grant: Some(self.grant(grant)),
                ..Default::default()
            },
        }))
    }

    async fn withdraw_link(
        &self,
        request: Request<pb::WithdrawLinkRequest>,
    ) -> Result<Response<pb::WithdrawLinkResponse>, Status> {
        let consumer = self.door.consumer_of(&request)?;
        let state = request.into_inner().state;
        consumer.withdraw_link(&state).await.map_err(|e| told(&e))?;
        Ok(Response::new(pb::WithdrawLinkResponse {}))
    }

    async fn complete_authorization(
        &self,
        request: Request<pb::CompleteAuthorizationRequest>,
    ) -> Result<Response<pb::CompleteAuthorizationResponse>, Status> {
        let consumer = self.door.consumer_of(&request)?;
        let call = CompletionCall::try_from(request.into_inner()).map_err(Error::Malformed);
        let call = call.map_err(|e| told(&e))?;
        let grant = consumer
            .complete_authorization(call)
            .await
            .map_err(|e| told(&e))?;
        Ok(Response::new(pb::CompleteAuthorizationResponse {
            grant: Some(self.grant(grant)),
        }))
    }

    async fn fetch(&self, request: Request<pb::FetchRequest>) -> Result<Response<pb::FetchResponse>, Status> {
        let consumer = self.door.consumer_of(&request)?;
        let within = deadline(request.metadata());
        let call = HandleCall::try_from(request.into_inner()).map_err(Error::Malformed);
        let call = call.map_err(|e| told(&e))?;
        let answer = consumer.fetch(call, within).await.map_err(|e| told(&e))?;
        Ok(Response::new(handed_on(&answer)))
    }

    async fn list_grants(
        &self,
        request: Request<pb::ListGrantsRequest>,
    ) -> Result<Response<pb::ListGrantsResponse>, Status> {
        let consumer = self.door.consumer_of(&request)?;
        let call = GrantsCall::try_from(request.into_inner()).map_err(Error::Malformed);
        let call = call.map_err(|e| told(&e))?;
        let page = consumer.grants(&call).await.map_err(|e| told(&e))?;
        Ok(Response::new(pb::ListGrantsResponse {
            grants: page.grants.into_iter().map(|grant| self.grant(grant)).collect(),
            next_page_token: page.next.unwrap_or_default(),
        }))
    }

    async fn give_back(
        &self,
        request: Request<pb::GiveBackRequest>,
    ) -> Result<Response<pb::GiveBackResponse>, Status> {
        let consumer = self.door.consumer_of(&request)?;
        let grant_id = request.into_inner().grant_id;
        consumer.give_back(&grant_id).await.map_err(|e| told(&e))?;
        Ok(Response::new(pb::GiveBackResponse {}))
    }

    type WatchGrantsStream = Pin<Box<dyn Stream<Item = Result<pb::WatchGrantsResponse, Status>> + Send>>;

    async fn watch_grants(
        &self,
        request: Request<pb::WatchGrantsRequest>,
    ) -> Result<Response<Self::WatchGrantsStream>, Status> {
        let consumer = self.door.consumer_of(&request)?.clone();
        let cursor = request.into_inner().cursor;
        let cursor = (!cursor.is_empty()).then_some(cursor);
        let changes = consumer.watch_grants(cursor.as_deref()).await;
        let changes = ReceiverStream::new(changes.map_err(|e| told(&e))?);
        let backoffice = self.clone();
        let told = changes.map(move |change| match change {
            Ok(change) => Ok(backoffice.change(change)),
            Err(error) => Err(told(&error)),
        });
        Ok(Response::new(Box::pin(told)))
    }
}

impl Backoffice {
    fn element(&self, element: HeldElement, grant_ends_at: Micros) -> pb::GrantElement {
        let ends_at = element.details.mode.ends_at(grant_ends_at);
        pb::GrantElement {
            handle: element.handle.to_string(),
            datatype: element.details.datatype().to_string(),
            producer: element.details.operator().to_string(),
            units: element.details.units.iter().map(|u| u.unit.to_string()).collect(),
            period: element
                .details
                .period
                .map(|period| period.to_string())
                .unwrap_or_default(),
            expires_at: Some(timestamp(ends_at)),
            state: state(element.state, ends_at <= self.clock.now()).into(),
        }
    }

    fn grant(&self, held: HeldGrant) -> pb::Grant {
        let element = |element| self.element(element, held.ends_at);
        pb::Grant {
            grant_id: held.grant_id,
            dossier_ref: held.dossier.to_string(),
            demarche: held.demarche.to_string(),
            elements: held.elements.into_iter().map(element).collect(),
        }
    }

    fn change(&self, told: GrantChange) -> pb::WatchGrantsResponse {
        let change = match told.kind {
            NoticeKind::Withdrawn => pb::GrantChange::Withdrawn,
            NoticeKind::GivenBack => pb::GrantChange::GivenBack,
            NoticeKind::Expiring => pb::GrantChange::Expiring,
            NoticeKind::Expired => pb::GrantChange::Expired,
            NoticeKind::Narrowed => pb::GrantChange::Narrowed,
            NoticeKind::Follows => pb::GrantChange::Follows,
        };
        pb::WatchGrantsResponse {
            cursor: told.cursor,
            change: change.into(),
            changed_at: Some(timestamp(told.at)),
            grant_id: told.grant_id,
            dossier_ref: told.dossier.to_string(),
            element: Some(self.element(told.element, told.ends_at)),
        }
    }
}

const fn state(state: ElementState, expired: bool) -> pb::GrantState {
    match (state, expired) {
        (ElementState::Active, true) => pb::GrantState::Expired,
        (ElementState::Active, false) => pb::GrantState::Active,
        (ElementState::Used, _) => pb::GrantState::Used,
        (ElementState::Withdrawn, _) => pb::GrantState::Withdrawn,
        (ElementState::GivenBack, _) => pb::GrantState::GivenBack,
        (ElementState::Narrowed, _) => pb::GrantState::Narrowed,
    }
}

/// What a back-office gets of an answer: only one whose entry is durable can be handed on.
fn handed_on(answer: &ReceivedAnswer) -> pb::FetchResponse {
    let attested = answer.attested();
    let units = attested
        .units()
        .iter()
        .map(|(name, text)| (name.to_string(), text.clone()));
    pb::FetchResponse {
        request_id: attested.exchange_id().to_string(),
        sd_jwt: answer.sd_jwt().to_owned(),
        units: units.collect::<HashMap<_, _>>(),
        absence: attested.form() == AnswerForm::Absence,
        producer_entry: answer.producer().bytes.clone(),
        producer_proof: answer.producer().proof.clone(),
        consumer_entry: answer.receipt().entry_bytes().to_vec(),
        consumer_proof: answer.receipt().to_proof_file(),
        content_salt: answer.content_salt().to_vec(),
    }
}

/// The status of an error: what the back-office may know, or nothing.
fn told(error: &Error) -> Status {
    match error.to_refusal() {
        Some(refusal) => {
            tracing::info!(reason = %refusal.reason, cause = status::chain(error), "a back-office's call ends in a refusal");
            refusal.into()
        }
        None => status::internal(error),
    }
}

fn timestamp(at: Micros) -> prost_types::Timestamp {
    let micros = at.get().rem_euclid(1_000_000);
    prost_types::Timestamp {
        seconds: at.secs(),
        nanos: i32::try_from(micros * 1_000).unwrap_or_default(),
    }
}
