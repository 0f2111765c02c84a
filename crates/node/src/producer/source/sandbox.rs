//! A folder of YAML cases that plays a back end: a producer's whole test environment.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use futures_util::future::{self, BoxFuture};
use serde::Deserialize;
use unefois_core::compare_key;

use super::parameters::{Filled, Parameters, Value};
use super::reply::{Layout, Reply};
use super::{Answer, Failure, Question, Source};

/// The largest case file that is read.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// A source that answers from a [`Folder`].
///
/// A case is chosen by the equality of all its parameters with all those of the question, each normalised: no prefix
/// of first names, no precision of dates. The folder plays the back end, and matching is the back end's own.
#[derive(Debug)]
pub struct Sandbox {
    folder: Folder,
    parameters: Parameters,
    layout: Layout,
}

/// The cases of one folder, and what is wrong with its files.
#[derive(Debug)]
pub struct Folder {
    /// The cases, by file name.
    pub cases: Vec<Case>,
    /// The files that are no case, and the groups of files with the same parameters.
    pub problems: Vec<Problem>,
}

/// One case: what is asked, and what the back end answers.
pub struct Case {
    /// The name of its file.
    pub file: String,
    /// What is asked, normalised.
    params: Normalised,
    /// The HTTP status of the answer.
    pub status: u16,
    /// The body of the answer.
    pub payload: String,
    /// What its author expects of it, where they say so.
    pub expect: Option<Expect>,
}

/// What a case's author expects.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// How the question ends.
    pub outcome: ExpectedOutcome,
    /// The JSON text of each unit that is disclosed; all units are compared, if any is given.
    #[serde(default)]
    pub units: BTreeMap<String, String>,
}

/// How a question ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpectedOutcome {
    /// A document.
    Document,
    /// A certified absence.
    Absence,
    /// SUBJECT_NOT_RESOLVED.
    NotResolved,
    /// A retryable reason.
    Later,
    /// Any other reason.
    Refused,
}

impl fmt::Display for ExpectedOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Document => "document",
            Self::Absence => "absence",
            Self::NotResolved => "not_resolved",
            Self::Later => "later",
            Self::Refused => "refused",
        })
    }
}

/// What is wrong in a folder. It names files, never what they hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The file is no case.
    #[error("{file} is not a case: {what}")]
    Malformed {
        /// Its name.
        file: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Several files ask the same, so none of them can be chosen.
    #[error("several cases have the same parameters: {}", files.join(", "))]
    Duplicate {
        /// Their names.
        files: Vec<String>,
    },
}

impl Problem {
    /// The file, or the first of the files, that it is about.
    pub fn file(&self) -> &str {
        match self {
            Self::Malformed { file, .. } => file,
            Self::Duplicate { files } => files.first().map_or("", String::as_str),
        }
    }
}

/// The folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It, or a file of it, cannot be read.
    #[error("{path} cannot be read")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file is no case, or two cases ask the same.
    #[error("{}: {problem}", folder.display())]
    Problem {
        /// The folder.
        folder: PathBuf,
        /// The first problem.
        problem: Problem,
    },
}

/// Parameters in the form that is compared: names and texts by [`compare_key`], numbers as digits, blanks left out.
type Normalised = BTreeMap<String, Vec<String>>;

#[derive(Deserialize)]
struct CaseFile {
    params: BTreeMap<String, Param>,
    status: u16,
    payload: String,
    #[serde(default)]
    expect: Option<Expect>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Param {
    Number(u64),
    Text(String),
    List(Vec<String>),
    Nothing(()),
}

impl Sandbox {
    /// A source that answers from the cases of `folder`.
    ///
    /// # Errors
    /// The folder cannot be read, holds a file that is no case, or two cases that ask the same.
    pub fn open(folder: &Path, parameters: Parameters, layout: Layout) -> Result<Self, FolderError> {
        let loaded = Folder::load(folder)?;
        if let Some(problem) = loaded.problems.into_iter().next() {
            let folder = folder.to_owned();
            return Err(FolderError::Problem { folder, problem });
        }
        let folder = Folder {
            problems: Vec::new(),
            ..loaded
        };
        Ok(Self {
            folder,
            parameters,
            layout,
        })
    }
}

impl Source for Sandbox {
    fn ask<'a>(&'a self, question: &'a Question<'a>) -> BoxFuture<'a, Result<Answer, Failure>> {
        let answer = || {
            let filled = self.parameters.fill(question).ok_or(Failure::NotResolved)?;
            let case = self
                .folder
                .choose(&normalise_filled(filled))
                .ok_or(Failure::NotResolved)?;
            self.layout.read(&case.reply(), question)
        };
        Box::pin(future::ready(answer()))
    }
}

