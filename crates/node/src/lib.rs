//! A node.
pub mod producer;
