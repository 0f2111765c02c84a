//! Writing a bundle: a visitor of one verified reading.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

use unefois_core::entry::MAX_BYTES;
use unefois_core::{Entry, EntryFilter, Micros, ParticipantId, Sha256};
use unefois_tlog::{Hash, Receipt, SignedCheckpoint, TILE_WIDTH, TileId, VerifierKey, inclusion_proof};

use super::manifest::{Count, Kind, Manifest, Span};
use super::skeleton::{Part, Skeleton, root};
use super::{FORMAT, MAX_FILTERED};
use crate::{Error, ReadLog, Visited};

/// Who exports what, with what, and what it rests on.
#[derive(Clone, Copy, Debug)]
pub struct Provenance<'a> {
    /// Whose log.
    pub participant: &'a ParticipantId,
    /// The key of its heads.
    pub key: &'a VerifierKey,
    /// The signed directory that the reader read by.
    pub directory: &'a str,
    /// Its version.
    pub directory_version: u64,
    /// The compiled catalogue that it names.
    pub catalogue: &'a [u8],
    /// Who exports.
    pub exported_by: &'a str,
    /// When.
    pub exported_at: Micros,
    /// The program and its version.
    pub tool: &'a str,
}

/// Writes a bundle into an empty folder while a log is read: [`BundleWriter::take`] each entry of it, then
/// [`BundleWriter::finish`] once its root was confirmed. What is in the folder before that counts for nothing.
#[derive(Debug)]
pub struct BundleWriter {
    folder: PathBuf,
    filter: EntryFilter,
    kind: Kind,
    skeleton: Skeleton,
    count: Count,
    files: BTreeMap<String, String>,
    /// The entries of the bundle under way, each after its length; not of a filtered export.
    bundle: Vec<u8>,
    /// Whether the bundle under way is to be written.
    wanted: bool,
    /// The full bundle before it, while it is not known whether it is wanted.
    before: Option<Vec<u8>>,
    covered: Option<Range<u64>>,
    /// What a filtered export found.
    found: Vec<(u64, Vec<u8>)>,
}

impl BundleWriter {
    /// A bundle in `folder` of the entries that `filter` lets in.
    pub fn new(folder: &Path, filter: EntryFilter) -> Self {
        let bounds = EntryFilter {
            from: None,
            to: None,
            first: None,
            end: None,
            ..filter.clone()
        };
        let kind = match (filter == EntryFilter::default(), bounds == EntryFilter::default()) {
            (true, _) => Kind::Whole,
            (false, true) => Kind::Range,
            (false, false) => Kind::Filtered,
        };
        Self {
            folder: folder.to_owned(),
            filter,
            kind,
            skeleton: Skeleton::default(),
            count: Count::default(),
            files: BTreeMap::new(),
            bundle: Vec::new(),
            wanted: false,
            before: None,
            covered: None,
            found: Vec::new(),
        }
    }

    /// What it will hold.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// How many entries it holds so far.
    pub const fn entries(&self) -> u64 {
        self.count.entries
    }

    /// Takes the next entry of the log.
    ///
    /// # Errors
    /// [`Error::Write`], [`Error::TooManyEntries`].
    pub fn take(&mut self, visited: Visited<'_>) -> Result<(), Error> {
        let Visited {
            index,
            leaf,
            entry,
            bytes,
        } = visited;
        let within = self.filter.matches(index, entry);
        // The entry after the last one shows that nothing is left out behind it.
        let follows = self.count.selected.is_some_and(|span| span.end == index);
        if within {
            self.count.add(index, entry);
        }
        if self.kind == Kind::Filtered {
            if within {
                if self.count.entries > MAX_FILTERED {
                    return Err(Error::TooManyEntries { most: MAX_FILTERED });
                }
                self.found.push((index, bytes.to_vec()));
            }
        } else {
            if (within || follows) && index.is_multiple_of(TILE_WIDTH.into()) {
                // The entry before the first one shows that nothing is left out before it.
                if let Some(before) = self.before.take().filter(|_| within) {
                    self.write_entries(index - u64::from(TILE_WIDTH), &before)?;
                }
            }
            self.wanted |= within || follows;
            let length = u16::try_from(bytes.len()).map_err(|_| Error::Write(too_long()))?;
            self.bundle.extend_from_slice(&length.to_be_bytes());
            self.bundle.extend_from_slice(bytes);
        }
        let place = u64::from(TILE_WIDTH) - 1;
        self.wanted |= self.kind == Kind::Filtered && within;
        self.skeleton
            .push(leaf, self.kind == Kind::Filtered && self.wanted);
        if index & place == place {
            self.close_bundle(index - place)?;
        }
        Ok(())
    }

