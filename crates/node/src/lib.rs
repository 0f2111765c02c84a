//! A node.
pub mod lease;
pub mod producer;
