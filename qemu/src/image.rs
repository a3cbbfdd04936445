//! The image: built for its own target, cut down to what is loaded. Read the ELF specification, chapter "ELF Header".

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};

use crate::setup;
use crate::workspace;

/// What the stripped image may weigh.
const LARGEST: usize = 1 << 20;

/// Builds the release image and gives the path of the stripped file.
///
/// The file that cargo leaves keeps its symbols, for debuggers; its code is the same.
pub fn build() -> Result<PathBuf> {
    // The threads of one process would put the same file in place.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    setup::target()?;
    let path = workspace::target().join("rutter");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--package", "kernel", "--release", "--target", setup::TARGET])
        // The first time takes a while, and whoever waits sees how far it is.
        .args(path.exists().then_some("--quiet"))
        .current_dir(workspace::root())
        // Flags and wrappers meant for the host's own code (coverage, sanitizers) do not fit bare metal.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .stdout(std::io::stderr())
        .status()
        .context("cargo build")?;
    if !status.success() {
        bail!("the image did not build");
    }
    let built = workspace::target().join(setup::TARGET).join("release/rutter");
    let elf = std::fs::read(&built).with_context(|| built.display().to_string())?;
    let image = strip(elf).with_context(|| built.display().to_string())?;
    ensure!(image.len() <= LARGEST, "the image has {} bytes, more than {LARGEST}", image.len());

    if std::fs::read(&path).is_ok_and(|old| old == image) {
        return Ok(path);
    }
    // Put in place whole: another process may be starting a machine from it.
    let fresh = path.with_extension(std::process::id().to_string());
    std::fs::write(&fresh, &image).with_context(|| fresh.display().to_string())?;
    std::fs::rename(&fresh, &path).with_context(|| path.display().to_string())?;
    Ok(path)
}

/// Keeps the ELF header, the program headers and what they load; the section table and all behind it goes.
fn strip(mut elf: Vec<u8>) -> Result<Vec<u8>> {
    const PROGRAM_HEADERS: usize = 0x20;
    const SECTION_HEADERS: usize = 0x28;
    const PROGRAM_HEADER_COUNT: usize = 0x38;
    const SECTION_HEADER_COUNT: usize = 0x3c;
    const HEADER: usize = 0x40;
    const PROGRAM_HEADER: usize = 0x38;
    const OFFSET: usize = 0x08;
    const FILE_SIZE: usize = 0x20;

    ensure!(
        elf.len() >= HEADER && elf.starts_with(b"\x7fELF\x02\x01"),
        "not a 64-bit little-endian ELF file"
    );
    let word = |at: usize| -> Result<usize> {
        let bytes = elf.get(at..at + 8).context("the file ends within its headers")?;
        Ok(usize::try_from(u64::from_le_bytes(bytes.try_into()?))?)
    };
    let table = word(PROGRAM_HEADERS)?;
    let count = usize::from(u16::from_le_bytes([elf[PROGRAM_HEADER_COUNT], elf[PROGRAM_HEADER_COUNT + 1]]));
    let mut end = table + count * PROGRAM_HEADER;
    for header in (table..end).step_by(PROGRAM_HEADER) {
        end = end.max(word(header + OFFSET)? + word(header + FILE_SIZE)?);
    }
    ensure!(end <= elf.len(), "the file ends within its segments");
    elf.truncate(end);
    elf[SECTION_HEADERS..SECTION_HEADERS + 8].fill(0);
    elf[SECTION_HEADER_COUNT..HEADER].fill(0);
    Ok(elf)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This test's own program is an ELF file with symbols.
    fn good() -> Vec<u8> {
        std::fs::read("/proc/self/exe").unwrap()
    }

    #[test]
    fn the_segments_stay_and_the_sections_go() {
        let before = good();
        let after = strip(before.clone()).unwrap();
        assert!(after.len() < before.len());
        assert_eq!(after[HEADERS_END..], before[HEADERS_END..after.len()]);
        assert_eq!(strip(after.clone()).unwrap(), after, "stripping twice changes nothing");
    }
    const HEADERS_END: usize = 0x40;

    #[test]
    fn what_is_no_elf_file_is_refused() {
        strip(b"#!/bin/sh\n".to_vec()).unwrap_err();
        let mut cut = good();
        cut.truncate(0x80);
        strip(cut).unwrap_err();
    }
}
