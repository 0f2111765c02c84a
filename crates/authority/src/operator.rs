//! What the authority's operator asks of the process that runs, over mutual TLS with the authority's own certificate:
//! withdrawals that concern more than one grant, and to go on where those that a database has lost cannot be learnt.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;
use unefois_core::revocation::{Record, Withdrawal};
use unefois_core::{Event, Micros, ParticipantId, RevocationView, in_line};
use unefois_mesh::Peer;
use unefois_mesh::status::chain;
use unefois_store::authority::effect::effect_read;
use unefois_store::authority::grant::grant_names;
use unefois_store::authority::order::{Order, order_logged, order_unlogged};

use crate::Error;
use crate::form::Form;
use crate::journal::Fact;
use crate::published::Edition;
use crate::service::Authority;

/// Longest reason, in bytes.
const MAX_REASON: usize = 512;
/// How long whoever records an order has to log it; later, somebody else does. A ledger's write ends in 2 s.
const UNLOGGED_MS: i64 = 10_000;
/// Longest key of a record.
const MAX_KEY: usize = 128;
/// Longest list of participants, in bytes.
const MAX_LIST: usize = 48 * 1024;

/// A withdrawal that was recorded.
#[derive(Serialize)]
struct Recorded {
    epoch: u64,
    seq: u64,
    at_us: i64,
    /// Since when it is proved to hold everywhere; `null` while it is under way.
    effective_at_us: Option<i64>,
}

/// What the entry `admin` of a withdrawal commits to.
#[derive(Serialize)]
struct Ordered<'a> {
    record: &'a Record,
    reason: &'a str,
}

/// `POST /as/withdrawals`: withdraws the tokens of a client, a certificate or a signing key, or all of them. The record is
/// announced and kept with its reason when it answers; the entry `admin` is too, or follows once the ledger takes it.
pub(crate) async fn withdraw(
    State(authority): State<Arc<Authority>>,
    peer: Peer,
    body: Bytes,
) -> Result<Response, Error> {
    authority.operator_only(&peer)?;
    let mut form = Form::parse(&body)?;
    let kind = form.required("kind", MAX_KEY)?;
    let withdrawal = match kind.as_str() {
        "all_before" => Withdrawal::AllBefore,
        _ => named(&kind, form.required("key", MAX_KEY)?)?,
    };
    let reason = reason(&mut form)?;
    let unlisted = form.take("unlisted").is_some_and(|unlisted| unlisted == "true");
    form.nothing_else()?;
    match &withdrawal {
        Withdrawal::Client(client) => authority.known(client).await?,
        // Of a wrong one it would be told that it is in effect, and the lost one would go on signing.
        Withdrawal::SigningKey(kid) if !unlisted => authority.signs_tokens(kid)?,
        Withdrawal::SigningKey(_) => {}
        Withdrawal::ClientCert(_) | Withdrawal::AllBefore | Withdrawal::Grant(_) => {}
    }

    let now = authority.clock.now();
    let record = authority
        .revocation
        .order(withdrawal, reason.clone(), now)
        .await?;
    let order = Order { record, reason };
    // It holds already: whether the ledger takes it is no answer to whoever ordered it, who may be gone besides.
    let logging = {
        let (authority, order) = (Arc::clone(&authority), order.clone());
        let tasks = authority.tasks.clone();
        tasks.spawn(async move { authority.log_order(&order).await })
    };
    if let Ok(Err(error)) = logging.await {
        unlogged(&order, &error);
    }
    let record = order.record;
    let recorded = Recorded {
        epoch: record.place.epoch,
        seq: record.place.seq,
        at_us: record.at.get(),
        effective_at_us: None,
    };
    Ok((StatusCode::CREATED, Json(recorded)).into_response())
}

/// What the entry `admin` of an ended recovery commits to.
#[derive(Serialize)]
struct Ended<'a> {
    /// How it was found that the database went back, and when.
    cause: &'a str,
    at: Micros,
    /// Where its log of withdrawals ended then.
    #[serde(rename = "from")]
    view: RevocationView,
    /// Beyond where it goes on.
    next: RevocationView,
    /// Whose knowledge is done without.
    without: &'a BTreeSet<ParticipantId>,
    reason: &'a str,
}

