use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use unefois_core::authorization::{Mode, ModeKind};
use unefois_core::{AuthorizationDetails, Handle, Micros, ParticipantId, Random, Sha256, WithdrawnBy};
use unefois_mesh::Peer;
use unefois_mesh::status::chain;
use unefois_store::authority::GrantId;
use unefois_store::authority::grant::{CodeUse, code_restore, code_use, refresh_find, refresh_insert};

use super::automatic::AUTOMATIC;
use super::client::Client;
use super::mint::{Minted, Wanted};
use super::no_store;
use crate::Error;
use crate::form::Form;
use crate::published::Edition;
use crate::service::Authority;

/// How long a code may wait.
pub(crate) const CODE_MS: i64 = 30_000;
/// How long a one-shot element may be used: a document may be resumed for an hour.
const ONCE_MS: i64 = 75 * 60_000;
/// The longest life of a standing element.
const STANDING_MS: i64 = 365 * 24 * 3_600_000;

/// `POST /as/token`: a code, a refresh token, or a request with nobody present, becomes one access token.
pub(crate) async fn token(
    State(authority): State<Arc<Authority>>,
    peer: Peer,
    body: Bytes,
) -> Result<Response, Error> {
    let edition = authority.published.edition();
    let (client, form) = authority.admit(&peer, &body, &edition).await?;
    match exchange(&authority, &edition, &client, &peer, form).await {
        Ok(response) => Ok(response),
        Err(error) => Err(authority.refused(&client, &edition, error).await),
    }
}

async fn exchange(
    authority: &Authority,
    edition: &Edition,
    client: &Client,
    peer: &Peer,
    mut form: Form,
) -> Result<Response, Error> {
    // Before a code is used up.
    authority.revocation.recovered()?;
    let grant_type = form.required("grant_type", 128)?;
    let wanted = Wanted {
        resource: resource(&mut form)?,
        handle: handle(&mut form)?,
    };
    let minted = match grant_type.as_str() {
        "authorization_code" => {
            let (grant, code) = by_code(authority, client, &mut form).await?;
            let first = first_token(authority, edition, client, peer, &grant, &wanted).await;
            if let Err(error) = &first {
                not_used(authority, &code, error).await;
            }
            first?
        }
        "refresh_token" => {
            let text = form.required("refresh_token", 128)?;
            let now = authority.clock.now();
            let grant =
                refresh_find(&authority.db, &Sha256::of(text.as_bytes()), client.bearer(), now).await?;
            let grant = grant.ok_or(Error::Grant)?;
            authority
                .mint(edition, client, peer, &grant, &wanted, false)
                .await?
        }
        AUTOMATIC => {
            let grant = authority.grant_with_nobody(edition, client, &mut form).await?;
            let first = first_token(authority, edition, client, peer, &grant, &wanted).await;
            if first.is_err() {
                give_back(authority, &grant).await;
            }
            first?
        }
        _ => return Err(Error::GrantType),
    };
    Ok(no_store(minted))
}

/// The first token of a grant, with all that was granted and the refresh token that gives the next ones.
async fn first_token(
    authority: &Authority,
    edition: &Edition,
    client: &Client,
    peer: &Peer,
    grant: &GrantId,
    wanted: &Wanted,
) -> Result<Minted, Error> {
    let mut minted = authority.mint(edition, client, peer, grant, wanted, true).await?;
    let text = draw_secret(&*authority.random);
    let hash = Sha256::of(text.as_bytes());
    let mut tx = authority.db.begin().await?;
    refresh_insert(&mut tx, &hash, grant, &client.id, minted.ends_at).await?;
    tx.commit().await?;
    minted.refresh_token = Some(text);
    Ok(minted)
}

