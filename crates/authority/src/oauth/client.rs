use opentelemetry::KeyValue;
use unefois_core::{ParticipantId, Reason};
use unefois_mesh::{Peer, metrics};
use unefois_store::authority::grant::Bearer;

use crate::Error;
use crate::form::Form;
use crate::journal::Fact;
use crate::published::Edition;
use crate::service::Authority;

/// A client that its certificate has authenticated (`tls_client_auth`, RFC 8705, 2.1).
#[derive(Clone, Copy)]
pub(super) struct Client {
    pub(super) id: ParticipantId,
    /// The publisher that holds the connection, where it is not the client itself.
    pub(super) publisher: Option<ParticipantId>,
}

impl Client {
    /// The participant of the certificate, by name and key of its directory row, or the tenant that it acts for.
    /// `client_id` may be left out by one that acts for itself.
    pub(super) fn authenticate(peer: &Peer, form: &mut Form, edition: &Edition) -> Result<Self, Error> {
        let holder = peer.id.participant().ok_or(Error::Client)?;
        if !edition.directory.peer_allowed(&holder, &peer.spki_sha256) {
            return Err(Error::Client);
        }
        let id = match form.take("client_id") {
            Some(text) => text.parse().map_err(|_| Error::Client)?,
            None => holder,
        };
        if id == holder {
            return Ok(Self { id, publisher: None });
        }
        match edition.directory.acts_for(&holder, &id) {
            true => Ok(Self {
                id,
                publisher: Some(holder),
            }),
            false => Err(Error::Client),
        }
    }

    /// Whose codes and refresh tokens it may use: those that it obtained itself, not another publisher's.
    pub(super) const fn bearer(&self) -> Bearer<'_> {
        Bearer {
            client: &self.id,
            publisher: self.publisher.as_ref(),
        }
    }

    /// What entries about this client say.
    pub(super) fn fact<'a>(&self, edition: &'a Edition) -> Fact<'a> {
        Fact {
            edition,
            client: Some(self.id),
            publisher: self.publisher,
            details: None,
            handle: None,
            capacity: None,
            acr: None,
        }
    }
}

impl Authority {
    /// Records that a known client's call was refused, then hands the error on; what is our own fault is no refusal.
    pub(super) async fn refused(&self, client: &Client, edition: &Edition, error: Error) -> Error {
        let Some(reason) = error.recorded() else {
            return error;
        };
        self.count_refusal(reason);
        match self.journal.refused(reason, client.fact(edition)).await {
            Ok(_) => error,
            Err(ledger) => ledger,
        }
    }

    /// Counts a refusal for those who watch.
    pub(crate) fn count_refusal(&self, reason: Reason) {
        let attributes = [KeyValue::new(metrics::REASON, reason.as_str())];
        self.instruments.refusals.add(1, &attributes);
    }

    /// What a participant asks of the back channel, and the client that it speaks for. What is refused to one that the
    /// directory knows is in the ledger, under its own name.
    pub(super) async fn admit(
        &self,
        peer: &Peer,
        body: &[u8],
        edition: &Edition,
    ) -> Result<(Client, Form), Error> {
        self.admit_peer(peer)?;
        let read = Form::parse(body).and_then(|mut form| {
            let client = Client::authenticate(peer, &mut form, edition)?;
            Ok((client, form))
        });
        match (read, Client::authenticate(peer, &mut Form::default(), edition)) {
            (Ok(read), _) => Ok(read),
            (Err(error), Ok(holder)) => Err(self.refused(&holder, edition, error).await),
            (Err(error), Err(_)) => Err(error),
        }
    }

    /// Lets `peer` go on, within its rate.
    pub(super) fn admit_peer(&self, peer: &Peer) -> Result<(), Error> {
        match self.peers.admit(peer.id.clone(), self.clock.boottime()) {
            true => Ok(()),
            false => Err(self.turned_away(peer, Error::TooManyRequests)),
        }
    }

    /// Counts a call that is refused before it is read, so that it has no entry: the hourly `tally` says how many (I8).
    pub(crate) fn turned_away(&self, peer: &Peer, error: Error) -> Error {
        if let Some(reason) = error.reason() {
            self.count_refusal(reason);
            self.journal
                .ledger
                .turned_away(Some(&peer.id.to_string()), reason);
        }
        error
    }
}