/// `POST /as/recovery`: goes on without what the participants named know of withdrawals that the database has lost; all who
/// are waited for must be named. Every token and refresh token from before ends, and this process with them. The entry
/// `admin` is durable first.
pub(crate) async fn end_recovery(
    State(authority): State<Arc<Authority>>,
    peer: Peer,
    body: Bytes,
) -> Result<Response, Error> {
    authority.operator_only(&peer)?;
    let mut form = Form::parse(&body)?;
    let named = form.required("without", MAX_LIST)?;
    let named = named.split(' ').map(str::parse::<ParticipantId>);
    let named: BTreeSet<ParticipantId> = named
        .collect::<Result<_, _>>()
        .map_err(|_| Error::request("without is not a list of participants"))?;
    let reason = reason(&mut form)?;
    form.nothing_else()?;

    let (mark, awaited) = authority
        .revocation
        .awaited()
        .ok_or_else(|| Error::request("the database did not go back: nothing is to be recovered"))?;
    if awaited.is_empty() {
        return Err(Error::request("nobody is waited for"));
    }
    let missing: Vec<_> = awaited.difference(&named).collect();
    if let [first, others @ ..] = missing.as_slice() {
        let more = match others.len() {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        return Err(Error::request(format!(
            "{first}{more} is waited for and not named"
        )));
    }
    let next = authority.revocation.beyond();
    let ended = Ended {
        cause: &mark.cause,
        at: mark.at,
        view: mark.view,
        next,
        without: &awaited,
        reason: &reason,
    };
    authority
        .ordered(&authority.published.edition(), None, &ended)
        .await?;
    let record = authority.revocation.begin_anew(&mark.cause, next).await?;
    let recorded = Recorded {
        epoch: record.place.epoch,
        seq: record.place.seq,
        at_us: record.at.get(),
        effective_at_us: None,
    };
    Ok((StatusCode::CREATED, Json(recorded)).into_response())
}

/// `GET /as/withdrawals/{seq}`: whether the record of this number has taken effect.
pub(crate) async fn withdrawal(
    State(authority): State<Arc<Authority>>,
    peer: Peer,
    Path(seq): Path<u64>,
) -> Result<Response, Error> {
    authority.operator_only(&peer)?;
    let record = authority.revocation.kept(seq).await?.ok_or(Error::NotFound)?;
    let effect = effect_read(&authority.db, seq).await?;
    Ok(Json(Recorded {
        epoch: record.place.epoch,
        seq,
        at_us: record.at.get(),
        effective_at_us: effect.map(|(at, _)| at.get()),
    })
    .into_response())
}

fn reason(form: &mut Form) -> Result<String, Error> {
    let reason = form.required("reason", MAX_REASON)?;
    match in_line(&reason) == reason {
        true => Ok(reason),
        false => Err(Error::request("reason is not one line of plain text")),
    }
}

fn named(kind: &str, key: String) -> Result<Withdrawal, Error> {
    let digest = |key: String| match key.len() == 43 && key.bytes().all(is_base64url) {
        true => Ok(key),
        false => Err(Error::request("key is not a SHA-256 digest in base64url")),
    };
    match kind {
        "client" => key
            .parse::<ParticipantId>()
            .map(Withdrawal::Client)
            .map_err(|_| Error::request("key is not a participant")),
        "client_cert" => digest(key).map(Withdrawal::ClientCert),
        "signing_key" => digest(key).map(Withdrawal::SigningKey),
        _ => Err(Error::request(
            "kind is client, client_cert, signing_key or all_before",
        )),
    }
}

const fn is_base64url(c: u8) -> bool {
    c.is_ascii_alphanumeric() || c == b'-' || c == b'_'
}

fn unlogged(order: &Order, error: &Error) {
    tracing::warn!(
        seq = order.record.place.seq,
        error = chain(error),
        "the entry of an ordered withdrawal is not written yet"
    );
}

impl Authority {
    /// Writes the entry `admin` of an order that stands in the database.
    async fn log_order(&self, order: &Order) -> Result<(), Error> {
        let view = self.revocation.view();
        self.journal.ledger.observe(view).await.map_err(Error::Ledger)?;
        let client = match &order.record.withdrawal {
            Withdrawal::Client(client) => Some(*client),
            Withdrawal::Grant(_)
            | Withdrawal::ClientCert(_)
            | Withdrawal::SigningKey(_)
            | Withdrawal::AllBefore => None,
        };
        let ordered = Ordered {
            record: &order.record,
            reason: &order.reason,
        };
        let edition = self.published.edition();
        self.ordered(&edition, client, &ordered).await?;
        let mut tx = self.db.begin().await?;
        order_logged(&mut tx, order.record.place.seq, self.clock.now()).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Writes the entries of orders that stand but could not be logged in their time. One that cannot be logged stands in no
    /// other's way.
    pub(crate) async fn log_missing_orders(&self) -> Result<(), Error> {
        let before = self.clock.now().plus_ms(-UNLOGGED_MS);
        let mut after = 0;
        loop {
            let orders = order_unlogged(&self.db, before, after).await?;
            let Some(last) = orders.last() else {
                return Ok(());
            };
            after = last.record.place.seq;
            for order in &orders {
                if let Err(error) = self.log_order(order).await {
                    unlogged(order, &error);
                }
            }
        }
    }

    /// Refuses a participant that nothing was minted for, so that a slip of the pen is not told to have taken effect. One
    /// that the directory leaves out already may hold tokens still: its grants tell.
    async fn known(&self, client: &ParticipantId) -> Result<(), Error> {
        let listed = self.published.edition().directory.participant(client).is_some();
        match listed || grant_names(&self.db, client).await? {
            true => Ok(()),
            false => Err(Error::request(
                "no participant of the directory has this name, nor has any grant",
            )),
        }
    }

    /// Whether a key is one that signs tokens, by the directory or by this authority's own files.
    fn signs_tokens(&self, kid: &str) -> Result<(), Error> {
        let edition = self.published.edition();
        let listed = &edition.directory.authority().token_keys;
        let held = self
            .keys
            .token
            .all()
            .any(|key| key.thumbprint().to_string() == kid);
        match held || listed.iter().any(|key| key.kid() == kid) {
            true => Ok(()),
            false => Err(Error::request(
                "no key that signs tokens has this thumbprint, neither in the directory nor here; where it was left out already, say --unlisted",
            )),
        }
    }

    /// Writes that the operator has ordered something.
    async fn ordered(
        &self,
        edition: &Edition,
        client: Option<ParticipantId>,
        ordered: &impl Serialize,
    ) -> Result<(), Error> {
        let evidence = serde_json::to_vec(ordered).map_err(|_| Error::Stored)?;
        let fact = Fact {
            edition,
            client,
            publisher: None,
            details: None,
            handle: None,
            capacity: None,
            acr: None,
        };
        self.journal.evidenced(Event::Admin, fact, evidence).await?;
        Ok(())
    }

    fn operator_only(&self, peer: &Peer) -> Result<(), Error> {
        match peer.id.participant() == Some(self.participant) {
            true => Ok(()),
            false => Err(Error::Client),
        }
    }
}
