//! What an idle router costs its host.

use std::time::Duration;

use anyhow::{Context, Result};

use super::Bench;
use super::guest::HOME_GATEWAY;
use super::report::Report;
use qemu::lab::Plan;

const TIME: Duration = Duration::from_secs(5);
/// What booting left behind has passed by then.
const CALM: Duration = Duration::from_secs(2);

pub fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    for _ in 0..bench.rounds {
        for (number, guest) in bench.guests.iter().enumerate() {
            let plan = guest.plan("idle", HOME_GATEWAY)?;
            let mut lab = guest.boot(Plan { board: bench.board.clone(), ..plan })?;
            lab.run_for(CALM)?;
            let before = lab.cpu_time().context("the machine's processor time")?;
            lab.run_for(TIME)?;
            let after = lab.cpu_time().context("the machine's processor time")?;
            let share = (after - before).as_secs_f64() / TIME.as_secs_f64();
            report.add(number, "host CPU of an idle router", "% of a core", share * 100.0);
            lab.finish();
        }
    }
    Ok(())
}
