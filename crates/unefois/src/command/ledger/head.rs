//! `ledger head` and `ledger prove`: what a log says of itself, and the proof of one of its entries, from its database.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use unefois_ledger::StoredLog;
use unefois_mesh::status;
use unefois_store::Db;
use unefois_tlog::VerifierKey;

use crate::command::{read_text, runtime};
use crate::console::Console;
use crate::failure::{Failure, Kind};

/// `ledger head`.
#[derive(Debug, Args)]
pub struct Head {
    #[command(flatten)]
    stored: Stored,
}

/// `ledger prove`.
#[derive(Debug, Args)]
pub struct Prove {
    /// The entry's place in the log.
    index: u64,
    /// Where to write the proof, a C2SP .tlog-proof with the entry in it; else it is written out.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    stored: Stored,
}

/// A log in its database.
#[derive(Debug, Args)]
pub(super) struct Stored {
    /// The database: postgres://… or sqlite:PATH.
    #[arg(long, value_name = "URL")]
    database: String,
    /// File with the log's verifier key, or the key itself, as the directory publishes it.
    #[arg(long, value_name = "KEY")]
    vkey: String,
}

/// Runs `ledger head`.
pub(super) fn run_head(head: &Head, console: Console) -> Result<(), Failure> {
    let log = runtime()?.block_on(head.stored.open())?;
    let value = json!({
        "origin": log.head().origin.as_str(), "size": log.head().size, "root": log.head().root.to_string(),
        "checkpoint": log.checkpoint().as_str(),
    });
    console.data(&value, || log.checkpoint().as_str().to_owned())
}

/// Runs `ledger prove`.
pub(super) fn run_prove(prove: &Prove, console: Console) -> Result<(), Failure> {
    let proved = async {
        let log = prove.stored.open().await?;
        let receipt = log.receipt(prove.index).await;
        receipt.map_err(|e| Failure::new(Kind::No, "le registre n'a pas cette entrée").because(e))
    };
    let receipt = runtime()?.block_on(proved)?.to_string();
    match &prove.out {
        None => console.data(&json!({"index": prove.index, "receipt": receipt}), || {
            receipt.clone()
        }),
        Some(file) => std::fs::write(file, &receipt).map_err(|e| {
            Failure::new(Kind::CannotWrite, format!("{} n'est pas écrit", file.display())).because(e)
        }),
    }
}

impl Stored {
    async fn open(&self) -> Result<StoredLog, Failure> {
        open(&self.database, &verifier(&self.vkey)?).await
    }
}

/// The log of `key` in the database `url`, its head verified.
pub(super) async fn open(url: &str, key: &VerifierKey) -> Result<StoredLog, Failure> {
    let unread = |e: &(dyn std::error::Error + 'static)| {
        Failure::new(Kind::NoInput, "la base n'est pas lue")
            .because(status::chain(e))
            .next("vérifiez l'adresse de la base")
    };
    let db = Db::open_for_reading(url).await.map_err(|e| unread(&e))?;
    match StoredLog::open(db, key).await {
        Ok(Some(log)) => Ok(log),
        Ok(None) => Err(Failure::new(
            Kind::Data,
            "la base n'a aucune entrée du registre de cette clé",
        )),
        Err(unefois_ledger::Error::Store(e)) => Err(unread(&e)),
        Err(e) => Err(Failure::new(Kind::No, "la tête de la base ne se vérifie pas")
            .because(e)
            .next("tapez : unefois ledger verify")),
    }
}

/// A log's key, or the file that holds it.
pub(super) fn verifier(text: &str) -> Result<VerifierKey, Failure> {
    let text = match text.contains('+') {
        true => text.to_owned(),
        false => read_text(&PathBuf::from(text))?,
    };
    text.trim()
        .parse()
        .map_err(|e| Failure::new(Kind::Usage, "--vkey n'est pas une clé de registre").because(e))
}
