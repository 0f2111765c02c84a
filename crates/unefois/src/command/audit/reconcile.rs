//! `audit reconcile`: both ends of every exchange between two participants, each read and verified, then compared.

use std::collections::BTreeSet;

use clap::Args;
use serde_json::{Value, json};
use unefois_auditor::reconcile::{End, Finding, Reconciliation, Rules, Trace, Weight, reconcile};
use unefois_auditor::{Asked, read_log};
use unefois_core::{Clock, Directory, Event, Micros, ParticipantId};
use unefois_mesh::SystemClock;

use super::acknowledged::Acknowledged;
use super::filters::participant;
use super::period::Period;
use super::reader::Session;
use super::visit::Kept;
use super::{Heads, Reader};
use crate::command::runtime;
use crate::console::Console;
use crate::failure::{Failure, Kind};
use crate::progress::Progress;

/// How far the clocks of two participants may lie apart: what a producer takes of a token's future.
const CLOCK_MS: i64 = 10_000;

/// `audit reconcile`.
#[derive(Debug, Args)]
pub struct Reconcile {
    /// A participant: urn:unefois:participant:SIRET, or the SIRET alone.
    #[arg(value_parser = participant)]
    one: ParticipantId,
    /// The participant at the other end.
    #[arg(value_parser = participant, required_unless_present = "all", conflicts_with = "all")]
    other: Option<ParticipantId>,
    /// With every participant that the first one's logs name, or that the directory lets it exchange with, and whose logs
    /// the directory gives.
    #[arg(long)]
    all: bool,
    /// Exchanges begun in this period, by the time in their ids.
    #[command(flatten)]
    period: Period,
    /// What was written in the last seconds may still be under way, and is told apart.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    under_way: u32,
    #[command(flatten)]
    kept: Kept,
    #[command(flatten)]
    reader: Reader,
}

/// Runs `audit reconcile`.
pub fn run(asked: &Reconcile, console: Console) -> Result<(), Failure> {
    let mut heads = asked.kept.load()?;
    let Compared {
        pairs,
        uncompared,
        unread,
    } = runtime()?.block_on(compare(asked, &mut heads, console))?;
    let mut agree = true;
    for (reconciliation, told) in &pairs {
        tell(reconciliation, told, console)?;
        agree &= reconciliation.agrees();
    }
    for other in &uncompared {
        console.data(&other.to_json(), || other.to_text())?;
    }
    asked.kept.save(&heads)?;
    let unread = unread.or_else(|| hidden(&uncompared));
    match (agree, unread) {
        (true, None) => Ok(()),
        (true, Some(failure)) => Err(failure),
        (false, _) => {
            let count = |weight| pairs.iter().map(|(r, _)| r.count(weight)).sum::<usize>();
            let what = format!(
                "{} désaccord(s), {} réception(s) non confirmée(s)",
                count(Weight::Fault),
                count(Weight::Unconfirmed)
            );
            let failure = Failure::new(Kind::No, what);
            Err(failure.next("gardez les deux têtes et montrez ces échanges aux deux participants"))
        }
    }
}

/// What was compared, who was not, and what hindered the first comparison that could not be made.
struct Compared {
    pairs: Vec<(Reconciliation, Acknowledged)>,
    uncompared: Vec<Uncompared>,
    unread: Option<Failure>,
}

/// A participant whose logs were not read.
struct Uncompared {
    one: ParticipantId,
    other: ParticipantId,
    /// How many exchanges with it the first participant's logs hold.
    exchanges: usize,
    /// Why not; `None` where the directory gives it no log.
    unread: Option<String>,
}

impl Uncompared {
    fn to_json(&self) -> Value {
        let cause = if self.unread.is_some() { "unread" } else { "no_log" };
        json!({
            "ends": [self.one, self.other], "exchanges": self.exchanges, "agrees": null,
            "uncompared": {"cause": cause, "detail": self.unread},
        })
    }