    /// The bundle that begins at `first` is complete, or the last.
    fn close_bundle(&mut self, first: u64) -> Result<(), Error> {
        let bundle = std::mem::take(&mut self.bundle);
        let wanted = std::mem::take(&mut self.wanted);
        if self.kind == Kind::Filtered {
            return Ok(());
        }
        match wanted {
            true => {
                self.before = None;
                self.write_entries(first, &bundle)
            }
            false => {
                self.before = Some(bundle);
                Ok(())
            }
        }
    }

    fn write_entries(&mut self, first: u64, bundle: &[u8]) -> Result<(), Error> {
        let end = self.skeleton.size().min(first + u64::from(TILE_WIDTH));
        let width = u16::try_from(end - first).unwrap_or(TILE_WIDTH);
        let id = TileId::new(0, first / u64::from(TILE_WIDTH), width).map_err(Error::Head)?;
        let from = self.covered.as_ref().map_or(first, |covered| covered.start);
        self.covered = Some(from..end);
        let path = entries_path(id);
        self.write(&path, bundle)
    }

    fn write(&mut self, path: &str, bytes: &[u8]) -> Result<(), Error> {
        let full = self.folder.join(path);
        let parent = full.parent().unwrap_or(&self.folder);
        let written = std::fs::create_dir_all(parent).and_then(|()| {
            let mut file = File::create_new(&full)?;
            file.write_all(bytes)?;
            file.sync_all()
        });
        written.map_err(Error::Write)?;
        self.files.insert(path.to_owned(), Sha256::of(bytes).to_string());
        Ok(())
    }

    /// Ends the bundle, of the log that was read as `log`: what it holds.
    ///
    /// # Errors
    /// [`Error::Write`]; [`Error::NoEntry`] if no entry was let in.
    pub fn finish(mut self, log: &ReadLog, provenance: &Provenance<'_>) -> Result<Manifest, Error> {
        let size = log.head.size;
        let edge = size - size % u64::from(TILE_WIDTH);
        if edge < size {
            self.close_bundle(edge)?;
        }
        let (Some(selected), Some((first, last))) = (self.count.selected, self.count.written) else {
            return Err(Error::NoEntry);
        };
        let range = match self.kind {
            Kind::Filtered => {
                self.write_proofs(&log.checkpoint)?;
                0..size
            }
            Kind::Whole | Kind::Range => {
                let covered = self.covered.clone().unwrap_or(0..0);
                self.write_tiles(size, &covered)?;
                covered
            }
        };
        self.write("checkpoint", log.checkpoint.as_str().as_bytes())?;
        self.write("vkey", format!("{}\n", provenance.key).as_bytes())?;
        self.write("directory.json", provenance.directory.as_bytes())?;
        self.write("catalogue.json", provenance.catalogue)?;
        let mut manifest = Manifest {
            format: FORMAT.to_owned(),
            kind: self.kind,
            participant: *provenance.participant,
            origin: log.checkpoint.claimed_origin().as_str().to_owned(),
            size,
            root: log.head.root.to_string(),
            range: Span {
                first: range.start,
                end: range.end,
            },
            selected,
            filter: self.filter.to_string(),
            entries: self.count.entries,
            events: self.count.events.clone(),
            written_us: [first.get(), last.get()],
            directory: provenance.directory_version,
            directories_named: self.count.directories.iter().copied().collect(),
            exported_by: provenance.exported_by.to_owned(),
            exported_at: provenance.exported_at.to_rfc3339(),
            tool: provenance.tool.to_owned(),
            files: BTreeMap::new(),
        };
        let readme = read_me(&manifest, &provenance.key.to_string());
        self.write("LISEZMOI.txt", readme.as_bytes())?;
        manifest.files = self.files.clone();
        let text = serde_json::to_string_pretty(&manifest).map_err(|e| Error::Write(e.into()))? + "\n";
        self.write("manifest.json", text.as_bytes())?;
        let sum = format!("{}  manifest.json\n", Sha256::of(text.as_bytes()));
        self.write("manifest.sha256", sum.as_bytes())?;
        Ok(manifest)
    }

    fn write_tiles(&mut self, size: u64, covered: &Range<u64>) -> Result<(), Error> {
        let mut needed = Vec::new();
        let note = &mut |part: Part| {
            needed.extend(part.tile(size)?);
            Ok(Hash::EMPTY)
        };
        root(size, covered, note).map_err(Error::Head)?;
        needed.sort_unstable();
        needed.dedup();
        for id in needed {
            let tile = self.skeleton.tile(id).map_err(Error::Head)?;
            self.write(&id.to_string(), &tile.to_bytes())?;
        }
        Ok(())
    }

