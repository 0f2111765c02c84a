//! One Fetch of a back-office: the token, the call, the retries under one request id, the verdict, the entry.

use std::sync::Arc;
use std::time::Duration;

use tonic::Status;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use unefois_core::authorization::ModeKind;
use unefois_core::catalogue::LinkProof;
use unefois_core::commitment::AnswerForm;
use unefois_core::decision;
use unefois_core::{
    Boot, ExchangeId, FetchCore, Micros, Outcome, Random, Reason, Sha256, SubjectKind, UnitName,
};
use unefois_jose::sd_jwt;
use unefois_mesh::status::Refusal;
use unefois_mesh::{ConnectError, Edition, spans};
use unefois_proto::pb::exchange::v1 as pb;
use unefois_proto::pb::exchange::v1::exchange_service_client::ExchangeServiceClient;
use unefois_proto::pb::exchange::v1::fetch_response::Answer as Message;
use unefois_proto::{HandleCall, LinkAttestation};
use unefois_store::node::grant::ElementState;
use unefois_store::node::request::{RequestRow, acknowledgements, request_begin};
use unefois_store::peer::peer_head;
use unefois_tlog::{Hash, MAX_PROOF_HASHES};

use super::endpoints::Chosen;
use super::evidence::{Fault, MAX_ATTESTATION_BYTES};
use super::held::{Element, RequestBody};
use super::record::{Exchange, PeerEntry, outcome};
use super::rest::Purpose;
use super::token::Token;
use super::verify::{Answer, Asked, KnownHead, ReceivedAnswer};
use super::witness::{OwnHead, Stopped};
use super::{Error, Inner};

/// Leaf hash of the entry that records a refusal, 32 bytes.
const ENTRY: &str = "unefois-entry-bin";
/// Origin of the log that holds it.
const ORIGIN: &str = "unefois-origin";
/// Largest message of an answer.
const MAX_MESSAGE_BYTES: usize = MAX_ATTESTATION_BYTES + 64 * 1_024;
/// Largest entry and proof that are read, in bytes.
const MAX_ENTRY_BYTES: usize = unefois_core::entry::MAX_BYTES;
/// How many entries one call acknowledges.
const MAX_ACKNOWLEDGED: u16 = 64;
/// What recording the end of an exchange may take; calls end this much before the deadline.
const RECORDING: Duration = Duration::from_millis(200);
/// Wait before another attempt where the producer did not say.
const BACKOFF: Duration = Duration::from_millis(50);

/// When a Fetch must be over.
#[derive(Clone, Copy)]
struct Deadline(Boot);

impl Deadline {
    fn left(self, now: Boot) -> Duration {
        let micros = self.0.micros_since(now);
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }
}

/// An answer as it came, and what is needed to judge it.
struct Answered {
    answer: Answer,
    /// The head that the call named.
    known: Option<KnownHead>,
    /// The entries that the call acknowledged.
    told: Vec<Sha256>,
    /// Where it came from.
    address: String,
    channel: Channel,
}

/// How one call ended.
enum Called {
    Answered(Box<Answered>),
    Refused(Refusal, PeerEntry),
    /// There was no connection: nothing was sent.
    NotSent,
    /// The call broke off, or the answer was not whole.
    Broken,
}

