//! QEMU itself: found, judged by its version, installed where it is missing.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::apt::Outcome;
use super::packages::{self, Manager};
use super::{find, private, say};

/// The first version whose `-netdev stream` and `dgram` carry frames over unix sockets.
const OLDEST: Version = Version { major: 7, minor: 2 };
const PROGRAM: &str = "qemu-system-x86_64";
const PACKAGE: &str = "qemu-system-x86";
/// The folder of a private copy.
const PRIVATE: &str = "qemu";

/// A QEMU that can boot the router.
#[derive(Clone, Debug)]
pub struct Qemu {
    pub program: PathBuf,
    /// Where a private copy keeps the shared libraries that the system lacks, as `LD_LIBRARY_PATH` wants it.
    pub libraries: Option<OsString>,
}

impl Qemu {
    /// A command that starts it.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(libraries) = &self.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command
    }

    fn version(&self) -> Result<Version> {
        let output =
            self.command().arg("--version").output().with_context(|| self.program.display().to_string())?;
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        Version::parse(&text).with_context(|| format!("{} --version says: {text}", self.program.display()))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    major: u32,
    minor: u32,
}

impl Version {
    /// Reads the first line of `qemu-system-x86_64 --version`.
    fn parse(text: &str) -> Option<Version> {
        let version = text.strip_prefix("QEMU emulator version ")?.split([' ', '\n']).next()?;
        let mut parts = version.split('.').map(|part| part.parse().ok());
        Some(Version { major: parts.next()??, minor: parts.next()?? })
    }
}

/// Finds QEMU, and installs it where it is missing.
pub fn qemu() -> Result<Qemu> {
    if let Some(qemu) = present()? {
        return Ok(qemu);
    }
    let reason = "QEMU boots the router and is not installed";
    let elsewhere = |manager| match manager {
        Manager::Dnf => Some("qemu-system-x86-core"),
        Manager::Pacman => Some(PACKAGE),
        Manager::Brew => Some("qemu"),
        Manager::Apt => None,
    };
    if let Outcome::Clash(removed) = packages::install(reason, &[PACKAGE], elsewhere)? {
        say(&format!("that would remove {removed}: QEMU goes into a folder of its own instead"));
        private::install(PACKAGE, PRIVATE)?;
    }
    present()?.with_context(|| format!("{PACKAGE} was installed, but {PROGRAM} is not there"))
}

/// The QEMU of the system, or else the private copy.
fn present() -> Result<Option<Qemu>> {
    let system = find(PROGRAM).map(|program| Qemu { program, libraries: None });
    let private = || {
        let (program, libraries) = private::find(PRIVATE, PROGRAM)?;
        Some(Qemu { program, libraries: Some(libraries) })
    };
    let Some(qemu) = system.or_else(private) else {
        return Ok(None);
    };
    let version = qemu.version()?;
    if version < OLDEST {
        bail!(
            "{} is version {}.{}, and rutter needs {}.{}: Debian 12, Ubuntu 24.04 and newer have it",
            qemu.program.display(),
            version.major,
            version.minor,
            OLDEST.major,
            OLDEST.minor,
        );
    }
    Ok(Some(qemu))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        let parse = |text: &str| Version::parse(&format!("QEMU emulator version {text}\nCopyright")).unwrap();
        assert!(parse("6.2.0 (Debian 1:6.2+dfsg-2ubuntu6)") < OLDEST);
        assert_eq!(parse("7.2.22 (Debian 1:7.2+dfsg-7)"), OLDEST);
        assert!(parse("10.0.2") > OLDEST);
        assert_eq!(Version::parse("qemu: no such option"), None);
    }
}
