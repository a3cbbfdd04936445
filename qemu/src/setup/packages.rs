//! Installing packages, or saying how: with apt as root or through sudo; for the others the command is named.

use anyhow::{Result, bail};

use super::apt::{self, Outcome};
use super::find;

/// A package manager, by the program that is it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    Apt,
    Dnf,
    Pacman,
    Brew,
}

impl Manager {
    const ALL: [(&str, Manager); 4] = [
        ("apt-get", Manager::Apt),
        ("dnf", Manager::Dnf),
        ("pacman", Manager::Pacman),
        ("brew", Manager::Brew),
    ];

    fn of_this_machine() -> Option<Manager> {
        Self::ALL.iter().find(|(program, _)| find(program).is_some()).map(|(_, manager)| *manager)
    }

    /// What a person types to install `packages`.
    pub fn command(self, packages: &[&str]) -> String {
        let packages = packages.join(" ");
        match self {
            Manager::Apt => format!("sudo apt-get install {packages}"),
            Manager::Dnf => format!("sudo dnf install {packages}"),
            Manager::Pacman => format!("sudo pacman -S {packages}"),
            Manager::Brew => format!("brew install {packages}"),
        }
    }
}

/// Installs `packages` (Debian's names) because of `reason`. `elsewhere` gives the package that another manager has
/// instead; where it does not know, the person is told the Debian names.
pub fn install(
    reason: &str,
    packages: &[&str],
    elsewhere: impl Fn(Manager) -> Option<&'static str>,
) -> Result<Outcome> {
    match Manager::of_this_machine() {
        Some(Manager::Apt) => apt::install(reason, packages),
        Some(manager) => match elsewhere(manager) {
            Some(package) => bail!("{reason}. Type: {}", manager.command(&[package])),
            None => bail!("{reason}. Install what Debian calls: {}", packages.join(" ")),
        },
        None => bail!("{reason}, and no known package manager is here. Install: {}", packages.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_manager_has_its_own_command() {
        assert_eq!(Manager::Dnf.command(&["qemu-system-x86-core"]), "sudo dnf install qemu-system-x86-core");
        assert_eq!(Manager::Brew.command(&["qemu"]), "brew install qemu");
    }
}
