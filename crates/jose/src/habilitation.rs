//! The signatures of a habilitation: one compact JWS each of its consumer, its producer and the authority.
//!
//! Each signs the same few bytes, the habilitation's hash and the signer's own capacity, so that no signature stands for
//! another habilitation, nor for another of the three.

use unefois_core::directory::Jwk;
use unefois_core::{Habilitation, HabilitationRow, HabilitationStatement, SignedHabilitation, SignerRole};

use crate::{Error, PublicKey, SigningKey, Thumbprint, VerifyingKey, jws};

/// The `typ` of a signature of a habilitation.
pub const TYP: &str = "unefois-habilitation+jws";
/// Longest signature that is read.
const MAX_BYTES: usize = 1024;

/// Why a habilitation is not taken as signed.
#[derive(Debug, thiserror::Error)]
pub enum HabilitationRefused {
    /// One of the three has not signed.
    #[error("the {0} has not signed it")]
    Missing(SignerRole),
    /// A signature is malformed, or no key of its signer made it.
    #[error("no key of the {role} has signed it")]
    Signature {
        /// Whose.
        role: SignerRole,
        /// Why.
        #[source]
        source: Error,
    },
    /// A signature is of another habilitation, or of this one before it was changed.
    #[error("the {0} has signed another habilitation, or another text of this one")]
    OtherHabilitation(SignerRole),
    /// A signature was given in another capacity.
    #[error("the signature in the {place}'s place was given as {given}")]
    OtherRole {
        /// Where it stands.
        place: SignerRole,
        /// As what it was given.
        given: SignerRole,
    },
}

/// Signs `habilitation` in one capacity.
///
/// # Errors
/// The generator fails.
pub fn sign(habilitation: &Habilitation, role: SignerRole, key: &SigningKey) -> Result<String, Error> {
    let statement = HabilitationStatement {
        habilitation: habilitation.hash(),
        role,
    };
    jws::sign_claims(key, TYP, &statement)
}

/// Verifies one signature with the keys of whoever signs in this capacity; the key that made it.
///
/// # Errors
/// [`HabilitationRefused`].
pub fn verify_one(
    row: &HabilitationRow,
    role: SignerRole,
    keys: &[Jwk],
) -> Result<Thumbprint, HabilitationRefused> {
    let text = row
        .signatures
        .of(role)
        .ok_or(HabilitationRefused::Missing(role))?;
    let refused = |source| HabilitationRefused::Signature { role, source };
    let named = |kid: &Thumbprint| {
        let mut keys = keys
            .iter()
            .filter_map(|jwk| PublicKey::from_point(&jwk.sec1()).ok().map(VerifyingKey::new));
        keys.find(|key| key.thumbprint() == kid)
    };
    let verified = jws::verify(text, TYP, MAX_BYTES, named).map_err(refused)?;
    let statement: HabilitationStatement = verified.claims().map_err(refused)?;
    if statement.role != role {
        return Err(HabilitationRefused::OtherRole {
            place: role,
            given: statement.role,
        });
    }
    if statement.habilitation != row.habilitation.hash() {
        return Err(HabilitationRefused::OtherHabilitation(role));
    }
    Ok(*verified.kid())
}

/// The habilitation, if all three have signed it, each with one of the keys that `keys` gives for its capacity.
///
/// # Errors
/// [`HabilitationRefused`] names whose signature is at fault.
pub fn verify<'k>(
    row: &HabilitationRow,
    keys: impl Fn(SignerRole) -> &'k [Jwk],
) -> Result<SignedHabilitation, HabilitationRefused> {
    let by = |role| verify_one(row, role, keys(role));
    by(SignerRole::Consumer)?;
    let producer = by(SignerRole::Producer)?;
    by(SignerRole::Authority)?;
    Ok(SignedHabilitation::checked(
        row.habilitation.clone(),
        producer.to_string(),
    ))
}
