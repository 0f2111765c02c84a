//! What an identity provider answers: the ID token and the signed userinfo of OpenID Connect.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use unefois_core::{Micros, Sha256};
use zeroize::Zeroizing;

use crate::jws::{Parts, header_text, parse_header};
use crate::{DecryptionKey, Error, Jwks, SignatureAlgorithm, base64url, jwe, strict_json};

/// Largest ID token or signed userinfo that is read.
pub const MAX_BYTES: usize = 32 * 1024;

/// How far in the future `iat` may lie, in seconds.
const MAX_AHEAD_S: i64 = 10;
/// How long after `exp` a token is still taken, in seconds.
const LEEWAY_S: i64 = 5;

/// How an identity provider sends ID tokens and userinfo: agreed beforehand, never told from a message.
#[derive(Debug)]
pub enum Envelope {
    /// Signed. What comes encrypted is refused.
    Signed,
    /// Signed, then encrypted to one of these keys by `ECDH-ES` with `A256GCM` (a nested JWT, RFC 7519, 5.2): the
    /// present key and the next one. What comes otherwise, merely signed or with another `alg` or `enc`, is refused
    /// before anything is decrypted.
    Encrypted(Vec<DecryptionKey>),
}

/// What a relying party has agreed with one identity provider, once and for all; nothing is negotiated.
#[derive(Debug)]
pub struct Provider {
    /// The provider's `iss`.
    pub issuer: String,
    /// The relying party's own `client_id`.
    pub client_id: String,
    /// The one algorithm that the provider signs with.
    pub algorithm: SignatureAlgorithm,
    /// What its answers come in.
    pub envelope: Envelope,
}

/// What a login's answer must match.
#[derive(Clone, Copy)]
pub struct Login<'a> {
    /// The nonce sent with the authorization request.
    pub nonce: &'a str,
    /// The access token that came with the ID token.
    pub access_token: &'a str,
}

/// The verified answer of a login (OpenID Connect Core, 2).
#[derive(Clone)]
pub struct IdToken {
    /// Who logged in, in the provider's words.
    pub sub: String,
    /// The assurance level as given. Whether the provider is entitled to assert it is the caller's to judge; absent is
    /// unknown.
    pub acr: Option<String>,
    /// When the person logged in, seconds.
    pub auth_time: Option<i64>,
    /// The signed JWT, out of its envelope: what the provider takes back as `id_token_hint`.
    pub signed: Zeroizing<String>,
    payload: Vec<u8>,
}

impl IdToken {
    /// Reads further claims.
    pub fn claims<T: DeserializeOwned>(&self) -> Result<T, Error> {
        Ok(strict_json::from_slice(&self.payload)?)
    }
}