/// Ends a grant of which its asker got nothing, as if it were given back: the request is used up, and the asker does not
/// even know the grant's number.
async fn give_back(authority: &Authority, grant: &GrantId) {
    if let Err(error) = authority.end_grant(grant, WithdrawnBy::Consumer).await {
        tracing::warn!(
            error = chain(&error),
            "a grant that came to no token stands until it ends"
        );
    }
}

/// Lets a code be used again that came to no token for a reason that may pass or that its asker can mend: it is told to
/// try again, and a code that comes twice ends its grant. It stands no longer than it would have.
async fn not_used(authority: &Authority, code: &Sha256, error: &Error) {
    let mendable = matches!(error, Error::Target) || error.reason().is_some_and(|reason| reason.retryable());
    if !mendable {
        return;
    }
    let restored = async {
        let mut tx = authority.db.begin().await?;
        code_restore(&mut tx, code).await?;
        tx.commit().await
    };
    if let Err(error) = restored.await {
        tracing::warn!(
            error = chain(&error),
            "a code that came to no token cannot be used again"
        );
    }
}

/// The grant that a code stands for, and the code's digest. A code that comes a second time, whoever brings it, or without
/// its proof, may have been stolen: its grant is withdrawn (RFC 6749, 4.1.2). So is that of one that comes late.
async fn by_code(
    authority: &Authority,
    client: &Client,
    form: &mut Form,
) -> Result<(GrantId, Sha256), Error> {
    let code = form.required("code", 128)?;
    let redirect_uri = form.required("redirect_uri", 2_048)?;
    let verifier = form.required("code_verifier", 128)?;
    let now = authority.clock.now();
    let hash = Sha256::of(code.as_bytes());
    let mut tx = authority.db.begin().await?;
    match code_use(&mut tx, &hash, client.bearer(), now).await? {
        CodeUse::Unknown => Err(Error::Grant),
        CodeUse::Again(grant) => {
            tx.commit().await?;
            authority.end_grant(&grant, WithdrawnBy::CodeReuse).await?;
            Err(Error::Grant)
        }
        CodeUse::First(grant, code) => {
            tx.commit().await?;
            let proved = Sha256::of(verifier.as_bytes()) == code.challenge;
            // Nobody can come to a token of it any more, so nothing is left standing.
            let ended = match (proved && code.redirect_uri == redirect_uri, now < code.expires_at) {
                (true, true) => return Ok((grant, hash)),
                (true, false) => WithdrawnBy::Consumer,
                // It is in other hands than those it was given to.
                (false, _) => WithdrawnBy::CodeReuse,
            };
            authority.end_grant(&grant, ended).await?;
            Err(Error::Grant)
        }
    }
}

/// When a grant of these elements ends by itself: with its last element.
pub(crate) fn ends_at(elements: &[AuthorizationDetails], granted_at: Micros) -> Micros {
    let ends = elements.iter().map(|e| element_ends_at(&e.mode, granted_at));
    ends.max().unwrap_or(granted_at)
}

/// When an element of a grant ends by itself, whatever stands beside it: a producer keeps the claim of a one-shot handle
/// for a day (I2). Earlier where the person chose so.
pub(super) fn element_ends_at(mode: &Mode, granted_at: Micros) -> Micros {
    mode.ends_at(granted_at.plus_ms(match mode.kind {
        ModeKind::Standing => STANDING_MS,
        ModeKind::Once => ONCE_MS,
    }))
}

/// A name of 256 random bits: a code, a refresh token, a request URI.
pub(crate) fn draw_secret(random: &dyn Random) -> String {
    URL_SAFE_NO_PAD.encode(random.bytes::<32>())
}

fn resource(form: &mut Form) -> Result<Option<ParticipantId>, Error> {
    let text = form.take("resource");
    text.map(|text| text.parse().map_err(|_| Error::Target))
        .transpose()
}

fn handle(form: &mut Form) -> Result<Option<Handle>, Error> {
    let text = form.take("gh");
    text.map(|text| text.parse().map_err(|_| Error::request("gh is not a handle")))
        .transpose()
}
