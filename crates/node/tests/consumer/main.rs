//! A consumer's node between an authority and a producer: what it refuses first, then what it hands on.

mod agent;
mod announcer;
#[path = "../support/authority.rs"]
#[expect(dead_code, reason = "the producer's tests use all of it")]
mod authority;
mod automatic;
mod backoffice;
mod budget;
#[path = "../../../../tests/kit/database.rs"]
pub mod database;
mod exchange;
mod feed;
mod forge;
mod house;
mod i7;
mod link;
mod oauth;
#[path = "../support/pki.rs"]
mod pki;
mod publisher;
mod request;
#[path = "../../../../tests/kit/signers.rs"]
pub mod signers;
mod standing;
mod tenants;
mod verify;
#[path = "../support/world.rs"]
#[expect(dead_code, unused_imports, reason = "the producer's tests use all of it")]
mod world;
