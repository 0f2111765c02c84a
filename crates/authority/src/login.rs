//! Logging in: a relying party of identity providers that speak OpenID Connect as FranceConnect does.
//!
//! Each provider is fixed configuration; nothing is negotiated and an assurance level counts only from whoever is
//! entitled to assert it (I10). `state` and `nonce` are bound to the browser's session before the login, and the
//! session's cookie changes with it.

mod http;
mod identity;
mod persona;
mod provider;
mod steps;

pub use http::HttpError;
pub use provider::ProviderConfig;

pub(crate) use persona::persona;
pub(crate) use provider::{LoggedIn, Provider};
pub(crate) use steps::{OTHER, begin, choose, come_back, log_out};
