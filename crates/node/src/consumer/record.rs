//! The one entry that each exchange ends with, and what follows from it.

use std::sync::Arc;

use unefois_core::authorization::ModeKind;
use unefois_core::commitment::Field;
use unefois_core::{AccessTokenClaims, Entry, Event, FetchCore, Micros, Outcome, Reason, Sha256};
use unefois_ledger::{About, Draft, DurableReceipt};
use unefois_mesh::status::Refusal;
use unefois_mesh::{Edition, status};
use unefois_store::node::grant::element_used;
use unefois_store::node::request::{acknowledgement_insert, acknowledgements_delete};
use unefois_store::peer::PeerHead;

use super::evidence::{Fault, Proved};
use super::held::Element;
use super::token::Token;
use super::verify::ReceivedAnswer;
use super::witness::Continuing;
use super::{Error, Inner};

/// An exchange under way: what its entry will say.
pub(super) struct Exchange {
    pub(super) edition: Arc<Edition>,
    pub(super) core: FetchCore,
    pub(super) claims: AccessTokenClaims,
    /// The key that signed the token of these claims.
    pub(super) kid: String,
    pub(super) attempt: u16,
    /// What proves a child's link to the asker, as it is passed on.
    pub(super) link: Option<String>,
}

/// The peer's entry about a refusal, as it named it; nothing of it is proved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PeerEntry {
    pub(super) leaf: Option<Sha256>,
    pub(super) origin_hash: Option<Sha256>,
}

impl Exchange {
    /// Goes on under another token: the entry speaks of the one that was used.
    pub(super) fn bear(&mut self, token: &Token) {
        self.claims = token.claims().clone();
        self.kid = token.kid();
    }

    fn entry(&self, event: Event) -> Entry {
        let (core, claims) = (&self.core, &self.claims);
        let details = &claims.authorization_details[0];
        let commit = |field, value: &[u8]| Some(claims.gs.commit(&core.request_id, field, value));
        let units = self.edition.catalogue.datatype(&core.datatype);
        let units = units.map(|datatype| datatype.known_units(&core.units).bits());
        // The sequencer sets the instant.
        Entry {
            exchange_id: Some(core.request_id),
            attempt: self.attempt,
            requester: Some(claims.client_id),
            provider: Some(claims.aud),
            publisher: claims.act_client,
            datatype: Some(core.datatype.clone()),
            demarche: Some(core.demarche.clone()),
            habilitation: Some(details.habilitation.clone()),
            legal_basis: Some(details.legal_basis.clone()),
            capacity: Some(claims.capacity),
            acr: Some(claims.acr),
            units: units.unwrap_or_default(),
            directory_version: self.edition.directory.version(),
            grant_commit: commit(Field::Grant, core.handle.as_bytes()),
            dossier_commit: commit(Field::Dossier, core.dossier.as_str().as_bytes()),
            request_hash: Some(core.hash()),
            ..Entry::new(event, Micros::new(0))
        }
    }

    fn draft(&self, entry: Entry) -> Draft {
        Draft::new(entry).about(About {
            handle: Some(self.core.handle),
            secret: Some((Micros::from_secs(self.claims.iat).month(), self.claims.gs.clone())),
            ..About::default()
        })
    }
}

impl Inner {
    /// Records an answer of a log that continues what was seen of it, durably; only then does it become one that may be handed on.
    pub(super) async fn received(
        &self,
        exchange: &Exchange,
        element: &Element,
        Continuing(answer): Continuing,
        told: &[Sha256],
    ) -> Result<ReceivedAnswer, Error> {
        let producer = answer.producer();
        let entry = Entry {
            holder: producer.entry.holder.clone(),
            outcome: Some(Outcome::Answered),
            content_commit: producer.entry.content_commit,
            peer_entry_hash: Some(producer.leaf),
            peer_origin_hash: Some(producer.origin_hash()),
            ..exchange.entry(Event::Received)
        };
        let receipt = self.ledger.append(exchange.draft(entry)).await?;
        // Durable from here on: what follows is for the next call, and is no reason to hold the answer back.
        if let Err(error) = self.follow_up(exchange, element, producer, told).await {
            tracing::error!(
                error = status::chain(&error),
                "what follows an answer is not stored"
            );
        }
        self.exchanges.ended(
            &exchange.claims.aud,
            Some(&exchange.core.datatype),
            Outcome::Answered,
            None,
        );
        Ok(answer.received(receipt))
    }

