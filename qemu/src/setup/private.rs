//! QEMU in a folder of its own, for a system where installing it would take away somebody's package (for example
//! `qemu-utils` from backports beside a `qemu-system-x86` that is older). Debian's packages are unpacked, not
//! installed: QEMU finds its firmware relative to its program, and is told where the libraries lie.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::apt::{Removal, simulate};
use super::{Qemu, unpack};
use crate::workspace;

fn folder() -> PathBuf {
    workspace::target().join("qemu")
}

/// The private copy of `program`, where there is one.
pub fn find(program: &str) -> Option<Qemu> {
    let folder = folder();
    let program = folder.join("usr/bin").join(program);
    program.is_file().then(|| Qemu { program, libraries: Some(libraries(&folder)) })
}

/// Where packages unpacked to `folder` have their libraries: some still use `/lib`, which is `/usr/lib` on a system.
fn libraries(folder: &Path) -> OsString {
    let places = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"].map(|place| folder.join(place));
    std::env::join_paths(places).unwrap_or_default()
}

/// Unpacks `package`, and what it needs that the system does not have.
pub fn install(package: &str) -> Result<()> {
    let simulation = simulate(&[package], Removal::Imagined)?;
    let packages = installed_by(&String::from_utf8_lossy(&simulation.stdout));
    unpack::packages(&packages, &folder())
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
