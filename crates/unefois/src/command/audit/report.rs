//! `audit report`: counts of what a participant's logs say over a period.

use clap::Args;
use serde_json::{Value, json};
use unefois_auditor::report::{Ends, Line, Report as Counts, Step};
use unefois_core::{Micros, ParticipantId, Reason};

use super::Reader;
use super::filters::participant;
use super::period::Period;
use super::table::{Form, table};
use super::visit::{Kept, visit};
use super::words::Words;
use crate::command::runtime;
use crate::console::Console;
use crate::failure::Failure;

/// `audit report`.
#[derive(Debug, Args)]
pub struct Report {
    /// The participant: urn:unefois:participant:SIRET, or the SIRET alone.
    #[arg(value_parser = participant)]
    participant: ParticipantId,
    /// Entries written in this period.
    #[command(flatten)]
    period: Period,
    /// Counts over time by the hour, not by the day.
    #[arg(long)]
    hourly: bool,
    /// How it is written.
    #[arg(long, value_enum, default_value_t)]
    format: Form,
    #[command(flatten)]
    kept: Kept,
    #[command(flatten)]
    reader: Reader,
}

const COLUMNS: &[&str] = &["issue", "motif", "demandeur", "producteur", "donnee", "entrees"];

/// Runs `audit report`.
pub fn run(asked: &Report, console: Console) -> Result<(), Failure> {
    let session = asked.reader.open()?;
    let step = if asked.hourly { Step::Hour } else { Step::Day };
    let empty = Counts::new(asked.period.window(), step);
    let counting = visit(
        &session,
        &asked.participant,
        (&asked.kept, "rapport"),
        empty,
        |counts, _, visited| counts.take(visited),
        console,
    );
    let counts = runtime()?.block_on(counting)?;
    if let Some(dialect) = asked.format.dialect() {
        let text = table(
            dialect,
            COLUMNS,
            counts.lines.iter().map(|(line, n)| cells(line, *n)),
        );
        return console.raw(&text);
    }
    console.data(&to_json(asked, &counts), || {
        to_text(asked, &counts, &Words(session.edition()))
    })
}

fn cells(line: &Line, n: u64) -> Vec<String> {
    fn text<T: ToString>(value: Option<&T>) -> String {
        value.map(T::to_string).unwrap_or_default()
    }
    vec![
        line.outcome.0.to_string(),
        text(line.reason.as_ref()),
        text(line.requester.as_ref()),
        text(line.provider.as_ref()),
        text(line.datatype.as_ref()),
        n.to_string(),
    ]
}

fn ends(ends: &Ends) -> Value {
    json!({"refused": ends.refused, "later": ends.later, "answered": ends.answered})
}

fn to_json(asked: &Report, counts: &Counts) -> Value {
    let line = |(line, n): (&Line, &u64)| {
        json!({
            "outcome": line.outcome.0, "reason": line.reason.map(Reason::as_str), "requester": line.requester,
            "provider": line.provider, "datatype": line.datatype, "entries": n,
        })
    };
    let steps = counts
        .steps
        .iter()
        .map(|(at, of)| json!({"from": at.to_rfc3339(), "entries": ends(of)}));
    let directories = counts.directories.iter().map(|(version, used)| {
        json!({
            "version": version, "entries": used.entries, "first": used.first.to_rfc3339(), "last": used.last.to_rfc3339(),
        })
    });
    let events = counts
        .events
        .iter()
        .map(|(event, n)| (event.to_string(), Value::from(*n)));
    json!({
        "participant": asked.participant,
        "from": asked.period.from.map(Micros::to_rfc3339), "to": asked.period.to.map(Micros::to_rfc3339),
        "total": ends(&counts.total), "lines": counts.lines.iter().map(line).collect::<Vec<_>>(),
        "over_time": steps.collect::<Vec<_>>(), "events": events.collect::<serde_json::Map<_, _>>(),
        "directories": directories.collect::<Vec<_>>(),
    })
}

fn to_text(asked: &Report, counts: &Counts, words: &Words<'_>) -> String {
    let total = &counts.total;
    let mut text = format!(
        "{}, {}\n{} fin(s) d'échange : {} refus, {} report(s), {} réponse(s)\n\n",
        words.participant(&asked.participant),
        asked.period.words(),
        total.total(),
        total.refused,
        total.later,
        total.answered
    );
    text += &format!(
        "{:>9}  {:<9} {:<24} qui ← qui, quoi\n",
        "entrées", "issue", "motif"
    );
    for (line, n) in &counts.lines {
        let name = |id: Option<&ParticipantId>| id.map_or_else(|| "–".to_owned(), |id| words.participant(id));
        let datatype = line.datatype.as_ref();
        let datatype = datatype.map_or_else(|| "–".to_owned(), |rev| words.datatype(rev));
        text += &format!(
            "{n:>9}  {:<9} {:<24} {} ← {}, {datatype}\n",
            outcome(line.outcome.0),
            line.reason.map(Reason::as_str).unwrap_or("–"),
            name(line.requester.as_ref()),
            name(line.provider.as_ref()),
        );
    }
    let step = if asked.hourly { 16 } else { 10 };
    text += &format!(
        "\n{:<16}  {:>9} {:>9} {:>9}\n",
        "depuis (UTC)", "refus", "reports", "réponses"
    );
    for (at, ends) in &counts.steps {
        let at = at.to_rfc3339();
        let at = at.get(..step).unwrap_or(&at).replace('T', " ");
        text += &format!(
            "{at:<16}  {:>9} {:>9} {:>9}\n",
            ends.refused, ends.later, ends.answered
        );
    }
    let events: Vec<String> = counts
        .events
        .iter()
        .map(|(event, n)| format!("{event} {n}"))
        .collect();
    text += &format!("\nToutes les entrées : {}\n", events.join(", "));
    for (version, used) in &counts.directories {
        text += &format!(
            "Annuaire version {version} : {} entrée(s), du {} au {}\n",
            used.entries, used.first, used.last
        );
    }
    text
}

const fn outcome(outcome: unefois_core::Outcome) -> &'static str {
    use unefois_core::Outcome;
    match outcome {
        Outcome::Answered => "répondu",
        Outcome::Later => "reporté",
        Outcome::Refused => "refusé",
    }
}
