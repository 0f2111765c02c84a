//! `audit impact`: what an incident at one participant, or with one key, concerns.

use clap::Args;
use serde_json::{Value, json};
use unefois_auditor::impact::{Count, FEWEST, Impact as Concerned, People};
use unefois_core::catalogue::UnitSet;
use unefois_core::{DatatypeRev, ParticipantId, Sha256};
use unefois_mesh::Edition;

use super::Reader;
use super::filters::participant;
use super::period::Period;
use super::visit::{Kept, visit};
use super::words::Words;
use crate::command::runtime;
use crate::console::Console;
use crate::failure::{Failure, Kind};

/// `audit impact`.
#[derive(Debug, Args)]
pub struct Impact {
    /// Whose exchanges are looked at: urn:unefois:participant:SIRET, or the SIRET alone.
    #[arg(long, value_parser = participant, value_name = "PARTICIPANT")]
    participant: ParticipantId,
    /// The participant that the incident is at.
    #[arg(long, value_parser = participant, value_name = "PARTICIPANT", required_unless_present = "peer_key")]
    peer: Option<ParticipantId>,
    /// The TLS key that the incident is with: SHA-256 of its SubjectPublicKeyInfo, as the directory lists it. The directory
    /// does not say since when a key was in use: --from does.
    #[arg(long, value_name = "SPKI", conflicts_with = "peer", requires = "from")]
    peer_key: Option<Sha256>,
    #[command(flatten)]
    period: Period,
    /// Why it is asked, in one line; the node records it beside the question of how many people.
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    purpose: String,
    #[command(flatten)]
    kept: Kept,
    #[command(flatten)]
    reader: Reader,
}

/// Runs `audit impact`.
pub fn run(asked: &Impact, console: Console) -> Result<(), Failure> {
    let session = asked.reader.open()?;
    let edition = session.edition();
    let peer = match (asked.peer, asked.peer_key) {
        (Some(peer), _) => peer,
        (None, Some(key)) => owner(edition, &key)?,
        (None, None) => return Err(Failure::new(Kind::Usage, "--peer ou --peer-key est nécessaire")),
    };
    let empty = Concerned::new(peer, asked.period.window());
    let (concerned, people) = runtime()?.block_on(async {
        let concerned = visit(
            &session,
            &asked.participant,
            (&asked.kept, &asked.purpose),
            empty,
            |concerned, log, visited| concerned.take(&log.origin, visited),
            console,
        )
        .await?;
        let logs = session.logs(&asked.participant)?;
        let log = logs.first();
        let log = log.ok_or_else(|| Failure::new(Kind::Data, "ce participant n'a pas de registre"))?;
        let counted = session
            .read(log, async |channel| {
                concerned
                    .people(channel, &asked.participant, &asked.purpose)
                    .await
            })
            .await?;
        Ok::<_, Failure>((concerned, counted))
    })?;
    let value = to_json(asked, peer, &concerned, &people);
    console.data(&value, || to_text(asked, peer, &concerned, &people, edition))
}

/// Whose key it is.
fn owner(edition: &Edition, key: &Sha256) -> Result<ParticipantId, Failure> {
    let rows = &edition.directory.document().participants;
    let found = rows
        .iter()
        .find(|row| row.tls.iter().any(|tls| tls.spki_sha256 == *key));
    found.map(|row| row.id).ok_or_else(|| {
        Failure::new(Kind::Data, "aucun participant de cet annuaire n'a cette clé")
            .next("désignez le participant par --peer, ou prenez l'annuaire d'alors")
    })
}

