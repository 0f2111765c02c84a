//! `suspend`: a producer stops answering, at once and by its own decision, through the database that its replicas share.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use unefois_core::subject_request::is_motive;
use unefois_core::{Clock as _, DatatypeFilter, HabilitationId, Micros, ParticipantId, Random};
use unefois_mesh::{SystemClock, SystemRandom};
use unefois_store::node::suspension::{
    SuspensionKind, SuspensionRow, suspension_end, suspension_insert, suspensions,
};
use unefois_store::{Component, Db};

use super::runtime;
use crate::config::{Process, load, overrides};
use crate::console::Console;
use crate::failure::{Failure, Kind};

/// `suspend`: every replica of the producer refuses with SUSPENDED within a second, and over restarts; no authority is
/// asked. Its ledgers say so (`admin`).
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Suspend {
    #[command(subcommand)]
    command: Option<SuspendCommand>,
    #[command(flatten)]
    begin: Begin,
}

/// What else there is to suspensions.
#[derive(Debug, Subcommand)]
enum SuspendCommand {
    /// Shows what is suspended, and what was ended before its time.
    List(Of),
    /// Ends a suspension before its time.
    End {
        /// Its name, as `suspend list` shows it.
        #[arg(value_parser = parse_id)]
        id: Id,
        #[command(flatten)]
        of: Of,
        /// Why, on one line of up to 512 bytes; the ledger commits to it.
        #[arg(long, value_name = "TEXT", value_parser = motive)]
        reason: String,
    },
}

/// Whose.
#[derive(Debug, Args)]
struct Of {
    /// The configuration of the producer's node, or of one of its replicas.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// What begins one. Nothing of it is required by its form, since `list` and `end` stand in its place.
#[derive(Debug, Args)]
struct Begin {
    /// The configuration of the producer's node, or of one of its replicas; required.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    what: What,
    /// Until when, RFC 3339; required.
    #[arg(long, value_name = "INSTANT")]
    until: Option<Micros>,
    /// Why, on one line of up to 512 bytes; the ledger commits to it. Required.
    #[arg(long, value_name = "TEXT", value_parser = motive)]
    reason: Option<String>,
}

/// What is suspended: one of them.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct What {
    /// A participant, whether it asks for itself or for another.
    #[arg(long, value_name = "PARTICIPANT")]
    peer: Option<ParticipantId>,
    /// A datatype, in one revision or in any: provider/type@1 or provider/type.
    #[arg(long)]
    datatype: Option<DatatypeFilter>,
    /// A habilitation.
    #[arg(long, value_name = "ID")]
    habilitation: Option<HabilitationId>,
}

impl What {
    fn key(&self) -> Option<(SuspensionKind, String)> {
        let peer = (self.peer.as_ref()).map(|id| (SuspensionKind::Peer, id.to_string()));
        let datatype = (self.datatype.as_ref()).map(|id| (SuspensionKind::Datatype, id.to_string()));
        let habilitation =
            (self.habilitation.as_ref()).map(|id| (SuspensionKind::Habilitation, id.to_string()));
        peer.or(datatype).or(habilitation)
    }
}

/// A suspension's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Id([u8; 16]);

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

fn parse_id(text: &str) -> Result<Id, &'static str> {
    match u128::from_str_radix(text, 16) {
        Ok(id) if text.len() == 32 && text.bytes().all(|c| c.is_ascii_hexdigit()) => Ok(Id(id.to_be_bytes())),
        _ => Err("32 hexadecimal digits, as « suspend list » shows them"),
    }
}

fn motive(text: &str) -> Result<String, &'static str> {
    match is_motive(text) {
        true => Ok(text.to_owned()),
        false => Err("one line of 1 to 512 bytes"),
    }
}

/// Runs `suspend …`.
pub fn run(suspend: &Suspend, console: Console) -> Result<(), Failure> {
    match &suspend.command {
        Some(SuspendCommand::List(of)) => list(&of.config, console),
        Some(SuspendCommand::End { id, of, reason }) => end(*id, &of.config, reason, console),
        None => begin(&suspend.begin, console),
    }
}

