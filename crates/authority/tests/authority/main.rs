//! The authority over its two listeners: a consumer with its certificate, a browser with its cookies, an identity
//! provider that says what the test wants.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod account;
mod agent;
#[path = "../../../../tests/kit/answers.rs"]
pub mod answers;
mod automatic;
mod bad_input;
mod browser;
mod child;
mod code;
mod company;
#[path = "../../../../tests/kit/database.rs"]
pub mod database;
mod effect;
mod failover;
mod feed;
mod grant;
mod history;
mod invitation;
mod keys;
mod kit;
mod link;
mod login;
mod login_keys;
mod login_refused;
mod mandate;
mod narrow;
mod officer;
mod operator;
mod opposition;
#[path = "../../../../tests/kit/port.rs"]
pub mod port;
mod principal;
mod provider;
#[expect(dead_code, reason = "other tests use the other faults")]
#[path = "../../../../tests/kit/proxy.rs"]
mod proxy;
mod race;
mod receipt;
mod refusals;
mod restored;
#[path = "../../../../tests/kit/signers.rs"]
pub mod signers;
mod unbound;
mod withdrawal;
