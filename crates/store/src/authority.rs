//! The authority's tables beside its ledger: people and their identities, officers, sessions, pushed requests, grants, and the
//! log of withdrawals.
//!
//! What opens something (session, state, request URI, code, refresh token) is passed and stored as its SHA-256 only,
//! so that a copy of the database opens nothing. Identities are passed sealed.

pub mod effect;
pub mod feed;
pub mod grant;
pub mod mandate;
pub mod narrow;
pub mod notice;
pub mod officer;
pub mod opposition;
pub mod order;
pub mod person;
pub mod request;
pub mod restored;
pub mod revocation;
pub mod session;
pub mod subject;

use std::fmt;

/// One person's account: random, and never told to anybody outside.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PersonUid([u8; 16]);

/// One officer: random, and in no relation to any [`PersonUid`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct OfficerUid([u8; 16]);

/// One grant, as the token endpoint names it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct GrantId([u8; 16]);

macro_rules! bytes_16 {
    ($($type:ident),*) => { $(
        impl $type {
            /// The id of these 16 bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The 16 bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        /// It points at a person, so a log never shows it.
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($type), "(…)"))
            }
        }
    )* };
}
bytes_16!(PersonUid, OfficerUid, GrantId);

/// A word of a closed list as it was stored.
fn word<T: std::str::FromStr>(text: &str, column: &'static str) -> Result<T, crate::Error> {
    text.parse().map_err(|_| crate::Error::Corrupt(column))
}
