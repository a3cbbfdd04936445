//! The smallest memory in which the router boots and forwards.

use std::time::Duration;

use anyhow::{Result, ensure};
use qemu::lab::{Lab, Plan};

use super::guest::Guest;
use super::report::Report;
use super::{Bench, boot};

/// In MiB, more than anything needs.
const PLENTY: u32 = 256;

pub fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    for (number, guest) in bench.guests.iter().enumerate() {
        let (mut fails, mut works) = (0, PLENTY);
        ensure!(forwards(bench, guest, works)?, "{} does not forward with {works} MiB", guest.name());
        while works - fails > 1 {
            let middle = fails + (works - fails) / 2;
            if forwards(bench, guest, middle)? { works = middle } else { fails = middle }
        }
        report.add(number, "smallest memory that boots and forwards", "MiB", f64::from(works));
    }
    Ok(())
}

fn forwards(bench: &Bench, guest: &Guest, memory: u32) -> Result<bool> {
    let plan = Plan { memory, ..boot::plan(bench, guest)? };
    let mut lab = Lab::start(plan)?;
    lab.patience = patience(guest);
    let forwards = boot::first_ping(&mut lab, boot::interval(guest)).is_ok();
    lab.finish();
    Ok(forwards)
}

/// A machine that has not forwarded after this time does not.
fn patience(guest: &Guest) -> Duration {
    match guest {
        Guest::Rutter(_) => Duration::from_secs(8),
        Guest::Linux(_) => Duration::from_secs(30),
    }
}
