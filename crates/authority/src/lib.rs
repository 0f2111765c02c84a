//! The authority: it logs people in, shows what an administration asks for, keeps the grants, mints access tokens,
//! announces withdrawals and publishes the signed directory. It never sees a justificatif.
//!
//! - I6: the identity leaves only sealed to a producer's key; tokens, ledger and logs hold no name.
//! - I10: an assurance level counts only from an identity provider that configuration and directory both entitle to it.
//! - What a person grants is at most what was asked, habilitated and in the catalogue, less what they left unticked.
//! - Each grant, refusal, token and withdrawal is durable in the authority's own ledger before its answer leaves.
//!
//! One grant: a consumer pushes its request over mutual TLS ([`oauth`], `par`); the person's browser opens it, logs in
//! at an identity provider ([`login`]) and decides on one page ([`pages`], `demande`); the code that comes back becomes
//! one token for one handle at one producer (`token`, `mint`); the person stops it, and every node learns of it within
//! its lease ([`revocation`]).

mod account;
mod chores;
mod company;
/// The configuration file.
pub mod config;
mod directory;
mod error;
mod form;
/// Inner checks, laid open to fuzzers alone.
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod history;
mod journal;
mod keys;
mod limiter;
mod login;
mod mandate;
mod oauth;
mod operator;
mod opposition;
mod pages;
pub mod portal;
mod published;
mod revocation;
mod router;
mod service;
mod session;
mod start;
mod subject;

pub use config::Config;
pub use error::Error;
pub use keys::{KeyFileError, KeyFiles};
pub use login::{HttpError, ProviderConfig, ProviderKind};
pub use published::{PublishError, Published};
pub use start::{Prepared, Running, StartError, ledger, start};

#[cfg(test)]
#[expect(unreachable_pub, dead_code, reason = "shared with tests that stand alone")]
#[path = "../../../tests/kit/database.rs"]
mod database;
