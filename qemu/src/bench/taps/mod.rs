//! What is measured over taps, with a kernel on both sides: throughput, packet rates, connections, round trips.
//! Each guest has a site of its own, and all sites stand at once, so that the guests take turns. Needs root.

mod connections;
mod cpu;
mod flood;
mod flows;
mod latency;
mod namespace;
mod packets;
mod site;
mod tcp;

use std::path::Path;

use anstream::println;
use anyhow::Result;
use qemu::setup;

use super::Bench;
use super::guest::HOME_GATEWAY;
use super::report::Report;
use cpu::Cpu;
use site::Site;

/// What one round of a measurement gives: name, unit, value.
type Values = Vec<(String, &'static str, f64)>;

pub fn tcp(bench: &Bench, report: &mut Report) -> Result<()> {
    measure("TCP throughput", bench, report, HOME_GATEWAY, tcp::round)
}

pub fn packets(bench: &Bench, report: &mut Report) -> Result<()> {
    measure("packets per second", bench, report, HOME_GATEWAY, packets::round)
}

pub fn connections(bench: &Bench, report: &mut Report) -> Result<()> {
    measure("connections per second", bench, report, HOME_GATEWAY, connections::round)
}

pub fn latency(bench: &Bench, report: &mut Report) -> Result<()> {
    measure("round trips", bench, report, HOME_GATEWAY, latency::round)
}

pub fn flood(bench: &Bench, report: &mut Report) -> Result<()> {
    let config = [HOME_GATEWAY, flood::SETTINGS].concat();
    measure("TCP under floods", bench, report, &config, flood::round)
}

fn measure(
    what: &str,
    bench: &Bench,
    report: &mut Report,
    config: &str,
    round: impl Fn(&Site) -> Result<Values>,
) -> Result<()> {
    if !rustix::process::geteuid().is_root() || !Path::new("/dev/net/tun").exists() {
        println!("{what}: not measured, it needs root and /dev/net/tun");
        return Ok(());
    }
    setup::test_programs()?;
    let start = |guest| Site::start(guest, &bench.board, config, bench.one_queue);
    let sites: Vec<Site> = bench.guests.iter().map(start).collect::<Result<_>>()?;
    for _ in 0..bench.rounds {
        for (number, site) in sites.iter().enumerate() {
            for (name, unit, value) in round(site)? {
                report.add(number, &name, unit, value);
            }
        }
    }
    Ok(())
}
