use std::sync::Arc;

use unefois_core::commitment::{Field, GrantSecret};
use unefois_core::{
    Acr, AuthorizationDetails, Capacity, Clock, DemarcheId, Entry, Event, Handle, LegalBasis, Micros,
    Outcome, ParticipantId, Random, Reason,
};
use unefois_ledger::{About, Draft, DurableReceipt, Ledger};
use unefois_store::Db;
use unefois_store::index::{SecretRow, secret_insert};

use crate::Error;
use crate::published::Edition;

/// The authority's own ledger: each grant, refusal, token and withdrawal is durable here before its answer leaves.
#[derive(Clone)]
pub(crate) struct Journal {
    pub(crate) ledger: Ledger,
    pub(crate) db: Db,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
}

/// What an entry is about.
#[derive(Clone, Copy)]
pub(crate) struct Fact<'a> {
    pub(crate) edition: &'a Edition,
    /// Who asked, or asks no more; `None` for what concerns everybody.
    pub(crate) client: Option<ParticipantId>,
    pub(crate) publisher: Option<ParticipantId>,
    pub(crate) details: Option<&'a AuthorizationDetails>,
    pub(crate) handle: Option<Handle>,
    pub(crate) capacity: Option<Capacity>,
    pub(crate) acr: Option<Acr>,
}

impl Journal {
    /// Writes an entry; with a handle, its commitments open with that handle's secret of the month.
    pub(crate) async fn write(&self, event: Event, fact: Fact<'_>) -> Result<DurableReceipt, Error> {
        self.append(event, fact, None, None).await
    }

    /// Writes an entry that commits to `evidence`, kept beside the ledger.
    pub(crate) async fn evidenced(
        &self,
        event: Event,
        fact: Fact<'_>,
        evidence: Vec<u8>,
    ) -> Result<DurableReceipt, Error> {
        self.append(event, fact, None, Some(evidence)).await
    }

    /// Writes that a call of a known client, or a person's login for it, was refused (I8).
    pub(crate) async fn refused(&self, reason: Reason, fact: Fact<'_>) -> Result<DurableReceipt, Error> {
        self.append(Event::Refused, fact, Some(reason), None).await
    }

    /// Writes that somebody objects, to whom and for which démarche, and commits to `evidence`. Nothing of it leads to the
    /// person.
    pub(crate) async fn opposed(
        &self,
        client: Option<ParticipantId>,
        demarche: Option<DemarcheId>,
        edition: &Edition,
        evidence: Vec<u8>,
    ) -> Result<DurableReceipt, Error> {
        let entry = Entry {
            requester: client,
            demarche,
            legal_basis: Some(LegalBasis::Proactive),
            directory_version: edition.directory.version(),
            ..Entry::new(Event::Opposed, self.clock.now())
        };
        let mut draft = Draft::new(entry);
        draft.evidence = Some(evidence);
        self.ledger.append(draft).await.map_err(Error::Ledger)
    }

    async fn append(
        &self,
        event: Event,
        fact: Fact<'_>,
        reason: Option<Reason>,
        evidence: Option<Vec<u8>>,
    ) -> Result<DurableReceipt, Error> {
        let now = self.clock.now();
        let mut entry = Entry {
            requester: fact.client,
            publisher: fact.publisher,
            capacity: fact.capacity,
            acr: fact.acr,
            outcome: reason.map(|reason| match reason.retryable() {
                true => Outcome::Later,
                false => Outcome::Refused,
            }),
            reason,
            directory_version: fact.edition.directory.version(),
            ..Entry::new(event, now)
        };
        if let Some(details) = fact.details {
            let datatype = fact.edition.catalogue.datatype(details.datatype());
            entry = Entry {
                provider: Some(*details.operator()),
                holder: datatype.and_then(|d| match d.sheet().holders.as_slice() {
                    [only] => Some(only.clone()),
                    [] | [_, _, ..] => None,
                }),
                datatype: Some(details.datatype().clone()),
                demarche: Some(details.demarche.clone()),
                habilitation: Some(details.habilitation.clone()),
                legal_basis: Some(details.legal_basis.clone()),
                units: datatype.map_or(0, |d| d.known_units(details.units.iter().map(|u| &u.unit)).bits()),
                ..entry
            };
        }
        let mut about = About::default();
        if let (Some(handle), Some(details)) = (fact.handle, fact.details) {
            let secret = self.secret(&handle, now).await?;
            let exchange = self.random.exchange_id(now);
            entry.exchange_id = Some(exchange);
            entry.grant_commit = Some(secret.commit(&exchange, Field::Grant, handle.as_bytes()));
            let dossier = details.dossier_ref.as_str().as_bytes();
            entry.dossier_commit = Some(secret.commit(&exchange, Field::Dossier, dossier));
            about.handle = Some(handle);
        }
        let mut draft = Draft::new(entry).about(about);
        draft.evidence = evidence;
        self.ledger.append(draft).await.map_err(Error::Ledger)
    }

    /// The secret of a handle for the month of `at`: drawn once, whoever asks first.
    pub(crate) async fn secret(&self, handle: &Handle, at: Micros) -> Result<GrantSecret, Error> {
        let month = at.month();
        let kept = || self.ledger.secrets(handle, month, month);
        if let Some(secret) = kept().await.map_err(Error::Ledger)?.pop() {
            return Ok(secret);
        }
        let drawn = SecretRow {
            month,
            unit: handle.unit(),
            mac: self.ledger.node_key().handle_key(handle),
            secret: GrantSecret::draw(&*self.random),
        };
        let mut tx = self.db.begin().await?;
        secret_insert(&mut tx, &[drawn]).await?;
        tx.commit().await?;
        // Another request may have been first: the one that is stored counts.
        kept().await.map_err(Error::Ledger)?.pop().ok_or(Error::Stored)
    }
}
