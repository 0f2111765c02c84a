//! A producer's log, as far as withdrawals are judged by it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use unefois_core::{DatatypeRev, Event, ExchangeId, Micros, ParticipantId, RevocationView, Sha256};
use unefois_tlog::{Hash, Tree};

use super::finding::Place;
use crate::{Error, Visited};

/// The most releases of one log that are kept: some 200 bytes each. More need a shorter period.
pub const MAX_RELEASES: usize = 2_000_000;
/// How many leaves are added to the tree at once.
const LEAVES: usize = 1_024;

/// What proofs need of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Sizes that it had, whose roots are compared with those that proofs name.
    pub sizes: BTreeSet<u64>,
    /// The first place, and the first view of withdrawals, whose releases matter; `None` where none do.
    pub from: Option<(u64, RevocationView)>,
}

/// A release that was not withheld.
#[derive(Clone, Debug)]
pub(super) struct Release {
    pub(super) index: u64,
    pub(super) exchange: Option<ExchangeId>,
    pub(super) at: Micros,
    pub(super) view: RevocationView,
    pub(super) grant: Option<Sha256>,
    pub(super) publisher: Option<ParticipantId>,
    /// Whether it lies between a `lapsed` and its `resumed`.
    pub(super) closed: bool,
    withheld: bool,
}

/// What a grant's releases have in common, in entries of either end. The provider is whose log it is.
type Terms = (Option<ParticipantId>, Option<DatatypeRev>);

/// One log: filled by visiting the whole of it, from its first entry.
#[derive(Clone, Debug)]
pub struct ProducerLog {
    pub(super) origin: String,
    wanted: Wanted,
    tree: Tree,
    leaves: Vec<Hash>,
    roots: BTreeMap<u64, Hash>,
    by_terms: HashMap<Terms, Vec<Release>>,
    kept: usize,
    /// The latest release of each attempt, until it is withheld.
    out: HashMap<(ExchangeId, u16), (Terms, usize)>,
    lapses: Vec<u64>,
    closed: bool,
}

impl ProducerLog {
    /// The log `origin`, before its first entry.
    pub fn new(origin: String, wanted: Wanted) -> Self {
        let roots = BTreeMap::from([(0, Tree::new().root())]);
        Self {
            origin,
            wanted,
            tree: Tree::new(),
            leaves: Vec::new(),
            roots,
            by_terms: HashMap::new(),
            kept: 0,
            out: HashMap::new(),
            lapses: Vec::new(),
            closed: false,
        }
    }

    /// Takes the next entry.
    ///
    /// # Errors
    /// [`Error::TooManyTraces`].
    pub fn take(&mut self, visited: Visited<'_>) -> Result<(), Error> {
        self.leaves.push(*visited.leaf);
        let size = visited.index + 1;
        let named = self.wanted.sizes.contains(&size);
        if named || self.leaves.len() >= LEAVES {
            // The tree cannot grow beyond the size of a head that was parsed.
            self.tree.append(&self.leaves).map_err(Error::Head)?;
            self.leaves.clear();
        }
        if named {
            self.roots.insert(size, self.tree.root());
        }
        match visited.entry.event {
            Event::Lapsed => {
                self.lapses.push(visited.index);
                self.closed = true;
            }
            Event::Resumed => self.closed = false,
            Event::Released | Event::ReleasedAgain => self.released(visited)?,
            Event::Withheld => self.withheld(visited),
            _ => {}
        }
        Ok(())
    }

    fn released(&mut self, visited: Visited<'_>) -> Result<(), Error> {
        let entry = visited.entry;
        let matters =
            (self.wanted.from).is_some_and(|(first, view)| visited.index >= first || entry.view >= view);
        if !matters && !self.closed {
            return Ok(());
        }
        self.kept += 1;
        if self.kept > MAX_RELEASES {
            return Err(Error::TooManyTraces { most: MAX_RELEASES });
        }
        let terms: Terms = (entry.requester, entry.datatype.clone());
        let releases = self.by_terms.entry(terms.clone()).or_default();
        if let Some(exchange) = entry.exchange_id {
            self.out
                .insert((exchange, entry.attempt), (terms, releases.len()));
        }
        releases.push(Release {
            index: visited.index,
            exchange: entry.exchange_id,
            at: entry.at,
            view: entry.view,
            grant: entry.grant_commit,
            publisher: entry.publisher,
            closed: self.closed,
            withheld: false,
        });
        Ok(())
    }

    /// Closes the release of the same attempt and handle: not one byte of it left.
    fn withheld(&mut self, visited: Visited<'_>) {
        let entry = visited.entry;
        let sending = entry
            .exchange_id
            .and_then(|exchange| self.out.remove(&(exchange, entry.attempt)));
        let Some((terms, number)) = sending else { return };
        let release = self
            .by_terms
            .get_mut(&terms)
            .and_then(|releases| releases.get_mut(number));
        if let Some(release) = release.filter(|release| release.grant == entry.grant_commit) {
            release.withheld = true;
        }
    }

    /// Whether the log had this root when it had this size.
    pub(super) fn had(&self, size: u64, root: &[u8; 32]) -> bool {
        self.roots.get(&size).is_some_and(|had| had.as_bytes() == root)
    }

    /// The first `lapsed` at or beyond a size.
    pub(super) fn lapsed_from(&self, size: u64) -> Option<u64> {
        let at = self.lapses.partition_point(|index| *index < size);
        self.lapses.get(at).copied()
    }

    /// The releases under these terms that matter, in order: all from the place `first` on, or under a view of `view`
    /// at least. Views never go back in a log, so that both are the end of the list.
    pub(super) fn releases(
        &self,
        terms: (Option<ParticipantId>, &Option<DatatypeRev>),
        first: u64,
        view: RevocationView,
    ) -> impl Iterator<Item = &Release> {
        let of_terms = self.by_terms.get(&(terms.0, terms.1.clone()));
        let of_terms = of_terms.map_or(&[][..], Vec::as_slice);
        let start = of_terms.partition_point(|release| release.index < first && release.view < view);
        of_terms[start..].iter().filter(|release| !release.withheld)
    }

    /// All releases kept.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Option<ParticipantId>, &Release)> {
        let all = self.by_terms.iter();
        all.flat_map(|((requester, _), releases)| {
            releases
                .iter()
                .filter(|release| !release.withheld)
                .map(move |release| (requester, release))
        })
    }

    pub(super) fn place(&self, release: &Release) -> Place {
        Place {
            origin: self.origin.clone(),
            index: release.index,
            exchange: release.exchange,
            at: release.at,
        }
    }
}