    fn to_text(&self) -> String {
        let why = self.unread.as_deref();
        let why = why.unwrap_or("pas de registre dans l'annuaire");
        let [one, other] = [self.one, self.other].map(|end| end.siret().to_string());
        format!(
            "{one} ↔ {other} : {} échange(s), non comparé(s) : {why}",
            self.exchanges
        )
    }
}

/// The failure of a comparison that left out participants with whom there are exchanges.
fn hidden(uncompared: &[Uncompared]) -> Option<Failure> {
    let with_exchanges = uncompared.iter().filter(|other| other.exchanges > 0);
    let (others, exchanges) = with_exchanges.fold((0, 0), |(n, sum), other| (n + 1, sum + other.exchanges));
    (others > 0).then(|| {
        let what = format!("{exchanges} échange(s) avec {others} participant(s) n'ont pas été comparés");
        Failure::new(Kind::No, what).next("demandez leur registre à ces participants ou à l'autorité")
    })
}

async fn compare(asked: &Reconcile, heads: &mut Heads, console: Console) -> Result<Compared, Failure> {
    let session = asked.reader.open()?;
    let window = asked.period.window();
    let others = match (&asked.other, asked.all) {
        (Some(other), false) if *other == asked.one => {
            return Err(Failure::new(
                Kind::Usage,
                "un participant n'échange pas avec lui-même",
            ));
        }
        (other, _) => *other,
    };
    let before = SystemClock.now();
    let told = Progress::new(console);
    let mut progress = |read, size| told.tell("lecture", read, size);
    let one = End::new(asked.one, window.clone(), others);
    let one = end(&session, one, heads, &mut progress).await?;
    let named: BTreeSet<ParticipantId> = match others {
        Some(other) => BTreeSet::from([other]),
        None => {
            let mut named: BTreeSet<ParticipantId> = one.counterparties().copied().collect();
            named.extend(may_exchange(&session.edition().directory, &asked.one));
            named
        }
    };
    let mut compared = Compared {
        pairs: Vec::with_capacity(named.len()),
        uncompared: Vec::new(),
        unread: None,
    };
    for other in named {
        let uncompared = |unread| Uncompared {
            one: asked.one,
            other,
            exchanges: one.exchanges_with(&other),
            unread,
        };
        if asked.all && !session.reads(&other) {
            compared.uncompared.push(uncompared(None));
            continue;
        }
        let empty = End::new(other, window.clone(), Some(asked.one));
        let read = match end(&session, empty, heads, &mut progress).await {
            Ok(read) => read,
            Err(failure) if asked.all => {
                compared.uncompared.push(uncompared(Some(failure.to_string())));
                compared.unread.get_or_insert(failure);
                continue;
            }
            Err(failure) => return Err(failure),
        };
        let found = reconcile(&one, &read, &rules(before, asked.under_way));
        let words = Acknowledged::ask(&session, &found, heads, console).await;
        compared.pairs.push((found, words));
    }
    told.end();
    Ok(compared)
}

/// How two ends are judged whose reading began at `before`: what was written `under_way_s` before that, or since, the
/// other end may not have written yet.
pub(super) fn rules(before: Micros, under_way_s: u32) -> Rules {
    Rules {
        under_way: before.plus_ms(-i64::from(under_way_s) * 1_000)..SystemClock.now().plus_ms(CLOCK_MS),
        clock_ms: CLOCK_MS,
    }
}

/// Those whom a habilitation lets ask `one`, or be asked by it: a log that names none of them hides what it has.
fn may_exchange(directory: &Directory, one: &ParticipantId) -> impl Iterator<Item = ParticipantId> {
    let rights = directory.document().habilitations.iter();
    rights.map(|row| &row.habilitation).filter_map(move |right| {
        match (right.consumer == *one, right.producer == *one) {
            (true, false) => Some(right.producer),
            (false, true) => Some(right.consumer),
            (true, true) | (false, false) => None,
        }
    })
}

