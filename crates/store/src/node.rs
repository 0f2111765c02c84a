//! A node's tables beside its ledger: what it holds as a consumer, for its back-office, and what it has suspended as a
//! producer.
//!
//! What points at a person is passed and stored as a [`Mac`], everything else personal sealed, both under keys outside
//! the database: a copy of it opens nothing.

pub mod authorization;
pub mod feed;
pub mod grant;
pub mod notice;
pub mod request;
pub mod suspension;

/// A name under a key outside the database: HMAC-SHA-256.
pub type Mac = [u8; 32];
