//! The operator's check of a log in its database: everything that is stored is recomputed from the entries' bytes.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use tokio::task::JoinSet;
use unefois_core::{Entry, Micros, Outline, ParticipantId, RevocationView};
use unefois_store::Db;
use unefois_store::entry::{Columns, Named, entry_beyond_head, owner};
use unefois_store::head::{self, head_read};
use unefois_store::name::Names;
use unefois_store::page::{Page, entry_page};
use unefois_store::tile::tile_range;
use unefois_tlog::{Checkpoint, Hash, SignedCheckpoint, Tile, Tree, VerifierKey};

use crate::Error;

/// Entries read at once.
const PAGE: u64 = 16_384;
/// The most combinations of names that are kept at hand.
const MAX_NAMED: usize = 65_536;
/// The most faults that are told one by one.
const MAX_FAULTS: u32 = 100;

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The log's origin.
    pub origin: String,
    /// How many entries its head says it has.
    pub size: u64,
    /// How many were read.
    pub read: u64,
    /// The root that the entries make.
    pub root: Hash,
    /// What is wrong with the log: entries, tiles, head. At most 100.
    pub log: Vec<LogFault>,
    /// What is wrong beside it: columns that are not what their entry says. At most 100.
    pub index: Vec<IndexFault>,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.log.is_empty() && self.index.is_empty()
    }
}

/// What is wrong with a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogFault {
    /// The entry is not the one that was signed for.
    Entry(u64),
    /// The entry is not there.
    Missing(u64),
    /// The entry is stored, but beyond the log's head: nothing signs it.
    Beyond(u64),
    /// The entry's instant, or its view of withdrawals, is before that of the one before it.
    Order(u64),
    /// A full tile is missing or is not what the entries make.
    Tile {
        /// Its level.
        level: u8,
        /// Its place in the level.
        index: u64,
    },
    /// The entries do not make the root of the head.
    Root,
    /// The head's signature does not verify, or it signs another head than the one stored.
    Checkpoint,
    /// The head's instant or view is not that of a log with these entries.
    Head,
}

impl fmt::Display for LogFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry(index) => write!(f, "entry {index} was changed"),
            Self::Missing(index) => write!(f, "entry {index} is missing"),
            Self::Beyond(index) => write!(f, "entry {index} is beyond the signed head"),
            Self::Order(index) => write!(f, "entry {index} goes back in time or in its view of withdrawals"),
            Self::Tile { level, index } => write!(f, "tile {level}/{index} is missing or was changed"),
            Self::Root => f.write_str("the entries do not make the signed root"),
            Self::Checkpoint => f.write_str("the signed head does not verify"),
            Self::Head => f.write_str("the head does not belong to these entries"),
        }
    }
}

/// A column that is not what its entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexFault {
    /// The entry.
    pub index: u64,
    /// The column of `ledger_entry`.
    pub column: &'static str,
}

impl fmt::Display for IndexFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {} of entry {} was changed", self.column, self.index)
    }
}

/// Recomputes the log of `origin` from its entries: leaf hashes, tiles, root, signature, order, columns.
///
/// `progress` is called after each page with the entries read and their number. It may run beside the writer.
///
/// # Errors
/// [`Error::OutOfRange`] if the database has no such log; [`Error::Store`]. What is wrong with the log is in the
/// report.
pub async fn verify_database(
    db: &Db,
    origin: &str,
    key: &VerifierKey,
    mut progress: impl FnMut(u64, u64),
) -> Result<Report, Error> {
    let head = head_read(db, origin).await?.ok_or(Error::OutOfRange)?;
    let mut check = Check {
        owner: owner(origin),
        ..Check::default()
    };
    let page = |start: u64| {
        let (db, log, end) = (db.clone(), head.log, head.size.min(start + PAGE));
        async move { entry_page(&db, log, start, end).await }
    };
    // The next page is read while the last one is hashed.
    let mut reading = JoinSet::new();
    if head.size > 0 {
        reading.spawn(page(0));
    }
    while let Some(read) = reading.join_next().await {
        let read = read.expect("reading a page does not panic")?;
        let end = head.size.min(check.next + PAGE);
        if end < head.size {
            reading.spawn(page(end));
        }
        check.page(db, &read, end).await?;
        check.tiles(db, head.log).await?;
        progress(end, head.size);
    }
    for index in entry_beyond_head(db, head.log, MAX_FAULTS).await? {
        check.fault(LogFault::Beyond(index));
    }
    Ok(check.report(&head, origin, key))
}

#[derive(Default)]
struct Check {
    owner: Option<ParticipantId>,
    names: Names,
    /// The columns of the names that were met, by their bytes in an entry.
    named: HashMap<Box<[u8]>, Named>,
    tree: Tree,
    next: u64,
    read: u64,
    at: Option<Micros>,
    view: Option<RevocationView>,
    /// Leaf hashes of the page, to be appended once it is complete.
    leaves: Vec<Hash>,
    log: Vec<LogFault>,
    index: Vec<IndexFault>,
    /// Entries whose bytes do not give the leaf hash noted beside them: one of the two was changed.
    suspects: Vec<u64>,
}

