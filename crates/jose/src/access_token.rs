//! Access tokens: `at+jwt` (RFC 9068) in the closed profile that authorities mint and producers check offline.

use std::borrow::Borrow;
use std::sync::Arc;

use unefois_core::{AccessTokenClaims, Micros, ParticipantId, Sha256};

use crate::{Error, SigningKey, Thumbprint, VerifyingKey, base64url, jws};

/// The header's `typ` (RFC 9068, 2.1).
pub const TYP: &str = "at+jwt";
/// Largest token that is read.
pub const MAX_BYTES: usize = 16 * 1024;

/// How far in the future `iat` and `nbf` may lie, in seconds.
const MAX_AHEAD_S: i64 = 10;
/// How long after `exp` a token is still taken, in seconds.
const LEEWAY_S: i64 = 5;
/// Longest time between `iat` and `exp`, in seconds.
const MAX_LIFETIME_S: i64 = 300;
/// How long after it was signed a token is taken at most, in seconds.
pub const USABLE_S: i64 = MAX_LIFETIME_S + LEEWAY_S;

/// Signs an access token. The authority's whole duty of content: nothing is checked here but what [`verify`] would
/// refuse anyway.
pub fn sign(key: &SigningKey, claims: &AccessTokenClaims) -> Result<String, Error> {
    bound_hashes(claims)?;
    lifetime(claims)?;
    jws::sign_claims(key, TYP, claims)
}

/// Whom a token must come from and be meant for.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The authority's `iss`.
    pub issuer: &'a str,
    /// The producer that judges.
    pub audience: &'a ParticipantId,
}

/// A token whose signature is good: the most that a cache may remember, so it shows nothing yet.
#[derive(Clone)]
pub struct AuthenticToken(Arc<Content>);

/// A token that was good at the instant it was checked for. Only [`AuthenticToken::check`] makes one.
#[derive(Clone)]
pub struct VerifiedToken(Arc<Content>);

struct Content {
    kid: Thumbprint,
    claims: AccessTokenClaims,
    certificate: Sha256,
    pivot: Sha256,
}

/// Checks size, header, signature and form: what does not depend on the time nor on who asks.
pub fn authenticate<K: Borrow<VerifyingKey>>(
    token: &str,
    key: impl FnOnce(&Thumbprint) -> Option<K>,
) -> Result<AuthenticToken, Error> {
    let verified = jws::verify(token, TYP, MAX_BYTES, key)?;
    let claims: AccessTokenClaims = verified.claims()?;
    let (certificate, pivot) = bound_hashes(&claims)?;
    Ok(AuthenticToken(Arc::new(Content {
        kid: *verified.kid(),
        claims,
        certificate,
        pivot,
    })))
}

/// [`authenticate`], then [`AuthenticToken::check`].
pub fn verify<K: Borrow<VerifyingKey>>(
    token: &str,
    expected: Expected<'_>,
    now: Micros,
    key: impl FnOnce(&Thumbprint) -> Option<K>,
) -> Result<VerifiedToken, Error> {
    authenticate(token, key)?.check(expected, now)
}

impl AuthenticToken {
    /// Checks issuer, audience and times at `now` (the authority's time, as the lease tells it): `iat` and `nbf` at
    /// most 10 s ahead, `exp` at most 5 s past, at most 300 s of life.
    pub fn check(&self, expected: Expected<'_>, now: Micros) -> Result<VerifiedToken, Error> {
        let claims = &self.0.claims;
        if claims.iss != expected.issuer {
            return Err(Error::Issuer);
        }
        if claims.aud != *expected.audience {
            return Err(Error::Audience);
        }
        if claims.iat.max(claims.nbf) > now.secs().saturating_add(MAX_AHEAD_S) {
            return Err(Error::NotYetValid);
        }
        if Micros::from_secs(claims.exp.saturating_add(LEEWAY_S)) <= now {
            return Err(Error::Expired);
        }
        lifetime(claims)?;
        Ok(VerifiedToken(Arc::clone(&self.0)))
    }
}

impl VerifiedToken {
    /// What the authority says.
    pub fn claims(&self) -> &AccessTokenClaims {
        &self.0.claims
    }

    /// The authority's key that signed it, which may be withdrawn.
    pub fn kid(&self) -> &Thumbprint {
        &self.0.kid
    }

    /// `cnf.x5t#S256`: SHA-256 of the DER of the one certificate that may use the token (RFC 8705, 3.1). To be compared
    /// with the leaf of the TLS session, never with anything sent beside the token.
    pub fn certificate(&self) -> &Sha256 {
        &self.0.certificate
    }

    /// Whether the token speaks of this pivot: `pivot_hash` is the SHA-256 of the JWE's text as received.
    pub fn names_pivot(&self, pivot_jwe: &str) -> bool {
        self.0.pivot == Sha256::of(pivot_jwe.as_bytes())
    }
}

/// Tokens are personal data, so a log never shows one.
impl std::fmt::Debug for AuthenticToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AuthenticToken(…)")
    }
}

impl std::fmt::Debug for VerifiedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("VerifiedToken(…)")
    }
}

fn lifetime(claims: &AccessTokenClaims) -> Result<(), Error> {
    match claims.exp.saturating_sub(claims.iat) {
        1..=MAX_LIFETIME_S => Ok(()),
        _ => Err(Error::Lifetime),
    }
}

/// The two hashes that a token binds: of the certificate and of the pivot. A mandate has the form of one.
fn bound_hashes(claims: &AccessTokenClaims) -> Result<(Sha256, Sha256), Error> {
    let hash = |text: &str| base64url::decode_array(text).map(Sha256::from_bytes);
    claims.mandate.as_deref().map(hash).transpose()?;
    Ok((hash(&claims.cnf.x5t_s256)?, hash(&claims.pivot_hash)?))
}
