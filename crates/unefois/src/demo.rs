//! The demonstration: every role in one process, and a story whose steps are assertions.

pub mod backend;
pub mod idp;
pub mod persona;
