//! A request that is open in a browser's session: whose it is, and whether it may still be put before somebody.

use unefois_core::{Acr, AuthorizationDetails, Capacity, Handle, Micros, Reason, Sha256, Way};
use unefois_store::authority::request::interaction_find;

use super::Acting;
use crate::Error;
use crate::journal::Fact;
use crate::oauth::{PushedRequest, bytes_of, text_of};
use crate::pages::{Reader, words};
use crate::published::Edition;
use crate::service::Authority;

/// An open request in this browser's session.
pub(in crate::pages) struct Open {
    pub(in crate::pages) id: [u8; 16],
    pub(in crate::pages) request: PushedRequest,
    /// How the reader's session names itself.
    pub(super) address: String,
    /// For whom the reader answers, where that is not themselves.
    pub(super) acting: Option<Acting>,
}

/// Whose request waits behind an address of ours, to say so at the login, and whether it is about a company.
pub(crate) async fn asker_of(
    authority: &Authority,
    reader: &Reader,
    address: &str,
) -> Result<Option<(String, bool)>, Error> {
    let Some((id, by_officer)) = behind(address) else {
        return Ok(None);
    };
    let open = authority.open_request(reader, id, by_officer).await?;
    let edition = authority.published.edition();
    Ok(open.map(|Open { request, .. }| {
        let name = words::name(&edition, reader.lang, &request.client);
        (name, request.capacity == Capacity::Entity)
    }))
}

/// The number of the request that an address of ours leads to, and whether an officer is to answer it.
fn behind(address: &str) -> Option<(&str, bool)> {
    let by_officer = || address.strip_prefix("/agent/").map(|id| (id, true));
    address
        .strip_prefix("/demande/")
        .map(|id| (id, false))
        .or_else(by_officer)
}

impl Authority {
    /// Records a login that is refused, where a request waits for it behind `address` in the session that it was begun in:
    /// whose request it is is known, whoever logs in is not. What is no refusal is recorded nowhere.
    pub(crate) async fn refused_login(
        &self,
        session: &Sha256,
        address: &str,
        error: Error,
    ) -> Result<Error, Error> {
        let Some((id, by_officer)) = behind(address) else {
            return Ok(error);
        };
        let Some(id) = bytes_of(id) else {
            return Ok(error);
        };
        match self.open_in(session, id, by_officer).await? {
            Some(open) => {
                let edition = self.published.edition();
                self.refused_reader(&open, &edition, error).await
            }
            None => Ok(error),
        }
    }

    /// Records that somebody may not answer a request, where the error is a refusal, and hands it on.
    pub(in crate::pages) async fn refused_reader(
        &self,
        open: &Open,
        edition: &Edition,
        error: Error,
    ) -> Result<Error, Error> {
        if let Some(reason) = error.recorded() {
            let first = open.request.elements.first();
            self.record_refusal(open, edition, reason, first, None).await?;
        }
        Ok(error)
    }

    /// Writes that a request was refused to whoever wanted to answer it, known at `acr`.
    pub(in crate::pages) async fn record_refusal(
        &self,
        open: &Open,
        edition: &Edition,
        reason: Reason,
        details: Option<&AuthorizationDetails>,
        acr: Option<Acr>,
    ) -> Result<(), Error> {
        self.count_refusal(reason);
        let fact = Fact {
            acr,
            capacity: Some(open.request.capacity),
            ..open.fact(edition, details, None)
        };
        self.journal.refused(reason, fact).await.map(drop)
    }

    /// Checks that a request may still be put before a person, and records where it may not.
    pub(in crate::pages) async fn check_again(&self, open: &Open, edition: &Edition) -> Result<(), Error> {
        match open.request.still_authorizable(edition, self.clock.now()) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.refused_reader(open, edition, error).await?),
        }
    }

    pub(in crate::pages) async fn open_request(
        &self,
        reader: &Reader,
        id: &str,
        by_officer: bool,
    ) -> Result<Option<Open>, Error> {
        let id = bytes_of(id).ok_or(Error::NotFound)?;
        match &reader.visit {
            Some(visit) => self.open_in(&visit.hash, id, by_officer).await,
            None => Ok(None),
        }
    }

    async fn open_in(&self, session: &Sha256, id: [u8; 16], by_officer: bool) -> Result<Option<Open>, Error> {
        let found = interaction_find(&self.db, &id, self.clock.now()).await?;
        let mine = found.filter(|interaction| interaction.session_hash == *session);
        let request = mine.and_then(|interaction| PushedRequest::stored(&interaction.body));
        let request = request.filter(|request| (request.way == Way::Agent) == by_officer);
        Ok(request.map(|request| Open {
            id,
            request,
            address: format!("/demande/{}", text_of(&id)),
            acting: None,
        }))
    }
}

impl Open {
    /// When the mandate ends that the reader answers by.
    pub(super) fn latest(&self) -> Option<Micros> {
        match &self.acting {
            Some(Acting::Mandate(mandate)) => Some(mandate.row.expires_at),
            Some(Acting::Office { .. }) | None => None,
        }
    }

    pub(in crate::pages) fn fact<'a>(
        &self,
        edition: &'a Edition,
        details: Option<&'a AuthorizationDetails>,
        handle: Option<Handle>,
    ) -> Fact<'a> {
        Fact {
            edition,
            client: Some(self.request.client),
            publisher: self.request.publisher,
            details,
            handle,
            capacity: None,
            acr: None,
        }
    }
}