impl Inner {
    /// Fetches under one request id: whatever happens, one entry says how it ended once a producer was called.
    pub(super) async fn fetch(
        self: Arc<Self>,
        call: HandleCall,
        within: Duration,
    ) -> Result<ReceivedAnswer, Error> {
        let most = Duration::from_millis(self.config.deadline_ms.into());
        let within = within.min(most).saturating_sub(RECORDING);
        let ms = i64::try_from(within.as_millis()).unwrap_or(i64::MAX);
        let deadline = Deadline(self.clock.boottime().plus_ms(ms));
        let edition = self.directory.edition();
        let now = self.clock.now();
        self.ledger.may_exchange()?;

        let element = self.element(&call.handle).await?;
        let request_id = call.request_id;
        if element.row.state == ElementState::Narrowed {
            self.learn_follower(&call.handle).await?;
        }
        may_serve(&element, request_id.as_ref(), now)?;
        self.may_ask(&element, &edition, now)?;
        let link = link(&element, call.link.as_ref(), &edition)?;
        let units = asked_units(&element, call.units)?;
        let request_id = request_id.unwrap_or_else(|| (&self.random as &dyn Random).exchange_id(now));
        let (core, attempt) = self.begin(&element, &call.handle, request_id, units, now).await?;

        let token = self.token(&element, &call.handle, &edition).await?;
        let mut exchange = Exchange {
            edition,
            core,
            claims: token.claims().clone(),
            kid: token.kid(),
            attempt,
            link,
        };
        match self.ask(&mut exchange, &element, token, deadline).await? {
            Called::Answered(answered) => self.judge(&exchange, &element, *answered, deadline).await,
            Called::Refused(refusal, peer) => {
                self.refused(&exchange, refusal.reason, outcome(&refusal), peer)
                    .await?;
                if refusal.reason == Reason::GrantRevoked {
                    // The authority alone ends a grant; the next call asks it.
                    self.tokens.forget(&call.handle);
                }
                Err(Error::ProducerRefused(refusal))
            }
            Called::NotSent | Called::Broken => {
                self.unanswered(&exchange).await?;
                Err(Error::Unanswered)
            }
        }
    }

    /// Verifies, records, and hands on; nothing unverified or unrecorded gets past here.
    async fn judge(
        &self,
        exchange: &Exchange,
        element: &Element,
        answered: Answered,
        deadline: Deadline,
    ) -> Result<ReceivedAnswer, Error> {
        let Answered {
            answer,
            known,
            told,
            address,
            channel,
        } = answered;
        let asked = Asked {
            edition: Arc::clone(&exchange.edition),
            consumer: self.participant,
            operator: exchange.claims.aud,
            core: exchange.core.clone(),
            gs: exchange.claims.gs.clone(),
            known,
            now: self.clock.now(),
        };
        self.own_head_held(asked.operator, &answer.held).await;
        let sent = (answer.entry.clone(), answer.proof.clone());
        let consistency = answer.consistency.clone();
        let verified = match answer.verify(&asked) {
            Ok(verified) => verified,
            Err(fault) => {
                let held = match asked.known.filter(|_| fault == Fault::Forked) {
                    Some(known) => peer_head(&self.db, &known.origin).await?,
                    None => None,
                };
                return Err(self.unbelieved(exchange, fault, sent, held).await);
            }
        };
        let peer = PeerEntry {
            leaf: Some(verified.producer().leaf),
            origin_hash: Some(verified.producer().origin_hash()),
        };
        let origin = verified.producer().origin.clone();
        self.endpoints.wrote_to(asked.operator, &address, &origin);
        let left = || deadline.left(self.clock.boottime());
        let witnessed = self.witness(verified, &asked, &consistency, &channel, left).await;
        let continuing = match witnessed {
            Ok(continuing) => continuing,
            Err(Stopped::Forked(held)) => {
                return Err(self.unbelieved(exchange, Fault::Forked, sent, Some(held)).await);
            }
            Err(Stopped::Unproved) => {
                self.unanswered(exchange).await?;
                return Err(Error::Unanswered);
            }
            Err(Stopped::Failed(error)) => return Err(error),
        };
        // A grant that ended while the answer was on its way gives nothing any more.
        let state = self.element(&exchange.core.handle).await?.row.state;
        let over = match state {
            ElementState::Withdrawn | ElementState::GivenBack | ElementState::Narrowed => {
                Some(Error::Over(state))
            }
            ElementState::Active | ElementState::Used => {
                let killed = self.feed.kills(&exchange.claims, &exchange.kid);
                killed.then_some(Error::TokenWithdrawn)
            }
        };
        if let Some(error) = over {
            self.refused(exchange, Reason::GrantRevoked, Outcome::Refused, peer)
                .await?;
            return Err(error);
        }
        self.received(exchange, element, continuing, &told).await
    }