impl Check {
    async fn page(&mut self, db: &Db, page: &Page, end: u64) -> Result<(), Error> {
        if self.named.len() > MAX_NAMED {
            self.named.clear();
        }
        let outlines: Vec<Option<(Outline, &[u8])>> = page
            .rows()
            .map(|(_, _, entry)| Outline::read(entry).ok())
            .collect();
        let mut known: Vec<Option<Named>> = outlines
            .iter()
            .map(|outline| self.named.get(outline.as_ref()?.1).copied())
            .collect();
        // Names that were not met before are decoded, once; those that do not decode stay unknown.
        let mut new: BTreeMap<&[u8], Entry> = BTreeMap::new();
        for ((_, _, entry), (outline, named)) in page.rows().zip(outlines.iter().zip(&known)) {
            if let (Some((_, names)), None) = (outline, named)
                && !new.contains_key(names)
                && let Ok(entry) = Entry::decode(entry)
            {
                new.insert(names, entry);
            }
        }
        self.names.find(db, new.values()).await?;
        for (names, entry) in new {
            let named = Named::of(&entry, self.owner.as_ref(), &self.names);
            self.named.insert(names.into(), named);
        }
        for (outline, named) in outlines.iter().zip(&mut known) {
            if let (Some((_, names)), None) = (outline, &named) {
                *named = self.named.get(*names).copied();
            }
        }
        let read = outlines.into_iter().zip(known);
        for ((idx, columns, entry), (outline, named)) in page.rows().zip(read) {
            while self.next < idx {
                self.missing();
            }
            self.entry(
                idx,
                columns,
                entry,
                outline.map(|(outline, _)| outline).zip(named),
            );
            self.next += 1;
            self.read += 1;
        }
        while self.next < end {
            self.missing();
        }
        Ok(())
    }

    /// An entry that is not there leaves a hole that no entry fills.
    fn missing(&mut self) {
        self.fault(LogFault::Missing(self.next));
        self.leaves.push(Hash::EMPTY);
        self.next += 1;
    }

    fn entry(&mut self, idx: u64, stored: &Columns, entry: &[u8], read: Option<(Outline, Named)>) {
        let leaf = Hash::of_leaf(entry);
        self.leaves.push(leaf);
        let Some((outline, named)) = read else {
            return self.fault(LogFault::Entry(idx));
        };
        if Some(outline.at) < self.at || Some(outline.view) < self.view {
            self.fault(LogFault::Order(idx));
        }
        (self.at, self.view) = (Some(outline.at), Some(outline.view));
        let columns = Columns::with(&outline, &leaf, &named);
        if *stored == columns {
            return;
        }
        for column in stored.differences(&columns) {
            match column {
                "leaf" => self.suspects.push(idx),
                column => self.index_fault(idx, column),
            }
        }
    }

    /// Appends the page and compares the tiles that it completes with those stored, all of one level at once.
    async fn tiles(&mut self, db: &Db, log: i32) -> Result<(), Error> {
        let completed = self.tree.append(&std::mem::take(&mut self.leaves))?;
        for tiles in completed.chunk_by(|a, b| a.id().level() == b.id().level()) {
            let Some(first) = tiles.first().map(Tile::id) else {
                continue;
            };
            let (level, from, count) = (first.level(), first.index(), tiles.len() as u64);
            match tile_range(db, log, level, from, count).await {
                Ok(stored) if stored == tiles => {}
                // Which of them is looked at one by one.
                Ok(_) | Err(unefois_store::Error::Corrupt(_)) => {
                    for tile in tiles {
                        self.tile(db, log, tile).await?;
                    }
                }
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    async fn tile(&mut self, db: &Db, log: i32, tile: &Tile) -> Result<(), Error> {
        let (level, index) = (tile.id().level(), tile.id().index());
        let same = match tile_range(db, log, level, index, 1).await {
            Ok(stored) => stored.first() == Some(tile),
            Err(unefois_store::Error::Corrupt(_)) => false,
            Err(e) => return Err(e.into()),
        };
        if !same {
            self.fault(LogFault::Tile { level, index });
        }
        Ok(())
    }

    fn report(mut self, head: &head::Head, origin: &str, key: &VerifierKey) -> Report {
        // The signed root says which of the two was changed where an entry and its noted hash differ.
        let sound = self.tree.root() == head.root && is_signed(head, key);
        for index in std::mem::take(&mut self.suspects) {
            match sound {
                true => self.index_fault(index, "leaf"),
                false if self.log.contains(&LogFault::Entry(index)) => {}
                false => self.fault(LogFault::Entry(index)),
            }
        }
        if self.tree.root() != head.root {
            self.fault(LogFault::Root);
        }
        if !is_signed(head, key) {
            self.fault(LogFault::Checkpoint);
        }
        let ends = self.at.is_none_or(|at| at == head.at) && self.view.is_none_or(|view| view <= head.view);
        if !ends {
            self.fault(LogFault::Head);
        }
        Report {
            origin: origin.to_owned(),
            size: head.size,
            read: self.read,
            root: self.tree.root(),
            log: self.log,
            index: self.index,
        }
    }

    fn fault(&mut self, fault: LogFault) {
        if self.log.len() < MAX_FAULTS as usize {
            self.log.push(fault);
        }
    }

    fn index_fault(&mut self, index: u64, column: &'static str) {
        if self.index.len() < MAX_FAULTS as usize {
            self.index.push(IndexFault { index, column });
        }
    }
}

/// Whether the stored checkpoint signs the stored head.
fn is_signed(head: &head::Head, key: &VerifierKey) -> bool {
    if head.size == 0 && head.checkpoint.is_empty() {
        return true;
    }
    let expected = key
        .name()
        .as_str()
        .parse()
        .and_then(|origin| Checkpoint::new(origin, head.size, head.root));
    let stored = SignedCheckpoint::parse(head.checkpoint.as_bytes());
    match (stored, expected) {
        (Ok(stored), Ok(expected)) => stored.verify(key).is_ok_and(|said| *said == expected),
        (Err(_), _) | (_, Err(_)) => false,
    }
}
