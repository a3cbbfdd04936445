//! The smallest memory in which the router boots and forwards.

use std::time::Duration;

use anyhow::Result;
use qemu::lab::{Lab, Plan};

use super::{Figures, boot};

/// A machine that has not forwarded after this time does not.
const PATIENCE: Duration = Duration::from_secs(8);

pub fn measure(figures: &mut Figures) -> Result<()> {
    let (mut fails, mut works) = (0, 64);
    while works - fails > 1 {
        let middle = fails + (works - fails) / 2;
        if forwards(middle)? { works = middle } else { fails = middle }
    }
    anyhow::ensure!(forwards(works)?, "the router does not forward with {works} MiB");
    figures.add("smallest memory that boots and forwards", "MiB", f64::from(works));
    Ok(())
}

fn forwards(memory: u32) -> Result<bool> {
    // A machine that panics ends instead of trying again.
    let plan = Plan { memory, more: vec!["-no-reboot".into()], ..boot::plan("bench_memory") };
    let mut lab = Lab::start(plan)?;
    lab.patience = PATIENCE;
    let forwards = boot::first_ping(&mut lab).is_ok();
    lab.finish();
    Ok(forwards)
}