fn begin(begin: &Begin, console: Console) -> Result<(), Failure> {
    let missing = |option: &str| {
        Failure::new(Kind::Usage, format!("il manque {option}")).next("tapez : unefois suspend --help")
    };
    let config = begin.config.as_deref().ok_or_else(|| missing("--config FILE"))?;
    let what = begin.what.key();
    let (kind, key) = what.ok_or_else(|| missing("--peer, --datatype ou --habilitation"))?;
    let until = begin.until.ok_or_else(|| missing("--until INSTANT"))?;
    let reason = begin.reason.clone().ok_or_else(|| missing("--reason TEXT"))?;
    let now = SystemClock.now();
    if until <= now {
        return Err(Failure::new(Kind::Usage, "--until est déjà passé"));
    }
    let row = SuspensionRow {
        id: (&SystemRandom::new() as &dyn Random).bytes(),
        kind,
        key,
        reason,
        began_at: now,
        ends_at: until,
        ended: None,
    };
    on_database(config, async |db| {
        let mut tx = db.begin().await?;
        suspension_insert(&mut tx, &row).await?;
        tx.commit().await
    })?;
    console.data(&value(&row, now), || {
        format!(
            "suspendu : {} jusqu'au {}\nsuspension {} ; chaque réplique refuse d'ici une seconde et l'écrit à son registre",
            row.key,
            row.ends_at.to_rfc3339(),
            Id(row.id)
        )
    })
}

fn end(id: Id, config: &Path, reason: &str, console: Console) -> Result<(), Failure> {
    let now = SystemClock.now();
    let ended = on_database(config, async |db| {
        let mut tx = db.begin().await?;
        let ended = suspension_end(&mut tx, &id.0, now, reason).await?;
        tx.commit().await?;
        Ok(ended)
    })?;
    match ended {
        true => {
            let value = json!({ "id": id.to_string(), "ended_at": now.to_rfc3339() });
            console.data(&value, || {
                format!("suspension {id} levée ; chaque réplique répond d'ici une seconde")
            })
        }
        false => Err(
            Failure::new(Kind::No, format!("la suspension {id} n'est pas en cours"))
                .next("tapez : unefois suspend list --config FILE"),
        ),
    }
}

fn list(config: &Path, console: Console) -> Result<(), Failure> {
    let now = SystemClock.now();
    let rows = on_database(config, async |db| suspensions(db, now).await)?;
    if rows.is_empty() {
        console.say("rien n'est suspendu");
    }
    for row in &rows {
        console.data(&value(row, now), || {
            let state = match &row.ended {
                None => format!("jusqu'au {}", row.ends_at.to_rfc3339()),
                Some((at, why)) => format!("levée le {} ({why})", at.to_rfc3339()),
            };
            format!("{}  {}  {state}  ({})", Id(row.id), row.key, row.reason)
        })?;
    }
    Ok(())
}

fn value(row: &SuspensionRow, now: Micros) -> Value {
    json!({
        "id": Id(row.id).to_string(),
        "kind": match row.kind {
            SuspensionKind::Peer => "peer",
            SuspensionKind::Datatype => "datatype",
            SuspensionKind::Habilitation => "habilitation",
        },
        "key": row.key, "reason": row.reason, "began_at": row.began_at.to_rfc3339(),
        "until": row.ends_at.to_rfc3339(), "holds": row.holds(now),
        "ended_at": row.ended.as_ref().map(|(at, _)| at.to_rfc3339()),
    })
}

/// Does `work` on the node's database, beside its processes or without them.
fn on_database<T>(
    config: &Path,
    work: impl AsyncFnOnce(&Db) -> Result<T, unefois_store::Error>,
) -> Result<T, Failure> {
    let process: Process<unefois_node::Config> = load(config, &overrides(std::env::vars_os()))?;
    let failed = |kind: Kind, e: unefois_store::Error| {
        Failure::new(kind, "la base du nœud ne répond pas ; rien n'est changé")
            .because(unefois_mesh::status::chain(&e))
            .next("vérifiez [database] url ; un nœud doit avoir démarré une fois avec cette version")
    };
    runtime()?.block_on(async {
        let db = Db::open_beside(&process.role.database.url, Component::Node)
            .await
            .map_err(|e| failed(Kind::NoInput, e))?;
        let done = work(&db).await;
        db.close().await;
        done.map_err(|e| failed(Kind::CannotWrite, e))
    })
}
