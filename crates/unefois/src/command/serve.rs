//! `serve authority|node`: one role, from one TOML file.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use tokio_util::sync::CancellationToken;
use unefois_authority::{Prepared, Running};
use unefois_core::{Clock, ParticipantId};
use unefois_ledger::{Cosigned, Ledger};
use unefois_mesh::{SystemClock, SystemRandom};
use unefois_node::consumer::Consumer;
use unefois_node::{Foundation, Node, Surroundings};

use super::runtime;
use crate::admin::{Check, Checks};
use crate::config::{Process, load, overrides};
use crate::console::Console;
use crate::failure::{Failure, Kind};
use crate::host::{Host, interrupted};

/// How many of those that a restored log waits for a probe is told by name.
const NAMED: usize = 10;

/// How long an authority that was superseded may take to end.
const SUPERSEDED_WITHIN: Duration = Duration::from_secs(5);

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

/// Runs `serve …`; a node once `prepare` has had it.
pub fn run(command: ServeCommand, console: Console, prepare: fn(Node) -> Node) -> Result<(), Failure> {
    runtime()?.block_on(async {
        match command {
            ServeCommand::Authority(role) => authority(&role, console).await,
            ServeCommand::Node(role) => node(&role, console, prepare).await,
        }
    })
}

async fn authority(role: &Role, console: Console) -> Result<(), Failure> {
    let process: Process<unefois_authority::Config> = load(&role.config, &overrides(std::env::vars_os()))?;
    let mut host = Host::start(&role.config, &process.telemetry)?;
    let (clock, random): (Arc<dyn Clock>, _) = (Arc::new(SystemClock), SystemRandom::new());
    let prepared = Prepared::new(
        process.role,
        clock,
        Arc::new(random.clone()),
        random.ring().clone(),
    );
    let prepared = prepared.await.map_err(|e| not_started(&e))?;
    let checks = Checks::new(vec![Check::new("standby", || {
        Err("waiting: another process holds the authority".into())
    })]);
    let standby = prepared.is_standby();
    if standby {
        // A supervisor that waits until it serves would end it before its turn.
        if let Some(admin) = &process.admin {
            host.admin("authority", admin, checks.clone()).await?;
        }
        console.say("en attente : une autre autorité sert");
        host.ready();
    }
    let reload = prepared.reloading();
    let running = tokio::select! {
        running = prepared.serve() => running.map_err(|e| not_started(&e))?,
        () = interrupted() => {
            host.stopping();
            host.end().await;
            return Ok(());
        }
        () = host.reloads(reload) => return Ok(()),
    };
    checks.replace(authority_checks(&running));
    if let Some(admin) = process.admin.as_ref().filter(|_| !standby) {
        host.admin("authority", admin, checks).await?;
    }
    console.say(&format!("maillage {}, portail {}", running.mesh, running.portal));
    say_public(running.public, console);
    host.ready();
    let superseded = tokio::select! {
        () = interrupted() => false,
        () = host.reloads(|| running.reload()) => false,
        () = running.superseded(), if standby => true,
        () = running.relearnt() => true,
    };
    host.stopping();
    if !superseded {
        running.stop().await;
        host.end().await;
        return Ok(());
    }
    // It does nothing more that holds: what hangs, hangs in a database that it may have lost.
    let _late = tokio::time::timeout(SUPERSEDED_WITHIN, running.stop()).await;
    host.end().await;
    Err(Failure::new(Kind::TryAgain, "cette autorité ne sert plus")
        .because("une autre a pris le relais, ou la base a perdu des retraits ; le journal dit lequel")
        .next("relancer ce processus, qui attend alors son tour (un superviseur le fait)"))
}

async fn node(role: &Role, console: Console, prepare: fn(Node) -> Node) -> Result<(), Failure> {
    let process: Process<unefois_node::Config> = load(&role.config, &overrides(std::env::vars_os()))?;
    let mut host = Host::start(&role.config, &process.telemetry)?;
    let surroundings = Surroundings {
        clock: Arc::new(SystemClock),
        random: SystemRandom::new(),
    };
    let node = Node::build(process.role, surroundings).await;
    let node = prepare(node.map_err(|e| not_started(&e))?);
    if let Some(admin) = &process.admin {
        host.admin("node", admin, Checks::new(node_checks(&node))).await?;
    }
    let address = node.mesh_address().map(|address| address.to_string());
    console.say(&format!("maillage {}", address.unwrap_or_default()));
    say_public(node.public_address(), console);
    let reload = node.reloading();
    let shutdown = CancellationToken::new();
    host.ready();
    tokio::join!(node.serve(shutdown.clone()), async {
        tokio::select! {
            () = interrupted() => {}
            () = host.reloads(reload) => {}
        }
        host.stopping();
        shutdown.cancel();
    });
    host.end().await;
    Ok(())
}

