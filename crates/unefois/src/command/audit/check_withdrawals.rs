//! `audit check-withdrawals`: whether anything was released after a withdrawal had taken effect, from ledgers alone.

mod tell;

use std::collections::BTreeMap;

use clap::Args;
use futures_util::StreamExt as _;
use futures_util::stream;
use unefois_auditor::disclose::disclose_effect;
use unefois_auditor::withdrawals::{Announced, Case, Listed, Noted, ProducerLog, Report, Wanted, judge};
use unefois_auditor::{Asked, read_log};
use unefois_core::ParticipantId;
use unefois_core::subject_request::is_motive;

pub(crate) use self::tell::fault_fr;
use super::period::Period;
use super::reader::{Log, Session};
use super::visit::Kept;
use super::{Heads, Reader};
use crate::command::runtime;
use crate::console::Console;
use crate::failure::{Failure, Kind};
use crate::progress::Progress;

/// How many proofs are asked for at once: each is an entry `queried` of the authority's ledger.
const AT_ONCE: usize = 16;

/// `audit check-withdrawals`.
#[derive(Debug, Args)]
pub struct CheckWithdrawals {
    /// Why, on one line of at most 512 bytes: the authority's ledger records it with each proof that it discloses.
    #[arg(long, value_name = "TEXT")]
    motive: String,
    /// Withdrawals announced or proved in this period, by the authority's log.
    #[command(flatten)]
    period: Period,
    #[command(flatten)]
    kept: Kept,
    #[command(flatten)]
    reader: Reader,
}

/// Runs `audit check-withdrawals`.
pub fn run(asked: &CheckWithdrawals, console: Console) -> Result<(), Failure> {
    let mut heads = asked.kept.load()?;
    let session = asked.reader.open()?;
    let checked = runtime()?.block_on(checked(
        &session,
        &asked.motive,
        asked.period,
        &mut heads,
        console,
    ))?;
    tell::tell(&checked, console)?;
    asked.kept.save(&heads)?;
    verdict(checked)
}

/// What was found, in which logs of the authority.
#[derive(Debug)]
pub struct Checked {
    /// What the ledgers show.
    pub report: Report,
    /// The authority's logs, by their numbers in the report.
    origins: Vec<String>,
    /// What hindered the first log of a producer that could not be read.
    unread: Option<Failure>,
}

fn verdict(checked: Checked) -> Result<(), Failure> {
    let report = &checked.report;
    if report.holds() {
        return checked.unread.map_or(Ok(()), Err);
    }
    let of_withdrawals: usize = report
        .withdrawals
        .iter()
        .map(|withdrawal| withdrawal.late.len())
        .sum();
    let what = format!(
        "{} communication(s) tardive(s), {} preuve(s) rompue(s)",
        of_withdrawals + report.closed.len(),
        report.count(|withdrawal| !withdrawal.faults.is_empty()),
    );
    let failure = Failure::new(Kind::No, what);
    Err(failure.next("gardez les têtes des registres et montrez ces écritures au producteur et à l'autorité"))
}

/// Checks the withdrawals of all times as `reader`, for those who look for one result.
///
/// # Errors
/// A log cannot be read, or does not hold; the motive is none.
pub async fn check_withdrawals(
    reader: &Reader,
    motive: &str,
    heads: &mut Heads,
    console: Console,
) -> Result<Report, Failure> {
    let checked = checked(&reader.open()?, motive, Period::default(), heads, console).await?;
    match checked.unread {
        Some(failure) => Err(failure),
        None => Ok(checked.report),
    }
}

async fn checked(
    session: &Session,
    motive: &str,
    period: Period,
    heads: &mut Heads,
    console: Console,
) -> Result<Checked, Failure> {
    if !is_motive(motive) {
        return Err(Failure::new(
            Kind::Usage,
            "--motive : une ligne de 1 à 512 octets",
        ));
    }
    let told = Progress::new(console);
    let directory = &session.edition().directory;
    let authority = session.logs(&directory.authority().participant)?;
    // The authority's log first: what its proofs say of a producer's log lies in that log when it is read.
    let announced = announced(session, &authority, (motive, heads), &told).await?;
    let listed = Listed::of(directory);
    let cases = opened(session, &authority, &announced, (&listed, motive, period), &told).await?;
    let (logs, unread) = producers(session, &cases, &listed, (motive, heads), &told).await?;
    let all = cases.len() as u64;
    let report = judge(&cases, &announced, &logs, &listed, period.window(), |done| {
        told.tell("jugement", done as u64, all);
    });
    told.end();
    Ok(Checked {
        report,
        origins: authority.iter().map(|log| log.origin.to_string()).collect(),
        unread,
    })
}

