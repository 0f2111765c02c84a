//! `sandbox check`: every case of a folder through resolve, minimise, sign and verify.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use unefois_core::DatatypeRev;
use unefois_core::catalogue::Catalogue;
use unefois_mesh::{SystemClock, SystemRandom};

use super::catalogue::{load, read_folder};
use crate::console::Console;
use crate::demo::world::built_in_catalogue;
use crate::failure::{Failure, Kind};
use crate::sandbox_check::{CheckError, FolderReport, sandbox_check};

/// Tries folders of cases.
#[derive(Debug, Subcommand)]
pub enum SandboxCommand {
    /// Sends every case through the producer and prints a line a folder.
    Check {
        /// A folder of cases, or one that holds such folders.
        dir: PathBuf,
        /// Folder of the catalogue that says what its datatypes are; without it, the one of this program.
        #[arg(long, value_name = "FOLDER")]
        catalogue: Option<PathBuf>,
        /// The datatype of every folder, as in cnaf/quotient-familial@1; without it, the one whose sheet names the folder.
        #[arg(long, value_name = "DATATYPE")]
        datatype: Option<DatatypeRev>,
    },
}

/// Runs `sandbox …`.
pub fn run(command: SandboxCommand, console: Console) -> Result<(), Failure> {
    let SandboxCommand::Check {
        dir,
        catalogue,
        datatype,
    } = command;
    let catalogue = match &catalogue {
        Some(folder) => consistent(folder)?,
        None => built_in_catalogue()?,
    };
    let (datatype, random) = (datatype.as_ref(), SystemRandom::new());
    let report = sandbox_check(&dir, &catalogue, datatype, &SystemClock, &random).map_err(|e| match e {
        CheckError::Folder(_) | CheckError::Empty(_) => Failure::new(Kind::NoInput, "aucun cas n'est lu")
            .because(e)
            .next("donnez un dossier de fichiers .yaml"),
        CheckError::Datatype(_) => Failure::new(Kind::Data, "le catalogue n'a pas ce justificatif")
            .because(e)
            .next("donnez le catalogue qui l'a : --catalogue"),
        CheckError::Key(_) => Failure::new(Kind::Bug, "aucune clé n'est tirée").because(e),
    })?;
    if !console.json {
        console.data(&(), || {
            "fichiers   cas  document  absence  introuvable  plus tard  refus  dossier".to_owned()
        })?;
    }
    for folder in &report.folders {
        console.data(folder, || line(folder))?;
    }
    if report.folders.iter().all(|folder| folder.datatype.is_none()) {
        console.say("aucun de ces dossiers n'a de justificatif au catalogue : rien n'a été vérifié");
    }
    match report.passed() {
        true => Ok(()),
        false => Err(Failure::new(
            Kind::No,
            "un cas au moins ne donne pas ce qui est attendu",
        )),
    }
}

/// The catalogue of a folder.
fn consistent(folder: &Path) -> Result<Catalogue, Failure> {
    load(&read_folder(folder)?).map_err(|problems| {
        let failure = Failure::new(Kind::Data, format!("le catalogue a {} défaut(s)", problems.len()));
        failure.next(format!("tapez : unefois catalogue check {}", folder.display()))
    })
}

fn line(folder: &FolderReport) -> String {
    let ends = folder.ends;
    let mut text = match &folder.datatype {
        Some(datatype) => format!(
            "{:>8} {:>5} {:>9} {:>8} {:>12} {:>10} {:>6}  {} ({datatype})",
            folder.files,
            folder.cases,
            ends.documents,
            ends.absences,
            ends.not_resolved,
            ends.later,
            ends.refused,
            folder.folder
        ),
        None => format!(
            "{:>8}     –         –        –            –          –      –  {} (aucun justificatif)",
            folder.files, folder.folder
        ),
    };
    for failure in &folder.failures {
        text.push_str(&format!("\n         ✗ {} : {}", failure.file, failure.what));
    }
    text
}