impl Folder {
    /// Reads every `.yaml` and `.yml` file of `folder`, in the order of their names; other files are left alone.
    ///
    /// # Errors
    /// The folder or one of its files cannot be read. What is wrong inside a file is a [`Problem`].
    pub fn load(folder: &Path) -> Result<Self, FolderError> {
        let unreadable = |path: &Path| {
            let path = path.to_owned();
            |source| FolderError::Unreadable { path, source }
        };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(unreadable(folder))? {
            let path = entry.map_err(unreadable(folder))?.path();
            let yaml = path.extension().is_some_and(|e| e == "yaml" || e == "yml");
            if yaml && path.is_file() {
                names.push(path);
            }
        }
        names.sort();

        let (mut cases, mut problems) = (Vec::new(), Vec::new());
        for path in names {
            let file = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let size = path.metadata().map_err(unreadable(&path))?.len();
            if size > MAX_FILE_BYTES {
                problems.push(Problem::Malformed {
                    file,
                    what: "longer than 1 MiB",
                });
                continue;
            }
            let bytes = std::fs::read(&path).map_err(unreadable(&path))?;
            match Case::parse(&file, &bytes) {
                Ok(case) => cases.push(case),
                Err(what) => problems.push(Problem::Malformed { file, what }),
            }
        }
        problems.extend(duplicates(&cases));
        Ok(Self { cases, problems })
    }

    /// The one case that asks this.
    fn choose(&self, asked: &Normalised) -> Option<&Case> {
        let mut same = self.cases.iter().filter(|case| case.params == *asked);
        match (same.next(), same.next()) {
            (Some(case), None) => Some(case),
            (None, _) | (Some(_), Some(_)) => None,
        }
    }

    /// What the back end answers to the question of `case`: its own reply, or nobody where another case asks the same.
    pub fn reply_to(&self, case: &Case) -> Option<Reply<'_>> {
        self.choose(&case.params).map(Case::reply)
    }
}

impl Case {
    /// Reads one case.
    ///
    /// # Errors
    /// What is wrong, in words that repeat nothing of the file.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8")?;
        let parsed: CaseFile =
            serde_saphyr::from_str(text).map_err(|_| "wants params, status and payload (a text)")?;
        if !(100..600).contains(&parsed.status) {
            return Err("status is not that of an HTTP answer");
        }
        let params = parsed
            .params
            .into_iter()
            .map(|(name, value)| (name, value.normalise()));
        Ok(Self {
            file: file.to_owned(),
            params: without_blanks(params),
            status: parsed.status,
            payload: parsed.payload,
            expect: parsed.expect,
        })
    }

    /// The back end's answer.
    pub fn reply(&self) -> Reply<'_> {
        Reply {
            status: self.status,
            body: self.payload.as_bytes(),
            retry_after: None,
        }
    }
}

/// Cases may describe people, so a log shows their file alone.
impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Case({})", self.file)
    }
}

impl Param {
    fn normalise(self) -> Vec<String> {
        match self {
            Self::Number(n) => vec![n.to_string()],
            Self::Text(text) => vec![compare_key(&text)],
            Self::List(texts) => texts.iter().map(|text| compare_key(text)).collect(),
            Self::Nothing(()) => Vec::new(),
        }
    }
}

fn normalise_filled(filled: Filled) -> Normalised {
    let normalise = |value| match value {
        Value::Text(text) => vec![compare_key(&text)],
        Value::Number(n) => vec![n.to_string()],
        Value::List(texts) => texts.iter().map(|text| compare_key(text)).collect(),
    };
    without_blanks(filled.into_iter().map(|(name, value)| (name, normalise(value))))
}

fn without_blanks(params: impl Iterator<Item = (String, Vec<String>)>) -> Normalised {
    let kept = params.filter_map(|(name, mut values)| {
        values.retain(|value| !value.is_empty());
        (!values.is_empty()).then_some((name, values))
    });
    kept.collect()
}

