//! `ca init|issue|revoke|crl` and `cert show`.

use std::path::PathBuf;

use clap::builder::RangedI64ValueParser;
use clap::{Args, Subcommand};
use serde_json::json;
use unefois_core::{Clock as _, Micros};
use unefois_mesh::{PeerId, Serial, SystemClock, SystemRandom};

use super::read_text;
use crate::ca::folder::write_pair;
use crate::ca::{self, CaFolder, LeafRequest, Profile, Validity, facts};
use crate::console::Console;
use crate::failure::{Failure, Kind};

/// Makes and runs a certificate authority kept in a folder.
#[derive(Debug, Subcommand)]
pub enum CaCommand {
    /// Makes an authority and its first, empty revocation list.
    Init(Init),
    /// Issues a certificate and its key.
    Issue(Issue),
    /// Revokes a certificate and signs a new revocation list.
    Revoke(Revoke),
    /// Signs a new revocation list.
    Crl(Crl),
}

/// The folder of the authority.
#[derive(Debug, Args)]
pub struct Folder {
    /// Folder of the authority.
    #[arg(long, value_name = "FOLDER", default_value = "ca")]
    ca: PathBuf,
}

/// `ca init`.
#[derive(Debug, Args)]
pub struct Init {
    #[command(flatten)]
    folder: Folder,
    /// Its name, for people.
    #[arg(long)]
    name: String,
    /// Days of validity.
    #[arg(long, default_value_t = 3_650, value_parser = lasting(36_500))]
    days: u32,
    /// Days until the next revocation list is due; peers refuse everybody after that.
    #[arg(long, default_value_t = 7, value_parser = lasting(365))]
    crl_days: u32,
}

/// `ca issue`.
#[derive(Debug, Args)]
pub struct Issue {
    #[command(flatten)]
    folder: Folder,
    /// Kind of certificate: node, authority, client, auditor, web.
    #[arg(long)]
    profile: Profile,
    /// Whom it names: urn:unefois:participant:SIRET or urn:unefois:auditor:NAME.
    #[arg(long)]
    identity: Option<PeerId>,
    /// DNS names and addresses of the server.
    #[arg(long = "host", value_name = "NAME")]
    hosts: Vec<String>,
    /// Days of validity; the profile's where absent.
    #[arg(long, value_parser = lasting(36_500))]
    days: Option<u32>,
    /// Where to write: STEM.pem and STEM.key.
    #[arg(long, value_name = "STEM")]
    out: PathBuf,
}

/// `ca revoke`.
#[derive(Debug, Args)]
pub struct Revoke {
    #[command(flatten)]
    folder: Folder,
    /// Serial number, hexadecimal, as `cert show` prints it.
    serial: Serial,
    /// Days until the next revocation list is due.
    #[arg(long, default_value_t = 7, value_parser = lasting(365))]
    crl_days: u32,
}

/// `ca crl`.
#[derive(Debug, Args)]
pub struct Crl {
    #[command(flatten)]
    folder: Folder,
    /// Days until the next revocation list is due.
    #[arg(long, default_value_t = 7, value_parser = lasting(365))]
    crl_days: u32,
}

/// Looks at certificates.
#[derive(Debug, Subcommand)]
pub enum CertCommand {
    /// Prints what a certificate says.
    Show {
        /// PEM file.
        file: PathBuf,
    },
}

