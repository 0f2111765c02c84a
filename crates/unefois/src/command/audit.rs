//! `audit verify`: an auditor's check of a participant's logs, over the mesh.

mod heads;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;
use unefois_auditor::{Error, LogReport, verify_log};
use unefois_core::{Clock, ParticipantId};
use unefois_mesh::{Connector, DirectoryConfig, DirectoryFollower, Identity, SystemClock, Target, Trust};
use unefois_tlog::{Origin, VerifierKey};

pub use self::heads::Heads;
use super::runtime;
use crate::console::Console;
use crate::failure::{Failure, Kind};

/// Reads ledgers with an auditor's certificate.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Reads every entry of a participant's logs and verifies them against the signed heads.
    Verify(Verify),
}

/// `audit verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// The participant: urn:unefois:participant:SIRET.
    participant: ParticipantId,
    /// Where the heads that were verified are kept: each log must extend the one that was seen last. Made where it
    /// is missing; without it a log that was rolled back passes.
    #[arg(long, value_name = "FILE")]
    heads: Option<PathBuf>,
    #[command(flatten)]
    reader: Reader,
}

/// Who reads, and what it trusts.
#[derive(Debug, Args)]
pub struct Reader {
    /// The auditor's certificate, PEM.
    #[arg(long, value_name = "FILE")]
    pub cert: PathBuf,
    /// Its key, PEM.
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// The certificate authorities of the mesh, PEM.
    #[arg(long, value_name = "FILE")]
    pub authorities: PathBuf,
    /// Their revocation lists, PEM.
    #[arg(long, value_name = "FILE")]
    pub crls: PathBuf,
    /// The signed directory.
    #[arg(long, value_name = "FILE")]
    pub directory: PathBuf,
    /// The compiled catalogue that it names.
    #[arg(long, value_name = "FILE")]
    pub catalogue: PathBuf,
    /// Thumbprint of the key that signs directories.
    #[arg(long, value_name = "THUMBPRINT")]
    pub pin: String,
}

/// Runs `audit …`.
pub fn run(command: AuditCommand, console: Console) -> Result<(), Failure> {
    let AuditCommand::Verify(verify) = command;
    let mut heads = match &verify.heads {
        Some(file) => Heads::load(file)?,
        None => Heads::default(),
    };
    let reports = runtime()?.block_on(verify_participant(
        &verify.reader,
        &verify.participant,
        &heads,
        |read, size| {
            if read < size {
                console.say(&format!("{read} / {size}"));
            }
        },
    ))?;
    for report in &reports {
        tell(report, console)?;
        heads.keep(report);
    }
    match &verify.heads {
        Some(file) => heads.save(file),
        None => Ok(()),
    }
}

fn tell(report: &LogReport, console: Console) -> Result<(), Failure> {
    let events: serde_json::Map<String, serde_json::Value> = report
        .events
        .iter()
        .map(|(event, n)| (event.to_string(), (*n).into()))
        .collect();
    let value = json!({
        "origin": report.origin.as_str(), "size": report.head.size, "root": report.head.root.to_string(), "events": events,
    });
    console.data(&value, || {
        let counts: Vec<String> = report
            .events
            .iter()
            .map(|(event, n)| format!("{event} {n}"))
            .collect();
        format!(
            "{}\nintact : {} entrée(s), racine {}\n{}",
            report.origin.as_str(),
            report.head.size,
            report.head.root,
            counts.join(", ")
        )
    })
}

/// Verifies every log of `participant` as `reader`, each against its head in `heads`.
///
/// # Errors
/// A file is wrong, the peer cannot be reached or refuses, or the log does not hold.
pub async fn verify_participant(
    reader: &Reader,
    participant: &ParticipantId,
    heads: &Heads,
    mut progress: impl FnMut(u64, u64),
) -> Result<Vec<LogReport>, Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let file =
        |e: &dyn std::fmt::Display| Failure::new(Kind::NoInput, "un fichier n'est pas accepté").because(e);
    let identity = Identity::load(reader.cert.clone(), reader.key.clone()).map_err(|e| file(&e))?;
    let trust = Trust::load(reader.authorities.clone(), reader.crls.clone()).map_err(|e| file(&e))?;
    let config = DirectoryConfig {
        file: reader.directory.clone(),
        catalogue: reader.catalogue.clone(),
        key: reader.pin.clone(),
    };
    let directory = Arc::new(DirectoryFollower::load(config).map_err(|e| file(&e))?);
    let gate = directory.gate(Arc::clone(&clock));
    let connector = Connector::new(Arc::new(trust), gate, Arc::new(identity), clock);
    let edition = directory.edition();
    let unknown = || {
        Failure::new(
            Kind::Data,
            "ce participant n'a ni adresse ni registre dans l'annuaire",
        )
    };
    let row = edition.directory.participant(participant).ok_or_else(unknown)?;
    if row.logs.is_empty() || row.mesh.is_empty() {
        return Err(unknown());
    }
    let malformed = |e: &dyn std::fmt::Display| {
        Failure::new(Kind::Data, "l'annuaire nomme mal ce participant").because(e)
    };
    let mut reports = Vec::with_capacity(row.logs.len());
    for log in &row.logs {
        let origin: Origin = log.origin.parse().map_err(|e| malformed(&e))?;
        let key: VerifierKey = log.vkey.parse().map_err(|e| malformed(&e))?;
        let known = heads.known(&origin);
        let mut read = None;
        // Each replica serves its own log: the others do not know it.
        for address in &row.mesh {
            let target = Target {
                peer: *participant,
                authority: address.parse().map_err(|e| malformed(&e))?,
            };
            let channel = connector.channel(&target, Duration::from_secs(10));
            let verified = verify_log(channel, &origin, &key, known, &mut progress).await;
            let unread = verified.as_ref().is_err_and(Error::unread);
            read = Some(verified);
            if !unread {
                break;
            }
        }
        reports.push(read.ok_or_else(unknown)?.map_err(|error| failure(&error))?);
    }
    Ok(reports)
}

fn failure(error: &Error) -> Failure {
    let reason = match error {
        Error::Call(status) => unefois_mesh::status::reason_of(status),
        _ => None,
    };
    if let Some(reason) = reason.filter(|reason| !reason.retryable()) {
        return Failure::new(Kind::Refused, reason.text_fr())
            .because(error)
            .reason(reason)
            .next("présentez un certificat d'auditeur que l'annuaire nomme");
    }
    let kind = if error.unread() {
        Kind::Unreachable
    } else {
        Kind::No
    };
    let failure = Failure::new(kind, "le registre n'est pas vérifié").because(error);
    match kind {
        Kind::Unreachable => {
            failure.next("vérifiez l'adresse du participant, le certificat d'auditeur et --crls")
        }
        _ => failure.next("gardez cette tête et demandez au participant son explication"),
    }
}