impl std::fmt::Debug for IdToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IdToken(…)")
    }
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    azp: Option<String>,
    exp: Option<i64>,
    iat: Option<i64>,
    nonce: Option<String>,
    at_hash: Option<String>,
    acr: Option<String>,
    auth_time: Option<i64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Provider {
    /// Verifies an ID token of the code flow at `now` (OpenID Connect Core, 3.1.3.7): signature by the configured
    /// algorithm with the key named by `kid`, `iss`, `aud` (and `azp`), `exp`, `iat`, `nonce`, and `at_hash` and `auth_time` if there;
    /// before that it is taken out of its [`Envelope`].
    pub fn verify_id_token(
        &self,
        token: &str,
        keys: &Jwks,
        login: Login<'_>,
        now: Micros,
    ) -> Result<IdToken, Error> {
        let signed = self.open(token)?;
        let (claims, payload) = self.verify(&signed, keys)?;
        let (Some(exp), Some(iat)) = (claims.exp, claims.iat) else {
            return Err(Error::Lifetime);
        };
        not_before(iat, now)?;
        not_after(exp, now)?;
        claims.auth_time.map_or(Ok(()), |at| not_before(at, now))?;
        // Compared as digests, so that the time taken tells nothing of the text.
        let nonce = claims.nonce.ok_or(Error::Nonce)?;
        if Sha256::of(nonce.as_bytes()) != Sha256::of(login.nonce.as_bytes()) {
            return Err(Error::Nonce);
        }
        if claims
            .at_hash
            .is_some_and(|hash| hash != at_hash(login.access_token))
        {
            return Err(Error::AccessTokenHash);
        }
        Ok(IdToken {
            sub: claims.sub,
            acr: claims.acr,
            auth_time: claims.auth_time,
            signed,
            payload,
        })
    }

    /// Verifies a signed userinfo answer (OpenID Connect Core, 5.3.2) and reads a `T` from it. It must be about `sub`,
    /// the one of the ID token; `iat` and `exp` count where they stand.
    pub fn verify_userinfo<T: DeserializeOwned>(
        &self,
        token: &str,
        keys: &Jwks,
        sub: &str,
        now: Micros,
    ) -> Result<T, Error> {
        let (claims, payload) = self.verify(&self.open(token)?, keys)?;
        claims.iat.map_or(Ok(()), |iat| not_before(iat, now))?;
        claims.exp.map_or(Ok(()), |exp| not_after(exp, now))?;
        if claims.sub != sub {
            return Err(Error::Subject);
        }
        Ok(strict_json::from_slice(&payload)?)
    }

    /// The signed JWT within an answer.
    fn open(&self, answer: &str) -> Result<Zeroizing<String>, Error> {
        match &self.envelope {
            Envelope::Signed => Ok(Zeroizing::new(answer.to_owned())),
            Envelope::Encrypted(keys) => {
                let keys: Vec<&DecryptionKey> = keys.iter().collect();
                // What is encrypted is a third longer, and has a header.
                jwe::open_nested(&keys, answer, 2 * MAX_BYTES)
            }
        }
    }

    fn verify(&self, token: &str, keys: &Jwks) -> Result<(Claims, Vec<u8>), Error> {
        let parts = Parts::split(token, MAX_BYTES)?;
        let header = parse_header(parts.header)?;
        if header_text(&header, "alg")? != Some(self.algorithm.as_str()) {
            return Err(Error::Header);
        }
        // Other kinds of token of the same issuer carry another type (RFC 8725, 3.11).
        if !header_text(&header, "typ")?.is_none_or(|typ| typ.eq_ignore_ascii_case("JWT")) {
            return Err(Error::Header);
        }
        let kid = header_text(&header, "kid")?.ok_or(Error::Header)?;
        let key = keys.find(kid, self.algorithm).ok_or(Error::UnknownKey)?;
        key.verify(parts.signed.as_bytes(), &base64url::decode(parts.signature)?)?;

        let payload = base64url::decode(parts.payload)?;
        let claims: Claims = strict_json::from_slice(&payload)?;
        if claims.iss != self.issuer {
            return Err(Error::Issuer);
        }
        let for_us = match &claims.aud {
            Audience::One(aud) => *aud == self.client_id,
            Audience::Several(auds) => {
                auds.contains(&self.client_id) && (auds.len() == 1 || claims.azp.is_some())
            }
        };
        if !for_us || claims.azp.as_ref().is_some_and(|azp| *azp != self.client_id) {
            return Err(Error::Audience);
        }
        Ok((claims, payload))
    }
}

/// `at_hash` of an access token for algorithms with SHA-256: the left half of its digest (OpenID Connect Core, 3.1.3.6).
pub fn at_hash(access_token: &str) -> String {
    base64url::encode(&Sha256::of(access_token.as_bytes()).as_bytes()[..16])
}

fn not_before(iat: i64, now: Micros) -> Result<(), Error> {
    if iat > now.secs().saturating_add(MAX_AHEAD_S) {
        return Err(Error::NotYetValid);
    }
    Ok(())
}

fn not_after(exp: i64, now: Micros) -> Result<(), Error> {
    if Micros::from_secs(exp.saturating_add(LEEWAY_S)) <= now {
        return Err(Error::Expired);
    }
    Ok(())
}
