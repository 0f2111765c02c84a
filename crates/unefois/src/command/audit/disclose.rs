//! `audit disclose`: one exchange opened, with a motive that its ledger records.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use unefois_auditor::disclose::{DisclosedEntry, Openness, Values, disclose};
use unefois_core::commitment::Field;
use unefois_core::{ExchangeId, ParticipantId, in_line};

use super::Reader;
use super::filters::participant;
use crate::command::{person, runtime};
use crate::console::Console;
use crate::failure::{Failure, Kind};

/// `audit disclose`.
#[derive(Debug, Args)]
pub struct Disclose {
    /// The participant: urn:unefois:participant:SIRET, or the SIRET alone.
    #[arg(value_parser = participant)]
    participant: ParticipantId,
    /// The exchange, a UUID version 7.
    exchange: ExchangeId,
    /// Why, on one line of at most 512 bytes: the participant's ledger records it.
    #[arg(long, value_name = "TEXT")]
    motive: String,
    /// File with the handle that the exchange should be about; `-` for standard input.
    #[arg(long, value_name = "FILE")]
    handle: Option<PathBuf>,
    /// The file's reference that the exchange should be about.
    #[arg(long, value_name = "REF")]
    dossier: Option<String>,
    #[command(flatten)]
    reader: Reader,
}

/// Runs `audit disclose`.
pub fn run(asked: &Disclose, console: Console) -> Result<(), Failure> {
    let handle = asked.handle.as_deref().map(person::handle).transpose()?;
    let values = Values {
        handle: handle.map(|handle| handle.as_bytes().to_vec()),
        dossier: asked.dossier.as_ref().map(|dossier| dossier.as_bytes().to_vec()),
    };
    let session = asked.reader.open()?;
    let entries = runtime()?.block_on(async {
        let mut entries = Vec::new();
        for log in session.logs(&asked.participant)? {
            let of_log = session.read(&log, async |channel| {
                disclose(channel, &log.key, &asked.exchange, &asked.motive, &values).await
            });
            entries.extend(of_log.await?);
        }
        Ok::<_, Failure>(entries)
    })?;
    for entry in &entries {
        tell(entry, console)?;
    }
    verdict(&entries)
}

fn tell(disclosed: &DisclosedEntry, console: Console) -> Result<(), Failure> {
    let proved = &disclosed.proved;
    let evidence = disclosed.evidence.as_deref().map(String::from_utf8_lossy);
    let commitments: serde_json::Map<String, serde_json::Value> = (disclosed.commitments.iter())
        .map(|(field, stands)| (name(*field).to_owned(), word(*stands).into()))
        .collect();
    let value = json!({
        "origin": proved.origin, "index": proved.index, "event": proved.entry.event.to_string(),
        "at": proved.entry.at.to_rfc3339(), "commitments": commitments, "evidence": evidence,
    });
    console.data(&value, || {
        let mut lines = vec![format!(
            "{} n° {} : {} le {}, prouvé",
            proved.origin, proved.index, proved.entry.event, proved.entry.at
        )];
        let stands = disclosed.commitments.iter();
        lines.extend(stands.map(|(field, stands)| format!("  {} : {}", name(*field), text(*stands))));
        lines.extend(evidence.as_deref().into_iter().flat_map(quoted));
        lines.join("\n")
    })
}

/// What a participant wrote: each of its lines stands back from those that the program writes.
fn quoted(evidence: &str) -> impl Iterator<Item = String> {
    evidence.split('\n').map(|line| format!("  | {}", in_line(line)))
}

fn verdict(entries: &[DisclosedEntry]) -> Result<(), Failure> {
    let any = |stands: Openness| {
        let mut all = entries.iter().flat_map(|entry| &entry.commitments);
        all.any(|(_, found)| *found == stands)
    };
    match () {
        () if entries.is_empty() => Err(Failure::new(
            Kind::No,
            "ce participant n'a aucune écriture de cet échange",
        )),
        () if any(Openness::DoesNotOpen) => Err(Failure::new(
            Kind::No,
            "une valeur, ou ce que le registre a divulgué, n'ouvre pas ce que l'écriture engage",
        )
        .next("vérifiez --handle et --dossier ; sinon gardez cette réponse et demandez son explication au participant")),
        () if any(Openness::Erased) => Err(Failure::new(Kind::No, "effacé : ce qui ouvrait cet échange a été détruit")
            .next("l'écriture `erased` du registre dit quand et pourquoi")),
        () => Ok(()),
    }
}

const fn name(field: Field) -> &'static str {
    match field {
        Field::Grant => "grant",
        Field::Content => "content",
        Field::Dossier => "dossier",
        Field::Actor => "actor",
        Field::Evidence => "evidence",
    }
}

const fn word(stands: Openness) -> &'static str {
    match stands {
        Openness::Opens => "opens",
        Openness::DoesNotOpen => "does_not_open",
        Openness::NoValue => "no_value",
        Openness::Erased => "erased",
        Openness::Elsewhere => "elsewhere",
    }
}

const fn text(stands: Openness) -> &'static str {
    match stands {
        Openness::Opens => "ouvert",
        Openness::DoesNotOpen => "NE S'OUVRE PAS",
        Openness::NoValue => "sel divulgué, aucune valeur à essayer",
        Openness::Erased => "effacé",
        Openness::Elsewhere => "s'ouvre avec le justificatif reçu (unefois verify)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_stands_back_and_commands_no_terminal() {
        let lines: Vec<String> = quoted("a\u{1b}[1A\u{202e}\nurn:x/1 n° 3 : released, prouvé\r").collect();
        assert_eq!(
            lines,
            [
                "  | a\\u{1b}[1A\\u{202e}",
                "  | urn:x/1 n° 3 : released, prouvé\\u{d}"
            ]
        );
    }
}
