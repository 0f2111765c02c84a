//! What stands between a program and its disk: `shim.c`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

const SOURCE: &str = include_str!("shim.c");

/// Builds it in `folder`: what to load before a program (`LD_PRELOAD`).
pub(crate) fn build(folder: &Path) -> anyhow::Result<PathBuf> {
    let (source, shim) = (folder.join("shim.c"), folder.join("shim.so"));
    std::fs::write(&source, SOURCE)?;
    let built = Command::new("gcc")
        .args(["-shared", "-fPIC", "-O2", "-o"])
        .args([&shim, &source])
        .arg("-ldl")
        .status()
        .context("gcc is needed")?;
    ensure!(built.success(), "the shim does not build");
    Ok(shim)
}
