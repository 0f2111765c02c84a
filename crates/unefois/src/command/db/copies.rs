//! `db backup|restore|status`: copies of a database, and what logs it holds.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use unefois_core::{Clock as _, Micros};
use unefois_mesh::{SystemClock, status::chain};
use unefois_store::authority::restored::standing_read;
use unefois_store::{Component, Db};

use crate::backup::{Manifest, Owner, backup, restore};
use crate::command::runtime;
use crate::console::Console;
use crate::failure::{Failure, Kind};

/// The migration of the authority that brought the mark of withdrawals to recover.
const RESTORED_SINCE: i64 = 6;

/// `db backup`.
#[derive(Debug, Args)]
pub struct Backup {
    /// The database: postgres://… or sqlite:PATH.
    #[arg(long, value_name = "URL")]
    database: String,
    /// The folder to make.
    #[arg(long, value_name = "PATH")]
    to: PathBuf,
}

/// `db restore`.
#[derive(Debug, Args)]
pub struct Restore {
    /// The folder that `db backup` made.
    #[arg(long, value_name = "PATH")]
    from: PathBuf,
    /// The database: sqlite:PATH where nothing is, or an empty postgres://….
    #[arg(long, value_name = "URL")]
    database: String,
}

/// `db status`.
#[derive(Debug, Args)]
pub struct Status {
    /// The database: postgres://… or sqlite:PATH.
    #[arg(long, value_name = "URL")]
    database: String,
}

/// Runs `db backup`.
pub(super) fn run_backup(args: &Backup, console: Console) -> Result<(), Failure> {
    let manifest = runtime()?.block_on(backup(&args.database, &args.to, SystemClock.now()))?;
    tell(&manifest, console)
}

/// Runs `db restore`.
pub(super) fn run_restore(args: &Restore, console: Console) -> Result<(), Failure> {
    let manifest = runtime()?.block_on(restore(&args.from, &args.database, SystemClock.now()))?;
    tell(&manifest, console)?;
    if manifest.component == Owner::Authority {
        console.say(
            "L'autorité restaurée ne délivre et ne retire rien tant que chaque producteur n'a pas montré les retraits \
             qu'il connaît. S'il en manque un pour de bon : unefois withdraw --config FILE --reason TEXTE lost --without NOM",
        );
    }
    console.say(
        "Le registre restauré s'ouvre en lecture seule, jusqu'à ce que l'ancre et tous les pairs aient montré que rien \
         n'est venu après. S'il manque quelque chose : unefois ledger close --database URL --signer FILE",
    );
    Ok(())
}

/// Runs `db status`.
pub(super) fn run_status(args: &Status, console: Console) -> Result<(), Failure> {
    runtime()?.block_on(status(args, console))
}

fn tell(manifest: &Manifest, console: Console) -> Result<(), Failure> {
    console.data(manifest, || {
        let logs = manifest
            .logs
            .iter()
            .map(|log| format!("{} : {} entrée(s), racine {}", log.origin, log.size, log.root));
        let logs: Vec<String> = logs.collect();
        format!(
            "{} : {} octets, SHA-256 {}\n{}",
            manifest.file,
            manifest.bytes,
            manifest.sha256,
            logs.join("\n")
        )
    })
}

async fn status(args: &Status, console: Console) -> Result<(), Failure> {
    let unread = |e: unefois_store::Error| {
        Failure::new(Kind::NoInput, "la base n'est pas lue")
            .because(chain(&e))
            .next("vérifiez l'adresse de la base")
    };
    let db = Db::open_for_reading(&args.database).await.map_err(unread)?;
    let component = db.component().await.map_err(unread)?;
    let component = component.ok_or_else(|| unread(unefois_store::Error::NoLog))?;
    let migrations = db.schema_versions(component).await.map_err(unread)?;
    let logs = db.log_states().await.map_err(unread)?;
    let since = (migrations.iter())
        .any(|(table, version)| table == "migration_authority" && *version >= RESTORED_SINCE);
    let restored = match component {
        Component::Authority if since => standing_read(&db).await.map_err(unread)?,
        Component::Authority | Component::Node => None,
    };
    db.close().await;
    let rows: Vec<_> = (logs.iter())
        .map(|log| {
            json!({
                "origin": log.origin, "size": log.size, "root": log.root.to_string(),
                "closed_at_us": log.marks.closed_at.map(Micros::get),
                "restored_at_us": log.marks.restored_at.map(Micros::get),
            })
        })
        .collect();
    let mark = restored.as_ref().map(|mark| {
        json!({
            "cause": mark.cause, "at_us": mark.at.get(), "epoch": mark.view.epoch, "seq": mark.view.seq,
        })
    });
    let value = json!({ "migrations": migrations, "logs": rows, "withdrawals_to_recover": mark });
    console.data(&value, || {
        let migrations = migrations
            .iter()
            .map(|(table, version)| format!("{table} {version}"));
        let logs = logs.iter().map(|log| {
            let mark = match (log.marks.closed_at, log.marks.restored_at) {
                (Some(_), _) => ", fermé",
                (None, Some(_)) => ", restauré : en lecture seule",
                (None, None) => "",
            };
            format!(
                "{} : {} entrée(s), racine {}{mark}",
                log.origin, log.size, log.root
            )
        });
        let mark = restored.iter().map(|mark| {
            format!(
                "retraits à récupérer depuis le {} (époque {}, numéro {}) : rien n'est délivré ni retiré",
                mark.at.to_rfc3339(),
                mark.view.epoch,
                mark.view.seq
            )
        });
        migrations.chain(logs).chain(mark).collect::<Vec<_>>().join("\n")
    })
}