/// Reads every log of one end.
async fn end(
    session: &Session,
    empty: End,
    heads: &mut Heads,
    mut progress: impl FnMut(u64, u64),
) -> Result<End, Failure> {
    let mut end = empty;
    for log in session.logs(end.participant())? {
        let known = heads.known(&log.origin);
        let begun = &end;
        let (read, filled) = session
            .read(&log, async |channel| {
                let asked = Asked {
                    known,
                    purpose: "rapprochement des deux bouts",
                    ..Asked::all(&log.origin, &log.key)
                };
                let mut filling = begun.clone();
                let number = filling.log(&log.origin);
                let take = |visited: unefois_auditor::Visited<'_>| filling.take(number, visited);
                let read = read_log(channel, &asked, take, &mut progress).await?;
                Ok((read, filling))
            })
            .await?;
        heads.keep(&log.origin, read.head);
        end = filled;
    }
    Ok(end)
}

/// Compares two participants as `reader`, for those who look for one result.
///
/// # Errors
/// A log cannot be read, or does not hold.
pub async fn reconcile_participants(
    reader: &Reader,
    ends: [ParticipantId; 2],
    heads: &mut Heads,
) -> Result<Reconciliation, Failure> {
    let session = reader.open()?;
    let always = Period::default().window();
    let before = SystemClock.now();
    let [one, other] = ends;
    let one = end(
        &session,
        End::new(one, always.clone(), Some(other)),
        heads,
        |_, _| {},
    )
    .await?;
    let other = end(&session, End::new(other, always, Some(ends[0])), heads, |_, _| {}).await?;
    let rules = rules(before, 0);
    Ok(reconcile(&one, &other, &rules))
}

fn tell(found: &Reconciliation, told: &Acknowledged, console: Console) -> Result<(), Failure> {
    console.data(&to_json(found, told), || to_text(found, told))
}

/// What the producer says of the receipt of an unconfirmed release.
fn word(finding: &Finding, told: &Acknowledged) -> Option<bool> {
    let (log, producer) = finding.producer_log.as_ref().zip(finding.producer.as_ref())?;
    told.of(log.as_str(), producer.index)
}

fn to_json(found: &Reconciliation, told: &Acknowledged) -> Value {
    let trace = |t: &Option<Trace>| {
        t.as_ref().map(|t| {
            json!({
                "index": t.index, "leaf": t.leaf.to_string(), "event": t.event, "attempt": t.attempt,
                "at": t.at.to_rfc3339(), "at_us": t.at.get(), "outcome": t.outcome,
                "reason": t.reason.map(unefois_core::Reason::as_str),
            })
        })
    };
    let finding = |f: &Finding| {
        let fields = match &f.cause {
            unefois_auditor::reconcile::Cause::Differs(fields) => fields.clone(),
            _ => Vec::new(),
        };
        json!({
            "exchange_id": f.exchange.to_string(), "requester": f.requester, "provider": f.provider,
            "acknowledged": word(f, told), "weight": f.weight.as_str(), "cause": f.cause.as_str(), "fields": fields,
            "producer": trace(&f.producer), "consumer": trace(&f.consumer),
        })
    };
    let hours: Vec<Value> = (found.hours.iter())
        .map(|hour| {
            let end =
                |n: usize| json!({"count": hour.ends[n].count, "digest": hour.ends[n].digest.to_string()});
            json!({"hour": hour.at.to_rfc3339(), "agrees": hour.agrees(), "ends": [end(0), end(1)]})
        })
        .collect();
    json!({
        "ends": found.ends, "exchanges": found.exchanges, "agrees": found.agrees(), "hours": hours,
        "unnumbered": found.unnumbered,
        "findings": found.findings.iter().map(finding).collect::<Vec<_>>(),
    })
}

