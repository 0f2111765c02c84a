//! `demo`: every role in one process, and the story.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use unefois_core::Clock as _;
use unefois_mesh::{SystemClock, SystemRandom};

use url::Url;

use super::runtime;
use crate::console::Console;
use crate::demo::script::Script;
use crate::demo::stage::Roles;
use crate::demo::story::{Step, Story};
use crate::demo::world::{Member, Setting, World};
use crate::failure::{Failure, Kind};

/// `demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// Tells the story and ends: 0 if every step held.
    #[arg(long)]
    headless: bool,
    /// Skips the story and stays up until interrupted.
    #[arg(long, conflicts_with = "headless")]
    stay: bool,
    /// Runs each role in a process of its own, as services do.
    #[arg(long)]
    processes: bool,
    /// How long a producer releases on one answer of the authority, in milliseconds: the longest that a withdrawal takes.
    #[arg(long, value_name = "MS", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(200..=60_000))]
    lease_ms: u32,
    /// An empty folder for certificates, keys and databases; a temporary one where absent.
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// Log in at this OpenID provider of FranceConnect's kind instead of the demonstration's own.
    #[arg(long, value_name = "URL")]
    issuer: Option<Url>,
    /// The same of FranceConnect+'s kind.
    #[arg(long, value_name = "URL")]
    issuer_plus: Option<Url>,
    /// The same of ProConnect's kind.
    #[arg(long, value_name = "URL")]
    issuer_pro: Option<Url>,
}

/// Runs `demo`.
pub fn run(demo: &Demo, console: Console) -> Result<(), Failure> {
    runtime()?.block_on(play(demo, console))
}

async fn play(demo: &Demo, console: Console) -> Result<(), Failure> {
    let clock = SystemClock;
    let start = clock.boottime();
    let temporary;
    let root = match &demo.dir {
        Some(dir) => {
            std::fs::create_dir_all(dir)
                .map_err(|e| Failure::new(Kind::CannotWrite, "--dir n'est pas créé").because(e))?;
            if std::fs::read_dir(dir).is_ok_and(|mut files| files.next().is_some()) {
                let failure = Failure::new(Kind::Exists, "--dir n'est pas vide");
                return Err(failure.next("donnez un dossier vide, ou qui n'existe pas encore"));
            }
            dir.canonicalize()
                .map_err(|e| Failure::new(Kind::CannotWrite, "--dir n'est pas lu").because(e))?
        }
        None => {
            temporary = tempfile::tempdir()
                .map_err(|e| Failure::new(Kind::CannotWrite, "aucun dossier temporaire").because(e))?;
            temporary.path().to_owned()
        }
    };
    let issuers = [&demo.issuer, &demo.issuer_plus, &demo.issuer_pro].map(|issuer| {
        let issuer = issuer.as_ref().map(Url::as_str);
        issuer.map(|url| url.trim_end_matches('/').to_owned())
    });
    let setting = Setting {
        issuers,
        lease_ms: demo.lease_ms,
        ..Setting::default()
    };
    let world = World::create(&root, setting, clock.now(), &SystemRandom::new())?;
    let addresses = json!({
        "portal": format!("http://localhost:{}", world.ports.portal),
        "authority": format!("https://localhost:{}", world.ports.authority),
        "cnaf": format!("localhost:{}", world.ports.cnaf),
        "mesr": format!("localhost:{}", world.ports.mesr),
        "dgfip": format!("localhost:{}", world.ports.dgfip),
        "clamart": format!("localhost:{}", world.ports.clamart),
        "public": public(&world),
        "witnesses": witnesses(&world),
        "idp": world.idps[0].issuer,
        "dir": root,
        "pin": world.pin.to_string(),
    });
    let program = std::env::current_exe()
        .map_err(|e| Failure::new(Kind::Bug, "ce programme ne se trouve pas lui-même").because(e))?;
    let roles = match demo.processes {
        true => Roles::Processes(&program),
        false => Roles::Here,
    };
    let mut story = Story::begin(world, Script::default(), roles)
        .await
        .map_err(|error| broken("la démonstration ne démarre pas", &error))?;
    let ms = u64::try_from(clock.boottime().micros_since(start) / 1_000).unwrap_or(0);
    tell(
        &Step {
            step: "mesh-up",
            ok: true,
            ms,
            seen: "autorité, trois producteurs, une commune".to_owned(),
        },
        console,
    )?;
    let mut held = true;
    if !demo.stay {
        let mut written = Ok(());
        held = story.tell(|step| written = tell(step, console)).await;
        written?;
    }
    if demo.stay || (held && !demo.headless && console.interactive()) {
        let try_it = match demo.stay {
            true => String::new(),
            false => {
                let handle = story.unused_handle().await;
                let handle = handle.map_err(|error| broken("aucune autorisation de plus", &error))?;
                let clamart = root.join("clamart");
                let auditor = root.join("auditor");
                format!(
                    "L'étape tamper a arrêté la CNAF et altéré sa base.\nÀ essayer :\n  \
                     {program} fetch {handle} --socket {socket} --directory {directory} \
                     --out attestation.json\n  {program} verify attestation.json --pin {pin}\n  \
                     {program} audit verify 21920023500014 --cert {auditor}/tls.pem --key {auditor}/tls.key \
                     --authorities {ca}/ca.pem --crls {ca}/ca.crl --directory {auditor}/directory.jws \
                     --catalogue {auditor}/catalogue.bin --pin {pin}\n",
                    program = program.display(),
                    socket = clamart.join("backoffice.sock").display(),
                    directory = clamart.join("directory.jws").display(),
                    auditor = auditor.display(),
                    ca = root.join("ca").display(),
                    pin = addresses["pin"].as_str().unwrap_or(""),
                )
            }
        };
        console.data(
            &json!({ "step": "up", "ok": true, "ms": 0, "addresses": addresses }),
            || {
                format!(
                    "Portail : {}\nDossier : {}\n{try_it}Ctrl-C pour arrêter.",
                    addresses["portal"].as_str().unwrap_or(""),
                    root.display()
                )
            },
        )?;
        crate::host::interrupted().await;
    }
    story
        .end()
        .await
        .map_err(|error| broken("la démonstration ne se termine pas", &error))?;
    match held {
        true => Ok(()),
        false => Err(Failure::new(Kind::No, "une étape ne tient pas")),
    }
}

/// Where anybody may check each ledger.
fn public(world: &World) -> serde_json::Value {
    let address = |member: Member| format!("http://127.0.0.1:{}", world.ports.public(member));
    let rows = Member::ALL.map(|member| (member.name().to_owned(), address(member)));
    rows.into_iter().collect()
}

/// The keys that cosign each ledger.
fn witnesses(world: &World) -> serde_json::Value {
    let keys = |member: Member| {
        member
            .witnesses()
            .map(|by| world.witness_keys[by as usize].clone())
    };
    let rows = Member::ALL.map(|member| (member.name().to_owned(), json!(keys(member))));
    rows.into_iter().collect()
}

fn broken(what: &str, error: &anyhow::Error) -> Failure {
    Failure::new(Kind::Bug, what).because(format!("{error:#}"))
}

fn tell(step: &Step, console: Console) -> Result<(), Failure> {
    let sign = if step.ok { "✓" } else { "✗" };
    console.data(step, || {
        format!("{sign} {:<14} {:>6} ms  {}", step.step, step.ms, step.seen)
    })
}
