//! `audit show`: one entry, or those of one exchange, in words, its proof, and what the other end wrote of it.

mod ends;

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use serde_json::{Value, json};
use tonic::transport::Channel;
use unefois_auditor::{Error, Row, Search as Query, entries_at, present_head, search};
use unefois_core::{Clock as _, EntryFilter, ExchangeId, Micros, ParticipantId, Reason, Sha256};
use unefois_mesh::SystemClock;
use unefois_mesh::status::reason_of;
use unefois_tlog::{Origin, Receipt, SignedCheckpoint, VerifierKey};

use self::ends::{Ends, seen_at_both_ends};
use super::Reader;
use super::filters::participant;
use super::reader::{Log, Session};
use super::reconcile::rules;
use super::search::to_json;
use super::words::{self, Words};
use crate::command::runtime;
use crate::console::Console;
use crate::failure::{Failure, Kind};

/// An exchange is looked for from a little before the time in its identifier, and this long after: a ticket is answered,
/// and a standing grant used, well within.
const BEFORE_MS: i64 = 3_600_000;
const AFTER_MS: i64 = 40 * 24 * 3_600_000;
/// The most entries of one exchange in one log that are shown.
const MOST: u64 = 200;

/// `audit show`.
#[derive(Debug, Args)]
pub struct Show {
    /// The participant whose log is read: urn:unefois:participant:SIRET, or the SIRET alone.
    #[arg(value_parser = participant)]
    participant: ParticipantId,
    /// The entry's place in the log, or an exchange's identifier.
    what: What,
    /// The log, by its origin, where the participant has several; an entry's place is one in this log.
    #[arg(long, value_name = "ORIGIN")]
    log: Option<String>,
    /// Where to keep the entry's proof, a C2SP .tlog-proof with the entry in it; for an entry by its place. It is
    /// verified first, and no file is overwritten.
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
    /// Why it is asked: each log records it.
    #[arg(long, value_name = "TEXT", default_value = "")]
    motive: String,
    /// What was written in the last seconds may still be under way, and is told apart.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    under_way: u32,
    #[command(flatten)]
    reader: Reader,
}

/// What is shown.
#[derive(Clone, Copy, Debug)]
enum What {
    Place(u64),
    Exchange(ExchangeId),
}

impl FromStr for What {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let place = text.parse().map(Self::Place);
        place
            .or_else(|_| text.parse().map(Self::Exchange))
            .map_err(|_| "a place in the log, or an exchange's identifier (a UUID version 7)".to_owned())
    }
}

/// The rows of one log, with its head and, for one entry by its place, the file that proves it.
struct Shown {
    log: Log,
    rows: Vec<Row>,
    checkpoint: Option<SignedCheckpoint>,
    receipt: Option<String>,
}

/// Runs `audit show`.
pub fn run(asked: &Show, console: Console) -> Result<(), Failure> {
    let session = asked.reader.open()?;
    let before = SystemClock.now();
    let reading = Reading {
        session: &session,
        motive: &asked.motive,
    };
    let runtime = runtime()?;
    let mut logs = session.logs(&asked.participant)?;
    if let Some(origin) = &asked.log {
        logs.retain(|log| log.origin.as_str() == origin);
    }
    let shown = match asked.what {
        What::Exchange(exchange) => runtime.block_on(reading.exchange(&logs, exchange))?,
        What::Place(place) => match logs.as_slice() {
            [log] => vec![runtime.block_on(reading.place(log, place))?],
            logs => {
                let origins: Vec<&str> = logs.iter().map(|log| log.origin.as_str()).collect();
                let what = match origins.is_empty() {
                    true => "ce participant n'a pas ce registre",
                    false => "ce participant a plusieurs registres",
                };
                return Err(Failure::new(Kind::Usage, what).next(format!("--log : {}", origins.join(", "))));
            }
        },
    };
    if shown.iter().all(|shown| shown.rows.is_empty()) {
        let what = "aucune entrée de cet échange n'est montrée";
        let next = "vérifiez l'identifiant ; pour être sûr qu'il n'y en a pas : audit search --complete";
        return Err(Failure::new(Kind::No, what).next(next));
    }
    let exchange = match asked.what {
        What::Exchange(exchange) => Some(exchange),
        What::Place(_) => shown
            .iter()
            .flat_map(|s| &s.rows)
            .find_map(|row| row.entry.exchange_id),
    };
    let ends: Vec<ParticipantId> = shown
        .iter()
        .flat_map(|shown| &shown.rows)
        .flat_map(|row| [row.entry.requester, row.entry.provider])
        .flatten()
        .filter(|end| *end != asked.participant)
        .collect();
    let other = match (exchange, ends.first()) {
        (Some(exchange), Some(other)) => Some((*other, runtime.block_on(reading.end(*other, exchange)))),
        (Some(_) | None, _) => None,
    };
    if let Some(file) = &asked.receipt {
        keep(file, &shown)?;
    }
    let compared = match (exchange, &other) {
        (Some(exchange), Some((id, Ok(read)))) => {
            // One entry, or one log of several, is judged with all that is shown of its exchange.
            let whole = match (asked.what, &asked.log) {
                (What::Exchange(_), None) => None,
                (What::Exchange(_), Some(_)) | (What::Place(_), _) => {
                    Some(runtime.block_on(reading.end(asked.participant, exchange))?)
                }
            };
            let own = whole.as_deref().unwrap_or(&shown);
            Ends::compare(
                (asked.participant, own),
                (*id, read),
                &rules(before, asked.under_way),
            )?
        }
        (Some(_) | None, _) => Ends::default(),
    };
    tell(
        &shown,
        other.as_ref(),
        &compared,
        Words(session.edition()),
        console,
    )?;
    compared.agree()?;
    match other {
        Some((_, read)) => seen_at_both_ends(
            shown.iter().flat_map(|shown| &shown.rows),
            read.map(|other| other.iter().map(|shown| shown.rows.len()).sum()),
        ),
        None => Ok(()),
    }
}