    /// What the directory and the catalogue forbid, found before anybody is called.
    fn may_ask(&self, element: &Element, edition: &Edition, now: Micros) -> Result<(), Error> {
        let ground = edition.ground(now).map_err(Error::Decision)?;
        let requester = self.requester();
        let operator = element.details.operator();
        let entitled = ground.habilitated(&requester, &element.details);
        let datatype = entitled.map_err(Error::Decision)?.datatype();
        let closed = edition.directory.closed_until(operator, datatype.rev(), now);
        if let Some(until) = closed.max(datatype.sheet().closed_until(now)) {
            let ms = u64::try_from(until.ms_since(now)).unwrap_or_default();
            return Err(Error::Closed {
                wait: Duration::from_millis(ms.max(1_000)),
            });
        }
        let rate = edition
            .directory
            .quota_per_minute(&self.participant, datatype.rev());
        let boot = self.clock.boottime();
        match self.quotas.take(
            (self.participant, datatype.rev().clone()),
            rate.unwrap_or_default(),
            boot,
        ) {
            Ok(_) => Ok(()),
            Err(wait) => Err(Error::Quota { wait }),
        }
    }

    /// The canonical request of an id: as it was first made, so that a retry is the same request.
    async fn begin(
        &self,
        element: &Element,
        handle: &unefois_core::Handle,
        request_id: ExchangeId,
        units: Vec<UnitName>,
        now: Micros,
    ) -> Result<(FetchCore, u16), Error> {
        let random: &dyn Random = &self.random;
        let name = element.row.handle;
        let body = RequestBody {
            nonce: random.bytes(),
            units: units.clone(),
        };
        let first = RequestRow {
            tenant: self.tenant(),
            request_id,
            handle: name,
            attempts: 1,
            at: now,
            sealed: self
                .rest
                .seal(Purpose::Request, request_id.as_bytes(), &body, random),
        };
        let mut tx = self.db.begin().await?;
        let row = request_begin(&mut tx, &first).await?;
        tx.commit().await?;
        if row.handle != name {
            return Err(Error::RetryMismatch);
        }
        let body: Option<RequestBody> = self
            .rest
            .open(Purpose::Request, request_id.as_bytes(), &row.sealed);
        let body = body.ok_or(Error::Sealed)?;
        if body.units != units {
            return Err(Error::RetryMismatch);
        }
        let core = FetchCore {
            request_id,
            handle: *handle,
            datatype: element.details.datatype().clone(),
            units,
            period: element.details.period,
            demarche: element.details.demarche.clone(),
            dossier: element.details.dossier_ref.clone(),
            nonce: body.nonce,
        };
        Ok((core, row.attempts))
    }

