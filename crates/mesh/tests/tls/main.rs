//! Mutual TLS as both ends see it: who is refused and how it is told, who is cut, what a reload changes.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper that fails fails its test"
)]

mod bad_certificates;
mod connections;
mod limits;
mod world;
