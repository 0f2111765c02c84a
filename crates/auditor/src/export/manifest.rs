//! `manifest.json`: what an export is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use unefois_core::{Event, Micros, ParticipantId};

/// What an export is. Nothing in it is proved by itself; what can be checked against the entries, the checkpoint and the
/// directory is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`](super::FORMAT).
    pub format: String,
    /// What it holds.
    pub kind: Kind,
    /// Whose log.
    pub participant: ParticipantId,
    /// The log's origin.
    pub origin: String,
    /// The size of the checkpoint.
    pub size: u64,
    /// Its root, base64.
    pub root: String,
    /// The entries that are in `entries/`, from the first to before the end: those asked for, rounded to whole bundles. Of
    /// a `filtered` export, the places looked at: the whole log.
    pub range: Span,
    /// The entries asked for; of a `filtered` export their first and one more than their last.
    pub selected: Span,
    /// The conditions, in the text form of a filter; `all` without any.
    pub filter: String,
    /// How many entries were asked for and are there.
    pub entries: u64,
    /// How many of them of each event.
    pub events: BTreeMap<Event, u64>,
    /// When the first and the last of them were written, microseconds since 1970-01-01T00:00:00Z.
    pub written_us: [i64; 2],
    /// The version of the directory that is there.
    pub directory: u64,
    /// The versions that the entries rest on, 0 for those that rest on none.
    pub directories_named: Vec<u64>,
    /// Who exported, by the certificate that it was read with.
    pub exported_by: String,
    /// When, RFC 3339.
    pub exported_at: String,
    /// The program and its version.
    pub tool: String,
    /// SHA-256 of every other file but `manifest.sha256`, in hexadecimal, by its path.
    pub files: BTreeMap<String, String>,
}

/// What an export holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Every entry of the log up to the checkpoint.
    Whole,
    /// Every entry from one place to another.
    Range,
    /// Some entries, each with its proof: nothing says that no other meets the conditions.
    Filtered,
}

impl Kind {
    /// In words, in French.
    pub const fn text_fr(self) -> &'static str {
        match self {
            Self::Whole => "registre entier",
            Self::Range => "plage continue, complète",
            Self::Filtered => "sélection d'entrées, dont la complétude n'est pas prouvée",
        }
    }
}

/// Places of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// The first.
    pub first: u64,
    /// One more than the last.
    pub end: u64,
}

/// What is counted of the entries asked for, as they are written and again as they are verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) entries: u64,
    pub(super) events: BTreeMap<Event, u64>,
    pub(super) written: Option<(Micros, Micros)>,
    pub(super) selected: Option<Span>,
    pub(super) directories: std::collections::BTreeSet<u64>,
}

impl Count {
    pub(super) fn add(&mut self, index: u64, entry: &unefois_core::Entry) {
        self.entries += 1;
        *self.events.entry(entry.event).or_default() += 1;
        let (first, _) = self.written.unwrap_or((entry.at, entry.at));
        self.written = Some((first, entry.at));
        let first = self.selected.map_or(index, |span| span.first);
        self.selected = Some(Span {
            first,
            end: index + 1,
        });
        self.directories.insert(entry.directory_version);
    }

    /// Whether `manifest` says the same.
    pub(super) fn is_of(&self, manifest: &Manifest) -> bool {
        let written = self.written.map(|(first, last)| [first.get(), last.get()]);
        self.entries == manifest.entries
            && self.events == manifest.events
            && written == Some(manifest.written_us)
            && self.selected == Some(manifest.selected)
            && self.directories.iter().eq(&manifest.directories_named)
    }
}
