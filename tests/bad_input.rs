//! The table of bad input is whole: each row names a test that is there, and says which test asserts the `refused` entry under
//! the client's name, or why there is none. `tests/bad-input` prints it with the results.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const TABLE: &str = include_str!("bad_input.txt");

#[test]
fn each_row_of_bad_input_has_its_test_and_its_entry() {
    let mut rows = BTreeSet::new();
    let mut sources = Sources::default();
    for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.split(" | ").collect();
        let [row, package, target, test, entry] = columns[..] else {
            panic!("not five columns: {line}");
        };
        assert!(rows.insert(row), "twice: {row}");
        let functions = sources.of(package, target);
        assert!(
            functions.contains_key(test),
            "no test {test} in {package}, {target}"
        );
        let (ledger, says) = entry.split_once(": ").unwrap_or((entry, test));
        let package = match ledger {
            "producer" => "unefois-node",
            "authority" => "unefois-authority",
            "none" => {
                assert!(says != test && says.len() >= 40, "{row}: why is there no entry?");
                continue;
            }
            other => panic!("{row}: no such ledger: {other}"),
        };
        let functions = sources.of(package, ledger);
        assert!(functions.contains_key(says), "{row}: no test {says} in {package}");
        assert!(
            shows_entry(functions, says),
            "{row}: {says} asserts no refused entry"
        );
    }
    assert!(rows.len() >= 70, "{} rows", rows.len());
}

/// Whether the test compares an entry with `refused`, or calls a function of its binary that does, or that calls one.
fn shows_entry(functions: &BTreeMap<String, String>, test: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut next = vec![test];
    while let Some(name) = next.pop() {
        let Some(text) = functions.get(name) else {
            continue;
        };
        if text.contains("Event::Refused") {
            return true;
        }
        if seen.insert(name) {
            next.extend(called(text));
        }
    }
    false
}

/// The names in a function's text that a bracket follows.
fn called(text: &str) -> impl Iterator<Item = &str> {
    let part_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split('(')
        .filter_map(move |before| before.rsplit(|c| !part_of_name(c)).next())
}

/// The functions of each test binary, by name.
#[derive(Default)]
struct Sources(BTreeMap<(String, String), BTreeMap<String, String>>);

impl Sources {
    fn of(&mut self, package: &str, target: &str) -> &BTreeMap<String, String> {
        let key = (package.to_owned(), target.to_owned());
        self.0.entry(key).or_insert_with(|| {
            let folder = package.strip_prefix("unefois-").unwrap_or(package);
            let root = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../crates")
                .join(folder)
                .join("tests");
            let mut files = Vec::new();
            match root.join(target).is_dir() {
                true => list(&root.join(target), &mut files),
                false => files.push(root.join(target).with_extension("rs")),
            }
            let texts = files.iter().map(|file| std::fs::read_to_string(file).unwrap());
            texts.flat_map(|text| functions(&text)).collect()
        })
    }
}

/// Each function that begins a line or a method's, with its text to the brace that stands under its first letter.
fn functions(text: &str) -> Vec<(String, String)> {
    let lines: Vec<&str> = text.lines().collect();
    let starts = lines.iter().enumerate().filter_map(|(n, line)| {
        let (before, rest) = line.split_once("fn ")?;
        let plain = before
            .trim()
            .split(' ')
            .all(|word| ["", "pub(crate)", "pub", "async", "const"].contains(&word));
        let name = rest.split(['(', '<']).next()?;
        plain.then_some((n, before.len() - before.trim_start().len(), name.to_owned()))
    });
    let whole = |(n, indent, name): (usize, usize, String)| {
        let end = format!("{}}}", " ".repeat(indent));
        let body: Vec<&str> = lines[n..]
            .iter()
            .take_while(|line| **line != end)
            .copied()
            .collect();
        (name, body.join("\n"))
    };
    starts.map(whole).collect()
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => list(&path, files),
            false => files.push(path),
        }
    }
}
