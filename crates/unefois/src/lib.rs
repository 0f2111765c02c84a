//! The program: command line, certificate authority, configuration and the roles it serves.

pub mod ca;
