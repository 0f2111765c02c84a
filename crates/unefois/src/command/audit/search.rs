//! `audit search`: the entries of a participant's logs that meet some conditions, each proved before it is shown.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use unefois_auditor::{Asked, KnownHead, ReadLog, Row, Search as Query, Searched, read_log, search};
use unefois_core::{EntryFilter, ParticipantId};
use unefois_tlog::SignedCheckpoint;

use super::filters::{Filters, participant};
use super::reader::{Log, Session};
use super::words::Words;
use super::{Heads, Reader};
use crate::command::runtime;
use crate::console::Console;
use crate::failure::{Failure, Kind};
use crate::progress::Progress;

/// `audit search`.
#[derive(Debug, Args)]
pub struct Search {
    /// The participant whose logs are read: urn:unefois:participant:SIRET, or the SIRET alone.
    #[arg(value_parser = participant)]
    participant: ParticipantId,
    #[command(flatten)]
    filters: Filters,
    /// How many entries of each log at most.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// The oldest first; else the latest.
    #[arg(long)]
    oldest: bool,
    /// The latest first, which is so without it too.
    #[arg(long, conflicts_with = "oldest")]
    newest: bool,
    /// Reads every entry and looks itself: then nothing was left out.
    #[arg(long)]
    complete: bool,
    /// Why it is asked: each log records it.
    #[arg(long, value_name = "TEXT", default_value = "")]
    motive: String,
    /// Where the heads that were verified are kept, as for `audit verify`.
    #[arg(long, value_name = "FILE")]
    heads: Option<PathBuf>,
    #[command(flatten)]
    reader: Reader,
}

/// Runs `audit search`.
pub fn run(asked: &Search, console: Console) -> Result<(), Failure> {
    let mut heads = match &asked.heads {
        Some(file) => Heads::load(file)?,
        None => Heads::default(),
    };
    let session = asked.reader.open()?;
    let filter = asked.filters.filter(session.edition())?;
    if asked.complete && filter.peer.is_some() {
        let what = "--complete et --peer ne vont pas ensemble";
        let why = "aucune entrée ne dit si l'autre bout a confirmé : seul le registre le sait";
        return Err(Failure::new(Kind::Usage, what).because(why));
    }
    let runtime = runtime()?;
    for log in session.logs(&asked.participant)? {
        let known = heads.known(&log.origin);
        let head = match asked.complete {
            true => runtime.block_on(all(asked, &session, &log, &filter, known, console))?,
            false => runtime.block_on(some(asked, &session, &log, &filter, known, console))?,
        };
        heads.keep(&log.origin, head);
    }
    match &asked.heads {
        Some(file) => heads.save(file),
        None => Ok(()),
    }
}

/// What the log itself finds.
async fn some(
    asked: &Search,
    session: &Session,
    log: &Log,
    filter: &EntryFilter,
    known: Option<KnownHead>,
    console: Console,
) -> Result<KnownHead, Failure> {
    let words = Words(session.edition());
    let mut written = Ok(());
    let found = session
        .read(log, async |channel| {
            let query = Query {
                origin: &log.origin,
                key: &log.key,
                known,
                filter,
                newest_first: !asked.oldest,
                limit: asked.limit,
                size: None,
                purpose: &asked.motive,
            };
            let show = |row: Row| {
                written = tell(&row, log, words, console);
                match &written {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(()),
                }
            };
            search(channel, &query, show, |_| {}).await
        })
        .await?;
    written?;
    let Searched {
        rows,
        looked,
        ended,
        checkpoint,
        head,
    } = found;
    sum_up(log, &checkpoint, head, rows, ended, false, console)?;
    let end = match ended {
        true => "le registre dit n'en avoir pas d'autre".to_owned(),
        false => format!(
            "il peut y en avoir d'autres (entrées {} à {} parcourues)",
            looked.start, looked.end
        ),
    };
    console.say(&format!(
        "{} : {rows} entrée(s), chacune prouvée sous la tête de {} ; {end}.\nLa preuve dit que ces entrées sont dans \
         le registre, pas qu'aucune n'a été omise : --complete lit tout.{}",
        log.origin,
        head.size,
        starred(console)
    ));
    Ok(head)
}

