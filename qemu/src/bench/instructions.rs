//! Instructions of the guest for a packet, from its arrival to its departure. QEMU counts them exactly under `-icount`,
//! and tells the count by `query-replay`.
//!
//! What a packet costs is what one more burst costs: 64 packets that wait when the machine goes on, and 128, make the
//! same wake-up and the same way back to sleep. The difference has all that the further 64 need, their share of
//! interrupts, kicks and looks at the clock included.

use anyhow::{Context, Result};
use qemu::lab::Lab;
use serde_json::json;

use super::Bench;
use super::guest::Guest;
use super::masquerade::{self, MASQUERADE};
use super::report::{Report, median};

pub const FORWARDED: &str = "instructions per forwarded packet";
pub const WITH_RECORDER: &str = "instructions per forwarded packet with the recorder on";
pub const MASQUERADED: &str = "instructions per masqueraded packet";
pub const NEW_FLOW: &str = "instructions per new masqueraded flow";

/// What a card's ring holds at least twice.
pub const BURST: u32 = 64;
/// The median of so many differences has nothing of timers that fired in between.
const SAMPLES: u32 = 31;

pub fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    for (number, guest) in bench.guests.iter().enumerate() {
        let mut plain = Router::boot(guest, bench, "forward", "")?;
        report.add(number, FORWARDED, "", plain.cost(|_| 5000)?);
        if matches!(guest, Guest::Rutter(_)) {
            plain.lab.qmp.execute("cont", json!({}))?;
            plain.lab.commands("record on")?;
            report.add(number, WITH_RECORDER, "", plain.cost(|_| 5000)?);
        }
        plain.lab.finish();
        let mut masquerade = Router::boot(guest, bench, "masquerade", MASQUERADE)?;
        report.add(number, MASQUERADED, "", masquerade.cost(|_| 5000)?);
        report.add(number, NEW_FLOW, "", masquerade.cost(|number| 10_000 + number as u16)?);
        masquerade.lab.finish();
    }
    Ok(())
}

/// A router whose instructions are counted.
pub struct Router {
    pub lab: Lab,
    /// Packets so far.
    sent: u32,
}

impl Router {
    /// Boots it with `rules` for its two neighbours.
    pub fn boot(guest: &Guest, bench: &Bench, name: &str, rules: &str) -> Result<Router> {
        let mut plan = masquerade::plan(guest, bench, name, rules)?;
        plan.more.extend(["-icount", "shift=0"].map(Into::into));
        let lab = guest.boot(plan)?;
        Ok(Router { lab, sent: 0 })
    }

    /// What one packet costs; each has the source port that `port` says.
    fn cost(&mut self, port: impl Fn(u32) -> u16) -> Result<f64> {
        // The first packets have costs that the others have not.
        self.burst(2 * BURST, &port)?;
        let mut differences = Vec::new();
        for _ in 0..SAMPLES {
            let (one, two) = (self.burst(BURST, &port)?, self.burst(2 * BURST, &port)?);
            differences.push((two as f64 - one as f64) / f64::from(BURST));
        }
        median(differences).context("no samples")
    }

    /// What so many packets cost that arrive all at once, the way out of sleep and back included.
    pub fn burst(&mut self, count: u32, port: impl Fn(u32) -> u16) -> Result<u64> {
        let before = self.stop()?;
        self.arrive(count, &port)?;
        self.stop()?;
        // A lone packet lets the router take back the last buffers that QEMU is done with: when that is, and so
        // whether it happened before the router slept, is not for the guest to say.
        self.arrive(1, &port)?;
        Ok(self.stop()? - before)
    }

    /// Lets so many packets arrive at a machine that is stopped, and waits until they have left.
    fn arrive(&mut self, count: u32, port: impl Fn(u32) -> u16) -> Result<()> {
        self.lab.segments[1].seen.clear();
        for number in self.sent..self.sent + count {
            masquerade::send(&mut self.lab, port(number), 0)?;
        }
        self.sent += count;
        self.lab.until("the cable to be empty", |lab| lab.segments[0].is_drained().then_some(()))?;
        // QEMU reads the cable before it hears of the second command, and the card takes all when the machine goes on.
        for command in ["query-status", "query-status", "cont"] {
            self.lab.qmp.execute(command, json!({}))?;
        }
        self.lab.until("the packets on the other side", |lab| {
            (lab.segments[1].from_router() >= count as usize).then_some(())
        })
    }

    /// Stops the machine once it sleeps, and gives its count of instructions.
    pub fn stop(&mut self) -> Result<u64> {
        let mut last = None;
        loop {
            let answer = self.lab.qmp.execute("query-replay", json!({}))?;
            let count = answer["icount"].as_u64().context("query-replay gave no icount")?;
            if last == Some(count) {
                self.lab.qmp.execute("stop", json!({}))?;
                return Ok(count);
            }
            last = Some(count);
            self.lab.run_for(std::time::Duration::from_millis(5))?;
        }
    }
}
