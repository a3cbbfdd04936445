//! The Rust target of the image. A `rust-toolchain.toml` asks for it, but rustup may be told not to install by itself.

use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{find, say};

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
