//! The directory's signature: JWS in JSON form by an offline key, whose thumbprint every participant pins.

use unefois_core::Directory;
use unefois_core::directory::{DirectoryDocument, DirectoryError, SignatureChecked, Unverified};

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
}

/// Signs `document` as it is.
///
/// # Errors
/// It contradicts itself.
pub fn sign(document: &DirectoryDocument, key: &SigningKey) -> Result<String, DirectoryRefused> {
    let payload = serde_json::to_vec(document).map_err(|_| DirectoryRefused::Signature(Error::Malformed))?;
    Unverified::parse(&payload).map_err(DirectoryRefused::Document)?;
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
    let proof = SignatureChecked::over(verified.payload());
    unverified.accept(&proof).map_err(DirectoryRefused::Document)
}
