//! Which crate may use which: the arrows of ARCHITECTURE.md, read from cargo's own metadata.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// What each crate may use of ours, by normal dependencies.
const ARROWS: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("tlog", &[]),
    ("jose", &["core"]),
    ("proto", &["core"]),
    ("store", &["core", "tlog"]),
    ("mesh", &["core", "jose", "proto"]),
    ("ledger", &["core", "tlog", "proto", "store", "mesh"]),
    (
        "node",
        &["core", "jose", "tlog", "proto", "store", "mesh", "ledger"],
    ),
    (
        "authority",
        &["core", "jose", "tlog", "proto", "store", "mesh", "ledger"],
    ),
    ("auditor", &["core", "jose", "tlog", "proto", "mesh"]),
    (
        "bench",
        &["core", "jose", "tlog", "proto", "mesh", "ledger", "store"],
    ),
];

fn metadata() -> Value {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let mut cargo = Command::new(env!("CARGO"));
    let output = cargo
        .args([
            "metadata",
            "--format-version=1",
            "--no-deps",
            "--manifest-path",
            manifest,
        ])
        .output();
    let output = output.expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON")
}

/// Each package and the packages that it uses outside of tests and builds.
fn normal_dependencies(metadata: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let packages = metadata["packages"].as_array().expect("packages");
    let normal = |package: &Value| {
        let dependencies = package["dependencies"].as_array().expect("dependencies").iter();
        dependencies
            .filter(|d| d["kind"].is_null())
            .map(|d| d["name"].as_str().expect("a name").to_owned())
            .collect()
    };
    packages
        .iter()
        .map(|p| (p["name"].as_str().expect("a name").to_owned(), normal(p)))
        .collect()
}

#[test]
fn no_arrow_but_those_of_the_table() {
    let used = normal_dependencies(&metadata());
    for (from, allowed) in ARROWS {
        let ours = used[&format!("unefois-{from}")]
            .iter()
            .filter_map(|name| name.strip_prefix("unefois-"));
        for to in ours {
            assert!(allowed.contains(&to), "{from} uses {to}");
        }
    }
    let crates = used
        .keys()
        .filter_map(|name| name.strip_prefix("unefois-"))
        .filter(|name| *name != "tests");
    for name in crates {
        assert!(ARROWS.iter().any(|(from, _)| *from == name), "{name} has no row");
    }
}

#[test]
fn sql_is_under_store_and_the_second_cryptography_under_jose() {
    let used = normal_dependencies(&metadata());
    let ours = used.iter().filter(|(name, _)| name.starts_with("unefois"));
    for (name, dependencies) in ours {
        // Tests read, and change, a database behind the back of store; the bench compares store with what is bare.
        let beside = ["unefois-store", "unefois-tests", "unefois-bench"];
        assert!(
            !dependencies.contains("sqlx") || beside.contains(&name.as_str()),
            "{name} uses sqlx"
        );
        assert!(
            !dependencies.contains("aws-lc-rs") || name == "unefois-jose",
            "{name} uses aws-lc-rs"
        );
    }
    let lock = include_str!("../Cargo.lock");
    for foreign in ["openssl", "openssl-sys", "native-tls"] {
        assert!(
            !lock.contains(&format!("name = \"{foreign}\"")),
            "{foreign} is in the graph"
        );
    }
}
