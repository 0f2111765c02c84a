//! The program: command line, certificate authority, configuration and the roles it serves.

pub mod admin;
pub mod backup;
pub mod bench;
pub mod ca;
mod cli;
pub mod command;
pub mod config;
pub mod console;
pub mod demo;
pub mod failure;
pub mod host;
pub mod notify;
pub mod progress;
pub mod sandbox_check;
pub mod telemetry;
pub mod verify;
pub use cli::{run, run_without_guard};
