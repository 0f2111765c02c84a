//! The directory's signature: JWS in JSON form by an offline key, whose thumbprint every participant pins.

use unefois_core::Directory;
use unefois_core::directory::{DirectoryDocument, DirectoryError, SignatureChecked, Unverified};
use unefois_core::{HabilitationId, SignedHabilitation};

use crate::habilitation::{self, HabilitationRefused};
use crate::{Error, SignedDocument, SigningKey, Thumbprint};

/// The `typ` of a signed directory.
pub const TYP: &str = "unefois-directory+jws";
/// Largest signed directory that is read, in bytes.
pub const MAX_BYTES: usize = 8 * 1024 * 1024;

/// A directory is not accepted, or not signed.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryRefused {
    /// It is malformed, or another key than the pinned one signed it.
    #[error("the directory is not signed by the pinned key")]
    Signature(#[source] Error),
    /// What was signed is no directory, or contradicts itself.
    #[error("the directory is not valid: {0}")]
    Document(#[source] DirectoryError),
    /// One of its habilitations is not signed by those three who must.
    #[error("the habilitation {id} is not signed as it must be: {source}")]
    Habilitation {
        /// Which.
        id: HabilitationId,
        /// Why.
        #[source]
        source: HabilitationRefused,
    },
}

/// Signs `document` as it is.
///
/// # Errors
/// It contradicts itself, or one of its habilitations is not signed by all three.
pub fn sign(document: &DirectoryDocument, key: &SigningKey) -> Result<String, DirectoryRefused> {
    let payload = serde_json::to_vec(document).map_err(|_| DirectoryRefused::Signature(Error::Malformed))?;
    habilitations(&Unverified::parse(&payload).map_err(DirectoryRefused::Document)?)?;
    let signed = SignedDocument::sign(key, TYP, &payload).map_err(DirectoryRefused::Signature)?;
    signed.to_json().map_err(DirectoryRefused::Signature)
}

/// The directory in `jws`, if the key that `pin` names signed it. Its freshness is the caller's to judge.
///
/// # Errors
/// [`DirectoryRefused`].
pub fn verify(jws: &str, pin: &Thumbprint) -> Result<Directory, DirectoryRefused> {
    let signed =
        SignedDocument::parse(jws.as_bytes(), TYP, MAX_BYTES).map_err(DirectoryRefused::Signature)?;
    let verified = signed.verify_pinned(pin).map_err(DirectoryRefused::Signature)?;
    let unverified = Unverified::parse(verified.payload()).map_err(DirectoryRefused::Document)?;
    let habilitations = habilitations(&unverified)?;
    let proof = SignatureChecked::over(verified.payload());
    unverified
        .accept(&proof, habilitations)
        .map_err(DirectoryRefused::Document)
}

/// The directory in `jws`, if one of the keys that `pins` name signed it, and which.
///
/// # Errors
/// [`DirectoryRefused`], as the last of them gives it.
pub fn verify_any(jws: &str, pins: &[Thumbprint]) -> Result<(Directory, Thumbprint), DirectoryRefused> {
    let mut refused = DirectoryRefused::Signature(Error::UnknownKey);
    for pin in pins {
        match verify(jws, pin) {
            Err(DirectoryRefused::Signature(Error::UnknownKey)) => {}
            Err(other) => refused = other,
            Ok(directory) => return Ok((directory, *pin)),
        }
    }
    Err(refused)
}

/// The key that `directory` announces to sign after the present one.
pub fn announced(directory: &Directory) -> Option<Thumbprint> {
    let kid = directory.document().next_directory_key.as_ref()?;
    kid.parse().ok()
}

/// Every habilitation, each with its three signatures verified: once an edition, not once a call.
fn habilitations(directory: &Unverified) -> Result<Vec<SignedHabilitation>, DirectoryRefused> {
    let rows = directory.document().habilitations.iter();
    let verified = rows.map(|row| {
        let keys = |role| directory.signer_keys(&row.habilitation, role);
        habilitation::verify(row, keys).map_err(|source| DirectoryRefused::Habilitation {
            id: row.habilitation.id.clone(),
            source,
        })
    });
    verified.collect()
}
