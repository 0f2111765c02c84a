//! `catalogue check`: is a catalogue consistent, and if not, where; and its compiled form.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;
use unefois_core::catalogue::{Catalogue, Problem};

use super::read_text;
use crate::console::Console;
use crate::failure::{Failure, Kind};

/// Checks and compiles the catalogue.
#[derive(Debug, Subcommand)]
pub enum CatalogueCommand {
    /// Checks every file; each fault is told with file, line and reason.
    Check {
        /// Folder with `types/`, `demarches/` and `producers/`.
        #[arg(default_value = "catalogue")]
        folder: PathBuf,
        /// Also writes the compiled catalogue, which nodes read as `catalogue.bin`; an existing file is replaced.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// Runs `catalogue …`.
pub fn run(command: CatalogueCommand, console: Console) -> Result<(), Failure> {
    let CatalogueCommand::Check { folder, out } = command;
    let files = read_folder(&folder)?;
    match load(&files) {
        Ok(catalogue) => {
            if let Some(out) = &out {
                write(&catalogue, out)?;
            }
            let count = (
                catalogue.datatypes().count(),
                catalogue.demarches().count(),
                catalogue.producers().count(),
            );
            let hash = catalogue.hash().to_string();
            let (datatypes, demarches, producers) = count;
            let value = json!({ "datatypes": datatypes, "demarches": demarches, "producers": producers, "hash": hash });
            console.data(&value, || {
                format!("{datatypes} justificatifs, {demarches} démarches, {producers} producteurs\n{hash}")
            })
        }
        Err(problems) => {
            for problem in &problems {
                let value = json!({
                    "file": problem.file, "line": problem.line, "column": problem.column,
                    "reason": problem.code, "message": problem.message,
                });
                console.data(&value, || problem.to_string())?;
            }
            let what = format!("le catalogue a {} défaut(s)", problems.len());
            Err(Failure::new(Kind::Data, what)
                .next("corrigez chaque ligne citée, puis relancez catalogue check"))
        }
    }
}

/// Writes the compiled catalogue: what the directory's `catalogue_hash` is the digest of.
fn write(catalogue: &Catalogue, out: &Path) -> Result<(), Failure> {
    std::fs::write(out, catalogue.to_bytes())
        .map_err(|e| Failure::new(Kind::CannotWrite, format!("{} n'est pas écrit", out.display())).because(e))
}

/// The YAML files of a catalogue folder: path relative to it, and text, in the order of their names.
///
/// # Errors
/// The folder or a file cannot be read.
pub fn read_folder(folder: &Path) -> Result<Vec<(String, String)>, Failure> {
    let mut files = Vec::new();
    for part in ["types", "demarches", "producers"] {
        let inside = folder.join(part);
        let missing =
            |e| Failure::new(Kind::NoInput, format!("{} n'est pas lu", inside.display())).because(e);
        for file in std::fs::read_dir(&inside).map_err(missing)? {
            let path = file.map_err(missing)?.path();
            if path.extension().is_some_and(|e| e == "yaml" || e == "yml") {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                files.push((format!("{part}/{name}"), read_text(&path)?));
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The catalogue of these files.
///
/// # Errors
/// Every problem found.
pub fn load(files: &[(String, String)]) -> Result<Catalogue, Vec<Problem>> {
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    Catalogue::load(&files)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSOLE: Console = Console {
        json: true,
        lang: crate::console::Lang::Fr,
    };

    #[test]
    fn a_catalogue_with_a_fault_is_not_compiled() {
        let folder = tempfile::tempdir().unwrap();
        for part in ["types", "demarches", "producers"] {
            std::fs::create_dir(folder.path().join(part)).unwrap();
        }
        std::fs::write(folder.path().join("types/a.yaml"), "unknown: 1\n").unwrap();
        let out = folder.path().join("catalogue.bin");
        let check = CatalogueCommand::Check {
            folder: folder.path().to_owned(),
            out: Some(out.clone()),
        };
        assert_eq!(run(check, CONSOLE).unwrap_err().kind, Kind::Data);
        assert!(!out.exists());
    }

    #[test]
    fn the_compiled_catalogue_is_read_back_by_its_hash() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../catalogue");
        let catalogue = load(&read_folder(&folder).unwrap()).unwrap();
        let there = tempfile::tempdir().unwrap();
        let out = there.path().join("catalogue.bin");
        let check = CatalogueCommand::Check {
            folder,
            out: Some(out.clone()),
        };
        run(check, CONSOLE).unwrap();
        let written = std::fs::read(&out).unwrap();
        Catalogue::from_bytes(&written, &catalogue.hash()).unwrap();
    }
}
