//! `serve authority|node`: one role, from one TOML file.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use unefois_core::Clock;
use unefois_mesh::{SystemClock, SystemRandom};
use unefois_node::{Node, Surroundings};

use super::runtime;
use crate::config::{load, overrides};
use crate::console::Console;
use crate::failure::{Failure, Kind};

/// Runs one role until it is told to stop.
#[derive(Debug, Subcommand)]
pub enum ServeCommand {
    /// The authority.
    Authority(Role),
    /// A participant's node.
    Node(Role),
}

/// The configuration of a role.
#[derive(Debug, Args)]
pub struct Role {
    /// The TOML file; `deploy/` holds samples.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Runs `serve …`.
pub fn run(command: ServeCommand, console: Console) -> Result<(), Failure> {
    let runtime = runtime()?;
    let _telemetry = runtime
        .block_on(async { crate::telemetry::init(&crate::telemetry::Config::default()) })
        .map_err(|e| Failure::new(Kind::Configuration, "la télémétrie ne démarre pas").because(e))?;
    runtime.block_on(async {
        match command {
            ServeCommand::Authority(role) => authority(&role, console).await,
            ServeCommand::Node(role) => node(&role, console).await,
        }
    })
}

async fn authority(role: &Role, console: Console) -> Result<(), Failure> {
    let config = load(&role.config, &overrides(std::env::vars_os()))?;
    let (clock, random): (Arc<dyn Clock>, _) = (Arc::new(SystemClock), SystemRandom::new());
    let running = unefois_authority::start(config, clock, Arc::new(random.clone()), random.ring().clone());
    let running = running.await.map_err(|e| not_started(&e))?;
    console.say(&format!("maille {}, portail {}", running.mesh, running.portal));
    ready();
    running.serve(interrupted()).await;
    Ok(())
}

async fn node(role: &Role, console: Console) -> Result<(), Failure> {
    let config = load(&role.config, &overrides(std::env::vars_os()))?;
    let surroundings = Surroundings {
        clock: Arc::new(SystemClock),
        random: SystemRandom::new(),
    };
    let node = Node::build(config, surroundings)
        .await
        .map_err(|e| not_started(&e))?;
    let address = node
        .mesh_address()
        .map(|address| address.to_string())
        .unwrap_or_default();
    console.say(&format!("maille {address}"));
    ready();
    let shutdown = CancellationToken::new();
    tokio::join!(node.serve(shutdown.clone()), async {
        interrupted().await;
        shutdown.cancel();
    });
    Ok(())
}

fn ready() {
    if let Err(error) = crate::notify::notify(crate::notify::State::Ready) {
        tracing::warn!(%error, "the service manager was not told");
    }
}

fn not_started(error: &(dyn std::error::Error + 'static)) -> Failure {
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(source) = cause {
        causes.push(source.to_string());
        cause = source.source();
    }
    let failure = Failure::new(Kind::Configuration, error.to_string());
    if causes.is_empty() {
        failure
    } else {
        failure.because(causes.join(" : "))
    }
}

/// Ends with SIGINT or SIGTERM.
pub async fn interrupted() {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
