//! What comes from Rust's own sources: the target of the image, for which a `rust-toolchain.toml` asks, but rustup may be told
//! not to install by itself; and the program that counts the instructions of benchmarks.

use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{find, say};
use crate::workspace;

/// The image is built for bare metal.
pub const TARGET: &str = "x86_64-unknown-none";

/// Installs the target where it is missing.
pub fn target() -> Result<()> {
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output().context("rustc")?;
    let sysroot = String::from_utf8(sysroot.stdout).context("rustc --print sysroot")?;
    if std::path::Path::new(sysroot.trim()).join("lib/rustlib").join(TARGET).join("lib").is_dir() {
        return Ok(());
    }
    let advice = format!("The Rust target {TARGET} is missing. Type: rustup target add {TARGET}");
    if find("rustup").is_none() {
        bail!("{advice}   (rustup comes from https://rustup.rs)");
    }
    say(&format!("the image is built for a Rust target that is missing: rustup target add {TARGET}"));
    let status = Command::new("rustup").args(["target", "add", TARGET]).status().context("rustup")?;
    if !status.success() {
        bail!("{advice}");
    }
    Ok(())
}

/// The version of gungraun-runner: that of the library, which `netstack` names.
const RUNNER_VERSION: &str = "0.20.0";

/// Installs gungraun-runner where `.cargo/config.toml` says that it is, unless it is there.
pub fn benchmark_runner() -> Result<()> {
    let tools = workspace::root().join("target/tools");
    if tools.join("bin/gungraun-runner").is_file() {
        return Ok(());
    }
    say("installing gungraun-runner, which counts the instructions of benchmarks");
    // It only starts others: a build without optimisation will do, and takes less time.
    let status = Command::new("cargo")
        .args(["install", "--quiet", "--debug", "--locked", "--version", RUNNER_VERSION, "--root"])
        .arg(&tools)
        .arg("gungraun-runner")
        .status()
        .context("cargo")?;
    if !status.success() {
        bail!("gungraun-runner {RUNNER_VERSION} could not be installed");
    }
    Ok(())
}
