use crate::InvalidJson;

/// Why a key, a token, an encrypted object or an attestation is refused.
///
/// The producer logs which; a peer learns only that its token is not valid. No cause is carried along: those of the
/// JSON parser quote the values that they choke on, and those of the cryptography say nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A key is not P-256 (or RSA of an accepted size), not on its curve, or not in the expected form.
    #[error("the key is not valid")]
    Key,
    /// A key set is too large, names a key twice or holds a malformed key.
    #[error("the key set is not valid")]
    KeySet,
    /// The system's generator failed.
    #[error("no randomness is available")]
    Randomness,
    /// The object is larger than its kind may be.
    #[error("the object is too large")]
    TooLarge,
    /// Not the parts, the base64url or the members that the serialisation has.
    #[error("the object is malformed")]
    Malformed,
    /// JSON that is refused before its meaning is looked at, or that has other members than expected.
    #[error("the JSON is not acceptable")]
    Json(#[source] InvalidJson),
    /// The header holds another algorithm or type, a member that is refused, or lacks one.
    #[error("the header is not acceptable")]
    Header,
    /// No key of this name is trusted here.
    #[error("the signing key is not known")]
    UnknownKey,
    /// The signature does not verify.
    #[error("the signature is not valid")]
    Signature,
    /// Signed by the right key, but in the name of another issuer.
    #[error("the issuer is not the expected one")]
    Issuer,
    /// Meant for somebody else.
    #[error("the audience is not the expected one")]
    Audience,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// It lives longer than allowed, or not at all.
    #[error("the lifetime is not acceptable")]
    Lifetime,
    /// The nonce is absent or not the one sent.
    #[error("the nonce is not the expected one")]
    Nonce,
    /// The subject is not the one that logged in.
    #[error("the subject is not the expected one")]
    Subject,
    /// `at_hash` is not that of the access token.
    #[error("the access token is not the one that was issued with it")]
    AccessTokenHash,
    /// Not decrypted; every cause looks the same, so that nobody learns from trying.
    #[error("the object cannot be decrypted")]
    Decryption,
    /// The text to encrypt does not fit its fixed size.
    #[error("the text to encrypt is too long")]
    PlaintextTooLong,
    /// A disclosure is malformed, not referenced exactly once, or has a name that it may not have.
    #[error("a disclosure is not acceptable")]
    Disclosure,
    /// An attestation is bound to a holder's key, which this profile does not know.
    #[error("a holder's key binding is not acceptable")]
    HolderKey,
}

impl From<InvalidJson> for Error {
    fn from(cause: InvalidJson) -> Self {
        Self::Json(cause)
    }
}
