//! `sandbox check`: every case of a folder through resolve → minimise → sign → verify, held against what the case
//! itself says.
//!
//! What is expected of a case is read off its file by rules that share no code with the pipeline ([`expected`]):
//!
//! - status 200 is a document. Every value that is disclosed stands at the same place in the case's own JSON text, token
//!   for token, and every value that the datatype knows there is disclosed, so that a value changed, added or lost on
//!   the way (`900` become `900.0`) is found after the signature.
//! - 404 is SUBJECT_NOT_RESOLVED, 408, 429 and 5xx come later, everything else is refused. **No status alone is an
//!   absence:** one counts only where the catalogue's `absence_when` certifies it *and* the case's author vouches for it
//!   with `expect: {outcome: absence}`. So neither a catalogue that certifies too much nor a case relabelled can turn a
//!   404 into an absence unnoticed.
//! - Whatever an author writes under `expect` (`outcome`, and under `units` the JSON text of each unit) is compared too.
//!
//! A case that ends otherwise than expected fails, as does a file that is no case and a group of files that ask the
//! same. A folder that no datatype of the catalogue names is listed, counted nowhere and fails nothing.

mod compare;
mod expected;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use unefois_core::catalogue::{Catalogue, Datatype};
use unefois_core::commitment::AnswerForm;
use unefois_core::{Clock, DatatypeRev, Gender, ParticipantId, Pivot, Reason, SealedSubject, Sha256};
use unefois_jose::{SigningKey, sd_jwt};
use unefois_mesh::SystemRandom;
use unefois_node::producer::attest::{Statement, attest};
use unefois_node::producer::minimise::minimise;
use unefois_node::producer::source::reply::Layout;
use unefois_node::producer::source::sandbox::{Case, ExpectedOutcome, Folder, FolderError};
use unefois_node::producer::source::{Failure, Question};

/// Largest attestation that is verified, in bytes.
const MAX_ATTESTATION_BYTES: usize = 4 * 1024 * 1024;

/// Why nothing could be checked.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The folder, or one in it, cannot be read.
    #[error("the folder cannot be read")]
    Folder(#[from] FolderError),
    /// There is no folder of cases there.
    #[error("{0} holds no folder of cases")]
    Empty(PathBuf),
    /// The catalogue does not know the datatype that was asked for.
    #[error("the catalogue has no datatype {0}")]
    Datatype(DatatypeRev),
    /// No key could be drawn.
    #[error("no key could be drawn")]
    Key(#[source] unefois_jose::Error),
}

/// What came of every folder, in the order of their names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// One a folder.
    pub folders: Vec<FolderReport>,
}

/// What came of one folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FolderReport {
    /// Its name.
    pub folder: String,
    /// The datatype that names it; `None` where none does, and then nothing is run.
    pub datatype: Option<String>,
    /// Case files in it.
    pub files: usize,
    /// Cases read: as many, or the files that are none are among the failures.
    pub cases: usize,
    /// How the cases ended.
    pub ends: Ends,
    /// What is not as expected.
    pub failures: Vec<CaseFailure>,
}

/// How many cases ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ends {
    /// A document.
    pub documents: usize,
    /// A certified absence.
    pub absences: usize,
    /// SUBJECT_NOT_RESOLVED.
    pub not_resolved: usize,
    /// A retryable reason.
    pub later: usize,
    /// Another reason.
    pub refused: usize,
}

/// A case that is not as expected. It names the file and the place, never a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CaseFailure {
    /// The file.
    pub file: String,
    /// What is wrong.
    pub what: String,
}

/// How one case ended.
enum End {
    Answered {
        form: AnswerForm,
        units: BTreeMap<String, String>,
    },
    Failed(Failure),
}

impl Report {
    /// Whether every case of every folder that has a datatype ended as expected.
    pub fn passed(&self) -> bool {
        self.folders.iter().all(|folder| folder.failures.is_empty())
    }
}

/// Checks the folders of cases in `dir`, or `dir` itself where it holds cases. The datatype of a folder is the one whose
/// sheet names it under `sandbox`; where `datatype` is given, it is that of every folder.
///
/// # Errors
/// Nothing could be checked; what is wrong in a case is in the report.
pub fn sandbox_check(
    dir: &Path,
    catalogue: &Catalogue,
    datatype: Option<&DatatypeRev>,
    clock: &dyn Clock,
    random: &SystemRandom,
) -> Result<Report, CheckError> {
    let unknown = |rev: &DatatypeRev| CheckError::Datatype(rev.clone());
    let datatype = datatype.map(|rev| catalogue.datatype(rev).ok_or_else(|| unknown(rev)));
    let seal = SigningKey::generate(random.ring()).map_err(CheckError::Key)?;
    let pipeline = Pipeline {
        catalogue,
        datatype: datatype.transpose()?,
        clock,
        random,
        seal,
    };
    let folders = folders(dir)?;
    let folders = folders
        .iter()
        .map(|(name, path)| pipeline.folder(name, path))
        .collect::<Result<Vec<_>, _>>()?;
    match folders.is_empty() {
        true => Err(CheckError::Empty(dir.to_owned())),
        false => Ok(Report { folders }),
    }
}

