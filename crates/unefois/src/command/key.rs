//! `key generate`: every kind of key of a participant, as files with mode 0600.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use unefois_core::directory::Jwk;
use unefois_core::{Random, Sha256};
use unefois_jose::{DecryptionKey, Pkcs8, PublicKey, SigningKey};
use unefois_mesh::SystemRandom;
use unefois_tlog::{KeyName, SignerKey};

use crate::ca::folder::write_private;
use crate::console::Console;
use crate::failure::{Failure, Kind};

/// Makes keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Makes a key and prints the public half that the directory publishes; a JWK's `kid` is the thumbprint that pins
    /// it.
    Generate(Generate),
}

/// `key generate`.
#[derive(Debug, Args)]
pub struct Generate {
    /// What the key is for.
    kind: KeyKind,
    /// Where to write it; an existing file is never overwritten.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// For a ledger key: the origin of the log, urn:unefois:participant:SIRET/SHARD.
    #[arg(long, required_if_eq("kind", "ledger"))]
    origin: Option<String>,
}

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KeyKind {
    /// Signs attestations, access tokens, withdrawals or the directory (ES256).
    Signing,
    /// Opens sealed identities (ECDH-ES on P-256).
    Pivot,
    /// Signs checkpoints of one log (Ed25519).
    Ledger,
    /// 32 random bytes, as hexadecimal: index keys, encryption at rest, pairwise names.
    Secret,
}

/// Runs `key …`.
pub fn run(command: KeyCommand, console: Console) -> Result<(), Failure> {
    let KeyCommand::Generate(generate) = command;
    let made = generate_key(
        generate.kind,
        &generate.out,
        generate.origin.as_deref(),
        &SystemRandom::new(),
    )?;
    let public = made.public;
    console.data(&json!({ "key": generate.out, "public": public }), || {
        public.clone().unwrap_or_default()
    })
}

/// A key just written: the public half, as the directory publishes it; a secret has none.
#[derive(Debug)]
pub struct Made {
    /// A JWK whose `kid` is the key's thumbprint (RFC 7638), or the verifier key of a log.
    pub public: Option<String>,
}

/// Makes a key of `kind` in `out`.
///
/// # Errors
/// The file exists or cannot be written, or `origin` is no name for a log.
pub fn generate_key(
    kind: KeyKind,
    out: &Path,
    origin: Option<&str>,
    random: &SystemRandom,
) -> Result<Made, Failure> {
    let bug = |e: unefois_jose::Error| Failure::new(Kind::Bug, "la clé n'est pas générée").because(e);
    let (text, public) = match kind {
        KeyKind::Signing => {
            let key = Pkcs8::generate(random.ring()).map_err(bug)?;
            let public = SigningKey::from_pkcs8(&key, random.ring()).map_err(bug)?;
            (
                key.to_pem().to_string(),
                Some(jwk(public.verifying_key().public())?),
            )
        }
        KeyKind::Pivot => {
            let key = Pkcs8::generate(random.ring()).map_err(bug)?;
            let public = DecryptionKey::from_pkcs8(&key).map_err(bug)?;
            (
                key.to_pem().to_string(),
                Some(jwk(public.encryption_key().public())?),
            )
        }
        KeyKind::Ledger => {
            let usage = |e| Failure::new(Kind::Usage, "--origin n'est pas un nom de registre").because(e);
            let name: KeyName = origin.unwrap_or_default().parse().map_err(usage)?;
            let seed = (random as &dyn Random).bytes::<32>();
            let vkey = SignerKey::new(name.clone(), &seed).verifier().to_string();
            (SignerKey::to_text(name, &seed).to_string(), Some(vkey))
        }
        KeyKind::Secret => (
            Sha256::from_bytes((random as &dyn Random).bytes()).to_string(),
            None,
        ),
    };
    write_private(out, &text).map_err(|e| {
        let kind = match e {
            crate::ca::Error::Exists(_) => Kind::Exists,
            _ => Kind::CannotWrite,
        };
        Failure::new(kind, "la clé n'est pas écrite").because(e)
    })?;
    Ok(Made { public })
}

/// The key as the directory's rows carry it, with its `kid`.
fn jwk(key: &PublicKey) -> Result<String, Failure> {
    let bug =
        |e: &dyn std::fmt::Display| Failure::new(Kind::Bug, "la clé publique n'est pas écrite").because(e);
    let row = Jwk::from_sec1(key.point()).map_err(|e| bug(&e))?;
    serde_json::to_string(&row).map_err(|e| bug(&e))
}

#[cfg(test)]
mod tests {
    use unefois_jose::Thumbprint;

    use super::*;

    #[test]
    fn a_public_key_is_printed_with_the_thumbprint_that_pins_it() {
        let folder = tempfile::tempdir().unwrap();
        let random = SystemRandom::new();
        for kind in [KeyKind::Signing, KeyKind::Pivot] {
            let out = folder.path().join(format!("{kind:?}.key"));
            let public = generate_key(kind, &out, None, &random).unwrap().public.unwrap();
            let members: serde_json::Value = serde_json::from_str(&public).unwrap();
            let kid: Thumbprint = members["kid"].as_str().unwrap().parse().unwrap();

            let written = Pkcs8::from_file(std::fs::read(&out).unwrap().into()).unwrap();
            let thumbprint = match kind {
                KeyKind::Signing => *SigningKey::from_pkcs8(&written, random.ring())
                    .unwrap()
                    .thumbprint(),
                _ => *DecryptionKey::from_pkcs8(&written).unwrap().thumbprint(),
            };
            assert_eq!(kid, thumbprint);
            // The directory takes the row as it was printed.
            serde_json::from_str::<Jwk>(&public).unwrap();
        }
    }
}
