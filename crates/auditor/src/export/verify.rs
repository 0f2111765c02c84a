//! Verifying a bundle, with nothing but its folder and a thumbprint that is known otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use unefois_core::catalogue::Catalogue;
use unefois_core::{Entry, EntryFilter, Micros, Sha256, in_line};
use unefois_jose::Thumbprint;
use unefois_tlog::{
    Checkpoint, Hash, MAX_RECEIPT_BYTES, Receipt, SignedCheckpoint, TILE_WIDTH, Tile, TileId, VerifierKey,
};

use super::FORMAT;
use super::bundle::{decode, entries_path, proof_path, split};
use super::manifest::{Count, Kind, Manifest};
use super::skeleton::{Part, bundle, fold, root};

/// The largest manifest: its longest part is one line a file.
const MAX_MANIFEST_BYTES: u64 = 64 * 1024 * 1024;
/// The largest other file: the directory and the catalogue.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;
/// How deep folders lie: `entries/x001/x234/067.p/3` and its like.
const MAX_DEPTH: usize = 10;

/// Why an export does not verify.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A file or folder cannot be read.
    #[error("{} cannot be read", in_line(&path.to_string_lossy()))]
    Unread {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is there that the manifest does not name, or that is no plain file.
    #[error("{} is not of the export", in_line(.0))]
    Stranger(String),
    /// A file that the manifest names, or that the proof needs, is not there.
    #[error("{} is missing", in_line(.0))]
    Missing(String),
    /// A file is not the one that the manifest names.
    #[error("{} was changed: its digest is another", in_line(.0))]
    Changed(String),
    /// A file is too large to be what it is named.
    #[error("{} is too large", in_line(.0))]
    TooLarge(String),
    /// A file does not read as what it is named.
    #[error("{} is malformed", in_line(.0))]
    Malformed(String),
    /// The head does not verify.
    #[error("the head is not signed by the log's key")]
    Head(#[source] unefois_tlog::Error),
    /// The entries and tiles do not give the signed root.
    #[error("the entries do not hash to the signed root")]
    Root,
    /// An entry's proof does not hold.
    #[error("the proof of entry {index} does not hold")]
    Proof {
        /// Which.
        index: u64,
        /// Why.
        #[source]
        source: unefois_tlog::Error,
    },
    /// An entry is not one.
    #[error("an entry does not hold")]
    Entry(#[source] crate::Error),
    /// The manifest says what its files do not.
    #[error("the manifest's {0} is not what the files say")]
    Manifest(&'static str),
    /// The directory is not signed by the pinned key.
    #[error("the directory is not signed by the pinned key")]
    Directory(#[source] unefois_jose::directory::DirectoryRefused),
    /// The directory does not give this log this key.
    #[error("the directory does not give this log this key")]
    Key,
    /// The catalogue is not the one that the directory names.
    #[error("the catalogue is not the one that the directory names")]
    Catalogue(#[source] unefois_core::catalogue::CatalogueError),
}

/// An export that holds.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What it is.
    pub manifest: Manifest,
    /// Whether the key of the log was found in a directory signed by the pinned key; else it is the folder's word.
    pub anchored: bool,
}

/// Verifies the export in `folder`: its files, its proof and, with `pin`, the thumbprint of the key that signs
/// directories, whose log it is. `progress` is told how many entries were read, of how many.
///
/// # Errors
/// The first thing that does not hold.
pub fn verify_export(
    folder: &Path,
    pin: Option<&Thumbprint>,
    mut progress: impl FnMut(u64, u64),
) -> Result<Checked, Fault> {
    let text = read_limited(folder, "manifest.json", MAX_MANIFEST_BYTES)?;
    let sum = format!("{}  manifest.json\n", Sha256::of(&text));
    if read(folder, "manifest.sha256")? != sum.as_bytes() {
        return Err(Fault::Changed("manifest.json".to_owned()));
    }
    let malformed = |name: &str| Fault::Malformed(name.to_owned());
    let manifest: Manifest = serde_json::from_slice(&text).map_err(|_| malformed("manifest.json"))?;
    let (size, span) = (manifest.size, manifest.range);
    if manifest.format != FORMAT || span.first > span.end || span.end > size {
        return Err(malformed("manifest.json"));
    }
    check_files(folder, &manifest)?;
    let folder = Folder {
        root: folder,
        files: &manifest.files,
    };

    let key = String::from_utf8(folder.read("vkey")?).map_err(|_| malformed("vkey"))?;
    let key: VerifierKey = key.trim_end().parse().map_err(|_| malformed("vkey"))?;
    let checkpoint = folder.read("checkpoint")?;
    let signed = SignedCheckpoint::parse(&checkpoint).map_err(Fault::Head)?;
    let head = signed.verify(&key).map_err(Fault::Head)?;
    if head.origin.as_str() != manifest.origin {
        return Err(Fault::Manifest("origin"));
    }
    if (head.size, head.root.to_string()) != (size, manifest.root.clone()) {
        return Err(Fault::Manifest("root"));
    }
    let filter: EntryFilter = manifest.filter.parse().map_err(|_| malformed("manifest.json"))?;
    let mut judged = Judged {
        filter,
        count: Count::default(),
        at: Micros::new(i64::MIN),
    };
    match manifest.kind {
        Kind::Filtered => proofs(&folder, &manifest, &key, &mut judged, &mut progress)?,
        Kind::Whole | Kind::Range => ranges(&folder, &manifest, head, &mut judged, &mut progress)?,
    }
    if !judged.count.is_of(&manifest) {
        return Err(Fault::Manifest("count"));
    }
    let directory = folder.read("directory.json")?;
    let anchored = match pin {
        Some(pin) => {
            anchor(&folder, &manifest, &directory, &key, pin)?;
            true
        }
        None => false,
    };
    Ok(Checked { manifest, anchored })
}

/// The directory says whose log this is, and names the catalogue.
fn anchor(
    folder: &Folder<'_>,
    manifest: &Manifest,
    jws: &[u8],
    key: &VerifierKey,
    pin: &Thumbprint,
) -> Result<(), Fault> {
    let malformed = || Fault::Malformed("directory.json".to_owned());
    let jws = std::str::from_utf8(jws).map_err(|_| malformed())?;
    let directory = unefois_jose::directory::verify(jws, pin).map_err(Fault::Directory)?;
    let (row, log) = directory.log(&manifest.origin).ok_or(Fault::Key)?;
    if row.id != manifest.participant || log.vkey != key.to_string() {
        return Err(Fault::Key);
    }
    if directory.version() != manifest.directory {
        return Err(Fault::Manifest("directory"));
    }
    let catalogue = folder.read("catalogue.json")?;
    Catalogue::from_bytes(&catalogue, directory.catalogue_hash()).map_err(Fault::Catalogue)?;
    Ok(())
}

struct Folder<'a> {
    root: &'a Path,
    files: &'a BTreeMap<String, String>,
}

impl Folder<'_> {
    /// A file that the manifest names, with the digest that it names.
    fn read(&self, path: &str) -> Result<Vec<u8>, Fault> {
        let digest = self
            .files
            .get(path)
            .ok_or_else(|| Fault::Missing(path.to_owned()))?;
        let bytes = read(self.root, path)?;
        match Sha256::of(&bytes).to_string() == *digest {
            true => Ok(bytes),
            false => Err(Fault::Changed(path.to_owned())),
        }
    }
}

fn read(folder: &Path, path: &str) -> Result<Vec<u8>, Fault> {
    read_limited(folder, path, MAX_FILE_BYTES)
}

fn read_limited(folder: &Path, path: &str, most: u64) -> Result<Vec<u8>, Fault> {
    let full = folder.join(path);
    let unread = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => Fault::Missing(path.to_owned()),
        _ => Fault::Unread {
            path: full.clone(),
            source,
        },
    };
    let told = std::fs::symlink_metadata(&full).map_err(unread)?;
    if !told.is_file() {
        return Err(Fault::Stranger(path.to_owned()));
    }
    if told.len() > most {
        return Err(Fault::TooLarge(path.to_owned()));
    }
    std::fs::read(&full).map_err(unread)
}

/// Every file that the manifest names is there with its digest, and no other.
fn check_files(folder: &Path, manifest: &Manifest) -> Result<(), Fault> {
    let mut found = BTreeSet::new();
    list(folder, "", 0, &mut found)?;
    for own in ["manifest.json", "manifest.sha256"] {
        found.remove(own);
    }
    if let Some(missing) = manifest.files.keys().find(|path| !found.contains(*path)) {
        return Err(Fault::Missing(missing.clone()));
    }
    if let Some(stranger) = found.iter().find(|path| !manifest.files.contains_key(*path)) {
        return Err(Fault::Stranger(stranger.clone()));
    }
    let needed = [
        "LISEZMOI.txt",
        "checkpoint",
        "vkey",
        "directory.json",
        "catalogue.json",
    ];
    if let Some(missing) = needed.iter().find(|path| !manifest.files.contains_key(**path)) {
        return Err(Fault::Missing((*missing).to_owned()));
    }
    let of_files = Folder {
        root: folder,
        files: &manifest.files,
    };
    // The others are read, and compared, where they are used.
    for path in needed {
        of_files.read(path)?;
    }
    Ok(())
}

fn list(folder: &Path, below: &str, depth: usize, found: &mut BTreeSet<String>) -> Result<(), Fault> {
    let unread = |source| Fault::Unread {
        path: folder.join(below),
        source,
    };
    for file in std::fs::read_dir(folder.join(below)).map_err(unread)? {
        let file = file.map_err(unread)?;
        let name = file.file_name();
        let name = name.to_str().ok_or_else(|| Fault::Stranger(below.to_owned()))?;
        let path = if below.is_empty() {
            name.to_owned()
        } else {
            format!("{below}/{name}")
        };
        let kind = file.file_type().map_err(unread)?;
        match (kind.is_dir(), kind.is_file()) {
            (true, _) if depth < MAX_DEPTH => {
                let before = found.len();
                list(folder, &path, depth + 1, found)?;
                // A folder without a file is nobody's.
                if found.len() == before {
                    return Err(Fault::Stranger(path));
                }
            }
            (false, true) => {
                found.insert(path);
            }
            _ => return Err(Fault::Stranger(path)),
        }
    }
    Ok(())
}

/// What is judged of each entry.
struct Judged {
    filter: EntryFilter,
    count: Count,
    at: Micros,
}

impl Judged {
    fn take(&mut self, index: u64, bytes: &[u8]) -> Result<bool, Fault> {
        let entry: Entry = decode(index, bytes).map_err(Fault::Entry)?;
        if entry.at < self.at {
            return Err(Fault::Entry(crate::Error::TimeWentBack { index }));
        }
        self.at = entry.at;
        let within = self.filter.matches(index, &entry);
        if within {
            self.count.add(index, &entry);
        }
        Ok(within)
    }
}

/// A whole log, or a range: the root from the entries and the tiles.
fn ranges(
    folder: &Folder<'_>,
    manifest: &Manifest,
    head: &Checkpoint,
    judged: &mut Judged,
    progress: &mut impl FnMut(u64, u64),
) -> Result<(), Fault> {
    let (size, covered) = (manifest.size, manifest.range.first..manifest.range.end);
    let width = u64::from(TILE_WIDTH);
    let to_bundles =
        covered.start.is_multiple_of(width) && (covered.end.is_multiple_of(width) || covered.end == size);
    let all = covered == (0..size);
    if !to_bundles || covered.is_empty() || (manifest.kind == Kind::Whole && !all) {
        return Err(Fault::Manifest("range"));
    }
    let mut used = BTreeSet::new();
    let rebuilt = root(size, &covered, &mut |part| {
        let Part::Entries(n) = part else {
            let id = part.tile(size).map_err(|_| Fault::Root)?.ok_or(Fault::Root)?;
            let path = id.to_string();
            let tile = Tile::from_bytes(id, &folder.read(&path)?);
            let tile = tile.map_err(|_| Fault::Malformed(path.clone()))?;
            used.insert(path);
            return part.within(&tile).ok_or(Fault::Root);
        };
        let places = bundle(n, size);
        let count = places.end - places.start;
        let id = u16::try_from(count)
            .ok()
            .and_then(|width| TileId::new(0, n, width).ok());
        let path = entries_path(id.ok_or(Fault::Root)?);
        let bytes = folder.read(&path)?;
        let entries = split(&bytes).filter(|entries| entries.len() as u64 == count);
        let entries = entries.ok_or_else(|| Fault::Malformed(path.clone()))?;
        for (index, entry) in places.clone().zip(&entries) {
            judged.take(index, entry)?;
        }
        used.insert(path);
        progress(places.end - covered.start, covered.end - covered.start);
        let leaves: Vec<Hash> = entries.iter().map(|entry| Hash::of_leaf(entry)).collect();
        fold(&leaves).ok_or(Fault::Root)
    })?;
    if rebuilt != head.root {
        return Err(Fault::Root);
    }
    unused(manifest, &used)?;
    borders(manifest, judged)
}

/// What was asked for by time is whole: the entries beside it are there, and outside of it.
fn borders(manifest: &Manifest, judged: &Judged) -> Result<(), Fault> {
    // Every entry in the range was held against the conditions, and those that met them were counted; a neighbour that
    // is not there could meet them too.
    let span = judged.count.selected.ok_or(Fault::Manifest("count"))?;
    let before =
        span.first > manifest.range.first || span.first == 0 || judged.filter.first == Some(span.first);
    let after =
        span.end < manifest.range.end || span.end == manifest.size || judged.filter.end == Some(span.end);
    match before && after && judged.count.entries == span.end - span.first {
        true => Ok(()),
        false => Err(Fault::Manifest("range")),
    }
}

/// Some entries, each with its proof under the one head.
fn proofs(
    folder: &Folder<'_>,
    manifest: &Manifest,
    key: &VerifierKey,
    judged: &mut Judged,
    progress: &mut impl FnMut(u64, u64),
) -> Result<(), Fault> {
    if manifest.range.first != 0 || manifest.range.end != manifest.size {
        return Err(Fault::Manifest("range"));
    }
    let checkpoint = folder.read("checkpoint")?;
    let mut used = BTreeSet::new();
    let mut receipts = BTreeMap::new();
    for path in manifest.files.keys().filter(|path| path.starts_with("proofs/")) {
        let malformed = || Fault::Malformed(path.clone());
        let bytes = folder.read(path)?;
        let text = String::from_utf8(bytes).map_err(|_| malformed())?;
        let small = text.len() <= MAX_RECEIPT_BYTES;
        let receipt: Receipt = text.parse().map_err(|_| malformed())?;
        if !small || proof_path(receipt.index()) != *path || receipt.to_string() != text {
            return Err(malformed());
        }
        used.insert(path.clone());
        receipts.insert(receipt.index(), receipt);
    }
    for (read, (index, receipt)) in (1..).zip(&receipts) {
        let path = proof_path(*index);
        let entry = receipt
            .unauthenticated_extra()
            .ok_or_else(|| Fault::Malformed(path.clone()))?;
        if receipt.checkpoint().as_str().as_bytes() != checkpoint {
            return Err(Fault::Malformed(path));
        }
        let leaf = Hash::of_leaf(entry);
        let held = receipt.verify(&leaf, key);
        held.map_err(|source| Fault::Proof {
            index: *index,
            source,
        })?;
        if !judged.take(*index, entry)? {
            return Err(Fault::Manifest("filter"));
        }
        progress(read, receipts.len() as u64);
    }
    unused(manifest, &used)
}

/// Every entry, tile and proof that is there was needed.
fn unused(manifest: &Manifest, used: &BTreeSet<String>) -> Result<(), Fault> {
    let proof = |path: &str| path.contains('/');
    match manifest
        .files
        .keys()
        .find(|path| proof(path) && !used.contains(*path))
    {
        Some(stranger) => Err(Fault::Stranger(stranger.clone())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_the_folder_commands_no_terminal() {
        let fault = Fault::Stranger("a\u{1b}[2J\nUF-0000".to_owned());
        assert_eq!(fault.to_string(), "a\\u{1b}[2J\\u{a}UF-0000 is not of the export");
    }
}