/// The folders that hold at least one case file, by name.
fn folders(dir: &Path) -> Result<Vec<(String, PathBuf)>, FolderError> {
    let unreadable = |source| FolderError::Unreadable {
        path: dir.to_owned(),
        source,
    };
    let mut found = vec![dir.to_owned()];
    for entry in std::fs::read_dir(dir).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.is_dir() {
            found.push(path);
        }
    }
    found.sort();
    let mut folders = Vec::new();
    for path in found {
        if files(&path)? > 0 {
            // `.` has no name of its own.
            let whole = path.canonicalize().unwrap_or_else(|_| path.clone());
            let name = whole
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            folders.push((name, path));
        }
    }
    Ok(folders)
}

/// How many case files a folder has.
fn files(path: &Path) -> Result<usize, FolderError> {
    let unreadable = |source| FolderError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let mut count = 0;
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        count += usize::from(file.is_file() && file.extension().is_some_and(|e| e == "yaml" || e == "yml"));
    }
    Ok(count)
}

struct Pipeline<'a> {
    catalogue: &'a Catalogue,
    /// That of every folder, whatever the catalogue says.
    datatype: Option<&'a Datatype>,
    clock: &'a dyn Clock,
    random: &'a SystemRandom,
    seal: SigningKey,
}

impl Pipeline<'_> {
    fn folder(&self, name: &str, path: &Path) -> Result<FolderReport, CheckError> {
        let mut report = FolderReport {
            folder: name.to_owned(),
            files: files(path)?,
            ..FolderReport::default()
        };
        let named = |d: &&Datatype| d.sheet().sandbox.iter().any(|folder| folder == name);
        let datatype = self.datatype.or_else(|| self.catalogue.datatypes().find(named));
        let Some(datatype) = datatype else {
            return Ok(report);
        };
        report.datatype = Some(datatype.rev().to_string());
        let folder = Folder::load(path)?;
        report.cases = folder.cases.len();
        for problem in &folder.problems {
            report.failures.push(CaseFailure {
                file: problem.file().to_owned(),
                what: problem.to_string(),
            });
        }
        for case in &folder.cases {
            let end = self.run(datatype, &folder, case);
            report.ends.count(&end);
            if let Err(what) = self.judge(datatype, case, &end) {
                report.failures.push(CaseFailure {
                    file: case.file.clone(),
                    what,
                });
            }
        }
        Ok(report)
    }

    /// Resolve, minimise, sign, verify.
    fn run(&self, datatype: &Datatype, folder: &Folder, case: &Case) -> End {
        let Some(answers) = self
            .catalogue
            .producer(&datatype.sheet().operator)
            .and_then(|p| p.answers.as_ref())
        else {
            return End::Failed(Failure::Unexpected);
        };
        let subject = subject();
        let question = Question {
            sheet: datatype.sheet(),
            answers,
            subject: &subject,
            period: None,
            within: Duration::from_millis(datatype.sheet().timeout_ms.into()),
        };
        let reply = folder.reply_to(case).ok_or(Failure::NotResolved);
        let answer = match reply.and_then(|reply| Layout::default().read(&reply, &question)) {
            Ok(answer) => answer,
            Err(failure) => return End::Failed(failure),
        };
        let Ok(minimised) = minimise(datatype, datatype.all_units(), answer) else {
            return End::Failed(Failure::Schema);
        };
        let now = self.clock.now();
        let random: &dyn unefois_core::Random = self.random;
        let consumer: ParticipantId = *datatype.operator();
        let statement = Statement {
            issuer: datatype.operator(),
            audience: &consumer,
            datatype: datatype.rev(),
            period: None,
            exchange: &random.exchange_id(now),
            request_hash: &Sha256::of(case.file.as_bytes()),
            computed_at: now,
            issued_at: now,
            data_life_days: 1,
        };
        let Ok(attestation) = attest(&self.seal, &statement, &minimised, self.random) else {
            return End::Failed(Failure::Schema);
        };
        let key = self.seal.verifying_key();
        let verified = sd_jwt::verify(&attestation, MAX_ATTESTATION_BYTES, |kid| {
            (kid == key.thumbprint()).then_some(key)
        });
        match verified {
            Ok(verified) => End::Answered {
                form: minimised.form(),
                units: verified
                    .disclosures()
                    .iter()
                    .map(|d| (d.name.clone(), d.value.get().to_owned()))
                    .collect(),
            },
            Err(_) => End::Failed(Failure::Unexpected),
        }
    }

    /// Whether a case ended as expected; otherwise what is wrong.
    fn judge(&self, datatype: &Datatype, case: &Case, end: &End) -> Result<(), String> {
        let got = end.outcome();
        let ruled = expected::by_status(case.status);
        let vouched = case.expect.as_ref().map(|expect| expect.outcome);
        if got == ExpectedOutcome::Absence && vouched != Some(ExpectedOutcome::Absence) {
            return Err(
                "a false absence: the case does not vouch for it (expect: {outcome: absence})".to_owned(),
            );
        }
        let expected = vouched.unwrap_or(ruled);
        if got != expected {
            return Err(format!("expected {expected}, got {got}{}", end.reason()));
        }
        // An author may vouch for an absence, a refusal of a 200 that breaks its schema, nothing else.
        let plausible = got == ruled
            || got == ExpectedOutcome::Absence && (400..500).contains(&case.status)
            || got == ExpectedOutcome::Refused && case.status == 200;
        if !plausible {
            return Err(format!(
                "status {} is {ruled}, whatever the case says",
                case.status
            ));
        }
        let End::Answered {
            form: AnswerForm::Document,
            units,
        } = end
        else {
            return Ok(());
        };
        for (unit, text) in case.expect.iter().flat_map(|expect| &expect.units) {
            if units.get(unit) != Some(text) {
                return Err(format!("unit {unit} is not the text that the case expects"));
            }
        }
        let producer = self.catalogue.producer(&datatype.sheet().operator);
        let payload = producer
            .and_then(|p| p.answers.as_ref())
            .map(|a| a.payload.to_string())
            .unwrap_or_default();
        compare::same_values(datatype.sheet(), &case.payload, &payload, units)
    }
}