    /// Calls replica after replica, and again where the producer says that waiting helps, always under the same request
    /// id, within the deadline and the node's retry budget.
    async fn ask(
        &self,
        exchange: &mut Exchange,
        element: &Element,
        first: Arc<Token>,
        deadline: Deadline,
    ) -> Result<Called, Error> {
        self.budget.earn();
        let operator = exchange.claims.aud;
        let addresses = exchange.edition.directory.participant(&operator);
        let addresses = addresses.map(|row| row.mesh.clone()).unwrap_or_default();
        let (mut token, mut tried, mut attempts) = (first, Vec::new(), 0);
        loop {
            let boot = self.clock.boottime();
            let left = deadline.left(boot);
            let Some(chosen) = self
                .endpoints
                .choose(operator, &addresses, &tried, &token.credential, boot)
                .filter(|_| !left.is_zero())
            else {
                return Ok(Called::Broken);
            };
            let address = chosen.address.clone();
            attempts += 1;
            let called = tokio::time::timeout(left, self.call(exchange, chosen, &token, left)).await;
            let called = called.unwrap_or(Ok(Called::Broken))?;
            let wait = match &called {
                Called::Answered(_) => {
                    self.endpoints.answered(operator, &address);
                    return Ok(called);
                }
                Called::Refused(refusal, _) => {
                    self.endpoints.answered(operator, &address);
                    match refusal.retry_after.filter(|_| refusal.reason.retryable()) {
                        Some(wait) => wait,
                        None => return Ok(called),
                    }
                }
                Called::NotSent | Called::Broken => {
                    self.endpoints.failed(operator, &address, self.clock.boottime());
                    tried.push(address);
                    // Another replica may be well: nothing to wait for.
                    let others = addresses.iter().any(|address| !tried.contains(address));
                    if others {
                        Duration::ZERO
                    } else {
                        BACKOFF * attempts
                    }
                }
            };
            let wait = jittered(wait, &self.random);
            let over =
                attempts >= u32::from(self.config.attempts) || wait >= deadline.left(self.clock.boottime());
            if over || !self.budget.spend() {
                return Ok(called);
            }
            if tokio::time::timeout(wait, self.closing.cancelled()).await.is_ok() {
                return Ok(called);
            }
            // A token does not outlive the wait for sure; the claims of a new one are the entry's.
            token = self
                .token(element, &exchange.core.handle, &exchange.edition)
                .await?;
            exchange.bear(&token);
        }
    }

