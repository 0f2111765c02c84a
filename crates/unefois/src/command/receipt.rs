//! `receipt show` and `receipt verify`: the file that proves one entry of a log without the log's help.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use unefois_core::Entry;
use unefois_jose::Thumbprint;
use unefois_tlog::{Hash, MAX_RECEIPT_BYTES, Receipt, VerifierKey};

use super::audit::words;
use super::read_text;
use crate::console::Console;
use crate::failure::{Failure, Kind};

/// Looks at receipts: C2SP tlog-proof files.
#[derive(Debug, Subcommand)]
pub enum ReceiptCommand {
    /// Shows what a receipt says, without judging it.
    Show(Show),
    /// Verifies that an entry is in the log that the receipt names, by the log's key alone.
    Verify(Verify),
}

/// `receipt show`.
#[derive(Debug, Args)]
pub struct Show {
    /// The receipt, a .tlog-proof.
    file: PathBuf,
}

/// `receipt verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// The receipt, a .tlog-proof.
    file: PathBuf,
    /// The entry's bytes; without it, those in the receipt.
    #[arg(long, value_name = "FILE")]
    entry: Option<PathBuf>,
    /// The log's verifier key as the directory publishes it, or a file with it.
    #[arg(
        long,
        value_name = "KEY",
        required_unless_present = "directory",
        conflicts_with = "directory"
    )]
    vkey: Option<String>,
    /// The signed directory, which names the log's key.
    #[arg(long, value_name = "FILE", requires = "pin")]
    directory: Option<PathBuf>,
    /// Thumbprint of the key that signs directories.
    #[arg(long, value_name = "THUMBPRINT", allow_hyphen_values = true)]
    pin: Option<Thumbprint>,
}

/// Runs `receipt …`.
pub fn run(command: &ReceiptCommand, console: Console) -> Result<(), Failure> {
    match command {
        ReceiptCommand::Show(show) => {
            let receipt = read(&show.file)?;
            let entry = receipt
                .unauthenticated_extra()
                .and_then(|bytes| Entry::decode(bytes).ok());
            let value = to_json(&receipt, entry.as_ref(), false);
            console.data(&value, || {
                format!(
                    "{}\nnon vérifié : receipt verify le vérifie",
                    in_words(&receipt, entry.as_ref())
                )
            })
        }
        ReceiptCommand::Verify(verify) => run_verify(verify, console),
    }
}

fn run_verify(verify: &Verify, console: Console) -> Result<(), Failure> {
    let receipt = read(&verify.file)?;
    let bytes = match &verify.entry {
        Some(file) => std::fs::read(file).map_err(|e| {
            Failure::new(Kind::NoInput, format!("{} n'est pas lu", file.display())).because(e)
        })?,
        None => receipt
            .unauthenticated_extra()
            .map(<[u8]>::to_vec)
            .ok_or_else(|| {
                Failure::new(Kind::Data, "le reçu ne contient pas l'entrée").next("donnez-la par --entry")
            })?,
    };
    let entry = Entry::decode(&bytes)
        .map_err(|e| Failure::new(Kind::Data, "ce n'est pas une entrée de registre").because(e))?;
    let key = key(verify, &receipt)?;
    let refused = |e: unefois_tlog::Error| {
        let failure = Failure::new(
            Kind::No,
            "le reçu ne prouve pas que cette entrée est dans ce registre",
        )
        .because(e);
        failure.next("gardez le reçu et demandez à qui l'a remis")
    };
    let head = receipt.verify(&Hash::of_leaf(&bytes), &key).map_err(refused)?;
    let size = head.size;
    console.data(&to_json(&receipt, Some(&entry), true), || {
        format!(
            "{}\nvérifié : l'entrée est dans le registre, sous sa tête signée de {size} entrées",
            in_words(&receipt, Some(&entry))
        )
    })
}

fn read(file: &std::path::Path) -> Result<Receipt, Failure> {
    let size = std::fs::metadata(file).map(|file| file.len());
    if size.is_ok_and(|size| size > MAX_RECEIPT_BYTES as u64) {
        return Err(Failure::new(Kind::Data, "le fichier est trop grand pour un reçu"));
    }
    let text = read_text(file)?;
    text.parse()
        .map_err(|e| Failure::new(Kind::Data, "le fichier n'est pas un reçu (.tlog-proof)").because(e))
}

/// The key of the log that the receipt names.
fn key(verify: &Verify, receipt: &Receipt) -> Result<VerifierKey, Failure> {
    let text = match (&verify.vkey, &verify.directory, &verify.pin) {
        (None, Some(file), Some(pin)) => {
            let directory = unefois_jose::directory::verify(&read_text(file)?, pin)
                .map_err(|e| Failure::new(Kind::Data, "l'annuaire n'est pas accepté").because(e))?;
            let origin = receipt.checkpoint().claimed_origin();
            let log = directory.log(origin.as_str()).map(|(_, log)| log.vkey.clone());
            log.ok_or_else(|| {
                Failure::new(
                    Kind::No,
                    format!("l'annuaire ne connaît pas le registre {origin}"),
                )
            })?
        }
        (Some(key), ..) if key.contains('+') => key.clone(),
        (Some(file), ..) => read_text(&PathBuf::from(file))?,
        (None, ..) => {
            return Err(Failure::new(
                Kind::Usage,
                "il faut --vkey, ou --directory et --pin",
            ));
        }
    };
    text.trim()
        .parse()
        .map_err(|e| Failure::new(Kind::Data, "ce n'est pas une clé de registre").because(e))
}

fn to_json(receipt: &Receipt, entry: Option<&Entry>, verified: bool) -> Value {
    json!({
        "origin": receipt.checkpoint().claimed_origin().as_str(), "index": receipt.index(), "verified": verified,
        "checkpoint": receipt.checkpoint().as_str(),
        "event": entry.map(|entry| entry.event), "at": entry.map(|entry| entry.at.to_rfc3339()),
        "exchange_id": entry.and_then(|entry| entry.exchange_id),
        "requester": entry.and_then(|entry| entry.requester), "provider": entry.and_then(|entry| entry.provider),
        "datatype": entry.and_then(|entry| entry.datatype.clone()),
    })
}

fn in_words(receipt: &Receipt, entry: Option<&Entry>) -> String {
    let mut text = format!(
        "Reçu de l'entrée {} du registre {}",
        receipt.index(),
        receipt.checkpoint().claimed_origin()
    );
    let signers = receipt.checkpoint().note().signatures().len();
    text += &format!("\n  signatures de la tête : {signers}");
    let Some(entry) = entry else {
        return text + "\n  l'entrée n'est pas dans le reçu";
    };
    text += &format!(
        "\n  {} le {}",
        words::event(entry.event),
        words::instant(entry.at)
    );
    if let Some(exchange) = &entry.exchange_id {
        text += &format!("\n  échange {exchange}");
    }
    if let (Some(requester), Some(provider)) = (&entry.requester, &entry.provider) {
        text += &format!("\n  demandeur {requester}\n  producteur {provider}");
    }
    if let Some(datatype) = &entry.datatype {
        text += &format!("\n  donnée {datatype}");
    }
    text
}
