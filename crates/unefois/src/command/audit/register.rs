//! `audit register`: a participant's record of processing activities (GDPR, article 30).

use clap::Args;
use unefois_auditor::register::{COLUMNS, Sources, Usage, register, rows, to_text};
use unefois_core::{Clock as _, ParticipantId};
use unefois_mesh::SystemClock;

use super::Reader;
use super::filters::participant;
use super::period::Period;
use super::table::{Form, table};
use super::visit::{Kept, visit};
use crate::command::runtime;
use crate::console::Console;
use crate::failure::{Failure, Kind};

/// `audit register`.
#[derive(Debug, Args)]
pub struct Register {
    /// The participant: urn:unefois:participant:SIRET, or the SIRET alone.
    #[arg(value_parser = participant)]
    participant: ParticipantId,
    /// The period over which volumes are counted.
    #[command(flatten)]
    period: Period,
    /// How it is written.
    #[arg(long, value_enum, default_value_t)]
    format: Form,
    #[command(flatten)]
    kept: Kept,
    #[command(flatten)]
    reader: Reader,
}

/// Runs `audit register`.
pub fn run(asked: &Register, console: Console) -> Result<(), Failure> {
    let session = asked.reader.open()?;
    let take = |usage: &mut Usage, _: &_, visited: unefois_auditor::Visited<'_>| {
        usage.take(&visited);
        Ok(())
    };
    let empty = Usage::new(asked.participant, asked.period.window());
    let why = "registre des traitements";
    let counting = visit(
        &session,
        &asked.participant,
        (&asked.kept, why),
        empty,
        take,
        console,
    );
    let usage = runtime()?.block_on(counting)?;
    let edition = session.edition();
    let sources = Sources {
        directory: &edition.directory,
        catalogue: &edition.catalogue,
        usage: &usage,
        now: SystemClock.now(),
    };
    let unknown = || Failure::new(Kind::Data, "l'annuaire ne connaît pas ce participant");
    let record =
        register(&asked.participant, &sources, [asked.period.from, asked.period.to]).ok_or_else(unknown)?;
    match asked.format.dialect() {
        Some(dialect) => console.raw(&table(dialect, COLUMNS, rows(&record))),
        None => console.data(&record, || to_text(&record)),
    }
}
