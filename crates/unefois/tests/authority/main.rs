//! The authority's process as its operator runs and commands it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail as tests do"
)]

#[path = "../../../../tests/kit/database.rs"]
pub mod database;
mod restored;
mod standby;
mod withdraw;

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use unefois::demo::world::World;
use unefois_core::Clock as _;
use unefois_mesh::{SystemClock, SystemRandom};

const PROGRAM: &str = env!("CARGO_BIN_EXE_unefois");
const READY_WITHIN: Duration = Duration::from_secs(120);

/// A world under `folder` whose leases last this long.
fn world(folder: &Path, lease_ms: u32) -> World {
    let setting = unefois::demo::world::Setting {
        // Recovery waits for every producer; two are enough here.
        has_dgfip: false,
        lease_ms,
        ..Default::default()
    };
    World::create(folder, setting, SystemClock.now(), &SystemRandom::new()).unwrap()
}

/// Runs the program to its end.
fn unefois(variables: &[(&str, String)], args: &[&str]) -> Output {
    let variables = variables.iter().map(|(name, value)| (name, value));
    let mut command = Command::new(PROGRAM);
    command
        .args(args)
        .envs(variables)
        .output()
        .expect("the program runs")
}

/// The exit status, standard output and standard error.
fn said(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().expect("an exit status");
    (code, text(&output.stdout), text(&output.stderr))
}
