//! What a fresh machine lacks: the image's Rust target, QEMU, and the programs the tests talk to.

mod apt;
mod packages;
mod private;
mod qemu;
mod rust;
pub mod unpack;

pub use apt::update as update_packages;
pub use private::coturn;
pub use qemu::{Qemu, qemu};
pub use rust::{TARGET, benchmark_runner, target};

use std::path::PathBuf;

use anyhow::{Result, bail};
use apt::Outcome;

/// Programs that `tests/linux` and the benchmarks start, and the Debian package that has each.
const TEST_PROGRAMS: [(&str, &str); 20] = [
    ("conntrack", "conntrack"),
    ("curl", "curl"),
    ("dnsmasq", "dnsmasq-base"),
    ("ethtool", "ethtool"),
    ("hping3", "hping3"),
    ("ip", "iproute2"),
    ("iperf3", "iperf3"),
    ("ipset", "ipset"),
    ("iptables", "iptables"),
    ("nft", "nftables"),
    ("nmap", "nmap"),
    ("ping", "iputils-ping"),
    ("python3", "python3"),
    ("scapy", "python3-scapy"),
    ("setpriv", "util-linux"),
    ("tcpdump", "tcpdump"),
    ("traceroute", "traceroute"),
    ("tshark", "tshark"),
    ("valgrind", "valgrind"),
    // An FTP server, which is a module of Debian's own Python.
    ("/usr/lib/python3/dist-packages/pyftpdlib/__main__.py", "python3-pyftpdlib"),
];

/// Installs those of the tests' own programs that are missing.
pub fn test_programs() -> Result<()> {
    let missing: Vec<_> = TEST_PROGRAMS.iter().filter(|(program, _)| find(program).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let programs = missing.iter().map(|(program, _)| *program).collect::<Vec<_>>().join(", ");
    let packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
    match packages::install(&format!("the tests use {programs}"), &packages, |_| None)? {
        Outcome::Installed => Ok(()),
        Outcome::Clash(removed) => bail!("installing {} would remove {removed}", packages.join(" ")),
    }
}

/// Looks a program up in PATH, and where Debian keeps the administrator's programs.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// One line about what set-up is doing.
fn say(line: &str) {
    anstream::eprintln!("rutter: {line}");
}
