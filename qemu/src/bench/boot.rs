//! The time from the start of QEMU to the first ping that comes back through a home gateway.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use qemu::lab::tuple::Tuple;
use qemu::lab::{Lab, Plan};

use super::Bench;
use super::frame::Path;
use super::guest::{Guest, HOME_GATEWAY, PATIENCE};
use super::report::Report;

const LAPTOP: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 10);
const WEB: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

pub fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    for _ in 0..bench.rounds {
        for (number, guest) in bench.guests.iter().enumerate() {
            let mut lab = Lab::start(plan(bench, guest)?)?;
            lab.patience = PATIENCE;
            first_ping(&mut lab, interval(guest))?;
            let time = lab.started().elapsed().as_secs_f64() * 1e3;
            report.add(number, "start of QEMU to the first ping through", "ms", time);
            lab.finish();
        }
    }
    Ok(())
}

/// A home gateway.
pub fn plan(bench: &Bench, guest: &Guest) -> Result<Plan> {
    Ok(Plan { board: bench.board.clone(), ..guest.plan("boot", HOME_GATEWAY)? })
}

/// Between two requests: QEMU keeps those that come before the card is set up, and a machine that needs seconds for
/// that must not find thousands.
pub fn interval(guest: &Guest) -> Duration {
    match guest {
        Guest::Rutter(_) => Duration::from_millis(1),
        Guest::Linux(_) => Duration::from_millis(20),
    }
}

/// A host on the LAN pings one on the WAN from the moment that the machine starts, until the first answer comes back.
pub fn first_ping(lab: &mut Lab, interval: Duration) -> Result<()> {
    let laptop = lab.host(0, "laptop", &[&format!("{LAPTOP}/24")], None);
    lab.host(1, "web", &["203.0.113.1/24", &format!("{WEB}/32")], None);
    let macs = (lab.get(laptop).mac, lab.segments[0].router);
    let request = Path { macs, addresses: (LAPTOP, WEB) }.echo_request();
    let end = Instant::now() + lab.patience;
    while !lab.segments[0].seen.iter().any(|sighting| sighting.from_router && is_answer(&sighting.frame)) {
        ensure!(Instant::now() < end && !lab.console.is_closed(), "no ping came back");
        // A card whose driver has not started loses what it is sent.
        lab.inject(0, &request)?;
        lab.run_for(interval)?;
    }
    Ok(())
}

fn is_answer(frame: &[u8]) -> bool {
    matches!(
        Tuple::of(frame),
        Some((Tuple::Echo { source: WEB, destination: LAPTOP, request: false, .. }, _))
    )
}