    fn write_proofs(&mut self, checkpoint: &SignedCheckpoint) -> Result<(), Error> {
        let size = self.skeleton.size();
        for (index, bytes) in std::mem::take(&mut self.found) {
            let path = inclusion_proof(index, size, |level, node| self.skeleton.node(level, node));
            let receipt = path
                .and_then(|path| Receipt::new(index, path, checkpoint.clone()))
                .and_then(|receipt| receipt.with_extra(bytes));
            let receipt = receipt.map_err(Error::Head)?.to_string();
            self.write(&proof_path(index), receipt.as_bytes())?;
        }
        Ok(())
    }
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "an entry is too long")
}

/// Where the bundle of the entries under tile `id` of level 0 is.
pub(super) fn entries_path(id: TileId) -> String {
    format!("entries/{}", id.to_string().trim_start_matches("tile/0/"))
}

/// Where the proof of entry `index` is.
pub(super) fn proof_path(index: u64) -> String {
    // The one spelling of numbers of tlog-tiles.
    let path = TileId::full(0, index)
        .map(|id| id.to_string())
        .unwrap_or_default();
    format!("proofs/{}.tlog-proof", path.trim_start_matches("tile/0/"))
}

/// The entries of a bundle.
pub(super) fn split(mut bundle: &[u8]) -> Option<Vec<&[u8]>> {
    let mut entries = Vec::new();
    while let Some((length, rest)) = bundle.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length));
        let (entry, rest) = rest.split_at_checked(length).filter(|_| length <= MAX_BYTES)?;
        entries.push(entry);
        bundle = rest;
    }
    (bundle.is_empty() && entries.len() <= usize::from(TILE_WIDTH)).then_some(entries)
}

/// Decodes an entry of a bundle.
pub(super) fn decode(index: u64, bytes: &[u8]) -> Result<Entry, Error> {
    Entry::decode(bytes).map_err(|source| Error::Entry { index, source })
}

fn read_me(manifest: &Manifest, vkey: &str) -> String {
    let Manifest {
        kind,
        participant,
        origin,
        size,
        root,
        entries,
        filter,
        exported_by,
        exported_at,
        tool,
        ..
    } = manifest;
    let complete = match kind {
        Kind::Whole => "Le dossier contient toutes les entrées du registre jusqu'à cette tête.",
        Kind::Range => {
            "Le dossier contient toutes les entrées de la plage demandée, et celles qui la bordent : rien n'y manque."
        }
        Kind::Filtered => {
            "Le dossier contient des entrées choisies. Chacune est prouvée ; rien ne prouve qu'aucune autre ne répond \
             aux conditions. Pour une preuve de complétude, demandez une plage."
        }
    };
    format!(
        "\
EXPORT D'UN REGISTRE D'ÉCHANGES
===============================

Ce dossier est un extrait du registre de {participant}
(journal {origin}), pris par {exported_by}
le {exported_at} avec {tool}.

Nature     : {}
Conditions : {filter}
Entrées    : {entries}
Tête       : {size} entrées, racine {root}

{complete}

Le registre ne contient ni nom, ni identifiant, ni donnée d'une personne : des engagements salés, qui ne s'ouvrent
qu'avec des secrets gardés ailleurs et détruits à leur terme. Traitez-le tout de même comme une donnée personnelle
jusque-là.

CE QUE CONTIENT LE DOSSIER

manifest.json     ce qu'est l'export, et l'empreinte SHA-256 de chaque fichier
manifest.sha256   l'empreinte de manifest.json (sha256sum -c manifest.sha256)
checkpoint        la tête du registre, signée par son propriétaire
vkey              la clé qui l'a signée
directory.json    l'annuaire signé, qui dit à qui est cette clé
catalogue.json    le catalogue que l'annuaire désigne
entries/          les entrées, par paquets de 256 (format C2SP tlog-tiles)
tile/             les empreintes qui complètent l'arbre là où les entrées ne sont pas dans le dossier
proofs/           dans une sélection : une preuve par entrée (format C2SP tlog-proof), à la place des deux

COMMENT LE VÉRIFIER, SANS RÉSEAU

1. Avec le programme :   unefois audit verify-export CE_DOSSIER --pin EMPREINTE
   EMPREINTE est celle de la clé de l'annuaire, que vous tenez d'ailleurs que de ce dossier.
2. Sans lui : un outil Python de 300 lignes, tests/foreign/verify_ledger.py, refait la preuve avec la clé du registre,
   que vous tenez de l'annuaire :   python3 verify_ledger.py export CE_DOSSIER \"{vkey}\"
   Il prouve les entrées du dossier. Que rien ne manque d'une période demandée, le programme seul le vérifie.

Un seul octet changé, un fichier ôté ou ajouté, et la vérification échoue.
",
        kind.text_fr()
    )
}
