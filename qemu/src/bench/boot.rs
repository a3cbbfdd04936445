//! The time from the start of QEMU to the first ping that comes back through the router.

use std::net::Ipv4Addr;

use anyhow::Result;
use qemu::lab::{Lab, Plan};

use super::{Figures, median};

const ROUNDS: usize = 9;
const INSIDE: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
const WEB: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

pub fn measure(figures: &mut Figures) -> Result<()> {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let mut lab = Lab::start(plan("bench_boot"))?;
        first_ping(&mut lab)?;
        times.push(lab.started().elapsed().as_secs_f64() * 1e3);
        lab.finish();
    }
    figures.add("start of QEMU to the first ping through, median", "ms", median(times));
    Ok(())
}

/// The router with its own default, a home gateway.
pub fn plan(name: &str) -> Plan {
    Plan::new(name)
}

/// A host on the LAN pings one on the WAN from the moment that the machine starts.
pub fn first_ping(lab: &mut Lab) -> Result<()> {
    let laptop = lab.host(0, "laptop", &["192.168.1.10/24"], Some(INSIDE));
    lab.host(1, "web", &["10.0.2.2/24", &format!("{WEB}/32")], None);
    lab.ping(laptop, WEB)?;
    Ok(())
}
