//! What is taken out of a verified log, to be kept or handed on.
//!
//! Two forms are tables of entries: CSV ([`csv`]) and JSON Lines ([`json_line`], `entry.schema.json`). The third is a
//! *bundle*: a folder that whoever has it verifies alone, with no log to ask ([`verify_export`]).
//!
//! # The bundle's folder
//!
//! | file | holds |
//! | --- | --- |
//! | `manifest.json` | what this is ([`Manifest`]): log, size and root, which entries, by whom, when, the digest of every file |
//! | `manifest.sha256` | the digest of `manifest.json`, as `sha256sum` writes it |
//! | `LISEZMOI.txt` | in plain words, what it is and how to verify it |
//! | `checkpoint` | the log's signed head (C2SP tlog-checkpoint) |
//! | `vkey` | the key that signed it (C2SP signed-note), one line |
//! | `directory.json` | the signed directory (JWS, JSON form) that says whose key that is |
//! | `catalogue.json` | the compiled catalogue that the directory names by its digest |
//! | `entries/<N>[.p/<W>]` | entry bundles (C2SP tlog-tiles): entries 256·N on, each after its length in two bytes |
//! | `tile/<L>/<N>[.p/<W>]` | the hash tiles (C2SP tlog-tiles) that the root needs beside the entries, and no other |
//! | `proofs/<N>.tlog-proof` | in a `filtered` bundle, in the place of the two: one file an entry (C2SP tlog-proof), the entry as its extra data |
//!
//! `<N>` is written as in tlog-tiles: `x001/234`. The `kind` in the manifest is `whole` (every entry, no tile), `range`
//! (the entries of `manifest.range`, without a gap) or `filtered`.
//!
//! # How it is verified
//!
//! Every file is named in the manifest with its SHA-256, and no other is there. The checkpoint is signed by `vkey`. The
//! root is rebuilt, as RFC 6962 defines it, from the leaf hashes of the entries that are there and, for each subtree
//! without any of them, its hash as read from the one tile that has it: level ⌊l/8⌋ for a complete subtree of 2^l leaves,
//! 8 ≤ l, and the partial tile of level 0 for the last leaves. It is the checkpoint's root. So the entries of a `whole`
//! or `range` bundle are those of the log, all of them, in their order. A range asked for by time holds, beside what was
//! asked, the entry before and the one after, so that nothing was left out at its ends.

mod bundle;
mod csv;
mod json;
mod manifest;
mod row;
mod skeleton;
mod verify;

pub use bundle::{BundleWriter, Provenance};
pub use csv::{Dialect, Table};
pub use json::{ENTRY_SCHEMA, json_line};
pub use manifest::{Kind, Manifest, Span};
pub use verify::{Checked, Fault, verify_export};

/// The format of the folder, as `manifest.json` names it.
pub const FORMAT: &str = "unefois/export/v1";

/// The most entries of a filtered bundle, each of which has a file of its own.
pub const MAX_FILTERED: u64 = 10_000;
