//! TCP throughput, by iperf3: one stream and four, up (LAN to WAN) and down.

use std::process::Stdio;

use anyhow::{Context, Result};
use serde_json::Value;

use super::Values;
use super::site::{SERVER, Site};

const SECONDS: u32 = 3;

pub fn round(site: &Site) -> Result<Values> {
    let mut values = Values::new();
    for (streams, direction, words) in [(1, "up", ""), (1, "down", "-R"), (4, "up", ""), (4, "down", "-R")] {
        let (run, cost) = site.during(|| iperf(site, &format!("-t {SECONDS} -P {streams} {words}")))?;
        let bits = run["end"]["sum_received"]["bits_per_second"].as_f64();
        let bits = bits.with_context(|| format!("iperf3 says {run}"))?;
        let name = format!("TCP {direction}, {streams} stream{}", if streams == 1 { "" } else { "s" });
        let share = |seconds: f64| seconds / cost.seconds * 100.0;
        values.push((name.clone(), "Gbit/s", bits / 1e9));
        values.push((format!("  guest CPU, {name}"), "% of a core", share(cost.cpu.guest)));
        values.push((format!("  QEMU's own CPU, {name}"), "% of a core", share(cost.cpu.qemu)));
    }
    Ok(values)
}

/// One run of iperf3 from the LAN to the WAN, with the congestion control that every kernel has.
pub fn iperf(site: &Site, words: &str) -> Result<Value> {
    let mut server = site.wan.command("exec iperf3 -s -1").stdout(Stdio::null()).spawn()?;
    site.wan.run("timeout 10 sh -c 'until ss -ltn | grep -q :5201; do sleep 0.01; done'")?;
    let output = site.lan.run(&format!("iperf3 -J -C reno -c {SERVER} {words}"))?;
    server.wait()?;
    serde_json::from_slice(&output.stdout).context("iperf3's JSON")
}