/// Reads the authority's logs.
async fn announced(
    session: &Session,
    logs: &[Log],
    (motive, heads): (&str, &mut Heads),
    told: &Progress,
) -> Result<Announced, Failure> {
    let mut announced = Announced::default();
    for (number, log) in logs.iter().enumerate() {
        let begun = &announced;
        let asked = asked(log, heads, motive);
        let read = session.read(log, async |channel| {
            let mut filling = begun.clone();
            let take = |visited: unefois_auditor::Visited<'_>| filling.take(number, visited);
            let read = read_log(channel, &asked, take, |read, size| {
                told.tell("lecture de l'autorité", read, size);
            });
            Ok((read.await?, filling))
        });
        let (read, filled) = read.await?;
        heads.keep(&log.origin, read.head);
        announced = filled;
    }
    Ok(announced)
}

/// Has each proof of the period disclosed.
async fn opened(
    session: &Session,
    logs: &[Log],
    announced: &Announced,
    (listed, motive, period): (&Listed, &str, Period),
    told: &Progress,
) -> Result<Vec<Case>, Failure> {
    let window = period.window();
    let within = |noted: &&Noted| window.contains(&noted.entry.at);
    let all = announced.effective.iter().filter(within).count() as u64;
    let mut cases = Vec::new();
    for (number, log) in logs.iter().enumerate() {
        let proofs = announced.effective.iter().filter(|noted| noted.log == number);
        let proofs: Vec<&Noted> = proofs.filter(within).collect();
        if proofs.is_empty() {
            continue;
        }
        let before = cases.len() as u64;
        let of_log = session.read(log, async |channel| {
            let each = proofs
                .iter()
                .map(|noted| disclose_effect(channel.clone(), &log.key, noted, motive));
            let mut opening = stream::iter(each).buffered(AT_ONCE);
            let mut disclosed = Vec::with_capacity(proofs.len());
            while let Some(proof) = opening.next().await {
                disclosed.push(proof?);
                told.tell("ouverture des preuves", before + disclosed.len() as u64, all);
            }
            Ok(disclosed)
        });
        let of_log = of_log.await?;
        cases.extend(
            proofs
                .into_iter()
                .zip(of_log)
                .map(|(noted, disclosed)| Case::open(noted, disclosed, listed)),
        );
    }
    Ok(cases)
}

/// Reads each log that a proof concerns, once, whatever the number of proofs; also what hindered the first that could not
/// be read.
async fn producers(
    session: &Session,
    cases: &[Case],
    listed: &Listed,
    (motive, heads): (&str, &mut Heads),
    told: &Progress,
) -> Result<(Vec<ProducerLog>, Option<Failure>), Failure> {
    let mut wanted = Case::wanted(cases);
    let mut by_owner: BTreeMap<ParticipantId, Vec<(String, Wanted)>> = BTreeMap::new();
    for (origin, (owner, _)) in &listed.logs {
        if let Some(wanted) = wanted.remove(origin) {
            by_owner.entry(*owner).or_default().push((origin.clone(), wanted));
        }
    }
    let (mut read, mut unread) = (Vec::new(), None);
    for (owner, wanted) in by_owner {
        let logs = session.logs(&owner)?;
        for (origin, wanted) in wanted {
            let Some(log) = logs.iter().find(|log| log.origin.as_str() == origin) else {
                continue;
            };
            match producer(session, log, wanted, (motive, heads), told).await {
                Ok(log) => read.push(log),
                Err(failure) if failure.kind == Kind::Unreachable => {
                    unread.get_or_insert(failure);
                }
                Err(failure) => return Err(failure),
            }
        }
    }
    Ok((read, unread))
}

async fn producer(
    session: &Session,
    log: &Log,
    wanted: Wanted,
    (motive, heads): (&str, &mut Heads),
    told: &Progress,
) -> Result<ProducerLog, Failure> {
    let asked = asked(log, heads, motive);
    let read = session.read(log, async |channel| {
        let mut filling = ProducerLog::new(log.origin.to_string(), wanted.clone());
        let take = |visited: unefois_auditor::Visited<'_>| filling.take(visited);
        let read = read_log(channel, &asked, take, |read, size| {
            told.tell("lecture des producteurs", read, size);
        });
        Ok((read.await?, filling))
    });
    let (read, filled) = read.await?;
    heads.keep(&log.origin, read.head);
    Ok(filled)
}

fn asked<'a>(log: &'a Log, heads: &Heads, motive: &'a str) -> Asked<'a> {
    Asked {
        known: heads.known(&log.origin),
        purpose: motive,
        ..Asked::all(&log.origin, &log.key)
    }
}