struct Reading<'a> {
    session: &'a Session,
    motive: &'a str,
}

impl Reading<'_> {
    async fn place(&self, log: &Log, place: u64) -> Result<Shown, Failure> {
        let filter = EntryFilter::default();
        let query = self.query(log, &filter);
        let read = async |channel: Channel| match entries_at(channel.clone(), &query, &[place]).await {
            // A place that the log does not have is malformed for whoever serves it: its signed head says whether that is it.
            Err(Error::Call(refused)) if reason_of(&refused) == Some(Reason::InvalidRequest) => {
                let (_, head) = present_head(channel, &log.origin, &log.key, None).await?;
                match head.size > place {
                    true => Err(Error::Call(refused)),
                    false => Ok(Err(beyond(place, head.size))),
                }
            }
            read => read.map(Ok),
        };
        let (rows, checkpoint, receipt) = self.session.read(log, read).await??;
        Ok(Shown {
            log: log.clone(),
            rows,
            checkpoint: Some(checkpoint),
            receipt,
        })
    }

    async fn exchange(&self, logs: &[Log], exchange: ExchangeId) -> Result<Vec<Shown>, Failure> {
        let mut all = Vec::with_capacity(logs.len());
        for log in logs {
            let (rows, checkpoint) = self
                .session
                .read(log, async |channel| self.found(channel, log, exchange).await)
                .await?;
            all.push(Shown {
                log: log.clone(),
                rows,
                checkpoint: Some(checkpoint),
                receipt: None,
            });
        }
        Ok(all)
    }

    async fn found(
        &self,
        channel: Channel,
        log: &Log,
        exchange: ExchangeId,
    ) -> Result<(Vec<Row>, SignedCheckpoint), Error> {
        // The identifier says when the exchange began, which bounds what the log has to look at.
        let (s, ns) = exchange.as_uuid().get_timestamp().map_or((0, 0), |t| t.to_unix());
        let began = Micros::new(i64::try_from(s).unwrap_or(0) * 1_000_000 + i64::from(ns / 1_000));
        let filter = EntryFilter {
            exchange_id: Some(exchange),
            from: Some(began.plus_ms(-BEFORE_MS)),
            to: Some(began.plus_ms(AFTER_MS)),
            ..EntryFilter::default()
        };
        let mut rows = Vec::new();
        let keep = |row| {
            rows.push(row);
            ControlFlow::Continue(())
        };
        let found = search(channel, &self.query(log, &filter), keep, |_| {}).await?;
        Ok((rows, found.checkpoint))
    }

    /// What one end shows of the exchange, in all its logs.
    async fn end(&self, end: ParticipantId, exchange: ExchangeId) -> Result<Vec<Shown>, Failure> {
        let logs = self.session.logs(&end)?;
        self.exchange(&logs, exchange).await
    }

    fn query<'q>(&'q self, log: &'q Log, filter: &'q EntryFilter) -> Query<'q> {
        Query {
            origin: &log.origin,
            key: &log.key,
            known: None,
            filter,
            newest_first: false,
            limit: MOST,
            size: None,
            purpose: self.motive,
        }
    }
}

/// The log of `size` entries has none at `place`.
fn beyond(place: u64, size: u64) -> Failure {
    let failure = Failure::new(Kind::No, format!("ce registre n'a pas d'entrée {place}"));
    match size.checked_sub(1) {
        Some(last) => failure.because(format!("la dernière, sous sa tête signée, est l'entrée {last}")),
        None => failure.because("il est vide"),
    }
}

