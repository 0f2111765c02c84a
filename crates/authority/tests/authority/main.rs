//! The authority over its two listeners: a consumer with its certificate, a browser with its cookies, an identity
//! provider that says what the test wants.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../../../../tests/kit/answers.rs"]
pub mod answers;
mod browser;
#[path = "../../../../tests/kit/database.rs"]
pub mod database;
mod feed;
mod grant;
mod history;
mod kit;
mod login;
mod narrow;
mod operator;
mod provider;
mod refusals;
mod withdrawal;