    /// One call of one replica.
    async fn call(
        &self,
        exchange: &Exchange,
        chosen: Chosen,
        token: &Token,
        left: Duration,
    ) -> Result<Called, Error> {
        let provider = exchange.claims.aud.siret().to_string();
        let known = match &chosen.origin {
            Some(origin) => self.known_head(origin).await?,
            None => self.known_of(exchange).await?,
        };
        let acknowledged = acknowledgements(&self.db, &self.tenant(), &provider, MAX_ACKNOWLEDGED).await?;
        let own = self.own_head(exchange.claims.aud).await?;
        let message = message(exchange, token, known.as_ref(), &acknowledged, own);
        let mut request = tonic::Request::new(message);
        request.set_timeout(left);
        spans::inject(request.metadata_mut());
        let mut client =
            ExchangeServiceClient::new(chosen.channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        match client.fetch(request).await {
            Ok(response) => Ok(match read(response.into_inner()).await {
                Ok(Some(answer)) => Called::Answered(Box::new(Answered {
                    answer,
                    known,
                    told: acknowledged,
                    address: chosen.address,
                    channel: chosen.channel,
                })),
                Ok(None) => Called::Broken,
                Err(status) => failed(&status),
            }),
            Err(status) => Ok(failed(&status)),
        }
    }

    /// The last head seen of one log.
    async fn known_head(&self, origin: &str) -> Result<Option<KnownHead>, Error> {
        let head = peer_head(&self.db, origin).await?;
        Ok(head.map(|head| KnownHead {
            origin: origin.to_owned(),
            size: head.size,
            root: head.root,
            checkpoint: head.checkpoint,
        }))
    }

    /// The last head seen of the producer's only log; where it has several, which one will answer is not known yet.
    async fn known_of(&self, exchange: &Exchange) -> Result<Option<KnownHead>, Error> {
        let row = exchange.edition.directory.participant(&exchange.claims.aud);
        match row.map(|row| row.logs.as_slice()) {
            Some([log]) => self.known_head(&log.origin).await,
            Some(_) | None => Ok(None),
        }
    }
}

/// Whether an element may serve: a used one only under the request that used it.
fn may_serve(element: &Element, request_id: Option<&ExchangeId>, now: Micros) -> Result<(), Error> {
    match element.row.state {
        ElementState::Active => {}
        ElementState::Used => {
            let same = element.row.request_id.as_ref() == request_id && request_id.is_some();
            if !same || element.details.mode.kind != ModeKind::Once {
                return Err(Error::Over(ElementState::Used));
            }
        }
        state @ (ElementState::Withdrawn | ElementState::GivenBack | ElementState::Narrowed) => {
            return Err(Error::Over(state));
        }
    }
    match element.details.mode.ends_at(element.grant.ends_at) > now {
        true => Ok(()),
        false => Err(Error::Expired),
    }
}

/// What proves a child's link to the asker, where its datatype needs that: cut to the unit that names the family, since the
/// rest of it is not the producer's to see. It verifies it.
fn link(
    element: &Element,
    shown: Option<&LinkAttestation>,
    edition: &Edition,
) -> Result<Option<String>, Error> {
    let field = |what| Error::Field {
        field: "link_attestation".to_owned(),
        what,
    };
    let datatype = edition.catalogue.datatype(element.details.datatype());
    let rule = datatype
        .filter(|_| element.details.subject.kind == SubjectKind::Child)
        .and_then(|datatype| datatype.sheet().subject(SubjectKind::Child));
    match (rule.and_then(|rule| rule.link.as_ref()), shown) {
        (Some(LinkProof::Attestation(proof)), Some(shown)) => {
            let cut = sd_jwt::present(shown.as_str(), &[proof.unit.as_str()]);
            cut.map(Some).map_err(|_| field("an attestation (SD-JWT)"))
        }
        (Some(LinkProof::Attestation(_)), None) => Err(field(
            "the attestation that proves the child's link to the asker: fetch it first",
        )),
        (Some(LinkProof::Holder | LinkProof::Declared) | None, None) => Ok(None),
        (Some(LinkProof::Holder | LinkProof::Declared) | None, Some(_)) => {
            Err(field("absent: this element needs none"))
        }
    }
}

/// What is asked for: the granted units that were named, or all of them.
fn asked_units(element: &Element, named: Vec<UnitName>) -> Result<Vec<UnitName>, Error> {
    let granted = || element.details.units.iter().map(|unit| &unit.unit);
    if named.is_empty() {
        let mut all: Vec<UnitName> = granted().cloned().collect();
        all.sort();
        return Ok(all);
    }
    match named
        .iter()
        .position(|unit| !granted().any(|known| known == unit))
    {
        Some(place) => Err(Error::Decision(decision::Refusal {
            reason: Reason::UnitNotGranted,
            field: format!("units[{place}]"),
        })),
        None => Ok(named),
    }
}

fn message(
    exchange: &Exchange,
    token: &Token,
    known: Option<&KnownHead>,
    acknowledged: &[Sha256],
    own: OwnHead,
) -> pb::FetchRequest {
    let core = &exchange.core;
    pb::FetchRequest {
        request_id: core.request_id.to_string(),
        access_token: token.text.clone(),
        pivot_jwe: token.pivot_jwe.clone(),
        link_attestation: exchange.link.clone().unwrap_or_default(),
        datatype: core.datatype.to_string(),
        units: core.units.iter().map(ToString::to_string).collect(),
        period: core.period.map(|period| period.to_string()).unwrap_or_default(),
        demarche: core.demarche.to_string(),
        dossier_ref: core.dossier.to_string(),
        nonce: core.nonce.to_vec(),
        acknowledged: acknowledged.iter().map(|leaf| leaf.as_bytes().to_vec()).collect(),
        known_size: known.map_or(0, |known| known.size),
        known_origin: known.map(|known| known.origin.clone()).unwrap_or_default(),
        known_checkpoint: known.map(|known| known.checkpoint.clone()).unwrap_or_default(),
        caller_checkpoint: own.checkpoint,
        caller_size: own.from,
        caller_consistency: own.growth,
    }
}

/// Reads a whole answer: an attestation, its receipt, the end. `None` for anything else.
async fn read(mut stream: tonic::Streaming<pb::FetchResponse>) -> Result<Option<Answer>, Status> {
    let Some(Message::Attestation(attestation)) = stream.message().await?.and_then(|m| m.answer) else {
        return Ok(None);
    };
    let Some(Message::Receipt(receipt)) = stream.message().await?.and_then(|m| m.answer) else {
        return Ok(None);
    };
    if stream.message().await?.is_some() {
        return Ok(None);
    }
    let form = match attestation.form() {
        pb::AnswerForm::Document => AnswerForm::Document,
        pb::AnswerForm::Absence => AnswerForm::Absence,
        pb::AnswerForm::Unspecified => return Ok(None),
    };
    let small = receipt.entry.len() <= MAX_ENTRY_BYTES && receipt.consistency.len() <= MAX_PROOF_HASHES;
    let hashes = receipt
        .consistency
        .iter()
        .map(|hash| Hash::try_from(hash.as_slice()));
    let (Ok(content_salt), Ok(consistency), true) = (
        attestation.content_salt.try_into(),
        hashes.collect::<Result<Vec<Hash>, _>>(),
        small,
    ) else {
        return Ok(None);
    };
    Ok(Some(Answer {
        sd_jwt: attestation.sd_jwt,
        content_salt,
        form,
        entry: receipt.entry,
        proof: receipt.proof,
        consistency,
        held: receipt.caller_checkpoint,
    }))
}

/// What a status means: a refusal of ours, no connection, or a call that broke off.
fn failed(status: &Status) -> Called {
    if let Some(error) = ConnectError::of(status) {
        tracing::warn!(%error, "a producer is not reached");
        return Called::NotSent;
    }
    match Refusal::of(status) {
        Some(refusal) => Called::Refused(refusal, peer_entry(status.metadata())),
        None => {
            tracing::warn!(code = ?status.code(), "a call of a producer broke off");
            Called::Broken
        }
    }
}

fn peer_entry(metadata: &MetadataMap) -> PeerEntry {
    let leaf = metadata.get_bin(ENTRY).and_then(|value| value.to_bytes().ok());
    let leaf = leaf.and_then(|bytes| bytes.as_ref().try_into().ok());
    let origin = metadata.get(ORIGIN).and_then(|value| value.to_str().ok());
    PeerEntry {
        leaf: leaf.map(Sha256::from_bytes),
        origin_hash: origin.map(|origin| Sha256::of(origin.as_bytes())),
    }
}

/// Up to half as long again, so that callers who were refused together do not come back together.
fn jittered(wait: Duration, random: &dyn Random) -> Duration {
    let [byte]: [u8; 1] = random.bytes();
    wait + wait * u32::from(byte) / 510
}

#[cfg(test)]
mod tests {
    use unefois_mesh::status;

