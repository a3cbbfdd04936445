//! apt: nobody's package is ever removed or downgraded, and what would be run is tried with `--simulate` first.

use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

use super::packages::Manager;
use super::say;

/// What came of an installation.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    Installed,
    /// Nothing was done, because it would take away these packages.
    Clash(String),
}

/// Installs `packages`. Fresh package lists are fetched where the present ones do not lead to the goal.
pub fn install(reason: &str, packages: &[&str]) -> Result<Outcome> {
    let Some(root) = become_root() else {
        bail!("{reason}. Type: {}", Manager::Apt.command(packages));
    };
    let mut args = vec!["install", "-y", "-qq", "--no-install-recommends", "--no-remove"];
    args.extend(packages);
    say(&format!("{reason}: apt-get {}", args.join(" ")));

    if simulate(packages, Removal::Refused)?.status.success() && run(apt(root, &args)).is_ok() {
        return Ok(Outcome::Installed);
    }
    update()?;
    let simulation = simulate(packages, Removal::Refused)?;
    if simulation.status.success() {
        return run(apt(root, &args)).map(|()| Outcome::Installed);
    }
    let removed = removed(packages)?;
    if removed.is_empty() {
        bail!("apt-get: {}", String::from_utf8_lossy(&simulation.stderr).trim());
    }
    Ok(Outcome::Clash(removed.join(", ")))
}

/// Fetches fresh package lists.
pub fn update() -> Result<()> {
    let Some(root) = become_root() else {
        bail!("the package lists may be old. Type: sudo apt-get update");
    };
    say("the package lists may be old: apt-get update");
    run(apt(root, &["update", "-qq"]))
}

/// The program words that make a command run as root: none, or sudo where it asks nothing.
fn become_root() -> Option<&'static [&'static str]> {
    if rustix::process::geteuid().is_root() {
        return Some(&["env"]);
    }
    let quiet = Command::new("sudo").args(["-n", "true"]).stdin(Stdio::null()).output();
    quiet.is_ok_and(|output| output.status.success()).then_some(&["sudo", "-n", "env"])
}

fn apt(root: &[&str], args: &[&str]) -> Command {
    let mut command = Command::new(root[0]);
    command
        .args(&root[1..])
        .args([
            "DEBIAN_FRONTEND=noninteractive",
            "apt-get",
            "-o",
            "DPkg::Lock::Timeout=300",
            "-o",
            "Dpkg::Use-Pty=0",
        ])
        .args(args)
        .stdin(Stdio::null());
    // stdout belongs to what the program prints.
    command.stdout(std::io::stderr());
    command
}

fn run(mut command: Command) -> Result<()> {
    let status = command.status().context("apt-get")?;
    if !status.success() {
        bail!("apt-get failed ({status})");
    }
    Ok(())
}

/// Whether a simulation may take packages away to reach its goal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    Refused,
    Imagined,
}

/// What apt would do. Needs no privilege.
pub fn simulate(packages: &[&str], removal: Removal) -> Result<Output> {
    let mut command = Command::new("apt-get");
    command.env("LC_ALL", "C").args(["install", "--simulate", "-y", "-q", "--no-install-recommends"]);
    if removal == Removal::Refused {
        command.arg("--no-remove");
    }
    command.args(packages).stdin(Stdio::null()).output().context("apt-get")
}

/// The packages, with their versions, that would have to go.
fn removed(packages: &[&str]) -> Result<Vec<String>> {
    let output = simulate(packages, Removal::Imagined)?;
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(output.lines().filter_map(|line| line.strip_prefix("Remv ")).map(str::to_owned).collect())
}
