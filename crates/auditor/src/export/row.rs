//! One entry as a row: the names of its fields, in the order of the entry, and their texts.

use unefois_core::catalogue::{Catalogue, UnitSet};
use unefois_core::{DatatypeRev, Entry, ParticipantId, Sha256};
use unefois_tlog::Origin;

use crate::Visited;

/// What a column holds, for programs that guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// A word or a sentence of ours.
    Word,
    /// A name that a program must not take for a number, a date or a formula.
    Name,
    /// A small number.
    Number,
}

/// The columns, in their order.
pub(super) const COLUMNS: &[(&str, Holds)] = &[
    ("origin", Holds::Name),
    ("index", Holds::Number),
    ("leaf", Holds::Name),
    ("event", Holds::Word),
    ("exchange_id", Holds::Name),
    ("attempt", Holds::Number),
    ("at", Holds::Word),
    ("at_us", Holds::Name),
    ("requester", Holds::Name),
    ("provider", Holds::Name),
    ("holder", Holds::Name),
    ("publisher", Holds::Name),
    ("datatype", Holds::Name),
    ("demarche", Holds::Name),
    ("habilitation", Holds::Name),
    ("legal_basis", Holds::Name),
    ("capacity", Holds::Word),
    ("acr", Holds::Word),
    ("units", Holds::Name),
    ("unit_names", Holds::Name),
    ("outcome", Holds::Word),
    ("reason", Holds::Word),
    ("directory_version", Holds::Number),
    ("view_epoch", Holds::Number),
    ("view_seq", Holds::Number),
    ("grant_commit", Holds::Name),
    ("content_commit", Holds::Name),
    ("dossier_commit", Holds::Name),
    ("actor_commit", Holds::Name),
    ("request_hash", Holds::Name),
    ("peer_origin_hash", Holds::Name),
    ("peer_entry_hash", Holds::Name),
    ("evidence_commit", Holds::Name),
];

/// The text of each column; empty where the entry says nothing.
pub(super) fn texts(origin: &Origin, visited: &Visited<'_>, catalogue: &Catalogue) -> Vec<String> {
    fn text<T: ToString>(value: &Option<T>) -> String {
        value.as_ref().map(T::to_string).unwrap_or_default()
    }
    let participant = |id: &Option<ParticipantId>| text(id);
    let digest = |digest: &Option<Sha256>| text(digest);
    let entry = visited.entry;
    vec![
        origin.to_string(),
        visited.index.to_string(),
        Sha256::from_bytes(*visited.leaf.as_bytes()).to_string(),
        entry.event.to_string(),
        text(&entry.exchange_id),
        entry.attempt.to_string(),
        entry.at.to_rfc3339(),
        entry.at.get().to_string(),
        participant(&entry.requester),
        participant(&entry.provider),
        text(&entry.holder),
        participant(&entry.publisher),
        text(&entry.datatype),
        text(&entry.demarche),
        text(&entry.habilitation),
        text(&entry.legal_basis),
        text(&entry.capacity),
        text(&entry.acr),
        places(entry).map(|n| n.to_string()).collect::<Vec<_>>().join(" "),
        unit_names(entry, catalogue).join(" "),
        text(&entry.outcome),
        text(&entry.reason),
        entry.directory_version.to_string(),
        entry.view.epoch.to_string(),
        entry.view.seq.to_string(),
        digest(&entry.grant_commit),
        digest(&entry.content_commit),
        digest(&entry.dossier_commit),
        digest(&entry.actor_commit),
        digest(&entry.request_hash),
        digest(&entry.peer_origin_hash),
        digest(&entry.peer_entry_hash),
        digest(&entry.evidence_commit),
    ]
}

/// The numbers of the entry's units.
pub(super) fn places(entry: &Entry) -> impl Iterator<Item = usize> {
    UnitSet::from_bits(entry.units).iter()
}

/// Their names, if the catalogue has the revision and all of them.
pub(super) fn unit_names(entry: &Entry, catalogue: &Catalogue) -> Vec<String> {
    let datatype = entry
        .datatype
        .as_ref()
        .and_then(|rev: &DatatypeRev| catalogue.datatype(rev));
    let Some(datatype) = datatype else {
        return Vec::new();
    };
    let units = &datatype.sheet().units;
    let names = places(entry).map(|n| units.get(n).map(|unit| unit.name.to_string()));
    names.collect::<Option<Vec<_>>>().unwrap_or_default()
}
