//! `catalogue check`: is a catalogue consistent, and if not, where.

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
    },
}

/// Runs `catalogue …`.
pub fn run(command: CatalogueCommand, console: Console) -> Result<(), Failure> {
    let CatalogueCommand::Check { folder } = command;
    let files = read_folder(&folder)?;
    match load(&files) {
        Ok(catalogue) => {
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
