//! Logging in: a relying party of identity providers that speak OpenID Connect, each one of three kinds
//! ([`ProviderKind`]).
//!
//! Each provider is fixed configuration; nothing is negotiated and an assurance level counts only from whoever is
//! entitled to assert it (I10). `state` and `nonce` are bound to the browser's session before the login, and the
//! session's cookie changes with it. A login yields a person or an officer, and the two never meet: an officer has no
//! identity to be matched and no account of people, and decides on no page of a person's.

mod http;
mod identity;
mod kind;
mod persona;
mod provider;
mod steps;
mod who;

pub use http::HttpError;
pub use kind::{ProviderConfig, ProviderKind};

pub(crate) use persona::persona;
pub(crate) use provider::Provider;
pub(crate) use steps::{OTHER, begin, choose, come_back, keys, log_out};
pub(crate) use who::{LoggedIn, Officer, Profile, Who};
