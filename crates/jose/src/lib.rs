//! Signed and encrypted objects: access tokens, the pivot, ID tokens, attestations, the directory's signature.
//!
//! Nothing about cryptography is taken from a message: the algorithm, the type and the set of trusted keys are the
//! caller's, and a header that speaks of more is refused. A value of a verified type ([`jws::Verified`],
//! [`access_token::VerifiedToken`], [`sd_jwt::Attestation`], [`id_token::IdToken`]) exists only after its checks.
//! Every input has a size limit, one spelling (base64url without padding or trailing bits) and no JSON object that
//! names a member twice ([`strict_json`]).
//!
//! `ring` does all of it but one operation: ECDH with a key that lives longer than one call, which it cannot do;
//! `aws-lc-rs` does that, and checks points while it is there.
//!
//! One exchange: the authority seals the pivot ([`jwe::seal_pivot`]) to the producer's [`EncryptionKey`], signs the hash
//! of that text with the grant's claims ([`access_token::sign`]); the producer verifies the token with a key of the
//! directory ([`access_token::verify`]), compares the pivot's hash, opens it ([`jwe::open_pivot`]), and issues an
//! attestation ([`sd_jwt::issue`]) that the consumer verifies ([`sd_jwt::verify`]).

pub mod access_token;
mod base64url;
pub mod directory;
mod document;
mod error;
pub mod habilitation;
pub mod id_token;
pub mod jwe;
pub mod jwks;
pub mod jws;
mod private_key;
mod public_key;
pub mod sd_jwt;
pub mod strict_json;

pub use document::{MAX_SIGNATURES, SignedDocument};
pub use error::Error;
pub use jwks::{Jwks, SignatureAlgorithm};
pub use private_key::{DecryptionKey, Pkcs8, SigningKey};
pub use public_key::{EncryptionKey, PublicKey, Thumbprint, VerifyingKey};
pub use ring::rand::SystemRandom;
pub use strict_json::InvalidJson;