impl End {
    fn outcome(&self) -> ExpectedOutcome {
        match self {
            Self::Answered {
                form: AnswerForm::Document,
                ..
            } => ExpectedOutcome::Document,
            Self::Answered {
                form: AnswerForm::Absence,
                ..
            } => ExpectedOutcome::Absence,
            Self::Failed(Failure::NotResolved) => ExpectedOutcome::NotResolved,
            Self::Failed(
                Failure::Timeout | Failure::Quota { .. } | Failure::Unavailable | Failure::Maintenance { .. },
            ) => ExpectedOutcome::Later,
            Self::Failed(Failure::Unexpected | Failure::Schema) => ExpectedOutcome::Refused,
        }
    }

    fn reason(&self) -> String {
        let reason = match self {
            Self::Answered { .. } => return String::new(),
            Self::Failed(Failure::Schema) => Reason::SourceSchema,
            Self::Failed(failure) => unefois_node::Error::Source(*failure).reason(),
        };
        format!(" ({reason})")
    }
}

impl Ends {
    fn count(&mut self, end: &End) {
        *match end.outcome() {
            ExpectedOutcome::Document => &mut self.documents,
            ExpectedOutcome::Absence => &mut self.absences,
            ExpectedOutcome::NotResolved => &mut self.not_resolved,
            ExpectedOutcome::Later => &mut self.later,
            ExpectedOutcome::Refused => &mut self.refused,
        } += 1;
    }
}

/// An invented person: the cases name their own parameters, so nobody is looked for.
fn subject() -> SealedSubject {
    SealedSubject::Person(Pivot {
        family_name: "EXEMPLE".to_owned(),
        given_names: vec!["Camille".to_owned()],
        birthdate: "1980".parse().expect("a year is a birth date"),
        gender: Gender::Unspecified,
        birthplace: None,
        birthcountry: None,
        preferred_username: None,
    })
}

/// One line a folder, then one a failure.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self
            .folders
            .iter()
            .map(|folder| folder.folder.chars().count())
            .max()
            .unwrap_or(0);
        writeln!(
            f,
            "{:width$}  {:>8}  {:>4}  {:>9}  {:>8}  {:>12}  {:>10}  {:>7}  {:>6}",
            "dossier",
            "fichiers",
            "cas",
            "documents",
            "absences",
            "non résolus",
            "plus tard",
            "refusés",
            "échecs"
        )?;
        for folder in &self.folders {
            let FolderReport {
                folder: name,
                datatype,
                files,
                cases,
                ends,
                failures,
            } = folder;
            match datatype {
                None => writeln!(
                    f,
                    "{name:width$}  {files:>8}  aucun type de donnée ne nomme ce dossier : rien n'est vérifié"
                )?,
                Some(_) => writeln!(
                    f,
                    "{name:width$}  {files:>8}  {cases:>4}  {:>9}  {:>8}  {:>12}  {:>10}  {:>7}  {:>6}",
                    ends.documents,
                    ends.absences,
                    ends.not_resolved,
                    ends.later,
                    ends.refused,
                    failures.len()
                )?,
            }
        }
        for folder in &self.folders {
            for failure in &folder.failures {
                writeln!(f, "{}/{} : {}", folder.folder, failure.file, failure.what)?;
            }
        }
        Ok(())
    }
}