fn to_text(found: &Reconciliation, told: &Acknowledged) -> String {
    let [one, other] = found.ends.map(|end| end.siret().to_string());
    let different = found.hours.iter().filter(|hour| !hour.agrees()).count();
    let mut text = format!(
        "{one} ↔ {other} : {} échange(s), {} heure(s) comparée(s), {different} différente(s)\n",
        found.exchanges,
        found.hours.len(),
    );
    for (weight, title) in [
        (Weight::Fault, "Désaccords"),
        (Weight::Unconfirmed, "Envoyés, réception non confirmée"),
        (Weight::Explained, "Fins différentes, expliquées par une entrée"),
        (Weight::UnderWay, "Peut-être en cours"),
    ] {
        let of_weight: Vec<&Finding> = found.findings.iter().filter(|f| f.weight == weight).collect();
        if !of_weight.is_empty() {
            text += &format!("{title} : {}\n", of_weight.len());
            text.extend(
                of_weight
                    .into_iter()
                    .map(|finding| line(finding, word(finding, told))),
            );
        }
    }
    let unnumbered: u64 = found.unnumbered.iter().sum();
    if unnumbered > 0 {
        text += &format!("Refus d'appels sans identifiant, qui ne se rapprochent pas : {unnumbered}\n");
    }
    if found.agrees() {
        text += "Les deux registres concordent.\n";
    }
    text
}

fn line(finding: &Finding, acknowledged: Option<bool>) -> String {
    use unefois_auditor::reconcile::Cause;
    let end = |trace: &Option<Trace>| match trace {
        None => "–".to_owned(),
        Some(t) => {
            let reason = t.reason.map(|reason| format!(" {reason}")).unwrap_or_default();
            format!(
                "{}{reason} (entrée {}, {})",
                event_fr(t.event),
                t.index,
                instant(t.at)
            )
        }
    };
    let fields = match &finding.cause {
        Cause::Differs(fields) => format!(" : {}", fields.join(", ")),
        _ => String::new(),
    };
    let word = match acknowledged {
        None => "",
        Some(true) => {
            "    le producteur dit que le demandeur l'a confirmée depuis : rien d'autre ne le montre\n"
        }
        Some(false) => "    le producteur ne connaît pas de confirmation non plus\n",
    };
    format!(
        "  {} : {}{fields}\n    producteur : {}\n    demandeur : {}\n{word}",
        finding.exchange,
        finding.cause.text_fr(),
        end(&finding.producer),
        end(&finding.consumer)
    )
}

fn instant(at: Micros) -> String {
    at.to_rfc3339()
}

/// The word of an event that an exchange ends with, in French.
const fn event_fr(event: Event) -> &'static str {
    match event {
        Event::Released => "transmis",
        Event::ReleasedAgain => "transmis à nouveau",
        Event::Withheld => "retenu",
        Event::Deferred => "différé",
        Event::Refused => "refusé",
        Event::Received => "reçu",
        Event::Unanswered => "sans réponse",
        _ => event.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exchanges_with_one_who_has_no_log_are_no_agreement() {
        let one = |exchanges, unread: Option<&str>| Uncompared {
            one: "urn:unefois:participant:18003506500010".parse().unwrap(),
            other: "urn:unefois:participant:21920023500014".parse().unwrap(),
            exchanges,
            unread: unread.map(str::to_owned),
        };
        assert!(hidden(&[]).is_none());
        assert!(hidden(&[one(0, None)]).is_none(), "there is nothing to compare");
        let all = [one(0, None), one(2, None), one(3, Some("away"))];
        let told = hidden(&all).unwrap().to_string();
        assert!(told.contains("5 échange(s) avec 2 participant(s)"), "{told}");
        assert!(all[1].to_text().contains("2 échange(s), non comparé(s)"));
        assert_eq!(all[1].to_json()["uncompared"]["cause"], "no_log");
        assert_eq!(all[2].to_json()["uncompared"]["cause"], "unread");
    }
}
