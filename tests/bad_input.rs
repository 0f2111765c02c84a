//! The table of bad input is whole: each row names a test that is there. `tests/bad-input` prints it with the results.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const TABLE: &str = include_str!("bad_input.txt");

#[test]
fn each_row_of_bad_input_has_its_test() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    let mut rows = BTreeSet::new();
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    for line in lines {
        let columns: Vec<&str> = line.split(" | ").collect();
        let [row, package, target, test] = columns[..] else {
            panic!("not four columns: {line}");
        };
        assert!(rows.insert(row), "twice: {row}");
        let folder = package.strip_prefix("unefois-").unwrap_or(package);
        let mut files = Vec::new();
        let root = crates.join(folder).join("tests");
        match root.join(target).is_dir() {
            true => sources(&root.join(target), &mut files),
            false => files.push(root.join(target).with_extension("rs")),
        }
        let named = format!("fn {test}(");
        let found = files.iter().any(|file| {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            text.contains(&named)
        });
        assert!(found, "no test {test} in {package}, {target}");
    }
    assert!(rows.len() >= 40, "{} rows", rows.len());
}

fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder of tests") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => sources(&path, files),
            false => files.push(path),
        }
    }
}