fn say_public(address: Option<SocketAddr>, console: Console) {
    if let Some(address) = address {
        console.say(&format!("registre public {address}"));
    }
}

fn cosignature_check(cosigned: Arc<Cosigned>) -> Check {
    Check::advice("cosignatures", move || {
        cosigned.alarm().map_or(Ok(()), |why| Err(why.into()))
    })
}

fn authority_checks(running: &Running) -> Vec<Check> {
    let (ready, ledger, cosigned) = (running.readiness(), running.ledger().clone(), running.cosigned());
    vec![
        ledger_check(&ledger),
        anchor_check(&ledger),
        cosignature_check(cosigned),
        Check::new("withdrawals", ready),
    ]
}

fn node_checks(node: &Node) -> Vec<Check> {
    let Foundation {
        directory,
        ledger,
        clock,
        ..
    } = node.foundation().clone();
    let cosigned = node.cosigned();
    let mut checks = vec![
        ledger_check(&ledger),
        anchor_check(&ledger),
        cosignature_check(cosigned),
        Check::new("directory", move || {
            holds(
                directory.edition().ground(clock.now()).is_ok(),
                "the directory has expired",
            )
        }),
    ];
    let hosted: Vec<_> = (node.hosted().iter().cloned())
        .zip(node.cosigned_of_hosted())
        .collect();
    if !hosted.is_empty() {
        checks.push(Check::advice("tenants", move || tenants(&hosted)));
    }
    if let Some(producer) = node.producer().cloned() {
        checks.push(Check::new("lease", move || {
            holds(producer.ready(), "nothing may be released at this moment")
        }));
    }
    checks
}

/// Whether each body that the node hosts is served; the others are, where one is not.
fn tenants(hosted: &[(Consumer, Arc<Cosigned>)]) -> Result<(), Cow<'static, str>> {
    let missing = |tenant: &Consumer, cosigned: &Cosigned| -> Option<Cow<'static, str>> {
        if let Err(error) = tenant.admitted() {
            return Some(error.to_string().into());
        }
        let log = tenant.ledger();
        if let Err(why) = log.writable() {
            return Some(not_written(why, &log.awaited()));
        }
        let advice = log.anchored().err().or_else(|| cosigned.alarm());
        advice.map(Cow::from)
    };
    let missing = hosted
        .iter()
        .filter_map(|(tenant, cosigned)| Some((tenant.participant(), missing(tenant, cosigned)?)));
    let missing: Vec<String> = missing.map(|(tenant, why)| format!("{tenant}: {why}")).collect();
    match missing.len().saturating_sub(NAMED) {
        _ if missing.is_empty() => Ok(()),
        0 => Err(missing.join("; ").into()),
        more => Err(format!("{}; and {more} more", missing[..NAMED].join("; ")).into()),
    }
}

fn ledger_check(ledger: &Ledger) -> Check {
    let ledger = ledger.clone();
    Check::new("ledger", move || {
        let written = ledger.writable();
        written.map_err(|why| not_written(why, &ledger.awaited()))
    })
}

fn anchor_check(ledger: &Ledger) -> Check {
    let ledger = ledger.clone();
    Check::advice("anchor", move || ledger.anchored().map_err(Cow::from))
}

/// Why a log is not written, and whom it waits for.
fn not_written(why: &'static str, awaited: &[ParticipantId]) -> Cow<'static, str> {
    if awaited.is_empty() {
        return why.into();
    }
    let named: Vec<String> = awaited.iter().take(NAMED).map(ToString::to_string).collect();
    let more = match awaited.len() - named.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{why}; it waits for {}{more}", named.join(", ")).into()
}

fn holds(it: bool, missing: &'static str) -> Result<(), Cow<'static, str>> {
    if it { Ok(()) } else { Err(missing.into()) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_told_whom_a_restored_log_waits_for() {
        let one: ParticipantId = "urn:unefois:participant:18003506500010".parse().unwrap();
        assert_eq!(not_written("read-only", &[]), "read-only");
        assert_eq!(
            not_written("read-only", &[one]),
            format!("read-only; it waits for {one}")
        );
        let many = not_written("read-only", &[one; NAMED + 3]);
        assert_eq!(many.matches("urn:").count(), NAMED);
        assert!(many.ends_with(" and 3 more"), "{many}");
    }
}
