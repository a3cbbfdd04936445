//! Programs in folders of their own: QEMU for a system where installing it would take away somebody's package (for example
//! `qemu-utils` from backports beside a `qemu-system-x86` that is older), and coturn, whose package starts a service where
//! it is installed. Debian's packages are unpacked, not installed: QEMU finds its firmware relative to its program, and
//! each is told where the libraries lie.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::apt::{self, Removal, simulate};
use super::{say, unpack};
use crate::workspace;

/// A folder for what is unpacked under this name.
fn folder(name: &str) -> PathBuf {
    workspace::target().join(name)
}

/// The private copy of `program` in the folder `name`, where there is one, and where its libraries lie.
pub fn find(name: &str, program: &str) -> Option<(PathBuf, OsString)> {
    let folder = folder(name);
    let program = folder.join("usr/bin").join(program);
    program.is_file().then(|| (program, libraries(&folder)))
}

/// The words by which a shell starts a program of coturn: that of the system, or else the private copy, which is fetched
/// where it is missing.
pub fn coturn(program: &str) -> Result<String> {
    const NAME: &str = "coturn";
    if let Some(path) = super::find(program) {
        return Ok(path.display().to_string());
    }
    if find(NAME, program).is_none() {
        super::find("apt-get").context("the tests use coturn. Install it")?;
        say("the tests use coturn: it goes into a folder of its own, for its package would start a service");
        if install(NAME, NAME).is_err() {
            apt::update()?;
            install(NAME, NAME)?;
        }
    }
    let (path, libraries) = find(NAME, program).with_context(|| format!("coturn has no {program}"))?;
    Ok(format!("env LD_LIBRARY_PATH={} {}", libraries.to_string_lossy(), path.display()))
}

/// Where packages unpacked to `folder` have their libraries: some still use `/lib`, which is `/usr/lib` on a system.
fn libraries(folder: &Path) -> OsString {
    let places = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"].map(|place| folder.join(place));
    std::env::join_paths(places).unwrap_or_default()
}

/// Unpacks `package`, and what it needs that the system does not have, into the folder `name`.
pub fn install(package: &str, name: &str) -> Result<()> {
    let simulation = simulate(&[package], Removal::Imagined)?;
    let packages = installed_by(&String::from_utf8_lossy(&simulation.stdout));
    ensure!(!packages.is_empty(), "apt knows no package {package}");
    unpack::packages(&packages, &folder(name))
}

/// The packages that a simulation would install, as `name=version`.
fn installed_by(simulation: &str) -> Vec<String> {
    let package = |line: &str| {
        let (name, rest) = line.strip_prefix("Inst ")?.split_once(' ')?;
        let version = rest.split_once('(')?.1.split(' ').next()?;
        Some(format!("{name}={version}"))
    };
    simulation.lines().filter_map(package).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simulation_names_packages_and_versions() {
        let simulation = "Remv qemu-utils [1:10.0.2]\n\
            Inst seabios (1.16.2-1 Debian:12.15/oldstable [all])\n\
            Inst libc6 [2.36-9] (2.36-9+deb12u14 Debian:12 [amd64])\n\
            Conf seabios (1.16.2-1 Debian:12.15/oldstable [all])\n";
        assert_eq!(installed_by(simulation), ["seabios=1.16.2-1", "libc6=2.36-9+deb12u14"]);
    }
}
