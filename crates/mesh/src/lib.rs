//! How processes of the mesh meet: mutual TLS listeners and connectors, who the peer is, what it may ask for, and
//! how a refusal is told.
//!
//! - A [`Peer`] exists only once its certificate has been verified, revocation included (invariant I9: a stale CRL
//!   refuses everybody), and names the key that holds the connection, so that a token bound to another key is
//!   useless (I5). It is never read from a message or a header.
//! - Certificates, roots and CRLs change without a restart and without a refused call; what a reload takes away is
//!   taken away from live connections too.
//! - This crate holds the only readings of the system's clocks ([`SystemClock`]) and random generator
//!   ([`SystemRandom`]).
//!
//! A call comes in: [`Listener`] accepts the socket, [`Trust`] judges the chain and the CRL, a [`PeerGate`] asks the
//! directory, the [`Peer`] rides in the request's extensions, handlers read it with [`Peer::of`] and answer or refuse
//! with [`status::refused`]. A call goes out: [`Connector::channel`] opens a channel to one participant and to no
//! other, whatever the address.

mod acceptor;
mod clock;
mod config;
mod connector;
mod directory;
mod error;
mod https;
mod identity;
mod limits;
mod link;
mod listener;
mod measure;
mod method;
pub mod metrics;
mod outside;
mod peer;
mod reflection;
mod refusal;
mod rng;
pub mod spans;
pub mod status;
mod tls;
mod trust;
pub mod web;

pub use clock::SystemClock;
pub use config::Limits;
pub use connector::{ConnectError, Connector, Target};
pub use directory::{DirectoryConfig, DirectoryFollower, Edition, FollowError, admit, believed, target};
pub use error::Error;
pub use https::{HttpsClient, HttpsError, HttpsResponse};
pub use identity::{Credential, Identity};
pub use listener::{Egress, Listener, Passage};
pub use measure::measured;
pub use outside::OutsideClient;
pub use peer::{InvalidPeerId, InvalidSerial, Peer, PeerId, Serial};
pub use reflection::with_reflection;
pub use refusal::{PeerRefusal, Refusals};
pub use rng::SystemRandom;
pub use trust::{PeerGate, Trust};
