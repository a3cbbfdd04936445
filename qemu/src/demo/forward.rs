//! A host on the WAN fetches a file from the server on the LAN, through the forwarded port.

use anyhow::{Result, ensure};
use qemu::lab::HostId;
use qemu::lab::services::{Download, Progress};
use qemu::lab::tuple::{Tuple, translations};
use std::net::Ipv4Addr;

use super::{Demo, FILE, FORWARDED_PORT, OUTSIDE, OUTSIDER, SERVER};

pub fn run(demo: &mut Demo) -> Result<String> {
    let client = fetch(demo, demo.outsider)?;
    ensure!(client == OUTSIDER, "the server saw {client}");
    Ok(format!(
        "{OUTSIDER} has the file of {SERVER}:80 by {OUTSIDE}:{FORWARDED_PORT}; the server saw {client}"
    ))
}

/// Fetches a file by the outer address and the forwarded port, and gives the client that the server saw.
pub fn fetch(demo: &mut Demo, from: HostId) -> Result<Ipv4Addr> {
    let mut download = Download::start(demo.lab.get(from), (OUTSIDE, FORWARDED_PORT), 1);
    let end =
        demo.lab.until("the file behind the forwarded port", |lab| match download.poll(lab.get(from)) {
            Progress::Receiving(_) => None,
            end => Some(end),
        })?;
    ensure!(end == Progress::Complete(FILE), "the file is not what was asked for: {end:?}");
    let client = translations(&demo.lab.segments).into_iter().find_map(|(_, after)| match after {
        Tuple::Tcp { source, destination: (SERVER, 80) } => Some(source.0),
        _ => None,
    });
    client.ok_or_else(|| anyhow::anyhow!("nothing of it was seen on the LAN"))
}
