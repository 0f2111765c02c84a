//! `audit export` and `audit verify-export`: entries taken out of verified logs, and a bundle verified again.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::{Value, json};
use tempfile::{NamedTempFile, TempDir};
use unefois_auditor::export::{
    BundleWriter, Checked, Dialect, Fault, Manifest, Provenance, Table, json_line, verify_export,
};
use unefois_auditor::{Asked, Error, Visited, read_log};
use unefois_core::{Clock as _, EntryFilter, ParticipantId};
use unefois_jose::Thumbprint;
use unefois_mesh::SystemClock;

use super::filters::{Filters, participant};
use super::reader::{Log, Session};
use super::visit::Kept;
use super::{Heads, Reader};
use crate::command::runtime;
use crate::console::Console;
use crate::failure::{Failure, Kind};
use crate::progress::Progress;

/// `audit export`.
#[derive(Debug, Args)]
pub struct Export {
    /// The participant: urn:unefois:participant:SIRET, or the SIRET alone.
    #[arg(value_parser = participant)]
    participant: ParticipantId,
    /// In what form.
    #[arg(long, value_enum)]
    format: Format,
    /// The file, or for a bundle the folder, to make. Nothing is overwritten.
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
    /// The log, where the participant has several: a bundle is of one.
    #[arg(long, value_name = "ORIGIN")]
    log: Option<String>,
    /// Why it is exported; the log records it.
    #[arg(long, value_name = "TEXT", default_value = "export")]
    purpose: String,
    #[command(flatten)]
    filters: Filters,
    #[command(flatten)]
    kept: Kept,
    #[command(flatten)]
    reader: Reader,
}

/// The form of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// CSV, RFC 4180.
    Csv,
    /// CSV that a French spreadsheet opens without harm.
    CsvExcel,
    /// One JSON object a line.
    Jsonl,
    /// A folder with entries, proofs, keys and directory, which is verified alone.
    Bundle,
}

/// `audit verify-export`.
#[derive(Debug, Args)]
pub struct VerifyExport {
    /// The folder.
    folder: PathBuf,
    /// Thumbprint of the key that signs directories, known otherwise than from the folder: whose log it is counts from
    /// there alone.
    #[arg(long, value_name = "THUMBPRINT", allow_hyphen_values = true)]
    pin: Option<Thumbprint>,
}

/// Runs `audit export`.
pub fn run(asked: &Export, console: Console) -> Result<(), Failure> {
    if asked.out.symlink_metadata().is_ok() {
        return Err(exists(&asked.out));
    }
    let session = asked.reader.open()?;
    let filter = asked.filters.filter(session.edition())?;
    if filter.peer.is_some() {
        return Err(Failure::new(
            Kind::Usage,
            "--peer n'est prouvé par aucune entrée : il ne s'exporte pas",
        )
        .next("utilisez audit search --peer, ou audit reconcile"));
    }
    let mut logs = session.logs(&asked.participant)?;
    if let Some(wanted) = &asked.log {
        logs.retain(|log| log.origin.as_str() == wanted);
    }
    if logs.is_empty() || (asked.format == Format::Bundle && logs.len() > 1) {
        let names: Vec<String> = session
            .logs(&asked.participant)?
            .iter()
            .map(|log| log.origin.to_string())
            .collect();
        return Err(Failure::new(
            Kind::Usage,
            "un export porte sur un registre : désignez-le par --log",
        )
        .because(names.join(", ")));
    }
    let export = Exporting {
        asked,
        session: &session,
        filter,
        heads: asked.kept.load()?,
        told: Progress::new(console),
    };
    let (said, heads) = runtime()?.block_on(export.run(&logs))?;
    asked.kept.save(&heads)?;
    console.data(&said, || {
        format!(
            "{} entrée(s) vérifiée(s) et écrites : {}",
            said["entries"],
            asked.out.display()
        )
    })
}

struct Exporting<'a> {
    asked: &'a Export,
    session: &'a Session,
    filter: EntryFilter,
    heads: Heads,
    told: Progress,
}