fn to_json(asked: &Impact, peer: ParticipantId, concerned: &Concerned, people: &People) -> Value {
    let datatypes = concerned.datatypes.iter().map(|(datatype, ends)| {
        let units = datatype.as_ref().map(|rev| concerned.units(rev));
        json!({
            "datatype": datatype, "answered": ends.answered, "later": ends.later, "refused": ends.refused,
            "units": UnitSet::from_bits(units.unwrap_or_default()).iter().collect::<Vec<_>>(),
        })
    });
    json!({
        "participant": asked.participant, "peer": peer, "key": asked.peer_key.map(|key| key.to_string()),
        "exchanges": concerned.exchanges.len(), "sent": concerned.sent.len(),
        "first": concerned.span.map(|(first, _)| first.to_rfc3339()),
        "last": concerned.span.map(|(_, last)| last.to_rfc3339()),
        "datatypes": datatypes.collect::<Vec<_>>(),
        "people": {
            "persons": people.persons.at_most, "few_persons": people.persons.few,
            "entries_with_persons": people.persons.entries,
            "handles": people.handles.at_most, "few_handles": people.handles.few,
            "entries_with_handles": people.handles.entries,
            "entries": people.entries, "in_parts": people.in_parts, "complete": complete(people),
        },
    })
}

/// Whether every entry that was counted in has its people in the index, as far as the node tells.
const fn complete(people: &People) -> bool {
    people.persons.entries == people.entries && !people.persons.few
}

fn to_text(
    asked: &Impact,
    peer: ParticipantId,
    concerned: &Concerned,
    people: &People,
    edition: &Edition,
) -> String {
    let words = Words(edition);
    let mut text = format!(
        "Échanges de {} avec {}, {}\n{} échange(s) concerné(s), dont {} où des données sont parties\n",
        words.participant(&asked.participant),
        words.participant(&peer),
        asked.period.words(),
        concerned.exchanges.len(),
        concerned.sent.len()
    );
    if let Some((first, last)) = concerned.span {
        text += &format!("Du {first} au {last}\n");
    }
    for (datatype, ends) in &concerned.datatypes {
        let name = datatype
            .as_ref()
            .map_or_else(|| "–".to_owned(), |rev| words.datatype(rev));
        text += &format!(
            "- {name} : {} réponse(s), {} refus, {} report(s){}\n",
            ends.answered,
            ends.refused,
            ends.later,
            datatype
                .as_ref()
                .map(|rev| units(rev, concerned, edition))
                .unwrap_or_default()
        );
    }
    text + &counted(people)
}

/// What left of a datatype, in plain words.
fn units(rev: &DatatypeRev, concerned: &Concerned, edition: &Edition) -> String {
    let bits = concerned.units(rev);
    let known = edition.catalogue.datatype(rev);
    let labels = known.map(|datatype| {
        let sheets = datatype.sheets_of(UnitSet::from_bits(bits));
        sheets
            .map(|unit| unit.label.fr.clone())
            .collect::<Vec<_>>()
            .join(", ")
    });
    match labels.filter(|labels| !labels.is_empty()) {
        Some(labels) => format!(" ; données : {labels}"),
        None => String::new(),
    }
}

fn counted(people: &People) -> String {
    if people.entries == 0 {
        return "\nAucune donnée n'est partie : personne n'est concerné.\n".to_owned();
    }
    let mut text = format!(
        "\nPersonnes concernées, sur des jours entiers (UTC) : {} entrée(s)\n",
        people.entries
    );
    text += &format!(
        "{} personne(s) distincte(s), d'après l'index des personnes du nœud\n",
        number(&people.persons, people.in_parts)
    );
    if !complete(people) {
        text += &format!(
            "L'index peut ne nommer personne pour d'autres (le nœud a reçu, ou l'index est détruit) : {} autorisation(s) \
             distincte(s), soit une borne haute du nombre de demandeurs, hors membres de leur foyer\n",
            number(&people.handles, people.in_parts)
        );
    }
    if people.in_parts {
        text += "Compté en deux fois : une même personne peut l'être deux fois.\n";
    }
    text += &format!(
        "Les nombres sont arrondis au multiple de {FEWEST} supérieur, et moins de {FEWEST} ne se distingue pas : personne ne doit \
         être retrouvé ainsi.\n"
    );
    text += "Ce nombre est la parole du nœud : rien ne le prouve. La question et son motif sont inscrits à son registre.\n";
    text + "Violation de données : notification à la CNIL sous 72 heures (RGPD, art. 33), aux personnes si le risque est élevé (art. 34).\n"
}

/// A number as far as the node tells it.
fn number(count: &Count, in_parts: bool) -> String {
    match count.few && !in_parts {
        true => format!("moins de {FEWEST}"),
        false => format!("au plus {}", count.at_most),
    }
}
