//! The time from the start of QEMU to the first ping that comes back through the router.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use qemu::lab::tuple::Tuple;
use qemu::lab::{Lab, Plan};

use super::frame::Path;
use super::{Figures, median};

const ROUNDS: usize = 9;
/// Between two requests.
const INTERVAL: Duration = Duration::from_millis(1);
const LAPTOP: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 10);
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

/// A host on the LAN pings one on the WAN from the moment that the machine starts, until the first answer comes back.
pub fn first_ping(lab: &mut Lab) -> Result<()> {
    let laptop = lab.host(0, "laptop", &[&format!("{LAPTOP}/24")], None);
    lab.host(1, "web", &["10.0.2.2/24", &format!("{WEB}/32")], None);
    let macs = (lab.get(laptop).mac, lab.segments[0].router);
    let request = Path { macs, addresses: (LAPTOP, WEB) }.echo_request();
    let end = Instant::now() + lab.patience;
    while !lab.segments[0].seen.iter().any(|sighting| sighting.from_router && is_answer(&sighting.frame)) {
        ensure!(Instant::now() < end, "no ping came back");
        // A card whose driver has not started loses what it is sent.
        lab.inject(0, &request)?;
        lab.run_for(INTERVAL)?;
    }
    Ok(())
}

fn is_answer(frame: &[u8]) -> bool {
    matches!(
        Tuple::of(frame),
        Some((Tuple::Echo { source: WEB, destination: LAPTOP, request: false, .. }, _))
    )
}