impl Exporting<'_> {
    async fn run(mut self, logs: &[Log]) -> Result<(Value, Heads), Failure> {
        let said = match self.asked.format {
            Format::Csv => self.rows(logs, Lines::Csv(Dialect::Rfc4180)).await?,
            Format::CsvExcel => self.rows(logs, Lines::Csv(Dialect::Spreadsheet)).await?,
            Format::Jsonl => self.rows(logs, Lines::Json).await?,
            Format::Bundle => match logs.first() {
                Some(log) => self.bundle(log).await?,
                None => return Err(Failure::new(Kind::Bug, "aucun registre")),
            },
        };
        Ok((said, self.heads))
    }

    /// Writes rows beside the file's place, and puts them there once every log was verified.
    async fn rows(&mut self, logs: &[Log], lines: Lines) -> Result<Value, Failure> {
        let parent = parent(&self.asked.out);
        let mut whole = NamedTempFile::new_in(parent).map_err(|e| unwritten(&self.asked.out, &e))?;
        let mut entries = 0;
        lines
            .head(&mut whole)
            .map_err(|e| unwritten(&self.asked.out, &e))?;
        for log in logs {
            let (asked, told) = (asked(log, &self.heads, &self.asked.purpose), &mut self.told);
            let (filter, catalogue) = (&self.filter, &self.session.edition().catalogue);
            let (read, part, n) = self
                .session
                .read(log, async |channel| {
                    let mut part = BufWriter::new(tempfile::tempfile_in(parent).map_err(Error::Write)?);
                    let mut n = 0_u64;
                    let write = |visited: Visited<'_>| {
                        if !filter.matches(visited.index, visited.entry) {
                            return Ok(());
                        }
                        n += 1;
                        let line = match lines {
                            Lines::Csv(dialect) => {
                                Table::new(dialect).entry(&log.origin, &visited, catalogue)
                            }
                            Lines::Json => json_line(&log.origin, &visited, catalogue) + "\n",
                        };
                        part.write_all(line.as_bytes()).map_err(Error::Write)
                    };
                    let read = read_log(channel, &asked, write, |read, size| {
                        told.tell("lecture", read, size)
                    })
                    .await?;
                    let part = part.into_inner().map_err(|e| Error::Write(e.into_error()))?;
                    Ok((read, part, n))
                })
                .await?;
            append(&mut whole, part).map_err(|e| unwritten(&self.asked.out, &e))?;
            self.heads.keep(&log.origin, read.head);
            entries += n;
        }
        whole
            .as_file()
            .sync_all()
            .map_err(|e| unwritten(&self.asked.out, &e))?;
        whole
            .persist_noclobber(&self.asked.out)
            .map_err(|e| match e.error.kind() {
                std::io::ErrorKind::AlreadyExists => exists(&self.asked.out),
                _ => unwritten(&self.asked.out, &e.error),
            })?;
        sync(parent).map_err(|e| unwritten(&self.asked.out, &e))?;
        Ok(json!({"out": self.asked.out, "entries": entries, "filter": self.filter.to_string()}))
    }

    /// Writes a folder beside its place, and puts it there once the log was verified.
    async fn bundle(&mut self, log: &Log) -> Result<Value, Failure> {
        let out = &self.asked.out;
        let parent = parent(out);
        let directory = crate::command::read_text(&self.asked.reader.directory)?;
        let edition = self.session.edition();
        let tool = concat!("unefois ", env!("CARGO_PKG_VERSION"));
        let provenance = Provenance {
            participant: &log.participant,
            key: &log.key,
            directory: &directory,
            directory_version: edition.directory.version(),
            catalogue: edition.catalogue.to_bytes(),
            exported_by: self.session.name(),
            exported_at: SystemClock.now(),
            tool,
        };
        let (asked, told) = (asked(log, &self.heads, &self.asked.purpose), &mut self.told);
        let filter = &self.filter;
        let written = self
            .session
            .read(log, async |channel| {
                let folder = tempfile::Builder::new().prefix(".export-").tempdir_in(parent);
                let folder = folder.map_err(Error::Write)?;
                let mut writer = BundleWriter::new(folder.path(), filter.clone());
                let take = |visited: Visited<'_>| writer.take(visited);
                let read = read_log(channel, &asked, take, |read, size| {
                    told.tell("lecture", read, size)
                })
                .await?;
                let manifest = writer.finish(&read, &provenance)?;
                Ok((read, folder, manifest))
            })
            .await;
        let (read, folder, manifest) = written?;
        let pin: Option<Thumbprint> = self.asked.reader.pin.parse().ok();
        // What was written is what whoever receives it will verify.
        verify_export(folder.path(), pin.as_ref(), |_, _| {}).map_err(|fault| refused(&fault))?;
        place(folder, out)?;
        self.heads.keep(&log.origin, read.head);
        Ok(told_of(&manifest, out))
    }
}

