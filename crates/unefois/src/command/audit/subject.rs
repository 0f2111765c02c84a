//! `audit subject-request`, `countersign`, `search-subject`: one person looked up by two auditors.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use unefois_auditor::disclose::{ProvedEntry, search_subject};
use unefois_core::subject_request::{InvalidSubjectRequest, SubjectQuestion, SubjectRequest};
use unefois_core::{Clock as _, ParticipantId, Random, in_line};
use unefois_jose::{Pkcs8, SigningKey};
use unefois_mesh::{SystemClock, SystemRandom};
use zeroize::Zeroizing;

use super::Reader;
use super::filters::participant;
use crate::command::{person, read_text, runtime};
use crate::console::Console;
use crate::failure::{Failure, Kind};

/// `audit subject-request`.
#[derive(Debug, Args)]
pub struct Ask {
    /// The participant whose ledger is to be asked: urn:unefois:participant:SIRET, or the SIRET alone.
    #[arg(value_parser = participant)]
    participant: ParticipantId,
    /// File with the person: the source's own id, or the identity as a JSON object; `-` for standard input.
    #[arg(long, value_name = "FILE")]
    person: PathBuf,
    /// Why, on one line of at most 512 bytes: the participant's ledger records it.
    #[arg(long, value_name = "TEXT")]
    motive: String,
    /// The key of the auditor who asks, PEM.
    #[arg(long, value_name = "KEY")]
    by: PathBuf,
}

/// `audit countersign`.
#[derive(Debug, Args)]
pub struct Countersign {
    /// The request that another auditor made.
    request: PathBuf,
    /// The key of the second auditor, PEM.
    #[arg(long, value_name = "KEY")]
    by: PathBuf,
}

/// `audit search-subject`.
#[derive(Debug, Args)]
pub struct SearchSubject {
    /// The request, signed by two auditors less than an hour ago, one of whom asks.
    request: PathBuf,
    #[command(flatten)]
    reader: Reader,
}

/// Runs `audit subject-request`: prints the request, signed once.
pub fn ask(asked: &Ask, console: Console) -> Result<(), Failure> {
    let question = SubjectQuestion {
        participant: asked.participant,
        person: person::person(&asked.person)?,
        motive: asked.motive.clone(),
        issued: SystemClock.now(),
        nonce: (&SystemRandom::new() as &dyn Random).bytes(),
    };
    signed(question.request().map_err(invalid)?, &asked.by, console)
}

/// Runs `audit countersign`: shows who is looked up, where and why, then prints the request, signed twice.
pub fn countersign(asked: &Countersign, console: Console) -> Result<(), Failure> {
    let request: SubjectRequest = read_text(&asked.request)?.parse().map_err(invalid)?;
    let question = request.question();
    let (participant, motive) = (question.participant, &question.motive);
    let person = named(&question.person);
    let value = json!({ "signing": { "participant": participant, "person": person, "motive": motive } });
    console.show(&value, || {
        format!("vous signez une recherche chez {participant}\n  personne : {person}\n  motif : {motive}")
    })?;
    signed(request, &asked.by, console)
}

/// The person of a request, as one line that reads as nobody else.
fn named(person: &[u8]) -> String {
    match std::str::from_utf8(person) {
        Ok(text) => in_line(text),
        Err(_) => format!("octets {}", person.escape_ascii()),
    }
}

fn signed(mut request: SubjectRequest, by: &Path, console: Console) -> Result<(), Failure> {
    let unread = |e: unefois_jose::Error| Failure::new(Kind::Data, "la clé n'est pas lue").because(e);
    let pem = Zeroizing::new(read_text(by)?.into_bytes());
    let pkcs8 = Pkcs8::from_file(pem).map_err(unread)?;
    let key = SigningKey::from_pkcs8(&pkcs8, SystemRandom::new().ring()).map_err(unread)?;
    let signature = key.sign(request.signed_bytes()).map_err(unread)?;
    let spki = key.verifying_key().public().to_spki_der();
    request.sign(spki, signature).map_err(invalid)?;
    let text = request.to_string();
    console.data(&json!({ "request": text }), || text.trim_end().to_owned())
}

/// Runs `audit search-subject`.
pub fn search(asked: &SearchSubject, console: Console) -> Result<(), Failure> {
    let text = read_text(&asked.request)?;
    let request: SubjectRequest = text.parse().map_err(invalid)?;
    let session = asked.reader.open()?;
    let logs = session.logs(&request.question().participant)?;
    // Any replica answers for all of them.
    let log = logs
        .first()
        .ok_or_else(|| Failure::new(Kind::Data, "ce participant n'a pas de registre"))?;
    let key_of = |origin: &str| {
        let log = logs.iter().find(|log| log.origin.as_str() == origin);
        log.map(|log| log.key.clone())
    };
    let found = runtime()?.block_on(session.read(log, async |channel| {
        search_subject(channel, log.origin.as_str(), &text, key_of).await
    }))?;
    for entry in &found {
        tell(entry, console)?;
    }
    match found.is_empty() {
        true => Err(Failure::new(
            Kind::No,
            "ce registre n'a aucun échange qui concerne cette personne",
        )),
        false => Ok(()),
    }
}

fn tell(proved: &ProvedEntry, console: Console) -> Result<(), Failure> {
    let entry = &proved.entry;
    let exchange = entry.exchange_id.map(|id| id.to_string()).unwrap_or_default();
    let text = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let requester = text(entry.requester.map(|id| id.to_string()));
    let datatype = text(entry.datatype.as_ref().map(ToString::to_string));
    let value = json!({
        "origin": proved.origin, "index": proved.index, "event": entry.event.to_string(), "at": entry.at.to_rfc3339(),
        "exchange_id": exchange, "requester": requester, "datatype": datatype,
    });
    console.data(&value, || {
        format!(
            "{} n° {} : {} le {}, échange {exchange}, demandeur {requester}, {datatype}",
            proved.origin, proved.index, entry.event, entry.at
        )
    })
}

fn invalid(error: InvalidSubjectRequest) -> Failure {
    let kind = match error {
        InvalidSubjectRequest::Malformed(_) => Kind::Data,
        _ => Kind::Refused,
    };
    Failure::new(kind, "cette recherche ne peut pas être demandée").because(error)
}
