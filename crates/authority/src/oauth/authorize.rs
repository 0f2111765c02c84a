use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use unefois_core::{ParticipantId, Sha256, Way};
use unefois_store::authority::request::{Interaction, interaction_insert, link_find, pushed_take};

use super::{PushedRequest, text_of};
use crate::Error;
use crate::form::Form;
use crate::pages::{self, Reader};
use crate::service::Authority;

/// How long a person may take to decide.
const DECIDE_MS: i64 = 30 * 60_000;

/// `GET /as/authorize`: `client_id` and `request_uri`, nothing else (RFC 9126, 4). The request is opened in this
/// browser's session and serves no more; one that a link leads to serves until somebody has answered it.
pub(crate) async fn authorize(
    State(authority): State<Arc<Authority>>,
    reader: Reader,
    RawQuery(query): RawQuery,
) -> Result<Response, Error> {
    let mut form = Form::query(query.as_deref())?;
    let client: ParticipantId = form
        .required("client_id", 64)?
        .parse()
        .map_err(|_| Error::request("client_id is not a participant"))?;
    let request_uri = form.required("request_uri", 128)?;
    form.nothing_else()?;

    let now = authority.clock.now();
    let hash = Sha256::of(request_uri.as_bytes());
    let mut tx = authority.db.begin().await?;
    let pushed = pushed_take(&mut tx, &hash, &client, now).await?;
    tx.commit().await?;
    let (body, link_hash) = match pushed {
        Some(body) => (body, None),
        None => match link_find(&authority.db, &hash, &client, now).await? {
            Some(body) => (body, Some(hash)),
            None => return pages::demande::no_more(&authority, &reader).await,
        },
    };
    let request = PushedRequest::stored(&body).ok_or(Error::RequestUri)?;
    if request.back.is_none() {
        // Nobody decides on it.
        return pages::demande::no_more(&authority, &reader).await;
    }

    let visit = authority.begin_if_none(reader.visit).await?;
    let id: [u8; 16] = authority.random.bytes();
    let interaction = Interaction {
        session_hash: visit.hash,
        link_hash,
        body,
    };
    let mut tx = authority.db.begin().await?;
    interaction_insert(&mut tx, &id, &interaction, now.plus_ms(DECIDE_MS)).await?;
    tx.commit().await?;
    let page = match request.way {
        Way::Agent => format!("/agent/{}", text_of(&id)),
        Way::Present | Way::Link | Way::Automatic => format!("/demande/{}", text_of(&id)),
    };
    Ok(visit.set_cookie(pages::see_other(&page)))
}
