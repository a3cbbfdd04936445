//! What an idle router costs its host.

use std::time::Duration;

use anyhow::{Context, Result};
use qemu::lab::{Lab, Plan};

use super::Figures;

const TIME: Duration = Duration::from_secs(10);

pub fn measure(figures: &mut Figures) -> Result<()> {
    let mut lab = Lab::boot(Plan::new("bench_idle"))?;
    // What booting left behind has passed.
    lab.run_for(Duration::from_secs(1))?;
    let before = lab.cpu_time().context("the machine's processor time")?;
    lab.run_for(TIME)?;
    let after = lab.cpu_time().context("the machine's processor time")?;
    let share = (after - before).as_secs_f64() / TIME.as_secs_f64();
    lab.finish();
    figures.add("host CPU of an idle router", "% of a core", share * 100.0);
    Ok(())
}
