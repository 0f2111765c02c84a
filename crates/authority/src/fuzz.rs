//! The check of pushed requests, for whoever tries it with forms that no client would send.

use unefois_core::{Micros, ParticipantId};

use crate::Published;
use crate::form::Form;
use crate::oauth::PushedRequest;

/// What `client` pushes at `now` as the form `body`: the request as it would be kept, in JSON, or the public text of its
/// refusal.
///
/// # Errors
/// The refusal.
pub fn pushed(
    published: &Published,
    client: ParticipantId,
    now: Micros,
    body: &[u8],
) -> Result<String, String> {
    let edition = published.edition();
    Form::parse(body)
        .and_then(|form| PushedRequest::check(form, client, None, &edition, now))
        .and_then(|pushed| serde_json::to_string(&pushed).map_err(|_| crate::Error::Stored))
        .map_err(|error| error.to_string())
}
