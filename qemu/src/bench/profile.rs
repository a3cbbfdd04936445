//! Where a packet's instructions go, function by function. QEMU logs each instruction that it executes; what one more
//! burst executes is what its packets cost, as in `instructions.rs`. What the compiler put into its caller counts there.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Command;

use anstream::println;
use anyhow::{Context, Result, ensure};
use qemu::{setup, workspace};
use serde_json::json;

use super::Bench;
use super::instructions::{BURST, Router};
use super::masquerade::MASQUERADE;

/// Functions that take less of a packet's instructions are left out.
const LEAST: f64 = 2.0;

const SAMPLES: usize = 5;

/// Prints a profile of a packet of an established flow, and one of a flow's first packet.
pub fn print(bench: &Bench) -> Result<()> {
    let guest = bench.guests.first().context("a guest")?;
    let functions = Functions::of(&workspace::target().join(setup::TARGET).join("release/rutter"))?;
    let mut router = Router::boot(guest, bench, "profile", MASQUERADE)?;
    for name in ["masqueraded packet", "new masqueraded flow"] {
        let port = |number| if name.starts_with("new") { 10_000 + number as u16 } else { 5000 };
        for _ in 0..3 {
            router.burst(2 * BURST, port)?;
        }
        let one = functions.executed(&mut router, BURST, &port)?;
        let mut two = functions.executed(&mut router, 2 * BURST, &port)?;
        for (function, count) in one {
            *two.entry(function).or_default() -= count;
        }
        let mut costs: Vec<_> =
            two.into_iter().map(|(name, count)| (count as f64 / f64::from(BURST), name)).collect();
        costs.sort_by(|a, b| b.0.total_cmp(&a.0));
        println!("\n{name}: {:.0} instructions", costs.iter().map(|cost| cost.0).sum::<f64>());
        for (cost, function) in costs.iter().filter(|(cost, _)| *cost >= LEAST) {
            println!("{cost:>8.1}  {function}");
        }
    }
    router.lab.finish();
    Ok(())
}

fn monitor(router: &mut Router, command: &str) -> Result<String> {
    let answer = router.lab.qmp.execute("human-monitor-command", json!({ "command-line": command }))?;
    Ok(answer.as_str().unwrap_or_default().to_owned())
}

/// The functions of a program, by the address that each begins at.
struct Functions(BTreeMap<u64, String>);

impl Functions {
    fn of(program: &Path) -> Result<Functions> {
        let output =
            Command::new("nm").args(["--demangle", "--defined-only"]).arg(program).output().context("nm")?;
        ensure!(output.status.success(), "nm: {}", String::from_utf8_lossy(&output.stderr));
        Ok(Functions(named_in(&String::from_utf8_lossy(&output.stdout))))
    }

    /// How many instructions of each function so many packets cost. A timer that fires in between costs more: the
    /// cheapest of some bursts had none.
    fn executed(
        &self,
        router: &mut Router,
        count: u32,
        port: &impl Fn(u32) -> u16,
    ) -> Result<BTreeMap<&str, i64>> {
        let path = workspace::target().join("bench/executed.log");
        let mut samples = Vec::new();
        for _ in 0..SAMPLES {
            let _ = std::fs::remove_file(&path);
            router.stop()?;
            monitor(router, &format!("logfile {}", path.display()))?;
            // Newer versions of QEMU have another word for it.
            if monitor(router, "one-insn-per-tb on")?.contains("unknown command") {
                monitor(router, "singlestep on")?;
            }
            monitor(router, "log exec,nochain")?;
            router.burst(count, port)?;
            monitor(router, "log none")?;
            samples.push(self.count(&path)?);
        }
        samples.into_iter().min_by_key(|sample| sample.values().sum::<i64>()).context("no samples")
    }

    /// How many of the logged instructions belong to each function.
    fn count(&self, log: &Path) -> Result<BTreeMap<&str, i64>> {
        let mut counts = BTreeMap::new();
        let file = std::fs::File::open(log).with_context(|| log.display().to_string())?;
        for line in BufReader::new(file).lines() {
            let Some(address) = address_in(&line?) else { continue };
            let function = self.0.range(..=address).next_back().map_or("outside", |(_, name)| name.as_str());
            *counts.entry(function).or_default() += 1;
        }
        ensure!(!counts.is_empty(), "{} is empty", log.display());
        Ok(counts)
    }
}

/// The functions that nm prints.
fn named_in(text: &str) -> BTreeMap<u64, String> {
    let function = |line: &str| {
        let (address, rest) = line.split_once(' ')?;
        let name = rest.strip_prefix("t ").or_else(|| rest.strip_prefix("T "))?;
        // The compiler's hash tells a reader nothing.
        let name =
            name.rsplit_once("::h").filter(|(_, hash)| hash.len() == 16).map_or(name, |(name, _)| name);
        Some((u64::from_str_radix(address, 16).ok()?, name.to_owned()))
    };
    text.lines().filter_map(function).collect()
}

/// The guest's address in a line of `-d exec`: `Trace 0: HOST [BASE/ADDRESS/FLAGS/..]`.
fn address_in(line: &str) -> Option<u64> {
    let mut fields = line.strip_prefix("Trace ")?.split_once('[')?.1.split('/');
    u64::from_str_radix(fields.nth(1)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_executed_address_belongs_to_the_function_before_it() {
        let names = named_in(
            "0000000000101000 T one::h0123456789abcdef\n0000000000102000 t two\n0000000000103000 D data\n",
        );
        let line = "Trace 0: 0x7f12 [0000000000000000/0000000000101010/0040c0b3/ff000000] ";
        let address = address_in(line).unwrap();
        assert_eq!(names.range(..=address).next_back().unwrap().1, "one");
        assert_eq!(names.len(), 2);
        assert_eq!(address_in("Stopped execution of TB chain"), None);
    }
}
