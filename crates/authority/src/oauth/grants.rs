use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures_util::future::join_all;
use http::StatusCode;
use serde::Serialize;
use unefois_core::authorization::{Mode, ModeKind, Need};
use unefois_core::{
    AuthorizationDetails, Event, Handle, Micros, ParticipantId, Sha256, UnitName, WithdrawnBy,
};
use unefois_jose::{SigningKey, Thumbprint, access_token};
use unefois_mesh::Peer;
use unefois_mesh::status::chain;
use unefois_store::authority::GrantId;
use unefois_store::authority::grant::{
    Element, Grant, GrantRow, grant_at_head, grant_of_handle, refresh_find, withdrawal_logged,
    withdrawal_unlogged,
};
use unefois_store::authority::narrow::Narrowing;
use unefois_store::authority::request::link_end;

use super::client::Client;
use super::mint::{details_of, end_of, stands};
use super::no_store;
use crate::Error;
use crate::form::Form;
use crate::journal::Fact;
use crate::published::Edition;
use crate::service::Authority;

/// How long whoever withdraws has to log it; later, somebody else does. A ledger's write ends in 2 s.
const UNLOGGED_MS: i64 = 10_000;

/// `POST /as/revoke` (RFC 7009): a refresh token given back ends its grant, the `request_uri` of a link ends that link. An
/// unknown one is already void; an access token ends by itself within minutes, and is not taken back alone (2.2.1): its grant
/// is, by its refresh token or its number.
pub(crate) async fn revoke(
    State(authority): State<Arc<Authority>>,
    peer: Peer,
    body: Bytes,
) -> Result<Response, Error> {
    let edition = authority.published.edition();
    let (client, mut form) = authority.admit(&peer, &body, &edition).await?;
    let given_back = async {
        let token = form.required("token", access_token::MAX_BYTES)?;
        let own = |kid: &Thumbprint| authority.keys.token.all().find(|key| key.thumbprint() == kid);
        if access_token::authenticate(&token, |kid| own(kid).map(SigningKey::verifying_key)).is_ok() {
            return Err(Error::TokenType);
        }
        let hash = Sha256::of(token.as_bytes());
        let now = authority.clock.now();
        match refresh_find(&authority.db, &hash, client.bearer(), now).await? {
            Some(grant) => authority.end_grant(&grant, WithdrawnBy::Consumer).await?,
            None => {
                let mut tx = authority.db.begin().await?;
                link_end(&mut tx, &hash, &client.id).await?;
                tx.commit().await?;
            }
        }
        Ok(StatusCode::OK.into_response())
    };
    match given_back.await {
        Ok(response) => Ok(response),
        Err(error) => Err(authority.refused(&client, &edition, error).await),
    }
}

#[derive(Serialize)]
struct Shown {
    grant_id: String,
    granted_at_us: i64,
    ends_at_us: i64,
    /// The elements still standing.
    authorization_details: Vec<AuthorizationDetails>,
}

/// `GET /as/grants/{id}`: what still stands of a grant (Grant Management for OAuth, `query`).
pub(crate) async fn show_grant(
    State(authority): State<Arc<Authority>>,
    peer: Peer,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let row = authority.own_grant(&peer, &id).await?;
    let now = authority.clock.now();
    let (mut standing, mut ends_at) = (Vec::new(), row.grant.granted_at);
    for element in &row.elements {
        let details = details_of(element)?;
        if element.followed_by.is_none() {
            ends_at = ends_at.max(end_of(&row.grant, &details));
        }
        if stands(&row.grant, element, &details, now) {
            standing.push(details);
        }
    }
    Ok(no_store(Shown {
        grant_id: id,
        granted_at_us: row.grant.granted_at.get(),
        ends_at_us: ends_at.get(),
        authorization_details: standing,
    }))
}