/// How rows are written.
#[derive(Clone, Copy)]
enum Lines {
    Csv(Dialect),
    Json,
}

impl Lines {
    fn head(self, file: &mut NamedTempFile) -> std::io::Result<()> {
        match self {
            Self::Csv(dialect) => file.write_all(Table::new(dialect).head().as_bytes()),
            Self::Json => Ok(()),
        }
    }
}

fn asked<'a>(log: &'a Log, heads: &Heads, purpose: &'a str) -> Asked<'a> {
    Asked {
        known: heads.known(&log.origin),
        purpose,
        ..Asked::all(&log.origin, &log.key)
    }
}

fn append(whole: &mut NamedTempFile, mut part: File) -> std::io::Result<()> {
    use std::io::Seek as _;
    part.rewind()?;
    std::io::copy(&mut part, whole).map(drop)
}

/// Puts a folder in its place, as one step.
fn place(folder: TempDir, out: &Path) -> Result<(), Failure> {
    sync(folder.path()).map_err(|e| unwritten(out, &e))?;
    let renamed = renameat_with(CWD, folder.path(), CWD, out, RenameFlags::NOREPLACE);
    renamed.map_err(|errno| match errno {
        rustix::io::Errno::EXIST | rustix::io::Errno::NOTEMPTY => exists(out),
        _ => unwritten(out, &errno.into()),
    })?;
    // It is at its place: there is nothing left to remove.
    let _gone = folder.keep();
    sync(parent(out)).map_err(|e| unwritten(out, &e))
}

/// The folder of a path; the parent of a bare name is the empty path, which cannot be opened.
fn parent(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

fn sync(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

fn exists(path: &Path) -> Failure {
    Failure::new(
        Kind::Exists,
        format!("{} existe ; rien n'est écrasé", path.display()),
    )
    .next("donnez un autre chemin à --out")
}

fn unwritten(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Kind::CannotWrite, format!("{} n'est pas écrit", path.display())).because(error)
}

fn told_of(manifest: &Manifest, folder: &Path) -> Value {
    json!({
        "out": folder, "kind": manifest.kind, "origin": manifest.origin, "size": manifest.size, "root": manifest.root,
        "entries": manifest.entries, "range": manifest.range, "selected": manifest.selected, "filter": manifest.filter,
        "files": manifest.files.len() + 2,
    })
}

/// Runs `audit verify-export`.
pub fn run_verify(asked: &VerifyExport, console: Console) -> Result<(), Failure> {
    let told = Progress::new(console);
    let checked = verify_export(&asked.folder, asked.pin.as_ref(), |read, size| {
        told.tell("lecture", read, size)
    });
    let Checked { manifest, anchored } = checked.map_err(|fault| refused(&fault))?;
    let mut value = told_of(&manifest, &asked.folder);
    value["anchored"] = anchored.into();
    console.data(&value, || {
        let anchor = match anchored {
            true => "l'annuaire signé par la clé désignée dit que c'est son registre",
            false => "sans --pin : rien ne dit à qui est la clé de ce registre, hormis le dossier lui-même",
        };
        format!(
            "{}\nintact : {}, {} entrée(s), tête de {} entrées, racine {}\n{anchor}",
            manifest.origin,
            manifest.kind.text_fr(),
            manifest.entries,
            manifest.size,
            manifest.root
        )
    })
}

fn refused(fault: &Fault) -> Failure {
    let kind = match fault {
        Fault::Unread { .. } => Kind::NoInput,
        _ => Kind::No,
    };
    Failure::new(kind, "l'export n'est pas vérifié")
        .because(unefois_mesh::status::chain(fault))
        .next("demandez un nouvel export, et gardez celui-ci comme preuve")
}