fn duplicates(cases: &[Case]) -> Vec<Problem> {
    let mut by_params: BTreeMap<&Normalised, Vec<String>> = BTreeMap::new();
    for case in cases {
        by_params.entry(&case.params).or_default().push(case.file.clone());
    }
    let several = by_params.into_values().filter(|files| files.len() > 1);
    several.map(|files| Problem::Duplicate { files }).collect()
}

#[cfg(test)]
mod tests {
    use unefois_core::{Gender, Pivot, SealedSubject};

    use super::super::tests::question;
    use super::*;

    const CASE: &str = "---\ndescription: 'inventé'\nparams:\n  nomNaissance: 'LEGRAND'\n  prenoms:\n    - 'Zoé'\n    - 'Ida'\n  \
        anneeDateNaissance: 1990\n  sexeEtatCivil: 'F'\nstatus: 200\npayload: |-\n  {\"data\": {\"montant\": 900}}\n";

    fn folder(cases: &[(&str, &str)]) -> Folder {
        let parsed: Vec<Case> = cases
            .iter()
            .map(|(file, text)| Case::parse(file, text.as_bytes()).unwrap())
            .collect();
        Folder {
            problems: duplicates(&parsed),
            cases: parsed,
        }
    }

    fn ask(cases: &[(&str, &str)], given: &[&str], date: &str) -> Result<Answer, Failure> {
        let sandbox = Sandbox {
            folder: folder(cases),
            parameters: Parameters::default(),
            layout: Layout::default(),
        };
        let person = Pivot {
            family_name: "Legrand".into(),
            given_names: given.iter().map(|n| (*n).to_owned()).collect(),
            birthdate: date.parse().unwrap(),
            gender: Gender::Female,
            birthplace: None,
            birthcountry: None,
            preferred_username: None,
        };
        let subject = SealedSubject::Person(person);
        let question = question(&subject, None);
        futures_util::FutureExt::now_or_never(sandbox.ask(&question)).expect("answers at once")
    }

    #[test]
    fn a_file_that_is_no_case_is_named_without_its_contents() {
        for (text, what) in [
            (
                "params: {}\nstatus: 200\n",
                "wants params, status and payload (a text)",
            ),
            (
                "params: {a: {b: c}}\nstatus: 200\npayload: ''\n",
                "wants params, status and payload (a text)",
            ),
            (
                "params: {a: 1}\nstatus: 20\npayload: ''\n",
                "status is not that of an HTTP answer",
            ),
            (
                "params: {a: 1, a: 2}\nstatus: 200\npayload: ''\n",
                "wants params, status and payload (a text)",
            ),
            ("- secret\n", "wants params, status and payload (a text)"),
        ] {
            assert_eq!(Case::parse("x.yaml", text.as_bytes()).err(), Some(what), "{text}");
        }
        assert_eq!(Case::parse("x.yaml", &[0xff]).err(), Some("not UTF-8"));
    }

    #[test]
    fn two_cases_that_ask_the_same_are_reported_and_never_chosen() {
        let other = CASE.replace("LEGRAND", "Legrand").replace("900", "1");
        let cases = [("a.yaml", CASE), ("b.yml", other.as_str())];
        let files = vec!["a.yaml".to_owned(), "b.yml".to_owned()];
        assert_eq!(folder(&cases).problems, [Problem::Duplicate { files }]);
        assert_eq!(ask(&cases, &["Zoé", "Ida"], "1990"), Err(Failure::NotResolved));
    }

    #[test]
    fn no_prefix_and_no_precision_only_equality() {
        let cases = [("a.yaml", CASE)];
        assert_eq!(ask(&cases, &["Zoé"], "1990"), Err(Failure::NotResolved));
        assert_eq!(
            ask(&cases, &["Zoé", "Ida", "Léa"], "1990"),
            Err(Failure::NotResolved)
        );
        assert_eq!(ask(&cases, &["Zoé", "Ida"], "1990-01"), Err(Failure::NotResolved));
        assert!(matches!(
            ask(&cases, &["ZOE", "ida"], "1990"),
            Ok(Answer::Document(_))
        ));
    }
}
