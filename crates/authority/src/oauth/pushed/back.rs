use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use unefois_core::{ParticipantId, Sha256};

use crate::Error;
use crate::form::Form;
use crate::published::Edition;

/// How a browser comes back to the consumer, and the code is exchanged.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Back {
    pub(crate) redirect_uri: String,
    pub(crate) state: String,
    /// PKCE, S256: the SHA-256 of the verifier (RFC 7636, 4.2).
    pub(crate) challenge: String,
}

impl Back {
    /// The PKCE challenge's bytes.
    pub(crate) fn challenge(&self) -> Result<Sha256, Error> {
        let bytes = URL_SAFE_NO_PAD.decode(&self.challenge);
        let bytes: [u8; 32] = bytes.ok().and_then(|b| b.try_into().ok()).ok_or(Error::Stored)?;
        Ok(Sha256::from_bytes(bytes))
    }

    /// Reads what a code needs to come back.
    pub(super) fn take(form: &mut Form, client: &ParticipantId, edition: &Edition) -> Result<Self, Error> {
        if form.required("response_type", 16)? != "code" {
            return Err(Error::request("response_type must be code"));
        }
        let redirect_uri = form.required("redirect_uri", 2_048)?;
        listed(edition, client, &redirect_uri)?;
        let state = form.required("state", 512)?;
        if !state.bytes().all(|c| matches!(c, 0x20..=0x7e)) {
            return Err(Error::request("state must be printable ASCII"));
        }
        if form.required("code_challenge_method", 16)? != "S256" {
            return Err(Error::request("code_challenge_method must be S256"));
        }
        let challenge = form.required("code_challenge", 128)?;
        if !URL_SAFE_NO_PAD
            .decode(&challenge)
            .is_ok_and(|hash| hash.len() == 32)
        {
            return Err(Error::request(
                "code_challenge must be 43 characters of base64url",
            ));
        }
        Ok(Self {
            redirect_uri,
            state,
            challenge,
        })
    }
}
/// Whether the answer may go there: it is compared exactly with the addresses of the directory in use.
pub(super) fn listed(edition: &Edition, client: &ParticipantId, redirect_uri: &str) -> Result<(), Error> {
    let row = edition.directory.participant(client);
    match row.is_some_and(|row| row.redirect_uris.iter().any(|listed| listed == redirect_uri)) {
        true => Ok(()),
        false => Err(Error::request("redirect_uri is not one of the client's")),
    }
}
