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
        let received = &run["end"]["sum_received"];
        let number = |key: &str| received[key].as_f64().with_context(|| format!("iperf3 says {run}"));
        let gigabytes = number("bytes")? / 1e9;
        let name = format!("TCP {direction}, {streams} stream{}", if streams == 1 { "" } else { "s" });
        values.push((name.clone(), "Gbit/s", number("bits_per_second")? / 1e9));
        values.push((format!("  guest CPU, {name}"), "ms/GB", cost.cpu.guest * 1e3 / gigabytes));
        values.push((format!("  QEMU's own CPU, {name}"), "ms/GB", cost.cpu.qemu * 1e3 / gigabytes));
    }
    Ok(values)
}

/// One run of iperf3 from the LAN to the WAN, with the congestion control that every kernel has.
pub fn iperf(site: &Site, words: &str) -> Result<Value> {
    let mut server = site.wan.command("exec iperf3 -s -1").stdout(Stdio::null()).spawn()?;
    site.wan.run("timeout 10 sh -c 'until ss -ltn | grep -q :5201; do sleep 0.01; done'")?;
    let output = site.lan.run(&format!("iperf3 -J -C reno --connect-timeout 10000 -c {SERVER} {words}"))?;
    server.wait()?;
    serde_json::from_slice(&output.stdout).context("iperf3's JSON")
}