/// Runs `ca …`.
pub fn run(command: CaCommand, console: Console) -> Result<(), Failure> {
    let now = SystemClock.now();
    let random = SystemRandom::new();
    match command {
        CaCommand::Init(init) => {
            let validity = Validity::days(now, init.days);
            CaFolder::init(
                &init.folder.ca,
                &init.name,
                validity,
                (now, due(now, init.crl_days)),
                &random,
            )
            .map_err(failure)?;
            let folder = init.folder.ca.display().to_string();
            console.data(&json!({ "ca": folder }), || format!("{folder}/ca.pem"))
        }
        CaCommand::Issue(issue) => {
            let mut folder = CaFolder::open(&issue.folder.ca).map_err(failure)?;
            let days = issue.days.unwrap_or(issue.profile.spec().days);
            let common_name = issue
                .identity
                .as_ref()
                .map_or_else(|| issue.profile.to_string(), ToString::to_string);
            let request = LeafRequest {
                profile: issue.profile,
                identity: issue.identity,
                common_name: issue.hosts.first().cloned().unwrap_or(common_name),
                names: issue.hosts,
                validity: Validity::days(now, days),
            };
            let issued = folder.issue(&request, &random).map_err(failure)?;
            let (cert, key) = write_pair(&issue.out, &issued).map_err(failure)?;
            let (cert, key, serial) = (
                cert.display().to_string(),
                key.display().to_string(),
                issued.serial.to_string(),
            );
            console.data(&json!({ "cert": cert, "key": key, "serial": serial }), || {
                format!("{cert}\n{key}\n{serial}")
            })
        }
        CaCommand::Revoke(revoke) => {
            let mut folder = CaFolder::open(&revoke.folder.ca).map_err(failure)?;
            folder.revoke(&revoke.serial, now).map_err(failure)?;
            folder.crl(now, due(now, revoke.crl_days)).map_err(failure)?;
            let serial = revoke.serial.to_string();
            console.data(&json!({ "revoked": serial }), || serial.clone())
        }
        CaCommand::Crl(crl) => {
            let mut folder = CaFolder::open(&crl.folder.ca).map_err(failure)?;
            let next_update = due(now, crl.crl_days);
            folder.crl(now, next_update).map_err(failure)?;
            console.data(&json!({ "next_update": next_update.to_rfc3339() }), || {
                next_update.to_rfc3339()
            })
        }
    }
}

/// Runs `cert …`.
pub fn run_cert(command: CertCommand, console: Console) -> Result<(), Failure> {
    let CertCommand::Show { file } = command;
    let pem = read_text(&file)?;
    for certificate in facts(&file.display().to_string(), &pem).map_err(failure)? {
        console.data(&certificate, || certificate.to_string())?;
    }
    Ok(())
}

/// Days from 1 to `most`: none would be over before it is issued.
fn lasting(most: i64) -> RangedI64ValueParser<u32> {
    RangedI64ValueParser::new().range(1..=most)
}

fn due(now: Micros, days: u32) -> Micros {
    now.plus_ms(i64::from(days) * 86_400_000)
}

fn failure(error: ca::Error) -> Failure {
    let kind = match &error {
        ca::Error::Exists(_) => Kind::Exists,
        ca::Error::File { action: "read", .. } => Kind::NoInput,
        ca::Error::File { .. } => Kind::CannotWrite,
        ca::Error::WrongIdentity { .. } | ca::Error::WrongNames { .. } | ca::Error::InvalidName(_) => {
            Kind::Usage
        }
        ca::Error::InvalidValidity => Kind::Usage,
        ca::Error::UnknownSerial(_) | ca::Error::AlreadyRevoked(_) | ca::Error::Malformed { .. } => {
            Kind::Data
        }
        ca::Error::Encoding(_) => Kind::Bug,
    };
    let failure = Failure::new(kind, error.to_string());
    match std::error::Error::source(&error) {
        Some(source) => failure.because(source),
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        _ca: CaCommand,
    }

    #[test]
    fn nothing_is_issued_that_is_over_at_once() {
        let issue = |days| {
            let line = ["ca", "issue", "--profile", "node", "--out", "x", "--days", days];
            Line::try_parse_from(line).is_ok()
        };
        assert!(!issue("0") && !issue("36501"));
        assert!(issue("1"));
        assert!(Line::try_parse_from(["ca", "crl", "--crl-days", "0"]).is_err());
    }
}
