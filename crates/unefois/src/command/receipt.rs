//! `receipt show` and `receipt verify`: the files that prove entries of logs without the logs' help.

mod grant;
mod withdrawal;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use unefois_core::{Directory, Entry};
use unefois_jose::Thumbprint;
use unefois_tlog::{Hash, MAX_RECEIPT_BYTES, Receipt, VerifierKey};

use self::grant::GrantFile;
use self::withdrawal::ProofFile;
use super::audit::words;
use super::read_text;
use crate::console::Console;
use crate::failure::{Failure, Kind};

/// Looks at receipts: C2SP tlog-proof files, and what a person downloads: the receipt of a grant, the proof of a withdrawal.
#[derive(Debug, Subcommand)]
pub enum ReceiptCommand {
    /// Shows what a receipt says, without judging it.
    Show(Show),
    /// Verifies that an entry is in the log that the receipt names, by the log's key alone; of a withdrawal, also what the
    /// entry commits to; of a grant, that the authority of the directory signed it.
    Verify(Verify),
}

/// `receipt show`.
#[derive(Debug, Args)]
pub struct Show {
    /// The receipt: a .tlog-proof, recu-autorisation.json or preuve-retrait.json.
    file: PathBuf,
}

/// `receipt verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// The receipt: a .tlog-proof, recu-autorisation.json or preuve-retrait.json.
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
    /// The signed directory, which names the log's key and, for a withdrawal, those of the producers' logs.
    #[arg(long, value_name = "FILE", requires = "pin")]
    directory: Option<PathBuf>,
    /// Thumbprint of the key that signs directories.
    #[arg(long, value_name = "THUMBPRINT", allow_hyphen_values = true)]
    pin: Option<Thumbprint>,
}

/// What a receipt may be.
enum File {
    Entry(Box<Receipt>),
    Grant(Box<GrantFile>),
    Withdrawal(ProofFile),
}

/// By what a receipt is judged.
#[derive(Debug)]
enum Trust {
    /// The key of the only log that counts.
    Key(VerifierKey),
    /// The keys of all logs.
    Directory(Box<Directory>),
}

impl Trust {
    fn load(verify: &Verify) -> Result<Self, Failure> {
        let text = match (&verify.vkey, &verify.directory, &verify.pin) {
            (None, Some(file), Some(pin)) => {
                let directory = unefois_jose::directory::verify(&read_text(file)?, pin)
                    .map_err(|e| Failure::new(Kind::Data, "l'annuaire n'est pas accepté").because(e))?;
                return Ok(Self::Directory(Box::new(directory)));
            }
            (Some(key), ..) if key.contains('+') => key.clone(),
            (Some(file), ..) => read_text(Path::new(file))?,
            (None, ..) => {
                return Err(Failure::new(
                    Kind::Usage,
                    "il faut --vkey, ou --directory et --pin",
                ));
            }
        };
        let key = text.trim().parse();
        key.map(Self::Key)
            .map_err(|e| Failure::new(Kind::Data, "ce n'est pas une clé de registre").because(e))
    }

    /// The key of the log `origin`, or the one given for whatever log; `None` where the directory does not list it.
    fn key(&self, origin: &str) -> Option<VerifierKey> {
        match self {
            Self::Key(key) => Some(key.clone()),
            Self::Directory(directory) => directory.log(origin)?.1.vkey.parse().ok(),
        }
    }

    /// Whether the directory gives the log `origin` to somebody else than the authority.
    fn is_anothers(&self, origin: &str) -> bool {
        match self {
            Self::Key(_) => false,
            Self::Directory(directory) => {
                let keeper = directory.log(origin).map(|(row, _)| row.id);
                keeper.is_some_and(|keeper| keeper != directory.authority().participant)
            }
        }
    }
}

/// Runs `receipt …`.
pub fn run(command: &ReceiptCommand, console: Console) -> Result<(), Failure> {
    match command {
        ReceiptCommand::Show(show) => match read(&show.file)? {
            File::Entry(receipt) => show_entry(&receipt, console),
            File::Grant(file) => grant::show(&file, console),
            File::Withdrawal(file) => withdrawal::words::show(&file, console),
        },
        ReceiptCommand::Verify(verify) => match read(&verify.file)? {
            File::Entry(receipt) => verify_entry(&receipt, verify, console),
            File::Grant(_) | File::Withdrawal(_) if verify.entry.is_some() => Err(Failure::new(
                Kind::Usage,
                "--entry ne va qu'avec le reçu d'une entrée",
            )),
            File::Grant(file) => grant::verify(&file, &Trust::load(verify)?, console),
            File::Withdrawal(file) => withdrawal::words::verify(&file, &Trust::load(verify)?, console),
        },
    }
}

fn show_entry(receipt: &Receipt, console: Console) -> Result<(), Failure> {
    let entry = receipt
        .unauthenticated_extra()
        .and_then(|bytes| Entry::decode(bytes).ok());
    let value = to_json(receipt, entry.as_ref(), false);
    console.data(&value, || {
        format!(
            "{}\nnon vérifié : receipt verify le vérifie",
            in_words(receipt, entry.as_ref())
        )
    })
}

fn verify_entry(receipt: &Receipt, verify: &Verify, console: Console) -> Result<(), Failure> {
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
    let origin = receipt.checkpoint().claimed_origin().as_str();
    let key = Trust::load(verify)?.key(origin).ok_or_else(|| {
        let what = format!("l'annuaire ne connaît pas le registre {origin}");
        Failure::new(Kind::No, what)
    })?;
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
    console.data(&to_json(receipt, Some(&entry), true), || {
        format!(
            "{}\nvérifié : l'entrée est dans le registre, sous sa tête signée de {size} entrées",
            in_words(receipt, Some(&entry))
        )
    })
}

fn read(path: &Path) -> Result<File, Failure> {
    let mut bytes = Vec::new();
    // A byte more than is taken, whatever the file says of its size.
    let most = withdrawal::MAX_BYTES as u64 + 1;
    std::fs::File::open(path)
        .and_then(|file| file.take(most).read_to_end(&mut bytes))
        .map_err(|e| Failure::new(Kind::NoInput, format!("{} n'est pas lu", path.display())).because(e))?;
    if GrantFile::is_one(&bytes) {
        return GrantFile::parse(&bytes).map(|file| File::Grant(Box::new(file)));
    }
    if bytes.trim_ascii_start().starts_with(b"{") {
        let file = ProofFile::parse(&bytes).map_err(|e| {
            let failure = Failure::new(Kind::Data, "le fichier n'est pas une preuve de retrait");
            failure
                .because(e)
                .next("téléchargez de nouveau preuve-retrait.json")
        })?;
        return Ok(File::Withdrawal(file));
    }
    if bytes.len() > MAX_RECEIPT_BYTES {
        return Err(Failure::new(Kind::Data, "le fichier est trop grand pour un reçu"));
    }
    let unread = || Failure::new(Kind::Data, "le fichier n'est pas un reçu (.tlog-proof)");
    let text = String::from_utf8(bytes).map_err(|e| unread().because(e))?;
    let receipt = text
        .parse()
        .map_err(|e: unefois_tlog::Error| unread().because(e))?;
    Ok(File::Entry(Box::new(receipt)))
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
