//! The smallest memory in which the router boots and forwards, and in which it does so with many flows.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use qemu::lab::{Lab, Plan};

use super::guest::Guest;
use super::masquerade::{self, MASQUERADE};
use super::report::Report;
use super::{Bench, boot};

/// In MiB, as much as anything may need.
const PLENTY: u32 = 1024;
/// How many flows, what that is called, and in MiB where the memory is looked for first and how exactly.
const FLOWS: [(u32, &str, u32, u32); 2] = [(65_536, "64 k", 32, 1), (1_000_000, "1 M", 256, 8)];
/// No flow may end while others begin.
const LONG: &str = "
sysctl -w net.netfilter.nf_conntrack_udp_timeout=3600
";
/// Packets under way at a time.
const BURST: u32 = 128;
/// Source ports of the laptop, the first and how many.
const PORTS: (u32, u32) = (10_000, 50_000);
/// How often is looked whether all flows are still there.
const LOOK: u32 = 65_536;

/// Without flows.
pub fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    for (number, guest) in bench.guests.iter().enumerate() {
        let least = least(0, 32, 1, |memory| forwards(bench, guest, memory))?;
        report.add(number, "smallest memory that boots and forwards", "MiB", f64::from(least));
    }
    Ok(())
}

/// With many flows.
pub fn measure_flows(bench: &Bench, report: &mut Report) -> Result<()> {
    // Less memory holds no more flows.
    let mut fails = vec![0; bench.guests.len()];
    for (flows, name, probe, step) in FLOWS {
        for ((number, guest), fails) in bench.guests.iter().enumerate().zip(&mut fails) {
            let least =
                least(*fails, probe.max(*fails + 1), step, |memory| holds(bench, guest, memory, flows))?;
            report.add(number, &format!("smallest memory with {name} flows"), "MiB", f64::from(least));
            *fails = least - 1;
        }
        report.print();
    }
    Ok(())
}

/// The smallest memory, to `step` MiB, with which something works; looked for around `probe` first.
fn least(mut fails: u32, mut probe: u32, step: u32, check: impl Fn(u32) -> Result<bool>) -> Result<u32> {
    while !check(probe)? {
        ensure!(probe < PLENTY, "it does not work with {probe} MiB");
        (fails, probe) = (probe, probe * 2);
    }
    let mut works = probe;
    while works - fails > step {
        let middle = fails + (works - fails) / 2;
        if check(middle)? { works = middle } else { fails = middle }
    }
    Ok(works)
}

fn forwards(bench: &Bench, guest: &Guest, memory: u32) -> Result<bool> {
    let mut lab = Lab::start(Plan { memory, ..boot::plan(bench, guest)? })?;
    lab.patience = patience(guest);
    let forwards = boot::first_ping(&mut lab, boot::interval(guest)).is_ok();
    lab.finish();
    Ok(forwards)
}

/// Whether a machine with so much memory has so many flows at a time.
fn holds(bench: &Bench, guest: &Guest, memory: u32, flows: u32) -> Result<bool> {
    // Linux has no such rate.
    let limit = format!(
        "sysctl -e -w net.core.netdev_overload_rate=0\nsysctl -w net.netfilter.nf_conntrack_max={}\n",
        flows + LOOK
    );
    let plan = masquerade::plan(guest, bench, "flows", &format!("{MASQUERADE}{LONG}{limit}"))?;
    let Ok(mut lab) = guest.boot_within(Plan { memory, ..plan }, patience(guest)) else {
        return Ok(false);
    };
    let mut all_there = true;
    let mut sent = 0;
    while sent < flows && all_there {
        let end = flows.min(sent + LOOK);
        all_there = open(&mut lab, sent..end).is_ok() && count(&mut lab).is_ok_and(|count| count >= end);
        sent = end;
    }
    lab.finish();
    Ok(all_there)
}

/// Opens flows, and waits until all their packets have left.
fn open(lab: &mut Lab, numbers: std::ops::Range<u32>) -> Result<()> {
    for start in numbers.clone().step_by(BURST as usize) {
        lab.segments[1].seen.clear();
        let burst = start..numbers.end.min(start + BURST);
        for number in burst.clone() {
            let (first, count) = PORTS;
            masquerade::send(lab, (first + number % count) as u16, number / count)?;
        }
        lab.until("the packets of new flows", |lab| {
            (lab.segments[1].from_router() >= burst.len()).then_some(())
        })?;
    }
    Ok(())
}

fn count(lab: &mut Lab) -> Result<u32> {
    let answer = lab.command("sysctl -n net.netfilter.nf_conntrack_count")?;
    answer.text.trim().parse().with_context(|| answer.text)
}

/// A machine that has not answered after this time does not. Most that lack memory panic, and end at once.
fn patience(guest: &Guest) -> Duration {
    match guest {
        Guest::Rutter(_) => Duration::from_secs(20),
        Guest::Linux(_) => Duration::from_secs(90),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_that_works_is_found_to_a_step() {
        for enough in [1, 16, 17, 100, 1024] {
            assert_eq!(least(0, 16, 1, |memory| Ok(memory >= enough)).unwrap(), enough);
        }
        assert!((100..108).contains(&least(16, 256, 8, |memory| Ok(memory >= 100)).unwrap()));
        least(0, 16, 1, |_| Ok(false)).unwrap_err();
    }
}
