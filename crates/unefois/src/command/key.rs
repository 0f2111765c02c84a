//! `key generate`: every kind of key of a participant, as files with mode 0600.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use unefois_core::directory::Jwk;
use unefois_core::{Random, Sha256};
use unefois_jose::{DecryptionKey, Pkcs8, PublicKey, SigningKey};
use unefois_mesh::SystemRandom;
use unefois_tlog::{Cosigner, KeyName, PrivateKey, SignerKey};
use zeroize::Zeroizing;

use super::read_text;
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
    /// For a ledger key: the origin of the log, urn:unefois:participant:SIRET/SHARD. For a witness key: its name, by
    /// which its cosignatures are told from others.
    #[arg(long, required_if_eq_any([("kind", "ledger"), ("kind", "witness")]))]
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
    /// Cosigns the checkpoints of others' logs (Ed25519, cosignature/v1).
    Witness,
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

/// Reads the private key of signatures in `path`.
///
/// # Errors
/// It cannot be read, or is none.
pub(crate) fn read_signing_key(path: &Path, random: &SystemRandom) -> Result<SigningKey, Failure> {
    let pem = Zeroizing::new(read_text(path)?.into_bytes());
    let key = Pkcs8::from_file(pem).and_then(|key| SigningKey::from_pkcs8(&key, random.ring()));
    key.map_err(|e| Failure::new(Kind::Data, format!("la clé {} n'est pas lue", path.display())).because(e))
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
        KeyKind::Ledger => named(SignerKey::new, origin, random)?,
        KeyKind::Witness => named(Cosigner::new, origin, random)?,
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

/// The text of a key that signs under a name (C2SP signed-note), and its public half.
fn named<const TYPE: u8>(
    make: fn(KeyName, &[u8; 32]) -> PrivateKey<TYPE>,
    origin: Option<&str>,
    random: &SystemRandom,
) -> Result<(String, Option<String>), Failure> {
    let usage = |e| Failure::new(Kind::Usage, "--origin n'est pas un nom de clé").because(e);
    let name: KeyName = origin.unwrap_or_default().parse().map_err(usage)?;
    let seed = (random as &dyn Random).bytes::<32>();
    let vkey = make(name.clone(), &seed).verifier().to_string();
    let text = PrivateKey::<TYPE>::to_text(name, &seed);
    Ok((text.to_string(), Some(vkey)))
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
    fn a_key_that_signs_under_a_name_is_read_back_as_its_kind_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (log, witness) = (folder.path().join("log.key"), folder.path().join("witness.key"));
        let random = SystemRandom::new();
        let make = |kind, out: &Path| {
            generate_key(kind, out, Some("exemple.fr/1"), &random)
                .unwrap()
                .public
        };
        let (log_public, witness_public) = (make(KeyKind::Ledger, &log), make(KeyKind::Witness, &witness));
        let (log, witness) = (
            std::fs::read_to_string(log).unwrap(),
            std::fs::read_to_string(witness).unwrap(),
        );
        assert!(Cosigner::from_text(&log).is_err());
        assert!(SignerKey::from_text(&witness).is_err());
        let log = SignerKey::from_text(&log).unwrap();
        let witness = Cosigner::from_text(&witness).unwrap();
        assert_eq!(log_public, Some(log.verifier().to_string()));
        assert_eq!(witness_public, Some(witness.verifier().to_string()));
        for origin in [None, Some(""), Some("with space")] {
            let out = folder.path().join("none.key");
            generate_key(KeyKind::Witness, &out, origin, &random).unwrap_err();
            assert!(!out.exists());
        }
    }

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
