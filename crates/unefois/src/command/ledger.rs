//! `ledger …`: what an operator does with the logs of a database.

mod close;
mod compare;
mod erase_subject;
mod head;

use clap::{Args, Subcommand};
use serde_json::json;
use unefois_ledger::verify::{Report, verify_database};
use unefois_mesh::status;
use unefois_store::Db;
use unefois_store::head::origins;
use unefois_tlog::VerifierKey;

use super::runtime;
use crate::console::Console;
use crate::failure::{Failure, Kind};
use crate::progress::Progress;

/// Looks at the logs of a database.
#[derive(Debug, Subcommand)]
pub enum LedgerCommand {
    /// Recomputes a log from its entries: hashes, tiles, signed head, index columns.
    Verify(Verify),
    /// Shows the signed head of a log.
    Head(head::Head),
    /// Proves one entry of a log, in a file that anybody verifies.
    Prove(head::Prove),
    /// Says whether two heads of a log are of one history.
    Compare(compare::Compare),
    /// Closes a log for ever: what of one that went back cannot be brought back. The participant goes on with the next
    /// shard, under a new key.
    Close(close::Close),
    /// Destroys what opens and finds the exchanges of one person before its time, on a decision.
    EraseSubject(erase_subject::EraseSubject),
}

/// `ledger verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// The database: postgres://… or sqlite:PATH.
    #[arg(long, value_name = "URL")]
    database: String,
    /// File with the log's verifier key, or the key itself, as the directory publishes it.
    #[arg(long, value_name = "KEY")]
    vkey: String,
}

/// Runs `ledger …`.
pub fn run(command: LedgerCommand, console: Console) -> Result<(), Failure> {
    match command {
        LedgerCommand::Verify(verify) => run_verify(&verify, console),
        LedgerCommand::Head(head) => head::run_head(&head, console),
        LedgerCommand::Prove(prove) => head::run_prove(&prove, console),
        LedgerCommand::Compare(compare) => compare::run(&compare, console),
        LedgerCommand::Close(close) => close::run(&close, console),
        LedgerCommand::EraseSubject(erase) => erase_subject::run(&erase, console),
    }
}

fn run_verify(verify: &Verify, console: Console) -> Result<(), Failure> {
    let key = head::verifier(&verify.vkey)?;
    let progress = Progress::new(console);
    let checked = runtime()?.block_on(check(&verify.database, &key, |read, size| {
        progress.tell("vérification", read, size);
    }));
    progress.end();
    let report = checked?;
    tell(&report, console)
}

/// Verifies the log of `key` in the database `url`.
///
/// # Errors
/// The database cannot be read, or holds no such log.
pub async fn check(url: &str, key: &VerifierKey, progress: impl FnMut(u64, u64)) -> Result<Report, Failure> {
    let unread = |e: &(dyn std::error::Error + 'static)| {
        let failure = Failure::new(Kind::NoInput, "la base n'est pas lue").because(status::chain(e));
        failure.next("vérifiez l'adresse de la base")
    };
    let db = Db::open_for_reading(url).await.map_err(|e| unread(&e))?;
    let origin = key.name().as_str();
    let held = origins(&db).await.map_err(|e| unread(&e))?;
    if !held.iter().any(|held| held == origin) {
        let failure = Failure::new(Kind::NoInput, format!("cette base n'a pas le registre {origin}"));
        return Err(failure.next(match held.as_slice() {
            [] => "elle n'en a aucun : vérifiez l'adresse de la base".to_owned(),
            held => format!("donnez la clé d'un registre qu'elle a : {}", held.join(", ")),
        }));
    }
    verify_database(&db, origin, key, progress)
        .await
        .map_err(|e| unread(&e))
}

fn tell(report: &Report, console: Console) -> Result<(), Failure> {
    let faults = |list: &[String]| list.to_vec();
    let log: Vec<String> = report.log.iter().map(ToString::to_string).collect();
    let index: Vec<String> = report.index.iter().map(ToString::to_string).collect();
    let value = json!({
        "origin": report.origin, "size": report.size, "read": report.read, "root": report.root.to_string(),
        "log": faults(&log), "index": faults(&index),
    });
    console.data(&value, || {
        let verdict = |faults: &[String]| match faults {
            [] => "intact".to_owned(),
            faults => format!("{} défaut(s)\n  {}", faults.len(), faults.join("\n  ")),
        };
        format!(
            "{}\n{} entrée(s), racine {}\nregistre : {}\nindex : {}",
            report.origin,
            report.size,
            report.root,
            verdict(&log),
            verdict(&index)
        )
    })?;
    if report.is_sound() {
        return Ok(());
    }
    let what = format!("{} défaut(s) du registre, {} de l'index", log.len(), index.len());
    Err(Failure::new(Kind::No, what)
        .next("comparez avec une tête ou un reçu gardé par un pair ; ne relancez pas le nœud"))
}