/// What a reading of every entry finds.
async fn all(
    asked: &Search,
    session: &Session,
    log: &Log,
    filter: &EntryFilter,
    known: Option<KnownHead>,
    console: Console,
) -> Result<KnownHead, Failure> {
    let words = Words(session.edition());
    let limit = usize::try_from(asked.limit).unwrap_or(usize::MAX);
    let progress = Progress::new(console);
    let (read, mut rows, total) = session
        .read(log, async |channel| {
            let (mut kept, mut total) = (VecDeque::new(), 0_u64);
            let whole = Asked {
                known,
                purpose: &asked.motive,
                ..Asked::all(&log.origin, &log.key)
            };
            // Nothing is shown before the root is confirmed, so that what may be shown is kept, and no more.
            let visit = |visited: unefois_auditor::Visited<'_>| {
                if !filter.matches(visited.index, visited.entry) {
                    return Ok(());
                }
                total += 1;
                if kept.len() == limit && asked.oldest {
                    return Ok(());
                }
                if kept.len() == limit {
                    kept.pop_front();
                }
                kept.push_back(Row {
                    index: visited.index,
                    entry: visited.entry.clone(),
                    bytes: visited.bytes.to_vec(),
                    leaf: *visited.leaf,
                    acknowledged: None,
                });
                Ok(())
            };
            let read = read_log(channel, &whole, visit, |read, size| {
                progress.tell("lecture", read, size)
            })
            .await?;
            Ok((read, kept, total))
        })
        .await?;
    progress.end();
    if !asked.oldest {
        rows.make_contiguous().reverse();
    }
    for row in &rows {
        tell(row, log, words, console)?;
    }
    let ReadLog { head, checkpoint, .. } = read;
    sum_up(
        log,
        &checkpoint,
        head,
        rows.len() as u64,
        total <= asked.limit,
        true,
        console,
    )?;
    console.say(&format!(
        "{} : {} entrée(s) sur {total} qui répondent à la demande ; les {} du registre ont été lues et vérifiées.",
        log.origin,
        rows.len(),
        head.size
    ));
    Ok(head)
}

/// One row on one line.
pub(super) fn tell(row: &Row, log: &Log, words: Words<'_>, console: Console) -> Result<(), Failure> {
    console.data(&to_json(row, log), || {
        words.line(row.index, &row.entry, row.acknowledged == Some(true))
    })
}

/// Every field of a row; what does not apply is absent.
pub(super) fn to_json(row: &Row, log: &Log) -> Value {
    let entry = &row.entry;
    let hex = |digest: &Option<unefois_core::Sha256>| digest.map(|digest| digest.to_string());
    let mut value = json!({
        "origin": log.origin.as_str(), "index": row.index, "leaf": row.leaf.to_string(),
        "event": entry.event, "at": entry.at.to_rfc3339(), "at_us": entry.at.get(),
        "exchange_id": entry.exchange_id, "attempt": entry.attempt,
        "requester": entry.requester, "provider": entry.provider, "holder": entry.holder,
        "publisher": entry.publisher, "datatype": entry.datatype, "demarche": entry.demarche,
        "habilitation": entry.habilitation, "legal_basis": entry.legal_basis, "capacity": entry.capacity,
        "acr": entry.acr, "units": entry.units, "outcome": entry.outcome,
        "reason": entry.reason.map(unefois_core::Reason::as_str), "directory_version": entry.directory_version,
        "view": [entry.view.epoch, entry.view.seq],
        "grant_commit": hex(&entry.grant_commit), "content_commit": hex(&entry.content_commit),
        "dossier_commit": hex(&entry.dossier_commit), "actor_commit": hex(&entry.actor_commit),
        "request_hash": hex(&entry.request_hash), "peer_origin_hash": hex(&entry.peer_origin_hash),
        "peer_entry_hash": hex(&entry.peer_entry_hash), "evidence_commit": hex(&entry.evidence_commit),
        "unproved": row.acknowledged.map(|acknowledged| json!({"acknowledged": acknowledged})),
    });
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    value
}

/// The last line of a log under `--json`: under which head the rows are, and whether they are all.
fn sum_up(
    log: &Log,
    checkpoint: &SignedCheckpoint,
    head: KnownHead,
    rows: u64,
    ended: bool,
    complete: bool,
    console: Console,
) -> Result<(), Failure> {
    if !console.json {
        return Ok(());
    }
    let value = json!({"head": {
        "origin": log.origin.as_str(), "size": head.size, "root": head.root.to_string(),
        "checkpoint": checkpoint.as_str(), "rows": rows, "ended": ended, "complete": complete,
    }});
    console.data(&value, String::new)
}

fn starred(console: Console) -> &'static str {
    console.pick(
        "\n* dit par le registre, sans preuve.",
        "\n* said by the log, without proof.",
    )
}
