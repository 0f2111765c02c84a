//! `audit verify`: every entry of a participant's logs, against the signed heads.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use unefois_auditor::{LogReport, verify_log};
use unefois_core::ParticipantId;

use super::filters::participant;
use super::{Heads, Reader};
use crate::command::runtime;
use crate::console::Console;
use crate::failure::Failure;
use crate::progress::Progress;

/// `audit verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// The participant: urn:unefois:participant:SIRET, or the SIRET alone.
    #[arg(value_parser = participant)]
    participant: ParticipantId,
    /// Where the heads that were verified are kept: each log must extend the one that was seen last. Made where it
    /// is missing; without it a log that was rolled back passes.
    #[arg(long, value_name = "FILE")]
    heads: Option<PathBuf>,
    #[command(flatten)]
    reader: Reader,
}

/// Runs `audit verify`.
pub fn run(verify: &Verify, console: Console) -> Result<(), Failure> {
    let mut heads = match &verify.heads {
        Some(file) => Heads::load(file)?,
        None => Heads::default(),
    };
    let progress = Progress::new(console);
    let verified = runtime()?.block_on(verify_participant(
        &verify.reader,
        &verify.participant,
        &heads,
        |read, size| progress.tell("vérification", read, size),
    ));
    progress.end();
    let reports = verified?;
    for report in &reports {
        tell(report, console)?;
        heads.keep(&report.origin, report.head);
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
    let session = reader.open()?;
    let mut reports = Vec::new();
    for log in session.logs(participant)? {
        let known = heads.known(&log.origin);
        let report = session
            .read(&log, async |channel| {
                verify_log(channel, &log.origin, &log.key, known, &mut progress).await
            })
            .await?;
        reports.push(report);
    }
    Ok(reports)
}
