//! `directory sign|show`: signs the directory offline, and shows one.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use unefois_core::Directory;
use unefois_core::directory::DirectoryDocument;
use unefois_jose::{Pkcs8, SigningKey, Thumbprint, directory};
use unefois_mesh::SystemRandom;
use zeroize::Zeroizing;

use super::read_text;
use crate::console::Console;
use crate::failure::{Failure, Kind};

/// Signs and shows directories.
#[derive(Debug, Subcommand)]
pub enum DirectoryCommand {
    /// Signs a directory; the version and the hash of the one before are filled in.
    Sign(Sign),
    /// Verifies a signed directory and prints what it says.
    Show(Show),
}

/// `directory sign`.
#[derive(Debug, Args)]
pub struct Sign {
    /// The document, JSON; its `version` and `prev` are replaced.
    document: PathBuf,
    /// The directory's private key, kept offline.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The signed directory that this one follows; the first version where absent.
    #[arg(long, value_name = "FILE")]
    previous: Option<PathBuf>,
}

/// `directory show`.
#[derive(Debug, Args)]
pub struct Show {
    /// The signed directory.
    file: PathBuf,
    /// Thumbprint of the key that must have signed it (RFC 7638).
    #[arg(long, value_name = "THUMBPRINT")]
    pin: Thumbprint,
}

/// Runs `directory …`.
pub fn run(command: DirectoryCommand, console: Console) -> Result<(), Failure> {
    match command {
        DirectoryCommand::Sign(sign) => {
            let pem = Zeroizing::new(read_text(&sign.key)?.into_bytes());
            let key_error =
                |e: unefois_jose::Error| Failure::new(Kind::Data, "la clé n'est pas lue").because(e);
            let pkcs8 = Pkcs8::from_file(pem).map_err(key_error)?;
            let key = SigningKey::from_pkcs8(&pkcs8, SystemRandom::new().ring()).map_err(key_error)?;
            let previous = match &sign.previous {
                Some(path) => Some(verify(&read_text(path)?, key.thumbprint())?),
                None => None,
            };
            let text = read_text(&sign.document)?;
            let mut document: DirectoryDocument = serde_json::from_str(&text).map_err(|e| {
                let place = format!(
                    "{}, ligne {}, colonne {}",
                    sign.document.display(),
                    e.line(),
                    e.column()
                );
                Failure::new(Kind::Data, "le document n'est pas un annuaire").because(place)
            })?;
            document.version = previous.as_ref().map_or(1, |held| held.version() + 1);
            document.prev = previous.as_ref().map(|held| *held.hash());
            let signed = sign_document(&document, &key)?;
            console.data(
                &serde_json::json!({ "version": document.version, "directory": signed }),
                || signed.clone(),
            )
        }
        DirectoryCommand::Show(show) => {
            let directory = verify(&read_text(&show.file)?, &show.pin)?;
            let document = directory.document();
            console.data(document, || {
                serde_json::to_string_pretty(document).unwrap_or_default()
            })
        }
    }
}

/// Signs a directory: JWS in JSON form.
///
/// # Errors
/// The document contradicts itself.
pub fn sign_document(document: &DirectoryDocument, key: &SigningKey) -> Result<String, Failure> {
    directory::sign(document, key).map_err(|e| {
        Failure::new(Kind::Data, "l'annuaire n'est pas signé")
            .because(e)
            .next("corrigez le champ cité")
    })
}

/// The directory in `jws`, if the key named by `pin` signed it.
///
/// # Errors
/// It is malformed, or another key signed it.
pub fn verify(jws: &str, pin: &Thumbprint) -> Result<Directory, Failure> {
    directory::verify(jws, pin)
        .map_err(|e| Failure::new(Kind::Data, "l'annuaire n'est pas accepté").because(e))
}