    /// The next call names this entry; a one-shot element is used.
    async fn follow_up(
        &self,
        exchange: &Exchange,
        element: &Element,
        producer: &Proved,
        told: &[Sha256],
    ) -> Result<(), unefois_store::Error> {
        let now = self.clock.now();
        let (tenant, provider) = (self.tenant(), exchange.claims.aud.siret().to_string());
        let mut tx = self.db.begin().await?;
        acknowledgements_delete(&mut tx, &tenant, &provider, told).await?;
        acknowledgement_insert(&mut tx, &tenant, &provider, &producer.leaf, now).await?;
        if element.details.mode.kind == ModeKind::Once {
            element_used(&mut tx, &element.row.handle, &exchange.core.request_id).await?;
        }
        tx.commit().await
    }

    /// Records that the producer refused, or that this node refuses what the producer sent.
    pub(super) async fn refused(
        &self,
        exchange: &Exchange,
        reason: Reason,
        outcome: Outcome,
        peer: PeerEntry,
    ) -> Result<DurableReceipt, Error> {
        let entry = Entry {
            outcome: Some(outcome),
            reason: Some(reason),
            peer_entry_hash: peer.leaf,
            peer_origin_hash: peer.origin_hash,
            ..exchange.entry(Event::Refused)
        };
        self.exchanges.ended(
            &exchange.claims.aud,
            Some(&exchange.core.datatype),
            outcome,
            Some(reason),
        );
        Ok(self.ledger.append(exchange.draft(entry)).await?)
    }

    /// Records an answer that is not believed, with why and, of a log that contradicts itself, the heads that do;
    /// the error for the back-office.
    ///
    /// `sent` is the entry and its proof as they came, `held` the head that the proof's contradicts.
    pub(super) async fn unbelieved(
        &self,
        exchange: &Exchange,
        fault: Fault,
        (entry_bytes, proof): (Vec<u8>, String),
        held: Option<PeerHead>,
    ) -> Error {
        let peer = &exchange.claims.aud;
        tracing::error!(%peer, error = status::chain(&fault), "an answer does not verify");
        let mut evidence = fault.to_string();
        if fault == Fault::Forked {
            let held = held.map(|held| held.checkpoint).unwrap_or_default();
            evidence = format!("{evidence}\n\n{held}\n{proof}");
        }
        // What they sent, so that it can be shown to them; it is not proved to be theirs.
        let leaf = unefois_tlog::Hash::of_leaf(&entry_bytes);
        let entry = Entry {
            outcome: Some(Outcome::Refused),
            reason: Some(Reason::SourceSchema),
            peer_entry_hash: Some(Sha256::from_bytes(*leaf.as_bytes())),
            ..exchange.entry(Event::Refused)
        };
        let draft = exchange.draft(entry).evidence(evidence.into_bytes());
        let reason = Some(Reason::SourceSchema);
        self.exchanges
            .ended(peer, Some(&exchange.core.datatype), Outcome::Refused, reason);
        match self.ledger.append(draft).await {
            Ok(_) => Error::Unverified(fault),
            Err(error) => error.into(),
        }
    }

    /// Records that no whole answer came.
    pub(super) async fn unanswered(&self, exchange: &Exchange) -> Result<DurableReceipt, Error> {
        let entry = Entry {
            outcome: Some(Outcome::Later),
            reason: Some(Reason::Deadline),
            ..exchange.entry(Event::Unanswered)
        };
        let reason = Some(Reason::Deadline);
        self.exchanges.ended(
            &exchange.claims.aud,
            Some(&exchange.core.datatype),
            Outcome::Later,
            reason,
        );
        Ok(self.ledger.append(exchange.draft(entry)).await?)
    }
}

/// How a refusal counts: later where waiting helps, as the producer said.
pub(super) const fn outcome(refusal: &Refusal) -> Outcome {
    match refusal.retry_after {
        Some(_) => Outcome::Later,
        None => Outcome::Refused,
    }
}