/// Writes the proof of the one entry shown, the entry beside it, where nothing is yet.
fn keep(file: &Path, shown: &[Shown]) -> Result<(), Failure> {
    let proof = match shown {
        [
            Shown {
                log,
                rows,
                receipt: Some(receipt),
                ..
            },
        ] => rows.first().map(|row| (log, row, receipt)),
        _ => None,
    };
    let Some((log, row, receipt)) = proof else {
        return Err(Failure::new(
            Kind::Usage,
            "--receipt va avec une entrée désignée par sa place",
        ));
    };
    write_new(file, &proving(receipt, row, &log.origin, &log.key)?.to_string())
}

/// The receipt that the log gave, once it is seen to prove this very entry at its place, with the entry in it.
fn proving(receipt: &str, row: &Row, origin: &Origin, key: &VerifierKey) -> Result<Receipt, Failure> {
    let unsound = || {
        Failure::new(
            Kind::Protocol,
            "le reçu que donne le registre ne prouve pas cette entrée",
        )
    };
    let refused = |e: unefois_tlog::Error| {
        unsound()
            .because(e)
            .next("rien n'est écrit ; gardez la tête montrée")
    };
    let receipt: Receipt = receipt.parse().map_err(refused)?;
    let head = receipt.verify(&row.leaf, key).map_err(refused)?;
    if head.origin != *origin || receipt.index() != row.index {
        return Err(unsound().because("il est d'une autre place ou d'un autre registre"));
    }
    receipt.with_extra(row.bytes.clone()).map_err(refused)
}

fn write_new(file: &Path, text: &str) -> Result<(), Failure> {
    let made = OpenOptions::new().write(true).create_new(true).open(file);
    let written = made.and_then(|mut made| made.write_all(text.as_bytes()));
    written.map_err(|e| match e.kind() {
        ErrorKind::AlreadyExists => Failure::new(Kind::Exists, format!("{} existe déjà", file.display()))
            .next("donnez un autre nom à --receipt"),
        _ => Failure::new(Kind::CannotWrite, format!("{} n'est pas écrit", file.display())).because(e),
    })
}

fn tell(
    shown: &[Shown],
    other: Option<&(ParticipantId, Result<Vec<Shown>, Failure>)>,
    compared: &Ends,
    words: Words<'_>,
    console: Console,
) -> Result<(), Failure> {
    let rows = |shown: &[Shown]| -> Vec<Value> {
        let each = shown
            .iter()
            .flat_map(|s| s.rows.iter().map(|row| to_json(row, &s.log)));
        each.collect()
    };
    let value = json!({
        "entries": rows(shown),
        "heads": shown.iter().filter_map(|s| s.checkpoint.as_ref().map(|c| c.as_str().to_owned())).collect::<Vec<_>>(),
        "other": other.map(|(id, read)| json!({
            "participant": id,
            "entries": read.as_ref().map(|shown| rows(shown)).ok(),
            "unread": read.as_ref().err().map(ToString::to_string),
        })),
        "comparison": compared.facts_to_json(),
        "findings": compared.findings_to_json(),
    });
    console.data(&value, || {
        let mut text = String::new();
        let mut paragraph = |shown: &[Shown]| {
            for one in shown {
                for row in &one.rows {
                    text += &in_words(row, &one.log, words);
                }
            }
        };
        paragraph(shown);
        match other {
            Some((_, Ok(other))) if other.iter().any(|s| !s.rows.is_empty()) => paragraph(other),
            Some((id, Ok(_))) => {
                text += &format!(
                    "\nL'autre bout ({}) ne montre aucune entrée de cet échange.\n",
                    words.participant(id)
                );
            }
            Some((id, Err(failure))) => {
                text += &format!(
                    "\nLe registre de l'autre bout ({}) n'est pas lu : {}\n",
                    words.participant(id),
                    failure.what
                );
            }
            None => {}
        }
        text + &compared.to_text()
    })
}

