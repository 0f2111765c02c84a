//! Whether the two ends of one exchange say the same, by what each shows of it.

use serde_json::{Value, json};
use unefois_auditor::reconcile::{Cause, End, Finding, Rules, Weight, reconcile};
use unefois_auditor::{Row, Visited};
use unefois_core::{Event, Micros, ParticipantId, Sha256};

use super::Shown;
use crate::failure::{Failure, Kind};

/// One end of an exchange: whose, and what its logs show of it.
pub(super) type Side<'a> = (ParticipantId, &'a [Shown]);

/// What comes of comparing both ends.
#[derive(Debug, Default)]
pub(super) struct Ends {
    facts: Vec<Fact>,
    findings: Vec<Finding>,
}

/// One thing that both ends say, or do not.
#[derive(Debug)]
struct Fact {
    what: &'static str,
    holds: bool,
}

impl Ends {
    /// Compares the entries by which an attestation left with those by which it arrived, and judges all of them as
    /// `audit reconcile` does.
    ///
    /// # Errors
    /// There are more entries than are compared.
    pub(super) fn compare(one: Side<'_>, other: Side<'_>, rules: &Rules) -> Result<Self, Failure> {
        let rows = |(_, shown): Side<'_>| shown.iter().flat_map(|s| s.rows.clone()).collect::<Vec<_>>();
        // A log of neither end holds nothing to pair.
        let is_end = rows(one)
            .iter()
            .any(|row| [row.entry.requester, row.entry.provider].contains(&Some(one.0)));
        let findings = match is_end {
            true => reconcile(&end(one, other.0)?, &end(other, one.0)?, rules).findings,
            false => Vec::new(),
        };
        Ok(Self {
            facts: facts(one.1, other.1),
            findings,
        })
    }

    pub(super) fn facts_to_json(&self) -> Vec<Value> {
        let fact = |fact: &Fact| json!({"what": fact.what, "holds": fact.holds});
        self.facts.iter().map(fact).collect()
    }

    pub(super) fn findings_to_json(&self) -> Vec<Value> {
        let finding = |f: &Finding| json!({"cause": f.cause.as_str(), "weight": f.weight.as_str()});
        self.findings.iter().map(finding).collect()
    }

    pub(super) fn to_text(&self) -> String {
        if self.facts.is_empty() && self.findings.is_empty() {
            return String::new();
        }
        let mut text = "\nLes deux bouts :\n".to_owned();
        for fact in &self.facts {
            text += &format!("  {} : {}\n", fact.what, if fact.holds { "oui" } else { "NON" });
        }
        for Finding { cause, weight, .. } in &self.findings {
            let weighs = match weight {
                Weight::Fault => " : DÉSACCORD",
                Weight::Unconfirmed => "",
                Weight::Explained => " (une entrée l'explique)",
                Weight::UnderWay => " (peut-être encore en cours)",
            };
            text += &format!("  {}{weighs}\n", cause.text_fr());
        }
        text
    }

    /// Whether both ends say the same.
    ///
    /// # Errors
    /// They do not, or what left is not seen to have arrived.
    pub(super) fn agree(&self) -> Result<(), Failure> {
        let weighs = |weight| self.findings.iter().any(|finding| finding.weight == weight);
        if weighs(Weight::Fault) || !self.facts.iter().all(|fact| fact.holds) {
            let failure = Failure::new(Kind::No, "les deux bouts ne disent pas la même chose");
            return Err(failure
                .next("tapez : unefois audit reconcile, puis montrez les deux têtes aux deux participants"));
        }
        if weighs(Weight::Unconfirmed) {
            let failure = Failure::new(Kind::No, Cause::Unconfirmed.text_fr());
            return Err(failure.next("demandez au demandeur ce que son système a reçu de cet échange"));
        }
        Ok(())
    }
}

/// What `participant` shows of an exchange with `other`.
fn end((participant, shown): Side<'_>, other: ParticipantId) -> Result<End, Failure> {
    let always = Micros::new(i64::MIN)..Micros::new(i64::MAX);
    let mut end = End::new(participant, always, Some(other));
    for one in shown {
        let log = end.log(&one.log.origin);
        for row in &one.rows {
            let taken = end.take(
                log,
                Visited {
                    index: row.index,
                    leaf: &row.leaf,
                    entry: &row.entry,
                    bytes: &row.bytes,
                },
            );
            taken.map_err(|e| Failure::new(Kind::Data, "cet échange a trop d'entrées").because(e))?;
        }
    }
    Ok(end)
}

/// What each `received` of either end says of the release that it names.
fn facts(shown: &[Shown], other: &[Shown]) -> Vec<Fact> {
    let rows = || shown.iter().chain(other).flat_map(|shown| &shown.rows);
    let left = |row: &&Row| matches!(row.entry.event, Event::Released | Event::ReleasedAgain);
    let mut facts = Vec::new();
    for received in rows().filter(|row| row.entry.event == Event::Received) {
        let named = received.entry.peer_entry_hash;
        let release = rows()
            .filter(left)
            .find(|row| Some(Sha256::from_bytes(*row.leaf.as_bytes())) == named);
        facts.push(Fact {
            what: "l'entrée « reçu » nomme l'entrée « transmis » de l'autre bout",
            holds: release.is_some(),
        });
        let Some(release) = release else { continue };
        let (one, two) = (&release.entry, &received.entry);
        for (what, holds) in [
            (
                "même contenu (engagement)",
                one.content_commit == two.content_commit,
            ),
            (
                "même autorisation (engagement)",
                one.grant_commit == two.grant_commit,
            ),
            ("même demande (empreinte)", one.request_hash == two.request_hash),
            (
                "mêmes demandeur et producteur",
                (one.requester, one.provider) == (two.requester, two.provider),
            ),
            ("même donnée", one.datatype == two.datatype),
            ("mêmes éléments", one.units == two.units),
        ] {
            facts.push(Fact { what, holds });
        }
    }
    facts
}

/// Whether data that left or arrived by `rows` is seen at the other end, too, which shows so many entries: what was not
/// compared is not sound.
pub(super) fn seen_at_both_ends<'r>(
    mut rows: impl Iterator<Item = &'r Row>,
    other: Result<usize, Failure>,
) -> Result<(), Failure> {
    let passed = |row: &Row| {
        matches!(
            row.entry.event,
            Event::Released | Event::ReleasedAgain | Event::Received
        )
    };
    if !rows.any(passed) {
        return Ok(());
    }
    match other {
        Ok(0) => Err(Failure::new(
            Kind::No,
            "l'autre bout ne montre rien de cet échange, où des données sont parties ou arrivées",
        )
        .next("tapez : unefois audit reconcile, puis demandez son explication à l'autre participant")),
        Ok(_) => Ok(()),
        Err(unread) => Err(unread),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::row;
    use super::*;

    #[test]
    fn what_passed_and_is_not_seen_at_the_other_end_is_not_sound() {
        let unread = || Err(Failure::new(Kind::Unreachable, "no answer"));
        let kind = |event, other| {
            let seen = seen_at_both_ends([row(0, event)].iter(), other);
            seen.err().map(|failure| failure.kind)
        };
        for event in [Event::Released, Event::ReleasedAgain, Event::Received] {
            assert_eq!(kind(event, Ok(0)), Some(Kind::No));
            assert_eq!(kind(event, unread()), Some(Kind::Unreachable));
            assert_eq!(kind(event, Ok(1)), None);
        }
        assert_eq!(kind(Event::Refused, Ok(0)), None);
        assert_eq!(kind(Event::Refused, unread()), None);
    }
}
