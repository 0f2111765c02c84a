//! The withdrawal protocol, model-checked: every order of its steps, small enough to be explored whole.
//!
//! `run` explores all states of a setup by breadth, so that the way to a broken property is a shortest one. `mutants` leaves
//! out one clause at a time, and each time the property that the clause is there for breaks. Where the model looks at less
//! than the code does, the comment beside it says why nothing is lost.
//!
//! What takes longer, with its figures:
//! `cargo test --release -p unefois-authority --test model -- --ignored --nocapture --test-threads 1`.

#![expect(
    clippy::panic,
    clippy::print_stdout,
    reason = "a test: it fails by panic, and tells what it explored"
)]

mod claims;
mod forget;
mod mutants;
mod properties;
mod run;
mod setup;
mod setups;
mod state;
mod steps;
