//! A request that is open in a browser's session: whose it is, and whether it may still be put before somebody.

use unefois_core::{AuthorizationDetails, Capacity, Handle, Micros, Way};
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
    let (id, by_officer) = match (address.strip_prefix("/demande/"), address.strip_prefix("/agent/")) {
        (Some(id), _) => (id, false),
        (None, Some(id)) => (id, true),
        (None, None) => return Ok(None),
    };
    let open = authority.open_request(reader, id, by_officer).await?;
    let edition = authority.published.edition();
    Ok(open.map(|Open { request, .. }| {
        let name = words::name(&edition, reader.lang, &request.client);
        (name, request.capacity == Capacity::Entity)
    }))
}

impl Authority {
    /// Checks that a request may still be put before a person, and records where it may not.
    pub(in crate::pages) async fn check_again(&self, open: &Open, edition: &Edition) -> Result<(), Error> {
        let Err(error) = open.request.still_authorizable(edition, self.clock.now()) else {
            return Ok(());
        };
        if let Some(reason) = error.reason() {
            self.count_refusal(reason);
            let first = open.request.elements.first();
            self.journal
                .refused(reason, open.fact(edition, first, None))
                .await?;
        }
        Err(error)
    }

    pub(in crate::pages) async fn open_request(
        &self,
        reader: &Reader,
        id: &str,
        by_officer: bool,
    ) -> Result<Option<Open>, Error> {
        let Some(id) = bytes_of(id) else {
            return Err(Error::NotFound);
        };
        let found = interaction_find(&self.db, &id, self.clock.now()).await?;
        let mine = found.filter(|i| {
            reader
                .visit
                .as_ref()
                .is_some_and(|visit| visit.hash == i.session_hash)
        });
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
