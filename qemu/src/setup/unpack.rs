//! Debian packages unpacked into a folder, not installed. Read apt-get(8), "download", and dpkg-deb(1), "--extract".

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::apt;

/// Fetches `packages`, each as apt names it (also `name=version`), and unpacks them all into `folder`.
/// What the folder held before is gone; it is put in place whole.
pub fn packages(packages: &[String], folder: &Path) -> Result<()> {
    let (archives, fresh) = (folder.with_extension("debs"), folder.with_extension("new"));
    for dir in [&archives, &fresh] {
        let _ = std::fs::remove_dir_all(dir);
        std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    }
    // Fetched by the one who asks: apt's own user may not write here.
    let mut download = Command::new("apt-get");
    download.args(["download", "-q", "-o", "APT::Sandbox::User=root"]).args(packages).current_dir(&archives);
    run(&mut download)?;
    for archive in std::fs::read_dir(&archives)? {
        run(Command::new("dpkg-deb").arg("--extract").arg(archive?.path()).arg(&fresh))?;
    }
    std::fs::remove_dir_all(&archives)?;
    let _ = std::fs::remove_dir_all(folder);
    std::fs::rename(&fresh, folder).with_context(|| folder.display().to_string())
}

/// How far [`needed_by`] goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// What the package itself names.
    Direct,
    /// Also what those need, and so on.
    All,
}

/// The packages that `package` depends on. Where apt has never heard of it, fresh package lists are fetched.
pub fn needed_by(package: &str, depth: Depth) -> Result<BTreeSet<String>> {
    let ask = || -> Result<BTreeSet<String>> {
        let mut command = Command::new("apt-cache");
        command.env("LC_ALL", "C").args(["depends", "--important"]);
        if depth == Depth::All {
            command.arg("--recurse");
        }
        let output = command.arg(package).stdin(Stdio::null()).output().context("apt-cache")?;
        Ok(named_in(&String::from_utf8_lossy(&output.stdout)))
    };
    let mut found = ask()?;
    if found.is_empty() {
        apt::update()?;
        found = ask()?;
    }
    ensure!(!found.is_empty(), "apt knows no package {package}");
    Ok(found)
}

/// The packages that stand in what apt-cache prints: those that others depend on. Alternatives and virtual packages
/// are passed over.
fn named_in(text: &str) -> BTreeSet<String> {
    let names = text.lines().filter_map(|line| line.trim_start().strip_prefix("Depends: "));
    names.filter(|name| !name.starts_with('<')).map(str::to_owned).collect()
}

fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status =
        command.stdin(Stdio::null()).stdout(std::io::stderr()).status().with_context(|| name.clone())?;
    if !status.success() {
        bail!("{name} failed ({status})");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_named_once_and_virtual_packages_are_none() {
        let text = "iptables\n  Depends: libc6\n  Depends: netbase\nlibmnl0\n  Depends: libc6\n \
            |Depends: debconf\n  Depends: <debconf-2.0>\n    cdebconf\n";
        assert_eq!(named_in(text).into_iter().collect::<Vec<_>>(), ["libc6", "netbase"]);
    }
}