    use super::*;

    #[test]
    fn a_refusal_is_read_with_the_entry_that_holds_it() {
        let mut status = status::refused(Reason::TokenConsumed, "used");
        let leaf = tonic::metadata::BinaryMetadataValue::from_bytes(&[7; 32]);
        status.metadata_mut().insert_bin(ENTRY, leaf);
        status
            .metadata_mut()
            .insert(ORIGIN, "cnaf.example/log".parse().unwrap());
        let Called::Refused(refusal, peer) = failed(&status) else {
            panic!("a refusal");
        };
        assert_eq!(refusal.reason, Reason::TokenConsumed);
        assert_eq!(peer.leaf, Some(Sha256::from_bytes([7; 32])));
        assert_eq!(peer.origin_hash, Some(Sha256::of(b"cnaf.example/log")));
    }

    #[test]
    fn an_entry_hash_of_another_length_is_none() {
        let mut status = status::refused(Reason::TokenConsumed, "used");
        let leaf = tonic::metadata::BinaryMetadataValue::from_bytes(&[7; 31]);
        status.metadata_mut().insert_bin(ENTRY, leaf);
        assert_eq!(peer_entry(status.metadata()), PeerEntry::default());
        assert!(matches!(failed(&Status::unavailable("reset")), Called::Broken));
    }

    #[test]
    fn jitter_adds_at_most_half() {
        let random = unefois_mesh::SystemRandom::new();
        let wait = Duration::from_millis(100);
        for _ in 0..100 {
            let jittered = jittered(wait, &random);
            assert!((wait..=wait * 3 / 2).contains(&jittered), "{jittered:?}");
        }
    }
}
