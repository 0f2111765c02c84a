//! A producer's node on a small mesh: each check's refusal first, then what leaves, then the withdrawal lease.

#[path = "../support/authority.rs"]
mod authority;
mod child;
mod company;
#[path = "../../../../tests/kit/database.rs"]
pub mod database;
mod directory;
mod forged;
mod grounds;
mod guard;
mod held_source;
mod i1;
mod i12;
mod i2;
mod i4;
mod i8;
mod keys;
mod lease;
#[path = "../support/pki.rs"]
mod pki;
mod refusals;
#[path = "../../../../tests/kit/signers.rs"]
pub mod signers;
mod sources;
mod spans;
mod suspension;
mod tap;
mod under_way;
mod witness;
#[path = "../support/world.rs"]
mod world;