/// Everything that an entry says.
fn in_words(row: &Row, log: &Log, words: Words<'_>) -> String {
    let entry = &row.entry;
    let mut text = format!(
        "\nEntrée {} de {}, prouvée sous sa tête signée\n",
        row.index, log.origin
    );
    let mut line = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            text += &format!("  {name:<22} {value}\n");
        }
    };
    let named = |id: &ParticipantId| format!("{} ({})", words.participant(id), id.siret());
    let sealed = |digest: &Option<Sha256>| digest.map(|d| format!("scellé, {d}"));
    let plain = |digest: &Option<Sha256>| digest.map(|d| d.to_string());
    line(
        "événement",
        Some(format!("{} ({})", words::event(entry.event), entry.event)),
    );
    line("instant", Some(entry.at.to_rfc3339()));
    line(
        "échange",
        entry
            .exchange_id
            .map(|id| format!("{id}, tentative {}", entry.attempt)),
    );
    line("demandeur", entry.requester.as_ref().map(named));
    line("producteur", entry.provider.as_ref().map(named));
    line("données de", entry.holder.as_ref().map(|id| words.holder(id)));
    line("éditeur", entry.publisher.as_ref().map(named));
    line(
        "donnée",
        entry
            .datatype
            .as_ref()
            .map(|rev| format!("{} ({rev})", words.datatype(rev))),
    );
    line(
        "éléments",
        entry.datatype.as_ref().map(|_| words.units(entry).join(", ")),
    );
    line(
        "démarche",
        entry
            .demarche
            .as_ref()
            .map(|id| format!("{} ({id})", words.demarche(id))),
    );
    line(
        "habilitation",
        entry.habilitation.as_ref().map(ToString::to_string),
    );
    line("base légale", entry.legal_basis.as_ref().map(words::legal_basis));
    line(
        "derrière la demande",
        entry.capacity.map(|c| words::capacity(c).to_owned()),
    );
    line(
        "niveau d'identité",
        entry.acr.map(|acr| words::acr(acr).to_owned()),
    );
    line(
        "issue",
        entry.outcome.map(|outcome| words::outcome(outcome).to_owned()),
    );
    line(
        "motif",
        entry
            .reason
            .map(|reason| format!("{reason} : {}", reason.text_fr())),
    );
    line(
        "annuaire",
        (entry.directory_version > 0).then(|| format!("version {}", entry.directory_version)),
    );
    line(
        "vue des retraits",
        Some(format!("époque {}, rang {}", entry.view.epoch, entry.view.seq)),
    );
    line("autorisation", sealed(&entry.grant_commit));
    line("contenu", sealed(&entry.content_commit));
    line("dossier", sealed(&entry.dossier_commit));
    line("acteur", sealed(&entry.actor_commit));
    line("pièces à côté", sealed(&entry.evidence_commit));
    line("empreinte de demande", plain(&entry.request_hash));
    line("entrée de l'autre bout", plain(&entry.peer_entry_hash));
    line(
        "empreinte",
        Some(Sha256::from_bytes(*row.leaf.as_bytes()).to_string()),
    );
    line(
        "réception",
        (row.acknowledged == Some(true))
            .then(|| "confirmée par l'autre bout, dit le registre, sans preuve".to_owned()),
    );
    text
}

#[cfg(test)]
mod tests {
    use unefois_core::{Entry, Event};
    use unefois_tlog::{Checkpoint, Hash, SignerKey};

    use super::*;

    pub(super) fn row(index: u64, event: Event) -> Row {
        let entry = Entry::new(event, Micros::new(0));
        let bytes = entry.encode();
        Row {
            index,
            leaf: Hash::of_leaf(&bytes),
            entry,
            bytes,
            acknowledged: None,
        }
    }

    #[test]
    fn only_a_receipt_of_this_very_entry_is_kept() {
        let key = SignerKey::new("example.org/1".parse().unwrap(), &[7; 32]);
        let origin: Origin = "example.org/1".parse().unwrap();
        let rows = [row(0, Event::Released), row(1, Event::Refused)];
        let root = Hash::of_node(&rows[0].leaf, &rows[1].leaf);
        let receipt = |index, beside: Hash, key: &SignerKey, origin: &str| {
            let head = Checkpoint::new(origin.parse().unwrap(), 2, root).unwrap();
            Receipt::new(index, vec![beside], head.sign(key).unwrap())
                .unwrap()
                .to_string()
        };
        let sound = receipt(0, rows[1].leaf, &key, "example.org/1");
        let kept = proving(&sound, &rows[0], &origin, key.verifier()).unwrap();
        assert_eq!(kept.unauthenticated_extra(), Some(rows[0].bytes.as_slice()));
        let stranger = SignerKey::new("example.org/1".parse().unwrap(), &[8; 32]);
        let elsewhere = Row {
            index: 1,
            ..rows[0].clone()
        };
        for (receipt, row) in [
            (String::new(), &rows[0]),
            (sound.clone(), &rows[1]),
            (sound.clone(), &elsewhere),
            (receipt(1, rows[0].leaf, &key, "example.org/1"), &rows[0]),
            (receipt(0, rows[0].leaf, &key, "example.org/1"), &rows[0]),
            (receipt(0, rows[1].leaf, &stranger, "example.org/1"), &rows[0]),
        ] {
            let refused = proving(&receipt, row, &origin, key.verifier()).expect_err("no proof of it");
            assert_eq!(refused.kind, Kind::Protocol);
        }
    }
}