/// `DELETE /as/grants/{id}`: the consumer gives a grant back (`revoke`).
pub(crate) async fn delete_grant(
    State(authority): State<Arc<Authority>>,
    peer: Peer,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let row = authority.own_grant(&peer, &id).await?;
    authority.end_grant(&row.grant.id, WithdrawnBy::Consumer).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

impl Authority {
    /// A grant of the client that the certificate names, or one that it obtained for a tenant that it still acts for.
    async fn own_grant(&self, peer: &Peer, id: &str) -> Result<GrantRow, Error> {
        self.admit_peer(peer)?;
        let edition = self.published.edition();
        let holder = Client::authenticate(peer, &mut Form::default(), &edition)?;
        match self.grant_of(&holder.id, id, &edition).await {
            Ok(row) => Ok(row),
            // The entry names who asked, and nothing of the grant.
            Err(error) => Err(self.refused(&holder, &edition, error).await),
        }
    }

    async fn grant_of(&self, holder: &ParticipantId, id: &str, edition: &Edition) -> Result<GrantRow, Error> {
        let id = bytes_of(id).map(GrantId::from_bytes).ok_or(Error::NoSuchGrant)?;
        let (row, _) = grant_at_head(&self.db, &id).await?.ok_or(Error::NoSuchGrant)?;
        let publisher = (*holder != row.grant.client).then_some(*holder);
        if publisher != row.grant.act_client {
            return Err(Error::NoSuchGrant);
        }
        // Whoever obtained it knows that there is one: told that it is unknown, they would take it for given back.
        let acts = edition.directory.acts_for(holder, &row.grant.client);
        acts.then_some(row).ok_or(Error::NotDelegated)
    }

    /// Ends every element of a grant that still stands: the record is announced, the entry `withdrawn` durable, when
    /// it returns. Those that ended before stay as they are.
    pub(crate) async fn end_grant(&self, id: &GrantId, by: WithdrawnBy) -> Result<(), Error> {
        let fresh = self.revocation.withdraw(*id, by, self.clock.now()).await?;
        self.log_withdrawals(id, &fresh).await
    }

    /// Writes the entries of what has just been withdrawn of a grant: read anew, since elements may have taken the place of
    /// others since it was read last.
    async fn log_withdrawals(&self, id: &GrantId, fresh: &[Handle]) -> Result<(), Error> {
        let view = self.revocation.view();
        self.journal.ledger.observe(view).await.map_err(Error::Ledger)?;
        let (row, _) = grant_at_head(&self.db, id).await?.ok_or(Error::NotFound)?;
        for element in row.elements.iter().filter(|e| fresh.contains(&e.handle)) {
            self.log_withdrawal(&row.grant, element).await?;
        }
        Ok(())
    }

    /// Writes the entries of handles that were withdrawn together.
    pub(crate) async fn log_stopped(&self, stopped: &[Handle]) -> Result<(), Error> {
        let view = self.revocation.view();
        self.journal.ledger.observe(view).await.map_err(Error::Ledger)?;
        for handle in stopped {
            let row = grant_of_handle(&self.db, handle).await?.ok_or(Error::Stored)?;
            let element = row.elements.iter().find(|element| element.handle == *handle);
            self.log_withdrawal(&row.grant, element.ok_or(Error::Stored)?)
                .await?;
        }
        Ok(())
    }

    /// Puts narrower elements in the places of others, all at once: their handles are withdrawn, and the asker gets those
    /// that follow at its next refresh. How many: an element that has ended meanwhile stays as it is.
    pub(crate) async fn narrow(&self, id: &GrantId, narrowings: Vec<Narrowing>) -> Result<usize, Error> {
        if narrowings.is_empty() {
            return Ok(0);
        }
        let fresh = self.revocation.narrow(narrowings, self.clock.now()).await?;
        self.log_withdrawals(id, &fresh).await?;
        Ok(fresh.len())
    }

    /// What becomes of an element without those of its optional units that are not `kept`, and of a standing one that ends
    /// at `until`, if that is earlier; `None` where it stays as it is.
    pub(crate) fn narrowing(
        &self,
        grant: &Grant,
        element: &Element,
        kept: impl Fn(&UnitName) -> bool,
        until: Option<Micros>,
    ) -> Result<Option<Narrowing>, Error> {
        let details = details_of(element)?;
        let (units, out): (Vec<_>, Vec<_>) = (details.units.iter().cloned())
            .partition(|asked| asked.need == Need::Required || kept(&asked.unit));
        let earlier =
            until.filter(|end| details.mode.kind == ModeKind::Standing && *end < end_of(grant, &details));
        if out.is_empty() && earlier.is_none() {
            return Ok(None);
        }
        let old = element.handle;
        if units.is_empty() {
            return Ok(Some(Narrowing { old, next: None }));
        }
        let handle = Handle::draw(self.clock.now(), &*self.random);
        let details = AuthorizationDetails {
            units,
            mode: Mode {
                until: earlier.or(details.mode.until),
                ..details.mode
            },
            gh: Some(handle),
            ..details
        };
        let out = out.into_iter().map(|asked| asked.unit);
        let next = Element {
            handle,
            details: serde_json::to_string(&details).map_err(|_| Error::Stored)?,
            left_out: element.left_out.iter().cloned().chain(out).collect(),
            withdrawn: None,
            followed_by: None,
        };
        let next = Some(next);
        Ok(Some(Narrowing { old, next }))
    }

    /// Writes the entries of withdrawals that stand but could not be logged in their time: the ledger was away, or
    /// this process died in between. One that cannot be logged stands in no other's way.
    pub(crate) async fn log_missing_withdrawals(&self) -> Result<(), Error> {
        let before = self.clock.now().plus_ms(-UNLOGGED_MS);
        let mut after = 0;
        loop {
            let withdrawn = withdrawal_unlogged(&self.db, before, after).await?;
            let Some((last, _)) = withdrawn.last() else {
                return Ok(());
            };
            after = *last;
            let logged = withdrawn.into_iter().map(async |(seq, read)| {
                let logged = match read {
                    Ok((grant, element)) => self.log_withdrawal(&grant, &element).await,
                    Err(error) => Err(error.into()),
                };
                if let Err(error) = logged {
                    tracing::warn!(
                        seq,
                        error = chain(&error),
                        "the entry of a withdrawal is not written yet"
                    );
                }
            });
            join_all(logged).await;
        }
    }

    /// Writes the entry of an element's withdrawal, and notes that the ledger holds it.
    pub(crate) async fn log_withdrawal(&self, grant: &Grant, element: &Element) -> Result<(), Error> {
        let event = match element.withdrawn.as_ref().map(|withdrawn| withdrawn.by) {
            Some(WithdrawnBy::Narrowed) => Event::Narrowed,
            Some(
                WithdrawnBy::Person
                | WithdrawnBy::Consumer
                | WithdrawnBy::CodeReuse
                | WithdrawnBy::Unrecorded
                | WithdrawnBy::Opposition
                | WithdrawnBy::Mandate
                | WithdrawnBy::Mandator,
            ) => Event::Withdrawn,
            None => return Ok(()),
        };
        let details = details_of(element)?;
        let fact = Fact {
            edition: &self.published.edition(),
            client: Some(grant.client),
            publisher: grant.act_client,
            details: Some(&details),
            handle: Some(element.handle),
            capacity: Some(grant.capacity),
            acr: Some(grant.acr),
        };
        self.journal.write(event, fact).await?;
        let mut tx = self.db.begin().await?;
        withdrawal_logged(&mut tx, &element.handle, self.clock.now()).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// 16 bytes as 22 characters of base64url.
pub(crate) fn text_of(bytes: &[u8; 16]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The 16 bytes of such a text.
pub(crate) fn bytes_of(text: &str) -> Option<[u8; 16]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}
